"""Judged solutions of lesson 17; see test_wrong_and_right.py."""

WRONG = {
    "reinforce_gradient": {
        "the baseline only for answers that are better": """
import torch.nn.functional as F
def reinforce_gradient(logits, answers, rewards, baseline):
    w = (rewards - baseline).clamp(min=0)
    return (w[:, None] * (F.one_hot(answers, len(logits)).float() - logits.softmax(-1))).mean(0)
""",
        "fails if the last answer is never drawn": """
import torch.nn.functional as F
def reinforce_gradient(logits, answers, rewards, baseline):
    return ((rewards - baseline)[:, None] * (F.one_hot(answers).float() - logits.softmax(-1))).mean(0)
""",
        "divides by the number of different answers": """
import torch.nn.functional as F
def reinforce_gradient(logits, answers, rewards, baseline):
    g = (rewards - baseline)[:, None] * (F.one_hot(answers, len(logits)).float() - logits.softmax(-1))
    return g.sum(0) / len(answers.unique())
""",
        "changes the rewards in place": """
import torch.nn.functional as F
def reinforce_gradient(logits, answers, rewards, baseline):
    rewards -= baseline
    return (rewards[:, None] * (F.one_hot(answers, len(logits)).float() - logits.softmax(-1))).mean(0)
""",
        "logits clipped to the range of exp": """
import torch.nn.functional as F
def reinforce_gradient(logits, answers, rewards, baseline):
    p = logits.clamp(-80, 80).softmax(-1)
    return ((rewards - baseline)[:, None] * (F.one_hot(answers, len(logits)).float() - p)).mean(0)
""",
    },
    "advantages": {
        "the baseline is a median": """
def advantages(rewards, log_ratios, beta):
    R = rewards - beta * log_ratios
    G = R.size(1)
    return (R - R.median(1, keepdim=True).values) * G / (G - 1)
""",
        "compared with the next answer only": """
def advantages(rewards, log_ratios, beta):
    R = rewards - beta * log_ratios
    return R - R.roll(1, dims=1)
""",
        "advantages of a group of equal rewards are set to 0": """
def advantages(rewards, log_ratios, beta):
    R = rewards - beta * log_ratios
    G = R.size(1)
    level = (rewards == rewards[:, :1]).all(1, keepdim=True)
    return ((R - R.mean(1, keepdim=True)) * G / (G - 1)).masked_fill(level, 0.0)
""",
        "beta halves the penalty for negative log-ratios": """
import torch
def advantages(rewards, log_ratios, beta):
    R = rewards - beta * torch.where(log_ratios < 0, log_ratios / 2, log_ratios)
    G = R.size(1)
    return (R - R.mean(1, keepdim=True)) * G / (G - 1)
""",
        "the group size of the first dimension": """
def advantages(rewards, log_ratios, beta):
    R = rewards - beta * log_ratios
    G = len(R) if len(R) > 1 else R.size(1)
    return (R - R.mean(1, keepdim=True)) * G / (G - 1)
""",
        "changes the rewards in place": """
def advantages(rewards, log_ratios, beta):
    rewards -= beta * log_ratios
    G = rewards.size(1)
    return (rewards - rewards.mean(1, keepdim=True)) * G / (G - 1)
""",
    },
    "policy_gradient_loss": {
        "right numbers, gradient as if nothing were clipped": """
import torch
def policy_gradient_loss(log_probs, old_log_probs, advantages, clip):
    ratio = (log_probs - old_log_probs).exp()
    A = advantages[:, None]
    loss = -torch.minimum(ratio * A, ratio.clamp(1 - clip, 1 + clip) * A)
    free = -ratio * A
    return loss.detach() + free - free.detach()
""",
        "clipped on the upper side only": """
import torch
def policy_gradient_loss(log_probs, old_log_probs, advantages, clip):
    ratio = (log_probs - old_log_probs).exp()
    A = advantages[:, None]
    return -torch.minimum(ratio * A, ratio.clamp(max=1 + clip) * A)
""",
        "bounds 1 / (1 + clip) and 1 + clip": """
import torch
def policy_gradient_loss(log_probs, old_log_probs, advantages, clip):
    ratio = (log_probs - old_log_probs).exp()
    A = advantages[:, None]
    return -torch.minimum(ratio * A, ratio.clamp(1 / (1 + clip), 1 + clip) * A)
""",
        "clip is always 0.2": """
import torch
def policy_gradient_loss(log_probs, old_log_probs, advantages, clip):
    ratio = (log_probs - old_log_probs).exp()
    A = advantages[:, None]
    return -torch.minimum(ratio * A, ratio.clamp(0.8, 1.2) * A)
""",
        "first-order ratio": """
import torch
def policy_gradient_loss(log_probs, old_log_probs, advantages, clip):
    ratio = 1 + log_probs - old_log_probs
    A = advantages[:, None]
    return -torch.minimum(ratio * A, ratio.clamp(1 - clip, 1 + clip) * A)
""",
    },
    "kl_estimate": {
        "second order only": """
def kl_estimate(log_probs, reference_log_probs, mask):
    d = (reference_log_probs - log_probs).masked_fill(~mask, 0.0)
    return (d**2 / 2 + d**3 / 6).sum(1)
""",
        "large differences are cut off": """
def kl_estimate(log_probs, reference_log_probs, mask):
    d = (reference_log_probs - log_probs).masked_fill(~mask, 0.0).clamp(-10, 10)
    return (d.exp() - 1 - d).sum(1)
""",
        "the first tokens only, as many as the mask has": """
import torch
def kl_estimate(log_probs, reference_log_probs, mask):
    first = torch.arange(mask.size(1)) < mask.sum(1, keepdim=True)
    d = (reference_log_probs - log_probs).masked_fill(~first, 0.0)
    return (d.exp() - 1 - d).sum(1)
""",
        "an empty answer is NaN": """
def kl_estimate(log_probs, reference_log_probs, mask):
    d = (reference_log_probs - log_probs).masked_fill(~mask, 0.0)
    n = mask.sum(1)
    return (d.exp() - 1 - d).sum(1) / n * n
""",
        "nan_to_num makes infinity a large number": """
import torch
def kl_estimate(log_probs, reference_log_probs, mask):
    d = torch.nan_to_num(reference_log_probs) - torch.nan_to_num(log_probs)
    return ((d.exp() - 1 - d) * mask).sum(1)
""",
    },
    "pass_at_k": {
        "1 unless all answers are wrong, for k above n / 2": """
import math
def pass_at_k(right, k):
    n = right.shape[1]
    values = [float(c > 0) if k > n / 2 else 1 - math.comb(n - c, k) / math.comb(n, k) for c in right.sum(1).tolist()]
    return sum(values) / len(values)
""",
        "estimated by drawing": """
import torch
def pass_at_k(right, k):
    g = torch.Generator().manual_seed(0)
    hits = [right[:, torch.randperm(right.shape[1], generator=g)[:k]].any(1).double().mean() for _ in range(200)]
    return float(sum(hits) / len(hits))
""",
        "the mean count of right answers": """
import math
def pass_at_k(right, k):
    n = right.shape[1]
    c = round(float(right.double().sum(1).mean()))
    return 1 - math.comb(n - c, k) / math.comb(n, k)
""",
        "the logarithm of 0 where there are too few wrong answers": """
import math
def pass_at_k(right, k):
    n, total = right.shape[1], 0.0
    for c in right.sum(1).tolist():
        total += 1 - math.exp(sum(math.log((n - c - i) / (n - i)) for i in range(k)))
    return total / len(right)
""",
    },
    "opposite_directions": {
        "nearly the other way": """
def opposite_directions():
    return [0.5, 0.1], [0.9, -0.55]
""",
        "not in lists": """
def opposite_directions():
    return {0.5: 1.0, 0.01: -0.4}
""",
    },
}

