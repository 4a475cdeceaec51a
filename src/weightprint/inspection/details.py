"""Details of a network's layers, to be drawn: histograms, spectra, the filters of the first layer. Plain data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from weightprint.features.layers import Layer, Read, arranged, chosen, layers_of
from weightprint.inspection.schemes import MOST_WEIGHTS, Draw, draws, evenly
from weightprint.inspection.spectra import MOST_SIDE, chance_below, spectrum_of
from weightprint.zoo.layout import Layout, Tensor

MOST_LAYERS = 24
"""Of a deeper network so many layers are looked at, evenly spread, the first and the last among them."""

BINS = 50
"""Bars of a histogram; and of the eigenvalues'."""

FINER = 8
"""A distribution beside a histogram is given in so many times the bars, and its shares count as much as theirs."""

MOST_FILTERS = 64
MOST_PIXELS, MOST_CHANNELS = 64, 4
"""So many filters of the first layer are drawn, where they have no more places on a side and no more channels."""

LARGEST = 1 << 23
"""Of a kernel with more weights, chosen outputs are looked at."""

DEFAULTS = {"keras_h5": "glorot_uniform", "keras_weights_h5": "glorot_uniform", "keras_v3": "glorot_uniform"}
"""What is drawn for comparison where no scheme fits, by the file's format: what its library does unless told
otherwise; of any other format `torch_default`."""


def details_of(
    layout: Layout, read: Read, start: Mapping[str, Any], *, format: str, full: bool = False
) -> dict[str, Any]:
    """What is drawn of a network, JSON-ready.

    layout: of the network; read: a tensor of it → its values [1, *shape], float32
    start:  `initialization` of the facts
    format: of the file
    full:   all layers and all their weights

    | key | value |
    |---|---|
    | `layers` | layer → `histogram` and `spectrum` (or None), `sampled` (looked at in part) |
    | `left_out` | number of layers that were not looked at; layers with NaN or infinite weights are among them |
    | `filters` | of the first layer: `layer`, `count` (units), `values` [o, c, h, w]; or None |

    A histogram has `edges` [BINS + 1] and `share` [BINS] of the weights, `outside` (share beyond the edges), and
    `draw`: the distribution of an initialisation beside it, as `scheme`, `fits` and `share` [FINER · BINS]. A spectrum
    is that of `spectra.spectrum_of`, with `histogram`: `edges` and `count` of the eigenvalues, those `below` the first
    edge, and how many `chance` and the `power_law` would count.
    """
    layers = [(layer, layer.kernel) for layer in layers_of(layout) if layer.kernel is not None]
    kept = layers
    if not full and len(layers) > MOST_LAYERS:
        kept = [layers[i] for i in np.linspace(0, len(layers) - 1, MOST_LAYERS).round().astype(int)]
    default = DEFAULTS.get(format, "torch_default")
    found: dict[str, Any] = {}
    for layer, kernel in kept:
        known = _layer(kernel, read(kernel)[0], start["layers"].get(layer.name, {}), default, full)
        if known is not None:
            found[layer.name] = known
    return {"layers": found, "left_out": len(layers) - len(found), "filters": _filters(layers, read)}


def _layer(
    kernel: Tensor, values: npt.NDArray[np.float32], start: Mapping[str, Any], default: str, full: bool
) -> dict[str, Any] | None:
    units = len(values)
    if not full and values.size > LARGEST:
        values = values[chosen(units, max(16, LARGEST // values[0].size))]
    if not values.size or not np.isfinite(values).all():
        return None
    matrix = values.reshape(len(values), -1)
    if not full and min(matrix.shape) > MOST_SIDE:
        matrix = matrix[chosen(len(matrix), MOST_SIDE)]
    spectrum = spectrum_of(matrix)
    if spectrum is not None:
        spectrum["histogram"] = _eigenvalue_histogram(spectrum)
    return {
        "histogram": _histogram(kernel, values, start, default),
        "spectrum": spectrum,
        "sampled": len(matrix) < units,
    }


def _histogram(
    tensor: Tensor, values: npt.NDArray[np.float32], start: Mapping[str, Any], default: str
) -> dict[str, Any]:
    some = evenly(values.reshape(-1), 4 * MOST_WEIGHTS).astype(np.float64)
    scheme = start.get("scheme") or default
    draw = _draw(tensor, scheme, some)
    reach = float(np.quantile(np.abs(some), 0.999))
    # The law beside it stays in sight, unless the weights have grown far beyond it.
    reach = max(reach * 1.05, 1.15 * min(draw.largest, 3 * draw.deviation) if draw is not None else 0.0) or 1.0
    edges = np.linspace(-reach, reach, BINS + 1)
    counts, _ = np.histogram(some, edges)
    beside = None
    if draw is not None:
        share = FINER * np.diff(draw.share_below(np.linspace(-reach, reach, FINER * BINS + 1)))
        beside = {"scheme": scheme, "fits": bool(start.get("scheme")), "share": share.round(6).tolist()}
    return {
        "edges": edges.tolist(),
        "share": (counts / some.size).tolist(),
        "outside": 1 - float(counts.sum()) / some.size,
        "draw": beside,
    }


def _draw(tensor: Tensor, scheme: str, some: npt.NDArray[np.float64]) -> Draw | None:
    """Of the scheme's ways to draw this kernel the one nearest in scale; None for schemes that are no distribution."""
    deviation, largest = float(some.std()), float(np.abs(some).max())
    ways = [draw for draw in draws(tensor) if draw.scheme == scheme]
    return min(ways, key=lambda w: (abs(w.deviation - deviation), largest > w.largest * 1.001, w.largest), default=None)


def _eigenvalue_histogram(spectrum: Mapping[str, Any]) -> dict[str, Any]:
    """Between edges of equal ratio, from the smallest eigenvalues (or a thousandth of the variance) to the largest."""
    values = np.array(spectrum["eigenvalues"])
    longer, shorter = spectrum["sides"]
    variance, (low, high) = spectrum["variance"], spectrum["edges"]
    floor = max(min(float(values[0]), low), variance / 1000)
    edges = np.geomspace(0.9 * floor, 1.1 * max(float(values[-1]), high), 2 * BINS // 3)
    counts, _ = np.histogram(values, edges)
    law = spectrum["power_law"]
    drawn = None
    if law is not None:
        above = np.maximum(edges / law["x_min"], 1) ** (1 - law["alpha"])
        drawn = (law["tail"] * -np.diff(above)).tolist()
    return {
        "edges": edges.tolist(),
        "count": counts.tolist(),
        "below": int((values < edges[0]).sum()),
        "chance": (shorter * np.diff(chance_below(edges / variance, shorter, longer))).tolist(),
        "power_law": drawn,
    }


def _filters(layers: list[tuple[Layer, Tensor]], read: Read) -> dict[str, Any] | None:
    """The first layer's weights as small images, where it reads one; of many units, chosen ones."""
    first, kernel = next((pair for pair in layers if not pair[0].reads), (None, None))
    if first is None or kernel is None or not (first.is_conv or first.flatten) or kernel.size > LARGEST:
        return None
    values = arranged(first, read)[0]
    units, channels, height, width = values.shape
    if not 1 < max(height, width) <= MOST_PIXELS or channels > MOST_CHANNELS:
        return None
    values = values[chosen(units, MOST_FILTERS)].astype(np.float64)
    if not np.isfinite(values).all():
        return None
    return {"layer": first.name, "count": units, "values": np.round(values, 6).tolist()}
