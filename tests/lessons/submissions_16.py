"""Judged solutions of lesson 16; see test_wrong_and_right.py."""

WRONG = {
    "bradley_terry_loss": {
        "differences clipped to 80": """
import torch.nn.functional as F
def bradley_terry_loss(chosen, rejected):
    return -F.logsigmoid((chosen - rejected).clamp(-80, 80))
""",
        "a floor for the probability": """
import torch
def bradley_terry_loss(chosen, rejected):
    return -torch.log(torch.sigmoid(chosen - rejected).clamp(min=1e-30))
""",
        "rewards shifted in place": """
import torch.nn.functional as F
def bradley_terry_loss(chosen, rejected):
    chosen -= rejected
    return -F.logsigmoid(chosen)
""",
        "a scalar for a single pair": """
import torch.nn.functional as F
def bradley_terry_loss(chosen, rejected):
    return -F.logsigmoid((chosen - rejected).squeeze())
""",
        "no gradient for the rejected answer": """
import torch.nn.functional as F
def bradley_terry_loss(chosen, rejected):
    return -F.logsigmoid(chosen - rejected.detach())
""",
    },
    "kl_divergence": {
        "infinite wherever q is 0": """
import torch
def kl_divergence(p, q):
    return torch.where(q > 0, torch.special.xlogy(p, p) - torch.special.xlogy(p, q), torch.inf).sum(-1)
""",
        "one row at a time, two dimensions at least": """
import torch
def kl_divergence(p, q):
    return torch.stack([(torch.special.xlogy(a, a) - torch.special.xlogy(a, q[i])).sum(-1) for i, a in enumerate(p)])
""",
        "probabilities below 1e-20 count as 0": """
import torch
def kl_divergence(p, q):
    p = p.where(p > 1e-20, 0.0)
    q = q.where(q > 1e-20, 0.0)
    return (torch.special.xlogy(p, p) - torch.special.xlogy(p, q)).sum(-1)
""",
        "an average for several distributions": """
import torch
def kl_divergence(p, q):
    k = (torch.special.xlogy(p, p) - torch.special.xlogy(p, q)).sum(-1)
    return k.mean(-1) if k.dim() > 1 else k
""",
    },
    "optimal_policy": {
        "exponents clipped": """
import torch
def optimal_policy(reference, rewards, beta):
    w = reference * (rewards / beta).clamp(-80, 80).exp()
    return w / w.sum(-1, keepdim=True)
""",
        "the mean reward subtracted": """
import torch
def optimal_policy(reference, rewards, beta):
    w = reference * ((rewards - rewards.mean(-1, keepdim=True)) / beta).exp()
    return w / w.sum(-1, keepdim=True)
""",
        "the best answer's reward over all prompts subtracted": """
import torch
def optimal_policy(reference, rewards, beta):
    w = reference.double() * ((rewards.double() - rewards.max()) / beta).exp()
    return w / w.sum(-1, keepdim=True)
""",
        "beta at least 0.01": """
def optimal_policy(reference, rewards, beta):
    return (reference.log() + rewards / max(beta, 0.01)).softmax(-1)
""",
        "rewards standardized first": """
def optimal_policy(reference, rewards, beta):
    r = (rewards - rewards.mean(-1, keepdim=True)) / (rewards.std(-1, keepdim=True) + 1e-6)
    return (reference.log() + r / beta).softmax(-1)
""",
    },
    "best_of_n_probabilities": {
        "nearly equal rewards count as a tie": """
import torch
def best_of_n_probabilities(reference, rewards, n):
    r = (rewards * 1000).round()
    up = ((r <= r[:, None]) * reference).sum(1)
    below = ((r < r[:, None]) * reference).sum(1)
    return reference * (up**n - below**n) / (up - below)
""",
        "a tie only at the top": """
import torch
def best_of_n_probabilities(reference, rewards, n):
    order = rewards.argsort(stable=True)
    up = reference[order].cumsum(0)
    out = torch.empty_like(reference)
    out[order] = up**n - (up - reference[order])**n
    top = rewards == rewards.max()
    out[top] = out[top].sum() * reference[top] / reference[top].sum()
    return out
""",
        "a simulation": """
import torch
def best_of_n_probabilities(reference, rewards, n):
    draws = torch.multinomial(reference, 2000 * n, replacement=True).view(2000, n)
    best = draws.gather(1, rewards[draws].argmax(1, keepdim=True))[:, 0]
    return torch.bincount(best, minlength=len(reference)) / 2000
""",
        "at most eight draws": """
import torch
def best_of_n_probabilities(reference, rewards, n):
    n = min(n, 8)
    up = ((rewards <= rewards[:, None]) * reference).sum(1)
    below = ((rewards < rewards[:, None]) * reference).sum(1)
    return reference * (up**n - below**n) / (up - below)
""",
    },
    "dpo_loss": {
        "only the last token of an answer": """
import torch.nn.functional as F
def dpo_loss(logits, reference_logits, targets, beta):
    def log_prob(z):
        l = -F.cross_entropy(z.mT, targets, reduction="none")
        last = (targets != -100).int().cumsum(1).argmax(1)
        return l[range(len(l)), last]
    c, r = (log_prob(logits) - log_prob(reference_logits)).chunk(2)
    return -F.logsigmoid(beta * (c - r))
""",
        "margins clipped": """
import torch.nn.functional as F
def dpo_loss(logits, reference_logits, targets, beta):
    log_prob = lambda z: -F.cross_entropy(z.mT, targets, reduction="none").sum(1)
    c, r = (log_prob(logits) - log_prob(reference_logits)).chunk(2)
    return -F.logsigmoid((beta * (c - r)).clamp(-50, 50))
""",
        "softmax, then log": """
import torch.nn.functional as F
def dpo_loss(logits, reference_logits, targets, beta):
    def log_prob(z):
        p = z.softmax(-1).gather(-1, targets.clamp(min=0)[..., None])[..., 0]
        return (p.log() * (targets != -100)).sum(1)
    c, r = (log_prob(logits) - log_prob(reference_logits)).chunk(2)
    return -F.logsigmoid(beta * (c - r))
""",
        "the rejected answer has no gradient": """
import torch.nn.functional as F
def dpo_loss(logits, reference_logits, targets, beta):
    log_prob = lambda z: -F.cross_entropy(z.mT, targets, reduction="none").sum(1)
    c, r = (log_prob(logits) - log_prob(reference_logits)).chunk(2)
    return -F.logsigmoid(beta * (c - r.detach()))
""",
        "targets changed in place": """
import torch.nn.functional as F
def dpo_loss(logits, reference_logits, targets, beta):
    is_answer = targets != -100
    targets.clamp_(min=0)
    log_prob = lambda z: (-F.cross_entropy(z.mT, targets, reduction="none") * is_answer).sum(1)
    c, r = (log_prob(logits) - log_prob(reference_logits)).chunk(2)
    return -F.logsigmoid(beta * (c - r))
""",
        "the length of the chosen answer for both": """
import torch.nn.functional as F
def dpo_loss(logits, reference_logits, targets, beta):
    B = len(targets) // 2
    is_answer = (targets[:B] != -100).repeat(2, 1)
    def log_prob(z):
        l = z.log_softmax(-1).gather(-1, targets.clamp(min=0)[..., None])[..., 0]
        return (l * is_answer).sum(1)
    c, r = (log_prob(logits) - log_prob(reference_logits)).chunk(2)
    return -F.logsigmoid(beta * (c - r))
""",
    },
    "chosen_falls": {
        "the third answer on the other side": """
import torch
def chosen_falls():
    return torch.tensor([[1.0], [0.0], [-3.0]]), torch.zeros(1)
""",
        "the chosen answer in the middle, in whole numbers": """
import torch
def chosen_falls():
    return torch.tensor([[1], [0], [2]]), torch.zeros(1)
""",
    },
}

