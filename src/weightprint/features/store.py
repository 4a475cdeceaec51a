"""The features' store: what was read in a run is kept, a file per run and way of reading, and never read twice.

A table is found by the run's checksum, the features' name and version, and what was read: other weights, other code
or another choice of slices make another name, so that a stale table cannot be found. Files appear whole or not at
all, and two processes that write the same table write the same bytes. Where a folder cannot be written, tables stay in
memory.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from weightprint.errors import CorruptFile
from weightprint.features.omission import places, reduced
from weightprint.features.table import Features, Source, Table
from weightprint.files import canonical_json, sha256_hex, write_atomic
from weightprint.zoo.readable import Readable

MEMORY_BYTES = 1 << 29
"""Tables kept in memory where the disk does not take them."""


class NotFinite(CorruptFile):
    """Weights that are NaN or infinite."""


def read(
    run: Readable,
    features: Features,
    snapshots: tuple[int, ...],
    *,
    without: tuple[str, ...] = (),
    starts: npt.NDArray[np.int64] | None = None,
    length: int | None = None,
) -> Table:
    """The features of a run's snapshots (numbered from 1), from the store or computed now.

    without: kinds of tensors that are left out, names of `weightprint.features.omission.WITHOUT`
    starts:  where slices begin in what is left, int64 [T, K]; None for whole vectors
    length:  weights of a slice

    A run with a method `held` is asked first: it may hold tables of its whole vectors in memory.

    Raises CorruptFile for a run that cannot be read, NotFinite for one whose weights are no numbers.
    """

    def compute(which: tuple[int, ...]) -> Table:
        rows = np.flatnonzero(np.isin(snapshots, which))
        return features.table(
            Source(
                weights_of(run, which, without) if features.weights else np.zeros((len(which), 0), np.float32),
                reduced(run.layout, without),
                None if starts is None else starts[rows],
                length,
                run.properties,
                tuple(run.measurements[0]) if run.measurements else (),
            )
        )

    if starts is None and hasattr(run, "held"):
        table = run.held(features.name, snapshots, without)
        if table is not None:
            return table
    if run.checksum is None or features.name == "raw" or not features.weights:
        return compute(snapshots)
    key: list[Any] = [run.checksum, features.name, features.version, list(without)]
    if starts is None:
        return _whole(run, key, snapshots, compute)
    key += [length, list(snapshots), sha256_hex(np.ascontiguousarray(starts, "<i8").tobytes())]
    path = _path(run, key)
    stored = _load(path)
    if stored is None:
        stored = {int(snapshots[0]): compute(snapshots)}
        _save(path, stored)
    return next(iter(stored.values()))


def weights_of(run: Readable, snapshots: tuple[int, ...], without: tuple[str, ...]) -> npt.NDArray[np.float32]:
    """The weights of some snapshots without the tensors left out: float32 [T, P].

    Raises CorruptFile, or NotFinite when there are NaN or infinities among them.
    """
    weights = run.weights[np.array(snapshots) - 1]
    if without:
        weights = np.take(weights, places(run.layout, without), axis=1)
    if not np.isfinite(weights).all():
        raise NotFinite(f"{run.name} has weights that are no numbers")
    return weights


def _whole(
    run: Readable, key: list[Any], snapshots: tuple[int, ...], compute: Callable[[tuple[int, ...]], Table]
) -> Table:
    """One row per snapshot: those that are stored, and the missing ones computed and stored with them."""
    path = _path(run, key)
    stored = _load(path) or {}
    missing = tuple(s for s in snapshots if s not in stored)
    if missing:
        made = compute(missing)
        stored = stored | {s: Table(row[None], made.names) for s, row in zip(missing, made.rows, strict=True)}
        _save(path, stored)
    names = stored[snapshots[0]].names
    return Table(np.concatenate([stored[s].rows for s in snapshots]), names)


def _path(run: Readable, key: list[Any]) -> Path:
    digest = sha256_hex(canonical_json(key).encode())
    return (run.cache or Path("/nowhere")) / f"{key[1]}-{key[2]}" / digest[:2] / f"{digest[2:34]}.safetensors"


_memory: OrderedDict[Path, dict[int, Table]] = OrderedDict()
"""What could not be written, the oldest first."""


def _load(path: Path) -> dict[int, Table] | None:
    """Tables by snapshot; those of slices stand whole under their first one. None when there is none that holds."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    if path in _memory:
        _memory.move_to_end(path)
        return _memory[path]
    try:
        arrays = load(path.read_bytes())
        facts = arrays["facts"].tobytes()
        if sha256_hex(facts, arrays["rows"].tobytes()) != arrays["sha256"].tobytes().decode():
            return None
        known = json.loads(facts)
        rows = np.split(arrays["rows"], known["ends"])
        return {s: Table(part, tuple(known["names"])) for s, part in zip(known["snapshots"], rows, strict=True)}
    except (OSError, SafetensorError, KeyError, ValueError, TypeError):
        return None  # derived: whatever is wrong with it, it is made again


def _save(path: Path, tables: dict[int, Table]) -> None:
    from safetensors.numpy import save

    tables = dict(sorted(tables.items()))
    first = next(iter(tables.values()))
    ends = np.cumsum([len(table.rows) for table in tables.values()])[:-1]
    facts = canonical_json({"snapshots": list(tables), "names": list(first.names), "ends": ends.tolist()}).encode()
    rows = np.concatenate([table.rows for table in tables.values()])
    digest = sha256_hex(facts, rows.tobytes()).encode()
    encoded = save({"rows": rows, "facts": np.frombuffer(facts, np.uint8), "sha256": np.frombuffer(digest, np.uint8)})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, encoded)
    except OSError:
        _memory[path] = tables
        sizes = [sum(table.rows.nbytes for table in kept.values()) for kept in _memory.values()]
        while len(sizes) > 1 and sum(sizes) > MEMORY_BYTES:
            _memory.popitem(last=False)
            sizes.pop(0)
