"""Data sets put into a folder of .npz files: fetched from their homes, or the user's own.

The folder is the one that is given, or `home_folder()`, where `load` looks when it is given none.
"""

from __future__ import annotations

import http.client
import io
import logging
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weightprint.errors import DataError, did_you_mean
from weightprint.files import write_atomic
from weightprint.images.bundled import SETS
from weightprint.images.homes import HOMES, RemoteFile
from weightprint.images.pixels import CLASSES
from weightprint.images.sets import ImageSet, home_folder, load_npz
from weightprint.setups import IMAGE_SIDE

Progress = Callable[[str, int, int], None]
"""Called with a file's name, bytes that are there and bytes in all (0 where the server does not say)."""

ATTEMPTS = 4
"""Times that a connection which breaks off is made again, if it brought nothing new."""
KEPT_SIDE = 96
"""Images that all have one size of at most so many pixels a side are kept as they are."""
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
TEST_EVERY = 5
_TIMEOUT = 30.0
_CHUNK = 1 << 16


def fetch(name: str, folder: str | os.PathLike[str] | None = None, *, progress: Progress | None = None) -> Path:
    """Fetch a data set from its home into <folder>/<name>.npz, and return that path. A file that is there is kept.

    An interrupted fetch leaves what it has in <folder>/.fetch-<name>/; the same call goes on there, in the middle of a
    file where the server can. A file whose checksum is wrong is thrown away. The .npz appears whole or not at all.

    name:   one of `HOMES`
    folder: of .npz files; `home_folder()` where None

    Raises DataError for an unknown name, and where no address gave the file, with what each said.
    """
    if name not in HOMES:
        raise DataError(f"no data set {name!r} can be fetched", hint=did_you_mean(name, HOMES))
    folder = Path(folder) if folder is not None else home_folder()
    path = folder / f"{name}.npz"
    if path.exists():
        load_npz(path, name)
        return path
    parts = folder / f".fetch-{name}"
    parts.mkdir(parents=True, exist_ok=True)
    for file in HOMES[name].files:
        _fetch_file(file, parts, progress)
    write_npz(path, name, HOMES[name].read(parts))
    shutil.rmtree(parts)
    return path


def add(
    name: str, source: str | os.PathLike[str], folder: str | os.PathLike[str] | None = None, *, replace: bool = False
) -> tuple[Path, list[str]]:
    """Put the user's images into <folder>/<name>.npz. Returns that path and notes on what was done to them.

    source:  an .npz file with the arrays x_train, y_train, x_test, y_test; or a folder with one folder of image files
             per class, ten of them, itself or in it train/ and test/. Without these every fifth image of a class, by
             name, is a test image. Classes are numbered in the order of their names
    folder:  of .npz files; `home_folder()` where None
    replace: a set of that name that is there

    Image files are kept as they are where all have one size of at most 96 x 96, grey where all are grey. Else each is
    cropped to a square about its centre and resized to 32 x 32 (Lanczos); transparency is laid on black.

    Raises DataError for a name that is taken, and for what cannot be used, naming the file.
    """
    if not name.replace("_", "").replace("-", "").isalnum() or name in SETS:
        raise DataError(f"no data set can be named {name!r}", hint="letters, digits, _ and -; no bundled set's name")
    folder, source = Path(folder) if folder is not None else home_folder(), Path(source)
    path = folder / f"{name}.npz"
    if path.exists() and not replace:
        raise DataError(f"{path} exists", hint="choose another name, or --replace")
    if source.is_dir():
        arrays, notes = read_class_folders(source)
    else:
        load_npz(source, name)
        with np.load(source, allow_pickle=False) as held:
            arrays = {key: held[key] for key in ("x_train", "y_train", "x_test", "y_test")}
        notes = []
    folder.mkdir(parents=True, exist_ok=True)
    write_npz(path, name, arrays)
    return path, notes


def read_class_folders(source: Path) -> tuple[dict[str, np.ndarray], list[str]]:
    """The four arrays of a folder of image files, and notes; see `add`."""
    has_parts = (source / "train").is_dir() and (source / "test").is_dir()
    roots = {"train": source / "train", "test": source / "test"} if has_parts else {"": source}
    classes = sorted({path.name for root in roots.values() for path in root.iterdir() if path.is_dir()})
    if len(classes) != CLASSES:
        raise DataError(
            f"{source} has {len(classes)} folders of classes, expected {CLASSES}: {', '.join(classes[:12]) or 'none'}",
            hint="one folder per class with its images, in the folder itself or in train/ and test/ in it",
        )
    files: list[tuple[str, int, Path]] = []
    for part, root in roots.items():
        for label, name in enumerate(classes):
            paths = sorted(p for p in (root / name).glob("**/*") if p.suffix.lower() in IMAGE_SUFFIXES)
            for i, path in enumerate(paths):
                files.append((part or ("test" if i % TEST_EVERY == TEST_EVERY - 1 else "train"), label, path))
    if not files:
        raise DataError(f"{source} has no image files", hint=f"known: {', '.join(IMAGE_SUFFIXES)}")
    images = [_read_image(path) for _, _, path in files]
    notes = [f"class {label} is {name}" for label, name in enumerate(classes)]
    if not has_parts:
        notes.append(f"no train/ and test/: every {TEST_EVERY}th image of a class is a test image")
    shapes = {image.shape[:2] for image in images}
    if len(shapes) == 1 and max(*next(iter(shapes))) <= KEPT_SIDE:
        if any(image.ndim == 3 for image in images):  # grey ones among those in colour become so too
            images = [image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2) for image in images]
        pixels = np.stack(images)
        notes.append(f"images kept as they are, {' x '.join(map(str, pixels.shape[1:]))}")
    else:
        pixels = np.stack([_square(image) for image in images])
        size = f"{IMAGE_SIDE} x {IMAGE_SIDE}"
        notes.append(f"images cropped to squares about their centre and resized to {size}, in colour")
    parts, labels = np.array([part for part, _, _ in files]), np.array([label for _, label, _ in files], np.uint8)
    arrays: dict[str, np.ndarray] = {}
    for part in ("train", "test"):
        arrays |= {f"x_{part}": pixels[parts == part], f"y_{part}": labels[parts == part]}
    return arrays, notes


