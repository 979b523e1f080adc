"""Image captioning: an image encoder (vision.py) and a decoder, combined in two ways.

    VisionLanguageModel    the image comes before the text: a GPT reads the tower's N vectors like the embeddings of N
                           tokens (Tsimpoukelli et al. 2021, "Frozen"; Liu et al. 2023, LLaVA)
    VisionEncoderDecoder   the image is the memory of a Transformer's decoder, which looks at it by
                           cross-attention, as at a text to translate (Vaswani et al. 2017; Xu et al. 2015,
                           "Show, attend and tell")

The first can use a pretrained language model, and train only the image tower. The second has attention weights that
say which patch each word looks at. `objectives.Captioning` trains both; `save_vision` and `load_vision` write and
read them, and image towers alone.

Dimensions: B batch, H and W height and width, N patches, D width of the tower; T, V and C of the decoder as always.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from llmasos.errors import UserError
from llmasos.models.base import check_length, with_window
from llmasos.models.config import ModelConfig
from llmasos.models.gpt import GPT
from llmasos.models.init import initialize
from llmasos.models.serialization import check_weights, weights_of
from llmasos.models.transformer import Transformer
from llmasos.models.vision import VisionConfig, VisionTransformer
from llmasos.nn import eval_mode, padding_mask, position_ids
from llmasos.storage import load_tensors, read_json, save_tensors, write_json


class VisionLanguageModel(nn.Module):
    """A GPT whose context begins with an image: the tower's vectors, projected to the GPT's width.

    To train only the tower and the projection with a pretrained GPT ("Frozen"), call
    `model.gpt.requires_grad_(False)` first. The loss, on caption tokens only, is `objectives.Captioning`.

    Args:
        tower: an image tower; a classifier of its own is not used.
        gpt: a language model whose context has room for all vectors of the tower and the text.

    Raises:
        UserError: this GPT cannot read a prefix.
    """

    def __init__(self, tower: VisionTransformer, gpt: GPT):
        super().__init__()
        c = gpt.config
        if not c.generates or c.value_embeddings or c.max_ngram > 1:
            raise UserError(
                "an image prefix needs a gpt with its language-model head and without value_embeddings and n-grams, "
                f"because a patch is not a token; this one has head {c.head!r}, value_embeddings "
                f"{str(c.value_embeddings).lower()} and max_ngram {c.max_ngram}."
            )
        check_length(tower.config.block_config.context_length + 1, c)
        self.tower, self.gpt = tower, gpt
        self.projection = nn.Linear(tower.config.d_model, c.d_model)
        initialize(self.projection)

    def forward(self, images: Tensor, ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Logits (B, T, V) for the token that follows each token of the text.

        Args:
            images: (B, n_channels, H, W) floats.
            ids: token ids (B, T); the first is the token that begins every caption.
            attention_mask: (B, T) booleans, False = padding, on either side; None = no padding.

        Raises:
            UserError: the images have another shape than the config says, or image and text do not fit the context.
        """
        return self.read(self.image_prefix(images), ids, attention_mask)

    def image_prefix(self, images: Tensor) -> Tensor:
        """The vectors that precede the token embeddings: (B, n_channels, H, W) → (B, N, C)."""
        return self.projection(self.tower.hidden_states(images))

    def read(self, prefix: Tensor, ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """The logits (B, T, V) of `forward`, from an image prefix (B, N, C)."""
        n, config = prefix.size(1), self.gpt.config
        check_length(n + ids.size(1), config)
        slots = functional.pad(ids, (n, 0))  # (B, N + T)
        if attention_mask is not None:
            attention_mask = functional.pad(attention_mask.bool(), (n, 0), value=True)  # a patch is never padding
        masks = with_window(padding_mask(attention_mask), position_ids(slots), slots.size(1), config)
        hidden_states = self.gpt.run_blocks(ids, position_ids(slots, attention_mask), masks, prefix=prefix)
        return self.gpt.lm_head(hidden_states[:, n:])

    @torch.inference_mode()
    def caption(self, images: Tensor, begin_id: int, end_id: int, max_new_tokens: int = 32) -> list[list[int]]:
        """Generate a caption for each image, with the most probable token at every step.

        Args:
            images: (B, n_channels, H, W) floats.
            begin_id: the token that begins every caption.
            end_id: the token that ends it.
            max_new_tokens: the longest caption, in tokens.

        Returns:
            The token ids of each caption, without `begin_id` and `end_id`.

        Raises:
            UserError: a caption does not end, and image and text do not fit the context.
        """
        with eval_mode(self):
            prefix = self.image_prefix(images)  # (B, N, C)
            n = prefix.size(1)
            cache = self.gpt.make_cache(len(images), min(n + max_new_tokens, self.gpt.config.context_length))
            positions = torch.arange(n + max_new_tokens, device=images.device)[None]

            def next_logits(ids: Tensor) -> Tensor:
                end = n + ids.size(1)
                if ids.size(1) == 1:  # the image and the first token, then one token at a time
                    x = self.gpt.decode(ids, positions[:, :end], cache, (0, end), prefix)  # (B, N + 1, C)
                else:
                    x = self.gpt.decode(ids[:, -1:], positions[:, end - 1 : end], cache, (end - 1, end))  # (B, 1, C)
                return self.gpt.lm_head(x[:, -1])

            return most_probable_captions(next_logits, len(images), begin_id, end_id, max_new_tokens, images.device)


class VisionEncoderDecoder(Transformer):
    """The Transformer with an image tower in place of its encoder.

    Args:
        tower: an image tower; a classifier of its own is not used.
        config: the decoder's, in the family "transformer"; its fields for the encoder are ignored.

    Raises:
        UserError: the config is not that of a Transformer with a language-model head.
    """

    def __init__(self, tower: VisionTransformer, config: ModelConfig):
        if config.family != "transformer" or not config.generates:
            raise UserError(
                f"captions by cross-attention need the config of a transformer with its language-model head; this one "
                f"has family {config.family!r} and head {config.head!r}."
            )
        super().__init__(config)
        del self.encoder_blocks, self.encoder_norm, self.encoder_bias  # the tower encodes
        self.tower = tower
        self.projection = nn.Linear(tower.config.d_model, config.d_model)
        initialize(self.projection)

    def encode(self, source: Tensor, source_attention_mask: Tensor | None = None) -> Tensor:
        """The memory of the decoder: images (B, n_channels, H, W) → (B, N, C). An image has no padding."""
        return self.projection(self.tower.hidden_states(source))

    @torch.inference_mode()
    def caption(self, images: Tensor, begin_id: int, end_id: int, max_new_tokens: int = 32) -> list[list[int]]:
        """As `VisionLanguageModel.caption`."""
        with eval_mode(self):
            cache = self.prefill(images, length=min(max_new_tokens, self.config.context_length) or None)
            positions = torch.arange(max_new_tokens, device=images.device)[None]

            def next_logits(ids: Tensor) -> Tensor:
                end = ids.size(1)
                x = self.decode(ids[:, -1:], positions[:, end - 1 : end], cache, (end - 1, end))  # (B, 1, C)
                return self.lm_head(x[:, -1])

            return most_probable_captions(next_logits, len(images), begin_id, end_id, max_new_tokens, images.device)


def most_probable_captions(
    next_logits: Callable[[Tensor], Tensor],
    n: int,
    begin_id: int,
    end_id: int,
    max_new_tokens: int,
    device: torch.device,
) -> list[list[int]]:
    """Append the most probable token, until every caption has ended.

    Args:
        next_logits: maps the texts so far (n, T) to the logits of the next token (n, V).
        n: the number of captions.

    Returns:
        The ids of each caption, without the first token and the last.
    """
    ids = torch.full((n, 1), begin_id, device=device)
    for _ in range(max_new_tokens):
        ids = torch.cat((ids, next_logits(ids).argmax(dim=-1, keepdim=True)), dim=1)
        if (ids == end_id).any(dim=1).all():
            break
    captions = ids[:, 1:].tolist()
    return [caption[: caption.index(end_id)] if end_id in caption else caption for caption in captions]


VisionModel = VisionTransformer | VisionLanguageModel | VisionEncoderDecoder


def save_vision(folder: Path | str, model: VisionModel) -> None:
    """Write config and weights into an existing folder, as `config.json` and `model.safetensors`."""
    tower = model if isinstance(model, VisionTransformer) else model.tower
    fields = {
        "vision": dataclasses.asdict(tower.config),
        "gpt": model.gpt.config.to_dict() if isinstance(model, VisionLanguageModel) else None,
        "transformer": model.config.to_dict() if isinstance(model, VisionEncoderDecoder) else None,
    }
    write_json(Path(folder) / "config.json", fields)
    save_tensors(Path(folder) / "model.safetensors", weights_of(model), metadata={"format": "pt"})


def load_vision(folder: Path | str) -> VisionModel:
    """Load a model saved by `save_vision`, in evaluation mode.

    Raises:
        UserError: the folder holds no such model or a damaged one, or the weights do not match the config.
    """
    file = Path(folder) / "config.json"
    fields = read_json(file) if file.is_file() else None
    if not isinstance(fields, dict) or not isinstance(fields.get("vision"), dict):
        raise UserError(f"{folder} holds no image tower: expected a config.json with an object vision, as save_vision "
                        "writes it.")  # fmt: skip
    unknown = set(fields["vision"]) - {field.name for field in dataclasses.fields(VisionConfig)}
    if unknown:
        raise UserError(f"unknown field {', '.join(sorted(unknown))[:200]} in {file}; copy it again.")
    tower = VisionTransformer(VisionConfig(**fields["vision"]))
    model: VisionModel = tower
    if isinstance(fields.get("gpt"), dict):
        model = VisionLanguageModel(tower, GPT(ModelConfig.from_dict(fields["gpt"])))
    if isinstance(fields.get("transformer"), dict):
        model = VisionEncoderDecoder(tower, ModelConfig.from_dict(fields["transformer"]))
    weights = Path(folder) / "model.safetensors"
    tensors = load_tensors(weights)
    check_weights(model, tensors, weights)
    for name, weight in weights_of(model).items():
        weight.copy_(tensors[name])
    return model.eval()
