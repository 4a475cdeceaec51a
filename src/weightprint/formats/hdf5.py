"""HDF5 files as trees of tensors: only what lies in the file itself, each group once.

Soft and external links, external and virtual storage are not followed. Data that lie uncompressed in one piece are
read from the file's map; others through h5py when they are asked for.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from weightprint.errors import CheckpointError
from weightprint.formats.extras import needed
from weightprint.formats.file_maps import FileMap, as_array
from weightprint.formats.limits import MAX_DEPTH, MAX_HEADER, MAX_TENSORS, unfolded_limit
from weightprint.formats.named_tensors import Stored, checked_shape

MAGIC = b"\x89HDF\r\n\x1a\n"
_DAMAGED = "the file is cut short or damaged: fetch it again"
_H5PY_ERRORS = (OSError, KeyError, RuntimeError, ValueError, TypeError, AttributeError, MemoryError, OverflowError)


@dataclass
class Tree:
    """What an HDF5 file holds.

    datasets:   path → its numbers, or the reason why they are not read; in the order in which the data lie in the file
    attributes: path of a group ("" for the root) → its attributes, decoded
    """

    datasets: dict[str, Stored | str] = field(default_factory=dict)
    attributes: dict[str, dict[str, Any]] = field(default_factory=dict)


class Window(io.RawIOBase):
    """Bytes that lie in memory, as a file for h5py."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self._data)}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        part = self._data[self._at : self._at + len(buffer)]
        buffer[: len(part)] = part
        self._at += len(part)
        return len(part)


def read_tree(source: Path | memoryview, data: memoryview, wanted: tuple[str, ...]) -> Tree:
    """The datasets of an HDF5 file and those attributes of its groups whose name begins with one in `wanted`.

    source: the file, or its bytes where it is part of another
    data:   its bytes
    Raises CheckpointError for a damaged file and where h5py is not installed.
    """
    h5py = needed("h5py", "Keras (HDF5)")
    tree = Tree()
    places: dict[str, int] = {}
    with _opened(h5py, source) as root:
        seen: set[Any] = set()
        waiting: list[tuple[str, Any, int]] = [("", root, 0)]
        while waiting:
            path, group, depth = waiting.pop()
            number = h5py.h5o.get_info(group.id).addr
            if number in seen:
                continue
            seen.add(number)
            if depth > MAX_DEPTH or len(seen) > 4 * MAX_TENSORS:
                raise CheckpointError(f"an HDF5 file of more groups than the {MAX_DEPTH} levels that are looked into")
            tree.attributes[path] = _attributes(group, wanted)
            for name in group:
                inner = f"{path}/{name}" if path else name
                if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                    tree.datasets[inner] = "a link, which is not followed"
                    continue
                item = group.get(name)
                if isinstance(item, h5py.Group):
                    waiting.append((inner, item, depth + 1))
                elif isinstance(item, h5py.Dataset):
                    tree.datasets[inner], places[inner] = _dataset(h5py, item, inner, source, data)
                if len(tree.datasets) > MAX_TENSORS:
                    raise CheckpointError(f"more than {MAX_TENSORS:,} tensors", hint="no network of this many is read")
    tree.datasets = dict(sorted(tree.datasets.items(), key=lambda entry: places.get(entry[0], 0)))
    return tree


@contextmanager
def _opened(h5py: Any, source: Path | memoryview) -> Iterator[Any]:
    try:
        with h5py.File(source if isinstance(source, Path) else Window(source), "r", locking=False) as root:
            yield root
    except CheckpointError:
        raise
    except _H5PY_ERRORS as error:
        raise CheckpointError(f"a damaged HDF5 file ({str(error)[:120]})", hint=_DAMAGED) from error


def _attributes(group: Any, wanted: tuple[str, ...]) -> dict[str, Any]:
    found = {}
    for name in group.attrs:
        if not name.startswith(wanted):
            continue
        identity = group.attrs.get_id(name)
        if math.prod(identity.shape or ()) * identity.dtype.itemsize > MAX_HEADER:
            raise CheckpointError(f"its attribute {name!r} claims more than {MAX_HEADER:,} bytes", hint=_DAMAGED)
        found[name] = _decoded(group.attrs[name])
    return found


def _decoded(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return [_decoded(item) for item in value.ravel().tolist()]
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value.item() if isinstance(value, np.generic) else value


def _dataset(
    h5py: Any, item: Any, path: str, source: Path | memoryview, data: memoryview
) -> tuple[Stored | str, int]:
    """(numbers or the reason why they are not read, where they lie in the file)"""
    if item.shape is None:
        return "no numbers", 0
    shape = checked_shape(tuple(int(side) for side in item.shape), f"dataset {path!r}")
    kind, dtype = item.dtype, item.dtype.name
    if kind.kind == "V" and kind.itemsize == 2 and _decoded(item.attrs.get("dtype", "")) == "bfloat16":
        kind, dtype = np.dtype("<u2"), "bfloat16"
    if kind.kind not in "fiub" or kind.itemsize > 8 or kind.subdtype:
        return "no numbers", 0
    if item.is_virtual or item.external is not None:
        return "it lies in another file, which is not followed", 0
    offset, length = item.id.get_offset(), math.prod(shape) * kind.itemsize
    if offset is not None:
        if offset + length > len(data):
            raise CheckpointError(f"dataset {path!r} lies beyond the end of the file", hint=_DAMAGED)
        order = ">" if kind.byteorder == ">" else "<"
        return Stored(shape, dtype, lambda: as_array(data[offset : offset + length], shape, dtype, order)), offset
    held = item.id.get_storage_size()
    if held > len(data) or length > unfolded_limit(held):
        raise CheckpointError(
            f"dataset {path!r} of {held:,} bytes that would unfold to {length:,}", hint="no checkpoint is compressed so"
        )
    return Stored(shape, dtype, _reader(h5py, source, path, shape)), 0


def _reader(h5py: Any, source: Path | memoryview, path: str, shape: tuple[int, ...]) -> Callable[[], np.ndarray]:
    def load() -> np.ndarray:
        with _opened(h5py, source) as root:
            values = root[path][()]
        return np.asarray(values).reshape(shape)

    return load


def file_tree(path: Path, file: FileMap, wanted: tuple[str, ...]) -> Tree:
    """`read_tree` of a file that is HDF5 as a whole."""
    return read_tree(path, file.view(), wanted)
