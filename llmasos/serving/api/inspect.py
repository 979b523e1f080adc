"""What `/v1/look` shows, as numbers for JSON: how likely each token was, who attends to whom, what each layer says.

    look(model, tokenizer, "Once there was", "tokens")
    look(model, tokenizer, "Once there was", "attention", layer=2)
    look(model, tokenizer, "Once there was", "lens")
    look(translator, tokenizer, "ein Hund", "attention", kind="cross_attention", target="a dog")

The numbers come from `llmasos/interpret`; here a text becomes what the model reads, sizes are bounded (an answer holds
a number for every pair of tokens, and other people wait while it is computed), and floats are rounded. What touches the
model goes through `run`, in pieces as small as can be: the server has the engine's thread do them.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from llmasos.errors import UserError
from llmasos.interpret import TokenScore, attention_maps, lens_rows, score_masked_tokens, score_target, score_tokens
from llmasos.interpret.tokens import checked_ids
from llmasos.prompting import template_of
from llmasos.tokenizers import Tokenizer

SHOWS = ("tokens", "attention", "lens")
ATTENTIONS = ("attention", "decoder_attention", "cross_attention")
"""Who looks at whom: a text at itself (of a translator, the source), the translation at itself, or at the source."""

LONGEST = {"tokens": 1024, "attention": 256, "lens": 256}  # of a gpt or a translation
LONGEST_HIDDEN = 128  # of a bert, which reads a text again for each of its tokens
MAX_ALTERNATIVES = 20
LENS_SAYS = 3  # how many tokens each layer names at each position
DIGITS = 4

READINGS_IN_A_ROW = 4  # readings of a text by a bert in one piece of the work

Job = Callable[[], Any]
Run = Callable[[Job], Any]
Input = str | Sequence[int] | Sequence[Mapping[str, str]]


@dataclass(frozen=True)
class Reading:
    """What the model reads: the ids of a text, and of its translation where there is one.

    Attributes:
        ids: of the text, with all special tokens that it is read with.
        target: of the translation, with the end_of_text that it is to end with; None = there is none.
        start: what the decoder reads before the translation.
    """

    ids: list[int]
    target: list[int] | None = None
    start: int | None = None

    @property
    def decoder_ids(self) -> list[int]:
        """What the decoder reads: at each place it says the token of `target` that stands there."""
        return [self.start, *self.target[:-1]]

    @property
    def size(self) -> int:
        """The number of tokens of the longer of the two."""
        return max(len(self.ids), len(self.target or ()))


def at_once(job: Job) -> Any:
    """Do a piece of the work here and now."""
    return job()


def look(
    model: nn.Module,
    tokenizer: Tokenizer,
    input: Input,
    show: str = "tokens",
    layer: int = 0,
    kind: str | None = None,
    target: str | Sequence[int] | None = None,
    n: int = 10,
    run: Run = at_once,
) -> dict[str, Any]:
    """Look inside a model while it reads a text.

    Args:
        model: any of the library's, in any mode.
        tokenizer: the one it was trained with.
        input: a text, or token ids (then read as they are), or the messages of a conversation.
        show: "tokens", "attention" or "lens".
        layer: whose attention, from 0.
        kind: which attention, one of `ATTENTIONS`; None = the text's own, of a translator with a target the one across.
        target: of a translator, the translation of the input.
        n: how many alternatives to give for each token, up to 20.
        run: calls each piece of the work that touches the model, and returns what it returns.

    Returns:
        "object": "look", "show" and, T and S being numbers of tokens, H heads, L layers,

        of "tokens": "tokens": [{"id", "text", "bytes", "logprob", "rank", "alternatives": [{"id", "token", "logprob",
        "bytes"}, …]}, …], where logprob and rank are None for a token about which the model was not asked; of a
        translator the tokens are the target's, and "source": [{"id", "text", "bytes"}, …];

        of "attention": "kind", "kinds" (those that there are), "layer", "layers": L, "heads": H, "tokens": those that
        look (T), "keys": those looked at (S), [{"id", "text", "bytes"}, …] both, and "weights": [H][T][S];

        of "lens": "tokens": [{"id", "text", "bytes"}, …] and "layers": [{"layer": 0, "says": [[{"id", "token",
        "probability"} × 3], … T of them]}, … L + 1 of them], for the next token (of a bert: the token that stands
        there).

    Raises:
        UserError: the text is empty or too long, or there is no such layer, kind or id, or the model has none of it.
    """
    if show not in SHOWS:
        raise UserError(f"show is {show!r}; it must be one of: {', '.join(SHOWS)}.")
    if not isinstance(n, int) or not 0 <= n <= MAX_ALTERNATIVES:
        raise UserError(f"n is {n!r}; it must be a whole number from 0 to {MAX_ALTERNATIVES}: so many alternatives.")
    reading = read(model, tokenizer, input, target)
    check_size(model, reading, show)
    if show == "tokens":
        numbers = show_tokens(model, tokenizer, reading, n, run)
    elif show == "lens":
        numbers = show_lens(model, tokenizer, reading, run)
    else:
        numbers = show_attention(model, tokenizer, reading, layer, kind, run)
    return {"object": "look", "show": show, **numbers}


def read(model: nn.Module, tokenizer: Tokenizer, input: Input, target: str | Sequence[int] | None) -> Reading:
    """What the model reads for an input, as it would if it were asked to answer it.

    Raises:
        UserError: it is empty, an id is not in the vocabulary, or there is a target and the model is no translator.
    """
    config = model.config
    translates = config.family == "transformer" and config.generates
    if target is not None and not translates:
        raise UserError(f"target is for translators, and the model is a {config.family}: leave it out.")
    if not isinstance(input, str) and input and isinstance(input[0], Mapping):
        if config.family != "gpt" or not config.is_pretraining:
            raise UserError(f"the input is a conversation, and the model is a {config.family}: give a text.")
        ids = template_of(tokenizer).encode(tokenizer, input, answer=False).ids
    elif not isinstance(input, str):
        ids = checked_ids(tokenizer, input)
    elif config.family == "bert":
        ids = tokenizer.build_inputs(tokenizer.encode(input, allow_special=True)).ids  # [MASK] is the token, not its letters
    elif translates:
        ids = [*tokenizer.encode(input), tokenizer.end_of_text]
    elif not config.is_pretraining:
        ids = tokenizer.build_inputs(tokenizer.encode(input)).ids
    else:
        ids = tokenizer.encode_prompt(input)
    if target is None:
        return Reading(ids)
    written = tokenizer.encode(target) if isinstance(target, str) else checked_ids(tokenizer, target)
    return Reading(ids, [*written, tokenizer.end_of_text], tokenizer.start_of_target)


def check_size(model: nn.Module, reading: Reading, show: str) -> None:
    """Raise UserError if a text is too long to be shown so."""
    config = model.config
    hides = show == "tokens" and config.family == "bert"
    most = min(LONGEST_HIDDEN if hides else LONGEST[show], config.context_length)
    if reading.size > most:
        raise UserError(
            f"the text has {reading.size} tokens, and {show!r} is shown for at most {most} of this model's: give a "
            "shorter text."
        )


def show_tokens(model: nn.Module, tokenizer: Tokenizer, reading: Reading, n: int, run: Run) -> dict[str, Any]:
    """How likely each token was. Raises UserError for a translator without a target."""
    if reading.target is not None:
        scores = run(lambda: score_target(model, tokenizer, reading.ids, reading.target, n))
        source = named(tokenizer, reading.ids)
        return {"source": source, "tokens": [score_to_dict(tokenizer, score) for score in scores]}
    if model.config.family == "transformer":
        raise UserError("a translator says how likely the tokens of a translation are: give the translation, too.")
    if model.config.family == "bert":
        scores, places = [], range(len(reading.ids))
        for start in places[::READINGS_IN_A_ROW]:
            some = places[start : start + READINGS_IN_A_ROW]
            scores += run(partial(score_masked_tokens, model, tokenizer, reading.ids, n, some))
    else:
        scores = run(lambda: score_tokens(model, tokenizer, reading.ids, n))
    return {"tokens": [score_to_dict(tokenizer, score) for score in scores]}


def score_to_dict(tokenizer: Tokenizer, score: TokenScore) -> dict[str, Any]:
    """One token and its alternatives. A probability of 0 (to a float) has no logarithm; it is taken as 1e-45."""
    alternatives = [
        {
            "id": id,
            "token": text,
            "logprob": round(math.log(max(probability, 1e-45)), DIGITS),
            "bytes": list(tokenizer.token_bytes(id)),
        }
        for id, text, probability in score.alternatives
    ]
    logprob = None if score.logprob is None else round(score.logprob, DIGITS)
    [token] = named(tokenizer, [score.id])
    return token | {"logprob": logprob, "rank": score.rank, "alternatives": alternatives}


def show_lens(model: nn.Module, tokenizer: Tokenizer, reading: Reading, run: Run) -> dict[str, Any]:
    """What each layer would say."""
    rows = ({"layer": row.layer, "says": says(tokenizer, row.logits)}
            for row in lens_rows(model, torch.tensor(reading.ids)))  # fmt: skip
    layers = []
    while (layer := run(lambda: next(rows, None))) is not None:
        layers.append(layer)
    return {"tokens": named(tokenizer, reading.ids), "layers": layers}


def says(tokenizer: Tokenizer, logits: Tensor) -> list[list[dict[str, Any]]]:
    """The likeliest tokens of each row of logits (T, V)."""
    best = logits[:, : tokenizer.vocab_size].softmax(dim=-1).topk(min(LENS_SAYS, tokenizer.vocab_size))
    return [
        [
            {"id": id, "token": tokenizer.token_text(id), "probability": probability}
            for id, probability in zip(ids, probabilities, strict=True)
        ]
        for ids, probabilities in zip(best.indices.tolist(), rounded(best.values), strict=True)
    ]


def show_attention(
    model: nn.Module, tokenizer: Tokenizer, reading: Reading, layer: int, kind: str | None, run: Run
) -> dict[str, Any]:
    """The weights of all heads of one layer."""
    maps = run(lambda: maps_by_kind(model, reading))
    kind = kind or ("cross_attention" if "cross_attention" in maps else "attention")
    if kind not in maps:
        hint = "; the other kinds need a translator and a target" if kind in ATTENTIONS else ""
        raise UserError(f"kind is {kind!r}; here it must be one of: {', '.join(maps)}{hint}.")
    layers = maps[kind]
    if type(layer) is not int or not 0 <= layer < len(layers):
        most = len(layers) - 1
        raise UserError(f"layer is {layer!r}; the model has {most + 1} of them, numbered from 0 to {most}.")
    weights = layers[layer][0]  # (H, T, S)
    tokens = reading.ids if kind == "attention" else reading.decoder_ids
    keys = reading.decoder_ids if kind == "decoder_attention" else reading.ids
    return {
        "kind": kind, "kinds": list(maps), "layer": layer, "layers": len(layers), "heads": len(weights),
        "tokens": named(tokenizer, tokens), "keys": named(tokenizer, keys), "weights": rounded(weights),
    }  # fmt: skip


def maps_by_kind(model: nn.Module, reading: Reading) -> dict[str, list[Tensor]]:
    """For each kind of attention that there is, the weights (1, H, T, S) of each layer."""
    device = next(model.parameters()).device
    ids = torch.tensor([reading.ids], device=device)
    if reading.target is not None:
        maps = attention_maps(model, ids, torch.tensor([reading.decoder_ids], device=device))
    else:
        maps = attention_maps(model, ids, run=getattr(model, "backbone", model).hidden_states)
    found: dict[str, list[Tensor]] = {}
    for name, weights in maps.items():
        blocks, _, attention = re.fullmatch(r"(?:backbone\.)?(\w*blocks)\.(\d+)\.(\w+)", name).groups()
        kind = "decoder_attention" if (blocks, attention) == ("decoder_blocks", "attention") else attention
        found.setdefault(kind, []).append(weights)
    return found


def named(tokenizer: Tokenizer, ids: Sequence[int]) -> list[dict[str, Any]]:
    """Each token with its text, and with its bytes, which may be a piece of a character."""
    return [{"id": id, "text": tokenizer.token_text(id), "bytes": list(tokenizer.token_bytes(id))} for id in ids]


def rounded(numbers: Tensor) -> list:
    """A tensor as nested lists of numbers with at most four digits after the point."""
    return np.round(numbers.double().cpu().numpy(), DIGITS).tolist()
