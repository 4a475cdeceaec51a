"""Facts: what can be seen in a network's weights without having learnt anything from other networks."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from weightprint.features.layers import Layer, Read, chosen, layers_of
from weightprint.inspection.schemes import evenly, fitting
from weightprint.zoo.layout import Layout, Tensor

DEAD = 1e-3
"""A unit whose weights are smaller than this share of its layer's median computes next to nothing."""

FEW_WEIGHTS = 1000
"""Kernels with fewer weights fit a distribution too easily: alone they do not say that a layer was never trained."""

NEAR_ONE = 0.01
"""Scales of a norm that are no farther from 1 may still be as they were drawn."""

LARGE = 1 << 23
"""Of tensors with more weights, chosen outputs can stand for all."""

Vectors = Mapping[str, npt.NDArray[np.float32]]

_CHUNK = 1 << 22
_PROBE = 4096


def facts(layout: Layout, read: Read, *, dtypes: Mapping[str, str] | None = None, full: bool = True) -> dict[str, Any]:
    """Everything that is told of a network without learning, as JSON has it; each tensor is read once or twice.

    layout: of the network
    read:   a tensor of the layout → its values [1, *shape], float32
    dtypes: number format in the file by the tensor's `source`; without it nothing is said of formats
    full:   look at every weight; otherwise, of tensors with more than LARGE weights, at chosen outputs alone. Whether
            weights are NaN or infinite is looked up in every weight all the same

    | key | value |
    |---|---|
    | `weights` | their number, tied ones counted once |
    | `dtypes` | number format → how many weights |
    | `zeros` | share of weights that are exactly 0 |
    | `sparse` | tensor → share of zeros, of kernels with at least a tenth |
    | `not_finite` | tensor → {`nan`, `infinite`}, their numbers among all its weights, sampled or not |
    | `all_zero`, `constant` | names of tensors whose values are all 0, or all the same; vectors left out |
    | `duplicates` | lists of tensors with equal values that are not tied |
    | `tied` | lists of tensors that share their weights |
    | `dead_units` | layer → {`incoming`, `outgoing`}: units without weights to speak of |
    | `norms` | layer → what its norm's values are like |
    | `grids` | tensor → coarser number format on whose grid its float32 values lie |
    | `sampled` | tensors of which chosen outputs were looked at, for which all others' numbers stand |
    | `initialization` | see `_initialization` |
    """
    found: dict[str, Any] = {"weights": sum(t.size for t in layout if t.tied_to is None)}
    found |= {"dtypes": {}, "zeros": 0.0, "sparse": {}, "not_finite": {}, "all_zero": [], "constant": []}
    found |= {"duplicates": [], "tied": _tied(layout), "dead_units": {}, "norms": {}, "grids": {}, "sampled": []}
    units = _Units(layout)
    fits: dict[str, dict[str, Any]] = {}
    prints: dict[tuple, list[str]] = {}
    vectors: dict[str, npt.NDArray[np.float32]] = {}
    zeros = counted = 0
    dtypes = dtypes or {}
    stored: Counter[str] = Counter()
    for tensor in layout:
        if not tensor.size or tensor.tied_to is not None:
            continue
        values = read(tensor)[0]
        bad = _not_finite(values.reshape(-1))
        if not full and tensor.size > LARGE and len(tensor.shape) > 1:
            values = values[chosen(len(values), max(16, LARGE // values[0].size))]
            if values.size < tensor.size:
                found["sampled"].append(tensor.name)
        flat = values.reshape(-1)
        nothing = (flat.size - int(np.count_nonzero(flat))) * tensor.size // flat.size
        zeros, counted = zeros + nothing, counted + tensor.size
        if tensor.source in dtypes:
            stored[dtypes[tensor.source]] += tensor.size
        if bad["nan"] or bad["infinite"]:
            found["not_finite"][tensor.name] = bad
            continue
        is_vector = len(tensor.shape) < 2
        if is_vector:
            vectors[tensor.name] = values
        elif nothing == tensor.size:
            found["all_zero"].append(tensor.name)
        elif flat[0] == flat[-1] and (flat == flat[0]).all():
            found["constant"].append(tensor.name)
        else:
            prints.setdefault((tensor.shape, evenly(flat, _PROBE).tobytes()), []).append(tensor.name)
        if tensor.kind == "kernel" and nothing >= 0.1 * tensor.size:
            found["sparse"][tensor.name] = nothing / tensor.size
        if tensor.kind == "kernel" and not is_vector:
            units.add(tensor, values)
            fits[tensor.name] = fitting(tensor, values)
        if dtypes.get(tensor.source, "float32") in ("float32", "float64") and (grid := grid_of(np.atleast_2d(values))):
            found["grids"][tensor.name] = grid
    found["dtypes"] = dict(stored)
    found["zeros"] = zeros / counted if counted else 0.0
    found["duplicates"] = _equal(prints, layout, read)
    found["dead_units"] = units.dead()
    found["norms"] = _norms(layout, vectors)
    found["initialization"] = _initialization(layout, fits, vectors, found["norms"])
    return found


def _not_finite(flat: npt.NDArray[np.float32]) -> dict[str, int]:
    """How many values are NaN or infinite; in pieces, so that no second copy of a large tensor is made."""
    nan = infinite = 0
    for start in range(0, flat.size, _CHUNK):
        piece = flat[start : start + _CHUNK]
        if not np.isfinite(piece).all():
            nan += int(np.isnan(piece).sum())
            infinite += int(np.isinf(piece).sum())
    return {"nan": nan, "infinite": infinite}


def _tied(layout: Layout) -> list[list[str]]:
    groups: dict[str, list[str]] = {}
    for tensor in layout:
        if tensor.tied_to is not None:
            groups.setdefault(tensor.tied_to, [tensor.tied_to]).append(tensor.name)
    return list(groups.values())


def _equal(prints: Mapping[tuple, list[str]], layout: Layout, read: Read) -> list[list[str]]:
    """Of tensors that look alike where they were probed, those that are."""
    found = []
    for names in prints.values():
        if len(names) > 1:
            first = read(layout[names[0]])
            same = [name for name in names[1:] if np.array_equal(first, read(layout[name]))]
            found += [[names[0], *same]] if same else []
    return found


class _Units:
    """Sizes of the units' incoming and outgoing weights, layer by layer."""

    def __init__(self, layout: Layout) -> None:
        self._layers = {layer.kernel.name: layer for layer in layers_of(layout) if layer.kernel is not None}
        self._incoming: dict[str, npt.NDArray[np.float64]] = {}
        self._outgoing: dict[str, npt.NDArray[np.float64]] = {}

    def add(self, tensor: Tensor, values: npt.NDArray[np.float32]) -> None:
        layer = self._layers.get(tensor.name)
        if layer is None:
            return
        self._incoming[layer.name] = _largest(values, 0)
        if tensor.groups > 1:
            return
        channels, axis = values, 1
        if layer.flatten is not None:
            c, h, w = layer.flatten.size
            shape, axis = ((c, h * w), 1) if layer.flatten.order == "chw" else ((h * w, c), 2)
            channels = values.reshape(len(values), *shape)
        for name in layer.reads:
            sizes = _largest(channels, axis)
            before = self._outgoing.get(name)
            self._outgoing[name] = sizes if before is None else np.maximum(before, sizes)

    def dead(self) -> dict[str, dict[str, int]]:
        found = {}
        for name, incoming in self._incoming.items():
            numbers = {"incoming": _count_dead(incoming), "outgoing": _count_dead(self._outgoing.get(name))}
            if any(numbers.values()):
                found[name] = numbers
        return found


def _largest(values: npt.NDArray[np.float32], axis: int) -> npt.NDArray[np.float64]:
    """The largest magnitude for each place along one axis."""
    others = tuple(a for a in range(values.ndim) if a != axis)
    return np.maximum(values.max(axis=others), -values.min(axis=others)).astype(np.float64)


def _count_dead(sizes: npt.NDArray[np.float64] | None) -> int:
    return 0 if sizes is None else int((sizes <= DEAD * np.median(sizes)).sum())


def _norms(layout: Layout, vectors: Vectors) -> dict[str, dict[str, Any]]:
    """Of each layer with a norm: least, middle and largest value of each of its vectors, and what is odd about them.

    `untouched`: shifts and moving means are 0, moving variances 1 and scales next to 1, as before the first step;
    `switched_off`: units whose scale is next to 0; `no_variance`: units whose moving variance is not above 0.
    """
    start = {"gamma": 1.0, "beta": 0.0, "moving_mean": 0.0, "moving_variance": 1.0}
    found: dict[str, dict[str, Any]] = {}
    for layer in layers_of(layout):
        held = {kind: vectors[t.name] for kind, t in layer.others.items() if kind in start and t.name in vectors}
        if not held:
            continue
        known: dict[str, Any] = {kind: _three(values) for kind, values in held.items()}
        # Some draw the scales around 1, so closely that a step moves them farther.
        off = {kind: float(np.abs(values - start[kind]).max()) for kind, values in held.items()}
        known["untouched"] = all(most <= (NEAR_ONE if kind == "gamma" else 0) for kind, most in off.items())
        if "gamma" in held:
            known["switched_off"] = int((np.abs(held["gamma"]) < DEAD).sum())
        if "moving_variance" in held:
            known["no_variance"] = int((held["moving_variance"] <= 0).sum())
        found[layer.name] = known
    return found


def _three(values: npt.NDArray[np.float32]) -> list[float]:
    return [float(values.min()), float(np.median(values)), float(values.max())]


def _initialization(
    layout: Layout, fits: Mapping[str, dict[str, float]], vectors: Vectors, norms: Mapping[str, dict[str, Any]]
) -> dict[str, Any]:
    """Which layers could still be as they were drawn, and by which scheme.

    - `state`: `at initialisation` (every kernel with enough weights fits, no norm was touched), `partly`, `trained`;
      `unknown` where no kernel has FEW_WEIGHTS.
    - `scheme`: the one that fits most of the untrained layers (of several, most weights), or null.
    - `untrained`: names of the layers whose kernel fits, and has weights enough for that to mean something.
    - `layers`: layer → `scheme` (the most probable), its `p`, `fits` (all schemes that are not ruled out), and
      `bias`: `zeros`, `torch_default` or null.
    """
    layers = {layer.name: layer for layer in layers_of(layout)}
    kernels = {name: layer.kernel for name, layer in layers.items() if layer.kernel is not None}
    told = {name: fits.get(kernel.name, {}) for name, kernel in kernels.items()}
    large = [name for name, kernel in kernels.items() if kernel.size >= FEW_WEIGHTS]
    untrained = [name for name in large if told[name]]
    whole = 0 < len(large) == len(untrained) and all(known["untouched"] for known in norms.values())
    if whole:
        untrained = [name for name, schemes in told.items() if schemes]
    votes = dict.fromkeys(scheme for name in untrained for scheme in told[name])

    def standing(scheme: str) -> tuple[int, int, float]:
        of = [name for name in untrained if scheme in told[name]]
        return len(of), sum(kernels[name].size for name in of), sum(told[name][scheme] for name in of)

    best = max(votes, key=standing, default=None)  # of equals the first, fan-in before round numbers
    state = "unknown" if not large else "at initialisation" if whole else "partly" if untrained else "trained"
    return {
        "state": state,
        "scheme": best,
        "untrained": untrained,
        "layers": {name: _layer(layers[name], schemes, best, vectors) for name, schemes in told.items()},
    }


def _layer(layer: Layer, schemes: Mapping[str, float], best: str | None, vectors: Vectors) -> dict[str, Any]:
    """How a layer may have been drawn: by the network's scheme where that fits, else by the most probable."""
    scheme = best if best in schemes else next(iter(schemes), None)
    values = vectors.get(layer.others["bias"].name) if "bias" in layer.others else None
    bias = None if values is None or layer.kernel is None else _bias_scheme(layer.kernel, values)
    return {"scheme": scheme, "p": schemes.get(scheme or ""), "fits": list(schemes), "bias": bias}


def _bias_scheme(kernel: Tensor, values: npt.NDArray[np.float32]) -> str | None:
    if not values.any():
        return "zeros"
    if kernel.role == "recurrent":
        return None
    fan_in = math.prod(kernel.shape[1:])
    bounded = float(np.abs(values).max()) <= 1.001 / math.sqrt(fan_in)
    stands = Tensor("bias", "kernel", "fc", (len(values), fan_in), 0, "", "oi")
    return "torch_default" if bounded and "torch_default" in fitting(stands, values, least=1) else None


LEAST_VALUES = 64
"""So many values other than 0 must lie on a grid before it says anything."""

MOST_ROWS = 64
"""So many rows are looked at for integer grids, whose step may differ from row to row."""


def grid_of(values: npt.NDArray[np.float32]) -> str | None:
    """ "float16", "bfloat16", "float8", "int8", "int4" or "few values"; None for ordinary float32 weights.

    values: finite, outputs first

    int8 and int4: a whole tensor, or each of its rows, has at most 255 or 15 values, whole multiples of one step.
    "few values": at most 256 values in a tensor with four times as many weights, at no equal distances.
    """
    flat = np.ascontiguousarray(values, dtype=np.float32).reshape(-1)
    if flat.size < LEAST_VALUES:
        return None
    nonzero = flat[: 1 << 16][flat[: 1 << 16] != 0]
    if nonzero.size < LEAST_VALUES or (nonzero == nonzero[0]).all():
        return None
    if (whole := _levels(flat)) is not None:
        return whole
    rows = flat.reshape(len(values), -1)
    if rows.shape[1] >= LEAST_VALUES:
        found = {_levels(row) for row in rows[:: max(1, len(rows) // MOST_ROWS)] if (row != 0).any()}
        if found <= {"int8", "int4"} and found:
            return "int4" if found == {"int4"} else "int8"
    # The first look rules out nearly every tensor before all of it is read.
    for name, on_grid in _FORMATS:
        if on_grid(nonzero) and on_grid(flat):
            return name
    return None


def _low_bits_zero(x: npt.NDArray[np.float32], bits: int) -> bool:
    return not (x.view(np.uint32) & np.uint32((1 << bits) - 1)).any()


def _is_float16(x: npt.NDArray[np.float32]) -> bool:
    with np.errstate(over="ignore"):
        return bool((x.astype(np.float16).astype(np.float32) == x).all())


_FORMATS = (
    ("float8", lambda x: _low_bits_zero(x, 20)),
    ("bfloat16", lambda x: _low_bits_zero(x, 16)),
    ("float16", _is_float16),
)


def _levels(x: npt.NDArray[np.float32]) -> str | None:
    """ "int8", "int4" or "few values" of a stretch of weights; None for ordinary ones."""
    if np.unique(x[:4096]).size > 256 or (levels := np.unique(x).astype(np.float64)).size > 256 or levels.size < 3:
        return None
    distances = np.diff(levels)
    largest = np.abs(levels).max()
    for step in (distances.min(), distances.min() / 2, distances.min() / 3):
        # Of unrelated values the least distance is far too small for 255 steps.
        if largest / step > 255.5:
            return "few values" if levels.size * 4 <= x.size else None
        places = levels * (np.round(largest / step) / largest)  # the largest level tells the step best
        whole = np.round(places)
        if np.abs(places - whole).max() < 1e-3 and whole[-1] - whole[0] <= 255:
            return "int4" if whole[-1] - whole[0] <= 15 else "int8"
    return "few values" if levels.size * 4 <= x.size else None
