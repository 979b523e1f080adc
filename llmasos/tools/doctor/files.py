"""Checks of files: free disk space, and which datasets and encodings are on this machine."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from llmasos.datasets.catalog import DATASETS
from llmasos.datasets.fetch import UNPACKED
from llmasos.datasets.paths import VARIABLE, cache_folder, user_data_folder
from llmasos.errors import UserError
from llmasos.tokenizers import openai
from llmasos.tools.doctor.check import OK, PROBLEM, WARNING, Check

MIB = 2**20
TOO_LITTLE, LITTLE = 200 * MIB, 2048 * MIB  # a run of the default recipe writes about 50 MiB


def files() -> Iterator[Check]:
    """The disk, the datasets and the encodings."""
    yield check_folder("runs", Path("runs").absolute(), "work in another folder, or set --out-dir")
    yield check_folder("cache", cache_folder(), "free some space, or fix the folder's permissions")
    yield data_folder()
    yield Check("data in cache", OK, ", ".join(datasets_in(cache_folder())) or "none; the default recipe needs none")
    for encoding in openai.OPENAI_FILES:
        yield check_encoding(encoding)


def check_folder(name: str, folder: Path, advice: str) -> Check:
    """Whether a folder, which need not exist yet, is writable and has room."""
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        return Check(name, PROBLEM, f"{folder}: {existing} is not writable", advice)
    free = shutil.disk_usage(existing).free
    value = f"{folder}: {free / MIB:,.0f} MiB free"
    if free < TOO_LITTLE:
        return Check(name, PROBLEM, f"{value}, not enough for the checkpoints of a run", advice)
    if free < LITTLE:
        return Check(name, WARNING, f"{value}, enough for small models only")
    return Check(name, OK, value)


def data_folder() -> Check:
    """Which datasets $LLMASOS_DATA holds."""
    try:
        folder = user_data_folder()
    except UserError as error:
        return Check(VARIABLE, WARNING, str(error), "until then, only the embedded texts and your own files work")
    if folder is None:
        return Check(VARIABLE, OK, "not set: datasets are downloaded into the cache when they are needed")
    if names := datasets_in(folder):
        return Check(VARIABLE, OK, f"{folder} contains {', '.join(names)}")
    advice = "put each dataset into a folder of its name; data/NAME/README.md lists its files"
    return Check(VARIABLE, WARNING, f"{folder} contains none of {', '.join(DATASETS)}", advice)


def datasets_in(folder: Path) -> list[str]:
    """The names of the registered datasets in a folder, packed or unpacked. Their hashes are not checked."""
    names = []
    for dataset in DATASETS.values():
        home = folder / dataset.name
        unpacked = all(
            (home / file.name).is_file() or (home / UNPACKED / file.name).is_file() for file in dataset.splits.values()
        )
        if unpacked or all((home / source.name).is_file() for source in dataset.sources):
            names.append(dataset.name)
    return names


def check_encoding(name: str) -> Check:
    """Whether one of OpenAI's encodings is on this machine, so that it works offline."""
    folder = openai.cache_folder()
    if not openai.missing_files(name, folder):
        return Check(f"{name} encoding", OK, "available offline")
    value = f"not in {folder} (set TIKTOKEN_CACHE_DIR to change it); --tokenizer {name} downloads it once"
    return Check(f"{name} encoding", WARNING, value, "char, byte and bpe need no download")
