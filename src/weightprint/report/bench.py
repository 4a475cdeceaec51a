"""A benchmark's results as a table, as Markdown and as one figure that stands alone."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weightprint.evaluation.answers import REGRESSION
from weightprint.evaluation.claims import above, baseline, interval_of
from weightprint.files import write_atomic
from weightprint.report.figures import INK, MARKERS, PALETTE, draw, short, standalone
from weightprint.report.scores import ends, in_order, words
from weightprint.report.tables import ABOVE, duration, interval_text, number, parquet, percent
from weightprint.study.bench import BASELINES, COLUMNS, bench, table
from weightprint.zoo import Zoo

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Document = Mapping[str, Any]

PANELS = 3
"""Panels beside each other."""

READS = {"whole vectors": 0, "slices": 1, "no weights": 2}
"""What a model reads, and the place of its colour and marker."""

LOWEST_R2 = -0.25
"""Where the axis of R² begins; what lies below stands at its edge."""


ENDINGS = {"table": "parquet", "text": "md", "figure": "svg"}


def run_bench(zoo: Zoo | str | os.PathLike[str], out: str | os.PathLike[str], **choice: Any) -> dict[str, Any]:
    """`weightprint.study.bench.bench`, with its results written into the folder `out`.

    choice: models, properties and settings as there

    Writes `results.parquet` (columns `weightprint.study.bench.COLUMNS`), `results.md` and `results.svg` beside the
    `cells/`. Returns what `bench` does, with their paths as "files". Raises as it does.
    """
    result = bench(zoo, out, **choice)
    files = {name: str(Path(out) / f"results.{ending}") for name, ending in ENDINGS.items()}
    result = {**result, "files": files}
    write_atomic(Path(files["table"]), parquet(table(result), COLUMNS))
    write_atomic(Path(files["text"]), markdown(result).encode())
    write_atomic(Path(files["figure"]), figure(result["results"]).encode())
    return result


def markdown(result: Mapping[str, Any]) -> str:
    """What `weightprint.study.bench.bench` returns, as Markdown: a table per property, and how to read it."""
    documents = result["results"]
    reference = result["reference"]
    lines = [f"# Meta-classifiers on {result['zoo']}", "", _introduction(result)]
    for target in in_order(d["property"] for d in documents):
        of_property = [d for d in documents if d["property"] == target]
        make = _value_table if of_property[0]["kind"] == REGRESSION else _class_table
        lines += ["", f"## {words(target)}", "", *make(of_property, reference)]
    if result["left_out"]:
        lines += ["", "## Not possible", "", *_reasons(result["left_out"])]
    versions = ", ".join(f"{name} {value}" for name, value in result["made_with"].items())
    return "\n".join([*lines, "", f"Made with {versions}.", ""])


def _introduction(result: Mapping[str, Any]) -> str:
    splits = result["n_splits"]
    sentences = [
        f"{result['runs']} runs, {splits} split{'s' if splits > 1 else ''} into training and test runs"
        + (" (headline numbers need at least five)." if splits < 5 else "."),
        "Accuracies are those of test runs, in %, with 95 % intervals over runs; "
        f"{ABOVE} marks an interval that lies wholly above chance and majority, or an R² above 0.",
    ]
    if splits > 1:
        sentences.append("A run counts once, with its mean over the splits that tested it.")
    if result["reference"]:
        sentences.append(f"Differences to {result['reference']} are paired, run by run.")
    if result["max_seconds"]:
        sentences.append(f'A fit was allowed {duration(result["max_seconds"])}; "capped" where that ended it.')
    return " ".join(sentences)


def _class_table(documents: Sequence[Document], reference: str | None) -> list[str]:
    first = documents[0]
    rows = []
    for document in documents:
        low, high = ends(document["per_run"]["interval"])
        mark = f" {ABOVE}" if above(document) else ""
        single = document.get("per_slice") or document.get("per_snapshot") or {}
        gap = document["difference"] or {}
        cells = [
            f"{percent(document['per_run']['accuracy'])} {interval_text(low, high)}{mark}",
            f"{percent(single.get('accuracy'))} {interval_text(*ends(single.get('interval')))}".rstrip(),
        ]
        if reference:
            text = f"{percent(gap.get('difference'))} {interval_text(*ends(gap.get('interval')))}"
            cells.append(text.rstrip().replace("-", "−"))
        rows.append([*_names(document), *cells, *_facts(document)])
    heads = ["accuracy per run", "per slice or snapshot", *([f"minus {reference}"] if reference else [])]
    shares = f"chance {percent(first['chance'])} %, majority {percent(first['majority'])} %"
    return [f"{len(first['classes'])} classes: {shares}.", "", *_table(["model", "reads", *heads, *FACTS], rows)]


def _value_table(documents: Sequence[Document], reference: str | None) -> list[str]:
    rows = []
    for document in documents:
        per_run = document["per_run"]
        mark = f" {ABOVE}" if above(document) else ""
        cells = [
            _number(per_run["r2"]) + mark,
            _number(per_run["mae"], digits=True),
            f"{_number(per_run['kendall_tau'])} of {number(per_run['tau_ceiling']['value'])}",
        ]
        if reference:
            gap = document["difference"] or {}
            cells.append(_number({"value": gap.get("difference"), "interval": gap.get("interval")}, digits=True))
        rows.append([*_names(document), *cells, *_facts(document)])
    heads = [
        "R²",
        "mean absolute error",
        "Kendall τ of its ceiling",
        *([f"error minus {reference}"] if reference else []),
    ]
    return _table(["model", "reads", *heads, *FACTS], rows)


FACTS = ("test runs", "training runs", "time to fit")


def _names(document: Document) -> list[str]:
    return [str(document["model"]), reads_text(document)]


def _facts(document: Document) -> list[str]:
    took = duration(document["fit_seconds"])
    if document["capped"]:
        took += f", capped at {duration(document['max_seconds'])}"
    return [str(document["n_runs"]), str(document["n_train_runs"]), took]


def reads_text(document: Document) -> str:
    """What the model of a document reads."""
    kind = _reads(document)
    return f"slices of {document['slice_length']:,}" if kind == "slices" else kind


def _reads(document: Document) -> str:
    if document["model"] in BASELINES:
        return "no weights"
    return "whole vectors" if document["slice_length"] == "all" else "slices"


def _number(found: Mapping[str, Any], *, digits: bool = False) -> str:
    low, high = ends(found.get("interval"))
    sentences = number(found["value"], digits=digits)
    return sentences if low is None else f"{sentences} [{number(low, digits=digits)}, {number(high, digits=digits)}]"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [_line(heads), _line(["---"] * len(heads)), *map(_line, rows)]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _reasons(left_out: Sequence[Mapping[str, Any]]) -> list[str]:
    properties: dict[tuple[str, str, str], list[str]] = {}
    for one in left_out:
        what = "whole vectors" if one["slice_length"] == "all" else f"slices of {one['slice_length']:,}"
        properties.setdefault((one["model"], what, one["reason"]), []).append(words(one["property"]))
    every = len({one["property"] for one in left_out})
    return [
        f"- {model}, {what}{'' if len(names) == every else ' (' + ', '.join(names) + ')'}: {reason}"
        for (model, what, reason), names in properties.items()
    ]


def figure(documents: Sequence[Document]) -> str:
    """An SVG file: a panel per property, a line per model, its score with the 95 % interval, against what can be had
    without weights. What a model reads is told by colour and by shape; filled where the interval lies above."""
    targets = in_order(d["property"] for d in documents)
    names = in_order(f"{d['model']}, {reads_text(d)}" for d in documents)
    columns = min(PANELS, len(targets))
    lines = math.ceil(len(targets) / columns)

    def paint(canvas: Figure) -> None:
        grid = canvas.subplots(lines, columns, squeeze=False, sharey=True)
        for axes in grid.flat[len(targets) :]:
            axes.set_visible(False)
        for axes, target in zip(grid.flat, targets, strict=False):
            _paint_panel(axes, [d for d in documents if d["property"] == target], names)
        canvas.legend(
            handles=_handles(documents), loc="outside upper center", ncols=4, handletextpad=0.5, columnspacing=1.4
        )

    best = []
    for target in targets:
        top = max((d for d in documents if d["property"] == target), key=_height)
        best.append(f"{words(target)} {_told(top)} by {top['model']} from {reads_text(top)}")
    longest = max(len(name) for name in names)
    size = (0.07 * longest + 2.1 * columns + 0.3, lines * (0.75 + 0.19 * len(names)) + 0.5)
    picture = draw("benchmark", size, paint, alt=f"Scores per property and model; the highest: {'; '.join(best)}.")
    return standalone(picture.svg)


def _height(document: Document) -> float:
    if document["kind"] == REGRESSION:
        value = document["per_run"]["r2"]["value"]
        return -math.inf if value is None else value
    return document["per_run"]["accuracy"]


def _told(document: Document) -> str:
    if document["kind"] == REGRESSION:
        return f"R² {number(document['per_run']['r2']['value'])}"
    return f"{percent(document['per_run']['accuracy'])} %"


def _paint_panel(axes: Axes, documents: Sequence[Document], names: Sequence[str]) -> None:
    regression = documents[0]["kind"] == REGRESSION
    left = LOWEST_R2 if regression else 0.0
    for document in documents:
        place = names.index(f"{document['model']}, {reads_text(document)}")
        i = READS[_reads(document)]
        value, (low, high) = _height(document), interval_of(document)
        if low is not None and high is not None:
            axes.plot([max(low, left), max(high, left)], [place, place], color=PALETTE[i], linewidth=1.6)
        axes.plot(
            [max(value, left)],
            [place],
            MARKERS[i],
            color=PALETTE[i],
            markersize=5,
            markerfacecolor=PALETTE[i] if above(document) else "none",
            markeredgewidth=1.3,
        )
    floor = max(baseline(document) or 0.0 for document in documents)
    axes.axvline(floor, color=INK, linewidth=1.1, alpha=0.75, linestyle=(0, (2, 1.5)))
    axes.set_title(short(words(documents[0]["property"]), 30), loc="left")
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    if regression:
        axes.set_xlim(LOWEST_R2 - 0.04, 1.04)
        axes.set_xticks([0, 0.5, 1])
        axes.set_xlabel("R²")
    else:
        axes.set_xlim(-0.03, 1.03)
        axes.set_xticks([0, 0.5, 1], ["0 %", "50 %", "100 %"])
        axes.set_xlabel("test runs named right")


def _handles(documents: Sequence[Document]) -> list[Any]:
    from matplotlib.lines import Line2D

    shown = {_reads(document) for document in documents}
    handles = [
        Line2D([], [], color=PALETTE[i], marker=MARKERS[i], markersize=5, linewidth=1.6, label=name)
        for name, i in READS.items()
        if name in shown
    ]
    handles.append(Line2D([], [], color=INK, alpha=0.75, linestyle=(0, (2, 1.5)), label="chance or majority; R² 0"))
    return handles
