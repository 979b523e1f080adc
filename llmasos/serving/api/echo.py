"""`echo` of `/v1/completions`: the prompt as a part of the response and, with `logprobs`, how likely each token was.

This is how a program scores a text instead of generating one:

    {"prompt": "Paul lived by the river.", "echo": true, "logprobs": 1, "max_tokens": 0}

The sum of the log probabilities of an answer's tokens is what evaluation harnesses compare between several answers.
They also put `<|endoftext|>` before a text whose first token is to be scored. So a special token at the start of such
a prompt is read as that token; everywhere else in a text its name is ordinary text, so that nobody can inject one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from llmasos.interpret import score_tokens
from llmasos.serving.api.generation_fields import check_amount
from llmasos.serving.http.errors import RequestError
from llmasos.serving.http.http_types import Request
from llmasos.serving.requests import GeneratedToken
from llmasos.serving.served_model import ServedModel
from llmasos.tokenizers import Tokenizer
from llmasos.tokenizers.incremental_detokenizer import IncrementalDetokenizer


@dataclass(frozen=True)
class Echo:
    """A prompt that is repeated before its continuation.

    Attributes:
        text: the prompt's text.
        tokens: the tokens that are part of the text; () if no log probabilities are requested. The first token has no
            log probability, unless the model's begin-of-text token is before it.
        offsets: the start of each token in the text, in characters.
    """

    text: str = ""
    tokens: tuple[GeneratedToken, ...] = ()
    offsets: tuple[int, ...] = ()


def read_prompts(request: Request, prompts: Sequence[str | list[int]], alternatives: int | None) -> list[Echo]:
    """The echo of each prompt.

    Args:
        request: the request whose client is waiting.
        prompts: texts or token ids.
        alternatives: the number of most likely tokens to add at each position; None = no log probabilities at all.

    Raises:
        RequestError: a prompt to be scored does not fit the context, or there are too many tokens.
        QueueFull, ShuttingDown: as `Request.run`.
    """
    served = request.served
    if alternatives is None:
        return [Echo(text_and_offsets(served, prompt)[0]) for prompt in prompts]
    as_ids = [with_special_start(served.tokenizer, prompt) for prompt in prompts]
    lengths = [len(served.tokenizer.encode_prompt(p) if isinstance(p, str) else p) for p in as_ids]
    for index, length in enumerate(lengths):
        check_length(served, length, "prompt" if len(prompts) == 1 else f"prompt[{index}]")
    values = request.values
    check_amount(served, len(prompts), values["n"], max(lengths) + values["max_tokens"], alternatives)
    echoes = []
    for prompt, scored in zip(prompts, as_ids, strict=True):
        text, offsets = text_and_offsets(served, prompt)
        score = partial(score_tokens, served.model, served.tokenizer, scored, alternatives)
        tokens = [
            GeneratedToken(score.id, score.text, score.logprob, tuple(score.alternatives))
            for score in (request.run(score) if scored else [])
        ]
        echoes.append(Echo(text, tuple(tokens), offsets))
    return echoes


def special_start(tokenizer: Tokenizer, prompt: str) -> str:
    """The name of the special token that a text begins with, or "".

    >>> from llmasos.tokenizers import ByteTokenizer
    >>> special_start(ByteTokenizer(), "<|endoftext|>Anna"), special_start(ByteTokenizer(), "Anna <|endoftext|>")
    ('<|endoftext|>', '')
    """
    return next((name for name in tokenizer.special_tokens if prompt.startswith(name)), "")


def with_special_start(tokenizer: Tokenizer, prompt: str | list[int]) -> str | list[int]:
    """Turn a prompt that begins with the name of a special token into token ids; return any other unchanged."""
    if not isinstance(prompt, str) or not (name := special_start(tokenizer, prompt)):
        return prompt
    return [tokenizer.special_tokens[name], *tokenizer.encode(prompt[len(name) :])]


def check_length(served: ServedModel, n_tokens: int, where: str) -> None:
    """Raise RequestError if a prompt does not fit the context: scoring only its end would not score the text."""
    if n_tokens > served.engine.context_length:
        raise RequestError(
            f"{where} has {n_tokens} tokens, and the model's context has {served.engine.context_length}; with echo and "
            "logprobs all of it is read, so shorten it.",
            where, code="context_length_exceeded",
        )  # fmt: skip


def text_and_offsets(served: ServedModel, prompt: str | list[int]) -> tuple[str, tuple[int, ...]]:
    """The text of a prompt, and where each of its tokens begins. Special tokens have no text."""
    if isinstance(prompt, str):
        n = len(special_start(served.tokenizer, prompt))
        starts = [n + start for start in served.tokenizer.encode_with_offsets(prompt[n:]).starts]
        return prompt, tuple([0, *starts] if n else starts)
    offsets = OffsetCounter(served.tokenizer).offsets_of(prompt)
    return served.tokenizer.decode(prompt, skip_special=True), tuple(offsets)


class OffsetCounter:
    """Where the tokens of a text begin, in characters. If a character has several tokens, all have its offset.

    >>> from llmasos.tokenizers import ByteTokenizer
    >>> OffsetCounter(ByteTokenizer()).offsets_of("aéb".encode())
    [0, 1, 1, 2]

    Args:
        tokenizer: the tokenizer of the ids.
        start: the offset of the first one.
        prompt: the text or the ids that they continue.
    """

    def __init__(self, tokenizer: Tokenizer, start: int = 0, prompt: str | Sequence[int] = ""):
        before = tokenizer.encode(prompt) if isinstance(prompt, str) else prompt
        self._detokenizer = IncrementalDetokenizer(
            tokenizer, skip_special=True, previous=before[-1] if before else None
        )
        self._n_characters = start

    def offsets_of(self, ids: Iterable[int]) -> list[int]:
        """The offsets of the next tokens of the text."""
        offsets = []
        for id in ids:
            offsets.append(self._n_characters)
            self._n_characters += len(self._detokenizer.push(id))
        return offsets
