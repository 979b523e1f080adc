"""Cleaning a corpus: megabytes per second in one process and in two, with all rules but the perplexity filter."""

import json
import random
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch

from llmasos.datasets.cleaning import CleaningSettings, clean
from llmasos.tools.bench.measurement import Measurement, Settings, interleave, ratio, summarize, timed

CPU = torch.device("cpu")
MEGABYTES = 20
WORDS = 300  # of a document


def bench_cleaning(settings: Settings) -> Iterator[Measurement | str]:
    """Clean generated documents."""
    megabytes = 0.2 if settings.quick else MEGABYTES
    setup = f"{megabytes:g} MB of documents of {WORDS} words, all rules but perplexity"
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "corpus.jsonl"
        write_corpus(corpus, int(megabytes * 1e6))

        def clean_with(processes: int) -> None:
            output = corpus.with_name(f"{processes}.jsonl")
            output.unlink(missing_ok=True)
            clean(corpus, output, CleaningSettings(languages="en"), processes, progress=False)

        runs = {name: timed(partial(clean_with, n), CPU, 0.0) for name, n in (("one", 1), ("two", 2))}
        seconds = interleave(runs, settings.repetitions(3))
    rates = {name: [megabytes / x for x in values] for name, values in seconds.items()}
    yield summarize("cleaning.mb_per_second", setup, "one process", "MB/s", rates["one"])
    yield summarize("cleaning.parallel_mb_per_second", setup, "two processes", "MB/s", rates["two"])
    yield ratio("cleaning.parallel_speedup", setup, "two processes over one", rates["two"], rates["one"])


def write_corpus(path: Path, n_bytes: int) -> None:
    """Write documents of random words whose frequencies fall as those of a language (Zipf), one in ten with a menu."""
    rng = random.Random(0)
    words = ["".join(rng.choices("etaoinshrdlucmfwyp", k=rng.randint(1, 9))) for _ in range(20_000)]
    weights = [1 / (rank + 1) for rank in range(len(words))]
    with open(path, "w", encoding="utf-8") as file:
        while file.tell() < n_bytes:
            chosen = rng.choices(words, weights, k=WORDS)
            lines = [" ".join(["the and of was", *chosen[i : i + 30]]) for i in range(0, WORDS, 30)]
            if rng.random() < 0.1:
                lines.insert(0, "Home | News | Contact")
            if rng.random() < 0.05:
                lines.append(f"Write to {chosen[0]}@example.org.")
            file.write(json.dumps({"text": "\n".join(lines)}) + "\n")
