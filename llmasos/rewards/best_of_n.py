"""Best-of-n: generate n answers and keep the one with the highest reward (Stiennon et al. 2020, section 4.3).

No training is needed, and n is the only parameter. Let F be the fraction of the model's answers with a lower reward. If
no two have the same, the best of n answers has the density n · F^(n-1) times the model's own, hence

    KL(best of n ‖ model)  =  ln n - (n - 1)/n

With equal rewards, where ties are broken at random, the KL is smaller, and the formula is an upper bound (Beirami et
al. 2024, "Theoretical guarantees on the best-of-n alignment policy", theorem 1). It grows slowly: 0.64 nats
for 4 answers, 1.84 for 16, 4.55 for 256.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from llmasos.errors import check_number
from llmasos.generation import Generation, SamplingOptions, generate
from llmasos.models import Model
from llmasos.rewards.reward_function import Reward, reward_of
from llmasos.tokenizers import Tokenizer


def best_of_n(
    model: Model,
    tokenizer: Tokenizer,
    prompts: Sequence[str],
    reward: Reward | Callable,
    n: int,
    options: SamplingOptions | None = None,
) -> list[Generation]:
    """Return the best of n continuations for each prompt; if several are equally good, the first.

    Args:
        model, tokenizer, prompts, options: as for `generate`.
        reward: a function of a prompt and a text.
        n: the number of continuations generated for each prompt.

    Raises:
        UserError: as `generate` and `Reward`.
    """
    check_number("n", n, whole=True, at_least=1)
    scored = reward if isinstance(reward, Reward) else reward_of(reward)
    generations = generate(model, tokenizer, prompts, options, n)
    rewards = scored([prompt for prompt in prompts for _ in range(n)], [g.text for g in generations])
    best = torch.tensor(rewards).view(-1, n).argmax(dim=1).tolist()
    return [generations[i * n + choice] for i, choice in enumerate(best)]


def best_of_n_kl(n: int) -> float:
    """ln n - (n - 1)/n: the KL of best-of-n from its model in nats, or an upper bound if rewards may be equal.

    >>> round(best_of_n_kl(4), 3)
    0.636
    """
    return math.log(n) - (n - 1) / n


def best_of_n_probabilities(reference: Tensor, rewards: Tensor, n: int) -> Tensor:
    """The exact distribution of the best of n draws, with ties broken at random: (N,) → (N,).

    The best reward is at most r with the probability P(reward ≤ r)ⁿ; answers that share a reward share its probability
    in proportion to their own.

    >>> best_of_n_probabilities(torch.tensor([0.5, 0.25, 0.25]), torch.tensor([0.0, 1.0, 1.0]), n=2)
    tensor([0.2500, 0.3750, 0.3750])

    Args:
        reference: the model's probabilities of all N answers, (N,).
        rewards: the rewards of these answers, (N,).
        n: the number of draws.
    """
    _, group = rewards.unique(return_inverse=True)  # (N,) the rank of each answer's reward, equal rewards together
    masses = torch.zeros(int(group.max()) + 1, dtype=reference.dtype).index_add(0, group, reference)  # P(reward)
    up_to = masses.cumsum(0)  # P(reward ≤ …)
    best = (up_to**n - (up_to - masses) ** n) / masses  # probability among the best of n, relative to the model's own
    return reference * best[group]
