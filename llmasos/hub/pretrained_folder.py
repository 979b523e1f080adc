"""Reading and writing the folder of a model, ours or a published one.

    read_model(folder)                   the model
    read_tokenizer(folder, config)       its tokenizer
    copy_weights(model, folder)          its weights, or those of its backbone, into an existing model
    write_model(folder, model, …)        a folder that transformers opens too, if it supports such a model

A model that one of the `formats` can represent is written in the published format; any other (a pre-norm BERT, a GPT
without positions, …) in our own. `config_files` reads the config, and says which of the two it is.
"""

import dataclasses
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from llmasos.errors import UserError, shown
from llmasos.hub.adapter_names import to_published
from llmasos.hub.config_files import is_published, read_config, read_published_config
from llmasos.hub.embedding_config import read_embedding_config, write_embedding_config
from llmasos.hub.formats import FORMATS, GPT2Format, HFFormat
from llmasos.hub.generation_config import (
    read_generation_config,
    write_generation_config,
)
from llmasos.hub.resolve import name_of
from llmasos.hub.tokenizers import load_any_tokenizer
from llmasos.hub.weights import MAX_SHARD_BYTES, read_weights, write_weights
from llmasos.models import Model, ModelConfig, build_model, load_model, weights_of
from llmasos.models.adapter_files import adapter_of, write_adapter
from llmasos.models.config import BASE_SHA256, TOKENIZER, config_file
from llmasos.models.heads import HEADS
from llmasos.models.serialization import (
    assign_weights,
    build_on_meta,
    check_same_backbone,
)
from llmasos.prompting import TEMPLATES
from llmasos.storage import load_tensors, read_json, write_json, write_text
from llmasos.tokenizers import Tokenizer
from llmasos.tokenizers.tokenizer import TEMPLATE_FILE

Say = Callable[[str], None]
WRAPPERS = ("module.", "_orig_mod.")
ENCODERS = ("bert", "distilbert", "mpnet", "modernbert")  # the model types that do not generate


def read_model(folder: Path, device: torch.device | str = "cpu", say: Say = warnings.warn) -> Model:
    """Read the model in a folder, in float32 and in evaluation mode.

    Args:
        folder: ours, or a published one (see `formats`).
        device: the model's device. On the CPU, float32 weights are memory-mapped, not copied.
        say: called with a message about weights that are missing from the file, or not needed.

    Raises:
        UserError: there is no model in the folder, it is not supported, or the weights are damaged or do not match the
            config.
    """
    folder = Path(folder)
    if not is_published(folder):
        model = load_model(folder, device)
        model.generation_config = read_generation_config(folder, model.config, say)
        model.embedding_config = read_embedding_config(folder, model.config)
        return model
    config, format = read_published_config(folder)
    published = read_weights(folder)
    config = with_stored_head(config, format, published, name_of(folder), say)
    model = build_on_meta(config, sum(tensor.numel() for tensor in published.values()))
    tensors = convert_tensors(model, config, format, published, name_of(folder), say)
    if missing := [name for name in weights_of(model) if name not in tensors]:
        what = f"{name_of(folder)} has no weights for {', '.join(missing)}"
        say(f"{what}: these are initialized at random and need training.")
        initial = weights_of(build_model(config))
        tensors |= {name: initial[name] for name in missing}
    assign_weights(model, tensors)
    model.generation_config = read_generation_config(folder, config, say)
    model.embedding_config = read_embedding_config(folder, config)
    return model.to(device).eval()


def with_stored_head(
    config: ModelConfig, format: HFFormat, published: Mapping[str, Tensor], folder: str, say: Say
) -> ModelConfig:
    """Return the config, without the head of a bert's pretraining if the file holds nothing of it.

    Sentence embedders are saved like this: their config.json names the class that their training started from.
    """
    names = {format.current_name(name) for name in unwrapped(published)}
    if config.family != "bert" or not config.is_pretraining or names & {m.published for m in format.head(config)}:
        return config
    say(f"{folder} has no weights of the head that its config.json names: it is opened without (as features).")
    return dataclasses.replace(config, head="features")


