"""Reading the `config.json` of a model's folder: a published one has a `model_type`, our own has a `family`."""

from pathlib import Path

from llmasos.errors import UserError, shown
from llmasos.hub.formats import FORMATS, HFConfig, HFFormat
from llmasos.hub.resolve import find_model_folder
from llmasos.models.config import LABELED_HEADS, ModelConfig, config_file, is_adapter, read_own_config
from llmasos.storage import read_json

MAX_LABELS = 100_000  # of a classifier without names for them


def load_config(name: str | Path) -> ModelConfig:
    """Load the config of the model of this name; see `load_pretrained`."""
    folder = find_model_folder(name)
    if is_adapter(folder) and not config_file(folder).is_file():
        from llmasos.hub.adapters import adapted_config  # here, because it reads tensors

        return adapted_config(folder)
    return read_config(folder)


def read_config(folder: Path) -> ModelConfig:
    """Read the config of the model in a folder.

    Raises:
        UserError: there is no `config.json`, or its architecture or one of its options is not supported.
    """
    return read_published_config(folder)[0] if is_published(folder) else read_own_config(folder)


def is_published(folder: Path) -> bool:
    """Whether the folder's config.json has a published format. Raises UserError if there is none."""
    file = config_file(folder)
    if not file.is_file():
        raise UserError(
            f"{folder} holds no model: no config.json in it. Give the folder of a run or of a model, or a model's name "
            "(python -m llmasos models lists them)."
        )
    fields = read_json(file)
    if not isinstance(fields, dict):
        raise UserError(f"{file} is damaged: expected a JSON object; fetch it again.")
    return "family" not in fields


def read_published_config(folder: Path) -> tuple[ModelConfig, HFFormat]:
    """Read a published config.json; return our config for it, and its format."""
    file = config_file(folder)
    fields = HFConfig(read_json(file), str(file))
    model_type = fields.get("model_type")
    format = next((format for format in FORMATS if model_type in format.model_types), None)
    if format is None or not isinstance(model_type, str):
        known = ", ".join(name for format in FORMATS for name in format.model_types)
        raise UserError(
            f"{file} is of the model_type {shown(model_type)}, which llmasos does not support; it supports: {known}."
        )
    names = fields.get("architectures") or list(format.architectures)[:1]
    name = names[0] if isinstance(names, list) else names
    if not isinstance(name, str) or name not in format.architectures:
        raise UserError(
            f"{file} is of the architecture {shown(name)}, which llmasos does not support; of {model_type} it "
            f"supports: {', '.join(format.architectures)}."
        )
    head = format.architectures[name]
    check_unquantized(fields)
    try:
        labels = read_labels(fields) if head in LABELED_HEADS else ()
        if len(labels) == 1 and head == "classifier":  # a number: a regression, a cross-encoder or a reward model
            head, labels = "reward", ()
        config = ModelConfig(**format.read_config(fields), head=head, labels=labels)
        if config.is_pretraining and config.tie_embeddings:
            fields.require("tie_word_embeddings", True)
        return config, format
    except UserError as error:
        if str(error).startswith(str(file)):
            raise
        raise UserError(f"{file} describes an impossible model: {error}") from error


def check_unquantized(fields: HFConfig) -> None:
    """Raise UserError if a config.json says that the weights are quantized, by whichever method."""
    for name in ("quantization_config", "compression_config"):
        if quantization := fields.get(name):
            method = quantization.get("quant_method") if isinstance(quantization, dict) else quantization
            raise UserError(
                f"{fields.file} has a {name} ({shown(method)}): its weights are quantized in a format that llmasos "
                "does not read. Choose the version of this model that is not quantized; --quantize int8 makes it small."
            )


def read_labels(fields: HFConfig) -> tuple[str, ...]:
    """Return a classifier's labels in the order of their ids; a regression has one."""
    names = fields.get("id2label")
    if not names:  # as transformers names them
        n_labels = fields.get("num_labels", 2)
        if not 1 <= n_labels <= MAX_LABELS:
            raise UserError(
                f"{fields.file} has num_labels = {shown(n_labels)}; llmasos reads 1 to {MAX_LABELS:,}. Choose another "
                "model."
            )
        names = {str(id): f"LABEL_{id}" for id in range(n_labels)}
    if not isinstance(names, dict) or not all(
        id.isdecimal() and len(id) < 10 and isinstance(label, str) for id, label in names.items()
    ):
        raise UserError(
            f"{fields.file} has the id2label {shown(names)}; expected an object that maps numbers to names."
        )
    fields.require("problem_type", "regression" if len(names) == 1 else "single_label_classification")
    return tuple(names[id] for id in sorted(names, key=int))
