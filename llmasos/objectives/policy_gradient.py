"""Policy gradients (RLOO, GRPO): the model generates several answers to each prompt, and learns from their rewards.

A reward r(x, y) scores an answer y to a prompt x. The model, here called the *policy* π, maximizes (Ziegler et al.
2019, "Fine-tuning language models from human preferences", equation 2)

    J = E[ r(x, y) - β · log π(y | x)/π₀(y | x) ]  =  E[ r ] - β · KL(π ‖ π₀)                y ~ π

which keeps it near π₀, the model that it started from. J has the same optimum as DPO's loss, π* ∝ π₀ · e^(r/β).

**The gradient** (Williams 1992, REINFORCE): with R = r - β · log π/π₀, ∇J = E[ (R - b) · ∇ log π(y | x) ] for every b
that does not depend on y. Such a *baseline* leaves the expectation as it is, and makes the gradient far less noisy.

**The baseline** of an answer is the mean of the *other* answers to its prompt (Kool et al. 2019; Ahmadian et al. 2024,
"RLOO"), so no second network has to learn to predict rewards. The *advantage* of answer i of a group of G is then

    A_i = R_i - 1/(G - 1) · Σ_{j ≠ i} R_j  =  G/(G - 1) · (R_i - mean R)

GRPO (Shao et al. 2024, "DeepSeekMath", section 4.1) subtracts the group's mean, which differs only by the constant
factor. Three of its other choices are *not* made here, since each of them biases the gradient of J:

- It divides A by the group's standard deviation. That gives more weight to prompts that are nearly always, or hardly
  ever, answered well (Liu et al. 2025, "Dr. GRPO", section 3.1).
- It divides the loss of an answer by its length, so long bad answers are penalized less (same section).
- It adds an estimate of the KL to the loss. Its gradient, taken token by token, is not that of KL(π ‖ π₀), whereas a
  penalty inside the reward gives it exactly.

**Several updates** from one set of answers: after the first, these no longer come from the current policy. Each token
is then weighted by the ratio ρ = π/π_old, where π_old is the policy that wrote it, and ρ is clipped, so that no token
is pushed further once its probability has changed by the fraction ε (Schulman et al. 2017, "PPO", equation 7):

    loss = - Σ_t min(ρ_t · A, clip(ρ_t, 1 - ε, 1 + ε) · A)              averaged over the answers

In the first update ρ = 1, and the gradient is REINFORCE's.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from llmasos.objectives.objective import IGNORE_INDEX, Batch, MakeRng
from llmasos.objectives.preference_pairs import collate_answers, token_log_probs


class Rollout(NamedTuple):
    """An answer that the policy wrote, with its reward and statistics.

    Attributes:
        prompt: its token ids, at least one.
        ids: the answer's T token ids, including its end-of-text token if there is one.
        log_probs: (T,), the log-probability of each of these tokens under the policy that wrote them, in nats.
        reward: the reward of the answer, in the unit of the reward function.
        kl: log π_old(y)/π₀(y) in nats: its mean over answers estimates KL(π_old ‖ π₀).
        advantage: how much better it is than the other answers to its prompt.
        is_new: whether no earlier answer of its group has the same text.
        is_level: whether all answers of its group have the same reward, so that nothing can be learned from it.
        finished: whether it ended by itself, not at the maximum number of tokens.
    """

    prompt: Sequence[int]
    ids: Sequence[int]
    log_probs: Sequence[float]
    reward: float
    kl: float = 0.0
    advantage: float = 0.0
    is_new: bool = True
    is_level: bool = False
    finished: bool = True


def leave_one_out_advantages(rewards: Tensor) -> Tensor:
    """How much better each answer is than the mean of the others in its group: (N, G) → (N, G).

    >>> leave_one_out_advantages(torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.5, 0.5, 0.5, 0.5]]))
    tensor([[ 1.0000, -0.3333, -0.3333, -0.3333],
            [ 0.0000,  0.0000,  0.0000,  0.0000]])
    """
    G = rewards.size(1)
    return G / (G - 1) * (rewards - rewards.mean(dim=1, keepdim=True))


def policy_gradient_loss(log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor, clip: float) -> Tensor:
    """The loss of each token (B, T); the caller ignores those without a target.

    Args:
        log_probs: log-probabilities under the policy (B, T), in nats.
        old_log_probs: the same under the policy that wrote the tokens (B, T); constants.
        advantages: advantages of the answers (B,); constants.
        clip: ε, the fraction by which a token's probability may change before its gradient is cut off.
    """
    ratios = (log_probs - old_log_probs).exp()
    clipped = ratios.clamp(1 - clip, 1 + clip)
    return -torch.minimum(ratios * advantages[:, None], clipped * advantages[:, None])


class PolicyGradient:
    """An example is a `Rollout`; the loss of an answer is the sum over its tokens.

    Over the answers of a step, it also measures the mean reward, the KL from the reference in nats per
    answer, the entropy of the next token in nats, the length in tokens, the fractions of answers that are finished and
    new in their group, and the fraction whose group has equal rewards ("level"), from which nothing is learned.

    Args:
        clip: ε of the clipped ratio.
        beta: β, for the validation loss, which is -J; in training it is part of the advantages.

    Attributes:
        weights, val_weights: the weight of each term in the loss of a training step and of a validation; a term with
            weight 0 is only logged.
    """

    weights = {
        "policy": 1.0, "reward": 0.0, "kl": 0.0, "entropy": 0.0, "length": 0.0, "finished": 0.0, "distinct": 0.0,
        "level": 0.0,
    }  # fmt: skip

    def __init__(self, clip: float, beta: float):
        self.clip = clip
        self.val_weights = {**dict.fromkeys(self.weights, 0.0), "reward": -1.0, "kl": beta}

    def collate(self, examples: Sequence[Rollout], rngs: Sequence[MakeRng] = ()) -> Batch:
        """Stack rollouts to `ids`, `targets` and `old_log_probs` (B, T), and the answers' other numbers (B,)."""
        ids, targets = collate_answers([item.prompt for item in examples], [item.ids for item in examples])
        old_log_probs = torch.zeros(targets.shape)
        old_log_probs[targets != IGNORE_INDEX] = torch.tensor([p for item in examples for p in item.log_probs])
        numbers = {
            "advantage": [item.advantage for item in examples],
            "reward": [item.reward for item in examples],
            "kl": [item.kl for item in examples],
            "length": [len(item.ids) for item in examples],
            "finished": [item.finished for item in examples],
            "distinct": [item.is_new for item in examples],
            "level": [item.is_level for item in examples],
        }
        rows = {name: torch.tensor(values, dtype=torch.float32) for name, values in numbers.items()}
        return {"ids": ids, "targets": targets, "old_log_probs": old_log_probs, **rows}

    def n_targets(self, batch: Batch) -> dict[str, int]:
        """The number of answers; for the entropy, of their tokens."""
        n_tokens = int((batch["targets"] != IGNORE_INDEX).sum())
        return {**dict.fromkeys(self.weights, len(batch["ids"])), "entropy": n_tokens}

    def loss_sums(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """The summed loss of the answers, and the sums of the measured terms."""
        targets, old_log_probs = batch["targets"], batch["old_log_probs"]
        log_probs = token_log_probs(model, batch["ids"], targets)  # (B, T)
        losses = policy_gradient_loss(log_probs, old_log_probs, batch["advantage"], self.clip)
        measured = {name: batch[name].sum() for name in self.weights if name in batch}
        policy = losses.masked_fill(targets == IGNORE_INDEX, 0.0).sum()
        return {"policy": policy, "entropy": -old_log_probs.sum(), **measured}
