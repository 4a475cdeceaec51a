"""Two kinds of figure that a study is made of: curves with bands, one panel per property, and tables of shades."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

from weightprint.report.figures import INK, MARKERS, MOST_COLOURS, PALETTE, SHADE, Picture, draw, short
from weightprint.report.scores import words
from weightprint.report.tables import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LABEL = 20
"""Letters of a row's label on one line."""


@dataclass(frozen=True)
class Line:
    """One curve of a panel.

    label:  what tells it from the others
    x:      where its points stand
    value, low, high: accuracies with their 95 % intervals, shares of 1
    """

    label: str
    x: Sequence[float]
    value: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


@dataclass(frozen=True)
class Panel:
    """The curves of one property.

    baseline: the larger of chance and majority
    borders:  upright lines with a name, such as where a layer begins
    measure:  "accuracy", or "r2"
    """

    target: str
    lines: Sequence[Line]
    baseline: float | None
    borders: Sequence[tuple[float, str]] = ()
    measure: str = "accuracy"

    @property
    def title(self) -> str:
        return words(self.target) + (" (R²)" if self.measure == "r2" else "")


def curve_figures(name: str, panels: Sequence[Panel], *, x: str, logarithmic: bool = False) -> list[Picture]:
    """One picture per panel, with equal axes: accuracy against `x`, the 95 % interval as a band."""
    labels = list(dict.fromkeys(line.label for panel in panels for line in panel.lines))
    ends = [float(v) for panel in panels for line in panel.lines for v in line.x]
    if not ends:
        return []
    return [
        draw(
            f"{name}-{i}",
            (3.4, 2.75 if len(labels) > 1 else 2.5),
            _painter(panel, labels, (min(ends), max(ends)), x, logarithmic),
            alt=_told(panel, x),
        )
        for i, panel in enumerate(panels)
    ]


def _painter(
    panel: Panel, labels: Sequence[str], span: tuple[float, float], x: str, logarithmic: bool
) -> Callable[[Figure], None]:
    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        for line in panel.lines:
            i = labels.index(line.label)
            colour = PALETTE[i % MOST_COLOURS]
            low, value, high = (100 * np.array(v, np.float64).clip(-0.1) for v in (line.low, line.value, line.high))
            axes.fill_between(line.x, low, high, color=colour, alpha=0.18, linewidth=0)
            marker = MARKERS[i % len(MARKERS)] if len(line.x) < 25 else ""
            axes.plot(line.x, value, color=colour, marker=marker, markersize=4, linewidth=1.4, label=line.label)
        if panel.baseline is not None:
            axes.axhline(100 * panel.baseline, color=INK, linewidth=1.1, alpha=0.75, linestyle=(0, (2, 1.5)))
        _draw_borders(axes, panel.borders)
        if logarithmic:
            axes.set_xscale("log")
            ticks = _apart(sorted({float(v) for line in panel.lines for v in line.x}), span)
            axes.set_xticks(ticks, [f"{tick:,.0f}" for tick in ticks])
            axes.set_xticks([], minor=True)
            axes.set_xlim(span[0] / 1.15, span[1] * 1.15)
        else:
            margin = 0.03 * (span[1] - span[0] or 1)
            axes.set_xlim(span[0] - margin, span[1] + margin)
            if span[1] >= 10_000:
                axes.xaxis.set_major_formatter(lambda place, _: f"{place:,.0f}")
        if panel.measure == "r2":
            axes.set_ylim(-12, 102)
            axes.set_yticks(range(0, 101, 25), [f"{share / 100:.2f}" for share in range(0, 101, 25)])
        else:
            axes.set_ylim(0, 102)
            axes.set_yticks(range(0, 101, 25), [f"{share} %" for share in range(0, 101, 25)])
        axes.set_xlabel(x)
        axes.set_title(short(panel.title, 36), loc="left")
        axes.grid(axis="y")
        if len(labels) > 1:
            handles, texts = axes.get_legend_handles_labels()
            figure.legend(handles, texts, loc="outside lower center", ncols=min(3, len(texts)))

    return paint


def _apart(values: Sequence[float], span: tuple[float, float]) -> list[float]:
    """Of ascending values those that leave room for their labels on a logarithmic axis."""
    least = np.log(span[1] / span[0]) / 7 if span[1] > span[0] else 0.0
    kept: list[float] = []
    for value in values:
        if not kept or np.log(value / kept[-1]) >= least:
            kept.append(value)
    return kept


def _draw_borders(axes: Axes, borders: Sequence[tuple[float, str]]) -> None:
    last = -np.inf
    left, right = axes.get_xlim()
    for place, name in borders:
        axes.axvline(place, color=INK, linewidth=0.6, alpha=0.35)
        if place - last > (right - left) / 14:
            axes.text(place, 101, f" {name}", fontsize=6.5, rotation=90, va="top", ha="left", alpha=0.8)
            last = place


