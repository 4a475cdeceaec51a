"""Two studies side by side: what both found, and where they differ, as one HTML file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weightprint.errors import CorruptFile, ReportError
from weightprint.evaluation.claims import baseline
from weightprint.files import write_atomic
from weightprint.report import figures, tables
from weightprint.report.differences import Pair, alone, claims, pairs_of
from weightprint.report.pages import csv_link, render_page
from weightprint.report.provenance import PROVENANCE, RESULTS
from weightprint.report.scores import classifications, words
from weightprint.report.sections import figure, section
from weightprint.report.study_figures import curve_figures, panel_of
from weightprint.study import COLUMNS
from weightprint.study.how_much import BASELINES, LOCAL

Row = Mapping[str, Any]

LATER = ("left_out",)
"""Columns that reports of earlier versions lack."""

MARK = "◆"
"""Marks a difference whose whole interval lies on one side of 0."""


@dataclass(frozen=True)
class Report:
    """What a study left behind.

    path:     its folder
    rows:     of results.parquet; columns are `weightprint.study.COLUMNS`
    provenance: report.json, see `weightprint.report.provenance`; empty for reports of versions that wrote none
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
    page = Path(out)
    if page.is_dir() or not page.parent.is_dir():
        raise ReportError(
            f"the page cannot be written to {page}: "
            + ("that is a folder" if page.is_dir() else f"there is no folder {page.parent}"),
            hint="name an HTML file in a folder that exists",
        )
    pairs = pairs_of(one.rows, other.rows)
    write_atomic(page, _render(one, other, pairs).encode())
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
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise CorruptFile(f"{path} is no JSON: {error}", hint="make the report again") from None
    if not isinstance(content, dict):
        raise CorruptFile(f"{path} does not describe a report", hint="make the report again")
    return content


def _render(a: Report, b: Report, pairs: Sequence[Pair]) -> str:
    return render_page(
        "side_by_side.html",
        title=f"{a.name} beside {b.name}" if a.name != b.name else f"Two studies of {a.name}",
        answer=_answer(pairs),
        facts=[f"A: {a.path}", f"B: {b.path}", f"{len(pairs)} results in both"],
        provenance=_provenance_rows(a, b),
        sections=[s for s in _sections(a, b, pairs) if s["pairs"]],
        mark=MARK,
        only=(alone(a.rows, pairs), alone(b.rows, pairs)),
        caveats=_caveats(a, b, pairs),
    )


def _answer(pairs: Sequence[Pair]) -> str:
    content = claims(_of(pairs, "headline", readers=True), "headline results")
    return content or "The two reports have no headline result in common."


def _of(pairs: Sequence[Pair], *experiments: str, readers: bool = False, **wanted: str) -> list[Pair]:
    """The pairs of some experiments; only of models that read weights, if `readers`."""
    return [
        pair
        for pair in pairs
        if pair.a["experiment"] in experiments
        and not (readers and pair.a["model"] in BASELINES)
        and all(pair.a[name] == value for name, value in wanted.items())
    ]


