"""Examples in: text from names, files and folders, and token arrays on disk.

The way through this room: `open_text` (text.py) turns what the user typed into a `TextSource` (source.py),
`build_tokens` (tokens.py) turns that into memory-mapped ids, `Windows` (windows.py) turns those into examples.
"""

from llmasos.datasets.source import TextSource
from llmasos.datasets.text import dataset_names, open_text
from llmasos.datasets.tokens import TokenData, TokenSplit, build_tokens
from llmasos.datasets.windows import Windows

__all__ = ["TextSource", "TokenData", "TokenSplit", "Windows", "build_tokens", "dataset_names", "open_text"]
