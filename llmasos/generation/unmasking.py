"""Generation by unmasking: a masked language model fills in the [MASK]s of a text, a few at each step.

    step 1   [MASK] [MASK]  old   [MASK] [MASK]  the  [MASK]
    step 2     the  [MASK]  old   [MASK]   by    the  [MASK]
    step 3     the   shy    old     man    by    the    sea

At each step the model predicts all masked positions at once, and a part of them takes a token that is sampled from its
prediction. Tokens that are sampled at the same step do not see each other. So with as many steps as masks, one token a
step, the text is a sample of the distribution that `objectives/masked_diffusion.py` bounds, in a random order; fewer
steps are faster, but the text is worse: the tokens of a step are sampled as if they were independent.

The next positions are random, as in training, or those where the model is most certain ("confident", Chang et al. 2022,
"MaskGIT"). The latter prefers easy predictions. With few steps its texts are more coherent, but they are no longer
samples of the model's distribution: they vary less.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from llmasos.capabilities import check_capability
from llmasos.datasets.batching import pad
from llmasos.errors import UserError, check_number
from llmasos.generation import sampling
from llmasos.generation.options import SamplingOptions
from llmasos.nn import eval_mode
from llmasos.settings import check_choice
from llmasos.tokenizers.tokenizer import MASK, Tokenizer

if TYPE_CHECKING:
    from llmasos.models import Model

ORDERS = ("random", "confident")


def unmask(
    model: "Model",
    tokenizer: Tokenizer,
    texts: Sequence[str],
    steps: int | None = None,
    temperature: float = 1.0,
    order: str = "random",
    seed: int = 0,
) -> list[str]:
    """Fill in all [MASK]s of some texts.

    Args:
        model, tokenizer: a BERT with its pretraining head, best one trained by the task masked-diffusion.
        texts: each with one [MASK] for every token to write: `"Once there was " + "[MASK]" * 20`.
        steps: the number of steps; None = one for each [MASK], which samples from the model's own distribution.
        temperature: divides the logits; 0 takes the most likely token.
        order: "random" or "confident".
        seed: the random seed; a text depends on it and on its index in the list.

    Returns:
        The texts without masks.

    Raises:
        UserError: a text has no [MASK] or is too long, an option is out of range, or the model is not a BERT with its
            pretraining head.
    """
    for text in texts:
        if MASK not in text:
            raise UserError(f"the text {text!r:.100} has no {MASK}; write one for each token to fill in.")
    rows = [tokenizer.build_inputs(tokenizer.encode(text, allow_special=True)).ids for text in texts]
    filled = unmask_ids(model, tokenizer, rows, steps, temperature, order, seed)
    return [tokenizer.decode(ids, skip_special=True) for ids in filled]


@torch.inference_mode()
def unmask_ids(
    model: "Model",
    tokenizer: Tokenizer,
    rows: Sequence[Sequence[int]],
    steps: int | None = None,
    temperature: float = 1.0,
    order: str = "random",
    seed: int = 0,
) -> list[list[int]]:
    """The same for token ids with their special tokens. Row number i depends on `seed` and i alone."""
    check_capability("fill-mask", model.config.family, model.config.head)
    if steps is not None:
        check_number("steps", steps, whole=True, at_least=1)
    check_choice("order", order, ORDERS)
    options = SamplingOptions(temperature=temperature)
    if not rows:
        return []
    device, mask_id = next(model.parameters()).device, tokenizer.special_tokens[MASK]
    ids, attention_mask = (x.to(device) for x in pad([np.asarray(row) for row in rows], tokenizer.pad_id))  # (B, T)
    special = torch.as_tensor(tokenizer.special_mask, device=device)  # (V,): never sampled
    rngs = [np.random.default_rng([seed, i]) for i in range(len(rows))]
    n_masks = (ids == mask_id).sum(dim=1).tolist()
    with eval_mode(model):
        for step in range(1, max(n_masks if steps is None else [steps]) + 1):
            masked = ids == mask_id  # (B, T), N of them True
            if not masked.any():
                break
            logits = (
                model(ids, attention_mask, predict=masked).masked.float().masked_fill(special, -torch.inf)
            )  # (N, V)
            logits = sampling.process_logits(logits, options)
            for i, own in enumerate(logits.split(masked.sum(dim=1).tolist())):  # of one text: (n, V)
                n_left = n_masks[i] * max((steps or n_masks[i]) - step, 0) // (steps or n_masks[i] or 1)
                chosen = choose(own, len(own) - n_left, order, rngs[i])  # which of its n masks
                if len(chosen):
                    positions = masked[i].nonzero()[chosen, 0]
                    ids[i, positions] = draw(own[chosen], options, rngs[i])
    return [row[: len(own)].tolist() for row, own in zip(ids, rows, strict=True)]


def choose(logits: Tensor, n: int, order: str, rng: np.random.Generator) -> Tensor:
    """Choose n of the masked positions of a text, whose logits are (M, V): their indices (n,)."""
    if order == "random":
        return torch.from_numpy(rng.permutation(len(logits))[:n]).to(logits.device)
    return logits.softmax(dim=-1).amax(dim=-1).argsort(descending=True, stable=True)[:n]


def draw(logits: Tensor, options: SamplingOptions, rng: np.random.Generator) -> Tensor:
    """Sample a token for each position, or take the most likely one at temperature 0: (n, V) → (n,)."""
    if options.greedy:
        return sampling.greedy(logits)
    uniforms = rng.integers(0, 2**24, len(logits)) / 2**24  # the form that `sampling.sample` expects
    return sampling.sample(logits, torch.from_numpy(uniforms).to(logits))
