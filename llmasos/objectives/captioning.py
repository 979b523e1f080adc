"""Captioning: causal language modeling of a text that follows an image, with a loss on the text only.

    image prefix   patch  patch  …  patch                       no targets: the image is given
    ids            begin  a      red     circle
    targets        a      red    circle  end

The first word is predicted from the image and the token that begins every caption (Tsimpoukelli et al. 2021, "Frozen",
section 3).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from llmasos.objectives.causal import CausalLM
from llmasos.objectives.objective import Batch, MakeRng


class CaptionedImage(NamedTuple):
    """A picture (C, H, W), float32, and its caption: T + 1 ids, including the tokens that begin and end it."""

    image: np.ndarray
    ids: Sequence[int]


class Captioning(CausalLM):
    """An example is a `CaptionedImage`; the loss is -log p(token | image, the tokens before it) in nats.

    >>> examples = [CaptionedImage(np.zeros((3, 8, 8), np.float32), ids) for ids in ([0, 5, 6, 1], [0, 1])]
    >>> batch = Captioning().collate(examples)
    >>> batch["images"].shape, batch["ids"].tolist(), batch["targets"].tolist()
    (torch.Size([2, 3, 8, 8]), [[0, 5, 6], [0, 1, 0]], [[5, 6, 1], [1, -100, -100]])
    """

    def collate(self, examples: Sequence[CaptionedImage], rngs: Sequence[MakeRng] = ()) -> Batch:  # type: ignore[override]
        """Stack `images` (B, C, H, W), `ids` and `targets` (B, T), padded on the right as in `CausalLM`."""
        images = torch.from_numpy(np.stack([example.image for example in examples]))
        return {"images": images, **super().collate([np.asarray(example.ids) for example in examples])}

    def predictions(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """The logits (B·T, V) of all positions of the text, and their targets (B·T,)."""
        return model(batch["images"], batch["ids"]).flatten(0, 1), batch["targets"].flatten()
