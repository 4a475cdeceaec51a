"""HDF5 files as trees of tensors: only what lies in the file itself, each group once.

h5py works in a process of its own (`hdf5_reading`), within limits of time and memory, for libhdf5 can be made to loop
or crash. Data that lie uncompressed in one piece, as Keras writes them, are read from the file's map by us; others by
such a process when they are asked for. Soft and external links, external and virtual storage are not followed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from weightprint.errors import CheckpointError
from weightprint.formats import hdf5_reading
from weightprint.formats.dtypes import FORMATS, stored_bytes
from weightprint.formats.extras import require
from weightprint.formats.file_maps import FileMap, as_array
from weightprint.formats.limits import check_tensor_count, unfolded_limit
from weightprint.formats.named_tensors import Stored, checked_shape

MAGIC = b"\x89HDF\r\n\x1a\n"
_DAMAGED = "the file is cut short or damaged: fetch it again"


@dataclass
class Tree:
    """What an HDF5 file holds.

    datasets:   path → its numbers, or the reason why they are not read; in the order in which the data lie in the file
    attributes: path of a group ("" for the root) → its attributes, decoded
    """

    datasets: dict[str, Stored | str] = field(default_factory=dict)
    attributes: dict[str, dict[str, Any]] = field(default_factory=dict)


def read_tree(path: Path, file: FileMap, wanted: tuple[str, ...], start: int = 0, length: int | None = None) -> Tree:
    """The datasets of an HDF5 file and those attributes of its groups whose name begins with one in `wanted`.

    start, length: where the HDF5 file lies, for one that is stored inside another file
    Raises CheckpointError for a damaged file and where h5py is not installed.
    """
    require("h5py", "Keras (HDF5)")
    length = file.size - start if length is None else length
    window = (str(path), str(start), str(length))
    document = json.loads(_answer("list", *window, *wanted))
    check_tensor_count(len(document["datasets"]))
    tree = Tree(attributes=document["attributes"])
    in_order = sorted(document["datasets"].items(), key=lambda entry: entry[1].get("offset") or 0)
    for name, described in in_order:
        tree.datasets[name] = described.get("reason") or _stored(name, described, file, start, length, window)
    return tree


def _stored(
    name: str, described: dict[str, Any], file: FileMap, start: int, length: int, window: tuple[str, str, str]
) -> Stored | str:
    shape, dtype = checked_shape(described["shape"], f"dataset {name!r}"), described["dtype"]
    if dtype not in FORMATS:
        return f"unknown number format ({dtype})"
    offset, held = described["offset"], described["held"]
    size = stored_bytes(dtype, shape)
    if offset is not None:
        if offset + size > length:
            raise CheckpointError(f"dataset {name!r} lies beyond the end of the file", hint=_DAMAGED)
        return Stored(shape, dtype, lambda: file.array(start + offset, shape, dtype, described["order"]))
    if held > length or size > unfolded_limit(held):
        raise CheckpointError(
            f"dataset {name!r} of {held:,} bytes that would unfold to {size:,}", hint="no checkpoint is compressed so"
        )
    return Stored(shape, dtype, lambda: as_array(_answer("read", *window, name), shape, dtype))


def _answer(*arguments: str) -> bytes:
    """What `hdf5_reading` puts out; raises CheckpointError where it fails, loops or is killed."""
    command = [sys.executable, "-I", hdf5_reading.__file__, os.pathsep.join(sys.path), *arguments]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(command, capture_output=True, timeout=2 * hdf5_reading.SECONDS, env=environment)
    except subprocess.TimeoutExpired:
        endless = "a damaged HDF5 file, over which libhdf5 does not come to an end"
        raise CheckpointError(endless, hint=_DAMAGED) from None
    if done.returncode != 0:
        reason = done.stderr.decode("utf-8", "replace").strip()[-160:] or "libhdf5 gave up on it"
        raise CheckpointError(f"a damaged HDF5 file ({reason})", hint=_DAMAGED)
    return done.stdout
