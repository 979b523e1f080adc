"""Drawn scenes: one to three colored shapes in a row or a column, and a sentence that describes them.

    ┌────────────┐
    │       ●    │     "a red circle above a blue square"
    │            │
    │       ■    │     From top to bottom, or from left to right, so that each picture has exactly one caption.
    └────────────┘

A picture has 3 × 3 cells of 8 × 8 pixels, and each shape, 7 × 7 pixels, is at one of 4 places in its cell. The shapes
are in one line of cells. There are 4 colors and 4 shapes, 16 pairs, of which 4 are held out: each color and each shape
is in one of them, so a model that learns from the other 12 knows all words, but has never seen, say, a red triangle. If
it still says "a red triangle", it has combined what it learned separately.

    split     shapes                                                             captions   pictures
    "train"   of the 12 pairs                                                       3,360    631,440
    "val"     of the 12 pairs; a tenth of the captions of two or three shapes         396     74,016
    "unseen"  exactly one of a held-out pair, the others of the 12 pairs            3,652    691,344

No caption is in two splits. The numbers are of pictures without noise, which are all different.
"""

import random
from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import numpy as np

from llmasos.datasets.source import in_hashed_tenth, text_key
from llmasos.errors import UserError, check_number, nearest, shown

COLORS = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1), "yellow": (1, 1, 0)}  # RGB
SHAPES = ("circle", "square", "triangle", "cross")
HELD_OUT = (("green", "circle"), ("blue", "square"), ("red", "triangle"), ("yellow", "cross"))
PAIRS = tuple(pair for pair in product(COLORS, SHAPES) if pair not in HELD_OUT)  # the 12 to learn from
SPLITS = ("train", "val", "unseen")
RELATIONS = {"column": " above ", "row": " left of "}
WORDS = ("a", *COLORS, *SHAPES, "above", "left", "of")  # all words in captions

