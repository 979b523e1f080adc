"""What is checked in lesson 05, and the known mistakes."""

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lessons.machinery.exercises import Case, Exercise, Misconception, WrittenAnswer
from llmasos.objectives import IGNORE_INDEX, CausalLM
from llmasos.training.optimizers import learning_rate_factor

FORBIDDEN_CLIPPING = {
    f"torch.nn.utils.{name}": "it is the ready-made clipping; compute the norm yourself"
    for name in ("clip_grad_norm_", "clip_grad_norm", "clip_grads_with_norm_", "get_total_norm")
}
FORBIDDEN_OPTIMIZERS = {
    f"torch.optim.{name}": "it is a ready-made optimizer; write the formula yourself"
    for name in (
        "AdamW", "Adam", "NAdam", "Adamax", "adamw.adamw", "adam.adam", "adam._single_tensor_adam",
        "adam._multi_tensor_adam",
    )
}  # fmt: skip


def random(*shape: int, seed: int = 0) -> Tensor:
    """Return reproducible normal random numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def tensor(rows: list | float) -> Tensor:
    """Return a small tensor of floating-point numbers."""
    return torch.tensor(rows, dtype=torch.float32)


# 1. clip_gradients


def clip_with_torch(gradients: list[Tensor], max_norm: float) -> tuple[list[Tensor], float]:
    """Call what the library's loop calls, on parameters created for it."""
    parameters = [nn.Parameter(torch.zeros_like(g)) for g in gradients]
    for parameter, g in zip(parameters, gradients, strict=True):
        parameter.grad = g.clone()
    norm = nn.utils.clip_grad_norm_(parameters, max_norm).item()
    return [parameter.grad for parameter in parameters], norm


def norm_of(gradients) -> Tensor:
    return torch.stack([(g.double() ** 2).sum() for g in gradients]).sum().sqrt()


def norm_in_their_precision(gradients) -> Tensor:
    return torch.stack([(g**2).sum() for g in gradients]).sum().sqrt()


def clipped(gradients, max_norm, norm=norm_of, factor=None, reported=None):
    """Clip gradients; each argument can replace a detail with a wrong one."""
    length = norm(gradients)
    factor = (lambda n, m: min(1.0, m / float(n)) if n > 0 else 1.0) if factor is None else factor
    new = [g * factor(length, max_norm) for g in gradients]
    return new, float(length if reported is None else reported(gradients, new, length))


def clip_per_parameter(gradients, max_norm):
    new = [clipped([g], max_norm)[0][0] for g in gradients]
    return new, float(norm_of(gradients))


def by_loops(gradients, max_norm):
    total = 0.0
    for g in gradients:
        for number in g.flatten().tolist():
            total += number * number
    norm = total**0.5
    return [g.clone() if norm <= max_norm else g / norm * max_norm for g in gradients], norm


def one_long_vector(gradients, max_norm):
    flat = torch.cat([g.double().reshape(-1) for g in gradients])
    norm = torch.linalg.vector_norm(flat)
    flat = flat * torch.clamp(max_norm / (norm + 1e-12), max=1.0)
    pieces = flat.split([g.numel() for g in gradients])
    return [piece.view(g.shape) for piece, g in zip(pieces, gradients, strict=True)], norm


def by_numpy(gradients, max_norm):
    norm = math.hypot(*(np.linalg.norm(g.double().numpy()) for g in gradients))
    return tuple(torch.tensor(g.numpy() / max(1.0, norm / max_norm)) for g in gradients), norm


def untouched(gradients, max_norm):
    """Return the caller's own tensors if there is nothing to clip."""
    norm = float(norm_of(gradients))
    return gradients if norm <= max_norm else [g * (max_norm / norm) for g in gradients], norm


def own_or_new(f, gradients, max_norm):
    """Return what the function does, and whether its tensors share memory with the inputs."""
    new, norm = f(gradients, max_norm)
    shared = {g.untyped_storage().data_ptr() for g in gradients} & {g.untyped_storage().data_ptr() for g in new}
    return [new, norm, "an input is returned" if shared else "all tensors are new"]


def random_gradients(seed: int) -> list[Case]:
    """Two to five tensors of random shapes, once too long and once short enough."""
    generator = torch.Generator().manual_seed(seed)
    sizes = [torch.randint(1, 7, (n % 3 + 1,), generator=generator).tolist() for n in range(2 + seed % 4)]
    gradients = [torch.randn(*size, generator=generator) for size in sizes]
    return [
        Case("too long", gradients=gradients, max_norm=0.5 + seed % 3 / 4),
        Case("short enough", gradients=[g / 100 for g in gradients], max_norm=3.0 + seed % 5),
    ]


