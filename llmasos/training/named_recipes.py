"""The named recipes: what `python train.py NAME` trains.

Each states the expected result, so that you know before the run what is good, and after it whether you got there.
Losses are over the whole validation split, in nats per token; times are for two laptop-class CPU cores unless stated.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmasos.console import command
from llmasos.errors import UserError, nearest
from llmasos.training.recipe import MODEL_PARTS, MODEL_SIZES, SET_BY_INIT, Recipe, make_recipe, refuse_set_by_init

SHIPPED = {"runs/bert-storyworld": "storyworld-bert"}  # run that recipes start from → the same, shipped


@dataclass(frozen=True)
class NamedRecipe:
    """A recipe's settings, what it trains, and what to expect of it."""

    summary: str
    expect: str
    settings: dict[str, Any]


FAST_TRAINING: dict[str, Any] = {  # the model and optimizer settings that learn most in two minutes
    "model": "modern-laptop",
    "optimizer": "muon",
    "learning_rate": 1.5e-2,
    "schedule": "linear",
    "min_lr_ratio": 0.0,
    "warmup_steps": 20,
}

RECIPES: dict[str, NamedRecipe] = {
    "storyworld": NamedRecipe(
        "a small GPT learns to tell stories (the default)",
        "val_loss 0.26 (floor 0.207; 0.253 to 0.257 with five seeds) after 1,800 steps, in 2 minutes; 105 to 118 of "
        "200 sampled stories follow all rules of the world",
        {
            **FAST_TRAINING,
            "tie_embeddings": False,
            "rows": "documents",
            "batch_size": 8,
            "max_steps": 1800,
            "eval_interval": 450,
        },
    ),
    "gpt-storyworld": NamedRecipe(
        "the same with a plain GPT-2, on windows anywhere in the text",
        "val_loss 0.46 (floor 0.207) after 800 steps, in 2 minutes",
        {"model": "gpt-laptop", "optimizer": "muon", "learning_rate": 6e-3},
    ),
    "llama-storyworld": NamedRecipe(
        "the plain GPT-2's recipe with a Llama's block: RMSNorm, rotary positions, SwiGLU, grouped-query attention",
        "val_loss 0.45 (floor 0.207) after 800 steps, in 2 minutes",
        {"model": "llama-laptop", "optimizer": "muon", "learning_rate": 6e-3},
    ),
    "shakespeare": NamedRecipe(
        "a character-level GPT writes Shakespeare (1.1 MB; downloaded once)",
        "val_loss 1.56 after 1,000 steps, in a minute",
        {
            **FAST_TRAINING,
            "data": "shakespeare",
            "tokenizer": "char",
            "context_length": 128,
            "batch_size": 12,
            "max_steps": 1000,
            "eval_interval": 250,
        },
    ),
    "shakespeare-large": NamedRecipe(
        "the same with 6 layers of width 384 and dropout, for a GPU",
        "for a GPU; not measured yet",
        {
            "data": "shakespeare",
            "tokenizer": "char",
            "model": "gpt-small",
            "batch_size": 64,
            "max_steps": 5000,
            "dropout": 0.2,
            "learning_rate": 1e-3,
            "eval_interval": 500,
        },
    ),
    "python-reference": NamedRecipe(
        "real English with no download: the language reference in your own Python",
        "val_loss 4.24 (1.71 bits per byte; the text of Python 3.11) after 800 steps, in 3 minutes",
        {"data": "python-reference", "vocab_size": 2048, "optimizer": "muon", "max_steps": 800, "dropout": 0.1},
    ),
    "bert-storyworld": NamedRecipe(
        "a small BERT learns to fill in masked words, and which sentences follow each other",
        "masked words 0.81 right (always the most common one: 0.08), next sentences 0.83 (chance: 0.50); "
        "val_loss 1.10 after 900 steps, in 2.5 minutes",
        {
            "task": "bert-pretraining",
            "model": "bert-laptop",
            "context_length": 64,
            "tokenizer": "wordpiece",
            "vocab_size": 2048,
            "lowercase": True,
            "batch_size": 64,
            "optimizer": "muon",
            "learning_rate": 6e-3,
            "max_steps": 900,
            "eval_interval": 300,
        },
    ),
    "classify-storyworld": NamedRecipe(
        "that BERT learns to tell happy endings from sad ones, from 100 labeled stories; with a baseline from scratch",
        "accuracy 0.94 from pretrained weights, 0.75 from random ones (always happy); val_loss 0.18 after 60 steps, "
        "in 20 seconds, both together",
        {
            "task": "text-classification",
            "init_from": "runs/bert-storyworld",
            "compare": True,
            "train_examples": 100,
            "batch_size": 16,
            "max_steps": 60,
            "learning_rate": 4e-4,
            "warmup_steps": 10,
            "eval_interval": 30,
        },
    ),
    "classify-lora": NamedRecipe(
        "the same with LoRA, an adapter of rank 4 and a head: 3.5 % of the weights are trained",
        "accuracy 0.94, as with all weights; val_loss 0.32 after 60 steps, in 15 seconds on one core",
        {
            "task": "text-classification",
            "init_from": "runs/bert-storyworld",
            "lora_rank": 4,
            "train_examples": 100,
            "batch_size": 16,
            "max_steps": 60,
            "learning_rate": 4e-3,
            "warmup_steps": 10,
            "eval_interval": 30,
        },
    ),
    "qa-storyworld": NamedRecipe(
        "that BERT learns to answer questions about a story; with a baseline from scratch",
        "exact match 74 from pretrained weights; 20 from random ones, as much as never answering; val_loss 0.31 after "
        "255 steps, in 3 minutes, both together",
        {
            "task": "question-answering",
            "init_from": "runs/bert-storyworld",
            "compare": True,
            "train_examples": 8000,
            "batch_size": 32,
            "optimizer": "muon",
            "learning_rate": 3e-3,
            "max_steps": 255,
            "warmup_steps": 40,
            "eval_interval": 255,
        },
    ),
    "ner-storyworld": NamedRecipe(
        "that BERT learns to find heroes, other persons, things and places, from 100 stories that the generator tagged",
        "entity F1 0.89 on 500 held-out stories (each word's most frequent label: 0.75); val_loss 0.05 after 100 steps "
        "(one seed)",
        {
            "task": "token-classification",
            "data": "storyworld:400",
            "init_from": "runs/bert-storyworld",
            "train_examples": 100,
            "batch_size": 16,
            "optimizer": "muon",
            "learning_rate": 3e-3,
            "max_steps": 100,
            "warmup_steps": 10,
            "eval_interval": 100,
        },
    ),
    "translate-storyworld": NamedRecipe(
        "a small Transformer translates the stories' sentences from German into English",
        "BLEU 97.4 on sentences never seen; val_loss 0.16 after 800 steps, in 2.5 minutes",
        {
            "task": "translation",
            "model": "transformer-laptop",
            "batch_size": 64,
            "optimizer": "muon",
            "learning_rate": 6e-3,
            "max_steps": 800,
            "eval_interval": 400,
            "label_smoothing": 0.1,
        },
    ),
    "summarize-storyworld": NamedRecipe(
        "a small Transformer summarizes a story in one sentence",
        "ROUGE-L 0.999; val_loss 0.11 after 600 steps, in 2.5 minutes",
        {
            "task": "summarization",
            "model": "transformer-laptop",
            "context_length": 224,
            "vocab_size": 2048,
            "batch_size": 32,
            "optimizer": "muon",
            "learning_rate": 6e-3,
            "max_steps": 600,
            "eval_interval": 300,
            "label_smoothing": 0.1,
        },
    ),
    "chat-storyworld": NamedRecipe(
        "a small GPT answers instructions: tell, continue, summarize, translate, answer",
        "0.26 of the answers word for word, ROUGE-L 0.53; val_loss 0.47 after 800 steps, in 10 minutes on one core",
        {
            "task": "instruction-tuning",
            "model": "llama-laptop",
            "context_length": 256,
            "optimizer": "muon",
            "learning_rate": 6e-3,
            "vocab_size": 2048,
            "max_steps": 800,
            "batch_size": 32,
            "eval_interval": 400,
        },
    ),
    "chat-calculator": NamedRecipe(
        "a small GPT answers questions with numbers: it cannot multiply, but learns to ask a calculator",
        "0.83 of 300 answers word for word, with the calculator; val_loss 0.023 after 700 steps (one seed), in 9 "
        "minutes on one busy core",
        {
            "task": "instruction-tuning",
            "data": "calculator",
            "model": "modern-laptop",
            "d_model": 64,
            "context_length": 384,
            "vocab_size": 340,
            "optimizer": "muon",
            "learning_rate": 1.5e-2,
            "schedule": "linear",
            "min_lr_ratio": 0.0,
            "warmup_steps": 20,
            "max_steps": 700,
            "eval_interval": 350,
        },
    ),
    "retrieve-storyworld": NamedRecipe(
        "that BERT learns vectors by which a question finds the story that answers it",
        "recall@1 0.96 to 0.98 of 222 held-out stories (before 0.03; BM25, without a model: 0.93); val_loss 0.016 to "
        "0.018 after 200 steps, in 3 minutes on one core (two seeds)",
        {
            "task": "text-embedding",
            "init_from": "runs/bert-storyworld",
            "batch_size": 64,
            "n_passages": 64,
            "optimizer": "muon",
            "learning_rate": 3e-3,
            "max_steps": 200,
            "warmup_steps": 20,
            "eval_interval": 100,
        },
    ),
    "dpo-storyworld": NamedRecipe(
        "storyworld-gpt learns from pairs of stories, one of which was preferred by a reader who likes happy endings",
        "chosen has the higher reward in 0.98 of 126 held-out pairs, and is more probable in 0.70 of them; val_loss "
        "0.06 after 150 steps (one seed), in 5 minutes on one core",
        {
            "task": "preference-optimization",
            "init_from": "storyworld-gpt",
            "batch_size": 16,
            "max_steps": 150,
            "learning_rate": 3e-4,
            "weight_decay": 0.0,
            "warmup_steps": 15,
            "eval_interval": 50,
            "beta": 1.0,
        },
    ),
    "rl-storyworld": NamedRecipe(
        "storyworld-gpt learns which stories the world allows, from its own attempts and a verifier",
        "0.93 to 0.95 of a story is allowed (n = 256; before 0.80 to 0.84), all texts different, KL 3 to 4 nats per "
        "story; val_loss -0.90 to -0.95 after 80 steps (two seeds), in 4 minutes on one busy core",
        {
            "task": "reinforcement-learning",
            "init_from": "storyworld-gpt",
            "batch_size": 32,
            "group_size": 32,
            "max_new_tokens": 224,
            "max_steps": 80,
            "learning_rate": 5e-4,
            "weight_decay": 0.0,
            "warmup_steps": 4,
            "eval_interval": 40,
            "beta": 0.01,
        },
    ),
    "sums": NamedRecipe(
        "a tiny GPT imitates pupils who are too lazy to add: what rl-sums starts from",
        "right in one column with probability 0.28 to 0.29 (its pupils: 0.29), in all eight with 0.00005 to 0.00006 "
        "(four seeds); val_loss 1.55 after 600 steps, in 1 minute on one core",
        {
            "data": "sums",
            "tokenizer": "char",
            "rows": "documents",
            "n_layers": 2,
            "n_heads": 4,
            "d_model": 64,
            "context_length": 28,
            "batch_size": 64,
            "optimizer": "muon",
            "learning_rate": 1.5e-2,
            "schedule": "linear",
            "min_lr_ratio": 0.0,
            "max_steps": 600,
            "warmup_steps": 30,
            "eval_interval": 300,
            "prompt": "47000000+85000000=",
        },
    ),
    "rl-sums": NamedRecipe(
        "that GPT learns to add from a verifier of its own attempts, a few easy sums among them",
        "0.95 to 1.00 of 256 held-out sums are right (before 0.00; four seeds, each with its start); val_loss -0.98 "
        "to -1.00 after 100 steps, in 1 minute on one core",
        {
            "task": "reinforcement-learning",
            "data": "sums",
            "init_from": "runs/sums",
            "batch_size": 256,
            "group_size": 16,
            "max_new_tokens": 9,
            "max_steps": 100,
            "learning_rate": 1e-3,
            "min_lr_ratio": 1.0,
            "weight_decay": 0.0,
            "warmup_steps": 4,
            "eval_interval": 25,
            "beta": 0.0,
        },
    ),
    "translate-multi30k": NamedRecipe(
        "a Transformer of 9M parameters translates captions of photographs from German into English (Multi30k)",
        "BLEU 39.2 on test_2016_flickr after 1,135 steps (5 epochs; val_loss 1.67), in half an hour",
        {
            "task": "translation",
            "data": "multi30k",
            "model": "transformer-small",
            "vocab_size": 10_000,
            "lowercase": True,
            "batch_size": 128,
            "max_steps": 1135,
            "optimizer": "muon",
            "learning_rate": 3e-3,
            "warmup_steps": 200,
            "label_smoothing": 0.1,
            "dropout": 0.2,
            "eval_interval": 227,
        },
    ),
    "classify-sst": NamedRecipe(
        "a small BERT, from random weights, rates movie reviews from very negative to very positive (SST-5)",
        "accuracy 0.39 (0.39, 0.39, 0.39 with three seeds; the most common class 0.25, naive Bayes 0.40); "
        "val_loss 1.39, in 1 minute",
        {
            "task": "text-classification",
            "data": "sst5",
            "model": "bert-laptop",
            "tokenizer": "wordpiece",
            "vocab_size": 8192,
            "lowercase": True,
            "batch_size": 32,
            "max_steps": 800,
            "learning_rate": 5e-4,
            "dropout": 0.3,
            "eval_interval": 100,
        },
    ),
    "qa-squad": NamedRecipe(
        "a BERT answers questions about Wikipedia articles, some of them without an answer (SQuAD 2.0), for a GPU",
        "for a GPU and a pretrained BERT (--init-from); not measured yet",
        {
            "task": "question-answering",
            "data": "squad2",
            "model": "bert-base",
            "tokenizer": "wordpiece",
            "vocab_size": 30_522,
            "lowercase": True,
            "batch_size": 32,
            "max_steps": 8000,
            "learning_rate": 5e-5,
            "warmup_steps": 800,
            "eval_interval": 1000,
        },
    ),
    "gpt2-wikitext2": NamedRecipe(
        "the 124M GPT-2 architecture from scratch on WikiText-2, for a GPU",
        "for a GPU; not measured yet",
        {
            "data": "wikitext2",
            "tokenizer": "gpt2",
            "model": "gpt2",
            "batch_size": 64,
            "gradient_accumulation_steps": 8,
            "max_steps": 2000,
            "learning_rate": 6e-4,
            "warmup_steps": 200,
            "dropout": 0.1,
            "beta2": 0.95,
        },
    ),
}


