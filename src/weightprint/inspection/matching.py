"""Units of two networks paired: in their places, and by the order that makes them most alike.

Hidden units may change places together with their weights in the next layer, and the network computes the same. Before
two networks are compared their units are therefore paired layer by layer from the input on: by their incoming weights
and bias, the inputs in the order already found, with the assignment of the largest sum of likeness (H. W. Kuhn, Naval
Research Logistics Quarterly 2, 1955; scipy.optimize.linear_sum_assignment). Likeness is the cosine.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment
from scipy.stats import norm

from weightprint.features.layers import Layer

MOST_MATCHED = 2048
"""Of a layer with more units the order is not searched: it is taken to be the same."""

RANDOM_ORDERS = 3
"""So often the likeness after matching is found for inputs in random order, which is what chance gives."""

Order = npt.NDArray[np.intp]
Floats = npt.NDArray[np.float64]
Kernel = npt.NDArray[np.float32]
Biases = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]


@dataclass(frozen=True)
class Pairing:
    """How alike the kernels of one layer are in two networks.

    correlation, distance: of all weights in their places; |A - B| by the mean of |A| and |B|
    p:                     that units in their places are no more alike than pairs at random
    matched_correlation, matched_distance: with the units in the order found; None where it was not searched
    chance:                matched correlation that inputs in random order give; None for the first layer
    moved:                 share of the units that changed places; None where the order was not searched
    slopes:                of B on A and of A on B, by regression of the better matched weights
    """

    correlation: float
    distance: float
    p: float
    matched_correlation: float | None
    matched_distance: float | None
    chance: float | None
    moved: float | None
    slopes: tuple[float, float]


def paired(
    layer: Layer, a: Kernel, b: Kernel, orders: Mapping[str, Order], biases: Biases | None, *, last: bool, sampled: bool
) -> tuple[Pairing, Order | None]:
    """One layer: kernels [o, c, h, w] of both networks, the order of B's units that was found for the layers it reads.

    layer:  of A
    orders: layer → the number of B's unit that stands for each of A's
    biases: of both, where both have them
    last:   whether units have meanings of their own (outputs): they keep their places
    Returns the order of B's units, None where it is that of the file.
    """
    x, y = (values.reshape(len(values), -1).astype(np.float64) for values in (a, b))
    correlation, distance = _alike(x, y)
    p = in_place(_cosines(x, y)) if len(x) > 1 else 1.0
    slopes = _slopes(x, y)
    if sampled:
        return Pairing(correlation, distance, p, None, None, None, None, slopes), None
    found_orders = [orders.get(name) for name in layer.reads]
    inputs = found_orders[0] if found_orders else None
    agreed = inputs is not None and all(o is not None and np.array_equal(o, inputs) for o in found_orders)
    ordered = b[:, inputs] if agreed and inputs is not None and len(inputs) == b.shape[1] else b
    y = ordered.reshape(len(b), -1).astype(np.float64)
    order: Order | None = None
    chance = None
    if not last and 1 < len(x) <= MOST_MATCHED:
        order = _best(x, y, biases)
        if layer.reads and b.shape[1] > 1:
            rng = np.random.default_rng(0)
            found = []
            for _ in range(RANDOM_ORDERS):
                z = b[:, rng.permutation(b.shape[1])].reshape(len(b), -1).astype(np.float64)
                found.append(_alike(x, z[_best(x, z, None)])[0])
            chance = float(np.mean(found))
    matched = y if order is None else y[order]
    matched_correlation, matched_distance = _alike(x, matched)
    moved = None if order is None else float((order != np.arange(len(order))).mean())
    if matched_correlation > correlation:
        slopes = _slopes(x, matched)
    pairing = Pairing(correlation, distance, p, matched_correlation, matched_distance, chance, moved, slopes)
    return pairing, order


def _best(x: Floats, y: Floats, biases: Biases | None) -> Order:
    """For each unit of A the number of B's unit."""
    if biases is not None:
        x, y = (np.column_stack([m, v.astype(np.float64)]) for m, v in zip((x, y), biases, strict=True))
    return np.asarray(linear_sum_assignment(_cosines(x, y), maximize=True)[1], dtype=np.intp)


def in_place(likeness: Floats) -> float:
    """p that so much likeness of pairs in their places [o, o] comes about when units are paired at random.

    By the mean and variance of the sum over all orders (W. Hoeffding, Annals of Mathematical Statistics 22, 1951).
    """
    count = len(likeness)
    centred = likeness - likeness.mean(0) - likeness.mean(1)[:, None] + likeness.mean()
    variance = float(np.square(centred).sum()) / (count - 1)
    if variance <= 1e-12 * count:
        return 1.0
    p = float(norm.sf(np.trace(centred) / math.sqrt(variance)))
    return max(p, 1 / math.factorial(count) if count < 20 else 0.0)


def _cosines(x: Floats, y: Floats) -> Floats:
    return _unit(x) @ _unit(y).T


def _unit(x: Floats) -> Floats:
    lengths = np.linalg.norm(x, axis=1, keepdims=True)
    return x / np.where(lengths > 0, lengths, 1)


def _alike(x: Floats, y: Floats) -> tuple[float, float]:
    """Cosine of all weights, and their distance by the mean of both lengths."""
    lengths = float(np.linalg.norm(x)), float(np.linalg.norm(y))
    distance = float(np.linalg.norm(x - y)) / (sum(lengths) / 2 or 1.0)
    return float((x * y).sum()) / (lengths[0] * lengths[1] or 1.0), distance


def _slopes(x: Floats, y: Floats) -> tuple[float, float]:
    product = float((x * y).sum())
    return product / (float(np.square(x).sum()) or 1.0), product / (float(np.square(y).sum()) or 1.0)