def _read_image(path: Path) -> NDArray[np.uint8]:
    """[H, W] for a grey image, else [H, W, 3]."""
    pillow = import_module("PIL.Image")
    try:
        with pillow.open(path) as image:
            if image.mode in ("1", "L"):
                return np.array(image.convert("L"))
            if "A" in image.mode or "transparency" in image.info:
                image = image.convert("RGBA")
                image = pillow.alpha_composite(pillow.new("RGBA", image.size, (0, 0, 0, 255)), image)
            return np.array(image.convert("RGB"))
    except Exception as error:  # a damaged image makes Pillow and its codecs raise nearly anything
        raise DataError(f"{path} cannot be read as an image: {error}", hint="remove or replace it") from error


def _square(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    pillow = import_module("PIL.Image")
    height, width = pixels.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    image = pillow.fromarray(pixels[top : top + side, left : left + side]).convert("RGB")
    return np.array(image.resize((IMAGE_SIDE, IMAGE_SIDE), pillow.Resampling.LANCZOS))


def write_npz(path: Path, name: str, arrays: Mapping[str, Any]) -> None:
    """The arrays as an .npz file that appears whole, once the library has found them in order."""
    ImageSet.from_arrays(name, **arrays, source=str(path))
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_atomic(path, buffer.getbuffer())


def _fetch_file(file: RemoteFile, parts: Path, progress: Progress | None) -> None:
    pooch = import_module("pooch")
    pooch.get_logger().setLevel(logging.ERROR)
    said: list[str] = []
    waiting = list(file.urls)
    while waiting:
        url = waiting.pop(0)
        download = _Download(file.name, parts / f"{file.name}.part", progress)
        try:
            pooch.retrieve(url, f"md5:{file.md5}", fname=file.name, path=parts, downloader=download)
            return
        except (DataError, OSError) as error:
            said.append(f"{url}: {error}")
        except ValueError:  # pooch: the checksum is wrong; it has thrown the file away
            said.append(f"{url}: its MD5 is not {file.md5}")
            if download.resumed:
                waiting.insert(0, url)  # the part that lay there may have been another file's
    raise DataError(f"{file.name} could not be fetched: {'; '.join(said)}", hint="try again later: it goes on there")


class _Download:
    """Downloads for pooch: goes on in a part that is there, and again when the connection breaks off."""

    def __init__(self, name: str, part: Path, progress: Progress | None) -> None:
        self.name, self.part, self.progress = name, part, progress
        self.resumed = False

    def __call__(self, url: str, output_file: str, pooch: Any) -> None:
        failures = 0
        while True:
            before = self._size()
            self.resumed |= before > 0
            try:
                if self._get(url, before):
                    break
                problem: Exception = DataError("the connection broke off")
            except urllib.error.HTTPError as error:
                error.close()
                if error.code == 416 and before:  # nothing lies after the part: it is another file's, or whole
                    break
                if error.code < 500:
                    raise DataError(f"the server answers {error.code} {error.reason}") from None
                problem = DataError(f"the server answers {error.code} {error.reason}")
            except (OSError, http.client.HTTPException) as error:
                problem = DataError(f"{error}")
            failures = failures + 1 if self._size() <= before else 0
            if failures >= ATTEMPTS:
                raise problem
        os.replace(self.part, output_file)

    def _get(self, url: str, start: int) -> bool:
        """Whether the part is whole now."""
        headers = {"User-Agent": "weightprint", **({"Range": f"bytes={start}-"} if start else {})}
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=_TIMEOUT) as answer:
            goes_on = answer.status == 206
            length = answer.headers.get("Content-Length")
            there = start if goes_on else 0
            total = there + int(length) if length is not None and length.isdecimal() else 0
            with open(self.part, "ab" if goes_on else "wb") as file:
                while chunk := answer.read(_CHUNK):
                    file.write(chunk)
                    there += len(chunk)
                    if self.progress is not None:
                        self.progress(self.name, there, total)
        return not total or there >= total

    def _size(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0
