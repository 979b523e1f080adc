"""A student's hand-in in any form: scripts, notebooks, zip files, in any folder, under the names that platforms use.

Everything is read into memory here before any of it runs, and nothing is unpacked to disk. A file that cannot be read
becomes an error message, so no hand-in is silently dropped.
"""

import io
import json
import re
import tokenize
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from lessons.machinery.discovery import Lesson
from llmasos.errors import UserError

MAX_FILE_SIZE = 1_000_000  # bytes of a student's file
MAX_ZIP_FILES = 1_000
ENDINGS = (".py", ".ipynb", ".py.txt")
PLATFORM = re.compile(  # what Moodle and Canvas add to a name: the student's number, the submission's, and more
    r"(?P<name>.+?)(_LATE)?(_(?P<number>\d+)(_\d+)*)?(_assignsubmission_(file|onlinetext))?[_\s-]*", re.IGNORECASE
)


@dataclass(frozen=True)
class File:
    """One file of a hand-in: its path within the hand-in, and its bytes or the reason why they cannot be read."""

    path: PurePosixPath
    data: bytes | UserError


@dataclass(frozen=True)
class HandIn:
    """One student's hand-in for one lesson.

    Attributes:
        name: the file's name, for messages.
        source: the file's text as Python reads it, or the reason why it cannot be read.
        helpers: the modules in the same folder: file name → text.
    """

    name: str
    source: str | UserError
    helpers: dict[str, str] = field(default_factory=dict)


def files_of(entry: Path) -> list[File]:
    """Every file of a hand-in (a folder, a file or a zip file), including those in zip files, the outermost first."""
    paths = sorted(path for path in entry.rglob("*") if path.is_file()) if entry.is_dir() else [entry]
    files: list[File] = []
    for path in paths:
        inside = PurePosixPath(path.relative_to(entry).as_posix() if entry.is_dir() else path.name)
        if not path.resolve().is_relative_to(entry.resolve()):
            files.append(File(inside, UserError(f"{path.name} is a link to another place; hand in the file itself.")))
        elif path.suffix.lower() == ".zip":
            files += unzip(path, inside)
        else:
            files.append(File(inside, read(path) if inside.name.lower().endswith(ENDINGS) else b""))
    hidden = re.compile(r"^(\..*|__MACOSX|__pycache__|backup)$")
    files = [file for file in files if not any(hidden.match(part) for part in file.path.parts)]
    return sorted(files, key=lambda file: (len(file.path.parts), file.path))


def read(path: Path) -> bytes | UserError:
    """Read a file's bytes; return an error if it is too large or cannot be read."""
    try:
        size = path.stat().st_size
        if size > MAX_FILE_SIZE:
            return UserError(f"{path.name} has {size:,} bytes; a solution has only a few thousand.")
        return path.read_bytes()
    except OSError as error:
        return UserError(f"{path.name} cannot be read: {error.strerror}.")


def unzip(path: Path, inside: PurePosixPath) -> Iterator[File]:
    """Read the solutions in a zip file into memory, safe from names that lead elsewhere and from huge contents."""
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist()[:MAX_ZIP_FILES]:
                name = PurePosixPath(*[part for part in re.split(r"[/\\]", member.filename) if part not in ("", "..")])
                if member.is_dir() or not name.name.lower().endswith(ENDINGS):
                    continue
                with archive.open(member) as file:
                    data = file.read(MAX_FILE_SIZE + 1)
                too_large = UserError(f"{name.name} in {path.name} is larger than {MAX_FILE_SIZE:,} bytes.")
                yield File(inside / name, data if len(data) <= MAX_FILE_SIZE else too_large)
    except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError, ValueError) as error:
        yield File(inside, UserError(f"{path.name} cannot be unpacked: {error}."))


def belongs_to(file: File, lesson: Lesson) -> bool:
    """Whether a file's name contains the lesson's: 03_attention.py, jane_03_attention (1).py."""
    name = file.path.name.lower()
    if not name.endswith(ENDINGS):
        return False
    in_its_folder = name.startswith("exercise.") and lesson.name in file.path.parts
    return in_its_folder or re.search(rf"(?<![0-9a-z]){lesson.name}(?![0-9a-z])", name) is not None


