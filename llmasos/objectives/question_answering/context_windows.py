"""Split long contexts into overlapping windows, each preceded by the whole question.

Neighboring windows share `stride` tokens, so an answer of up to stride + 1 tokens is complete in at least one of them:

    context       a b c d e f g h i j         with room for 5 tokens and stride 2:
    windows       a b c d e
                        d e f g h
                              g h i j

In training, a window without the complete answer is an unanswerable example.

Answers are given as characters of the context, but models work with tokens. An answer's tokens are the fewest that
cover all its characters.
"""

from bisect import bisect_left, bisect_right
from typing import NamedTuple

import numpy as np

from llmasos.datasets.examples import QA, Answer
from llmasos.errors import UserError
from llmasos.tokenizers import EncodedInput, Encoding, Tokenizer


class ContextWindow(NamedTuple):
    """A question and a part of its context, encoded together.

    Attributes:
        inputs: the tokens. Those of the context are `inputs.ids[inputs.second_start : inputs.second_start + N]`.
        starts, ends: the character offsets of each of these N tokens in the context: (N,) int32.
        answer: indices into `inputs.ids` of the answer's first and last token; `inputs.cls_index` twice if the window
            does not contain the answer.
        n_cut: how many tokens of the question were cut off.
    """

    inputs: EncodedInput
    starts: np.ndarray
    ends: np.ndarray
    answer: tuple[int, int]
    n_cut: int = 0


def make_windows(qa: QA, tokenizer: Tokenizer, context_length: int, stride: int) -> list[ContextWindow]:
    """Cut a question's context into overlapping windows, at least one. If there are several answers, the first is the
    label. A question that would take more than half of the room is truncated.

    Args:
        qa: the question.
        tokenizer: encodes the question and the context.
        context_length: the longest sequence that the model can read, in tokens.
        stride: how many tokens of the context neighboring windows share.

    Raises:
        UserError: the stride leaves no room to advance.
    """
    room = context_length - tokenizer.n_special_tokens(2)
    if not 0 <= stride < room - room // 2:
        raise UserError(
            f"windows of {context_length} tokens cannot share {stride} of them: half of a window may be the question, "
            f"so give a stride of at most {max(0, room - room // 2 - 1)}, or a longer context."
        )
    whole_question, context = tokenizer.encode(qa.question), tokenizer.encode_with_offsets(qa.context)
    question = whole_question[: room // 2]
    size = room - len(question)
    first, last = covering_tokens(context, qa.answers[0]) if qa.answers else (0, -1)
    windows = []
    for begin in range(0, max(1, len(context.ids) - stride), size - stride):
        end = min(begin + size, len(context.ids))
        inputs = tokenizer.build_inputs(question, context.ids[begin:end])
        shift = inputs.second_start - begin  # from indices into the context's tokens to indices into inputs.ids
        is_complete = begin <= first <= last < end
        answer = (first + shift, last + shift) if is_complete else (inputs.cls_index, inputs.cls_index)
        starts, ends = (np.array(offsets[begin:end], dtype=np.int32) for offsets in (context.starts, context.ends))
        windows.append(ContextWindow(inputs, starts, ends, answer, len(whole_question) - len(question)))
    return windows


def covering_tokens(context: Encoding, answer: Answer) -> tuple[int, int]:
    """The indices of the first and the last of the fewest tokens that cover all characters of the answer.

    (If no token does, the last comes before the first: the answer is white space that the tokenizer skips.)
    """
    return bisect_right(context.ends, answer.start), bisect_left(context.starts, answer.start + len(answer.text)) - 1
