"""Run as a program of its own: lists or reads an HDF5 file for `hdf5`, so that a hostile one can harm nothing.

    python -I hdf5_reading.py SEARCH list FILE START LENGTH PREFIX...     → JSON on stdout
    python -I hdf5_reading.py SEARCH read FILE START LENGTH DATASET       → its bytes, little-endian, on stdout

SEARCH: further folders in which modules are looked for, after the interpreter's own.

libhdf5 is C, and a damaged file can make it loop, allocate or crash; here it does so within limits of time and memory
and outside of the caller. Of this package nothing is imported: the program has to start quickly.
"""

import importlib
import io
import json
import math
import os
import sys

SECONDS, MEMORY = 20, 4 << 30
_MAX_DEPTH, _MAX_ITEMS, _MAX_ATTRIBUTE = 64, 200_000, 100_000_000


class Window(io.RawIOBase):
    """A stretch of a file, as a file."""

    def __init__(self, path: str, start: int, length: int) -> None:
        self._file = open(path, "rb")  # noqa: SIM115
        self._start, self._length, self._at = start, length, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._length}[whence]
        return self._at

    def readinto(self, buffer) -> int:
        self._file.seek(self._start + self._at)
        part = self._file.read(max(0, min(len(buffer), self._length - self._at)))
        buffer[: len(part)] = part
        self._at += len(part)
        return len(part)


def limited() -> None:
    """Bounds this process's time and memory, where the system can do so."""
    try:
        import resource
    except ImportError:
        return
    for what, most in ((resource.RLIMIT_CPU, SECONDS), (resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_CORE, 0)):
        hard = resource.getrlimit(what)[1]
        soft = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (soft, hard))


def listing(h5py, root, prefixes: tuple) -> dict:
    """{"datasets": {path: {…}}, "attributes": {group: {name: value}}}: hard links alone, each group once."""
    datasets: dict = {}
    attributes: dict = {}
    seen = set()
    waiting = [("", root, 0)]
    while waiting:
        path, group, depth = waiting.pop()
        number = h5py.h5o.get_info(group.id).addr
        if number in seen:
            continue
        seen.add(number)
        if depth > _MAX_DEPTH:
            raise ValueError(f"groups more than {_MAX_DEPTH} deep")
        attributes[path] = {name: attribute(group, name) for name in group.attrs if name.startswith(prefixes)}
        for name in group:
            inner = f"{path}/{name}" if path else name
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                datasets[inner] = {"reason": "a link, which is not followed"}
                continue
            item = group.get(name)
            if isinstance(item, h5py.Group):
                waiting.append((inner, item, depth + 1))
            elif isinstance(item, h5py.Dataset):
                datasets[inner] = description(item)
            if len(datasets) + len(seen) > _MAX_ITEMS:
                raise ValueError(f"more than {_MAX_ITEMS:,} groups and datasets")
    return {"datasets": datasets, "attributes": attributes}


def attribute(group, name: str):
    """An attribute's value, decoded."""
    identity = group.attrs.get_id(name)
    size = identity.dtype.itemsize * math.prod(identity.shape or ())
    if size > _MAX_ATTRIBUTE:
        raise ValueError(f"the attribute {name!r} claims {size:,} bytes")
    return decoded(group.attrs[name])


def decoded(value):
    """An attribute as plain values that JSON can hold: arrays as lists, bytes as text."""
    if hasattr(value, "ravel"):
        value = value.ravel().tolist()
        return [decoded(item) for item in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, (str, int, float, bool)) else value.item() if hasattr(value, "item") else None


def description(item) -> dict:
    """What a dataset is: shape, dtype, where it lies, or the reason why it is not read."""
    if item.shape is None:
        return {"reason": "no numbers"}
    shape, kind = [int(side) for side in item.shape], item.dtype
    name = kind.name
    if kind.kind == "V" and kind.itemsize == 2 and decoded(item.attrs.get("dtype", "")) == "bfloat16":
        name = "bfloat16"
    elif kind.kind not in "fiub" or kind.itemsize > 8 or kind.subdtype:
        return {"reason": "no numbers"}
    if item.is_virtual or item.external is not None:
        return {"reason": "it lies in another file, which is not followed"}
    return {
        "shape": shape,
        "dtype": name,
        "order": ">" if kind.byteorder == ">" else "<",
        "offset": item.id.get_offset(),
        "held": int(item.id.get_storage_size()),
    }


def main(arguments: list) -> int:
    """Body of the process that reads one file and writes what it found to standard output; returns its exit code."""
    search, task, path, start, length, *rest = arguments
    sys.path.extend(search.split(os.pathsep))
    limited()
    try:
        h5py = importlib.import_module("h5py")
        with h5py.File(Window(path, int(start), int(length)), "r") as root:
            if task == "list":
                result = json.dumps(listing(h5py, root, tuple(rest))).encode()
            else:
                values = root[rest[0]][()]
                result = values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
    except Exception as error:
        print(" ".join(str(error).split())[:160] or type(error).__name__, file=sys.stderr)
        return 1
    sys.stdout.buffer.write(result)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
