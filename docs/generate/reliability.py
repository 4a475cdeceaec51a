"""Draws docs/reliability.svg: how often an answer is right against how sure the meta-classifier was of it.

    python docs/generate/reliability.py CALIBRATION.json… > docs/reliability.svg

Each file holds a document of `weightprint.meta.calibrate`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weightprint.report.drawing import DASHED, INK, PALETTE, Picture, draw, percent_axis, title_of
from weightprint.report.scores import words

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = 3


def reliability_figure(documents: Sequence[Mapping[str, Any]], *, of: str = "before") -> Picture:
    """One diagram per document of `weightprint.meta.calibrate`, in one picture.

    of: "before" the temperature, or "after" it

    Points on the diagonal are right as often as they claim; upright lines are 95 % intervals over runs, numbers are
    runs. The picture stands alone as its `standalone`.
    """
    lines, columns = -(-len(documents) // COLUMNS), min(COLUMNS, len(documents))

    def paint(*panels: Axes) -> None:
        for axes, document in zip(panels, documents, strict=False):
            _diagram(axes, document, document[of])

    alt = " ".join(_told(document, document[of]) for document in documents)
    size = (2.3 * columns, 2.5 * lines)
    return draw("reliability", size, paint, alt=alt, wide=len(documents) > 1, grid=(lines, columns))


def _diagram(axes: Axes, document: Mapping[str, Any], scores: Mapping[str, Any]) -> None:
    axes.plot([0, 1], [0, 1], color=INK, linewidth=0.9, alpha=0.6, linestyle=DASHED)
    for point in scores["bins"]:
        x, (low, high) = point["confidence"], point["interval"]
        axes.plot([x, x], [low, high], color=PALETTE[0], linewidth=1.4)
        axes.plot(x, point["accuracy"], "o", color=PALETTE[0], markersize=4.5)
        axes.text(x, high + 0.015, str(point["n"]), ha="center", va="bottom", fontsize=6.5)
    percent_axis(axes, "x", "claimed", reach=(0, 1.05))
    percent_axis(axes, "y", reach=(0, 1.12))
    title_of(axes, document["property"])
    axes.grid()


def _told(document: Mapping[str, Any], scores: Mapping[str, Any]) -> str:
    points = "; ".join(
        f"claimed {100 * b['confidence']:.0f} %, right {100 * b['accuracy']:.0f} % of {b['n']}" for b in scores["bins"]
    )
    return f"Reliability of {document['model']} on {words(document['property'])}, {scores['n']} runs: {points}."


if __name__ == "__main__":
    print(reliability_figure([json.loads(Path(name).read_text()) for name in sys.argv[1:]]).standalone, end="")
