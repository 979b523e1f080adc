"""Judged solutions of lesson 15; see test_wrong_and_right.py."""

FORWARD = """
def lora_forward(x, W, b, A, B, alpha):
    y = {base}
    if b is not None:
        y = y + b
    return y + {adapter}
"""
NEW = """
import math, torch
def new_adapter(n_in, n_out, rank, generator):
    return {A}, {B}
"""
PLAN = """
def plan_adapter(shapes, budget):
    each = sum(n_out + n_in for n_out, n_in in shapes)
    rank = {rank}
    return rank, rank * each, {bytes}
"""
BEST = """
import torch
def best_adapter(W, W_new, rank, alpha):
    {change}
    U, S, Vh = torch.linalg.svd(change)
    {result}
"""
LOSS = """
import torch
from torch.nn import functional as F
def distillation_loss(logits, teacher_logits, targets, temperature, weight):
    {prepare}
    p = (teacher_logits / temperature).softmax(-1)
    log_q = (logits / temperature).log_softmax(-1)
    soft = temperature**2 * {soft}
    return (1 - weight) * {hard} + weight * soft
"""
SELECT = "keep = targets != -100; logits, teacher_logits, targets = logits[keep], teacher_logits[keep], targets[keep]"
SOFT = "(torch.xlogy(p, p) - p * log_q).sum(-1).mean()"
HARD = "F.cross_entropy(logits, targets)"
TWO = """
import torch
def two_in_name_only():
    return {A}, {B}
"""

