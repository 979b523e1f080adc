"""Text classification: which label does a text have? (Devlin et al. 2019, section 4.1; Radford et al. 2018, section 3)

    labelled texts → frames → any family with a classifier on top → accuracy, macro-F1, confusion matrix

The score stands beside two that need no neural network: always the most frequent label, and a count of words.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from torch import nn

from llmasos.datasets import LabelledText
from llmasos.errors import UserError
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
from llmasos.models import ModelConfig
from llmasos.objectives import Classification, EncodedText
from llmasos.tasks.example_task import ExamplesTask
from llmasos.tasks.task import Report, batches
from llmasos.tokenizers import Tokenizer
from llmasos.training.recipe import Recipe


class TextClassification(ExamplesTask):
    """Give each text one of a fixed list of labels."""

    head = "classifier"
    unit = "texts"

    def __init__(self, recipe: Recipe, whole: bool = False):
        self.set_data(recipe, "labelled_text", eval_only=whole)

    def texts(self) -> Iterable[str]:
        for example in self.data.train:
            yield from (text for text in (example.text, example.second) if text is not None)

    def use(self, tokenizer: Tokenizer, config: ModelConfig | None = None) -> None:
        self.tokenizer = tokenizer
        labels = tuple(sorted({example.label for example in self.data.train}))
        self.config = config or self.model_config(self.recipe, tokenizer, labels=labels)
        self.objective = Classification(tokenizer, self.config.labels)

    def prepare(self) -> None:
        train, val = self.encoded("train"), self.encoded("val")
        self.set_examples(train, val, lambda example: len(example.inputs.ids), "texts")
        self.lines.append(f"labels   {', '.join(self.config.labels)}")
        if n_cut := sum(example.n_cut > 0 for example in [*train, *val]):
            self.lines.append(f"cut      {n_cut:,} texts are longer than the context and lose their middle")

    def problem(self, example: LabelledText) -> str:
        if example.label in self.config.labels:
            return ""
        return (
            f"the label {example.label!r} did not occur in training; the known ones are "
            f"{', '.join(self.config.labels)}: correct it, or train on examples that have it."
        )

    def encode(self, example: LabelledText) -> EncodedText:
        """An example as token ids."""
        return self.objective.encode(example.text, example.second, example.label, self.config.context_length)

    def sample(self, model: nn.Module) -> str:
        example = self.split("val")[0]
        probabilities = classify(model, self.tokenizer, [(example.text, example.second)])[0]
        return f"{describe(probabilities, self.config.labels)}, in truth {example.label}: {example.text}"

    def evaluate(self, model: nn.Module, split: str = "val") -> Report:
        examples = self.split(split)
        probabilities = classify(model, self.tokenizer, [(e.text, e.second) for e in examples])  # (N, n_labels)
        labels, truths = self.config.labels, [example.label for example in examples]
        chosen, confidences = probabilities.argmax(axis=1), probabilities.max(axis=1)
        answers = [labels[number] for number in chosen]
        right = np.array([answer == truth for answer, truth in zip(answers, truths, strict=True)])
        training = self.split("train") if self.data.train else []  # none with a file that is only to be measured on
        seen, seen_labels = [example.text for example in training], [example.label for example in training]
        texts = [example.text for example in examples]
        mistakes = choose_mistakes(~right, confidences, n=3)
        shown = show_mistakes(mistakes, texts, truths, answers, confidences, width=300)
        return Report(
            [
                accuracy(answers, truths),
                majority_baseline(truths, seen_labels or None),
                *([bag_of_words_baseline(seen, seen_labels, texts, truths)] if training else []),
                macro_f1(answers, truths, labels),
                calibration_error(confidences, right),
            ],
            [confusion_table(confusion_matrix(answers, truths, labels), labels)],
            shown,
            right,
        )


def classify(
    model: nn.Module, tokenizer: Tokenizer, texts: Sequence[str | tuple[str, str | None]], batch_size: int = 64
) -> np.ndarray:
    """The probability of each label for each text: (N, n_labels), in the order of `model.config.labels`.

    Args:
        model: a `SequenceClassifier`, on any device, in any mode.
        tokenizer: the one it was trained with.
        texts: N texts, or pairs of texts. What is longer than the context loses its middle.
        batch_size: how many are computed at once; changes speed and memory only.

    Raises:
        UserError: the model has no classifier.
    """
    if model.config.head != "classifier":
        raise UserError("the model has no classifier: train it on labelled texts first, or use one that has been.")
    objective = Classification(tokenizer, model.config.labels)
    pairs = [(text, None) if isinstance(text, str) else text for text in texts]
    examples = [objective.encode(first, second, None, model.config.context_length) for first, second in pairs]
    probabilities = [
        model(batch["ids"], batch["attention_mask"], batch["segments"]).float().softmax(-1).cpu().numpy()
        for _, batch in batches(objective, examples, 0, model, batch_size)
    ]
    return np.concatenate(probabilities) if probabilities else np.zeros((0, len(model.config.labels)))


def describe(probabilities: np.ndarray, labels: Sequence[str]) -> str:
    """The likeliest label and how sure the model is of it.

    >>> describe(np.array([0.25, 0.75]), ["happy", "sad"])
    'sad (75%)'
    """
    best = int(probabilities.argmax())
    return f"{labels[best]} ({probabilities[best]:.0%})"
