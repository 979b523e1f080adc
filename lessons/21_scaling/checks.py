"""The checks of lesson 21, and the known mistakes."""

import math
from random import Random

import numpy as np

from lessons.machinery.exercises import Case, Exercise, Misconception, WrittenAnswer


def law(sizes: list, A: float, alpha: float, floor: float, noise: float = 0.0, seed: int = 0) -> list[float]:
    """Losses of models of these sizes, with a relative error of the reducible part."""
    draw = Random(seed)
    return [floor + A * n**-alpha * (1 + noise * draw.uniform(-1, 1)) for n in sizes]


# 1. fit_power_law


def fitted(sizes: list[float], losses: list[float], floor: float) -> tuple[float, float]:
    x, y = [math.log(n) for n in sizes], [math.log(loss - floor) for loss in losses]
    x_mean, y_mean = sum(x) / len(x), sum(y) / len(y)
    slope = sum((a - x_mean) * (b - y_mean) for a, b in zip(x, y, strict=True)) / sum((a - x_mean) ** 2 for a in x)
    return math.exp(y_mean - slope * x_mean), -slope


def fitted_by_polyfit(sizes: list[float], losses: list[float], floor: float) -> tuple[float, float]:
    slope, intercept = np.polyfit(np.log(sizes), np.log(np.array(losses) - floor), 1)
    return float(np.exp(intercept)), float(-slope)


def fitted_by_lstsq(sizes: list[float], losses: list[float], floor: float) -> tuple[float, float]:
    """Base 10 for both axes."""
    x = np.log10(sizes)
    design = np.stack([np.ones_like(x), -x], axis=1)
    a, alpha = np.linalg.lstsq(design, np.log10(np.array(losses) - floor), rcond=None)[0]
    return float(10**a), float(alpha)


def through_the_ends(sizes: list[float], losses: list[float], floor: float) -> tuple[float, float]:
    alpha = math.log((losses[0] - floor) / (losses[-1] - floor)) / math.log(sizes[-1] / sizes[0])
    return (losses[0] - floor) * sizes[0] ** alpha, alpha


def through_the_origin(sizes: list[float], losses: list[float], floor: float) -> tuple[float, float]:
    x, y = [math.log(n) for n in sizes], [math.log(loss - floor) for loss in losses]
    return 1.0, -sum(a * b for a, b in zip(x, y, strict=True)) / sum(a * a for a in x)


def mean_of_slopes(sizes: list[float], losses: list[float], floor: float) -> tuple[float, float]:
    x, y = [math.log(n) for n in sizes], [math.log(loss - floor) for loss in losses]
    steps = list(zip(x, y, x[1:], y[1:], strict=False))
    alpha = -sum((d - b) / (c - a) if c != a else 0.0 for a, b, c, d in steps) / len(steps)
    return math.exp(sum(y) / len(y) + alpha * sum(x) / len(x)), alpha


def turned_round(sizes: list[float], losses: list[float], floor: float) -> tuple[float, float]:
    """log N as a function of log(L - floor)."""
    A, alpha = fitted([loss - floor for loss in losses], sizes, 0.0)  # N = A (L - floor)^-alpha
    return A ** (1 / alpha), 1 / alpha


def more_fits(seed: int) -> list[Case]:
    draw = Random(seed)
    cases = []
    for n in (3, 5, 8):
        sizes = [100 * 3.0**i for i in range(n)]
        floor = round(draw.uniform(0, 3), 2)
        losses = law(sizes, draw.uniform(2, 20), draw.uniform(0.1, 0.8), floor, noise=0.05, seed=seed + n)
        cases.append(Case(f"{n} models", sizes=sizes, losses=losses, floor=floor))
    return cases


