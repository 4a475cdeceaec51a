"""Other people's zoos, written into one of ours run by run; an interrupted import goes on where it stopped."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from weightprint.errors import CheckpointError, WeightprintError, ZooError
from weightprint.files import TEMPORARY_PREFIX, StrPath, canonical_json, sha256_hex
from weightprint.formats.checkpoints import open_checkpoint
from weightprint.formats.layout import layout_of, weight_vector
from weightprint.zoo import Zoo, write_run
from weightprint.zoo.index import SCHEMA
from weightprint.zoo.layout import Layout
from weightprint.zoo.runfile import RunRecord
from weightprint.zoo.zoo import KIN

Progress = Callable[[int, int], None]
"""Called with runs done and runs to do."""

DEPTH = 3
MOST_RUNS = 10_000_000
"""A source that names more runs is taken for a damaged one."""


@dataclass(frozen=True, kw_only=True)
class ForeignRun:
    """What was read of one run.

    layout:       of its weight vector
    weights:      [T, P], as stored; may hold what is not finite
    properties:   what the source says of it
    measurements: T rows or none; what is not a finite number is left out of a row
    curve:        [E, K] float64
    """

    layout: Layout
    weights: np.ndarray
    properties: Mapping[str, Any]
    measurements: Sequence[Mapping[str, Any]] = ()
    curve: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    curve_columns: tuple[str, ...] = ()
    test_images: int | None = None


@dataclass(frozen=True)
class Source:
    """A zoo of another format, looked through but not yet read.

    format: its name, which begins the identity of its runs
    names:  of its runs, in the order of their numbers
    read:   reads one of them by its place in `names`; raises WeightprintError when that cannot be done
    facts:  what else fixes the result: settings, checksums of tables
    """

    format: str
    names: Sequence[str]
    read: Callable[[int], ForeignRun]
    facts: Mapping[str, Any] = field(default_factory=dict)


def import_runs(
    source: Source, path: StrPath, *, runs: int | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """Write the runs that are not there yet. Memory does not grow with their number.

    runs:     only the first so many of the source; a later call may take more
    progress: called with runs done and runs to do after each

    A run that cannot be read is left out and named with the reason. Returns {"zoo", "runs", "imported", "diverged",
    "left_out": [{"run", "problem"}], "seconds"}.

    Raises ZooError when there is nothing to import or not one run can be read (then no zoo is made), and
    RecipeMismatch for a zoo that holds something else.
    """
    started = time.perf_counter()
    count = len(source.names) if runs is None else min(runs, len(source.names))
    if runs is not None and runs < 1:
        raise ZooError(f"the number of runs to import must be at least 1, not {runs}")
    if not count or len(source.names) > MOST_RUNS:
        raise ZooError(
            f"expected from 1 to {MOST_RUNS:,} runs to import, found {len(source.names):,}",
            hint="give the folder as it was unpacked; docs/exchange.md says what each format looks like",
        )
    recipe = {"imported": source.format, "names": sha256_hex("\n".join(source.names).encode()), **source.facts}
    there: set[int] = set()
    zoo: Path | None = None
    if (Path(path) / "zoo.json").exists():
        opened = Zoo.create(path, recipe, space_name=source.format)
        zoo, there = opened.path, set(opened.numbers)
    left_out: list[dict[str, Any]] = []
    imported = diverged = 0
    for number in range(count):
        if number not in there:
            try:
                record = _record(number, source.names[number], source.format, source.read(number))
            except WeightprintError as error:
                left_out.append({"run": source.names[number], "problem": error.message})
            else:
                if zoo is None:
                    zoo = Zoo.create(path, recipe, space_name=source.format).path
                write_run(zoo, record)
                imported += 1
                diverged += record.status != "complete"
        if progress is not None:
            progress(number + 1, count)
    if zoo is None:
        raise ZooError(
            f"none of the {count} runs could be read; the first: {left_out[0]['run']}: {left_out[0]['problem']}",
            hint="nothing was written",
        )
    return {
        "zoo": str(zoo),
        "runs": len(there) + imported,
        "imported": imported,
        "diverged": diverged,
        "left_out": left_out,
        "seconds": round(time.perf_counter() - started, 3),
    }


def _record(number: int, name: str, form: str, run: ForeignRun) -> RunRecord:
    """The run as it is kept: snapshots from the first that is not finite are dropped, and the run is then diverged."""
    weights = np.asarray(run.weights)
    if weights.ndim != 2 or weights.shape[1] != run.layout.size:
        raise ZooError(f"expected snapshots of {run.layout.size} weights, found an array of {list(weights.shape)}")
    if run.measurements and len(run.measurements) != len(weights):
        raise ZooError(f"expected {len(weights)} rows of measurements, found {len(run.measurements)}")
    with np.errstate(over="ignore"):
        kept = weights.astype(np.float32)
    finite = np.isfinite(kept).all(axis=1)
    good = len(kept) if finite.all() else int(np.argmin(finite))
    if not len(kept):
        raise ZooError("it has no snapshots")
    status, reason = "complete", f"imported from {form}"
    if good < len(kept):
        status, reason = "diverged" if good else "failed", f"snapshot {good + 1} is not finite"
    kept = kept[:good]
    rows = [dict(row) for row in run.measurements[:good]] or [{} for _ in kept]
    return RunRecord(
        number=number,
        identity=f"{form}:{name}@{sha256_hex(kept.tobytes())[:16]}",
        status=status,
        reason=reason,
        properties=clean_properties(run.properties),
        layout=run.layout,
        weights=kept,
        measurements=[{**numbers_of(row), "snapshot": place} for place, row in enumerate(rows, start=1)],
        curve=run.curve,
        curve_columns=run.curve_columns,
        test_images=run.test_images,
    )


def snapshots_of(paths: Sequence[Path]) -> tuple[Layout, np.ndarray]:
    """The layout and the weights [T, P] of checkpoint files that are the snapshots of one network.

    Raises ZooError for none, and for one with other tensors than those before it; CheckpointError.
    """
    if not paths:
        raise ZooError("it has no checkpoints")
    layouts, vectors = [], []
    for path in paths:
        checkpoint = open_checkpoint(path)
        layouts.append(layout_of(checkpoint.tensors, graph=checkpoint.graph, flatten_order=checkpoint.flatten_order))
        if layouts[-1] != layouts[0]:
            raise ZooError(f"{path} has other tensors than the snapshots before it")
        vectors.append(weight_vector(checkpoint.tensors, layouts[0]))
    return layouts[0], np.concatenate(vectors)


def clean_properties(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is missing, not finite or no text. A name that the index uses for something else gets `_given`
    behind it; the name of a run's random streams is text."""
    return {
        f"{name}_given" if name in SCHEMA else name: str(value) if name == KIN else value
        for name, value in properties.items()
        if value is not None and _is_json([name, value])
    }


