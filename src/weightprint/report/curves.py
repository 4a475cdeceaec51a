"""Curves: one panel per property or data set, with 95 % intervals as bands where they are known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from weightprint.evaluation.claims import baseline
from weightprint.report.drawing import DASHED, INK, Picture, draw, legend, look, percent_axis, title_of
from weightprint.report.scores import in_order, words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Line:
    """One curve of a panel.

    label:     what tells it from the others
    x:         where its points stand
    value:     shares of 1
    low, high: their 95 % intervals, where they are known
    """

    label: str
    x: Sequence[float]
    value: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None


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


def panels_of(rows: Iterable[Row], targets: Iterable[str], label: Callable[[Row], str] = lambda row: "") -> list[Panel]:
    """The panels that rows of a table of results make: one per property that has points, which lie at their `x_number`,
    and a line per `label`."""
    rows = [r for r in rows if r["value"] is not None and r["low"] is not None]
    return [
        _panel([r for r in rows if r["property"] == t], label) for t in targets if any(r["property"] == t for r in rows)
    ]


def _panel(rows: Sequence[Row], label: Callable[[Row], str]) -> Panel:
    lines = []
    for name in in_order(map(label, rows)):
        points = sorted((r for r in rows if label(r) == name), key=lambda r: r["x_number"])
        lines.append(Line(name, *([float(r[key]) for r in points] for key in ("x_number", "value", "low", "high"))))
    measure = "r2" if any(r["measure"] == "r2" for r in rows) else "accuracy"
    return Panel(rows[0]["property"], lines, max(baseline(r) or 0.0 for r in rows), measure=measure)


def curve_figures(name: str, panels: Sequence[Panel], *, x: str, logarithmic: bool = False) -> list[Picture]:
    """One picture per panel, with equal axes: accuracy against `x`."""
    labels = in_order(line.label for panel in panels for line in panel.lines)
    every = [float(v) for panel in panels for line in panel.lines for v in line.x]
    if not every:
        return []
    span = min(every), max(every)
    size = (3.4, 2.75 if len(labels) > 1 else 2.5)

    def painter(panel: Panel) -> Callable[[Figure], None]:
        def paint(figure: Figure) -> None:
            axes = figure.add_subplot()
            _paint_lines(axes, panel, labels)
            ticks = sorted({float(v) for line in panel.lines for v in line.x}) if logarithmic else None
            _x_axis(axes, x, span, ticks)
            _draw_borders(axes, panel.borders)
            if len(labels) > 1:
                shown = [(line.label, {**look(labels.index(line.label)), "markersize": 4}) for line in panel.lines]
                legend(figure, shown)

        return paint

    return [draw(f"{name}-{i}", size, painter(panel), alt=_told(panel, x)) for i, panel in enumerate(panels)]


def _paint_lines(axes: Axes, panel: Panel, labels: Sequence[str]) -> None:
    for line in panel.lines:
        marks = look(labels.index(line.label))
        if line.low is not None and line.high is not None:
            low, high = (np.clip(ends, -0.1, None) for ends in (line.low, line.high))
            axes.fill_between(line.x, low, high, color=marks["color"], alpha=0.18, linewidth=0)
        marker = marks["marker"] if len(line.x) < 25 else ""
        axes.plot(
            line.x, np.clip(line.value, -0.1, None), color=marks["color"], marker=marker, markersize=4, linewidth=1.4
        )
    if panel.baseline is not None:
        axes.axhline(panel.baseline, color=INK, linewidth=1.1, alpha=0.75, linestyle=DASHED)
    percent_axis(axes, "y", reach=(-0.12 if panel.measure == "r2" else 0, 1.02))
    if panel.measure == "r2":
        axes.set_yticks([0, 0.25, 0.5, 0.75, 1])
    title_of(axes, panel.target + (" (R²)" if panel.measure == "r2" else ""))
    axes.grid(axis="y")


def _x_axis(axes: Axes, name: str, span: tuple[float, float], ticks: Sequence[float] | None) -> None:
    """From end to end; logarithmic where ticks are given, of which those are kept that leave room for their labels."""
    axes.set_xlabel(name)
    if ticks is None:
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
        for line in panel.lines
    )
    if panel.measure == "r2":
        return f"R² of {words(panel.target)} by {x}, in %: {lines}."
    against = "" if panel.baseline is None else f" against {100 * panel.baseline:.0f} % without weights"
    return f"{panel.measure.capitalize()} of {words(panel.target)} by {x}: {lines}{against}."
