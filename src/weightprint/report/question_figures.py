"""Figures of the questions: values with intervals side by side, and learning curves that are drawn on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from weightprint.report.drawing import INK, PALETTE, Picture, draw
from weightprint.report.scores import words

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Row = Mapping[str, Any]

MARKS = ("o", "s", "^", "D", "v", "P", "X")


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
    name: str, title: str, estimates: Sequence[Estimate], *, x: str, series: Sequence[str], zero: bool = False
) -> Picture | None:
    """Rows of labels, in each the estimates of every series below one another; None for no estimate.

    x:      what the axis shows, in points of a hundred
    series: all of them in order, so that pictures side by side have equal colours
    zero:   whether the axis is about 0, which is then marked
    """
    if not estimates:
        return None
    labels = list(dict.fromkeys(e.label for e in estimates))
    kinds = list(dict.fromkeys((e.series, e.hollow) for e in sorted(estimates, key=lambda e: _place(e, series))))
    step = 0.8 / len(kinds)

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        for e in estimates:
            y = labels.index(e.label) + (kinds.index((e.series, e.hollow)) - (len(kinds) - 1) / 2) * step
            colour = PALETTE[series.index(e.series) % len(PALETTE)]
            axes.plot([100 * e.low, 100 * e.high], [y, y], color=colour, linewidth=1.2, solid_capstyle="butt")
            marks: dict[str, Any] = {
                "color": colour,
                "markersize": 4,
                "markerfacecolor": "none" if e.hollow else colour,
            }
            axes.plot([100 * e.value], [y], MARKS[series.index(e.series) % len(MARKS)], **marks)
        for i in range(1, len(labels)):
            axes.axhline(i - 0.5, color=INK, linewidth=0.5, alpha=0.15)
        if zero:
            axes.axvline(0, color=INK, linewidth=1.0, alpha=0.75)
            axes.set_xlim(-105, 105)
            axes.set_xticks(range(-100, 101, 50), [f"{tick:+d}".replace("-", "−") for tick in range(-100, 101, 50)])
        else:
            axes.set_xlim(-2, 102)
            axes.set_xticks(range(0, 101, 25), [f"{tick} %" for tick in range(0, 101, 25)])
        axes.set_yticks(range(len(labels)), labels)
        axes.set_ylim(len(labels) - 0.45, -0.55)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel(x)
        axes.set_title(words(title), loc="left")
        axes.grid(axis="x")
        _legend(figure, series)

    told = "; ".join(
        f"{e.label}, {e.series}: {100 * e.value:.0f} [{100 * e.low:.0f}, {100 * e.high:.0f}]" for e in estimates
    )
    height = 1.35 + 0.11 * len(kinds) * len(labels) + 0.08 * len(labels)
    return draw(name, (4.3, height), paint, alt=f"{words(title)}, {x}. {told}.")


def _place(estimate: Estimate, series: Sequence[str]) -> tuple[int, bool]:
    return series.index(estimate.series), estimate.hollow


def _legend(figure: Figure, series: Sequence[str]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=PALETTE[i % len(PALETTE)], marker=MARKS[i % len(MARKS)], markersize=4, linewidth=1.2)
        for i in range(len(series))
    ]
    figure.legend(handles, list(series), loc="outside lower center", ncols=min(3, len(series)))


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
    known = [max(row["chance"] or 0.0, row["majority"] or 0.0) for row in rows]

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        for i, model in enumerate(series):
            colour, mark = PALETTE[i % len(PALETTE)], MARKS[i % len(MARKS)]
            points = sorted((r for r in rows if r["model"] == model), key=lambda r: r["x_number"])
            columns = [[100 * r[key] for r in points] for key in ("low", "high", "value")]
            places = [r["x_number"] for r in points]
            axes.fill_between(places, columns[0], columns[1], color=colour, alpha=0.15, linewidth=0)
            axes.plot(places, columns[2], color=colour, marker=mark, markersize=4, linewidth=1.4)
            for row in (r for r in beyond if r["model"] == model and points):
                at = row["x_number"] * 1.12 ** (i - (len(series) - 1) / 2)  # side by side
                axes.plot([places[-1], at], [columns[2][-1], 100 * row["value"]], color=colour, lw=1, ls=(0, (3, 2)))
                axes.plot([at, at], [100 * row["low"], 100 * row["high"]], color=colour, linewidth=1.2)
                axes.plot([at], [100 * row["value"]], mark, color=colour, markersize=4, markerfacecolor="none")
        if any(known):
            axes.axhline(100 * max(known), color=INK, linewidth=1.1, alpha=0.75, linestyle=(0, (2, 1.5)))
        axes.set_xscale("log")
        ticks = [tick for tick in (10, 30, 100, 300, 1000, 3000, 16000) if tick >= min(r["x_number"] for r in rows) / 2]
        axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        axes.set_xticks([], minor=True)
        axes.set_ylim(-5, 102)
        axes.set_yticks(range(0, 101, 25), [f"{share} %" for share in range(0, 101, 25)])
        axes.set_xlabel("training runs")
        axes.set_title(words(title) + (" (R²)" if rows[0]["measure"] == "r2" else ""), loc="left")
        axes.grid(axis="y")
        _legend(figure, series)

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
