"""What is checked in lesson 05, and the known mistakes."""

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lessons.machinery.exercises import Case, Exercise, Misconception, WrittenAnswer
from llmasos.objectives import IGNORE_INDEX, CausalLM
from llmasos.training.schedules import learning_rate_factor

READY_CLIPPING = {
    f"torch.nn.utils.{name}": "it is the ready-made clipping; compute the norm yourself"
    for name in ("clip_grad_norm_", "clip_grad_norm", "clip_grads_with_norm_", "get_total_norm")
}
READY_OPTIMIZERS = {
    f"torch.optim.{name}": "it is a ready-made optimizer; write the formula yourself"
    for name in ("AdamW", "Adam", "NAdam", "Adamax", "adamw.adamw", "adam.adam")
}


def random(*shape: int, seed: int = 0) -> Tensor:
    """Reproducible normal random numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def tensor(rows: list | float) -> Tensor:
    """A small tensor of floating-point numbers."""
    return torch.tensor(rows, dtype=torch.float32)


# 1. clip_gradients


def through_torch(gradients: list[Tensor], max_norm: float) -> tuple[list[Tensor], float]:
    """What the library's loop calls, on parameters made for it."""
    parameters = [nn.Parameter(torch.zeros_like(g)) for g in gradients]
    for parameter, g in zip(parameters, gradients, strict=True):
        parameter.grad = g.clone()
    norm = nn.utils.clip_grad_norm_(parameters, max_norm).item()
    return [parameter.grad for parameter in parameters], norm


def norm_of(gradients) -> Tensor:
    return torch.stack([(g**2).sum() for g in gradients]).sum().sqrt()


def clipped(gradients, max_norm, norm=norm_of, factor=None, said=None):
    """Clipping with every detail open to being wrong."""
    length = norm(gradients)
    factor = (lambda n, m: min(1.0, m / float(n)) if n > 0 else 1.0) if factor is None else factor
    new = [g * factor(length, max_norm) for g in gradients]
    return new, float(length if said is None else said(gradients, new, length))


def each_by_itself(gradients, max_norm):
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
    norm = math.hypot(*(float(np.linalg.norm(g.numpy())) for g in gradients))
    return tuple(torch.from_numpy(g.numpy() / max(1.0, norm / max_norm)) for g in gradients), norm


clip_gradients = Exercise(
    name="clip_gradients",
    asks="Scale all gradients by one common factor, so that their norm together is at most max_norm.",
    reference=through_torch,
    section="5.8",
    cases=[
        Case("two parameters, norm 5", gradients=[tensor([3]), tensor([4])], max_norm=1.0),
        Case("one parameter, norm 10", gradients=[tensor([6, -8])], max_norm=5.0),
        Case("short enough", gradients=[tensor([0, 3]), tensor([4])], max_norm=10.0),
        Case("a matrix and a vector, norm 3", gradients=[tensor([[1, 0], [2, 0]]), tensor([-2])], max_norm=1.5),
        Case("nothing but zeros", gradients=[tensor([0, 0]), tensor([[0]])], max_norm=1.0),
        Case("one parameter short, one long", gradients=[tensor([0.1, 0.2]), tensor([2, 14, -5])], max_norm=3.0),
        Case("random numbers", gradients=[random(3, 4), random(5, seed=1), random(2, 2, 2, seed=2)], max_norm=2.0),
    ],
    misconceptions=[
        Misconception(
            "every tensor is clipped by itself",
            each_by_itself,
            "You gave each parameter a limit of its own. Then long ones are shortened and short ones are not, so the "
            "gradient of the model points in another direction afterwards.",
            "How many norms does one long vector have, if it is stored in three pieces?",
            "5.8",
        ),
        Misconception(
            "every number is clipped by itself",
            lambda g, limit: ([x.clamp(-limit, limit) for x in g], float(norm_of(g))),
            "You cut every number off at ± max_norm. That bends the gradient (large numbers shrink, small ones stay) "
            "and does not even keep its norm below max_norm.",
            "The direction must stay. What may you do to a vector that keeps its direction?",
            "5.8",
        ),
        Misconception(
            "short gradients are made longer",
            lambda g, limit: clipped(g, limit, factor=lambda n, m: m / float(n) if n > 0 else 1.0),
            "You scaled every gradient to the norm max_norm, the short ones too. Near a minimum, where the gradient "
            "fades away, the steps would stay as long as ever.",
            "What is the factor if the norm is below max_norm already?",
            "5.8",
            variants=(
                lambda g, limit: clipped(g, limit, factor=lambda n, m: m / float(n + 1e-6)),
                lambda g, limit: clipped(g, limit, factor=lambda n, m: m / n),
                lambda g, limit: clipped(g, limit, factor=lambda n, m: m / float(n)),
            ),
        ),
        Misconception(
            "the norm after clipping is returned",
            lambda g, limit: clipped(g, limit, said=lambda old, new, n: norm_of(new)),
            "The gradients are right, but you returned their norm after clipping. In a log it would never be seen "
            "above max_norm, and what clipping hides would stay hidden.",
            "Which of the two norms tells you that something has happened?",
            "5.8",
            variants=(lambda g, limit: clipped(g, limit, said=lambda old, new, n: min(float(n), limit)),),
        ),
        Misconception(
            "the root is missing",
            lambda g, limit: clipped(g, limit, norm=lambda g: norm_of(g) ** 2),
            "You took the sum of squares for the norm. Gradients of norm 10 are then divided by 100.",
            "The norm of (3, 4) is 5, not 25.",
            "5.8",
        ),
        Misconception(
            "the norms are added",
            lambda g, limit: clipped(g, limit, norm=lambda g: sum(x.norm() for x in g)),
            "You added up the norms of the tensors. The norm of the whole is the root of the sum of their squares, "
            "which is smaller: (3) and (4) make 5, not 7.",
            "Pythagoras: how long is the diagonal of a box?",
            "5.8",
        ),
        Misconception(
            "the largest norm is taken",
            lambda g, limit: clipped(g, limit, norm=lambda g: max(x.norm() for x in g)),
            "You took the norm of the longest tensor for that of the whole model.",
            "All numbers of all tensors belong to one vector.",
            "5.8",
        ),
        Misconception(
            "absolute values instead of squares",
            lambda g, limit: clipped(g, limit, norm=lambda g: sum(x.abs().sum() for x in g)),
            "You added up absolute values. That is another norm (the 1-norm), and larger; here the Euclidean one is "
            "asked for.",
            "The root of the sum of the squares.",
            "5.8",
        ),
        Misconception(
            "a mean of squares",
            lambda g, limit: clipped(g, limit, norm=lambda g: norm_of(g) / math.sqrt(sum(x.numel() for x in g))),
            "You divided by the number of weights. The norm is the root of the sum of squares, not of their mean.",
            "The norm of (3, 4) is 5; the root of their mean square is 3.54.",
            "5.8",
        ),
        Misconception(
            "divided by max_norm",
            lambda g, limit: clipped(g, limit, factor=lambda n, m: 1.0 / m if n > m else 1.0),
            "You divided the gradient by max_norm. Its length afterwards still depends on its length before.",
            "After clipping, the norm is to be max_norm exactly. By what must a vector of norm n be multiplied?",
            "5.8",
        ),
        Misconception(
            "divided by the norm only",
            lambda g, limit: clipped(g, limit, factor=lambda n, m: 1.0 / float(n) if n > m else 1.0),
            "You divided by the norm, so that the gradient has length 1, whatever max_norm says.",
            "Where does max_norm come into your factor?",
            "5.8",
        ),
        Misconception(
            "long gradients are thrown away",
            lambda g, limit: clipped(g, limit, factor=lambda n, m: 0.0 if n > m else 1.0),
            "You set gradients that are too long to zero. The step is lost; shortened, it would still have gone "
            "downhill.",
            "Keep the direction, change the length.",
            "5.8",
        ),
    ],
    accepted={
        "loops over numbers": by_loops,
        "one long vector, float64": one_long_vector,
        "NumPy and hypot": by_numpy,
        "a millionth against division by zero": lambda g, limit: clipped(
            g, limit, factor=lambda n, m: torch.minimum(torch.tensor(1.0), m / (n + 1e-6))
        ),
    },
    forbidden=READY_CLIPPING,
    hints=[
        "First the norm. Square every number of every tensor, add up everything, take the root: one number for all.",
        "Then one factor for all: max_norm / norm if the norm is larger than max_norm, else 1.",
        "total = sum((g**2).sum() for g in gradients); norm = total.sqrt(); factor = min(1.0, max_norm / norm), and "
        "mind a norm of zero.",
    ],
)


