"""Token classification: which words of a text are names, and of what? (Tjong Kim Sang & De Meulder 2003)

    texts with labeled words → token ids → any family with a classifier on every token → F1 over whole names

The F1 comes with a baseline that needs no neural network: each word with the label that it had most often.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from llmasos.capabilities import check_capability
from llmasos.datasets import Splits, TaggedText
from llmasos.datasets.tagging import LABEL, OUTSIDE, Span, bio_labels, entity_spans, types_of, word_spans
from llmasos.evaluation import (
    accuracy,
    choose_mistakes,
    entity_counts,
    entity_metrics,
    entity_table,
    most_frequent_labels,
    per_entity_type,
    show_mistakes,
)
from llmasos.models import Model, ModelConfig
from llmasos.objectives import TextWindow, TokenClassification
from llmasos.tasks.example_task import ExampleTask
from llmasos.tasks.task import Report, batches
from llmasos.tokenizers import Tokenizer
from llmasos.training.recipe import Recipe


class Entity(NamedTuple):
    """A name in a text: `text[start:end]` is its words."""

    text: str
    label: str  # its type, such as "PER"
    start: int  # in characters
    end: int
    score: float  # the mean probability of its words' labels


class TokenClassificationTask(ExampleTask):
    """Label the words of a text that are names."""

    unit = "words"
    example_name = "texts"
    objective: TokenClassification

    @classmethod
    def texts(cls, data: Splits) -> Iterable[str]:
        for example in data.train:
            yield example.text

    @classmethod
    def make_config(cls, recipe: Recipe, data: Splits, tokenizer: Tokenizer, **changes: Any) -> ModelConfig:
        labels = bio_labels(type for example in data.train for type in types_of(example.labels))
        return super().make_config(recipe, data, tokenizer, labels=labels, **changes)

    @classmethod
    def make_objective(cls, recipe: Recipe, tokenizer: Tokenizer, config: ModelConfig) -> TokenClassification:
        return TokenClassification(tokenizer, config.labels)

    def encode(self, example: TaggedText) -> list[TextWindow]:
        """All windows of a text."""
        return self.objective.encode(example, self.config.context_length)

    def examples(self, split: str) -> list[TextWindow]:
        return [window for example in self.split(split) for window in self.encode(example) if window.words]

    def length(self, encoded: TextWindow) -> int:
        return len(encoded.inputs.ids)

    def problem(self, example: TaggedText) -> str:
        known = types_of(self.config.labels)
        if not (unknown := sorted(types_of(example.labels) - known)):
            return ""
        return (
            f"it has a name of the type {unknown[0]!r}, which did not occur in training; the known ones are "
            f"{', '.join(sorted(known))}: correct it, or train on examples that have it."
        )

    def summarize_data(self) -> list[str]:
        n_train, n_val = (sum(map(n_entities, self.split(split))) for split in ("train", "val"))
        return [
            *super().summarize_data(),
            f"names    {n_train:,} to train on, {n_val:,} held out: {', '.join(sorted(types_of(self.config.labels)))}",
        ]

    def sample(self, model: Model) -> str:
        example = self.split("val")[0]
        [(labels, _)] = label_words(model, self.tokenizer, [example])
        return f"{describe_entities(example, labels)}   [reference: {describe_entities(example, example.labels)}]"

    def evaluate(self, model: Model, split: str = "val") -> Report:
        examples = self.split(split)
        predictions = [labels for labels, _ in label_words(model, self.tokenizer, examples)]
        references = [list(example.labels) for example in examples]
        metrics = entity_metrics(predictions, references)
        if self.data.train:
            training = [(words_of(example), example.labels) for example in self.split("train")]
            baseline = most_frequent_labels(training, [words_of(example) for example in examples])
            note = "each word's most frequent label"
            f1 = entity_metrics(baseline, references, note)[0]
            metrics.insert(1, replace(f1, name="baseline F1"))
        metrics.append(accuracy(sum(predictions, []), sum(references, []), "accuracy per word"))
        counts = entity_counts(predictions, references)
        n_wrong = counts[:, 1] + counts[:, 2] - 2 * counts[:, 0]
        return Report(
            metrics,
            [entity_table(per_entity_type(predictions, references))],
            show_mistakes(
                choose_mistakes((n_wrong > 0).tolist(), n_wrong, n=3),
                [example.text for example in examples],
                [describe_entities(example, example.labels) for example in examples],
                [describe_entities(*pair) for pair in zip(examples, predictions, strict=True)],
                width=300,
            ),
        )


def label_words(
    model: Model, tokenizer: Tokenizer, texts: Sequence[TaggedText], batch_size: int = 64
) -> list[tuple[list[str], np.ndarray]]:
    """The most likely label of each word of each text, and its probability.

    Args:
        model: a `TokenClassifier`, on any device, in any mode.
        tokenizer: the one it was trained with.
        texts: texts with the positions of their words; their labels are ignored. They may be longer than the context.
        batch_size: the number of windows computed at once; only affects speed and memory.

    Raises:
        UserError: the model is not a token classifier.
    """
    check_capability("token-classification", model.config.family, model.config.head)
    names, length = model.config.labels, model.config.context_length
    objective = TokenClassification(tokenizer, names)
    results = [([OUTSIDE] * len(text.words), np.ones(len(text.words))) for text in texts]
    windows = [(n, window) for n, text in enumerate(texts) for window in objective.encode(text, length)]
    windows.sort(key=lambda pair: len(pair[1].inputs.ids))
    owners = iter(windows)
    for chunk, batch in batches(objective, [window for _, window in windows], 0, model, batch_size):
        logits = model(batch["ids"], batch["attention_mask"], batch["segments"])  # (B, T, n_labels)
        probabilities, best = (tensor.cpu().numpy() for tensor in logits.float().softmax(-1).max(-1))  # (B, T) each
        for row, window in enumerate(chunk):
            labels, confidences = results[next(owners)[0]]
            for word, position in zip(window.words, window.positions, strict=True):
                labels[word] = names[best[row, position]]
                confidences[word] = probabilities[row, position]
    return results


def find_entities(model: Model, tokenizer: Tokenizer, texts: Sequence[str], batch_size: int = 64) -> list[list[Entity]]:
    """The names in each text, in order, with their places in characters; see `label_words`.

    If the model's labels are not those of names (but parts of speech, say), each word is returned with its label.
    """
    examples = [unlabeled(text) for text in texts]
    has_names = any(label != OUTSIDE and LABEL.fullmatch(label) for label in model.config.labels)
    results = []
    for example, (labels, probabilities) in zip(
        examples, label_words(model, tokenizer, examples, batch_size), strict=True
    ):
        entities = []
        every_word = [Span(label, word, word + 1) for word, label in enumerate(labels)]
        for type, first, last in entity_spans(labels) if has_names else every_word:
            start, end = example.words[first][0], example.words[last - 1][1]
            score = float(probabilities[first:last].mean())
            entities.append(Entity(example.text[start:end], type, start, end, score))
        results.append(entities)
    return results


def unlabeled(text: str) -> TaggedText:
    """A text with the places of its words, for prediction."""
    words = word_spans(text)
    return TaggedText(text, tuple(words), (OUTSIDE,) * len(words))


def words_of(example: TaggedText) -> list[str]:
    """The words of a text."""
    return [example.text[start:end] for start, end in example.words]


def n_entities(example: TaggedText) -> int:
    """The number of names in a text, by its labels."""
    return len(entity_spans(example.labels))


def describe_entities(example: TaggedText, labels: Sequence[str]) -> str:
    """The names in a text, for a person.

    >>> describe_entities(unlabeled("Anna saw Aunt Berta."), ["B-PER", "O", "B-PER", "I-PER", "O"])
    'Anna (PER), Aunt Berta (PER)'
    """
    names = []
    for type, first, last in entity_spans(labels):
        start, end = example.words[first][0], example.words[last - 1][1]
        names.append(f"{example.text[start:end]} ({type})")
    return ", ".join(names) or "(no name)"
