"""Permutation: renumbering hidden units, which changes the weight vector and not the network's function.

Source: R. Hecht-Nielsen, "On the algebraic structure of feedforward network weight spaces", Advanced Neural
Computers (1990), 129–135.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from weightprint.errors import MetaError
from weightprint.features.layers import Layer, layers_of
from weightprint.zoo.layout import Layout, Tensor


def permute_units(weights: npt.NDArray, layout: Layout, *, generator: np.random.Generator) -> npt.NDArray:
    """The same networks with the units of every hidden layer in a random order: [T, P] → [T, P], a copy.

    Each layer's units keep their kernel, bias and normalisation, and the inputs of the layers that read them follow,
    place by place where a map is flattened between them. Layers whose sum another one reads, and a depthwise
    convolution and the layer it reads, share their order. All rows are given the same order.

    Raises MetaError for what is not renumbered: a layer's inputs that are not the units it reads from, other grouped
    convolutions, recurrent and attention layers, norms that stand alone, vectors that are not one value per unit.
    """
    layers = {layer.name: layer for layer in layers_of(layout)}
    for tensor in layout:
        if tensor.kind == "other" or tensor.role is not None:
            raise MetaError(f"{tensor.name} is {tensor.role or 'other'}: its units are not renumbered")
    leader = _shared_orders(layers)
    output = list(layers)[-1] if layers else None
    orders: dict[str, npt.NDArray[np.intp]] = {}
    permuted = weights.copy()
    for name, layer in layers.items():
        kernel = _kernel_of(layer)
        values = permuted[:, kernel.offset : kernel.stop].reshape(len(weights), *kernel.shape)
        if layer.reads and kernel.groups == 1:
            values = _inputs_in_order(values, layer, orders[leader[layer.reads[0]]])
        if leader[name] != leader.get(output or ""):
            order = orders.setdefault(leader[name], generator.permutation(kernel.shape[0]))
            values = values[:, order]
            for vector in layer.others.values():
                if vector.size != len(order):
                    raise MetaError(f"{vector.name} has {vector.size} values for {len(order)} units")
                permuted[:, vector.offset : vector.stop] = permuted[:, vector.offset : vector.stop][:, order]
        permuted[:, kernel.offset : kernel.stop] = values.reshape(len(weights), -1)
    return permuted


def _kernel_of(layer: Layer) -> Tensor:
    if layer.kernel is None:
        raise MetaError(f"{layer.name} has no kernel")
    return layer.kernel


def _shared_orders(layers: dict[str, Layer]) -> dict[str, str]:
    """Of each layer, the first of those that must have their units in the same order."""
    leader = {name: name for name in layers}

    def find(name: str) -> str:
        while leader[name] != name:
            name = leader[name]
        return name

    before: Layer | None = None
    for layer in layers.values():
        kernel = _kernel_of(layer)
        expected = kernel.reads if kernel.reads is not None else () if before is None else (before.name,)
        if set(expected) != set(layer.reads):
            missing = next(name for name in expected if name not in layer.reads)
            units = _kernel_of(layers[missing]).shape[0] if missing in layers else 0
            raise MetaError(f"{kernel.name} has {kernel.shape[1]} inputs, which {units} units before it cannot feed")
        if kernel.groups > 1 and kernel.groups != kernel.shape[0]:
            raise MetaError(f"{kernel.name} has {kernel.groups} groups: its units are not renumbered")
        together = [*layer.reads, *([layer.name] if kernel.groups > 1 else [])]
        first = min((find(name) for name in together), key=list(layers).index, default="")
        for name in together:
            leader[find(name)] = first
        before = layer
    return {name: find(name) for name in layers}


def _inputs_in_order(values: npt.NDArray, layer: Layer, order: npt.NDArray[np.intp]) -> npt.NDArray:
    """A kernel [T, o, i, …] whose inputs follow the units that it reads."""
    if layer.flatten is None:
        return values[:, :, order]
    channels, height, width = layer.flatten.size
    shape = (channels, height * width) if layer.flatten.order == "chw" else (height * width, channels)
    maps = values.reshape(*values.shape[:2], *shape)
    return maps[:, :, order] if layer.flatten.order == "chw" else maps[..., order]
