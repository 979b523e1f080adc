"""Your own pictures: a folder of `.npy` and image files, with their classes or captions.

    pets/cat/tom.png                 pets/tom.png
    pets/cat/felix.npy               pets/rex.npy
    pets/dog/rex.npy                 pets/captions.tsv      one line for each picture:  tom.png ⇥ a cat on a roof

On the left the folders are the classes, in alphabetical order; on the right each picture has a caption, and a picture
without one is left out. Either way the pictures come back as an array that an image tower reads (`models/vision.py`).

`.npy` files need numpy alone. Other image files are opened by Pillow, an optional package
(`pip install "llmasos[pictures]"`).
"""

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

from llmasos.arguments import user_path
from llmasos.errors import UserError, check_number, explain_out_of_memory, shown

CAPTIONS = "captions.tsv"
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")  # what Pillow opens
CHANNELS = {1: "L", 3: "RGB"}  # number of channels → Pillow's name of the mode
GRAY = (0.299, 0.587, 0.114)  # the perceived brightness of red, green and blue (ITU-R BT.601)
MOST_PIXELS = 2**26  # of one picture: a small file can decompress into a picture that fills the memory


class PictureFolder(NamedTuple):
    """Pictures with their classes or captions."""

    images: np.ndarray  # (n, C, H, W) float32 in [0, 1]
    labels: np.ndarray  # (n,) int64, an index into `classes`; -1 without classes
    classes: list[str]  # the names of the folders; empty if there are captions
    captions: list[str]  # one for each picture; empty if there are classes
    files: list[Path]


def read_pictures(folder: str | Path, size: int = 24, n_channels: int = 3) -> PictureFolder:
    """Read all pictures of a folder, each cut to a square and scaled to the same size.

    Args:
        folder: a folder with one folder for each class, or with pictures and a `captions.tsv`.
        size: H = W, in pixels. The shorter side is scaled to it, and the middle of the longer one is kept.
        n_channels: 1 = gray, 3 = red, green and blue.

    Returns:
        The pictures, sorted by class and file name.

    Raises:
        UserError: the folder has no pictures, is neither form or both, a file is damaged or not a picture, or Pillow
            is needed and not installed.
    """
    check_number("size", size, whole=True, at_least=1, at_most=4096)
    if n_channels not in CHANNELS:
        raise UserError(f"n_channels is {shown(n_channels)}; it must be 1 (gray) or 3 (red, green and blue).")
    root = user_path(folder)
    if not root.is_dir():
        raise UserError(f"there is no folder {shown(str(folder))}; expected one with pictures.")
    by_class = {path.name: files for path in sorted(root.iterdir()) if path.is_dir() and (files := pictures_in(path))}
    captions_file = root / CAPTIONS
    if by_class and captions_file.is_file():
        raise UserError(f"{folder} has folders of pictures and a {CAPTIONS}; expected either classes or captions.")
    if captions_file.is_file():
        captioned = read_captions(captions_file)
        files = list(captioned)
    else:
        captioned, files = {}, [file for files in by_class.values() for file in files]
    if not files:
        loose = bool(pictures_in(root))
        known = "pictures outside of any class folder" if loose else "no pictures (.npy, or image files such as .png)"
        raise UserError(f"{folder} has {known}; expected a folder for each class, or a {CAPTIONS} with a file and its "
                        "caption on each line.")  # fmt: skip
    with explain_out_of_memory(lambda: f"choose a smaller size than {size}, or read fewer than {len(files)} pictures"):
        images = np.empty((len(files), n_channels, size, size), np.float32)
        for i, file in enumerate(files):
            images[i] = fit(read_picture(file, n_channels), size)
    labels = (
        [label for label, files in enumerate(by_class.values()) for _ in files] if not captioned else [-1] * len(files)
    )
    return PictureFolder(images, np.array(labels, np.int64), list(by_class), list(captioned.values()), files)


def pictures_in(folder: Path) -> list[Path]:
    """The picture files of a folder, by name, without hidden ones."""
    suffixes = (".npy", *IMAGE_SUFFIXES)
    files = (path for path in folder.iterdir() if path.suffix.lower() in suffixes and not path.name.startswith("."))
    return sorted(path for path in files if path.is_file())