def named_recipe(name: str, **changes: Any) -> Recipe:
    """The recipe with this name, with some settings changed.

    If `init_from` is among the changes, the sizes and the tokenizer of that model replace those of the recipe.

    Raises:
        UserError: there is no recipe with that name, a setting is out of range, or it contradicts another one.
    """
    if name not in RECIPES:
        hint = nearest(name, RECIPES) or f"; {command('train', '--list')} describes them."
        raise UserError(f"there is no recipe {name!r} (available: {', '.join(RECIPES)}){hint}")
    settings = RECIPES[name].settings
    if changes.get("init_from") is not None:
        settings = {
            key: value for key, value in settings.items() if key not in (*MODEL_SIZES, *MODEL_PARTS, *SET_BY_INIT)
        }
    recipe = make_recipe(**{**settings, **changes})
    refuse_set_by_init(recipe, changes)
    return recipe


def or_from_shipped(recipe: Recipe, say: Callable[[str], None]) -> Recipe:
    """A named recipe that can start: if the run that it starts from does not exist, it starts from a shipped model.

    Args:
        recipe: a result of `named_recipe`, without an `init_from` of the user's own.
        say: called with a sentence if it is changed.
    """
    run = recipe.model.init_from
    if run not in SHIPPED or Path(run).exists():
        return recipe
    say(f"{run} is not there, so this run starts from {SHIPPED[run]}, which comes with llmasos; to start from a model "
        f"of your own, first run: {command('train', Path(run).name)}")  # fmt: skip
    return recipe.replace(init_from=SHIPPED[run])
