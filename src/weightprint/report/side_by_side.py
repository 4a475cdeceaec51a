"""Two studies side by side: what both found, and where they differ, as one HTML file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weightprint.errors import CorruptFile, ReportError
from weightprint.evaluation.claims import baseline
from weightprint.report import figures, tables
from weightprint.report.curves import curve_figures
from weightprint.report.differences import Pair, alone, claims, pairs_of
from weightprint.report.findings import by_property
from weightprint.report.pages import Block, Note, Points, Section, Tabled, figure, render_page, write_page
from weightprint.report.scores import classifications, in_order, words
from weightprint.report.study_page import PROVENANCE, RESULTS
from weightprint.report.study_sections import WHERE
from weightprint.report.tables import DIFFERS, Table
from weightprint.study import COLUMNS
from weightprint.study.experiments import BASELINES, LOCAL

Row = Mapping[str, Any]

LATER = ("left_out",)
"""Columns that reports of earlier versions lack."""

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

BOLD = f"Bold with {DIFFERS}: the whole interval of the difference lies on one side of 0."


@dataclass(frozen=True)
class Report:
    """What a study left behind.

    path:     its folder
    rows:     of results.parquet; columns are `weightprint.study.COLUMNS`
    provenance: report.json, see `weightprint.report.study_page.provenance`; empty where an early version wrote none
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


def _render(a: Report, b: Report, pairs: Sequence[Pair]) -> str:
    only = f"{alone(a.rows, pairs)} of A, {alone(b.rows, pairs)} of B"
    stands_on = Table(
        ("", "A", "B"),
        [
            (what, *(_provenance_text(name, report.provenance.get(name)) for report in (a, b)))
            for name, what in PROVENANCE_IN_WORDS.items()
        ],
    )
    note = Note(f"Results that only one of the reports has are not shown: {only}.")
    return render_page(
        "page.html",
        title=f"{a.name} beside {b.name}" if a.name != b.name else f"Two studies of {a.name}",
        answer=_answer(pairs),
        facts=[f"A: {a.path}", f"B: {b.path}", f"{len(pairs)} results in both"],
        sections=[
            Section("provenance", "What they stand on", [Tabled(stands_on, "What the two reports stand on"), note]),
            *_sections(pairs),
            Section("caveats", "Caveats", [Points(_caveats(a, b, pairs))]),
        ],
    )


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


def _sections(pairs: Sequence[Pair]) -> list[Section]:
    """The sections of results, those that the reports have common results for."""
    diagonal = [pair for pair in _of(pairs, "moments") if pair.a["series"] == pair.a["x"]]
    tensors, transfers = _of(pairs, *WHERE, "all", question="where"), _of(pairs, question="transfer")
    sections = [
        _headline(
            "Each property named from the later half of a run's snapshots, by the meta-classifiers of whole networks; "
            "shapes and fields read no weights.",
            _of(pairs, "headline"),
        ),
        _curves(
            "slices",
            f"{LOCAL}: 10 slices of consecutive weights, their answers averaged.",
            _of(pairs, "slices", model=LOCAL, x="10"),
            x="weights in a slice",
            place="series",
            logarithmic=True,
        ),
        _curves(
            "training runs",
            "layer_trees, trained on a share of the training runs.",
            _of(pairs, "training_runs", model="layer_trees"),
            x="training runs",
            place="n_train_runs",
        ),
        _grid("where", "Trees that read some tensors only, in the last snapshot.", tensors),
        _curves(
            "when",
            "layer_trees, trained on one snapshot and tested on the same snapshot of other runs.",
            diagonal,
            x="snapshot",
            place="x",
        ),
        _grid("transfer", "layer_trees, trained on runs without a value and tested on it.", transfers),
        _grid("controls", "The headline without what explains it trivially.", _of(pairs, "controls")),
    ]
    return [section for section in sections if len(section.blocks) > 1]


def _headline(text: str, pairs: Sequence[Pair]) -> Section:
    """A figure per meta-classifier that reads weights, and a table."""
    blocks: list[Block] = [text]
    for model in in_order(p.a["model"] for p in pairs if p.a["model"] not in BASELINES):
        of_model = _of(pairs, model=model, measure="accuracy")
        documents = [_document(row, side) for pair in of_model for side, row in pair.sides.items()]
        name = f"headline-{model}"
        blocks += figure(
            name,
            [figures.accuracy_figure(classifications(documents), name=name)],
            f"{model}: share of test runs named right, {_n(of_model)}, with 95 % intervals over runs. Upright lines: "
            "the larger of chance and majority. Filled points: the whole interval lies above it.",
            _csv(of_model),
        )
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
    caption = (
        f"Accuracies in % and their differences A − B in points (of numbers R²), with 95 % intervals. {BOLD} “Without "
        "weights” is the larger of chance and majority."
    )
    blocks += [Tabled(Table.of(rows), "Headline results of both reports", caption)] if rows else []
    return Section("headline", "Whole networks", blocks)


