"""A file as memory: mapped, never read whole."""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np

from weightprint.errors import CheckpointError
from weightprint.formats.dtypes import stored_bytes, stored_dtype
from weightprint.formats.limits import damaged

PAGES_HELD = 64 << 20
"""After so many bytes were looked at, the system may take back the memory of all pages; those still used come again."""


class FileMap:
    """A read-only map of a file. It lives as long as an array that looks into it.

    Raises CheckpointError for an empty file and for what is not a regular file.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise CheckpointError("no such file" if not path.exists() else "not a regular file")
        with path.open("rb") as file:
            self.size = path.stat().st_size
            if self.size == 0:
                raise CheckpointError("the file is empty", hint="it was perhaps not written to its end: fetch it again")
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.size = len(self._map)
        self._looked_at = 0

    def view(self, start: int = 0, length: int | None = None) -> memoryview:
        """`length` bytes from `start`, without a copy; raises CheckpointError where the file ends before."""
        length = self.size - start if length is None else length
        if start < 0 or length < 0 or start + length > self.size:
            raise damaged(f"{length:,} bytes are needed at {start:,}, the file has {self.size:,}")
        self._looked_at += length
        if self._looked_at > PAGES_HELD and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)
            self._looked_at = length
        return memoryview(self._map)[start : start + length]

    def array(self, start: int, shape: tuple[int, ...], dtype: str, order: str = "<") -> np.ndarray:
        """Array of that shape at `start`, as a view; `dtype` is a name of `dtypes.FORMATS`."""
        return as_array(self.view(start, stored_bytes(dtype, shape)), shape, dtype, order)


def as_array(data: memoryview | bytes, shape: tuple[int, ...], dtype: str, order: str = "<") -> np.ndarray:
    """The bytes as an array of that shape, as a view."""
    return np.frombuffer(data, dtype=stored_dtype(dtype, order)).reshape(shape)


def inside(folder: Path, name: str) -> Path:
    """The file `name` of `folder`, which a file of that folder refers to.

    Raises CheckpointError where the name leads out of the folder: an absolute path, `..`, or a link. The links of a
    Hugging Face cache (snapshots/<revision>/… → blobs/…) are the one exception.
    """
    relative = Path(name)
    hint = "such a reference is never followed"
    if not name or "\0" in name or "\\" in name or relative.is_absolute() or ".." in relative.parts:
        raise CheckpointError(f"it refers to {name!r}, outside its own folder", hint=hint)
    path = folder / relative
    target, home = path.resolve(), folder.resolve()
    allowed = [home]
    if home.parent.name == "snapshots":
        allowed.append(home.parent.parent / "blobs")
    if not any(target.is_relative_to(place) for place in allowed):
        raise CheckpointError(f"it refers to {name!r}, a link that leads outside its own folder", hint=hint)
    if not target.is_file():
        raise CheckpointError(f"it refers to {name!r}, which is not there", hint="fetch all files of the model")
    return path
