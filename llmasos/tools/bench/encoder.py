"""Encoders: a BERT fine-tuned on texts of many lengths, in random batches and in batches of similar lengths."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from llmasos.datasets import Examples
from llmasos.models import ModelConfig, build_model, preset
from llmasos.objectives.classification import Classification, EncodedText
from llmasos.tokenizers import train_tokenizer
from llmasos.tools.bench.measurement import Measurement, Settings, interleave, ratio, summarize, timed
from llmasos.tools.training_step import step_of
from llmasos.training.recipe import TrainingSettings
from llmasos.training.trainer import Trainer

BATCH_SIZE, N_TEXTS, STEPS = 32, 4_000, 20  # steps in each repetition: batches of many lengths
MEDIAN_LENGTH, SIGMA = 24, 0.8  # tokens in a sentence, which are roughly lognormal


def bench_encoder(settings: Settings) -> Iterator[Measurement]:
    """Texts per second and padding of both kinds of batches. `Examples` explains how the batches are made."""
    config = preset("bert-laptop", head="classifier", labels=("no", "yes"))
    batch_size, n_texts, steps = BATCH_SIZE, N_TEXTS, STEPS
    if settings.quick:
        sizes: dict[str, Any] = {"n_layers": 1, "d_model": 32, "d_ff": 64, "context_length": 64}
        config, batch_size, n_texts, steps = replace(config, **sizes), 4, 100, 2
    texts = random_texts(config, n_texts)
    lengths = [len(text.inputs.ids) for text in texts]
    orders = {"bucketed": Examples(texts, lengths, batch_size), "random": Examples(texts, None, batch_size)}
    trainers = {name: make_trainer(config, order, batch_size, settings) for name, order in orders.items()}

    def take(name: str) -> None:
        step = step_of(trainers[name])
        for _ in range(steps):
            step()

    measures = {name: timed(partial(take, name), settings.device, 0.0) for name in trainers}
    seconds = interleave(measures, settings.repetitions(5))
    rates = {name: [batch_size * steps / s for s in values] for name, values in seconds.items()}
    setup = f"{config.n_layers} layers, width {config.d_model}, batch {batch_size}, median length {MEDIAN_LENGTH}"
    for name, order in orders.items():
        what = f"{name} batches"
        yield summarize(f"encoder.{name}_texts_per_second", setup, what, "texts/s", rates[name])
        percent = [100 * padding_fraction(order)]
        yield summarize(f"encoder.{name}_padding", setup, f"{what}: padding among positions", "%", percent, best=min)
    yield ratio("encoder.speedup", setup, "bucketed over random batches", rates["bucketed"], rates["random"])


def random_texts(config: ModelConfig, n: int) -> list[EncodedText]:
    """Texts of random tokens with lognormal lengths; the speed does not depend on the tokens."""
    rng = np.random.default_rng(0)
    tokenizer = train_tokenizer("byte", [])
    lengths = np.exp(rng.normal(np.log(MEDIAN_LENGTH), SIGMA, n)).astype(int)
    room = config.context_length - tokenizer.n_special_tokens(1)
    return [
        EncodedText(tokenizer.build_inputs(rng.integers(256, size=min(max(length, 2), room)).tolist()), 0, 0)
        for length in lengths
    ]


def make_trainer(config: ModelConfig, texts: Examples, batch_size: int, settings: Settings) -> Trainer:
    """Set up the training loop with a new model."""
    torch.manual_seed(0)
    tokenizer = train_tokenizer("byte", [])
    model = build_model(replace(config, vocab_size=tokenizer.vocab_size)).to(settings.device)
    training = TrainingSettings(batch_size=batch_size, max_steps=1_000_000)
    return Trainer(model, Classification(tokenizer, config.labels), texts, [], training, Path("unused"))


def padding_fraction(texts: Examples) -> float:
    """The fraction of an epoch's positions that are padding."""
    ids = [len(texts.example(0, i).inputs.ids) for i in range(len(texts) // texts.batch_size * texts.batch_size)]
    lengths = np.array(ids).reshape(-1, texts.batch_size)
    return 1 - float(lengths.sum() / (lengths.max(axis=1) * texts.batch_size).sum())
