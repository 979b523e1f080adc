"""Files that survive a crash: atomic writes, and tensors in the safetensors format.

`atomic` writes a file or a whole folder beside its final place and renames it in, so that a reader sees the old one or
the new one and never half of either. `safetensors` reads and writes the tensor format that the Hugging Face hub uses,
by hand and without pickle.
"""

from llmasos.storage.atomic import (
    clean_up,
    read_json,
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
    "save_tensors",
    "sha256_file",
    "write_bytes",
    "write_file",
    "write_folder",
    "write_json",
    "write_text",
]
