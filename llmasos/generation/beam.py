"""Beam search: extend the K most probable texts at once instead of one, and keep the K best finished ones.

Greedy decoding cannot take back a token. Beam search carries K unfinished texts, the *beam*, from step to step. For
each text:

    extend     every text of the beam by every token              → K · V candidates, each with its log-probability
    finish     those of the K best candidates that end            (with a stop token): finished hypotheses
    continue   with the K best candidates that do not end         → the next beam

Only K finished hypotheses are kept, the best by *score*. A log-probability alone would favor short texts, because every
token makes it smaller; it is therefore divided by a length penalty (Wu et al. 2016, "Google's Neural Machine
Translation System", equation 14, without its coverage term), with |Y| tokens, the stop token included:

    score(Y) = log P(Y) / lp(Y),        lp(Y) = ((5 + |Y|) / 6)^α

α = 0 ranks by log P(Y). The search for one text stops when nothing that is still in the beam can become better than the
worst of K finished hypotheses (see `_is_over`), at the latest after max_new_tokens tokens; texts that are then still
unfinished are cut off and rank after all finished ones. With K = 1 the search is greedy decoding.

All texts take their steps together, in one batch of B · K sequences of the cached decoder (`decoder.py`); a text whose
search is over is removed from the batch. Among equal candidates, the one that continues the better text comes first,
then the one with the lower token id. `naive.py` has the same search for one text, without batch, cache and stopping
rule.

Dimensions: B texts, K beams, V vocabulary.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch

from llmasos.generation.decoder import Decoder
from llmasos.generation.options import BeamOptions, options_for
from llmasos.generation.prompts import Prompt, batches_by_length, check_sequences_fit, prepare
from llmasos.generation.sequence import SequenceState
from llmasos.models import Model
from llmasos.nn import eval_mode
from llmasos.tokenizers.tokenizer import Tokenizer


@dataclass(frozen=True)
class Hypothesis:
    """A result of beam search.

    Attributes:
        text: the new text, without prompt and special tokens.
        ids: its tokens; the last one is a stop token if it is finished.
        logprob: the natural logarithm of the model's probability of these tokens.
        score: logprob / lp, by which hypotheses are ranked.
        finished: whether it ended with a stop token; otherwise it was cut off after max_new_tokens.
    """

    text: str
    ids: list[int]
    logprob: float
    score: float
    finished: bool


def beam_search(
    model: Model,
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
        options: the number of beams and the length penalty (None = as the model recommends, see `options_for`).
        batch_size: how many texts are searched at once; texts of similar length are batched together.

    Returns:
        For each text, its best hypotheses, at most K, best first: the finished ones, then those that were cut off.

    Raises:
        UserError: a source is empty or too long, the tokenizer does not fit the model, the model cannot generate, or
            its output is not a number.
    """
    prompts, options = prepare(model, tokenizer, texts, options or options_for(model, BeamOptions))
    check_sequences_fit(model, prompts[:1], options.beams, "beams")
    results: list[list[Hypothesis]] = [[] for _ in prompts]
    with eval_mode(model):
        for indices in batches_by_length(prompts, batch_size):
            best = _search(model, tokenizer, [prompts[i] for i in indices], options)
            for i, sequences in zip(indices, best, strict=True):
                results[i] = [_hypothesis(sequence, tokenizer, options) for sequence in sequences]
    return results


def length_penalty(n_tokens: int, alpha: float) -> float:
    """lp(Y) = ((5 + |Y|) / 6)^α of Wu et al. 2016, equation 14, for a text of |Y| = `n_tokens` tokens."""
    return ((5 + n_tokens) / 6) ** alpha


def score(sequence: SequenceState, options: BeamOptions) -> float:
    """log P(Y) / lp(Y) of the text that a sequence has generated."""
    return sum(sequence.logprobs) / length_penalty(len(sequence.ids), options.length_penalty)


