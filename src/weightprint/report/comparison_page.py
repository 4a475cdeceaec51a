"""The page of two checkpoint files compared, as one HTML file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from weightprint.inspection.relation import Comparison
from weightprint.inspection.words import PAIR_NOTE, in_words, pair_cells, pair_name, printable, short_names
from weightprint.report.figures import INK, PALETTE, Picture, draw, short
from weightprint.report.pages import render_page
from weightprint.report.verdict_page import write_page

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_DRAWN = 40
"""Layers in the figure; all are in the table."""

MEANINGS = {
    "same_architecture": "Same architecture",
    "same_run": "One run",
    "fine_tuned": "One fine-tuned from the other",
}


def write_comparison(path: str | os.PathLike[str], found: Comparison) -> Path:
    """Write one HTML file that needs nothing else. Returns its path.

    Raises ZooError when the folder for the file does not exist.
    """
    return write_page(path, render(found))


def render(found: Comparison) -> str:
    """The HTML of the page; the same comparison gives the same text."""
    names = [printable(name) for name in short_names(found.files)]
    return render_page(
        "comparison.html",
        title=f"{names[0]} and {names[1]}",
        answer=found.sentence,
        facts=[],
        answers=[(MEANINGS.get(key, in_words(key)), answer) for key, answer in found.answers.items()],
        evidence=[printable(sentence) for sentence in found.evidence],
        figure_of_layers=_figure(found),
        rows=[_row(layer) for layer in found.layers],
        note=PAIR_NOTE,
        left_out=[
            (name, [printable(layer) for layer in layers])
            for name, layers in zip(names, found.left_out, strict=True)
            if layers
        ],
    )


def _row(layer: Any) -> dict[str, Any]:
    shape = " × ".join(f"{side:,}" for side in layer.shape) + (", a sample" if layer.sampled else "")
    return {"name": printable(pair_name(layer.names)), "shape": shape, "cells": pair_cells(layer)}


def _figure(found: Comparison) -> Picture | None:
    """Correlation by layer, in place and with units in order, beside chance."""
    drawn = [(layer, layer.pairing) for layer in found.layers if layer.pairing is not None][:MOST_DRAWN]
    layers = [layer for layer, _ in drawn]
    if not layers:
        return None
    places = np.arange(len(layers))
    in_place: list[float | None] = [1.0 if layer.equal else one.correlation for layer, one in drawn]
    series = {
        "in their places": (in_place, PALETTE[0], "o"),
        "with units in order": ([one.matched_correlation for _, one in drawn], PALETTE[1], "s"),
    }
    chance = [one.chance for _, one in drawn]

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        for offset, (label, (values, colour, marker)) in zip((-0.14, 0.14), series.items(), strict=True):
            known = [(x, y) for x, y in zip(values, places, strict=True) if x is not None]
            for x, y in known:
                axes.plot([0, x], [y + offset, y + offset], color=colour, linewidth=1.6)
            axes.plot(
                [x for x, _ in known], [y + offset for _, y in known], marker, color=colour, markersize=5, label=label
            )
        for i, (x, y) in enumerate((x, y) for x, y in zip(chance, places, strict=True) if x is not None):
            label = "by chance, units in order" if i == 0 else "_"
            axes.plot([x, x], [y - 0.05, y + 0.33], color=INK, linewidth=1.4, alpha=0.75, label=label)
        axes.axvline(0, color=INK, linewidth=0.7)
        axes.set_yticks(places, [short(printable(pair_name(one.names)), 26) for one in layers])
        axes.set_ylim(len(layers) - 0.5, -0.5)
        axes.set_xlim(min(-0.1, *(x for values, *_ in series.values() for x in values if x is not None)) - 0.03, 1.05)
        axes.set_xlabel("correlation")
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")
        figure.legend(loc="outside lower center", ncols=2)

    told = "; ".join(f"{pair_name(one.names)} {', '.join(pair_cells(one)[::2])}" for one in layers)
    alt = f"Correlation of {len(layers)} layers' weights, in place, in order, and units moved: {printable(told)}."
    return draw("layers", (4.3, 1.1 + 0.34 * len(layers)), paint, alt=alt, wide=True)
