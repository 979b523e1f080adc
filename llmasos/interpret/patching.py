"""Which part of a model is responsible for its output? Three measures, from the most to the least reliable.

- **Activation patching** (Vig et al. 2020; Meng et al. 2022): run a clean text ("Anna had a kite. One day, she") and a
  corrupted one ("Paul …"); put a single activation of the clean run into the corrupted one. If this restores the
  answer, that activation carries the decisive information.
- **Ablation**: remove a part, and see what is lost. Little may be lost because another part takes over.
- **Direct logit attribution** (Elhage et al. 2021): apart from the last norm, a logit is linear in the residual stream,
  which is a sum. So the contribution of each block and each head can be read off. Its effect on later parts is not
  included.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from llmasos.errors import UserError
from llmasos.interpret.interventions import KINDS, Site, blocks_of, intervened, recorded, replaced
from llmasos.models import GPT, Model
from llmasos.nn import RMSNorm, eval_mode

Metric = Callable[[Tensor], float]  # a function of the logits (1, T, V)


@dataclass(frozen=True)
class Patching:
    """The result of activation patching.

    Attributes:
        clean, corrupted: the metric on each of the two texts.
        restored: (sites, T), for each site and position the fraction of their difference that the clean activation
            restores: 0 = nothing, 1 = all of it.
        sites: the site of each row.
    """

    clean: float
    corrupted: float
    restored: Tensor
    sites: list[Site]


class PatchedCell(NamedTuple):
    """One patch.

    Attributes:
        site, position: where the clean activation was put.
        clean, corrupted, patched: the metric on the clean text, on the corrupted one, and on that with the patch.
    """

    site: Site
    position: int
    clean: float
    corrupted: float
    patched: float

    @property
    def restored(self) -> float:
        """The fraction of the difference that the patch restores: 0 = nothing, 1 = all of it."""
        return (self.patched - self.corrupted) / (self.clean - self.corrupted)


def sites_of(model: Model, kind: str) -> list[Site]:
    """All sites of a kind, from the first block to the last. Raises UserError if there is no such kind."""
    if kind not in KINDS:
        raise UserError(f"there is no kind of site {kind!r}; choose one of: {', '.join(KINDS)}.")
    n_layers = len(blocks_of(model))
    if kind == "head":
        return [Site(kind, layer, head) for layer in range(n_layers) for head in range(model.config.n_heads)]
    return [Site(kind, layer) for layer in range(n_layers + (kind == "residual"))]


def logit_difference(right: int, wrong: int, position: int = -1) -> Metric:
    """The usual metric for patching: the logit of the right token minus that of the wrong one, at one position."""
    return lambda logits: float(logits[0, position, right] - logits[0, position, wrong])


def activation_patching(
    model: Model, clean: Tensor, corrupted: Tensor, metric: Metric, kind: str = "residual"
) -> Patching:
    """Patch every position at every site of a kind, one at a time.

    Args:
        model: a GPT or a BERT with the output layer of its pretraining.
        clean, corrupted: (T,) token ids of equal length, which differ only where it matters.
        metric: a function of the logits (1, T, V), such as `logit_difference`.
        kind: the kind of site, see `Site`.

    Raises:
        UserError: the texts differ in length, or the metric does not tell them apart.
    """
    cells = list(patched_cells(model, clean, corrupted, metric, kind))
    restored = torch.tensor([cell.restored for cell in cells]).unflatten(0, (-1, len(clean)))
    return Patching(cells[0].clean, cells[0].corrupted, restored, sites_of(model, kind))


@torch.inference_mode()
def patched_cells(
    model: Model, clean: Tensor, corrupted: Tensor, metric: Metric, kind: str = "residual"
) -> Iterator[PatchedCell]:
    """The patches of `activation_patching` one by one, site by site: each costs a forward pass.

    The metric is called for the clean text, for the corrupted one, and then for each patch.
    """
    if clean.shape != corrupted.shape or clean.dim() != 1:
        raise UserError(
            f"the clean text has the shape {tuple(clean.shape)} and the corrupted one {tuple(corrupted.shape)}; both "
            "must be (T,) with as many tokens, so that each position has its counterpart."
        )
    sites = sites_of(model, kind)
    with eval_mode(model):
        with recorded(model, sites) as values:
            best = metric(logits_of(model, clean))
        worst = metric(logits_of(model, corrupted))
        if best == worst:
            raise UserError("the metric is the same for both texts, so there is nothing to restore; choose others.")
        for site in sites:
            for position in range(len(clean)):
                with intervened(model, {site: replaced(values[site], position)}):
                    patched = metric(logits_of(model, corrupted))
                yield PatchedCell(site, position, best, worst, patched)


@torch.inference_mode()
def ablation(model: Model, ids: Tensor, metric: Metric, sites: Sequence[Site], mean: bool = True) -> Tensor:
    """The metric without each of some sites, one at a time: (sites,).

    Args:
        model: a GPT or a BERT with the output layer of its pretraining.
        ids: (T,) token ids.
        metric: a function of the logits (1, T, V).
        sites: the sites to remove.
        mean: replace each activation by its mean over all positions, so that what is constant stays; otherwise by 0.
    """
    with eval_mode(model):
        results = []
        for site in sites:
            change = (lambda x: x.mean(1, keepdim=True).expand_as(x)) if mean else torch.zeros_like
            with intervened(model, {site: change}):
                results.append(metric(logits_of(model, ids)))
    return torch.tensor(results)


@torch.inference_mode()
def logit_attribution(model: Model, ids: Tensor, token: int, position: int = -1) -> dict[str, float]:
    """The contributions of the embedding, of every head and every feed-forward to the logit of a token.

        shares = logit_attribution(model, ids, token)      # {"embedding": 0.3, "0.head.0": -0.1, …, "bias": 0.0}
        sum(shares.values())                               # = model(ids)[0, -1, token]

    The mean and the scale of the last norm are those of this text, taken as constants.

    Args:
        model: a GPT with norms before its sublayers.
        ids: (T,) token ids.
        token: the id of the token whose logit is explained.
        position: the position that predicts it.

    Raises:
        UserError: the model is of another type.
    """
    if not isinstance(model, GPT) or model.config.norm_position != "pre" or not model.config.generates:
        raise UserError("a logit is a sum of the blocks' outputs only in a gpt with norms before its sublayers.")
    n_layers, n_heads = model.config.n_layers, model.config.n_heads
    heads = sites_of(model, "head")
    feed_forwards = sites_of(model, "feed_forward")
    last, first = Site("residual", n_layers), Site("residual", 0)
    with eval_mode(model), recorded(model, [first, last, *heads, *feed_forwards]) as values:
        logits_of(model, ids)
    stream = values[last][0, position]  # (C,)
    norm: Any = model.final_norm
    direction = model.lm_head.weight[token]  # (C,)
    is_rms = isinstance(norm, RMSNorm)
    centered = stream if is_rms else stream - stream.mean()
    scale = (centered.pow(2).mean() + model.config.norm_eps).rsqrt()
    reader = direction * norm.weight * scale  # a vector v of the stream has the share (v - mean v) · reader

    def share(vector: Tensor) -> float:
        return float((vector if is_rms else vector - vector.mean()) @ reader)

    shares = {"embedding": share(values[first][0, position])}
    biases = torch.zeros_like(stream)
    for layer, block in enumerate(model.blocks):
        projection: Any = block.attention.out_proj  # type: ignore[union-attr]
        weights = projection.weight.unflatten(1, (n_heads, -1))  # (C, H, D)
        for head in range(n_heads):
            gathered = values[Site("head", layer, head)][0, position]  # (D,)
            shares[f"{layer}.head.{head}"] = share(weights[:, head] @ gathered)
        if projection.bias is not None:
            biases = biases + projection.bias
        shares[f"{layer}.feed_forward"] = share(values[Site("feed_forward", layer)][0, position])
    constant = 0.0 if getattr(norm, "bias", None) is None else float(norm.bias @ direction)
    constant += 0.0 if model.lm_head.bias is None else float(model.lm_head.bias[token])
    return {**shares, "bias": share(biases) + constant}


def logits_of(model: Model, ids: Tensor) -> Tensor:
    """The logits (1, T, V) of a GPT, or of a BERT's masked-language-model head."""
    ids = ids.reshape(1, -1).to(next(model.parameters()).device)
    if isinstance(model, GPT):
        return model(ids)
    if hasattr(model, "masked_lm_head"):
        return model.masked_lm_head(model.hidden_states(ids))  # type: ignore[operator]
    raise UserError("this needs a gpt or a bert with the output layer of its pretraining.")
