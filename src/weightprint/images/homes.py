"""Data sets at their homes: where their files are, what they must hash to, and how they become four arrays.

Checksums are those that the homes' pages and torchvision's sources publish (MD5; it guards against damage, not against
an attacker). Nothing is unpickled: CIFAR-10 is taken in its binary form, not as the pickles of its Python form.
"""

from __future__ import annotations

import gzip
import math
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from weightprint.errors import DataError

Four = dict[str, np.ndarray]
"""x_train, y_train, x_test and y_test: uint8 images [N, H, W] or [N, H, W, 3], labels [N] from 0."""


@dataclass(frozen=True)
class RemoteFile:
    """A file at its home. name: of the file; md5: of its bytes; urls: where it is, tried in this order"""

    name: str
    md5: str
    urls: tuple[str, ...]


@dataclass(frozen=True)
class Home:
    """Where a data set comes from.

    about: what it is and its terms, one line
    files: all that are needed
    read:  the folder they lie in → the four arrays
    """

    about: str
    files: tuple[RemoteFile, ...]
    read: Callable[[Path], Four]


def read_idx(path: Path) -> NDArray[np.uint8]:
    """A gzipped IDX file of bytes: two zeros, 8 for bytes, the number of axes, their sizes as big-endian 32-bit
    integers, the numbers (yann.lecun.com/exdb/mnist describes it). Raises DataError for another file."""
    with gzip.open(path) as file:
        data = file.read()
    axes = data[3] if data[:3] == b"\0\0\x08" and len(data) > 3 else 0
    shape = [int.from_bytes(data[4 + 4 * i : 8 + 4 * i], "big") for i in range(axes)]
    if not axes or len(data) != 4 + 4 * axes + math.prod(shape):
        raise DataError(f"{path.name} is no IDX file of bytes", hint="fetch it again")
    return np.frombuffer(data, np.uint8, offset=4 + 4 * axes).reshape(shape)


def read_mnist(folder: Path) -> Four:
    """MNIST's and Fashion-MNIST's four files."""
    return {
        f"{letter}_{part}": read_idx(folder / f"{prefix}-{kind}-ubyte.gz")
        for part, prefix in (("train", "train"), ("test", "t10k"))
        for letter, kind in (("x", "images-idx3"), ("y", "labels-idx1"))
    }


def read_cifar10(folder: Path) -> Four:
    """CIFAR-10's binary archive: records of a label and 3072 bytes, red, green, blue, each row by row."""
    wanted = {"train": [f"data_batch_{i}.bin" for i in range(1, 6)], "test": ["test_batch.bin"]}
    members = _members(folder / "cifar-10-binary.tar.gz", [name for names in wanted.values() for name in names])
    arrays: Four = {}
    for part, names in wanted.items():
        records = np.frombuffer(b"".join(members[name] for name in names), np.uint8).reshape(-1, 3073)
        arrays[f"x_{part}"] = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        arrays[f"y_{part}"] = records[:, 0]
    return arrays


def read_svhn(folder: Path) -> Four:
    """SVHN's cropped digits: MATLAB files with X [32, 32, 3, N] and y [N, 1], where 10 is the digit 0."""
    loadmat = import_module("scipy.io").loadmat
    arrays: Four = {}
    for part in ("train", "test"):
        held = loadmat(folder / f"{part}_32x32.mat", variable_names=("X", "y"))
        arrays[f"x_{part}"] = held["X"].transpose(3, 0, 1, 2)
        arrays[f"y_{part}"] = held["y"].ravel() % 10
    return arrays


def read_stl10(folder: Path) -> Four:
    """STL-10's labelled images: 3 x 96 x 96 bytes each, columns before rows; labels from 1."""
    names = [f"{part}_{letter}.bin" for part in ("train", "test") for letter in ("X", "y")]
    members = _members(folder / "stl10_binary.tar.gz", names)
    arrays: Four = {}
    for part in ("train", "test"):
        images = np.frombuffer(members[f"{part}_X.bin"], np.uint8).reshape(-1, 3, 96, 96)
        arrays[f"x_{part}"] = images.transpose(0, 3, 2, 1)
        arrays[f"y_{part}"] = np.frombuffer(members[f"{part}_y.bin"], np.uint8) - 1
    return arrays


def _members(path: Path, names: list[str]) -> dict[str, bytes]:
    """Bytes of an archive's files by their last names; nothing is written anywhere."""
    contents: dict[str, bytes] = {}
    with tarfile.open(path, "r|gz") as archive:
        for member in archive:
            name = member.name.rpartition("/")[2]
            file = archive.extractfile(member) if name in names else None
            if file is not None:
                contents[name] = file.read()
    missing = [name for name in names if name not in contents]
    if missing:
        raise DataError(f"{path.name} lacks {', '.join(missing)}", hint="fetch it again")
    return contents


def _idx_files(md5s: tuple[str, ...], *homes: str) -> tuple[RemoteFile, ...]:
    names = [f"{prefix}-{kind}-ubyte.gz" for prefix in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
    named = zip(names, md5s, strict=True)
    return tuple(RemoteFile(name, md5, tuple(home + name for home in homes)) for name, md5 in named)


HOMES = {
    "mnist": Home(
        "handwritten digits, 28 x 28 grey; LeCun, Cortes and Burges; usually given as CC BY-SA 3.0",
        _idx_files(
            (
                "f68b3c2dcbeaaa9fbdd348bbdeb94873",
                "d53e105ee54ea40749a09fcbcd1e9432",
                "9fb629c4189551a2d022fa330f9573f3",
                "ec29112dd5afa0611ce80d1b7f02629c",
            ),
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
        read_mnist,
    ),
    "fashion_mnist": Home(
        "articles of clothing, 28 x 28 grey; Zalando Research; MIT licence",
        _idx_files(
            (
                "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
                "25c81989df183df01b3e8a0aad5dffbe",
                "bef4ecab320f06d8554ea6380940ec79",
                "bb300cfdad3c16e7a12a480ee83cd310",
            ),
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        ),
        read_mnist,
    ),
    "cifar10": Home(
        "animals and vehicles, 32 x 32; Krizhevsky; no formal licence, cite the 2009 report",
        (
            RemoteFile(
                "cifar-10-binary.tar.gz",
                "c32a1d4ab5d03f1284b67883e8d87530",
                (
                    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
                    "https://cave.cs.toronto.edu/kriz/cifar-10-binary.tar.gz",
                ),
            ),
        ),
        read_cifar10,
    ),
    "svhn": Home(
        "house numbers, cropped digits of 32 x 32; Netzer and others; for non-commercial use only",
        tuple(
            RemoteFile(name, md5, (f"http://ufldl.stanford.edu/housenumbers/{name}",))
            for name, md5 in (
                ("train_32x32.mat", "e26dedcc434d2e4c54c9b2d4a06d8373"),
                ("test_32x32.mat", "eb5a983be6a315427106f1b164d9cef3"),
            )
        ),
        read_svhn,
    ),
    "stl10": Home(
        "animals and vehicles, 96 x 96, from ImageNet; Coates, Lee and Ng; ImageNet's terms",
        (
            RemoteFile(
                "stl10_binary.tar.gz",
                "91f7769df0f17e558f3565bffb0c7dfb",
                ("http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz",),
            ),
        ),
        read_stl10,
    ),
}
"""By name. SVHN's extra digits and STL-10's unlabelled images are not taken."""
