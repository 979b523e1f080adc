"""The logit lens: what the model would predict if it stopped after each layer (nostalgebraist 2020).

The residual stream is one vector to which every block adds, and the output layer reads it at the end. It can be read
earlier, too: apply the final norm and the output layer to the stream after block l, as if it were the last. Early
layers often repeat the current token, middle ones predict types of words, late ones settle on one. Where the prediction
changes, a layer has added something.

That the output layer can read intermediate streams is an observation, not a law: early rows can be nonsense although
the layer does useful work (Belrose et al. 2023 train a translator for each layer, the tuned lens).
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from llmasos.errors import UserError
from llmasos.models import BERT, GPT, Model
from llmasos.nn import eval_mode


class LensRow(NamedTuple):
    """What one layer would predict.

    Attributes:
        layer: 0 for the embeddings, l after block l.
        logits: (T, V), for the token that follows each position (of a BERT: the token at that position).
    """

    layer: int
    logits: Tensor


def logit_lens(model: Model, ids: Tensor) -> list[LensRow]:
    """What each layer of a GPT or a BERT would predict for a text.

    Args:
        model: a model with the output layer of its pretraining.
        ids: (T,) or (1, T) token ids.

    Returns:
        L + 1 rows, from the embeddings to the last block. The last row is the prediction of the model.

    Raises:
        UserError: the model is of another family or has another head.
    """
    return list(lens_rows(model, ids))


@torch.inference_mode()
def lens_rows(model: Model, ids: Tensor) -> Iterator[LensRow]:
    """The rows of `logit_lens` one by one: with a large vocabulary, the logits of all layers need much memory."""
    if isinstance(model, GPT) and model.config.is_pretraining:
        output_layer: nn.Module = model.lm_head
    elif isinstance(model, BERT) and model.config.is_pretraining:
        output_layer = model.masked_lm_head
    else:
        config = model.config
        raise UserError(
            f"the logit lens needs a gpt or a bert with its own output layer; this model is a {config.family} with the "
            f"head {config.head!r}."
        )
    for layer, x in enumerate(residual_stream(model, ids)):
        yield LensRow(layer, output_layer(model.final_norm(x))[0].float().cpu())


@torch.inference_mode()
def residual_stream(model: GPT | BERT, ids: Tensor) -> list[Tensor]:
    """The residual stream before the first block and after each: L + 1 tensors (1, T, C)."""
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