fit_power_law = Exercise(
    name="fit_power_law",
    asks="Fit L = floor + A · N^-alpha with a known floor.",
    reference=fitted,
    section="21.2",
    rtol=1e-5,
    atol=1e-8,
    cases=[
        Case("two models", sizes=[1, 100], losses=[5, 2.3], floor=2),
        Case("two models without a floor", sizes=[1, 4], losses=[2.0, 1.0], floor=0.0),
        Case("three models on a law", sizes=[1.0, 4.0, 16.0], losses=[6.0, 4.0, 3.0], floor=2.0),
        Case("three models beside a law", sizes=[1.0, 10.0, 100.0], losses=[3.0, 2.5, 1.25], floor=1.0),
        Case("not evenly spaced", sizes=[2.0, 3.0, 50.0, 1000.0], losses=[4.0, 3.0, 2.5, 2.2], floor=2.0),
        Case("in another order", sizes=[100.0, 1.0, 10.0], losses=[1.25, 3.0, 2.5], floor=1.0),
        Case("two models of the same size", sizes=[10.0, 10.0, 1000.0], losses=[3.0, 3.5, 1.5], floor=1.0),
        Case("the loss grows", sizes=[1.0, 10.0, 100.0], losses=[1.5, 2.0, 4.0], floor=1.0),
        Case(
            "large models", sizes=[1e8, 1e9, 1e10, 7e10], losses=law([1e8, 1e9, 1e10, 7e10], 400, 0.34, 1.7), floor=1.7
        ),
        Case("small models", sizes=[0.01, 0.1, 1.0], losses=[9.0, 5.0, 4.0], floor=3.0),
    ],
    random_cases=more_fits,
    misconceptions=[
        Misconception(
            "the floor is not subtracted",
            lambda sizes, losses, floor: fitted(sizes, losses, 0.0),
            "You fitted the loss itself. With a floor it is no straight line, and your alpha is too small.",
            "Which part of the loss is a power law?",
            "21.2",
        ),
        Misconception(
            "the sign of alpha",
            lambda sizes, losses, floor: (fitted(sizes, losses, floor)[0], -fitted(sizes, losses, floor)[1]),
            "You returned the slope of the line. The slope is -alpha.",
            "The loss falls, and alpha is above 0.",
            "21.2",
        ),
        Misconception(
            "log A instead of A",
            lambda sizes, losses, floor: (math.log(fitted(sizes, losses, floor)[0]), fitted(sizes, losses, floor)[1]),
            "You returned the intercept of the line, which is log A.",
            "exp undoes log.",
            "21.2",
        ),
        Misconception(
            "only the first and the last model",
            through_the_ends,
            "You drew the line through the first and the last model. The others were trained for nothing, and one bad "
            "model at an end spoils it.",
            "Least squares uses all models.",
            "21.2",
        ),
        Misconception(
            "a line through the origin",
            through_the_origin,
            "You fitted the slope alone, as if A were 1.",
            "Subtract the means of both logarithms first.",
            "21.2",
        ),
        Misconception(
            "an exponential law",
            lambda sizes, losses, floor: (
                fitted([math.exp(n) if n < 700 else math.inf for n in sizes], losses, floor)
                if max(sizes) < 700
                else (0.0, 0.0)
            ),
            "You took the logarithm of the loss but not of the size. A straight line there is an exponential law.",
            "Both axes are logarithmic.",
            "21.2",
        ),
        Misconception(
            "the mean of the slopes",
            mean_of_slopes,
            "You averaged the slopes between neighboring models. That gives close neighbors as much weight as distant "
            "ones; in effect most models cancel.",
            "The slope of least squares is a sum of products over a sum of squares.",
            "21.2",
        ),
        Misconception(
            "the axes are swapped",
            lambda sizes, losses, floor: (
                lambda line: (
                    math.exp(-math.log(line[0]) / line[1]) if line[1] else 0.0,
                    1 / line[1] if line[1] else 0.0,
                )
            )(fitted([loss - floor for loss in losses], [n for n in sizes], 0.0)),
            "You fitted log N as a function of the loss and inverted the line. The errors are then those of log N.",
            "Which of the two is measured with an error?",
            "21.2",
        ),
        Misconception(
            "alpha first",
            lambda sizes, losses, floor: fitted(sizes, losses, floor)[::-1],
            "You returned alpha first, and A after it.",
            "(A, alpha)",
            "21.2",
        ),
    ],
    accepted={"polyfit": fitted_by_polyfit, "lstsq in base 10": fitted_by_lstsq},
    hints=[
        "Take x = log N and y = log(L - floor). Which line through these points is best?",
        "slope = Σ (x - mean x)(y - mean y) / Σ (x - mean x)², intercept = mean y - slope · mean x.",
        "(exp(intercept), -slope)",
    ],
)


# 2. fit_with_floor


def errors_in_nats(sizes: list, losses: list, A: float, alpha: float, floor: float) -> float:
    return sum((floor + A * n**-alpha - loss) ** 2 for n, loss in zip(sizes, losses, strict=True))


def fitted_floor(sizes: list[float], losses: list[float], candidates: list[float]) -> tuple[float, float, float]:
    fits = [(*fitted(sizes, losses, floor), floor) for floor in candidates if floor < min(losses)]
    return min(fits, key=lambda fit: errors_in_nats(sizes, losses, *fit))


def fitted_floor_by_arrays(sizes: list, losses: list, candidates: list) -> tuple[float, float, float]:
    n, y, best, lowest = np.array(sizes, dtype=float), np.array(losses, dtype=float), None, math.inf
    for floor in candidates:
        if (y > floor).all():
            A, alpha = fitted_by_polyfit(sizes, losses, floor)
            error = float(((floor + A * n**-alpha - y) ** 2).sum())
            if error < lowest:
                best, lowest = (A, alpha, floor), error
    return best


def fitted_floor_by_sorting(sizes: list, losses: list, candidates: list) -> tuple[float, float, float]:
    ranked = []
    for floor in filter(lambda each: all(loss > each for loss in losses), candidates):
        A, alpha = fitted_by_lstsq(sizes, losses, floor)
        errors = [abs(floor + A / n**alpha - loss) for n, loss in zip(sizes, losses, strict=True)]
        ranked.append((math.hypot(*errors), floor, A, alpha))
    _, floor, A, alpha = sorted(ranked)[0]
    return A, alpha, floor


