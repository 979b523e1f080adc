"""Byte-pair encoding: training and encoding, against the `tokenizers` package (in Rust) where it is installed."""

import warnings
from collections.abc import Iterator
from importlib.util import find_spec

import torch

from llmasos.datasets import open_text
from llmasos.datasets.paths import cache_folder, given_folder
from llmasos.tokenizers import END_OF_TEXT, BPETokenizer
from llmasos.tools.bench.measurement import Figure, figure, ratio, show, take_turns, timed
from llmasos.tools.bench.settings import Settings
from llmasos.tools.doctor.places import datasets_in

VOCAB_SIZE = 8192
CPU = torch.device("cpu")


def bench_bpe(settings: Settings) -> Iterator[Figure | str]:
    """Learn a vocabulary from about a megabyte of text, then encode that text with it."""
    name, documents = text_at_hand()
    vocab_size = VOCAB_SIZE
    if settings.quick:
        documents, vocab_size = [documents[0][:20_000]], 300
    megabytes = sum(len(document.encode()) for document in documents) / 1e6
    at = f"{name}, {show(megabytes)} MB, vocabulary of {vocab_size:,}"

    trainers = {"ours": lambda: train_ours(documents, vocab_size)}
    if find_spec("tokenizers"):
        trainers["rust"] = lambda: train_rust(documents, vocab_size)
    else:
        yield "the tokenizers package is not installed (pip install tokenizers), so there is nothing to compare with"
    seconds = take_turns({name: timed(train, CPU, 0.0) for name, train in trainers.items()}, settings.repetitions(3))
    yield figure("bpe.train_seconds", at, "training: ours", "s", seconds["ours"], best=min)
    if "rust" in trainers:
        yield figure("bpe.rust_train_seconds", at, "training: tokenizers", "s", seconds["rust"], best=min)
        what = "training: tokenizers' time over ours"
        yield ratio("bpe.train_speedup", at, what, seconds["rust"], seconds["ours"], best=min)

    ours = trainers["ours"]()
    encoders = {"ours": lambda: [ours.encode_array(document) for document in documents]}
    if "rust" in trainers:
        rust = trainers["rust"]()
        # in paragraphs, since it works on the members of a batch in parallel
        paragraphs = [part for document in documents for part in document.split("\n\n")]
        encoders["rust"] = lambda: rust.encode_batch_fast(paragraphs)
    seconds = take_turns({name: timed(encode, CPU, 0.0) for name, encode in encoders.items()}, settings.repetitions(5))
    rates = {name: [megabytes / x for x in values] for name, values in seconds.items()}
    yield figure("bpe.encode_mb_per_second", at, "encoding: ours", "MB/s", rates["ours"])
    if "rust" in trainers:
        yield figure("bpe.rust_encode_mb_per_second", at, "encoding: tokenizers, in parallel", "MB/s", rates["rust"])
        yield ratio("bpe.encode_speedup", at, "encoding: our rate over tokenizers'", rates["ours"], rates["rust"])


def text_at_hand() -> tuple[str, list[str]]:
    """Tiny Shakespeare if it is on this machine (a bench downloads nothing), else Python's language reference."""
    folders = [folder for folder in (given_folder(), cache_folder()) if folder]
    name = "shakespeare" if any("shakespeare" in datasets_in(folder) for folder in folders) else "python-reference"
    source = open_text(name)
    return name, [document for split in ("train", "val") for document in source.documents(split)]


def train_ours(documents: list[str], vocab_size: int) -> BPETokenizer:
    """Learn a vocabulary with our trainer."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a short text may not fill the vocabulary, which changes nothing here
        return BPETokenizer.train(documents, vocab_size)


def train_rust(documents: list[str], vocab_size: int):
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
