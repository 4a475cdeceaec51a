"""Three small data sets of ten classes that need no download: digits, photo patches and shapes.

Each is the same on every machine: choices come from `random_bits`, whose stream numpy keeps for good, and arithmetic
is on integers or uses operations that IEEE 754 rounds exactly. (Photographs are decoded by the installed JPEG
library; its version may matter to the last bit of `photo_patches`.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from weightprint.seeds import seed_from_hash
from weightprint.setups import CLASSES
from weightprint.setups import IMAGE_SIDE as SIDE

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Images uint8 [N, H, W] or [N, H, W, 3] and labels int64 [N] for training, then the same for testing."""


@dataclass(frozen=True)
class Bundled:
    """A data set that comes with weightprint or scikit-learn.

    description:   what it shows and where it comes from, one line
    train_classes: training images of each class
    test_classes:  test images of each class
    make:          returns its images and labels
    """

    description: str
    train_classes: tuple[int, ...]
    test_classes: tuple[int, ...]
    make: Callable[[], Arrays]


def random_bits(count: int, *key: object) -> NDArray[np.uint64]:
    """`count` random 64-bit numbers that depend on `key` alone, on any machine and with any version of numpy."""
    return np.asarray(np.random.PCG64(seed_from_hash(*key)).random_raw(count), dtype=np.uint64)


def random_order(count: int, *key: object) -> NDArray[np.int64]:
    """A permutation of 0 … count - 1 that depends on `key` alone, on any machine and with any version of numpy."""
    return np.argsort(random_bits(count, *key), kind="stable").astype(np.int64)


