"""Masked diffusion: learn to fill in *any* number of masked tokens, and so to write a text out of masks.

    k = 2     the   old  [MASK]  sat  [MASK]  the   sea
    k = 6   [MASK] [MASK] [MASK] sat  [MASK] [MASK] [MASK]

Of the L tokens of a text, masked language modeling (`masked.py`) always masks 15 %, and replaces some of them by
something else than [MASK]: it learns to read. Here the number k of masked tokens is drawn uniformly from 1 … L, which
ones are drawn uniformly too, and all of them become [MASK]. Then the loss is a bound for the probability of the *whole*
text:

    -log p(text | L)  ≤  E over k and which k  [ L / k · Σ over the k masked tokens of -log p(token | the others) ]

Why. Write the tokens in a random order σ, one after the other, each given those already written. By the chain rule and
Jensen's inequality the text has -log p ≤ E_σ Σ_i -log p(token σ_i | tokens σ_1 … σ_{i-1}). With i - 1 tokens written,
k = L - i + 1 are still masked, and by symmetry each of them is equally likely to be the next: instead of one of them we
take the mean over all k, which the model predicts at once. The sum over i is L times the mean over k. (Uria et al.
2014; Hoogeboom et al. 2022, "Autoregressive diffusion models". Sahoo et al. 2024 and Nie et al. 2025, "LLaDA", arrive
at the same loss from diffusion in continuous time: each token is masked with a probability t, uniform in 0 … 1, and the
weight L / k becomes 1 / t. Drawing the number k instead of a probability t gives less noise.)

The bound is per text, given its number of tokens. `generation/unmasking.py` samples from the model.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llmasos.datasets.batching import pad
from llmasos.errors import UserError
from llmasos.objectives import masked
from llmasos.objectives.masked import masked_targets, unused_head
from llmasos.objectives.objective import IGNORE_INDEX, Batch, MakeRng, collate_inputs
from llmasos.tokenizers.pair_template import EncodedInput
from llmasos.tokenizers.tokenizer import MASK, Tokenizer


class NoisedText(NamedTuple):
    """A text, and the part of the range 1 … L from which the number of masked tokens is drawn.

    Attributes:
        inputs: the text with its special tokens, which are never masked.
        stratum: (i, n): the part number i of n equal parts; (0, 1) = all. If the texts of a validation set take all n
            parts in turn, their mean loss has much less noise ("stratified sampling").
    """

    inputs: EncodedInput
    stratum: tuple[int, int] = (0, 1)


class MaskedDiffusion:
    """An example is a `NoisedText`; the loss is the bound above, in nats per token of the text.

    Args:
        tokenizer: one with [MASK] among its special tokens.

    Raises:
        UserError: the tokenizer has no [MASK].
    """

    def __init__(self, tokenizer: Tokenizer):
        if MASK not in tokenizer.special_tokens:
            raise UserError(
                f"masked diffusion needs a special token {MASK}, and this {tokenizer.kind} tokenizer has only "
                f"{', '.join(tokenizer.special_tokens)}: use a wordpiece tokenizer, or train one with {MASK}."
            )
        self.mask_id, self.pad_id = tokenizer.special_tokens[MASK], tokenizer.pad_id
        self.special = tokenizer.special_mask  # (V,) bool

    def collate(self, examples: Sequence[NoisedText], rngs: Sequence[MakeRng]) -> Batch:
        """Mask each text: `ids` (after masking), `attention_mask`, `segments` and `targets`, all (B, T).

        `n_tokens` (B,) are the L of the texts, and `weight` (B,) their L / k.
        """
        rows = [self.mask_tokens(example, rng()) for example, rng in zip(examples, rngs, strict=True)]
        ids, _ = pad([ids for ids, _, _ in rows], self.pad_id)
        targets, _ = pad([targets for _, targets, _ in rows], IGNORE_INDEX)
        n_tokens = torch.tensor([n for _, _, n in rows])
        n_masked = (targets != IGNORE_INDEX).sum(dim=1)
        inputs = collate_inputs([example.inputs for example in examples], self.pad_id)
        return {**inputs, "ids": ids, "targets": targets, "n_tokens": n_tokens, "weight": n_tokens / n_masked.clamp(1)}

    def mask_tokens(self, example: NoisedText, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, int]:
        """Mask k of the L tokens: return the masked ids (T,), the targets (T,) and L."""
        ids = np.asarray(example.inputs.ids)
        candidates = np.flatnonzero(~self.special[ids])  # (L,)
        i, n = example.stratum
        u = (i + rng.random()) / n
        k = int(u * len(candidates)) + 1 if len(candidates) else 0  # uniform in 1 … L
        chosen = rng.permutation(candidates)[:k]
        noised, targets = ids.copy(), np.full(len(ids), IGNORE_INDEX)
        noised[chosen], targets[chosen] = self.mask_id, ids[chosen]
        return noised, targets, len(candidates)

    def n_targets(self, batch: Batch) -> dict[str, int]:
        """The number of tokens of the texts, masked or not: the loss is for all of them."""
        return {"diffusion": int(batch["n_tokens"].sum())}

    def loss_sums(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """The sum of the losses of the texts."""
        return {"diffusion": self.text_losses(model, batch).sum()}

    def text_losses(self, model: nn.Module, batch: Batch) -> Tensor:
        """For each text, L / k times the cross-entropy of its k masked tokens: (B,) nats."""
        output = masked.forward(model, batch)
        losses = F.cross_entropy(output.masked.float(), masked_targets(batch), reduction="none")  # (N,)
        row = (batch["targets"] != IGNORE_INDEX).nonzero()[:, 0]  # (N,): the text of each masked token
        sums = torch.zeros(len(batch["ids"]), device=losses.device).index_add(0, row, losses)  # (B,)
        # Every parameter must take part in the loss, even those of the other head: data-parallel training requires it.
        return sums * batch["weight"] + unused_head(output)
