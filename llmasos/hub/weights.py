"""Reading and writing the tensors of a model's folder, in one or several files.

    model.safetensors               one file
    model.safetensors.index.json    several: {"weight_map": {"wte.weight": "model-00001-of-00002.safetensors", …}}
    pytorch_model.bin               the same as a pickle, of old models; pytorch_model.bin.index.json for several

Safetensors are memory-mapped: a tensor is read from the disk when it is first used. A pickle is a program; torch's
restricted reader (`weights_only`) does not run it, and raises an error if the file asks for more than tensors. Since
torch 1.6 (2020) the pickle is in a ZIP archive, next to the tensors, which is memory-mapped too; before, the tensors
followed the pickle, and such a file is read into memory.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from llmasos import storage
from llmasos.errors import UserError
from llmasos.storage import read_json, write_json

if TYPE_CHECKING:
    from torch import Tensor

SAFETENSORS, PICKLE = "model.safetensors", "pytorch_model.bin"
ARCHIVE, BEFORE_TORCH_1_6 = b"PK\x03\x04", pickle.dumps(0x1950A86A20F9469CFC6C, 2)  # how a file of torch.save starts
MAX_SHARD_BYTES = 5_000_000_000  # of one file; larger models are split into several


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Return all tensors of a folder by their published names, on the CPU.

    Raises:
        UserError: there are none, a file is missing or damaged, a tensor is in two files or in none, an index names a
            file outside the folder, or a pickle holds anything other than tensors.
    """
    tensors: dict[str, Tensor] = {}
    for file, expected in weight_files(folder).items():
        in_file = storage.load_tensors(file) if file.suffix == ".safetensors" else load_pickle(file)
        if missing := [name for name in expected if name not in in_file]:
            raise UserError(
                f"{file} does not hold {missing[0]}, which the index next to it lists ({len(missing)} such tensors): "
                "the two do not belong together; fetch both again."
            )
        if duplicates := [name for name in in_file if name in tensors]:
            raise UserError(
                f"{file} holds {duplicates[0]}, but so does another file of {folder}; fetch the folder again."
            )
        tensors.update(in_file)
    return tensors


def weight_files(folder: Path) -> dict[Path, list[str]]:
    """Return the files that hold a folder's weights, each with the names of its tensors according to the index, if any.

    Raises:
        UserError: there are none, or the index is damaged or names a file outside the folder.
    """
    folder = Path(folder)
    for name in (SAFETENSORS, PICKLE):
        index = folder / f"{name}.index.json"
        if (folder / name).is_file():
            return {folder / name: []}
        if index.is_file():
            return read_index(index)
    raise UserError(
        f"{folder} holds no weights: expected {SAFETENSORS} (or {SAFETENSORS}.index.json, or {PICKLE}). "
        "The download may be incomplete; fetch the model again."
    )


def read_index(index: Path) -> dict[Path, list[str]]:
    """Return the files that an index names, each with the names of its tensors."""
    content = read_json(index)
    weight_map = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(weight_map, dict) or not weight_map or not all(isinstance(n, str) for n in weight_map.values()):
        raise UserError(f"{index} is damaged: expected a weight_map from tensors to files; fetch it again.")
    files: dict[Path, list[str]] = {}
    for tensor, name in weight_map.items():
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
            f"{where} names the file {name!r}, which lies outside its folder; a model's files must be inside. "
            "Do not use this model: it may be malicious."
        )


def load_pickle(file: Path) -> dict[str, Tensor]:
    """Return the tensors of a file written by `torch.save`, without running any of its code.

    Raises:
        UserError: the file is damaged, or holds anything but named tensors.
    """
    import torch  # here, because finding the files needs none of it

    try:
        with file.open("rb") as stream:
            start = stream.read(len(BEFORE_TORCH_1_6))
        is_archive = start.startswith(ARCHIVE)
        if not is_archive and start != BEFORE_TORCH_1_6:
            raise ValueError("torch.save did not write it")
        tensors = torch.load(file, map_location="cpu", weights_only=True, mmap=is_archive)
    except pickle.UnpicklingError as error:
        reason = str(error).splitlines()[0][:200]
        raise UserError(
            f"{file} is refused: it is a pickle that asks for more than tensors, and might run malicious code "
            f"({reason}). Use the model's safetensors files."
        ) from error
    except (RuntimeError, OSError, EOFError, ValueError, LookupError, TypeError, AttributeError, struct.error) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise UserError(f"{file} cannot be read ({reason}): it is damaged or incomplete; fetch it again.") from error
    if not isinstance(tensors, dict) or not all(isinstance(t, torch.Tensor) for t in tensors.values()):
        raise UserError(f"{file} does not hold named tensors alone; use the model's safetensors files.")
    return dict(tensors)


def write_weights(folder: Path, tensors: Mapping[str, Tensor], max_shard_bytes: int = MAX_SHARD_BYTES) -> None:
    """Write tensors into an existing folder: as one file, or as several with an index if one would be too large."""
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
        storage.save_tensors(folder / SAFETENSORS, tensors, {"format": "pt"})
        return
    weight_map: dict[str, str] = {}
    for number, shard in enumerate(shards, start=1):
        name = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        storage.save_tensors(folder / name, shard, {"format": "pt"})
        weight_map |= dict.fromkeys(shard, name)
    total = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    write_json(folder / f"{SAFETENSORS}.index.json", {"metadata": {"total_size": total}, "weight_map": weight_map})