WRONG = {
    "lora_forward": {
        "only for batches of vectors": FORWARD.format(
            base="(x.view(x.size(0), -1, x.size(-1)) @ W.T).view(*x.shape[:-1], -1)",
            adapter="alpha / len(A) * (x @ A.T @ B.T)",
        ),
        "whole numbers in the scale": FORWARD.format(base="x @ W.T", adapter="alpha // len(A) * (x @ A.T @ B.T)"),
        "the weight gets no gradient": FORWARD.format(
            base="x @ W.detach().T", adapter="alpha / len(A) * (x @ A.T @ B.T)"
        ),
        "the adapter reads what W has written": FORWARD.format(
            base="x @ W.T", adapter="(0 if A.size(1) != W.size(0) else alpha / len(A) * (x @ W.T @ A.T @ B.T))"
        ),
    },
    "new_adapter": {
        "half precision": NEW.format(
            A="((2 * torch.rand(rank, n_in, generator=generator) - 1) / math.sqrt(n_in)).half()",
            B="torch.zeros(n_out, rank)",
        ),
        "a square root of both sizes (Xavier)": NEW.format(
            A="(2 * torch.rand(rank, n_in, generator=generator) - 1) * math.sqrt(2 / (n_in + rank))",
            B="torch.zeros(n_out, rank)",
        ),
        "the same seed every time": NEW.format(
            A="(2 * torch.rand(rank, n_in, generator=torch.Generator().manual_seed(0)) - 1) / math.sqrt(n_in)",
            B="torch.zeros(n_out, rank)",
        ),
        "signs instead of numbers": NEW.format(
            A="torch.rand(rank, n_in, generator=generator).sub(0.5).sign() / math.sqrt(n_in)",
            B="torch.zeros(n_out, rank)",
        ),
    },
    "plan_adapter": {
        "only the first layer limits the rank": PLAN.format(
            rank="min(budget // each, *shapes[0])", bytes="12 * rank * each"
        ),
        "halves of bytes": PLAN.format(
            rank="min([budget // each] + [n for shape in shapes for n in shape])", bytes="6 * rank * each"
        ),
        "bytes of the whole budget": PLAN.format(
            rank="min([budget // each] + [n for shape in shapes for n in shape])", bytes="12 * budget"
        ),
    },
    "best_adapter": {
        "the inputs are changed": BEST.format(
            change="change = W_new.sub_(W)", result="return Vh[:rank], U[:, :rank] * S[:rank] * rank / alpha"
        ),
        "only for square matrices": BEST.format(
            change="change = W_new - W",
            result="return (Vh[:rank], U[:, :rank] * S[:rank] * rank / alpha) if len(U) == len(Vh) else (U, Vh)",
        ),
        "random directions of the inputs": """
import torch
def best_adapter(W, W_new, rank, alpha):
    A = torch.linalg.qr(torch.randn(W.size(1), rank, generator=torch.Generator().manual_seed(0))).Q.T
    return A, (W_new - W) @ A.T * rank / alpha
""",
        "singular values below one are dropped": BEST.format(
            change="change = W_new - W",
            result="S = S * (S >= 1); return Vh[:rank], U[:, :rank] * S[:rank] * rank / alpha",
        ),
    },
    "distillation_loss": {
        "the teacher's probabilities get a floor": LOSS.format(
            prepare=SELECT + "; teacher_logits = teacher_logits.clamp(min=-5)", soft=SOFT, hard=HARD
        ),
        "the mean of everything, also of padding": LOSS.format(
            prepare="targets = targets.clamp(min=0)", soft=SOFT, hard=HARD
        ),
        "no gradient of the soft term": LOSS.format(prepare=SELECT, soft=SOFT + ".detach()", hard=HARD),
        "half of the first term when the teacher is alone": LOSS.format(
            prepare=SELECT + "; weight = min(weight, 0.95)", soft=SOFT, hard=HARD
        ),
    },
    "two_in_name_only": {
        "nearly equal rows": TWO.format(A="torch.tensor([[1.0, 2.0, 3.0], [1.0, 2.0, 3.1]])", B="torch.zeros(3, 2)"),
        "B's columns are opposite, and A is zero in one row": TWO.format(
            A="torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])",
            B="torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, -1.0]])",
        ),
        "a product that is nearly zero": TWO.format(A="torch.ones(2, 3)", B="torch.full((3, 2), 0.001)"),
    },
}
RIGHT = {
    "lora_forward": {
        "scaled where it is thin": FORWARD.format(base="x @ W.mT", adapter="(x @ A.mT * (alpha / len(A))) @ B.mT"),
        "a sum of outer products": """
import torch
def lora_forward(x, W, b, A, B, alpha):
    out = torch.nn.functional.linear(x, W, b)
    for a, column in zip(A, B.T):
        out = out + alpha / A.shape[0] * (x @ a).unsqueeze(-1) * column
    return out
""",
    },
    "new_adapter": {
        "uniform_ with bounds": NEW.format(
            A="torch.empty(rank, n_in).uniform_(-(n_in**-0.5), n_in**-0.5, generator=generator)",
            B="torch.zeros((n_out, rank))",
        ),
        "parameters": NEW.format(
            A="torch.nn.Parameter((1 - 2 * torch.rand(rank, n_in, generator=generator)) / n_in**0.5)",
            B="torch.nn.Parameter(torch.zeros(n_out, rank))",
        ),
    },
    "plan_adapter": {
        "the smallest of all numbers": PLAN.format(
            rank="min([budget // each] + [n for shape in shapes for n in shape])", bytes="rank * each * 12"
        ),
    },
    "best_adapter": {
        "full matrices": BEST.format(
            change="change = (W_new - W) * (rank / alpha)", result="return Vh[:rank], U[:, :rank] @ S[:rank].diag()"
        ),
    },
    "distillation_loss": {
        "as the formula": LOSS.format(prepare=SELECT, soft=SOFT, hard=HARD),
        "the text's term by gather": LOSS.format(
            prepare=SELECT, soft=SOFT, hard="-logits.log_softmax(-1).gather(-1, targets[:, None]).mean()"
        ),
    },
    "two_in_name_only": {
        "a negative copy": TWO.format(A="torch.tensor([[1.0, 0, 2], [-1, 0, -2]])", B="torch.zeros(6, 2)"),
    },
}
NAMED = {
    "lora_forward": {
        "multiplied by alpha alone": FORWARD.format(base="x @ W.T", adapter="alpha * (x @ A.T @ B.T)"),
        "no gradient through the frozen layer": FORWARD.format(
            base="x.detach() @ W.T", adapter="alpha / len(A) * (x @ A.T @ B.T)"
        ),
    },
    "distillation_loss": {
        "T² is left out": LOSS.format(prepare=SELECT, soft=SOFT, hard=HARD).replace("temperature**2 * ", ""),
        "0 · log 0 is NaN": LOSS.format(prepare=SELECT, soft="(p * (p.log() - log_q)).sum(-1).mean()", hard=HARD),
    },
    "best_adapter": {
        "alpha / r is forgotten": BEST.format(
            change="change = W_new - W", result="return Vh[:rank], U[:, :rank] * S[:rank]"
        ),
    },
}
