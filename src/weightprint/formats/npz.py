"""numpy's .npz archives, without unpickling: kernels and biases by their names, sizes and order."""

from __future__ import annotations

import io
import math
import tokenize
import warnings
from pathlib import Path
from typing import Any, Literal

import numpy as np

from weightprint.errors import CheckpointError
from weightprint.formats.archives import Archive
from weightprint.formats.dtypes import FLOATS
from weightprint.formats.named_tensors import Checkpoint, Collector, Stored, checked_shape
from weightprint.formats.plain import plain
from weightprint.formats.roles import told_roles

_MAX_DECLARED = 64


def read_npz(path: Path, archive: Archive) -> Checkpoint:
    """The arrays of a .npz file; raises CheckpointError for a damaged one, or one without weights.

    Numbers that stand alone and short lists of whole numbers (an accuracy, the layers' sizes) are declared.
    """
    collector = Collector()
    weights: dict[str, Stored] = {}
    declared: dict[str, Any] = {}
    for entry in archive.entries:
        name = entry.removesuffix(".npy")
        stored = _array(archive, entry)
        if stored is None:
            collector.skip(name, "no numbers (Python objects are not unpickled)")
        elif stored.shape == () or (stored.dtype not in FLOATS and math.prod(stored.shape) <= _MAX_DECLARED):
            declared[name] = plain(stored.load().tolist())
        elif stored.dtype in FLOATS:
            weights[name] = stored
        else:
            collector.add(name, stored)
    roles, notes = told_roles({name: stored.shape for name, stored in weights.items()})
    collector.notes += notes
    for name, stored in weights.items():
        kind, axes = roles[name]
        collector.add(name, stored, kind=kind, axes=axes)
    return collector.checkpoint(path, "npz", declared=declared)


def _array(archive: Archive, entry: str) -> Stored | None:
    """One array of the archive; None where it is not one of numbers."""
    shape, by_column, kind, start = _header(archive, entry)
    if kind.hasobject or kind.kind not in "fiubc" or kind.subdtype or kind.itemsize > 16:
        return None
    shape = checked_shape(shape, entry)
    if start + math.prod(shape) * kind.itemsize != archive.entries[entry].file_size:
        raise CheckpointError(
            f"{entry}: shape {list(shape)} of {kind.name} does not fit its {archive.entries[entry].file_size:,} bytes",
            hint="the file is damaged: fetch it again",
        )
    order: Literal["F", "C"] = "F" if by_column else "C"
    return Stored(
        shape, kind.name, lambda: np.frombuffer(archive.read(entry)[start:], kind).reshape(shape, order=order)
    )


def _header(archive: Archive, entry: str) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """(shape, stored column by column, dtype, where the numbers begin)"""
    head = io.BytesIO(archive.head(entry, 1 << 14))
    try:
        version = np.lib.format.read_magic(head)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of headers that Python 2 wrote
            shape, by_column, kind = read(head)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError, tokenize.TokenError) as error:
        raise CheckpointError(f"{entry}: no numpy array", hint="the file is damaged: fetch it again") from error
    return shape, by_column, kind, head.tell()
