"""The logit lens: what the model would say if it stopped after each layer (nostalgebraist 2020).

A residual stream is one vector that every block adds to, and the output layer reads it at the end. It can be read
earlier, too: normalise the stream after block l as if it were the last, and multiply with the output layer. Early
layers often repeat the token just read, middle ones guess at kinds of words, late ones settle on one. Where the guess
changes is where something was found out.

That intermediate streams speak the output's language is a habit of such models, not a law: early rows can be nonsense
although the layer does useful work (Belrose et al. 2023 learn a translation for each layer, the tuned lens).
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from llmasos.errors import UserError
from llmasos.nn import eval_mode


class LensRow(NamedTuple):
    """What one layer would say.

    Attributes:
        layer: 0 for the embeddings, l after block l.
        logits: (T, V), for the token that follows each position (of a BERT: the token that stands there).
    """

    layer: int
    logits: Tensor


def logit_lens(model: nn.Module, ids: Tensor) -> list[LensRow]:
    """What each layer of a GPT or a BERT would say about a text.

    Args:
        model: with the output layer of its pre-training.
        ids: (T,) or (1, T) token ids.

    Returns:
        L + 1 rows, from the embeddings to the last block. The last row is what the model says.

    Raises:
        UserError: a model of another family, or one with another head.
    """
    return list(lens_rows(model, ids))


@torch.inference_mode()
def lens_rows(model: nn.Module, ids: Tensor) -> Iterator[LensRow]:
    """The rows of `logit_lens` one after the other, for large vocabularies: logits of one layer at a time."""
    config = model.config
    if config.family not in ("gpt", "bert") or not config.is_pretraining:
        raise UserError(
            f"the logit lens is for a gpt or a bert with its own output layer; the model is a {config.family} with the "
            f"head {config.head!r}."
        )
    read = model.lm_head if config.family == "gpt" else model.masked_lm_head
    for layer, x in enumerate(residual_stream(model, ids)):
        yield LensRow(layer, read(model.final_norm(x))[0].float().cpu())


@torch.inference_mode()
def residual_stream(model: nn.Module, ids: Tensor) -> list[Tensor]:
    """What stands in the residual stream before the first block and after each: L + 1 tensors (1, T, C)."""
    streams: list[Tensor] = []
    hooks = [model.blocks[0].register_forward_pre_hook(lambda module, inputs: streams.append(inputs[0]))]
    hooks += [block.register_forward_hook(lambda module, inputs, output: streams.append(output))
              for block in model.blocks]  # fmt: skip
    try:
        with eval_mode(model):
            model.hidden_states(ids.reshape(1, -1).to(next(model.parameters()).device))
    finally:
        for hook in hooks:
            hook.remove()
    return streams
