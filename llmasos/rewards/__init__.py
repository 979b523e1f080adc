"""Rewards as plain functions of a prompt and a text, and their uses: groups of rollouts to learn from, best-of-n."""

from typing import TYPE_CHECKING

from llmasos.lazy import lazy_exports

if TYPE_CHECKING:  # each on first use
    from llmasos.rewards.best_of_n import best_of_n, best_of_n_kl, best_of_n_probabilities
    from llmasos.rewards.reward_function import Reward, load_reward, reward_of
    from llmasos.rewards.rollouts import PromptToAnswer, TrainingRollouts, ValidationRollouts, write_rollouts
    from llmasos.rewards.verifiers import VERIFIERS

__all__ = [
    "VERIFIERS",
    "PromptToAnswer",
    "Reward",
    "TrainingRollouts",
    "ValidationRollouts",
    "best_of_n",
    "best_of_n_kl",
    "best_of_n_probabilities",
    "load_reward",
    "reward_of",
    "write_rollouts",
]
lazy_exports(__name__)
