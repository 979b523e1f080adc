"""A user's own pictures: the same pixels from every type of file, classes and captions, and errors."""

import sys

import numpy as np
import pytest
from PIL import Image

from llmasos.datasets import picture_folder
from llmasos.datasets.picture_folder import fit, read_pictures, split_pictures
from llmasos.errors import UserError


def random_pixels(height: int = 6, width: int = 6, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def write(root, name: str, pixels: np.ndarray):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, pixels) if path.suffix == ".npy" else Image.fromarray(pixels.squeeze()).save(path)
    return path


def test_all_kinds_of_files_hold_the_same_picture(tmp_path):
    """PNG, BMP, and arrays with the channels first or last, as bytes or as floats."""
    pixels = random_pixels()
    write(tmp_path, "a/1.png", pixels)
    write(tmp_path, "a/2.BMP", pixels)
    write(tmp_path, "a/3.npy", pixels)
    write(tmp_path, "a/4.npy", pixels.transpose(2, 0, 1))
    write(tmp_path, "a/5.npy", (pixels / 255).astype(np.float64))
    images = read_pictures(tmp_path, size=6).images
    assert images.shape == (5, 3, 6, 6) and images.dtype == np.float32
    for image in images:
        np.testing.assert_allclose(image, pixels.transpose(2, 0, 1) / 255, atol=1e-6)


def test_gray_and_color_become_each_other(tmp_path):
    color, gray = random_pixels(), random_pixels(channels=1)
    for suffix in ("npy", "png"):
        write(tmp_path, f"a/color.{suffix}", color)
        write(tmp_path, f"a/gray.{suffix}", gray)
    in_gray, in_color = (read_pictures(tmp_path, 6, n).images for n in (1, 3))
    assert in_gray.shape == (4, 1, 6, 6)
    expected = np.array(Image.fromarray(color).convert("L")) / 255
    np.testing.assert_allclose(in_gray[0, 0], expected, atol=1 / 255)  # Pillow rounds to bytes
    np.testing.assert_allclose(in_gray[1, 0], expected, atol=1 / 255)
    for image in in_color[2:]:
        np.testing.assert_allclose(image, np.repeat(gray.transpose(2, 0, 1), 3, axis=0) / 255, atol=1e-6)


def test_folders_are_classes_in_alphabetical_order(tmp_path):
    for name in ("dog/b.npy", "cat/z.npy", "dog/a.npy"):
        write(tmp_path, name, random_pixels())
    (tmp_path / "dog" / ".DS_Store").write_bytes(b"x")
    (tmp_path / "dog" / "notes.txt").write_text("hidden files and other files are no pictures")
    (tmp_path / "empty").mkdir()
    pictures = read_pictures(tmp_path)
    assert pictures.classes == ["cat", "dog"] and pictures.labels.tolist() == [0, 1, 1]
    assert [file.name for file in pictures.files] == ["z.npy", "a.npy", "b.npy"] and not pictures.captions


def test_captions_are_in_the_order_of_their_lines(tmp_path):
    for name in ("a.npy", "b.npy", "c.npy"):
        write(tmp_path, name, random_pixels())
    (tmp_path / "captions.tsv").write_text('b.npy\ta "red" circle\r\n\na.npy\tein grüner Kreis\n', encoding="utf-8")
    pictures = read_pictures(tmp_path)
    assert pictures.captions == ['a "red" circle', "ein grüner Kreis"] and pictures.labels.tolist() == [-1, -1]
    assert [file.name for file in pictures.files] == ["b.npy", "a.npy"] and not pictures.classes


def test_the_middle_is_kept_and_scaling_takes_means():
    wide = np.zeros((1, 4, 10), np.float32)
    wide[:, :, 3:7] = np.arange(16, dtype=np.float32).reshape(1, 4, 4) / 16
    np.testing.assert_array_equal(fit(wide, 4), wide[:, :, 3:7])
    np.testing.assert_array_equal(fit(wide.transpose(0, 2, 1), 4), wide.transpose(0, 2, 1)[:, 3:7])
    line = np.zeros((1, 64, 64), np.float32)
    line[:, :, 33] = 1  # one pixel wide: every fourth row and column alone would miss it
    assert fit(line, 16).sum() == pytest.approx(16 * 0.25, rel=0.02)
    assert fit(np.ones((3, 7, 5), np.float32), 16) == pytest.approx(1)


def test_a_transparent_picture_is_on_white_and_a_turned_one_is_turned_back(tmp_path):
    transparent = np.zeros((6, 6, 4), np.uint8)
    transparent[:3] = (255, 0, 0, 255)
    write(tmp_path, "a/1.png", transparent)
    pixels = random_pixels()
    exif = Image.Exif()
    exif[0x0112] = 6  # Orientation: the camera was held at a right angle
    Image.fromarray(pixels).save(tmp_path / "a" / "2.png", exif=exif)
    first, second = read_pictures(tmp_path, size=6).images
    np.testing.assert_array_equal(first[:, :3].mean(axis=(1, 2)), [1, 0, 0])
    assert (first[:, 3:] == 1).all()
    np.testing.assert_allclose(second, np.rot90(pixels, -1).transpose(2, 0, 1) / 255, atol=1e-6)