def copy_weights(model: Model, folder: Path, with_head: bool) -> list[str]:
    """Copy the weights of the model in a folder into `model`, a freshly built one with the same backbone.

    Args:
        model: with a head (see `models/heads.py`), unless `with_head` is set.
        folder: the folder of a model with the same family and sizes, in our format or a published one.
        with_head: whether the head's weights are copied too; the heads must then be equal. Otherwise the head keeps its
            own weights.

    Returns:
        The names of the weights that the folder does not have: those of the head, and what published files leave out.

    Raises:
        UserError: the sizes or parts differ, or the folder is damaged.
    """
    folder = Path(folder)
    config = read_config(folder)
    check_same_backbone(model.config, config, folder)
    target: nn.Module = model if with_head else model.get_submodule("backbone")
    if is_published(folder):
        _, format = read_published_config(folder)
        # Weights of another head are ignored; parts that the file leaves out keep their initial weights.
        tensors = convert_tensors(
            target, model.config, format, read_weights(folder), name_of(folder), lambda text: None
        )
    elif with_head:
        tensors = weights_of(read_model(folder))
    else:
        tensors = read_own_backbone(target, model.config.head, config, folder)
    model.generation_config = read_generation_config(folder, model.config, lambda text: None)
    weights = weights_of(target)
    for name, tensor in tensors.items():
        weights[name].copy_(tensor)
    copied = {name if with_head else f"backbone.{name}" for name in tensors}
    return [name for name in weights_of(model) if name not in copied]


def read_own_backbone(backbone: nn.Module, head: str | None, config: ModelConfig, folder: Path) -> dict[str, Tensor]:
    """Return the tensors of a backbone, under a head of this name, from a folder in our own format with this config.

    Raises:
        UserError: one of them is missing.
    """
    file = folder / "model.safetensors"
    tensors, needed = load_tensors(file), weights_of(backbone)
    if not config.is_pretraining:
        tensors = {name.removeprefix("backbone."): tensor for name, tensor in tensors.items()}
    missing = [name for name in needed if name not in tensors or tensors[name].shape != needed[name].shape]
    if missing:
        raise UserError(
            f"{file} has no {missing[0]} of shape {tuple(needed[missing[0]].shape)}, which the head "
            f"{head!r} needs (the model there has the head {config.head!r}): start from the folder of a model "
            "without a head."
        )
    return {name: tensors[name] for name in needed}


def read_tokenizer(folder: Path, config: ModelConfig, say: Say = warnings.warn) -> Tokenizer:
    """Read the tokenizer in a model's folder.

    Tokens that were added to the tokenizer but not to the model (usually a [PAD] for training in batches) have no row
    in the token embedding. They are left out, and their names are encoded as ordinary text.

    Args:
        folder: the model's folder.
        config: the model's config.
        say: called with a message about tokens that are left out.

    Raises:
        UserError: there is none, it is damaged, or it does not belong to the model.
    """
    tokenizer = load_any_tokenizer(folder)
    expected = read_json(config_file(folder)).get(TOKENIZER)
    template, roles = tokenizer.chat_template, tokenizer.roles
    belongs = expected in (None, tokenizer.fingerprint())
    if belongs and tokenizer.vocab_size > config.vocab_size:
        left_out = [token.content for token in tokenizer.added_tokens if token.id >= config.vocab_size]
        tokenizer = tokenizer.without_ids_from(config.vocab_size)
        if left_out and tokenizer.vocab_size <= config.vocab_size:
            say(
                f"the tokenizer in {folder} has {', '.join(map(shown, left_out))}, which the model has no embedding "
                f"for (its ids end at {config.vocab_size - 1:,}): left out, so the model neither reads nor writes "
                f"{'it' if len(left_out) == 1 else 'them'}."
            )
    if not belongs or tokenizer.vocab_size > config.vocab_size:
        raise UserError(
            f"the tokenizer in {folder} ({tokenizer.vocab_size:,} ids) does not belong to the model there, which was "
            f"trained with another one (of at most {config.vocab_size:,} ids): its predictions would be meaningless. "
            "Fetch the folder again, or save model and tokenizer together."
        )
    tokenizer.chat_template, tokenizer.roles = template, roles  # also of a copy without some tokens
    return tokenizer


