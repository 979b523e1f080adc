"""Reinforcement learning: a GPT generates texts, a reward scores them, and the model learns from its own attempts.

    prompts → groups of answers by the model itself → rewards → advantages → policy gradient

The reward is a function of a prompt and a text: one that comes with the library (`rewards/verifiers.py`), a Python
file of your own, a trained reward model, or, from Python, any function. `objectives/policy_gradient.py` has the
mathematics.

The metrics are measured on new answers to held-out prompts: the mean reward, and the fraction of different texts, both
also before training. The log also has the KL, how far the model has moved from the one that it started from.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from llmasos import hub
from llmasos.capabilities import check_capability
from llmasos.console import Say
from llmasos.datasets import Prompt, Splits
from llmasos.errors import UserError, nearest
from llmasos.evaluation import proportion
from llmasos.evaluation.intervals import mean
from llmasos.generation import SamplingOptions, generate
from llmasos.models import Model, ModelConfig
from llmasos.objectives import PolicyGradient
from llmasos.rewards import (
    VERIFIERS,
    PromptToAnswer,
    Reward,
    TrainingRollouts,
    ValidationRollouts,
    load_reward,
    reward_of,
)
from llmasos.tasks.example_task import ExampleTask
from llmasos.tasks.preference_optimization import check_reference, encode_prompt, length_problem, make_reference
from llmasos.tasks.reward_modeling import score
from llmasos.tasks.task import Report
from llmasos.tokenizers import Tokenizer
from llmasos.training.recipe import Recipe

N_VALIDATED, N_EVALUATED = 64, 256  # answers
MAX_SHOWN = 300  # characters of an answer in the report
PYTHON = "python:"  # the prefix, in a recipe, of the name of a function of the running program
FUNCTIONS: dict[str, Callable] = {}  # these functions, which cannot be stored in a recipe


class ReinforcementLearning(ExampleTask):
    """Learn to earn a high reward."""

    unit = "texts"
    example_name = "prompts"
    needs_reference = True
    objective: PolicyGradient

    @classmethod
    def open_data(cls, recipe: Recipe, eval_only: bool = False) -> Splits:
        make_reward(recipe)  # report an error in it before the work begins
        settings = recipe.training
        group = settings.group_size * settings.gradient_accumulation_steps
        if settings.batch_size % group:
            raise UserError(
                f"batch_size {settings.batch_size} is not a whole number of groups of {settings.group_size} answers in "
                f"each of {settings.gradient_accumulation_steps} micro-batches; make it a multiple of {group}."
            )
        return super().open_data(recipe, eval_only)

    @classmethod
    def texts(cls, data: Splits) -> Iterable[str]:
        return (example.text for example in data.train)

    @classmethod
    def make_config(cls, recipe: Recipe, data: Splits, tokenizer: Tokenizer, **changes: Any) -> ModelConfig:
        check_reference(recipe)
        return super().make_config(recipe, data, tokenizer, **changes)

    @classmethod
    def make_objective(cls, recipe: Recipe, tokenizer: Tokenizer, config: ModelConfig) -> PolicyGradient:
        return PolicyGradient(recipe.training.clip_range, recipe.training.beta)

    @cached_property
    def reward(self) -> Reward:
        """The reward function."""
        return make_reward(self.recipe)

    def start_training(self, model: Model, say: Say) -> None:
        reference = make_reference(self, model)
        for rollouts in (self.train, self.val):
            rollouts.policy, rollouts.reference = model, reference
        self.train.say = say

    def encode(self, example: Prompt) -> PromptToAnswer:
        return PromptToAnswer(example.text, tuple(encode_prompt(self.tokenizer, example.text)))

    def length(self, encoded: PromptToAnswer) -> int:
        return len(encoded.ids)

    def problem(self, example: Prompt) -> str:
        return length_problem(self.encode(example).ids, (), self.config.context_length - 1)

    def rollout_arguments(self, split: str) -> tuple:
        """The arguments that training and validation rollouts share."""
        settings = self.recipe.training
        return self.examples(split), self.tokenizer, self.reward, settings.max_new_tokens, settings.beta

    @cached_property
    def train(self) -> TrainingRollouts:  # type: ignore[override]  # examples that the model writes
        return TrainingRollouts(*self.rollout_arguments("train"), group_size=self.recipe.training.group_size)

    @cached_property
    def val(self) -> ValidationRollouts:
        return ValidationRollouts(*self.rollout_arguments("val"), n=N_VALIDATED)

    def summarize_data(self) -> list[str]:
        n_train, n_val = len(self.train.prompts), len(self.val.prompts)
        return [
            f"prompts  {n_train:,} to train on, {n_val:,} held out; in each step, "
            f"{self.recipe.training.batch_size // self.recipe.training.group_size} of them are answered "
            f"{self.recipe.training.group_size} times",
            f"reward   {self.reward.name}",
        ]

    @property
    def batch_unit(self) -> str:
        return "texts"

    def sample(self, model: Model) -> str:
        prompt = self.val.prompts[0]
        options = SamplingOptions(self.recipe.training.max_new_tokens, seed=self.recipe.training.seed)
        return prompt.text + generate(model, self.tokenizer, [prompt.ids], options)[0].text

    def evaluate(self, model: Model, split: str = "val") -> Report:
        """The mean reward of new answers, and the fraction of distinct ones."""
        prompts, answers, rewards = self.answers(model, split)
        worst = [f"{rewards[i]:.3g}: {prompts[i]}{answers[i]}"[:MAX_SHOWN] for i in np.argsort(rewards, kind="stable")]
        n_different = len(set(zip(prompts, answers, strict=True)))
        metrics = [mean("reward", rewards), proportion("different texts", n_different, len(answers))]
        return Report(metrics, mistakes=worst[:3], outcomes=rewards)

    def report(self, model: Model) -> Report:
        """The evaluation, with the same metrics for the model that training started from."""
        report, before = self.evaluate(model), self.evaluate(self.build_model().to(next(model.parameters()).device))
        pairs = zip(report.metrics, before.metrics, strict=True)
        metrics = [m for after, start in pairs for m in (after, replace(start, name=f"{start.name} before"))]
        return replace(report, metrics=metrics)

    def answers(self, model: Model, split: str) -> tuple[list[str], list[str], np.ndarray]:
        """Prompts of a split, N answers to them, and their rewards (N,): several to each if there are few prompts."""
        prompts = self.examples(split)[:N_EVALUATED]
        n_each = -(-N_EVALUATED // len(prompts))
        options = SamplingOptions(self.recipe.training.max_new_tokens, seed=self.recipe.training.seed)
        generations = generate(model, self.tokenizer, [prompt.ids for prompt in prompts], options, n_each)
        texts = [prompt.text for prompt in prompts for _ in range(n_each)]
        answers = [generation.text for generation in generations]
        return texts, answers, np.array(self.reward(texts, answers))

    def describe_loss(self, val_loss: float) -> str:
        return f"val_loss {val_loss:.4f} (minus the mean reward of held-out prompts, plus β times the KL in nats)"


def make_reward(recipe: Recipe) -> Reward:
    """The reward function that a recipe names.

    Raises:
        UserError: it names none and the dataset has none, or there is no such function.
    """
    settings = recipe.training
    name = settings.reward
    if name is None:
        name = recipe.data.source.partition(":")[0]
        if name not in VERIFIERS:
            raise UserError(
                f"{recipe.data.source} comes without a reward; write a function reward(prompt, text) in a Python "
                "file and name the file with --reward."
            )
    if name in VERIFIERS:
        return reward_of(VERIFIERS[name], f"the verifier of {name}", settings.reward_seconds)
    if name.startswith(PYTHON):
        if name not in FUNCTIONS:
            raise UserError(
                f"the reward of this run was the function {name.removeprefix(PYTHON)} of a Python program; only that "
                "program can continue it. Or name a Python file with --reward."
            )
        return reward_of(FUNCTIONS[name], None, settings.reward_seconds)
    if Path(name).is_dir():
        return model_reward(name, settings.reward_seconds)
    if not Path(name).suffix and not Path(name).exists():
        raise UserError(
            f"there is no reward, Python file or reward model {name!r} (rewards that come with llmasos: "
            f"{', '.join(VERIFIERS)}){nearest(name, VERIFIERS) or '.'}"
        )
    return load_reward(name, settings.reward_seconds)


def model_reward(folder: str, seconds: float) -> Reward:
    """Rewards from a trained reward model. Raises UserError if the folder holds another type of model."""
    model, tokenizer = hub.load_pretrained(folder)
    check_capability("scoring", model.config.family, model.config.head)

    def reward(prompts: Sequence[str], texts: Sequence[str]) -> list[float]:
        return score(model, tokenizer, prompts, texts)

    return reward_of(reward, f"the reward model {folder}", seconds)


def register_reward(function: Callable) -> str:
    """Make a function of the running program usable as a recipe's `reward`. Returns its name there."""
    name = f"{PYTHON}{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', type(function).__name__)}"
    FUNCTIONS[name] = function
    return name
