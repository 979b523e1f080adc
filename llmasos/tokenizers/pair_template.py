"""One or two texts as a model that reads (and does not continue) them wants them: framed by special tokens.

    BERT's frame        [CLS] how are you ? [SEP] i am fine . [SEP]       where there are [CLS] and [SEP]
    segments              0    0   0   0  0   0   1  1   1  1   1

    the plain frame     how are you ? <|endoftext|> i am fine . <|endoftext|>        with any other tokenizer
    segments             0   0   0  0       0       1  1   1  1       1

One token stands for the whole: what a classifier looks at. In BERT, where every token sees every other, it is the
first, [CLS] (Devlin et al. 2019, section 3.1). A GPT sees only what came before, so there it is the last
`<|endoftext|>` (Radford et al. 2018, figure 1, where it is called Extract).
"""

from collections.abc import Sequence
from typing import NamedTuple


class EncodedInput(NamedTuple):
    """One or two framed texts.

    Attributes:
        ids: the tokens, special ones included.
        segments: for each token 0 (the first text and what frames it) or 1 (the second and what closes it).
        cls_index: the index of the token that stands for the whole.
        second_start: the index at which the second text's tokens begin; len(ids) if there is none.
    """

    ids: list[int]
    segments: list[int]
    cls_index: int
    second_start: int


def build_inputs(first: Sequence[int], second: Sequence[int] | None, opening: Sequence[int], closing: int) -> EncodedInput:
    """Frame one or two encoded texts.

    >>> build_inputs([5, 6], [7], opening=[1], closing=2)
    EncodedInput(ids=[1, 5, 6, 2, 7, 2], segments=[0, 0, 0, 0, 1, 1], cls_index=0, second_start=4)
    >>> build_inputs([5, 6], None, opening=[], closing=9)
    EncodedInput(ids=[5, 6, 9], segments=[0, 0, 0], cls_index=2, second_start=3)

    Arguments:
        first, second: the ids of the texts; `second` may be None.
        opening: the token before the first text, or none. If there is one it is the summary, else the last token is.
        closing: the token after each text.
    """
    head = [*opening, *first, closing]
    tail = [] if second is None else [*second, closing]
    ids = head + tail
    return EncodedInput(ids, [0] * len(head) + [1] * len(tail), 0 if opening else len(ids) - 1, len(head))
