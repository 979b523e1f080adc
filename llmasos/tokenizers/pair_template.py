"""Pair templates: how one or two texts become the input of an encoder or a classifier, with special tokens around them.

    BERT                 [CLS] how are you ? [SEP] i am fine . [SEP]       if the tokenizer has [CLS] and [SEP]
    segments              0    0   0   0  0   0   1  1   1  1   1

    other tokenizers     how are you ? <|endoftext|> i am fine . <|endoftext|>
    segments              0   0   0  0       0       1  1   1  1       1

    RoBERTa              <s> how are you? </s> </s> i am fine. </s>        two separators between the texts

One token represents the whole input: a classifier reads its hidden state. In BERT, where every token attends to every
other, it is the first, [CLS] (Devlin et al. 2019, section 3.1). A GPT only sees earlier tokens, so there it is the last
`<|endoftext|>` (Radford et al. 2018, figure 1, where it is called Extract).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class EncodedInput(NamedTuple):
    """One or two encoded texts with their special tokens.

    Attributes:
        ids: the tokens, including the special ones.
        segments: for each token 0 (the first text and its special tokens) or 1 (the second text and its last token).
        cls_index: the index of the token that represents the whole input.
        second_start: the index at which the second text's tokens start; len(ids) if there is none.
    """

    ids: list[int]
    segments: list[int]
    cls_index: int
    second_start: int


def build_inputs(
    first: Sequence[int] | np.ndarray,
    second: Sequence[int] | np.ndarray | None,
    prefix: Sequence[int],
    separator: int,
    n_between: int = 1,
) -> EncodedInput:
    """Put special tokens around one or two encoded texts.

    >>> build_inputs([5, 6], [7], prefix=[1], separator=2)
    EncodedInput(ids=[1, 5, 6, 2, 7, 2], segments=[0, 0, 0, 0, 1, 1], cls_index=0, second_start=4)
    >>> build_inputs([5, 6], None, prefix=[], separator=9)
    EncodedInput(ids=[5, 6, 9], segments=[0, 0, 0], cls_index=2, second_start=3)

    Args:
        first, second: the ids of the texts; `second` may be None.
        prefix: the [CLS] token before the first text, or nothing. It represents the input; without it the last token
            does.
        separator: the token after each text.
        n_between: the number of separators between two texts.
    """
    segment_0 = [*prefix, *first, *[separator] * (1 if second is None else n_between)]
    segment_1 = [] if second is None else [*second, separator]
    ids = segment_0 + segment_1
    segments = [0] * len(segment_0) + [1] * len(segment_1)
    return EncodedInput(ids, segments, cls_index=0 if prefix else len(ids) - 1, second_start=len(segment_0))
