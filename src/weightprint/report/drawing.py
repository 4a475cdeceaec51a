"""Drawing: figures as SVG that is part of a page, and the marks and axes that figures share.

Ink has the page's own colour, text stays text, and nothing refers outward."""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from weightprint.report.scores import words

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Interval = tuple[float | None, float | None]
Fields = Mapping[tuple[int, int], tuple[float, str, bool]]

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C8C8C")
"""Okabe and Ito's colours (jfly.uni-koeln.de/color), told apart by colour-blind readers, on light and dark ground:
without black and yellow, with a grey."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
INK = "#010203"
"""Stands for the page's text colour until the SVG is written."""
SHADE = "#0072B3"
"""The first of the palette as ground for numbers: on a dark page it stays dark enough to read them."""
PAPER, TEXT = "#ffffff", "#1b1b1b"
"""Ground and ink of a figure that is a file of its own, so that it reads the same wherever it is shown."""
DASHED = (0, (2, 1.5))

STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans"],
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.axisbelow": True,
    "legend.handlelength": 1.4,
    "lines.solid_capstyle": "butt",
    "grid.color": INK,
    "grid.alpha": 0.14,
    **dict.fromkeys(("font.size", "axes.labelsize"), 9),
    **dict.fromkeys(("xtick.labelsize", "ytick.labelsize", "legend.fontsize"), 8.5),
    **dict.fromkeys(("axes.linewidth", "grid.linewidth"), 0.7),
    **dict.fromkeys(("axes.spines.top", "axes.spines.right", "legend.frameon", "text.parse_math"), False),
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
}


@dataclass(frozen=True)
class Picture:
    """One figure of the page.

    name: unique in the page
    svg:  an <svg> element
    alt:  what it shows, in words
    wide: whether it takes the page's whole width
    """

    name: str
    svg: str
    alt: str
    wide: bool = False

    @property
    def standalone(self) -> str:
        """A file of its own: with a name space, colours of its own instead of the page's, and a ground."""
        svg = re.sub(r"var\(--[\w-]+, (#[0-9a-fA-F]+)\)", r"\1", self.svg).replace("currentColor", TEXT)
        opening, rest = svg.split("</title>", 1)
        opening = opening.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
        ground = f'<rect width="100%" height="100%" fill="{PAPER}"/>'
        return f'<?xml version="1.0" encoding="utf-8"?>\n{opening}</title>{ground}{rest}\n'


def draw(
    name: str,
    size: tuple[float, float],
    paint: Callable[..., None],
    *,
    alt: str,
    wide: bool = False,
    grid: tuple[int, int] = (1, 1),
) -> Picture:
    """Make a picture of `size` inches. Equal calls give equal bytes.

    paint: draws on the axes that it is given
    grid:  rows and columns of axes; those that nothing is drawn on are not shown
    """
    import matplotlib
    from matplotlib.figure import Figure

    buffer = io.StringIO()
    style: Any = {**STYLE, "svg.hashsalt": name}
    with matplotlib.rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*[Gg]lyph")  # a script that the font lacks shows as boxes
        warnings.filterwarnings("ignore", message=".*constrained_layout not applied")  # drawn a little less well
        figure = Figure(figsize=size, layout="constrained")
        panels = figure.subplots(*grid, squeeze=False, sharey=True).flat
        paint(*panels)
        for axes in panels:
            axes.set_visible(axes.has_data())
        no_metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=no_metadata)
    return Picture(name, _inline(buffer.getvalue(), alt), alt, wide)


def _inline(text: str, alt: str) -> str:
    """The <svg> element of a file, to stand inside a page: with a title, and without name spaces, styles, and ids that
    nothing refers to (the others are hashes, salted with the picture's name)."""
    svg = text[text.index("<svg") :].replace("xlink:href", "href")
    svg = re.sub(r'<style.*?</style>|\s+xmlns(:\w+)?="[^"]*"| id="[\w.]+_\d+"', "", svg, flags=re.DOTALL)
    svg = svg.replace(INK, "currentColor").replace(SHADE.lower(), f"var(--shade, {PALETTE[0]})")
    for i, colour in enumerate(PALETTE):
        svg = svg.replace(colour.lower(), f"var(--c{i}, {colour})")  # the style sheet has lighter ones for dark ground
    opening, rest = svg.split(">", 1)
    width, height = (float(side) for side in re.findall(r' (?:width|height)="([\d.]+)pt"', opening))
    title = escape(alt)
    size = f'viewBox="0 0 {width:g} {height:g}" width="{width / 0.75:.0f}" height="{height / 0.75:.0f}"'
    return f'<svg role="img" aria-label="{title}" {size}><title>{title}</title>{rest}'


