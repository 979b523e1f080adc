"""How sure a model was of each token of a text, and what it would have said in its place.

A GPT is asked before it sees the token, a translator too, with the source before its eyes. A BERT sees both sides, so
it is asked with this one token hidden (Salazar et al. 2020, "Masked Language Model Scoring"). The sum of those
logarithms is a score of the text, but not the logarithm of its probability: hidden tokens see those after them.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from llmasos.errors import UserError
from llmasos.nn import eval_mode
from llmasos.objectives.masked import MASK
from llmasos.tokenizers import Tokenizer

ROWS = 64  # positions whose logits over the whole vocabulary are in memory at once


class TokenScore(NamedTuple):
    """One token of a text.

    Attributes:
        id: the token.
        text: its text; U+FFFD for a piece of a character.
        logprob: ln of the probability that the model gave it; None where it was not asked: for a GPT's first token,
            before which there is nothing, and for a BERT's special tokens.
        rank: how many tokens were likelier; None where there is no logprob.
        alternatives: the likeliest tokens at this place, (id, text, probability), the likeliest first.
    """

    id: int
    text: str
    logprob: float | None
    rank: int | None
    alternatives: list[tuple[int, str, float]]


@torch.inference_mode()
def score_tokens(model: nn.Module, tokenizer: Tokenizer, text: str | Sequence[int], n: int = 5) -> list[TokenScore]:
    """Score each token of a text by a GPT.

    Args:
        model: a causal language model, in any mode.
        tokenizer: the one it was trained with.
        text: no longer than the model's context. Of ids the first is not scored, even if it only begins the text.
        n: how many alternatives to give for each token.

    Raises:
        UserError: the model is no GPT, the text is empty or too long, or an id is not in the vocabulary.
    """
    if model.config.family != "gpt" or not model.config.is_pretraining:
        raise UserError("only a gpt says how likely each token of a text is; use one.")
    if text == "":
        raise UserError("the text is empty; give one with at least one token.")
    ids = tokenizer.encode_prompt(text) if isinstance(text, str) else checked_ids(tokenizer, text)
    with eval_mode(model):
        hidden = model.hidden_states(torch.tensor([ids], device=device_of(model)))[0, :-1]  # (T - 1, C)
    scores = score_rows(tokenizer, map(model.lm_head, hidden.split(ROWS)), ids[1:], n)
    begins = isinstance(text, str) and tokenizer.begin_of_text is not None  # then the first token is not the text's own
    return scores if begins else [unscored(tokenizer, ids[0]), *scores]


@torch.inference_mode()
def score_masked_tokens(
    model: nn.Module, tokenizer: Tokenizer, ids: Sequence[int], n: int = 5, places: Sequence[int] | None = None
) -> list[TokenScore]:
    """Score each token of a framed text by a BERT, hiding one at a time. Special tokens are not scored.

    Args:
        model: a BERT with its own output layer, in any mode.
        tokenizer: the one it was trained with.
        ids: T of them, no more than the model's context. The model reads them up to T times.
        n: how many alternatives to give for each token.
        places: which tokens to score, from 0; None = all.

    Raises:
        UserError: the model is no such BERT, the text is empty or too long, or an id is not in the vocabulary.
    """
    if model.config.family != "bert" or not model.config.is_pretraining:
        raise UserError("only a bert without another head says what may stand in the place of a hidden token; use one.")
    ids = checked_ids(tokenizer, ids)
    places = range(len(ids)) if places is None else places
    asked = [place for place in places if not tokenizer.special_mask[ids[place]]]

    def logits() -> Iterator[Tensor]:
        whole = torch.tensor([ids], device=device_of(model))
        for rows in torch.tensor(asked, dtype=torch.long).split(ROWS):
            hidden = torch.nn.functional.one_hot(rows, len(ids)).bool().to(whole.device)  # (N, T), one True in each
            yield model(whole.masked_fill(hidden, tokenizer.special_tokens[MASK]), predict=hidden).masked

    with eval_mode(model):
        found = iter(score_rows(tokenizer, logits(), [ids[place] for place in asked], n))
    return [next(found) if place in asked else unscored(tokenizer, ids[place]) for place in places]


@torch.inference_mode()
def score_target(
    model: nn.Module, tokenizer: Tokenizer, source: Sequence[int], target: Sequence[int], n: int = 5
) -> list[TokenScore]:
    """Score each token of a translation, given the source and the translation's tokens before it.

    Args:
        model: an encoder–decoder, in any mode.
        tokenizer: the one it was trained with.
        source: its ids and end_of_text.
        target: the ids of the translation and end_of_text; what the decoder begins with is not among them.
        n: how many alternatives to give for each token.

    Raises:
        UserError: one of the two is empty or too long, or an id is not in the vocabulary.
    """
    source, target = checked_ids(tokenizer, source), checked_ids(tokenizer, target)
    read = [tokenizer.start_of_target, *target[:-1]]
    source_ids, target_ids = (torch.tensor([ids], device=device_of(model)) for ids in (source, read))
    with eval_mode(model):
        logits = model(source_ids, target_ids)[0]
    return score_rows(tokenizer, [logits], target, n)


def checked_ids(tokenizer: Tokenizer, ids: Sequence[int]) -> list[int]:
    """The ids of a text, if they are some. Raises UserError: there is none, or one that is not in the vocabulary."""
    if len(ids) == 0:
        raise UserError("the text is an empty list; give at least one token id.")
    odd = [id for id in ids if type(id) is not int or not 0 <= id < tokenizer.vocab_size]
    if odd:
        raise UserError(
            f"the text holds {odd[0]!r}, which is no token: ids are whole numbers from 0 to {tokenizer.vocab_size - 1}."
        )
    return list(ids)


def score_rows(tokenizer: Tokenizer, logits: Iterator[Tensor] | list[Tensor], ids: Sequence[int], n: int) -> list:
    """The `TokenScore` of each of N tokens.

    Args:
        tokenizer: what they belong to.
        logits: what was said where they stand: (N, V) in pieces, so that they need not all be in memory.
        ids: the N tokens.
        n: how many alternatives to give.
    """
    scores, ids = [], list(ids)
    for piece in logits:
        logprobs = piece[:, : tokenizer.vocab_size].float().log_softmax(dim=-1).cpu()
        for row, id in zip(logprobs, ids[len(scores) : len(scores) + len(logprobs)], strict=True):
            values, indices = row.topk(min(n, len(row)))
            best = zip(indices.tolist(), values.exp().tolist(), strict=True)
            alternatives = [(other, tokenizer.token_text(other), probability) for other, probability in best]
            rank = int((row > row[id]).sum())
            scores.append(TokenScore(id, tokenizer.token_text(id), float(row[id]), rank, alternatives))
    return scores


def unscored(tokenizer: Tokenizer, id: int) -> TokenScore:
    """A token about which the model was not asked."""
    return TokenScore(id, tokenizer.token_text(id), None, None, [])


def device_of(model: nn.Module) -> torch.device:
    """Where the model's weights are."""
    return next(model.parameters()).device
