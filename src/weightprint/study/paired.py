"""Rows of the table of results that say what a result is compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from weightprint.evaluation.answers import from_json
from weightprint.evaluation.comparison import difference
from weightprint.study import plans
from weightprint.study.cells import Cells
from weightprint.study.plans import Planned

Row = dict[str, Any]

COLUMNS = {
    "reference": "what it is compared with; null for nothing",
    "difference": "its accuracy (of a number, its mean absolute error) minus that, on the same runs",
    "difference_low": "lower end of its paired 95 % interval",
    "difference_high": "upper end",
    "n_compared": "runs that both were tested on",
    "p_value": "of McNemar's exact test",
}
"""Besides those of `weightprint.study.plans.COLUMNS`."""


def compared(document: Mapping[str, Any] | None, reference: str) -> Row:
    """The columns COLUMNS of what `weightprint.evaluation.comparison.difference` found; nulls for nothing."""
    if not document:
        return dict.fromkeys(COLUMNS)
    low, high = document["interval"] or (None, None)
    values = (reference, document["difference"], low, high, document["n_runs"], document["mcnemar"]["p_value"])
    return dict(zip(COLUMNS, values, strict=True))


def answers_in(cells: Cells, one: Planned, score: int = 0) -> pl.DataFrame | None:
    """The table of answers of one of a result's scores, without probabilities; None where it is not there."""
    kept = (cells.get(one.cell) or {}).get("answers") or []
    return from_json(kept[score]) if len(kept) > score and kept[score] is not None else None


def rows_against(planned: Sequence[Planned], cells: Cells, reference: Planned, name: str) -> list[Row]:
    """The rows of results of one score each, compared with another result that is called `name`."""
    found = []
    known = answers_in(cells, reference)
    for one in planned:
        answers = answers_in(cells, one)
        several = answers is not None and known is not None and one is not reference
        document = difference(answers, known) if several else None  # type: ignore[arg-type]
        found += [{**row, **compared(document, name)} for row in plans.rows([one], cells)]
    return found