def short(text: object, longest: int = 20) -> str:
    """A label that leaves room for the figure."""
    label = str(text)
    return label if len(label) <= longest else label[: longest - 1] + "…"


# What figures share.


def look(i: int) -> dict[str, Any]:
    """Colour and marker of the i-th of several."""
    return {"color": PALETTE[i % len(PALETTE)], "marker": MARKERS[i % len(MARKERS)]}


def estimate(
    axes: Axes, place: float, value: float, interval: Interval, *, filled: bool, color: str, marker: str
) -> None:
    """A score at a height, with its interval as a line; filled where something may be claimed of it."""
    low, high = interval
    if low is not None and high is not None:
        axes.plot([low, high], [place, place], color=color, linewidth=1.6)
    face = color if filled else "none"
    axes.plot(value, place, marker, color=color, markersize=5.5, markerfacecolor=face, markeredgewidth=1.3)


def percent_axis(axes: Axes, side: str, label: str = "", *, reach: tuple[float, float], step: int = 25) -> None:
    """Shares of 1 along the side "x" or "y", named in percent."""
    shares = range(0, 101, step)
    axis = axes.xaxis if side == "x" else axes.yaxis
    axis.set_ticks([share / 100 for share in shares], [f"{share} %" for share in shares])
    axis.set_label_text(label)
    (axes.set_xlim if side == "x" else axes.set_ylim)(*reach)


def row_axis(axes: Axes, labels: Sequence[str], places: Sequence[float] | None = None) -> None:
    """Rows with a name each, from top to bottom, and nothing but upright lines behind them."""
    places = range(len(labels)) if places is None else places
    axes.set_yticks(places, labels)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")


def legend(
    axes: Axes, entries: Sequence[tuple[str, Mapping[str, Any]]], place: str = "lower", columns: int = 3
) -> None:
    """A legend outside of what is drawn. entries: texts, each with the options of the line beside it"""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], **options) for _, options in entries]
    # matplotlib skips labels that begin with an underscore
    texts = [f" {text}" if text.startswith("_") else text for text, _ in entries]
    figure: Any = axes.figure
    figure.legend(handles, texts, loc=f"outside {place} center", ncols=min(columns, len(texts)))


def heat_map(
    axes: Axes, rows: Sequence[str], columns: Sequence[str], fields: Fields, *, rows_are: str, columns_are: str
) -> None:
    """Fields by row and column number, each a shade from 0 to 1, a text and whether that is bold.

    The shade is opacity rather than a colour map: it reads on light and dark ground.
    """
    from matplotlib.patches import Rectangle

    for (i, j), (shade, text, bold) in fields.items():
        axes.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, facecolor=SHADE, alpha=0.7 * shade, linewidth=0))
        if text:
            axes.text(j, i, text, ha="center", va="center", fontsize=8, weight="bold" if bold else "normal")
    slanted = max(map(len, columns), default=0) > 3
    every = 1 if slanted or len(columns) <= 12 else 2
    places = range(0, len(columns), every)
    axes.set_xticks(places, columns[::every], rotation=45 * slanted, ha="right" if slanted else "center")
    axes.set_yticks(range(len(rows)), rows)
    axes.set(xlim=(-0.5, len(columns) - 0.5), ylim=(len(rows) - 0.5, -0.5), xlabel=columns_are, ylabel=rows_are)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set(visible=True, alpha=0.4)


def draw_borders(axes: Axes, borders: Sequence[tuple[float, str]]) -> None:
    """Upright lines at places along the x axis, with names where there is room."""
    last = -math.inf
    left, right = axes.get_xlim()
    top: dict[str, Any] = {"transform": axes.get_xaxis_transform(), "va": "top", "ha": "left"}
    for place, name in borders:
        if not left <= place <= right:
            continue
        axes.axvline(place, color=INK, linewidth=0.6, alpha=0.35)
        if place - last > (right - left) / 14:
            axes.text(place, 0.99, f" {name}", fontsize=6.5, rotation=90, alpha=0.8, **top)
            last = place


def title_of(axes: Axes, text: str) -> None:
    """A panel's title: a name in words."""
    axes.set_title(short(words(text), 36))
