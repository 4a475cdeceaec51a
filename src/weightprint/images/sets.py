"""Data sets of images: ten classes of 32 x 32 colour pictures, in memory as bytes."""

from __future__ import annotations

import operator
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weightprint.errors import DataError, did_you_mean
from weightprint.files import canonical_json, sha256_hex
from weightprint.images.bundled import SETS, random_order
from weightprint.images.homes import HOMES
from weightprint.images.pixels import CLASSES, FORMS, check_form, check_images, form_of, to_labels
from weightprint.setups import IMAGE_FORMS

KEYS = ("x_train", "y_train", "x_test", "y_test")
"""Arrays of an .npz file of images; the names that Keras gave them in its `mnist.npz`."""

VALIDATION_SHARE = 10
"""One image in ten is held out for validation (paper section 3.2: 90/10)."""

_LISTED = 8


@dataclass(frozen=True, eq=False)
class ImageSet:
    """A data set, ready to be split. Checked when built; raises DataError.

    name:    what to call it
    x_train: uint8 [N, 32, 32, 3]
    y_train: int64 [N], labels 0-9, every one of them at least once
    x_test:  uint8 [M, 32, 32, 3]
    y_test:  int64 [M], as y_train
    form:    of the images: "32x32x3", or "28x28x1" for images [N, 28, 28, 1]
    """

    name: str
    x_train: NDArray[np.uint8]
    y_train: NDArray[np.int64]
    x_test: NDArray[np.uint8]
    y_test: NDArray[np.int64]
    form: str = "32x32x3"

    def __post_init__(self) -> None:
        side, channels = IMAGE_FORMS[self.form]
        for part in ("train", "test"):
            images, labels = getattr(self, f"x_{part}"), getattr(self, f"y_{part}")
            if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (side, side, channels):
                raise DataError(
                    f"{self.name}: expected x_{part} as uint8 [N, {side}, {side}, {channels}], found {form_of(images)}",
                    hint="ImageSet.from_arrays takes images of other sizes",
                )
            if labels.dtype != np.int64 or labels.ndim != 1:
                problem = f"{self.name}: expected y_{part} as int64 [N], found {form_of(labels)}"
                raise DataError(problem, hint="ImageSet.from_arrays takes other integers")
            to_labels(labels, len(images), f"{self.name}: y_{part}")

    @classmethod
    def from_arrays(
        cls,
        name: str,
        x_train: np.ndarray,
        y_train: np.ndarray,
        x_test: np.ndarray,
        y_test: np.ndarray,
        *,
        source: str | None = None,
        form: str = "32x32x3",
    ) -> ImageSet:
        """A data set from integer arrays of any image size.

        x_train, x_test: [N, H, W] or [N, H, W, C], any integers in 0..255. They are resized to 32 x 32 by `resize`.
                         One channel is repeated; of two (grey, alpha) the first is repeated; of four (red, green,
                         blue, alpha) and of more the first three are taken.
        y_train, y_test: [N] or [N, 1], any integers in 0..9
        source:          what to name in errors; the data set's name when None
        form:            "28x28x1" for grey images of 28 x 28: of colours the luma is taken

        Raises DataError for anything else: floats, channels first, labels out of range, a class without images.
        """
        source = source or name
        arrays: dict[str, np.ndarray] = {}
        for part, images, labels in (("train", x_train, y_train), ("test", x_test, y_test)):
            images, labels = np.asarray(images), np.asarray(labels)
            check_images(images, f"{source}: x_{part}")
            labels = to_labels(labels, len(images), f"{source}: y_{part}")
            arrays |= {f"x_{part}": FORMS[form](images), f"y_{part}": labels}
        return cls(name, **arrays, form=form)

    @property
    def sha256(self) -> str:
        """SHA-256 over the shapes and bytes of the four arrays; the name does not count."""
        chunks: list[bytes | memoryview] = []
        for key in KEYS:
            array = getattr(self, key)
            array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
            chunks += [canonical_json([key, array.dtype.str, list(array.shape)]).encode(), array.data.cast("B")]
        return sha256_hex(*chunks)

    def describe(self) -> dict[str, Any]:
        """Name, numbers of images, the same per class, the largest class-balanced sizes, and the checksum."""
        sizes = _sizes(np.bincount(self.y_train).tolist(), np.bincount(self.y_test).tolist())
        return {"name": self.name, **sizes, "sha256": self.sha256}


