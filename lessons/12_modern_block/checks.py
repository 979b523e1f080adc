"""The checks of lesson 12, and the known mistakes."""

import math
from random import Random

import torch
from torch import Tensor

from lessons.machinery.exercises import Case, Exercise, Misconception, WrittenAnswer
from llmasos.nn import RopeScaling, RotaryEmbedding, alibi_slopes, apply_rotary, causal_mask, sliding_window_mask
from llmasos.nn import alibi_bias as bias_of_scores
from llmasos.nn.attention import repeat_kv as repeated

READY_MADE_BAND = {
    "torch.nn.attention.flex_attention.create_block_mask": "it makes the mask itself; build it from positions",
}


def random(*shape: int, seed: int = 0) -> Tensor:
    """Reproducible normal random numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def tensor(numbers: list) -> Tensor:
    """A small tensor of floating-point numbers."""
    return torch.tensor(numbers, dtype=torch.float32)


# 1. window_mask


def distance(T: int) -> Tensor:
    """(T, T): how far key s lies before query t, negative after it."""
    return torch.arange(T)[:, None] - torch.arange(T)


def window_by_loops(T: int, W: int) -> Tensor:
    mask = torch.zeros(T, T, dtype=torch.bool)
    for t in range(T):
        mask[t, max(0, t - W + 1) : t + 1] = True
    return mask


def more_windows(seed: int) -> list[Case]:
    draw = Random(seed)
    T = draw.randint(5, 12)
    return [Case("a random window", T=T, W=draw.randint(2, T - 2)), Case("a long one", T=T, W=T + draw.randint(1, 9))]


window_mask_exercise = Exercise(
    name="window_mask",
    asks="Make the mask of causal attention in which each token sees W tokens, itself included.",
    reference=lambda T, W: sliding_window_mask(torch.arange(T)[None], T, W)[0, 0] & causal_mask(T),
    section="12.7",
    cases=[
        Case("three tokens, a window of two", T=3, W=2),
        Case("a window of one", T=4, W=1),
        Case("five tokens, a window of three", T=5, W=3),
        Case("one token", T=1, W=1),
        Case("one token, a window of three", T=1, W=3),
        Case("as long as the text", T=4, W=4),
        Case("one less than the text", T=4, W=3),
        Case("longer than the text", T=4, W=9),
        Case("forty tokens", T=40, W=13),
    ],
    random_cases=more_windows,
    forbidden=READY_MADE_BAND,
    misconceptions=[
        Misconception(
            "one token too many",
            lambda T, W: (distance(T) >= 0) & (distance(T) <= W),
            "Your tokens see W tokens before their own and themselves: W + 1. A cache with W slots is then too small.",
            "With W = 1, how many tokens should a token see?",
            "12.7",
        ),
        Misconception(
            "without the token itself",
            lambda T, W: (distance(T) >= 1) & (distance(T) <= W),
            "Your tokens do not see themselves, and the first one sees nothing at all.",
            "The window includes the token itself.",
            "12.7",
        ),
        Misconception(
            "not causal",
            lambda T, W: distance(T) < W,
            "Your window is only bounded on the left: each token sees the whole future.",
            "Two conditions: not too far back, and not ahead.",
            "12.7",
        ),
        Misconception(
            "a window on both sides",
            lambda T, W: distance(T).abs() < W,
            "Your window reaches as far ahead as back. That is the window of an encoder.",
            "What must a model that predicts the next token not see?",
            "12.7",
        ),
        Misconception(
            "queries and keys swapped",
            lambda T, W: ((distance(T) >= 0) & (distance(T) < W)).T,
            "Your mask is transposed: each token sees itself and W - 1 tokens that come later.",
            "Rows are queries.",
            "12.7",
        ),
        Misconception(
            "blocks instead of a sliding window",
            lambda T, W: (distance(T) >= 0) & (torch.arange(T)[:, None] // W == torch.arange(T) // W),
            "You cut the text into blocks of W tokens. The first token of each block sees only itself; a sliding "
            "window moves on with every token.",
            "Which keys does the token at position W see?",
            "12.7",
        ),
        Misconception(
            "True where it may not attend",
            lambda T, W: ~((distance(T) >= 0) & (distance(T) < W)),
            "Your mask is inverted: True means that a token *may* attend.",
            "Look at the diagonal.",
            "12.7",
        ),
        Misconception(
            "the last W keys for every query",
            lambda T, W: (distance(T) >= 0) & (torch.arange(T) >= T - W),
            "You keep the last W keys of the whole text for every query, so that early tokens see nothing.",
            "The window ends at the query, not at the end of the text.",
            "12.7",
        ),
        Misconception(
            "no window",
            lambda T, W: distance(T) >= 0,
            "Your mask is causal, but it has no window.",
            "Which argument do you not use?",
            "12.7",
        ),
    ],
    accepted={
        "loops": window_by_loops,
        "triangles": lambda T, W: torch.ones(T, T).tril().bool() & torch.ones(T, T).triu(1 - W).bool(),
        "one row at a time": lambda T, W: torch.stack([
            torch.tensor([t - W < s <= t for s in range(T)]) for t in range(T)
        ]),
    },
    hints=[
        "Compute the distance t - s for all pairs with two `arange`s of shapes (T, 1) and (T,).",
        "Which distances are allowed? The smallest is 0, the token itself.",
        "(distance >= 0) & (distance < W)",
    ],
)  # fmt: skip


# 2. repeat_kv


def sum_and_gradient(f, x: Tensor, H: int):
    """The result, and the gradient of a weighted sum of it."""
    x.requires_grad_()
    out = f(x, H)
    if not (torch.is_tensor(out) and out.requires_grad):
        return out, "the result has no gradient with respect to x"
    weights = torch.arange(1.0, out.numel() + 1).view(out.shape) / out.numel()
    return out.detach(), torch.autograd.grad((out * weights).sum(), x)[0]


def more_heads(seed: int) -> list[Case]:
    draw = Random(seed)
    cases = []
    for n in range(2):
        Hkv, group = draw.randint(2, 4), draw.randint(2, 3)
        x = random(draw.randint(1, 3), Hkv, draw.randint(2, 5), 2 * draw.randint(1, 3), seed=seed % 1000 + n)
        cases.append(Case(f"{Hkv} heads for {Hkv * group}", run=sum_and_gradient, x=x, H=Hkv * group))
    return cases


repeat_kv_exercise = Exercise(
    name="repeat_kv",
    asks="Repeat each key/value head for the query heads of its group.",
    reference=repeated,
    section="12.5",
    cases=[
        Case("two heads for four", x=tensor([[[[1.0]], [[2.0]]]]), H=4),
        Case("two heads for six", x=tensor([[[[1.0, 0.0]], [[2.0, 0.0]]]]), H=6),
        Case("one head for three", x=tensor([[[[1.0, 2.0], [3.0, 4.0]]]]), H=3),
        Case("as many as there are", x=random(1, 3, 2, 2, seed=1), H=3),
        Case("two texts", x=random(2, 2, 3, 4, seed=2), H=4),
        Case("as many texts as heads", x=random(2, 2, 2, 2, seed=3), H=8),
        Case("no tokens yet", x=torch.zeros(2, 2, 0, 4), H=4),
        Case("half precision", x=random(1, 2, 2, 2, seed=4).bfloat16(), H=4),
        Case("from (B, S, Hkv, D), transposed", x=random(2, 5, 3, 4, seed=5).transpose(1, 2), H=6),
        Case("gradients", run=sum_and_gradient, x=random(2, 3, 4, 2, seed=6), H=6),
        Case("gradients, nothing to repeat", run=sum_and_gradient, x=random(1, 2, 2, 2, seed=7), H=2),
    ],
    random_cases=more_heads,
    misconceptions=[
        Misconception(
            "all heads once, then all again",
            lambda x, H: x.repeat(1, H // x.size(1), 1, 1),
            "You repeat the whole sequence of heads: a, b, a, b. Query head 1 then uses b, and not its group's head a. "
            "Shapes are right, and pretrained weights give nonsense.",
            "Groups are neighbors: a, a, b, b.",
            "12.5",
        ),
        Misconception(
            "tokens repeated, not heads",
            lambda x, H: x.repeat_interleave(H // x.size(1), dim=2),
            "You repeat the tokens instead of the heads.",
            "Which dimension is Hkv?",
            "12.5",
        ),
        Misconception(
            "features repeated",
            lambda x, H: x.repeat_interleave(H // x.size(1), dim=3),
            "You repeat the features instead of the heads.",
            "Which dimension is Hkv?",
            "12.5",
        ),
        Misconception(
            "texts repeated",
            lambda x, H: x.repeat_interleave(H // x.size(1), dim=0),
            "You repeat the texts instead of the heads.",
            "Which dimension is Hkv?",
            "12.5",
        ),
        Misconception(
            "H times as many",
            lambda x, H: x.repeat_interleave(H, dim=1),
            "You repeat each head H times. There are Hkv heads already, so H/Hkv copies of each are enough.",
            "How many heads should the result have?",
            "12.5",
        ),
        Misconception(
            "the first head for all",
            lambda x, H: x[:, :1].expand(-1, H, -1, -1),
            "You give the first key/value head to all query heads: that is multi-query attention, whatever Hkv is.",
            "Which head does the second group use?",
            "12.5",
        ),
        Misconception(
            "a new dimension is left",
            lambda x, H: x[:, :, None].expand(-1, -1, H // x.size(1), -1, -1),
            "Your result has five dimensions: groups and the heads of a group are separate.",
            "Merge the two with `flatten`.",
            "12.5",
        ),
        Misconception(
            "no gradient",
            lambda x, H: x.detach().repeat_interleave(H // x.size(1), dim=1),
            "Your result is cut off from x, so the projections to keys and values would never learn.",
            "Do not detach, and do not go through NumPy or `torch.tensor`.",
            "12.5",
        ),
    ],
    accepted={
        "by index": lambda x, H: x[:, torch.arange(H) // (H // x.size(1))],
        "expand and flatten": lambda x, H: x[:, :, None].expand(-1, -1, H // x.size(1), -1, -1).flatten(1, 2),
        "a list of heads": lambda x, H: torch.stack([x[:, h * x.size(1) // H] for h in range(H)], dim=1),
    },
    hints=[
        "Which key/value head does query head h use? Divide h by the size of a group.",
        "`repeat_interleave` repeats each element; `repeat` repeats the whole.",
        "Or: a new dimension after Hkv, `expand` it to the size of a group, and flatten the two.",
    ],
)


# 3. rotate


def frequencies(D: int, base: float) -> Tensor:
    """base^(-2i/D), in double precision."""
    return torch.tensor(base, dtype=torch.float64) ** (-torch.arange(0, D, 2, dtype=torch.float64) / D)


def rotation(x: Tensor, angles: Tensor) -> Tensor:
    """Rotate planes (i, i + D/2) of x (T, D) by angles (T, D/2)."""
    a, b = x.chunk(2, dim=-1)
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    return torch.cat((a * cos - b * sin, a * sin + b * cos), dim=-1)


def by_library(x: Tensor, positions: Tensor, base: float) -> Tensor:
    cos, sin = RotaryEmbedding(1001, x.size(1), base)(positions[None])
    return apply_rotary(x[None, None], cos, sin)[0, 0]


def by_plane(x: Tensor, positions: Tensor, base: float) -> Tensor:
    """A matrix [[cos, -sin], [sin, cos]] for each plane and position."""
    half = x.size(1) // 2
    out = x.clone()
    for row, p in enumerate(positions.tolist()):
        for i in range(half):
            angle = p * base ** (-2 * i / x.size(1))
            turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
            out[row, [i, i + half]] = turn @ x[row, [i, i + half]]
    return out


def by_complex_numbers(x: Tensor, positions: Tensor, base: float) -> Tensor:
    z = torch.complex(*x.double().chunk(2, dim=-1))
    angles = positions.double()[:, None] * frequencies(x.size(1), base)
    z = z * torch.polar(torch.ones_like(angles), angles)
    return torch.cat((z.real, z.imag), dim=-1).float()


def swapped_halves(x: Tensor, positions: Tensor, base: float) -> Tensor:
    """The form of Llama's code: x cos + (−b, a) sin."""
    angles = (positions.double()[:, None] * frequencies(x.size(1), base)).float().repeat(1, 2)
    a, b = x.chunk(2, dim=-1)
    return x * angles.cos() + torch.cat((-b, a), dim=-1) * angles.sin()