def floor_wrong(judge, usable=lambda floor, losses: floor < min(losses)):
    """The candidate with the smallest value of judge(sizes, losses, A, alpha, floor)."""

    def wrong(sizes: list, losses: list, candidates: list) -> tuple[float, float, float]:
        fits = [(*fitted(sizes, losses, floor), floor) for floor in candidates if usable(floor, losses)]
        return min(fits, key=lambda fit: judge(sizes, losses, *fit))

    return wrong


def errors_in_logs(sizes, losses, A, alpha, floor):
    return sum((math.log(A * n**-alpha) - math.log(x - floor)) ** 2 for n, x in zip(sizes, losses, strict=True))


def more_floors(seed: int) -> list[Case]:
    draw = Random(seed)
    cases = []
    for n in (4, 6):
        sizes = [2.0**i for i in range(n)]
        floor = round(draw.uniform(1, 3), 1)
        losses = law(sizes, draw.uniform(1, 4), draw.uniform(0.4, 0.8), floor)
        candidates = [floor - 0.9, floor - 0.4, floor, floor - 0.7]
        draw.shuffle(candidates)
        cases.append(Case(f"{n} models", sizes=sizes, losses=losses, candidates=candidates))
    return cases


NOISY = [5.49, 4.52, 3.88, 3.31, 2.99, 2.72]  # 2 + 3.5 · N^-0.5, with errors of about 1 %

fit_with_floor = Exercise(
    name="fit_with_floor",
    asks="Fit L = E + A · N^-alpha with an unknown floor.",
    reference=fitted_floor,
    section="21.2",
    rtol=1e-4,
    atol=1e-6,
    cases=[
        Case("three models on a law", sizes=[1, 4, 16], losses=[6, 4, 3], candidates=[1, 2, 2.5]),
        Case("one candidate", sizes=[1, 4, 16], losses=[6, 4, 3], candidates=[1.0]),
        Case("the candidates in another order", sizes=[1, 4, 16], losses=[6, 4, 3], candidates=[2, 2.9, 0, 1]),
        Case("a candidate above a loss", sizes=[1, 4, 16], losses=[6, 4, 3], candidates=[3.5, 1, 2, 5]),
        Case("a candidate equal to a loss", sizes=[1, 4, 16], losses=[6, 4, 3], candidates=[3, 2.5, 2]),
        Case("floor 0", sizes=[1, 4, 16], losses=[4.0, 2.0, 1.0], candidates=[0.5, 0.0, -1.0]),
        Case(
            "losses with errors",
            sizes=[1, 2, 4, 8, 16, 32],
            losses=NOISY,
            candidates=[-20.0, -5.0, 0.0, 1.0, 1.8, 2.0, 2.2, 2.6],
        ),
        Case(
            "errors that nearly cancel",
            sizes=[1, 2, 4, 8, 16],
            losses=[4.95, 4.18, 3.54, 3.03, 2.77],
            candidates=[1.0, 1.5, 1.8, 2.0, 2.2, 2.5],
        ),
        Case("sizes in another order", sizes=[16, 1, 4], losses=[3, 6, 4], candidates=[1, 2, 2.5]),
        Case(
            "far apart",
            sizes=[1e6, 1e7, 1e8, 1e9],
            losses=law([1e6, 1e7, 1e8, 1e9], 400, 0.34, 1.7),
            candidates=[1.5, 1.6, 1.7, 1.75],
        ),
        Case(
            "the largest model counts",
            sizes=[1, 10, 100, 1000],
            losses=[9.0, 3.2, 2.2, 2.05],
            candidates=[1.0, 1.9, 2.0],
        ),
    ],
    random_cases=more_floors,
    misconceptions=[
        Misconception(
            "errors in logarithms",
            floor_wrong(errors_in_logs),
            "You compared the candidates by the errors of log(L - E). Far below all losses the logarithms hardly "
            "differ, so the lowest candidate always looks good.",
            "The errors must be in the same unit for all candidates: nats.",
            "21.2",
        ),
        Misconception(
            "the lowest candidate",
            floor_wrong(lambda sizes, losses, A, alpha, floor: floor),
            "You returned the lowest candidate.",
            "Which one has the smallest sum of squared errors?",
            "21.2",
        ),
        Misconception(
            "the highest candidate",
            floor_wrong(lambda sizes, losses, A, alpha, floor: -floor),
            "You returned the highest candidate below all losses. The largest model is not yet at the floor.",
            "Which one has the smallest sum of squared errors?",
            "21.2",
        ),
        Misconception(
            "the worst candidate",
            floor_wrong(lambda *fit: -errors_in_nats(*fit)),
            "You returned the candidate with the largest error.",
            "min, not max.",
            "21.2",
        ),
        Misconception(
            "the errors cancel",
            floor_wrong(
                lambda sizes, losses, A, alpha, floor: sum(
                    floor + A * n**-alpha - x for n, x in zip(sizes, losses, strict=True)
                )
            ),
            "You added the errors with their signs, so that those above and those below cancel, and a large negative "
            "sum looks best.",
            "Square them.",
            "21.2",
            variants=(
                floor_wrong(
                    lambda sizes, losses, A, alpha, floor: abs(
                        sum(floor + A * n**-alpha - x for n, x in zip(sizes, losses, strict=True))
                    )
                ),
            ),
        ),
        Misconception(
            "the floor is forgotten in the errors",
            floor_wrong(
                lambda sizes, losses, A, alpha, floor: sum(
                    (A * n**-alpha - x) ** 2 for n, x in zip(sizes, losses, strict=True)
                )
            ),
            "You compared A · N^-alpha with the whole loss.",
            "The law is E + A · N^-alpha.",
            "21.2",
        ),
        Misconception(
            "only the largest model is judged",
            floor_wrong(
                lambda sizes, losses, A, alpha, floor: max(
                    (n, abs(floor + A * n**-alpha - x)) for n, x in zip(sizes, losses, strict=True)
                )[1]
            ),
            "You judged each candidate by its error at the largest model alone.",
            "The sum over all models.",
            "21.2",
        ),
        Misconception(
            "the logarithm of a negative number",
            floor_wrong(errors_in_nats, usable=lambda floor, losses: True),
            "A candidate above a loss is no floor, and log(L - E) does not exist there.",
            "Leave out all candidates that are not below every loss.",
            "21.2",
        ),
        Misconception(
            "the floor first",
            lambda sizes, losses, candidates: (lambda A, alpha, floor: (floor, A, alpha))(
                *fitted_floor(sizes, losses, candidates)
            ),
            "You returned the floor first.",
            "(A, alpha, E)",
            "21.2",
        ),
    ],
    accepted={"arrays": fitted_floor_by_arrays, "sorting": fitted_floor_by_sorting},
    hints=[
        "A loop over the candidates: fit, judge, keep the best.",
        "Leave out floor >= min(losses). Judge by sum((floor + A * N**-alpha - L) ** 2).",
        "min(fits, key=...) with your fit_power_law for each candidate.",
    ],
)


