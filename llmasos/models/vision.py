"""Pictures as sequences: an image tower of our encoder blocks.

    image (B, 3, H, W) → N patches (B, N, 3·P·P) → one matrix → (B, N, D) → encoder blocks (B, N, D) → class (B, K)

A Transformer works on any sequence of vectors: cut an image into patches, and the patches are its tokens
(Dosovitskiy et al. 2021, "An image is worth 16x16 words"). Captioning models are in image_captioning.py.

Image towers are not part of the hub, the tasks or the model families: they are plain modules with their own small
config, and a training loop of a few lines is enough.

Dimensions: B batch, H and W height and width, P patch size, N patches, D width of the tower, K classes.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from llmasos.errors import UserError, check_number, shown
from llmasos.models.config import DERIVED, ModelConfig
from llmasos.models.init import initialize
from llmasos.nn import Embedding, EncoderBlock, LearnedPositions, make_final_norm

CHOICES = {"positions": ("learned", "none"), "pooling": ("cls", "mean")}
SIZES = ("image_size", "patch_size", "n_channels", "n_layers", "n_heads", "d_model", "d_ff")


@dataclass(frozen=True)
class VisionConfig:
    """The architecture of an image tower; the defaults are for small drawn pictures (`datasets/digits.py`).

    Attributes:
        image_size: H = W, in pixels.
        patch_size: P, in pixels; divides image_size.
        n_channels: 1 for gray pictures, 3 for red, green and blue.
        n_layers: L, the number of encoder blocks.
        n_heads: the number of attention heads; divides d_model.
        d_model: D, the width of the residual stream.
        d_ff: the width inside the feed-forward (None = 4·D).
        positions: "learned" adds a trained vector for each patch's place; with "none" a picture is a set of patches.
        pooling: one vector for the picture: "cls" is that of a class token, put before the patches (Dosovitskiy et al.
            2021, equation 1); "mean" is the mean of the patches' vectors.
        n_classes: K, the outputs of the classifier; 0 = there is none.
        dropout: probability of dropping embeddings, attention weights, and outputs of attention and feed-forward.

    Raises:
        UserError: a value is out of range, or two values contradict each other.
    """

    image_size: int = 24
    patch_size: int = 4
    n_channels: int = 1
    n_layers: int = 2
    n_heads: int = 4
    d_model: int = 48
    d_ff: int = DERIVED
    positions: str = "learned"
    pooling: str = "mean"
    n_classes: int = 0
    dropout: float = 0.0

    def __post_init__(self):
        if self.d_ff is None:
            check_number("d_model", self.d_model, whole=True, at_least=1)
            object.__setattr__(self, "d_ff", 4 * self.d_model)
        for name in SIZES:
            check_number(name, getattr(self, name), whole=True, at_least=1, at_most=2**16)
        check_number("n_classes", self.n_classes, whole=True, at_least=0, at_most=2**24)
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise UserError(f"{name} is {shown(getattr(self, name))}; it must be one of: {', '.join(choices)}.")
        if self.image_size % self.patch_size:
            raise UserError(
                f"patch_size {self.patch_size} does not divide image_size {self.image_size}: the patches cover the "
                f"picture evenly, so choose for example image_size "
                f"{max(self.image_size // self.patch_size, 1) * self.patch_size}."
            )
        self.block_config  # noqa: B018 - the other checks, of heads and dropout, are those of the blocks

    @property
    def n_patches(self) -> int:
        """N."""
        return (self.image_size // self.patch_size) ** 2

    @property
    def block_config(self) -> ModelConfig:
        """The config of the blocks: those of a BERT with pre-norm, as in Dosovitskiy et al. 2021, section 3.1."""
        return ModelConfig(
            family="bert",
            vocab_size=1,
            context_length=self.n_patches + (self.pooling == "cls"),
            n_layers=self.n_layers,
            n_heads=self.n_heads,
            d_model=self.d_model,
            d_ff=self.d_ff,
            activation="gelu",
            dropout=self.dropout,
        )


def to_patches(images: Tensor, patch_size: int) -> Tensor:
    """Cut pictures into squares, row by row: (B, C, H, W) → (B, N, C·P·P) with N = H/P · W/P.

    >>> to_patches(torch.arange(16).view(1, 1, 4, 4), 2)[0].tolist()
    [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]
    """
    rows = images.unflatten(3, (-1, patch_size)).unflatten(2, (-1, patch_size))  # (B, C, H/P, P, W/P, P)
    return rows.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


class PatchEmbedding(nn.Module):
    """One vector for each patch: (B, C, H, W) → (B, N, D).

    It is a convolution whose kernel and stride are the patch size: each patch is multiplied by the same matrix.
    """

    def __init__(self, config: VisionConfig):
        super().__init__()
        self.config = config
        self.proj = nn.Linear(config.n_channels * config.patch_size**2, config.d_model)

    def forward(self, images: Tensor) -> Tensor:
        c = self.config
        expected = (c.n_channels, c.image_size, c.image_size)
        if images.ndim != 4 or tuple(images.shape[1:]) != expected or not images.is_floating_point():
            raise UserError(
                f"the images have the shape {tuple(images.shape)} and the type {str(images.dtype).split('.')[1]}; this "
                f"model reads floats (batch, {', '.join(map(str, expected))}), the channels before height and width."
            )
        return self.proj(to_patches(images, c.patch_size))


class VisionTransformer(nn.Module):
    """An image tower, described by a `VisionConfig`, with a classifier if the config has classes.

    >>> tower = VisionTransformer(VisionConfig(n_layers=1, n_classes=10))
    >>> tower(torch.zeros(2, 1, 24, 24)).shape
    torch.Size([2, 10])
    """

    def __init__(self, config: VisionConfig):
        super().__init__()
        self.config, blocks = config, config.block_config
        self.patch_embedding = PatchEmbedding(config)
        self.class_token = Embedding(1, config.d_model) if config.pooling == "cls" else None
        self.position_embedding = None
        if config.positions == "learned":
            self.position_embedding = LearnedPositions(blocks.context_length, config.d_model)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(EncoderBlock(blocks) for _ in range(config.n_layers))
        self.final_norm = make_final_norm(blocks)
        self.head = nn.Linear(config.d_model, config.n_classes) if config.n_classes else None
        initialize(self)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, K) of the classes.

        Args:
            images: (B, n_channels, H, W) floats, as they come from `datasets/digits.py`, in [0, 1].

        Raises:
            UserError: the images have another shape than the config says, or there is no classifier.
        """
        if self.head is None:
            raise UserError("this image tower has no classifier: n_classes is 0 in its config; set it.")
        return self.head(self.pooled(self.hidden_states(images)))

    def hidden_states(self, images: Tensor) -> Tensor:
        """The residual stream after the last block, normalized: (B, C, H, W) → (B, N, D).

        With a class token its vector comes first, and there are N + 1.
        """
        x = self.patch_embedding(images)  # (B, N, D)
        if self.class_token is not None:
            x = torch.cat((self.class_token.weight.expand(x.size(0), 1, -1), x), dim=1)
        if self.position_embedding is not None:
            x = x + self.position_embedding.weight  # all positions are used: every picture has the same size
        x = self.dropout(x)
        for block in self.blocks:
            x = block(x)
        return self.final_norm(x)

    def pooled(self, hidden_states: Tensor) -> Tensor:
        """One vector for the picture, as the config says: (B, N, D) → (B, D)."""
        return hidden_states[:, 0] if self.config.pooling == "cls" else hidden_states.mean(dim=1)