@dataclass(frozen=True, eq=False)
class TrainingImages:
    """What one run sees of a data set: x uint8 [N, 32, 32, 3] and y int64 [N] of three disjoint parts.

    name:                       of the data set
    x_train, y_train:           for gradient steps
    x_validation, y_validation: decide when to stop
    x_test, y_test:             for the record
    """

    name: str
    x_train: NDArray[np.uint8]
    y_train: NDArray[np.int64]
    x_validation: NDArray[np.uint8]
    y_validation: NDArray[np.int64]
    x_test: NDArray[np.uint8]
    y_test: NDArray[np.int64]

    @property
    def train(self) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        return self.x_train, self.y_train

    @property
    def validation(self) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        return self.x_validation, self.y_validation

    @property
    def test(self) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        return self.x_test, self.y_test

    def arrays(self) -> dict[str, np.ndarray]:
        """The six arrays by field name."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "name"}


# --- splitting -------------------------------------------------------------------------------------------------------


def prepare(images: ImageSet, *, train_size: int | None, test_size: int | None, seed: int) -> TrainingImages:
    """Choose the images of a zoo's runs and split them 90/10, stratified, into training and validation images.

    train_size: class-balanced images before the split, a multiple of 10, at least 20; all images when None
    test_size:  class-balanced test images, a multiple of 10; all images when None
    seed:       of the choice, which also depends on the data set's name

    Of n images of a class, max(1, round(n / 10)) are validation images. Images lie in an order that deals one image
    of each class in turn. Sizes nest: each part of a smaller balanced choice is the beginning of the same part of a
    larger one, and train_size and test_size do not affect each other.

    Raises DataError for sizes that are not to be had, naming the largest that is.
    """
    y_train, y_test = images.y_train, images.y_test
    _check_size(train_size, images.name, "train", largest_train_size(images), smallest=2 * CLASSES)
    _check_size(test_size, images.name, "test", largest_test_size(images), smallest=CLASSES)
    if largest_train_size(images) < 2 * CLASSES:
        problem = f"{images.name} has a class with a single training image, expected at least two in each"
        raise DataError(problem, hint="one is held out for validation; add images")
    chosen, ranks = _deal(y_train, train_size, "images", seed, images.name, "train")
    held_out = _validation_count(ranks + 1) > _validation_count(ranks)
    train, validation = chosen[~held_out], chosen[held_out]
    test, _ = _deal(y_test, test_size, "images", seed, images.name, "test")
    return TrainingImages(
        images.name,
        *(images.x_train[train], y_train[train]),
        *(images.x_train[validation], y_train[validation]),
        *(images.x_test[test], y_test[test]),
    )


def largest_train_size(images: ImageSet) -> int:
    """The largest class-balanced `train_size` of a data set: ten times its smallest class."""
    return CLASSES * int(np.bincount(images.y_train).min())


def largest_test_size(images: ImageSet) -> int:
    """The largest class-balanced `test_size` of a data set: ten times its smallest class."""
    return CLASSES * int(np.bincount(images.y_test).min())


def part_name(dataset: str, form: str) -> str:
    """What images of a data set are called where several forms lie side by side: "mnist", "mnist/28x28x1"."""
    return dataset if form == "32x32x3" else f"{dataset}/{form}"


def epoch_indices(labels: NDArray[np.int64], *, generator: np.random.Generator) -> NDArray[np.int64]:
    """The images of one epoch: as many of each class as the smallest class has, drawn anew and shuffled.

    labels [N] of the training part; a class without images plays no part. Returns int64 indices into it, each at
    most once (protocol: class-balanced sub-sampling of the training part to its smallest class).
    """
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    count = min((len(m) for m in members), default=0)
    drawn = [generator.permutation(m)[:count] for m in members]
    return generator.permutation(np.concatenate(drawn)) if drawn else np.empty(0, dtype=np.int64)


def epoch_size(labels: NDArray[np.int64]) -> int:
    """How many images `epoch_indices` gives."""
    counts = np.unique(labels, return_counts=True)[1]
    return len(counts) * int(counts.min(initial=len(labels)))


def refuse_other_form(images: TrainingImages, form: str) -> None:
    """Raise DataError unless the images have the side and the channels of a form."""
    side, channels = IMAGE_FORMS[form]
    if images.x_train.shape[1:] != (side, side, channels):
        problem = f"{images.name} has images of {list(images.x_train.shape[1:])}, expected {[side, side, channels]}"
        raise DataError(problem, hint=f"load them with form={form!r}")


def refuse_large_batch(images: TrainingImages, batch_size: int) -> None:
    """Raise DataError when the class-balanced images of an epoch are fewer than one batch."""
    size = epoch_size(images.y_train)
    if size >= batch_size:
        return
    problem, more = f"{images.name} has {size} training images", "more training images"
    if size < len(images.y_train):
        labels, counts = np.unique(images.y_train, return_counts=True)
        smallest = f"class {labels[counts.argmin()]}"
        problem = (
            f"{smallest} of {images.name} has {counts.min()} training images, with balanced classes {size} in an epoch"
        )
        more = f"more images of {smallest}"
    raise DataError(f"{problem}, fewer than one batch of {batch_size}", hint=f"{more}, or a smaller batch_size")


def _deal(labels: NDArray[np.int64], size: int | None, *key: object) -> tuple[np.ndarray, np.ndarray]:
    """Indices of `size` images (None: all), one of each class in turn, and their ranks within their class."""
    ranks = np.empty(len(labels), dtype=np.int64)
    for label in range(CLASSES):
        members = np.flatnonzero(labels == label)
        ranks[members[random_order(len(members), *key, label)]] = np.arange(len(members))
    order = np.lexsort((labels, ranks))[:size]
    return order, ranks[order]


def _validation_count(n: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many of n images of a class are held out."""
    return np.where(n > 0, np.maximum(1, np.rint(n / VALIDATION_SHARE)), 0).astype(np.int64)


