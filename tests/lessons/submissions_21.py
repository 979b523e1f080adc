"""Judged solutions of lesson 21; see test_wrong_and_right.py."""

WRONG = {
    "fit_power_law": {
        "weighted by the loss": """
import numpy as np
def fit_power_law(sizes, losses, floor):
    y = np.array(losses) - floor
    slope, intercept = np.polyfit(np.log(sizes), np.log(y), 1, w=y)
    return float(np.exp(intercept)), float(-slope)
""",
        "only the smallest and the largest": """
import math
def fit_power_law(sizes, losses, floor):
    (n1, l1), (n2, l2) = min(zip(sizes, losses)), max(zip(sizes, losses))
    alpha = math.log((l1 - floor) / (l2 - floor)) / math.log(n2 / n1)
    return (l1 - floor) * n1 ** alpha, alpha
""",
        "never below zero": """
import numpy as np
def fit_power_law(sizes, losses, floor):
    slope, intercept = np.polyfit(np.log(sizes), np.log(np.array(losses) - floor), 1)
    return float(np.exp(intercept)), max(0.0, float(-slope))
""",
    },
    "fit_with_floor": {
        "relative errors": """
import numpy as np
def fit_with_floor(sizes, losses, candidates):
    n, y, fits = np.array(sizes, float), np.array(losses, float), []
    for E in candidates:
        if E < y.min():
            slope, intercept = np.polyfit(np.log(n), np.log(y - E), 1)
            A, alpha = float(np.exp(intercept)), float(-slope)
            fits.append(((((E + A * n**-alpha - y) / (y - E)) ** 2).sum(), A, alpha, E))
    return min(fits)[1:]
""",
        "a candidate equal to a loss": """
import numpy as np
def fit_with_floor(sizes, losses, candidates):
    n, y, fits = np.array(sizes, float), np.array(losses, float), []
    for E in candidates:
        if E <= y.min():
            slope, intercept = np.polyfit(np.log(n), np.log(np.maximum(y - E, 1e-300)), 1)
            A, alpha = float(np.exp(intercept)), float(-slope)
            fits.append((abs(A * n[-1]**-alpha + E - y[-1]), A, alpha, E))
    return min(fits)[1:]
""",
    },
    "best_size": {
        "around the middle": """
import numpy as np
def best_size(sizes, losses):
    start = len(sizes) // 2 - 2
    a, b, _ = np.polyfit(np.log(sizes[start:start + 5]), losses[start:start + 5], 2)
    return float(np.exp(-b / 2 / a))
""",
        "never outside the models": """
import numpy as np
def best_size(sizes, losses):
    start = min(max(int(np.argmin(losses)) - 2, 0), len(sizes) - 5)
    a, b, _ = np.polyfit(np.log(sizes[start:start + 5]), losses[start:start + 5], 2)
    return float(min(max(np.exp(-b / 2 / a), sizes[1]), sizes[-2]))
""",
    },
    "optimal_allocation": {
        "rounded": """
def optimal_allocation(C, A, alpha, B, beta):
    G = (alpha * A / (beta * B)) ** (1 / (alpha + beta))
    N = round(G * (C / 6) ** (beta / (alpha + beta)))
    return N, C / 6 / max(N, 1)
""",
        "a coarse search": """
import math
def optimal_allocation(C, A, alpha, B, beta):
    N = min((10 ** (k / 100) for k in range(-500, 2000)), key=lambda N: A * N**-alpha + B * (C / 6 / N)**-beta)
    return N, C / 6 / N
""",
    },
    "mup_factors": {
        "for Muon": """
def mup_factors(kind, m):
    return {"hidden": (m**-0.5, m**-0.5), "output": (1 / m, 1 / m)}.get(kind, (1.0, 1.0))
""",
        "never above one": """
def mup_factors(kind, m):
    m = max(m, 1.0)
    return {"hidden": (m**-0.5, 1 / m), "output": (1 / m, 1 / m)}.get(kind, (1.0, 1.0))
""",
    },
    "two_laws": {
        "they part too little": """
def two_laws():
    return (8.0, 0.3, 2.0), (6.9, 0.27, 1.935)
""",
        "an exponent above one": """
def two_laws():
    return (8.0, 0.3, 2.0), (5.0, 1.2, 2.5)
""",
    },
}

RIGHT = {
    "fit_power_law": {
        "covariance": """
import numpy as np
def fit_power_law(sizes, losses, floor):
    x, y = np.log(sizes), np.log(np.subtract(losses, floor))
    c = np.cov(x, y)
    slope = c[0, 1] / c[0, 0]
    return float(np.exp(y.mean() - slope * x.mean())), float(-slope)
""",
    },
    "fit_with_floor": {
        "from the highest candidate down": """
import numpy as np
def fit_with_floor(sizes, losses, candidates):
    best = (np.inf, None)
    for E in sorted(candidates, reverse=True):
        if E >= min(losses):
            continue
        slope, intercept = np.polyfit(np.log(sizes), np.log(np.array(losses) - E), 1)
        law = np.exp(intercept + slope * np.log(sizes)) + E
        error = np.square(law - losses).mean()
        if error < best[0]:
            best = (error, (float(np.exp(intercept)), float(-slope), E))
    return best[1]
""",
    },
    "best_size": {
        "least squares by hand": """
import numpy as np
def best_size(sizes, losses):
    i = int(np.argmin(losses))
    start = max(0, min(i - 2, len(sizes) - 5))
    x = np.log(np.array(sizes, float))[start:start + 5]
    X = np.stack([x**2, x, np.ones(5)], 1)
    a, b, _ = np.linalg.lstsq(X, np.array(losses, float)[start:start + 5], rcond=None)[0]
    return float(np.exp(-b / (2 * a)))
""",
    },
    "optimal_allocation": {
        "the tokens first": """
def optimal_allocation(C, A, alpha, B, beta):
    D = ((C / 6) ** alpha * beta * B / (alpha * A)) ** (1 / (alpha + beta))
    return C / (6 * D), D
""",
    },
    "mup_factors": {
        "ifs": """
import math
def mup_factors(kind, m):
    if kind in ("embedding", "vector"):
        return 1, 1
    return (1 / m if kind == "output" else 1 / math.sqrt(m)), 1 / m
""",
    },
    "two_laws": {
        "steeper laws": """
def two_laws():
    return [9.0, 0.35, 1.5], [4.606, 0.22, 1.2728]
""",
    },
}
