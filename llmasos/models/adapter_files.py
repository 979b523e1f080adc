"""An adapter on disk, in the format that `peft` reads and writes: two files.

    adapter_config.json             rank, α, layers, and the name of the base model
    adapter_model.safetensors       base_model.model.LAYER.lora_A.weight (r, in), ….lora_B.weight (out, r),
                                    and base_model.model.NAME for every weight of a new part

Next to them is the config of the whole model (`config_file`), as in every folder of ours, with the checksum of the
base's weights. Checkpoints use this library's layer names; `llmasos.hub` maps them to their published names if there
are any.

Each layer may have its own rank and α. `Factors` holds the adapter of one layer.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from llmasos.errors import UserError, shown
from llmasos.models.adapter import Adapter, adapter_weights, install, lora_layers
from llmasos.models.base import Model
from llmasos.models.config import ADAPTER_CONFIG, ADAPTER_WEIGHTS, BASE_SHA256, config_file
from llmasos.nn import LoRALinear
from llmasos.storage import load_tensors, read_json, save_tensors, write_json

PREFIX = "base_model.model."
TASK_TYPES = {
    "classifier": "SEQ_CLS", "question_answering": "QUESTION_ANS", "token_classifier": "TOKEN_CLS",
    "features": "FEATURE_EXTRACTION",
}  # fmt: skip
# Fields of adapter_config.json that change what an adapter computes, with the values that this library supports.
REQUIRED: dict[str, tuple[Any, ...]] = {
    "peft_type": ("LORA",),
    "use_dora": (False, None),
    "bias": ("none", None),
    "lora_bias": (False, None),
    "trainable_token_indices": (None,),
    "target_parameters": (None, []),
    "layer_replication": (None,),
    "init_lora_weights": (True, False, "gaussian", "orthogonal", "eva", None),  # others change the base model
}


class Factors(NamedTuple):
    """The adapter of one layer: A (r, in), B (out, r) and α."""

    A: Tensor
    B: Tensor
    alpha: float

    @property
    def rank(self) -> int:
        """r."""
        return self.A.size(0)


@dataclass(frozen=True)
class AdapterFile:
    """The contents of an adapter's folder.

    Attributes:
        base: the name of the base model.
        layers: the adapted layers by name.
        new: the weights of parts that the base model does not have, by name.
        base_sha256: the checksum of the base's weights; None = not known.
        task_type: peft's name of the task; None = unknown.
    """

    base: str
    layers: dict[str, Factors]
    new: dict[str, Tensor] = field(default_factory=dict)
    base_sha256: str | None = None
    task_type: str | None = None


def adapter_of(model: Model) -> AdapterFile:
    """The adapter of a model, with our names."""
    assert model.adapter is not None
    layers = {name: Factors(m.lora_A.weight, m.lora_B.weight, m.alpha) for name, m in lora_layers(model).items()}
    new: dict[str, Tensor] = {name: p for name, p in adapter_weights(model).items() if ".lora_" not in name}
    task_type = TASK_TYPES.get(model.config.head) or {"gpt": "CAUSAL_LM", "transformer": "SEQ_2_SEQ_LM"}.get(
        model.config.family
    )
    return AdapterFile(model.adapter.base, layers, new, model.adapter.base_sha256, task_type)


def write_adapter(
    folder: Path, adapter: AdapterFile, transposed: bool = False, dtype: torch.dtype | None = None
) -> None:
    """Write the two files into a folder that exists.

    Args:
        folder: the folder to write.
        adapter: its layers and new parts under the names that they have in the file.
        transposed: whether the base model's matrices are (in, out), as GPT-2's: a note for programs that merge.
        dtype: the data type of the tensors in the file; None = unchanged.
    """
    ranks, alphas = ({name: getattr(f, key) for name, f in adapter.layers.items()} for key in ("rank", "alpha"))
    rank, alpha = (Counter(values.values()).most_common(1)[0][0] for values in (ranks, alphas))
    fields = {
        "peft_type": "LORA",
        "task_type": adapter.task_type,
        "base_model_name_or_path": adapter.base,
        "inference_mode": True,
        "r": rank,
        "lora_alpha": alpha,
        "rank_pattern": {name: value for name, value in ranks.items() if value != rank},
        "alpha_pattern": {name: value for name, value in alphas.items() if value != alpha},
        "target_modules": sorted(adapter.layers),
        "modules_to_save": sorted({name.rpartition(".")[0] for name in adapter.new}) or None,
        "fan_in_fan_out": transposed,
        "lora_dropout": 0.0,
        "bias": "none",
    }
    tensors = {f"{PREFIX}{name}": tensor for name, tensor in adapter.new.items()}
    for name, factors in adapter.layers.items():
        tensors[f"{PREFIX}{name}.lora_A.weight"] = factors.A
        tensors[f"{PREFIX}{name}.lora_B.weight"] = factors.B
    write_json(folder / ADAPTER_CONFIG, fields)
    tensors = {name: t.detach() if dtype is None else t.detach().to(dtype) for name, t in tensors.items()}
    save_tensors(folder / ADAPTER_WEIGHTS, tensors, {"format": "pt"})


def read_adapter(folder: Path) -> AdapterFile:
    """Read an adapter, with the names that it has in the file.

    Raises:
        UserError: a file is missing or damaged, or the adapter is of a type that is not supported.
    """
    file = Path(folder) / ADAPTER_CONFIG
    fields = read_json(file)
    if not isinstance(fields, dict):
        raise UserError(f"{file} is damaged: expected a JSON object; fetch it again.")
    for name, values in REQUIRED.items():
        if fields.get(name, values[0]) not in values:
            raise UserError(
                f"{file} has {name} = {shown(fields[name])}, and llmasos supports plain LoRA with {name} = "
                f"{shown(values[0])} only: merge this adapter into its model with peft, and open the result."
            )
    base = fields.get("base_model_name_or_path")
    rank, alpha = fields.get("r"), fields.get("lora_alpha")
    is_number = isinstance(alpha, int | float) and math.isfinite(alpha)
    if not isinstance(base, str | None) or not isinstance(rank, int) or not is_number:
        raise UserError(f"{file} is damaged: expected the name of a base model, r and lora_alpha; fetch it again.")
    config = config_file(folder)
    base_sha256 = read_json(config).get(BASE_SHA256) if config.is_file() else None

    tensors = {
        name.removeprefix(PREFIX): tensor for name, tensor in load_tensors(Path(folder) / ADAPTER_WEIGHTS).items()
    }
    layers = {}
    for name in [name for name in tensors if name.endswith(".lora_A.weight")]:
        layer = name.removesuffix(".lora_A.weight")
        A, B = tensors.pop(name), tensors.pop(f"{layer}.lora_B.weight", None)
        if B is None or A.dim() != 2 or B.dim() != 2 or B.size(1) != A.size(0):
            raise UserError(f"{folder} is damaged: the two matrices of {layer} do not fit each other; fetch it again.")
        value = float(pattern_value(fields.get("alpha_pattern") or {}, layer, alpha))
        # "rank-stabilized" LoRA multiplies by α / √r (Kalajdzievski 2023), which is another α for this rank
        layers[layer] = Factors(A, B, value * math.sqrt(A.size(0)) if fields.get("use_rslora") else value)
    if not layers or any(".lora_" in name or "lora_embedding" in name for name in tensors):
        odd = next((name for name in tensors if "lora_" in name), "no layer")
        raise UserError(f"{folder} adapts {odd}, and llmasos supports adapters of linear layers: choose another.")
    return AdapterFile(base or "", layers, tensors, base_sha256, fields.get("task_type"))


def pattern_value(patterns: Mapping[str, Any], layer: str, default: Any) -> Any:
    """The value of a layer in peft's `alpha_pattern`, whose keys are regular expressions for ends of names.

    >>> pattern_value({"c_attn": 48, "h.0.mlp.c_fc": 8}, "transformer.h.1.attn.c_attn", 16)
    48
    """
    return next((value for key, value in patterns.items() if re.match(rf"(.*\.)?({key})$", layer)), default)


def save_adapter(folder: Path, model: Model) -> None:
    """Write the adapter of a model with our names, as checkpoints have it."""
    write_adapter(folder, adapter_of(model))


def attach(model: Model, adapter: AdapterFile, where: str) -> Model:
    """Attach an adapter that was read from a file, with this library's names, to its base model.

    Args:
        model: the base model, with the head of the adapted one.
        adapter: its layers and new parts.
        where: its folder, for messages.

    Raises:
        UserError: a layer or a part does not exist in the model or has another shape.
    """
    modules, weights = dict(model.named_modules()), dict(model.named_parameters())
    layers = {}
    for name, factors in adapter.layers.items():
        layer = modules.get(name)
        shape = (factors.B.size(0), factors.A.size(1))
        if not isinstance(layer, torch.nn.Linear) or tuple(layer.weight.shape) != shape:
            actual = tuple(layer.weight.shape) if isinstance(layer, torch.nn.Linear) else "no such layer"
            raise UserError(mismatch(where, f"{name} of shape {shape}", f"{actual}"))
        layers[name] = LoRALinear(layer, factors.rank, factors.alpha)
        with torch.no_grad():
            layers[name].lora_A.weight.copy_(factors.A)
            layers[name].lora_B.weight.copy_(factors.B)
    for name, tensor in adapter.new.items():
        if name not in weights or weights[name].shape != tensor.shape:
            actual = str(tuple(weights[name].shape)) if name in weights else "no such weights"
            raise UserError(mismatch(where, f"{name} of shape {tuple(tensor.shape)}", actual))
        with torch.no_grad():
            weights[name].copy_(tensor)
    new = tuple(dict.fromkeys(name.rpartition(".")[0] for name in adapter.new))
    return install(model, Adapter(adapter.base, adapter.base_sha256, new), layers)


def load_adapter(model: Model, folder: Path) -> None:
    """Load the adapter in a folder of this library into a model with the same adapted layers.

    Raises:
        UserError: it belongs to another base model, or adapts other layers.
    """
    saved, adapter = read_adapter(folder), adapter_of(model)
    check_base(saved, adapter.base_sha256, str(folder))
    weights = adapter_weights(model)
    tensors = dict(saved.new)
    for name, factors in saved.layers.items():
        tensors |= {f"{name}.lora_A.weight": factors.A, f"{name}.lora_B.weight": factors.B}
    different = sorted(set(tensors) ^ set(weights))
    different += [name for name in tensors if name in weights and tensors[name].shape != weights[name].shape]
    if different:
        raise UserError(mismatch(str(folder), *(
            str(tuple(t[different[0]].shape)) if different[0] in t else f"no {different[0]}" for t in (tensors, weights)
        )))  # fmt: skip
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(tensors[name])


def check_base(adapter: AdapterFile, sha256: str | None, where: str) -> None:
    """Raise UserError unless an adapter was trained on the weights with this checksum."""
    if adapter.base_sha256 is not None and sha256 != adapter.base_sha256:
        raise UserError(
            f"{where} is an adapter of {adapter.base or 'another model'}, and these are not the weights that it was "
            "trained on (their checksum differs): with them its outputs would be meaningless; give it that model."
        )


def mismatch(where: str, expected: str, actual: str) -> str:
    """The message for an adapter of another model."""
    return (
        f"{where} is an adapter of another model: it has {expected}, and this model has {actual}; give it the model it "
        "was trained on."
    )
