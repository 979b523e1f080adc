"""Preference optimization: a GPT learns which of two answers is preferred (Rafailov et al. 2023, "DPO").

    prompts, each with a chosen and a rejected answer → token ids → the model and its frozen reference → DPO's loss

The metric is the fraction of held-out pairs in which the chosen answer is the more probable one under the model. Many
other differences can make an answer more probable, so after training there is a second metric: the fraction of pairs in
which the chosen answer has the higher implicit reward β · log π/π₀, which is what DPO optimizes. The log also has the
margin of this reward, and how much more probable each answer has become.

A chat model (one whose tokenizer has the special tokens of a chat template) gets the prompt as a user's message; any
other model continues it unchanged. Reinforcement learning encodes its prompts in the same way.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from llmasos.console import Say
from llmasos.datasets import Preference, Splits
from llmasos.errors import UserError
from llmasos.evaluation import choose_mistakes, proportion, show_mistakes
from llmasos.generation import SamplingOptions, generate
from llmasos.models import Model, ModelConfig
from llmasos.objectives import DPO, EncodedPreference, frozen, token_log_probs
from llmasos.prompting import Message, template_of
from llmasos.prompting.chat_template import PLAIN
from llmasos.tasks.example_task import ExampleTask
from llmasos.tasks.task import Report, batches
from llmasos.tokenizers import Tokenizer
from llmasos.training.recipe import Recipe

SAMPLE_TOKENS = 60


class PreferenceOptimization(ExampleTask):
    """Learn to prefer one answer to another."""

    unit = example_name = "pairs"
    needs_reference = True
    objective: DPO

    @classmethod
    def texts(cls, data: Splits) -> Iterable[str]:
        for example in data.train:
            yield from (example.prompt, example.chosen, example.rejected)

    @classmethod
    def make_config(cls, recipe: Recipe, data: Splits, tokenizer: Tokenizer, **changes) -> ModelConfig:
        check_reference(recipe)
        return super().make_config(recipe, data, tokenizer, **changes)

    @classmethod
    def make_objective(cls, recipe: Recipe, tokenizer: Tokenizer, config: ModelConfig) -> DPO:
        if recipe.training.beta == 0:
            raise UserError("beta is 0, so preferences change nothing; it must be above 0, for example 0.1.")
        return DPO(recipe.training.beta)

    def start_training(self, model: Model, say: Say) -> None:
        self.objective.reference = make_reference(self, model)

    def encode(self, example: Preference) -> EncodedPreference:
        answers = [encode_answer(self.tokenizer, example.prompt, text) for text in (example.chosen, example.rejected)]
        return EncodedPreference(encode_prompt(self.tokenizer, example.prompt), *answers)

    def length(self, encoded: EncodedPreference) -> int:
        return len(encoded.prompt) + max(len(encoded.chosen), len(encoded.rejected))

    def problem(self, example: Preference) -> str:
        encoded = self.encode(example)
        return length_problem(encoded.prompt, (encoded.chosen, encoded.rejected), self.config.context_length)

    def sample(self, model: Model) -> str:
        prompt = self.split("val")[0].prompt
        options = SamplingOptions(SAMPLE_TOKENS, temperature=0.7, top_p=0.95, seed=self.recipe.training.seed)
        text = generate(model, self.tokenizer, [encode_prompt(self.tokenizer, prompt)], options)[0].text
        return f"{prompt}{text}"

    def evaluate(self, model: Model, split: str = "val") -> Report:
        """The fraction of pairs in which the chosen answer is more probable than the rejected one."""
        examples = self.split(split)
        encoded = [self.encode(example) for example in examples]
        margins = log_ratios(model, encoded)  # (N,)
        correct = margins > 0
        mistakes = choose_mistakes((~correct).tolist(), np.abs(margins), n=3)
        shown = show_mistakes(
            mistakes,
            [example.prompt or "(a new text)" for example in examples],
            [example.chosen for example in examples],
            [example.rejected for example in examples],
            width=300,
        )
        metrics = [proportion("chosen is more probable", int(correct.sum()), len(correct))]
        if (reference := getattr(self.objective, "reference", None)) is not None:  # after training
            rewards = margins - log_ratios(reference, encoded)
            metrics.append(proportion("chosen has the higher reward", int((rewards > 0).sum()), len(rewards)))
        return Report(metrics, mistakes=shown, outcomes=correct)


def log_ratios(model: Model, examples: Sequence[EncodedPreference]) -> np.ndarray:
    """log p(chosen) - log p(rejected) of each pair (N,), in nats."""
    margins: list[float] = []
    for _, batch in batches(DPO(1.0), examples, 0, model, batch_size=32):
        chosen, rejected = token_log_probs(model, batch["ids"], batch["targets"]).sum(1).chunk(2)
        margins += (chosen - rejected).tolist()
    return np.array(margins)


def encode_prompt(tokenizer: Tokenizer, prompt: str) -> list[int]:
    """The ids of a prompt, at least one; an empty one begins a new text."""
    template = template_of(tokenizer)
    if template.name == PLAIN or not prompt:
        return tokenizer.encode_prompt(prompt)
    return list(template.encode(tokenizer, [Message("user", prompt)]).ids)


def encode_answer(tokenizer: Tokenizer, prompt: str, answer: str) -> list[int]:
    """The ids of an answer to that prompt, with the token that ends it."""
    template = template_of(tokenizer)
    if template.name == PLAIN or not prompt:
        return [*tokenizer.encode(answer), tokenizer.end_of_text]
    return [*tokenizer.encode(answer.strip()), tokenizer.special_tokens[template.end]]


def length_problem(prompt: Sequence[int], answers: Sequence[Sequence[int]], context_length: int) -> str:
    """Explain in a sentence why a model cannot read a prompt with these answers; "" if it can."""
    longest = max(map(len, answers), default=1)
    if len(prompt) + longest - 1 <= context_length:
        return ""
    if not answers:
        return (
            f"the prompt has {len(prompt)} tokens and the model's context {context_length}, so there is no room for an "
            "answer: shorten it, or use a model with a longer context."
        )
    return (
        f"the prompt with the longer answer has {len(prompt) + longest - 1} tokens and the model's context "
        f"{context_length}: shorten them, or use a model with a longer context."
    )


def check_reference(recipe: Recipe) -> None:
    """Raise UserError if a recipe names no model to start from; that model is also the reference."""
    if recipe.model.init_from is None or not recipe.model.init_weights:
        raise UserError(
            f"the task {recipe.task} improves a model that can already write, and stays near it: name that model with "
            "--init-from, for example --init-from storyworld-gpt."
        )


def make_reference(task: ExampleTask, model: Model) -> Model:
    """A frozen copy of the model that training starts from (`--init-from`), on the device of `model`."""
    device = next(model.parameters()).device
    return frozen(task.build_model().to(device))  # type: ignore[return-value]  # a Model stays a Model
