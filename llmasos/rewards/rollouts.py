"""Rollouts: answers written by the policy itself, as the examples of a training step.

    prompts of this step → G answers to each, by the cached decoder → rewards → advantages within the group of G

The training loop asks for examples by their index, and the model as it is at that moment writes them. Rows k·G … k·G +
G - 1 are the answers to prompt number k. Each token is drawn with a random number that is a function of (seed, row
number, position), so a step can be repeated, and two processes write what one would.

All answers are sampled from the policy's own distribution, at temperature 1 and without filters, because the gradient
is an expectation over this distribution.

Dimensions: N answers, G answers to one prompt, T length.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import nn

from llmasos.datasets import Examples
from llmasos.errors import UserError
from llmasos.generation import Decoder, SamplingOptions, SequenceState
from llmasos.generation.prompts import stop_ids
from llmasos.models import Model
from llmasos.nn import eval_mode
from llmasos.objectives import Rollout, collate_answers, leave_one_out_advantages
from llmasos.objectives.preferences import reference_log_probs
from llmasos.rewards.reward_function import Reward
from llmasos.tokenizers import Tokenizer


class PromptToAnswer(NamedTuple):
    """A prompt as text, for the reward, and as token ids, for the model: at least one, fewer than its context."""

    text: str
    ids: tuple[int, ...]


class RolloutSource:
    """What training and validation rollouts share.

    Args:
        prompts: at least one.
        tokenizer: the policy's.
        reward: scores the answers.
        max_new_tokens: maximum length of an answer; one that reaches the end of the context is shorter.
        beta: β, the weight of log π/π₀ in the advantages.
    """

    policy: Model
    reference: nn.Module

    def __init__(
        self, prompts: Sequence[PromptToAnswer], tokenizer: Tokenizer, reward: Reward, max_new_tokens: int, beta: float
    ):
        self.prompts, self.tokenizer, self.reward = prompts, tokenizer, reward
        self.max_new_tokens, self.beta = max_new_tokens, beta

    def write(
        self, prompts: Sequence[PromptToAnswer], samples: Sequence[int], seed: int, group_size: int
    ) -> list[Rollout]:
        """Let the policy answer each prompt once, and score the answers.

        Args:
            prompts: N prompts, in groups of `group_size` equal ones.
            samples: N numbers, which together with the seed determine the random numbers.
            seed: of the run.
            group_size: G.
        """
        sequences = write_rollouts(self.policy, self.tokenizer, prompts, samples, seed, self.max_new_tokens)
        stops = sequences[0].options.stop_token_ids
        finished = [sequence.ids[-1] in stops for sequence in sequences]
        texts = [
            self.tokenizer.decode(s.ids[:-1] if ended else s.ids, previous=s.prompt[-1])
            for s, ended in zip(sequences, finished, strict=True)
        ]
        rewards = self.reward([prompt.text for prompt in prompts], texts)
        kls = self.log_ratios(sequences)
        groups = torch.tensor(rewards).view(-1, group_size)  # (N / G, G)
        returns = groups - self.beta * torch.tensor(kls).view(-1, group_size)
        advantages = leave_one_out_advantages(returns).flatten() if group_size > 1 else torch.zeros(len(prompts))
        is_level = (groups == groups[:, :1]).all(dim=1).repeat_interleave(group_size)
        return [
            Rollout(
                prompts[i].ids,
                sequence.ids,
                sequence.logprobs,
                rewards[i],
                kls[i],
                float(advantages[i]),
                is_new=texts[i] not in texts[i // group_size * group_size : i],
                is_level=bool(is_level[i]),
                finished=finished[i],
            )
            for i, sequence in enumerate(sequences)
        ]

    def log_ratios(self, sequences: Sequence[SequenceState]) -> list[float]:
        """log π(y)/π₀(y) of each answer, in nats."""
        device = next(self.reference.parameters()).device
        ids, targets = (
            x.to(device) for x in collate_answers([s.prompt for s in sequences], [s.ids for s in sequences])
        )
        before = reference_log_probs(self.reference, ids, targets).sum(1).tolist()
        return [sum(sequence.logprobs) - b for sequence, b in zip(sequences, before, strict=True)]


class TrainingRollouts(RolloutSource):
    """Training examples in groups of answers to one prompt, the prompts in a new random order in each epoch.

    Args:
        group_size: G.
        others: as for `RolloutSource`.

    Attributes:
        policy, reference: set before the first example.
        say: prints a note, once, if a step has no group with different rewards.
    """

    def __init__(self, *others: Any, group_size: int):
        super().__init__(*others)
        self.group_size = group_size
        self.order = Examples(self.prompts)
        self.examples_per_epoch = len(self.prompts) * group_size
        self.say: Callable[[str], None] | None = None

    def example(self, seed: int, index: int) -> Rollout:
        """One answer; the others of its group are written, too."""
        first = index // self.group_size * self.group_size
        return self.examples(seed, range(first, first + self.group_size))[index - first]

    def examples(self, seed: int, indices: range) -> list[Rollout]:
        """The answers with these indices. Raises UserError if they are not whole groups."""
        G = self.group_size
        if indices.start % G or len(indices) % G:
            raise UserError(
                f"a micro-batch of a process has {len(indices)} rows, which do not form whole groups of {G} answers; "
                "make --batch-size a multiple of --group-size times the number of processes and micro-batches."
            )
        prompts = [self.order.example(seed, index // G) for index in indices]
        rollouts = self.write(prompts, indices, seed, G)
        if self.say and all(rollout.is_level for rollout in rollouts):
            self.say(
                f"note     all {G} answers to a prompt have the same reward ({rollouts[0].reward:g}) in every group of "
                "this step, so nothing is learned from them; if that lasts, choose easier prompts, a finer reward, or "
                "a larger --group-size."
            )
            self.say = None
        return rollouts


class ValidationRollouts(RolloutSource, Sequence[Rollout]):
    """Answers to fixed prompts with fixed random numbers, different from those in training.

    Args:
        n: the number of answers; the prompts are used in turn, from the first again if there are fewer.
        others: as for `RolloutSource`.
    """

    def __init__(self, *others: Any, n: int):
        super().__init__(*others)
        self.n = n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> Rollout:  # type: ignore[override]  # no slices
        return self.examples(0, range(index, index + 1))[0]

    def examples(self, seed: int, indices: Iterable[int]) -> list[Rollout]:
        """Some of the answers."""
        indices = list(indices)
        prompts = [self.prompts[index % len(self.prompts)] for index in indices]
        return self.write(prompts, [-1 - index for index in indices], seed, group_size=1)


@torch.inference_mode()
def write_rollouts(
    policy: Model,
    tokenizer: Tokenizer,
    prompts: Sequence[PromptToAnswer],
    samples: Sequence[int],
    seed: int,
    max_new_tokens: int,
) -> list[SequenceState]:
    """Continue N prompts, all in one batch, each until its end, its limit, or the end of the context.

    Args:
        policy, tokenizer: a GPT, in any mode, and its tokenizer.
        prompts, samples: N prompts, each with a number that together with the seed determines its random numbers.
        seed: the seed of the run.
        max_new_tokens: maximum length of each answer.

    Returns:
        N sequences with their tokens and log-probabilities; the last token of one that has ended is a stop token.
    """
    options = SamplingOptions(max_new_tokens, seed=seed)
    options = replace(options, stop_token_ids=stop_ids(policy, tokenizer, options))
    context = policy.config.context_length
    sequences = [
        SequenceState(
            prompt.ids, replace(options, max_new_tokens=min(max_new_tokens, context - len(prompt.ids))), sample
        )
        for prompt, sample in zip(prompts, samples, strict=True)
    ]
    with eval_mode(policy):
        decoder = Decoder(policy, sequences, tokenizer.vocab_size)
        while True:
            decoder.sample()
            decoder.keep([i for i, s in enumerate(decoder.sequences) if not is_over(s)])
            if not decoder.sequences:
                return sequences
            decoder.step()


def is_over(sequence: SequenceState) -> bool:
    """Whether a sequence has ended, or is as long as it may be."""
    options = sequence.options
    return sequence.ids[-1] in options.stop_token_ids or len(sequence.ids) == options.max_new_tokens