# 2. warmup_cosine


def schedule(step, steps, warmup, final, rise=None, progress=None, fall=None, until=None):
    """Warmup and cosine with any of their details to be got wrong."""
    if step < (warmup if until is None else until(warmup)):
        return rise(step, warmup) if rise else (step + 1) / warmup
    p = progress(step, steps, warmup) if progress else (step - warmup) / max(1, steps - 1 - warmup)
    p = min(1.0, max(0.0, p))
    return fall(p, final) if fall else final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * p))


def by_interpolation(step, steps, warmup, final):
    """The phase of the wave by np.interp, which stays at its last value by itself."""
    if step < warmup:
        return np.float32(step + 1) / np.float32(warmup)
    phase = np.interp(step, [warmup, max(warmup + 1, steps - 1)], [0.0, np.pi])
    return (1 + final) / 2 + (1 - final) / 2 * np.cos(phase)


def by_a_square(step, steps, warmup, final):
    """½ (1 + cos x) is the square of cos(x / 2)."""
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


def a_run(f, steps, warmup, final):
    """The factors of all steps."""
    return [f(step, steps, warmup, final) for step in range(steps)]


warmup_cosine = Exercise(
    name="warmup_cosine",
    asks="The factor of the learning rate: (step + 1) / warmup, then half a cosine wave from 1 down to final.",
    reference=lambda step, steps, warmup, final: learning_rate_factor(step, steps, warmup, "cosine", final),
    section="5.7",
    cases=[
        Case("the first step of a warmup of four", step=0, steps=13, warmup=4, final=0.0),
        Case("the last step of the warmup", step=3, steps=13, warmup=4, final=0.0),
        Case("the first step after the warmup", step=4, steps=13, warmup=4, final=0.0),
        Case("halfway down", step=8, steps=13, warmup=4, final=0.0),
        Case("the last step of all", step=12, steps=13, warmup=4, final=0.0),
        Case("a quarter of the way down, to a half", step=6, steps=13, warmup=4, final=0.5),
        Case("the last step of all, to a half", step=12, steps=13, warmup=4, final=0.5),
        Case("after the last step", step=15, steps=13, warmup=4, final=0.1),
        Case("no warmup: all steps", run=a_run, steps=5, warmup=0, final=0.2),
        Case("seven steps, two of them warmup: all steps", run=a_run, steps=7, warmup=2, final=0.0),
        Case("a warmup longer than the run: all steps", run=a_run, steps=3, warmup=6, final=0.1),
        Case("one step after the warmup: all steps", run=a_run, steps=4, warmup=3, final=0.1),
    ],
    misconceptions=[
        Misconception(
            "the first step has learning rate zero",
            lambda s, n, w, f: schedule(s, n, w, f, rise=lambda s, w: s / w),
            "Your warmup begins at 0, so that the first batch is computed for nothing, and it reaches 1 a step later "
            "than it should.",
            "Counted from 0, step 0 is the first of `warmup` equal parts. How large is one part?",
            "5.7",
        ),
        Misconception(
            "the warmup has one part too many",
            lambda s, n, w, f: schedule(s, n, w, f, rise=lambda s, w: (s + 1) / (w + 1)),
            "You divided by warmup + 1. The last step of the warmup, warmup - 1, is to have the factor 1 exactly.",
            "What is (step + 1) at the last step of the warmup?",
            "5.7",
        ),
        Misconception(
            "the warmup is one step too long",
            lambda s, n, w, f: schedule(s, n, w, f, until=lambda w: w + 1, rise=lambda s, w: (s + 1) / max(1, w)),
            "At step `warmup` you are still rising, above 1. The warmup is the steps 0 … warmup - 1.",
            "< or ≤?",
            "5.7",
        ),
        Misconception(
            "the final factor comes one step after the last",
            lambda s, n, w, f: schedule(s, n, w, f, progress=lambda s, n, w: (s - w) / max(1, n - w)),
            "You divided by steps - warmup. The last step of the run is number steps - 1, and there the wave should be "
            "at its end.",
            "From step `warmup` to step `steps - 1`: how many steps apart are they?",
            "5.7",
        ),
        Misconception(
            "the cosine begins at step 0",
            lambda s, n, w, f: schedule(s, n, w, f, progress=lambda s, n, w: s / max(1, n - 1)),
            "Your wave counts from the start of the run, not from the end of the warmup: the factor jumps down when "
            "the warmup is over.",
            "How far along the way down is step `warmup`?",
            "5.7",
        ),
        Misconception(
            "the wave begins after its first step",
            lambda s, n, w, f: schedule(
                s, n, w, f, progress=lambda s, n, w: (s - w + 1) / max(1, n - w) if n - w > 1 else 0.0
            ),
            "At step `warmup` you have already gone down one part. It should still have the factor 1.",
            "How far along the way down is step `warmup`?",
            "5.7",
        ),
        Misconception(
            "the warmup is multiplied onto a wave over the whole run",
            lambda s, n, w, f: min(1.0, (s + 1) / max(1, w)) * schedule(s, n, 0, f),
            "You multiplied the rise with a wave that runs from step 0 on, so the peak is never reached.",
            "First up, then down: one after the other, not both at a time.",
            "5.7",
        ),
        Misconception(
            "a whole wave",
            lambda s, n, w, f: schedule(
                s, n, w, f, fall=lambda p, f: f + (1 - f) * 0.5 * (1 + math.cos(2 * math.pi * p))
            ),
            "Your cosine runs through a whole wave: down to the end value in the middle, and up to the peak again.",
            "cos goes from 1 to -1 while its argument goes from 0 to … ?",
            "5.7",
        ),
        Misconception(
            "a quarter of a wave",
            lambda s, n, w, f: schedule(s, n, w, f, fall=lambda p, f: f + (1 - f) * math.cos(math.pi / 2 * p)),
            "You used the cosine from 0 to π/2. It stays high for long and is steepest at the very end; half a wave, "
            "from 0 to π, arrives softly.",
            "½ (1 + cos x) for x from 0 to π goes from 1 to 0.",
            "5.7",
        ),
        Misconception(
            "a straight line",
            lambda s, n, w, f: schedule(s, n, w, f, fall=lambda p, f: 1 + (f - 1) * p),
            'You go down in a straight line. That is a schedule too ("linear"), but here half a cosine wave is '
            "asked for.",
            "Where does cos come in?",
            "5.7",
        ),
        Misconception(
            "the wave goes up",
            lambda s, n, w, f: schedule(s, n, w, f, fall=lambda p, f: f + (1 - f) * 0.5 * (1 - math.cos(math.pi * p))),
            "Your wave begins at the final value and rises to 1.",
            "1 - cos x is 0 at x = 0; 1 + cos x is 2 there.",
            "5.7",
        ),
        Misconception(
            "down to zero, whatever final says",
            lambda s, n, w, f: schedule(s, n, w, f, fall=lambda p, f: 0.5 * (1 + math.cos(math.pi * p))),
            "Your wave ends at 0. It should end at `final`.",
            "Between 1 and `final` lie 1 - final. How much of that is left at the beginning of the wave, at its end?",
            "5.7",
        ),
        Misconception(
            "final is added on top",
            lambda s, n, w, f: schedule(s, n, w, f, fall=lambda p, f: f + 0.5 * (1 + math.cos(math.pi * p))),
            "You lifted the whole wave by `final`, so it begins at 1 + final.",
            "The height of the wave is not 1 if it runs from 1 to `final`.",
            "5.7",
        ),
        Misconception(
            "final is a floor that cuts the wave off",
            lambda s, n, w, f: schedule(s, n, w, f, fall=lambda p, f: max(f, 0.5 * (1 + math.cos(math.pi * p)))),
            "You let the wave run to 0 and cut it off at `final`: it arrives too soon, with a corner.",
            "Squeeze the wave between 1 and `final` instead of cutting it.",
            "5.7",
        ),
        Misconception(
            "after the last step it rises again",
            lambda s, n, w, f: (
                (s + 1) / w if s < w else f + (1 - f) * 0.5 * (1 + math.cos(math.pi * (s - w) / max(1, n - 1 - w)))
            ),
            "Within the run you are right; after it your cosine goes up again. Asked for a later step, the factor "
            "should stay at `final`.",
            "How far along the way can one be at most?",
            "5.7",
        ),
    ],
    accepted={
        "NumPy's interpolation, float32": by_interpolation,
        "the square of a cosine, in tensors": by_a_square,
        "a table of the whole run": by_a_table,
        "a complex number turns": lambda s, n, w, f: (
            (s + 1) / w
            if s < w
            else (1 + f) / 2 + (1 - f) / 2 * ((-1 + 0j) ** min(1.0, (s - w) / max(1, n - 1 - w))).real
        ),
    },
    hints=[
        "Two cases: step < warmup, and the rest. The first is one fraction.",
        "For the rest: how far along the way down is a step, as a number from 0 (step `warmup`) to 1 (step `steps - "
        "1`)? Not more than 1, and beware of dividing by 0.",
        "With this progress p, ½ (1 + cos(π p)) goes from 1 to 0. Stretch it so that it goes from 1 to final: "
        "final + (1 - final) · that.",
    ],
)


