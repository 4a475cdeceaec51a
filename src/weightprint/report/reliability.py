"""Reliability diagrams: how often an answer is right against how sure the meta-classifier was of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from weightprint.report.figures import INK, PALETTE, Picture, draw, short
from weightprint.report.scores import words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 3


def reliability_figure(documents: Sequence[Mapping[str, Any]], *, of: str = "before") -> Picture:
    """One diagram per document of `weightprint.meta.calibrate`, in one picture.

    of: "before" the temperature, or "after" it

    Points on the diagonal are right as often as they claim; upright lines are 95 % intervals over runs, numbers are
    runs. The picture stands alone with `weightprint.report.figures.standalone`.
    """
    lines = -(-len(documents) // COLUMNS)

    def paint(figure: Figure) -> None:
        for place, document in enumerate(documents, start=1):
            _diagram(figure.add_subplot(lines, min(COLUMNS, len(documents)), place), document, document[of])

    alt = " ".join(_told(document, document[of]) for document in documents)
    size = (2.3 * min(COLUMNS, len(documents)), 2.5 * lines)
    return draw("reliability", size, paint, alt=alt, wide=len(documents) > 1)


def _diagram(axes: Axes, document: Mapping[str, Any], scores: Mapping[str, Any]) -> None:
    axes.plot([0, 100], [0, 100], color=INK, linewidth=0.9, alpha=0.6, linestyle=(0, (2, 1.5)))
    for point in scores["bins"]:
        x, low, high = 100 * point["confidence"], *(100 * end for end in point["interval"])
        axes.plot([x, x], [low, high], color=PALETTE[0], linewidth=1.4)
        axes.plot([x], [100 * point["accuracy"]], "o", color=PALETTE[0], markersize=4.5)
        axes.text(x, high + 1.5, str(point["n"]), ha="center", va="bottom", fontsize=6.5)
    shares = range(0, 101, 25)
    axes.set_xticks(shares, [f"{share}" for share in shares])
    axes.set_yticks(shares, [f"{share} %" for share in shares])
    axes.set_xlim(0, 105)
    axes.set_ylim(0, 112)
    axes.set_xlabel("claimed (%)")
    axes.set_title(short(words(document["property"]), 30), loc="left")
    axes.grid()


def _told(document: Mapping[str, Any], scores: Mapping[str, Any]) -> str:
    points = "; ".join(
        f"claimed {100 * b['confidence']:.0f} %, right {100 * b['accuracy']:.0f} % of {b['n']}" for b in scores["bins"]
    )
    return f"Reliability of {document['model']} on {words(document['property'])}, {scores['n']} runs: {points}."
