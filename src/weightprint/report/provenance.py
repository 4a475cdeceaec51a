"""What a study's report stands on, as the file report.json beside it."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

from weightprint.study import Study
from weightprint.study.table import fingerprint

RESULTS = "results.parquet"
PROVENANCE = "report.json"


def provenance(study: Study, folder: Path) -> dict[str, Any]:
    """The content of report.json, JSON-ready.

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
        "versions": _versions(),
        "command": study_command(study, folder),
    }


def study_command(study: Study, folder: Path) -> str:
    """What to type to have the report made again."""
    others = f" --against {','.join(str(zoo.path) for zoo in study.against)}" if study.against else ""
    return f"weightprint study {study.zoo.path} {folder} --budget {study.budget.name}{others}"


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    from weightprint import __version__

    libraries = {name: version(name) for name in ("numpy", "polars", "scikit-learn")}
    return {"weightprint": __version__, "python": platform.python_version(), **libraries}