def _check_size(size: int | None, name: str, part: str, largest: int, *, smallest: int) -> None:
    if size is None:
        return
    try:
        operator.index(size)
    except TypeError:
        raise DataError(f"{part} size must be a whole number, not {size!r}") from None
    if size > largest:
        hint = f"the largest {part} size that fits is {largest}"
        raise DataError(f"{name} has no {size} class-balanced {part} images", hint=hint)
    if size < smallest:
        raise DataError(f"{part} size must be at least {smallest}, not {size}", hint=f"at most {largest} fit {name}")
    if size % CLASSES:
        below = size - size % CLASSES
        near = f"{below} or {below + CLASSES}" if below + CLASSES <= largest else f"{below}"
        problem = f"{part} size must be a multiple of {CLASSES}, so that classes are equally large, not {size}"
        raise DataError(problem, hint=f"nearest: {near}")


def _sizes(train: list[int], test: list[int]) -> dict[str, Any]:
    """Facts that follow from the numbers of images per class."""
    return {
        "train": sum(train),
        "test": sum(test),
        "train_per_class": train,
        "test_per_class": test,
        "largest_train_size": CLASSES * min(train),
        "largest_test_size": CLASSES * min(test),
    }


# --- finding ---------------------------------------------------------------------------------------------------------


def load(name: str, data_dir: str | os.PathLike[str] | None = None, *, form: str = "32x32x3") -> ImageSet:
    """The data set `name`: the file <data_dir>/<name>.npz if there is one, else the bundled one.

    data_dir: folder of .npz files; `home_folder()`, where fetched and added sets lie, when None

    form: of its images: "32x32x3" or "28x28x1"

    Raises DataError for an unknown name, a folder that is not there, or a file that `load_npz` refuses.
    """
    files = _npz_files(data_dir)
    if name in files:
        return load_npz(files[name], name, form=form)
    if name in SETS:
        return ImageSet.from_arrays(name, *SETS[name].make(), form=form)
    raise _absent([name], data_dir, {*files, *SETS})


def refuse_absent_sets(names: Sequence[str], data_dir: str | os.PathLike[str] | None = None) -> None:
    """Raise DataError where `load` does not find one of these data sets; its hint is an option that does without."""
    there = {*_npz_files(data_dir), *SETS}
    if absent := [name for name in names if name not in there]:
        error = _absent(absent, data_dir, there)
        would_do = [name for name in names if name in there] or sorted(there)
        error.hint = f"--datasets {','.join(would_do)}; {error.hint}"
        raise error


def _absent(names: Sequence[str], data_dir: str | os.PathLike[str] | None, there: set[str]) -> DataError:
    """The error about data sets that are not there."""
    hint = did_you_mean(names[0], sorted(there))
    if data_dir is not None:
        return DataError(f"no data set {', '.join(names)} in {data_dir} or bundled", hint=hint)
    fetched = f"weightprint data fetch {names[0]}, or " if names[0] in HOMES else ""
    return DataError(
        f"no data set {', '.join(names)} fetched, added or bundled",
        hint=f"{hint}; or {fetched}give --data DIR with {names[0]}.npz in it",
    )


def available(data_dir: str | os.PathLike[str] | None = None) -> list[dict[str, Any]]:
    """What `load` finds: one entry per data set, files first, each sorted by name. Pixels are not read.

    Every entry has `name`, `source` ("bundled" or a path) and `description`. A good one has the numbers of images,
    `train`, `test`, `train_per_class`, `test_per_class`, `largest_train_size` and `largest_test_size`; a file that
    cannot be used has `problem` instead.

    Raises DataError for a folder that is not there.
    """
    files = _npz_files(data_dir)
    entries = [_summary(name, path) for name, path in sorted(files.items())]
    for name, bundled in sorted(SETS.items()):
        if name not in files:
            sizes = _sizes(list(bundled.train_classes), list(bundled.test_classes))
            entries.append({"name": name, "source": "bundled", "description": bundled.description, **sizes})
    return entries