def read_captions(file: Path) -> dict[Path, str]:
    """The lines `picture ⇥ caption` of a file: path of the picture → its caption."""
    captions: dict[Path, str] = {}
    try:
        with open(file, encoding="utf-8-sig", newline="") as lines:
            rows = list(csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is not UTF-8 text; save it as UTF-8.") from error
    for number, row in enumerate(rows, 1):
        if not row:
            continue
        if len(row) != 2 or not row[1].strip():
            raise UserError(f"{file}, line {number}: expected a file name, a tab and a caption.")
        path = file.parent / row[0].strip()
        if not path.is_file():
            raise UserError(f"{file}, line {number}: there is no picture {shown(row[0])} in {file.parent}.")
        if path in captions:
            raise UserError(f"{file}, line {number}: {shown(row[0])} has a caption already; expected one for each "
                            "picture.")  # fmt: skip
        captions[path] = row[1].strip()
    return captions


def read_picture(file: Path, n_channels: int) -> np.ndarray:
    """One picture in its own size: (C, H, W) float32 in [0, 1]."""
    pixels = read_array(file) if file.suffix.lower() == ".npy" else read_image(file, CHANNELS[n_channels])
    if pixels.shape[0] == 1 and n_channels == 3:
        return np.repeat(pixels, 3, axis=0)
    if pixels.shape[0] == 3 and n_channels == 1:
        return np.tensordot(np.array(GRAY, np.float32), pixels, axes=1)[None]
    return pixels


def read_array(file: Path) -> np.ndarray:
    """The pixels (C, H, W) of a `.npy` file, which may be gray (H, W), or have its channels first or last."""
    try:
        pixels = np.load(file, mmap_mode="r", allow_pickle=False)  # a pickle could run code
    except (ValueError, OSError, EOFError, SyntaxError) as error:
        raise UserError(f"{file} is not an array that numpy can read; save it again with numpy.save.") from error
    shape = pixels.shape
    if pixels.ndim == 2:
        pixels = pixels[None]
    elif pixels.ndim == 3 and pixels.shape[-1] in CHANNELS and pixels.shape[0] not in CHANNELS:
        pixels = pixels.transpose(2, 0, 1)
    if pixels.ndim != 3 or pixels.shape[0] not in CHANNELS or 0 in pixels.shape:
        raise UserError(f"{file} has the shape {shape}; expected (height, width), or that with 1 or 3 channels, "
                        "first or last.")  # fmt: skip
    check_size(file, *pixels.shape[1:])
    if pixels.dtype == np.uint8:
        return pixels.astype(np.float32) / 255
    if not np.issubdtype(pixels.dtype, np.floating):
        raise UserError(f"{file} holds {pixels.dtype}; expected bytes (uint8, 0 to 255) or floats from 0 to 1.")
    values = pixels.astype(np.float32)
    if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1):
        raise UserError(f"{file} has values outside of 0 to 1; scale them, or save bytes (uint8, 0 to 255).")
    return values


def read_image(file: Path, mode: str) -> np.ndarray:
    """The pixels (C, H, W) of an image file, with transparent ones on white, turned as the camera was held."""
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise UserError(f'{file.name} needs the package Pillow: pip install "llmasos[pictures]", or save the pictures '
                        "as .npy.") from error  # fmt: skip
    try:
        with Image.open(file) as image:
            check_size(file, image.height, image.width)
            upright = ImageOps.exif_transpose(image)
            if "A" in upright.getbands() or "transparency" in upright.info:
                upright = upright.convert("RGBA")
                upright = Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright)
            pixels = np.asarray(upright.convert(mode), np.float32) / 255
    except UserError:
        raise
    except Exception as error:  # for a damaged file, Pillow's formats raise many types of errors
        raise UserError(f"{file} is not an image that Pillow can read, or it is damaged; save it again.") from error
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def check_size(file: Path, height: int, width: int) -> None:
    """Raise UserError if a picture is too large to process."""
    if height * width > MOST_PIXELS:
        raise UserError(f"{file} has {height} × {width} pixels; at most {MOST_PIXELS:,} are read. Make it smaller.")


def fit(pixels: np.ndarray, size: int) -> np.ndarray:
    """Cut the middle square out of a picture and scale it: (C, H, W) → (C, size, size).

    Each new pixel is a weighted mean of those it covers (`antialias`), so that thin lines do not vanish.
    """
    _, height, width = pixels.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = np.ascontiguousarray(pixels[:, top : top + side, left : left + side])
    if side == size:
        return square
    scaled = functional.interpolate(torch.from_numpy(square)[None], (size, size), mode="bilinear", antialias=True)
    return scaled[0].clamp(0, 1).numpy()


def split_pictures(
    pictures: PictureFolder, fraction: float = 0.1, seed: int = 0
) -> tuple[PictureFolder, PictureFolder]:
    """Divide pictures at random into those to train on and those to validate with, always in the same way.

    Args:
        pictures: at least two.
        fraction: the fraction of the pictures to validate with; at least one picture.
        seed: another seed divides them differently.
    """
    check_number("fraction", fraction, above=0, below=1)
    n = len(pictures.files)
    if n < 2:
        raise UserError(f"there is {n} picture; expected at least two, to train on one and validate with the other.")
    order = np.random.default_rng(seed).permutation(n)
    n_val = min(max(round(fraction * n), 1), n - 1)
    return _chosen(pictures, sorted(order[n_val:].tolist())), _chosen(pictures, sorted(order[:n_val].tolist()))


def _chosen(pictures: PictureFolder, rows: list[int]) -> PictureFolder:
    """Select some of the pictures."""
    captions = [pictures.captions[i] for i in rows] if pictures.captions else []
    files = [pictures.files[i] for i in rows]
    return PictureFolder(pictures.images[rows], pictures.labels[rows], pictures.classes, captions, files)