clip_gradients = Exercise(
    name="clip_gradients",
    asks="Scale all gradients by one common factor so that their global norm is at most max_norm.",
    reference=clip_with_torch,
    section="5.8",
    cases=[
        Case("two parameters, norm 5", gradients=[tensor([3]), tensor([4])], max_norm=1.0),
        Case("one parameter, norm 10", gradients=[tensor([6, -8])], max_norm=5.0),
        Case("norm below the limit", gradients=[tensor([0, 3]), tensor([4])], max_norm=10.0),
        Case("a matrix and a vector, norm 3", gradients=[tensor([[1, 0], [2, 0]]), tensor([-2])], max_norm=1.5),
        Case("all zeros", gradients=[tensor([0, 0]), tensor([[0]])], max_norm=1.0),
        Case("one small and one large gradient", gradients=[tensor([0.1, 0.2]), tensor([2, 14, -5])], max_norm=3.0),
        Case("random numbers", gradients=[random(3, 4), random(5, seed=1), random(2, 2, 2, seed=2)], max_norm=2.0),
        Case("half precision, norm 640", gradients=[tensor([384]).half(), tensor([512]).half()], max_norm=10.0),
        Case("a norm of 0.005", gradients=[tensor([0.003]), tensor([0.004])], max_norm=1.0),
        Case(
            "tensors without dimensions and without numbers",
            gradients=[tensor(3.0), torch.zeros(0, 2), random(2, 3, seed=3).T],
            max_norm=0.5,
        ),
        Case(
            "new tensors, also below the limit", run=own_or_new, gradients=[tensor([0, 3]), tensor([4])], max_norm=5.5
        ),
    ],
    random_cases=random_gradients,
    misconceptions=[
        Misconception(
            "clipping per parameter",
            clip_per_parameter,
            "You clipped each parameter separately. Long gradients are shortened and short ones are not, so the "
            "gradient of the model points in another direction afterwards.",
            "How many norms does one long vector have if it is stored in three pieces?",
            "5.8",
        ),
        Misconception(
            "clipping by value instead of by norm",
            lambda g, limit: ([x.clamp(-limit, limit) for x in g], float(norm_of(g))),
            "You clamped every number to ± max_norm. That changes the direction of the gradient (large numbers "
            "shrink, small ones stay) and does not even keep its norm below max_norm.",
            "The direction must not change. What can you do to a vector without changing its direction?",
            "5.8",
        ),
        Misconception(
            "short gradients scaled up",
            lambda g, limit: clipped(g, limit, factor=lambda n, m: m / float(n) if n > 0 else 1.0),
            "You scaled every gradient to the norm max_norm, even the short ones. Near a minimum, where the gradient "
            "goes to zero, the steps would stay as long as ever.",
            "What is the factor if the norm is already below max_norm?",
            "5.8",
            variants=(
                lambda g, limit: clipped(g, limit, factor=lambda n, m: m / float(n + 1e-6)),
                lambda g, limit: clipped(g, limit, factor=lambda n, m: m / n),
                lambda g, limit: clipped(g, limit, factor=lambda n, m: m / float(n)),
            ),
        ),
        Misconception(
            "norm returned after clipping",
            lambda g, limit: clipped(g, limit, reported=lambda old, new, n: norm_of(new)),
            "The gradients are right, but you returned their norm after clipping. In a log it would never exceed "
            "max_norm, and you would never see what clipping hides.",
            "Which of the two norms tells you that something has happened?",
            "5.8",
            variants=(lambda g, limit: clipped(g, limit, reported=lambda old, new, n: min(float(n), limit)),),
        ),
        Misconception(
            "square root missing in the norm",
            lambda g, limit: clipped(g, limit, norm=lambda g: norm_of(g) ** 2),
            "You used the sum of squares as the norm. Gradients of norm 10 are then divided by 100.",
            "The norm of (3, 4) is 5, not 25.",
            "5.8",
        ),
        Misconception(
            "sum of the tensors' norms",
            lambda g, limit: clipped(g, limit, norm=lambda g: sum(x.norm() for x in g)),
            "You added up the norms of the tensors. The norm of the whole gradient is the square root of the sum of "
            "their squares, which is smaller: (3) and (4) give 5, not 7.",
            "Pythagoras: how long is the diagonal of a box?",
            "5.8",
        ),
        Misconception(
            "maximum of the tensors' norms",
            lambda g, limit: clipped(g, limit, norm=lambda g: max(x.norm() for x in g)),
            "You used the norm of the longest tensor as the norm of the whole model.",
            "All numbers of all tensors belong to one vector.",
            "5.8",
        ),
        Misconception(
            "1-norm instead of 2-norm",
            lambda g, limit: clipped(g, limit, norm=lambda g: sum(x.abs().sum() for x in g)),
            "You added up absolute values. That is a different, larger norm (the 1-norm); this exercise asks for the "
            "Euclidean norm.",
            "The square root of the sum of the squares.",
            "5.8",
        ),
        Misconception(
            "mean of squares instead of sum",
            lambda g, limit: clipped(g, limit, norm=lambda g: norm_of(g) / math.sqrt(sum(x.numel() for x in g))),
            "You divided by the number of weights. The norm is the square root of the sum of squares, not of their "
            "mean.",
            "The norm of (3, 4) is 5; the root of their mean square is 3.54.",
            "5.8",
        ),
        Misconception(
            "gradient divided by max_norm",
            lambda g, limit: clipped(g, limit, factor=lambda n, m: 1.0 / m if n > m else 1.0),
            "You divided the gradient by max_norm. Its length afterwards still depends on its length before.",
            "After clipping, the norm should be exactly max_norm. What do you multiply a vector of norm n by?",
            "5.8",
        ),
        Misconception(
            "gradient normalized to length 1",
            lambda g, limit: clipped(g, limit, factor=lambda n, m: 1.0 / float(n) if n > m else 1.0),
            "You divided by the norm, so the gradient has length 1, whatever max_norm is.",
            "Where does max_norm enter your factor?",
            "5.8",
        ),
        Misconception(
            "long gradients set to zero",
            lambda g, limit: clipped(g, limit, factor=lambda n, m: 0.0 if n > m else 1.0),
            "You set gradients that are too long to zero. The step is lost; a shortened step would still have gone "
            "downhill.",
            "Keep the direction, change the length.",
            "5.8",
        ),
        Misconception(
            "squares too large for half precision",
            lambda g, limit: clipped(g, limit, norm=norm_in_their_precision),
            "You squared the numbers in the precision in which they came. fp16 ends at 65504, so the square of 300 is "
            "infinite, and the factor becomes 0; and the square of 0.0001 is 0, so tiny gradients have no norm.",
            "In which precision should the sum of squares be computed? `.float()`.",
            "5.10",
            variants=(
                lambda g, limit: clipped(
                    g, limit, norm=norm_in_their_precision, factor=lambda n, m: min(1.0, m / (float(n) + 1e-6))
                ),
                lambda g, limit: clipped(
                    g,
                    limit,
                    norm=lambda g: math.sqrt(sum(float((x * x).sum()) for x in g)),
                ),
            ),
        ),
        Misconception(
            "the caller's own tensors returned",
            untouched,
            "Below the limit you returned the tensors that you were given. If someone then changes the result, the "
            "gradients of the model change too.",
            "The docstring promises new tensors: multiply by 1, or `clone`.",
            "5.8",
            variants=(lambda g, limit: (untouched(g, limit)[0][:], untouched(g, limit)[1]),),
        ),
        Misconception(
            "division by a norm of zero",
            lambda g, limit: clipped(g, limit, factor=lambda n, m: min(1.0, m / float(n))),
            "You divide by the norm even if it is 0: when all gradients are zero, your code stops with an exception.",
            "A gradient of norm 0 is not too long. Compare first, and divide only then.",
            "5.8",
        ),
        Misconception(
            "multiplied by max_norm only",
            lambda g, limit: clipped(g, limit, factor=lambda n, m: m if n > m else 1.0),
            "You multiplied long gradients by max_norm. With max_norm = 1 nothing happens at all.",
            "After clipping, the norm should be exactly max_norm. What do you multiply a vector of norm n by?",
            "5.8",
        ),
        Misconception(
            "each tensor scaled by the norm so far",
            lambda g, limit: (
                [clipped(g[: i + 1], limit)[0][-1] for i in range(len(g))],
                float(norm_of(g)),
            ),
            "You scaled each tensor while the sum of squares was still growing: the first tensors with too large a "
            "factor, the last with the right one.",
            "The factor needs the norm of all tensors: two loops, one after the other.",
            "5.8",
        ),
        Misconception(
            "norm of the last tensor only",
            lambda g, limit: clipped(g, limit, norm=lambda g: norm_of(g[-1:])),
            "You used the norm of one tensor, the last one, for all of them. (Is a variable overwritten in a loop?)",
            "All numbers of all tensors belong to one vector. Where do you add them up?",
            "5.8",
        ),
        Misconception(
            "largest number used as the norm",
            lambda g, limit: clipped(g, limit, norm=lambda g: max(x.abs().max() if x.numel() else 0.0 for x in g)),
            "You used the largest absolute value as the norm. That is the maximum norm; a thousand numbers of that "
            "size make a vector that is thirty times as long.",
            "The square root of the sum of the squares.",
            "5.8",
        ),
        Misconception(
            "max instead of min in the factor",
            lambda g, limit: clipped(g, limit, factor=lambda n, m: max(1.0, m / float(n + 1e-9))),
            "Your factor is never below 1: long gradients stay long, and short ones are scaled up.",
            "Clipping only ever makes a gradient shorter. What can the factor be at most?",
            "5.8",
        ),
    ],
    accepted={
        "loops over numbers": by_loops,
        "one long vector, float64": one_long_vector,
        "NumPy and hypot": by_numpy,
        "10⁻⁶ against division by zero": lambda g, limit: clipped(
            g, limit, factor=lambda n, m: torch.minimum(torch.tensor(1.0), m / (n + 1e-6))
        ),
    },
    forbidden=FORBIDDEN_CLIPPING,
    hints=[
        "First the norm. Square every number of every tensor, add everything up, take the square root: one number "
        "for all.",
        "Then one factor for all: max_norm / norm if the norm is larger than max_norm, else 1.",
        "total = sum((g**2).sum() for g in gradients); norm = total.sqrt(); factor = min(1.0, max_norm / norm). "
        "Watch out for a norm of zero.",
    ],
)


# 2. warmup_cosine


def schedule(step, steps, warmup, final, rise=None, progress=None, fall=None, until=None):
    """Compute warmup and cosine; each argument can replace a detail with a wrong one."""
    if step < (warmup if until is None else until(warmup)):
        return rise(step, warmup) if rise else (step + 1) / warmup
    p = progress(step, steps, warmup) if progress else (step - warmup) / max(1, steps - 1 - warmup)
    p = min(1.0, max(0.0, p))
    return fall(p, final) if fall else final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * p))


def by_interpolation(step, steps, warmup, final):
    """Compute the phase of the wave with np.interp, which stays at its last value after the end."""
    if step < warmup:
        return np.float32(step + 1) / np.float32(warmup)
    phase = np.interp(step, [warmup, max(warmup + 1, steps - 1)], [0.0, np.pi])
    return (1 + final) / 2 + (1 - final) / 2 * np.cos(phase)


def by_a_square(step, steps, warmup, final):
    """Use that ½ (1 + cos x) is the square of cos(x / 2)."""
    if warmup and step + 1 <= warmup:
        return torch.tensor(step + 1.0, dtype=torch.float64) / warmup
    left = max(1, steps - 1 - warmup)
    x = torch.tensor(math.pi * min(step - warmup, left) / left, dtype=torch.float64)
    return 1.0 - (1.0 - final) * (1.0 - torch.cos(x / 2) ** 2)


def by_a_table(step, steps, warmup, final):
    table = [(i + 1) / warmup for i in range(warmup)]
    left = steps - warmup
    if left == 1:
        table.append(1.0)
    for i in range(left if left > 1 else 0):
        table.append(final + (1 - final) * (1 + math.cos(math.pi * i / (left - 1))) / 2)
    return table[step] if step < len(table) else final


def single_step_for_ever(step, steps, warmup, final):
    """Let the exception for a single step after the warmup last beyond the end of the run."""
    if step >= warmup >= steps - 1:
        return 1.0
    return schedule(step, steps, warmup, final)


def all_factors(f, steps, warmup, final):
    """Return the factors of all steps."""
    return [f(step, steps, warmup, final) for step in range(steps)]


def factors_beyond(f, steps, warmup, final):
    """Return the factors of the last step and of later ones."""
    return [f(step, steps, warmup, final) for step in (steps - 1, steps, steps + 1, 2 * steps, 10 * steps)]


def random_schedules(seed: int) -> list[Case]:
    """Runs of random lengths."""
    steps, warmup = 20 + seed % 37, 1 + seed % 11
    return [
        Case("all steps", run=all_factors, steps=steps, warmup=warmup, final=seed % 7 / 10),
        Case("no warmup", run=all_factors, steps=steps + 3, warmup=0, final=seed % 5 / 10),
        Case("after the end", run=factors_beyond, steps=steps, warmup=warmup, final=seed % 9 / 10),
    ]