# 3. best_size


def bottom(sizes: list[float], losses: list[float]) -> float:
    lowest = losses.index(min(losses))
    start = min(max(lowest - 2, 0), len(sizes) - 5)
    x = [math.log(n) for n in sizes[start : start + 5]]
    a, b, _ = np.polyfit(x, losses[start : start + 5], 2)
    return math.exp(-b / (2 * a))


def bottom_by_normal_equations(sizes: list[float], losses: list[float]) -> float:
    lowest = min(range(len(losses)), key=losses.__getitem__)
    start = sorted([0, lowest - 2, len(sizes) - 5])[1]
    x = np.log(np.array(sizes[start : start + 5], dtype=float))
    center = x.mean()
    design = np.vander(x - center, 3)
    a, b, _ = np.linalg.solve(design.T @ design, design.T @ np.array(losses[start : start + 5], dtype=float))
    return float(np.exp(center - b / 2 / a))


def bottom_by_polynomials(sizes: list[float], losses: list[float]) -> float:
    """In base 2, and by the root of the derivative."""
    lowest = int(np.argmin(losses))
    start = max(0, min(lowest - 2, len(sizes) - 5))
    x = np.log2(sizes[start : start + 5])
    fit = np.polynomial.Polynomial.fit(x, losses[start : start + 5], 2)
    return float(2 ** fit.deriv().roots()[0])


def parabola(log=math.log, exp=math.exp, side=2, clamp=True, sign=-2.0):
    """The bottom of a parabola with one thing changed."""

    def wrong(sizes: list[float], losses: list[float]) -> float:
        k = 2 * side + 1
        lowest = losses.index(min(losses))
        start = min(max(lowest - side, 0), len(sizes) - k)
        end = start + k
        if not clamp:
            start, end = max(lowest - side, 0), min(lowest + side + 1, len(sizes))
        a, b, _ = np.polyfit([log(n) for n in sizes[start:end]], losses[start:end], 2)
        return exp(b / (sign * a))

    return wrong


def valley(sizes: list, best: float, curvature: float = 0.1, tilt: float = 0.0) -> list[float]:
    """A profile with its bottom at about `best`."""
    return [3 + curvature * math.log(n / best) ** 2 + tilt * math.log(n / best) ** 3 for n in sizes]


def more_valleys(seed: int) -> list[Case]:
    draw = Random(seed)
    cases = []
    for n in (7, 9):
        sizes = [10 * 1.9**i for i in range(n)]
        best = sizes[draw.randint(2, n - 3)] * draw.uniform(0.8, 1.25)
        cases.append(Case(f"{n} models", sizes=sizes, losses=valley(sizes, best, draw.uniform(0.05, 0.2), 0.01)))
    return cases


TEN = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0]

