"""Models from the Hugging Face hub, in the cache that its own libraries use.

    $HF_HUB_CACHE, else $HF_HOME/hub, else ~/.cache/huggingface/hub
        models--HuggingFaceTB--SmolLM2-135M/
            refs/main                       the commit of the branch `main`
            blobs/CHECKSUM                  each file's content, once
            snapshots/COMMIT/config.json    links to blobs, under the file names

We find models that transformers has downloaded, and vice versa. A cached model is used without contacting the hub; for
another revision, add it to the name ("gpt2@main", "gpt2@COMMIT").

A download requests the list of files with their sizes and checksums from the hub, fetches the ones it needs (see
`storage/download`: checked, resumable, locked), and links them into the snapshot one by one, so that every file in a
snapshot is complete.
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

from llmasos.arguments import user_path
from llmasos.errors import UserError
from llmasos.hub.weights import PICKLE, SAFETENSORS, check_plain_name, weight_files
from llmasos.models.config import ADAPTER_CONFIG, ADAPTER_WEIGHTS, is_adapter
from llmasos.storage import sha256_file
from llmasos.storage.atomic import read_error, set_aside, write_error, write_text
from llmasos.storage.download import download, make_request, open_address

TIMEOUT = 10.0  # seconds without a response
MAX_LISTING_BYTES = 50_000_000
MAIN = "main"
MAX_NAME = 250  # characters; no file or repository has a longer one
MOVED = {  # models that were moved from a name without an owner
    "gpt2": "openai-community/gpt2",
    "gpt2-medium": "openai-community/gpt2-medium",
    "gpt2-large": "openai-community/gpt2-large",
    "gpt2-xl": "openai-community/gpt2-xl",
    "distilgpt2": "distilbert/distilgpt2",
    "bert-base-uncased": "google-bert/bert-base-uncased",
    "bert-base-cased": "google-bert/bert-base-cased",
    "bert-large-uncased": "google-bert/bert-large-uncased",
}
NEEDED_FILES = {  # in addition to the weights
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
        """Parse "NAME" or "OWNER/NAME", optionally with "@REVISION"; None if it is not such a name."""
        match = re.fullmatch(r"((?:[\w-][\w.-]*/)?[\w-][\w.-]*)(?:@([\w][\w./-]*))?", text)
        if match is None or ".." in text or len(text) > MAX_NAME:
            return None
        return cls(match[1], match[2] or MAIN)

    @property
    def names(self) -> list[str]:
        """All names of the model."""
        return [self.name, *([MOVED[self.name]] if self.name in MOVED else [])]


def cache_folder() -> Path:
    """Return the cache's folder, by the rules of huggingface_hub."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if os.environ.get(variable):
            return user_path(os.environ[variable])
    return home() / "hub"


def home() -> Path:
    """Return the folder of the Hugging Face libraries."""
    if os.environ.get("HF_HOME"):
        return user_path(os.environ["HF_HOME"])
    return user_path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"


def offline() -> bool:
    """Whether the user has turned off network access (HF_HUB_OFFLINE)."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def endpoint() -> str:
    """Return the hub's address."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def token() -> str | None:
    """Return the user's access token, for models that are not public."""
    for variable in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if os.environ.get(variable):
            return os.environ[variable].strip()
    file = user_path(os.environ.get("HF_TOKEN_PATH") or home() / "token")
    return (read_word(file) or None) if file.is_file() else None


def read_word(file: Path) -> str:
    """Read a file that contains a single word. Non-ASCII bytes become U+FFFD.

    Raises:
        UserError: it cannot be read.
    """
    try:
        return file.read_bytes().decode("ascii", "replace").strip()
    except OSError as error:
        raise read_error(file, error) from error


def folder_of(name: str) -> Path:
    """Return a model's folder in the cache."""
    return cache_folder() / f"models--{name.replace('/', '--')}"


def cached(repository: Repository) -> Path | None:
    """Return the model's snapshot in the cache, if it is complete."""
    for name in repository.names:
        ref = folder_of(name) / "refs" / repository.revision
        commit = read_word(ref) if ref.is_file() else repository.revision
        snapshot = folder_of(name) / "snapshots" / commit
        if re.fullmatch(r"[0-9a-f]{5,64}", commit) and is_complete(snapshot):
            return snapshot
    return None


def is_complete(snapshot: Path) -> bool:
    """Whether a folder has a config and all files of the weights, or an adapter."""
    if is_adapter(snapshot):
        return (snapshot / ADAPTER_WEIGHTS).is_file()
    try:
        return (snapshot / "config.json").is_file() and bool(weight_files(snapshot))
    except UserError:
        return False


