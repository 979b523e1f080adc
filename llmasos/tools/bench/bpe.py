"""Byte-pair encoding: training and encoding, against the `tokenizers` package (written in Rust) if it is installed."""

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import torch

from llmasos.console import quiet
from llmasos.datasets import open_text
from llmasos.datasets.paths import cache_folder, user_data_folder
from llmasos.tokenizers import END_OF_TEXT, BPETokenizer
from llmasos.tools.bench.measurement import Measurement, Settings, format_number, interleave, ratio, summarize, timed
from llmasos.tools.doctor.files import datasets_in


def bench_bpe(settings: Settings) -> Iterator[Measurement | str]:
    """Learn a vocabulary from about a megabyte of text, then encode the text with it."""
    name, documents = find_text()
    vocab_size = 8192
    if settings.quick:
        documents, vocab_size = [documents[0][:20_000]], 300
    megabytes = sum(len(document.encode()) for document in documents) / 1e6
    setup = f"{name}, {format_number(megabytes)} MB, vocabulary of {vocab_size:,}"

    trainers: dict[str, Callable[[], Any]] = {"ours": lambda: train_ours(documents, vocab_size)}
    if find_spec("tokenizers"):
        trainers["rust"] = lambda: train_rust(documents, vocab_size)
    else:
        yield "the tokenizers package is not installed (pip install tokenizers): no baseline"
    seconds = interleave(time_all(trainers), settings.repetitions(3))
    yield summarize("bpe.train_seconds", setup, "training: ours", "s", seconds["ours"], best=min)
    if "rust" in trainers:
        yield summarize("bpe.rust_train_seconds", setup, "training: tokenizers", "s", seconds["rust"], best=min)
        what = "training: time of tokenizers over ours"
        yield ratio("bpe.train_speedup", setup, what, seconds["rust"], seconds["ours"], best=min)

    ours = trainers["ours"]()
    encoders: dict[str, Callable[[], Any]] = {"ours": lambda: [ours.encode_array(text) for text in documents]}
    if "rust" in trainers:
        rust = trainers["rust"]()
        # by paragraphs, because it encodes the members of a batch in parallel
        paragraphs = [paragraph for document in documents for paragraph in document.split("\n\n")]
        encoders["rust"] = lambda: rust.encode_batch_fast(paragraphs)
    seconds = interleave(time_all(encoders), settings.repetitions(5))
    rates = {name: [megabytes / x for x in values] for name, values in seconds.items()}
    yield summarize("bpe.encode_mb_per_second", setup, "encoding: ours", "MB/s", rates["ours"])
    if "rust" in trainers:
        what = "encoding: tokenizers, in parallel"
        yield summarize("bpe.rust_encode_mb_per_second", setup, what, "MB/s", rates["rust"])
        yield ratio("bpe.encode_speedup", setup, "encoding: our rate over theirs", rates["ours"], rates["rust"])


def time_all(functions: dict[str, Callable[[], Any]]) -> dict[str, Callable[[], float]]:
    """A measurement of each function, on the CPU."""
    return {name: timed(function, torch.device("cpu"), 0.0) for name, function in functions.items()}


def find_text() -> tuple[str, list[str]]:
    """Tiny Shakespeare if it is on this machine (a benchmark downloads nothing), else Python's language reference."""
    folders = [folder for folder in (user_data_folder(), cache_folder()) if folder]
    name = "shakespeare" if any("shakespeare" in datasets_in(folder) for folder in folders) else "python-reference"
    source = open_text(name)
    return name, [document for split in ("train", "val") for document in source.documents(split)]


def train_ours(documents: list[str], vocab_size: int) -> BPETokenizer:
    """Learn a vocabulary with our trainer."""
    with quiet():  # a short text may not fill the vocabulary, which does not matter here
        return BPETokenizer.train(documents, vocab_size)


def train_rust(documents: list[str], vocab_size: int) -> Any:
    """Learn the same vocabulary with the `tokenizers` package; returns its `Tokenizer`."""
    import tokenizers

    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(documents, trainer)
    return tokenizer
