"""Drawn digits and scenes: the same seed draws the same pictures, captions are true, splits do not overlap."""

import random

import numpy as np
import pytest

from llmasos.datasets.digits import draw_digits, ink
from llmasos.datasets.scenes import (
    CELL,
    HELD_OUT,
    PAIRS,
    SHAPE_SIZE,
    SPLITS,
    WORDS,
    Item,
    all_captions,
    draw,
    draw_scenes,
    n_pictures,
    place,
)
from llmasos.errors import UserError


def test_the_same_seed_draws_the_same_digits_and_fewer_of_them_are_the_first():
    many, few, other = draw_digits(260, seed=3), draw_digits(5, seed=3), draw_digits(5, seed=4)
    assert np.array_equal(many.images[:5], few.images) and np.array_equal(many.labels[:5], few.labels)
    assert not np.array_equal(few.images, other.images)
    assert many.images.dtype == np.float32 and many.images.min() == 0 and many.images.max() == 1
    assert len(np.unique(draw_digits(100, noise=0).images, axis=0)) == 100


def test_a_digit_is_whole_wherever_it_is():
    """In the corners of all ranges: moved sideways or down, it has the same amount of ink (up to rounding)."""
    corners = np.stack(np.meshgrid(*[[0.0, 1.0]] * 5, indexing="ij"), axis=-1).reshape(-1, 5)  # (32, 5)
    for digit in range(10):
        mass = ink(np.full(32, digit), corners, 24).sum(axis=(1, 2)).reshape(8, 4)  # (shape and pen, place)
        assert np.ptp(mass, axis=1).max() < 0.03 * mass.min() and mass.min() > 15


def test_each_digit_has_its_own_strokes():
    pictures = ink(np.arange(10), np.full((10, 5), 0.5), 24).reshape(10, -1)
    distances = np.abs(pictures[:, None] - pictures[None]).sum(axis=-1) + 1e9 * np.eye(10)
    assert distances.min() > 10  # pixels


def reread(image: np.ndarray) -> str:
    """The caption of a picture, read from its pixels alone."""
    colors = {(1, 0, 0): "red", (0, 1, 0): "green", (0, 0, 1): "blue", (1, 1, 0): "yellow"}
    shapes = {37: "circle", 49: "square", 25: "triangle", 33: "cross"}  # pixels
    found = []
    for row in range(3):
        for column in range(3):
            pixels = image[:, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8].reshape(3, 64).T
            pixels = pixels[pixels.any(axis=1)]
            if len(pixels):
                (color,) = {tuple(pixel) for pixel in pixels.astype(int).tolist()}
                found.append((column, f"a {colors[color]} {shapes[len(pixels)]}"))
    in_a_column = len({column for column, _ in found}) == 1
    return (" above " if in_a_column else " left of ").join(text for _, text in found)


@pytest.mark.parametrize("split", SPLITS)
def test_every_caption_is_true_of_its_picture(split):
    scenes = draw_scenes(split, 60, seed=1)
    assert scenes.images.shape == (60, 3, 24, 24) and scenes.images.dtype == np.float32
    assert [reread(image) for image in scenes.images] == scenes.captions
    assert {word for caption in scenes.captions for word in caption.split()} <= set(WORDS)


def test_the_same_seed_draws_the_same_scenes_and_noise_changes_no_caption():
    many, few, other = draw_scenes("val", 30, seed=2), draw_scenes("val", 5, seed=2), draw_scenes("val", 5, seed=3)
    noisy = draw_scenes("val", 5, seed=2, noise=0.1)
    assert np.array_equal(many.images[:5], few.images) and many.captions[:5] == few.captions == noisy.captions
    assert few.captions != other.captions
    assert not np.array_equal(noisy.images, few.images) and noisy.images.min() == 0 and noisy.images.max() == 1


def test_held_out_pairs_are_in_no_training_picture_and_once_in_the_unseen():
    for split, expected in (("train", {0}), ("val", {0}), ("unseen", {1})):
        scenes = draw_scenes(split, 150)
        assert {sum((i.color, i.shape) in HELD_OUT for i in items) for items in scenes.items} == expected
        captions = scenes.captions
        assert {sum(c.count(f"{color} {shape}") for color, shape in HELD_OUT) for c in captions} == expected
    for part in (0, 1):  # each color and each shape is held out in one pair, and learned in three
        assert len({pair[part] for pair in HELD_OUT}) == 4 and len({pair[part] for pair in PAIRS}) == 4


def test_the_splits_are_apart_and_as_large_as_documented():
    captions = {split: list(all_captions(split)) for split in SPLITS}
    assert [len(captions[split]) for split in SPLITS] == [3360, 396, 3652]
    assert len(set().union(*captions.values())) == 3360 + 396 + 3652
    assert 3360 + 396 == 12 + 2 * 12**2 + 2 * 12**3 and 3652 == 4 + 2 * 2 * 4 * 12 + 2 * 3 * 4 * 12**2
    for split, n in zip(SPLITS, (631_440, 74_016, 691_344), strict=True):
        assert n_pictures(split) == n
        assert set(draw_scenes(split, 100).captions) <= set(captions[split])


def test_a_shape_is_drawn_at_all_places_of_its_cell():
    rng = random.Random(0)
    items = [item for _ in range(200) for item in place([("red", "circle")], "column", rng)]
    offsets = {(x % CELL, y % CELL) for _, _, x, y in items}
    assert offsets == {(dx, dy) for dx in range(CELL - SHAPE_SIZE + 1) for dy in range(CELL - SHAPE_SIZE + 1)}


def test_every_place_of_every_shape_is_another_picture():
    """9 cells · 4 places · 16 pairs; pictures of more shapes are sums of these in different cells."""
    places = [8 * cell + offset for cell in range(3) for offset in range(2)]
    pictures = [draw((Item(*pair, x, y),)).tobytes() for pair in PAIRS + HELD_OUT for x in places for y in places]
    assert len(set(pictures)) == len(pictures) == 9 * 4 * 16


@pytest.mark.parametrize("call, message", [
    (lambda: draw_scenes("vall", 3), "split is 'vall'; it must be one of: train, val, unseen; did you mean 'val'?"),
    (lambda: draw_scenes("val", -1), "n is -1; it must be a whole number of at least 0."),
    (lambda: draw_scenes("val", 1, noise=-1.0), "noise is -1.0"),
    (lambda: draw_digits(2.5), "n is 2.5"),
    (lambda: draw_digits(2, size=5), "size is 5; it must be a whole number of at least 12"),
])  # fmt: skip
def test_what_cannot_be_drawn_is_refused(call, message):
    with pytest.raises(UserError) as error:
        call()
    assert message in str(error.value)