RIGHT = {
    "bradley_terry_loss": {
        "log1p, piece by piece": """
import torch
def bradley_terry_loss(chosen, rejected):
    d = chosen - rejected
    return torch.where(d > 0, torch.log1p(torch.exp(-d.clamp(min=0))), torch.log1p(torch.exp(d.clamp(max=0))) - d)
""",
        "binary cross-entropy": """
import torch
import torch.nn.functional as F
def bradley_terry_loss(chosen, rejected):
    d = chosen - rejected
    return F.binary_cross_entropy_with_logits(d, torch.ones_like(d), reduction="none")
""",
    },
    "kl_divergence": {
        "cross-entropy minus entropy": """
import torch
def kl_divergence(p, q):
    return -torch.special.xlogy(p, q).sum(-1) - torch.special.entr(p).sum(-1)
""",
    },
    "optimal_policy": {
        "the shift taken after multiplying": """
import torch
def optimal_policy(reference, rewards, beta):
    z = reference.double().log() + rewards.double() / beta
    w = (z - z.max(-1, keepdim=True).values).exp()
    return w / w.sum(-1, keepdim=True)
""",
    },
    "best_of_n_probabilities": {
        "unique values": """
import torch
def best_of_n_probabilities(reference, rewards, n):
    values, group = rewards.unique(return_inverse=True)
    mass = torch.stack([reference[group == g].sum() for g in range(len(values))])
    up = mass.cumsum(0)
    below = torch.cat([torch.zeros(1), up[:-1]])
    return reference * ((up**n - below**n) / mass)[group]
""",
    },
    "dpo_loss": {
        "indexing instead of gather": """
import torch
import torch.nn.functional as F
def dpo_loss(logits, reference_logits, targets, beta):
    row, t = (targets != -100).nonzero(as_tuple=True)
    l = (logits.log_softmax(-1) - reference_logits.log_softmax(-1))[row, t, targets[row, t]]
    ratios = torch.zeros(len(targets), dtype=l.dtype, device=l.device).index_add(0, row, l)
    B = len(targets) // 2
    return F.softplus(-beta * (ratios[:B] - ratios[B:]))
""",
    },
    "chosen_falls": {
        "two numbers below zero": """
import torch
def chosen_falls():
    return torch.tensor([[0.5, -0.5], [0.0, 0.0], [2.0, -2.0]]), torch.zeros(2)
""",
    },
}

NAMED = {
    "dpo_loss": {
        "averaged over the tokens": """
import torch.nn.functional as F
def dpo_loss(logits, reference_logits, targets, beta):
    n = (targets != -100).sum(1)
    log_prob = lambda z: -F.cross_entropy(z.mT, targets, reduction="none").sum(1) / n
    c, r = (log_prob(logits) - log_prob(reference_logits)).chunk(2)
    return -F.logsigmoid(beta * (c - r))
""",
        "reference left out": """
import torch.nn.functional as F
def dpo_loss(logits, reference_logits, targets, beta):
    c, r = (-F.cross_entropy(logits.mT, targets, reduction="none").sum(1)).chunk(2)
    return -F.logsigmoid(beta * (c - r))
""",
    },
    "optimal_policy": {
        "overflow": """
def optimal_policy(reference, rewards, beta):
    w = reference * (rewards / beta).exp()
    return w / w.sum(-1, keepdim=True)
""",
    },
}
