"""The config: one class that describes every model of the library.

A `ModelConfig` says which layers are assembled and how large they are. It is checked when it is created, so every model
that can be described can be built. It is saved as `config.json` next to the weights.
"""

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmasos.errors import UserError, check_number, shown
from llmasos.nn.rope_scaling import RopeScaling
from llmasos.storage import read_json
from llmasos.storage.checksums import CHECKSUMS

TOKENIZER = "tokenizer_sha256"  # the field of config.json with the fingerprint of the tokenizer
CONFIG, ADAPTED_CONFIG = "config.json", "model_config.json"
BASE_SHA256 = "base_model_sha256"  # in an adapter's folder: the checksum of the base model's weights
ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
NOT_CONFIG = (TOKENIZER, CHECKSUMS, BASE_SHA256)  # fields of config.json that are not about the model

DERIVED: Any = None  # the default of fields that `__post_init__` derives from the others

CHOICES = {
    "family": ("gpt", "bert", "transformer"),
    "positions": ("learned", "sinusoidal", "sinusoidal_halves", "rotary", "alibi", "none"),
    "norm": ("layernorm", "rmsnorm"),
    "norm_position": ("pre", "post", "sandwich"),
    "activation": ("relu", "relu2", "gelu", "gelu_tanh", "silu", "swiglu", "geglu", "geglu_tanh", "reglu"),
    "pooler": ("tanh", "relu", "norm"),
    "classifier_pooling": ("cls", "mean"),
    "head": ("lm", "pretraining", "features", "classifier", "reward", "question_answering", "token_classifier"),
}
LABELED_HEADS = ("classifier", "token_classifier")  # those that predict one of the config's labels

GATES = {
    "swiglu": "silu",
    "geglu": "gelu",
    "geglu_tanh": "gelu_tanh",
    "reglu": "relu",
}  # gated → activation of the gate
LAYER_TYPES = ("full_attention", "sliding_attention")

# Far above every published model, and far below a typing error, which then gives a message instead of an hour of
# swapping. Whether a model within these limits fits into this machine is checked when it is built (`memory_checks.py`).
LARGEST = {
    "vocab_size": 2**24,
    "context_length": 2**27,
    "n_layers": 1_000,
    "n_decoder_layers": 1_000,
    "n_heads": 2**16,
    "n_kv_heads": 2**16,
    "head_size": 2**16,
    "d_model": 2**20,
    "d_ff": 2**24,
    "n_experts": 2**12,
    "n_active_experts": 2**12,
    "sliding_window": 2**27,
    "n_segments": 2**16,
    "relative_attention_num_buckets": 2**16,
    "relative_attention_max_distance": 2**27,
    "max_ngram": 8,
    "ngram_buckets": 2**24,
    "mup_base_width": 2**20,
}
NUMBERS: dict[str, dict[str, Any]] = {  # the ranges of the fields that are not whole numbers
    "dropout": {"at_least": 0, "below": 1},
    "norm_eps": {"above": 0, "at_most": 1},
    "capacity_factor": {"at_least": 0, "at_most": 1e6},
    "router_aux_loss_coef": {"at_least": 0, "at_most": 1e6},
    "rope_theta": {"above": 1, "at_most": 1e15},
    "local_rope_theta": {"above": 1, "at_most": 1e15},
    "partial_rotary_factor": {"above": 0, "at_most": 1},
    "attention_scale": {"above": 0, "at_most": 1e6},
}
SMALLEST = {"n_segments": 0, "relative_attention_num_buckets": 0}  # of the whole numbers; the others are at least 1
FLAGS = (
    "bias",
    "qkv_bias",
    "output_bias",
    "qk_norm",
    "value_embeddings",
    "parallel_residual",
    "scale_embeddings",
    "next_sentence",
    "first_norm",
    "zero_init_residual",
    "tie_embeddings",
    "fused",
)


