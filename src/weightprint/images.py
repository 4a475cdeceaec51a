"""Image data sets as uint8 arrays: bundled ones, and .npz files of any size and channel count."""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from weightprint.bundled import BUNDLED
from weightprint.errors import DataError, did_you_mean
from weightprint.files import seed_from_hash, sha256_hex
from weightprint.layouts import IMAGE_SIDE
from weightprint.setups import CLASSES

KEYS = ("x_train", "y_train", "x_test", "y_test")
VALIDATION_SHARE = 0.1
_RESIZE_CHUNK = 1024


@dataclass(frozen=True, eq=False)
class ImageSet:
    """A data set, ready to train on.

    x_train, x_test: uint8 [N, 32, 32, 3]
    y_train, y_test: int64 [N], labels 0 to 9
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray

    @cached_property
    def sha256(self) -> str:
        """Over shapes, images and labels; the same for equal content under any name."""
        chunks = []
        for key in KEYS:
            array = np.ascontiguousarray(getattr(self, key))
            chunks += [f"{key} {array.dtype.str} {array.shape}".encode(), array.tobytes()]
        return sha256_hex(*chunks)


@dataclass(frozen=True, eq=False)
class TrainingImages:
    """What one run trains on and is measured on: images uint8 [N, 32, 32, 3], labels int64 [N]."""

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_validation: np.ndarray
    y_validation: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays by field name."""
        return {field: value for field, value in vars(self).items() if field != "name"}


def load(name: str, data: str | os.PathLike[str] | None = None) -> ImageSet:
    """A data set by name: <data>/<name>.npz when there is such a file, else a bundled one.

    Raises DataError when there is neither, or when the file cannot be used.
    """
    if data is not None:
        path = _data_folder(data) / f"{name}.npz"
        if path.exists():
            return load_npz(path, name)
    if name in BUNDLED:
        return image_set(name, BUNDLED[name].make())
    known = [row["name"] for row in available(data)]
    where = f"in {data} or bundled" if data is not None else "bundled"
    hint = did_you_mean(name, known) + ("" if data is not None else "; or --data DIR with a file of that name")
    raise DataError(f"no data set {name!r} {where}", hint=hint)


def available(data: str | os.PathLike[str] | None = None) -> list[dict[str, Any]]:
    """The data sets that `load` can name: name, train and test images, source. Files are not checked."""
    rows = {name: {"name": name, "train": b.train, "test": b.test, "source": b.source} for name, b in BUNDLED.items()}
    for path in sorted(_data_folder(data).glob("*.npz")) if data is not None else ():
        train, test = (_length_in_header(path, key) for key in ("y_train", "y_test"))
        rows[path.stem] = {"name": path.stem, "train": train, "test": test, "source": str(path)}
    return list(rows.values())


def _data_folder(data: str | os.PathLike[str]) -> Path:
    folder = Path(data)
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder", hint="--data takes a folder of .npz files")
    return folder


