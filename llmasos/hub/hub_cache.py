"""Models from the Hugging Face hub, in the cache that its own programs use.

    $HF_HUB_CACHE, else $HF_HOME/hub, else ~/.cache/huggingface/hub
        models--HuggingFaceTB--SmolLM2-135M/
            refs/main                       the commit that the name `main` stands for
            blobs/CHECKSUM                  each content once
            snapshots/COMMIT/config.json    links to blobs: what is read

What transformers has downloaded is found here, and the other way round. A model that is in the cache is used as it is,
without asking the network; another revision is another name ("gpt2@main", "gpt2@COMMIT").

A download asks the hub for the list of files with their sizes and checksums, fetches those that are needed (see
`storage/download`: checked, resumed, locked), and links them into the snapshot one by one, so that whatever has a name
there is whole.
"""

import hashlib
import http.client
import json
import os
import re
import urllib.error
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

from llmasos.errors import UserError
from llmasos.hub.weights import PICKLE, SAFETENSORS, check_plain_name, weight_files
from llmasos.storage import sha256_file
from llmasos.storage.atomic import write_error, write_text
from llmasos.storage.download import download, make_request, open_address

TIMEOUT = 10.0  # seconds without an answer
MAX_LISTING_BYTES = 50_000_000
MAIN = "main"
OTHER_NAMES = {  # models that have been moved from a name without an owner
    "gpt2": "openai-community/gpt2",
    "gpt2-medium": "openai-community/gpt2-medium",
    "gpt2-large": "openai-community/gpt2-large",
    "gpt2-xl": "openai-community/gpt2-xl",
    "distilgpt2": "distilbert/distilgpt2",
    "bert-base-uncased": "google-bert/bert-base-uncased",
    "bert-base-cased": "google-bert/bert-base-cased",
    "bert-large-uncased": "google-bert/bert-large-uncased",
}
WANTED = {  # beside the weights
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json", "vocab.json", "merges.txt", "vocab.txt", "source.spm", "target.spm", "chat_template.jinja",
    "README.md",
}  # fmt: skip


@dataclass(frozen=True)
class Repository:
    """A model on the hub.

    Attributes:
        name: "gpt2" or "OWNER/NAME".
        revision: a branch, a tag or a commit.
    """

    name: str
    revision: str = MAIN

    @classmethod
    def parse(cls, text: str) -> "Repository | None":
        """From "NAME", "OWNER/NAME" or either with "@REVISION"; None if it cannot be such a name."""
        match = re.fullmatch(r"((?:[\w-][\w.-]*/)?[\w-][\w.-]*)(?:@([\w][\w./-]*))?", text)
        if match is None or ".." in text:
            return None
        return cls(match[1], match[2] or MAIN)

    @property
    def names(self) -> list[str]:
        """Under which names it may be known."""
        return [self.name, *([OTHER_NAMES[self.name]] if self.name in OTHER_NAMES else [])]


def cache_folder() -> Path:
    """Where the cache is, as huggingface_hub decides it."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if os.environ.get(variable):
            return Path(os.environ[variable]).expanduser()
    return home() / "hub"


def home() -> Path:
    """The folder of Hugging Face's programs."""
    if os.environ.get("HF_HOME"):
        return Path(os.environ["HF_HOME"]).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "huggingface"


def offline() -> bool:
    """Whether the user has said that the network is not to be asked."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def endpoint() -> str:
    """The hub's address."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def token() -> str | None:
    """The user's key, for models that are not public."""
    for variable in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if os.environ.get(variable):
            return os.environ[variable].strip()
    file = Path(os.environ.get("HF_TOKEN_PATH") or home() / "token").expanduser()
    return (file.read_text().strip() or None) if file.is_file() else None


def folder_of(name: str) -> Path:
    """A model's folder in the cache."""
    return cache_folder() / f"models--{name.replace('/', '--')}"


def cached(repository: Repository) -> Path | None:
    """The model's snapshot in the cache, if it is complete."""
    for name in repository.names:
        ref = folder_of(name) / "refs" / repository.revision
        commit = ref.read_text().strip() if ref.is_file() else repository.revision
        snapshot = folder_of(name) / "snapshots" / commit
        if re.fullmatch(r"[0-9a-f]{5,64}", commit) and is_complete(snapshot):
            return snapshot
    return None


def is_complete(snapshot: Path) -> bool:
    """Whether a folder has a config and all files of the weights."""
    try:
        return (snapshot / "config.json").is_file() and bool(weight_files(snapshot))
    except UserError:
        return False


def cached_models() -> list[tuple[Repository, Path]]:
    """All complete models of the cache under their names, with their snapshots."""
    found = []
    for folder in sorted(cache_folder().glob("models--*")):
        name = folder.name.removeprefix("models--").replace("--", "/")
        for ref in sorted(path for path in (folder / "refs").rglob("*") if path.is_file()):
            repository = Repository(name, ref.relative_to(folder / "refs").as_posix())
            if snapshot := cached(repository):
                found.append((repository, snapshot))
    return found


