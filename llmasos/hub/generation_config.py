"""Reading and writing a model folder's generation settings and end tokens.

read_generation_config(folder, config)     generation_config.json, or the same fields in an older config.json
write_generation_config(folder, model, …)  the same, for transformers too
"""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from llmasos.errors import UserError
from llmasos.generation import BeamOptions, SamplingOptions
from llmasos.models import GenerationConfig, Model, ModelConfig
from llmasos.models.generation_config import FILE
from llmasos.storage import read_json, write_json
from llmasos.tokenizers import Tokenizer


def read_generation_config(folder: Path, config: ModelConfig, say: Callable[[str], None]) -> GenerationConfig:
    """Read what a folder recommends for generation; nothing for a model that does not generate.

    Args:
        folder: a model's folder.
        config: that model's config.
        say: called with a sentence about what is recommended and not supported.

    Raises:
        UserError: the file is damaged, or recommends what is impossible.
    """
    if not config.generates:
        return GenerationConfig()
    published = read_json(folder / "config.json")
    file = next(path for name in (FILE, "config.json") if (path := folder / name).is_file())
    fields = read_json(file)
    if not isinstance(fields, dict):
        raise UserError(f"{file} is damaged: expected a JSON object; fetch it again, or delete it.")
    if file.name != FILE and "family" in fields:  # our own format, which has no such fields
        return GenerationConfig()
    if config.family == "transformer":
        fields = fields | encoder_decoder_fields(fields, published)
    else:  # a prompt, which transformers never lets begin with another token
        fields = {name: value for name, value in fields.items() if name != "forced_bos_token_id"}
    try:
        result = GenerationConfig.from_dict(fields, lambda text: say(f"{file}: {text}"))
        for kind in (SamplingOptions, BeamOptions):
            names = {field.name for field in dataclasses.fields(kind)}
            kind(**{name: value for name, value in result.recommended.items() if name in names})
        if ends := [str(id) for id in result.stop_token_ids if not 0 <= id < config.vocab_size]:
            ids = f"the model's ids are 0 to {config.vocab_size - 1}"
            say(f"{file}: no text will end with eos_token_id {', '.join(ends)}, since {ids}.")
        forced = result.forced_bos_token_id
        if forced is not None and not 0 <= forced < config.vocab_size:
            raise UserError(f"forced_bos_token_id is {forced}; the model's ids are 0 to {config.vocab_size - 1}.")
    except UserError as error:
        raise UserError(f"{file} recommends what is impossible: {error} Correct it there.") from error
    return result


def encoder_decoder_fields(fields: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """What an encoder–decoder's fields mean here: its length has no prompt, and it never writes its padding."""
    result = {}
    if isinstance(fields.get("max_length"), int) and fields.get("max_new_tokens") is None:
        result["max_new_tokens"] = max(1, fields["max_length"] - 1)  # the start token counts there
    pad, ends = config.get("pad_token_id"), config.get("eos_token_id")
    if pad is not None and pad not in (ends if isinstance(ends, list) else [ends]):
        result["suppress_tokens"] = [*(fields.get("suppress_tokens") or []), pad]
    return result


def write_generation_config(
    folder: Path, model: Model, special_ids: Mapping[str, int], tokenizer: Tokenizer | None
) -> None:
    """Write what is known about generating with a model, so that transformers stops at the same tokens."""
    if not model.config.generates:
        return
    ends = dict.fromkeys((*(tokenizer.stop_ids if tokenizer else ()), *model.generation_config.stop_token_ids))
    fields = {**special_ids, **model.generation_config.to_dict()}
    if ends:
        fields["eos_token_id"] = list(ends) if len(ends) > 1 else next(iter(ends))
    write_json(folder / FILE, fields)
