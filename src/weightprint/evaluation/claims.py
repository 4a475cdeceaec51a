"""What may be claimed of a score: only what its whole interval says.

A result is an evaluation document (`per_run` holds the score and its interval), or a row of a table of results with
`value`, `low` and `high`; both may have `chance` and `majority`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from weightprint.evaluation.answers import REGRESSION


def baseline(result: Mapping[str, Any]) -> float | None:
    """What can be had without reading weights: the larger of chance and majority, an R² of 0; None if not known."""
    known = [result[name] for name in ("chance", "majority") if result.get(name) is not None]
    if known:
        return max(known)
    return 0.0 if result.get("measure") or result.get("kind") == REGRESSION else None


def interval_of(result: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """The ends of the 95 % interval, of a regression's document those of R²; None where it is not known."""
    if "low" in result:
        return result["low"], result["high"]
    score = result.get("per_run") or {}
    if result.get("kind") == REGRESSION:
        score = score.get("r2")
    low, high = (score.get("interval") if isinstance(score, Mapping) else None) or (None, None)
    return low, high


def above(result: Mapping[str, Any]) -> bool:
    """Whether the whole interval lies above the baseline: the only case in which anything is claimed."""
    low, least = interval_of(result)[0], baseline(result)
    return low is not None and least is not None and low > least
