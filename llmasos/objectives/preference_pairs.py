"""Shared by the objectives on whole answers: an answer's log-probabilities, and pairs of answers to one prompt.

    tokens    Once   upon   a   |  time   there   was   <|endoftext|>
    targets     -      -    -   |    ✓      ✓      ✓         ✓

The model is given the prompt; only the tokens of the answer are targets, including its end.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llmasos.datasets.batching import pad
from llmasos.objectives.objective import IGNORE_INDEX


class EncodedPreference(NamedTuple):
    """A prompt of at least one token, and two answers to it, the first of which was preferred; all as token ids."""

    prompt: Sequence[int]
    chosen: Sequence[int]
    rejected: Sequence[int]


def collate_answers(prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Stack prompts with their answers to `ids` and `targets` (B, T), padded on the right as in `CausalLM`.

    >>> ids, targets = collate_answers([[5, 6], [5]], [[7, 8], [9]])
    >>> ids.tolist(), targets.tolist()
    ([[5, 6, 7], [5, 0, 0]], [[-100, 7, 8], [9, -100, -100]])
    """
    texts = [np.concatenate([prompt, answer]) for prompt, answer in zip(prompts, answers, strict=True)]
    masked = [
        np.concatenate([np.full(len(prompt) - 1, IGNORE_INDEX), answer])
        for prompt, answer in zip(prompts, answers, strict=True)
    ]
    return pad([text[:-1] for text in texts], 0)[0], pad(masked, IGNORE_INDEX)[0]


def token_log_probs(model: nn.Module, ids: Tensor, targets: Tensor) -> Tensor:
    """log p(target at t | ids at 0 … t) in nats (B, T); 0 where there is no target.

    Args:
        model: a GPT.
        ids, targets: (B, T), as `collate_answers` makes them.
    """
    logits = model(ids)  # (B, T, V)
    loss = F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), reduction="none", ignore_index=IGNORE_INDEX)
    return -loss.view(targets.shape)


def frozen(model: nn.Module) -> nn.Module:
    """Put a model into evaluation mode and freeze its weights, in place, as a reference."""
    return model.eval().requires_grad_(False)


@torch.no_grad()
def reference_log_probs(reference: nn.Module, ids: Tensor, targets: Tensor) -> Tensor:
    """`token_log_probs` of a frozen model (B, T), without gradients."""
    return token_log_probs(reference, ids, targets)
