"""A benchmark's results as a table, as Markdown and as one figure that stands alone."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weightprint.files import write_atomic
from weightprint.report.drawing import (
    DASHED,
    INK,
    draw,
    estimate,
    legend,
    look,
    percent_axis,
    row_axis,
    title_of,
)
from weightprint.report.scores import Result, classifications, in_order, many, regressions, setting_text, words
from weightprint.report.tables import ABOVE, SETTINGS, Table, duration, number, parquet, percent, result_rows
from weightprint.study.bench import BASELINES, COLUMNS, bench, table
from weightprint.zoo import Zoo

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Document = Mapping[str, Any]

PANELS = 3
"""Panels beside each other."""

READS = ("whole vectors", "slices", "no weights")
"""What models read; each has a colour and a marker in the figure."""

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
    lines = [f"# Meta-classifiers on {result['zoo']}", "", _introduction(result)]
    for target in in_order(d["property"] for d in documents):
        results = _results([d for d in documents if d["property"] == target])
        shown = Table.of([_row(row, one) for row, one in zip(result_rows(results), results, strict=True)])
        alike = shown.alike(SETTINGS)
        lines += ["", f"## {words(target)}", "", shown.without(alike).markdown()]
        lines += ["", f"The same for all: {', '.join(alike.values())}."] if alike else []
    if result["left_out"]:
        lines += ["", "## Not possible", "", *_reasons(result["left_out"])]
    versions = ", ".join(f"{name} {value}" for name, value in result["made_with"].items())
    return "\n".join([*lines, "", f"Made with {versions}.", ""])


def _results(documents: Sequence[Document]) -> list[Result]:
    return [*classifications(documents), *regressions(documents)]


def _row(row: Mapping[str, str], result: Result) -> dict[str, str]:
    """A row of a table of one property, with what the model reads beside its name."""
    names = {"meta-classifier": str(result.document["model"]), "reads": reads_text(result.document)}
    return {**names, **{name: text for name, text in row.items() if name != "property" and name not in names}}


def _introduction(result: Mapping[str, Any]) -> str:
    splits = result["n_splits"]
    sentences = [
        f"{result['runs']} runs, {many(splits, 'split')} into training and test runs"
        + (" (headline numbers need at least five)." if splits < 5 else "."),
        "Accuracies are those of test runs, in %, with 95 % intervals over runs; "
        f"{ABOVE} marks an interval that lies wholly above chance and majority, or an R² above 0.",
    ]
    if splits > 1:
        sentences.append("A run counts once, with its mean over the splits that tested it.")
    if result["reference"]:
        sentences.append(f"The reference is {result['reference']}: differences to it are paired, run by run.")
    if result["max_seconds"]:
        sentences.append(f'A fit was allowed {duration(result["max_seconds"])}; "capped" where that ended it.')
    return " ".join(sentences)


def reads_text(document: Document) -> str:
    """What the model of a document reads."""
    return READS[2] if document["model"] in BASELINES else setting_text("slice_length", document["slice_length"])


def _reasons(left_out: Sequence[Mapping[str, Any]]) -> list[str]:
    properties: dict[tuple[str, str, str], list[str]] = {}
    for one in left_out:
        what = setting_text("slice_length", one["slice_length"])
        properties.setdefault((one["model"], what, one["reason"]), []).append(words(one["property"]))
    every = len({one["property"] for one in left_out})
    return [
        f"- {model}, {what}{'' if len(names) == every else ' (' + ', '.join(names) + ')'}: {reason}"
        for (model, what, reason), names in properties.items()
    ]


def figure(documents: Sequence[Document]) -> str:
    """An SVG file: a panel per property, a line per model, its score with the 95 % interval, against what can be had
    without weights. What a model reads is told by colour and by shape; filled where the interval lies above."""
    results = _results(documents)
    targets = in_order(d["property"] for d in documents)
    names = in_order(_name(result) for result in results)
    columns = min(PANELS, len(targets))
    lines = math.ceil(len(targets) / columns)

    def paint(*panels: Axes) -> None:
        for axes, target in zip(panels, targets, strict=False):
            _paint_panel(axes, [result for result in results if result.target == target], names)
        shown = [(name, {**look(i), "markersize": 5, "linewidth": 1.6}) for i, name in enumerate(READS)]
        line = {"color": INK, "alpha": 0.75, "linestyle": DASHED}
        legend(panels[0], [*shown, ("chance or majority; R² 0", line)], "upper", 4)

    best = []
    for target in targets:
        top = max((result for result in results if result.target == target), key=_height)
        score = f"R² {number(_height(top))}" if top.accuracy is None else f"{percent(top.accuracy)} %"
        best.append(f"{words(target)} {score} by {_name(top).replace(', ', ' from ')}")
    size = (0.07 * max(map(len, names)) + 2.1 * columns + 0.3, lines * (0.75 + 0.19 * len(names)) + 0.5)
    alt = f"Scores per property and model; the highest: {'; '.join(best)}."
    return draw("benchmark", size, paint, alt=alt, grid=(lines, columns)).standalone


def _name(result: Result) -> str:
    return f"{result.document['model']}, {reads_text(result.document)}"


def _height(result: Result) -> float:
    value = result.accuracy if result.accuracy is not None else result.measure("r2")[0]
    return -math.inf if value is None else value


def _paint_panel(axes: Axes, results: Sequence[Result], names: Sequence[str]) -> None:
    quantity = results[0].accuracy is None
    left = LOWEST_R2 if quantity else 0.0
    for result in results:
        low, high = (None if end is None else max(end, left) for end in result.interval)
        marks = look(READS.index(reads_text(result.document).partition(" of ")[0]))
        value = max(_height(result), left)
        estimate(axes, names.index(_name(result)), value, (low, high), filled=result.above, **marks)
    floor = max(result.baseline or 0.0 for result in results)
    axes.axvline(floor, color=INK, linewidth=1.1, alpha=0.75, linestyle=DASHED)
    row_axis(axes, names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    percent_axis(axes, "x", "R²" if quantity else "test runs named right", step=50, reach=(left - 0.03, 1.04))
    if quantity:
        axes.set_xticks([0, 0.5, 1])
    title_of(axes, results[0].target)
