"""The checks of lesson 15, and the known mistakes."""

import math
from random import Random

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lessons.machinery.exercises import Case, Exercise, Misconception, WrittenAnswer
from llmasos import nn as library
from llmasos.objectives import IGNORE_INDEX
from llmasos.objectives.distillation import distillation_loss as soft_loss

INFINITY = float("inf")


def random(*shape: int, seed: int = 0) -> Tensor:
    """Reproducible normal random numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def tensor(rows: list) -> Tensor:
    """A small tensor of floating-point numbers."""
    return torch.tensor(rows, dtype=torch.float32)


# 1. lora_forward


def adapted_layer(x, W, b, A, B, alpha):
    """The library's layer with these matrices."""
    layer = library.LoRALinear(torch.nn.Linear(W.size(1), W.size(0), bias=b is not None), A.size(0), alpha)
    weights = {"weight": W, "lora_A.weight": A, "lora_B.weight": B}
    return torch.func.functional_call(layer, weights if b is None else {**weights, "bias": b}, (x,))


def adapted(x, W, b, A, B, alpha, scale=None, base=True, bias=1.0, frozen=False):
    """W x + b + scale · B A x, with every detail open to being wrong."""
    y = (x.detach() if frozen else x) @ W.T if base else 0.0
    scale = (lambda alpha, r: alpha / r) if scale is None else scale
    y = y + scale(alpha, A.size(0)) * (x @ A.T @ B.T)
    return y if b is None else y + bias * b


def forward_by_loops(x, W, b, A, B, alpha):
    rows = []
    for vector in x.reshape(-1, x.size(-1)):
        down = [sum(A[j, i] * vector[i] for i in range(len(vector))) for j in range(len(A))]
        up = [sum(B[o, j] * down[j] for j in range(len(A))) for o in range(len(B))]
        rows.append(torch.stack([(W[o] * vector).sum() + alpha * up[o] / len(A) for o in range(len(B))]))
    y = torch.stack(rows).view(*x.shape[:-1], len(W))
    return y if b is None else y + b


def layer_inputs(seed: int, leading: tuple[int, ...], n_in: int, n_out: int, rank: int, bias: bool = True) -> dict:
    """Random arguments of lora_forward, all but alpha."""
    return {
        "x": random(*leading, n_in, seed=seed),
        "W": random(n_out, n_in, seed=seed + 1),
        "b": random(n_out, seed=seed + 2) if bias else None,
        "A": random(rank, n_in, seed=seed + 3),
        "B": random(n_out, rank, seed=seed + 4),
    }


def more_layers(seed: int) -> list[Case]:
    draw, cases = Random(seed), []
    for number in range(3):
        n_in, n_out, rank, s = draw.randint(3, 9), draw.randint(3, 9), draw.randint(2, 3), draw.randrange(10**6)
        inputs = layer_inputs(s, (draw.randint(2, 4),), n_in, n_out, rank, bias=number > 0)
        cases.append(Case(f"{n_in} to {n_out} features, rank {rank}", **inputs, alpha=draw.choice([1.0, 5.0, 16.0])))
    return cases


lora_forward = Exercise(
    name="lora_forward",
    asks="Compute an adapted linear layer: W x + b + (α / r) · B A x.",
    reference=adapted_layer,
    section="15.3",
    gradients=True,
    cases=[
        Case(
            "one feature, no bias, rank 1, alpha 2",
            x=tensor([3]), W=tensor([[2]]), b=None, A=tensor([[1]]), B=tensor([[5]]), alpha=2.0,
        ),
        Case(
            "rank 2, alpha 2: the scale is 1",
            x=tensor([1, 2]), W=tensor([[1, 0], [0, 1]]), b=tensor([10, 20]), A=tensor([[1, 1], [0, 1]]),
            B=tensor([[1, 0], [0, 2]]), alpha=2.0,
        ),
        Case(
            "rank 2, alpha 8: the scale is 4",
            x=tensor([[1, 2], [0, 1]]), W=tensor([[1, 1], [0, 1]]), b=tensor([0, 1]), A=tensor([[1, 0], [0, 1]]),
            B=tensor([[1, 2], [0, 1]]), alpha=8.0,
        ),
        Case("an adapter that is zero", **{**layer_inputs(1, (2,), 3, 4, 2), "B": torch.zeros(4, 2)}, alpha=16.0),
        Case("three to five features, rank 3", **layer_inputs(2, (4,), 3, 5, 3), alpha=6.0),
        Case("five to three features, without a bias", **layer_inputs(3, (4,), 5, 3, 2, bias=False), alpha=1.0),
        Case("several texts: (2, 3, n_in)", **layer_inputs(4, (2, 3), 4, 4, 2), alpha=32.0),
        Case("one vector, rank 1", **layer_inputs(5, (), 4, 6, 1), alpha=0.5),
        Case("transposed tensors", **{**layer_inputs(6, (3, 2), 4, 4, 2), "x": random(4, 3, seed=6).T}, alpha=3.0),
        Case("alpha smaller than the rank", **layer_inputs(7, (2,), 6, 5, 4), alpha=1.0),
    ],
    random_cases=more_layers,
    misconceptions=[
        Misconception(
            "the adapter is not scaled",
            lambda *a: adapted(*a, scale=lambda alpha, r: 1.0),
            "You added B A x as it is. Without α / r, an adapter of another rank starts with steps of another size and "
            "needs another learning rate.",
            "Where does alpha occur in your code?",
            "15.3",
        ),
        Misconception(
            "multiplied by alpha alone",
            lambda *a: adapted(*a, scale=lambda alpha, r: alpha),
            "You multiplied by α but did not divide by the rank. B A x is a sum of r terms, so it grows with r.",
            "How many rows does A have?",
            "15.3",
        ),
        Misconception(
            "divided by the rank alone",
            lambda *a: adapted(*a, scale=lambda alpha, r: 1 / r),
            "You divided by the rank and left out α.",
            "The scale has two numbers in it.",
            "15.3",
        ),
        Misconception(
            "r / alpha instead of alpha / r",
            lambda *a: adapted(*a, scale=lambda alpha, r: r / alpha),
            "Your scale is upside down.",
            "What is the scale for α = 32 and r = 1?",
            "15.3",
        ),
        Misconception(
            "divided by the root of the rank",
            lambda *a: adapted(*a, scale=lambda alpha, r: alpha / math.sqrt(r)),
            "You divided by √r. That is a variant (rsLoRA, Kalajdzievski 2023), but not the one asked for.",
            "α / r, with nothing else.",
            "15.3",
        ),
        Misconception(
            "the adapter replaces the layer",
            lambda *a: adapted(*a, base=False),
            "You left out W x. A new adapter would turn the pretrained model into one that knows nothing.",
            "What is the output if B is zero?",
            "15.3",
        ),
        Misconception(
            "the bias is left out",
            lambda *a: adapted(*a, bias=0.0),
            "You left out the bias. It belongs to the pretrained layer and stays.",
            "Compare with nn.Linear.",
            "15.3",
        ),
        Misconception(
            "the bias is added twice",
            lambda *a: adapted(*a, bias=2.0),
            "The adapter has no bias of its own: you added the layer's to it, too.",
            "Which of the two terms contains b?",
            "15.3",
        ),
        Misconception(
            "the bias is scaled too",
            lambda x, W, b, A, B, alpha: adapted(x, W, b, A, B, alpha, bias=alpha / A.size(0)),
            "You multiplied the bias by α / r. Only B A x is scaled.",
            "Where do your parentheses end?",
            "15.3",
        ),
        Misconception(
            "no gradient through the frozen layer",
            lambda *a: adapted(*a, frozen=True),
            "The outputs are right, but you cut the gradient of x on its way through W. W may be frozen; the layers "
            "below still learn through it, and here they would get only the adapter's part.",
            "Freezing a weight means that *it* gets no gradient. x is not frozen.",
            "15.3",
        ),
        Misconception(
            "the pretrained weight is not transposed",
            lambda x, W, b, A, B, alpha: adapted(x, W.T, b, A, B, alpha),
            "You computed x @ W. As in nn.Linear, row o of W makes output o: it is x @ W.T.",
            "W is (n_out, n_in), and x ends in n_in.",
            "15.3",
        ),
    ],
    accepted={
        "the merged weight": lambda x, W, b, A, B, alpha: F.linear(x, W + alpha / A.size(0) * (B @ A), b),
        "einsum, float64": lambda x, W, b, A, B, alpha: (
            torch.einsum("...i,oi->...o", x.double(), W.double())
            + torch.einsum("...i,ri,or->...o", x.double(), A.double(), B.double()) * alpha / len(A)
            + (0 if b is None else b)
        ),
        "loops": forward_by_loops,
        "side by side": lambda x, W, b, A, B, alpha: F.linear(
            torch.cat([x, F.linear(x, A) * alpha / A.size(0)], -1), torch.cat([W, B], 1), b
        ),
    },
    hints=[
        "Begin with the layer without its adapter: `x @ W.T`, and the bias if there is one.",
        "First reduce x to r numbers, then expand these to n_out: which of A and B comes first?",
        "`x @ W.T + alpha / A.size(0) * (x @ A.T @ B.T)`, plus b unless it is None.",
    ],
)  # fmt: skip