def write_model(
    folder: Path,
    model: Model,
    tokenizer: Tokenizer | None = None,
    dtype: torch.dtype | None = None,
    max_shard_bytes: int = MAX_SHARD_BYTES,
) -> str | None:
    """Write config, weights and tokenizer into a folder that exists; of an adapted model, the adapter only.

    Args:
        folder: the folder to write.
        model: not quantized.
        tokenizer: None writes the model alone.
        dtype: the data type of the weights in the file; None = unchanged. Half precision halves the file.
        max_shard_bytes: the maximum size of one file; larger models are split into several.

    Returns:
        The name of the published architecture, or None for our own format.
    """
    config = model.config
    weights = {name: t if dtype is None else t.to(dtype) for name, t in weights_of(model).items()}
    format, fields = published_format(config)
    special: dict[str, int] = {}
    if format is None:
        fields = config.to_dict()
    else:
        special = special_ids(fields, tokenizer)
        fields |= {"architectures": [format.architecture(config)], **special}
        dtype_name = str(next(iter(weights.values())).dtype).removeprefix("torch.")
        fields |= {"dtype": dtype_name, "torch_dtype": dtype_name}  # the first is for transformers 5, the second before
    if tokenizer is not None:
        tokenizer.save(folder)
        names = set(tokenizer.special_tokens)
        ours = [
            template.jinja for template in TEMPLATES.values() if template.jinja and names.issuperset(template.needs)
        ]
        if tokenizer.chat_template is None:  # its own is saved with it
            for program in ours:
                write_text(folder / TEMPLATE_FILE, program)
        fields[TOKENIZER] = tokenizer.fingerprint()
    if model.adapter is not None:
        adapter = adapter_of(model)
        if format is not None:
            adapter = to_published(adapter, format, model, config)
        write_adapter(folder, adapter, isinstance(format, GPT2Format), dtype)
        fields[BASE_SHA256] = adapter.base_sha256
    elif format is None:
        write_weights(folder, weights, max_shard_bytes)
    else:
        tensors = {m.published: m.save([weights[name] for name in m.ours]) for m in format.mappings(config)}
        write_weights(folder, tensors, max_shard_bytes)
    write_json(config_file(folder), fields)
    write_generation_config(folder, model, special, tokenizer)
    write_embedding_config(folder, model.embedding_config, config)
    return None if format is None else format.architecture(config)


def published_format(config: ModelConfig) -> tuple[HFFormat | None, dict[str, Any]]:
    """Return the published format that can represent this config, and its config.json; (None, {}) if there is none."""
    for format in FORMATS:
        fields = format.write_config(config)
        if fields is not None and format.architecture(config) is not None:
            return format, fields
    return None, {}


def special_ids(fields: dict[str, Any], tokenizer: Tokenizer | None) -> dict[str, int]:
    """Return the ids of the special tokens for a published config.json."""
    if fields["model_type"] in ("marian", "t5"):
        is_t5 = fields["model_type"] == "t5"  # in Marian's vocabularies </s> is the first token and <pad> the last
        end, start = (1, 0) if is_t5 else (0, fields["vocab_size"] - 1)
        if tokenizer is not None:
            end, start = tokenizer.end_of_text, tokenizer.start_of_target
        names = ("eos_token_id",) if is_t5 else ("eos_token_id", "forced_eos_token_id")
        return dict.fromkeys(names, end) | dict.fromkeys(("pad_token_id", "decoder_start_token_id"), start)
    if tokenizer is None:
        return {}
    end = tokenizer.end_of_text
    if fields["model_type"] in ENCODERS:
        return {"pad_token_id": tokenizer.pad_id}
    return {"bos_token_id": end, "eos_token_id": end}


