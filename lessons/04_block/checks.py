"""The checks of lesson 04, and the common mistakes."""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lessons.machinery.exercises import Case, Exercise, Misconception, WrittenAnswer
from llmasos import nn as library
from llmasos.models import ModelConfig, n_parameters_of
from llmasos.objectives import IGNORE_INDEX, CausalLM

READY_MADE = {
    name: "it is a ready-made norm; write the formula yourself"
    for name in (
        "torch.nn.functional.layer_norm", "torch.layer_norm", "torch.native_layer_norm", "torch.nn.LayerNorm",
        "torch.nn.functional.group_norm", "torch.group_norm", "torch.nn.GroupNorm",
    )
}  # fmt: skip


def random(*shape: int, seed: int = 0) -> Tensor:
    """Reproducible normal random numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def tensor(rows: list) -> Tensor:
    """A small tensor of floating-point numbers."""
    return torch.tensor(rows, dtype=torch.float32)


# 1. layer_norm


def norm(x, gain, bias, eps, dims=(-1,), unbiased=False, center=True):
    """LayerNorm in which every detail can be wrong."""
    mean = x.mean(dim=dims, keepdim=True)
    variance = x.var(dim=dims, keepdim=True, unbiased=unbiased)
    return (x - mean if center else x) / torch.sqrt(variance + eps) * gain + bias


def norm_by_loops(x, gain, bias, eps):
    rows = []
    for row in x.reshape(-1, x.size(-1)):
        mean = sum(row) / len(row)
        variance = sum((v - mean) ** 2 for v in row) / len(row)
        rows.append(
            torch.stack([(v - mean) / (variance + eps) ** 0.5 * g + b for v, g, b in zip(row, gain, bias, strict=True)])
        )
    return torch.stack(rows).view(x.shape)


def norm_by_einsum(x, gain, bias, eps):
    """Center by a matrix product, with 1 - 1/C on the diagonal and -1/C elsewhere."""
    C = x.size(-1)
    centering = torch.eye(C, dtype=torch.float64) - 1 / C
    centered = torch.einsum("...c,cd->...d", x.double(), centering)
    squares = torch.einsum("...c,...c->...", centered, centered) / C
    return torch.einsum("...c,...,c->...c", centered, (squares + eps).rsqrt(), gain.double()) + bias


def norm_features_first(x, gain, bias, eps):
    x = x.movedim(-1, 0)
    mean = x.mean(0)
    variance = (x * x).mean(0) - mean * mean
    shape = (-1, *[1] * (x.dim() - 1))
    return ((x - mean) / (variance + eps).sqrt() * gain.view(shape) + bias.view(shape)).movedim(0, -1)


ONE = {"gain": torch.ones(4), "bias": torch.zeros(4)}
STEEP = {"gain": tensor([1, 2, 3, 4]), "bias": tensor([10, 20, 30, 40])}
WIDE = {"gain": random(6, seed=1), "bias": random(6, seed=2)}


def random_features(seed: int) -> list[Case]:
    """Features of random sizes, far from constant."""
    generator = torch.Generator().manual_seed(seed)
    B, T, C = torch.randint(1, 9, (3,), generator=generator).tolist()
    C += 2
    x = torch.randn(B, T, C, generator=generator) + torch.linspace(-3, 3, C)
    learned = {"gain": torch.randn(C, generator=generator), "bias": torch.randn(C, generator=generator)}
    return [Case("a batch", x=x, **learned, eps=1e-5), Case("one text", x=x[0] * 3, **learned, eps=0.1 + seed % 5)]


layer_norm = Exercise(
    name="layer_norm",
    asks="Normalize each position's features to mean 0 and variance 1, then multiply by gain and add bias.",
    reference=library.layer_norm,
    section="4.4",
    gradients=True,
    cases=[
        Case("one position: mean 3, variance 4", x=tensor([[1, 1, 5, 5]]), **ONE, eps=1e-6),
        Case("one position: mean 4, variance 16, and an eps of 9", x=tensor([[0, 0, 8, 8]]), **ONE, eps=9.0),
        Case("one position, with gain and bias", x=tensor([[1, 1, 5, 5]]), **STEEP, eps=1e-6),
        Case("two positions", x=tensor([[1, 1, 5, 5], [2, 6, 2, 6]]), **STEEP, eps=1e-6),
        Case("a position whose features are all equal", x=tensor([[7, 7, 7, 7], [1, 5, 1, 5]]), **STEEP, eps=0.5),
        Case("a batch of two texts, three positions each", x=random(2, 3, 6, seed=3) * 2 + 1, **WIDE, eps=1e-5),
        Case("small features and an eps of 0.01", x=random(3, 1, 6, seed=4) * 0.1 + 2, **WIDE, eps=0.01),
        Case("as many positions as features", x=random(6, 6, seed=5), **WIDE, eps=1e-5),
        Case("tiny features and an eps of 1e-12", x=tensor([[1, 1, 5, 5]]) * 1e-4, **STEEP, eps=1e-12),
        Case("a single position without further dimensions", x=tensor([1, 1, 5, 5]), **STEEP, eps=1e-6),
        Case("four dimensions", x=random(2, 2, 3, 6, seed=6), **WIDE, eps=1e-5),
        Case("a transposed x, not contiguous", x=random(6, 3, 2, seed=7).permute(2, 1, 0), **WIDE, eps=1e-5),
        Case("a single feature", x=tensor([[3], [-2]]), gain=tensor([2]), bias=tensor([7]), eps=1e-5),
        Case(
            "positions of different variance, eps between them",
            x=tensor([[0, 2, 0, 2], [0, 200, 0, 200]]),
            **STEEP,
            eps=3.0,
        ),
    ],
    random_cases=random_features,
    misconceptions=[
        Misconception(
            "variance divided by C - 1",
            lambda x, gain, bias, eps: norm(x, gain, bias, eps, unbiased=True),
            "You divided the sum of squared deviations by C - 1, as `var` and `std` do by default. The variance here "
            "describes these C numbers; it does not estimate the variance of a larger population.",
            "`unbiased=False` or `correction=0`, or the mean of the squares.",
            "4.4",
        ),
        Misconception(
            "eps outside the square root",
            lambda x, gain, bias, eps: (
                (x - x.mean(-1, True)) / (x.std(-1, unbiased=False, keepdim=True) + eps) * gain + bias
            ),
            "You divided by √variance + eps. With a tiny eps you hardly see the difference, but where the features "
            "are nearly equal it is large: √1e-5 is 300 times 1e-5.",
            "What exactly is under the root in the formula?",
            "4.4",
        ),
        Misconception(
            "C - 1, and eps outside the square root",
            lambda x, gain, bias, eps: (x - x.mean(-1, True)) / (x.std(-1, keepdim=True) + eps) * gain + bias,
            "You divided by x.std(…) + eps. `std` divides the squared deviations by C - 1, but the formula takes "
            "their mean over C; and eps belongs inside the root.",
            "Compute the variance first, as the mean of the squares; add eps; then take the root.",
            "4.4",
            variants=(lambda x, gain, bias, eps: (x - x.mean(-1, True)) / x.std(-1, keepdim=True) * gain + bias,),
        ),
        Misconception(
            "eps argument ignored",
            lambda x, gain, bias, eps: norm(x, gain, bias, 1e-5),
            "You use your own eps, or none. It is an argument for a reason: GPT-2 uses 1e-5, BERT 1e-12, and weights "
            "trained with one do not work as well with the other.",
            "Where does the argument eps appear in your code?",
            "4.4",
            variants=(
                lambda x, gain, bias, eps: norm(x, gain, bias, 1e-6),
                lambda x, gain, bias, eps: norm(x, gain, bias, 0.0),
            ),
        ),
        Misconception(
            "normalized over the positions",
            lambda x, gain, bias, eps: norm(x, gain, bias, eps, dims=(-2,)),
            "You took mean and variance over the positions, for each feature. Each position then depends on all "
            "others, also on later ones: the model could see the future through its norms.",
            "The features are the last dimension.",
            "4.4",
        ),
        Misconception(
            "batch norm instead of LayerNorm",
            lambda x, gain, bias, eps: norm(x, gain, bias, eps, dims=tuple(range(x.dim() - 1))),
            "You took mean and variance of each feature over all positions of all texts: that is batch norm. A "
            "text's result then depends on which other texts happen to be in its batch.",
            "For each position on its own: how many numbers go into one mean?",
            "4.4",
            variants=(lambda x, gain, bias, eps: norm(x, gain, bias, eps, dims=(0,)),),
        ),
        Misconception(
            "a single mean for all positions",
            lambda x, gain, bias, eps: norm(x, gain, bias, eps, dims=tuple(range(x.dim()))),
            "You took one mean and variance over all numbers. Every position has its own.",
            "`x.mean()` is one number; `x.mean(dim=-1, keepdim=True)` is one for each position.",
            "4.4",
            variants=(lambda x, gain, bias, eps: norm(x, gain, bias, eps, dims=(-2, -1)),),
        ),
        Misconception(
            "no gain and bias",
            lambda x, gain, bias, eps: norm(x, 1.0, 0.0, eps),
            "You normalized and stopped. Without gain and bias, no feature could ever matter more than another.",
            "Your code does not use two of the function's arguments.",
            "4.4",
        ),
        Misconception(
            "no bias",
            lambda x, gain, bias, eps: norm(x, gain, 0.0, eps),
            "You multiplied by the gain, but did not add the bias.",
            "Your code does not use one of the function's arguments.",
            "4.4",
        ),
        Misconception(
            "gain and bias before the norm",
            lambda x, gain, bias, eps: norm(x * gain + bias, 1.0, 0.0, eps),
            "You applied gain and bias before normalizing, which undoes most of what they did: the output has mean 0 "
            "and variance 1 whatever they are.",
            "First normalize, then scale and shift.",
            "4.4",
        ),
        Misconception(
            "bias scaled by the gain",
            lambda x, gain, bias, eps: (norm(x, 1.0, 0.0, eps) + bias) * gain,
            "You added the bias and then multiplied by the gain, so the bias was scaled too.",
            "Which comes first, · gain or + bias?",
            "4.4",
        ),
        Misconception(
            "RMSNorm: the mean is not subtracted",
            lambda x, gain, bias, eps: x * torch.rsqrt(x.square().mean(-1, True) + eps) * gain + bias,
            "You divided by the root of the mean square and did not center. That is RMSNorm, a good norm (lesson "
            "12), but a different one.",
            "What is the mean of your output, before gain and bias?",
            "4.4",
        ),
        Misconception(
            "divided by the standard deviation without centering",
            lambda x, gain, bias, eps: norm(x, gain, bias, eps, center=False),
            "You divided by the standard deviation, but did not subtract the mean.",
            "The mean is needed twice: in the variance, and in the numerator.",
            "4.4",
        ),
        Misconception(
            "keepdim=True missing",
            lambda x, gain, bias, eps: (x - x.mean(-1)) / (x.var(-1, unbiased=False) + eps).sqrt() * gain + bias,
            "Your mean has lost the last dimension: it has shape (T,) next to an x of shape (T, C), and broadcasting "
            "aligns shapes from the right. So you subtract the mean of another position, or get an error.",
            "What does `keepdim=True` do?",
            "4.4",
        ),
        Misconception(
            "divided by the variance instead of its root",
            lambda x, gain, bias, eps: (
                (x - x.mean(-1, True)) / (x.var(-1, unbiased=False, keepdim=True) + eps) * gain + bias
            ),
            "You divided by the variance, not by its square root: features twice as large come out half as large.",
            "If all of x doubles, the output should not change. Does yours?",
            "4.4",
        ),
        Misconception(
            "multiplied by the standard deviation",
            lambda x, gain, bias, eps: (
                (x - x.mean(-1, True)) * (x.var(-1, unbiased=False, keepdim=True) + eps).sqrt() * gain + bias
            ),
            "You multiplied by the standard deviation, but the formula divides by it.",
            "If all of x doubles, the output should not change. Does yours?",
            "4.4",
        ),
        Misconception(
            "gain and bias swapped",
            lambda x, gain, bias, eps: norm(x, bias, gain, eps),
            "You multiplied by the bias and added the gain.",
            "Check the order of the arguments.",
            "4.4",
        ),
        Misconception(
            "only the mean divided: a missing bracket",
            lambda x, gain, bias, eps: (
                (x - x.mean(-1, True) / (x.var(-1, unbiased=False, keepdim=True) + eps).sqrt()) * gain + bias
            ),
            "You divided the mean by the standard deviation and subtracted the quotient: / comes before -.",
            "Which brackets does the numerator need?",
            "4.4",
        ),
        Misconception(
            "centered, but divided by the root of the mean square of x",
            lambda x, gain, bias, eps: (x - x.mean(-1, True)) / (x.square().mean(-1, True) + eps).sqrt() * gain + bias,
            "You centered the numerator, but the squares in the denominator are those of x itself. Features far from 0 "
            "then come out nearly 0.",
            "The variance is the mean of the squared *deviations*.",
            "4.4",
        ),
        Misconception(
            "sum of squares instead of their mean",
            lambda x, gain, bias, eps: (
                (x - x.mean(-1, True)) / ((x - x.mean(-1, True)).square().sum(-1, True) + eps).sqrt() * gain + bias
            ),
            "You divided by the length of the centered vector: the root of the sum of squares, not of their mean. The "
            "wider the model, the smaller your features.",
            "What is the variance of your output, before gain and bias?",
            "4.4",
        ),
        Misconception(
            "mean absolute deviation instead of the standard deviation",
            lambda x, gain, bias, eps: (
                (x - x.mean(-1, True)) / ((x - x.mean(-1, True)).abs().mean(-1, True) ** 2 + eps).sqrt() * gain + bias
            ),
            "You took the mean of the absolute deviations. That is a measure of spread, too, but not the one of the "
            "formula.",
            "First square the deviations, then take their mean, then the root.",
            "4.4",
            variants=(
                lambda x, gain, bias, eps: (
                    (x - x.mean(-1, True)) / ((x - x.mean(-1, True)).abs().mean(-1, True) + eps) * gain + bias
                ),
            ),
        ),
    ],
    accepted={
        "loops": norm_by_loops,
        "einsum, float64": norm_by_einsum,
        "features first, variance as the mean square minus the square of the mean": norm_features_first,
        "var_mean": lambda x, gain, bias, eps: torch.addcmul(
            bias,
            (x - torch.var_mean(x, -1, correction=0, keepdim=True)[1])
            / (torch.var_mean(x, -1, correction=0, keepdim=True)[0] + eps) ** 0.5,
            gain,
        ),
    },
    forbidden=READY_MADE,
    hints=[
        "Do it for [1, 1, 5, 5] on paper: the mean, the four deviations, the mean of their squares, its root.",
        "`x.mean(dim=-1, keepdim=True)` keeps a dimension of size 1, so that it can be subtracted from x.",
        "centered = x minus its mean; variance = mean of centered²; centered / √(variance + eps), times gain, plus "
        "bias.",
    ],
)


# 2. n_parameters


def size(V, T, C, L, tied, attention=4, wide=4, biases=9, norms=2, norm_size=2, last=1, positions=1, embeddings=None):
    """The number of parameters; each term can be left out."""
    per_block = attention * C * C + 2 * wide * C * C + biases * C + norms * norm_size * C
    embeddings = (1 if tied else 2) if embeddings is None else embeddings
    return embeddings * V * C + positions * T * C + L * per_block + last * norm_size * C


def built(V, T, C, L, H, tied):
    """Build it from torch's layers on the meta device, which stores no values, and count."""
    with torch.device("meta"):
        parts = [torch.nn.Embedding(V, C), torch.nn.Embedding(T, C), torch.nn.LayerNorm(C)]
        for _ in range(L):
            parts += [torch.nn.Linear(C, C) for _ in "qkvo"] + [torch.nn.LayerNorm(C) for _ in "12"]
            parts += [torch.nn.Linear(C, 4 * C), torch.nn.Linear(4 * C, C)]
        parts += [] if tied else [torch.nn.Linear(C, V, bias=False)]
    return sum(p.numel() for p in torch.nn.ModuleList(parts).parameters())