def cached_models() -> list[tuple[Repository, Path]]:
    """Return all complete models in the cache, with their snapshots."""
    models = []
    for folder in sorted(cache_folder().glob("models--*")):
        name = folder.name.removeprefix("models--").replace("--", "/")
        for ref in sorted(path for path in (folder / "refs").rglob("*") if path.is_file()):
            repository = Repository(name, ref.relative_to(folder / "refs").as_posix())
            if snapshot := cached(repository):
                models.append((repository, snapshot))
    return models


def fetch(repository: Repository, progress: bool = True) -> Path:
    """Download the missing files of a model, and return its snapshot.

    Raises:
        UserError: it is not on the hub, needs an access token, or cannot be fetched or written. The snapshot never
            holds incomplete files; a partial download of a large file is kept, to be resumed.
    """
    commit, files = list_files(repository)
    folder = folder_of(repository.name)
    snapshot = folder / "snapshots" / commit
    for file in select_files(files, repository):
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
    """A file of a model on the hub. The checksum is the SHA-256 of large files, and git's blob hash of the others."""

    name: str
    size: int
    checksum: str
    is_large: bool


def list_files(repository: Repository) -> tuple[str, list[HubFile]]:
    """Return the commit of a revision, and its files.

    Raises:
        UserError: there is no such model or revision, it needs an access token, or the response is not valid.
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
            401: "there is no such model, or it is not public and needs an access token: set HF_TOKEN",
            403: "it needs the access token of a user who has accepted its terms: accept them on its page, then set "
            "HF_TOKEN",
            404: "there is no such model or revision",
        }
        reason = reasons.get(error.code, f"it responded with {error.code} {error.reason}")
        raise UserError(f"{reason} ({address}).") from error
    except (OSError, http.client.HTTPException) as error:
        cause = getattr(error, "reason", error)
        raise UserError(f"{endpoint()} cannot be reached ({getattr(cause, 'strerror', None) or cause}).") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{address} did not respond with a list of files ({type(error).__name__}: {error}).") from error
    for file in files:
        check_plain_name(file.name, address)
    return commit, files


def read_entry(entry: dict) -> HubFile:
    """Parse one entry of the hub's list of files."""
    large = entry.get("lfs")
    checksum = large["sha256"] if large else entry["blobId"]
    size = large["size"] if large else entry["size"]
    if not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", checksum) or type(size) is not int or size < 0:
        raise ValueError(f"the entry {entry!r}")
    return HubFile(entry["rfilename"], size, checksum, bool(large))


def select_files(files: list[HubFile], repository: Repository) -> list[HubFile]:
    """Return the files we need, small ones first: config, tokenizer, and the weights in the best available form.

    Of a repository with an adapter, only the adapter: its base model is another repository.

    Raises:
        UserError: the model has no config or no readable weights.
    """
    by_name = {file.name: file for file in files}
    selected = [file for name, file in by_name.items() if name in NEEDED_FILES]
    if ADAPTER_CONFIG in by_name and ADAPTER_WEIGHTS in by_name:
        selected += [by_name[ADAPTER_WEIGHTS], by_name[ADAPTER_CONFIG]]
        return sorted(selected, key=lambda file: file.size)
    for weights in (SAFETENSORS, PICKLE):
        if weights in by_name:
            selected.append(by_name[weights])
            break
        if f"{weights}.index.json" in by_name:
            shard = re.escape(weights).replace(r"\.", r"-\d{5}-of-\d{5}\.", 1)  # model-00001-of-00002.safetensors
            selected += [file for name, file in by_name.items() if re.fullmatch(shard, name)]
            selected.append(by_name[f"{weights}.index.json"])
            break
    else:
        raise UserError(
            f"{repository.name} has no weights that llmasos can read ({SAFETENSORS}, {PICKLE} or, of an adapter, "
            f"{ADAPTER_WEIGHTS}); it has: "
            f"{', '.join(sorted(by_name)[:12])}."
        )
    if "config.json" not in by_name:
        raise UserError(f"{repository.name} has no config.json, so llmasos cannot open it.")
    return sorted(selected, key=lambda file: file.size)


def git_checksum(path: Path) -> str:
    """Return git's blob hash of a file: the SHA-1 of "blob SIZE", a zero byte, and the content."""
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def link(blob: Path, name: Path) -> None:
    """Link a blob into a snapshot: a relative symbolic link, or a hard link on systems without them."""
    target = os.path.relpath(blob, name.parent)
    try:
        name.parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(name):
            if os.path.exists(name) and os.path.samefile(name, blob):
                return
            set_aside(name)  # a file that the user changed, or a link to another revision's content
        try:
            name.symlink_to(target)
        except FileExistsError:
            if not (os.path.exists(name) and os.path.samefile(name, blob)):  # otherwise another process was faster
                raise
        except OSError:  # Windows without the permission to create links
            os.link(blob, name)
    except OSError as error:
        raise write_error(name, error) from error
