"""Text regression: a number for each text, or for a pair of texts (Devlin et al. 2019, section 4.1, on STS-B).

    texts with numbers → token ids → any family with one number on top → mean squared error, correlations

The error comes with a baseline that reads nothing: the mean of the training texts' numbers. The correlations show
whether the order is right, which matters for a cross-encoder that ranks passages.
"""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from llmasos.datasets import ScoredText, Splits
from llmasos.evaluation import choose_mistakes, mean, show_mistakes
from llmasos.evaluation.correlation import correlations
from llmasos.models import Model, ModelConfig
from llmasos.objectives import EncodedScore, Regression
from llmasos.tasks.example_task import ExampleTask
from llmasos.tasks.reward_modeling import score
from llmasos.tasks.task import Report
from llmasos.tokenizers import Tokenizer
from llmasos.training.recipe import Recipe

FAR = 5.0  # distance from 0 that the first outputs of a new head with small steps reach only slowly


class TextRegression(ExampleTask):
    """Give each text a number."""

    unit = example_name = "texts"
    objective: Regression

    @classmethod
    def texts(cls, data: Splits) -> Iterable[str]:
        for example in data.train:
            yield from (text for text in (example.text, example.second) if text is not None)

    @classmethod
    def make_objective(cls, recipe: Recipe, tokenizer: Tokenizer, config: ModelConfig) -> Regression:
        return Regression(tokenizer)

    def encode(self, example: ScoredText) -> EncodedScore:
        return self.objective.encode(example.text, example.second, example.score, self.config.context_length)

    def length(self, encoded: EncodedScore) -> int:
        return len(encoded.inputs.ids)

    def summarize_data(self) -> list[str]:
        scores = np.array([example.score for example in self.split("train")])
        low, high, center, spread = scores.min(), scores.max(), scores.mean(), scores.std()
        lines = [*super().summarize_data(), f"numbers  {low:g} to {high:g}, mean {center:.3g}, spread {spread:.3g}"]
        if max(abs(center), spread) > FAR:
            lines.append(
                "note     a model learns numbers near 0 faster: subtract the mean of yours, and divide by their spread"
            )
        return lines

    def sample(self, model: Model) -> str:
        example = self.split("val")[0]
        return f"{predict_scores(model, self.tokenizer, [example])[0]:.3f} for {example.score:g}: {example.text}"

    def describe_loss(self, val_loss: float) -> str:
        return f"val_loss {val_loss:.4f} (the mean squared error over the whole validation split)"

    def evaluate(self, model: Model, split: str = "val") -> Report:
        examples = self.split(split)
        references = np.array([example.score for example in examples])
        predictions = np.array(predict_scores(model, self.tokenizer, examples))
        errors = (predictions - references) ** 2
        center = np.mean([example.score for example in self.split("train")]) if self.data.train else references.mean()
        metrics = [
            mean("mean squared error", errors),
            replace(mean("baseline", (references - center) ** 2), note="always the mean"),
            *correlations(predictions.tolist(), references.tolist()),
        ]
        mistakes = show_mistakes(
            choose_mistakes([True] * len(examples), errors, n=3),
            [" | ".join(filter(None, (example.text, example.second))) for example in examples],
            [f"{number:g}" for number in references],
            [f"{number:.3f}" for number in predictions],
            width=300,
        )
        return Report(metrics, mistakes=mistakes, outcomes=errors)


def predict_scores(model: Model, tokenizer: Tokenizer, examples: list[ScoredText]) -> list[float]:
    """The model's number for each text, or pair of texts."""
    prompts, texts = [], []
    for example in examples:  # `score` reads a prompt before the text
        prompts.append("" if example.second is None else example.text)
        texts.append(example.text if example.second is None else example.second)
    return score(model, tokenizer, prompts, texts)
