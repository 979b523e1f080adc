"""The safetensors file format: named tensors in one file, without pickle.

A file has three parts (https://huggingface.co/docs/safetensors, "Format"):

    8 bytes     length N of the header, unsigned little-endian
    N bytes     a JSON object {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, ...},
                with an optional "__metadata__" object of strings, padded with spaces to a multiple of 8
    the rest    the tensors' raw little-endian bytes, row-major, back to back; offsets count from here

Loading a pickle runs whatever code its author put in; here there is nothing to run, and the header is fully checked
before any tensor is created. Tensors are in the order of the reference implementation (widest dtype first, then by
name), so each one starts at a multiple of its item size, and the same tensors give the same bytes.
"""

import json
import math
import mmap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from llmasos.errors import UserError
from llmasos.storage.atomic import write_file

MAX_HEADER_BYTES = 100_000_000  # the reference implementation's limit
ALIGNMENT = 8

# The format's names for dtypes, in the reference implementation's order of tensors.
DTYPES: dict[str, torch.dtype] = {
    "U64": torch.uint64,
    "I64": torch.int64,
    "F64": torch.float64,
    "C64": torch.complex64,
    "F32": torch.float32,
    "U32": torch.uint32,
    "I32": torch.int32,
    "BF16": torch.bfloat16,
    "F16": torch.float16,
    "U16": torch.uint16,
    "I16": torch.int16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}
_ORDER = {dtype: position for position, dtype in enumerate(DTYPES.values())}


@dataclass(frozen=True)
class TensorEntry:
    """One tensor as the header describes it: `begin` and `end` are byte offsets from the start of the data."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True)
class Header:
    """A file's validated header: its tensors in the order of their data, its metadata, and the start of the data."""

    tensors: dict[str, TensorEntry]
    metadata: dict[str, str]
    data_start: int