def home_folder() -> Path:
    """Where data sets lie when no folder is given: $WEIGHTPRINT_DATA, or weightprint/images in the user's cache."""
    given = os.environ.get("WEIGHTPRINT_DATA")
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(given) if given else Path(cache) / "weightprint" / "images"


def _npz_files(data_dir: str | os.PathLike[str] | None) -> dict[str, Path]:
    if data_dir is None:
        data_dir = home_folder()
        if not data_dir.is_dir():
            return {}
    try:
        return {path.stem: path for path in Path(data_dir).iterdir() if path.suffix == ".npz"}
    except OSError as error:
        raise DataError(
            f"cannot list the data folder {data_dir}: {error.strerror}",
            hint="expected a folder of .npz files; without one the bundled data sets are used",
        ) from error


def _summary(name: str, path: Path) -> dict[str, Any]:
    entry = {"name": name, "source": str(path)}
    try:
        arrays = _read_npz(path, pixels=False)
        counts = []
        for part in ("train", "test"):
            count, *shape = arrays[f"x_{part}"].tolist()
            labels = to_labels(arrays[f"y_{part}"], count, f"{path}: y_{part}")
            counts.append(np.bincount(labels).tolist())
    except DataError as error:
        return {**entry, "description": "cannot be used", "problem": str(error)}
    return {**entry, "description": "images of " + " x ".join(map(str, shape)), **_sizes(*counts)}


# --- reading ---------------------------------------------------------------------------------------------------------


def load_npz(path: str | os.PathLike[str], name: str | None = None, *, form: str = "32x32x3") -> ImageSet:
    """A data set from a NumPy archive with the arrays `KEYS`, as `ImageSet.from_arrays` takes them.

    path: of an .npz file; nothing in it is unpickled
    name: the file's name without .npz when None
    form: of its images: "32x32x3" or "28x28x1"

    Raises DataError, naming the file, when it cannot be read or its content cannot be used.
    """
    arrays = _read_npz(Path(path), pixels=True)
    return ImageSet.from_arrays(name or Path(path).stem, **arrays, source=str(path), form=form)


def _read_npz(path: Path, *, pixels: bool) -> dict[str, np.ndarray]:
    """The arrays `KEYS` of an archive; where `pixels` is False, the images' shapes in place of the images."""
    four_arrays = f"expected a NumPy archive with the arrays {', '.join(KEYS)}"
    try:
        with open(path, "rb") as file:
            if not zipfile.is_zipfile(file):
                hint = "write it with numpy.savez"
                raise DataError(f"{path} is no .npz file or is cut short: {four_arrays}", hint=hint)
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:
                if missing := [key for key in KEYS if key not in archive.files]:
                    problem = f"{path} lacks {', '.join(missing)}; found {_listing(archive.files)}"
                    raise DataError(problem, hint=four_arrays)
                if pixels:
                    arrays = {key: archive[key] for key in KEYS}
                else:
                    arrays = {key: archive[key] for key in KEYS if key.startswith("y")}
                    arrays |= {key: _read_shape(archive, key, f"{path}: {key}") for key in KEYS if key not in arrays}
        for key, array in arrays.items():
            if not isinstance(array, np.ndarray):  # numpy hands out a member of another kind as bytes
                raise DataError(f"{path}: {key} is no NumPy array", hint="write the file with numpy.savez")
        return arrays
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}", hint=four_arrays) from error
    except DataError:
        raise
    except Exception as error:  # a damaged archive makes zipfile, zlib and numpy raise nearly anything
        reason = (str(error).splitlines() or [""])[0]
        problem = f"{path} is damaged or does not hold plain arrays: {type(error).__name__}: {reason}"
        raise DataError(problem, hint="write it with numpy.savez and arrays of integers, or copy it again") from error


def _listing(names: list[str]) -> str:
    """Names from a file, on one line and not too long."""
    shown = ", ".join(name if name.isprintable() else repr(name) for name in names[:_LISTED])
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return (shown or "nothing") + more


def _read_shape(archive: Any, key: str, where: str) -> NDArray[np.int64]:
    """The shape of an array of images, from its header, once that is found in order."""
    with archive.zip.open(f"{key}.npy") as member:
        version = np.lib.format.read_magic(member)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(member)
    check_form(shape, dtype, where)
    return np.array(shape, dtype=np.int64)
