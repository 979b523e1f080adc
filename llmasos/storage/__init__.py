"""Files that survive a crash: atomic writes, and tensors in the safetensors format.

`atomic` writes a file or a whole folder under a temporary name and renames it into place, so that a reader sees the old
version or the new one, never half of either. `checksums` finds damaged files, and proves which files are ours.
`safetensors` reads and writes the tensor format of the Hugging Face hub, implemented here without pickle. `download`
fetches files with checksums, and `lock` lets one process at a time do so.
"""

from typing import TYPE_CHECKING

from llmasos.lazy import lazy_exports

if TYPE_CHECKING:  # each on first use
    from llmasos.storage.atomic import (
        clean_up,
        read_json,
        read_small_lines,
        sha256_file,
        write_bytes,
        write_file,
        write_folder,
        write_json,
        write_text,
    )
    from llmasos.storage.safetensors import load_tensors, read_header, save_tensors

__all__ = [
    "clean_up",
    "load_tensors",
    "read_header",
    "read_json",
    "read_small_lines",
    "save_tensors",
    "sha256_file",
    "write_bytes",
    "write_file",
    "write_folder",
    "write_json",
    "write_text",
]
lazy_exports(__name__)