def rotated_and_gradient(f, x: Tensor, positions: Tensor, base: float):
    """The result, and the gradient of a weighted sum of it."""
    x.requires_grad_()
    out = f(x, positions, base)
    if not (torch.is_tensor(out) and out.requires_grad):
        return out, "the result has no gradient with respect to x"
    weights = torch.arange(1.0, out.numel() + 1).view(out.shape) / out.numel()
    return out.detach(), torch.autograd.grad((out * weights).sum(), x)[0]


def more_rotations(seed: int) -> list[Case]:
    draw = Random(seed)
    T, D = draw.randint(3, 6), 2 * draw.randint(2, 5)
    positions = torch.tensor([draw.randint(0, 900) for _ in range(T)])
    x = random(T, D, seed=seed % 1000)
    return [Case("random vectors", run=rotated_and_gradient, x=x, positions=positions, base=draw.uniform(50, 20_000))]


def with_angles(angles) -> object:
    """A misconception: the right rotation by other angles, from (positions as (T, 1), i, D, base)."""
    return lambda x, positions, base: rotation(
        x, angles(positions[:, None].double(), torch.arange(x.size(1) // 2).double(), x.size(1), base)
    )


def neighbors(x: Tensor, positions: Tensor, base: float) -> Tensor:
    """Planes (2i, 2i + 1), as in the paper."""
    angles = positions[:, None].double() * frequencies(x.size(1), base)
    a, b = x[:, ::2], x[:, 1::2]
    cos, sin = angles.cos().float(), angles.sin().float()
    return torch.stack((a * cos - b * sin, a * sin + b * cos), dim=-1).flatten(1)


def mirrored(x: Tensor, positions: Tensor, base: float) -> Tensor:
    a, b = x.chunk(2, dim=-1)
    angles = positions[:, None].double() * frequencies(x.size(1), base)
    cos, sin = angles.cos().float(), angles.sin().float()
    return torch.cat((a * cos - b * sin, a * sin - b * cos), dim=-1)


def overwritten(x: Tensor, positions: Tensor, base: float) -> Tensor:
    """The new a is used to compute the new b."""
    a, b = x.chunk(2, dim=-1)
    angles = positions[:, None].double() * frequencies(x.size(1), base)
    cos, sin = angles.cos().float(), angles.sin().float()
    a = a * cos - b * sin
    return torch.cat((a, a * sin + b * cos), dim=-1)


def added(x: Tensor, positions: Tensor, base: float) -> Tensor:
    angles = positions[:, None].double() * frequencies(x.size(1), base)
    return x + torch.cat((angles.cos(), angles.sin()), dim=-1).float()


rotate_exercise = Exercise(
    name="rotate",
    asks="Rotate each plane of queries or keys by position times frequency.",
    reference=by_library,
    section="12.3",
    cases=[
        Case("one plane, position 1", x=tensor([[1, 0]]), positions=torch.tensor([1]), base=10000.0),
        Case("one plane, (0, 1)", x=tensor([[0, 1]]), positions=torch.tensor([1]), base=10000.0),
        Case("position 0 changes nothing", x=tensor([[1, 2, 3, 4]]), positions=torch.tensor([0]), base=10000.0),
        Case("two planes", x=tensor([[1, 1, 0, 0]]), positions=torch.tensor([1]), base=100.0),
        Case("three planes, one at a time", x=torch.eye(6), positions=torch.full((6,), 2), base=8.0),
        Case("any order, some equal", x=random(4, 4, seed=1), positions=torch.tensor([7, 3, 0, 3]), base=50.0),
        Case("as many positions as features", x=random(4, 4, seed=2), positions=torch.arange(4), base=10000.0),
        Case("from position 100", x=random(3, 8, seed=3), positions=torch.arange(100, 103), base=10000.0),
        Case("position 1000", x=random(2, 4, seed=4), positions=torch.tensor([1000, 999]), base=500000.0),
        Case("every second vector", x=random(8, 6, seed=5)[::2], positions=torch.arange(8)[::2], base=30.0),
        Case("no vectors", x=torch.zeros(0, 4), positions=torch.zeros(0, dtype=torch.long), base=10000.0),
        Case(
            "gradients",
            run=rotated_and_gradient,
            x=random(5, 6, seed=6),
            positions=torch.tensor([4, 1, 9, 30, 2]),
            base=100.0,
        ),
    ],
    random_cases=more_rotations,
    rtol=1e-3,
    atol=1e-3,
    misconceptions=[
        Misconception(
            "neighboring features",
            neighbors,
            "You rotate the planes (2i, 2i + 1), as in the RoFormer paper. The task, and Llama's weights, have the "
            "planes (i, i + D/2). Both are fine for a new model; pretrained weights need theirs.",
            "Which two features form plane 0?",
            "12.3",
        ),
        Misconception(
            "clockwise",
            with_angles(lambda p, i, D, base: -p * base ** (-2 * i / D)),
            "You rotate clockwise. Scores would be the same, since only differences of angles count, but pretrained "
            "keys would be rotated the other way.",
            "Compare your signs with the formula: (a, b) = (1, 0) becomes (cos φ, sin φ).",
            "12.3",
        ),
        Misconception(
            "the exponent is i/D",
            with_angles(lambda p, i, D, base: p * base ** (-i / D)),
            "Your exponent is i/D. Frequencies then fall only to 1/√base: the slow half of the planes is missing.",
            "i runs to D/2 - 1 only.",
            "12.3",
        ),
        Misconception(
            "planes become faster",
            with_angles(lambda p, i, D, base: p * base ** (2 * i / D)),
            "Your frequencies grow from plane to plane. After one position, the last plane has rotated thousands of "
            "times.",
            "The sign of the exponent.",
            "12.3",
        ),
        Misconception(
            "all planes alike",
            with_angles(lambda p, i, D, base: p.expand(-1, len(i))),
            "You rotate all planes by the same angle. After 2π positions, about six, everything repeats.",
            "Which argument do you not use?",
            "12.3",
        ),
        Misconception(
            "rows instead of positions",
            lambda x, positions, base: by_library(x, torch.arange(len(x)), base),
            "You use the numbers of the rows instead of the positions that were given. With a cache, the only new "
            "token would always be at position 0.",
            "Where does your code read `positions`?",
            "12.3",
        ),
        Misconception(
            "positions from 1",
            with_angles(lambda p, i, D, base: (p + 1) * base ** (-2 * i / D)),
            "You count positions from 1. Position 0 must change nothing.",
            "What is the angle at position 0?",
            "12.3",
        ),
        Misconception(
            "a mirror, not a rotation",
            mirrored,
            "The second half has a minus sign too many: your matrix is a reflection. The score then depends on the sum "
            "of the positions, not on their difference.",
            "(a sin φ + b cos φ)",
            "12.3",
        ),
        Misconception(
            "half of it already rotated",
            overwritten,
            "You overwrite a before you compute the new b.",
            "Keep the old a until both are done.",
            "12.3",
        ),
        Misconception(
            "added, not rotated",
            added,
            "You add cosines and sines to the vectors. Those are sinusoidal positions; here vectors are rotated, and "
            "keep their length.",
            "Position 0 must change nothing.",
            "12.3",
        ),
        Misconception(
            "degrees",
            with_angles(lambda p, i, D, base: p * base ** (-2 * i / D) * math.pi / 180),
            "You convert from degrees; the angles are in radians.",
            "What is the angle of plane 0 at position 1?",
            "12.3",
        ),
    ],
    accepted={
        "a matrix for each plane": by_plane,
        "complex numbers": by_complex_numbers,
        "halves swapped": swapped_halves,
    },
    hints=[
        "First the frequencies (D/2,), then the angles (T, D/2): positions[:, None] * frequencies.",
        "a and b are the two halves of x: `x.chunk(2, dim=-1)`.",
        "torch.cat((a * cos - b * sin, a * sin + b * cos), dim=-1)",
    ],
)  # fmt: skip


# 4. scaled_frequencies


def frequencies_of_library(D: int, base: float, factor: float, method: str) -> Tensor:
    unscaled = base ** (-torch.arange(0, D, 2) / D)
    return RopeScaling(factor, type=method).scale(unscaled, base)


def frequencies_by_loop(D: int, base: float, factor: float, method: str) -> Tensor:
    if method == "ntk":
        base, factor = base * factor ** (D / (D - 2)), 1.0
    return torch.tensor([1.0 / (factor * base ** (2 * i / D)) for i in range(D // 2)])


def frequencies_by_plane(D: int, base: float, factor: float, method: str) -> Tensor:
    slowed = torch.linspace(0.0, 1.0, D // 2) if method == "ntk" else torch.ones(D // 2)
    return (frequencies(D, base) / factor ** slowed.double()).float()


def more_frequencies(seed: int) -> list[Case]:
    draw = Random(seed)
    sizes = {"D": 2 * draw.randint(3, 20), "base": draw.uniform(50, 500_000), "factor": draw.uniform(1.5, 30)}
    return [Case(f"random sizes, {method}", **sizes, method=method) for method in ("linear", "ntk")]


def with_base(change) -> object:
    """A misconception: "ntk" with another base, from (base, factor, D)."""

    def wrong(D: int, base: float, factor: float, method: str) -> Tensor:
        if method == "ntk":
            return frequencies(D, change(base, factor, D)).float()
        return frequencies_of_library(D, base, factor, method)

    return wrong


def with_linear(change) -> object:
    """A misconception about "linear", from (frequencies, factor, base, D)."""

    def wrong(D: int, base: float, factor: float, method: str) -> Tensor:
        if method == "linear":
            return change(frequencies(D, base), factor, base, D).float()
        return frequencies_of_library(D, base, factor, method)

    return wrong


scaled_frequencies_exercise = Exercise(
    name="scaled_frequencies",
    asks="Compute the rotary frequencies for longer texts, by linear interpolation and by NTK scaling.",
    reference=frequencies_of_library,
    section="12.7",
    cases=[
        Case("two planes, linear", D=4, base=10000.0, factor=4.0, method="linear"),
        Case("two planes, ntk", D=4, base=10000.0, factor=4.0, method="ntk"),
        Case("three planes, linear", D=6, base=1000.0, factor=2.0, method="linear"),
        Case("three planes, ntk", D=6, base=1000.0, factor=2.0, method="ntk"),
        Case("factor 1, linear", D=8, base=100.0, factor=1.0, method="linear"),
        Case("factor 1, ntk", D=8, base=100.0, factor=1.0, method="ntk"),
        Case("a head of 64, ntk", D=64, base=10000.0, factor=8.0, method="ntk"),
        Case("a head of 64, linear", D=64, base=500000.0, factor=8.0, method="linear"),
        Case("a broken factor", D=10, base=50.0, factor=2.5, method="ntk"),
    ],
    random_cases=more_frequencies,
    rtol=1e-3,
    atol=1e-8,
    misconceptions=[
        Misconception(
            "linear: faster instead of slower",
            with_linear(lambda f, factor, base, D: f * factor),
            "You multiply by the factor. Then angles that have never been seen come even earlier.",
            "The angle at position 4n should be what it was at position n.",
            "12.7",
        ),
        Misconception(
            "linear: the base is divided",
            with_linear(lambda f, factor, base, D: frequencies(D, base / factor)),
            "You divide the base. That makes every plane but the first faster.",
            "Divide the frequencies themselves.",
            "12.7",
        ),
        Misconception(
            "linear: the base is multiplied",
            with_linear(lambda f, factor, base, D: frequencies(D, base * factor)),
            "You multiply the base by the factor instead of dividing the frequencies.",
            "The first plane is slowed down, too.",
            "12.7",
        ),
        Misconception(
            "ntk: the base grows by the factor",
            with_base(lambda base, factor, D: base * factor),
            "Your new base is base · factor. The exponent of the last plane is not 1 but (D - 2)/D, so that plane is "
            "slowed down by less than the factor, and reaches angles it has never seen.",
            "Solve: (new base)^((D - 2)/D) = factor · base^((D - 2)/D).",
            "12.7",
        ),
        Misconception(
            "ntk: the exponent upside down",
            with_base(lambda base, factor, D: base * factor ** ((D - 2) / D)),
            "Your exponent is upside down: it must be D / (D - 2), a little more than 1.",
            "Raise both sides of the equation to the power D / (D - 2).",
            "12.7",
        ),
        Misconception(
            "ntk: the number of planes in the exponent",
            with_base(lambda base, factor, D: base * factor ** (D // 2 / (D // 2 - 2) if D > 4 else 1.0)),
            "You put the number of planes, D/2, where the head size belongs.",
            "The last plane is number D/2 - 1, and its exponent 2 · (D/2 - 1) / D.",
            "12.7",
        ),
        Misconception(
            "ntk: the base shrinks",
            with_base(lambda base, factor, D: base / factor ** (D / (D - 2))),
            "Your base becomes smaller, so that the planes become faster.",
            "A larger base makes longer waves.",
            "12.7",
        ),
        Misconception(
            "ntk: divided by the factor as well",
            lambda D, base, factor, method: (
                frequencies_by_loop(D, base, factor, method) / (factor if method == "ntk" else 1.0)
            ),
            "You change the base and divide by the factor. One of the two is enough; plane 0 must stay as it is.",
            "What should be the frequency of plane 0?",
            "12.7",
        ),
        Misconception(
            "the two swapped",
            lambda D, base, factor, method: frequencies_of_library(
                D, base, factor, "ntk" if method == "linear" else "linear"
            ),
            "You have mixed up the two methods.",
            "Which of them leaves plane 0 alone?",
            "12.7",
        ),
        Misconception(
            "the exponent is i/D",
            lambda D, base, factor, method: frequencies_of_library(D, base**0.5, factor, method),
            "Your exponent is -i/D; it must be -2i/D.",
            "i runs to D/2 - 1 only.",
            "12.3",
        ),
        Misconception(
            "wavelengths instead of frequencies",
            lambda D, base, factor, method: 2 * math.pi / frequencies_of_library(D, base, factor, method),
            "You return wavelengths, in positions. Frequencies are in radians per position.",
            "Frequency 1 means: one radian per position.",
            "12.3",
        ),
    ],
    accepted={
        "one plane after the other": frequencies_by_loop,
        "how much each plane is slowed down": frequencies_by_plane,
        "logarithms": lambda D, base, factor, method: (
            torch.exp(
                -torch.arange(0, D, 2) / D * math.log(base * (factor ** (D / (D - 2)) if method == "ntk" else 1.0))
            )
            / (factor if method == "linear" else 1.0)
        ),
    },
    hints=[
        "For ntk, write down the frequency of the last plane, i = D/2 - 1: base^(-(D - 2)/D).",
        "With the new base b it must be 1/factor of that. Solve for b.",
        "b = base · factor^(D / (D - 2))",
    ],
)


# 5. alibi_bias


def alibi_of_library(H: int, T: int) -> Tensor:
    bias = bias_of_scores(alibi_slopes(H), torch.arange(T)[None], T)[0]
    return bias.masked_fill(~causal_mask(T), -math.inf)


def alibi_by_loops(H: int, T: int) -> Tensor:
    return torch.tensor([
        [[-(2.0 ** (-8 * h / H)) * (t - s) if s <= t else -math.inf for s in range(T)] for t in range(T)]
        for h in range(1, H + 1)
    ])  # fmt: skip


def slopes(H: int) -> Tensor:
    """(H, 1, 1): 2^(-8h/H)."""
    return (2.0 ** (-8.0 * torch.arange(1, H + 1) / H))[:, None, None]


def hidden(bias: Tensor) -> Tensor:
    return bias.masked_fill(distance(bias.size(-1)) < 0, -math.inf)


def more_biases(seed: int) -> list[Case]:
    draw = Random(seed)
    return [Case(f"{H} heads", H=H, T=draw.randint(3, 9)) for H in draw.sample((2, 4, 8, 16), 2)]


alibi_bias_exercise = Exercise(
    name="alibi_bias",
    asks="Compute what ALiBi adds to the scores, with the causal mask in it.",
    reference=alibi_of_library,
    section="12.7",
    cases=[
        Case("eight heads, two positions", H=8, T=2),
        Case("one head", H=1, T=3),
        Case("two heads", H=2, T=3),
        Case("four heads", H=4, T=4),
        Case("one position", H=4, T=1),
        Case("sixteen heads", H=16, T=5),
        Case("as many heads as positions", H=8, T=8),
    ],
    random_cases=more_biases,
    misconceptions=[
        Misconception(
            "far tokens are raised",
            lambda H, T: hidden(slopes(H) * distance(T)),
            "Your bias grows with the distance, so that attention prefers the far past.",
            "The sign: near tokens should win.",
            "12.7",
        ),
        Misconception(
            "the future is not hidden",
            lambda H, T: -slopes(H) * distance(T).clamp(min=0),
            "Keys after the query get 0, the highest bias of all.",
            "A key after the query gets -∞.",
            "12.7",
        ),
        Misconception(
            "the future falls off like the past",
            lambda H, T: -slopes(H) * distance(T).abs(),
            "You use the absolute distance in both directions and hide nothing. That is the bias of an encoder.",
            "A key after the query gets -∞.",
            "12.7",
        ),
        Misconception(
            "slopes from h = 0",
            lambda H, T: hidden(-(2.0 ** (-8.0 * torch.arange(H) / H))[:, None, None] * distance(T)),
            "Your first slope is 2^0 = 1: heads are counted from 1.",
            "The last slope is always 2^(-8) = 1/256.",
            "12.7",
        ),
        Misconception(
            "slopes for eight heads, whatever H is",
            lambda H, T: hidden(-(2.0 ** -torch.arange(1.0, H + 1))[:, None, None] * distance(T)),
            "Your slopes are 1/2, 1/4, 1/8, … whatever H is. That is right for eight heads only.",
            "The exponent is -8h/H.",
            "12.7",
        ),
        Misconception(
            "one slope for all heads",
            lambda H, T: hidden(-slopes(H)[-1:].expand(H, 1, 1) * distance(T)),
            "All your heads have the same slope. Then none looks near and none looks far.",
            "The slope depends on h.",
            "12.7",
        ),
        Misconception(
            "the slopes in reverse",
            lambda H, T: hidden(-slopes(H).flip(0) * distance(T)),
            "Your slopes begin with the smallest. Head 1 has the steepest.",
            "h = 1 gives 2^(-8/H).",
            "12.7",
        ),
        Misconception(
            "queries and keys swapped",
            lambda H, T: hidden(-slopes(H) * distance(T)).transpose(1, 2),
            "The last two dimensions are swapped: rows are queries, columns are keys.",
            "In the first row, a single key is visible.",
            "12.7",
        ),
        Misconception(
            "exponents of e",
            lambda H, T: hidden(-torch.exp(-8.0 * torch.arange(1, H + 1) / H)[:, None, None] * distance(T)),
            "Your slopes are powers of e; they should be powers of 2.",
            "With eight heads, the first slope is one half.",
            "12.7",
        ),
        Misconception(
            "a factor, not a bias",
            lambda H, T: torch.exp(hidden(-slopes(H) * distance(T))),
            "You return e to the power of the bias. The bias is added to the scores, before the softmax.",
            "At distance 0 nothing is added.",
            "12.7",
        ),
        Misconception(
            "a large number instead of infinity",
            lambda H, T: hidden(-slopes(H) * distance(T)).clamp(min=-1e9),
            "You hide the future with a large number. It is not what the task asks for, and in half precision -1e9 "
            "does not exist.",
            "`-math.inf`",
            "12.7",
            variants=(lambda H, T: hidden(-slopes(H) * distance(T)).clamp(min=-1e4),),
        ),
    ],
    accepted={
        "loops": alibi_by_loops,
        "all at once": lambda H, T: torch.where(distance(T) >= 0, -slopes(H) * distance(T), -math.inf),
        "causal mask added": lambda H, T: slopes(H) * -distance(T) + torch.full((T, T), -math.inf).triu(1),
    },
    hints=[
        "The distances: torch.arange(T)[:, None] - torch.arange(T), (T, T).",
        "The slopes as (H, 1, 1) times the distances as (T, T) are (H, T, T).",
        "`torch.where(distance >= 0, -slopes * distance, -math.inf)`",
    ],
)


# 6. cache_bytes


def bytes_by_formula(L, Hkv, D, S, window=None, latent=None, size=2):
    kept = S if window is None else min(S, window)
    per_token = 2 * Hkv * D if latent is None else sum(latent)
    return L * kept * per_token * size


def bytes_of_tensors(L, Hkv, D, S, window=None, latent=None, size=2):
    """Count the elements of the tensors instead."""
    kept = min(S, S if window is None else window)
    shapes = [(Hkv, kept, D)] * 2 if latent is None else [(kept, latent[0]), (kept, latent[1])]
    return L * sum(size * torch.empty(shape, device="meta").numel() for shape in shapes)


def more_caches(seed: int) -> list[Case]:
    draw = Random(seed)
    sizes = {"L": draw.randint(2, 9), "Hkv": draw.randint(2, 9), "D": draw.randint(3, 99), "S": draw.randint(50, 999)}
    latent = (draw.randint(10, 99), draw.randint(2, 9))
    return [
        Case("random sizes", **sizes),
        Case("with a window", **sizes, window=draw.randint(5, 40)),
        Case("latent", **sizes, window=None, latent=latent),
        Case("latent, with a window", **sizes, window=draw.randint(5, 40), latent=latent, size=4),
    ]


cache_bytes_exercise = Exercise(
    name="cache_bytes",
    asks="Compute the bytes of the keys and values that are kept for one text.",
    reference=bytes_by_formula,
    section="12.9",
    cases=[
        Case("a small one", L=2, Hkv=3, D=4, S=5),
        Case("one of everything", L=1, Hkv=1, D=1, S=1),
        Case("32 bits", L=2, Hkv=3, D=4, S=5, window=None, latent=None, size=4),
        Case("no tokens yet", L=2, Hkv=3, D=4, S=0),
        Case("a window of three", L=2, Hkv=3, D=4, S=5, window=3),
        Case("a window of one", L=2, Hkv=3, D=4, S=5, window=1),
        Case("a token more than the window", L=2, Hkv=3, D=4, S=5, window=4),
        Case("exactly as long as the window", L=2, Hkv=3, D=4, S=5, window=5),
        Case("a window longer than the text", L=2, Hkv=3, D=4, S=5, window=7),
        Case("latent", L=2, Hkv=3, D=4, S=5, window=None, latent=(6, 2)),
        Case("latent, 8 bits", L=2, Hkv=3, D=4, S=5, window=None, latent=(6, 2), size=1),
        Case("latent, with a window", L=2, Hkv=3, D=4, S=5, window=3, latent=(6, 2)),
        Case("latent without a key with positions", L=2, Hkv=3, D=4, S=5, window=None, latent=(6, 0)),
        Case("Llama 3 8B, 8,192 tokens", L=32, Hkv=8, D=128, S=8192),
        Case("DeepSeek-V2, 128,000 tokens", L=60, Hkv=128, D=128, S=128_000, window=None, latent=(512, 64)),
    ],
    random_cases=more_caches,
    misconceptions=[
        Misconception(
            "keys without values",
            lambda L, Hkv, D, S, window=None, latent=None, size=2: bytes_by_formula(
                L, Hkv, D, S, window, latent, size
            ) // (1 if latent else 2),
            "You counted keys or values, but not both.",
            "What are the two things that attention needs of an earlier token?",
            "12.9",
        ),
        Misconception(
            "one layer",
            lambda L, Hkv, D, S, window=None, latent=None, size=2: bytes_by_formula(
                1, Hkv, D, S, window, latent, size
            ),
            "You counted one layer. Every layer has its own keys and values.",
            "Which argument do you not use?",
            "12.9",
        ),
        Misconception(
            "numbers instead of bytes",
            lambda L, Hkv, D, S, window=None, latent=None, size=2: bytes_by_formula(
                L, Hkv, D, S, window, latent, 1
            ),
            "You counted numbers. Each of them takes `size` bytes.",
            "How many bytes does a number of 16 bits take?",
            "12.9",
        ),
        Misconception(
            "bits",
            lambda L, Hkv, D, S, window=None, latent=None, size=2: bytes_by_formula(
                L, Hkv, D, S, window, latent, 8 * size
            ),
            "You counted bits. The unit is bytes, and `size` is in bytes already.",
            "The unit of the result.",
            "12.9",
        ),
        Misconception(
            "the window is ignored",
            lambda L, Hkv, D, S, window=None, latent=None, size=2: bytes_by_formula(L, Hkv, D, S, None, latent, size),
            "You counted every token, although those that have left the window are overwritten.",
            "How many tokens are in a window of W?",
            "12.9",
        ),
        Misconception(
            "a window's cache is always full",
            lambda L, Hkv, D, S, window=None, latent=None, size=2: bytes_by_formula(
                L, Hkv, D, S if window is None else window, None, latent, size
            ),
            "You counted W tokens although the text is shorter.",
            "How many tokens are kept of a text that is shorter than the window?",
            "12.9",
        ),
        Misconception(
            "one token fewer in the window",
            lambda L, Hkv, D, S, window=None, latent=None, size=2: bytes_by_formula(
                L, Hkv, D, S, window and window - 1, latent, size
            ),
            "You left out a token: the window counts the newest token as well, and its keys and values are kept, too.",
            "A window of one holds how many tokens?",
            "12.7",
        ),
        Misconception(
            "latent vectors counted twice",
            lambda L, Hkv, D, S, window=None, latent=None, size=2: bytes_by_formula(
                L, Hkv, D, S, window, latent and (2 * latent[0], latent[1]), size
            ),
            "You counted the latent vector twice. Keys and values come from the same one; that is the point.",
            "How many latent vectors does a token have?",
            "12.9",
        ),
        Misconception(
            "everything latent counted twice",
            lambda L, Hkv, D, S, window=None, latent=None, size=2: bytes_by_formula(
                L, Hkv, D, S, window, latent and (2 * latent[0], 2 * latent[1]), size
            ),
            "You doubled the latent vector and the key with positions. Neither has a separate value.",
            "What exactly is cached of a token?",
            "12.9",
        ),
        Misconception(
            "latent vectors for each head",
            lambda L, Hkv, D, S, window=None, latent=None, size=2: bytes_by_formula(
                L, Hkv, D, S, window, latent, size
            ) * (Hkv if latent else 1),
            "You multiplied by the heads. The latent vector and the key with positions are shared by all of them.",
            "Which of the arguments do not matter with latent attention?",
            "12.9",
        ),
        Misconception(
            "a key with positions for each head",
            lambda L, Hkv, D, S, window=None, latent=None, size=2: bytes_by_formula(
                L, Hkv, D, S, window, latent and (latent[0], Hkv * latent[1]), size
            ),
            "You counted the key with positions once for each head. All heads share one.",
            "What exactly is cached of a token?",
            "12.9",
        ),
        Misconception(
            "without the key with positions",
            lambda L, Hkv, D, S, window=None, latent=None, size=2: bytes_by_formula(
                L, Hkv, D, S, window, latent and (latent[0], 0), size
            ),
            "You left out the key with positions, which has to be cached beside the latent vector.",
            "Why can the positions not be in the latent vector?",
            "12.9",
        ),
        Misconception(
            "latent attention ignores the window",
            lambda L, Hkv, D, S, window=None, latent=None, size=2: bytes_by_formula(
                L, Hkv, D, S, None if latent else window, latent, size
            ),
            "With latent attention, you count every token even if there is a window.",
            "The two may occur together.",
            "12.9",
        ),
    ],
    accepted={
        "tensors on the meta device": bytes_of_tensors,
        "added up by layer": lambda L, Hkv, D, S, window=None, latent=None, size=2: sum(
            min(S, S if window is None else window)
            * size * (latent[0] + latent[1] if latent is not None else Hkv * D + Hkv * D)
            for _ in range(L)
        ),
    },
    hints=[
        "How many tokens are kept? Then: how many numbers are kept of each, in each layer?",
        "A token has 2 · Hkv · D numbers in each layer: keys and values. With latent attention it has N + R.",
        "L · min(S, W) · numbers · size",
    ],
)  # fmt: skip


# 7. stale_key

PRETRAINED, HIGHEST = 48, 480


def dynamic_frequencies(D: int, length: int) -> Tensor:
    """Frequencies of dynamic NTK scaling for a text of this length, in double precision."""
    factor = max(1.0, length / PRETRAINED)
    return frequencies(D, 10000.0 * factor ** (D / (D - 2)))


def look(find) -> str:
    """What is wrong with the six, or "fine"."""
    answer = find()
    if not (isinstance(answer, (tuple, list)) and len(answer) == 6):
        return "it is not six things: q, k, s, t, n, m"
    q, k, *numbers = answer
    if not (torch.is_tensor(q) and torch.is_tensor(k) and q.dim() == k.dim() == 1 and q.shape == k.shape):
        return "q and k are not two tensors (D,) of the same size"
    if len(q) % 2 or len(q) < 4:
        return "D is not an even number of 4 or more"
    q, k = q.double(), k.double()
    if not (q.isfinite().all() and k.isfinite().all()):
        return "the vectors contain NaN or infinity"
    if q.norm() > 1.0001 or k.norm() > 1.0001:
        return "a vector is longer than 1"
    if not all(type(number) is int for number in numbers):
        return "s, t, n and m are not whole numbers"
    s, t, n, m = numbers
    if m > HIGHEST:
        return "m is above 480"
    if not (0 <= s < n <= m and s <= t < m):
        return "0 ≤ s < n ≤ m and s ≤ t < m does not hold"
    if m <= PRETRAINED or n == m:
        return "nothing is scaled between n and m"
    now, then = dynamic_frequencies(len(q), m), dynamic_frequencies(len(q), n)
    query = rotation(q[None], t * now[None])[0]
    cached, right = (rotation(k[None], s * f[None])[0] for f in (then, now))
    if (query @ cached - query @ right).abs() >= 0.5:
        return "fine"
    in_planes = (q * q).view(2, -1).sum(dim=0) * (k * k).view(2, -1).sum(dim=0)  # (D/2,): 0 where q or k has nothing
    if in_planes[1:].sum() < 1e-6:
        return "the vectors meet in plane 0 only"
    return "the score is off by less than 0.5"


def plane(D: int, i: int) -> Tensor:
    """A unit vector in plane i."""
    x = torch.zeros(D)
    x[i] = 1.0
    return x


stale_key_exercise = Exercise(
    name="stale_key",
    asks="Find a cached key whose score is wrong once the text has become longer, with dynamic NTK scaling.",
    reference=lambda: (plane(32, 4), plane(32, 4), 47, 154, 48, 480),
    section="12.7",
    cases=[Case("your query, key, positions and lengths", judge=look)],
    misconceptions=[
        Misconception(
            "both lengths within the context of pretraining",
            lambda: (plane(32, 4), plane(32, 4), 20, 40, 30, 48),
            "Up to 48 tokens nothing is scaled, and for equal frequencies the cached key is right. (If n and m are "
            "equal, it is right as well.)",
            "When do the frequencies begin to change?",
            "12.7",
        ),
        Misconception(
            "a key in the fastest plane",
            lambda: (plane(32, 0), plane(32, 0), 47, 300, 48, 480),
            "Your vectors meet in plane 0 only, whose frequency NTK scaling never changes.",
            "Which planes are slowed down?",
            "12.7",
        ),
        Misconception(
            "an angle that changes too little",
            lambda: (plane(32, 15), plane(32, 15), 47, 300, 48, 480),
            "Your score is off by less than 0.5. The angle of the cached key is off by s · (the frequency with n "
            "tokens - that with m tokens). In the last planes this is little, even with a factor of ten. (A head with "
            "D = 4 has no other plane that is slowed down: 47 · 0.01 radians are not enough.)",
            "Which plane rotates far within 48 positions and is slowed down, too? Then choose t.",
            "12.7",
            variants=(lambda: (plane(4, 1), plane(4, 1), 47, 110, 48, 480),),
        ),
        Misconception(
            "a key that comes too late",
            lambda: (plane(32, 4), plane(32, 4), 60, 300, 48, 480),
            "The key must be there when the text has n tokens: s < n. Likewise t < m.",
            "Positions are counted from 0.",
            "12.7",
        ),
        Misconception(
            "vectors that are too long",
            lambda: (3 * plane(32, 4), 3 * plane(32, 4), 47, 300, 48, 480),
            "Your vectors are longer than 1. With long vectors, every error becomes large.",
            "Length 1 is enough.",
            "12.7",
        ),
        Misconception(
            "a text that is too long",
            lambda: (plane(32, 4), plane(32, 4), 47, 900, 48, 1000),
            "m may be 480 at most.",
            "A factor of ten is enough.",
            "12.7",
        ),
        Misconception(
            "a head of two features",
            lambda: (plane(2, 0), plane(2, 0), 47, 300, 48, 480),
            "D must be an even number of 4 or more: with a single plane there is nothing that could be slowed down.",
            "Take 16 or 32.",
            "12.7",
            variants=(lambda: (plane(5, 0), plane(5, 0), 47, 300, 48, 480),),
        ),
        Misconception(
            "two different sizes",
            lambda: (plane(32, 4), plane(16, 4), 47, 300, 48, 480),
            "q and k must be vectors (D,) of the same size.",
            "No batch, no heads.",
            "12.7",
            variants=(lambda: (plane(32, 4)[None], plane(32, 4)[None], 47, 300, 48, 480),),
        ),
        Misconception(
            "not a number",
            lambda: (plane(32, 4) / 0, plane(32, 4), 47, 300, 48, 480),
            "Your vectors contain NaN or infinity.",
            "Zeros and a one are enough.",
            "12.7",
        ),
    ],
    accepted={
        "in between": lambda: (plane(64, 10), plane(64, 10), 90, 146, 96, 200),
        "opposite vectors": lambda: [plane(16, 2), -plane(16, 2), 47, 153, 48, 400],
        "all planes": lambda: (torch.ones(32) / 32**0.5, torch.ones(32) / 32**0.5, 47, 47, 48, 480),
    },
    hints=[
        "NTK scaling leaves plane 0 alone and slows the last plane down most. But the last plane hardly rotates within "
        "48 positions, so little changes there.",
        "So take a plane in between, with a vector such as (0, …, 1, …, 0), and a late key: s = 47, n = 48.",
        "By how many radians does the key's angle change when the text grows to m? Choose t so that the score changes "
        "most.",
    ],
)  # fmt: skip


EXERCISES = [
    window_mask_exercise,
    repeat_kv_exercise,
    rotate_exercise,
    scaled_frequencies_exercise,
    alibi_bias_exercise,
    cache_bytes_exercise,
    stale_key_exercise,
    WrittenAnswer(
        "WHY_STALE",
        "Why do linear and ntk scaling with a fixed factor not have this problem, and what else could be cached?",
        40,
        ["On what do the frequencies depend, and when do they change?"],
        "12.7",
    ),
    WrittenAnswer(
        "EXPERIMENT",
        "What did you change, what did you predict, what came out, what do you make of it?",
        60,
        ["Make one change at a time; three seeds tell you more than one."],
        "12.6",
    ),
]
