"""Filters of a convolution as squares: a network's weights beside what each of them adds to a verdict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from weightprint.report.figures import INK, PALETTE, Picture, draw, short
from weightprint.report.population import value_text
from weightprint.report.scores import words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEVELS = 6
"""Steps of opacity of either sign: each is one path of the picture, which keeps it small."""

FULL = 0.98
"""The quantile of absolute values that is drawn in full colour, with all larger ones."""

MOST_FILTERS = 16


def filter_figure(name: str, target: str, example: Mapping[str, Any]) -> Picture:
    """The kernel [o, i, h, w] of an example network, weights left and shares right: rows are filters, columns input
    channels; blue is positive, orange negative."""
    shape = example["shape"]
    kernels = {
        title: np.array(example[key], np.float64).reshape(shape)[:MOST_FILTERS]
        for title, key in (("weights", "weights"), ("shares", "shares"))
    }
    filters, channels = min(shape[0], MOST_FILTERS), shape[1]

    def paint(figure: Figure) -> None:
        for axes, (title, values) in zip(figure.subplots(1, 2), kernels.items(), strict=True):
            _paint_kernel(axes, values)
            axes.set_title(title, fontsize=9)
        label = short(f"{words(target)}: {value_text(example['class'])}, run {example['run']}", 44)
        figure.suptitle(label, x=0.02, ha="left", fontsize=9)

    alt = (
        f"{example['tensor']} of run {example['run']}, whose {words(target)} is {value_text(example['class'])}: its "
        f"weights, and the share of each in the verdict; two halves of the sampling correlate at "
        f"{example['agreement']:.2f}."
    )
    width = 1.0 + 2 * 0.36 * channels
    return draw(name, (min(7.0, max(2.6, width)), min(8.0, 0.75 + 0.36 * filters)), paint, alt=alt)


def _paint_kernel(axes: Axes, values: npt.NDArray[np.float64]) -> None:
    from matplotlib.patches import PathPatch, Rectangle

    filters, channels, height, width = values.shape
    full = float(np.quantile(np.abs(values), FULL)) or 1.0
    steps = np.clip(np.round(LEVELS * values / full), -LEVELS, LEVELS).astype(int)
    # One square of every window is left free between it and the next.
    down = np.arange(filters)[:, None, None, None] * (height + 1) + np.arange(height)[:, None]
    along = np.arange(channels)[:, None, None] * (width + 1) + np.arange(width)
    corners = np.stack(np.broadcast_arrays(along, down), axis=-1)  # [o, i, h, w, 2]
    for step in np.unique(steps[steps != 0]):
        colour = PALETTE[0] if step > 0 else PALETTE[1]
        path = _squares(corners[steps == step])
        axes.add_patch(PathPatch(path, facecolor=colour, alpha=abs(int(step)) / LEVELS, linewidth=0))
    for row in range(filters):
        for channel in range(channels):
            place = channel * (width + 1), row * (height + 1)
            axes.add_patch(Rectangle(place, width, height, facecolor="none", edgecolor=INK, linewidth=0.4, alpha=0.35))
    names = ("R", "G", "B") if channels == 3 else [str(c + 1) for c in range(channels)]
    axes.set_xticks([c * (width + 1) + width / 2 for c in range(channels)], names)
    axes.set_yticks([r * (height + 1) + height / 2 for r in range(filters)], [str(r + 1) for r in range(filters)])
    axes.tick_params(length=0, labelsize=7.5)
    axes.set_xlim(-0.5, channels * (width + 1) - 0.5)
    axes.set_ylim(filters * (height + 1) - 0.5, -0.5)
    axes.set_aspect("equal")
    for spine in axes.spines.values():
        spine.set_visible(False)


def _squares(corners: npt.NDArray[np.float64]) -> Any:
    """One path of unit squares with these upper left corners [n, 2]."""
    from matplotlib.path import Path

    sides = np.array([(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)])
    vertices = (corners[:, None] + sides).reshape(-1, 2)
    codes = [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY] * len(corners)
    return Path(vertices, codes)
