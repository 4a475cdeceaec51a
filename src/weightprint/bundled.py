"""Data sets that need no download: real images that come with scikit-learn, and drawn ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from weightprint.files import seed_from_hash

SIDE = 32
Arrays = dict[str, np.ndarray]
"""x_train, y_train, x_test, y_test, as in an .npz file."""


def digits() -> Arrays:
    """Handwritten digits, 8×8 grey (Alpaydin and Kaynak, UCI 1998; scikit-learn's `load_digits`)."""
    from sklearn.datasets import load_digits

    train_per_class, per_class = 144, 174
    bunch = load_digits()
    images = np.round(bunch.images * (255 / 16)).astype(np.uint8)
    members = [np.flatnonzero(bunch.target == label) for label in range(10)]
    train = np.concatenate([m[:train_per_class] for m in members])
    test = np.concatenate([m[train_per_class:per_class] for m in members])
    return _shuffled("digits", (images[train], bunch.target[train]), (images[test], bunch.target[test]))


def photo_patches() -> Arrays:
    """Patches of the two colour photographs in scikit-learn (`load_sample_images`): which fifth of which photo?

    Classes 0-4 are the fifths of the first photo from left to right, 5-9 those of the second. Train and test patches
    come from alternating horizontal bands and share no pixel.
    """
    from sklearn.datasets import load_sample_images

    photos = load_sample_images().images
    generator = _generator("photo_patches")
    train_band, test_band = 64, 40

    def cut(per_class: int, band_start: int, band_height: int) -> tuple[np.ndarray, np.ndarray]:
        patches, labels = [], np.repeat(np.arange(10), per_class)
        for label in labels:
            photo = photos[label // 5]
            bands, fifth = photo.shape[0] // (train_band + test_band), photo.shape[1] // 5
            top = generator.integers(bands) * (train_band + test_band) + band_start
            top += generator.integers(band_height - SIDE + 1)
            left = (label % 5) * fifth + generator.integers(fifth - SIDE + 1)
            patches.append(photo[top : top + SIDE, left : left + SIDE])
        return np.stack(patches), labels

    return _shuffled("photo_patches", cut(250, 0, train_band), cut(60, train_band, test_band))


def shapes() -> Arrays:
    """Ten kinds of shapes and patterns in random colours, places and sizes, with noise; drawn, not photographed."""
    generator = _generator("shapes")

    def draw(per_class: int) -> tuple[np.ndarray, np.ndarray]:
        labels = np.repeat(np.arange(10), per_class)
        return np.stack([_draw_shape(_SHAPES[label], generator) for label in labels]), labels

    return _shuffled("shapes", draw(250), draw(60))


def _draw_shape(shape: Callable[[np.ndarray, np.ndarray, float], np.ndarray], generator: np.random.Generator):
    size = generator.uniform(7, 13)
    centre = generator.uniform(size, SIDE - size, 2)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    inside = shape((columns - centre[0]) / size, (rows - centre[1]) / size, generator.uniform(0.25, 0.4))
    ground, colour = generator.uniform(0, 255, (2, 3))
    while np.abs(ground - colour).sum() < 150:
        colour = generator.uniform(0, 255, 3)
    image = np.where(inside[..., None], colour, ground) + generator.normal(0, 12, (SIDE, SIDE, 3))
    return np.clip(np.round(image), 0, 255).astype(np.uint8)


def _box(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.maximum(np.abs(x), np.abs(y)) <= 1


def _stripe(x: np.ndarray, width: float) -> np.ndarray:
    return np.floor((x + 1) / width) % 2 == 0


_SHAPES: tuple[Callable[[np.ndarray, np.ndarray, float], np.ndarray], ...] = (
    lambda x, y, t: x**2 + y**2 <= 1,  # disc
    lambda x, y, t: (x**2 + y**2 <= 1) & (x**2 + y**2 >= (1 - t) ** 2),  # ring
    lambda x, y, t: _box(x, y),  # square
    lambda x, y, t: _box(x, y) & (np.maximum(np.abs(x), np.abs(y)) >= 1 - t),  # frame
    lambda x, y, t: (y <= 1) & (2 * np.abs(x) <= y + 1),  # triangle
    lambda x, y, t: _box(x, y) & (np.minimum(np.abs(x), np.abs(y)) <= t),  # plus
    lambda x, y, t: _box(x, y) & (np.abs(np.abs(x) - np.abs(y)) <= t),  # cross
    lambda x, y, t: _box(x, y) & _stripe(y, t),  # horizontal stripes
    lambda x, y, t: _box(x, y) & _stripe(x, t),  # vertical stripes
    lambda x, y, t: _box(x, y) & (_stripe(x, 1.4 * t) == _stripe(y, 1.4 * t)),  # chequers
)


def _generator(name: str) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed_from_hash("bundled", name)))


def _shuffled(name: str, train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray]) -> Arrays:
    generator = _generator(f"{name} order")
    arrays: Arrays = {}
    for part, (images, labels) in (("train", train), ("test", test)):
        order = generator.permutation(len(labels))
        arrays |= {f"x_{part}": images[order], f"y_{part}": labels[order].astype(np.uint8)}
    return arrays


@dataclass(frozen=True)
class Bundled:
    """A bundled data set: how to make it, its sizes, and where it is from."""

    make: Callable[[], Arrays]
    train: int
    test: int
    source: str


BUNDLED: dict[str, Bundled] = {
    "digits": Bundled(digits, 1440, 300, "bundled: handwritten digits of scikit-learn, 8×8 grey"),
    "photo_patches": Bundled(photo_patches, 2500, 600, "bundled: patches of the two photographs in scikit-learn"),
    "shapes": Bundled(shapes, 2500, 600, "bundled: drawn shapes and patterns in colour"),
}