# 3. adamw_step


def by_torch(w, gradient, m, v, t, lr, beta1, beta2, eps, weight_decay):
    """torch's AdamW, put into the state that it has after step t - 1."""
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
    """AdamW with every detail open to being wrong."""
    g = inside(g, w, decay)
    m, v = first(m, g, beta1), second(v, g, beta2)
    m_hat, v_hat = correct1(m, beta1, t), correct2(v, beta2, t)
    w = shrink(w, lr, decay) + sign * lr * ratio(m_hat, v_hat, eps)
    return (w, m_hat, v_hat) if keep_corrected else (w, m, v)


def keep(x, b, t):
    """No correction."""
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
    """The step is taken before the gradient has come in."""
    new_m, new_v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
    w = w * (1 - lr * decay) - lr * (m / (1 - beta1**t)) / ((v / (1 - beta2**t)).sqrt() + eps)
    return w, new_m, new_v


def number_by_number(w, gradient, m, v, t, lr, beta1, beta2, eps, weight_decay):
    out_w, out_m, out_v = w.clone(), m.clone(), v.clone()
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
    """Both corrections in one factor, with eps in the scale that this needs."""
    m, v = torch.lerp(m, gradient, 1 - beta1), torch.lerp(v, gradient.square(), 1 - beta2)
    root = math.sqrt(1 - beta2**t)
    shrunk = torch.mul(w, 1 - lr * weight_decay)
    return torch.addcdiv(shrunk, m, v.sqrt() + eps * root, value=-lr * root / (1 - beta1**t)), m, v


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
    """The weight after each of several steps, with the state handed on."""
    m, v, path = torch.zeros_like(w), torch.zeros_like(w), []
    for t, g in enumerate(gradients, 1):
        w, m, v = f(w, g, m, v, t, 0.05, 0.9, 0.999, 1e-8, 0.1)
        path.append(w)
    return path