def _document(row: Row, side: str) -> dict[str, Any]:
    same = {name: row[name] for name in ("property", "chance", "majority", "n_runs")}
    return {**same, "model": side, "per_run": {"accuracy": row["value"], "interval": [row["low"], row["high"]]}}


def _value(row: Row) -> str:
    text = tables.number_text if row["measure"] == "r2" else tables.share_text
    return text(row["value"], row["low"], row["high"])


def _curves(title: str, text: str, pairs: Sequence[Pair], *, x: str, place: str, logarithmic: bool = False) -> Section:
    """A section of curves: a panel per property, a line per report. place: the column that says where points lie"""
    name = title.replace(" ", "-")
    rows = [{**row, "side": side, "x_number": float(row[place])} for p in pairs for side, row in p.sides.items()]
    shown = figure(
        f"{name}-curves",
        curve_figures(name, rows, by_property(rows), x=x, by="side", logarithmic=logarithmic),
        f"Accuracy (R² of numbers) by {x}, {_n(pairs)}. Bands are 95 % intervals over runs, the dashed line the larger "
        "of chance and majority in either report.",
        _csv(pairs),
        finding=claims(pairs, "points of these curves"),
    )
    return Section(name, title.capitalize(), [text, *shown])


def _grid(name: str, text: str, pairs: Sequence[Pair]) -> Section:
    """A section with a table: a row per result and place, a column per property, A and B in each field."""
    fields = {(_place(pair.a), pair.a["property"]): pair.short for pair in pairs}
    places, columns = (in_order(keys) for keys in zip(*fields, strict=True)) if fields else ((), ())
    rows = [[place, *(fields.get((place, c), tables.UNKNOWN) for c in columns)] for place in places]
    title, finding = name.capitalize(), claims(pairs, "fields of this table")
    table = Table(["", *map(words, columns)], rows)
    caption = f"A | B, accuracies in % (of numbers the R² in %). {BOLD}"
    shown = Tabled(table, f"{title}: both reports", caption, name, _csv(pairs))
    return Section(name, title, [text, *filter(None, [finding]), *([shown] if pairs else [])])


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


def _caveats(a: Report, b: Report, pairs: Sequence[Pair]) -> list[str]:
    judged = sum(pair.comparable for pair in pairs)
    one, other = a.provenance, b.provenance
    unlike = [
        what
        for name, what in (("budget", "budgets"), ("split_seeds", "splits"))
        if None not in (one.get(name), other.get(name)) and one[name] != other[name]
    ]
    classes = sorted({words(p.a["property"]) for p in pairs if not p.comparable})
    caveats = [
        "The interval of a difference is Newcombe's, made of the two results' own 95 % intervals (Statistics in "
        "Medicine 17 (1998), 873–890, method 10), for test runs that are independent on the two sides. An interval "
        "that includes 0 does not say that the two are equal.",
        _shared(one, other),
        f"{judged} differences are looked at. Of differences that are none, about one in twenty would still be marked.",
        "The intervals are over test runs; that other training runs would have given other meta-classifiers is not in "
        "them. Zoos differ in more than one way as a rule, and a difference does not say which of them it comes from.",
        *(
            f"The two studies used other {what}: curves and headlines stand on different amounts of work."
            for what in unlike[:1]
        ),
        f"Not judged, because the two zoos have different numbers of classes: {', '.join(classes)}." if classes else "",
    ]
    return [caveat for caveat in caveats if caveat]


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
    alike = {
        "fingerprint": "Both reports stand on the same runs, so that the two sides are not independent.",
        "recipe": "Both zoos have one recipe: runs of the same number are the same runs, and not independent.",
        "seed": f"The recipes of both zoos have the seed {a.get('seed')}: runs of the same number share what their "
        "spaces have in common of their set-ups, and are not independent.",
    }
    known = (text for name, text in alike.items() if a.get(name) is not None and a.get(name) == b.get(name))
    told = next(known, "")
    return told and f"{told} {ties}"
