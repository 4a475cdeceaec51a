"""Figures of the page of a verdict: a layer's weights, its spectrum, the filters of the first layer."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from weightprint.report.drawing import DASHED, INK, PALETTE, Picture, draw, title_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZE = (3.4, 2.3)
FAINTEST = 0.05
"""A filter whose largest weight is a smaller share of the layer's is not brought to full contrast."""


def histogram_figure(name: str, layer: str, histogram: Mapping[str, Any]) -> Picture:
    """A layer's weights, with the distribution of an initialisation beside them (`weightprint.inspection.details`)."""
    edges, shares, beside = np.array(histogram["edges"]), np.array(histogram["share"]), histogram["draw"]

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.stairs(100 * shares, edges, fill=True, color=PALETTE[0], alpha=0.55, label="weights")
        if beside is not None:
            text = f"{beside['scheme']}{': fits' if beside['fits'] else ', for comparison'}"
            style = "-" if beside["fits"] else DASHED
            finer = np.linspace(edges[0], edges[-1], len(beside["share"]) + 1)
            drawn = 100 * np.array(beside["share"])
            axes.stairs(drawn, finer, color=PALETTE[1], linestyle=style, linewidth=1.4, label=text)
        top = max(100 * shares.max(), 1e-9)
        axes.set_ylim(0, 1.08 * max(top, min(100 * max(beside["share"]), 2 * top) if beside else 0))
        axes.set_xlim(edges[0], edges[-1])
        title_of(axes, layer)
        axes.set_ylabel("% of weights")
        axes.locator_params(nbins=5)
        axes.grid(axis="y")
        figure.legend(loc="outside lower center", ncols=2)

    outside = f"; {histogram['outside']:.1%} lie beyond" if histogram["outside"] >= 0.0005 else ""
    law = "" if beside is None else f", beside {beside['scheme']}, which {'fits' if beside['fits'] else 'does not fit'}"
    alt = f"Weights of layer {layer} between {edges[0]:.3g} and {edges[-1]:.3g}{outside}{law}."
    return draw(name, SIZE, paint, alt=alt)


def spectrum_figure(name: str, layer: str, spectrum: Mapping[str, Any]) -> Picture:
    """A layer's eigenvalues beside those of chance, and the power law fitted to the largest."""
    drawn, law = spectrum["histogram"], spectrum["power_law"]
    edges, counts = np.array(drawn["edges"]), np.array(drawn["count"])

    def paint(figure: Figure) -> None:
        from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

        axes = figure.add_subplot()
        axes.stairs(counts, edges, fill=True, color=PALETTE[0], alpha=0.55, label="eigenvalues")
        axes.stairs(drawn["chance"], edges, color=PALETTE[1], linewidth=1.3, label="chance")
        axes.axvline(spectrum["edges"][1], color=INK, linewidth=1, linestyle=DASHED, label="edge of chance")
        top = max(counts.max(), 1) * 1.15
        if law is not None:
            tail = np.array(drawn["power_law"])
            kept = edges[:-1] >= law["x_min"]
            middles = np.sqrt(edges[1:] * edges[:-1])
            axes.plot(
                middles[kept], tail[kept], color=PALETTE[2], linewidth=1.5, label=f"power law, α {law['alpha']:.1f}"
            )
        axes.set_ylim(0, max(top, min(max(drawn["chance"]) * 1.1, 1.6 * top)))
        axes.set_xscale("log")
        decades = np.log10(edges[-1] / edges[0])
        axes.xaxis.set_major_locator(LogLocator(subs=(1,) if decades > 2 else (1, 3) if decades > 1 else (1, 2, 5)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        axes.set_xlim(edges[0], edges[-1])
        title_of(axes, layer)
        axes.set_ylabel("eigenvalues")
        axes.set_xlabel("size")
        axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
        axes.grid(axis="y")
        figure.legend(loc="outside lower center", ncols=2)

    longer, shorter = spectrum["sides"]
    fitted = "" if law is None else f" A power law with α {law['alpha']:.2f} is fitted to the {law['tail']} largest."
    alt = (
        f"Spectrum of layer {layer}: {shorter} eigenvalues of a matrix of {longer} × {shorter}, {spectrum['beyond']} "
        f"beyond what chance gives; the edge of chance is {spectrum['edges'][1]:.3g}.{fitted}"
    )
    return draw(name, (SIZE[0], SIZE[1] + 0.35), paint, alt=alt)


def filter_images(filters: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The first layer's filters as images: `src` (a PNG as an address), `width`, `height` in weights.

    Weights of three channels are red, green and blue; other channels stand side by side in grey. Middle grey is 0.
    """
    from matplotlib.image import imsave

    values = np.array(filters["values"])  # [o, c, h, w]
    largest = np.abs(values).max(axis=(1, 2, 3))
    scale = np.maximum(largest, FAINTEST * max(largest.max(), 1e-30))
    images = 0.5 + 0.5 * values / scale[:, None, None, None]
    found = []
    for image in images:
        pixels = (
            image.transpose(1, 2, 0) if len(image) == 3 else np.repeat(np.hstack(list(image))[..., None], 3, axis=2)
        )
        buffer = io.BytesIO()
        imsave(buffer, (255 * pixels).round().astype(np.uint8), format="png")
        src = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
        found.append({"src": src, "width": pixels.shape[1], "height": pixels.shape[0]})
    return found