warmup_cosine = Exercise(
    name="warmup_cosine",
    asks="Compute the learning-rate factor: (step + 1) / warmup, then half a cosine wave from 1 down to final.",
    reference=lambda step, steps, warmup, final: learning_rate_factor(step, steps, warmup, "cosine", final),
    section="5.7",
    cases=[
        Case("the first step of a warmup of four", step=0, steps=13, warmup=4, final=0.0),
        Case("the last step of the warmup", step=3, steps=13, warmup=4, final=0.0),
        Case("the first step after the warmup", step=4, steps=13, warmup=4, final=0.0),
        Case("halfway down", step=8, steps=13, warmup=4, final=0.0),
        Case("the last step of the run", step=12, steps=13, warmup=4, final=0.0),
        Case("a quarter of the way down, final 0.5", step=6, steps=13, warmup=4, final=0.5),
        Case("the last step of the run, final 0.5", step=12, steps=13, warmup=4, final=0.5),
        Case("a step after the end of the run", step=15, steps=13, warmup=4, final=0.1),
        Case("no warmup: all steps", run=all_factors, steps=5, warmup=0, final=0.2),
        Case("seven steps, two of them warmup: all steps", run=all_factors, steps=7, warmup=2, final=0.0),
        Case("a warmup longer than the run: all steps", run=all_factors, steps=3, warmup=6, final=0.1),
        Case("one step after the warmup: all steps", run=all_factors, steps=4, warmup=3, final=0.1),
        Case("warmup = steps - 1, the step after the end", step=5, steps=5, warmup=4, final=0.1),
        Case("no warmup: the last step, and later ones", run=factors_beyond, steps=4, warmup=0, final=0.3),
        Case("a single step", step=0, steps=1, warmup=0, final=0.2),
        Case("a single step, and later ones", run=factors_beyond, steps=1, warmup=0, final=0.2),
        Case("warmup as long as the run: all steps", run=all_factors, steps=4, warmup=4, final=0.1),
        Case("a warmup of one step: all steps", run=all_factors, steps=4, warmup=1, final=0.0),
        Case("final 1: all steps", run=all_factors, steps=5, warmup=2, final=1.0),
        Case("two steps after the warmup: all steps", run=all_factors, steps=6, warmup=4, final=0.25),
    ],
    random_cases=random_schedules,
    misconceptions=[
        Misconception(
            "warmup starts at zero",
            lambda s, n, w, f: schedule(s, n, w, f, rise=lambda s, w: s / w),
            "Your warmup starts at 0, so the first batch is computed for nothing, and the factor reaches 1 a step "
            "later than it should.",
            "Counted from 0, step 0 is the first of `warmup` equal increments. How large is one increment?",
            "5.7",
        ),
        Misconception(
            "warmup divided by warmup + 1",
            lambda s, n, w, f: schedule(s, n, w, f, rise=lambda s, w: (s + 1) / (w + 1)),
            "You divided by warmup + 1. The last warmup step, warmup - 1, should have the factor 1 exactly.",
            "What is (step + 1) at the last step of the warmup?",
            "5.7",
        ),
        Misconception(
            "warmup one step too long",
            lambda s, n, w, f: schedule(s, n, w, f, until=lambda w: w + 1, rise=lambda s, w: (s + 1) / max(1, w)),
            "At step `warmup` your factor is still rising, above 1. The warmup steps are 0 … warmup - 1.",
            "< or ≤?",
            "5.7",
        ),
        Misconception(
            "off-by-one at the last step",
            lambda s, n, w, f: schedule(s, n, w, f, progress=lambda s, n, w: (s - w) / max(1, n - w)),
            "You divided by steps - warmup. The last step of the run is step steps - 1, and the wave should end there.",
            "How many steps is it from step `warmup` to step `steps - 1`?",
            "5.7",
        ),
        Misconception(
            "cosine starts at step 0",
            lambda s, n, w, f: schedule(s, n, w, f, progress=lambda s, n, w: s / max(1, n - 1)),
            "Your wave starts at the beginning of the run, not at the end of the warmup: the factor jumps down when "
            "the warmup is over.",
            "How far down should the factor be at step `warmup`?",
            "5.7",
        ),
        Misconception(
            "off-by-one at the start of the decay",
            lambda s, n, w, f: schedule(
                s, n, w, f, progress=lambda s, n, w: (s - w + 1) / max(1, n - w) if n - w > 1 else 0.0
            ),
            "At step `warmup` your factor has already started to fall. It should still be 1.",
            "How far down should the factor be at step `warmup`?",
            "5.7",
        ),
        Misconception(
            "warmup multiplied by a cosine over the whole run",
            lambda s, n, w, f: min(1.0, (s + 1) / max(1, w)) * schedule(s, n, 0, f),
            "You multiplied the warmup by a wave that starts at step 0, so the factor never reaches the peak.",
            "First up, then down: one after the other, not both at the same time.",
            "5.7",
        ),
        Misconception(
            "full cosine period",
            lambda s, n, w, f: schedule(
                s, n, w, f, fall=lambda p, f: f + (1 - f) * 0.5 * (1 + math.cos(2 * math.pi * p))
            ),
            "Your cosine runs through a full period: down to the final factor in the middle, and back up to the peak.",
            "cos goes from 1 to -1 while its argument goes from 0 to … ?",
            "5.7",
        ),
        Misconception(
            "quarter cosine period",
            lambda s, n, w, f: schedule(s, n, w, f, fall=lambda p, f: f + (1 - f) * math.cos(math.pi / 2 * p)),
            "You used the cosine from 0 to π/2. It stays high for a long time and is steepest at the very end; half "
            "a period, from 0 to π, ends flat.",
            "½ (1 + cos x) for x from 0 to π goes from 1 to 0.",
            "5.7",
        ),
        Misconception(
            "linear decay instead of cosine",
            lambda s, n, w, f: schedule(s, n, w, f, fall=lambda p, f: 1 + (f - 1) * p),
            'Your factor falls in a straight line. That is a schedule too ("linear"), but this exercise asks for '
            "half a cosine wave.",
            "Where do you use cos?",
            "5.7",
        ),
        Misconception(
            "cosine decay inverted",
            lambda s, n, w, f: schedule(s, n, w, f, fall=lambda p, f: f + (1 - f) * 0.5 * (1 - math.cos(math.pi * p))),
            "Your wave starts at the final factor and rises to 1.",
            "1 - cos x is 0 at x = 0; 1 + cos x is 2 there.",
            "5.7",
        ),
        Misconception(
            "decay to zero, final ignored",
            lambda s, n, w, f: schedule(s, n, w, f, fall=lambda p, f: 0.5 * (1 + math.cos(math.pi * p))),
            "Your wave ends at 0. It should end at `final`.",
            "The distance from 1 to `final` is 1 - final. How much of it is left at the start of the wave, and how "
            "much at its end?",
            "5.7",
        ),
        Misconception(
            "final added without rescaling",
            lambda s, n, w, f: schedule(s, n, w, f, fall=lambda p, f: f + 0.5 * (1 + math.cos(math.pi * p))),
            "You shifted the whole wave up by `final`, so it starts at 1 + final.",
            "How high is a wave that runs from 1 to `final`? Not 1.",
            "5.7",
        ),
        Misconception(
            "final as a lower bound of the wave",
            lambda s, n, w, f: schedule(s, n, w, f, fall=lambda p, f: max(f, 0.5 * (1 + math.cos(math.pi * p)))),
            "You let the wave run to 0 and clamped it at `final`: it gets there too early, with a kink.",
            "Rescale the wave to run between 1 and `final` instead of clamping it.",
            "5.7",
        ),
        Misconception(
            "factor rises after the last step",
            lambda s, n, w, f: (
                (s + 1) / w if s < w else f + (1 - f) * 0.5 * (1 + math.cos(math.pi * (s - w) / max(1, n - 1 - w)))
            ),
            "You are right within the run, but after it your cosine goes up again. For a later step, the factor "
            "should stay at `final`.",
            "How large can the progress be at most?",
            "5.7",
        ),
        Misconception(
            "a single step left: 1 even after the end",
            single_step_for_ever,
            "With warmup = steps - 1 your factor stays at 1. The last step of the run has the factor 1, but every "
            "step after it has the factor `final`.",
            "To which steps does your special case apply? It is about one.",
            "5.7",
        ),
        Misconception(
            "division by zero if one step is left",
            lambda s, n, w, f: (
                (s + 1) / w if s < w else f + (1 - f) * 0.5 * (1 + math.cos(math.pi * min(1.0, (s - w) / (n - 1 - w))))
            ),
            "If only one step is left after the warmup, the wave has no length, and you divide by 0.",
            "How large is steps - 1 - warmup then, and which factor does the exercise ask for?",
            "5.7",
        ),
        Misconception(
            "division by zero without a warmup",
            lambda s, n, w, f: min(1.0, (s + 1) / w) if s <= w else schedule(s, n, w, f),
            "You divide by warmup even if it is 0.",
            "Which steps belong to a warmup of 0 steps?",
            "5.7",
            variants=(
                lambda s, n, w, f: [(s + 1) / w, schedule(s, n, w, f)][1],
                lambda s, n, w, f: [schedule(s, n, w, f), (s + 1) / w][0],
            ),
        ),
        Misconception(
            "final at the only step that is left",
            lambda s, n, w, f: f if s >= max(w, n - 1) else schedule(s, n, w, f),
            "If only one step is left after the warmup, it has the factor 1; you gave it the factor `final`.",
            "The docstring has a sentence about warmup = steps - 1.",
            "5.7",
        ),
        Misconception(
            "factor after the end is 0",
            lambda s, n, w, f: schedule(s, n, w, f) if s < n else 0.0,
            "After the last step your factor drops to 0. It should stay at `final`.",
            "What should the model learn with a learning rate of 0?",
            "5.7",
        ),
        Misconception(
            "warmup from 0 to 1",
            lambda s, n, w, f: schedule(s, n, w, f, rise=lambda s, w: s / max(1, w - 1)),
            "Your warmup ends at 1 as it should, but it starts at 0: the first batch is computed for nothing.",
            "`warmup` equal increments: from 0 *before* the first step to 1 at the last one.",
            "5.7",
            variants=(lambda s, n, w, f: schedule(s, n, w, f, rise=lambda s, w: s / (w - 1)),),
        ),
        Misconception(
            "no warmup",
            lambda s, n, w, f: schedule(s, n, w, f, rise=lambda s, w: 1.0),
            "Your factor is 1 during the warmup, so the first steps are as long as any.",
            "How large is the factor at step 0 of a warmup of four?",
            "5.7",
        ),
        Misconception(
            "π forgotten",
            lambda s, n, w, f: schedule(s, n, w, f, fall=lambda p, f: f + (1 - f) * 0.5 * (1 + math.cos(p))),
            "You took the cosine of the progress p itself. It ends at cos 1 = 0.54, so the factor hardly falls.",
            "cos goes from 1 to -1 while its argument goes from 0 to … ?",
            "5.7",
        ),
    ],
    accepted={
        "NumPy's interpolation, float32": by_interpolation,
        "square of a cosine, tensors": by_a_square,
        "table of the whole run": by_a_table,
        "rotation of a complex number": lambda s, n, w, f: (
            (s + 1) / w
            if s < w
            else (1 + f) / 2 + (1 - f) / 2 * ((-1 + 0j) ** min(1.0, (s - w) / max(1, n - 1 - w))).real
        ),
    },
    hints=[
        "Two cases: step < warmup, and the rest. The first is a single fraction.",
        "For the rest: how far along the way down is a step, as a number from 0 (step `warmup`) to 1 (step `steps - "
        "1`)? At most 1, and do not divide by 0.",
        "With this progress p, ½ (1 + cos(π p)) goes from 1 to 0. Rescale it so that it goes from 1 to final: final "
        "+ (1 - final) · that.",
    ],
)