def find_hand_in(files: list[File], lesson: Lesson, any_name: bool) -> HandIn | None:
    """Find the hand-in for a lesson. Returns None if there is none.

    Args:
        files: the student's files (see `files_of`).
        lesson: the lesson.
        any_name: whether a file without the lesson's name counts: exercise.py, or the only file.
    """
    solutions = [file for file in files if file.path.name.lower().endswith(ENDINGS)]
    named = [file for file in solutions if belongs_to(file, lesson)]
    exact = [file for file in named if file.path.name == f"{lesson.name}.py"]
    usual = [file for file in solutions if file.path.name.lower().startswith("exercise.")] if any_name else []
    only = solutions if any_name and len(solutions) == 1 else []
    scripts = [file for file in named if not file.path.name.lower().endswith(".ipynb")]
    found = next((group for group in (exact, scripts, named, usual, only) if group), [])
    if not found:
        damaged = next((file.data for file in files if isinstance(file.data, UserError)), None)
        return HandIn("", damaged) if damaged and any_name else None
    first = found[0]
    rivals = [file for file in found if file.data != first.data]
    if rivals:
        names = " and ".join(str(file.path) for file in (first, *rivals))
        return HandIn(first.path.name, UserError(f"{names} are all for {lesson.name}; hand in only one of them."))
    return HandIn(first.path.name, text_of(first), helpers_of(first, files))


def helpers_of(solution: File, files: list[File]) -> dict[str, str]:
    """The modules in the same folder as a solution."""
    helpers = {}
    for file in files:
        beside = file is not solution and file.path.parent == solution.path.parent and file.path.suffix == ".py"
        text = text_of(file) if beside else None
        if isinstance(text, str):
            helpers[file.path.name] = text
    return helpers


def text_of(file: File) -> str | UserError:
    """Decode a file's text as Python does; for a notebook, that of its code cells in order."""
    if isinstance(file.data, UserError):
        return file.data
    try:
        text = decode(file.data)
    except (SyntaxError, UnicodeError, LookupError) as error:
        return UserError(f"{file.path.name} is not text that Python can read ({error}); save it again as UTF-8.")
    if not file.path.name.lower().endswith(".ipynb"):
        return text
    try:
        return code_of_notebook(text)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return UserError(f"{file.path.name} is not a notebook that can be read; save it again, or hand in a .py file.")


def decode(data: bytes) -> str:
    """Decode bytes: UTF-8 with or without a byte-order mark, the encoding named in the first two lines, or UTF-16."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        text = data.decode("utf-16")
    else:
        text = data.decode(tokenize.detect_encoding(io.BytesIO(data).readline)[0])
    return text.replace("\r\n", "\n").replace("\r", "\n")


def code_of_notebook(text: str) -> str:
    """The code cells of a notebook, one after another, without magics and shell commands."""
    cells = [cell["source"] for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    sources = ["".join(cell) if isinstance(cell, list) else cell for cell in cells]
    sources = [source for source in sources if not source.lstrip().startswith("%%")]
    return "\n\n".join(re.sub(r"(?m)^([ \t]*)([%!?].*|.*\S\?+)$", r"\1pass  # \2", source) for source in sources) + "\n"


def by_student(entries: list[Path], lessons: list[Lesson]) -> dict[str, list[Path]]:
    """Group files and folders by student, without the additions of platforms and lessons: Doe_12_03_attention → Doe.

    If two students have the same name, the platform's number is kept.
    """
    identities = {entry: identity_of(entry, lessons) for entry in entries}
    numbers: dict[str, set[str]] = {}
    for name, number in identities.values():
        numbers.setdefault(name, set()).add(number)
    students: dict[str, list[Path]] = {}
    for entry, (name, number) in identities.items():
        unique = len(numbers[name]) == 1 or not number
        students.setdefault(name if unique else f"{name}_{number}", []).append(entry)
    return students


def identity_of(entry: Path, lessons: list[Lesson]) -> tuple[str, str]:
    """The name and the number ("" if none) of the student who handed in a file or folder."""
    if entry.is_dir():
        name, added = entry.name, "_assignsubmission" in entry.name
    else:
        name = re.sub(r"(?i)\.(py|ipynb|zip|txt)(\.txt)?$", "", entry.name)
        before = next((name[: name.lower().index(n.name)] for n in lessons if n.name in name.lower()), "")
        name, added = before or name, bool(before)
    match = PLATFORM.fullmatch(name) if added else None
    return (match["name"], match["number"] or "") if match else (name, "")
