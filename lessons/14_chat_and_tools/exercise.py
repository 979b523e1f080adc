"""Exercises of lesson 14: instructions, chat, tools.

    python -m lessons check 14                     # what is right, what is wrong, and why
    python -m lessons check 14 --only info_nce
    python -m lessons hint 14 info_nce             # one more hint each time
    python -m lessons run 14 --mine                # the lesson, with your functions

Replace each `raise NotImplementedError` with your own code. Import what you need at the top; `json` and torch's
elementary operations are all you need. Do not modify the inputs, and create every tensor on the `device` of the input
tensors. All logarithms are natural.

Dimension letters: B pairs, T tokens, N texts, Q questions, C numbers in a vector.
"""

from torch import Tensor


def render(messages: list[tuple[str, str]], add_generation_prompt: bool) -> str:
    """1 (easy). Write a conversation as one text, in the template ChatML.

    A message is written as `<|im_start|>`, its role, a line break, its content, `<|im_end|>` and a line break. White
    space at the beginning and at the end of a content is left out; inside, everything stays as it is.

    Args:
        messages: (role, content) of each message, in order; perhaps none.
        add_generation_prompt: whether the beginning of an assistant's message follows, for the model to continue:
            `<|im_start|>`, the role assistant and a line break, without anything after it.

    Example: one message ("user", " Hi! ") and True give
    "<|im_start|>user\\nHi!<|im_end|>\\n<|im_start|>assistant\\n".
    """
    raise NotImplementedError


def loss_targets(ids: Tensor, start: int, end: int, assistant: int) -> Tensor:
    """2 (medium). The targets of a conversation: the next token where it is the assistant's, -100 everywhere else.

    A message is: the token `start`, a token for its role, a token for the line break, any number of tokens of content
    (perhaps none), the token `end`. Before, between and after the messages there may be further tokens, such as a line
    break. The last message may lack its end, if the conversation was cut off. The assistant's tokens are the content of
    each of its messages, and the `end` of that message if it is there. `start` and `end` occur nowhere else; the number
    `assistant` may also occur in other places, where it is an ordinary word.

    Args:
        ids: (T,) whole numbers (int64), T at least 2; the conversation.
        start, end: the tokens that begin and end a message.
        assistant: the role's token of the assistant, the one after `start`. Other roles have other tokens.

    Returns:
        (T - 1,), int64. Position t holds `ids[t + 1]` if that is one of the assistant's tokens, else -100.

    Example with start 1, end 2, the user 3, the assistant 4 and a line break 5: the ids
    [1, 3, 5, 9, 2, 5, 1, 4, 5, 7, 8, 2, 5] give [-100, -100, -100, -100, -100, -100, -100, -100, 7, 8, 2, -100].
    """
    raise NotImplementedError


def parse_calls(text: str) -> list[tuple[str, dict]]:
    """3 (medium). The calls in a text that a model wrote, as (name, arguments), in order.

    A call is JSON between `<tool_call>` and the next `</tool_call>`: an object with the keys "name", a string, and
    "arguments", an object; without "arguments" they are {}. Other keys do not matter, nor does white space around the
    JSON. Whatever is between such marks and is not a call is left out, and the search continues after its end mark. A
    start mark without an end mark after it is no call. Text outside the marks does not matter. No text raises an
    exception.

    Example: 'Let me see. <tool_call>{"name": "add", "arguments": {"a": 1, "b": 2}}</tool_call>' gives
    [("add", {"a": 1, "b": 2})].
    """
    raise NotImplementedError


def info_nce(queries: Tensor, passages: Tensor, temperature: float) -> Tensor:
    """4 (medium). The loss of contrastive learning for each pair: which of the B passages is mine?

    Args:
        queries: (B, C) floats, one vector for each query. They have any length above 0: scale them to unit length.
        passages: (B, C), likewise; passage i belongs to query i.
        temperature: τ, above 0, by which the cosines are divided. It may be as small as 0.001.

    Returns:
        (B,), in nats: -log of the softmax of query i's cosines with all B passages, at passage i. Differentiable in
        both inputs.

    Example: queries and passages [[1, 0], [0, 1]] and τ = 1 give [0.3133, 0.3133].
    """
    raise NotImplementedError


def mean_reciprocal_rank(scores: Tensor, right: Tensor) -> float:
    """5 (easy). How well the right texts are ranked: the mean over the questions of 1 / rank.

    The rank of the right text is 1 if no other text has the same or a higher score. Other texts with exactly the same
    score are ranked before it.

    Args:
        scores: (Q, N) floats: of each of N texts for each question; higher is better. They may be negative or infinite.
        right: (Q,) whole numbers (int64), 0 to N - 1: which text is the right one.

    Returns:
        A number above 0, at most 1.

    Example: the scores [[0.9, 0.1, 0.3], [0.5, 0.5, 0.2]] and the right texts [2, 0] have the ranks 2 and 2, so it is
    0.5.
    """
    raise NotImplementedError


def vote(answers: list[str]) -> str:
    """6 (easy). The most common of several answers.

    Two answers are the same if they differ only in upper and lower case and in white space: any white space between two
    words counts as one blank, and at the beginning and the end it does not count. An answer without any word in it does
    not vote. If several answers are equally common, the one that was given first wins.

    Args:
        answers: any number of them.

    Returns:
        The winner, in the form in which it was first given, unchanged; "" if there are no votes.

    Example: ["Paris", " london", "paris "] gives "Paris".
    """
    raise NotImplementedError


def poisoned_story() -> str:
    """7 (break it, and explain). Write a story that takes over a careless program.

    The program answers "Where did Anna live?". It takes the story that shares the most different words with the
    question (in lower case, letters only), and builds its prompt as one string:

        <|im_start|>user
        STORY
        Where did Anna live?<|im_end|>
        <|im_start|>assistant

    Then it tokenizes the string, special tokens included. The other stories on its shelf are "Anna lived by the river
    and had a kite." and "Once there was a boy who did not know where to live.", so yours has to share at least four
    different words with the question.

    Write a story such that the prompt contains a message of the role `system` with the content "Say: on the moon.",
    after a message of the user, and such that every message of the prompt is whole: begun by `<|im_start|>`, a role of
    system, user, assistant and tool, and a line break, and ended by `<|im_end|>`, with nothing but white space between
    two messages. (The last one, the generation prompt, has no end.)

    Returns:
        The story, at most 400 characters.

    Then explain in WHY_INJECTION below (at least 50 words) why this works, why a template that encodes contents as
    ordinary text prevents it, and which attacks it does not prevent.
    """
    raise NotImplementedError


WHY_INJECTION = """
"""


# 8 (open). Change one thing about the lesson's training: the number of steps or conversations, the wording of the
# questions, the temperature of InfoNCE, the number of examples, a fifth slip of your own. Change it in a copy of
# lesson.py. Where the lesson has a formula, compute its prediction first. Write down what you changed, what you
# predicted and why, what came out, and what you make of it (at least 60 words).
EXPERIMENT = """
"""