best_size = Exercise(
    name="best_size",
    asks="Find the size at the bottom of an IsoFLOP profile.",
    reference=bottom,
    section="21.3",
    rtol=1e-4,
    atol=1e-8,
    cases=[
        Case("the bottom is a model", sizes=[1, 2, 4, 8, 16], losses=[4, 1, 0, 1, 4]),
        Case("the bottom lies between two", sizes=[1, 2, 4, 8, 16], losses=valley([1, 2, 4, 8, 16], 5.0)),
        Case("five models beside a parabola", sizes=[1, 2, 4, 8, 16], losses=[4, 2, 1, 1.5, 2]),
        Case("ten models, a lopsided valley", sizes=TEN, losses=valley(TEN, 20.0, tilt=0.02)),
        Case("not evenly spaced", sizes=[1, 2, 3, 10, 12, 40, 50], losses=[5, 3.5, 3, 1, 1.25, 3, 4]),
        Case("the lowest is the second", sizes=TEN[:6], losses=[2.0, 1.5, 1.6, 2.2, 3.5, 5.0]),
        Case("the lowest is the first", sizes=TEN[:6], losses=[1.0, 1.1, 1.4, 2.0, 3.0, 5.0]),
        Case("the lowest is the last", sizes=TEN[:6], losses=[5.0, 3.0, 2.0, 1.4, 1.1, 1.0]),
        Case("the lowest is the last but one", sizes=TEN[:7], losses=[9.0, 5.0, 3.0, 2.0, 1.4, 1.1, 1.3]),
        Case("large models", sizes=[1e8, 3e8, 1e9, 3e9, 1e10], losses=valley([1e8, 3e8, 1e9, 3e9, 1e10], 1.4e9)),
    ],
    random_cases=more_valleys,
    misconceptions=[
        Misconception(
            "the best of the models",
            lambda sizes, losses: float(sizes[losses.index(min(losses))]),
            "You returned the size of the best model. The bottom of the valley lies somewhere between the models, and "
            "one noisy loss can move the best one by a whole step.",
            "Where is the lowest point of the parabola?",
            "21.3",
        ),
        Misconception(
            "a parabola over the size itself",
            parabola(log=float, exp=float),
            "You fitted the parabola over N and not over log N. The valley is symmetric, or nearly so, only in the "
            "logarithm.",
            "x = log N",
            "21.3",
        ),
        Misconception(
            "the logarithm of the size",
            parabola(exp=float),
            "You returned the logarithm of the best size.",
            "exp undoes log.",
            "21.3",
        ),
        Misconception(
            "a parabola through all models",
            lambda sizes, losses: (lambda a, b, c: math.exp(-b / (2 * a)))(
                *np.polyfit([math.log(n) for n in sizes], losses, 2)
            ),
            "You fitted the parabola to all models. Far from the bottom a valley is no parabola, and the walls decide.",
            "Five models.",
            "21.3",
        ),
        Misconception(
            "three models",
            parabola(side=1),
            "You used one neighbor on each side. Then the parabola passes through every point, noise included.",
            "Two on each side.",
            "21.3",
        ),
        Misconception(
            "fewer than five at the end",
            parabola(clamp=False),
            "If the lowest model is near an end, you used fewer than five models.",
            "Then take the five at that end.",
            "21.3",
        ),
        Misconception(
            "the factor 2 is missing",
            parabola(sign=-1.0),
            "The lowest point of a x² + b x + c is not at -b / a.",
            "Set the derivative to 0.",
            "21.3",
        ),
        Misconception(
            "the sign of b",
            parabola(sign=2.0),
            "The lowest point of a x² + b x + c is not at b / 2a.",
            "Set the derivative to 0.",
            "21.3",
        ),
        Misconception(
            "the highest loss",
            lambda sizes, losses: (
                bottom(sizes[::-1], [-x for x in losses[::-1]])
                if losses.index(max(losses)) != losses.index(min(losses))
                else 0.0
            ),
            "You fitted the parabola around the model with the highest loss.",
            "The bottom of the valley.",
            "21.3",
        ),
    ],
    accepted={"normal equations": bottom_by_normal_equations, "polynomials in base 2": bottom_by_polynomials},
    hints=[
        "First find the index of the lowest loss, and from it the first of the five models.",
        "start = min(max(lowest - 2, 0), len(sizes) - 5); then np.polyfit over the logarithms, degree 2.",
        "exp(-b / (2 a))",
    ],
)


# 4. optimal_allocation


def allocation(C: float, A: float, alpha: float, B: float, beta: float) -> tuple[float, float]:
    G = (alpha * A / (beta * B)) ** (1 / (alpha + beta))
    N = G * (C / 6) ** (beta / (alpha + beta))
    return N, C / (6 * N)


def allocation_by_logs(C: float, A: float, alpha: float, B: float, beta: float) -> tuple[float, float]:
    """The derivative over log N is zero: alpha A N^-alpha = beta B D^-beta."""
    total = math.log(C) - math.log(6)
    log_n = (math.log(alpha * A) - math.log(beta * B) + beta * total) / (alpha + beta)
    return math.exp(log_n), math.exp(total - log_n)


