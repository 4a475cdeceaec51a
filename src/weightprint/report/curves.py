"""Curves: one panel per property or data set, with 95 % intervals as bands where they are known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from weightprint.evaluation.claims import baseline
from weightprint.report.drawing import DASHED, INK, Picture, draw, legend, look, percent_axis, title_of
from weightprint.report.scores import in_order, words

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Line:
    """One curve of a panel.

    label:     what tells it from the others
    x:         where its points stand
    value:     shares of 1
    low, high: their 95 % intervals, where they are known
    beyond:    a row of what is expected further on, drawn as a hollow point
    """

    label: str
    x: Sequence[float]
    value: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    beyond: Row | None = None


@dataclass(frozen=True)
class Panel:
    """The curves of one property.

    target:   the property, or what else the panel is about
    baseline: the larger of chance and majority
    borders:  upright lines with a name, such as where a layer begins
    measure:  what the curves show: "accuracy", "r2" or words
    """

    target: str
    lines: Sequence[Line]
    baseline: float | None = None
    borders: Sequence[tuple[float, str]] = ()
    measure: str = "accuracy"

    @property
    def places(self) -> list[float]:
        """Where points stand, in order."""
        beyond = [line.beyond["x_number"] for line in self.lines if line.beyond]
        return sorted({*beyond, *(float(place) for line in self.lines for place in line.x)})


def panels_of(
    rows: Iterable[Row],
    targets: Iterable[str],
    label: Callable[[Row], str] = lambda row: "",
    *,
    beyond: Iterable[Row] = (),
) -> list[Panel]:
    """The panels that rows of a table of results make: one per property that has points, which lie at their `x_number`,
    and a line per `label`. beyond: rows of what is expected further on"""
    rows, beyond = ([r for r in some if None not in (r["value"], r["low"], r["x_number"])] for some in (rows, beyond))
    expected = {(r["property"], label(r)): r for r in beyond}
    panels = []
    for target in targets:
        of_target = [r for r in rows if r["property"] == target]
        lines = []
        for name in in_order(map(label, of_target)):
            points = sorted((r for r in of_target if label(r) == name), key=lambda r: r["x_number"])
            x, value, low, high = ([float(r[key]) for r in points] for key in ("x_number", "value", "low", "high"))
            lines.append(Line(name, x, value, low, high, expected.get((target, name))))
        if lines:
            measure = "r2" if any(r["measure"] == "r2" for r in of_target) else "accuracy"
            panels.append(Panel(target, lines, max(baseline(r) or 0.0 for r in of_target), measure=measure))
    return panels


def curve_figures(name: str, panels: Sequence[Panel], *, x: str, logarithmic: bool = False) -> list[Picture]:
    """One picture per panel, with equal axes: accuracy against `x`."""
    labels = in_order(line.label for panel in panels for line in panel.lines)
    every = [place for panel in panels for place in panel.places]
    if not every:
        return []
    span = min(every), max(every)
    size = (3.4, 2.75 if len(labels) > 1 else 2.5)

    def paint(axes: Axes, panel: Panel) -> None:
        _paint_lines(axes, panel, labels)
        axes.set_xlabel(x)
        _x_axis(axes, span, panel.places if logarithmic else ())
        _draw_borders(axes, panel.borders)
        if len(labels) > 1:
            shown = [(line.label, {**look(labels.index(line.label)), "markersize": 4}) for line in panel.lines]
            legend(axes, shown)

    return [
        draw(f"{name}-{i}", size, partial(paint, panel=panel), alt=_told(panel, x)) for i, panel in enumerate(panels)
    ]


def _paint_lines(axes: Axes, panel: Panel, labels: Sequence[str]) -> None:
    for line in panel.lines:
        number = labels.index(line.label)
        marks, color = look(number), look(number)["color"]
        value = np.clip(line.value, -0.1, None)
        if line.low is not None and line.high is not None:
            low, high = (np.clip(ends, -0.1, None) for ends in (line.low, line.high))
            axes.fill_between(line.x, low, high, color=color, alpha=0.18, linewidth=0)
        if len(line.x) >= 25:
            marks["marker"] = ""
        axes.plot(line.x, value, **marks, markersize=4, linewidth=1.4)
        if line.beyond:
            at = line.beyond["x_number"] * 1.12 ** (number - (len(labels) - 1) / 2)  # side by side
            expected = line.beyond["value"]
            axes.plot([line.x[-1], at], [value[-1], expected], color=color, linewidth=1, linestyle=(0, (3, 2)))
            axes.plot([at, at], [line.beyond["low"], line.beyond["high"]], color=color, linewidth=1.4)
            axes.plot(at, expected, **marks, markersize=5, markerfacecolor="none")
    if panel.baseline is not None:
        axes.axhline(panel.baseline, color=INK, linewidth=1.1, alpha=0.75, linestyle=DASHED)
    percent_axis(axes, "y", reach=(-0.12 if panel.measure == "r2" else 0, 1.02))
    if panel.measure == "r2":
        axes.set_yticks([0, 0.25, 0.5, 0.75, 1])
    title_of(axes, panel.target + (" (R²)" if panel.measure == "r2" else ""))
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
    axes.set_xlim(span[0] / 1.15, span[1] * 1.15)


def _draw_borders(axes: Axes, borders: Sequence[tuple[float, str]]) -> None:
    last = -np.inf
    left, right = axes.get_xlim()
    for place, name in borders:
        axes.axvline(place, color=INK, linewidth=0.6, alpha=0.35)
        if place - last > (right - left) / 14:
            axes.text(place, 1.01, f" {name}", fontsize=6.5, rotation=90, va="top", ha="left", alpha=0.8)
            last = place


def _told(panel: Panel, x: str) -> str:
    lines = "; ".join(
        f"{line.label + ': ' if line.label else ''}{100 * line.value[0]:.0f} % at {line.x[0]:g}, "
        f"{100 * line.value[-1]:.0f} % at {line.x[-1]:g}"
        + (f", expected {100 * line.beyond['value']:.0f} % at {line.beyond['x_number']:g}" if line.beyond else "")
        for line in panel.lines
    )
    if panel.measure == "r2":
        return f"R² of {words(panel.target)} by {x}, in %: {lines}."
    against = "" if panel.baseline is None else f" against {100 * panel.baseline:.0f} % without weights"
    return f"{panel.measure.capitalize()} of {words(panel.target)} by {x}: {lines}{against}."