@dataclass(frozen=True)
class ModelConfig:
    """The architecture of a model. Fields left at None are derived from the others.

    `dataclasses.replace(config, head="classifier", labels=("happy", "sad"))` describes the same model with a head.

    Attributes:
        family: "gpt" (decoder), "bert" (encoder) or "transformer" (encoder and decoder).
        vocab_size: V, the number of token ids.
        context_length: the longest sequence the model can read, in tokens.
        n_layers: L, the number of blocks; of a transformer, those of its encoder.
        n_decoder_layers: the number of blocks in a transformer's decoder (None = n_layers).
        n_heads: H, the number of attention heads; divides d_model.
        n_kv_heads: the number of key/value heads, which divides n_heads (None = n_heads: each head has its own).
        head_size: D, the width of one head (None = d_model / n_heads, as in nearly all models).
        d_model: C, the width of the residual stream.
        d_ff: the width inside the feed-forward (None = 4·C, or 8/3·C rounded up to a multiple of 32 for swiglu).
        n_experts: E, the number of feed-forwards in each block, of which a token uses a few; each has the width d_ff
            (1 = an ordinary block; see `nn/experts.py`).
        n_active_experts: k, the number of experts that a token uses (None = 2, or 1 if there is only one).
        capacity_factor: in training, an expert takes at most this multiple of a row's average per expert;
            the other tokens skip it (0 = no limit).
        router_aux_loss_coef: the weight of the load-balancing loss, which makes the router use all experts (0.01 in
            Fedus et al. 2021; see `objectives/load_balancing.py`).
        max_ngram: N; a gpt with N = 3 also embeds each token together with the one before it, and with the two before
            it (1 = tokens only, as in nearly all models; see `nn/embedding.py`).
        ngram_buckets: the rows of each table of n-grams, which are looked up by a hash.
        positions: "learned" and "sinusoidal" are added to the embeddings ("sinusoidal_halves": the same waves, first
            all sines, then all cosines, as in Marian's translators), "rotary" rotates queries and keys,
            "alibi" lowers a gpt's scores with the distance, "none" leaves it to the causal mask, or to the
            relative positions below.
        relative_attention_num_buckets: how many ranges of distances have a trained number that is added to the scores
            of a bert or a transformer (0 = none; T5, MPNet; see `nn/positions.py`).
        relative_attention_max_distance: all distances from this one on share a range.
        rope_theta: the base of the rotary wavelengths.
        local_rope_theta: the base in layers with a sliding window (None = the same, as in nearly all models; Gemma 3).
        partial_rotary_factor: the fraction of each head's features that is rotated (GPT-NeoX: a quarter).
        rope_scaling: how the rotary frequencies are scaled for long texts (None = not at all).
        sliding_window: a token of a gpt attends to this many tokens, including itself (None = all before it). The KV
            cache keeps older tokens and masks them. A token of a bert with rotary positions attends to itself and to
            half this many on each side (ModernBERT).
        layer_types: for each layer "sliding_attention" or "full_attention", which ignores the window (() = the same in
            all).
        qk_norm: whether each head's queries and keys are normalized (RMSNorm) before RoPE and the dot product (Qwen3).
        attention_scale: multiplies the dot products of queries and keys (None = 1/√D; T5: 1).
        parallel_residual: whether attention and feed-forward of a gpt's block read the same stream, and their outputs
            are added to it together, instead of one after the other (GPT-NeoX).
        scale_embeddings: whether token embeddings are multiplied by √C (None = in a transformer; also in Gemma).
        value_embeddings: whether each layer of a gpt adds to its values a vector that depends on the token alone, from
            its own table (V, Hkv·D). A lookup needs no multiplications (after Zhou et al. 2024, "Value residual
            learning", in the form of Jordan et al. 2024, modded-nanogpt).
        norm: "layernorm" or "rmsnorm".
        norm_position: "pre" (before each sublayer), "post" (after each residual connection), or "sandwich" (before and
            after each sublayer, Gemma 3).
        norm_eps: keeps the norm from dividing by zero.
        activation: "relu", "relu2" (squared), "gelu", "gelu_tanh", "silu", or gated: "swiglu" (by silu), "geglu",
            "geglu_tanh", "reglu".
        n_segments: how many texts a bert can distinguish in one sequence (0 = no segment embeddings).
        next_sentence: whether a bert is pretrained to predict whether the second text follows the first (DistilBERT is
            not).
        pooler: the activation of a bert's pooler: "tanh", or "relu", which only a classifier has (DistilBERT); "norm":
            classifiers have the layer without a bias, the gelu and the norm of its masked-LM head instead (ModernBERT).
        classifier_pooling: the input of a bert's pooler: "cls", the vector of the first token, or "mean", the mean of
            all.
        first_norm: whether a pre-norm bert has a norm before its first attention; the one after its embeddings can
            serve as that (ModernBERT).
        bias: whether linear layers and LayerNorms have biases.
        qkv_bias: whether the projections to queries, keys and values have one (None = bias); Qwen2 has no others.
        output_bias: whether the output layer of a gpt or a transformer has a bias, as Marian's has (a bert's always).
        zero_init_residual: whether the matrices that write to the residual stream start at zero, so that each block is
            initially the identity (Goyal et al. 2017, section 5.1; Zhang et al. 2019, "Fixup").
        mup_base_width: the width at which the learning rate was chosen; initial weights and rates are scaled from it to
            d_model by the rules of muP (None = not scaled; see `models/mup.py`).
        tie_embeddings: whether the output layer is the token embedding, transposed (Press & Wolf 2017).
        dropout: probability of dropping attention weights, outputs of attention and feed-forward, and embeddings.
        head: what the model predicts (None = its family's own pretraining). "lm": the next token (gpt, transformer);
            "pretraining": masked tokens and the next sentence (bert); "features": nothing, its output is a vector for
            each position; "classifier": a label for the whole text; "reward": a score for it, one number;
            "question_answering": where in the text the answer starts and ends; "token_classifier": a label for each
            token. See `models/heads.py`.
        labels: the names of a classifier's classes, in the order of its outputs.
        fused: use torch's fused kernels for attention, norms and activations; False computes the formulas of `nn`.
    """

    family: str = "gpt"
    vocab_size: int = 50257
    context_length: int = 1024
    n_layers: int = 12
    n_decoder_layers: int = DERIVED
    n_heads: int = 12
    n_kv_heads: int = DERIVED
    head_size: int = DERIVED
    d_model: int = 768
    d_ff: int = DERIVED
    n_experts: int = 1
    n_active_experts: int = DERIVED
    capacity_factor: float = 0.0
    router_aux_loss_coef: float = 0.01
    max_ngram: int = 1
    ngram_buckets: int = 8192
    positions: str = "learned"
    relative_attention_num_buckets: int = 0
    relative_attention_max_distance: int = 128
    rope_theta: float = 10_000.0
    local_rope_theta: float | None = None
    partial_rotary_factor: float = 1.0
    rope_scaling: RopeScaling | None = None
    sliding_window: int | None = None
    layer_types: tuple[str, ...] = ()
    qk_norm: bool = False
    attention_scale: float | None = None
    parallel_residual: bool = False
    scale_embeddings: bool = DERIVED
    value_embeddings: bool = False
    norm: str = "layernorm"
    norm_position: str = "pre"
    norm_eps: float = 1e-5
    activation: str = "gelu_tanh"
    n_segments: int = 2
    next_sentence: bool = True
    pooler: str = "tanh"
    classifier_pooling: str = "cls"
    first_norm: bool = True
    bias: bool = True
    qkv_bias: bool = DERIVED
    output_bias: bool = False
    zero_init_residual: bool = False
    mup_base_width: int | None = None
    tie_embeddings: bool = True
    dropout: float = 0.0
    head: str = DERIVED
    labels: tuple[str, ...] = ()
    fused: bool = True

    def __post_init__(self):
        for name in ("labels", "layer_types"):
            if isinstance(getattr(self, name), list):  # JSON has no tuples
                object.__setattr__(self, name, tuple(getattr(self, name)))
        if isinstance(self.rope_scaling, dict):
            object.__setattr__(self, "rope_scaling", RopeScaling.from_dict(self.rope_scaling))
        self._check_each_field()
        if self.head_size is None:
            self._check_heads_divide_d_model()
        for name, value in self._derived().items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        self._check_together()

    def _derived(self) -> dict[str, Any]:
        """The values of the fields that are left at None."""
        return {
            "n_decoder_layers": self.n_layers,
            "n_kv_heads": self.n_heads,
            "head_size": self.d_model // self.n_heads,
            "d_ff": math.ceil(8 * self.d_model / 3 / 32) * 32 if self.gate else 4 * self.d_model,
            "n_active_experts": min(2, self.n_experts),
            "qkv_bias": self.bias,
            "scale_embeddings": self.family == "transformer",
            "head": "pretraining" if self.family == "bert" else "lm",
        }

    def _check_each_field(self) -> None:
        """Check the type and range of each field by itself. A config may come from a hand-edited file."""
        derived = ("n_decoder_layers", "n_kv_heads", "head_size", "d_ff", "n_active_experts", "qkv_bias", "head",
                   "scale_embeddings")  # fmt: skip
        for field in dataclasses.fields(self):
            name, value = field.name, getattr(self, field.name)
            optional = ("sliding_window", "local_rope_theta", "attention_scale", "mup_base_width")
            if value is None and name in (*derived, *optional):
                continue
            if name in LARGEST:
                check_number(name, value, whole=True, at_least=SMALLEST.get(name, 1), at_most=LARGEST[name])
            elif name in NUMBERS:
                check_number(name, value, **NUMBERS[name])
            elif name in CHOICES:
                if value not in CHOICES[name]:
                    raise UserError(f"{name} is {shown(value)}; it must be one of: {', '.join(CHOICES[name])}.")
            elif name in FLAGS:
                if not isinstance(value, bool):
                    raise UserError(f"{name} is {shown(value)}; it must be true or false.")
            elif name == "rope_scaling":
                if value is not None and not isinstance(value, RopeScaling):
                    raise UserError(f"rope_scaling is {shown(value)}; it must be null or an object with a type.")
            elif name == "layer_types":
                if not (isinstance(value, tuple) and all(layer in LAYER_TYPES for layer in value)):
                    raise UserError(f"layer_types is {shown(value)}; it must be a list of: {', '.join(LAYER_TYPES)}.")
            elif not (isinstance(value, tuple) and all(isinstance(label, str) and label for label in value)):
                raise UserError(f"labels is {shown(value)}; it must be a list of names, none of them empty.")

    def _check_heads_divide_d_model(self) -> None:
        if self.d_model % self.n_heads:
            raise UserError(
                f"n_heads {self.n_heads} does not divide d_model {self.d_model}: the heads split d_model "
                f"evenly, so choose for example d_model {self.d_model // self.n_heads * self.n_heads or self.n_heads}."
            )

    def _check_together(self) -> None:
        """Check fields that must be consistent with each other."""
        if self.n_heads % self.n_kv_heads:
            raise UserError(
                f"n_kv_heads {self.n_kv_heads} does not divide n_heads {self.n_heads}; choose a divisor of it."
            )
        if self.n_active_experts > self.n_experts:
            raise UserError(
                f"n_active_experts is {self.n_active_experts}, and n_experts is {self.n_experts}: a token can use at "
                "most as many experts as there are."
            )
        if self.family != "gpt" and (self.value_embeddings or self.max_ngram > 1):
            name = "value_embeddings" if self.value_embeddings else "max_ngram"
            raise UserError(f"{name} is for models of the family gpt, and this one is a {self.family}; leave it out.")
        is_rotary_bert = self.family == "bert" and self.positions == "rotary"
        has_window = self.sliding_window is not None and not is_rotary_bert
        if self.family != "gpt" and (has_window or self.positions == "alibi"):
            name = "sliding_window" if self.positions != "alibi" else "positions 'alibi'"
            raise UserError(f"{name} is for models of the family gpt, and this one is a {self.family}; leave it out.")
        if self.mup_base_width is not None and (self.family != "gpt" or self.tie_embeddings):
            raise UserError(
                "mup_base_width is for models of the family gpt whose output layer has a matrix, and so a rate, of its "
                f"own; this one is a {self.family} with tie_embeddings {str(self.tie_embeddings).lower()}."
            )
        is_pre_bert = self.family == "bert" and self.norm_position == "pre"
        if (self.pooler == "norm" and self.next_sentence) or (not self.first_norm and not is_pre_bert):
            raise UserError(
                "pooler 'norm' is for a bert without next_sentence, and first_norm false for one with norm_position "
                f"'pre'; this is a {self.family} with next_sentence {str(self.next_sentence).lower()} and "
                f"norm_position {self.norm_position!r}."
            )
        self._check_relative_positions()
        if self.parallel_residual and (self.family != "gpt" or self.norm_position == "post"):
            raise UserError(
                f"parallel_residual is for models of the family gpt with norms before attention and feed-forward; this "
                f"one is a {self.family} with norm_position {self.norm_position!r}. Leave it out."
            )
        if self.layer_types and (len(self.layer_types) != self.n_layers or self.sliding_window is None):
            raise UserError(
                f"layer_types has {len(self.layer_types)} entries, n_layers is {self.n_layers}, and sliding_window is "
                f"{self.sliding_window}: it needs one for each layer, and a window."
            )
        if self.positions == "rotary" and self.n_rotated % 2:
            whole = self.partial_rotary_factor == 1.0
            what = "head size" if whole else "number of rotated features (partial_rotary_factor · head_size)"
            raise UserError(f"rotary positions need an even {what}; here it is {self.n_rotated}.")
        if self.positions == "rotary" and self.n_rotated < 2:
            raise UserError("rotary positions with this partial_rotary_factor would rotate nothing; make it larger.")
        rotary_only = {
            "rope_scaling": self.rope_scaling is not None,
            "local_rope_theta": self.local_rope_theta is not None,
            "partial_rotary_factor": self.partial_rotary_factor != 1.0,
        }
        for name, is_set in rotary_only.items():
            if is_set and self.positions != "rotary":
                raise UserError(
                    f"{name} is only for rotary positions, and positions is {self.positions!r}; leave it out."
                )
        if self.local_rope_theta is not None and self.sliding_window is None:
            raise UserError("local_rope_theta is for layers with a sliding_window, and there is none; leave it out.")
        if self.positions.startswith("sinusoidal") and self.d_model % 2:
            raise UserError(f"sinusoidal positions need an even d_model; it is {self.d_model}.")
        if self.is_pretraining and (self.head == "pretraining") != (self.family == "bert"):
            right = "pretraining" if self.family == "bert" else "lm"
            raise UserError(f"head is {self.head!r}, but a {self.family} is pretrained with the head {right!r}.")
        if self.head in LABELED_HEADS and (len(self.labels) < 2 or len(set(self.labels)) < len(self.labels)):
            raise UserError(f"labels is {list(self.labels)}; a classifier needs at least two, all different.")
        if self.head not in LABELED_HEADS and self.labels:
            raise UserError(f"labels is {list(self.labels)}, but head is {self.head!r}: only a classifier has labels.")

    def _check_relative_positions(self) -> None:
        n_buckets, distance = self.relative_attention_num_buckets, self.relative_attention_max_distance
        if n_buckets == 0:
            return
        if self.family == "gpt":
            raise UserError(
                "relative_attention_num_buckets is for models of the families bert and transformer, and this one is a "
                "gpt; leave it out."
            )
        if n_buckets < 4 or n_buckets % 2 or distance <= n_buckets:
            raise UserError(
                f"relative_attention_num_buckets is {n_buckets} and relative_attention_max_distance {distance}; the "
                "first must be even and at least 4, and the second larger than it."
            )

    @property
    def gate(self) -> str | None:
        """The activation of the gate in a gated feed-forward; None = it is not gated."""
        return GATES.get(self.activation)

    @property
    def n_rotated(self) -> int:
        """How many features of a head rotary positions rotate."""
        return int(self.head_size * self.partial_rotary_factor)

    @property
    def has_pooler(self) -> bool:
        """Whether a bert has a layer between the vector of its first token and a prediction for the whole text.

        BERT's pooler is trained with the backbone, so feature extractors have it, too.
        """
        if self.is_pretraining:
            return self.family == "bert" and self.next_sentence
        owners = ("classifier", "reward", {"tanh": "features", "norm": "token_classifier"}.get(self.pooler))
        return self.family == "bert" and self.head in owners

    def is_sliding(self, layer: int) -> bool:
        """Whether a layer's attention is limited to a sliding window."""
        return self.sliding_window is not None and self.layer_types[layer : layer + 1] != ("full_attention",)

    @property
    def is_pretraining(self) -> bool:
        """Whether the head is that of the family's own pretraining, "lm" or "pretraining"."""
        return self.head in ("lm", "pretraining")

    @property
    def generates(self) -> bool:
        """Whether the model writes text: a gpt or a transformer with its language-model head."""
        return self.head == "lm"

    def to_dict(self) -> dict[str, Any]:
        """All fields, for `config.json`."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "ModelConfig":
        """The inverse of `to_dict`. Raises UserError for an unknown field."""
        unknown = set(fields) - {field.name for field in dataclasses.fields(cls)}
        if unknown:
            raise UserError(f"unknown field {', '.join(sorted(unknown))[:200]} in the model's config.")
        return cls(**fields)


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter instead of a whole model (see `models/adapter_files.py`)."""
    return (Path(folder) / ADAPTER_CONFIG).is_file()


def config_file(folder: Path) -> Path:
    """The file with the config of the model in a folder.

    It is `model_config.json` in a saved adapter: transformers 5 treats a folder with a `config.json` as a whole model.
    """
    file = Path(folder) / CONFIG
    return file.with_name(ADAPTED_CONFIG) if is_adapter(folder) and not file.is_file() else file


def read_own_config(folder: Path) -> ModelConfig:
    """Read a config in our own format. Raises UserError if there is none or it is damaged."""
    file = config_file(folder)
    if not file.is_file():
        raise UserError(f"{folder} holds no model: no config.json in it. Give the folder of a run or of a model.")
    fields = read_json(file)
    if not isinstance(fields, dict):
        raise UserError(f"{file} is damaged: expected a JSON object; copy it again.")
    return ModelConfig.from_dict({name: value for name, value in fields.items() if name not in NOT_CONFIG})
