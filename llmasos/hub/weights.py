"""The tensors of a model's folder, whatever files they lie in.

    model.safetensors               one file
    model.safetensors.index.json    several: {"weight_map": {"wte.weight": "model-00001-of-00002.safetensors", …}}
    pytorch_model.bin               the same as a pickle, of old models; pytorch_model.bin.index.json for several

Safetensors are mapped into memory, not read: a tensor comes from the disk when it is first used. A pickle is a program;
torch's restricted reader (`weights_only`) runs none of it and refuses a file that asks for more than tensors.
"""

import pickle
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import torch
from torch import Tensor

from llmasos.errors import UserError
from llmasos.storage import load_tensors, read_json, save_tensors, write_json

SAFETENSORS, PICKLE = "model.safetensors", "pytorch_model.bin"
MAX_SHARD_BYTES = 5_000_000_000  # of one file; larger models are written as several


def read_weights(folder: Path) -> dict[str, Tensor]:
    """All tensors of a folder by their names there, on the CPU.

    Raises:
        UserError: there are none, a file is missing or damaged, a tensor is in two files or none, an index names a
            file outside the folder, or a pickle holds more than tensors.
    """
    tensors: dict[str, Tensor] = {}
    for file, promised in weight_files(folder).items():
        found = load_tensors(file) if file.suffix == ".safetensors" else load_pickle(file)
        if missing := [name for name in promised if name not in found]:
            raise UserError(
                f"{file} does not hold {missing[0]}, which the index beside it promises ({len(missing)} such tensors): "
                "the two do not belong together; fetch both again."
            )
        if twice := [name for name in found if name in tensors]:
            raise UserError(f"{file} holds {twice[0]}, and so does another file of {folder}; fetch the folder again.")
        tensors.update(found)
    return tensors


def weight_files(folder: Path) -> dict[Path, list[str]]:
    """The files that hold a folder's weights, each with the names of tensors that an index promises in it.

    Raises:
        UserError: there are none, or the index is damaged or names a file outside the folder.
    """
    folder = Path(folder)
    for name in (SAFETENSORS, PICKLE):
        index = folder / f"{name}.index.json"
        if (folder / name).is_file():
            return {folder / name: []}
        if index.is_file():
            return files_of_index(index)
    raise UserError(
        f"{folder} holds no weights: expected {SAFETENSORS} (or {SAFETENSORS}.index.json, or {PICKLE}). "
        "A download may have been stopped half-way; fetch the model again."
    )


def files_of_index(index: Path) -> dict[Path, list[str]]:
    """The files that an index names, beside it and nowhere else."""
    content = read_json(index)
    map_ = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(map_, dict) or not map_ or not all(isinstance(name, str) for name in map_.values()):
        raise UserError(f"{index} is damaged: expected a weight_map from tensors to files; fetch it again.")
    files: dict[Path, list[str]] = {}
    for tensor, name in map_.items():
        check_plain_name(name, index)
        files.setdefault(index.parent / name, []).append(tensor)
    if missing := [file for file in files if not file.is_file()]:
        raise UserError(f"{missing[0]} is missing, though {index.name} names it; fetch the model again.")
    return files


def check_plain_name(name: str, where: Path | str) -> None:
    """Raise UserError unless `name` is a relative path that stays inside its folder, whatever the operating system."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if not parts or name.startswith(("/", "\\", "~")) or ".." in parts or ":" in name or "\0" in name:
        raise UserError(
            f"{where} names the file {name!r}, which lies outside its folder; a model's files lie beside each other. "
            "Do not use this model: somebody may be up to something."
        )


def load_pickle(file: Path) -> dict[str, Tensor]:
    """The tensors of a file that `torch.save` wrote, without running any code of it.

    Raises:
        UserError: the file is damaged, or holds anything else than named tensors.
    """
    try:
        found = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        reason = str(error).splitlines()[0][:200]
        raise UserError(
            f"{file} is refused: it is a pickle that asks for more than tensors, and might run code of its author "
            f"({reason}). Use the model's safetensors files."
        ) from error
    except (RuntimeError, OSError, EOFError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise UserError(f"{file} cannot be read ({reason}): damaged or half-downloaded; fetch it again.") from error
    if not isinstance(found, dict) or not all(isinstance(t, Tensor) for t in found.values()):
        raise UserError(f"{file} does not hold named tensors alone; use the model's safetensors files.")
    return dict(found)


def write_weights(folder: Path, tensors: Mapping[str, Tensor], max_shard_bytes: int = MAX_SHARD_BYTES) -> None:
    """Write tensors into a folder that exists: as one file, or as several and an index if one would be too large."""
    shards: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, tensor in tensors.items():
        n_bytes = tensor.numel() * tensor.element_size()
        if shards[-1] and size + n_bytes > max_shard_bytes:
            shards.append({})
            size = 0
        shards[-1][name] = tensor
        size += n_bytes
    if len(shards) == 1:
        save_tensors(folder / SAFETENSORS, tensors, {"format": "pt"})
        return
    weight_map = {}
    for number, shard in enumerate(shards, start=1):
        name = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        save_tensors(folder / name, shard, {"format": "pt"})
        weight_map |= dict.fromkeys(shard, name)
    total = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    write_json(folder / f"{SAFETENSORS}.index.json", {"metadata": {"total_size": total}, "weight_map": weight_map})