def by_shapes(V, T, C, L, H, tied):
    block = [(C, 3 * C), (3 * C,), (C, C), (C,), (C, 4 * C), (4 * C,), (4 * C, C), (C,), (C,), (C,), (C,), (C,)]
    shapes = [(V, C), (T, C), (C,), (C,), *block * L, *([] if tied else [(V, C)])]
    return int(sum(np.prod(shape) for shape in shapes))


def random_sizes(seed: int) -> list[Case]:
    """Two models of random sizes."""
    H, width, L = 1 + seed % 4, 1 + seed % 13, 2 + seed % 9
    return [
        Case("tied", V=50 + seed % 101, T=9 + seed % 31, C=H * width, L=L, H=H, tied=True),
        Case("untied", V=70 + seed % 103, T=5 + seed % 29, C=2 * H * width, L=L + 1, H=H, tied=False),
    ]


n_parameters = Exercise(
    name="n_parameters",
    asks="Count the parameters of a GPT: embeddings, positions, blocks with biases and norms, final norm, output.",
    reference=lambda V, T, C, L, H, tied: n_parameters_of(
        ModelConfig(vocab_size=V, context_length=T, d_model=C, n_layers=L, n_heads=H, tie_embeddings=tied)
    ),
    section="4.8",
    cases=[
        Case("one block of width 1", V=5, T=3, C=1, L=1, H=1, tied=True),
        Case("the same with an untied output layer", V=5, T=3, C=1, L=1, H=1, tied=False),
        Case("one block of width 10", V=100, T=20, C=10, L=1, H=1, tied=True),
        Case("two heads", V=100, T=20, C=10, L=1, H=2, tied=True),
        Case("three blocks, tied", V=100, T=20, C=10, L=3, H=5, tied=True),
        Case("three blocks, untied", V=100, T=20, C=10, L=3, H=5, tied=False),
        Case("GPT-2", V=50257, T=1024, C=768, L=12, H=12, tied=True),
        Case("more than 2³¹: GPT-3, untied", V=50257, T=2048, C=12288, L=96, H=96, tied=False),
        Case("one token, one position, one head of width 7", V=1, T=1, C=7, L=2, H=1, tied=False),
    ],
    random_cases=random_sizes,
    misconceptions=[
        Misconception(
            "no biases",
            lambda V, T, C, L, H, tied: size(V, T, C, L, tied, biases=0),
            "You counted the matrices, but not the biases of the layers: every layer C → C has C of them, the layer "
            "C → 4C has 4C.",
            "Six layers of a block have a bias. How long is each?",
            "4.8",
        ),
        Misconception(
            "matrices only",
            lambda V, T, C, L, H, tied: size(V, T, C, L, tied, biases=0, norms=0, last=0),
            "You counted the matrices: the formula of the lesson, which leaves out the biases and the norms.",
            "Six layers of a block have a bias, and every LayerNorm a gain and a bias. How long is each?",
            "4.8",
            variants=(lambda V, T, C, L, H, tied: size(V, T, C, L, True, biases=0, norms=0, last=0),),
        ),
        Misconception(
            "no biases in attention",
            lambda V, T, C, L, H, tied: size(V, T, C, L, tied, biases=5),
            "You did not count the biases in attention: queries, keys, values and output have C of them each.",
            "Which layers of a block have a bias?",
            "4.8",
        ),
        Misconception(
            "no biases in the feed-forward",
            lambda V, T, C, L, H, tied: size(V, T, C, L, tied, biases=4),
            "You did not count the biases in the feed-forward: C → 4C has 4C of them, 4C → C has C.",
            "Which layers of a block have a bias?",
            "4.8",
        ),
        Misconception(
            "every bias counted as C",
            lambda V, T, C, L, H, tied: size(V, T, C, L, tied, biases=6),
            "You counted C numbers for each of the six biases. That of the layer C → 4C has 4C.",
            "A bias is as long as the layer's output.",
            "4.8",
        ),
        Misconception(
            "no norms",
            lambda V, T, C, L, H, tied: size(V, T, C, L, tied, norms=0, last=0),
            "You did not count the LayerNorms: 2C numbers each (gain and bias), two in every block and one at the end.",
            "What does a LayerNorm learn?",
            "4.8",
        ),
        Misconception(
            "no bias in the norms",
            lambda V, T, C, L, H, tied: size(V, T, C, L, tied, norm_size=1),
            "You counted C numbers for each LayerNorm: a gain. It also has a bias.",
            "Look at the arguments of exercise layer_norm.",
            "4.8",
        ),
        Misconception(
            "no final norm",
            lambda V, T, C, L, H, tied: size(V, T, C, L, tied, last=0),
            "You counted the norms of the blocks. A pre-norm model has one more, after the last block.",
            "What normalizes the stream before it goes into the output layer?",
            "4.8",
        ),
        Misconception(
            "one norm per block",
            lambda V, T, C, L, H, tied: size(V, T, C, L, tied, norms=1),
            "You counted one LayerNorm in each block. Attention and feed-forward have one each.",
            "How many norms are passed to exercise block?",
            "4.8",
        ),
        Misconception(
            "no position embeddings",
            lambda V, T, C, L, H, tied: size(V, T, C, L, tied, positions=0),
            "You did not count the learned positions, a table of T rows of C.",
            "Where does T come into your formula?",
            "4.7",
        ),
        Misconception(
            "output layer counted although tied",
            lambda V, T, C, L, H, tied: size(V, T, C, L, tied, embeddings=2),
            "You counted V·C twice even when the two are tied: then they are one and the same matrix.",
            "What does `tied` mean?",
            "4.8",
        ),
        Misconception(
            "untied output layer not counted",
            lambda V, T, C, L, H, tied: size(V, T, C, L, tied, embeddings=1),
            "You counted V·C once even when the output layer has its own matrix.",
            "What does `tied` mean?",
            "4.8",
        ),
        Misconception(
            "tied and untied swapped",
            lambda V, T, C, L, H, tied: size(V, T, C, L, not tied),
            "You counted the output layer when it is tied, and left it out when it is not.",
            "Tied means: one matrix for both purposes. Does that make more parameters, or fewer?",
            "4.8",
        ),
        Misconception(
            "full-width projections for every head",
            lambda V, T, C, L, H, tied: size(V, T, C, L, tied, attention=3 * H + 1, biases=3 * H + 6),
            "You counted queries, keys and values of width C for each head. A head is C / H wide, so all H of them "
            "together need C × C.",
            "What does the number of heads change in lesson 03's matrices?",
            "4.8",
            variants=(
                lambda V, T, C, L, H, tied: size(V, T, C, L, tied, attention=3 * H + 1),
                lambda V, T, C, L, H, tied: size(V, T, C, L, tied, attention=4 * H, biases=4 * H + 5),
            ),
        ),
        Misconception(
            "no output projection in attention",
            lambda V, T, C, L, H, tied: size(V, T, C, L, tied, attention=3, biases=8),
            "You counted queries, keys and values. The heads' outputs also go through one more projection, C → C.",
            "Which matrix combines the outputs of the heads?",
            "4.8",
        ),
        Misconception(
            "no down projection 4C → C",
            lambda V, T, C, L, H, tied: size(V, T, C, L, tied, wide=2, biases=8),
            "You counted C → 4C, but not 4C → C, which is just as large.",
            "The result of the feed-forward is added to the stream. How wide must it be?",
            "4.2",
        ),
        Misconception(
            "feed-forward of width C",
            lambda V, T, C, L, H, tied: size(V, T, C, L, tied, wide=1, biases=6),
            "You counted a feed-forward C → C → C. Its hidden layer is four times as wide.",
            "How wide is the hidden layer of the feed-forward?",
            "4.2",
        ),
        Misconception(
            "only one block",
            lambda V, T, C, L, H, tied: size(V, T, C, 1, tied),
            "You counted one block, whatever L is. The blocks do not share weights.",
            "Where does L come into your formula?",
            "4.8",
        ),
        Misconception(
            "bias in the output layer",
            lambda V, T, C, L, H, tied: size(V, T, C, L, tied) + V,
            "You gave the output layer a bias of V numbers; it has none.",
            "Read the last line of the docstring's list of what to count.",
            "4.8",
        ),
        Misconception(
            "only one head counted",
            lambda V, T, C, L, H, tied: size(V, T, C, L, tied, attention=0, biases=5) + L * 4 * (C + 1) * (C // H),
            "You counted the projections of one head, C → C / H. All H heads together need C → C.",
            "How many heads are there, and how wide are they together?",
            "4.8",
        ),
        Misconception(
            "position embeddings in every block",
            lambda V, T, C, L, H, tied: size(V, T, C, L, tied, positions=L),
            "You counted the learned positions once for each block. They are added to the token embeddings once, "
            "before the first block.",
            "Which parts of the model exist L times, and which once?",
            "4.7",
        ),
        Misconception(
            "token embeddings not counted",
            lambda V, T, C, L, H, tied: size(V, T, C, L, tied, embeddings=0 if tied else 1),
            "You did not count the table of token embeddings, V rows of C.",
            "Where does a token's vector come from, before the first block?",
            "4.8",
            variants=(lambda V, T, C, L, H, tied: size(V, T, C, L, tied, embeddings=0),),
        ),
    ],
    accepted={
        "built from torch's layers": built,
        "a list of shapes, NumPy": by_shapes,
        "summed in loops": lambda V, T, C, L, H, tied: (
            (V + T + 2) * C
            + (not tied) * V * C
            + sum(sum(H * C * (C // H) + C for _ in "qkvo") + 8 * C**2 + 5 * C + 4 * C for _ in range(L))
        ),
    },
    hints=[
        "Write one line for each part: its name, the shapes of its matrices and vectors, their sizes. Then add.",
        "Work it out for V = 5, T = 3, C = 1, L = 1 first, where a C × C matrix is a single number.",
        "A block has 4·C² + 8·C² numbers in its matrices; the biases are 4·C + 4·C + C, the two norms 4·C.",
    ],
)


# 3. sinusoidal


def waves(T, C, base=10000.0, first=0, exponent=lambda i, C: 2 * i / C, multiply=False):
    """Angles (T, C/2) in float64; every detail can be wrong."""
    p = torch.arange(first, first + T, dtype=torch.float64)[:, None]
    wavelength = base ** exponent(torch.arange(C // 2, dtype=torch.float64), C)
    return p * wavelength if multiply else p / wavelength


def woven(a, b):
    """Interleave even features from a and odd ones from b: (T, C/2) twice → (T, C)."""
    return torch.stack((a, b), dim=-1).flatten(1).float()


def one_wave_for_each_feature(T, C):
    j = torch.arange(C, dtype=torch.float64)
    angles = torch.arange(T, dtype=torch.float64)[:, None] / 10000 ** (j / C)
    return torch.where(j % 2 == 0, angles.sin(), angles.cos()).float()


def every_feature_for_a_pair(T, C):
    """The exponent 2i / C with i running over all C features, up to 2."""
    j = torch.arange(C, dtype=torch.float64)
    angles = torch.arange(T, dtype=torch.float64)[:, None] / 10000 ** (2 * j / C)
    return torch.where(j % 2 == 0, angles.sin(), angles.cos()).float()


def multiplied_in_float32(T, C):
    angles = torch.arange(T)[:, None] * 10000 ** (2 * torch.arange(C // 2) / C)
    return woven(angles.sin(), angles.cos())


def waves_by_loops(T, C):
    table = torch.zeros(T, C)
    for p in range(T):
        for i in range(C // 2):
            angle = p / 10000 ** (2 * i / C)
            table[p, 2 * i], table[p, 2 * i + 1] = math.sin(angle), math.cos(angle)
    return table


def waves_by_numpy(T, C):
    angles = np.arange(T)[:, None] * np.exp(-np.arange(0, C, 2) / C * np.log(10000))
    table = np.empty((T, C))
    table[:, 0::2], table[:, 1::2] = np.sin(angles), np.cos(angles)
    return torch.from_numpy(table)


def waves_by_rotation(T, C):
    """Each position is the previous one rotated: a complex number multiplied by one of absolute value 1."""
    turn = torch.exp(1j * 10000.0 ** (-2 * torch.arange(C // 2, dtype=torch.float64) / C))
    rows, now = [], torch.ones(C // 2, dtype=torch.complex128)
    for _ in range(T):
        rows.append(torch.stack((now.imag, now.real), dim=-1).flatten())
        now = now * turn
    return torch.stack(rows)


def random_tables(seed: int) -> list[Case]:
    """Two tables of random sizes."""
    return [
        Case("more positions", T=9 + seed % 30, C=2 + 2 * (seed % 7)),
        Case("more features", T=4 + seed % 5, C=16 + 2 * (seed % 11)),
    ]


sinusoidal = Exercise(
    name="sinusoidal",
    asks="Compute sinusoidal position vectors: sin(p / 10000^(2i/C)) at feature 2i, the cosine of the same angle at "
    "2i + 1.",
    reference=lambda T, C: library.SinusoidalPositions(T, C).table,
    section="4.7",
    cases=[
        Case("one position, two features", T=1, C=2),
        Case("two positions, two features", T=2, C=2),
        Case("three positions, four features: angles p and p / 100", T=3, C=4),
        Case("four positions, four features", T=4, C=4),
        Case("five positions, eight features", T=5, C=8),
        Case("forty positions, six features", T=40, C=6),
        Case("one position, six features", T=1, C=6),
        Case("a hundred positions, thirty features", T=100, C=30),
        Case("six positions, GPT-2's width", T=6, C=768),
    ],
    random_cases=random_tables,
    misconceptions=[
        Misconception(
            "sines and cosines in halves, not interleaved",
            lambda T, C: torch.cat((waves(T, C).sin(), waves(T, C).cos()), dim=1).float(),
            "You put the sines into the first half of the features and the cosines into the second. Some "
            "implementations do this, and a model would learn just as well; but here they alternate, as in the paper.",
            "Feature 0 is a sine, feature 1 the cosine of the same angle.",
            "4.7",
        ),
        Misconception(
            "sine and cosine swapped",
            lambda T, C: woven(waves(T, C).cos(), waves(T, C).sin()),
            "Your even features are cosines and your odd ones sines: it should be the other way around.",
            "At position 0 the first feature is sin 0.",
            "4.7",
        ),
        Misconception(
            "a different wavelength for every feature",
            one_wave_for_each_feature,
            "You computed the exponent from the index of the feature, so each cosine has a different wavelength than "
            "the sine next to it. They must share an angle: only then is a shift of the position a rotation.",
            "Features 2i and 2i + 1 have the same i.",
            "4.7",
            variants=(every_feature_for_a_pair,),
        ),
        Misconception(
            "exponent i / C instead of 2i / C",
            lambda T, C: woven(*(f(waves(T, C, exponent=lambda i, C: i / C)) for f in (torch.sin, torch.cos))),
            "Your exponent is i / C instead of 2i / C, where i is the index of the *pair*. Your longest wave is "
            "about 100 times 2π, not 10000 times.",
            "i runs up to C / 2 - 1, so the exponent should get close to 1.",
            "4.7",
        ),
        Misconception(
            "exponent 4i / C instead of 2i / C",
            lambda T, C: woven(*(f(waves(T, C, exponent=lambda i, C: 4 * i / C)) for f in (torch.sin, torch.cos))),
            "You doubled twice: the 2i of the exponent is already the index of the even feature.",
            "The exponents are 0, 2/C, 4/C, …",
            "4.7",
        ),
        Misconception(
            "multiplied by the power instead of divided",
            lambda T, C: woven(*(f(waves(T, C, multiply=True)) for f in (torch.sin, torch.cos))),
            "You multiplied the position by 10000^(2i/C). The waves should get longer, so the angles must grow more "
            "slowly.",
            "Which grows faster from position to position, the angle of pair 0 or the angle of pair 1?",
            "4.7",
            variants=(multiplied_in_float32,),
        ),
        Misconception(
            "positions counted from 1",
            lambda T, C: woven(*(f(waves(T, C, first=1)) for f in (torch.sin, torch.cos))),
            "Your first position is 1. It should be 0, and the first row should alternate between 0 and 1.",
            "Which row does p = 0 go to?",
            "4.7",
        ),
        Misconception(
            "sines only, no cosines",
            lambda T, C: woven(waves(T, C).sin(), waves(T, C).sin()),
            "All your features are sines. From the sine alone you cannot tell whether the wave is rising or falling.",
            "What belongs at the odd features?",
            "4.7",
        ),
        Misconception(
            "base is not 10000",
            lambda T, C: woven(*(f(waves(T, C, base=1000.0)) for f in (torch.sin, torch.cos))),
            "Your waves have the right form, but their base is not 10000.",
            "Count the zeros.",
            "4.7",
            variants=tuple(
                lambda T, C, base=base: woven(*(f(waves(T, C, base=base)) for f in (torch.sin, torch.cos)))
                for base in (100000.0, 1e6)
            ),
        ),
        Misconception(
            "angle multiplied by 2π",
            lambda T, C: woven(*(f(2 * math.pi * waves(T, C)) for f in (torch.sin, torch.cos))),
            "You treated 10000^(2i/C) as the wavelength and multiplied by 2π. In the paper the angle is p / "
            "10000^(2i/C) radians. (In your table, pair 0 is the same at every position.)",
            "The angle of pair 0 at position 1 is 1.",
            "4.7",
        ),
        Misconception(
            "table transposed",
            lambda T, C: waves_by_loops(T, C).T.contiguous(),
            "Your table has a row for each feature; it should have a row for each position.",
            "The result is (T, C).",
            "4.7",
        ),
        Misconception(
            "the whole quotient raised to the power",
            lambda T, C: woven(
                *(
                    f((torch.arange(T).double()[:, None] / 10000) ** (2 * torch.arange(C // 2) / C))
                    for f in (torch.sin, torch.cos)
                )
            ),
            "You raised p / 10000 to the power 2i / C. Only 10000 has the exponent; the position is divided by the "
            "result.",
            "Which brackets does your line need?",
            "4.7",
        ),
        Misconception(
            "10000 multiplied by the exponent",
            lambda T, C: woven(
                *(
                    f(torch.arange(T).double()[:, None] / (10000 * (2 * torch.arange(C // 2) / C)).clamp(min=1))
                    for f in (torch.sin, torch.cos)
                )
            ),
            "You multiplied 10000 by 2i / C. It is a power: the wavelengths grow by the same *factor* from pair to "
            "pair.",
            "What is 10000 to the power of 0?",
            "4.7",
            variants=(
                lambda T, C: woven(
                    *(
                        f(torch.arange(T).double()[:, None] / (10000 * (2 * torch.arange(C // 2) / C)))
                        for f in (torch.sin, torch.cos)
                    )
                ),
            ),
        ),
        Misconception(
            "angles rounded down",
            lambda T, C: woven(waves(T, C).floor().sin(), waves(T, C).floor().cos()),
            "You divided with // , which rounds the angles down to whole numbers. Slow waves then stand still.",
            "Angles are real numbers: / instead of //.",
            "4.7",
        ),
    ],
    accepted={
        "loops": waves_by_loops,
        "NumPy, exp and log, float64": waves_by_numpy,
        "complex rotations": waves_by_rotation,
        "cosine as a shifted sine": lambda T, C: torch.sin(
            torch.arange(T).double()[:, None] / 10000 ** (torch.arange(C).double() // 2 * 2 / C)
            + torch.arange(C) % 2 * math.pi / 2
        ),
    },
    hints=[
        "Write the table for T = 3, C = 4 on paper. There are two pairs of features, with the angles p and p / 100.",
        "`torch.arange(T)[:, None]` divided by a row of C / 2 numbers gives all the angles, (T, C / 2).",
        "`table[:, 0::2] = angles.sin()` fills the even features of a `torch.zeros(T, C)`; the odd ones are `1::2`.",
    ],
)


# 4. block


def through_the_library(x, attention, feed_forward, norm_1, norm_2):
    """The library's own residual connection, twice."""
    return library.Residual(norm_2)(library.Residual(norm_1)(x, attention), feed_forward)


def post_norm(x, attention, feed_forward, norm_1, norm_2):
    y = norm_1(x + attention(x))
    return norm_2(y + feed_forward(y))


def normed_stream(x, attention, feed_forward, norm_1, norm_2):
    x = norm_1(x)
    x = x + attention(x)
    x = norm_2(x)
    return x + feed_forward(x)


def two_streams(x, attention, feed_forward, norm_1, norm_2):
    """Compute both contributions and add them at the very end."""
    first = attention(norm_1(x.clone()))
    second = feed_forward(norm_2(torch.add(first, x)))
    return torch.stack((x, first, second)).sum(dim=0)


def list_of_parts(x, attention, feed_forward, norm_1, norm_2):
    for part, before in ((attention, norm_1), (feed_forward, norm_2)):
        x = part(before(x)) + x
    return x


def toy(f, x):
    """Parts simple enough for mental arithmetic."""
    return f(x, lambda h: h + 10, lambda h: h * h, lambda h: 2 * h, lambda h: 3 * h)


def toy_with_past(f, x):
    return f(x, lambda h: h.cumsum(dim=1), lambda h: h + 100, lambda h: h - 1, lambda h: 2 * h)


def real_parts(f, x, w, up, down, gain):
    """Norms, causal attention with one head, and a feed-forward."""
    T, C = x.shape[1:]

    def attention(h):
        scores = (h @ h.mT).masked_fill(~torch.ones(T, T, dtype=torch.bool).tril(), -math.inf)
        return scores.softmax(dim=-1) @ h @ w

    def plain(h):
        return F.layer_norm(h, (C,))

    return f(x, attention, lambda h: (h @ up).relu() @ down, plain, lambda h: plain(h) * gain)


def counted(f, x):
    """Return the block's output, and a sentence about how often its parts were called."""
    calls = dict.fromkeys(("attention", "feed_forward", "norm_1", "norm_2"), 0)

    def part(name, function):
        def call(h):
            calls[name] += 1
            return function(h)

        return call

    parts = (lambda h: h + 10, lambda h: h * h, lambda h: 2 * h, lambda h: 3 * h)
    y = f(x, *(part(name, function) for name, function in zip(calls, parts, strict=True)))
    if set(calls.values()) == {1}:
        return [y, "each part is called once"]
    return [y, "a part is not called" if 0 in calls.values() else "a part is called more than once"]


def random_streams(seed: int) -> list[Case]:
    """A stream and matrices of random sizes."""
    generator = torch.Generator().manual_seed(seed)
    B, T, C = torch.randint(1, 7, (3,), generator=generator).tolist()
    C += 2
    x = torch.randn(B, T, C, generator=generator) + torch.linspace(-2, 2, C)
    w, up, down = (torch.randn(*size, generator=generator) / C for size in ((C, C), (C, 2 * C), (2 * C, C)))
    gain = torch.randn(C, generator=generator)
    return [
        Case("real parts", run=real_parts, x=x, w=w, up=up, down=down, gain=gain),
        Case("simple parts, counted", run=counted, x=x),
    ]


REAL = {
    "w": random(4, 4, seed=2), "up": random(4, 8, seed=3), "down": random(8, 4, seed=4) * 0.5, "gain": random(4, seed=5)
}  # fmt: skip

block = Exercise(
    name="block",
    asks="Assemble a pre-norm block: each part reads a normalized copy of the stream and adds its result to the "
    "stream.",
    reference=through_the_library,
    section="4.5",
    gradients=True,
    cases=[
        Case("attention: h + 10, feed_forward: h · h, norm_1: 2h, norm_2: 3h", run=toy, x=tensor([[[1, 2]]])),
        Case(
            "attention: sum of the past, feed_forward: h + 100, norm_1: h - 1, norm_2: 2h",
            run=toy_with_past,
            x=tensor([[[1], [2], [4]]]),
        ),
        Case("real attention, feed-forward and norms", run=real_parts, x=random(2, 3, 4, seed=1), **REAL),
        Case("the same with a larger stream", run=real_parts, x=random(1, 5, 4, seed=6) * 8, **REAL),
        Case("how often the parts of the first case are called", run=counted, x=tensor([[[1, 2]]])),
        Case("a transposed stream, not contiguous", run=real_parts, x=random(4, 3, 2, seed=7).permute(2, 1, 0), **REAL),
    ],
    random_cases=random_streams,
    misconceptions=[
        Misconception(
            "no residual connections",
            lambda x, a, f, n1, n2: f(n2(a(n1(x)))),
            "Your block passes on only the output of its parts, not the stream itself. Every block loses more of the "
            "input, and with it the gradient.",
            "Which two things does a residual connection add?",
            "4.3",
        ),
        Misconception(
            "no residual around attention",
            lambda x, a, f, n1, n2: (y := a(n1(x))) + f(n2(y)),
            "The first half returns only what attention gathered; the incoming stream is lost.",
            "Both halves of a block have the same structure.",
            "4.3",
        ),
        Misconception(
            "no residual around the feed-forward",
            lambda x, a, f, n1, n2: f(n2(x + a(n1(x)))),
            "You return the output of the feed-forward without the stream it was computed from.",
            "Both halves of a block have the same structure.",
            "4.3",
        ),
        Misconception(
            "post-norm instead of pre-norm",
            post_norm,
            "You normalized each sum. That is the order of 2017 (and of BERT): it works, but it is not pre-norm. It "
            "needs a careful warmup to train, since the stream never passes through a block unchanged.",
            "What does attention read: the stream, or a normalized copy of it?",
            "4.5",
        ),
        Misconception(
            "the residual stream itself is normalized",
            normed_stream,
            "You normalized x and continued with the result, so the residual is added to the normalized input. The "
            "direct path through the block then passes through both norms.",
            "Give the norm's result its own variable; it is read once and then no longer needed.",
            "4.5",
        ),
        Misconception(
            "parallel attention and feed-forward",
            lambda x, a, f, n1, n2: x + a(n1(x)) + f(n2(x)),
            "Your feed-forward reads the stream as it was before attention, so it cannot use what attention has just "
            "gathered. (Some models do this for speed, but it is not the task here.)",
            "What is the input of norm_2?",
            "4.5",
        ),
        Misconception(
            "second residual added to the block's input",
            lambda x, a, f, n1, n2: x + f(n2(x + a(n1(x)))),
            "You added the feed-forward's result to the x that entered the block. The feed-forward reads what "
            "attention gathered, but then it is lost.",
            "Which stream does the second half continue?",
            "4.5",
        ),
        Misconception(
            "feed-forward reads only attention's output",
            lambda x, a, f, n1, n2: x + (y := a(n1(x))) + f(n2(y)),
            "Your feed-forward reads what attention has just gathered, but not the stream it was added to, so it "
            "cannot combine the two.",
            "What does norm_2 get? It is the stream *after* attention's result was added.",
            "4.5",
            variants=(lambda x, a, f, n1, n2: x + f(n2(a(n1(x)))),),
        ),
        Misconception(
            "feed-forward before attention",
            lambda x, a, f, n1, n2: (y := x + f(n2(x))) + a(n1(y)),
            "You applied the feed-forward first and attention second.",
            "Attention first, then feed-forward.",
            "4.5",
        ),
        Misconception(
            "norm_1 used twice",
            lambda x, a, f, n1, n2: (y := x + a(n1(x))) + f(n1(y)),
            "You used norm_1 in both halves. The two have different gains and biases.",
            "Where does your code use norm_2?",
            "4.5",
        ),
        Misconception(
            "norm_1 and norm_2 swapped",
            lambda x, a, f, n1, n2: (y := x + a(n2(x))) + f(n1(y)),
            "You used norm_2 before attention and norm_1 before the feed-forward.",
            "Check the order of the arguments.",
            "4.5",
        ),
        Misconception(
            "no norms",
            lambda x, a, f, n1, n2: (y := x + a(x)) + f(y),
            "Attention and feed-forward read the stream as it is, however large it has become.",
            "Your code does not use two of the function's arguments.",
            "4.4",
        ),
        Misconception(
            "norm after the sublayer",
            lambda x, a, f, n1, n2: (y := x + n1(a(x))) + n2(f(y)),
            "You normalized what attention and feed-forward returned. You should normalize what they *read*.",
            "norm_1 goes between the stream and attention. On which side?",
            "4.5",
        ),
        Misconception(
            "no norm before the feed-forward",
            lambda x, a, f, n1, n2: (y := x + a(n1(x))) + f(y),
            "The feed-forward reads the stream as it is, without norm_2.",
            "Both halves of a block have the same structure.",
            "4.5",
        ),
        Misconception(
            "extra norm at the end of the block",
            lambda x, a, f, n1, n2: n2((y := x + a(n1(x))) + f(n2(y))),
            "You normalized the output of the block. In a pre-norm model that happens only once, after the last "
            "block, and outside of it.",
            "The stream itself is never normalized.",
            "4.5",
        ),
        Misconception(
            "stream added twice",
            lambda x, a, f, n1, n2: 2 * (y := x + a(n1(x))) + f(n2(y)),
            "You added the stream to itself: it is in your sum twice.",
            "Write down the sum that the block returns. It has three terms: x, and the outputs of the two parts.",
            "4.5",
        ),
        Misconception(
            "a part called more than once",
            lambda x, a, f, n1, n2: x + a(n1(x)) + f(n2(x + a(n1(x)))),
            "The numbers are right, but you computed a part twice: twice the work, and, with dropout in it, two "
            "different results in one block.",
            "Give the stream after attention its own variable.",
            "4.5",
        ),
        Misconception(
            "the incoming stream is missing from the result",
            lambda x, a, f, n1, n2: (y := a(n1(x))) + f(n2(x + y)),
            "You returned the outputs of the two parts without the stream that came in. The direct path through the "
            "block is cut.",
            "Write down the sum that the block returns. It has three terms.",
            "4.3",
        ),
        Misconception(
            "norm_2 applied to the output of norm_1",
            lambda x, a, f, n1, n2: x + (y := a(h := n1(x))) + f(n2(h + y)),
            "The second half reads the normalized copy that attention has read, instead of the stream.",
            "Each half makes its own copy of the *stream*.",
            "4.5",
            variants=(lambda x, a, f, n1, n2: x + a(h := n1(x)) + f(n2(h)),),
        ),
        Misconception(
            "no norm before attention",
            lambda x, a, f, n1, n2: (y := x + a(x)) + f(n2(y)),
            "Attention reads the stream as it is, without norm_1.",
            "Both halves of a block have the same structure.",
            "4.5",
        ),
        Misconception(
            "multiplied instead of added",
            lambda x, a, f, n1, n2: (y := x * a(n1(x))) * f(n2(y)),
            "You multiplied the stream by what attention and feed-forward returned. A residual connection is a sum; "
            "only then does the gradient reach x unchanged.",
            "What is the derivative of x + f(x), and what of x · f(x)?",
            "4.3",
        ),
        Misconception(
            "stream and contribution averaged",
            lambda x, a, f, n1, n2: ((y := (x + a(n1(x))) / 2) + f(n2(y))) / 2,
            "You took the mean of the stream and each contribution. Every block leaves only a quarter of what came in.",
            "The residual connection adds. What happens to the gradient if you halve at every step?",
            "4.3",
        ),
    ],
    accepted={
        "a loop over the halves": list_of_parts,
        "both contributions added at the end": two_streams,
        "one expression": lambda x, a, f, n1, n2: (y := x + a(n1(x))) + f(n2(y)),
        "einsum, float64": lambda x, a, f, n1, n2: (
            (y := torch.einsum("n,nbtc->btc", torch.ones(2), torch.stack((x, a(n1(x)))))).double() + f(n2(y)).double()
        ),
    },
    forbidden={
        "torch.nn.TransformerEncoderLayer": "it is a ready-made block; assemble it yourself",
        "torch.nn.TransformerDecoderLayer": "it is a ready-made block; assemble it yourself",
    },
    hints=[
        "Write only the first half: what attention reads, and where its result goes.",
        "Both halves have the form `stream = stream + part(norm(stream))`.",
        "Note which stream the second half continues: the one after attention's result was added.",
    ],
)


# 5. next_token_loss


def through_the_objective(logits, ids, attention_mask):
    """The library's objective for a model that returns these logits."""
    targets = ids[:, 1:].masked_fill(~attention_mask[:, 1:], IGNORE_INDEX)
    batch, objective = {"ids": ids[:, :-1], "targets": targets}, CausalLM()
    return objective.loss_sums(lambda _: logits[:, :-1], batch)["causal"] / objective.n_targets(batch)["causal"]


def surprise(logits, ids):
    """-ln p of each id under the logits at the same position: (B, T, V), (B, T) → (B, T)."""
    return -logits.log_softmax(dim=-1).gather(-1, ids[..., None])[..., 0]


def shifted(logits, ids, attention_mask):
    """The losses (B, T - 1), and which of them count."""
    return surprise(logits[:, :-1], ids[:, 1:]), attention_mask[:, 1:]


def mean_of(losses, counted):
    return (losses * counted).sum() / counted.sum()


def by_rows(logits, ids, attention_mask):
    losses, counted = shifted(logits, ids, attention_mask)
    rows = [row[keep].mean() for row, keep in zip(losses, counted, strict=True) if keep.any()]
    return torch.stack(rows).mean()


def mean_of_rows_with_empty_ones(logits, ids, attention_mask):
    losses, counted = shifted(logits, ids, attention_mask)
    return ((losses * counted).sum(1) / counted.sum(1).clamp(min=1)).mean()


def log_of_the_mean(logits, ids, attention_mask):
    p = logits[:, :-1].softmax(-1).gather(-1, ids[:, 1:, None])[..., 0]
    return -mean_of(p, attention_mask[:, 1:]).log()


def loss_by_loops(logits, ids, attention_mask):
    losses = []
    for b in range(len(ids)):
        for t in range(ids.size(1) - 1):
            if attention_mask[b, t + 1]:
                losses.append(torch.logsumexp(logits[b, t], 0) - logits[b, t, ids[b, t + 1]])
    return sum(losses) / len(losses)


def loss_by_einsum(logits, ids, attention_mask):
    weights = attention_mask.double()[:, 1:] / attention_mask[:, 1:].sum()
    chosen = F.one_hot(ids[:, 1:], logits.size(-1)).double()
    return -torch.einsum("btv,btv,bt->", logits.double()[:, :-1].log_softmax(-1), chosen, weights)


def loss_by_moved_ids(logits, ids, attention_mask):
    """Roll the ids instead of slicing: the last position's target is ignored, like padding."""
    targets = torch.where(attention_mask, ids, -100).roll(-1, dims=1)
    targets[:, -1] = -100
    return F.cross_entropy(logits.transpose(1, 2), targets)


def softmax_then_log_chosen(logits, ids, attention_mask, small=0.0):
    """The same with the padding left out by indexing, so that no infinity is multiplied by 0."""
    p = logits[:, :-1].softmax(-1).gather(-1, ids[:, 1:, None])[..., 0]
    return -(p + small).log()[attention_mask[:, 1:]].mean()


def exponentials_and_log(logits, ids, attention_mask):
    p = logits[:, :-1].exp() / logits[:, :-1].exp().sum(-1, keepdim=True)
    return -p.gather(-1, ids[:, 1:, None])[..., 0].log()[attention_mask[:, 1:]].mean()


def mean_of_rows_with_nan(logits, ids, attention_mask):
    losses, counted = shifted(logits, ids, attention_mask)
    return ((losses * counted).sum(1) / counted.sum(1)).mean()


QUARTERS = tensor([[[0, math.log(3)], [math.log(3), 0], [0, 0]]])  # p: (1/4, 3/4), (3/4, 1/4), (1/2, 1/2)
ALL = torch.ones(1, 3, dtype=torch.bool)
SHORT = torch.tensor([[True, True, True, True, True], [True, True, False, False, False]])
LONELY = torch.tensor([[True, True, True, False], [True, False, False, False], [True, True, True, True]])
WORDS = torch.tensor([[2, 0, 1, 0, 2], [1, 2, 0, 0, 0]])


def random_texts(seed: int) -> list[Case]:
    """Rows of random lengths, padded with random ids."""
    generator = torch.Generator().manual_seed(seed)
    B, T, V = 2 + seed % 3, 3 + seed % 6, 2 + seed % 8
    lengths = torch.randint(1, T + 1, (B,), generator=generator)
    lengths[0] = T
    ids = torch.randint(V, (B, T), generator=generator)
    logits = torch.randn(B, T, V, generator=generator) * 2
    return [
        Case("rows of different lengths", logits=logits, ids=ids, attention_mask=torch.arange(T) < lengths[:, None]),
        Case("no padding", logits=logits * 50, ids=ids, attention_mask=torch.ones(B, T, dtype=torch.bool)),
    ]


next_token_loss = Exercise(
    name="next_token_loss",
    asks="The mean of -ln p(next token) in nats, over all positions of the batch whose next token is real.",
    reference=through_the_objective,
    section="4.9",
    gradients=True,
    cases=[
        Case(
            "three tokens; p = (1/4, 3/4), (3/4, 1/4), (1/2, 1/2)",
            logits=QUARTERS,
            ids=torch.tensor([[0, 1, 1]]),
            attention_mask=ALL,
        ),
        Case(
            "two tokens", logits=tensor([[[3, 0, 0], [0, 5, 0]]]), ids=torch.tensor([[1, 2]]), attention_mask=ALL[:, :2]
        ),
        Case(
            "three tokens, the last is padding",
            logits=QUARTERS,
            ids=torch.tensor([[0, 1, 0]]),
            attention_mask=torch.tensor([[True, True, False]]),
        ),
        Case("a long row and a short one", logits=random(2, 5, 3, seed=1) * 2, ids=WORDS, attention_mask=SHORT),
        Case(
            "a row with a single token, which has no next token",
            logits=random(3, 4, 5, seed=2) * 2,
            ids=torch.tensor([[1, 4, 2, 0], [3, 0, 0, 0], [0, 3, 3, 1]]),
            attention_mask=LONELY,
        ),
        Case(
            "large logits",
            logits=random(2, 4, 6, seed=3) * 200,
            ids=torch.tensor([[1, 2, 3, 4], [5, 4, 5, 0]]),
            attention_mask=torch.ones(2, 4, dtype=torch.bool),
        ),
        Case(
            "very large logits",
            logits=random(1, 4, 6, seed=4) * 3000,
            ids=torch.tensor([[1, 2, 3, 4]]),
            attention_mask=torch.ones(1, 4, dtype=torch.bool),
        ),
        Case(
            "padding with other ids than 0, and a row of padding only",
            logits=random(3, 4, 5, seed=5),
            ids=torch.tensor([[0, 0, 3, 4], [2, 4, 1, 0], [3, 3, 3, 3]]),
            attention_mask=torch.tensor([[True, True, False, False], [True] * 4, [False] * 4]),
        ),
        Case(
            "as many predictions as tokens in the vocabulary",
            logits=random(2, 4, 3, seed=6),
            ids=torch.tensor([[0, 2, 1, 1], [1, 0, 2, 0]]),
            attention_mask=torch.tensor([[True] * 4, [True, True, True, False]]),
        ),
        Case(
            "a vocabulary of one, and transposed logits, not contiguous",
            logits=random(1, 3, 2, seed=7).permute(2, 1, 0),
            ids=torch.zeros(2, 3, dtype=torch.long),
            attention_mask=torch.tensor([[True, True, False], [True, True, True]]),
        ),
    ],
    random_cases=random_texts,
    misconceptions=[
        Misconception(
            "labels not shifted",
            lambda logits, ids, attention_mask: mean_of(surprise(logits, ids), attention_mask),
            "You compared the prediction at position t with the token at t, which the model has just read. The model "
            "learns to copy, its loss falls to nearly 0, and it cannot write a single word.",
            "Which token does logits[b, 0] predict?",
            "4.9",
        ),
        Misconception(
            "labels shifted the wrong way",
            lambda logits, ids, attention_mask: mean_of(surprise(logits[:, 1:], ids[:, :-1]), attention_mask[:, 1:]),
            "You compared each prediction with the token *before* it, which the model has already read.",
            "Which of the two loses its first position, logits or ids?",
            "4.9",
            variants=(
                lambda logits, ids, attention_mask: mean_of(
                    surprise(logits[:, 1:], ids[:, :-1]), attention_mask[:, :-1]
                ),
            ),
        ),
        Misconception(
            "labels shifted twice",
            lambda logits, ids, attention_mask: mean_of(surprise(logits[:, :-2], ids[:, 2:]), attention_mask[:, 2:]),
            "You compared the prediction at t with the token at t + 2: the labels are shifted once too often. (This "
            "happens when the data loader shifts them and the loss shifts them again.)",
            "How many predictions have a target in a row of three tokens?",
            "4.9",
        ),
        Misconception(
            "loss includes padding",
            lambda logits, ids, attention_mask: shifted(logits, ids, attention_mask)[0].mean(),
            "You averaged over all positions. The model learns to predict padding, which is easy and makes the loss "
            "look better than it is.",
            "Where does your code use `attention_mask`?",
            "4.9",
        ),
        Misconception(
            "padding counted in the denominator",
            lambda logits, ids, attention_mask: (
                shifted(logits, ids, attention_mask)[0] * attention_mask[:, 1:]
            ).mean(),
            "You set the losses of padding to 0, but divided by the number of all positions. Short rows then make "
            "the loss look smaller.",
            "What should you divide the sum by?",
            "4.9",
        ),
        Misconception(
            "all real tokens counted in the denominator",
            lambda logits, ids, attention_mask: (
                torch.mul(*shifted(logits, ids, attention_mask)).sum() / attention_mask.sum()
            ),
            "You divided by the number of real tokens. The first token of each row is not a label: nothing predicts "
            "it.",
            "How many predictions have a target in a row of three tokens?",
            "4.9",
        ),
        Misconception(
            "padding detected by id 0",
            lambda logits, ids, attention_mask: mean_of(shifted(logits, ids, attention_mask)[0], ids[:, 1:] != 0),
            "You treated every token with id 0 as padding. Here 0 is also an ordinary token; only `attention_mask` "
            "says what is padding.",
            "Where does your code use `attention_mask`?",
            "4.9",
        ),
        Misconception(
            "roll wraps around to the first token",
            lambda logits, ids, attention_mask: mean_of(surprise(logits, ids.roll(-1, 1)), attention_mask),
            "You shifted the ids with `roll`, which moves the first token of a row to its end: the last prediction "
            "is compared with the beginning.",
            "Which token follows the last one? Leave that prediction out.",
            "4.9",
            variants=(
                lambda logits, ids, attention_mask: mean_of(
                    surprise(logits, ids.roll(-1, 1)), attention_mask.roll(-1, 1)
                ),
            ),
        ),
        Misconception(
            "flattened first, then shifted",
            lambda logits, ids, attention_mask: mean_of(
                surprise(logits.flatten(0, 1)[None, :-1], ids.flatten()[None, 1:]), attention_mask.flatten()[None, 1:]
            ),
            "You concatenated the rows before shifting: the last prediction of each row is compared with the first "
            "token of the next row, which is another text.",
            "Shift within each row; flatten afterwards.",
            "4.9",
        ),
        Misconception(
            "log of softmax underflows",
            lambda logits, ids, attention_mask: mean_of(
                -logits[:, :-1].softmax(-1).gather(-1, ids[:, 1:, None])[..., 0].log(), attention_mask[:, 1:]
            ),
            "You took the softmax and then its logarithm. A probability below 1e-45 is rounded to 0 (or exp "
            "overflows), and the loss becomes infinite or NaN.",
            "`log_softmax` does both in one step and never takes the log of 0.",
            "4.9",
            variants=(exponentials_and_log, softmax_then_log_chosen),
        ),
        Misconception(
            "mask not shifted",
            lambda logits, ids, attention_mask: mean_of(
                shifted(logits, ids, attention_mask)[0], attention_mask[:, :-1]
            ),
            "You masked by whether the *input* position is real; what matters is whether its *target* is. So the "
            "first padding token of each row is still predicted.",
            "logits, ids and attention_mask: which lose their first position, which their last?",
            "4.9",
        ),
        Misconception(
            "mean of row means",
            by_rows,
            "You averaged within each row and then over the rows. A token in a short row counts more than one in a "
            "long row.",
            "One sum over everything, divided once.",
            "4.9",
            variants=(mean_of_rows_with_empty_ones, mean_of_rows_with_nan),
        ),
        Misconception(
            "softmax applied twice",
            lambda logits, ids, attention_mask: mean_of(*shifted(logits.softmax(-1), ids, attention_mask)),
            "You applied the softmax and passed the result to a function that applies it again (`cross_entropy` and "
            "`log_softmax` expect logits). Probabilities differ by 1 at most, so the loss can never become small.",
            "What does `F.cross_entropy` expect?",
            "4.9",
        ),
        Misconception(
            "sum instead of mean",
            lambda logits, ids, attention_mask: torch.mul(*shifted(logits, ids, attention_mask)).sum(),
            "You summed the losses and did not divide: a larger batch has a larger loss and larger gradients.",
            "What should you divide the sum by?",
            "4.9",
        ),
        Misconception(
            "divided by the number of rows",
            lambda logits, ids, attention_mask: torch.mul(*shifted(logits, ids, attention_mask)).sum() / len(ids),
            "You divided by the number of rows: that is the loss per text, not per token.",
            "How many predictions have a target?",
            "4.9",
        ),
        Misconception(
            "missing minus sign",
            lambda logits, ids, attention_mask: -mean_of(*shifted(logits, ids, attention_mask)),
            "Your loss is negative: the mean of ln p. A better model would have a larger value, so minimizing it "
            "would make the model worse.",
            "Is ln p positive or negative?",
            "4.9",
        ),
        Misconception(
            "bits instead of nats",
            lambda logits, ids, attention_mask: mean_of(*shifted(logits, ids, attention_mask)) / math.log(2),
            "You took the logarithm to base 2. That gives bits; nats use the natural logarithm.",
            "`log2` or `log`?",
            "4.9",
        ),
        Misconception(
            "no softmax over the logits",
            lambda logits, ids, attention_mask: mean_of(
                -logits[:, :-1].gather(-1, ids[:, 1:, None])[..., 0], attention_mask[:, 1:]
            ),
            "You used the logit of the correct token as its log-probability. All logits could grow together, and "
            "your loss would fall without end.",
            "What turns logits into probabilities?",
            "4.9",
        ),
        Misconception(
            "perplexity instead of the loss",
            lambda logits, ids, attention_mask: mean_of(*shifted(logits, ids, attention_mask)).exp(),
            "You returned e to the power of the loss, which is the perplexity.",
            "Return the mean itself.",
            "4.9",
        ),
        Misconception(
            "log of the mean probability",
            log_of_the_mean,
            "You averaged the probabilities and took the logarithm at the end. A token that the model considered "
            "impossible then hardly changes the loss.",
            "First take -ln of each probability, then the mean.",
            "4.9",
        ),
        Misconception(
            "reshape instead of transpose",
            lambda logits, ids, attention_mask: mean_of(
                surprise(logits[:, :-1].reshape(len(ids), logits.size(-1), -1).mT, ids[:, 1:]), attention_mask[:, 1:]
            ),
            "You moved the vocabulary to dimension 1 with `view` or `reshape`, which only rearranges the same "
            "numbers into another shape. This mixes the predictions of different positions.",
            "`transpose(1, 2)` swaps the dimensions; or flatten batch and time together.",
            "4.9",
        ),
        Misconception(
            "a small number inside the logarithm",
            lambda logits, ids, attention_mask: softmax_then_log_chosen(logits, ids, attention_mask, 1e-9),
            "You added a small number to the probability so that the logarithm is never infinite. But then the loss "
            "can never be larger than about 20 either, and a model that is very wrong gets no gradient.",
            "`log_softmax` needs no such number.",
            "4.9",
            variants=tuple(
                lambda logits, ids, attention_mask, small=small: softmax_then_log_chosen(
                    logits, ids, attention_mask, small
                )
                for small in (1e-6, 1e-7, 1e-8, 1e-10, 1e-12, 1e-30)
            ),
        ),
        Misconception(
            "cross_entropy of (B, T, V) without flattening",
            lambda logits, ids, attention_mask: mean_of(
                F.cross_entropy(logits[:, :-1], ids[:, 1:], reduction="none"), attention_mask[:, 1:]
            ),
            "You passed logits (B, T, V) to cross_entropy. It takes dimension 1 for the classes, which is T here: an "
            "error, or, if T and V happen to be equal, wrong numbers without one.",
            "Flatten batch and time: one row for each prediction. Or move V to dimension 1.",
            "4.9",
        ),
        Misconception(
            "divided by all positions, the last ones included",
            lambda logits, ids, attention_mask: torch.mul(*shifted(logits, ids, attention_mask)).sum() / ids.numel(),
            "You divided by B · T. A row of T tokens has only T - 1 predictions with a next token, and padding is not "
            "counted either.",
            "How many predictions have a target?",
            "4.9",
        ),
        Misconception(
            "softmax over the positions",
            lambda logits, ids, attention_mask: mean_of(
                -logits.log_softmax(1)[:, :-1].gather(-1, ids[:, 1:, None])[..., 0], attention_mask[:, 1:]
            ),
            "You normalized over the positions (dim=1). The probabilities of one prediction, over the vocabulary, must "
            "sum to 1.",
            "Which dimension of the logits is the vocabulary?",
            "4.9",
        ),
        Misconception(
            "averaged over the vocabulary, too",
            lambda logits, ids, attention_mask: mean_of(*shifted(logits, ids, attention_mask)) / logits.size(-1),
            "You divided by the size of the vocabulary as well. (The mean of a product with a one-hot matrix counts "
            "all its zeros.)",
            "How many numbers does one prediction contribute to the sum?",
            "4.9",
        ),
        Misconception(
            "logits masked instead of losses",
            lambda logits, ids, attention_mask: shifted(logits * attention_mask.roll(-1, 1)[..., None], ids, ids)[
                0
            ].mean(),
            "You set the logits of padding to 0. These predictions are then uniform, but they still count, with ln V "
            "each.",
            "A prediction without a target must not be in the sum, nor in the count.",
            "4.9",
            variants=(
                lambda logits, ids, attention_mask: shifted(logits * attention_mask[..., None], ids, ids)[0].mean(),
            ),
        ),
    ],
    accepted={
        "loops, logsumexp": loss_by_loops,
        "einsum, one-hot, float64": loss_by_einsum,
        "targets rolled, ignore_index": loss_by_moved_ids,
        "boolean indexing": lambda logits, ids, attention_mask: F.cross_entropy(
            logits[:, :-1][attention_mask[:, 1:]], ids[:, 1:][attention_mask[:, 1:]]
        ),
        "loss without reduction, masked mean": lambda logits, ids, attention_mask: (
            (
                F.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
                * attention_mask[:, 1:].flatten()
            ).sum()
            / attention_mask[:, 1:].sum()
        ),
    },
    hints=[
        "In a row of T tokens, T - 1 predictions have a target. Which prediction is about which token?",
        "logits[:, :-1] are the predictions that have a next token, ids[:, 1:] are those tokens, and "
        "attention_mask[:, 1:] says which of them count.",
        "Take `log_softmax(dim=-1)`, `gather` the next tokens, change the sign; multiply by the mask, sum, and "
        'divide by the number of real targets. Or use F.cross_entropy with reduction="none".',
    ],
)


# 6. too_good


def look(get, ids, V) -> str:
    """Return a verdict on the student's logits."""
    logits, T = get(), len(ids)
    if not torch.is_tensor(logits) or logits.dim() != 2 or not logits.is_floating_point():
        return "this is not a floating-point tensor (T, V)"
    if tuple(logits.shape) != (T, V):
        known = {
            (T - 1, V): "there is one row too few: you need one for each of the T tokens",
            (V, T): "this is (V, T)",
        }
        return known.get(tuple(logits.shape), "the shape is not (T, V)")
    if not logits.isfinite().all():
        return "the logits contain NaN or an infinity"
    logits = logits.detach().double()
    same, next_, before = (
        float(F.cross_entropy(a, b)) for a, b in ((logits, ids), (logits[:-1], ids[1:]), (logits[1:], ids[:-1]))
    )
    if same < 0.01:
        return "fine" if next_ > math.log(V) else "the true next-token loss is not above ln V"
    if bool((logits.max(-1).values - logits.min(-1).values < 1e-3).all()):
        return "your friend's loss is too large: every token is equally likely everywhere"
    if next_ < 0.01:
        return "your friend's loss is too large: this is an honest model, which predicts the next token"
    if before < 0.01:
        return "your friend's loss is too large: this model predicts the token before"
    if bool((logits.argmin(-1) == ids).all()) and V > 2:
        return "your friend's loss is too large: at every position, the current token is the least likely"
    if bool((logits.argmax(-1) == ids).all()):
        return "your friend's loss is too large: each position prefers the current token, but is not confident enough"
    return "your friend's loss is too large"


def hot(ids, V, value=20.0):
    return value * F.one_hot(ids, V).float()


def cheating_by_loops(ids, V):
    rows = []
    for id in ids.tolist():
        row = [0.0] * V
        row[id] = 50.0
        rows.append(row)
    return torch.tensor(rows)


TEXT = torch.tensor([0, 1, 2, 1])
LONG = torch.tensor([3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7])


def random_ids(seed: int) -> list[Case]:
    """Texts in which no token occurs twice in a row."""
    generator = torch.Generator().manual_seed(seed)
    cases = []
    for V in (3 + seed % 17, 2000 + seed):
        steps = torch.randint(1, V, (4 + seed % 11,), generator=generator)
        cases.append(Case(f"a vocabulary of {V}", judge=look, ids=steps.cumsum(0) % V, V=V))
    return cases


too_good = Exercise(
    name="too_good",
    asks="Make logits for which the unshifted loss is below 0.01 and the true next-token loss is above ln V.",
    reference=hot,
    section="4.9",
    cases=[
        Case("four tokens, vocabulary of three", judge=look, ids=TEXT, V=3),
        Case("vocabulary of two", judge=look, ids=torch.tensor([0, 1, 0, 1, 0]), V=2),
        Case("fourteen tokens, vocabulary of ten", judge=look, ids=LONG, V=10),
        Case("a large vocabulary", judge=look, ids=LONG * 11, V=2000),
        Case("a vocabulary of 50,000, two tokens", judge=look, ids=torch.tensor([49999, 0]), V=50000),
    ],
    random_cases=random_ids,
    misconceptions=[
        Misconception(
            "logits for the next token",
            lambda ids, V: torch.cat((hot(ids[1:], V), torch.zeros(1, V))),
            "Your logits predict the token that actually comes next. That is what a model should do, but your "
            "friend's loss would penalize it.",
            "Which token does your friend compare logits[t] with?",
            "4.9",
            variants=(lambda ids, V: hot(ids.roll(-1), V),),
        ),
        Misconception(
            "logits too small",
            lambda ids, V: hot(ids, V, 1.0),
            "The right token has the largest logit everywhere, but after the softmax its probability is far below "
            "0.99. (Did you write probabilities? These are logits.)",
            "How much larger than V - 1 others must one logit be for a probability above 0.99?",
            "4.9",
            variants=(
                lambda ids, V: hot(ids, V, 3.0),
                lambda ids, V: hot(ids, V, 10.0),
                lambda ids, V: hot(ids, V, 0.9) + 0.1 / V,
            ),
        ),
        Misconception(
            "log of zero",
            lambda ids, V: F.one_hot(ids, V).float().log(),
            "You took the logarithm of probabilities that are exactly 0. The logits must be finite, and so must the "
            "true loss.",
            "e^-20 is close enough to 0.",
            "4.9",
        ),
        Misconception(
            "all tokens equally likely",
            lambda ids, V: torch.zeros(len(ids), V),
            "Your model has learned nothing: both losses are ln V.",
            "Which token should be likely at position t?",
            "4.9",
        ),
        Misconception(
            "logits for the previous token",
            lambda ids, V: torch.cat((torch.zeros(1, V), hot(ids[:-1], V))),
            "Your logits predict the token before the one that your friend compares them with.",
            "Which token does your friend compare logits[t] with?",
            "4.9",
            variants=(lambda ids, V: hot(ids.roll(1), V),),
        ),
        Misconception(
            "sign flipped",
            lambda ids, V: -hot(ids, V),
            "At each position, the current token has the *lowest* logit, so your friend's loss is enormous.",
            "Likely tokens have large logits.",
            "4.9",
        ),
        Misconception(
            "not a floating-point tensor (T, V)",
            lambda ids, V: 100 * F.one_hot(ids, V),
            "The logits must be floating-point numbers in a tensor with two dimensions.",
            "`F.one_hot` returns whole numbers: `.float()`.",
            "4.9",
            variants=(lambda ids, V: hot(ids, V)[None],),
        ),
        Misconception(
            "one row too few",
            lambda ids, V: hot(ids[:-1], V),
            "You made T - 1 rows. The model makes a prediction at every position, even after the last token; the "
            "loss leaves the last prediction out.",
            "How many logits does a model return for T tokens?",
            "4.9",
        ),
        Misconception(
            "positions and vocabulary swapped",
            lambda ids, V: hot(ids, V).T.contiguous(),
            "You made one row per token of the vocabulary; it should be one row per position.",
            "The result is (T, V).",
            "4.9",
        ),
        Misconception(
            "confident in the same token everywhere",
            lambda ids, V: hot(ids[:1].expand(len(ids)), V),
            "Every row prefers the same token, whatever the text is.",
            "Position t has to prefer ids[t]: another token in each row.",
            "4.9",
        ),
        Misconception(
            "current and next token equally likely",
            lambda ids, V: hot(ids, V) + hot(ids.roll(-1), V),
            "You made both the current and the next token likely, so each gets about a half. Your friend's loss is "
            "then ln 2, and so is the true one.",
            "Your friend's loss has to fall to 0, and the true one has to grow.",
            "4.9",
        ),
    ],
    accepted={
        "loops": cheating_by_loops,
        "scatter, float64": lambda ids, V: torch.zeros(len(ids), V, dtype=torch.float64).scatter(1, ids[:, None], 1e3),
        "logs of probabilities": lambda ids, V: (F.one_hot(ids, V) + 1e-9).log(),
        "a comparison": lambda ids, V: 30.0 * (torch.arange(V) == ids[:, None]).float() - 15,
    },
    hints=[
        "Your friend's loss is small if logits[t] makes ids[t] very likely. Start with one position.",
        "Put one large number in each row, at column ids[t]. How large? Try the softmax of (10, 0, 0).",
        "`torch.nn.functional.one_hot(ids, V)` has a 1 at each of these places.",
    ],
)

EXERCISES = [
    layer_norm,
    n_parameters,
    sinusoidal,
    block,
    next_token_loss,
    too_good,
    WrittenAnswer(
        "WHY_TOO_GOOD", "How does the model reach a loss of nearly 0, what does it write, and what gives it away?", 50,
        ["Position t sees positions 0 … t. Which one of them is enough for your friend's loss?",
         "Think of ln V and of the floor."], "4.9",
    ),
    WrittenAnswer(
        "EXPERIMENT", "What did you change, what did you predict, what did you measure, and what do you conclude?", 60,
        ["One change at a time; three seeds say more than one."], "4.10",
    ),
]  # fmt: skip
