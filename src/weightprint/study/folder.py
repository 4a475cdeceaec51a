"""What a study leaves in its folder beside the page: the table of results, and what they stand on."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weightprint.errors import CorruptFile, ReportError
from weightprint.files import versions
from weightprint.study import COLUMNS, Study
from weightprint.study.table import fingerprint

Row = Mapping[str, Any]

RESULTS, PROVENANCE = "results.parquet", "report.json"

LATER = ("left_out",)
"""Columns that reports of earlier versions lack."""


def provenance(study: Study, command: str) -> dict[str, Any]:
    """What a study's report stands on: the content of report.json, JSON-ready.

    zoo:         its folder's name
    fingerprint: SHA-256 over its runs' identities and statuses
    recipe:      SHA-256 of its recipe
    space, seed: of its recipe; "" and None where there is none, as in imported zoos
    runs:        complete ones
    snapshots:   T
    budget, split_seeds, curve_seeds: how much was done; the splits of headlines and of the other results
    seconds:     of the call that wrote the file, which may have found results of earlier ones
    machine, versions: that it ran on
    command:     that does it again
    """
    seed = study.zoo.recipe.get("seed")
    return {
        "zoo": study.zoo.path.name,
        "fingerprint": fingerprint(study.zoo),
        "recipe": study.zoo.identity,
        "space": study.zoo.space_name,
        "seed": seed if isinstance(seed, int) else None,
        "runs": study.facts.runs,
        "snapshots": study.facts.snapshots,
        "budget": study.budget.name,
        "split_seeds": list(study.budget.split_seeds),
        "curve_seeds": list(study.budget.curve_seeds),
        "seconds": round(study.seconds, 3),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": versions("numpy", "polars", "scikit-learn"),
        "command": command,
    }


@dataclass(frozen=True)
class Report:
    """What a study left behind.

    path:       its folder
    rows:       of results.parquet; columns are `weightprint.study.COLUMNS`
    provenance: report.json, see `provenance`; empty where an early version wrote none
    """

    path: Path
    rows: Sequence[Row]
    provenance: Mapping[str, Any]

    @classmethod
    def read(cls, folder: str | os.PathLike[str]) -> Report:
        """Raises ReportError when the folder holds no report, CorruptFile for one that cannot be read."""
        path = Path(folder)
        if not (path / RESULTS).is_file():
            raise ReportError(
                f"{path} is no report: a folder with {RESULTS} was expected, "
                + ("which it does not hold" if path.is_dir() else "there is no such folder"),
                hint=f"make it with: weightprint study ZOO {path}",
            )
        return cls(path, _results(path / RESULTS), _provenance(path / PROVENANCE))

    @property
    def name(self) -> str:
        return str(self.provenance.get("zoo", self.path.name))


def _results(path: Path) -> Sequence[Row]:
    import polars as pl

    try:
        table = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise CorruptFile(f"{path} is no parquet file: {error}", hint="make the report again") from None
    missing = [name for name in COLUMNS if name not in table.columns and name not in LATER]
    if missing:
        raise ReportError(
            f"{path} is not a study's: it has no column {missing[0]!r}", hint="make it with: weightprint study"
        )
    return table.rows(named=True)


def _provenance(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes()) if path.is_file() else {}
    except ValueError as error:
        raise CorruptFile(f"{path} is no JSON: {error}", hint="make the report again") from None
    if not isinstance(content, dict):
        raise CorruptFile(f"{path} does not describe a report", hint="make the report again")
    return content