def allocation_by_bisection(C: float, A: float, alpha: float, B: float, beta: float) -> tuple[float, float]:
    low, high = -200.0, 200.0
    for _ in range(200):
        x = (low + high) / 2
        rising = beta * B * math.exp(-beta * (math.log(C / 6) - x)) > alpha * A * math.exp(-alpha * x)
        low, high = (low, x) if rising else (x, high)
    return math.exp(low), C / 6 / math.exp(low)


def more_budgets(seed: int) -> list[Case]:
    draw = Random(seed)
    return [
        Case(
            "other constants", C=10 ** draw.uniform(10, 24), A=draw.uniform(10, 500), alpha=draw.uniform(0.2, 0.6),
            B=draw.uniform(10, 500), beta=draw.uniform(0.2, 0.6),
        )
        for _ in range(4)
    ]  # fmt: skip


optimal_allocation = Exercise(
    name="optimal_allocation",
    asks="The compute-optimal size and number of tokens.",
    reference=allocation,
    section="21.3",
    rtol=1e-5,
    atol=1e-9,
    cases=[
        Case("everything equal", C=600.0, A=1.0, alpha=0.5, B=1.0, beta=0.5),
        Case("A four times B", C=600.0, A=4.0, alpha=0.5, B=1.0, beta=0.5),
        Case("different exponents", C=6e6, A=1.0, alpha=0.5, B=1.0, beta=0.25),
        Case("the other way round", C=6e6, A=1.0, alpha=0.25, B=1.0, beta=0.5),
        Case("Chinchilla's constants", C=5.76e23, A=406.4, alpha=0.34, B=410.7, beta=0.28),
        Case("a smaller budget", C=1e18, A=406.4, alpha=0.34, B=410.7, beta=0.28),
        Case("steep laws", C=1e6, A=3.0, alpha=1.0, B=7.0, beta=2.0),
        Case("a tiny budget", C=0.6, A=2.0, alpha=0.5, B=3.0, beta=0.25),
    ],
    random_cases=more_budgets,
    misconceptions=[
        Misconception(
            "the two terms are equal",
            lambda C, A, alpha, B, beta: allocation(C, A / alpha, alpha, B / beta, beta),
            "You made the two terms of the loss equal. At the optimum their *derivatives* are equal: the ratio of the "
            "terms is beta to alpha.",
            "The derivative of A · N^-alpha brings down a factor alpha.",
            "21.3",
        ),
        Misconception(
            "the factor 6 is forgotten",
            lambda C, A, alpha, B, beta: allocation(6 * C, A, alpha, B, beta),
            "You used C = N · D. Training costs 6 operations for each parameter and token.",
            "C / 6",
            "21.3",
        ),
        Misconception(
            "always the square root",
            lambda C, A, alpha, B, beta: (math.sqrt(C / 6), math.sqrt(C / 6)),
            "You divided the budget evenly. That is right only if both terms have the same constants.",
            "What happens if more parameters help less than more tokens?",
            "21.3",
        ),
        Misconception(
            "twenty tokens per parameter",
            lambda C, A, alpha, B, beta: (math.sqrt(C / 120), 20 * math.sqrt(C / 120)),
            "You used D = 20 N. That is a result for one law; here the constants are given.",
            "Minimize the law that you were given.",
            "21.3",
        ),
        Misconception(
            "the exponents are swapped",
            lambda C, A, alpha, B, beta: (lambda N: (N, C / (6 * N)))(
                (alpha * A / (beta * B)) ** (1 / (alpha + beta)) * (C / 6) ** (alpha / (alpha + beta))
            ),
            "N grows with the exponent beta / (alpha + beta). If tokens help more (a large beta), you soon have enough "
            "of them, and the rest goes into parameters.",
            "Insert N = C / 6D, and look at which exponent is left.",
            "21.3",
        ),
        Misconception(
            "N and D are swapped",
            lambda C, A, alpha, B, beta: allocation(C, A, alpha, B, beta)[::-1],
            "You returned the tokens first.",
            "(N, D)",
            "21.3",
        ),
        Misconception(
            "G upside down",
            lambda C, A, alpha, B, beta: allocation(C, beta * B / alpha, alpha, alpha * A / beta, beta),
            "Your G is one over the right one: with a larger A, the term of the parameters weighs more, and N must "
            "grow.",
            "What if A is much larger than B?",
            "21.3",
        ),
        Misconception(
            "only one of the two has G",
            lambda C, A, alpha, B, beta: (
                allocation(C, A, alpha, B, beta)[0],
                (C / 6) ** (alpha / (alpha + beta)),
            ),
            "Your D lacks the factor 1 / G, so the run costs more or less than the budget.",
            "6 · N · D must be C.",
            "21.3",
        ),
    ],
    accepted={"logarithms": allocation_by_logs, "bisection": allocation_by_bisection},
    hints=[
        "Insert D = C / (6 N) into the loss, and set the derivative with respect to N to zero.",
        "alpha · A · N^-alpha = beta · B · D^-beta.",
        "N = (alpha A / (beta B))^(1/(alpha+beta)) · (C/6)^(beta/(alpha+beta)), and D = C / (6 N).",
    ],
)