# 2. new_adapter


def three_adapters(new, n_in: int, n_out: int, rank: int, seed: int) -> list[Tensor]:
    """A and B, A from the same generator once more, and A from another one."""
    A, B = new(n_in, n_out, rank, torch.Generator().manual_seed(seed))
    again, _ = new(n_in, n_out, rank, torch.Generator().manual_seed(seed))
    other, _ = new(n_in, n_out, rank, torch.Generator().manual_seed(seed + 1))
    return [A, B, again, other]


def looks(get, n_in: int, n_out: int, rank: int, seed: int) -> dict:
    """What can be said of the matrices without knowing how they were drawn. Numbers are rounded, since they vary."""
    A, B, again, other = get()
    found = {
        "shapes": [list(A.shape), list(B.shape)],
        "types": [str(A.dtype), str(B.dtype)],
        "B is zero": not bool(B.any()),
        "A is zero": not bool(A.any()),
        "the same generator, the same A": torch.equal(A, again),
        "another generator, another A": not torch.equal(A, other),
        "all of A within its bounds": bool((A.abs() <= n_in**-0.5 * 1.0001).all()),
    }
    if A.numel() >= 20_000:
        found["mean of A, in units of the bound"] = round(A.mean().item() * n_in**0.5, 1) + 0.0
        found["standard deviation of A, in units of the bound"] = round(A.std().item() * n_in**0.5, 2)
        found["largest of A, in units of the bound"] = round(A.max().item() * n_in**0.5, 2)
        found["correlation of two rows"] = round(torch.corrcoef(A[:2])[0, 1].item()) + 0
        found["correlation of two columns"] = round(torch.corrcoef(A.T[:2])[0, 1].item()) + 0
    return found


def uniform(n_in, n_out, rank, generator, bound=None):
    """A and B, with another bound if one is given."""
    bound = n_in**-0.5 if bound is None else bound
    return (2 * torch.rand(rank, n_in, generator=generator) - 1) * bound, torch.zeros(n_out, rank)


def as_peft_does(n_in, n_out, rank, generator):
    A = torch.empty(rank, n_in)
    torch.nn.init.kaiming_uniform_(A, a=math.sqrt(5), generator=generator)
    return A, torch.zeros(n_out, rank)


def number_by_number(n_in, n_out, rank, generator):
    bound = 1 / math.sqrt(n_in)
    A = torch.zeros(rank, n_in)
    for row in A:
        row.uniform_(-bound, bound, generator=generator)
    return A, torch.tensor([[0.0] * rank] * n_out)


def more_adapters(seed: int) -> list[Case]:
    draw = Random(seed)
    return [
        Case(
            f"{n} to {n + 3} features",
            run=three_adapters,
            judge=looks,
            n_in=n,
            n_out=n + 3,
            rank=rank,
            seed=draw.randrange(10**6),
        )
        for n, rank in ((draw.randint(4, 20), 3), (draw.randint(450, 600), 60))
    ]


