"""Judged solutions of lesson 03; see test_wrong_and_right.py."""

ATTENTION = """
def attention(q, k, v, mask=None):
    scores = q @ k.mT * q.size(-1) ** -0.5
    if mask is not None:
        scores = scores.masked_fill(mask.logical_not(), {hidden})
    return scores.softmax({dim}) @ v
"""

WRONG = {"attention": {"hidden scores of only -15": ATTENTION.format(hidden="-15.0", dim="-1")}}
RIGHT = {"attention": {"as the formula": ATTENTION.format(hidden="float('-inf')", dim="-1")}}
NAMED = {"attention": {"softmax over the batch": ATTENTION.format(hidden="float('-inf')", dim="0")}}
