"""Byte-pair encoding: training and encoding, against the `tokenizers` package (written in Rust) if it is installed."""

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import torch

from llmasos.console import quiet
from llmasos.datasets import open_text
from llmasos.datasets.paths import cache_folder, user_data_folder
from llmasos.parallel import in_batches, map_in_threads, usable_cores
from llmasos.tokenizers import END_OF_TEXT, BPETokenizer
from llmasos.tools.bench.measurement import Measurement, Settings, format_number, interleave, ratio, summarize, timed
from llmasos.tools.doctor.files import datasets_in


def bench_bpe(settings: Settings) -> Iterator[Measurement | str]:
    """Learn a vocabulary from one and from ten megabytes of text; encode the first with it."""
    if not find_spec("tokenizers"):
        yield "the tokenizers package is not installed (pip install tokenizers): no baseline"
    name, documents = find_text()
    vocab_size = 8192
    if settings.quick:
        documents, vocab_size = [documents[0][:20_000]], 300
    setup = describe(name, documents, vocab_size)
    yield from training(settings, "bpe", setup, documents, vocab_size)
    yield from encoding(settings, setup, documents, train_ours(documents, vocab_size), vocab_size)
    if not settings.quick:
        source = [piece.text for piece in open_text("python-source").all_pieces()]
        documents = next(in_batches(source, len, 10_000_000))
        setup = describe("python-source", documents, vocab_size)
        yield from training(settings, "bpe.10MB", setup, documents, vocab_size)


def describe(name: str, documents: list[str], vocab_size: int) -> str:
    """What is measured, as a heading."""
    return f"{name}, {format_number(n_megabytes(documents))} MB, vocabulary of {vocab_size:,}"


def n_megabytes(documents: list[str]) -> float:
    """The size of texts in UTF-8."""
    return sum(len(document.encode()) for document in documents) / 1e6


def training(
    settings: Settings, key: str, setup: str, documents: list[str], vocab_size: int
) -> Iterator[Measurement | str]:
    """The time of both trainers, each on all cores."""
    trainers: dict[str, Callable[[], Any]] = {"ours": lambda: train_ours(documents, vocab_size)}
    if find_spec("tokenizers"):
        trainers["rust"] = lambda: train_rust(documents, vocab_size)
    seconds = interleave(time_all(trainers), settings.repetitions(3))
    yield summarize(f"{key}.train_seconds", setup, "training: ours", "s", seconds["ours"], best=min)
    if "rust" in trainers:
        yield summarize(f"{key}.rust_train_seconds", setup, "training: tokenizers", "s", seconds["rust"], best=min)
        what = "training: time of tokenizers over ours"
        yield ratio(f"{key}.train_speedup", setup, what, seconds["rust"], seconds["ours"], best=min)


def encoding(
    settings: Settings, setup: str, documents: list[str], ours: BPETokenizer, vocab_size: int
) -> Iterator[Measurement | str]:
    """The rate of both encoders: ours on one core and, as a corpus is encoded, on all; theirs on all."""
    megabytes, threads = n_megabytes(documents), max(1, int(usable_cores()))
    # by paragraphs, because `tokenizers` encodes the members of a batch in parallel
    paragraphs = [paragraph for document in documents for paragraph in document.split("\n\n")]
    batches = list(in_batches(paragraphs, len, 100_000))

    def encode(batch: list[str]) -> list[Any]:
        return [ours.encode_array(text) for text in batch]

    encoders: dict[str, Callable[[], Any]] = {
        "ours": lambda: encode(documents),
        "threads": lambda: list(map_in_threads(encode, batches, threads)),
    }
    if find_spec("tokenizers"):
        rust = train_rust(documents, vocab_size)
        encoders["rust"] = lambda: rust.encode_batch_fast(paragraphs)
    seconds = interleave(time_all(encoders), settings.repetitions(5))
    rates = {name: [megabytes / x for x in values] for name, values in seconds.items()}
    yield summarize("bpe.encode_mb_per_second", setup, "encoding: ours, on one core", "MB/s", rates["ours"])
    yield summarize("bpe.parallel_mb_per_second", setup, "encoding: ours, in parallel", "MB/s", rates["threads"])
    if "rust" in encoders:
        what = "encoding: tokenizers, in parallel"
        yield summarize("bpe.rust_encode_mb_per_second", setup, what, "MB/s", rates["rust"])
        what = "encoding: our rate on one core over theirs"
        yield ratio("bpe.encode_speedup", setup, what, rates["ours"], rates["rust"])
        what = "encoding: our rate in parallel over theirs"
        yield ratio("bpe.parallel_speedup", setup, what, rates["threads"], rates["rust"])


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
