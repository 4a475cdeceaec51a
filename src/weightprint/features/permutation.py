"""Permutation: renumbering hidden units, which changes the weight vector and not the network's function.

Source: R. Hecht-Nielsen, "On the algebraic structure of feedforward network weight spaces", Advanced Neural
Computers (1990), 129–135.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from weightprint.errors import MetaError
from weightprint.features.anatomy import Layer, layers_of
from weightprint.zoo.layout import Layout, Tensor


def permute_units(weights: npt.NDArray, layout: Layout, *, generator: np.random.Generator) -> npt.NDArray:
    """The same networks with the units of every hidden layer in a random order: [T, P] → [T, P], a copy.

    Each layer's units keep their kernel, bias and normalisation, and the next layer's inputs follow. Where a map is
    flattened between them, its places stay in order and units change fastest (height, width, channel). All rows
    are given the same order. For networks whose layers follow one another, each reading the one before; raises
    MetaError when a layer's inputs are no multiple of the units before it, or its vectors are not one per unit.
    """
    permuted = weights.copy()
    layers = [layer for layer in layers_of(layout) if layer.kernel is not None]
    order: npt.NDArray[np.intp] | None = None
    for layer in layers:
        kernel = _of(layer)
        values = permuted[:, kernel.offset : kernel.stop].reshape(len(weights), *kernel.shape)
        if order is not None:
            values = values[:, :, _input_order(order, kernel)]
        if layer is not layers[-1]:
            order = generator.permutation(kernel.shape[0])
            values = values[:, order]
            for vector in layer.others.values():
                if vector.size != len(order):
                    raise MetaError(f"{vector.name} has {vector.size} values for {len(order)} units")
                permuted[:, vector.offset : vector.stop] = permuted[:, vector.offset : vector.stop][:, order]
        permuted[:, kernel.offset : kernel.stop] = values.reshape(len(weights), -1)
    return permuted


def _of(layer: Layer) -> Tensor:
    if layer.kernel is None:
        raise MetaError(f"{layer.name} has no kernel")
    return layer.kernel


def _input_order(order: npt.NDArray[np.intp], kernel: Tensor) -> npt.NDArray[np.intp]:
    """Where each input of a layer was before the units that it reads were put into `order`."""
    places, rest = divmod(kernel.shape[1], len(order))
    if rest or (places > 1 and len(kernel.shape) > 2):
        raise MetaError(f"{kernel.name} has {kernel.shape[1]} inputs, which {len(order)} units before it cannot feed")
    return (np.arange(places)[:, None] * len(order) + order).reshape(-1)