# 5. mup_factors

KINDS = ("hidden", "output", "embedding", "vector")


def factors(kind: str, m: float) -> tuple[float, float]:
    if kind == "hidden":
        return m**-0.5, 1 / m
    return (1 / m, 1 / m) if kind == "output" else (1.0, 1.0)


def factors_by_powers(kind: str, m: float) -> tuple[float, float]:
    """The exponents of m."""
    std, rate = {"embedding": (0, 0), "vector": (0, 0), "hidden": (-0.5, -1), "output": (-1, -1)}[kind]
    return m**std, m**rate


def factors_by_match(kind: str, m: float) -> tuple[float, float]:
    match kind:
        case "hidden":
            return 1 / math.sqrt(m), 1.0 / m
        case "output":
            return math.exp(-math.log(m)), math.exp(-math.log(m))
        case _:
            return 1.0, 1.0


def factors_wrong(**changed):
    """muP with other exponents for some kinds."""
    table = {"embedding": (0, 0), "vector": (0, 0), "hidden": (-0.5, -1), "output": (-1, -1)} | changed
    return lambda kind, m: (m ** table[kind][0], m ** table[kind][1])


def more_widths(seed: int) -> list[Case]:
    draw = Random(seed)
    return [
        Case("another width", kind=kind, m=draw.uniform(1.5, 60))
        for kind in ("embedding", "hidden", "output", "vector")
    ]


mup_factors = Exercise(
    name="mup_factors",
    asks="How muP scales a parameter of a model that is m times as wide as the base model.",
    reference=factors,
    section="21.4",
    rtol=1e-6,
    cases=[
        *(Case(f"{kind}, four times as wide", kind=kind, m=4.0) for kind in KINDS),
        *(Case(f"{kind}, at the base width", kind=kind, m=1.0) for kind in ("hidden", "output")),
        *(Case(f"{kind}, narrower", kind=kind, m=0.25) for kind in KINDS),
        *(Case(f"{kind}, 100 times as wide", kind=kind, m=100.0) for kind in KINDS),
    ],
    random_cases=more_widths,
    misconceptions=[
        Misconception(
            "only the initial weights",
            factors_wrong(hidden=(-0.5, 0), output=(-1, 0)),
            "You scaled the initial weights but no rate. The steps of a wide model are then too large, and its best "
            "rate moves.",
            "By how much does a sum of m times as many terms change in a step?",
            "21.4",
        ),
        Misconception(
            "only the rates",
            factors_wrong(hidden=(0, -1), output=(0, -1)),
            "You scaled the rates but not the initial weights.",
            "A sum of m times as many random terms is √m times as large.",
            "21.4",
        ),
        Misconception(
            "the output layer like a hidden one",
            factors_wrong(output=(-0.5, -1)),
            "Your output layer starts with 1/√m. Training aligns it with its input, so its terms add up like m, and it "
            "starts with 1/m.",
            "Look at the last row of the table.",
            "21.4",
        ),
        Misconception(
            "the hidden layers like the output",
            factors_wrong(hidden=(-1, -1)),
            "Your hidden matrices start with 1/m. Their random terms add up like √m only.",
            "What keeps a sum of random terms equal?",
            "21.4",
        ),
        Misconception(
            "the rate falls like the root",
            factors_wrong(hidden=(-0.5, -0.5)),
            "Your rate of the hidden matrices falls as 1/√m. The terms of a step of AdamW all have the sign of the "
            "input, so they add up like m. (For Muon, 1/√m is right.)",
            "Which terms add up like √m, and which like m?",
            "21.4",
        ),
        Misconception(
            "everything is scaled",
            factors_wrong(embedding=(-0.5, -1), vector=(-0.5, -1)),
            "You scaled embeddings and vectors, too. An embedding is a lookup, a sum with one term, whatever the "
            "width.",
            "Which parameters have a sum over the width in front of them?",
            "21.4",
        ),
        Misconception(
            "the embedding like the output layer",
            factors_wrong(embedding=(-1, -1)),
            "You treated the embedding like the output layer. It has the same shape, but its input is one word and not "
            "d features.",
            "Over how many terms is its sum?",
            "21.4",
        ),
        Misconception(
            "the wrong way round",
            factors_wrong(hidden=(0.5, 1), output=(1, 1)),
            "Your factors grow with the width.",
            "A wide model needs smaller steps.",
            "21.4",
        ),
        Misconception(
            "the rate first",
            lambda kind, m: factors(kind, m)[::-1],
            "You returned the factor of the rate first.",
            "(standard deviation, rate)",
            "21.4",
        ),
    ],
    accepted={"a table of exponents": factors_by_powers, "match": factors_by_match},
    hints=[
        "Two of the four kinds do not change at all.",
        "The table in 21.4.",
        "hidden: (m ** -0.5, 1 / m); output: (1 / m, 1 / m).",
    ],
)


# 6. two_laws