new_adapter = Exercise(
    name="new_adapter",
    asks="Make A, uniform between -1/√n_in and 1/√n_in, and B, zero: an adapter before training.",
    reference=uniform,
    section="15.3",
    cases=[
        Case("four to three features, rank 2", run=three_adapters, judge=looks, n_in=4, n_out=3, rank=2, seed=0),
        Case("one feature, rank 1", run=three_adapters, judge=looks, n_in=1, n_out=1, rank=1, seed=1),
        Case("more outputs than inputs", run=three_adapters, judge=looks, n_in=3, n_out=8, rank=3, seed=2),
        Case(
            "large enough to see the distribution", run=three_adapters, judge=looks, n_in=500, n_out=7, rank=60, seed=3
        ),
        Case("400 features in, rank 100", run=three_adapters, judge=looks, n_in=400, n_out=10, rank=100, seed=4),
    ],
    random_cases=more_adapters,
    misconceptions=[
        Misconception(
            "both are zero",
            lambda n_in, n_out, rank, generator: (torch.zeros(rank, n_in), torch.zeros(n_out, rank)),
            "With A = 0 and B = 0 both gradients are zero, so this adapter never learns anything.",
            "Look at the gradients of 15.3: what do they contain besides the gradient of the layer?",
            "15.3",
        ),
        Misconception(
            "both are random",
            lambda n_in, n_out, rank, generator: (
                uniform(n_in, n_out, rank, generator)[0],
                uniform(rank, n_out, n_out, generator)[0],
            ),
            "With A and B random, B A is not zero: before the first step you have already changed the pretrained model "
            "at random.",
            "What should the adapted layer compute before training?",
            "15.3",
            variants=(
                lambda n_in, n_out, rank, generator: (
                    uniform(n_in, n_out, rank, generator)[0],
                    uniform(n_in, n_out, n_out, generator)[0][:, :1].repeat(1, rank),
                ),
                lambda n_in, n_out, rank, generator: (
                    uniform(n_in, n_out, rank, generator)[0],
                    torch.randn(n_out, rank, generator=generator),
                ),
            ),
        ),
        Misconception(
            "B is random and A is zero",
            lambda n_in, n_out, rank, generator: (
                torch.zeros(rank, n_in),
                (2 * torch.rand(n_out, rank, generator=generator) - 1) * n_in**-0.5,
            ),
            "You made A zero and B random. That can learn too, but the convention, in the paper and in this exercise, "
            "is the other way around.",
            "Read the docstring again: which of the two is zero?",
            "15.3",
        ),
        Misconception(
            "the bound is 1/n_in",
            lambda n_in, n_out, rank, generator: uniform(n_in, n_out, rank, generator, 1 / n_in),
            "Your numbers lie between ± 1/n_in. A x is then smaller by a factor √n_in, and so are the first steps.",
            "There is a root.",
            "15.3",
        ),
        Misconception(
            "the bound depends on the rank",
            lambda n_in, n_out, rank, generator: uniform(n_in, n_out, rank, generator, rank**-0.5),
            "You took the number of rows. A reads n_in features, and their number decides how large A x is.",
            "A x is a sum of how many terms?",
            "15.3",
        ),
        Misconception(
            "normal instead of uniform",
            lambda n_in, n_out, rank, generator: (
                torch.randn(rank, n_in, generator=generator) * n_in**-0.5,
                torch.zeros(n_out, rank),
            ),
            "You drew from a normal distribution: some numbers lie outside the bounds.",
            "`torch.rand` draws uniformly, `torch.randn` normally.",
            "15.3",
            variants=(
                lambda n_in, n_out, rank, generator: (
                    torch.randn(rank, n_in, generator=generator) * (3 * n_in) ** -0.5,
                    torch.zeros(n_out, rank),
                ),
            ),
        ),
        Misconception(
            "only positive numbers",
            lambda n_in, n_out, rank, generator: (
                torch.rand(rank, n_in, generator=generator) * n_in**-0.5,
                torch.zeros(n_out, rank),
            ),
            "Your numbers lie between 0 and the bound. All rows of A then point in nearly the same direction.",
            "`torch.rand` begins at 0. How do you get from [0, 1) to [-1, 1)?",
            "15.3",
        ),
        Misconception(
            "half of the interval",
            lambda n_in, n_out, rank, generator: uniform(n_in, n_out, rank, generator, 0.5 * n_in**-0.5),
            "Your interval has the width of the bound: from -½ to ½ of it.",
            "How long is the interval from -1 to 1?",
            "15.3",
        ),
        Misconception(
            "the matrices are transposed",
            lambda n_in, n_out, rank, generator: tuple(m.T for m in uniform(n_in, n_out, rank, generator)),
            "Your A is (n_in, r) and your B is (r, n_out). Here both are stored as nn.Linear stores its weight: (out, "
            "in).",
            "A reads n_in features and writes r.",
            "15.3",
        ),
        Misconception(
            "all rows are the same",
            lambda n_in, n_out, rank, generator: (
                uniform(n_in, n_out, 1, generator)[0].expand(rank, n_in),
                torch.zeros(n_out, rank),
            ),
            "You drew one row and repeated it. Equal rows get equal gradients, so the adapter keeps rank 1.",
            "Each number is drawn independently.",
            "15.3",
        ),
        Misconception(
            "the generator is not used",
            lambda n_in, n_out, rank, generator: uniform(n_in, n_out, rank, None),
            "You drew from torch's global generator. The same generator must give the same A: only then can a run be "
            "repeated.",
            "`torch.rand` has an argument for it.",
            "15.3",
        ),
    ],
    accepted={
        "kaiming_uniform_, as peft does": as_peft_does,
        "row by row": number_by_number,
        "a difference": lambda n_in, n_out, rank, generator: (
            (torch.rand(rank, n_in, generator=generator) - 0.5) * 2 / math.sqrt(n_in),
            torch.zeros(rank, n_out).T,
        ),
    },
    hints=[
        "`torch.rand(…, generator=generator)` draws uniformly between 0 and 1. Stretch that and shift it.",
        "2u - 1 lies between -1 and 1.",
        "`(2 * torch.rand(rank, n_in, generator=generator) - 1) / math.sqrt(n_in)`, and zeros of shape (n_out, rank).",
    ],
)


# 3. plan_adapter


def planned(shapes, budget, cost=None, cap=min, over=min, choose=None, count=None, each=12):
    """Rank, weights and bytes, with every detail open to being wrong."""
    cost = (lambda n_out, n_in: n_in + n_out) if cost is None else cost
    per_rank = sum(cost(n_out, n_in) for n_out, n_in in shapes)
    rank = budget // per_rank if choose is None else choose(budget, per_rank)
    if cap is not None:
        rank = min(rank, over(cap(shape) for shape in shapes))
    n_weights = rank * per_rank if count is None else count(rank, shapes)
    return rank, n_weights, each * n_weights


def by_search(shapes, budget):
    rank, weights = 0, 0
    while all(rank + 1 <= n for shape in shapes for n in shape):
        more = sum((rank + 1) * n for shape in shapes for n in shape)
        if more > budget:
            break
        rank, weights = rank + 1, more
    return rank, weights, weights * 3 * 4


