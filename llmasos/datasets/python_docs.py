"""Real text without a download: the documentation and source code that come with Python.

`python-reference` is English prose: the language reference that `help("if")` shows. `python-source` is code: the
standard library. Both differ a little between Python versions, so state the version with numbers measured on them.
"""

import hashlib
import importlib
import platform
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

from llmasos.datasets.source import FileDocuments, ManyDocuments, text_key
from llmasos.datasets.text_io import find_text_files
from llmasos.errors import UserError

NOT_LIBRARY = frozenset({"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__"})


class PythonReference(ManyDocuments):
    """The topics of Python's language reference as documents (`pydoc_data.topics`, about 0.5 MB of English)."""

    def __init__(self):
        self.name = "python-reference"
        version = platform.python_version()
        self.description = f"the language reference of Python {version}; about a tenth, in whole topics, is held out"
        try:
            topics = importlib.import_module("pydoc_data.topics").topics
        except ImportError as error:
            raise UserError(
                "python-reference needs the module pydoc_data.topics, which this Python lacks; install the full Python"
                " (on Debian the package libpython3-stdlib) or choose another dataset."
            ) from error
        self._texts = [topics[name] for name in sorted(topics)]

    def entries(self) -> Iterator[tuple[int, Iterable[str]]]:
        for text in self._texts:
            yield text_key(text), [text]

    def fingerprint(self) -> str:
        return hashlib.sha256("\0".join(self._texts).encode("utf-8")).hexdigest()

    def size(self) -> int:
        return sum(len(text.encode("utf-8")) for text in self._texts)


def python_source() -> FileDocuments:
    """Return the source files of the standard library as documents, without tests and installed packages.

    Files that are not UTF-8 (a few old ones declare another encoding) are skipped.

    Raises:
        UserError: this Python's library does not consist of source files.
    """
    folder = Path(sysconfig.get_path("stdlib"))
    paths = [path for path in find_text_files(folder, (".py",), skip=NOT_LIBRARY) if _is_utf8(path)]
    if len(paths) < 2:
        raise UserError(f"python-source found no .py files in {folder}; choose another dataset.")
    description = f"the standard library of Python {platform.python_version()}, {len(paths)} files of source code"
    return FileDocuments(paths, "python-source", description)


def _is_utf8(path: Path) -> bool:
    try:
        path.read_bytes().decode("utf-8")
    except (UnicodeDecodeError, OSError):
        return False
    return True