def _is_json(value: Any) -> bool:
    """Not what JSON does not have: NaN, infinities, half a surrogate pair."""
    try:
        return bool(canonical_json(value).encode())
    except (ValueError, TypeError):
        return False


def numbers_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """The finite numbers in a row."""
    return {
        name: value
        for name, value in row.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
    }


def inside(folder: Path, name: str, *, where: str) -> Path:
    """A place inside `folder` by the name that a table gives it.

    Raises ZooError for an absolute path and for one that leaves the folder, by `..` or by a link.
    """
    parts = Path(name.replace("\\", "/")).parts
    if not name.strip() or "\0" in name or Path(name).is_absolute() or ".." in parts or (parts and ":" in parts[0]):
        raise ZooError(
            f"{where} names {name!r}, which is no path inside {folder}",
            hint="paths in a table are relative to the imported folder",
        )
    place = folder.joinpath(*parts)
    if not place.resolve().is_relative_to(folder.resolve()):
        raise ZooError(f"{where} names {name!r}, a link that leads out of {folder}", hint="copy what it points to")
    return place


def run_folders(folder: Path, is_run: Callable[[Path, list[str], list[str]], bool]) -> list[str]:
    """Paths inside a folder, in order, of the folders in it that are runs, at most DEPTH deep; links are left aside.

    is_run: of a folder's path inside, and the names of the folders and files in it
    """
    found = []
    for here, inner, files in os.walk(folder):
        place = Path(here).relative_to(folder)
        if is_run(place, inner, files):
            found.append(place.as_posix())
            inner.clear()
        deep = len(place.parts) >= DEPTH
        inner[:] = [] if deep else [name for name in inner if not name.startswith(TEMPORARY_PREFIX)]
    return sorted(found)


def existing_folder(path: StrPath) -> Path:
    """The folder to import from. Raises CheckpointError where there is none."""
    place = Path(path)
    if not place.is_dir():
        raise CheckpointError(f"{place} is not a folder", hint="give the folder as it was unpacked")
    return place
