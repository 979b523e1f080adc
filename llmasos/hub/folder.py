"""A model's folder, ours or a published one, in and out.

    read_config(folder)                  what the model is made of
    read_model(folder)                   the model
    read_whole(model, folder)            its weights into a model that there is already
    read_body(model, folder)             its body alone, under a head of another task: where fine-tuning starts
    write_model(folder, model, …)        a folder that transformers opens too, where it knows such a model

Two kinds of `config.json` are told apart: a published one says `model_type`, our own says `family`. What `formats` has
a table for is written in the published format; anything else (a pre-norm BERT, a GPT without positions, …) in our own.
"""

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from llmasos.errors import UserError
from llmasos.hub.formats import FORMATS, Fields, Format
from llmasos.hub.tokenizers import load_any_tokenizer
from llmasos.hub.weights import MAX_SHARD_BYTES, read_weights, write_weights
from llmasos.models import ModelConfig, build_model, empty_model, give_weights, load_config, load_model, weights_of
from llmasos.models.heads import HEADS
from llmasos.models.serialization import TOKENIZER, check_same_backbone, load_backbone
from llmasos.prompting import TEMPLATES
from llmasos.storage import read_json, write_json, write_text
from llmasos.tokenizers import Tokenizer

Say = Callable[[str], None]


def read_config(folder: Path) -> ModelConfig:
    """What the model in a folder is made of.

    Raises:
        UserError: no `config.json`, an unknown architecture, or one that asks for what is not computed here.
    """
    return read_published(folder)[0] if is_published(folder) else load_config(folder)


def read_model(folder: Path, device: torch.device | str = "cpu", say: Say = warnings.warn) -> nn.Module:
    """The model in a folder, in float32 and in evaluation mode.

    Args:
        folder: ours, or a published one (see `formats`).
        device: where to put it. On the CPU, float32 weights are not copied but mapped from the file.
        say: told what the file leaves out or holds beyond need, where the model can do without.

    Raises:
        UserError: no model in the folder, an unknown one, or weights that are damaged or do not fit the config.
    """
    folder = Path(folder)
    if not is_published(folder):
        return load_model(folder, device)
    config, format = read_published(folder)
    model = empty_model(config)
    tensors = ours_of_theirs(model, config, format, read_weights(folder), str(folder), say)
    if missing := [name for name in weights_of(model) if name not in tensors]:
        say(f"{folder} has no weights for {', '.join(missing)}: these begin at random, and want training.")
        fresh = weights_of(build_model(config))
        tensors |= {name: fresh[name] for name in missing}
    give_weights(model, tensors)
    return model.to(device).eval()


def read_whole(model: nn.Module, folder: Path) -> None:
    """Copy all the weights of the model in a folder into one of the same sizes and head: where training goes on.

    Raises:
        UserError: the model there has other sizes or parts, or is damaged.
    """
    theirs = read_model(folder)
    check_same_backbone(model.config, theirs.config, Path(folder))
    for name, tensor in weights_of(theirs).items():
        weights_of(model)[name].copy_(tensor)


def read_backbone(model: nn.Module, folder: Path) -> None:
    """Copy the weights of a pre-trained model into the body of one with a head; the head stays as it is.

    Args:
        model: with a head (`models/heads.py`), freshly built.
        folder: of a model of the same family and sizes, without a head or with any, ours or published.

    Raises:
        UserError: the model there has other sizes or parts than `model`'s body, or is damaged.
    """
    folder = Path(folder)
    if not is_published(folder):
        load_backbone(model, folder)
        return
    config, format = read_published(folder)
    check_same_backbone(model.config, config, folder)
    theirs = read_weights(folder)
    tensors = ours_of_theirs(model.backbone, model.config, format, theirs, str(folder), say=lambda text: None)
    wanted = weights_of(model.backbone)
    for name, tensor in tensors.items():  # what only another head needs is left out; what is new stays as it was made
        wanted[name].copy_(tensor)