adamw_step = Exercise(
    name="adamw_step",
    asks="One step of AdamW: running means, bias correction, decay beside the gradient, step.",
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
    ],
    misconceptions=[
        Misconception(
            "no bias correction",
            lambda *a: adamw(*a, correct1=keep, correct2=keep),
            "You used the running means as they are. They began at zero and are too small in the first steps, each by "
            "another factor, so the first steps have the wrong size.",
            "After one step with gradient g, how large is m, and how large is √v?",
            "5.3",
        ),
        Misconception(
            "only the first mean is corrected",
            lambda *a: adamw(*a, correct2=keep),
            "You corrected m, but not v. In the first steps √v is far too small, and you divide by it: the steps are "
            "too long.",
            "Both began at zero.",
            "5.3",
        ),
        Misconception(
            "only the second mean is corrected",
            lambda *a: adamw(*a, correct1=keep),
            "You corrected v, but not m: the first step has only the share 1 - beta1 of its size.",
            "Both began at zero.",
            "5.3",
        ),
        Misconception(
            "the step is counted from 0",
            lambda *a: adamw(*a[:4], a[4] - 1, *a[5:]),
            "You used t - 1 in the corrections. At the first step 1 - β⁰ is 0, and something is divided by it.",
            "Here t is 1 at the first step already. How much of m is then still missing?",
            "5.3",
        ),
        Misconception(
            "the step is counted one too far",
            lambda *a: adamw(*a[:4], a[4] + 1, *a[5:]),
            "You used t + 1 in the corrections. t is counted from 1: at the first step it is 1.",
            "After one step m = (1 - β) g. By what must it be divided to give g?",
            "5.3",
        ),
        Misconception(
            "the correction does not depend on t",
            lambda *a: adamw(*a, correct1=lambda m, b, t: m / (1 - b), correct2=lambda v, b, t: v / (1 - b)),
            "You divided by 1 - β instead of 1 - βᵗ. That is right at the first step only; later it blows m up "
            "tenfold.",
            "What should the correction be after a thousand steps?",
            "5.3",
        ),
        Misconception(
            "a product instead of a power",
            lambda *a: adamw(
                *a, correct1=lambda m, b, t: m / (1 - b * t), correct2=lambda v, b, t: v / (1 - b * t)
            ),
            "You wrote beta · t for βᵗ. At the first step they are the same; afterwards 1 - beta · t is negative, and "
            "the root of a negative number is NaN.",
            "βᵗ is a power: `beta**t`.",
            "5.3",
            variants=(
                lambda *a: adamw(*a, correct1=lambda m, b, t: m / (1 - b * t)),
                lambda *a: adamw(*a, correct2=lambda v, b, t: v / (1 - b * t)),
            ),
        ),
        Misconception(
            "the correction multiplies",
            lambda *a: adamw(*a, correct1=lambda m, b, t: m * (1 - b**t), correct2=lambda v, b, t: v * (1 - b**t)),
            "You multiplied by 1 - βᵗ. The means are too small at the beginning, and you made them smaller still.",
            "A mean that began at zero is too small by this factor. How is that undone?",
            "5.3",
        ),
        Misconception(
            "the decay is inside the gradient",
            lambda *a: adamw(*a, inside=lambda g, w, decay: g + decay * w, shrink=no_shrink),
            "You added weight_decay · w to the gradient. That is Adam with an L2 penalty: the decay goes through both "
            "running means, and weights with large gradients are hardly decayed at all.",
            "Which line of AdamW is the only one in which weight_decay occurs?",
            "5.4",
        ),
        Misconception(
            "the decay is divided by the root too",
            decay_through_the_root,
            "You added the decay to m̂, so it is divided by √v̂ like the gradient. It should pull every weight by the "
            "same share, however large its gradients are.",
            "The decay stands beside the fraction, not in its numerator.",
            "5.4",
        ),
        Misconception(
            "the decay is not multiplied by lr",
            lambda *a: adamw(*a, shrink=lambda w, lr, decay: w * (1 - decay)),
            "You took away weight_decay · w at each step. Here the learning rate scales the decay too, so that a "
            "schedule lowers both: lr · weight_decay · w.",
            "With weight_decay = 0.1 a weight would halve every seven steps. Is that meant?",
            "5.4",
        ),
        Misconception(
            "there is no decay",
            lambda *a: adamw(*a, shrink=no_shrink),
            "weight_decay makes no difference in your code: this is Adam.",
            "What does the W in AdamW stand for?",
            "5.4",
        ),
        Misconception(
            "the decay makes weights grow",
            lambda *a: adamw(*a, shrink=lambda w, lr, decay: w * (1 + lr * decay)),
            "You added the decay instead of taking it away: without a gradient the weights would grow without end.",
            "Decay pulls toward zero.",
            "5.4",
        ),
        Misconception(
            "the decay comes after the step",
            decay_last,
            "You took the step first and shrank what came out of it, the step included. It is the old weight that is "
            "decayed.",
            "Shrink w first, or compute both from the old w.",
            "5.4",
        ),
        Misconception(
            "eps is inside the root",
            lambda *a: adamw(*a, ratio=lambda m, v, eps: m / (v + eps).sqrt()),
            "You computed √(v̂ + eps). With eps = 1e-8 that is a threshold of 1e-4 for gradients, not 1e-8: small ones "
            "would hardly be used.",
            "√v̂ + eps: where does the root end?",
            "5.3",
        ),
        Misconception(
            "eps is added before the correction",
            eps_before_the_correction,
            "You put both corrections into the learning rate and added eps to √v, not to √v̂. The paper mentions this "
            "short form too, but its eps is another one: it is divided by √(1 - β₂ᵗ), ten times larger at first.",
            "First correct v, then take the root, then add eps.",
            "5.3",
        ),
        Misconception(
            "there is no eps",
            lambda *a: adamw(*a, ratio=lambda m, v, eps: m / v.sqrt()),
            "You left eps out. A weight whose gradient has always been zero then gets 0 / 0, which is NaN, and so does "
            "everything after it.",
            "What if v̂ is 0?",
            "5.3",
        ),
        Misconception(
            "v is a mean of gradients, not of squares",
            lambda *a: adamw(
                *a, second=lambda v, g, b: b * v + (1 - b) * g, ratio=lambda m, v, eps: m / (v.abs().sqrt() + eps)
            ),
            "You took g itself into v. v measures how large gradients are, whatever their sign; gradients that change "
            "sign would cancel.",
            "The second moment is the mean of g · g.",
            "5.3",
            variants=(
                lambda *a: adamw(*a, second=lambda v, g, b: b * v + (1 - b) * g),
                lambda *a: adamw(*a, second=lambda v, g, b: b * v + (1 - b) * g.abs()),
            ),
        ),
        Misconception(
            "v is a mean of squared means",
            lambda w, g, m, v, t, lr, b1, b2, *rest: adamw(
                w, g, m, v, t, lr, b1, b2, *rest,
                second=lambda v, g, b: b * v + (1 - b) * (b1 * m + (1 - b1) * g) ** 2,
            ),
            "You squared the running mean m for v. It is the gradient of this step that is squared.",
            "Both running means are fed with the same fresh gradient.",
            "5.3",
        ),
        Misconception(
            "the root is missing",
            lambda *a: adamw(*a, ratio=lambda m, v, eps: m / (v + eps)),
            "You divided by v̂, not by its root. The step then has the unit of 1 / gradient: the larger the "
            "gradients, the smaller the steps.",
            "If all gradients are doubled, what should become of the step?",
            "5.3",
        ),
        Misconception(
            "the new gradient is not scaled by 1 - beta",
            lambda *a: adamw(*a, first=lambda m, g, b: b * m + g, second=lambda v, g, b: b * v + g**2),
            "You added the whole gradient to β m. That is a sum, as in SGD with momentum; Adam's m and v are means.",
            "The weights of the old mean and of the new gradient must add up to 1.",
            "5.3",
        ),
        Misconception(
            "beta and 1 - beta are swapped",
            lambda *a: adamw(
                *a, first=lambda m, g, b: (1 - b) * m + b * g, second=lambda v, g, b: (1 - b) * v + b * g**2
            ),
            "You keep the share 1 - β of the mean and take in β of the gradient. With β = 0.9 it should be a long "
            "memory.",
            "β is how much is kept.",
            "5.3",
        ),
        Misconception(
            "beta1 and beta2 are swapped",
            lambda w, g, m, v, t, lr, b1, b2, *rest: adamw(w, g, m, v, t, lr, b2, b1, *rest),
            "beta1 belongs to m, beta2 to v; in your code it is the other way around.",
            "Check which β stands in which line.",
            "5.3",
        ),
        Misconception(
            "uphill",
            lambda *a: adamw(*a, sign=+1),
            "You added the step. The gradient points uphill; the loss would grow.",
            "Which way is down?",
            "5.1",
        ),
        Misconception(
            "the gradient itself is divided, not its mean",
            lambda w, g, m, v, t, lr, b1, b2, eps, decay: (
                w * (1 - lr * decay) - lr * g / (((b2 * v + (1 - b2) * g**2) / (1 - b2**t)).sqrt() + eps),
                b1 * m + (1 - b1) * g,
                b2 * v + (1 - b2) * g**2,
            ),
            "You went along g / √v̂. That is RMSProp: m is computed and never used.",
            "Where does m̂ come into your step?",
            "5.3",
        ),
        Misconception(
            "the step is taken with the old means",
            old_moments,
            "You took the step with m and v as they were before this gradient came in.",
            "First the running means, then the step.",
            "5.3",
        ),
        Misconception(
            "the corrected means are returned",
            lambda *a: adamw(*a, keep_corrected=True),
            "The weight is right, but you returned m̂ and v̂. At the next step they would be corrected a second time.",
            "The correction is for this step's use only; what is remembered are m and v.",
            "5.3",
        ),
    ],
    accepted={
        "number by number": number_by_number,
        "float64, decay beside the direction": in_double,
        "both corrections in one factor": one_factor,
        "torch's operations in place, on copies": in_place_on_copies,
    },
    forbidden=READY_OPTIMIZERS,
    hints=[
        "Five lines, in the order of Algorithm 2 in the lesson: m, v, m̂, v̂, w. Write them down one by one.",
        "m = beta1 · m + (1 - beta1) · gradient, and v likewise with gradient². m̂ is m divided by 1 - beta1 to the "
        "power of t.",
        "The last line has three terms: the old w; minus lr · weight_decay · w; minus lr · m̂ / (root of v̂, plus "
        "eps).",
    ],
)  # fmt: skip


