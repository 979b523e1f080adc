"""Text embedding: a model of any family learns vectors by which a query finds its passage (Reimers & Gurevych 2019).

    queries, each with its passage → token ids → any family → mean over tokens → InfoNCE within groups of pairs

The metrics are recall@k and MRR: each held-out query is compared with all held-out passages, exactly. The baseline is
BM25 on the same passages, which needs no model.

`embed` pools the hidden states of any model, trained for this or not, over the tokens of a text (section 3).
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from llmasos.console import Say
from llmasos.datasets import Splits
from llmasos.datasets.examples import Query
from llmasos.errors import UserError
from llmasos.evaluation import choose_mistakes, mean_reciprocal_rank, recall_at_k, retrieval_ranks, show_mistakes
from llmasos.models import Model, ModelConfig
from llmasos.models.base import Backbone
from llmasos.models.pooling import pool
from llmasos.nn import eval_mode
from llmasos.objectives.contrastive import Contrastive, EncodedQuery
from llmasos.objectives.objective import collate_inputs
from llmasos.retrieval import BM25
from llmasos.tasks.example_task import ExampleTask
from llmasos.tasks.task import Report
from llmasos.tokenizers import EncodedInput, Tokenizer
from llmasos.training.recipe import Recipe

POOLING = ("mean", "max", "first", "last", "pooled")


class TextEmbedding(ExampleTask):
    """Learn to embed texts."""

    unit = example_name = "queries"
    sample_arguments = ("--prompt", "TEXT", "--context", "text.txt")
    objective: Contrastive

    @classmethod
    def open_data(cls, recipe: Recipe, eval_only: bool = False) -> Splits:
        settings = recipe.training
        n_processes = torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1
        n_parts = settings.gradient_accumulation_steps * n_processes
        if not eval_only and settings.batch_size % (settings.n_passages * n_parts):
            raise UserError(
                f"batch_size {settings.batch_size} in {n_parts} equal part{'s' * (n_parts > 1)} (processes times "
                f"micro-batches) is not made of whole groups of n_passages {settings.n_passages}; make it a multiple "
                f"of {settings.n_passages * n_parts}."
            )
        return super().open_data(recipe, eval_only)

    @classmethod
    def texts(cls, data: Splits) -> Iterable[str]:
        for example in data.train:
            yield from (example.query, example.passage)

    @classmethod
    def make_objective(cls, recipe: Recipe, tokenizer: Tokenizer, config: ModelConfig) -> Contrastive:
        return Contrastive(tokenizer, recipe.training.contrastive_temperature, recipe.training.n_passages)

    def start_training(self, model: Model, say: Say) -> None:
        # A mean over tokens leaves out BERT's pooler, and data-parallel training requires a gradient of every weight.
        for name, parameter in model.named_parameters():
            if ".pooler." in name:
                parameter.requires_grad = False

    def encode(self, example: Query) -> EncodedQuery:
        n = self.config.context_length
        return EncodedQuery(*(encode_text(self.tokenizer, text, n) for text in (example.query, example.passage)))

    def length(self, encoded: EncodedQuery) -> int:
        return max(len(inputs.ids) for inputs in encoded)

    def sample(self, model: Model) -> str:
        query, scores, passages = self.search("val", model, n_queries=1)
        return f"{query[0]} → {passages[int(scores[0].argmax())]}"

    def search(
        self, split: str, model: Model | None, n_queries: int | None = None
    ) -> tuple[list[str], np.ndarray, list[str]]:
        """Compare the queries of a split with its passages.

        Args:
            split: the split of the data.
            model: the model that embeds the texts; None = BM25.
            n_queries: the number of queries to search with, the first ones; None = all.

        Returns:
            The queries (Q), their scores (Q, N), and the different passages (N).
        """
        examples = self.split(split)
        passages = list(dict.fromkeys(example.passage for example in examples))
        queries = [example.query for example in examples[:n_queries]]
        if model is None:
            index = BM25(passages)
            return queries, np.stack([index.scores(query) for query in queries]), passages
        vectors = embed(model, self.tokenizer, [*queries, *passages], pooling="mean")
        return queries, (vectors[: len(queries)] @ vectors[len(queries) :].T).numpy(), passages

    def evaluate(self, model: Model, split: str = "val") -> Report:
        queries, scores, passages = self.search(split, model)
        places = {passage: i for i, passage in enumerate(passages)}
        right = [places[example.passage] for example in self.split(split)]
        ranks = retrieval_ranks(scores, right)
        baseline = recall_at_k(retrieval_ranks(self.search(split, None)[1], right), 1)
        baseline = replace(baseline, name="BM25 recall@1", note=f"without a model; {len(passages):,} passages")
        metrics = [recall_at_k(ranks, 1), recall_at_k(ranks, 10), mean_reciprocal_rank(ranks), baseline]
        wrong = ranks > 1
        mistakes = show_mistakes(
            choose_mistakes(wrong.tolist(), ranks.tolist(), n=3),
            queries,
            [passages[i] for i in right],
            [passages[i] for i in scores.argmax(axis=1)],
            width=300,
        )
        return Report(metrics, mistakes=mistakes, outcomes=~wrong)


def embed(
    model: Model,
    tokenizer: Tokenizer,
    texts: Sequence[str | Sequence[int]],
    pooling: str | None = None,
    normalize: bool = True,
    batch_size: int = 64,
) -> Tensor:
    """One vector for each text: (N, C) in float32, on the CPU.

    Args:
        model: a model of any family, with any head.
        tokenizer: the tokenizer it was trained with.
        texts: N texts, as strings or token ids; those longer than the context are truncated.
        pooling: "mean" or "max" over the text's tokens, the "first" or the "last" of them, or "pooled", the family's
            own representation of a whole text (see `Backbone.pooled`); None = the model's recommendation, or "mean".
        normalize: scale every vector to unit length, so that the dot product of two is their cosine similarity.
        batch_size: the number of texts computed at once; only affects speed and memory.

    Raises:
        UserError: there is no such pooling, or the texts are a single string.
    """
    pooling = model.embedding_config.pooling if pooling is None else pooling
    if pooling not in POOLING:
        raise UserError(f"pooling is {pooling!r}; it must be {' or '.join(POOLING)}.")
    if isinstance(texts, str):
        raise UserError("the texts are one string; they must be a list of strings, for example [text].")
    backbone = cast(Backbone, getattr(model, "backbone", model))
    run = backbone.hidden_states if backbone is model else backbone
    encoded = [encode_text(tokenizer, text, longest_text(model)) for text in texts]
    order = sorted(range(len(encoded)), key=lambda i: len(encoded[i].ids))  # similar lengths together: little padding
    vectors = torch.zeros(len(encoded), model.config.d_model)
    device = next(model.parameters()).device
    with eval_mode(model), torch.inference_mode():
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            batch = {k: v.to(device) for k, v in collate_inputs([encoded[i] for i in rows], tokenizer.pad_id).items()}
            mask = batch["attention_mask"]  # (B, T)
            hidden_states = run(batch["ids"], mask, batch["segments"])  # (B, T, C)
            pooled = backbone.pooled(hidden_states, mask) if pooling == "pooled" else pool(hidden_states, mask, pooling)
            vectors[rows] = pooled.float().cpu()
    return F.normalize(vectors, dim=-1) if normalize else vectors


def encode_text(tokenizer: Tokenizer, text: str | Sequence[int], max_length: int) -> EncodedInput:
    """Encode a text as a model's input, truncated to `max_length` tokens including special ones."""
    ids = tokenizer.encode(text) if isinstance(text, str) else list(text)
    return tokenizer.build_inputs(ids[: max_length - tokenizer.n_special_tokens(1)])


def longest_text(model: Model) -> int:
    """The maximum number of tokens of a text, including special ones."""
    return min(model.embedding_config.max_length or model.config.context_length, model.config.context_length)


def cosine(model: Model, tokenizer: Tokenizer, text: str, other: str) -> float:
    """The cosine of the vectors of two texts."""
    first, second = embed(model, tokenizer, [text, other])
    return float(first @ second)