def convert_tensors(
    model: nn.Module, config: ModelConfig, format: HFFormat, published: Mapping[str, Tensor], folder: str, say: Say
) -> dict[str, Tensor]:
    """Convert the tensors of a published file to our names and layout.

    Args:
        model: the model that needs them: a whole model, or the backbone under a head.
        config: the config of the whole model.
        format: the file's format.
        published: the tensors of the file.
        folder: the folder, for messages.
        say: called with a message about tensors that are not needed.

    Returns:
        All weights of the model, except those that are `format.optional` and missing from the file.

    Raises:
        UserError: a tensor is missing or has the wrong shape, or the file's backbone has tensors that the model lacks.
    """
    is_backbone = not isinstance(model, HEADS.get(config.head, nn.Module))
    published = format.completed({format.current_name(name): t for name, t in unwrapped(published).items()}, config)
    prefix = format.prefix if any(name.startswith(format.prefix) for name in published) else ""
    needed = weights_of(model)
    tensors: dict[str, Tensor] = {}
    used = set()
    for mapping in format.mappings(config, prefix):
        ours = tuple(name.removeprefix("backbone.") for name in mapping.ours) if is_backbone else mapping.ours
        if ours[0] not in needed or mapping.published not in published:
            continue
        used.add(mapping.published)
        tensor = published[mapping.published]
        if not tensor.is_floating_point():
            raise UserError(
                f"{folder} holds {mapping.published} as {str(tensor.dtype).removeprefix('torch.')}: its weights are "
                "quantized in a format that llmasos does not read. Choose the version that is not quantized."
            )
        shapes = [tuple(needed[name].shape) for name in ours]
        expected = mapping.save([torch.empty(shape, device="meta") for shape in shapes]).shape
        if tensor.shape != expected and not (mapping.may_be_longer and tensor[: expected[0]].shape == expected):
            raise UserError(
                f"{folder} does not match its config.json: {mapping.published} has the shape {tuple(tensor.shape)}, "
                f"but the config asks for {tuple(expected)}. Fetch the model again."
            )
        tensors |= zip(ours, mapping.load(tensor, [shape[0] for shape in shapes]), strict=True)
    missing = [name for name in needed if name not in tensors and not name.startswith(format.optional)]
    unused = [name for name in published if name not in used]
    if missing:
        unknown = [name for name in unused if not name.endswith(format.ignored)]
        cause = "the download may be incomplete, or the config belongs to another model; fetch it again."
        if unknown:
            cause = (
                f"it holds {unknown[0]} instead ({len(unknown)} tensors without a place in this model), so its weights "
                "are quantized, renamed, or those of another model. Choose another version of it."
            )
        raise UserError(
            f"{folder} does not hold {missing[0]}, which the model of its config.json has ({len(missing)} tensors are "
            f"missing): {cause}"
        )
    if config.is_pretraining and not is_backbone:
        check_copies({name: published[name] for name in unused}, tensors, format, folder)
    check_unused(unused, config, format, prefix, folder, say)
    return tensors


def check_copies(unused: Mapping[str, Tensor], tensors: Mapping[str, Tensor], format: HFFormat, folder: str) -> None:
    """Raise UserError if an unused tensor that should duplicate one of ours has different values."""
    for suffix, ours in format.copies.items():
        for name, copy in unused.items():
            if name.endswith(suffix) and ours in tensors and not is_same(copy, tensors[ours]):
                raise UserError(
                    f"{folder} holds {name} with other values than {ours}, and its config.json says that both are one "
                    "(tie_word_embeddings): transformers 4 uses the one and transformers 5 the other. Save it again "
                    "from the version it was trained with."
                )


def is_same(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors of a file have the same values; those that share their memory are not read."""
    return (a.shape == b.shape and a.data_ptr() == b.data_ptr()) or torch.equal(a, b.to(a.dtype))


def unwrapped(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Remove the prefixes that names have if the saved model was wrapped by DDP or `torch.compile`."""
    while wrapper := next((w for w in WRAPPERS if tensors and all(name.startswith(w) for name in tensors)), None):
        tensors = {name.removeprefix(wrapper): tensor for name, tensor in tensors.items()}
    return tensors


def check_unused(unused: list[str], config: ModelConfig, format: HFFormat, prefix: str, folder: str, say: Say) -> None:
    """Report the file's unused tensors. In the backbone they would change the outputs, so there they are an error."""
    harmless = format.ignored + (tuple(format.copies) if config.tie_embeddings else ())
    unused = [name for name in unused if not name.endswith(harmless)]
    in_backbone = [name for name in unused if name.startswith(prefix)]
    superfluous = format.optional + (() if config.is_pretraining else format.only_pretraining)
    unexpected = [name for name in in_backbone if not name.removeprefix(prefix).startswith(superfluous)]
    if unexpected:
        raise UserError(
            f"{folder} holds {unexpected[0]}, for which the model of its config.json has no place ({len(unexpected)} "
            "such tensors): its outputs would be wrong. llmasos does not support this type of model; choose another."
        )
    if unused:
        say(f"{folder} also holds {', '.join(unused[:5])}{', …' * (len(unused) > 5)}: not needed here, ignored.")
