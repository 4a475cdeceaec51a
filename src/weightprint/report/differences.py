"""Results that two reports have in common, and whether they differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from weightprint.evaluation.comparison import independent_difference
from weightprint.report.findings import percent_or_r2
from weightprint.report.scores import enumeration, words
from weightprint.report.tables import DIFFERS

Row = Mapping[str, Any]

KEY = ("question", "experiment", "property", "model", "series", "x", "measure")
"""What a result and its counterpart agree in; columns of results.parquet."""


@dataclass(frozen=True)
class Pair:
    """One result in both reports.

    a, b:       rows of results.parquet, with a value and an interval
    difference: a less b
    low, high:  its 95 % interval for independent runs
    """

    a: Row
    b: Row
    difference: float
    low: float
    high: float

    @property
    def sides(self) -> dict[str, Row]:
        """Both rows, by the name of their report."""
        return {"A": self.a, "B": self.b}

    @property
    def of_numbers(self) -> bool:
        """Whether an R² was measured, and not an accuracy."""
        return self.a["measure"] == "r2"

    @property
    def comparable(self) -> bool:
        """Whether both were asked the same question: among fewer classes a larger share is named right by chance."""
        return abs((self.a["chance"] or 0.0) - (self.b["chance"] or 0.0)) < 1e-9

    @property
    def differs(self) -> bool:
        """Whether the whole interval lies on one side of 0: the only case in which anything is claimed."""
        return self.comparable and (self.low > 0 or self.high < 0)

    @property
    def score(self) -> str:
        """Both values and their difference, in words."""
        difference = self.difference_text.removesuffix(f" {DIFFERS}") + ("" if self.of_numbers else " points")
        return f"A {percent_or_r2(self.a)}, B {percent_or_r2(self.b)}, difference {difference}"

    @property
    def short(self) -> str:
        """Both values in hundredths, and the mark where they differ."""
        text = f"{100 * self.a['value']:.0f} | {100 * self.b['value']:.0f}".replace("-", "−")
        return text + f" {DIFFERS}" * self.differs

    @property
    def difference_text(self) -> str:
        """The difference with its interval, of accuracies in points of a hundred, and the mark where it is one."""
        scale, digits = (1, 2) if self.of_numbers else (100, 1)
        ends = [f"{scale * end:+.{digits}f}".replace("-", "−") for end in (self.difference, self.low, self.high)]
        return f"{ends[0]} [{ends[1]}, {ends[2]}]" + f" {DIFFERS}" * self.differs

    def to_json(self) -> dict[str, Any]:
        """JSON-ready: what it is, the row of either side, and the difference; null where the classes are not alike."""
        columns = ("value", "low", "high", "chance", "majority", "n_runs")
        return {
            **{name: self.a[name] for name in KEY},
            **{side: {name: row[name] for name in columns} for side, row in (("a", self.a), ("b", self.b))},
            "difference": self.difference if self.comparable else None,
            "interval": [self.low, self.high] if self.comparable else None,
            "differs": self.differs,
        }


def difference_of(a: Row, b: Row) -> tuple[float, float, float]:
    """The value of a less that of b, and the ends of its 95 % interval when their test runs are independent."""
    return independent_difference(_estimate(a), _estimate(b))


def pairs_of(a: Sequence[Row], b: Sequence[Row]) -> list[Pair]:
    """The results that both reports have with an interval, in the order of the first."""
    known = {_key(row): row for row in b if _whole(row)}
    pairs = [(row, known[_key(row)]) for row in a if _whole(row) and _key(row) in known]
    return [Pair(one, other, *difference_of(one, other)) for one, other in pairs]


def alone(rows: Sequence[Row], pairs: Sequence[Pair]) -> int:
    """How many of a report's results the other one does not have."""
    common = {_key(pair.a) for pair in pairs}
    return sum(_whole(row) and _key(row) not in common for row in rows)


def claims(pairs: Sequence[Pair], what: str, *, most: int = 3) -> str:
    """How many of the pairs differ, and which do most; nothing is claimed of the others.

    what: the pairs' name, such as "headline results"
    most: that are named
    """
    judged = [pair for pair in pairs if pair.comparable]
    differing = [pair for pair in judged if pair.differs]
    if not judged:
        return ""
    if not differing:
        return f"In none of the {len(judged)} {what} does the interval of the difference exclude\u00a00."
    differing.sort(key=lambda pair: -abs(pair.difference))
    most_of_all = "; ".join(f"{named(pair.a)} ({pair.score})" for pair in differing[:most])
    rest = f"; and {len(differing) - most} more" if len(differing) > most else ""
    verb = "differ" if len(differing) > 1 else "differs"
    return f"{len(differing)} of the {len(judged)} {what} {verb}: {most_of_all}{rest}."


def named(row: Row) -> str:
    """A result in words: "optimizer by trees, from bias"."""
    described = f"{words(row['property'])} by {row['model']}"
    if row["experiment"] == "moments":
        return f"{described} at snapshot {row['x']}"
    if row["experiment"] == "slices":
        return f"{described} from {row['x']} slices of {int(row['series']):,}"
    places = enumeration([words(part) for part in (row["series"], row["x"]) if part])
    return f"{described}, {places}" if places else described


def _key(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in KEY)


def _estimate(row: Row) -> tuple[Any, Any, Any]:
    return row["value"], row["low"], row["high"]


def _whole(row: Row) -> bool:
    return None not in _estimate(row)
