"""Generation as it is explained on a blackboard: no cache, no batch, the whole text is read again for every token.

This is the definition. `decoder.py` and `beam.py` must give the same tokens, and are tested to.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from llmasos.generation.beam import length_penalty
from llmasos.generation.options import BeamOptions, SamplingOptions
from llmasos.generation.sequence import SequenceState, next_tokens
from llmasos.nn import eval_mode


@torch.inference_mode()
def generate_naive(
    model: nn.Module,
    prompt: Sequence[int],
    options: SamplingOptions,
    sample: int = 0,
    end_of_text: int | None = None,
    vocab_size: int | None = None,
    source: Sequence[int] | None = None,
) -> list[int]:
    """Continue one sequence of ids.

    Args:
        model: a GPT, or a Transformer if there is a source.
        prompt: at least one id, at most context_length; of a Transformer, its start token.
        options: how to choose tokens; stop strings are for text and not looked at here.
        sample: which sample of this prompt; decides the random numbers together with `options.seed`.
        end_of_text: the id after which to stop (None = none).
        vocab_size: only ids below it are chosen (None = all).
        source: the ids that the encoder of a Transformer reads.

    Returns:
        the new ids, with `end_of_text` if it was chosen.
    """
    row = SequenceState(tuple(prompt), options, sample, source=None if source is None else tuple(source))
    with eval_mode(model):
        for _ in range(options.max_new_tokens):
            logits = next_logits(model, [*prompt, *row.ids], source)[:, :vocab_size]  # (1, V)
            token = int(next_tokens(logits, [row]))
            row.ids.append(token)
            if token == end_of_text:
                break
    return row.ids


@torch.inference_mode()
def beam_search_naive(
    model: nn.Module,
    prompt: Sequence[int],
    options: BeamOptions,
    end_of_text: int,
    vocab_size: int | None = None,
    source: Sequence[int] | None = None,
) -> list[tuple[float, list[int]]]:
    """The best continuations of one sequence of ids, as `beam.py` explains it, without its stopping rule.

    Args:
        model, prompt, end_of_text, vocab_size, source: as in `generate_naive`.
        options: how wide to search and what to prefer.

    Returns:
        at most K pairs (log P, new ids): first those that end with `end_of_text`, best first, then those cut off.
    """

    def score(hypothesis: tuple[float, list[int]]) -> float:
        return hypothesis[0] / length_penalty(len(hypothesis[1]), options.length_penalty)

    K, beam, finished = options.beams, [(0.0, [])], []
    with eval_mode(model):
        for _ in range(options.max_new_tokens):
            candidates = []
            for total, ids in beam:
                logprobs = next_logits(model, [*prompt, *ids], source)[0, :vocab_size].log_softmax(dim=-1)  # (V,)
                candidates += [(total + logprob, [*ids, token]) for token, logprob in enumerate(logprobs.tolist())]
            candidates.sort(key=lambda candidate: -candidate[0])  # equal ones stay in order
            finished += [c for c in candidates[:K] if c[1][-1] == end_of_text]
            finished = sorted(finished, key=score, reverse=True)[:K]
            beam = [c for c in candidates if c[1][-1] != end_of_text][:K]
            if K == 1 and finished:
                break
    return [*finished, *beam][:K]


def next_logits(model: nn.Module, text: Sequence[int], source: Sequence[int] | None = None) -> Tensor:
    """Logits (1, V) of the token that follows the text, of which a GPT sees what `visible` leaves."""
    device = next(model.parameters()).device
    if source is not None:
        return model(torch.tensor([source], device=device), torch.tensor([text], device=device))[:, -1]
    window = visible(text, model.config.context_length)
    return model.lm_head(model.hidden_states(torch.tensor([window], device=device))[:, -1])


def visible(text: Sequence[int], context_length: int) -> Sequence[int]:
    """What the model sees of a text: all of it as long as it fits, then between half a context and a whole one.

    >>> [visible("abcdefgh"[:n], context_length=4) for n in range(3, 9)]
    ['abc', 'abcd', 'cde', 'cdef', 'efg', 'efgh']
    """
    excess = len(text) - context_length - 1
    if excess < 0:
        return text
    half = context_length // 2
    return text[-(half + 1 + excess % (context_length - half)) :]  # half a context, and what has been chosen since