def fetch(repository: Repository, progress: bool = True) -> Path:
    """Download what is missing of a model, and return its snapshot.

    Raises:
        UserError: it is not on the hub, needs a key, or cannot be fetched or written. Nothing half is left under a name
            in the snapshot; what has arrived of a large file is kept, to go on from.
    """
    commit, files = listing(repository)
    folder = folder_of(repository.name)
    snapshot = folder / "snapshots" / commit
    for file in wanted(files, repository):
        blob = folder / "blobs" / file.checksum
        address = f"{endpoint()}/{repository.name}/resolve/{commit}/{urllib.parse.quote(file.name)}"
        download(
            (address,), blob, file.checksum, file.size, progress=progress and file.size > 1_000_000,
            checksum_of=sha256_file if file.is_large else git_checksum, name=file.name, token=token(),
        )  # fmt: skip
        link(blob, snapshot / file.name)
    if not re.fullmatch(r"[0-9a-f]{5,64}", repository.revision):
        write_text(folder / "refs" / repository.revision, commit)
    return snapshot


@dataclass(frozen=True)
class HubFile:
    """A file of a model on the hub. Large ones are known by their SHA-256, the others as git knows them."""

    name: str
    size: int
    checksum: str
    is_large: bool


def listing(repository: Repository) -> tuple[str, list[HubFile]]:
    """The commit that a revision stands for, and the files in it.

    Raises:
        UserError: there is no such model or revision, it needs a key, or the hub does not answer sensibly.
    """
    revision = urllib.parse.quote(repository.revision, safe="")
    address = f"{endpoint()}/api/models/{repository.name}/revision/{revision}?blobs=true"
    try:
        with open_address(make_request(address, token()), TIMEOUT) as response:
            content = json.loads(response.read(MAX_LISTING_BYTES))
        commit = content["sha"]
        files = [read_entry(entry) for entry in content["siblings"]]
        if not re.fullmatch(r"[0-9a-f]{40,64}", commit):
            raise ValueError(f"the commit {commit!r}")
    except urllib.error.HTTPError as error:
        reasons = {
            401: "there is no such model, or it is not public and wants a key: set HF_TOKEN",
            403: "it wants a key of somebody who has agreed to its terms: agree on its page, then set HF_TOKEN",
            404: "there is no such model or revision",
        }
        raise UserError(f"{reasons.get(error.code, f'it answered {error.code} {error.reason}')} ({address})") from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise UserError(f"{endpoint()} cannot be reached ({getattr(reason, 'strerror', None) or reason})") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{address} did not answer with a list of files ({type(error).__name__}: {error})") from error
    for file in files:
        check_plain_name(file.name, address)
    return commit, files


def read_entry(entry: dict) -> HubFile:
    """One file of the hub's list."""
    large = entry.get("lfs")
    checksum = large["sha256"] if large else entry["blobId"]
    size = large["size"] if large else entry["size"]
    if not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", checksum) or type(size) is not int or size < 0:
        raise ValueError(f"the entry {entry!r}")
    return HubFile(entry["rfilename"], size, checksum, bool(large))


def wanted(files: list[HubFile], repository: Repository) -> list[HubFile]:
    """The files that are needed: config, tokenizer, and the weights in the best form there is; small ones first.

    Raises:
        UserError: the model has no config or no weights that can be read.
    """
    by_name = {file.name: file for file in files}
    chosen = [file for name, file in by_name.items() if name in WANTED]
    for whole in (SAFETENSORS, PICKLE):
        if whole in by_name:
            chosen.append(by_name[whole])
            break
        if f"{whole}.index.json" in by_name:
            part = re.escape(whole).replace(r"\.", r"-\d{5}-of-\d{5}\.", 1)  # model-00001-of-00002.safetensors
            chosen += [file for name, file in by_name.items() if re.fullmatch(part, name)]
            chosen.append(by_name[f"{whole}.index.json"])
            break
    else:
        raise UserError(
            f"{repository.name} has no weights that llmasos can read ({SAFETENSORS} or {PICKLE}); it has: "
            f"{', '.join(sorted(by_name)[:12])}."
        )
    if "config.json" not in by_name:
        raise UserError(f"{repository.name} has no config.json, so it is no model that llmasos can open.")
    return sorted(chosen, key=lambda file: file.size)


def git_checksum(path: Path) -> str:
    """A file's content as git names it: the SHA-1 of "blob SIZE", a zero byte, and the bytes."""
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def link(blob: Path, name: Path) -> None:
    """Give a blob its name in a snapshot: a relative link, or a copy on systems without links."""
    target = os.path.relpath(blob, name.parent)
    try:
        name.parent.mkdir(parents=True, exist_ok=True)
        if name.is_symlink() and os.readlink(name) == target:
            return
        name.unlink(missing_ok=True)
        try:
            name.symlink_to(target)
        except OSError:  # Windows without the right to make links
            os.link(blob, name)
    except OSError as error:
        raise write_error(name, error) from error
