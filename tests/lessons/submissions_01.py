"""Judged solutions of lesson 01; see test_wrong_and_right.py."""

RIGHT = {
    "perplexity": {
        "an array without dimensions": """
import numpy as np

def perplexity(P, texts):
    table = P.double().numpy()
    with np.errstate(divide="ignore"):
        nats = [-np.log(table[a, b]) for text in texts for a, b in zip(text, text[1:])]
    return np.array(np.exp(np.mean(nats)))
""",
    },
}
