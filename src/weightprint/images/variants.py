"""Variants of a data set: what is left of it when its images, its first two moments or its colours are others.

A variant keeps the data set's name and labels and lies in a folder of its own, so that a zoo sampled there differs from
one of the original by its images alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from weightprint.errors import DataError, did_you_mean
from weightprint.images.adding import write_npz
from weightprint.images.sets import KEYS, ImageSet, load
from weightprint.seeds import seed_from_hash

MEAN, DEVIATION = 120.0, 55.0
"""Of every channel of a matched data set, in bytes: near those of the usual ones, so that few values are cut off."""
_ROUNDS = 20
"""Cutting off changes the moments; so often they are matched again."""
_LUMA = (0.299, 0.587, 0.114)
"""ITU-R BT.601."""


def half(images: ImageSet, *, which: int) -> ImageSet:
    """Half of the training images, of each class as many as of the other half, which has none of them. which: 0 or 1

    Test images are the same: they measure accuracy and are not trained on.
    """
    order = np.random.default_rng(seed_from_hash("half", images.name)).permutation(len(images.y_train))
    rank = np.zeros(len(order), np.int64)
    for label in np.unique(images.y_train):
        members = order[images.y_train[order] == label]
        rank[members] = np.arange(len(members))
    kept = rank % 2 == which
    return replace(images, x_train=images.x_train[kept], y_train=images.y_train[kept])


def matched(images: ImageSet) -> ImageSet:
    """With MEAN and DEVIATION in every channel, over all training images and pixels; test images are changed alike."""
    levels = np.stack([_levels(np.bincount(images.x_train[..., c].ravel(), minlength=256)) for c in range(3)])
    channels = np.arange(3)
    return replace(images, x_train=levels[channels, images.x_train], x_test=levels[channels, images.x_test])


def _levels(counts: NDArray[np.int64]) -> NDArray[np.uint8]:
    """What each byte of a channel becomes: uint8 [256]. counts: of pixels by byte [256]"""
    values, share = np.arange(256.0), counts / counts.sum()
    for _ in range(_ROUNDS):
        mean = share @ values
        deviation = max(float(np.sqrt(share @ (values - mean) ** 2)), 1e-6)
        values = ((values - mean) / deviation * DEVIATION + MEAN).clip(0, 255)
    return _bytes(values)


def grey(images: ImageSet) -> ImageSet:
    """Without colours: every channel is the luma."""
    return replace(images, x_train=_luma(images.x_train), x_test=_luma(images.x_test))


VARIANTS: Mapping[str, Callable[[ImageSet], ImageSet]] = {
    "half-a": partial(half, which=0),
    "half-b": partial(half, which=1),
    "matched": matched,
    "grey": grey,
}
"""Name → the function."""


def write_variant(
    variant: str, name: str, folder: str | os.PathLike[str], data_dir: str | os.PathLike[str] | None = None
) -> Path:
    """Write a variant of the data set `name` (32 x 32, in colour) as <folder>/<name>.npz. Returns that path.

    data_dir: folder of .npz files in which the data set lies; see `weightprint.images.load`

    Raises DataError for an unknown variant or data set, and for a file that is there.
    """
    if variant not in VARIANTS:
        raise DataError(f"no variant {variant!r} of data sets", hint=did_you_mean(variant, VARIANTS))
    path = Path(folder) / f"{name}.npz"
    if path.exists():
        raise DataError(f"{path} exists", hint="choose a folder for each variant, apart from the originals")
    changed = VARIANTS[variant](load(name, data_dir))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_npz(path, name, {key: getattr(changed, key) for key in KEYS})
    return path


def _bytes(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    return np.rint(values).astype(np.uint8)


def _luma(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    luma = images.astype(np.float32) @ np.array(_LUMA, np.float32)
    return np.repeat(_bytes(luma)[..., None], images.shape[-1], axis=-1)