def read_tokenizer(folder: Path, config: ModelConfig) -> Tokenizer:
    """The tokenizer in a model's folder.

    Raises:
        UserError: there is none, it is damaged, or it does not belong to the model.
    """
    tokenizer = load_any_tokenizer(folder)
    saved_with = read_json(Path(folder) / "config.json").get(TOKENIZER, tokenizer.fingerprint())
    if tokenizer.vocab_size > config.vocab_size or tokenizer.fingerprint() != saved_with:
        raise UserError(
            f"the tokenizer in {folder} ({tokenizer.vocab_size:,} ids) does not belong to the model there, which was "
            f"made with another (of at most {config.vocab_size:,} ids): the model would read other words than you "
            "write. Fetch the folder again, or save model and tokenizer together."
        )
    return tokenizer


def write_model(
    folder: Path,
    model: nn.Module,
    tokenizer: Tokenizer | None = None,
    dtype: torch.dtype | None = None,
    max_shard_bytes: int = MAX_SHARD_BYTES,
) -> str | None:
    """Write config, weights and tokenizer into a folder that exists.

    Args:
        dtype: of the weights in the file; None = as they are. Half precision halves the file.
        max_shard_bytes: larger models become several files.

    Returns:
        The architecture's published name, or None if it is written in our own format.
    """
    config: ModelConfig = model.config
    weights = {name: t if dtype is None else t.to(dtype) for name, t in weights_of(model).items()}
    format, fields = published_format(config)
    if format is None:
        fields = config.to_dict()
        tensors: Mapping[str, Tensor] = weights
    else:
        fields |= {"architectures": [format.architecture(config)]}
        fields |= special_ids(fields, tokenizer)
        tensors = {p.theirs: p.save([weights[name] for name in p.ours]) for p in format.table(config)}
        kind = str(next(iter(tensors.values())).dtype).removeprefix("torch.")
        fields |= {"dtype": kind, "torch_dtype": kind}  # transformers reads the first name, before version 5 the second
    if tokenizer is not None:
        tokenizer.save(folder)
        for template in TEMPLATES.values():
            if template.jinja and set(template.needs) <= set(tokenizer.special_tokens):
                write_text(folder / "chat_template.jinja", template.jinja)
        fields[TOKENIZER] = tokenizer.fingerprint()
    write_json(folder / "config.json", fields)
    write_weights(folder, tensors, max_shard_bytes)
    return None if format is None else format.architecture(config)


def published_format(config: ModelConfig) -> tuple[Format | None, dict[str, Any]]:
    """The published format that can hold a model of this config, with its config.json; None if there is none."""
    for format in FORMATS:
        fields = format.write_config(config)
        if fields is not None and format.architecture(config) is not None:
            return format, fields
    return None, {}


def special_ids(fields: dict[str, Any], tokenizer: Tokenizer | None) -> dict[str, int]:
    """What a published config says of the tokenizer's special tokens."""
    if fields["model_type"] == "marian":  # in its vocabularies the end is the first token, and padding the last
        end, start = (tokenizer.end_of_text, tokenizer.start_of_target) if tokenizer else (0, fields["vocab_size"] - 1)
        names = ("eos_token_id", "forced_eos_token_id")
        return dict.fromkeys(names, end) | dict.fromkeys(("pad_token_id", "decoder_start_token_id"), start)
    if tokenizer is None:
        return {}
    end = tokenizer.end_of_text
    if fields["model_type"] == "bert":
        return {"pad_token_id": tokenizer.pad_id}
    return {"bos_token_id": end, "eos_token_id": end}


def is_published(folder: Path) -> bool:
    """Whether the folder's config.json is that of a published format."""
    file = Path(folder) / "config.json"
    if not file.is_file():
        raise UserError(
            f"{folder} holds no model: no config.json in it. Give the folder of a run or of a model, or a model's name "
            "(python -m llmasos models lists them)."
        )
    fields = read_json(file)
    if not isinstance(fields, dict):
        raise UserError(f"{file} is damaged: expected a JSON object; fetch it again.")
    return "family" not in fields