def uniform(count: int, low: float, high: float, *key: object) -> NDArray[np.float64]:
    """`count` numbers uniform in [low, high) that depend on `key` alone."""
    shares = (random_bits(count, *key) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return low + (high - low) * shares


# --- digits ----------------------------------------------------------------------------------------------------------

DIGITS_TEST = 34
"""Test images of each digit; the rarest digit (174 images) leaves 140 for training."""


def _digits() -> Arrays:
    from sklearn.datasets import load_digits

    loaded = load_digits()
    images = np.rint(loaded.images * (255 / 16)).astype(np.uint8)
    labels = loaded.target.astype(np.int64)
    test: list[int] = []
    for label in range(CLASSES):
        members = np.flatnonzero(labels == label)
        test.extend(members[random_order(len(members), "digits", label)[:DIGITS_TEST]])
    is_test = np.isin(np.arange(len(labels)), test)
    return images[~is_test], labels[~is_test], images[is_test], labels[is_test]


# --- photo patches ---------------------------------------------------------------------------------------------------

PHOTOS = ("china.jpg", "flower.jpg")
STRIPS = 5
"""Classes of each photograph: vertical strips of equal width, from left to right."""
TRAIN_BAND, TEST_BAND = 69, 37
"""Heights in pixels of the bands that cross every strip in turn; a patch lies inside one band."""
PATCHES_TRAIN, PATCHES_TEST = 300, 60


def _photo_patches() -> Arrays:
    from sklearn.datasets import load_sample_image

    train: list[np.ndarray] = []
    test: list[np.ndarray] = []
    for photo in PHOTOS:
        pixels = load_sample_image(photo)
        width = pixels.shape[1] // STRIPS
        for strip in range(STRIPS):
            part = pixels[:, strip * width : (strip + 1) * width]
            train.append(_patches(part, 0, TRAIN_BAND, PATCHES_TRAIN, photo, strip, "train"))
            test.append(_patches(part, TRAIN_BAND, TEST_BAND, PATCHES_TEST, photo, strip, "test"))
    return *_interleaved(train), *_interleaved(test)


def _patches(part: np.ndarray, first: int, band: int, count: int, *key: object) -> np.ndarray:
    """`count` different patches [count, 32, 32, 3] from the bands of a strip that start at row `first`."""
    height, width = part.shape[:2]
    bands = range(first, height - band + 1, TRAIN_BAND + TEST_BAND)
    rows = np.concatenate([np.arange(start, start + band - SIDE + 1) for start in bands])
    columns = width - SIDE + 1
    chosen = random_order(len(rows) * columns, "photo_patches", *key)[:count]
    windows = np.lib.stride_tricks.sliding_window_view(part, (SIDE, SIDE), axis=(0, 1))
    return windows[rows[chosen // columns], chosen % columns].transpose(0, 2, 3, 1)


def _interleaved(classes: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Equally many images of each class, dealt in turn, with their labels."""
    images = np.stack(list(classes), axis=1)
    labels = np.tile(np.arange(images.shape[1], dtype=np.int64), images.shape[0])
    return np.ascontiguousarray(images.reshape(-1, *images.shape[2:])), labels


# --- shapes ----------------------------------------------------------------------------------------------------------

SHAPES_TRAIN, SHAPES_TEST = 250, 50
_FINE = 2 * SIDE  # shapes are drawn twice as large and averaged, so that edges are smooth


SHAPES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "disc": lambda u, v: u * u + v * v < 1,
    "ring": lambda u, v: (u * u + v * v < 1) & (u * u + v * v > 0.36),
    "square": lambda u, v: np.maximum(abs(u), abs(v)) < 0.87,
    "triangle": lambda u, v: (v > -0.6) & (v + 1.75 * abs(u) < 1.1),
    "cross": lambda u, v: (np.minimum(abs(u), abs(v)) < 0.28) & (np.maximum(abs(u), abs(v)) < 1),
    "bar": lambda u, v: (abs(u) < 1.15) & (abs(v) < 0.35),
    "crescent": lambda u, v: (u * u + v * v < 1) & ((u - 0.6) * (u - 0.6) + v * v >= 1),
    "stripes": lambda u, v: np.floor(1.6 * u) % 2 == 0,
    "checks": lambda u, v: (np.floor(1.6 * u) + np.floor(1.6 * v)) % 2 == 0,
    "dots": lambda u, v: (1.2 * u - np.rint(1.2 * u)) ** 2 + (1.2 * v - np.rint(1.2 * v)) ** 2 < 0.09,
}
"""Of each class, whether a point (u, v) belongs to the figure; single figures have about unit radius."""


def _shapes() -> Arrays:
    train = [_drawings(shape, SHAPES_TRAIN, "train") for shape in SHAPES]
    test = [_drawings(shape, SHAPES_TEST, "test") for shape in SHAPES]
    return *_interleaved(train), *_interleaved(test)


def _drawings(shape: str, count: int, part: str) -> np.ndarray:
    """`count` pictures [count, 32, 32, 3] of one class."""
    label = list(SHAPES).index(shape)

    def draw(what: str, low: float, high: float) -> np.ndarray:
        return uniform(count, low, high, "shapes", part, label, what).reshape(count, 1, 1)

    across, down = draw("direction x", -1, 1), draw("direction y", -1, 1)
    length = np.sqrt(across * across + down * down) * draw("radius", 8, 13)
    across, down = across / length, down / length
    position = (np.arange(_FINE) + 0.5) / 2
    x = position.reshape(1, 1, -1) - draw("center x", 13, 19)
    y = position.reshape(1, -1, 1) - draw("center y", 13, 19)
    inside = SHAPES[shape](x * across + y * down, y * across - x * down)
    covered = inside.reshape(count, SIDE, 2, SIDE, 2).sum(axis=(2, 4), dtype=np.int64)[..., None]  # of 4
    background, figure = _two_colors(count, part, label)
    noise = random_bits(count * SIDE * SIDE * 3, "shapes", part, label, "noise").reshape(count, SIDE, SIDE, 3)
    grain = (noise >> np.uint64(56)).astype(np.int64) + ((noise >> np.uint64(48)) & np.uint64(255)).astype(np.int64)
    values = (background * (4 - covered) + figure * covered) // 4 + (grain - 255) // 12
    return np.clip(values, 0, 255).astype(np.uint8)


def _two_colors(count: int, part: str, label: int) -> tuple[np.ndarray, np.ndarray]:
    """Random colours [count, 1, 1, 3] of background and figure, 64 or more apart in at least one channel."""
    background, figure = (
        np.floor(uniform(3 * count, 20, 236, "shapes", part, label, what)).astype(np.int64).reshape(count, 1, 1, 3)
        for what in ("background", "figure")
    )
    alike = abs(background - figure).max(axis=-1, keepdims=True) < 64
    return background, np.where(alike, (figure + 128) % 256, figure)


SETS: dict[str, Bundled] = {
    "digits": Bundled(
        "handwritten digits, 8 x 8 grey (scikit-learn's load_digits: UCI Optical Recognition of Handwritten Digits)",
        (144, 148, 143, 149, 147, 148, 147, 145, 140, 146),
        (DIGITS_TEST,) * CLASSES,
        _digits,
    ),
    "photo_patches": Bundled(
        "32 x 32 patches of two colour photographs (scikit-learn's load_sample_images); classes are strips of each",
        (PATCHES_TRAIN,) * CLASSES,
        (PATCHES_TEST,) * CLASSES,
        _photo_patches,
    ),
    "shapes": Bundled(
        "noisy drawings of ten figures and patterns in random colours, sizes and directions (made by weightprint)",
        (SHAPES_TRAIN,) * CLASSES,
        (SHAPES_TEST,) * CLASSES,
        _shapes,
    ),
}
