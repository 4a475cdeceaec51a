"""Figures as SVG that is part of a page: ink in the page's own colour, text as text, no references outward."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from weightprint.meta.targets import property_order
from weightprint.report.population import Curves, value_text
from weightprint.report.scores import Result, in_order, words

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from weightprint.study.maps import PathMap, WeightMap

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
MOST_COLOURS = len(PALETTE)
MOST_NUMBERED_CLASSES = 12
MOST_MAPS = 6
_LONGEST_LABEL = 20


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


def draw(
    name: str,
    size: tuple[float, float],
    paint: Callable[[Figure], None],
    *,
    alt: str,
    wide: bool = False,
) -> Picture:
    """Make a picture of `size` inches; `paint` draws on the figure it is given. Equal calls give equal bytes."""
    import matplotlib
    from matplotlib.figure import Figure

    style: Any = {
        "svg.hashsalt": name,
        "svg.fonttype": "none",
        "font.family": ["sans-serif"],
        "font.sans-serif": ["DejaVu Sans"],
        "font.size": 9,
        "axes.titlesize": 9.5,
        "axes.labelsize": 9,
        "xtick.labelsize": 8.5,
        "ytick.labelsize": 8.5,
        "legend.fontsize": 8.5,
        "legend.frameon": False,
        "legend.handlelength": 1.4,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 0.7,
        "axes.axisbelow": True,
        "axes.facecolor": "none",
        "figure.facecolor": "none",
        "grid.color": INK,
        "grid.alpha": 0.14,
        "grid.linewidth": 0.7,
        "text.parse_math": False,
        "axes.unicode_minus": True,
        **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
    }
    buffer = io.StringIO()
    with matplotlib.rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*[Gg]lyph")  # a script that the font lacks shows as boxes
        warnings.filterwarnings("ignore", message=".*constrained_layout not applied")  # drawn a little less well
        figure = Figure(figsize=size, layout="constrained")
        paint(figure)
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return Picture(name, _inline(buffer.getvalue(), name, alt), alt, wide)


def _inline(text: str, name: str, alt: str) -> str:
    """The <svg> element of a file, to stand inside a page: ids carry its name; no name spaces, styles or metadata."""
    svg = text[text.index("<svg") :]
    left_out = r'<metadata>.*?</metadata>|<style[^>]*>.*?</style>|<!--.*?-->\s*|\s+xmlns(:\w+)?="[^"]*"'
    svg = re.sub(left_out, "", svg, flags=re.DOTALL)
    svg = svg.replace("xlink:href", "href")
    referred = set(re.findall(r"#([\w.-]+)", svg))
    svg = re.sub(r' id="([^"]*)"', lambda id: f' id="{name}-{id[1]}"' if id[1] in referred else "", svg)
    svg = re.sub(r'(href="|url\()#', rf"\1#{name}-", svg)
    svg = svg.replace(INK, "currentColor").replace(SHADE.lower(), f"var(--shade, {PALETTE[0]})")
    for i, colour in enumerate(PALETTE):
        svg = svg.replace(colour.lower(), f"var(--c{i}, {colour})")  # the style sheet has lighter ones for dark ground
    opening, rest = svg.split(">", 1)
    width, height = (float(re.search(rf'{side}="([\d.]+)pt"', opening)[1]) for side in ("width", "height"))  # type: ignore[index]
    title = escape(alt)
    size = f'viewBox="0 0 {width:g} {height:g}" width="{width / 0.75:.0f}" height="{height / 0.75:.0f}"'
    return f'<svg role="img" aria-label="{title}" {size}><title>{title}</title>{rest}'


def standalone(svg: str) -> str:
    """A page's <svg> element as a file: name space, colours of its own instead of the page's, and a ground."""
    svg = re.sub(r"var\(--[\w-]+, (#[0-9a-fA-F]+)\)", r"\1", svg).replace("currentColor", TEXT)
    opening, rest = svg.split("</title>", 1)
    opening = opening.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    ground = f'<rect width="100%" height="100%" fill="{PAPER}"/>'
    return f'<?xml version="1.0" encoding="utf-8"?>\n{opening}</title>{ground}{rest}\n'


def short(text: object, longest: int = _LONGEST_LABEL) -> str:
    """A label that leaves room for the figure."""
    label = str(text)
    return label if len(label) <= longest else label[: longest - 1] + "…"


def _legend(owner: Any, handles: Sequence[Any], labels: Sequence[str], **options: Any) -> None:
    # matplotlib skips labels that begin with an underscore
    owner.legend(handles, [f" {text}" if text.startswith("_") else text for text in labels], **options)


def _line(**options: Any) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], **options)


def accuracy_figure(scores: Sequence[Result], *, name: str = "accuracy") -> Picture | None:
    """Accuracy per property and meta-classifier with intervals, against the larger of chance and majority."""
    scores = [score for score in scores if score.accuracy is not None]
    if not scores:
        return None
    properties = in_order(score.target for score in scores)
    labels = in_order(score.label for score in scores)
    step, gap = 1.0, 1.0
    places: dict[tuple[str, str], float] = {}
    centres = []
    y = 0.0
    for target in properties:
        members = [label for label in labels if any(s.target == target and s.label == label for s in scores)]
        centres.append(y + step * (len(members) - 1) / 2)
        for label in members:
            places[target, label] = y
            y += step
        y += gap

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        for score in scores:
            i, place = labels.index(score.label), places[score.target, score.label]
            colour, marker = PALETTE[i % MOST_COLOURS], MARKERS[i % len(MARKERS)]
            if score.baseline is not None:
                line = 100 * score.baseline
                span = [place - step / 2, place + step / 2]
                axes.plot([line, line], span, color=INK, linewidth=1.4, alpha=0.75, solid_capstyle="butt")
            low, high = score.interval
            if low is not None and high is not None:
                axes.plot([100 * low, 100 * high], [place, place], color=colour, linewidth=1.6, solid_capstyle="butt")
            axes.plot(
                [100 * (score.accuracy or 0)],
                [place],
                marker,
                color=colour,
                markersize=6,
                markerfacecolor=colour if score.above else "none",
                markeredgewidth=1.3,
            )
        axes.set_yticks(centres, [short(words(target)) for target in properties])
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(y - gap + 0.3, -step / 2 - 0.3)
        axes.set_xlim(-2, 102)
        axes.set_xticks(range(0, 101, 20), [f"{share} %" for share in range(0, 101, 20)])
        axes.set_xlabel("test runs named right")
        axes.grid(axis="x")
        axes.spines["left"].set_visible(False)
        handles = [
            _line(color=PALETTE[i % MOST_COLOURS], marker=MARKERS[i % len(MARKERS)], markersize=6, linewidth=1.6)
            for i in range(len(labels))
        ]
        handles.append(_line(color=INK, alpha=0.75, marker="|", markersize=11, markeredgewidth=1.4, linestyle="none"))
        columns = 3 if max(map(len, labels)) < 14 else 1
        texts = [*(short(label, 48) for label in labels), "chance or majority"]
        _legend(figure, handles, texts, loc="outside upper center", ncols=min(columns, len(texts)))

    in_words = "; ".join(
        f"{words(s.target)} by {s.label} {100 * (s.accuracy or 0):.0f} %"
        + ("" if s.baseline is None else f" against {100 * s.baseline:.0f} %")
        for s in scores[:40]
    )
    height = 1.0 + 0.17 * y + 0.2 * (len(labels) // 3 if max(map(len, labels)) < 14 else len(labels))
    alt = f"Accuracy per property and meta-classifier with 95 % intervals: {in_words}."
    return draw(name, (4.3, height), paint, alt=alt, wide=True)


def final_accuracy_figure(groups: Mapping[str, Sequence[tuple[float, bool | None]]]) -> Picture | None:
    """Final test accuracy of every complete run, per data set."""
    if not groups:
        return None

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        for row, runs in enumerate(groups.values()):
            accuracies = np.array([100 * accuracy for accuracy, _ in runs])
            learned = np.array([converged is not False for _, converged in runs])
            # The golden ratio spreads neighbours apart, the same way every time.
            jitter = ((np.arange(len(runs)) * 0.618034) % 1 - 0.5) * 0.5
            for mask, face in ((learned, PALETTE[0]), (~learned, "none")):
                axes.plot(
                    accuracies[mask],
                    row + jitter[mask],
                    "o",
                    markersize=4,
                    markeredgecolor=PALETTE[0],
                    markerfacecolor=face,
                    alpha=0.7,
                )
            median = float(np.median(accuracies))
            axes.plot([median, median], [row - 0.36, row + 0.36], color=INK, linewidth=1.6)
        axes.set_yticks(range(len(groups)), [short(name) for name in groups])
        axes.set_ylim(len(groups) - 0.45, -0.55)
        axes.set_xlim(-2, 102)
        axes.set_xticks(range(0, 101, 20), [f"{share} %" for share in range(0, 101, 20)])
        axes.set_xlabel("final test accuracy")
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")
        dot = {"marker": "o", "linestyle": "none", "markersize": 4, "markeredgecolor": PALETTE[0]}
        handles, texts = [_line(markerfacecolor=PALETTE[0], **dot)], ["a run"]
        if any(converged is False for runs in groups.values() for _, converged in runs):
            handles.append(_line(markerfacecolor="none", **dot))
            texts.append("not converged")
        handles.append(_line(color=INK, marker="|", markersize=10, markeredgewidth=1.6, linestyle="none"))
        _legend(figure, handles, [*texts, "median"], loc="outside upper center", ncols=3)

    in_words = "; ".join(
        f"{name} {100 * float(np.median([a for a, _ in runs])):.0f} % in the median of {len(runs)} runs"
        for name, runs in groups.items()
    )
    alt = f"Final test accuracy per data set: {in_words}."
    return draw("final-accuracy", (4.3, 0.95 + 0.42 * len(groups)), paint, alt=alt, wide=True)


def curve_figures(curves: Curves) -> list[Picture]:
    """One picture of training curves per data set, with equal axes."""
    every = [curve for members in curves.per_dataset.values() for curve in members]
    if not every:
        return []
    right = max(float(curve.x.max()) for curve in every)

    def painter(name: str) -> Callable[[Figure], None]:
        def paint(figure: Figure) -> None:
            from matplotlib.ticker import MaxNLocator

            axes = figure.add_subplot()
            members = curves.per_dataset[name]
            for i, curve in enumerate(members):
                axes.plot(
                    curve.x,
                    100 * curve.y,
                    color=PALETTE[i % MOST_COLOURS],
                    linewidth=1.4,
                    linestyle=("-", (0, (4, 1.5)))[i % 2],
                )
            axes.set_title(short(name, 36), loc="left")
            axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
            axes.set_xlabel(curves.x_name)
            axes.set_ylabel(f"{words(curves.y_name)} (%)")
            axes.set_xlim(0, right or 1)
            axes.set_ylim(0, 100)
            axes.grid()
            handles = [
                _line(color=PALETTE[i % MOST_COLOURS], linewidth=1.4, linestyle=("-", (0, (4, 1.5)))[i % 2])
                for i in range(len(members))
            ]
            texts = [f"run {curve.number}" for curve in members]
            _legend(figure, handles, texts, loc="outside lower center", ncols=3)

        return paint

    pictures = []
    for i, (name, members) in enumerate(curves.per_dataset.items()):
        lasts = ", ".join(f"run {curve.number} {100 * curve.y[-1]:.0f} %" for curve in members)
        alt = f"{words(curves.y_name)} by {curves.x_name} of {len(members)} runs on {name}; at the end {lasts}."
        pictures.append(draw(f"curves-{i}", (3.4, 2.9), painter(name), alt=alt.capitalize()))
    return pictures


def map_figures(weight_paths: WeightMap | PathMap) -> list[Picture]:
    """The same map once per property that varies, coloured by it; at most MOST_MAPS."""
    names = [name for name in property_order(weight_paths.properties) if _values(weight_paths, name)]
    return [_map_figure(weight_paths, name, i) for i, name in enumerate(names[:MOST_MAPS] or [None])]


def _values(weight_paths: WeightMap | PathMap, name: str) -> list[str]:
    """The values of a property that can be told apart by colour; empty when there is one or are too many."""
    values = sorted({value_text(members[name]) for members in weight_paths.properties if members.get(name) is not None})
    return values if 2 <= len(values) <= MOST_COLOURS else []


def _map_figure(weight_paths: WeightMap | PathMap, name: str | None, index: int) -> Picture:
    values = _values(weight_paths, name) if name else []

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        for path, members in zip(weight_paths.paths, weight_paths.properties, strict=True):
            value = value_text(members[name]) if name and members.get(name) is not None else ""
            i = values.index(value) if value in values else MOST_COLOURS - 1
            colour, marker = (PALETTE[i], MARKERS[i]) if values else (PALETTE[0], "o")
            axes.plot(path[:, 0], path[:, 1], color=colour, linewidth=0.8, alpha=0.6)
            axes.plot(path[-1:, 0], path[-1:, 1], marker, color=colour, markersize=5, markeredgewidth=0, alpha=0.9)
        axes.set_xlabel(weight_paths.axes[0])
        axes.set_ylabel(weight_paths.axes[1])
        axes.margins(0.06)
        axes.grid()
        if name and values:
            axes.set_title(f"coloured by {words(name)}", loc="left")
            handles = [
                _line(color=PALETTE[i], marker=MARKERS[i], markersize=5, linewidth=0.8) for i in range(len(values))
            ]
            columns = 2 if max(map(len, values)) > 9 else 3
            texts = [short(value) for value in values]
            _legend(figure, handles, texts, loc="outside lower center", ncols=columns)

    by = f", coloured by {words(name)} ({', '.join(values)})" if name else ""
    alt = (
        f"Map of the weights of {len(weight_paths.paths)} runs in {weight_paths.plane}{by}: "
        "a line per run from its first to its last snapshot."
    )
    return draw(f"{weight_paths.name}-{index}", (3.4, 3.8), paint, alt=alt)


def confusion_figures(scores: Sequence[Result]) -> list[Picture]:
    """A confusion matrix per score that states one."""
    stated = [(score, counts) for score in scores if (counts := _confusion(score)) is not None]
    return [_confusion_figure(score, counts, i) for i, (score, counts) in enumerate(stated)]


def _confusion(score: Result) -> np.ndarray | None:
    counts, classes = score.document.get("confusion"), score.document.get("classes")
    if not counts or not classes:
        return None
    matrix = np.array(counts, dtype=np.float64)
    return matrix if matrix.shape == (len(classes), len(classes)) else None


def _count(runs: float) -> str:
    """A number of runs; a run that splits name differently is divided."""
    return f"{runs:.1f}".removesuffix(".0")


def _confusion_figure(score: Result, counts: np.ndarray, index: int) -> Picture:
    names = [short(value_text(value), 14) for value in score.document["classes"]]
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
    numbered = len(names) <= MOST_NUMBERED_CLASSES

    def paint(figure: Figure) -> None:
        from matplotlib.patches import Rectangle

        axes = figure.add_subplot()
        for (row, column), share in np.ndenumerate(shares):
            # Opacity rather than a colour map: it reads on light and dark ground.
            place = (column - 0.5, row - 0.5)
            axes.add_patch(Rectangle(place, 1, 1, facecolor=SHADE, alpha=0.65 * share, linewidth=0))
            if numbered and counts[row, column]:
                axes.text(column, row, _count(float(counts[row, column])), ha="center", va="center")
        ticks = range(len(names)) if len(names) <= 30 else []
        shown = [names[i] for i in ticks]
        slanted = max(map(len, names)) > 3
        axes.set_xticks(ticks, shown, rotation=45 if slanted else 0, ha="right" if slanted else "center")
        axes.set_yticks(ticks, shown)
        axes.set_xlim(-0.5, len(names) - 0.5)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_aspect("equal")
        axes.tick_params(length=0)
        axes.set_xlabel("named by the meta-classifier")
        axes.set_ylabel("true")
        title = f"{short(words(score.target), 30)}\n{short(score.label, 34)}"
        figure.suptitle(title, x=0.02, ha="left", fontsize=9.5)
        for spine in axes.spines.values():
            spine.set_visible(True)
            spine.set_alpha(0.4)

    rows = "; ".join(
        f"{name}: {_count(counts[i, i])} of {_count(totals[i, 0])} right"
        for i, name in enumerate(names[:MOST_NUMBERED_CLASSES])
    )
    alt = (
        f"Confusion matrix of {words(score.target)} by {score.label}: "
        f"{_count(float(np.trace(counts)))} of {_count(counts.sum())} test runs named right; {rows}."
    )
    side = min(3.4, 2.1 + 0.35 * len(names))
    return draw(f"confusion-{index}", (side, side + 0.25), paint, alt=alt)
