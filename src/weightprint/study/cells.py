"""Results by content: each is computed once per zoo, settings and version of the code, and kept as a small file."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from weightprint.errors import MetaError
from weightprint.files import canonical_json, sha256_hex, write_atomic

P = ParamSpec("P")
T = TypeVar("T")
Result = dict[str, Any]

VERSION = 3
"""Raised when a result of the same settings would mean something else: older files are then computed anew."""


@dataclass(frozen=True)
class Cell:
    """One result to have.

    kind:     what computes it: "trial", "slices", …
    settings: what it depends on besides the zoo, JSON-ready
    versions: of the code that it stands on, by name: a result of older code is not found
    cost:     about how long it takes, in any unit; for the time left
    given:    what it is computed from: the settings as their own type, or what JSON cannot hold of them besides
    alone:    whether it has threads of its own, or may have: it is computed when the others are done
    """

    kind: str
    settings: Mapping[str, Any]
    cost: float = 1.0
    versions: Mapping[str, int] = field(default_factory=dict)
    given: Any = field(default=None, compare=False)
    alone: bool = False


@dataclass(frozen=True)
class Cells:
    """The results of one zoo in a folder.

    folder: where they lie, one JSON file each
    zoo:    fingerprint of the zoo's runs and what is in them
    """

    folder: Path
    zoo: str

    def path(self, cell: Cell) -> Path:
        versions = {"cells": VERSION, **cell.versions}
        key = {"versions": versions, "zoo": self.zoo, "kind": cell.kind, "settings": cell.settings}
        return self.folder / f"{sha256_hex(canonical_json(key).encode())[:32]}.json"

    def get(self, cell: Cell) -> Result | None:
        """A result that is there; None when it is not, or its file is damaged."""
        try:
            found = json.loads(self.path(cell).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def put(self, cell: Cell, result: Mapping[str, Any]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomic(self.path(cell), json.dumps(result, sort_keys=True).encode())

    def missing(self, cells: Sequence[Cell]) -> list[Cell]:
        """Those that are not there yet, each once."""
        unique = {self.path(cell): cell for cell in cells}
        return [cell for cell in unique.values() if self.get(cell) is None]


def compute(
    cells: Cells,
    wanted: Sequence[Cell],
    work: Callable[[Cell], Result],
    *,
    workers: int,
    progress: Callable[[float, float], None] | None = None,
) -> int:
    """Make every wanted result that is missing, in the order given, and keep each the moment it is done.

    work:     what makes one; has to be picklable when workers is above 1
    progress: called with the cost done and the cost in all

    Returns how many were made.
    """
    missing = cells.missing(wanted)
    total, done = sum(cell.cost for cell in missing), 0.0
    for cell, result in results(missing, work, workers):
        cells.put(cell, result)
        done += cell.cost
        if progress is not None:
            progress(done, total)
    return len(missing)


def results(wanted: Sequence[Cell], work: Callable[[Cell], Result], workers: int) -> Iterator[tuple[Cell, Result]]:
    """Each cell and its result, as they are done; those that are to be computed alone last, and in this process."""
    yield from side_by_side(work, [cell for cell in wanted if not cell.alone], workers)
    yield from ((cell, work(cell)) for cell in wanted if cell.alone)


def side_by_side(work: Callable[[T], Any], things: Sequence[T], workers: int) -> Iterator[tuple[T, Any]]:
    """Each of the things and what `work` makes of it, as they are done; here and in order with one worker or one thing
    to do. work: can be pickled"""
    if workers <= 1 or len(things) <= 1:
        yield from ((thing, work(thing)) for thing in things)
        return
    from joblib import Parallel, delayed

    # A worker whose memory has grown ends between two jobs, and another takes its place.
    warnings.filterwarnings("ignore", message="A worker stopped while some jobs were given to the executor")
    parallel = Parallel(n_jobs=workers, return_as="generator_unordered", batch_size=1, pre_dispatch="2*n_jobs")
    for i, made in parallel(delayed(_numbered)(work, i, thing) for i, thing in enumerate(things)):
        yield things[i], made


def _numbered(work: Callable[[T], Any], i: int, thing: T) -> tuple[int, Any]:
    return i, work(thing)


def explained(run: Callable[P, Result]) -> Callable[P, Result]:
    """The function, whose result then has its "seconds", and is the "reason" where it raises MetaError."""

    @wraps(run)
    def timed(*args: P.args, **kwargs: P.kwargs) -> Result:
        began = time.monotonic()
        try:
            found = run(*args, **kwargs)
        except MetaError as error:
            found = {"reason": error.message}
        return {**found, "seconds": time.monotonic() - began}

    return timed
