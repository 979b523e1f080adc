"""Drawn digits: gray pictures of 0 … 9, moved, scaled, slanted and noisy, with known labels.

A digit is a few strokes between points of a grid, 3 wide and 5 high. To draw it, every pixel is mapped back to that
grid, and its distance to the nearest stroke determines how dark it is: no pixel is visited twice, and edges are smooth.

Because a digit can be anywhere, the same pixel is ink in one picture of a 4 and paper in the next; a linear classifier,
which has one weight for each pixel and class, does badly here. Place, size and slant are real numbers, so the number of
different pictures is practically unlimited.
"""

from typing import NamedTuple

import numpy as np

from llmasos.errors import check_number

WIDTH, HEIGHT = 2, 4  # of a digit, in units of the grid
STROKES = {  # digit → its strokes, each from point to point; "24" is column 2, row 4, the corner at the lower right
    0: ("10 21 23 14 03 01 10",),
    1: ("01 10 14", "04 24"),
    2: ("01 10 21 04 24",),
    3: ("00 20 12 23 14 03",),
    4: ("14 10 03 23",),
    5: ("20 00 02 12 23 14 04",),
    6: ("20 02 03 14 23 12 02",),
    7: ("00 20 14",),
    8: ("12 01 10 21 12 03 14 23 12",),
    9: ("22 11 01 10 21 22 04",),
}
SCALE = (0.45, 0.75)  # the smallest and largest height of a digit, as a fraction of the picture's
SLANT = 0.25  # the largest shift to either side, as a fraction of the height, between the top and the bottom
PEN = (0.8, 1.3)  # half the thickness of a stroke, in pixels
AT_ONCE = 256  # pictures that are drawn together, to bound the memory


class Digits(NamedTuple):
    """Pictures with their labels."""

    images: np.ndarray  # (n, 1, H, W) float32 in [0, 1], 1 = ink
    labels: np.ndarray  # (n,) int64, 0 … 9


def draw_digits(n: int, seed: int = 0, size: int = 24, noise: float = 0.1) -> Digits:
    """Draw n random digits, always the same ones: a larger n only adds digits at the end.

    >>> digits = draw_digits(500, seed=1)
    >>> digits.images.shape, digits.images.dtype, digits.labels[:5].tolist()
    ((500, 1, 24, 24), dtype('float32'), [5, 8, 3, 2, 9])

    Args:
        n: the number of pictures.
        seed: two seeds give different pictures, for example one to train on and one to test with.
        size: H = W, in pixels, at least 12.
        noise: the standard deviation of the noise that is added to each pixel; the sum is cut off at 0 and 1.

    Returns:
        The images (n, 1, size, size), and their labels (n,), each digit equally probable.

    Raises:
        UserError: an argument is out of range.
    """
    check_number("n", n, whole=True, at_least=0)
    check_number("seed", seed, whole=True, at_least=0)
    check_number("size", size, whole=True, at_least=12, at_most=1024)
    check_number("noise", noise, at_least=0, at_most=10)
    u = np.random.default_rng([seed, 0]).random((n, 6))
    labels = (10 * u[:, 0]).astype(np.int64)
    images = np.empty((n, 1, size, size), np.float32)
    for start in range(0, n, AT_ONCE):
        part = slice(start, start + AT_ONCE)
        images[part, 0] = ink(labels[part], u[part, 1:], size)
    if noise:
        images += noise * np.random.default_rng([seed, 1]).standard_normal(images.shape, np.float32)
    return Digits(images.clip(0, 1), labels)


def ink(labels: np.ndarray, u: np.ndarray, size: int) -> np.ndarray:
    """Draw digits without noise.

    Args:
        labels: (n,), the digits to draw.
        u: (n, 5) in [0, 1): how large, how slanted, how thick, how far to the right and how far down.
        size: H = W.

    Returns:
        (n, H, W) in [0, 1].
    """
    scale, slant, pen, right, down = u.T[..., None].astype(np.float32)  # (n, 1) each
    unit = (SCALE[0] + (SCALE[1] - SCALE[0]) * scale) * size / HEIGHT  # pixels per unit of the grid
    shear = SLANT * (2 * slant - 1)
    half = PEN[0] + (PEN[1] - PEN[0]) * pen
    lean = np.abs(shear) * HEIGHT / 2  # how far the top and the bottom reach beyond the grid
    edge = half + 0.5  # half a stroke and its smooth end, so that the whole digit is in the picture
    left = edge + lean * unit + right * (size - 2 * edge - (WIDTH + 2 * lean) * unit)
    top = edge + down * (size - 2 * edge - HEIGHT * unit)
    centers = np.arange(size, dtype=np.float32) + 0.5
    y = (np.repeat(centers, size) - top) / unit  # (n, H·W), in the grid
    x = (np.tile(centers, size) - left) / unit + shear * (y - HEIGHT / 2)
    distance = distance_to_strokes(x, y, SEGMENTS[labels]) * unit  # in pixels
    return (edge - distance).clip(0, 1).reshape(-1, size, size)


def distance_to_strokes(x: np.ndarray, y: np.ndarray, segments: np.ndarray) -> np.ndarray:
    """The distance of each point to the nearest of some segments.

    Args:
        x, y: (n, points).
        segments: (n, S, 4), of each picture: from x, y to x, y.

    Returns:
        (n, points).
    """
    nearest = np.full_like(x, np.inf)
    for ax, ay, bx, by in segments.transpose(1, 2, 0)[..., None]:  # (n, 1) each
        dx, dy = bx - ax, by - ay
        along = ((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy)
        along = along.clip(0, 1)  # the nearest point of the segment: 0 = its start, 1 = its end
        nearest = np.minimum(nearest, (x - ax - along * dx) ** 2 + (y - ay - along * dy) ** 2)
    return np.sqrt(nearest)


def all_segments() -> np.ndarray:
    """The segments of all digits (10, S, 4); a digit with fewer than S repeats its last one."""
    digits = []
    for strokes in STROKES.values():
        lines = [[(int(point[0]), int(point[1])) for point in stroke.split()] for stroke in strokes]
        digits.append([[*a, *b] for line in lines for a, b in zip(line, line[1:], strict=False)])
    n = max(map(len, digits))
    return np.array([segments + segments[-1:] * (n - len(segments)) for segments in digits], np.float32)


SEGMENTS = all_segments()