RIGHT = {
    "reinforce_gradient": {
        "a matrix product with the one-hot matrix": """
import torch
def reinforce_gradient(logits, answers, rewards, baseline):
    hot = (answers[:, None] == torch.arange(len(logits))).float()
    w = (rewards - baseline) / len(answers)
    return w @ (hot - torch.softmax(logits, 0))
""",
        "p by log_softmax": """
import torch
def reinforce_gradient(logits, answers, rewards, baseline):
    out = torch.zeros_like(logits)
    p = torch.log_softmax(logits, 0).exp()
    for a, r in zip(answers.tolist(), rewards.tolist()):
        g = -p.clone()
        g[a] += 1
        out = out + (r - baseline) * g
    return out / len(answers)
""",
    },
    "advantages": {
        "differences of all pairs": """
def advantages(rewards, log_ratios, beta):
    R = rewards - beta * log_ratios
    return (R[:, :, None] - R[:, None, :]).sum(2) / (R.size(1) - 1)
""",
    },
    "policy_gradient_loss": {
        "maximum of the losses": """
import torch
def policy_gradient_loss(log_probs, old_log_probs, advantages, clip):
    A = -advantages.view(-1, 1)
    r = torch.exp(log_probs - old_log_probs)
    return torch.max(r * A, torch.clamp(r, 1.0 - clip, 1.0 + clip) * A)
""",
        "a bound that depends on the sign": """
import torch
def policy_gradient_loss(log_probs, old_log_probs, advantages, clip):
    A = advantages[:, None]
    r = (log_probs - old_log_probs).exp()
    bound = (1 + clip * A.sign()) * A
    return -torch.minimum(r * A, bound.expand_as(r))
""",
    },
    "kl_estimate": {
        "row by row, only the tokens of the answer": """
import torch
def kl_estimate(log_probs, reference_log_probs, mask):
    out = []
    for p, q, m in zip(log_probs, reference_log_probs, mask):
        d = q[m] - p[m]
        out.append((torch.exp(d) - d - 1).sum())
    return torch.stack(out)
""",
    },
    "pass_at_k": {
        "with NumPy, as the paper's program": """
import numpy as np
def pass_at_k(right, k):
    values = []
    n = right.shape[1]
    for c in right.sum(1).tolist():
        values.append(1.0 if n - c < k else 1.0 - np.prod(1.0 - k / np.arange(n - c + 1, n + 1)))
    return float(np.mean(values))
""",
    },
    "opposite_directions": {
        "ten prompts": """
def opposite_directions():
    return [0.5] * 5 + [0.01] * 5, [0.6] * 5 + [-0.3] * 5
""",
    },
}

