"""The view `forward_trace` of `/v1/inspect`: how one token is computed, from the text to the sampled token."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from llmasos.errors import UserError
from llmasos.generation import SamplingOptions
from llmasos.generation.options import sampler_fields
from llmasos.generation.sampling import constrain
from llmasos.interpret import SamplingTrace, TraceStep, forward_trace, sampling_trace
from llmasos.models import Model
from llmasos.objectives.masked import MASK
from llmasos.serving.api.text_views import DIGITS, token_to_dict
from llmasos.tokenizers import Tokenizer

SHOWN_VALUES = 8  # of a vector
SHOWN_TOKENS = 12  # of the vocabulary


def trace_view(
    model: Model,
    tokenizer: Tokenizer,
    ids: Sequence[int],
    head: int,
    options: SamplingOptions,
    run: Callable[[Callable[[], Any]], Any],
) -> dict[str, Any]:
    """Follow one prediction: a GPT's token after the text, or a BERT's at the first [MASK].

    Args:
        model: a GPT or a BERT with the output layer of its pretraining.
        tokenizer: the model's.
        ids: the text.
        head: the attention head to show.
        options: the sampling options of a GPT. For a BERT, the most likely token is taken.
        run: the function that runs a job with the model.

    Raises:
        UserError: as `forward_trace`, or as `predicted_position`.
    """
    position = predicted_position(model, tokenizer, ids)
    steps = run(lambda: forward_trace(model, torch.tensor(ids), position, head))
    logits = steps[-1].values[: tokenizer.vocab_size].float().cpu()
    if model.config.generates:
        allowed = constrain(logits[None], model.generation_config, [ids], [[]])[0]
        choice = sampling_trace(allowed, options, ids)
    else:
        choice = sampling_trace(logits, SamplingOptions(temperature=0))
    return {
        "position": position,
        "head": head,
        "heads": model.config.n_heads,
        "steps": [step_to_dict(step) for step in steps],
        **choice_to_dict(tokenizer, logits, choice),
    }


def predicted_position(model: Model, tokenizer: Tokenizer, ids: Sequence[int]) -> int:
    """The position whose prediction is followed: a GPT's is the last, a BERT's the first [MASK].

    Raises:
        UserError: a BERT's text has no [MASK].
    """
    if model.config.family != "bert":
        return len(ids) - 1
    mask = tokenizer.special_tokens.get(MASK)
    if mask not in ids:
        raise UserError(f"the text has no {MASK}, where a bert predicts the token; write {MASK} in place of a word.")
    return ids.index(mask)


def step_to_dict(step: TraceStep) -> dict[str, Any]:
    """A step with the beginning of its values; scores and weights are whole, one for each visible token."""
    n = len(step.values) if step.name in ("scores", "weights") else SHOWN_VALUES
    return {
        "name": step.name,
        "block": step.block,
        "formula": step.formula,
        "sentence": step.sentence,
        "shape": list(step.values.shape),
        "values": numbers(step.values[:n]),
    }


def choice_to_dict(tokenizer: Tokenizer, logits: Tensor, choice: SamplingTrace) -> dict[str, Any]:
    """The most likely tokens with their numbers at each stage, and the token that was sampled."""
    best = logits.topk(min(SHOWN_TOKENS, len(logits))).indices.tolist()
    shown = best if choice.id in best else [*best[:-1], choice.id]
    candidates = [
        token_to_dict(tokenizer, id)
        | {
            "logit": number(logits[id]), "probability": number(logits.softmax(dim=0)[id]),
            "stages": [number(values[id]) for _, values in choice.stages], "sampled": number(choice.probabilities[id]),
        }
        for id in shown
    ]  # fmt: skip
    help = {rule.name: rule.metadata["help"] for rule in sampler_fields()}
    stages = [
        {"rule": rule, "sentence": f"{help[rule][:1].upper()}{help[rule][1:]}.", "kept": int(values.isfinite().sum())}
        for rule, values in choice.stages
    ]
    return {"candidates": candidates, "stages": stages, "uniform": choice.uniform, "chosen": choice.id}


def number(value: Tensor) -> float | None:
    """A number as JSON can hold it; None for a token that a rule has excluded."""
    return round(float(value), DIGITS) if value.isfinite() else None


def numbers(values: Tensor) -> list[float | None]:
    """A vector as JSON can hold it."""
    return [number(value) for value in values.float().cpu()]