def save_tensors(path: Path | str, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write named tensors to a safetensors file, atomically.

    Tensors are copied to the CPU and written one at a time, so the peak memory is the size of the largest tensor that
    is not already contiguous on the CPU. Two names for the same memory (tied weights) are written twice: pass only one.

    Args:
        path: the file to write; an existing one is replaced.
        tensors: any shapes, devices and strides; dtypes as in `DTYPES`.
        metadata: strings for the header. The hub's files have `{"format": "pt"}`.

    Raises:
        UserError: the file cannot be written (disk full, no permission, ...); an existing file is then intact.
        ValueError: the format has no such dtype, or a tensor has the reserved name "__metadata__".
    """
    for name, tensor in tensors.items():
        if name == "__metadata__" or tensor.dtype not in _NAMES or tensor.is_meta or tensor.layout != torch.strided:
            raise ValueError(f"safetensors cannot hold {name!r} of {tensor.dtype}, {tensor.layout} on {tensor.device}.")
    names = sorted(tensors, key=lambda name: (_ORDER[tensors[name].dtype], name))

    header: dict[str, Any] = {}
    if metadata:
        header["__metadata__"] = {key: metadata[key] for key in sorted(metadata)}
    end = 0
    for name in names:
        tensor = tensors[name]
        begin, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % ALIGNMENT)

    with write_file(path) as temporary, open(temporary, "wb") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for name in names:
            if tensors[name].numel():
                flat = tensors[name].detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
                file.write(flat.view(torch.uint8).numpy().data)


def load_tensors(path: Path | str, device: torch.device | str = "cpu") -> dict[str, Tensor]:
    """Return the tensors of a safetensors file by name.

    On the CPU nothing is copied: the tensors are views of one private memory map, whose pages are read from the disk on
    first access. Writing to such a tensor changes memory only, never the file; the map lives as long as any of its
    tensors. Only tensors at an unaligned offset, and those for another device, are copied.

    Raises:
        UserError: the file is missing, truncated or damaged; names the file and the tensor.
    """
    header = read_header(path)
    with open(path, "rb") as file:
        memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    tensors = {}
    for name, entry in header.tensors.items():
        try:
            tensor = _view(memory, header.data_start + entry.begin, entry).to(device)
        except (RuntimeError, OverflowError, TypeError) as error:  # such as a shape of (0, 2**62, 2**62)
            raise UserError(f"{path}: tensor {name!r} of shape {entry.shape} cannot be created ({error}).") from error
        tensors[name] = tensor
    return tensors


def _view(memory: mmap.mmap, offset: int, entry: TensorEntry) -> Tensor:
    """Return the tensor at byte `offset` of the map."""
    if entry.begin == entry.end:
        return torch.empty(entry.shape, dtype=entry.dtype)
    n_bytes = entry.end - entry.begin
    if offset % entry.dtype.itemsize:  # vector instructions need aligned data
        return torch.frombuffer(bytearray(memory[offset : offset + n_bytes]), dtype=entry.dtype).view(entry.shape)
    count = n_bytes // entry.dtype.itemsize
    return torch.frombuffer(memory, dtype=entry.dtype, count=count, offset=offset).view(entry.shape)


def read_header(path: Path | str) -> Header:
    """Read and check the header of a safetensors file without touching the tensors.

    Raises:
        UserError: the file is too short, the header is longer than the file or 100 MB, it is not a JSON object, has a
            duplicate name, an unknown dtype, or a shape that does not match its bytes, or the data overlap, have a gap
            or end elsewhere than the file.
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            file_size = path.stat().st_size
            length = int.from_bytes(file.read(8), "little")
            if file_size < 8 or length > min(file_size - 8, MAX_HEADER_BYTES):
                raise _damaged(path, f"its header would be {length:,} bytes long, the file has {file_size:,}")
            text = file.read(length)
    except OSError as error:
        raise UserError(f"could not read {path}: {error.strerror or error}; check the path.") from error
    try:
        raw = json.loads(text.decode("utf-8"), object_pairs_hook=_object_without_duplicates)
    except (ValueError, RecursionError) as error:  # JSONDecodeError and UnicodeDecodeError are ValueErrors
        raise _damaged(path, f"its header cannot be read ({error})") from error
    if not isinstance(raw, dict):
        raise _damaged(path, "its header is not a JSON object")

    metadata = raw.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _damaged(path, "its __metadata__ is not an object of strings")
    tensors = {name: _checked_entry(path, name, entry) for name, entry in raw.items()}
    tensors = dict(sorted(tensors.items(), key=lambda item: (item[1].begin, item[1].end)))
    position = 0
    for name, entry in tensors.items():
        if entry.begin != position:
            raise _damaged(path, f"tensor {name!r} starts at byte {entry.begin:,} of the data instead of {position:,}")
        position = entry.end
    data_start = 8 + length
    if data_start + position != file_size:
        raise _damaged(path, f"its tensors need {data_start + position:,} bytes, the file has {file_size:,}")
    return Header(tensors, metadata, data_start)


def _checked_entry(path: Path, name: str, entry: Any) -> TensorEntry:
    """Parse one tensor's JSON into a `TensorEntry`, or raise an error that says what is wrong."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise _damaged(path, f"tensor {name!r} is not described by dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise _damaged(path, f"tensor {name!r} has the unknown dtype {dtype!r} (known: {', '.join(DTYPES)})")
    if not _are_counts(shape):
        raise _damaged(path, f"tensor {name!r} has the shape {shape!r}, expected a list of counts")
    if not _are_counts(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise _damaged(path, f"tensor {name!r} has the data_offsets {offsets!r}, expected [begin, end]")
    begin, end = offsets
    needed = math.prod(shape) * DTYPES[dtype].itemsize
    if end - begin != needed:
        raise _damaged(
            path, f"tensor {name!r} of {dtype} {shape} needs {needed:,} bytes, its offsets span {end - begin:,}"
        )
    return TensorEntry(DTYPES[dtype], tuple(shape), begin, end)


def _are_counts(value: Any) -> bool:
    """Whether `value` is a list of integers >= 0 (JSON's true is not a number, though Python's True is)."""
    return isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)


def _object_without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build a dict from a JSON object's members; for duplicate names, `json` alone would silently keep the last."""
    result: dict[str, Any] = {}
    for name, value in pairs:
        if name in result:
            raise ValueError(f"the name {name!r} occurs twice")
        result[name] = value
    return result


def _damaged(path: Path, problem: str) -> UserError:
    return UserError(f"{path} is not a whole safetensors file: {problem}; fetch or save it again.")