# 4. accumulated_gradient


class Bigram(nn.Module):
    """The smallest language model: a row of logits for each token."""

    def __init__(self, table: Tensor):
        super().__init__()
        self.table = nn.Parameter(table.clone())

    def forward(self, ids: Tensor) -> Tensor:
        return self.table[ids]  # (B, T, V)


class WithBias(nn.Module):
    """Two parameters, of two shapes."""

    def __init__(self, table: Tensor):
        super().__init__()
        self.embedding = nn.Embedding.from_pretrained(table.clone(), freeze=False)
        self.bias = nn.Parameter(torch.linspace(-1, 1, table.size(1)))

    def forward(self, ids: Tensor) -> Tensor:
        return self.embedding(ids) + self.bias


def one_step(f, table, parts, make=Bigram, left=None):
    """What is returned, and what then stands in .grad (and whether the parameters are still the same)."""
    model = make(table)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    for parameter in model.parameters():
        parameter.grad = None if left is None else torch.full_like(parameter, left)
    loss = f(model, parts)
    if torch.is_tensor(loss):
        loss = loss.detach()
    gradients = [parameter.grad for parameter in model.parameters()]
    moved = any(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    return [loss, *gradients, "the parameters moved" if moved else "the parameters are where they were"]


def by_the_objective(model, parts):
    """As the library's loop does it."""
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


def accumulate(model, parts, weight, zero=True, zero_each=False, reduction="sum", said=None, change=lambda t: t):
    """Accumulation with every detail open to being wrong. weight(part number, parts) multiplies the part's loss."""
    if zero:
        model.zero_grad()
    losses = []
    for i, (ids, targets) in enumerate(parts):
        if zero_each:
            model.zero_grad()
        logits = model(ids).flatten(0, 1)
        loss = F.cross_entropy(logits, change(targets).flatten(), reduction=reduction) * weight(i, parts)
        loss.backward()
        losses.append(loss.item())
    return sum(losses) if said is None else said(losses)


def n_real(parts) -> int:
    return sum(int((targets != IGNORE_INDEX).sum()) for _, targets in parts)


def n_all(parts) -> int:
    return sum(targets.numel() for _, targets in parts)


def share(i, parts):
    return 1.0 / n_real(parts)


def one_graph(model, parts):
    model.zero_grad(set_to_none=False)
    losses = [F.cross_entropy(model(ids).mT, targets, reduction="none") for ids, targets in parts]
    real = torch.cat([targets.flatten() for _, targets in parts]) != IGNORE_INDEX
    loss = torch.cat([x.flatten() for x in losses])[real].mean()
    loss.backward()
    return loss


def token_by_token(model, parts):
    parameters, total = list(model.parameters()), n_real(parts)
    gradients, value = [torch.zeros_like(p) for p in parameters], 0.0
    for ids, targets in parts:
        for row, wanted in zip(ids, targets, strict=True):
            for t, target in enumerate(wanted.tolist()):
                if target != IGNORE_INDEX:
                    loss = -model(row[None])[0, t].log_softmax(-1)[target] / total
                    for sum_, g in zip(gradients, torch.autograd.grad(loss, parameters), strict=True):
                        sum_ += g
                    value += loss.item()
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    return value


def mean_times_share(model, parts):
    for parameter in model.parameters():
        parameter.grad = None
    value, total = 0.0, n_real(parts)
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
        real = targets != IGNORE_INDEX
        loss = F.cross_entropy(model(ids)[real], targets[real], reduction="sum")
        loss.backward()
        total, n = total + loss.item(), n + real.sum().item()
    for parameter in model.parameters():
        parameter.grad /= n
    return total / n


def loss_of_all_gradient_of_the_last(model, parts):
    model.zero_grad()
    total, loss = 0.0, 0.0
    for ids, targets in parts:
        loss = F.cross_entropy(model(ids).flatten(0, 1), targets.flatten(), reduction="sum") / n_real(parts)
        total += loss.item()
    loss.backward()
    return total


def with_a_step(model, parts):
    value = by_the_objective(model, parts)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter -= 0.1 * parameter.grad
    return value


def a_step_each(model, parts):
    value = 0.0
    for ids, targets in parts:
        model.zero_grad()
        loss = F.cross_entropy(model(ids).flatten(0, 1), targets.flatten(), reduction="sum") / n_real(parts)
        loss.backward()
        value += loss.item()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= 0.1 * parameter.grad
    return value


def part(ids: list, targets: list) -> tuple[Tensor, Tensor]:
    return torch.tensor(ids), torch.tensor(targets)


X = IGNORE_INDEX
FLAT = torch.zeros(2, 2)
TABLE = tensor([[0, 1, 2], [2, 0, -1], [1, 1, 0]])
RAGGED = [part([[0, 1, 2, 0, 1]], [[1, 2, 0, 1, 0]]), part([[2, 0], [1, 1]], [[1, X], [2, X]])]
THREE = [*RAGGED, part([[1], [2], [0]], [[X], [0], [X]])]
EMPTY_LAST = [part([[0, 1], [2, 1]], [[1, X], [1, 2]]), part([[1, 2, 0]], [[X, X, X]])]

accumulated_gradient = Exercise(
    name="accumulated_gradient",
    asks="Leave in .grad the gradient of: sum of the losses of all parts' targets, divided by how many there are.",
    reference=by_the_objective,
    section="5.9",
    cases=[
        Case("one part, two tokens of equal chance", run=one_step, table=FLAT, parts=[part([[0, 1]], [[1, 0]])]),
        Case("one part, one target left out", run=one_step, table=TABLE, parts=[part([[0, 1, 2]], [[1, 0, X]])]),
        Case(
            "two parts of equal size", run=one_step, table=TABLE,
            parts=[part([[0, 1]], [[1, 2]]), part([[2, 2]], [[0, 1]])],
        ),
        Case("two parts, of five targets and of two", run=one_step, table=TABLE, parts=RAGGED),
        Case("three parts", run=one_step, table=TABLE, parts=THREE),
        Case("a last part without any target", run=one_step, table=TABLE, parts=EMPTY_LAST),
        Case(
            "a gradient is left from before", run=lambda f, table, parts: one_step(f, table, parts, left=3.0),
            table=TABLE, parts=RAGGED,
        ),
        Case(
            "a model of two parameters", run=lambda f, table, parts: one_step(f, table, parts, WithBias, left=-1.0),
            table=TABLE, parts=THREE,
        ),
    ],
    misconceptions=[
        Misconception(
            "a mean of means",
            lambda model, parts: accumulate(model, parts, lambda i, p: 1.0 / len(p), reduction="mean"),
            "You averaged every part by itself, and then the averages. A target in a part with few of them then weighs "
            "more than one in a part with many, and how the batch was cut decides what is learned.",
            "How much does one target weigh in your result if it is alone in its part, and how much if it is one of "
            "500?",
            "5.9",
            variants=(
                lambda model, parts: accumulate(
                    model, parts, lambda i, p: 1.0 / len(p) / max(1, n_real(p[i : i + 1]))
                ),
                lambda model, parts: accumulate(
                    model, parts, lambda i, p: 1.0 / sum(n_real([q]) > 0 for q in p) / max(1, n_real(p[i : i + 1]))
                ),
            ),
        ),
        Misconception(
            "a sum of means",
            lambda model, parts: accumulate(model, parts, lambda i, p: 1.0, reduction="mean"),
            "You added up the mean losses of the parts. With twice as many parts the gradient is twice as long, as if "
            "the learning rate had been doubled.",
            "Cut the same batch into more parts. What must not change?",
            "5.9",
            variants=(lambda model, parts: accumulate(model, parts, lambda i, p: 1.0 / max(1, n_real(p[i : i + 1]))),),
        ),
        Misconception(
            "a sum that is not divided",
            lambda model, parts: accumulate(model, parts, lambda i, p: 1.0),
            "You added up all losses and did not divide. The gradient grows with the size of the batch.",
            "By what is the sum to be divided?",
            "5.9",
        ),
        Misconception(
            "divided by the number of parts",
            lambda model, parts: accumulate(model, parts, lambda i, p: 1.0 / len(p)),
            "You divided the sum of all losses by the number of parts. It is to be divided by the number of targets.",
            "A loss per what is wanted?",
            "5.9",
        ),
        Misconception(
            "positions without a target are counted",
            lambda model, parts: accumulate(model, parts, lambda i, p: 1.0 / n_all(p)),
            "You divided by all positions, those with -100 among them. The more of a batch is padding, the smaller its "
            "loss would seem.",
            "How many predictions are made where nothing is to be predicted?",
            "5.9",
        ),
        Misconception(
            "the sum is returned",
            lambda model, parts: accumulate(
                model, parts, lambda i, p: 1.0 / n_real(p), said=lambda losses: sum(losses) * n_real(parts)
            ),
            "The gradients are right, but you returned the sum of all losses. The loss of the batch is the sum divided "
            "by the number of its targets.",
            "In a log you want a number that does not grow with the batch.",
            "5.9",
        ),
        Misconception(
            "divided by the number of rows",
            lambda model, parts: accumulate(model, parts, lambda i, p: 1.0 / sum(len(ids) for ids, _ in p)),
            "You divided by the number of rows. Rows have different numbers of targets; each target counts once.",
            "A loss per what is wanted?",
            "5.9",
        ),
        Misconception(
            "divided by the count so far",
            lambda model, parts: accumulate(model, parts, lambda i, p: 1.0 / max(1, n_real(p[: i + 1]))),
            "You divided each part by the targets seen up to it. The first part is divided by too small a number.",
            "The number of all targets must be known before the first backward pass. What do you need for it? Not the "
            "model.",
            "5.9",
        ),
        Misconception(
            "what is not to be predicted is learned",
            lambda model, parts: accumulate(
                model, parts, lambda i, p: 1.0 / n_all(p), change=lambda t: t.clamp(min=0)
            ),
            "You turned the targets of -100 into token 0: the model is taught to predict token 0 wherever a row has "
            "been filled up.",
            "These positions must drop out of the sum and of the count.",
            "5.9",
            variants=(lambda model, parts: accumulate(model, parts, share, change=lambda t: t.clamp(min=0)),),
        ),
        Misconception(
            "only the last part is learned from",
            lambda model, parts: accumulate(model, parts, share, zero_each=True),
            "You emptied .grad before every part, so only the gradient of the last one is left.",
            "`backward` adds to what stands in .grad. When should it be emptied, and how often?",
            "5.9",
            variants=(loss_of_all_gradient_of_the_last,),
        ),
        Misconception(
            "the old gradient is still there",
            lambda model, parts: accumulate(model, parts, share, zero=False),
            "You did not empty .grad, and what the last step left is added to this one's gradient. This is the "
            "forgotten zero_grad.",
            "`backward` adds to what stands in .grad.",
            "5.9",
        ),
        Misconception(
            "the last part's loss is returned",
            lambda model, parts: accumulate(model, parts, share, said=lambda losses: losses[-1]),
            "The gradient is right, but you returned what the last part contributed. The loss of the batch is the sum "
            "of all contributions.",
            "What does your variable hold after the loop?",
            "5.9",
        ),
        Misconception(
            "the mean of the contributions is returned",
            lambda model, parts: accumulate(model, parts, share, said=lambda losses: sum(losses) / len(losses)),
            "The gradient is right. But the contributions are already divided by the number of all targets, and you "
            "divided their sum by the number of parts once more.",
            "Cut the same batch into more parts. What must not change?",
            "5.9",
        ),
        Misconception(
            "a step is taken",
            with_a_step,
            "Loss and gradient are right, but you also moved the parameters. That is the optimizer's business, and it "
            "comes after clipping.",
            "Return when .grad is right.",
            "5.9",
        ),
        Misconception(
            "a step after each part",
            a_step_each,
            "You moved the parameters after each part. Then these are many small batches, not one large one.",
            "Between the parts the model must stay the same.",
            "5.9",
        ),
    ],
    accepted={
        "one graph for all parts": one_graph,
        "token by token, torch.autograd.grad": token_by_token,
        "means, weighted by their share, float64": mean_times_share,
        "divided at the end": divide_at_the_end,
    },
    hints=[
        "Begin with one part: model.zero_grad(), the loss as a sum divided by the number of real targets, backward().",
        "Count first, over all parts: (targets != -100).sum(). Only then you know by what to divide.",
        "Then for each part: the sum of its losses, divided by the count of all parts, backward(). Gradients add up in "
        ".grad by themselves; add up the contributions to the loss yourself, as numbers (.item()).",
    ],
)  # fmt: skip


# 5. opposite_steps


def look(find) -> str:
    """The verdict on the two micro-batches that were found."""
    found = find()
    if not isinstance(found, list | tuple) or len(found) != 2:
        return "these are not two lists"
    try:
        a, b = (np.array(list(map(float, part))) for part in found)
    except (TypeError, ValueError):
        return "these are not two lists of numbers"
    if not len(a) or not len(b):
        return "one of the lists is empty"
    if not (np.isfinite(a).all() and np.isfinite(b).all()) or max(abs(a).max(), abs(b).max()) > 1:
        return "some number does not lie between -1 and 1"
    if len(a) == len(b):
        return "the two lists are of the same length, so both means are the same"
    whole, means = np.concatenate([a, b]).mean(), (a.mean() + b.mean()) / 2
    if whole < -0.0999 and means > 0.0999:
        return "the mean over all numbers is negative and the mean of means positive: the wrong way round"
    if whole > 0 and means > 0:
        return "both are positive"
    if whole < 0 and means < 0:
        return "both are negative"
    return "fine" if whole > 0.0999 and means < -0.0999 else "the signs differ, but one is too near to zero"


opposite_steps = Exercise(
    name="opposite_steps",
    asks="Two lists of numbers in [-1, 1] whose common mean is at least 0.1, and the mean of whose means at most -0.1.",
    reference=lambda: ([0.5] * 8, [-1.0]),
    section="5.9",
    cases=[Case("your two micro-batches", run=look)],
    misconceptions=[
        Misconception(
            "of the same length", lambda: ([0.5, 0.5], [-1.0, -0.9]),
            "Your micro-batches have equally many tokens. Then each token weighs the same either way, and both means "
            "are equal.",
            "What must differ, so that tokens weigh differently?", "5.9",
        ),
        Misconception(
            "the wrong way round", lambda: ([-0.5] * 8, [1.0]),
            "The signs differ, but the other way: the mean over all tokens is to be positive.",
            "Turn every sign round.", "5.9",
        ),
        Misconception(
            "both are positive", lambda: ([0.9] * 8, [-0.1]),
            "Both means are positive: they differ in size only.",
            "In the mean of means the short list has half of all the weight. Make it more negative.", "5.9",
        ),
        Misconception(
            "both are negative", lambda: ([0.1] * 2, [-1.0]),
            "Both means are negative. The many must win when every token counts once.",
            "How many tokens with 0.5 outweigh one with -1?", "5.9",
        ),
        Misconception(
            "too near to zero", lambda: ([0.95] * 8, [-1.0]),
            "The signs differ, but at least one of the means is nearer to zero than 0.1.",
            "The mean of means is half the sum of the two means.", "5.9",
        ),
        Misconception(
            "numbers too large", lambda: ([5.0] * 8, [-10.0]),
            "Some of your numbers do not lie between -1 and 1. (The signs do not depend on the scale.)",
            "Divide everything by the largest.", "5.9",
        ),
        Misconception(
            "an empty micro-batch", lambda: ([], [-1.0]),
            "One of your micro-batches has no tokens: its mean is 0 / 0.",
            "One long list and one short one.", "5.9",
        ),
        Misconception(
            "more than two lists", lambda: ([0.5] * 4, [0.5] * 4, [-1.0]),
            "Two lists were asked for.",
            "Put the long ones together. (Why is it then another problem?)", "5.9",
        ),
    ],
    accepted={
        "short first": lambda: [[-1], [1, 1, 0, 1, 0, 1]],
        "a tuple and a tensor": lambda: (tuple([-0.8, -0.8]), torch.full((20,), 0.4)),
        "mixed signs, NumPy": lambda: (np.array([1, 1, 1, -0.5, 0.1, 0.2, 0.4]), [-0.9]),
    },
    hints=[
        "Let one list be long and its numbers positive, the other short and its numbers negative.",
        "With n numbers a in the long list and one number -b in the short one: the mean over all is (n a - b) / (n + "
        "1), the mean of means (a - b) / 2.",
    ],
)  # fmt: skip

EXERCISES = [
    clip_gradients,
    warmup_cosine,
    adamw_step,
    accumulated_gradient,
    opposite_steps,
    WrittenAnswer(
        "WHY_OPPOSITE", "Whose gradient is the mean of means, where does this happen, and why does nobody see it?", 40,
        ["Take a micro-batch of 10 tokens and one of 500. What is the fraction of one token of each?"], "5.9",
    ),
    WrittenAnswer(
        "EXPERIMENT", "What did you break, what did you predict, what came out, how can one tell it from others?", 60,
        ["One fault at a time. Section 5.11 lists what can be looked at besides the training loss."], "5.12",
    ),
]  # fmt: skip
