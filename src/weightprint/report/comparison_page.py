"""The page of two checkpoint files compared, as one HTML file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from weightprint.inspection.relation import Comparison
from weightprint.inspection.words import PAIR_NOTE, in_words, pair_cells, pair_name, printable, short_names
from weightprint.report.drawing import INK, Picture, draw, look, row_axis, short
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
    rows = np.arange(len(names))
    in_place, in_order, chance = np.array(
        [(1.0 if layer.equal else one.correlation, one.matched_correlation, one.chance) for layer, one in drawn], float
    ).T  # NaN for what is not known

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        series = (("in their places", in_place, -0.14), ("with units in order", in_order, 0.14))
        for i, (label, values, offset) in enumerate(series):
            marks, known = look(i), np.isfinite(values)
            axes.hlines(rows[known] + offset, 0, values[known], color=marks["color"], linewidth=1.6)
            axes.plot(values[known], rows[known] + offset, **marks, linestyle="", markersize=5, label=label)
        if np.isfinite(chance).any():
            label, ends = "by chance, units in order", (rows - 0.05, rows + 0.33)
            axes.vlines(chance, *ends, color=INK, linewidth=1.4, alpha=0.75, label=label)
        axes.axvline(0, color=INK, linewidth=0.7)
        row_axis(axes, [short(printable(name), 26) for name in names])
        least = np.nanmin([-0.1, *in_place, *in_order])
        axes.set(xlim=(least - 0.03, 1.05), ylim=(len(names) - 0.5, -0.5), xlabel="correlation")
        figure.legend(loc="outside lower center", ncols=2)

    told = "; ".join(f"{name} {', '.join(pair_cells(one)[::2])}" for name, (one, _) in zip(names, drawn, strict=True))
    alt = f"Correlation of {len(names)} layers' weights, in place, in order, and units moved: {printable(told)}."
    return draw("layers", (4.3, 1.1 + 0.34 * len(names)), paint, alt=alt, wide=True)