def _told(panel: Panel, x: str) -> str:
    lines = "; ".join(
        f"{line.label + ': ' if line.label else ''}{100 * line.value[0]:.0f} % at {line.x[0]:g}, "
        f"{100 * line.value[-1]:.0f} % at {line.x[-1]:g}"
        for line in panel.lines
        if len(line.x)
    )
    if panel.measure == "r2":
        return f"R² of {words(panel.target)} by {x}, in %: {lines}."
    against = "" if panel.baseline is None else f" against {100 * panel.baseline:.0f} % without weights"
    return f"Accuracy of {words(panel.target)} by {x}: {lines}{against}."


@dataclass(frozen=True)
class Shade:
    """One field of a table of shades.

    value:    an accuracy, or None where there is none
    baseline: the larger of chance and majority; the shade grows from there to 100 %
    above:    whether its whole interval lies above the baseline
    """

    value: float | None
    baseline: float
    above: bool


def shade_figure(
    name: str,
    rows: Sequence[str],
    columns: Sequence[str],
    fields: Mapping[tuple[str, str], Shade],
    *,
    title: str = "",
    rows_are: str = "",
    columns_are: str = "",
    numbered: bool = True,
) -> Picture | None:
    """Accuracies in percent by row and column; bold where the whole interval lies above the baseline."""
    if not fields:
        return None
    many = len(columns) > 12
    cell = 0.42 if numbered else 0.13
    row_labels = [fill(short(words(r), 2 * _LABEL), _LABEL) for r in rows]
    longest = max((len(line) for in_words in row_labels for line in in_words.split("\n")), default=0)
    lines = max((in_words.count("\n") + 1 for in_words in row_labels), default=1)

    def paint(figure: Figure) -> None:
        from matplotlib.patches import Rectangle

        axes = figure.add_subplot()
        for (row, column), field in fields.items():
            if field.value is None:
                continue
            i, j = rows.index(row), columns.index(column)
            share = max(0.0, field.value - field.baseline) / max(1e-9, 1 - field.baseline)
            axes.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, facecolor=SHADE, alpha=0.7 * share, linewidth=0))
            if numbered:
                weight = "bold" if field.above else "normal"
                axes.text(j, i, _number(field.value), ha="center", va="center", fontsize=8, weight=weight)
        slanted = max((len(short(c)) for c in columns), default=0) > 3
        shown = [short(words(c), 24) for c in columns]
        axes.set_xticks(range(len(columns)), shown, rotation=50 if slanted else 0, ha="right" if slanted else "center")
        axes.set_yticks(range(len(rows)), row_labels)
        if many and not slanted:
            axes.set_xticks(range(0, len(columns), 2), shown[::2])
        axes.set_xlim(-0.5, len(columns) - 0.5)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.tick_params(length=0)
        axes.set_xlabel(columns_are)
        axes.set_ylabel(rows_are)
        if title:
            axes.set_title(short(words(title), 36), loc="left")
        for spine in axes.spines.values():
            spine.set_visible(True)
            spine.set_alpha(0.4)

    best = sorted((f for f in fields.items() if f[1].above), key=lambda f: -(f[1].value or 0))[:6]
    in_words = "; ".join(f"{words(r)}, {words(c)}: {percent(f.value)} %" for (r, c), f in best)
    alt = f"{words(title) or 'Accuracy'} by {rows_are or 'row'} and {columns_are or 'column'}" + (
        f"; highest {in_words}." if in_words else "; none clearly above chance and majority."
    )
    width = 0.5 + 0.075 * longest + cell * len(columns)
    row_height = max(0.27, 0.16 * lines) if numbered else cell
    height = 0.75 + row_height * len(rows) + 0.05 * max((len(short(c, 24)) for c in columns), default=0)
    wide = numbered and len(columns) * cell > 2.6
    return draw(name, (min(7.2, max(2.6, width)), min(11.0, height)), paint, alt=alt, wide=wide)


def _number(value: float) -> str:
    """A share in percent; an R² below −1 is no more than useless, by however much."""
    return f"{100 * value:.0f}" if value >= -1 else "≪ 0"


def panel_of(rows: Sequence[Mapping[str, Any]], target: str, label: Callable[[Mapping[str, Any]], str]) -> Panel:
    """The panel that rows of one property make: points by their `x_number`, a line per `label`."""
    selected = [r for r in rows if r["property"] == target and r["value"] is not None and r["low"] is not None]
    lines = []
    for name in dict.fromkeys(map(label, selected)):
        points = sorted((r for r in selected if label(r) == name), key=lambda r: r["x_number"])
        columns = [[float(r[key]) for r in points] for key in ("x_number", "value", "low", "high")]
        lines.append(Line(name, *columns))
    known = [max(r["chance"] or 0.0, r["majority"] or 0.0) for r in selected]
    measure = "r2" if any(r["measure"] == "r2" for r in selected) else "accuracy"
    return Panel(target, lines, max(known) if known else None, measure=measure)
