"""Generation by unmasking: the distribution of the texts, the order, and errors."""

from itertools import product

import numpy as np
import pytest
import torch
from objective_helpers import tiny_bert
from objective_helpers import tokenizer as letters

from llmasos.errors import UserError
from llmasos.generation import unmask, unmask_ids
from llmasos.models import BERT, ModelConfig
from llmasos.tokenizers import END_OF_TEXT, train_tokenizer

SPECIAL = (END_OF_TEXT, "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
N = 1500


@pytest.fixture(scope="module")
def abc():
    """A tokenizer of three letters, and a model whose predictions depend strongly on the other letter."""
    tokenizer = train_tokenizer("char", ["abc"], special_tokens=SPECIAL)
    torch.manual_seed(3)
    fields = {
        "family": "bert",
        "context_length": 8,
        "n_layers": 1,
        "n_heads": 2,
        "d_model": 16,
        "norm_position": "post",
    }
    model = BERT(ModelConfig(vocab_size=tokenizer.vocab_size, **fields)).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    return model.eval(), tokenizer


def conditional(model, tokenizer, ids) -> np.ndarray:
    """p(letter | the others) at each position: (T, 3)."""
    with torch.inference_mode():
        logits = model(torch.tensor([ids])).masked[0]
    return logits[:, list(map(int, tokenizer.encode("abc")))].softmax(-1).numpy()


def frequencies(rows, tokenizer) -> np.ndarray:
    """The frequency of each generated pair of letters: (3, 3)."""
    index = {int(id): i for i, id in enumerate(tokenizer.encode("abc"))}
    counts = np.zeros((3, 3))
    for row in rows:
        counts[index[row[1]], index[row[2]]] += 1
    return counts / len(rows)


def exact(model, tokenizer) -> tuple[np.ndarray, np.ndarray]:
    """The distributions of two letters generated one after the other in random order, and both at once."""
    mask, abc = tokenizer.special_tokens["[MASK]"], list(map(int, tokenizer.encode("abc")))
    empty = tokenizer.build_inputs([mask, mask]).ids
    first = conditional(model, tokenizer, empty)[1:3]
    p = np.zeros((3, 3))
    for i, j in product(range(3), range(3)):
        second = conditional(model, tokenizer, tokenizer.build_inputs([abc[i], mask]).ids)[2, j]
        other = conditional(model, tokenizer, tokenizer.build_inputs([mask, abc[j]]).ids)[1, i]
        p[i, j] = (first[0, i] * second + first[1, j] * other) / 2
    return p, np.outer(first[0], first[1])


@pytest.mark.parametrize("steps", [None, 1])
def test_the_texts_have_the_distribution_of_the_model(abc, steps):
    """With one letter per step, the mean over both orders; with both in one step, as if they were independent."""
    model, tokenizer = abc
    row = tokenizer.build_inputs([tokenizer.special_tokens["[MASK]"]] * 2).ids
    measured = frequencies(unmask_ids(model, tokenizer, [row] * N, steps), tokenizer)
    one_by_one, at_once = exact(model, tokenizer)
    expected, other = (one_by_one, at_once) if steps is None else (at_once, one_by_one)
    chi2 = N * ((measured - expected) ** 2 / expected).sum()
    assert chi2 < 26.1  # χ² with 8 degrees of freedom, p = 0.001
    assert N * ((measured - other) ** 2 / other).sum() > 40  # and the two can be distinguished


def test_the_most_certain_are_first(abc):
    model, tokenizer = abc
    mask = tokenizer.special_tokens["[MASK]"]
    ids = tokenizer.build_inputs([mask] * 4).ids
    written = unmask_ids(model, tokenizer, [ids], temperature=0, order="confident")[0]
    abc_ids = list(map(int, tokenizer.encode("abc")))
    while mask in ids:  # by the definition
        p = conditional(model, tokenizer, ids)
        at = max((i for i, id in enumerate(ids) if id == mask), key=lambda i: p[i].max())
        ids[at] = abc_ids[int(p[at].argmax())]
    assert written == ids


@pytest.mark.parametrize("steps", [None, 1, 3, 50])
@pytest.mark.parametrize("order", ["random", "confident"])
def test_every_mask_is_filled_and_nothing_else_changes(steps, order):
    model, tokenizer = tiny_bert(), letters()
    texts = ["a[MASK]c[MASK]", "[MASK]" * 7, "the [MASK]"]
    filled = unmask(model, tokenizer, texts, steps, order=order, seed=1)
    for text, new in zip(texts, filled, strict=True):
        assert len(new) == len(text.replace("[MASK]", "?")) and "[" not in new
        assert all(a == b or a == "?" for a, b in zip(text.replace("[MASK]", "?"), new, strict=True))
    assert filled == unmask(model, tokenizer, texts, steps, order=order, seed=1)
    assert filled[:1] == unmask(model, tokenizer, texts[:1], steps, order=order, seed=1)
    assert filled != unmask(model, tokenizer, texts, steps, order=order, seed=2) or order == "confident"


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"texts": ["abc"]}, r"has no \[MASK\]"),
        ({"steps": 0}, "steps"),
        ({"order": "left"}, "order"),
        ({"temperature": -1}, "temperature"),
        ({"texts": ["[MASK]" * 63]}, "context"),
    ],
)
def test_what_is_refused(arguments, words):
    with pytest.raises(UserError, match=words):
        unmask(tiny_bert(), letters(), **{"texts": ["[MASK]"], **arguments})


def test_no_texts_are_no_texts():
    assert unmask(tiny_bert(), letters(), []) == []


def test_a_gpt_is_refused(abc):
    from training_helpers import tiny_model

    with pytest.raises(UserError, match="cannot fill in masked tokens"):
        unmask(tiny_model(), letters(), ["[MASK]"])
