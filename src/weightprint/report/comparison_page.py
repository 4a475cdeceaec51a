"""The page of two checkpoint files compared, as one HTML file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from weightprint.inspection.relation import Comparison
from weightprint.inspection.words import PAIR_NOTE, in_words, pair_cells, pair_name, printable, short_names
from weightprint.report.drawing import INK, PALETTE, Picture, draw, row_axis, short
from weightprint.report.pages import render_page, write_page
from weightprint.report.tables import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_DRAWN = 40
"""Layers in the figure; all are in the table."""

COLUMNS = ("layer", "shape", "correlation", "distance", "correlation in order", "by chance", "units moved")

MEANINGS = {
    "same_architecture": "Same architecture",
    "same_run": "One run",
    "fine_tuned": "One fine-tuned from the other",
}


def write_comparison(path: str | os.PathLike[str], compared: Comparison) -> Path:
    """Write one HTML file that needs nothing else. Returns its path.

    Raises ZooError when the folder for the file does not exist.
    """
    return write_page(path, render(compared))


def render(compared: Comparison) -> str:
    """The HTML of the page; the same comparison gives the same text."""
    names = short_names(compared.files)
    rows = [
        [
            pair_name(layer.names),
            " × ".join(f"{side:,}" for side in layer.shape) + (", a sample" if layer.sampled else ""),
            *pair_cells(layer),
        ]
        for layer in compared.layers
    ]
    return render_page(
        "comparison.html",
        title=f"{names[0]} and {names[1]}",
        answer=compared.sentence,
        answers=[(MEANINGS.get(key, in_words(key)), answer) for key, answer in compared.answers.items()],
        evidence=compared.evidence,
        layers=[picture] if (picture := _figure(compared)) else [],
        table_of_layers=Table(COLUMNS, rows),
        note=PAIR_NOTE,
        left_out=[(name, layers) for name, layers in zip(names, compared.left_out, strict=True) if layers],
    )


def _figure(compared: Comparison) -> Picture | None:
    """Correlation by layer, in place and with units in order, beside chance."""
    drawn = [(layer, layer.pairing) for layer in compared.layers if layer.pairing is not None][:MOST_DRAWN]
    if not drawn:
        return None
    names = [pair_name(layer.names) for layer, _ in drawn]
    in_place = [1.0 if layer.equal else one.correlation for layer, one in drawn]
    series = {
        "in their places": _known(in_place, -0.14),
        "with units in order": _known([one.matched_correlation for _, one in drawn], 0.14),
    }
    chance = _known([one.chance for _, one in drawn], 0.14)
    least = min(-0.1, *(x for points in series.values() for x, _ in points))

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        for (label, points), colour, marker in zip(series.items(), PALETTE, "os", strict=False):
            xs, ys = np.array(points).reshape(-1, 2).T
            axes.hlines(ys, 0, xs, color=colour, linewidth=1.6)
            axes.plot(xs, ys, marker, color=colour, markersize=5, label=label)
        if chance:
            xs, ys = np.array(chance).T
            label = "by chance, units in order"
            axes.vlines(xs, ys - 0.19, ys + 0.19, color=INK, linewidth=1.4, alpha=0.75, label=label)
        axes.axvline(0, color=INK, linewidth=0.7)
        row_axis(axes, [short(printable(name), 26) for name in names])
        axes.set(xlim=(least - 0.03, 1.05), ylim=(len(names) - 0.5, -0.5), xlabel="correlation")
        figure.legend(loc="outside lower center", ncols=2)

    told = "; ".join(f"{name} {', '.join(pair_cells(one)[::2])}" for name, (one, _) in zip(names, drawn, strict=True))
    alt = f"Correlation of {len(names)} layers' weights, in place, in order, and units moved: {printable(told)}."
    return draw("layers", (4.3, 1.1 + 0.34 * len(names)), paint, alt=alt, wide=True)


def _known(values: Sequence[float | None], offset: float) -> list[tuple[float, float]]:
    """Points of the numbers among values, each in its row."""
    return [(x, row + offset) for row, x in enumerate(values) if x is not None]
