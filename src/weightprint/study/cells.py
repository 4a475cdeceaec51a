"""Results by content: each is computed once per zoo, settings and version of the code, and kept as a small file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from weightprint.files import canonical_json, sha256_hex, write_atomic
from weightprint.study.workers import side_by_side

VERSION = 3
"""Raised when a result of the same settings would mean something else: older files are then computed anew."""


@dataclass(frozen=True)
class Cell:
    """One result to have.

    kind:     what computes it: "trial", "slices", …
    settings: what it depends on besides the zoo, JSON-ready
    versions: of the code that it stands on, by name: a result of older code is not found
    cost:     about how long it takes, in any unit; for the time left
    """

    kind: str
    settings: Mapping[str, Any]
    cost: float = 1.0
    versions: Mapping[str, int] = field(default_factory=dict)


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

    def get(self, cell: Cell) -> dict[str, Any] | None:
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
    work: Callable[[Cell], dict[str, Any]],
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
    for i, result in side_by_side(partial(_worked, work), list(enumerate(missing)), workers):
        cell = missing[i]
        cells.put(cell, result)
        done += cell.cost
        if progress is not None:
            progress(done, total)
    return len(missing)


def _worked(work: Callable[[Cell], dict[str, Any]], i: int, cell: Cell) -> tuple[int, dict[str, Any]]:
    return i, work(cell)
