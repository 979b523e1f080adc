"""Exercises of lesson 21: scaling.

    python -m lessons check 21                     # what is right, what is wrong, and why
    python -m lessons check 21 --only fit_power_law
    python -m lessons hint 21 fit_power_law        # one more hint each time
    python -m lessons run 21 --mine                # the lesson, with your functions

Replace each `raise NotImplementedError` with your own code. Numbers are Python floats, and `math` is all you need;
NumPy is allowed, the library itself is not. Import what you need at the top. Do not modify the inputs. All logarithms
are natural.

Letters: N parameters, D training tokens, C operations (FLOPs), L loss in nats, E the floor.
"""


def fit_power_law(sizes: list[float], losses: list[float], floor: float) -> tuple[float, float]:
    """1 (easy). Fit L = floor + A · N^-alpha with a known floor.

    In logarithms the law is a straight line, log(L - floor) = log A - alpha · log N. Return the A and the alpha for
    which the sum of squared errors of log(L - floor) is smallest.

    Args:
        sizes: N of each model, above 0; at least two of them differ. They may be in any order.
        losses: L of each model, above the floor.
        floor: E.

    Returns:
        (A, alpha). (If the loss grows with the size, alpha is below 0.)

    Example: the sizes [1, 100] with the losses [5, 2.3] and the floor 2 have the reducible losses 3 and 0.3: A = 3 and
    alpha = 0.5.
    """
    raise NotImplementedError


def fit_with_floor(sizes: list[float], losses: list[float], candidates: list[float]) -> tuple[float, float, float]:
    """2 (medium). Fit L = E + A · N^-alpha with an unknown floor.

    For each candidate floor, fit A and alpha as in exercise 1 (the line in logarithms). Then judge the candidate by the
    sum of squared errors *in nats*: the sum of (E + A · N^-alpha - L)² over the models. Return the best one.

    Args:
        sizes: N of each model, as in exercise 1.
        losses: L of each model.
        candidates: floors, at least one, in any order. Those that are not below every loss cannot be floors; leave them
            out. At least one is left, and no two are equally good.

    Returns:
        (A, alpha, E) of the best candidate.

    Example: the sizes [1, 4, 16] with the losses [6, 4, 3] and the candidates [1, 2, 2.5] give (4.0, 0.5, 2), which has
    no error at all.
    """
    raise NotImplementedError


def best_size(sizes: list[float], losses: list[float]) -> float:
    """3 (medium). The size at the bottom of an IsoFLOP profile.

    Fit a parabola L = a · (log N)² + b · log N + c by least squares to five neighboring models: the one with the lowest
    loss and two on each side. If it has fewer than two on one side, take the five models at that end. Return the N at
    the parabola's lowest point, which need not be one of the sizes.

    Args:
        sizes: N of each model, above 0, in increasing order, at least five.
        losses: L of each model; the lowest loss occurs only once. The parabola opens upward.

    Returns:
        N.

    Example: the sizes [1, 2, 4, 8, 16] with the losses [4, 1, 0, 1, 4] give 4.0.
    """
    raise NotImplementedError


def optimal_allocation(C: float, A: float, alpha: float, B: float, beta: float) -> tuple[float, float]:
    """4 (medium). The compute-optimal size and number of tokens.

    Minimize L = E + A · N^-alpha + B · D^-beta over all N and D with 6 · N · D = C.

    Args:
        C: the budget in operations.
        A, alpha, B, beta: the constants of the law, all above 0.

    Returns:
        (N, D), not rounded.

    Example: with A = B and alpha = beta both are √(C / 6): C = 600 gives (10.0, 10.0).
    """
    raise NotImplementedError


def mup_factors(kind: str, m: float) -> tuple[float, float]:
    """5 (easy). How muP scales a parameter of a model that is m times as wide as the base model, with AdamW.

    Args:
        kind: "embedding" (a table that is looked up), "hidden" (a matrix inside a block, whose inputs and outputs both
            grow with the width), "output" (the output layer, whose inputs grow with the width), or "vector" (the
            weight of a norm, a bias).
        m: the width ratio, above 0; below 1 for a model that is narrower than the base.

    Returns:
        (factor of the initial standard deviation, factor of the learning rate).

    Example: "hidden" with m = 4 gives (0.5, 0.25).
    """
    raise NotImplementedError


def two_laws() -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """6 (break it, and explain). Find two laws that agree on what was measured, and diverge beyond it.

    Find (A, alpha, E) of two laws L = E + A · N^-alpha whose losses differ by at most 0.03 nats at each of the measured
    sizes N = 10³, 10⁴ and 10⁵, and by at least 0.15 nats at N = 10⁹. Both have A above 0, alpha from 0.05 to 1 and E of
    at least 0, and a loss of at most 8 nats at N = 10³; between 10³ and 10⁵ the loss of both falls by at least 0.5
    nats.

    Returns:
        ((A, alpha, E), (A, alpha, E))

    Then explain in WHY_LAWS below (at least 50 words) why measurements over two orders of magnitude cannot tell the two
    apart, which further experiment could, and what the answer means for someone who plans a model of 10⁹ parameters.
    """
    raise NotImplementedError


WHY_LAWS = """
"""


# 7 (open). Change one thing about the lesson's experiments: the exponent of the language, the size of its vocabulary,
# the number of steps, a constant in place of a decaying rate, an IsoFLOP profile with a third budget, depth in place of
# width for muP. Change it in a copy of lesson.py. Predict first. Write down what you changed, what you predicted and
# why, what came out, and what you make of it (at least 60 words).
EXPERIMENT = """
"""