def _provenance_rows(a: Report, b: Report) -> list[tuple[str, str, str]]:
    """(what, of A, of B)"""

    def value_of(report: Report, name: str) -> str:
        value = report.provenance.get(name)
        if value is None or value == "":
            return tables.UNKNOWN
        if name == "split_seeds":
            return str(len(value))
        if name == "versions":
            return ", ".join(f"{library} {version}" for library, version in value.items())
        return tables.duration(value) if name == "seconds" else str(value)

    names = {
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
    return [(what, value_of(a, name), value_of(b, name)) for name, what in names.items()]


def _sections(a: Report, b: Report, pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    headline = _of(pairs, "headline")
    where = _of(pairs, "part", "kind", "layer", "only", "without", "all", question="where")
    when = [p for p in _of(pairs, "moments") if p.a["series"] == p.a["x"]]
    transfer = [p for p in pairs if p.a["question"] == "transfer"]
    slices = _of(pairs, "slices", model=LOCAL, x="10")
    runs = _of(pairs, "training_runs", model="layer_trees")
    return [
        section(
            "headline",
            "Whole networks",
            "Each property named from the later half of a run's snapshots, by the meta-classifiers of whole networks; "
            "shapes and fields read no weights.",
            _headline_figures(headline),
            pairs=headline,
            table=_table(headline),
        ),
        _curves(
            "slices",
            "Slices",
            f"{LOCAL}: 10 slices of consecutive weights, their answers averaged.",
            slices,
            x="weights in a slice",
            place=lambda r: float(r["series"]),
            logarithmic=True,
        ),
        _curves(
            "training-runs",
            "Training runs",
            "layer_trees, trained on a share of the training runs.",
            runs,
            x="training runs",
            place=lambda r: float(r["n_train_runs"]),
        ),
        _grid("where", "Where", "Trees that read some tensors only, in the last snapshot.", where),
        _curves(
            "when",
            "When",
            "layer_trees, trained on one snapshot and tested on the same snapshot of other runs.",
            when,
            x="snapshot",
            place=lambda r: float(r["x"]),
        ),
        _grid("transfer", "Transfer", "layer_trees, trained on runs without a value and tested on it.", transfer),
        _grid("controls", "Controls", "The headline without what explains it trivially.", _of(pairs, "controls")),
    ]


def _headline_figures(pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    """One figure per meta-classifier that reads weights."""
    shown = []
    for model in dict.fromkeys(p.a["model"] for p in pairs if p.a["measure"] == "accuracy"):
        if model in BASELINES:
            continue
        of_model = [p for p in pairs if p.a["model"] == model and p.a["measure"] == "accuracy"]
        documents = [_document(row, side) for p in of_model for side, row in (("A", p.a), ("B", p.b))]
        picture = figures.accuracy_figure(classifications(documents), name=f"headline-{model}")
        if picture:
            caption = (
                f"{model}: share of test runs named right, {_n(of_model)}, with 95 % intervals over runs. Upright "
                "lines: the larger of chance and majority. Filled points: the whole interval lies above it."
            )
            shown += figure(f"headline-{model}", [picture], caption, _csv(of_model))
    return shown


def _document(row: Row, side: str) -> dict[str, Any]:
    return {
        "property": row["property"],
        "model": side,
        "chance": row["chance"],
        "majority": row["majority"],
        "n_runs": row["n_runs"],
        "per_run": {"accuracy": row["value"], "interval": [row["low"], row["high"]]},
    }


def _curves(
    name: str,
    title: str,
    text: str,
    pairs: Sequence[Pair],
    *,
    x: str,
    place: Callable[[Row], float],
    logarithmic: bool = False,
) -> dict[str, Any]:
    """A section of curves: a panel per property, a line per report."""
    rows = [
        {**row, "side": side, "x_number": place(row)} for pair in pairs for side, row in (("A", pair.a), ("B", pair.b))
    ]
    panels = [panel_of(rows, target, lambda r: r["side"]) for target in dict.fromkeys(r["property"] for r in rows)]
    pictures = curve_figures(name, panels, x=x, logarithmic=logarithmic)
    caption = (
        f"Accuracy (R² of numbers) by {x}, {_n(pairs)}. Bands are 95 % intervals over runs, the dashed line the larger "
        "of chance and majority in either report."
    )
    shown = figure(f"{name}-curves", pictures, caption, _csv(pairs))
    return section(name, title, text, shown, pairs=pairs, finding=claims(pairs, "points of these curves"))


def _grid(name: str, title: str, text: str, pairs: Sequence[Pair]) -> dict[str, Any]:
    """A section with a table: a row per result and place, a column per property, A and B in each field."""
    columns = list(dict.fromkeys(p.a["property"] for p in pairs))
    places = dict.fromkeys(_place(p.a) for p in pairs)
    fields = {(_place(p.a), p.a["property"]): p for p in pairs}
    rows = [
        (" ".join(words(part) for part in place if part), [fields.get((place, c)) for c in columns]) for place in places
    ]
    grid = {"columns": columns, "rows": rows, "csv": csv_link(_csv(pairs)), "name": name}
    return section(name, title, text, pairs=pairs, finding=claims(pairs, "fields of this table"), grid=grid)


def _place(row: Row) -> tuple[str, ...]:
    experiment = "" if row["experiment"] in ("all", "controls") else f"{row['experiment']}:"
    model = row["model"] if row["question"] == "controls" else ""
    return model, experiment, row["series"], row["x"]


def _table(pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for pair in sorted(pairs, key=lambda p: [q.a["property"] for q in pairs].index(p.a["property"])):
        name = words(pair.a["property"]) + (" (R²)" if pair.a["measure"] == "r2" else "")
        first = not rows or rows[-1]["property"] != name
        rows.append(
            {
                "property": name,
                "first": first,
                "model": pair.a["model"],
                "sides": [_value(row) for row in (pair.a, pair.b)],
                "pair": pair,
                "runs": f"{pair.a['n_runs']}, {pair.b['n_runs']}",
                "baselines": ", ".join(_baseline(row) for row in (pair.a, pair.b)),
            }
        )
    return rows


def _value(row: Row) -> str:
    if row["measure"] == "r2":
        value, low, high = (tables.number(row[name]) for name in ("value", "low", "high"))
        return f"{value} [{low}, {high}]"
    return f"{tables.percent(row['value'])} {tables.interval_text(row['low'], row['high'])}"


def _baseline(row: Row) -> str:
    return tables.UNKNOWN if row["measure"] == "r2" else tables.percent(baseline(row))


def _csv(pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    rows = []
    for pair in pairs:
        document = pair.to_json()
        sides = {f"{side}_{name}": value for side in "ab" for name, value in document.pop(side).items()}
        low, high = document.pop("interval") or (None, None)
        rows.append({**document, "low": low, "high": high, **sides})
    return rows


def _n(pairs: Sequence[Pair]) -> str:
    a, b = (tables.runs_text(row["n_runs"] for row in rows) for rows in ([p.a for p in pairs], [p.b for p in pairs]))
    return f"n = {a} test runs in A and {b} in B"


def _caveats(a: Report, b: Report, pairs: Sequence[Pair]) -> list[str]:
    judged = sum(pair.comparable for pair in pairs)
    caveats = [
        "The interval of a difference is Newcombe's, made of the two results' own 95 % intervals (Statistics in "
        "Medicine 17 (1998), 873–890, method 10), for test runs that are independent on the two sides. An interval "
        "that includes 0 does not say that the two are equal.",
        f"{judged} differences are looked at. Of differences that are none, about one in twenty would still be marked.",
        "The intervals are over test runs; that other training runs would have given other meta-classifiers is not in "
        "them. Zoos differ in more than one way as a rule, and a difference does not say which of them it comes from.",
    ]
    shared = _shared(a.provenance, b.provenance)
    if shared:
        caveats.insert(1, shared)
    for name, what in (("budget", "budgets"), ("split_seeds", "splits")):
        values = [report.provenance.get(name) for report in (a, b)]
        if None not in values and values[0] != values[1]:
            caveats.append(
                f"The two studies used other {what}: curves and headlines stand on different amounts of work."
            )
            break
    unlike = sorted({words(p.a["property"]) for p in pairs if not p.comparable})
    if unlike:
        caveats.append(f"Not judged, because the two zoos have different numbers of classes: {', '.join(unlike)}.")
    return caveats


def _shared(a: Mapping[str, Any], b: Mapping[str, Any]) -> str:
    """Why the two sides are not independent; empty when nothing is known to tie them."""
    ties = (
        "Where the same runs are easy or hard on both sides, the intervals of differences are wider than they need be; "
        "the other way round they would be too narrow."
    )
    if not a or not b:
        return (
            f"A report without {PROVENANCE} does not say which runs it stands on: whether the two sides are "
            "independent is not known."
        )
    if a.get("fingerprint") == b.get("fingerprint"):
        return f"Both reports stand on the same runs, so that the two sides are not independent. {ties}"
    if a.get("recipe") is not None and a.get("recipe") == b.get("recipe"):
        return f"Both zoos have one recipe: runs of the same number are the same runs, and not independent. {ties}"
    if a.get("seed") is not None and a.get("seed") == b.get("seed"):
        return (
            f"The recipes of both zoos have the seed {a['seed']}: runs of the same number share what their spaces have "
            f"in common of their set-ups, and are not independent. {ties}"
        )
    return ""
