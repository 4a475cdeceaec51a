"""Pixels and labels as people keep them → bytes of 32 x 32 colour pictures and labels 0-9."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weightprint.errors import DataError
from weightprint.setups import CLASSES
from weightprint.setups import IMAGE_SIDE as SIDE

_RESIZED_AT_ONCE = 512


def check_images(images: np.ndarray, where: str) -> None:
    """Raise DataError, naming `where`, unless the images are such that `to_rgb32` takes them."""
    check_form(images.shape, images.dtype, where)
    if images.dtype != np.uint8 and (images.min() < 0 or images.max() > 255):
        problem = f"{where} has values from {images.min()} to {images.max()}, expected 0 to 255"
        raise DataError(problem, hint="rescale the images")


def check_form(shape: tuple[int, ...], dtype: np.dtype[Any], where: str) -> None:
    """Raise DataError unless the shape is [N, H, W] or [N, H, W, C] without zeros and the type a whole number."""
    form = f"{where} is {dtype} {list(shape)}"
    if dtype.kind not in "iu":
        problem = f"{form}, expected whole numbers from 0 to 255"
        raise DataError(problem, hint="images with values in [0, 1] become such by (255 * x).round().astype('uint8')")
    if len(shape) not in (3, 4):
        raise DataError(f"{form}, expected [N, H, W] or [N, H, W, C]", hint="reshape the images")
    if 0 in shape:
        raise DataError(f"{form}, expected at least one image", hint="the file holds no pixels; write it again")
    if len(shape) == 4 and _channels_first(*shape[1:]):
        problem = f"{form}, which looks like channels first; expected [N, H, W, C]"
        raise DataError(problem, hint="transpose by (0, 2, 3, 1)")


def _channels_first(a: int, b: int, c: int) -> bool:
    """Whether the sides of [N, a, b, c] make more sense as channels, height, width than as height, width, channels."""
    return a <= 4 < min(b, c) or a < b == c


def to_labels(labels: np.ndarray, images: int, where: str) -> NDArray[np.int64]:
    """The labels of so many images, [N] or [N, 1] of any whole numbers, as int64 [N].

    Raises DataError, naming `where`, unless there is one label in 0..9 for each image and no class is absent.
    """
    if labels.dtype.kind not in "iu":
        problem = f"{where} is {form_of(labels)}, expected whole numbers 0-9"
        raise DataError(problem, hint="convert with astype('int64')")
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        hint = "one-hot rows become labels by argmax(1)" if labels.ndim == 2 else "reshape the labels"
        raise DataError(f"{where} is {form_of(labels)}, expected one label per image", hint=hint)
    if labels.size and (labels.min() < 0 or labels.max() >= CLASSES):
        problem = f"{where} has labels from {labels.min()} to {labels.max()}, expected 0 to {CLASSES - 1}"
        raise DataError(problem, hint="number ten classes from 0; keep no others")
    if len(labels) != images:
        raise DataError(f"{where} has {len(labels)} labels for {images} images", hint="one label per image")
    if absent := sorted({*range(CLASSES)} - {*labels.tolist()}):
        problem = f"{where} has no image of class {', '.join(map(str, absent))}"
        raise DataError(problem, hint=f"each of the classes 0-{CLASSES - 1} needs some")
    return labels.astype(np.int64)


def form_of(array: np.ndarray) -> str:
    """Type and shape, for messages."""
    return f"{array.dtype} {list(array.shape)}"


def to_rgb32(images: np.ndarray) -> NDArray[np.uint8]:
    """Images [N, H, W] or [N, H, W, C] as uint8 [N, 32, 32, 3]."""
    if images.ndim == 3:
        images = images[..., None]
    color = images.shape[3] >= 3
    resized = resize(images[..., : 3 if color else 1])
    return np.ascontiguousarray(resized) if color else np.repeat(resized, 3, axis=3)


def to_grey28(images: np.ndarray) -> NDArray[np.uint8]:
    """Images [N, H, W] or [N, H, W, C] as uint8 [N, 28, 28, 1]; of colours the luma of ITU-R BT.601."""
    if images.ndim == 3:
        images = images[..., None]
    if images.shape[3] >= 3:
        red, green, blue = (images[..., channel].astype(np.int64) for channel in range(3))
        images = ((299 * red + 587 * green + 114 * blue + 500) // 1000)[..., None]
    return np.ascontiguousarray(resize(images[..., :1], 28))


FORMS: dict[str, Callable[[np.ndarray], NDArray[np.uint8]]] = {"32x32x3": to_rgb32, "28x28x1": to_grey28}
"""By the names of `weightprint.setups.IMAGE_FORMS`."""


def resize(images: np.ndarray, side: int = SIDE) -> NDArray[np.uint8]:
    """Integer images in 0..255, [N, H, W, C] → uint8 [N, side, side, C], bilinear.

    TensorFlow 1's `tf.image.resize_bilinear` with align_corners=False: pixel i of the result lies at i · H / side of
    the image, between the pixels ⌊i · H / side⌋ and the next (at the border: the same) one.

    Differs: the paper keeps the interpolated floats; here they are rounded to bytes, half to even.
    """
    if images.shape[1:3] == (side, side):
        return images.astype(np.uint8)
    resized = np.empty((len(images), side, side, images.shape[3]), dtype=np.uint8)
    for start in range(0, len(images), _RESIZED_AT_ONCE):
        part = slice(start, start + _RESIZED_AT_ONCE)
        resized[part] = np.rint(_interpolate(images[part], side))
    return resized


def _interpolate(images: np.ndarray, side: int) -> NDArray[np.float32]:
    top, bottom, down = _neighbours(images.shape[1], side)
    left, right, across = _neighbours(images.shape[2], side)
    down, across = down[:, None, None], across[:, None]

    def along(rows: np.ndarray) -> NDArray[np.float32]:
        at_left = images[:, rows[:, None], left].astype(np.float32)
        return at_left + (images[:, rows[:, None], right] - at_left) * across

    upper = along(top)
    return upper + (along(bottom) - upper) * down


def _neighbours(size: int, side: int) -> tuple[np.ndarray, np.ndarray, NDArray[np.float32]]:
    """Of each pixel of the result: the image's pixels before and after it, and the weight of the latter."""
    position = np.arange(side, dtype=np.float32) * np.float32(size / side)
    before = position.astype(np.int64)
    return before, np.minimum(before + 1, size - 1), position - before.astype(np.float32)
