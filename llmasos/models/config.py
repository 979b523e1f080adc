"""One description for every model of the library.

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
BASE_SHA256 = "base_model_sha256"  # in an adapter's folder: the checksum of the base model's weights
ADAPTER_CONFIG = "adapter_config.json"
NOT_CONFIG = (TOKENIZER, CHECKSUMS, BASE_SHA256)  # fields of config.json that are not about the model

DERIVED: Any = None  # the default of fields that `__post_init__` derives from the others

CHOICES = {
    "family": ("gpt", "bert", "transformer"),
    "positions": ("learned", "sinusoidal", "sinusoidal_halves", "rotary", "alibi", "none"),
    "norm": ("layernorm", "rmsnorm"),
    "norm_position": ("pre", "post"),
    "activation": ("relu", "relu2", "gelu", "gelu_tanh", "silu", "swiglu"),
    "head": ("lm", "pretraining", "features", "classifier", "reward", "question_answering", "token_classifier"),
}
LABELED_HEADS = ("classifier", "token_classifier")  # those that predict one of the config's labels
WITHOUT_POOLER = ("question_answering", "token_classifier")  # those that predict nothing about the whole text

# Far above every model that was ever published, and far below a typing error: no hour of swapping, but a sentence.
# Whether a model within these limits fits into this machine is checked when it is built (`models/memory.py`).
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
}
FLAGS = (
    "bias",
    "qkv_bias",
    "output_bias",
    "qk_norm",
    "value_embeddings",
    "zero_init_residual",
    "tie_embeddings",
    "fused",
)


@dataclass(frozen=True)
class ModelConfig:
    """What a model is made of. Fields left at None are derived from the others.

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
        capacity_factor: in training, an expert takes at most this times its even share of a row's tokens; the others
            do without it (0 = all).
        router_aux_loss_coef: the weight of the load-balancing loss, which makes the router use all experts (0.01 in
            Fedus et al. 2021; see `objectives/load_balancing.py`).
        max_ngram: N; a gpt with N = 3 also embeds each token together with the one before it, and with the two before
            it (1 = tokens only, as in nearly all models; see `nn/embedding.py`).
        ngram_buckets: the rows of each table of n-grams, which are looked up by a hash.
        positions: "learned" and "sinusoidal" are added to the embeddings ("sinusoidal_halves": the same waves, first
            all sines, then all cosines, as in Marian's translators), "rotary" rotates queries and keys,
            "alibi" lowers a gpt's scores with the distance, "none" leaves it to the causal mask.
        rope_theta: the base of the rotary wavelengths.
        rope_scaling: how the rotary frequencies are scaled for long texts (None = not at all).
        sliding_window: a token of a gpt attends to this many tokens, the last of which is itself (None = all before
            it). The KV cache keeps the others and masks them.
        qk_norm: whether each head's queries and keys are normalized (RMSNorm) before RoPE and the dot product (Qwen3).
        value_embeddings: whether each layer of a gpt adds to its values a vector that depends on the token alone, from
            a table (V, Hkv·D) of its own. A lookup needs no multiplications (after Zhou et al. 2024, "Value residual
            learning", in the form of Jordan et al. 2024, modded-nanogpt).
        norm: "layernorm" or "rmsnorm".
        norm_position: "pre" (before each sublayer) or "post" (after each residual connection).
        norm_eps: keeps the norm from dividing by zero.
        activation: "relu", "relu2" (squared), "gelu", "gelu_tanh", "silu", or "swiglu" (gated).
        n_segments: how many texts a bert can tell apart in one sequence.
        bias: whether linear layers and LayerNorms have biases.
        qkv_bias: whether the projections to queries, keys and values have one (None = bias); Qwen2 has no others.
        output_bias: whether the output layer of a gpt or a transformer has a bias, as Marian's has (a bert's always).
        zero_init_residual: whether the matrices that write into the residual stream start at zero, so that each
            block is at first the identity (Goyal et al. 2017, section 5.1; Zhang et al. 2019, "Fixup").
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
    rope_theta: float = 10_000.0
    rope_scaling: RopeScaling | None = None
    sliding_window: int | None = None
    qk_norm: bool = False
    value_embeddings: bool = False
    norm: str = "layernorm"
    norm_position: str = "pre"
    norm_eps: float = 1e-5
    activation: str = "gelu_tanh"
    n_segments: int = 2
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
        if isinstance(self.labels, list):  # JSON has no tuples
            object.__setattr__(self, "labels", tuple(self.labels))
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
        gated = self.activation == "swiglu"
        return {
            "n_decoder_layers": self.n_layers,
            "n_kv_heads": self.n_heads,
            "head_size": self.d_model // self.n_heads,
            "d_ff": math.ceil(8 * self.d_model / 3 / 32) * 32 if gated else 4 * self.d_model,
            "n_active_experts": min(2, self.n_experts),
            "qkv_bias": self.bias,
            "head": "pretraining" if self.family == "bert" else "lm",
        }

    def _check_each_field(self) -> None:
        """Type and range of every field by itself. A config may come from a file that a person has edited."""
        derived = ("n_decoder_layers", "n_kv_heads", "head_size", "d_ff", "n_active_experts", "qkv_bias", "head")
        for field in dataclasses.fields(self):
            name, value = field.name, getattr(self, field.name)
            if value is None and name in (*derived, "sliding_window", "mup_base_width"):
                continue
            if name in LARGEST:
                check_number(name, value, whole=True, at_least=1, at_most=LARGEST[name])
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
            elif not (isinstance(value, tuple) and all(isinstance(label, str) and label for label in value)):
                raise UserError(f"labels is {shown(value)}; it must be a list of names, none of them empty.")

    def _check_heads_divide_d_model(self) -> None:
        if self.d_model % self.n_heads:
            raise UserError(
                f"n_heads {self.n_heads} does not divide d_model {self.d_model}: the heads split d_model "
                f"evenly, so choose for example d_model {self.d_model // self.n_heads * self.n_heads or self.n_heads}."
            )

    def _check_together(self) -> None:
        """Fields that must fit each other."""
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
        if self.family != "gpt" and (self.sliding_window is not None or self.positions == "alibi"):
            name = "sliding_window" if self.positions != "alibi" else "positions 'alibi'"
            raise UserError(f"{name} is for models of the family gpt, and this one is a {self.family}; leave it out.")
        if self.mup_base_width is not None and (self.family != "gpt" or self.tie_embeddings):
            raise UserError(
                "mup_base_width is for models of the family gpt whose output layer has a matrix, and so a rate, of its "
                f"own; this one is a {self.family} with tie_embeddings {str(self.tie_embeddings).lower()}."
            )
        if self.positions == "rotary" and self.head_size % 2:
            raise UserError(f"rotary positions need an even head size; here it is {self.head_size}.")
        if self.positions != "rotary" and self.rope_scaling is not None:
            raise UserError(
                f"rope_scaling is only for rotary positions, and positions is {self.positions!r}; leave it out."
            )
        if self.positions.startswith("sinusoidal") and self.d_model % 2:
            raise UserError(f"sinusoidal positions need an even d_model; it is {self.d_model}.")
        if self.is_pretraining and (self.head == "pretraining") != (self.family == "bert"):
            right = "pretraining" if self.family == "bert" else "lm"
            raise UserError(f"head is {self.head!r}, but a {self.family} is pretrained with the head {right!r}.")
        if self.head in LABELED_HEADS and (len(self.labels) < 2 or len(set(self.labels)) < len(self.labels)):
            raise UserError(f"labels is {list(self.labels)}; a classifier needs at least two, all different.")
        if self.head not in LABELED_HEADS and self.labels:
            raise UserError(f"labels is {list(self.labels)}, but head is {self.head!r}: only a classifier has labels.")

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
        """The reverse of `to_dict`. Raises UserError for a field that does not exist."""
        unknown = set(fields) - {field.name for field in dataclasses.fields(cls)}
        if unknown:
            raise UserError(f"unknown field {', '.join(sorted(unknown))[:200]} in the model's config.")
        return cls(**fields)


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter instead of a whole model (see `models/adapter_files.py`)."""
    return (Path(folder) / ADAPTER_CONFIG).is_file()


def read_own_config(folder: Path) -> ModelConfig:
    """Read a `config.json` in our own format. Raises UserError if there is none or it is damaged."""
    file = Path(folder) / "config.json"
    if not file.is_file():
        raise UserError(f"{folder} holds no model: no config.json in it. Give the folder of a run or of a model.")
    fields = read_json(file)
    if not isinstance(fields, dict):
        raise UserError(f"{file} is damaged: expected a JSON object; copy it again.")
    return ModelConfig.from_dict({name: value for name, value in fields.items() if name not in NOT_CONFIG})
