"""Text classification: which label does a text have? (Devlin et al. 2019, section 4.1; Radford et al. 2018, section 3)

    labeled texts → token ids → any family with a classifier on top → accuracy, macro-F1, confusion matrix

The accuracy comes with two baselines that need no neural network: the most frequent label, and a bag of words.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from llmasos.capabilities import check_capability
from llmasos.datasets import LabeledText, Splits
from llmasos.evaluation import (
    accuracy,
    bag_of_words_baseline,
    calibration_error,
    choose_mistakes,
    confusion_matrix,
    confusion_table,
    macro_f1,
    majority_baseline,
    show_mistakes,
)
from llmasos.evaluation.intervals import FEW
from llmasos.models import Model, ModelConfig
from llmasos.objectives import Classification, EncodedText
from llmasos.tasks.example_task import ExampleTask
from llmasos.tasks.task import Report, batches
from llmasos.tokenizers import Tokenizer
from llmasos.training.recipe import Recipe


class TextClassification(ExampleTask):
    """Give each text one of a fixed list of labels."""

    unit = example_name = "texts"
    objective: Classification

    @classmethod
    def texts(cls, data: Splits) -> Iterable[str]:
        for example in data.train:
            yield from (text for text in (example.text, example.second) if text is not None)

    @classmethod
    def make_config(cls, recipe: Recipe, data: Splits, tokenizer: Tokenizer, **changes: Any) -> ModelConfig:
        labels = tuple(sorted({example.label for example in data.train}))
        return super().make_config(recipe, data, tokenizer, labels=labels, **changes)

    @classmethod
    def make_objective(cls, recipe: Recipe, tokenizer: Tokenizer, config: ModelConfig) -> Classification:
        return Classification(tokenizer, config.labels)

    def encode(self, example: LabeledText) -> EncodedText:
        return self.objective.encode(example.text, example.second, example.label, self.config.context_length)

    def length(self, encoded: EncodedText) -> int:
        return len(encoded.inputs.ids)

    def problem(self, example: LabeledText) -> str:
        if example.label in self.config.labels:
            return ""
        return (
            f"the label {example.label!r} did not occur in training; the known ones are "
            f"{', '.join(self.config.labels)}: correct it, or train on examples that have it."
        )

    def summarize_data(self) -> list[str]:
        lines = [*super().summarize_data(), f"labels   {', '.join(self.config.labels)}"]
        examples = [*self.train.items, *self.val]
        if n_cut := sum(example.n_cut > 0 for example in examples):
            are, their = ("is", "its") if n_cut == 1 else ("are", "their")
            lines.append(
                f"cut      {n_cut:,} of {len(examples):,} texts {are} longer than the context of "
                f"{self.config.context_length} tokens; {their} middle is left out"
            )
        held_out, labels = self.split("val"), {example.label for example in self.split("val")}
        if len(held_out) < FEW or len(labels) < 2:
            same = f", all with the label {min(labels)!r}" if len(labels) == 1 else ""
            lines.append(
                f"note     {len(held_out):,} held out{same}: the numbers below say little; give more examples, or a "
                "second file to validate on"
            )
        return lines

    def sample(self, model: Model) -> str:
        example = self.split("val")[0]
        probabilities = classify(model, self.tokenizer, [(example.text, example.second)])[0]
        return f"{describe(probabilities, self.config.labels)}, label {example.label}: {example.text}"

    def evaluate(self, model: Model, split: str = "val") -> Report:
        examples = self.split(split)
        probabilities = classify(model, self.tokenizer, [(e.text, e.second) for e in examples])  # (N, n_labels)
        labels, references = self.config.labels, [example.label for example in examples]
        predictions = [labels[number] for number in probabilities.argmax(axis=1)]
        confidences = probabilities.max(axis=1)
        correct = np.array([a == b for a, b in zip(predictions, references, strict=True)])
        training = self.split("train") if self.data.train else []
        train_texts, train_labels = [example.text for example in training], [example.label for example in training]
        texts = [example.text for example in examples]
        metrics = [accuracy(predictions, references), majority_baseline(references, train_labels or None)]
        if training:
            metrics.append(bag_of_words_baseline(train_texts, train_labels, texts, references))
        metrics += [
            macro_f1(predictions, references, labels),
            calibration_error(confidences.tolist(), correct.tolist()),
        ]
        mistakes = choose_mistakes((~correct).tolist(), confidences, n=3)
        return Report(
            metrics,
            [confusion_table(confusion_matrix(predictions, references, labels), labels)],
            show_mistakes(mistakes, texts, references, predictions, confidences, width=300),
            correct,
        )


def classify(
    model: Model, tokenizer: Tokenizer, texts: Sequence[str | tuple[str, str | None]], batch_size: int = 64
) -> np.ndarray:
    """The probability of each label for each text: (N, n_labels), in the order of `model.config.labels`.

    Args:
        model: a `SequenceClassifier`, on any device, in any mode.
        tokenizer: the one it was trained with.
        texts: N texts, or pairs of texts. The middle of those longer than the context is left out.
        batch_size: the number of texts computed at once; only affects speed and memory.

    Raises:
        UserError: the model is not a classifier.
    """
    check_capability("classification", model.config.family, model.config.head)
    objective = Classification(tokenizer, model.config.labels)
    pairs = [(text, None) if isinstance(text, str) else text for text in texts]
    examples = [objective.encode(first, second, None, model.config.context_length) for first, second in pairs]
    probabilities = [
        model(batch["ids"], batch["attention_mask"], batch["segments"]).float().softmax(-1).cpu().numpy()
        for _, batch in batches(objective, examples, 0, model, batch_size)
    ]
    return np.concatenate(probabilities) if probabilities else np.zeros((0, len(model.config.labels)))


def describe(probabilities: np.ndarray, labels: Sequence[str]) -> str:
    """The most likely label and its probability.

    >>> describe(np.array([0.25, 0.75]), ["happy", "sad"])
    'sad (75%)'
    """
    best = int(probabilities.argmax())
    return f"{labels[best]} ({probabilities[best]:.0%})"