NAMED = {
    "reinforce_gradient": {
        "only the drawn answer gets a gradient": """
import torch
def reinforce_gradient(logits, answers, rewards, baseline):
    out = torch.zeros(len(logits))
    for a, r in zip(answers.tolist(), rewards.tolist()):
        out[a] += (r - baseline) / len(answers)
    return out
""",
    },
    "advantages": {
        "mean of the whole group": """
def advantages(rewards, log_ratios, beta):
    R = rewards - beta * log_ratios
    return R - R.mean(1)[:, None]
""",
    },
    "policy_gradient_loss": {
        "clipped without the minimum": """
import torch
def policy_gradient_loss(log_probs, old_log_probs, advantages, clip):
    r = torch.clip(torch.exp(log_probs - old_log_probs), 1 - clip, 1 + clip)
    return -(r * advantages.unsqueeze(-1))
""",
    },
    "kl_estimate": {
        "k1: the log-ratio": """
import torch
def kl_estimate(log_probs, reference_log_probs, mask):
    return torch.where(mask, log_probs - reference_log_probs, 0.0).sum(-1)
""",
    },
    "pass_at_k": {
        "drawn with replacement": """
def pass_at_k(right, k):
    p = right.float().mean(1)
    return (1 - (1 - p) ** k).mean().item()
""",
    },
}