def verdict(student) -> str:
    """Describe in one sentence what the student's laws do."""
    laws = student()
    if not isinstance(laws, (tuple, list)) or len(laws) != 2:
        return "there are not two laws"
    for each in laws:
        if not isinstance(each, (tuple, list)) or len(each) != 3:
            return "a law is not three numbers"
        if not all(isinstance(x, (int, float)) and math.isfinite(x) for x in each):
            return "a law is not three numbers"
        A, alpha, floor = each
        if A <= 0 or not 0.05 <= alpha <= 1 or floor < 0:
            return "a constant is out of range"
        if floor + A * 1e3**-alpha > 8:
            return "a loss is above 8 nats"
        if A * 1e3**-alpha - A * 1e5**-alpha < 0.5:
            return "a law falls by less than 0.5 nats"
    (A, alpha, floor), (A2, alpha2, floor2) = laws
    gaps = [abs(floor + A * n**-alpha - floor2 - A2 * n**-alpha2) for n in (1e3, 1e4, 1e5, 1e9)]
    if max(gaps[:3]) > 0.03:
        return "they differ on what was measured"
    return "fine" if gaps[3] >= 0.15 else "they agree on the large model, too"


def laws_of(*laws: tuple) -> object:
    """A student's answer."""
    return lambda: tuple(laws)


two_laws = Exercise(
    name="two_laws",
    asks="Find two laws that agree on what was measured, and diverge beyond it.",
    reference=laws_of((8.0, 0.3, 2.0), (5.0, 0.2, 1.735)),
    section="21.2",
    cases=[Case("your laws", judge=verdict)],
    misconceptions=[
        Misconception(
            "the same law twice",
            laws_of((8.0, 0.3, 2.0), (8.0, 0.3, 2.0)),
            "Your laws agree everywhere, or nearly so.",
            "Let one have a lower floor and a smaller exponent.",
            "21.2",
            variants=(laws_of((8.0, 0.3, 2.0), (8.0, 0.3, 2.02)), laws_of((8.0, 0.3, 2.0), (7.9, 0.298, 2.0))),
        ),
        Misconception(
            "another floor and nothing else",
            laws_of((8.0, 0.3, 2.0), (8.0, 0.3, 1.5)),
            "Your laws differ by more than 0.03 at a measured size. Another floor moves the whole curve; the other two "
            "constants must make up for it.",
            "Fit A and E of the second law so that it passes near the three points of the first.",
            "21.2",
            variants=(laws_of((8.0, 0.3, 2.0), (8.0, 0.2, 2.0)),),
        ),
        Misconception(
            "nothing was learned",
            laws_of((0.5, 0.1, 3.0), (0.4, 0.05, 2.8)),
            "The loss of one of your laws hardly falls between 10³ and 10⁵. Of course that tells you nothing.",
            "A larger A.",
            "21.2",
        ),
        Misconception(
            "a floor below zero",
            laws_of((8.0, 0.3, 0.2), (4.0, 0.15, -0.5)),
            "A, alpha or E is out of its range.",
            "A above 0, alpha from 0.05 to 1, E of at least 0.",
            "21.2",
            variants=(laws_of((8.0, 0.3, 2.0), (3.4, 0.01, 1.0)), laws_of((8.0, 0.3, 2.0), (-5.0, 0.2, 1.7))),
        ),
        Misconception(
            "a loss that no language has",
            laws_of((80.0, 0.3, 2.0), (50.0, 0.2, -0.0)),
            "The loss at 10³ is above 8 nats.",
            "Divide A by ten.",
            "21.2",
        ),
        Misconception(
            "one law",
            lambda: (8.0, 0.3, 2.0),
            "The result must be two laws with three numbers each.",
            "((A, alpha, E), (A, alpha, E))",
            "21.2",
            variants=(laws_of((8.0, 0.3, 2.0)), laws_of((8.0, 0.3), (5.0, 0.2))),
        ),
    ],
    accepted={
        "lists": lambda: [[8.0, 0.3, 2.0], [5.0, 0.2, 1.735]],
        "the lower floor first": laws_of((5.0, 0.2, 1.735), (8.0, 0.3, 2.0)),
    },
    hints=[
        "Begin with one law and compute its three losses. Which A and E give a law with a smaller alpha nearly the "
        "same three?",
        "Two equations for the first and the last point give A and E. Then move E by half of the error in the middle.",
        "(8, 0.3, 2) has the losses 3.007, 2.505 and 2.253. Try alpha = 0.2 and A = 5.",
    ],
)

EXERCISES = [
    fit_power_law,
    fit_with_floor,
    best_size,
    optimal_allocation,
    mup_factors,
    two_laws,
    WrittenAnswer(
        "WHY_LAWS",
        "Why can the measurements not tell the two laws apart, what could, and what does it mean for a plan?",
        50,
        ["How much of each law's fall between 10³ and 10⁵ is due to A, and how much is left beyond it?"],
        "21.2",
    ),
    WrittenAnswer(
        "EXPERIMENT",
        "What did you change, what did you predict, what came out, what do you make of it?",
        60,
        ["One change at a time. Where there is a formula, compute its prediction first."],
        "21.3",
    ),
]