def read_published(folder: Path) -> tuple[ModelConfig, Format]:
    """Our config for a published one, and the format that it is in."""
    file = Path(folder) / "config.json"
    fields = Fields(read_json(file), str(file))
    model_type = fields.get("model_type")
    format = next((format for format in FORMATS if model_type in format.model_types), None)
    if format is None:
        known = ", ".join(name for format in FORMATS for name in format.model_types)
        raise UserError(f"{file} is of the model_type {model_type!r}, which llmasos does not know; it knows: {known}.")
    names = fields.get("architectures") or list(format.architectures)[:1]
    name = names[0] if isinstance(names, list) else names
    if name not in format.architectures:
        raise UserError(
            f"{file} is of the architecture {name!r}, which llmasos does not know; of {model_type} it knows: "
            f"{', '.join(format.architectures)}."
        )
    head = format.architectures[name]
    try:
        return ModelConfig(**format.read_config(fields), head=head, labels=read_labels(fields, head)), format
    except UserError as error:
        if str(error).startswith(str(file)):
            raise
        raise UserError(f"{file} describes a model that cannot be: {error}") from error


def read_labels(fields: Fields, head: str) -> tuple[str, ...]:
    """A classifier's labels in the order of their ids."""
    if head != "classifier":
        return ()
    fields.must("problem_type", "single_label_classification")
    names = fields.get("id2label") or {"0": "LABEL_0", "1": "LABEL_1"}
    if not isinstance(names, dict) or not all(str(id).isdecimal() for id in names):
        raise UserError(f"{fields.where} has the id2label {names!r}; expected an object from numbers to names.")
    return tuple(str(names[id]) for id in sorted(names, key=int))


def ours_of_theirs(
    model: nn.Module, config: ModelConfig, format: Format, theirs: Mapping[str, Tensor], where: str, say: Say
) -> dict[str, Tensor]:
    """The tensors of a published file under our names.

    Args:
        model: what they are for: a whole model, or the body under a head.
        config: of the whole.
        where: the folder, for messages.

    Returns:
        All that the model wants, but for those that its format calls replaceable and the file does not have.

    Raises:
        UserError: a tensor is missing or of another shape, or the file holds more about the body than the model has.
    """
    body_alone = not isinstance(model, HEADS.get(config.head, nn.Module))
    found = {format.spelling(name): tensor for name, tensor in theirs.items()}
    prefix = format.prefix if any(name.startswith(format.prefix) for name in found) else ""
    wanted, tensors, used = weights_of(model), {}, set()
    for p in format.table(config, prefix):
        ours = tuple(name.removeprefix("backbone.") for name in p.ours) if body_alone else p.ours
        if ours[0] not in wanted or p.theirs not in found:
            continue
        used.add(p.theirs)
        shapes = [tuple(wanted[name].shape) for name in ours]
        expected = p.save([torch.empty(shape, device="meta") for shape in shapes]).shape
        if found[p.theirs].shape != expected:
            raise UserError(
                f"{where} does not fit its config.json: {p.theirs} has the shape {tuple(found[p.theirs].shape)}, and "
                f"the config asks for {tuple(expected)}. The two do not belong together; fetch the model again."
            )
        tensors |= zip(ours, p.load(found[p.theirs], [shape[0] for shape in shapes]), strict=True)
    lacking = [name for name in wanted if name not in tensors and not name.startswith(format.replaceable)]
    if lacking:
        raise UserError(
            f"{where} does not hold {lacking[0]}, which the model of its config.json has ({len(lacking)} tensors are "
            "missing): the download may be incomplete, or the config belongs to another model; fetch it again."
        )
    check_unused([name for name in found if name not in used], config, format, prefix, where, say)
    return tensors


def check_unused(unused: list[str], config: ModelConfig, format: Format, prefix: str, where: str, say: Say) -> None:
    """Name what the file holds beyond the model. Within the body it would change the outputs, so it is an error."""
    known = format.without_values + (("lm_head.weight",) if config.tie_embeddings else ())
    unused = [name for name in unused if not name.endswith(known)]
    body = [name for name in unused if name.startswith(prefix)]
    odd = [name for name in body if not name.removeprefix(prefix).startswith(format.replaceable)]
    if odd:
        raise UserError(
            f"{where} holds {odd[0]}, for which the model of its config.json has no place ({len(odd)} such tensors): "
            "its outputs would be wrong. The model is of a kind that llmasos does not know; choose another."
        )
    if unused:
        say(f"{where} also holds {', '.join(unused[:5])}{', …' * (len(unused) > 5)}: not needed here, left out.")
