"""The probability of each token of a text under a model, and the tokens that the model finds more likely.

A GPT predicts each token from those before it; a translator also from the source. A BERT sees both sides, so each token
is masked in turn and predicted from all others (Salazar et al. 2020, "Masked Language Model Scoring"). The sum of those
log probabilities is a score of the text, its pseudo-log-likelihood, but not the logarithm of its probability: a masked
token is predicted from later ones, too.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llmasos.errors import UserError
from llmasos.models import BERT, GPT
from llmasos.nn import eval_mode
from llmasos.objectives.masked import MASK
from llmasos.tokenizers import Tokenizer

CHUNK = 64  # positions whose logits over the whole vocabulary are in memory at once


class TokenScore(NamedTuple):
    """One token of a text.

    Attributes:
        id: the token.
        text: its text; U+FFFD for a piece of a character.
        logprob: ln of its probability; None where the model predicts nothing: for a GPT's first token, which has no
            context, and for a BERT's special tokens.
        rank: the number of more likely tokens; None where there is no logprob.
        alternatives: the most likely tokens at this position, (id, text, logprob), the most likely first.
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
        text: no longer than the model's context. Of ids, the first is not scored, even if it is a begin-of-text token.
        n: the number of alternatives for each token.

    Raises:
        UserError: the model is not a GPT, the text is empty or too long, or an id is not in the vocabulary.
    """
    if not (isinstance(model, GPT) and model.config.generates):
        raise UserError(
            "only a gpt with its language-model head gives each token of a text a probability; use such a model."
        )
    if text == "":
        raise UserError("the text is empty; give one with at least one token.")
    ids = tokenizer.encode_prompt(text) if isinstance(text, str) else checked_ids(tokenizer, text)
    with eval_mode(model):
        hidden_states = model.hidden_states(torch.tensor([ids], device=device_of(model)))[0, :-1]  # (T - 1, C)
    scores = score_rows(tokenizer, map(model.lm_head, hidden_states.split(CHUNK)), ids[1:], n)
    # A begin-of-text token that `encode_prompt` has added is not part of the text.
    added = isinstance(text, str) and tokenizer.begin_of_text is not None
    return scores if added else [unscored(tokenizer, ids[0]), *scores]


@torch.inference_mode()
def score_masked_tokens(
    model: nn.Module, tokenizer: Tokenizer, ids: Sequence[int], n: int = 5, positions: Sequence[int] | None = None
) -> list[TokenScore]:
    """Score each token of a BERT's input, masking one at a time. Special tokens are not scored.

    Args:
        model: a BERT with its own output layer, in any mode.
        tokenizer: the one it was trained with.
        ids: T token ids, at most the model's context. The model reads them up to T times.
        n: the number of alternatives for each token.
        positions: which tokens to score, from 0; None = all.

    Raises:
        UserError: the model is not such a BERT, the text is empty or too long, or an id is not in the vocabulary.
    """
    if not (isinstance(model, BERT) and model.config.is_pretraining):
        raise UserError("only a bert with its pretraining head predicts masked tokens; use such a model.")
    ids = checked_ids(tokenizer, ids)
    positions = range(len(ids)) if positions is None else positions
    scored = [position for position in positions if not tokenizer.special_mask[ids[position]]]

    def logits() -> Iterator[Tensor]:
        unmasked = torch.tensor([ids], device=device_of(model))
        for chunk in torch.tensor(scored, dtype=torch.long).split(CHUNK):
            masked = F.one_hot(chunk, len(ids)).bool().to(unmasked.device)  # (N, T), one True in each row
            yield model(unmasked.masked_fill(masked, tokenizer.special_tokens[MASK]), predict=masked).masked

    with eval_mode(model):
        scores = iter(score_rows(tokenizer, logits(), [ids[position] for position in scored], n))
    return [next(scores) if i in scored else unscored(tokenizer, ids[i]) for i in positions]


@torch.inference_mode()
def score_target(
    model: nn.Module, tokenizer: Tokenizer, source: Sequence[int], target: Sequence[int], n: int = 5
) -> list[TokenScore]:
    """Score each token of a translation, given the source and the translation's tokens before it.

    Args:
        model: an encoder–decoder, in any mode.
        tokenizer: the one it was trained with.
        source: the ids of the source and end_of_text.
        target: the ids of the translation and end_of_text, without the decoder's start token.
        n: the number of alternatives for each token.

    Raises:
        UserError: one of the two is empty or too long, or an id is not in the vocabulary.
    """
    source, target = checked_ids(tokenizer, source), checked_ids(tokenizer, target)
    decoder_ids = [tokenizer.start_of_target, *target[:-1]]
    source_ids, target_ids = (torch.tensor([ids], device=device_of(model)) for ids in (source, decoder_ids))
    with eval_mode(model):
        logits = model(source_ids, target_ids)[0]
    return score_rows(tokenizer, [logits], target, n)


def checked_ids(tokenizer: Tokenizer, ids: Sequence[int]) -> list[int]:
    """The ids as a list. Raises UserError if there are none, or one is not in the vocabulary."""
    if len(ids) == 0:
        raise UserError("the text is an empty list; give at least one token id.")
    invalid = [id for id in ids if type(id) is not int or not 0 <= id < tokenizer.vocab_size]
    if invalid:
        raise UserError(
            f"the text contains {invalid[0]!r}, which is not a token id; they are whole numbers from 0 to "
            f"{tokenizer.vocab_size - 1}."
        )
    return list(ids)


def score_rows(tokenizer: Tokenizer, logits: Iterable[Tensor], ids: Sequence[int], n: int) -> list[TokenScore]:
    """The `TokenScore` of each of N tokens.

    Args:
        tokenizer: the model's.
        logits: the predictions (N, V) at the positions of these tokens, in chunks that need not be in memory together.
        ids: the N tokens.
        n: the number of alternatives.
    """
    scores: list[TokenScore] = []
    for chunk in logits:
        logprobs = chunk[:, : tokenizer.vocab_size].float().log_softmax(dim=-1).cpu()
        for row, id in zip(logprobs, ids[len(scores) : len(scores) + len(logprobs)], strict=True):
            values, indices = row.topk(min(n, len(row)))
            best = zip(indices.tolist(), values.tolist(), strict=True)
            alternatives = [(other, tokenizer.token_text(other), logprob) for other, logprob in best]
            rank = int((row > row[id]).sum())
            scores.append(TokenScore(id, tokenizer.token_text(id), float(row[id]), rank, alternatives))
    return scores


def unscored(tokenizer: Tokenizer, id: int) -> TokenScore:
    """The score of a token that the model does not predict."""
    return TokenScore(id, tokenizer.token_text(id), None, None, [])


def device_of(model: nn.Module) -> torch.device:
    """The device of the model's weights."""
    return next(model.parameters()).device
