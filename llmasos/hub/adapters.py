"""Opening an adapter, ours or `peft`'s: find its base model by name, and attach the adapter to it.

    model = read_adapted(folder)                     the base model that the adapter names
    model = read_adapted(folder, base=Path(…))       another copy of it

Ours are from a checkpoint or `save_pretrained`. They include the config of the
whole model and a checksum of the base's weights, so they are never attached to another model. peft's have neither; for
these, names and shapes must match.
"""

import dataclasses
import warnings
from pathlib import Path

from llmasos.errors import UserError
from llmasos.hub.adapter_names import from_published
from llmasos.hub.config_files import read_config
from llmasos.hub.pretrained_folder import Say, copy_weights, published_format, read_model
from llmasos.hub.resolve import find_model_folder, name_of
from llmasos.models import Model, ModelConfig, build_model
from llmasos.models.adapter import merge_adapter, weights_sha256
from llmasos.models.adapter_files import (
    TASK_TYPES,
    AdapterFile,
    attach,
    check_base,
    read_adapter,
)
from llmasos.models.config import ADAPTER_CONFIG, LABELED_HEADS, config_file, is_adapter
from llmasos.models.serialization import check_same_backbone, weights_of

HEAD_OF = {task_type: head for head, task_type in TASK_TYPES.items()}


def find_adapter(name: str | Path, say: Say = warnings.warn) -> Path:
    """The folder of the adapter that a user names: its own, or that of a run. Raises UserError if it is none."""
    folder = find_model_folder(name, say)
    if not is_adapter(folder):
        raise UserError(f"{name} is a whole model, not an adapter ({ADAPTER_CONFIG} is missing): open it by itself.")
    return folder


def base_folder(folder: Path, say: Say = warnings.warn) -> Path:
    """The folder of the base model of an adapter. Raises UserError if it cannot be found."""
    base = read_adapter(folder).base
    try:
        found = find_model_folder(base, say)
    except UserError as error:
        raise UserError(
            f"{folder} is an adapter of the model {base!r}, which cannot be opened ({str(error).rstrip('.?')}); if you "
            "have that model elsewhere, open it and name the adapter too (--adapter, or adapter=… in Python)."
        ) from error
    if is_adapter(found):
        raise UserError(f"{folder} is an adapter of {base}, which is itself an adapter: merge that one first.")
    return found


def adapted_config(folder: Path, base: Path | None = None) -> ModelConfig:
    """The config of a base model with an adapter."""
    if config_file(folder).is_file():
        return read_config(folder)
    config, adapter = read_config(base or base_folder(folder)), read_adapter(folder)
    head = HEAD_OF.get(adapter.task_type or "", config.head)
    weight = next((tensor for name, tensor in adapter.new.items() if name.endswith("classifier.weight")), None)
    if head not in LABELED_HEADS:
        return dataclasses.replace(config, head=head, labels=())
    if weight is None or len(config.labels) == weight.size(0):
        return dataclasses.replace(config, head=head)
    labels = tuple(f"LABEL_{number}" for number in range(weight.size(0)))
    return dataclasses.replace(config, head=head, labels=labels)


def read_adapted(folder: Path, base: Path | None = None, say: Say = warnings.warn) -> Model:
    """Open an adapter with its base model, on the CPU and in evaluation mode.

    Args:
        folder: the adapter's folder.
        base: the folder of its base model; None = the one that the adapter names.
        say: called with messages for the user.

    Raises:
        UserError: the base model is missing, the adapter belongs to another one, or it is not supported.
    """
    base = base or base_folder(folder, say)
    config, base_config, adapter = adapted_config(folder, base), read_config(base), read_adapter(folder)
    try:
        check_same_backbone(config, base_config, base)
    except UserError as error:
        raise UserError(
            f"{folder} is an adapter of {adapter.base or 'another model'}, and {name_of(base)} has other sizes: give "
            "it the model that it was trained on."
        ) from error
    if (config.head, config.labels) == (base_config.head, base_config.labels):
        model = read_model(base, say=say)
    else:
        model = build_model(config)
        copy_weights(model, base, with_head=False)
    adapter = with_our_names(adapter, model)
    if adapter.base_sha256 is not None:
        new = {name.rpartition(".")[0] for name in adapter.new}
        check_base(adapter, weights_sha256(model, new), str(folder))
    return attach(model, adapter, str(folder)).eval()


def with_our_names(adapter: AdapterFile, model: Model) -> AdapterFile:
    """An adapter with our names of its layers, whether it has these or published ones."""
    modules = dict(model.named_modules())
    format, _ = published_format(model.config)
    if format is None or all(name in modules for name in adapter.layers):
        return adapter
    return from_published(adapter, format, model, model.config)


def copy_merged(model: Model, folder: Path, with_head: bool) -> list[str]:
    """`pretrained_folder.copy_weights` from the base model of an adapter with the adapter merged into it."""
    adapted = merge_adapter(read_adapted(folder, say=lambda text: None))
    check_same_backbone(model.config, adapted.config, folder)
    ours, weights = weights_of(model), weights_of(adapted)
    if not with_head:
        own = "" if model.config.is_pretraining else "backbone."
        there = "" if adapted.config.is_pretraining else "backbone."
        weights = {own + name.removeprefix(there): t for name, t in weights.items() if name.startswith(there)}
        weights = {name: tensor for name, tensor in weights.items() if name in ours and name.startswith(own)}
    for name, tensor in weights.items():
        ours[name].copy_(tensor)
    model.generation_config = adapted.generation_config
    return [name for name in ours if name not in weights]