# 3. adamw_step


def by_torch(w, gradient, m, v, t, lr, beta1, beta2, eps, weight_decay):
    """Run torch's AdamW from the state that it has after step t - 1."""
    parameter = nn.Parameter(w.clone())
    optimizer = torch.optim.AdamW([parameter], lr=lr, betas=(beta1, beta2), eps=eps, weight_decay=weight_decay)
    optimizer.state[parameter] = {"step": torch.tensor(t - 1.0), "exp_avg": m.clone(), "exp_avg_sq": v.clone()}
    parameter.grad = gradient.clone()
    optimizer.step()
    return [parameter.detach(), m.lerp(gradient, 1 - beta1), beta2 * v + (1 - beta2) * gradient**2]


def adamw(
    w, g, m, v, t, lr, beta1, beta2, eps, decay,
    first=lambda m, g, b: b * m + (1 - b) * g,
    second=lambda v, g, b: b * v + (1 - b) * g**2,
    correct1=lambda m, b, t: m / (1 - b**t),
    correct2=lambda v, b, t: v / (1 - b**t),
    ratio=lambda m, v, eps: m / (v.sqrt() + eps),
    shrink=lambda w, lr, decay: w * (1 - lr * decay),
    sign=-1,
    inside=lambda g, w, decay: g,
    keep_corrected=False,
):  # fmt: skip
    """Take a step of AdamW; each argument can replace a detail with a wrong one."""
    g = inside(g, w, decay)
    m, v = first(m, g, beta1), second(v, g, beta2)
    m_hat, v_hat = correct1(m, beta1, t), correct2(v, beta2, t)
    w = shrink(w, lr, decay) + sign * lr * ratio(m_hat, v_hat, eps)
    return (w, m_hat, v_hat) if keep_corrected else (w, m, v)


def uncorrected(x, b, t):
    """Skip the bias correction."""
    return x


def no_shrink(w, lr, decay):
    return w


def decay_last(w, g, m, v, t, lr, beta1, beta2, eps, decay):
    w, m, v = adamw(w, g, m, v, t, lr, beta1, beta2, eps, 0.0)
    return w * (1 - lr * decay), m, v


def decay_through_the_root(w, g, m, v, t, lr, beta1, beta2, eps, decay):
    m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
    m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
    return w - lr * (m_hat + decay * w) / (v_hat.sqrt() + eps), m, v


def eps_before_the_correction(w, g, m, v, t, lr, beta1, beta2, eps, decay):
    m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
    size = lr * math.sqrt(1 - beta2**t) / (1 - beta1**t)
    return w * (1 - lr * decay) - size * m / (v.sqrt() + eps), m, v


def old_moments(w, g, m, v, t, lr, beta1, beta2, eps, decay):
    """Take the step with the running means from before this gradient."""
    new_m, new_v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
    w = w * (1 - lr * decay) - lr * (m / (1 - beta1**t)) / ((v / (1 - beta2**t)).sqrt() + eps)
    return w, new_m, new_v


def number_by_number(w, gradient, m, v, t, lr, beta1, beta2, eps, weight_decay):
    out_w, out_m, out_v = (x.clone(memory_format=torch.contiguous_format) for x in (w, m, v))
    for i in range(w.numel()):
        g = gradient.reshape(-1)[i].item()
        a = beta1 * m.reshape(-1)[i].item() + (1 - beta1) * g
        b = beta2 * v.reshape(-1)[i].item() + (1 - beta2) * g * g
        old = w.reshape(-1)[i].item()
        step = a / (1 - beta1**t) / (math.sqrt(b / (1 - beta2**t)) + eps)
        out_w.view(-1)[i], out_m.view(-1)[i], out_v.view(-1)[i] = old - lr * step - lr * weight_decay * old, a, b
    return out_w, out_m, out_v


def in_double(w, gradient, m, v, t, lr, beta1, beta2, eps, weight_decay):
    w, g, m, v = (x.double() for x in (w, gradient, m, v))
    m, v = m + (1 - beta1) * (g - m), torch.addcmul(v * beta2, g, g, value=1 - beta2)
    direction = (m / (1 - beta1**t)).div((v / (1 - beta2**t)).pow(0.5).add(eps))
    return [w - lr * (direction + weight_decay * w), m, v]


def in_place_on_copies(w, gradient, m, v, t, lr, beta1, beta2, eps, weight_decay):
    w, m, v = w.clone(), m.clone(), v.clone()
    m.mul_(beta1).add_(gradient, alpha=1 - beta1)
    v.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
    w.mul_(1 - lr * weight_decay)
    w.addcdiv_(m / (1 - beta1**t), (v / (1 - beta2**t)).sqrt_().add_(eps), value=-lr)
    return w, m, v


def one_factor(w, gradient, m, v, t, lr, beta1, beta2, eps, weight_decay):
    """Merge both corrections into one factor, with eps scaled to match."""
    m, v = torch.lerp(m, gradient, 1 - beta1), torch.lerp(v, gradient.square(), 1 - beta2)
    root = math.sqrt(1 - beta2**t)
    shrunk = torch.mul(w, 1 - lr * weight_decay)
    return torch.addcdiv(shrunk, m, v.sqrt() + eps * root, value=-lr * root / (1 - beta1**t)), m, v


def correction_before_the_update(w, g, m, v, t, lr, beta1, beta2, eps, decay):
    """Correct the old means, then put the new gradient in."""
    m = beta1 * m / (1 - beta1**t) + (1 - beta1) * g
    v = beta2 * v / (1 - beta2**t) + (1 - beta2) * g**2
    return w * (1 - lr * decay) - lr * m / (v.sqrt() + eps), m, v


def old_means_returned(w, g, m, v, *rest):
    return adamw(w, g, m, v, *rest)[0], m.clone(), v.clone()


def means_in_the_wrong_order(*arguments):
    w, m, v = adamw(*arguments)
    return w, v, m


START = {"w": tensor([1]), "gradient": tensor([2]), "m": tensor([0]), "v": tensor([0])}
USUAL = {"lr": 0.1, "beta1": 0.9, "beta2": 0.99, "eps": 0.0, "weight_decay": 0.0}
LATER = {
    "w": tensor([[2, -4], [1, 0]]), "gradient": tensor([[1, -3], [0, 2]]),
    "m": tensor([[2, 1], [-1, 0]]), "v": tensor([[4, 1], [2, 1]]),
}  # fmt: skip
RANDOM = {
    "w": random(3, 4), "gradient": random(3, 4, seed=1), "m": random(3, 4, seed=2), "v": random(3, 4, seed=3) ** 2,
}  # fmt: skip


def several_steps(f, w, gradients):
    """Return the weight after each of several steps; the state is passed on from step to step."""
    m, v, path = torch.zeros_like(w), torch.zeros_like(w), []
    for t, g in enumerate(gradients, 1):
        w, m, v = f(w, g, m, v, t, 0.05, 0.9, 0.999, 1e-8, 0.1)
        path.append(w)
    return path


def random_steps(seed: int) -> list[Case]:
    """Tensors of random sizes; v away from 0, where the root is steep."""
    generator = torch.Generator().manual_seed(seed)
    size = torch.randint(1, 7, (1 + seed % 3,), generator=generator).tolist()
    w, gradient, m, v = (torch.randn(*size, generator=generator) for _ in range(4))
    state = {"w": w, "gradient": gradient, "m": m, "v": v**2 + 0.1}
    return [
        Case("early", **state, t=2 + seed % 9, lr=0.2, beta1=0.8, beta2=0.95, eps=0.01, weight_decay=0.3),
        Case("late", **state, t=300 + seed, lr=0.1, beta1=0.9, beta2=0.999, eps=0.1, weight_decay=0.5),
    ]


