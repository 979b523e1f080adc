"""Judged solutions of lesson 22; see test_wrong_and_right.py."""

WRONG = {
    "shard_bounds": {
        "no empty shards": """
def shard_bounds(total, n):
    n = min(n, max(total, 1))
    size, longer = divmod(total, n)
    starts = [r * size + min(r, longer) for r in range(n + 1)]
    return list(zip(starts, starts[1:]))
""",
        "through floats": """
def shard_bounds(total, n):
    size, longer = int(total / n), int(total - n * int(total / n))
    starts = [r * size + min(r, longer) for r in range(n + 1)]
    return list(zip(starts, starts[1:]))
""",
    },
    "mean_gradient": {
        "in place": """
def mean_gradient(gradients, n_targets):
    total = gradients[0].new_zeros(gradients[0].shape)
    for g, m in zip(gradients, n_targets):
        if m:
            g *= m
            total += g
    return total / max(sum(n_targets), 1)
""",
        "NaN with targets is left out": """
def mean_gradient(gradients, n_targets):
    total = gradients[0].new_zeros(gradients[0].shape)
    for g, m in zip(gradients, n_targets):
        if not g.isnan().any():
            total = total + m * g
    return total / max(sum(n_targets), 1)
""",
        "no targets, a division by zero": """
def mean_gradient(gradients, n_targets):
    total = gradients[0].new_zeros(gradients[0].shape)
    for g, m in zip(gradients, n_targets):
        if m:
            total = total + m * g
    return total / sum(n_targets)
""",
    },
    "reduce_scatter_step": {
        "in place": """
def reduce_scatter_step(held, step):
    n = len(held)
    sent = [held[r][(r - 1 - step) % n].clone() for r in range(n)]
    for r in range(n):
        held[(r + 1) % n][(r - 1 - step) % n] += sent[r]
    return held
""",
        "as if there were always three": """
def reduce_scatter_step(held, step):
    n = len(held)
    result = [h.clone() for h in held]
    for r in range(n):
        result[(r + 1) % n][(r + 2 - step) % n] += held[r][(r + 2 - step) % n]
    return result
""",
    },
    "bytes_per_process": {
        "shards rounded up": """
def bytes_per_process(stage, n_parameters, n):
    whole, sharded = {"ddp": (16, 0), "zero1": (4, 12), "zero2": (2, 14), "zero3": (0, 16)}[stage]
    sent = (6 if stage == "zero3" else 4) * n_parameters * (n - 1) / n
    return n_parameters * whole + sharded * -(-n_parameters // n), sent
""",
        "in fp32": """
def bytes_per_process(stage, n_parameters, n):
    whole, sharded = {"ddp": (16, 0), "zero1": (8, 8), "zero2": (4, 12), "zero3": (0, 16)}[stage]
    sent = (6 if stage == "zero3" else 4) * n_parameters * (n - 1) / n
    return n_parameters * (whole + sharded / n), sent
""",
    },
    "zero1_step": {
        "in place": """
import torch
def zero1_step(weights, gradients, momenta, lr, beta):
    n, k = len(weights), len(momenta[0])
    g = sum(gradients) / n
    for r in range(n):
        momenta[r].mul_(beta).add_(g[r * k : (r + 1) * k])
    new = weights[0] - lr * torch.cat(momenta)
    return [new.clone() for _ in range(n)], momenta
""",
        "one tensor for all": """
import torch
def zero1_step(weights, gradients, momenta, lr, beta):
    n, k = len(weights), len(momenta[0])
    g = sum(gradients) / n
    m = [beta * momenta[r] + g[r * k : (r + 1) * k] for r in range(n)]
    new = weights[0] - lr * torch.cat(m)
    return [new] * n, m
""",
        "Nesterov": """
import torch
def zero1_step(weights, gradients, momenta, lr, beta):
    n, k = len(weights), len(momenta[0])
    g = sum(gradients) / n
    m = [beta * momenta[r] + g[r * k : (r + 1) * k] for r in range(n)]
    new = weights[0] - lr * (g + beta * torch.cat(m))
    return [new.clone() for _ in range(n)], m
""",
    },
    "means_that_mislead": {
        "the mean of means is just above": """
def means_that_mislead():
    return [[-5], [4.2] * 20]
""",
        "twenty-one tokens": """
def means_that_mislead():
    return [[-5], [2] * 21]
""",
    },
}

RIGHT = {
    "shard_bounds": {
        "range": """
def shard_bounds(total, n):
    ends = [(total * (r + 1) + n - 1 - (total * (r + 1) + n - 1) % n) // n for r in range(n)]
    sizes = sorted((b - a for a, b in zip([0, *ends], ends)), reverse=True)
    starts = [sum(sizes[:r]) for r in range(n + 1)]
    return [(starts[r], starts[r + 1]) for r in range(n)]
""",
    },
    "mean_gradient": {
        "in float64": """
import torch
def mean_gradient(gradients, n_targets):
    m = torch.tensor(n_targets, dtype=torch.float64)
    rows = torch.where(m[:, None] > 0, torch.stack(gradients).double() * m[:, None], 0.0)
    return (rows.sum(0) / max(sum(n_targets), 1)).to(gradients[0].dtype)
""",
    },
    "reduce_scatter_step": {
        "torch.roll": """
import torch
def reduce_scatter_step(held, step):
    n = len(held)
    x = torch.stack(held)
    sends = torch.zeros_like(x)
    for r in range(n):
        c = (r - 1 - step) % n
        sends[r, c] = x[r, c]
    arrives = torch.roll(sends, 1, 0)
    return list(x + arrives)
""",
    },
    "bytes_per_process": {
        "a table": """
def bytes_per_process(stage, n_parameters, n):
    per = {"ddp": 16, "zero1": 4 + 12 / n, "zero2": 2 + 14 / n, "zero3": 16 / n}
    return per[stage] * n_parameters, (6 if stage == "zero3" else 4) * (1 - 1 / n) * n_parameters
""",
    },
    "zero1_step": {
        "loops over numbers": """
import torch
def zero1_step(weights, gradients, momenta, lr, beta):
    n, k = len(weights), len(momenta[0])
    new, m = [], [[] for _ in range(n)]
    for r in range(n):
        for j in range(k):
            i = r * k + j
            g = sum(gradients[q][i].item() for q in range(n)) / n
            m[r].append(beta * momenta[r][j].item() + g)
            new.append(weights[r][i].item() - lr * m[r][-1])
    like = weights[0].dtype
    return [torch.tensor(new, dtype=like) for _ in range(n)], [torch.tensor(each, dtype=like) for each in m]
""",
    },
    "means_that_mislead": {
        "four processes": """
def means_that_mislead():
    return [[-4, -4], [-4], [5.0] * 20, [1, 0.5]]
""",
    },
}
