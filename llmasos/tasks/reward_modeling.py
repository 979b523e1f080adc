"""Reward modeling: a model of any family learns how good an answer is (Ouyang et al. 2022, section 3.5).

    prompts, each with a chosen and a rejected answer → token ids → any family with one number on top → Bradley–Terry

The metric is the fraction of held-out pairs that are ranked right. A trained reward model can serve as the `--reward`
of reinforcement learning.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import torch

from llmasos.capabilities import check_capability
from llmasos.datasets import Preference, Splits
from llmasos.evaluation import choose_mistakes, proportion, show_mistakes
from llmasos.models import Model, ModelConfig
from llmasos.nn import eval_mode
from llmasos.objectives import EncodedComparison, RewardModeling, collate_inputs
from llmasos.objectives.classification import encode_texts
from llmasos.tasks.example_task import ExampleTask
from llmasos.tasks.task import Report
from llmasos.tokenizers import EncodedInput, Tokenizer
from llmasos.training.recipe import Recipe


class RewardModelTraining(ExampleTask):
    """Learn to score answers."""

    unit = example_name = "pairs"
    objective: RewardModeling

    @classmethod
    def texts(cls, data: Splits) -> Iterable[str]:
        for example in data.train:
            yield from (example.prompt, example.chosen, example.rejected)

    @classmethod
    def make_objective(cls, recipe: Recipe, tokenizer: Tokenizer, config: ModelConfig) -> RewardModeling:
        return RewardModeling(tokenizer)

    def encode(self, example: Preference) -> EncodedComparison:
        encoded = encode_answers(self.tokenizer, self.config, [example.prompt] * 2, [example.chosen, example.rejected])
        return EncodedComparison(*encoded)

    def length(self, encoded: EncodedComparison) -> int:
        return max(len(inputs.ids) for inputs in encoded)

    def sample(self, model: Model) -> str:
        example = self.split("val")[0]
        chosen, rejected = score(model, self.tokenizer, [example.prompt] * 2, [example.chosen, example.rejected])
        return f"chosen {chosen:.2f}, rejected {rejected:.2f}: {example.prompt} … {example.chosen}"

    def evaluate(self, model: Model, split: str = "val") -> Report:
        examples = self.split(split)
        prompts = [example.prompt for example in examples]
        chosen, rejected = (
            np.array(score(model, self.tokenizer, prompts, texts))
            for texts in ([e.chosen for e in examples], [e.rejected for e in examples])
        )
        correct = chosen > rejected
        mistakes = show_mistakes(
            choose_mistakes((~correct).tolist(), rejected - chosen, n=3),
            [prompt or "(a new text)" for prompt in prompts],
            [example.chosen for example in examples],
            [example.rejected for example in examples],
            width=300,
        )
        metric = proportion("pairs ranked right", int(correct.sum()), len(correct))
        return Report([metric], mistakes=mistakes, outcomes=correct)


def score(
    model: Model, tokenizer: Tokenizer, prompts: Sequence[str], texts: Sequence[str], batch_size: int = 64
) -> list[float]:
    """The reward of each answer.

    Args:
        model: a `RewardModel`, on any device, in any mode.
        tokenizer: the one it was trained with.
        prompts, texts: N prompts with an answer to each. The middle of those longer than the context is left out.
        batch_size: the number of texts computed at once; only affects speed and memory.

    Raises:
        UserError: the model is not a reward model.
    """
    check_capability("scoring", model.config.family, model.config.head)
    inputs = encode_answers(tokenizer, model.config, prompts, texts)
    device = next(model.parameters()).device
    rewards: list[float] = []
    with eval_mode(model), torch.inference_mode():
        for start in range(0, len(inputs), batch_size):
            batch = collate_inputs(inputs[start : start + batch_size], tokenizer.pad_id)
            rewards += model(*(batch[name].to(device) for name in ("ids", "attention_mask", "segments"))).tolist()
    return rewards


def encode_answers(
    tokenizer: Tokenizer, config: ModelConfig, prompts: Sequence[str], texts: Sequence[str]
) -> list[EncodedInput]:
    """Prompts with their answers as the inputs of a reward model; an empty prompt is left out."""
    pairs = [[prompt, text] if prompt else [text] for prompt, text in zip(prompts, texts, strict=True)]
    return [encode_texts(tokenizer, pair, config.context_length)[0] for pair in pairs]