adamw_step = Exercise(
    name="adamw_step",
    asks="Take one step of AdamW: running means, bias correction, decoupled weight decay, update.",
    reference=by_torch,
    section="5.4",
    cases=[
        Case("the first step of one weight", **START, t=1, **USUAL),
        Case("the same with decay", **START, t=1, **{**USUAL, "weight_decay": 2.0}),
        Case("the same with eps = 3", **START, t=1, **{**USUAL, "eps": 3.0}),
        Case("the third step of four weights", **LATER, t=3, **{**USUAL, "lr": 0.5, "beta1": 0.5, "beta2": 0.75}),
        Case("the same with decay and eps", **LATER, t=3, lr=0.5, beta1=0.5, beta2=0.75, eps=1.0, weight_decay=0.5),
        Case(
            "a gradient that has always been zero", w=tensor([5]), gradient=tensor([0]), m=tensor([0]), v=tensor([0]),
            t=7, **{**USUAL, "eps": 1e-8, "weight_decay": 0.5},
        ),
        Case(
            "a tiny gradient", w=tensor([0]), gradient=tensor([1e-8]), m=tensor([0]), v=tensor([0]), t=1,
            lr=1.0, beta1=0.9, beta2=0.99, eps=1e-8, weight_decay=0.0,
        ),
        Case("random numbers, step 1000", **RANDOM, t=1000, lr=0.1, beta1=0.8, beta2=0.9, eps=0.1, weight_decay=0.7),
        Case("five steps in a row", run=several_steps, w=random(3, seed=4), gradients=list(random(5, 3, seed=5))),
        Case(
            "a weight without dimensions", **{name: x[0, 1].abs() for name, x in RANDOM.items()}, t=2,
            **{**USUAL, "weight_decay": 0.5, "eps": 0.5},
        ),
        Case(
            "transposed tensors", **{name: x.T for name, x in RANDOM.items()}, t=5,
            **{**USUAL, "weight_decay": 0.5, "eps": 0.01},
        ),
        Case("betas of 0: no memory", **LATER, t=4, lr=0.5, beta1=0.0, beta2=0.0, eps=1.0, weight_decay=0.5),
        Case("a learning rate of 0", **LATER, t=4, **{**USUAL, "lr": 0.0, "eps": 1.0, "weight_decay": 0.5}),
    ],
    random_cases=random_steps,
    misconceptions=[
        Misconception(
            "no bias correction",
            lambda *a: adamw(*a, correct1=uncorrected, correct2=uncorrected),
            "You used the running means without bias correction. They start at zero and are too small in the first "
            "steps, each by a different factor, so the first steps have the wrong size.",
            "After one step with gradient g, how large is m, and how large is √v?",
            "5.3",
        ),
        Misconception(
            "bias correction of v missing",
            lambda *a: adamw(*a, correct2=uncorrected),
            "You corrected m but not v. In the first steps √v is far too small, and you divide by it: the steps are "
            "too long.",
            "Both running means start at zero.",
            "5.3",
        ),
        Misconception(
            "bias correction of m missing",
            lambda *a: adamw(*a, correct1=uncorrected),
            "You corrected v but not m: the first step is too short by a factor of 1 - beta1.",
            "Both running means start at zero.",
            "5.3",
        ),
        Misconception(
            "off-by-one in t: t - 1 in the bias correction",
            lambda *a: adamw(*a[:4], a[4] - 1, *a[5:]),
            "You used t - 1 in the bias corrections. At the first step 1 - β⁰ is 0, and you divide by it.",
            "t is already 1 at the first step. What fraction of its final size does m have then?",
            "5.3",
        ),
        Misconception(
            "off-by-one in t: t + 1 in the bias correction",
            lambda *a: adamw(*a[:4], a[4] + 1, *a[5:]),
            "You used t + 1 in the bias corrections. t is counted from 1: at the first step it is 1.",
            "After one step, m = (1 - β) g. What do you divide it by to get g?",
            "5.3",
        ),
        Misconception(
            "bias correction without t",
            lambda *a: adamw(*a, correct1=lambda m, b, t: m / (1 - b), correct2=lambda v, b, t: v / (1 - b)),
            "You divided by 1 - β instead of 1 - βᵗ. That is right only at the first step; later it makes m ten "
            "times too large.",
            "What should the correction be after a thousand steps?",
            "5.3",
        ),
        Misconception(
            "beta · t instead of beta to the power of t",
            lambda *a: adamw(
                *a, correct1=lambda m, b, t: m / (1 - b * t), correct2=lambda v, b, t: v / (1 - b * t)
            ),
            "You wrote beta · t for βᵗ. At the first step they are the same; later 1 - beta · t is negative, and the "
            "square root of a negative number is NaN.",
            "βᵗ is a power: `beta**t`.",
            "5.3",
            variants=(
                lambda *a: adamw(*a, correct1=lambda m, b, t: m / (1 - b * t)),
                lambda *a: adamw(*a, correct2=lambda v, b, t: v / (1 - b * t)),
            ),
        ),
        Misconception(
            "multiplied by 1 - βᵗ instead of divided",
            lambda *a: adamw(*a, correct1=lambda m, b, t: m * (1 - b**t), correct2=lambda v, b, t: v * (1 - b**t)),
            "You multiplied by 1 - βᵗ. The means are too small at the beginning, and you made them even smaller.",
            "A mean that starts at zero is too small by this factor. How do you undo that?",
            "5.3",
        ),
        Misconception(
            "L2 penalty instead of decoupled weight decay",
            lambda *a: adamw(*a, inside=lambda g, w, decay: g + decay * w, shrink=no_shrink),
            "You added weight_decay · w to the gradient. That is Adam with an L2 penalty: the decay goes through both "
            "running means, and weights with large gradients are hardly decayed at all.",
            "In AdamW, weight_decay occurs in only one line. Which one?",
            "5.4",
        ),
        Misconception(
            "weight decay divided by √v̂",
            decay_through_the_root,
            "You added the decay to m̂, so it is divided by √v̂ like the gradient. It should shrink every weight by "
            "the same fraction, however large its gradients are.",
            "The decay is next to the fraction, not in its numerator.",
            "5.4",
        ),
        Misconception(
            "weight decay not multiplied by lr",
            lambda *a: adamw(*a, shrink=lambda w, lr, decay: w * (1 - decay)),
            "You subtracted weight_decay · w at each step. The learning rate should scale the decay too, so that a "
            "schedule lowers both: lr · weight_decay · w.",
            "With weight_decay = 0.1, a weight would halve every seven steps. Is that the intention?",
            "5.4",
        ),
        Misconception(
            "no weight decay",
            lambda *a: adamw(*a, shrink=no_shrink),
            "weight_decay makes no difference in your code: this is Adam.",
            "What does the W in AdamW stand for?",
            "5.4",
        ),
        Misconception(
            "wrong sign of the weight decay",
            lambda *a: adamw(*a, shrink=lambda w, lr, decay: w * (1 + lr * decay)),
            "You added the decay instead of subtracting it: without a gradient the weights would grow without bound.",
            "Decay pulls toward zero.",
            "5.4",
        ),
        Misconception(
            "weight decay applied after the step",
            decay_last,
            "You took the step first and then shrank the result, including the step. The decay applies to the old "
            "weight.",
            "Shrink w first, or compute both terms from the old w.",
            "5.4",
        ),
        Misconception(
            "eps inside the root",
            lambda *a: adamw(*a, ratio=lambda m, v, eps: m / (v + eps).sqrt()),
            "You computed √(v̂ + eps). With eps = 1e-8 that is a threshold of 1e-4 for gradients, not 1e-8: smaller "
            "gradients would hardly move the weight.",
            "√v̂ + eps: where does the root end?",
            "5.3",
        ),
        Misconception(
            "eps added before the bias correction",
            eps_before_the_correction,
            "You put both corrections into the learning rate and added eps to √v, not to √v̂. The paper mentions "
            "this short form too, but its eps means something else: it is divided by √(1 - β₂ᵗ), which makes it ten "
            "times larger at first.",
            "First correct v, then take the root, then add eps.",
            "5.3",
        ),
        Misconception(
            "no eps",
            lambda *a: adamw(*a, ratio=lambda m, v, eps: m / v.sqrt()),
            "You left out eps. A weight whose gradient has always been zero then gets 0 / 0, which is NaN, and so is "
            "everything after it.",
            "What if v̂ is 0?",
            "5.3",
        ),
        Misconception(
            "v averages gradients instead of squares",
            lambda *a: adamw(
                *a, second=lambda v, g, b: b * v + (1 - b) * g, ratio=lambda m, v, eps: m / (v.abs().sqrt() + eps)
            ),
            "You put g itself into v. v measures how large gradients are, whatever their sign; otherwise gradients "
            "that change their sign would cancel.",
            "The second moment is the mean of g · g.",
            "5.3",
            variants=(
                lambda *a: adamw(*a, second=lambda v, g, b: b * v + (1 - b) * g),
                lambda *a: adamw(*a, second=lambda v, g, b: b * v + (1 - b) * g.abs()),
            ),
        ),
        Misconception(
            "v averages m² instead of g²",
            lambda w, g, m, v, t, lr, b1, b2, *rest: adamw(
                w, g, m, v, t, lr, b1, b2, *rest,
                second=lambda v, g, b: b * v + (1 - b) * (b1 * m + (1 - b1) * g) ** 2,
            ),
            "You squared the running mean m for v. Square the gradient of this step instead.",
            "Both running means are updated with the same new gradient.",
            "5.3",
        ),
        Misconception(
            "square root of v̂ missing",
            lambda *a: adamw(*a, ratio=lambda m, v, eps: m / (v + eps)),
            "You divided by v̂, not by its square root. The step then has the unit of 1 / gradient: the larger the "
            "gradients, the smaller the steps.",
            "If all gradients double, what should happen to the step?",
            "5.3",
        ),
        Misconception(
            "new gradient not scaled by 1 - beta",
            lambda *a: adamw(*a, first=lambda m, g, b: b * m + g, second=lambda v, g, b: b * v + g**2),
            "You added the whole gradient to β m. That is a sum, as in SGD with momentum; Adam's m and v are means.",
            "The weights of the old mean and of the new gradient must sum to 1.",
            "5.3",
        ),
        Misconception(
            "beta and 1 - beta swapped",
            lambda *a: adamw(
                *a, first=lambda m, g, b: (1 - b) * m + b * g, second=lambda v, g, b: (1 - b) * v + b * g**2
            ),
            "You kept the fraction 1 - β of the mean and added the fraction β of the gradient. With β = 0.9 the "
            "memory should be long.",
            "β is the fraction that is kept.",
            "5.3",
        ),
        Misconception(
            "beta1 and beta2 swapped",
            lambda w, g, m, v, t, lr, b1, b2, *rest: adamw(w, g, m, v, t, lr, b2, b1, *rest),
            "beta1 belongs to m and beta2 to v; your code has it the other way around.",
            "Check which β is in which line.",
            "5.3",
        ),
        Misconception(
            "gradient ascent",
            lambda *a: adamw(*a, sign=+1),
            "You added the step. The gradient points uphill, so the loss would grow.",
            "Which way is down?",
            "5.1",
        ),
        Misconception(
            "RMSProp: g instead of m̂ in the step",
            lambda w, g, m, v, t, lr, b1, b2, eps, decay: (
                w * (1 - lr * decay) - lr * g / (((b2 * v + (1 - b2) * g**2) / (1 - b2**t)).sqrt() + eps),
                b1 * m + (1 - b1) * g,
                b2 * v + (1 - b2) * g**2,
            ),
            "You moved along g / √v̂. That is RMSProp: m is computed but never used.",
            "Where does m̂ enter your step?",
            "5.3",
        ),
        Misconception(
            "step computed from the old running means",
            old_moments,
            "You used m and v from before this gradient was added.",
            "First update the running means, then take the step.",
            "5.3",
        ),
        Misconception(
            "bias-corrected means returned",
            lambda *a: adamw(*a, keep_corrected=True),
            "The weight is right, but you returned m̂ and v̂. At the next step they would be corrected a second time.",
            "The correction is for this step only; the state to keep is m and v.",
            "5.3",
        ),
        Misconception(
            "bias of v corrected with beta1",
            lambda w, g, m, v, t, lr, b1, b2, *rest: adamw(
                w, g, m, v, t, lr, b1, b2, *rest, correct2=lambda v, b, t: v / (1 - b1**t)
            ),
            "You used beta1 in both corrections. v forgets with beta2, so its bias is 1 - β₂ᵗ.",
            "Check which β is in which line.",
            "5.3",
        ),
        Misconception(
            "bias correction before the update",
            correction_before_the_update,
            "You corrected the old means and then added the new gradient, and you keep the corrected means. The "
            "correction applies to the updated means, and only for this step.",
            "In which order are the lines m, v, m̂, v̂ in the lesson?",
            "5.3",
        ),
        Misconception(
            "old running means returned",
            old_means_returned,
            "The weight is right, but you returned m and v as they came in. The next step would know nothing of this "
            "gradient.",
            "What should the next step get as m and v?",
            "5.3",
        ),
        Misconception(
            "m and v returned in the wrong order",
            means_in_the_wrong_order,
            "You returned w, v, m. The next step would take the square root of a mean gradient, which may be negative.",
            "Compare your return line with the docstring's: w, m, v.",
            "5.3",
        ),
    ],
    accepted={
        "number by number": number_by_number,
        "float64, decay beside the direction": in_double,
        "both corrections in one factor": one_factor,
        "torch's operations in place, on copies": in_place_on_copies,
    },
    forbidden=FORBIDDEN_OPTIMIZERS,
    hints=[
        "Five lines, in the order of Algorithm 2 in the lesson: m, v, m̂, v̂, w. Write them one by one.",
        "m = beta1 · m + (1 - beta1) · gradient, and v likewise with gradient². m̂ is m divided by 1 - beta1 to the "
        "power of t.",
        "The last line has three terms: the old w; minus lr · weight_decay · w; minus lr · m̂ / (root of v̂, plus "
        "eps).",
    ],
)  # fmt: skip


