"""Anatomy: a network of any architecture as one row of numbers with the same names.

Every layer has the same features, whatever its size (`layer_anatomy`). A network's row (`anatomy`) has them by the
roles that layers play, and summed up over its layers:

- `conv first: `, `conv second: `, `conv last: ` convolutions in forward order; `second` where there are three or more;
- `hidden first: `, `hidden last: ` other layers with a kernel (fully connected, recurrent, attention) but the output;
- `output: ` the last layer, where it is no convolution;
- `mean: `, `least: `, `largest: ` over all layers with a kernel but the output, whatever they are (quantiles and
  absolute scales as means only);
- `norm: ` mean over normalisations that stand alone;
- `shape/` functions of shapes alone: `shape/layers`, `shape/weights`, `shape/hidden first.fan_in`…

No column but `shape/…` is a function of shapes. Yet two things about the architecture show in the others: a column
that a network does not have (no bias, no norm, no convolution) is missing, and the columns with `absolute` in their
names are in the units of the weights, which most initialisations scale by fan-in. Who must not read the architecture
leaves both out.

No feature depends on the order of hidden units, nor on the order in which a map was flattened or a file keeps its
axes, as long as a kernel has at most `layers.LARGEST_KERNEL` weights and `layers.MOST_UNITS` units and inputs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from weightprint.features import kernels, vectors
from weightprint.features.layers import Kernel, Layer, Read, chosen, kernel_of, layers_of
from weightprint.features.numbers import Features, Floats
from weightprint.zoo.layout import Layout

MOST_LAYERS = 256
"""Of networks with more layers, as many chosen ones and those with a role are read."""

LARGEST = 1e9
"""Every feature lies between plus and minus this."""


def anatomy(weights: npt.NDArray, layout: Layout) -> tuple[Floats, tuple[str, ...]]:
    """The columns that this network has: weights [T, P] finite → (float64 [T, F] finite, F names).

    Networks of other architectures have other ones among the same names (`Table.aligned`).
    """
    return anatomy_of(lambda t: weights[:, t.offset : t.stop].reshape(len(weights), *t.shape), len(weights), layout)


def anatomy_of(read: Read, steps: int, layout: Layout) -> tuple[Floats, tuple[str, ...]]:
    """The same for weights that are read tensor by tensor: `read` gives values [T, *shape] of one of the layout's."""
    return table(layer_anatomy(read, layout), layout, steps)


def table(layers: Sequence[tuple[Layer, Features]], layout: Layout, steps: int) -> tuple[Floats, tuple[str, ...]]:
    """What `anatomy` returns, of layers whose features are known already: their values [T = steps]."""
    columns = by_role(layers) | {f"shape/{name}": np.full(steps, value) for name, value in shapes(layout).items()}
    values = np.empty((len(columns), steps))
    for row, value in zip(values, columns.values(), strict=True):
        row[:] = value
    return values.T.clip(-LARGEST, LARGEST), tuple(columns)


def layer_anatomy(read: Read, layout: Layout) -> list[tuple[Layer, Features]]:
    """The layers in forward order, each with its features by name: float64 [T].

    A layer lacks features of what it does not have: a bias, windows, a layer that reads it. A layer's features depend
    on its own tensors and on the kernel of the first layer that reads it.
    """
    layers = layers_of(layout)
    if len(layers) > MOST_LAYERS:
        kept = {*chosen(len(layers), MOST_LAYERS).tolist(), *roles(layers).values()}
        layers = tuple(layers[i] for i in sorted(kept))
    anatomies: list[tuple[Layer, Features]] = []
    waiting: dict[str, _Units] = {}
    for layer in layers:
        others = {kind: read(t).reshape(-1, t.size).astype(np.float64) for kind, t in layer.others.items()}
        kernel = None if layer.kernel is None else kernel_of(layer, read)
        features = vectors.vectors(others, None if kernel is None else kernel.fan_in)
        anatomies.append((layer, features))
        if kernel is None:
            continue
        own = kernels.distribution(kernel) | kernels.units(kernel) | kernels.inputs(kernel)
        own |= kernels.grid(kernel, "window" if layer.is_conv else "places")
        features |= {f"kernel.{label}": value for label, value in own.items()}
        same_units = {kind: v for kind, v in others.items() if v.shape[1] == kernel.all_units}
        features |= vectors.relations(same_units, kernel)
        for name in layer.reads:
            if name in waiting:
                _read_by(waiting.pop(name), kernel)
        waiting[layer.name] = _Units(kernel, same_units, features)
    return anatomies


class _Units:
    """A layer's units, kept until the layer that reads them comes."""

    def __init__(self, kernel: Kernel, others: Features, features: Features) -> None:
        self.norms, self.numbers = kernel.norms, kernel.units
        self.others, self.features = others, features


