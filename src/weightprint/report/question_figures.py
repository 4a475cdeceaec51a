"""Figures of the questions: values with intervals side by side, and learning curves that are drawn on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from weightprint.evaluation.claims import baseline
from weightprint.report.drawing import (
    DASHED,
    INK,
    Picture,
    draw,
    estimate,
    legend,
    look,
    percent_axis,
    row_axis,
    title_of,
)
from weightprint.report.scores import in_order, words

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval, all as shares of 1.

    label:  of the row in which it is drawn
    series: that it belongs to; sets colour and mark
    hollow: whether its mark is not filled, which tells two kinds of one series apart
    """

    label: str
    series: str
    value: float
    low: float
    high: float
    hollow: bool = False


def estimates_figure(
    name: str, title: str, estimates: Sequence[Estimate], *, x: str, series: Sequence[str], widest: float | None = None
) -> Picture | None:
    """Rows of labels, in each the estimates of every series below one another; None for no estimate.

    x:      what the axis shows
    series: all of them in order, so that pictures side by side have equal colours
    widest: of differences about a line at 0, in points: how far the axis reaches, as a share of 1
    """
    if not estimates:
        return None
    labels = in_order(e.label for e in estimates)
    kinds = sorted({(series.index(e.series), e.hollow) for e in estimates})
    step = 0.8 / len(kinds)

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        for e in estimates:
            kind = series.index(e.series), e.hollow
            place = labels.index(e.label) + (kinds.index(kind) - (len(kinds) - 1) / 2) * step
            estimate(axes, place, e.value, (e.low, e.high), filled=not e.hollow, **look(kind[0]))
        for border in range(1, len(labels)):
            axes.axhline(border - 0.5, color=INK, linewidth=0.5, alpha=0.15)
        row_axis(axes, labels)
        axes.set_ylim(len(labels) - 0.45, -0.55)
        percent_axis(axes, "x", x, reach=(-0.02, 1.02))
        if widest:
            axes.axvline(0, color=INK, linewidth=1.0, alpha=0.75)
            apart = next(points for points in (1, 2, 5, 10, 20, 50, 100) if 100 * widest <= 2.5 * points)
            ticks = range(-2 * apart, 2 * apart + 1, apart)
            names = [f"{points:+d}".replace("-", "−") if points else "0" for points in ticks]
            axes.set_xticks([points / 100 for points in ticks], names)
            axes.set_xlim(-1.05 * widest, 1.05 * widest)
        title_of(axes, title)
        legend(figure, _names(series))

    told = "; ".join(
        f"{e.label}, {e.series}: {100 * e.value:.0f} [{100 * e.low:.0f}, {100 * e.high:.0f}]" for e in estimates
    )
    height = 1.35 + 0.11 * len(kinds) * len(labels) + 0.08 * len(labels)
    return draw(name, (4.3, height), paint, alt=f"{words(title)}, {x}. {told}.")


def _names(series: Sequence[str]) -> list[tuple[str, dict[str, Any]]]:
    return [(one, {**look(i), "markersize": 5, "linewidth": 1.4}) for i, one in enumerate(series)]


def growth_figure(
    name: str, title: str, rows: Sequence[Row], beyond: Sequence[Row], *, series: Sequence[str]
) -> Picture | None:
    """Curves of values against a number on a logarithmic axis, with what is expected beyond as hollow marks.

    rows:   with "model", "x_number", "value", "low", "high", "chance" and "majority"
    beyond: the same of what is expected
    series: the models in order
    """
    rows = [row for row in rows if None not in (row["value"], row["low"], row["x_number"])]
    if not rows:
        return None
    beyond = [row for row in beyond if row["value"] is not None and row["low"] is not None]
    in_r2 = rows[0]["measure"] == "r2"
    known = max(baseline(row) or 0.0 for row in rows)

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        for i, model in enumerate(series):
            marks = look(i)
            points = sorted((r for r in rows if r["model"] == model), key=lambda r: r["x_number"])
            if not points:
                continue
            places, values = [r["x_number"] for r in points], [r["value"] for r in points]
            lows, highs = [r["low"] for r in points], [r["high"] for r in points]
            axes.fill_between(places, lows, highs, color=marks["color"], alpha=0.15, linewidth=0)
            axes.plot(places, values, markersize=4, linewidth=1.4, **marks)
            for row in (r for r in beyond if r["model"] == model):
                at = row["x_number"] * 1.12 ** (i - (len(series) - 1) / 2)  # side by side
                axes.plot([places[-1], at], [values[-1], row["value"]], color=marks["color"], lw=1, ls=(0, (3, 2)))
                axes.plot([at, at], [row["low"], row["high"]], color=marks["color"], linewidth=1.4)
                axes.plot([at], [row["value"]], **marks, markersize=5, markerfacecolor="none")
        if known:
            axes.axhline(known, color=INK, linewidth=1.1, alpha=0.75, linestyle=DASHED)
        axes.set_xscale("log")
        ticks = [tick for tick in (10, 30, 100, 300, 1000, 3000, 16000) if tick >= min(r["x_number"] for r in rows) / 2]
        axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        axes.set_xticks([], minor=True)
        axes.set_xlabel("training runs")
        percent_axis(axes, "y", reach=(-0.05, 1.02))
        title_of(axes, title + (" (R²)" if in_r2 else ""))
        axes.grid(axis="y")
        legend(figure, _names(series))

    told = "; ".join(f"{r['model']} {100 * r['value']:.0f} % of {r['x_number']:.0f} runs" for r in (*rows, *beyond))
    return draw(name, (3.6, 2.9), paint, alt=f"{words(title)} by training runs: {told}.")


def one_of_each(
    name: str, rows: Sequence[Row], make: Callable[[str, str, Sequence[Row]], Picture | None]
) -> list[Picture | None]:
    """A picture of each property's rows, in their order."""
    targets = dict.fromkeys(row["property"] for row in rows)
    return [
        make(f"{name}-{i}", target, [row for row in rows if row["property"] == target])
        for i, target in enumerate(targets)
    ]