def by_numpy(shapes, budget):
    table = np.array(shapes)
    rank = int(min(table.min(), budget // table.sum()))
    return [rank, rank * int(table.sum()), 12 * rank * int(table.sum())]


def more_plans(seed: int) -> list[Case]:
    draw, cases = Random(seed), []
    for n in (2, 3, 4):
        shapes = [(draw.randint(9, 30), draw.randint(9, 30)) for _ in range(n)]
        per_rank = sum(map(sum, shapes))
        budget = draw.randint(2, 8) * per_rank + draw.choice([-1, 0, 1, per_rank // 2])
        cases.append(Case(f"{n} layers, at most {budget} weights", shapes=shapes, budget=budget))
    return cases


BLOCK = [(128, 128), (64, 128), (64, 128), (128, 128), (352, 128), (352, 128), (128, 352)]

plan_adapter = Exercise(
    name="plan_adapter",
    asks="Find the largest rank whose adapters fit into a budget, their number of weights, and AdamW's bytes.",
    reference=planned,
    section="15.4",
    cases=[
        Case("one layer from 6 to 4 features", shapes=[(4, 6)], budget=25),
        Case("exactly the budget", shapes=[(4, 6)], budget=30),
        Case("one weight too few", shapes=[(4, 6)], budget=29),
        Case("more than the layer can use", shapes=[(4, 6)], budget=1000),
        Case("more outputs than inputs", shapes=[(9, 3)], budget=1000),
        Case("two layers of different sizes", shapes=[(4, 6), (10, 20)], budget=100),
        Case("the narrow layer limits the rank", shapes=[(2, 50), (40, 60)], budget=10_000),
        Case("the narrow layer comes last", shapes=[(40, 60), (30, 3)], budget=10_000),
        Case("rank 1 is too expensive", shapes=[(4, 6), (10, 20)], budget=39),
        Case("nothing to spend", shapes=[(4, 6)], budget=0),
        Case("a block of storyworld-gpt", shapes=BLOCK, budget=12_345),
        Case("GPT-3: queries and values of 96 layers", shapes=[(12288, 12288)] * 192, budget=20_000_000),
    ],
    random_cases=more_plans,
    misconceptions=[
        Misconception(
            "the whole matrix is counted",
            lambda shapes, budget: planned(shapes, budget, cost=lambda n_out, n_in: n_in * n_out),
            "You counted n_in · n_out weights for each rank. That is the size of the matrix that an adapter avoids.",
            "How many numbers are in one row of A and one column of B?",
            "15.4",
        ),
        Misconception(
            "only A is counted",
            lambda shapes, budget: planned(shapes, budget, cost=lambda n_out, n_in: n_in),
            "You counted r · n_in weights: those of A. B has r · n_out more.",
            "An adapter consists of two matrices.",
            "15.4",
        ),
        Misconception(
            "only B is counted",
            lambda shapes, budget: planned(shapes, budget, cost=lambda n_out, n_in: n_out),
            "You counted r · n_out weights: those of B. A has r · n_in more.",
            "An adapter consists of two matrices.",
            "15.4",
        ),
        Misconception(
            "the rank exceeds the matrix",
            lambda shapes, budget: planned(shapes, budget, cap=None),
            "Your rank is larger than n_in or n_out of some layer. No matrix has a rank larger than its shorter side, "
            "so these weights would be wasted.",
            "What is the largest rank of a matrix with 4 rows and 6 columns?",
            "15.2",
        ),
        Misconception(
            "limited by the longer side",
            lambda shapes, budget: planned(shapes, budget, cap=max),
            "You limited the rank by the longer side of the matrix. It is the shorter one that limits it.",
            "Can four rows span five dimensions?",
            "15.2",
        ),
        Misconception(
            "limited by the largest layer only",
            lambda shapes, budget: planned(shapes, budget, over=max),
            "You limited the rank by the layer that allows most. All layers get the same rank, so the narrowest one "
            "decides.",
            "In *no* layer may the rank be too large.",
            "15.2",
            variants=(lambda shapes, budget: planned(shapes, budget, over=lambda sides: list(sides)[0]),),
        ),
        Misconception(
            "the budget must not be reached",
            lambda shapes, budget: planned(shapes, budget, choose=lambda b, each: max(0, b - 1) // each),
            "You stop one short: a budget that is used up exactly is allowed.",
            "At most: is that < or ≤?",
            "15.4",
        ),
        Misconception(
            "rounded up",
            lambda shapes, budget: planned(shapes, budget, choose=lambda b, each: -(-b // each)),
            "You rounded up, so the adapters cost more than the budget.",
            "A budget of 25 with 10 weights for each rank: two or three?",
            "15.4",
            variants=(lambda shapes, budget: planned(shapes, budget, choose=lambda b, each: round(b / each)),),
        ),
        Misconception(
            "at least rank 1",
            lambda shapes, budget: planned(shapes, budget, choose=lambda b, each: max(1, b // each)),
            "You returned rank 1 where it does not fit into the budget.",
            "The docstring says what to return then.",
            "15.4",
        ),
        Misconception(
            "the weights' own bytes are counted too",
            lambda shapes, budget: planned(shapes, budget, each=16),
            "You counted 16 bytes for each weight, including the weight itself. The question is what comes on top.",
            "A gradient and two averages: three numbers.",
            "15.4",
        ),
        Misconception(
            "the gradient is forgotten",
            lambda shapes, budget: planned(shapes, budget, each=8),
            "You counted AdamW's two averages and forgot the gradient itself.",
            "A gradient and two averages: three numbers.",
            "15.4",
        ),
        Misconception(
            "the budget instead of the weights",
            lambda shapes, budget: planned(shapes, budget, count=lambda rank, shapes: budget),
            "You returned the budget. The adapters of the rank you found usually have fewer weights.",
            "The rank is a whole number, so something is left over.",
            "15.4",
        ),
    ],
    accepted={"a search": by_search, "NumPy": by_numpy},
    hints=[
        "How many weights do all adapters together have at rank 1? And at rank r?",
        "Two limits: the budget, and the shorter side of the narrowest layer.",
        "`per_rank = sum(n_in + n_out …)`, `rank = min(budget // per_rank, …)`, 3 numbers of 4 bytes for each weight.",
    ],
)


# 4. best_adapter


def change_of(best, W, W_new, rank, alpha):
    """(α / r) · B A with the shapes of A and B; how the scale is distributed between the two does not matter."""
    A, B = best(W, W_new, rank, alpha)
    return [list(A.shape), list(B.shape), alpha / rank * (B.double() @ A.double())]


def by_svd(W, W_new, rank, alpha, change=None, keep=None, scale=None):
    """The largest singular values of the change, with every detail open to being wrong."""
    change = W_new - W if change is None else change
    U, S, Vh = torch.linalg.svd(change, full_matrices=False)
    keep = slice(None, rank) if keep is None else keep
    return Vh[keep], U[:, keep] * S[keep] * (rank / alpha if scale is None else scale)


def split_by_root(W, W_new, rank, alpha):
    U, S, V = torch.svd(W_new - W)
    root = (S[:rank] * rank / alpha).sqrt()
    return root[:, None] * V[:, :rank].T, U[:, :rank] * root


def by_projection(W, W_new, rank, alpha):
    """Project the change onto the strongest directions of its inputs, the eigenvectors of ΔᵀΔ."""
    change = (W_new - W).double()
    _, vectors = torch.linalg.eigh(change.T @ change)  # from weak to strong
    A = vectors[:, -rank:].T
    return A, rank / alpha * change @ A.T


def by_numpy_svd(W, W_new, rank, alpha):
    U, S, Vh = np.linalg.svd((W_new - W).double().numpy())
    A = np.diag(S[:rank]) @ Vh[:rank] / alpha
    return torch.from_numpy(A), torch.from_numpy(rank * U[:, :rank].copy())


def fine_tuned(rank: int, n_out: int, n_in: int, seed: int) -> dict[str, Tensor]:
    """A weight, and the same after a change whose singular values are clearly different."""
    U, V = (torch.linalg.qr(random(n, min(n_out, n_in), seed=seed + i)).Q for i, n in enumerate((n_out, n_in)))
    S = 4.0 * 0.6 ** torch.arange(min(n_out, n_in))
    W = random(n_out, n_in, seed=seed + 2)
    return {"W": W, "W_new": W + U * S @ V.T, "rank": rank}


def more_changes(seed: int) -> list[Case]:
    draw, cases = Random(seed), []
    for _ in range(3):
        n_out, n_in, rank = draw.randint(4, 9), draw.randint(4, 9), draw.randint(2, 3)
        inputs = fine_tuned(rank, n_out, n_in, draw.randrange(10**6))
        cases.append(
            Case(f"{n_out} × {n_in}, rank {rank}", run=change_of, **inputs, alpha=draw.choice([1.0, 8.0, 32.0]))
        )
    return cases


best_adapter = Exercise(
    name="best_adapter",
    asks="Find the A and B of rank r for which W + (α / r) · B A is as close to W_new as possible.",
    reference=by_svd,
    section="15.2",
    cases=[
        Case(
            "a diagonal change, rank 1, alpha 1",
            run=change_of, W=torch.zeros(2, 2), W_new=tensor([[3, 0], [0, 1]]), rank=1, alpha=1.0,
        ),
        Case(
            "the largest comes last",
            run=change_of, W=torch.zeros(2, 2), W_new=tensor([[1, 0], [0, 3]]), rank=1, alpha=1.0,
        ),
        Case(
            "a weight that was not zero",
            run=change_of, W=tensor([[0, 9], [0, 0]]), W_new=tensor([[2, 9], [0, 1]]), rank=1, alpha=1.0,
        ),
        Case(
            "rank 2, alpha 8",
            run=change_of, W=torch.zeros(3, 3), W_new=tensor([[4, 0, 0], [0, 2, 0], [0, 0, 1]]), rank=2, alpha=8.0,
        ),
        Case("six to four features", run=change_of, **fine_tuned(2, 4, 6, 1), alpha=16.0),
        Case("four to six features", run=change_of, **fine_tuned(3, 6, 4, 2), alpha=1.0),
        Case("the full rank: nothing is lost", run=change_of, **fine_tuned(4, 4, 5, 3), alpha=2.0),
        Case("nothing has changed", run=change_of, W=random(3, 4), W_new=random(3, 4), rank=2, alpha=4.0),
        Case(
            "transposed tensors, alpha smaller than the rank",
            run=lambda best, W, W_new, rank, alpha: change_of(best, W.T, W_new.T, rank, alpha),
            **fine_tuned(3, 5, 7, 5), alpha=0.5,
        ),
        Case("fifty features, rank 5", run=change_of, **fine_tuned(5, 50, 40, 6), alpha=10.0),
        Case("one feature", run=change_of, W=tensor([[2]]), W_new=tensor([[-1]]), rank=1, alpha=3.0),
    ],
    random_cases=more_changes,
    misconceptions=[
        Misconception(
            "alpha / r is forgotten",
            lambda *a: by_svd(*a, scale=1.0),
            "Your B A itself is the best change, but the layer multiplies it by α / r.",
            "What must B A be, so that α / r times it is what you want?",
            "15.3",
        ),
        Misconception(
            "multiplied by alpha / r instead of divided",
            lambda W, W_new, rank, alpha: by_svd(W, W_new, rank, alpha, scale=alpha / rank),
            "You multiplied by α / r. The layer does that once more; you have to undo it in advance.",
            "Try α / r = 4: how large must B A be?",
            "15.3",
        ),
        Misconception(
            "divided by alpha only",
            lambda W, W_new, rank, alpha: by_svd(W, W_new, rank, alpha, scale=1 / alpha),
            "You divided by α and forgot the rank.",
            "The scale is α / r.",
            "15.3",
        ),
        Misconception(
            "the fine-tuned weight itself is approximated",
            lambda W, W_new, rank, alpha: by_svd(W, W_new, rank, alpha, change=W_new),
            "You approximated W_new. But the adapter is added to W, so only the difference is its business.",
            "Which matrix is of low rank: the weight, or its change?",
            "15.2",
        ),
        Misconception(
            "the sign is wrong",
            lambda W, W_new, rank, alpha: by_svd(W, W_new, rank, alpha, change=W - W_new),
            "You approximated W - W_new, so your adapter leads away from W_new.",
            "W plus what is W_new?",
            "15.2",
        ),
        Misconception(
            "the smallest singular values are kept",
            lambda W, W_new, rank, alpha: by_svd(
                W, W_new, rank, alpha, keep=slice(min(W.shape) - rank, None)
            ),
            "You kept the directions in which the change is weakest.",
            "torch sorts singular values from large to small.",
            "15.2",
        ),
        Misconception(
            "the singular values are left out",
            lambda W, W_new, rank, alpha: (lambda U, S, Vh: (Vh[:rank], U[:, :rank] * rank / alpha))(
                *torch.linalg.svd(W_new - W, full_matrices=False)
            ),
            "You multiplied the directions, U and V, and left out how strong each of them is.",
            "Where is S in your product?",
            "15.2",
        ),
        Misconception(
            "the singular values are used twice",
            lambda W, W_new, rank, alpha: (lambda A, B: (A * torch.linalg.svdvals(W_new - W)[:rank, None], B))(
                *by_svd(W, W_new, rank, alpha)
            ),
            "You multiplied both A and B by the singular values, so they appear squared in the product.",
            "Give them to one of the two, or the square root to each.",
            "15.2",
        ),
        Misconception(
            "the first rows instead of the strongest directions",
            lambda W, W_new, rank, alpha: (
                (W_new - W)[:rank] * rank / alpha, torch.eye(len(W))[:, :rank],
            ),
            "You took the first rows of the change and zero for the others: a matrix of the right rank, but not the "
            "closest one.",
            "The theorem of Eckart and Young says which r directions are best.",
            "15.2",
        ),
        Misconception(
            "always rank 1",
            lambda W, W_new, rank, alpha: (lambda A, B: (A * (torch.arange(rank) < 1)[:, None], B))(
                *by_svd(W, W_new, rank, alpha)
            ),
            "You used only the strongest direction. There is room for r of them.",
            "How many rows has A?",
            "15.2",
        ),
    ],
    accepted={
        "the root of the singular values to each": split_by_root,
        "a projection onto the strongest inputs": by_projection,
        "NumPy": by_numpy_svd,
    },
    hints=[
        "What has to be approximated? Not W_new: what is added to W.",
        "`U, S, Vh = torch.linalg.svd(change, full_matrices=False)` gives change = U · diag(S) · Vh, strongest first.",
        "A = Vh[:rank]; B = U[:, :rank] * S[:rank], times r / α, because the layer multiplies by α / r.",
    ],
)  # fmt: skip


# 5. distillation_loss


def loss_and_gradient(loss, logits, teacher_logits, targets, temperature, weight):
    """The loss, and its gradient for the student's logits."""
    logits = logits.clone().requires_grad_()
    value = loss(logits, teacher_logits, targets, temperature, weight)
    (gradient,) = torch.autograd.grad(value, logits)
    return [value.detach(), gradient]


def by_library(logits, teacher_logits, targets, temperature, weight):
    counts = targets != IGNORE_INDEX
    hard = F.cross_entropy(logits, targets, reduction="sum")
    soft = soft_loss(logits[counts], teacher_logits[counts], temperature)
    return ((1 - weight) * hard + weight * soft) / counts.sum()


def distilled(logits, teacher_logits, targets, temperature, weight, **wrong):
    """Both terms, with every detail open to being wrong."""
    counts = targets != IGNORE_INDEX
    n = wrong.get("n", lambda counts: counts.sum())(counts)
    T_hard, T_student = wrong.get("T_hard", 1.0), wrong.get("T_student", temperature)
    hard = F.cross_entropy(logits / T_hard, targets, reduction="sum")
    z, v = logits[counts] / T_student, teacher_logits[counts] / wrong.get("T_teacher", temperature)
    p, log_q = v.softmax(-1), z.log_softmax(-1)
    terms = torch.xlogy(p, p) - p * log_q
    if wrong.get("reverse"):
        q = log_q.exp()
        terms = q * log_q - q * v.log_softmax(-1)
    if wrong.get("cross_entropy"):
        terms = -p * log_q
    soft = wrong.get("factor", lambda T: T**2)(temperature) * terms.sum()
    w_hard, w_soft = wrong.get("weights", lambda w: (1 - w, w))(weight)
    return (w_hard * hard + w_soft * soft) / n


def plain_kl(logits, teacher_logits, targets, temperature, weight, log_p=lambda v: v.log_softmax(-1)):
    """p · (log p - log q) with log p = -inf where p = 0."""
    counts = targets != -100
    logs = log_p(teacher_logits[counts] / temperature)
    log_q = (logits[counts] / temperature).log_softmax(-1)
    soft = temperature**2 * (logs.exp() * (logs - log_q)).sum(-1).mean()
    return (1 - weight) * F.cross_entropy(logits, targets) + weight * soft


def one_by_one(logits, teacher_logits, targets, temperature, weight, log_q=lambda z: z.log_softmax(0)):
    losses = []
    for z, v, target in zip(logits, teacher_logits, targets.tolist(), strict=True):
        if target == -100:
            continue
        p, logs = (v / temperature).softmax(0), log_q(z / temperature)
        kl = sum(p[i] * (p[i].log() - logs[i]) for i in range(len(p)) if p[i] > 0)
        losses.append((1 - weight) * -z.log_softmax(0)[target] + weight * temperature**2 * kl)
    return torch.stack(losses).mean()


def by_kl_div(logits, teacher_logits, targets, temperature, weight):
    counts = targets.ge(0)
    logits, teacher_logits = logits[counts], teacher_logits[counts]
    p = F.softmax(teacher_logits / temperature, dim=-1)
    soft = F.kl_div(F.log_softmax(logits / temperature, dim=-1), p, reduction="batchmean") * temperature**2
    return (1 - weight) * F.cross_entropy(logits, targets[counts]) + weight * soft


def predictions(seed: int, n: int, V: int, without: int = 0) -> dict[str, Tensor]:
    """Random logits of student and teacher and targets, the first `without` of which are missing."""
    targets = torch.randint(V, (n,), generator=torch.Generator().manual_seed(seed))
    targets[:without] = -100
    return {
        "logits": random(n, V, seed=seed + 1),
        "teacher_logits": 2 * random(n, V, seed=seed + 2),
        "targets": targets,
    }


def more_losses(seed: int) -> list[Case]:
    draw, cases = Random(seed), []
    for without in (0, 1, 2):
        n, V, s = draw.randint(4, 7), draw.randint(3, 8), draw.randrange(10**6)
        T, w = draw.choice([0.5, 2.0, 3.0]), draw.choice([0.3, 0.7, 0.9])
        inputs = predictions(s, n, V, without)
        cases.append(Case(f"{n} predictions, T {T}, w {w}", run=loss_and_gradient, **inputs, temperature=T, weight=w))
    return cases


SURE = {"logits": tensor([[0, 0]]), "teacher_logits": tensor([[math.log(3), 0]]), "targets": torch.tensor([1])}

distillation_loss = Exercise(
    name="distillation_loss",
    asks="Combine the loss on the text's tokens with T² times the KL divergence from a teacher's probabilities.",
    reference=by_library,
    section="15.9",
    cases=[
        Case("the text alone: w = 0", run=loss_and_gradient, **SURE, temperature=2.0, weight=0.0),
        Case("the teacher alone: w = 1, T = 1", run=loss_and_gradient, **SURE, temperature=1.0, weight=1.0),
        Case("the teacher alone, T = 2", run=loss_and_gradient, **SURE, temperature=2.0, weight=1.0),
        Case(
            "the student is not uniform, T = 2, w = 0.25", run=loss_and_gradient,
            **{**SURE, "logits": tensor([[2, 0]])}, temperature=2.0, weight=0.25,
        ),
        Case("two predictions", run=loss_and_gradient, **predictions(1, 2, 3), temperature=1.0, weight=0.5),
        Case(
            "the student equals the teacher: no loss left", run=loss_and_gradient,
            **{**predictions(2, 3, 4), "logits": random(3, 4, seed=9), "teacher_logits": random(3, 4, seed=9)},
            temperature=2.0, weight=1.0,
        ),
        Case(
            "one of three has nothing to predict", run=loss_and_gradient,
            **predictions(3, 3, 4, without=1), temperature=2.0, weight=0.5,
        ),
        Case(
            "a token that the teacher rules out: -inf", run=loss_and_gradient, logits=tensor([[1, 2, 0], [0, 1, 0]]),
            teacher_logits=tensor([[0, 0, -INFINITY], [1, -INFINITY, -INFINITY]]), targets=torch.tensor([0, 0]),
            temperature=2.0, weight=0.5,
        ),
        Case("a temperature below 1", run=loss_and_gradient, **predictions(4, 5, 6), temperature=0.5, weight=0.9),
        Case(
            "large logits", run=loss_and_gradient, logits=200 * random(3, 4, seed=5),
            teacher_logits=200 * random(3, 4, seed=6), targets=torch.tensor([1, -100, 3]), temperature=2.0, weight=0.5,
        ),
        Case(
            "transposed tensors", run=loss_and_gradient, logits=random(6, 4, seed=7).T,
            teacher_logits=random(6, 4, seed=8).T, targets=torch.tensor([5, 0, -100, 2]), temperature=3.0, weight=0.7,
        ),
        Case(
            "forty predictions, V = 50", run=loss_and_gradient, **predictions(9, 40, 50, without=7),
            temperature=4.0, weight=0.9,
        ),
    ],
    random_cases=more_losses,
    misconceptions=[
        Misconception(
            "T² is left out",
            lambda *a: distilled(*a, factor=lambda T: 1.0),
            "You left out the factor T². The gradient of the soft term shrinks with 1/T², so at T = 4 the teacher "
            "would hardly be heard beside the text.",
            "What does a temperature do to the gradient?",
            "15.9",
        ),
        Misconception(
            "T instead of T²",
            lambda *a: distilled(*a, factor=lambda T: T),
            "You multiplied by T. One factor 1/T comes from the derivative of z / T, a second from q - p, which "
            "shrinks too.",
            "Count the factors 1/T in the gradient.",
            "15.9",
        ),
        Misconception(
            "the temperature is for the teacher only",
            lambda *a: distilled(*a, T_student=1.0),
            "You divided the teacher's logits by T and not the student's. A student equal to its teacher would still "
            "be told to change.",
            "When p = q, the loss must be smallest.",
            "15.9",
        ),
        Misconception(
            "the temperature is for the student only",
            lambda *a: distilled(*a, T_teacher=1.0),
            "You divided the student's logits by T and not the teacher's.",
            "When p = q, the loss must be smallest.",
            "15.9",
        ),
        Misconception(
            "the text's term has the temperature too",
            lambda l, t, y, T, w: distilled(l, t, y, T, w, T_hard=T),
            "You used q at temperature T for the text's tokens. The model will be used at T = 1, and that is how the "
            "text judges it.",
            "Which of q and q₁ belongs to the first term?",
            "15.9",
        ),
        Misconception(
            "the KL divergence the other way round",
            lambda *a: distilled(*a, reverse=True),
            "You computed KL(q ‖ p). It punishes a student for what it says and the teacher does not, and lets it "
            "leave out what the teacher says.",
            "The weights of the sum are the teacher's probabilities.",
            "15.9",
        ),
        Misconception(
            "cross-entropy instead of the KL divergence",
            lambda *a: distilled(*a, cross_entropy=True),
            "You computed -Σ p log q. Its gradient is the same, but its smallest value is the teacher's entropy, not "
            "0.",
            "What is your loss if the student equals the teacher?",
            "15.9",
        ),
        Misconception(
            "the weights are swapped",
            lambda *a: distilled(*a, weights=lambda w: (w, 1 - w)),
            "You gave the weight w to the text and 1 - w to the teacher.",
            "w = 1 means: the teacher alone.",
            "15.9",
        ),
        Misconception(
            "the text's term has no weight",
            lambda *a: distilled(*a, weights=lambda w: (1.0, w)),
            "You added the teacher's term on top of the whole loss of the text.",
            "The two weights sum to 1.",
            "15.9",
        ),
        Misconception(
            "a sum instead of a mean",
            lambda *a: distilled(*a, n=lambda counts: 1),
            "You returned the sum over the predictions.",
            "Divide by the number of predictions that count.",
            "15.9",
        ),
        Misconception(
            "divided by all predictions",
            lambda *a: distilled(*a, n=lambda counts: len(counts)),
            "You divided by N, but the predictions without a target do not count.",
            "How many targets are not -100?",
            "15.9",
        ),
        Misconception(
            "the teacher speaks where nothing counts",
            lambda l, t, y, T, w: (1 - w) * F.cross_entropy(l, y)
            + w * T**2 * (torch.xlogy(p := (t / T).softmax(-1), p) - p * (l / T).log_softmax(-1)).sum(-1).mean(),
            "You left out the predictions without a target in the text's term, but not in the teacher's.",
            "Padding has no teacher either.",
            "15.9",
        ),
        Misconception(
            "0 · log 0 is NaN",
            plain_kl,
            "Where the teacher's probability is 0, you computed 0 · (-inf), which is NaN. One such number and the "
            "whole model is NaN after the next step.",
            "The limit of p log p for p → 0 is 0. `torch.xlogy` knows that.",
            "15.9",
            variants=(lambda *a: plain_kl(*a, log_p=lambda v: v.softmax(-1).log()),),
        ),
        Misconception(
            "the logarithm of a softmax that is zero",
            lambda *a: one_by_one(*a, log_q=lambda z: z.softmax(0).log()),
            "You took the softmax of the student's logits and then its logarithm. A probability below 10⁻⁴⁵ is 0 in "
            "fp32, and log 0 is -inf.",
            "`log_softmax` computes both in one, without ever forming the small number.",
            "15.9",
        ),
        Misconception(
            "divided by the size of the vocabulary",
            lambda l, t, y, T, w: distilled(l, t, y, T, w, factor=lambda T: T**2 / l.size(-1)),
            "You took the mean over all N · V numbers. The KL divergence is a sum over the vocabulary.",
            "Sum over V, mean over N. In F.kl_div that is called \"batchmean\".",
            "15.9",
        ),
    ],
    accepted={"one by one": one_by_one, "kl_div with batchmean": by_kl_div},
    hints=[
        "Write the two terms separately, each as a mean over the predictions that count. The first is an old friend.",
        "Select the rows that count first: `logits[targets != -100]`. Then p from the teacher and log q from the "
        "student, both at temperature T.",
        "`(torch.xlogy(p, p) - p * log_q).sum(-1).mean()`, times T²; the first term is F.cross_entropy.",
    ],
)  # fmt: skip


# 6. two_in_name_only


def train_it(find) -> str:
    """Train the adapter on data; what is wrong with it, or "fine"."""
    A, B = find()
    if not (torch.is_tensor(A) and torch.is_tensor(B) and A.dim() == B.dim() == 2):
        return "A and B are not two matrices"
    if A.size(0) != 2 or B.size(1) != 2:
        return "A does not have two rows, or B not two columns"
    if A.size(1) < 3 or B.size(0) < 3:
        return "fewer than three features"
    A, B = A.detach().double(), B.detach().double()
    if not (A.isfinite().all() and B.isfinite().all()) or max(A.abs().max(), B.abs().max()) > 10:
        return "a number is not finite or larger than 10"
    if (B @ A).abs().max() > 1e-6:
        return "B A is not zero at the start"
    for seed in range(3):
        ratios = learn(A.clone().requires_grad_(), B.clone().requires_grad_(), seed)
        if ratios is None:
            return "it never learns"
        if max(ratios) > 1e-4:
            return "it reaches rank 2"
    return "fine"


def learn(A: Tensor, B: Tensor, seed: int) -> list[float] | None:
    """Gradient descent towards a random matrix: after each step, the second singular value of B A over the first."""
    target = random(B.size(0), A.size(1), seed=seed).double()
    x = random(20, A.size(1), seed=seed + 10).double()
    rate = 0.02 / max(1.0, A.square().sum().item(), B.square().sum().item())
    ratios = []
    for _ in range(60):
        loss = (x @ (B @ A - target).T).square().mean()
        for matrix, gradient in zip((A, B), torch.autograd.grad(loss, (A, B)), strict=True):
            matrix.data -= rate * gradient
        first, second = torch.linalg.svdvals(B @ A)[:2].tolist()
        if first < 1e-9:
            return None
        ratios.append(second / first)
    return ratios


ROW = [1.0, 2.0, -1.0]

two_in_name_only = Exercise(
    name="two_in_name_only",
    asks="Find a first A and B of rank 2 whose product does change in training, but never gets a rank above 1.",
    reference=lambda: (tensor([ROW, ROW]), torch.zeros(3, 2)),
    section="15.3",
    cases=[Case("your adapter", judge=train_it)],
    misconceptions=[
        Misconception(
            "both are zero",
            lambda: (torch.zeros(2, 3), torch.zeros(3, 2)),
            "An adapter of zeros gets no gradient at all, so B A never changes. This one must learn, if only in one "
            "dimension.",
            "Keep one of the two at zero, and choose the other one badly.",
            "15.3",
            variants=(lambda: (torch.zeros(2, 4), torch.zeros(5, 2)),),
        ),
        Misconception(
            "it reaches rank 2",
            lambda: (tensor([ROW, [0, 1, 1]]), torch.zeros(3, 2)),
            "This adapter reaches rank 2: its two rows read different things from x, or its two columns write "
            "different things, so they do not stay in step.",
            "What if both rows read the same, and both columns start equal?",
            "15.3",
            variants=(
                lambda: (random(2, 5, seed=1), torch.zeros(4, 2)),
                lambda: (torch.zeros(2, 5), random(4, 2, seed=1)),
                lambda: (tensor([ROW, ROW]), tensor([[1, -1], [0, 0], [2, -2]])),
            ),
        ),
        Misconception(
            "B A is not zero",
            lambda: (tensor([ROW, ROW]), torch.ones(3, 2)),
            "Your B A is not zero at the start, so the adapter changes the model before it has learned anything.",
            "Which of A and B is usually zero at first?",
            "15.3",
        ),
        Misconception(
            "not two rows and two columns",
            lambda: (tensor([ROW]), torch.zeros(3, 1)),
            "That is an adapter of rank 1. This exercise needs one with two rows and two columns that wastes them.",
            "A is (2, n_in), B is (n_out, 2).",
            "15.3",
            variants=(lambda: (tensor([ROW, ROW]).T.contiguous(), torch.zeros(2, 3)),),
        ),
        Misconception(
            "too few features",
            lambda: (tensor([[1, 2], [1, 2]]), torch.zeros(2, 2)),
            "Take at least three features on each side.",
            "n_in and n_out are at least 3.",
            "15.3",
        ),
        Misconception(
            "not finite, or too large",
            lambda: (tensor([[1e9, 0, 0], [1e9, 0, 0]]), torch.zeros(3, 2)),
            "One of your numbers is not finite, or is larger than 10.",
            "Small whole numbers are enough.",
            "15.3",
            variants=(lambda: (tensor([ROW, ROW]) * math.nan, torch.zeros(3, 2)),),
        ),
        Misconception(
            "not two matrices",
            lambda: (tensor(ROW), torch.zeros(3)),
            "A and B must be two matrices, tensors of two dimensions.",
            "A is (2, n_in), B is (n_out, 2).",
            "15.3",
        ),
    ],
    accepted={
        "one row is a multiple of the other": lambda: (tensor([ROW, [-3, -6, 3]]), torch.zeros(4, 2)),
        "a row of zeros": lambda: (tensor([ROW, [0, 0, 0]]), torch.zeros(3, 2)),
        "A is zero, and B's columns are equal": lambda: (torch.zeros(2, 4), tensor([[1, 1], [2, 2], [0, 0]])),
        "float64": lambda: (torch.ones(2, 3).double(), torch.zeros(5, 2).double()),
    },
    hints=[
        "With B = 0, the first step changes only B. Write down its two columns after that step: 15.3 has the formula.",
        "The columns of B are the gradient times A x, number by number. When are the two columns the same?",
        "If both rows of A are equal, both columns of B get the same gradient, and then both rows of A do, too.",
    ],
)

EXERCISES = [
    lora_forward,
    new_adapter,
    plan_adapter,
    best_adapter,
    distillation_loss,
    two_in_name_only,
    WrittenAnswer(
        "WHY_ONE",
        "Why does the second dimension stay unused, what if both were zero, and what does the usual start do about it?",
        50,
        ["Two numbers that start equal and always get the same gradient stay equal."],
        "15.3",
    ),
    WrittenAnswer(
        "EXPERIMENT",
        "What did you change, what did you predict, what came out, what do you make of it?",
        60,
        ["Make one change at a time; three seeds tell you more than one."],
        "15.7",
    ),
]