# 4. accumulated_gradient


class Bigram(nn.Module):
    """The smallest language model: a table with a row of logits for each token."""

    def __init__(self, table: Tensor):
        super().__init__()
        self.table = nn.Parameter(table.clone())

    def forward(self, ids: Tensor) -> Tensor:
        return self.table[ids]  # (B, T, V)


class WithBias(nn.Module):
    """A model with two parameters of different shapes."""

    def __init__(self, table: Tensor):
        super().__init__()
        self.embedding = nn.Embedding.from_pretrained(table.clone(), freeze=False)
        self.bias = nn.Parameter(torch.linspace(-1, 1, table.size(1)))

    def forward(self, ids: Tensor) -> Tensor:
        return self.embedding(ids) + self.bias


class Noisy(Bigram):
    """A model with long gradients that behaves differently in training mode, like one with dropout."""

    def forward(self, ids: Tensor) -> Tensor:
        return self.table[ids] * (5.0 if self.training else 10.0)


def one_step(f, table, parts, make=Bigram, left=None, training=True):
    """Return the loss, every .grad, and whether parameters and mode are still the same."""
    model = make(table).train(training)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    for parameter in model.parameters():
        parameter.grad = None if left is None else torch.full_like(parameter, left)
    loss = f(model, parts)
    if torch.is_tensor(loss):
        loss = loss.detach()
    gradients = [parameter.grad for parameter in model.parameters()]
    moved = any(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    if not all(parameter.requires_grad for parameter in model.parameters()):
        return [loss, *gradients, "the parameters cannot be trained any more"]
    if model.training != training:
        return [loss, *gradients, "the model is in another mode"]
    return [loss, *gradients, "the parameters moved" if moved else "the parameters did not move"]


def random_parts(seed: int) -> list[Case]:
    """Parts of random sizes, with random targets left out."""
    generator = torch.Generator().manual_seed(seed)
    V, parts = 3 + seed % 5, []
    for _ in range(2 + seed % 3):
        B, T = torch.randint(1, 6, (2,), generator=generator).tolist()
        ids, targets = torch.randint(V, (2, B, T + 1), generator=generator)
        targets[torch.rand(B, T + 1, generator=generator) < 0.4] = -100
        targets[0, 0] = seed % V
        parts.append((ids, targets))
    table = torch.randn(V, V, generator=generator)
    return [
        Case("fresh gradients", run=one_step, table=table, parts=parts),
        Case(
            "old gradients", run=lambda f, table, parts: one_step(f, table, parts, left=2.0), table=table, parts=parts
        ),
    ]


def with_the_objective(model, parts):
    """Accumulate as the library's loop does."""
    objective = CausalLM()
    batches = [{"ids": ids, "targets": targets} for ids, targets in parts]
    total = max(1, sum(objective.n_targets(batch)["causal"] for batch in batches))
    model.zero_grad()
    value = 0.0
    for batch in batches:
        loss = objective.loss_sums(model, batch)["causal"] / total
        loss.backward()
        value += loss.item()
    return value


def accumulate(
    model, parts, weight, zero=True, zero_each=False, reduction="sum", reported=None, change=lambda t: t, flat=True,
    activation=lambda logits: logits,
):  # fmt: skip
    """Accumulate gradients; each argument can replace a detail. weight(part number, parts) multiplies the loss."""
    if zero:
        model.zero_grad()
    losses = []
    for i, (ids, targets) in enumerate(parts):
        if zero_each:
            model.zero_grad()
        logits, labels = activation(model(ids)), change(targets)
        if flat:
            logits, labels = logits.flatten(0, 1), labels.flatten()
        loss = F.cross_entropy(logits, labels, reduction=reduction) * weight(i, parts)
        loss.backward()
        losses.append(loss.item())
    return sum(losses) if reported is None else reported(losses)


def n_targets(parts) -> int:
    return sum(int((targets != IGNORE_INDEX).sum()) for _, targets in parts)


def n_positions(parts) -> int:
    return sum(targets.numel() for _, targets in parts)


def per_target(i, parts):
    return 1.0 / n_targets(parts)


def one_graph(model, parts):
    model.zero_grad(set_to_none=False)
    losses = [F.cross_entropy(model(ids).mT, targets, reduction="none") for ids, targets in parts]
    mask = torch.cat([targets.flatten() for _, targets in parts]) != IGNORE_INDEX
    loss = torch.cat([x.flatten() for x in losses])[mask].mean()
    loss.backward()
    return loss


def token_by_token(model, parts):
    parameters, total = list(model.parameters()), n_targets(parts)
    gradients, value = [torch.zeros_like(p) for p in parameters], 0.0
    for ids, targets in parts:
        for row, row_targets in zip(ids, targets, strict=True):
            for t, target in enumerate(row_targets.tolist()):
                if target != IGNORE_INDEX:
                    loss = -model(row[None])[0, t].log_softmax(-1)[target] / total
                    for sum_, g in zip(gradients, torch.autograd.grad(loss, parameters), strict=True):
                        sum_ += g
                    value += loss.item()
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    return value


def weighted_means(model, parts):
    for parameter in model.parameters():
        parameter.grad = None
    value, total = 0.0, n_targets(parts)
    for ids, targets in parts:
        n = int((targets >= 0).sum())
        if n:
            loss = F.cross_entropy(model(ids).double().transpose(1, 2), targets) * (n / total)
            loss.backward()
            value += float(loss)
    return value


def divide_at_the_end(model, parts):
    model.zero_grad()
    total, n = 0.0, 0
    for ids, targets in parts:
        mask = targets != IGNORE_INDEX
        loss = F.cross_entropy(model(ids)[mask], targets[mask], reduction="sum")
        loss.backward()
        total, n = total + loss.item(), n + mask.sum().item()
    for parameter in model.parameters():
        parameter.grad /= n
    return total / n


def loss_of_all_gradient_of_the_last(model, parts):
    model.zero_grad()
    total, loss = 0.0, 0.0
    for ids, targets in parts:
        loss = F.cross_entropy(model(ids).flatten(0, 1), targets.flatten(), reduction="sum") / n_targets(parts)
        total += loss.item()
    loss.backward()
    return total


def with_a_step(model, parts):
    value = with_the_objective(model, parts)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter -= 0.1 * parameter.grad
    return value


def a_step_each(model, parts):
    value = 0.0
    for ids, targets in parts:
        model.zero_grad()
        loss = F.cross_entropy(model(ids).flatten(0, 1), targets.flatten(), reduction="sum") / n_targets(parts)
        loss.backward()
        value += loss.item()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= 0.1 * parameter.grad
    return value


def in_evaluation_mode(model, parts):
    model.eval()
    return with_the_objective(model, parts)


def in_training_mode(model, parts):
    model.train()
    return with_the_objective(model, parts)


def cleared_at_the_end(model, parts):
    value = with_the_objective(model, parts)
    model.zero_grad()
    return value


def never_backward(model, parts, zero=True):
    if zero:
        model.zero_grad()
    return sum(
        F.cross_entropy(model(ids).mT, targets, reduction="sum").item() / n_targets(parts) for ids, targets in parts
    )


def shifted_again(model, parts, count=n_targets):
    """Leave out the last prediction and the first target of each row."""
    model.zero_grad()
    value = 0.0
    cut = [(ids, targets[:, 1:]) for ids, targets in parts]
    for ids, targets in cut:
        loss = F.cross_entropy(model(ids)[:, :-1].mT, targets, reduction="sum") / count(cut)
        loss.backward()
        value += loss.item()
    return value


def exp_and_log(model, parts):
    model.zero_grad()
    value = 0.0
    for ids, targets in parts:
        p = model(ids).exp() / model(ids).exp().sum(-1, keepdim=True)
        loss = -p.gather(-1, targets.clamp(min=0)[..., None])[..., 0][targets >= 0].log().sum() / n_targets(parts)
        loss.backward()
        value += loss.item()
    return value


def part(ids: list, targets: list) -> tuple[Tensor, Tensor]:
    return torch.tensor(ids), torch.tensor(targets)


X = -100
FLAT = torch.zeros(2, 2)
TABLE = tensor([[0, 1, 2], [2, 0, -1], [1, 1, 0]])
RAGGED = [part([[0, 1, 2, 0, 1]], [[1, 2, 0, 1, 0]]), part([[2, 0], [1, 1]], [[1, X], [2, X]])]
THREE = [*RAGGED, part([[1], [2], [0]], [[X], [0], [X]])]
EMPTY_LAST = [part([[0, 1], [2, 1]], [[1, X], [1, 2]]), part([[1, 2, 0]], [[X, X, X]])]

accumulated_gradient = Exercise(
    name="accumulated_gradient",
    asks="Leave in .grad the gradient of: the sum of the losses of all targets in all parts, divided by their number.",
    reference=with_the_objective,
    section="5.9",
    cases=[
        Case("one part, two equally likely tokens", run=one_step, table=FLAT, parts=[part([[0, 1]], [[1, 0]])]),
        Case("one part, one ignored target", run=one_step, table=TABLE, parts=[part([[0, 1, 2]], [[1, 0, X]])]),
        Case(
            "two parts of equal size", run=one_step, table=TABLE,
            parts=[part([[0, 1]], [[1, 2]]), part([[2, 2]], [[0, 1]])],
        ),
        Case("two parts, with five targets and with two", run=one_step, table=TABLE, parts=RAGGED),
        Case("three parts", run=one_step, table=TABLE, parts=THREE),
        Case("a last part without targets", run=one_step, table=TABLE, parts=EMPTY_LAST),
        Case(
            "a gradient left from an earlier step", run=lambda f, table, parts: one_step(f, table, parts, left=3.0),
            table=TABLE, parts=RAGGED,
        ),
        Case(
            "a model with two parameters", run=lambda f, table, parts: one_step(f, table, parts, WithBias, left=-1.0),
            table=TABLE, parts=THREE,
        ),
        Case("a first part without targets", run=one_step, table=TABLE, parts=EMPTY_LAST[::-1]),
        Case(
            "a single target in all parts", run=one_step, table=TABLE,
            parts=[part([[0, 1]], [[X, X]]), part([[2]], [[1]]), part([[1], [0]], [[X], [X]])],
        ),
        Case("large logits", run=one_step, table=TABLE * 100 + 50, parts=RAGGED),
        Case(
            "a model in evaluation mode",
            run=lambda f, table, parts: one_step(f, table, parts, Noisy, training=False), table=TABLE, parts=RAGGED,
        ),
        Case(
            "a model in training mode",
            run=lambda f, table, parts: one_step(f, table, parts, Noisy), table=TABLE, parts=RAGGED,
        ),
    ],
    random_cases=random_parts,
    misconceptions=[
        Misconception(
            "mean of means",
            lambda model, parts: accumulate(model, parts, lambda i, p: 1.0 / len(p), reduction="mean"),
            "You averaged each part separately, and then the averages. A target in a part with few of them then "
            "weighs more than one in a part with many, and the way the batch was split decides what is learned.",
            "In your result, how much does one target weigh if it is alone in its part, and how much if it is one of "
            "500?",
            "5.9",
            variants=(
                lambda model, parts: accumulate(
                    model, parts, lambda i, p: 1.0 / len(p) / max(1, n_targets(p[i : i + 1]))
                ),
                lambda model, parts: accumulate(
                    model, parts,
                    lambda i, p: 1.0 / sum(n_targets([q]) > 0 for q in p) / max(1, n_targets(p[i : i + 1])),
                ),
            ),
        ),
        Misconception(
            "sum of means",
            lambda model, parts: accumulate(model, parts, lambda i, p: 1.0, reduction="mean"),
            "You added up the mean losses of the parts. With twice as many parts the gradient is twice as long, as "
            "if you had doubled the learning rate.",
            "Split the same batch into more parts. What must not change?",
            "5.9",
            variants=(
                lambda model, parts: accumulate(model, parts, lambda i, p: 1.0 / max(1, n_targets(p[i : i + 1]))),
            ),
        ),
        Misconception(
            "sum without division",
            lambda model, parts: accumulate(model, parts, lambda i, p: 1.0),
            "You added up all losses and did not divide. The gradient grows with the size of the batch.",
            "What should you divide the sum by?",
            "5.9",
        ),
        Misconception(
            "sum divided by the number of parts",
            lambda model, parts: accumulate(model, parts, lambda i, p: 1.0 / len(p)),
            "You divided the sum of all losses by the number of parts. Divide it by the number of targets.",
            "The exercise asks for a loss per what?",
            "5.9",
        ),
        Misconception(
            "ignored positions counted",
            lambda model, parts: accumulate(model, parts, lambda i, p: 1.0 / n_positions(p)),
            "You divided by all positions, including those with -100. The more padding a batch has, the smaller its "
            "loss would look.",
            "How many predictions does the model make where there is no target?",
            "5.9",
        ),
        Misconception(
            "sum of losses returned",
            lambda model, parts: accumulate(
                model, parts, lambda i, p: 1.0 / n_targets(p), reported=lambda losses: sum(losses) * n_targets(parts)
            ),
            "The gradients are right, but you returned the sum of all losses. The loss of the batch is that sum "
            "divided by the number of its targets.",
            "In a log you want a number that does not grow with the batch.",
            "5.9",
        ),
        Misconception(
            "sum divided by the number of rows",
            lambda model, parts: accumulate(model, parts, lambda i, p: 1.0 / sum(len(ids) for ids, _ in p)),
            "You divided by the number of rows. Rows have different numbers of targets; each target counts once.",
            "The exercise asks for a loss per what?",
            "5.9",
        ),
        Misconception(
            "divided by the running count",
            lambda model, parts: accumulate(model, parts, lambda i, p: 1.0 / max(1, n_targets(p[: i + 1]))),
            "You divided each part by the number of targets up to and including it. The number for the first part is "
            "too small.",
            "You need the number of all targets before the first backward pass. Do you need the model to count them?",
            "5.9",
        ),
        Misconception(
            "ignored targets learned as token 0",
            lambda model, parts: accumulate(
                model, parts, lambda i, p: 1.0 / n_positions(p), change=lambda t: t.clamp(min=0)
            ),
            "You turned the targets of -100 into token 0: the model learns to predict token 0 wherever a row has "
            "padding.",
            "These positions must not be part of the sum or of the count.",
            "5.9",
            variants=(lambda model, parts: accumulate(model, parts, per_target, change=lambda t: t.clamp(min=0)),),
        ),
        Misconception(
            "only the last micro-batch used",
            lambda model, parts: accumulate(model, parts, per_target, zero_each=True),
            "You cleared .grad before every part, so only the gradient of the last one is left.",
            "`backward` adds to .grad. When should you clear it, and how often?",
            "5.9",
            variants=(loss_of_all_gradient_of_the_last,),
        ),
        Misconception(
            "zero_grad forgotten",
            lambda model, parts: accumulate(model, parts, per_target, zero=False),
            "You did not clear .grad, so the gradient that the last step left there is added to the new one.",
            "`backward` adds to .grad.",
            "5.9",
        ),
        Misconception(
            "loss of the last micro-batch returned",
            lambda model, parts: accumulate(model, parts, per_target, reported=lambda losses: losses[-1]),
            "The gradient is right, but you returned the contribution of the last part. The loss of the batch is the "
            "sum of all contributions.",
            "What does your variable hold after the loop?",
            "5.9",
        ),
        Misconception(
            "loss divided by the number of parts again",
            lambda model, parts: accumulate(
                model, parts, per_target, reported=lambda losses: sum(losses) / len(losses)
            ),
            "The gradient is right. But the contributions are already divided by the number of all targets, and you "
            "divided their sum by the number of parts as well.",
            "Split the same batch into more parts. What must not change?",
            "5.9",
        ),
        Misconception(
            "optimizer step taken",
            with_a_step,
            "Loss and gradient are right, but you also moved the parameters. That is the optimizer's job, and it "
            "comes after clipping.",
            "Return as soon as .grad is right.",
            "5.9",
        ),
        Misconception(
            "optimizer step after each micro-batch",
            a_step_each,
            "You moved the parameters after each part. That makes many small batches, not one large one.",
            "The model must stay the same from part to part.",
            "5.9",
        ),
        Misconception(
            "cross_entropy of (B, T, V) without flattening",
            lambda model, parts: accumulate(model, parts, per_target, flat=False),
            "You passed logits (B, T, V) to cross_entropy. It takes dimension 1 for the classes, which is T here: an "
            "error, or, if T and V happen to be equal, wrong numbers without one.",
            "`logits.flatten(0, 1)` and `targets.flatten()`: one row for each prediction. Or move V to dimension 1.",
            "5.9",
        ),
        Misconception(
            "parts weighted by their positions",
            lambda model, parts: accumulate(
                model, parts, lambda i, p: p[i][1].numel() / n_positions(p), reduction="mean"
            ),
            "You weighted the mean of each part by the number of its positions. Positions with -100 have no loss, so "
            "the weight must be the number of its targets.",
            "Over how many losses did cross_entropy take its mean?",
            "5.9",
        ),
        Misconception(
            "0 · NaN for a part without targets",
            lambda model, parts: accumulate(
                model, parts, lambda i, p: n_targets(p[i : i + 1]) / n_targets(p), reduction="mean"
            ),
            "The mean loss of a part without targets is 0 / 0, NaN, and NaN times 0 is still NaN: it spoils the sum.",
            'Use reduction="sum", or leave such a part out.',
            "5.9",
        ),
        Misconception(
            "targets shifted once more",
            shifted_again,
            "You left out the last prediction and the first target of each row. But the targets are already shifted: "
            "targets[b, t] belongs to the prediction at position t.",
            "Which target belongs to logits[b, 0]?",
            "5.9",
            variants=(lambda model, parts: shifted_again(model, parts, lambda _: n_targets(parts)),),
        ),
        Misconception(
            "softmax before cross_entropy",
            lambda model, parts: accumulate(model, parts, per_target, activation=lambda logits: logits.softmax(-1)),
            "You applied the softmax and passed the result to cross_entropy, which applies it again. Probabilities "
            "differ by 1 at most, so the loss can never become small.",
            "What does F.cross_entropy expect: probabilities or logits?",
            "5.9",
        ),
        Misconception(
            "softmax and logarithm by hand overflow",
            exp_and_log,
            "You computed e to the power of the logits. Beyond 88 that is infinite in fp32, and the loss becomes NaN.",
            "`log_softmax` and `cross_entropy` subtract the largest logit first.",
            "5.9",
        ),
        Misconception(
            "gradient cleared at the end",
            cleared_at_the_end,
            "The loss is right, but .grad is empty: you cleared it after the last backward pass (or never called "
            "backward), and the optimizer has nothing to work with.",
            "When does the caller need .grad?",
            "5.9",
            variants=(never_backward,),
        ),
        Misconception(
            "backward never called",
            lambda model, parts: never_backward(model, parts, zero=False),
            "The loss is right, but .grad is as it was before: nothing cleared it, and `backward` is missing.",
            "Which call computes gradients?",
            "5.9",
        ),
        Misconception(
            "model switched to evaluation mode",
            in_evaluation_mode,
            "You called model.eval(). Dropout is then off for this batch and for all that follow.",
            "The caller has chosen the mode. Leave it as it is.",
            "5.9",
        ),
        Misconception(
            "model switched to training mode",
            in_training_mode,
            "You called model.train(). But the gradient depends on the mode.",
            "The caller has chosen the mode. Leave it as it is.",
            "5.9",
        ),
    ],
    accepted={
        "one graph for all parts": one_graph,
        "token by token, torch.autograd.grad": token_by_token,
        "means weighted by their numbers of targets, float64": weighted_means,
        "divided at the end": divide_at_the_end,
    },
    hints=[
        "Start with one part: model.zero_grad(), the loss as a sum divided by the number of real targets, backward().",
        "Count first, over all parts: (targets != -100).sum(). Only then do you know what to divide by.",
        "Then for each part: the sum of its losses, divided by the count of all parts, backward(). Gradients add up in "
        ".grad by themselves; add up the contributions to the loss yourself, as numbers (.item()).",
    ],
)  # fmt: skip


# 5. opposite_steps


ENOUGH = 0.1 - 1e-6  # rounded numbers may be a little below 0.1


def verdict(student) -> str:
    """Describe in one sentence how good the student's two micro-batches are."""
    answer = student()
    if not isinstance(answer, list | tuple) or len(answer) != 2:
        return "these are not two lists"
    if not all(isinstance(part, list | tuple | Tensor | np.ndarray) for part in answer):
        return "these are not two lists of numbers"
    if any(isinstance(number, str) for part in answer for number in part):
        return "these are not two lists of numbers"
    try:
        a, b = (np.array(list(map(float, part))) for part in answer)
    except (TypeError, ValueError):
        return "these are not two lists of numbers"
    if not len(a) or not len(b):
        return "one of the lists is empty"
    if not (np.isfinite(a).all() and np.isfinite(b).all()) or max(abs(a).max(), abs(b).max()) > 1:
        return "a number is not between -1 and 1"
    if len(a) == len(b):
        return "the two lists have the same length, so the two means are equal"
    whole, means = np.concatenate([a, b]).mean(), (a.mean() + b.mean()) / 2
    if whole < -ENOUGH and means > ENOUGH:
        return "the overall mean is negative and the mean of means is positive: the wrong way around"
    if whole > 0 and means > 0:
        return "both means are positive"
    if whole < 0 and means < 0:
        return "both means are negative"
    return (
        "fine" if whole > ENOUGH and means < -ENOUGH else "the signs differ, but one of the means is too close to zero"
    )


opposite_steps = Exercise(
    name="opposite_steps",
    asks="Find two lists of numbers in [-1, 1] with an overall mean ≥ 0.1 but a mean of means ≤ -0.1.",
    reference=lambda: ([0.5] * 8, [-1.0]),
    section="5.9",
    cases=[Case("your two micro-batches", judge=verdict)],
    misconceptions=[
        Misconception(
            "lists of equal length", lambda: ([0.5, 0.5], [-1.0, -0.9]),
            "Your micro-batches have the same number of tokens. Then each token weighs the same either way, and the "
            "two means are equal.",
            "What must differ so that tokens get different weights?", "5.9",
        ),
        Misconception(
            "signs reversed", lambda: ([-0.5] * 8, [1.0]),
            "The signs differ, but the wrong way around: the mean over all tokens should be positive.",
            "Flip every sign.", "5.9",
        ),
        Misconception(
            "both means positive", lambda: ([0.9] * 8, [-0.1]),
            "Both means are positive: they differ only in size.",
            "In the mean of means, the short list has half of the total weight. Make it more negative.", "5.9",
        ),
        Misconception(
            "both means negative", lambda: ([0.1] * 2, [-1.0]),
            "Both means are negative. The long list must win when every token counts once.",
            "How many tokens with 0.5 outweigh one with -1?", "5.9",
        ),
        Misconception(
            "means too close to zero", lambda: ([0.95] * 8, [-1.0]),
            "The signs differ, but at least one of the means is closer to zero than 0.1.",
            "The mean of means is half the sum of the two means.", "5.9",
        ),
        Misconception(
            "numbers out of range", lambda: ([5.0] * 8, [-10.0]),
            "Some of your numbers are not between -1 and 1. (The signs do not depend on the scale.)",
            "Divide everything by the largest absolute value.", "5.9",
        ),
        Misconception(
            "empty micro-batch", lambda: ([], [-1.0]),
            "One of your micro-batches has no tokens: its mean is 0 / 0.",
            "One long list and one short one.", "5.9",
        ),
        Misconception(
            "more than two lists", lambda: ([0.5] * 4, [0.5] * 4, [-1.0]),
            "You returned more than two lists; the exercise asks for two.",
            "Merge the long ones. (Why is that a different problem?)", "5.9",
        ),
        Misconception(
            "not lists of numbers", lambda: (0.5, -1.0),
            "You returned something other than two lists of numbers: perhaps two numbers, or text.",
            "A micro-batch with one token is a list with one number.", "5.9",
            variants=(lambda: (["0.5"] * 8, ["-1"]), lambda: ([[0.5]] * 8, [[-1.0]])),
        ),
    ],
    accepted={
        "short list first": lambda: [[-1], [1, 1, 0, 1, 0, 1]],
        "a tuple and a tensor": lambda: (tuple([-0.8, -0.8]), torch.full((20,), 0.4)),
        "mixed signs, NumPy": lambda: (np.array([1, 1, 1, -0.5, 0.1, 0.2, 0.4]), [-0.9]),
    },
    hints=[
        "Make one list long with positive numbers, the other short with negative numbers.",
        "With n numbers a in the long list and one number -b in the short one, the overall mean is (n a - b) / (n + "
        "1), and the mean of means is (a - b) / 2.",
    ],
)  # fmt: skip

EXERCISES = [
    clip_gradients,
    warmup_cosine,
    adamw_step,
    accumulated_gradient,
    opposite_steps,
    WrittenAnswer(
        "WHY_OPPOSITE", "Whose gradient is the mean of means, for which data is it wrong, why does nobody notice?", 40,
        ["Take a micro-batch of 10 tokens and one of 500. How much does one token of each weigh?"], "5.9",
    ),
    WrittenAnswer(
        "EXPERIMENT", "What did you break, what did you predict, what happened, what tells it from other faults?", 60,
        ["One fault at a time. Section 5.11 lists what to look at besides the training loss."], "5.12",
    ),
]  # fmt: skip