def _length_in_header(path: Path, key: str) -> int:
    """Length of an array in an .npz file, read from its header alone; 0 when there is none."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{key}.npy") as file:
            version = np.lib.format.read_magic(file)  # type: ignore[arg-type]
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            return read(file)[0][0]  # type: ignore[arg-type]
    except (OSError, ValueError, KeyError, IndexError, zipfile.BadZipFile):
        return 0


def load_npz(path: str | os.PathLike[str], name: str | None = None) -> ImageSet:
    """A data set from an .npz file with x_train, y_train, x_test, y_test.

    Images are [N, H, W] or [N, H, W, C] with values 0 to 255 in an integer type, of any size and channel count; labels
    [N] or [N, 1], whole numbers 0 to 9, every one of which occurs. Nothing is unpickled.

    Raises DataError that names the file, what was expected, and what was found.
    """
    path = Path(path)
    try:
        with np.load(path, allow_pickle=False) as archive:
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise DataError(
                    f"{path} is one array, not an .npz archive", hint=f"save {', '.join(KEYS)} with np.savez"
                )
            missing = [key for key in KEYS if key not in archive.files]
            if missing:
                raise DataError(
                    f"{path} has no {', '.join(missing)}; it has {', '.join(archive.files) or 'nothing'}",
                    hint=f"save {', '.join(KEYS)} with np.savez_compressed",
                )
            arrays = {key: archive[key] for key in KEYS}
    except FileNotFoundError as error:
        raise DataError(f"there is no file {path}") from error
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zipfile.LargeZipFile) as error:
        if isinstance(error, DataError):
            raise
        reason = (
            "it holds pickled objects" if "allow_pickle" in str(error) else " ".join(str(error).split()) or "broken"
        )
        raise DataError(
            f"{path} cannot be read as an .npz archive: {reason}", hint="write it again with np.savez"
        ) from error
    except Exception as error:  # zlib.error and whatever else a damaged archive provokes
        raise DataError(f"{path} is damaged: {error}", hint="fetch or write it again") from error
    return image_set(name or path.stem, arrays, where=str(path))


def image_set(name: str, arrays: dict[str, np.ndarray], *, where: str | None = None) -> ImageSet:
    """Checked arrays as an `ImageSet`; see `load_npz` for what they may be. Raises DataError."""
    where = where or name
    checked: dict[str, np.ndarray] = {}
    for part in ("train", "test"):
        images = _check_images(arrays[f"x_{part}"], f"x_{part} of {where}")
        labels = _check_labels(arrays[f"y_{part}"], f"y_{part} of {where}")
        if len(images) != len(labels):
            raise DataError(
                f"{where} has {len(images)} images in x_{part} and {len(labels)} labels in y_{part}",
                hint="each image needs one label",
            )
        checked |= {f"x_{part}": to_32x32x3(images), f"y_{part}": labels}
    return ImageSet(name=name, **checked)


def _check_images(images: np.ndarray, what: str) -> np.ndarray:
    if images.ndim not in (3, 4) or min(images.shape[1:]) < 1:
        raise DataError(
            f"{what} has shape {images.shape}", hint="images are [N, height, width] or [N, height, width, channels]"
        )
    if not len(images):
        raise DataError(f"{what} is empty", hint="at least one image of every class is needed")
    if images.ndim == 4 and images.shape[1] <= 4 < min(images.shape[2:]):
        raise DataError(
            f"{what} has shape {images.shape}: channels first", hint="put channels last: x.transpose(0, 2, 3, 1)"
        )
    if images.dtype == np.uint8:
        return images
    if not np.issubdtype(images.dtype, np.integer):
        raise DataError(f"{what} has type {images.dtype}", hint="images are whole numbers 0 to 255, best in uint8")
    if images.min() < 0 or images.max() > 255:
        raise DataError(f"{what} has values from {images.min()} to {images.max()}", hint="images are 0 to 255")
    return images.astype(np.uint8)


def _check_labels(labels: np.ndarray, what: str) -> np.ndarray:
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise DataError(
            f"{what} has shape {labels.shape} and type {labels.dtype}", hint="labels are whole numbers, one per image"
        )
    if not len(labels):
        raise DataError(f"{what} is empty", hint="at least one image of every class is needed")
    if labels.min() < 0 or labels.max() >= CLASSES:
        raise DataError(
            f"{what} has labels from {labels.min()} to {labels.max()}", hint=f"labels are 0 to {CLASSES - 1}"
        )
    absent = sorted(set(range(CLASSES)) - set(np.unique(labels).tolist()))
    if absent:
        raise DataError(
            f"{what} has no image of class {', '.join(map(str, absent))}", hint=f"all {CLASSES} classes are needed"
        )
    return labels.astype(np.int64)


def to_32x32x3(images: np.ndarray) -> np.ndarray:
    """Images uint8 [N, H, W] or [N, H, W, C] as uint8 [N, 32, 32, 3].

    Bilinear in TensorFlow 1's legacy corner convention: output pixel i reads input position i · size / 32, between the
    pixel there and the next (tf.image.resize_images with align_corners=False).
    Differs: rounded to whole numbers. One channel is repeated, as is the grey of two (grey, alpha); of four or more the
    first three are taken.
    """
    if images.ndim == 3:
        images = images[..., None]
    images = images[..., :3] if images.shape[-1] >= 3 else images[..., :1].repeat(3, axis=-1)
    if images.shape[1:3] == (IMAGE_SIDE, IMAGE_SIDE):
        return np.ascontiguousarray(images)
    chunks = range(0, len(images), _RESIZE_CHUNK)
    return np.concatenate([_resize(images[i : i + _RESIZE_CHUNK]) for i in chunks])


def _resize(images: np.ndarray) -> np.ndarray:
    values = images.astype(np.float32)
    for axis in (1, 2):
        size = values.shape[axis]
        position = np.arange(IMAGE_SIDE) * (size / IMAGE_SIDE)
        low = np.floor(position).astype(np.int64)
        high = np.minimum(low + 1, size - 1)
        share = (position - low).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(4)])
        values = values.take(low, axis=axis) * (1 - share) + values.take(high, axis=axis) * share
    return np.round(values).astype(np.uint8)


def largest_train_size(images: ImageSet) -> int:
    """The most class-balanced training images it has."""
    return CLASSES * int(np.bincount(images.y_train, minlength=CLASSES).min())


def largest_test_size(images: ImageSet) -> int:
    """The most class-balanced test images it has."""
    return CLASSES * int(np.bincount(images.y_test, minlength=CLASSES).min())


def prepare(
    images: ImageSet, *, train_size: int | None = None, test_size: int | None = None, seed: int
) -> TrainingImages:
    """The images that every run of a zoo uses of one data set.

    train_size: class-balanced images, a multiple of 10, split 90/10 into training and validation, stratified; None
                takes all, balanced or not
    test_size:  class-balanced test images, a multiple of 10; None takes all
    seed:       which images are taken

    Raises DataError when there are too few, with the largest size that fits.
    """
    generator = np.random.Generator(np.random.PCG64(seed_from_hash("images", seed)))
    taken = _balanced(images.name, images.y_train, train_size, generator, "--train-size", minimum=2 * CLASSES)
    tested = _balanced(images.name, images.y_test, test_size, generator, "--test-size", minimum=CLASSES)
    labels = images.y_train[taken]
    validation = np.zeros(len(taken), dtype=bool)
    for label in range(CLASSES):
        members = np.flatnonzero(labels == label)
        if len(members) < 2:
            raise DataError(f"{images.name} has one training image of class {label}", hint="at least two are needed")
        validation[members[: max(1, round(VALIDATION_SHARE * len(members)))]] = True
    return TrainingImages(
        name=images.name,
        x_train=images.x_train[taken[~validation]],
        y_train=labels[~validation],
        x_validation=images.x_train[taken[validation]],
        y_validation=labels[validation],
        x_test=images.x_test[tested],
        y_test=images.y_test[tested],
    )


def _balanced(
    name: str, labels: np.ndarray, size: int | None, generator: np.random.Generator, option: str, *, minimum: int
) -> np.ndarray:
    """Indices of `size` images, equally many of each class, in random order; of all images when size is None."""
    order = generator.permutation(len(labels))
    if size is None:
        return order
    largest = CLASSES * int(np.bincount(labels, minlength=CLASSES).min())
    if size < minimum or size % CLASSES:
        raise DataError(
            f"{option} must be a multiple of {CLASSES} from {minimum}, not {size}",
            hint=f"{max(minimum, size // CLASSES * CLASSES)}, for example",
        )
    if size > largest:
        raise DataError(
            f"{name} has {largest} class-balanced images for {option}, not {size}", hint=f"{option} {largest} fits"
        )
    return order[rank_within_class(labels[order]) < size // CLASSES]


def rank_within_class(labels: np.ndarray) -> np.ndarray:
    """How many earlier entries of `labels` [N] have the same label: int64 [N]."""
    rank = np.zeros(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        members = labels == label
        rank[members] = np.arange(members.sum())
    return rank


def epoch_indices(labels: np.ndarray, *, generator: np.random.Generator) -> np.ndarray:
    """Order of the training images for one epoch: every class cut down to the smallest, anew each time, shuffled.

    labels: [N]. Returns int64 [C · smallest] (paper section 3.1: classes are balanced by sub-sampling).
    """
    order = generator.permutation(len(labels))
    smallest = np.bincount(labels)[np.unique(labels)].min()
    return order[rank_within_class(labels[order]) < smallest]