GRID, CELL, SHAPE_SIZE = 3, 8, 7  # cells per side, and their size and that of a shape in pixels
SIDE = GRID * CELL  # of a picture, in pixels
N_OFFSETS = (CELL - SHAPE_SIZE + 1) ** 2  # places of a shape in its cell
N_PLACES = {1: 9 * N_OFFSETS, 2: 2 * 9 * N_OFFSETS**2 // 2, 3: 3 * N_OFFSETS**3}  # pictures for a caption of n shapes

Pair = tuple[str, str]  # color and shape


class Item(NamedTuple):
    """One shape of a scene."""

    color: str
    shape: str
    x: int  # its left column of pixels
    y: int  # its upper row of pixels


class Scenes(NamedTuple):
    """Pictures, their captions, and what is in them."""

    images: np.ndarray  # (n, 3, 24, 24) float32 in [0, 1]: red, green, blue; the background is black
    captions: list[str]
    items: list[tuple[Item, ...]]  # the items of each picture, in the order of its caption


def draw_scenes(split: str, n: int, seed: int = 0, noise: float = 0.0) -> Scenes:
    """Draw the first n scenes of a split, always the same ones.

    >>> scenes = draw_scenes("train", 3)
    >>> scenes.images.shape, scenes.captions[0]
    ((3, 3, 24, 24), 'a blue circle')

    Args:
        split: "train", "val" or "unseen"; see above.
        n: the number of pictures. As many are drawn with one shape as with two and with three ("val": none with one).
        seed: another seed gives other scenes of the same split.
        noise: the standard deviation of the noise that is added to each value; the sum is cut off at 0 and 1.

    Raises:
        UserError: there is no such split, or a number is out of range.
    """
    check_split(split)
    check_number("n", n, whole=True, at_least=0)
    check_number("seed", seed, whole=True, at_least=0)
    check_number("noise", noise, at_least=0, at_most=10)
    rng = random.Random(f"scenes {split} {seed}")
    captions: list[str] = []
    items: list[tuple[Item, ...]] = []
    while len(items) < n:
        line = "column" if rng.random() < 0.5 else "row"
        n_items = rng.randint(1, GRID)
        pairs = [rng.choice(PAIRS) for _ in range(n_items)]
        if split == "unseen":
            pairs[rng.randrange(n_items)] = rng.choice(HELD_OUT)
        text = describe(pairs, line)
        if split_of(pairs, text) == split:
            captions.append(text)
            items.append(place(pairs, line, rng))
    images = np.stack([draw(scene) for scene in items]) if items else np.empty((0, 3, SIDE, SIDE), np.float32)
    if noise:
        seeds = [seed, SPLITS.index(split)]
        images += noise * np.random.default_rng(seeds).standard_normal(images.shape, np.float32)
    return Scenes(images.clip(0, 1), captions, items)


def describe(pairs: list[Pair], line: str) -> str:
    """The caption of some shapes in a "column" or a "row".

    >>> describe([("red", "circle"), ("blue", "square")], "column")
    'a red circle above a blue square'
    """
    return RELATIONS[line].join(f"a {color} {shape}" for color, shape in pairs)


def split_of(pairs: list[Pair], caption: str) -> str | None:
    """The split that a scene belongs to; None, if more than one of its pairs is held out."""
    n_held_out = sum(pair in HELD_OUT for pair in pairs)
    if n_held_out:
        return "unseen" if n_held_out == 1 else None
    return "val" if len(pairs) > 1 and in_hashed_tenth(text_key(caption)) else "train"


def place(pairs: list[Pair], line: str, rng: random.Random) -> tuple[Item, ...]:
    """Put shapes at random places of a random column or row of cells, in this order."""
    across = rng.randrange(GRID)  # which column, or which row
    along = sorted(rng.sample(range(GRID), len(pairs)))
    items = []
    for (color, shape), cell in zip(pairs, along, strict=True):
        column, row = (across, cell) if line == "column" else (cell, across)
        dx, dy = (rng.randint(0, CELL - SHAPE_SIZE) for _ in range(2))
        items.append(Item(color, shape, column * CELL + dx, row * CELL + dy))
    return tuple(items)


def draw(items: tuple[Item, ...]) -> np.ndarray:
    """Draw a scene without noise: (3, SIDE, SIDE) float32."""
    image = np.zeros((3, SIDE, SIDE), np.float32)
    for color, shape, x, y in items:
        image[:, y : y + SHAPE_SIZE, x : x + SHAPE_SIZE] += np.multiply.outer(COLORS[color], MASKS[shape])
    return image


def shape_masks() -> dict[str, np.ndarray]:
    """Which pixels belong to each shape: (7, 7) booleans. All shapes touch the four sides of their square."""
    y, x = np.mgrid[:SHAPE_SIZE, :SHAPE_SIZE]
    middle = SHAPE_SIZE // 2
    dx, dy = np.abs(x - middle), np.abs(y - middle)
    return {
        "circle": dx**2 + dy**2 <= (middle + 0.25) ** 2,
        "square": np.ones_like(x, bool),
        "triangle": dx <= y / 2,
        "cross": (dx <= 1) | (dy <= 1),
    }


def all_captions(split: str) -> Iterator[str]:
    """Yield every caption of a split, once.

    >>> sum(1 for caption in all_captions("train")), sum(1 for caption in all_captions("unseen"))
    (3360, 3652)

    Raises:
        UserError: there is no such split.
    """
    check_split(split)
    possible = (*PAIRS, *HELD_OUT) if split == "unseen" else PAIRS
    for n in range(1, GRID + 1):
        for pairs in product(possible, repeat=n):
            for line in RELATIONS if n > 1 else ("row",):  # a single shape forms no line
                caption = describe(list(pairs), line)
                if split_of(list(pairs), caption) == split:
                    yield caption


def n_pictures(split: str) -> int:
    """The number of different pictures in a split, without noise.

    A caption of one shape is true of 9 · 4 pictures (cell, place in the cell); of two shapes, of 3 · 3 · 4² (line,
    two of its cells, places); of three shapes, of 3 · 4³.
    """
    return sum(N_PLACES[caption.count("a ")] for caption in all_captions(split))


def check_split(split: str) -> None:
    """Raise UserError unless there is such a split."""
    if split not in SPLITS:
        hint = nearest(split, SPLITS) if isinstance(split, str) else ""
        raise UserError(f"split is {shown(split)}; it must be one of: {', '.join(SPLITS)}{hint or '.'}")


MASKS = shape_masks()
