"""Two studies side by side: what both found, and where they differ, as one HTML file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from weightprint.errors import ReportError
from weightprint.evaluation.claims import baseline
from weightprint.report import figures, tables
from weightprint.report.curves import curve_figures
from weightprint.report.differences import Pair, alone, claims, pairs_of
from weightprint.report.findings import by_property
from weightprint.report.pages import Figure, figure, render_page, write_page
from weightprint.report.scores import classifications, in_order, words
from weightprint.report.study_sections import WHERE
from weightprint.report.tables import Table
from weightprint.study.experiments import BASELINES, LOCAL
from weightprint.study.folder import Report

Row = Mapping[str, Any]

PROVENANCE_IN_WORDS = {
    "zoo": "zoo",
    "space": "space",
    "seed": "seed of the recipe",
    "runs": "complete runs",
    "snapshots": "snapshots of each",
    "budget": "budget",
    "split_seeds": "splits of the headline",
    "seconds": "time of the last call",
    "machine": "machine",
    "versions": "versions",
    "command": "command",
}
"""What is told of what the reports stand on."""

TIES = ("fingerprint", "recipe", "seed")
"""What two zoos share where their runs are not independent, the strongest tie first."""


def compare_reports(
    a: str | os.PathLike[str], b: str | os.PathLike[str], out: str | os.PathLike[str]
) -> dict[str, Any]:
    """Put the reports of two studies side by side: `out` becomes one HTML file that needs nothing else.

    a, b: folders that `run_study` wrote
    out:  where to; the file appears whole or not at all

    Returns {"page", "a", "b", "pairs", "differ", "only_in_a", "only_in_b", "answer"}: the path, what either report
    stands on, every result that both have with the difference a − b and its 95 % interval for independent runs, and
    how many of those intervals exclude 0. Raises ReportError when a folder holds no report or `out` cannot be written.
    """
    one, other = Report.read(a), Report.read(b)
    pairs = pairs_of(one.rows, other.rows)
    page = write_page(out, _render(one, other, pairs), error=ReportError)
    return {
        "page": str(page),
        "a": {"report": str(one.path), **one.provenance},
        "b": {"report": str(other.path), **other.provenance},
        "pairs": [pair.to_json() for pair in pairs],
        "differ": sum(pair.differs for pair in pairs),
        "only_in_a": alone(one.rows, pairs),
        "only_in_b": alone(other.rows, pairs),
        "answer": _answer(pairs),
    }


def _render(a: Report, b: Report, pairs: Sequence[Pair]) -> str:
    one, other = a.provenance, b.provenance
    unlike = [name for name in ("budget", "split_seeds") if None not in (one.get(name), other.get(name))]
    return render_page(
        "both.html",
        title=f"{a.name} beside {b.name}" if a.name != b.name else f"Two studies of {a.name}",
        answer=_answer(pairs),
        facts=[f"A: {a.path}", f"B: {b.path}", f"{len(pairs)} results in both"],
        stands_on=_stands_on(one, other),
        only=(alone(a.rows, pairs), alone(b.rows, pairs)),
        sections=[section for section in _sections(pairs) if section.shown],
        a=one,
        b=other,
        tie=next((name for name in TIES if one.get(name) is not None and one.get(name) == other.get(name)), ""),
        unlike=[name for name in unlike if one[name] != other[name]],
        judged=sum(pair.comparable for pair in pairs),
        other_classes=sorted({words(pair.a["property"]) for pair in pairs if not pair.comparable}),
    )


def _stands_on(a: Mapping[str, Any], b: Mapping[str, Any]) -> Table:
    """What the reports stand on, side by side."""
    names = PROVENANCE_IN_WORDS.items()
    rows = [(what, _provenance_text(name, a.get(name)), _provenance_text(name, b.get(name))) for name, what in names]
    return Table(("", "A", "B"), rows)


def _answer(pairs: Sequence[Pair]) -> str:
    readers = [pair for pair in _of(pairs, "headline") if pair.a["model"] not in BASELINES]
    return claims(readers, "headline results") or "The two reports have no headline result in common."


def _of(pairs: Sequence[Pair], *experiments: str, **wanted: str) -> list[Pair]:
    """The pairs of some experiments, or of all, whose columns have the values wanted."""
    return [
        pair
        for pair in pairs
        if (not experiments or pair.a["experiment"] in experiments)
        and all(pair.a[name] == value for name, value in wanted.items())
    ]


def _provenance_text(name: str, value: Any) -> str:
    if value is None or value == "":
        return tables.UNKNOWN
    if name == "split_seeds":
        return str(len(value))
    if name == "versions":
        return ", ".join(f"{library} {version}" for library, version in value.items())
    return tables.duration(value) if name == "seconds" else str(value)


@dataclass(frozen=True)
class Compared:
    """A section: what both reports have to one question, as figures, as a table, or both.

    n:       test runs, in words
    table:   a row per result or place; where it is the only one to show the data, its finding and rows stand with it
    """

    name: str
    figures: Mapping[str, Figure] = field(default_factory=dict)
    table: Table | None = None
    finding: str = ""
    rows: Sequence[Row] = ()
    x: str = ""

    @property
    def shown(self) -> bool:
        """Whether the reports have anything in common here."""
        return any(one.pictures for one in self.figures.values()) or bool(self.table and self.table.rows)


def _sections(pairs: Sequence[Pair]) -> list[Compared]:
    diagonal = [pair for pair in _of(pairs, "moments") if pair.a["series"] == pair.a["x"]]
    lengths, shares = _of(pairs, "slices", model=LOCAL, x="10"), _of(pairs, "training_runs", model="layer_trees")
    return [
        _headline(_of(pairs, "headline")),
        _curves("slices", lengths, x="weights in a slice", place="series", logarithmic=True),
        _curves("training-runs", shares, x="training runs", place="n_train_runs"),
        _grid("where", _of(pairs, *WHERE, "all", question="where")),
        _curves("when", diagonal, x="snapshot", place="x"),
        _grid("transfer", _of(pairs, question="transfer")),
        _grid("controls", _of(pairs, "controls")),
    ]


def _headline(pairs: Sequence[Pair]) -> Compared:
    """A figure per meta-classifier that reads weights, and a table."""
    shown = {}
    for model in in_order(p.a["model"] for p in pairs if p.a["model"] not in BASELINES):
        of_model = _of(pairs, model=model, measure="accuracy")
        documents = [_document(row, side) for pair in of_model for side, row in pair.sides.items()]
        name = f"headline-{model}"
        picture = figures.accuracy_figure(classifications(documents), name=name)
        shown[name] = figure([picture], _csv(of_model), n=_n(of_model))
    order = in_order(pair.a["property"] for pair in pairs)
    rows = [
        {
            "property": words(pair.a["property"]) + (" (R²)" if pair.of_numbers else ""),
            "meta-classifier": pair.a["model"],
            **{side: _value(row) for side, row in pair.sides.items()},
            "difference A − B": pair.difference_text if pair.comparable else "other classes",
            "test runs, A and B": ", ".join(str(row["n_runs"]) for row in pair.sides.values()),
            "without weights, A and B": ", ".join(
                tables.UNKNOWN if pair.of_numbers else tables.percent(baseline(row)) for row in pair.sides.values()
            ),
        }
        for pair in sorted(pairs, key=lambda pair: order.index(pair.a["property"]))
    ]
    return Compared("headline", shown, Table.of(rows))


def _document(row: Row, side: str) -> dict[str, Any]:
    same = {name: row[name] for name in ("property", "chance", "majority", "n_runs")}
    return {**same, "model": side, "per_run": {"accuracy": row["value"], "interval": [row["low"], row["high"]]}}


def _value(row: Row) -> str:
    text = tables.number_text if row["measure"] == "r2" else tables.share_text
    return text(row["value"], row["low"], row["high"])


def _curves(name: str, pairs: Sequence[Pair], *, x: str, place: str, logarithmic: bool = False) -> Compared:
    """Curves: a panel per property, a line per report. place: the column that says where points lie"""
    rows = [{**row, "side": side, "x_number": float(row[place])} for p in pairs for side, row in p.sides.items()]
    pictures = curve_figures(name, rows, by_property(rows), x=x, by="side", logarithmic=logarithmic)
    finding = claims(pairs, "points of these curves")
    return Compared(name, {f"{name}-curves": figure(pictures, _csv(pairs), finding=finding, n=_n(pairs))}, x=x)


def _grid(name: str, pairs: Sequence[Pair]) -> Compared:
    """A table: a row per result and place, a column per property, A and B in each field."""
    fields = {(_place(pair.a), pair.a["property"]): pair.short for pair in pairs}
    places, columns = in_order(place for place, _ in fields), in_order(column for _, column in fields)
    rows = [[place, *(fields.get((place, column), tables.UNKNOWN) for column in columns)] for place in places]
    table = Table(["", *map(words, columns)], rows)
    return Compared(name, table=table, finding=claims(pairs, "fields of this table"), rows=_csv(pairs))


def _place(row: Row) -> str:
    """What was read, in words: "layer: conv1"."""
    experiment = "" if row["experiment"] in ("all", "controls") else f"{row['experiment']}:"
    model = row["model"] if row["question"] == "controls" else ""
    return " ".join(words(part) for part in (model, experiment, row["series"], row["x"]) if part)


def _csv(pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    rows = []
    for pair in pairs:
        document = pair.to_json()
        sides = {f"{side}_{name}": value for side in "ab" for name, value in document.pop(side).items()}
        low, high = document.pop("interval") or (None, None)
        rows.append({**document, "low": low, "high": high, **sides})
    return rows


def _n(pairs: Sequence[Pair]) -> str:
    a, b = (tables.runs_text(pair.sides[side]["n_runs"] for pair in pairs) for side in "AB")
    return f"n = {a} test runs in A and {b} in B"
