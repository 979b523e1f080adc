"""Is there room on the disk, and which data and encodings are here already?"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from llmasos.datasets.paths import VARIABLE, cache_folder, given_folder
from llmasos.datasets.registry import DATASETS, UNPACKED
from llmasos.errors import UserError
from llmasos.tokenizers import openai
from llmasos.tools.doctor.check import NOTE, OK, PROBLEM, Finding

MIB = 2**20
TOO_LITTLE, LITTLE = 200 * MIB, 2048 * MIB  # a run of the default recipe writes about 50 MiB


def disk() -> Iterator[Finding]:
    """Where runs and caches go: can it be written, and is there room."""
    yield check_folder("runs", Path("runs").absolute(), "runs/ (here)", "start from another folder, or give --out")
    advice = "free some space, or mend the folder's permissions"
    yield check_folder("cache", cache_folder(), str(cache_folder()), advice)


def check_folder(name: str, folder: Path, shown: str, advice: str) -> Finding:
    """Whether a folder, which need not exist yet, can be written and has room."""
    there = next(place for place in (folder, *folder.parents) if place.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        return Finding(name, PROBLEM, f"{shown}: {there} cannot be written", advice)
    free = shutil.disk_usage(there).free
    value = f"{shown}: {free / MIB:,.0f} MiB free"
    if free < TOO_LITTLE:
        return Finding(name, PROBLEM, f"{value}, not enough for the checkpoints of a run", advice)
    return Finding(name, *((NOTE, f"{value}: enough for small models only") if free < LITTLE else (OK, value)))


def data() -> Iterator[Finding]:
    """Which of the data sets that would otherwise be downloaded are on this machine."""
    try:
        given = given_folder()
    except UserError as error:
        yield Finding(VARIABLE, NOTE, str(error), "until then only the embedded texts and your own files can be opened")
        return
    if given is None:
        yield Finding(VARIABLE, OK, "not set: what is missing is downloaded into the cache when it is asked for")
    elif here := datasets_in(given):
        yield Finding(VARIABLE, OK, f"{given}, which holds: {', '.join(here)}")
    else:
        yield Finding(
            VARIABLE,
            NOTE,
            f"{given} holds none of: {', '.join(DATASETS)}",
            "each belongs in a folder of its name; data/NAME/README.md says which file",
        )
    cached = datasets_in(cache_folder())
    yield Finding("data in cache", OK, ", ".join(cached) or "nothing; the default recipe needs nothing either")


def datasets_in(folder: Path) -> list[str]:
    """The names of the registered data sets that are in a folder, packed or unpacked. Their hashes are not checked."""
    names = []
    for dataset in DATASETS.values():
        own = folder / dataset.name
        unpacked = all(
            (own / file.name).is_file() or (own / UNPACKED / file.name).is_file() for file in dataset.splits.values()
        )
        if unpacked or all((own / source.name).is_file() for source in dataset.sources):
            names.append(dataset.name)
    return names


def encodings() -> Iterator[Finding]:
    """Whether OpenAI's encodings are here, so that they work without a network."""
    folder = openai.cache_folder()
    if not os.environ.get("TIKTOKEN_CACHE_DIR"):
        yield Finding("TIKTOKEN_CACHE_DIR", OK, f"not set: tiktoken keeps what it downloads in {folder}")
    elif folder.is_dir():
        yield Finding("TIKTOKEN_CACHE_DIR", OK, str(folder))
    else:
        yield Finding("TIKTOKEN_CACHE_DIR", NOTE, f"{folder}, which is no folder (yet: tiktoken makes it)")
    for kind in openai.FILES:
        if openai.missing_files(kind, folder):
            yield Finding(
                f"{kind} encoding",
                NOTE,
                "not on this machine: its first use needs a network",
                f"--tokenizer {kind} downloads it once; char, byte and bpe need no download",
            )
        else:
            yield Finding(f"{kind} encoding", OK, "here, works without a network")
