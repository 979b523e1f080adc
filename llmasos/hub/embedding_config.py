"""The files of a sentence embedder (Reimers & Gurevych 2019), in the format of `sentence-transformers`.

    modules.json                  what follows the model: 1_Pooling, 2_Normalize, …
    1_Pooling/config.json         how the vectors of the tokens become one
    sentence_bert_config.json     how many tokens are read

Vectors have unit length by default here, so 2_Normalize needs no handling.
"""

from pathlib import Path
from typing import Any

from llmasos.errors import UserError, shown
from llmasos.models import ModelConfig
from llmasos.models.pooling import EmbeddingConfig
from llmasos.storage import read_json, write_json

MODULES, POOLING, LENGTH = "modules.json", "1_Pooling/config.json", "sentence_bert_config.json"
OURS = {"mean": "mean", "cls": "first", "max": "max", "lasttoken": "last"}  # theirs → in `tasks.text_embedding.POOLING`
SUPPORTED_MODULES = ("Transformer", "Pooling", "Normalize", "Dropout")


def read_embedding_config(folder: Path, config: ModelConfig) -> EmbeddingConfig:
    """Read how a folder's model embeds texts; the default if its files do not say.

    Raises:
        UserError: a file is damaged, or asks for something that is not supported here.
    """
    for module in read(folder / MODULES, []):
        kind = str(module.get("type")).rpartition(".")[2] if isinstance(module, dict) else module
        if kind not in SUPPORTED_MODULES:
            raise UserError(
                f"{folder / MODULES} has the module {shown(kind)} after the model, which llmasos does not support: its "
                "embeddings would differ. Choose another model, or delete the file to use this one without."
            )
    max_length = None
    fields = read(folder / LENGTH, {})
    if fields.get("do_lower_case"):
        raise UserError(f"{folder / LENGTH} has do_lower_case = true, which llmasos does not support; choose another.")
    if (value := fields.get("max_seq_length")) is not None:
        if type(value) is not int or value < 1:
            raise UserError(
                f"{folder / LENGTH} has max_seq_length = {shown(value)}; it must be a whole number, 1 or more."
            )
        max_length = value if value < config.context_length else None
    return EmbeddingConfig(read_pooling(folder / POOLING), max_length)


def read_pooling(file: Path) -> str:
    """Return the name of a folder's pooling. Raises UserError for one that is not supported here."""
    fields = read(file, {"pooling_mode": "mean"})
    prefix, suffix = "pooling_mode_", "_tokens"
    modes = [name.removeprefix(prefix) for name, value in fields.items() if name.startswith(prefix) and value is True]
    modes = [name.removesuffix(suffix).removesuffix("_token") for name in modes]
    if isinstance(fields.get("pooling_mode"), str):  # since sentence-transformers 5
        modes = [fields["pooling_mode"]]
    if len(modes) != 1 or modes[0] not in OURS:
        raise UserError(
            f"{file} asks for the pooling {' + '.join(modes) or 'of no kind'}, which llmasos does not support (only "
            f"one of {', '.join(OURS)}): the model's embeddings would differ. Choose another model."
        )
    return OURS[modes[0]]


def read(file: Path, default: Any) -> Any:
    """Return the content of a JSON file, which must be of the default's type; the default if there is no file."""
    content = read_json(file) if file.is_file() else default
    if type(content) is not type(default):
        raise UserError(f"{file} is damaged: expected {'a list' if default == [] else 'an object'}; fetch it again.")
    return content


def write_embedding_config(folder: Path, embedding: EmbeddingConfig, config: ModelConfig) -> None:
    """Write the files, unless they would only contain the defaults."""
    if embedding == EmbeddingConfig():
        return
    types = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(types.items())
    ]
    mode = next(theirs for theirs, ours in OURS.items() if ours == embedding.pooling)
    names = {"mean": "mean_tokens", "cls": "cls_token", "max": "max_tokens", "lasttoken": "lasttoken"}
    pooling = {f"pooling_mode_{names[name]}": name == mode for name in OURS}
    (folder / POOLING).parent.mkdir(exist_ok=True)
    write_json(folder / MODULES, modules)
    write_json(folder / POOLING, {"word_embedding_dimension": config.d_model, **pooling})
    write_json(folder / LENGTH, {"max_seq_length": embedding.max_length or config.context_length})