@torch.inference_mode()
def _search(
    model: Model, tokenizer: Tokenizer, prompts: list[Prompt], options: BeamOptions
) -> list[list[SequenceState]]:
    """The best sequences for each prompt, best first."""
    K, ends = options.beams, frozenset(options.stop_token_ids)
    m = K + K * len(ends)  # enough for K that continue: of each old beam at most len(ends) candidates end
    sequences = [SequenceState(prompt.ids, options, source=prompt.source) for prompt in prompts]
    decoder = Decoder(model, sequences, tokenizer.vocab_size)
    results: list[list[SequenceState]] = [[] for _ in prompts]
    active = list(range(len(prompts)))  # the texts whose beams are in the decoder, one after the other
    for length in range(1, options.max_new_tokens + 1):
        unfinished, parents, sequences = [], [], []
        for text, candidates in zip(active, _best_candidates(decoder, len(active), m), strict=True):
            ended = [c.extend(decoder) for c in candidates[:K] if c.id in ends and c.is_possible]
            beam = [c for c in candidates if c.id not in ends][:K]
            results[text] = sorted(results[text] + ended, key=lambda s: score(s, options), reverse=True)[:K]
            if length == options.max_new_tokens:
                cut_off = [c.extend(decoder) for c in beam if c.is_possible]
                results[text] += cut_off[: K - len(results[text])]
            elif not _is_over(results[text], beam, options):
                unfinished.append(text)
                parents += [c.parent for c in beam]
                sequences += [c.extend(decoder) for c in beam]
        active = unfinished
        if not active or length == options.max_new_tokens:
            break
        decoder.reorder(parents, sequences)
        decoder.step()
    return results


class _Candidate(NamedTuple):
    """Sequence number `parent` of the decoder, followed by the token `id`; log P of both together is `total`."""

    total: float
    parent: int
    id: int
    logprob: float

    @property
    def is_possible(self) -> bool:
        """Whether its probability is not zero. (If the model must begin with a certain token, all others have zero.)"""
        return self.total > -math.inf

    def extend(self, decoder: Decoder) -> SequenceState:
        return decoder.sequences[self.parent].extended(self.id, self.logprob)


def _best_candidates(decoder: Decoder, n_texts: int, m: int) -> list[list[_Candidate]]:
    """For each text the m most probable candidates, best first; all, if there are fewer.

    `topk` may choose any of equal values, and float32 can make different totals equal. So it only determines the m-th
    largest total; all candidates that reach it are then sorted in double precision, ties by parent and token id.
    """
    logprobs = decoder.logprobs()  # (B·K, V), the K beams of one text in order, best first; in the first step K is 1
    n_beams, V = len(decoder.sequences) // n_texts, logprobs.size(1)
    sums = [sum(sequence.logprobs) for sequence in decoder.sequences]
    totals = (logprobs + torch.tensor(sums).to(logprobs)[:, None]).view(n_texts, n_beams * V)
    smallest = totals.topk(min(m, n_beams * V)).values[:, -1:]  # (B, 1)
    texts, places = (totals >= smallest).nonzero(as_tuple=True)
    values = logprobs.view(n_texts, n_beams * V)[texts, places]
    candidates: list[list[_Candidate]] = [[] for _ in range(n_texts)]
    for text, place, value in zip(texts.tolist(), places.tolist(), values.tolist(), strict=True):
        parent = text * n_beams + place // V
        candidates[text].append(_Candidate(sums[parent] + value, parent, place % V, value))
    return [sorted(items, key=lambda c: (-c.total, c.parent, c.id))[:m] for items in candidates]


def _is_over(finished: list[SequenceState], beam: list[_Candidate], options: BeamOptions) -> bool:
    """Whether continuing can no longer change the K best. Both lists are sorted, best first.

    Proof: log P ≤ 0 falls with every token, and lp is largest at the largest length M. So for every Y that continues an
    X in the beam, score(Y) = log P(Y) / lp(Y) ≤ log P(X) / lp(Y) ≤ log P(X) / lp(M), and beam[0] has the largest
    log P(X).
    """
    if options.beams == 1 and finished:  # greedy: the only path has ended
        return True
    if not beam or len(finished) < options.beams:
        return not beam
    bound = beam[0].total / length_penalty(options.max_new_tokens, options.length_penalty)
    return bound <= score(finished[-1], options)


def _hypothesis(sequence: SequenceState, tokenizer: Tokenizer, options: BeamOptions) -> Hypothesis:
    ids, text = sequence.ids, tokenizer.decode(sequence.ids, skip_special=True, previous=sequence.prompt[-1])
    finished = ids[-1] in options.stop_token_ids
    return Hypothesis(text, ids, sum(sequence.logprobs), score(sequence, options), finished)
