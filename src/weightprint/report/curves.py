"""Curves: one panel per property or data set, with 95 % intervals as bands where they are known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from weightprint.evaluation.claims import baseline
from weightprint.report.drawing import DASHED, INK, Picture, draw, draw_borders, legend, look, percent_axis, title_of
from weightprint.report.scores import in_order, words

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Row = Mapping[str, Any]


def curve_figures(
    name: str,
    rows: Iterable[Row],
    targets: Iterable[str],
    *,
    x: str,
    by: str = "",
    logarithmic: bool = False,
    measure: str = "accuracy",
    borders: Sequence[tuple[float, str]] = (),
) -> list[Picture]:
    """One picture per property that has points, with equal axes: values against `x`.

    rows:    of a table of results; each is a point at its "x_number" with a band from "low" to "high", where it has
             these columns; "hollow" is what is only expected, beyond the others
    targets: properties in order
    by:      the column that tells lines apart
    measure: what the curves show, in words
    borders: upright lines with a name, such as where a layer begins
    """
    known = [r for r in rows if None not in (r["value"], r.get("low", 0.0), r["x_number"])]
    panels = {target: _lines([r for r in known if r["property"] == target], by) for target in targets}
    panels = {target: lines for target, lines in panels.items() if lines}
    labels = in_order(label for lines in panels.values() for label in lines)
    places = {t: sorted({float(r["x_number"]) for ps in lines.values() for r in ps}) for t, lines in panels.items()}
    every = [place for of_panel in places.values() for place in of_panel]

    def paint(axes: Axes, target: str) -> None:
        lines = panels[target]
        _paint_lines(axes, lines, labels)
        _y_axis(axes, target, _points(lines))
        axes.set_xlabel(x)
        _x_axis(axes, (min(every), max(every)), places[target] if logarithmic else ())
        draw_borders(axes, borders)
        if len(labels) > 1:
            legend(axes, [(label, {**look(labels.index(label)), "markersize": 4}) for label in lines])

    size = (3.4, 2.75 if len(labels) > 1 else 2.5)
    return [
        draw(f"{name}-{i}", size, partial(paint, target=target), alt=_told(target, lines, x, measure))
        for i, (target, lines) in enumerate(panels.items())
    ]


def _lines(rows: Sequence[Row], by: str) -> dict[str, list[Row]]:
    """The points of each line, from left to right; what is expected comes last."""
    labels = in_order(r[by] if by else "" for r in rows if not r.get("hollow"))
    ordered = sorted(rows, key=lambda r: (bool(r.get("hollow")), r["x_number"]))
    return {label: [r for r in ordered if not by or r[by] == label] for label in labels}


def _points(lines: Mapping[str, Sequence[Row]]) -> list[Row]:
    return [row for points in lines.values() for row in points]


def _baseline(rows: Iterable[Row]) -> float | None:
    return max((known for r in rows if (known := baseline(r)) is not None), default=None)


def _in_r2(rows: Iterable[Row]) -> bool:
    return any(r.get("measure") == "r2" for r in rows)


def _paint_lines(axes: Axes, lines: Mapping[str, Sequence[Row]], labels: Sequence[str]) -> None:
    for label, rows in lines.items():
        number = labels.index(label)
        marks, color = look(number), look(number)["color"]
        points = [r for r in rows if not r.get("hollow")]
        xs, values = [float(r["x_number"]) for r in points], np.clip([r["value"] for r in points], -0.1, None)
        if "low" in points[0]:
            low, high = (np.clip([r[end] for r in points], -0.1, None) for end in ("low", "high"))
            axes.fill_between(xs, low, high, color=color, alpha=0.18, linewidth=0)
        if len(points) >= 25:
            marks["marker"] = ""
        axes.plot(xs, values, **marks, markersize=4, linewidth=1.4)
        for r in rows[len(points) :]:
            at = r["x_number"] * 1.12 ** (number - (len(labels) - 1) / 2)  # side by side
            axes.plot([xs[-1], at], [values[-1], r["value"]], color=color, linewidth=1, linestyle=(0, (3, 2)))
            axes.plot([at, at], [r["low"], r["high"]], color=color, linewidth=1.4)
            axes.plot(at, r["value"], **marks, markersize=5, markerfacecolor="none")


def _y_axis(axes: Axes, target: str, rows: Sequence[Row]) -> None:
    in_r2, least = _in_r2(rows), _baseline(rows)
    if least is not None:
        axes.axhline(least, color=INK, linewidth=1.1, alpha=0.75, linestyle=DASHED)
    percent_axis(axes, "y", reach=(-0.12 if in_r2 else 0, 1.02))
    if in_r2:
        axes.set_yticks([0, 0.25, 0.5, 0.75, 1])
    title_of(axes, target + (" (R²)" if in_r2 else ""))
    axes.grid(axis="y")


def _x_axis(axes: Axes, span: tuple[float, float], ticks: Sequence[float]) -> None:
    """From end to end; logarithmic where ticks are given, of which those are kept that leave room for their labels."""
    if not ticks:
        margin = 0.03 * (span[1] - span[0] or 1)
        axes.set_xlim(span[0] - margin, span[1] + margin)
        if span[1] >= 10_000:
            axes.xaxis.set_major_formatter(lambda place, _: f"{place:,.0f}")
        return
    axes.set_xscale("log")
    kept = list(ticks[:1])
    for tick in ticks:
        if np.log(tick / kept[-1]) >= np.log(span[1] / span[0]) / 7 > 0:
            kept.append(tick)
    axes.set_xticks(kept, [f"{tick:,.0f}" for tick in kept])
    axes.set_xticks([], minor=True)
    axes.set_xlim(span[0] / 1.2, span[1] * 1.3)


def _told(target: str, lines: Mapping[str, Sequence[Row]], x: str, measure: str) -> str:
    told = []
    for label, rows in lines.items():
        points = [r for r in rows if not r.get("hollow")]
        ends = ", ".join(f"{100 * r['value']:.0f} % at {r['x_number']:g}" for r in (points[0], points[-1]))
        expected = (f", expected {100 * r['value']:.0f} % at {r['x_number']:g}" for r in rows[len(points) :])
        told.append(f"{label + ': ' if label else ''}{ends}{''.join(expected)}")
    rows, shown = _points(lines), "; ".join(told)
    if _in_r2(rows):
        return f"R² of {words(target)} by {x}, in %: {shown}."
    least = _baseline(rows)
    against = "" if least is None else f" against {100 * least:.0f} % without weights"
    return f"{measure.capitalize()} of {words(target)} by {x}: {shown}{against}."