def test_pictures_are_divided_without_loss_and_always_in_the_same_way(tmp_path):
    for i in range(20):
        write(tmp_path, f"{'ab'[i % 2]}/{i:02}.npy", random_pixels(seed=i))
    pictures = read_pictures(tmp_path, size=6)
    train, val = split_pictures(pictures, 0.2, seed=1)
    assert len(train.files) == 16 and len(val.files) == 4 and set(train.files) | set(val.files) == set(pictures.files)
    assert train.classes == val.classes == ["a", "b"]
    for part in (train, val):
        assert [part.classes[label] for label in part.labels] == [file.parent.name for file in part.files]
        np.testing.assert_array_equal(part.images, [pictures.images[pictures.files.index(file)] for file in part.files])
    assert split_pictures(pictures, 0.2, seed=1)[1].files == val.files
    assert split_pictures(pictures, 0.2, seed=2)[1].files != val.files
    with pytest.raises(UserError, match="there is 1 picture; expected at least two"):
        split_pictures(picture_folder._chosen(pictures, [0]))


BAD_ARRAYS = {
    "floats from 0 to 1": np.full((6, 6), 3, np.int64),
    "outside of 0 to 1": np.full((6, 6), 1.5),
    "values outside": np.full((6, 6), np.nan),
    "has the shape (6, 6, 6)": np.zeros((6, 6, 6), np.uint8),
    "has the shape (0, 6)": np.zeros((0, 6), np.uint8),
    "numpy can read": np.array([{"a": 1}], dtype=object),  # a pickle
}


@pytest.mark.parametrize("words", BAD_ARRAYS)
def test_an_array_that_is_no_picture_is_one_sentence(words, tmp_path):
    (tmp_path / "a").mkdir()
    np.save(tmp_path / "a" / "x.npy", BAD_ARRAYS[words], allow_pickle=True)
    with pytest.raises(UserError) as error:
        read_pictures(tmp_path)
    assert words in str(error.value) and "x.npy" in str(error.value)


@pytest.mark.parametrize("name", ["x.npy", "x.png", "x.jpg"])
@pytest.mark.parametrize("damage", ["empty", "text", "cut"])
def test_a_damaged_file_is_one_sentence(name, damage, tmp_path):
    path = write(tmp_path, f"a/{name}", random_pixels(40, 40))
    content = path.read_bytes()
    path.write_bytes({"empty": b"", "text": b"hello", "cut": content[: len(content) // 2]}[damage])
    with pytest.raises(UserError, match="save it again"):
        read_pictures(tmp_path)


@pytest.mark.parametrize("files, words", [
    ({}, "has no pictures"),
    ({"x.npy": None}, "outside of any class folder"),
    ({"a/x.npy": None, "captions.tsv": "a/x.npy\tx"}, "either classes or captions"),
    ({"x.npy": None, "captions.tsv": "x.npy a cat"}, "line 1: expected a file name, a tab and a caption"),
    ({"x.npy": None, "captions.tsv": "\nx.npy\t "}, "line 2: expected a file name"),
    ({"captions.tsv": "y.npy\ta cat"}, "line 1: there is no picture 'y.npy'"),
    ({"x.npy": None, "captions.tsv": "x.npy\ta\nx.npy\tb"}, "line 2: 'x.npy' has a caption already"),
    ({"x.npy": None, "captions.tsv": b"x.npy\t\xff"}, "is not UTF-8"),
    ({"x.npy": None, "captions.tsv": ""}, "expected a folder for each class, or a captions.tsv"),
])  # fmt: skip
def test_a_folder_that_is_neither_form_is_one_sentence(files, words, tmp_path):
    for name, content in files.items():
        if content is None:
            write(tmp_path, name, random_pixels())
        else:
            (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError) as error:
        read_pictures(tmp_path)
    assert words in str(error.value)


def test_what_else_is_refused(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="there is no folder"):
        read_pictures(tmp_path / "nowhere")
    write(tmp_path, "a/x.png", random_pixels())
    with pytest.raises(UserError, match="n_channels is 2; it must be 1"):
        read_pictures(tmp_path, n_channels=2)
    monkeypatch.setattr(picture_folder, "MOST_PIXELS", 35)
    with pytest.raises(UserError, match="has 6 × 6 pixels; at most 35 are read"):
        read_pictures(tmp_path)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(UserError, match=r"x.png needs the package Pillow: pip install"):
        read_pictures(tmp_path)
