"""Induction heads: how a model continues a sequence that has occurred before in its context (Olsson et al. 2022).

    … A B … A → B          look for the last A, and predict what followed it

It takes two layers: a head that looks at the previous token, so that B's position knows it came after A; and a later
head that looks for the position after an earlier occurrence of the current token. Both are measured on repeated random
tokens, where only the repetition helps.

    r₁ r₂ r₃ … r_n r₁ r₂ r₃ … r_n        at position n + i, an induction head looks at position i + 1
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from llmasos.errors import UserError
from llmasos.interpret.attention import attention_maps
from llmasos.models import GPT
from llmasos.nn import eval_mode


@dataclass(frozen=True)
class InductionScores:
    """How much each head attends to the position that induction needs, from 0 to 1, and the resulting losses.

    Attributes:
        previous_token: (L, H), the mean weight on the previous token.
        induction: (L, H), the mean weight, in the second half, on the token after the earlier occurrence.
        uniform: the value of `induction` for a head with equal weights.
        first_loss, second_loss: nats per token in the first half (at best log V) and in the second.
    """

    previous_token: Tensor
    induction: Tensor
    uniform: float
    first_loss: float
    second_loss: float


@torch.inference_mode()
def induction_scores(
    model: GPT, length: int | None = None, n_sequences: int = 16, seed: int = 0, tokens: Tensor | None = None
) -> InductionScores:
    """Measure a model on repeated random tokens.

    Args:
        model: a GPT.
        length: n, the length of the half that is repeated (None = as long as the context allows, at most 50).
        n_sequences: the number of sequences to average over.
        seed: seed of the random tokens.
        tokens: the ids to draw from (None = the whole vocabulary).

    Raises:
        UserError: the model is not a GPT, or its context is shorter than two halves.
    """
    if not isinstance(model, GPT) or not model.config.generates:
        raise UserError("induction is measured in a gpt with its own output layer.")
    n = min(50, model.config.context_length // 2) if length is None else length
    if not 2 <= n <= model.config.context_length // 2:
        raise UserError(f"length is {n}; twice that must fit into the context of {model.config.context_length} tokens.")
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(seed)
    choices = torch.arange(model.config.vocab_size) if tokens is None else tokens.long()
    half = choices[torch.randint(len(choices), (n_sequences, n), generator=generator)]
    ids = half.repeat(1, 2).to(device)  # (B, 2·n)
    with eval_mode(model):
        maps = attention_maps(model, ids)
        logits = model(ids)[:, :-1].float()
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    loss = loss.view(n_sequences, 2 * n - 1)
    weights = torch.stack([layer.mean(0) for layer in maps.values()]).cpu()  # (L, H, T, T)
    previous = weights.diagonal(offset=-1, dim1=2, dim2=3).mean(-1)  # row t, column t - 1
    after = weights[:, :, n:, 1:].diagonal(dim1=2, dim2=3)  # row n + i, column i + 1
    uniform = float((1 / torch.arange(n + 1, 2 * n + 1)).mean())  # row n + i sees n + i + 1 keys
    return InductionScores(previous, after.mean(-1), uniform, float(loss[:, : n - 1].mean()), float(loss[:, n:].mean()))
