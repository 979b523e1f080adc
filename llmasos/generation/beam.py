"""Beam search: follow the K most probable texts at once instead of one, and keep the K best that have ended.

Greedy decoding cannot take back a token. Beam search carries K unfinished texts, the *beam*, from step to step. For
each text to be written:

    extend   every text of the beam by every token                → K · V candidates, each with its log-probability
    set aside the candidates among the K best that end            (with end_of_text): finished hypotheses
    go on    with the K best candidates that do not end           → the next beam

Only K finished hypotheses are kept, the best by *score*. A log-probability alone would favour short texts, for every
token makes it smaller; it is therefore divided by a length penalty (Wu et al. 2016, "Google's Neural Machine
Translation System", equation 14, without its coverage term), with |Y| tokens, end_of_text included:

    score(Y) = log P(Y) / lp(Y),        lp(Y) = ((5 + |Y|) / 6)^α

α = 0 ranks by log P(Y). The search for one text stops when nothing that is still in the beam can become better than the
worst of K finished hypotheses (see `_is_over`), at the latest after max_new_tokens tokens; what has not ended by then
comes after all that has, cut off as it is. With K = 1 the search follows the greedy path and ends where it ends.

All texts take their steps together, in one batch of B · K rows of the cached decoder (`decoder.py`); a text whose
search is over leaves the batch. Of equal candidates, the one that continues the better text comes first, then the one
with the lower token id. `plain.py` has the same search for one text, without batch, cache and stopping rule.

Dimensions: B texts, K beams, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn

from llmasos.generation.decoder import Decoder
from llmasos.generation.options import BeamOptions
from llmasos.generation.prompts import Prompt, by_length, prepare
from llmasos.generation.sequence import SequenceState
from llmasos.nn import eval_mode
from llmasos.tokenizers.tokenizer import Tokenizer


@dataclass(frozen=True)
class Hypothesis:
    """One text that beam search has found.

    Attributes:
        text: the new text, without prompt and special tokens.
        ids: its tokens; the last one is end_of_text if it is finished.
        logprob: ln of the probability that the model gives to these tokens.
        score: logprob / lp, by which hypotheses are ranked.
        finished: whether it has ended by itself; otherwise it was cut off after max_new_tokens.
    """

    text: str
    ids: list[int]
    logprob: float
    score: float
    finished: bool


def beam_search(
    model: nn.Module,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    options: BeamOptions | None = None,
    batch_size: int = 32,
) -> list[list[Hypothesis]]:
    """Find the most probable continuations of prompts (GPT) or outputs for sources (encoder–decoder).

        beam_search(model, tokenizer, ["ein Hund schläft ."], BeamOptions(beams=4))[0][0].text

    Args:
        model: a GPT or a Transformer, on any device, in any mode (dropout is off while this runs).
        tokenizer: the one the model was trained with.
        texts: prompts as in `generate`, or sources as in `generate_from`.
        options: how wide to search and what to prefer (None = the defaults of `BeamOptions`).
        batch_size: how many texts are worked on at once; those of similar length go together.

    Returns:
        for each text its best hypotheses, at most K, best first: the finished ones, then those that were cut off.

    Raises:
        UserError: a source is empty or too long, the tokenizer does not fit the model, the model cannot write, or its
            output is not a number.
    """
    prompts, options = prepare(model, tokenizer, texts, options or BeamOptions())
    found: list[list[Hypothesis]] = [[] for _ in prompts]
    with eval_mode(model):
        for numbers in by_length(prompts, batch_size):
            best = _search(model, tokenizer, [prompts[number] for number in numbers], options)
            for number, rows in zip(numbers, best, strict=True):
                found[number] = [_hypothesis(row, tokenizer) for row in rows]
    return found


def length_penalty(n_tokens: int, alpha: float) -> float:
    """lp(Y) = ((5 + |Y|) / 6)^α of Wu et al. 2016, equation 14, for a text of |Y| = `n_tokens` tokens."""
    return ((5 + n_tokens) / 6) ** alpha


def score(row: SequenceState) -> float:
    """log P(Y) / lp(Y) of what the row has written."""
    return sum(row.logprobs) / length_penalty(len(row.ids), row.options.length_penalty)


@torch.inference_mode()
def _search(
    model: nn.Module, tokenizer: Tokenizer, prompts: list[Prompt], options: BeamOptions
) -> list[list[SequenceState]]:
    """The best rows for each prompt, best first."""
    K, end = options.beams, tokenizer.end_of_text
    rows = [SequenceState(prompt.ids, options, source=prompt.source) for prompt in prompts]
    decoder = Decoder(model, rows, tokenizer.vocab_size)
    found: list[list[SequenceState]] = [[] for _ in prompts]
    alive = list(range(len(prompts)))  # the texts whose beams are in the decoder, one after the other
    for length in range(1, options.max_new_tokens + 1):
        unfinished, parents, rows = [], [], []
        for text, candidates in zip(alive, _best_candidates(decoder, len(alive), 2 * K), strict=True):
            ended = [c for c in candidates[:K] if c.id == end]
            beam = [c for c in candidates if c.id != end][:K]  # of 2K at most K end: one for each row of the old beam
            found[text] = sorted(found[text] + [c.row(decoder) for c in ended], key=score, reverse=True)[:K]
            if length == options.max_new_tokens:
                found[text] += [c.row(decoder) for c in beam][: K - len(found[text])]
            elif not _is_over(found[text], beam, options):
                unfinished.append(text)
                parents += [c.parent for c in beam]
                rows += [c.row(decoder) for c in beam]
        alive = unfinished
        if not alive or length == options.max_new_tokens:
            break
        decoder.reorder(parents, rows)
        decoder.step()
    return found


class _Candidate(NamedTuple):
    """The row number `parent` of the decoder, followed by the token `id`; log P of both together is `total`."""

    total: float
    parent: int
    id: int
    logprob: float

    def row(self, decoder: Decoder) -> SequenceState:
        return decoder.rows[self.parent].followed_by(self.id, self.logprob)


def _best_candidates(decoder: Decoder, n_texts: int, m: int) -> list[list[_Candidate]]:
    """For each text the m most probable candidates, best first; all, if there are fewer.

    `topk` may choose any of equal values, and float32 makes unequal totals equal. So it only says which total is the
    m-th; everything that is at least that is looked at again, in double precision and in order of place.
    """
    logprobs = decoder.logprobs()  # (B·K, V), the K rows of one text in order, best first; in the first step K is 1
    n_rows, V = len(decoder.rows) // n_texts, logprobs.size(1)
    so_far = [sum(row.logprobs) for row in decoder.rows]
    totals = (logprobs + torch.tensor(so_far).to(logprobs)[:, None]).view(n_texts, n_rows * V)
    least = totals.topk(min(m, n_rows * V)).values[:, -1:]  # (B, 1)
    texts, places = (totals >= least).nonzero(as_tuple=True)
    values = logprobs.view(n_texts, n_rows * V)[texts, places]
    candidates: list[list[_Candidate]] = [[] for _ in range(n_texts)]
    for text, place, value in zip(texts.tolist(), places.tolist(), values.tolist(), strict=True):
        parent = text * n_rows + place // V
        candidates[text].append(_Candidate(so_far[parent] + value, parent, place % V, value))
    return [sorted(own, key=lambda c: (-c.total, c.parent, c.id))[:m] for own in candidates]


def _is_over(finished: list[SequenceState], beam: list[_Candidate], options: BeamOptions) -> bool:
    """Whether going on can no longer change the K best. Both lists are sorted, best first.

    Proof: log P ≤ 0 falls with every token, and lp is largest at the largest length M. So whatever Y grows from an X in
    the beam has score(Y) = log P(Y) / lp(Y) ≤ log P(X) / lp(Y) ≤ log P(X) / lp(M); beam[0] has the largest log P(X).
    """
    if options.beams == 1 and finished:  # greedy: the only path has ended
        return True
    if not beam or len(finished) < options.beams:
        return not beam
    bound = beam[0].total / length_penalty(options.max_new_tokens, options.length_penalty)
    return bound <= score(finished[-1])


def _hypothesis(row: SequenceState, tokenizer: Tokenizer) -> Hypothesis:
    finished = row.ids[-1] == tokenizer.end_of_text
    return Hypothesis(tokenizer.decode(row.ids, skip_special=True), row.ids, sum(row.logprobs), score(row), finished)