def _read_by(source: _Units, kernel: Kernel) -> None:
    """Adds to a layer's features how the next layer's kernel reads its units."""
    numbers, powers, sums = kernel.channels, kernel.input_powers.mean(axis=(2, 3)), kernel.input_sums.mean(axis=(2, 3))
    if kernel.groups > 1 and kernel.groups == kernel.all_units:  # depthwise: each unit reads one
        numbers, powers, sums = kernel.units, kernel.unit_powers, kernel.unit_sums
    elif kernel.groups > 1:
        return
    shared, mine, theirs = np.intersect1d(source.numbers, numbers, assume_unique=True, return_indices=True)
    if len(shared) < 2:
        return
    others: Features = {kind: source.others[kind][:, shared] for kind in ("bias", "gamma") if kind in source.others}
    reading = np.sqrt(powers[:, theirs])
    source.features |= vectors.outgoing(reading, sums[:, theirs], source.norms[:, mine], others)


def by_role(layers: Sequence[tuple[Layer, Features]]) -> Features:
    """The layers' features by role and summed up, under the names of the columns."""
    columns: Features = {}
    for role, number in roles([layer for layer, _ in layers]).items():
        columns |= {f"{role}: {name}": value for name, value in layers[number][1].items()}
    output = roles([layer for layer, _ in layers]).get("output")
    hidden = [of for i, (layer, of) in enumerate(layers) if layer.kernel is not None and i != output]
    if hidden:
        columns |= _summed_up(hidden)
    norms = [features for layer, features in layers if layer.kernel is None]
    if norms:
        columns |= {name.replace("mean: ", "norm: "): v for name, v in _summed_up(norms).items() if "mean: " in name}
    return columns


def _summed_up(layers: Sequence[Features]) -> Features:
    """Mean, least and largest of each feature over those layers that have it."""
    names = list(dict.fromkeys(name for features in layers for name in features))
    steps = len(next(iter(layers[0].values())))
    table = np.full((len(layers), len(names), steps), np.nan)
    place = {name: i for i, name in enumerate(names)}
    for of_layer, features in zip(table, layers, strict=True):
        for name, value in features.items():
            of_layer[place[name]] = value
    has = ~np.isnan(table[..., 0])
    means = np.where(has[..., None], table, 0).sum(axis=0) / has.sum(axis=0)[:, None]
    least, largest = np.fmin.reduce(table, axis=0), np.fmax.reduce(table, axis=0)
    summary = {f"mean: {name}": means[i] for i, name in enumerate(names)}
    for i, name in enumerate(names):
        if ".q" not in name and "absolute" not in name:
            summary |= {f"least: {name}": least[i], f"largest: {name}": largest[i]}
    return summary


def roles(layers: Sequence[Layer]) -> dict[str, int]:
    """Role → number of the layer that has it. One layer may have several; a role that no layer has is left out."""
    convs = [i for i, layer in enumerate(layers) if layer.is_conv]
    others = [i for i, layer in enumerate(layers) if layer.kernel is not None and not layer.is_conv]
    numbers: dict[str, int] = {}
    if convs:
        numbers |= {"conv first": convs[0], "conv last": convs[-1]}
    if len(convs) > 2:
        numbers["conv second"] = convs[1]
    output = others.pop() if others and not any(i > others[-1] for i in convs) else None
    if others:
        numbers |= {"hidden first": others[0], "hidden last": others[-1]}
    return numbers | ({} if output is None else {"output": output})


def shapes(layout: Layout) -> dict[str, float]:
    """What shapes alone tell: the columns `shape/…`, by the rest of their names."""
    layers = layers_of(layout)
    with_kernel = [layer for layer in layers if layer.kernel is not None]
    facts: dict[str, float] = {
        "tensors": len(layout),
        "layers": len(with_kernel),
        "convolutions": sum(layer.is_conv for layer in layers),
        "norms": sum("gamma" in layer.others or "moving_mean" in layer.others for layer in layers),
        "biases": sum("bias" in layer.others for layer in layers),
        "weights": float(np.log10(layout.size + 1)),
    }
    for role, number in roles(layers).items():
        layer = layers[number]
        if layer.kernel is None:
            continue
        units, channels = layer.kernel.shape[:2]
        area = layer.kernel.size // (units * channels)
        mapped = layer.flatten.size if layer.flatten else (channels, 1, 1)
        facts |= {
            f"{role}.units": units,
            f"{role}.channels": mapped[0],
            f"{role}.places": mapped[1] * mapped[2],
            f"{role}.window": area,
            f"{role}.groups": layer.kernel.groups,
            f"{role}.fan_in": channels * area,
        }
    return facts
