"""The figures of the pages, apart from curves: scores with intervals, accuracies of runs, maps, tables of shades."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

from weightprint.evaluation.claims import above, baseline
from weightprint.meta.targets import property_order
from weightprint.report.drawing import (
    INK,
    PALETTE,
    SHADE,
    Picture,
    draw,
    draw_borders,
    estimate,
    heat_map,
    legend,
    look,
    percent_axis,
    row_axis,
    short,
    title_of,
)
from weightprint.report.scores import Result, in_order, words
from weightprint.report.tables import percent
from weightprint.study.population import value_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from weightprint.study.maps import PathMap, WeightMap

Row = Mapping[str, Any]

MOST_NUMBERED_CLASSES = 12
MOST_MAPS = 6
LABEL = 20
"""Letters of a row's label on one line."""
TURNED = ("x", "property")
"""By these columns of a table of results: a row per place and a column per property."""


def accuracy_figure(results: Sequence[Result], *, name: str = "accuracy") -> Picture | None:
    """Accuracy per property and meta-classifier with intervals, against the larger of chance and majority."""
    known = [result for result in results if result.accuracy is not None]
    if not known:
        return None
    targets, labels = in_order(r.target for r in known), in_order(r.label for r in known)
    known.sort(key=lambda r: (targets.index(r.target), labels.index(r.label)))
    places = [i + targets.index(r.target) for i, r in enumerate(known)]  # one row stays free between two properties
    of_target = {target: [p for p, r in zip(places, known, strict=True) if r.target == target] for target in targets}
    centres = [float(np.mean(some)) for some in of_target.values()]
    columns = 3 if max(map(len, labels)) < 14 else 1

    def paint(axes: Axes) -> None:
        for place, result in zip(places, known, strict=True):
            if result.baseline is not None:
                axes.plot([result.baseline] * 2, [place - 0.5, place + 0.5], color=INK, linewidth=1.4, alpha=0.75)
            marks = look(labels.index(result.label))
            estimate(axes, place, result.accuracy or 0.0, result.interval, filled=result.above, **marks)
        row_axis(axes, [short(words(target)) for target in targets], centres)
        axes.set_ylim(places[-1] + 0.8, -0.8)
        percent_axis(axes, "x", "test runs named right", step=20, reach=(-0.02, 1.02))
        shown = [(short(label, 48), {**look(i), "markersize": 6, "linewidth": 1.6}) for i, label in enumerate(labels)]
        legend(axes, [*shown, ("chance or majority", _upright(11))], "upper", columns)

    in_words = "; ".join(
        f"{words(r.target)} by {r.label} {100 * (r.accuracy or 0):.0f} %"
        + ("" if r.baseline is None else f" against {100 * r.baseline:.0f} %")
        for r in known[:40]
    )
    height = 1.2 + 0.17 * places[-1] + 0.2 * (len(labels) // columns)
    alt = f"Accuracy per property and meta-classifier with 95 % intervals: {in_words}."
    return draw(name, (4.3, height), paint, alt=alt, wide=True)


def _upright(size: float) -> dict[str, Any]:
    """A legend's mark for an upright line."""
    return {"color": INK, "marker": "|", "markersize": size, "markeredgewidth": 1.5, "linestyle": "none"}


def estimates_figures(
    name: str,
    rows: Sequence[Row],
    *,
    x: str,
    series: Sequence[str],
    widest: float | None = None,
    correlations: bool = False,
) -> list[Picture]:
    """A picture for each property of a table of results: a row for each "x", in it the values of every "series" with
    their 95 % intervals below one another; not filled where "hollow".

    x:            what the axis shows
    series:       all of them in order; it sets colour and mark
    widest:       of differences about a line at 0, in points: how far the axis reaches, as a share of 1
    correlations: values are no shares: the axis names them as they are, from 0 or the least of them to 1
    """
    groups = {target: [r for r in rows if r["property"] == target] for target in in_order(r["property"] for r in rows)}
    return [
        _estimates(f"{name}-{i}", target, of_target, x, series, widest, correlations)
        for i, (target, of_target) in enumerate(groups.items())
    ]


def _estimates(
    name: str,
    title: str,
    rows: Sequence[Row],
    x: str,
    series: Sequence[str],
    widest: float | None,
    correlations: bool,
) -> Picture:
    labels = in_order(str(r["x"]) for r in rows)
    kinds = sorted({_kind(r, series) for r in rows})
    step = 0.8 / len(kinds)

    def paint(axes: Axes) -> None:
        for r in rows:
            number, hollow = _kind(r, series)
            place = labels.index(str(r["x"])) + (kinds.index((number, hollow)) - (len(kinds) - 1) / 2) * step
            estimate(axes, place, r["value"], (r["low"], r["high"]), filled=not hollow, **look(number))
        for border in range(1, len(labels)):
            axes.axhline(border - 0.5, color=INK, linewidth=0.5, alpha=0.15)
        row_axis(axes, labels)
        axes.set_ylim(len(labels) - 0.45, -0.55)
        percent_axis(axes, "x", x, reach=(-0.02, 1.02))
        if widest or correlations:
            axes.axvline(0, color=INK, linewidth=1.0, alpha=0.75)
        if correlations:
            least = min([0.0, *(r["low"] for r in rows)])
            quarters = [quarter / 4 for quarter in range(math.ceil(4 * least), 5)]
            axes.set_xticks(quarters, [f"{quarter:g}".replace("-", "−") for quarter in quarters])
            axes.set_xlim(least - 0.02, 1.02)
        if widest:
            apart = next(points for points in (1, 2, 5, 10, 20, 50, 100) if 100 * widest <= 2.5 * points)
            ticks = range(-2 * apart, 2 * apart + 1, apart)
            names = [f"{points:+d}".replace("-", "−") if points else "0" for points in ticks]
            axes.set_xticks([points / 100 for points in ticks], names)
            axes.set_xlim(-1.05 * widest, 1.05 * widest)
        title_of(axes, title)
        legend(axes, [(one, {**look(i), "markersize": 5, "linewidth": 1.4}) for i, one in enumerate(series)])

    scale, digits = (1, 2) if correlations else (100, 0)
    numbers = [[f"{scale * r[end]:.{digits}f}" for end in ("value", "low", "high")] for r in rows]
    told = "; ".join(
        f"{r['x']}, {r['series']}: {value} [{low}, {high}]" for r, (value, low, high) in zip(rows, numbers, strict=True)
    )
    height = 1.35 + 0.11 * len(kinds) * len(labels) + 0.08 * len(labels)
    return draw(name, (4.3, height), paint, alt=f"{words(title)}, {x}. {told}.")


def _kind(row: Row, series: Sequence[str]) -> tuple[int, bool]:
    """The number of a row's series, and whether its mark is hollow."""
    return series.index(row["series"]), bool(row.get("hollow"))


def final_accuracy_figure(groups: Mapping[str, Sequence[tuple[float, bool | None]]]) -> Picture | None:
    """Final test accuracy of every complete run, per data set, and whether it has converged."""
    if not groups:
        return None
    dot: dict[str, Any] = {"color": PALETTE[0], "marker": "o", "linestyle": "none", "markersize": 4}
    names = {PALETTE[0]: "a run that converged", "none": "one that did not"}
    medians = [float(np.median([accuracy for accuracy, _ in runs])) for runs in groups.values()]

    def paint(axes: Axes) -> None:
        for row, runs in enumerate(groups.values()):
            # The golden ratio spreads neighbours apart, the same way every time.
            places = row + ((np.arange(len(runs)) * 0.618034) % 1 - 0.5) * 0.5
            accuracies, idle = np.array([a for a, _ in runs]), np.array([converged is False for _, converged in runs])
            for face, chosen in zip(names, (~idle, idle), strict=True):
                axes.plot(accuracies[chosen], places[chosen], markerfacecolor=face, alpha=0.7, **dot)
            axes.plot([medians[row]] * 2, [row - 0.36, row + 0.36], color=INK, linewidth=1.6)
        row_axis(axes, [short(name) for name in groups])
        axes.set_ylim(len(groups) - 0.45, -0.55)
        percent_axis(axes, "x", "final test accuracy", step=20, reach=(-0.02, 1.02))
        dots = [(text, {**dot, "markerfacecolor": face}) for face, text in names.items()]
        legend(axes, [*dots, ("median", _upright(10))], "upper")

    in_words = "; ".join(
        f"{name} {100 * median:.0f} % in the median of {len(runs)} runs"
        for (name, runs), median in zip(groups.items(), medians, strict=True)
    )
    alt = f"Final test accuracy per data set: {in_words}."
    return draw("final-accuracy", (4.3, 0.95 + 0.42 * len(groups)), paint, alt=alt, wide=True)


def map_figures(weight_paths: WeightMap | PathMap) -> list[Picture]:
    """The same map once per property that varies, coloured by it; at most MOST_MAPS."""
    names = [name for name in property_order(weight_paths.properties) if _values(weight_paths, name)]
    return [_map_figure(weight_paths, name, i) for i, name in enumerate(names[:MOST_MAPS] or [""])]


def _values(weight_paths: WeightMap | PathMap, name: str) -> list[str]:
    """The values of a property that can be told apart by colour; empty when there is one or are too many."""
    values = sorted({value_text(run[name]) for run in weight_paths.properties if run.get(name) is not None})
    return values if 2 <= len(values) <= len(PALETTE) else []


def _map_figure(weight_paths: WeightMap | PathMap, name: str, index: int) -> Picture:
    values = _values(weight_paths, name)

    def paint(axes: Axes) -> None:
        for path, run in zip(weight_paths.paths, weight_paths.properties, strict=True):
            value = value_text(run.get(name))
            marks = look(values.index(value) if value in values else len(PALETTE) - 1 if values else 0)
            axes.plot(*path.T, color=marks["color"], linewidth=0.8, alpha=0.6)
            axes.plot(*path[-1:].T, **marks, markersize=5, markeredgewidth=0, alpha=0.9)
        axes.set(xlabel=weight_paths.axes[0], ylabel=weight_paths.axes[1])
        axes.margins(0.06)
        axes.grid()
        if values:
            title_of(axes, f"coloured by {name}")
            shown = [(short(v), {**look(i), "markersize": 5, "linewidth": 0.8}) for i, v in enumerate(values)]
            legend(axes, shown, columns=2 if max(map(len, values)) > 9 else 3)

    by = f", coloured by {words(name)} ({', '.join(values)})" if values else ""
    alt = (
        f"Map of the weights of {len(weight_paths.paths)} runs in {weight_paths.plane}{by}: "
        "a line per run from its first to its last snapshot."
    )
    return draw(f"{weight_paths.name}-{index}", (3.4, 3.8), paint, alt=alt)


def place_maps(rows: Sequence[Row], order: Iterable[str], *, borders: Sequence[tuple[float, str]]) -> list[Picture]:
    """One picture per property: the mean probability of the right class by where a slice begins and the snapshot,
    shaded from chance. None of properties with a single snapshot or place, of which there is no map.

    rows:    of all properties, each with "start", "snapshot", "probability" and "chance"
    borders: upright lines with a name
    """
    of_target = {target: [r for r in rows if r["property"] == target] for target in order}
    return [
        _place_map(f"place-map-{i}", target, of_it, borders)
        for i, (target, of_it) in enumerate(of_target.items())
        if all(len({r[axis] for r in of_it}) > 1 for axis in ("start", "snapshot"))
    ]


def _place_map(name: str, target: str, rows: Sequence[Row], borders: Sequence[tuple[float, str]]) -> Picture:
    starts, moments = (sorted({r[of] for r in rows}) for of in ("start", "snapshot"))
    field = np.zeros((len(moments), len(starts)))
    for r in rows:
        field[moments.index(r["snapshot"]), starts.index(r["start"])] = r["probability"]
    chance = float(rows[0]["chance"])
    levels = np.linspace(chance, 1, 17)
    ticks = levels[::4]

    def paint(axes: Axes) -> None:
        shades = [(SHADE, alpha) for alpha in np.linspace(0.02, 0.8, 16)]
        drawn = axes.contourf(starts, moments, field.clip(chance, 1), levels, colors=shades)
        axes.set(
            xlabel="first weight of the slice", ylabel="snapshot", yticks=[moments[0], *moments[1::3], moments[-1]]
        )
        axes.xaxis.set_major_formatter(lambda place, _: f"{place:,.0f}")
        draw_borders(axes, borders)
        title_of(axes, target)
        bar = axes.figure.colorbar(drawn, ax=axes, ticks=ticks)
        bar.ax.set_yticklabels([f"{100 * level:.0f} %" for level in ticks])

    at, best = np.unravel_index(field.argmax(), field.shape), field.max()
    alt = (
        f"Mean probability of the right {words(target)} by place and snapshot, from {percent(chance)} % (chance): "
        f"highest {percent(best)} % at weight {starts[at[1]]:,} of snapshot {moments[at[0]]}."
    )
    return draw(name, (3.6, 2.6), paint, alt=alt)


def scatter_figures(name: str, rows: Sequence[Row], column: str, *, x: str, y: str, by: str) -> list[Picture]:
    """One picture per property: each row's "value" against a column of it, both shares of 1.

    x, y: what the axes show
    by:   the column that tells marks apart, where it has no more values than there are colours
    """
    rows = [{**r, by: value_text(r[by])} for r in rows]
    labels = sorted({r[by] for r in rows})
    if len(labels) > len(PALETTE):
        rows, labels = [{**r, by: ""} for r in rows], [""]
    targets = in_order(r["property"] for r in rows)

    def paint(axes: Axes, target: str) -> None:
        for i, label in enumerate(labels):
            points = [(r[column], r["value"]) for r in rows if r["property"] == target and r[by] == label]
            axes.plot(*np.reshape(points, (-1, 2)).T, **look(i), linestyle="none", markersize=3.5, alpha=0.7)
        percent_axis(axes, "x", x, reach=(-0.02, 1.02))
        percent_axis(axes, "y", y, reach=(-0.04, 1.04))
        axes.grid()
        title_of(axes, target)
        if len(labels) > 1:
            marks = {"linestyle": "none", "markersize": 4}
            legend(axes, [(short(words(label)), {**look(i), **marks}) for i, label in enumerate(labels)])

    return [
        draw(
            f"{name}-{i}",
            (3.4, 3.1),
            partial(paint, target=target),
            alt=f"{y} of {words(target)} by {x}, a mark per run.",
        )
        for i, target in enumerate(targets)
    ]


def confusion_figures(results: Sequence[Result]) -> list[Picture]:
    """A confusion matrix per result that states one."""
    return [_confusion_figure(r, i) for i, r in enumerate(r for r in results if r.document.get("confusion"))]


def _count(runs: float) -> str:
    """A number of runs; a run that splits name differently is divided."""
    return f"{runs:.1f}".removesuffix(".0")


def _confusion_figure(result: Result, index: int) -> Picture:
    counts = np.array(result.document["confusion"], np.float64)
    names = [short(value_text(value), 14) for value in result.document["classes"]]
    totals = counts.sum(axis=1)
    numbered = len(names) <= MOST_NUMBERED_CLASSES
    fields = {
        (i, j): (count / totals[i], _count(count) if numbered else "", False)
        for (i, j), count in np.ndenumerate(counts)
        if count
    }

    def paint(axes: Axes) -> None:
        shown = names if len(names) <= 30 else []
        heat_map(axes, shown, shown, fields, rows_are="true", columns_are="named by the meta-classifier")
        axes.set(xlim=(-0.5, len(names) - 0.5), ylim=(len(names) - 0.5, -0.5), aspect="equal")
        title = f"{short(words(result.target), 30)}\n{short(result.label, 34)}"
        axes.figure.suptitle(title, x=0.02, ha="left", fontsize=9.5)

    rows = "; ".join(
        f"{name}: {_count(counts[i, i])} of {_count(totals[i])} right"
        for i, name in enumerate(names[:MOST_NUMBERED_CLASSES])
    )
    alt = (
        f"Confusion matrix of {words(result.target)} by {result.label}: "
        f"{_count(float(np.trace(counts)))} of {_count(counts.sum())} test runs named right; {rows}."
    )
    side = min(3.4, 2.1 + 0.35 * len(names))
    return draw(f"confusion-{index}", (side, side + 0.25), paint, alt=alt)


def shade_figure(
    name: str,
    rows: Sequence[Row],
    order: Sequence[str],
    *,
    by: tuple[str, str] = ("property", "x"),
    title: str = "",
    rows_are: str = "",
    columns_are: str = "",
    numbered: bool = True,
) -> Picture | None:
    """Values of rows of a table of results in percent, by two of its columns; bold where the whole interval lies above
    the baseline, from which the shade grows to 100 %.

    order: properties, or what else stands in the columns named, in the order in which they are to stand
    by:    the columns that tell the picture's rows and columns
    """
    columns_are = columns_are or "property" * (by == TURNED)
    named = [{**r, "property": r["property"] + (" (R²)" if r["measure"] == "r2" else "")} for r in rows]
    lines, columns = (
        sorted(in_order(r[key] for r in named), key=lambda name: order.index(name) if name in order else len(order))
        for key in by
    )
    known = {(r[by[0]], r[by[1]]): r for r in named if r["value"] is not None}
    if not known:
        return None
    cell = 0.42 if numbered else 0.13
    row_labels = [fill(short(words(line), 2 * LABEL), LABEL) for line in lines]
    column_labels = [short(words(column), 24) for column in columns]
    fields = {
        (lines.index(line), columns.index(column)): (
            max(0.0, r["value"] - (baseline(r) or 0.0)) / max(1e-9, 1 - (baseline(r) or 0.0)),
            _number(r["value"]) if numbered else "",
            above(r),
        )
        for (line, column), r in known.items()
    }

    def paint(axes: Axes) -> None:
        heat_map(axes, row_labels, column_labels, fields, rows_are=rows_are, columns_are=columns_are)
        title_of(axes, title)

    best = sorted((one for one in known.items() if above(one[1])), key=lambda one: -one[1]["value"])[:6]
    in_words = "; ".join(f"{words(a)}, {words(b)}: {percent(r['value'])} %" for (a, b), r in best)
    alt = f"{words(title) or 'Accuracy'} by {rows_are or 'row'} and {columns_are or 'column'}" + (
        f"; highest {in_words}." if in_words else "; none clearly above chance and majority."
    )
    letters = max(len(line) for label in row_labels for line in label.split("\n"))
    width = 0.5 + 0.075 * letters + cell * len(columns)
    row_height = max(0.27, 0.16 * max(label.count("\n") + 1 for label in row_labels)) if numbered else cell
    height = 0.75 + row_height * len(lines) + 0.05 * max(map(len, column_labels))
    wide = numbered and len(columns) * cell > 2.6
    return draw(name, (min(7.2, max(2.6, width)), min(11.0, height)), paint, alt=alt, wide=wide)


def _number(value: float) -> str:
    """A share in percent; an R² below −1 is no more than useless, by however much."""
    return f"{100 * value:.0f}" if value >= -1 else "≪ 0"
