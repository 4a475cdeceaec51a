"""Which initialisation a kernel's values could have been drawn from, by tests of their distribution.

Of a scheme that draws each weight by itself, Kolmogorov and Smirnov's test says how probable a distance as large as
the one found is (p), with the scale that the kernel's fans give; a uniform distribution's bounds must hold for every
weight as well, and the weights must look independent of one another (`independent`). Orthogonal and constant kernels
are told by arithmetic.

Sources of the scales: X. Glorot and Y. Bengio (AISTATS 2010); K. He et al. (ICCV 2015); PyTorch's default is uniform
between ±1/√fan_in (torch.nn.Linear, _ConvNd), of recurrent layers ±1/√units; Keras cuts its normal distributions off
at two deviations (keras.initializers.VarianceScaling).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import kolmogorov, ndtr
from scipy.stats import chi2, norm

from weightprint.features.layers import MOST_UNITS, chosen
from weightprint.inspection.spectra import ks_distance
from weightprint.zoo.layout import Tensor

LEAST_P = 1e-4
"""A scheme with a smaller p is ruled out: so of a fresh network of twenty layers all fit in 99 of 100 cases."""

LEAST_WEIGHTS = 50
"""Fewer weights fit nearly everything."""

MOST_WEIGHTS = 50_000
"""So many weights of a kernel are tested, evenly spread over it."""

ROUND_DEVIATIONS = (0.001, 0.01, 0.02, 0.05, 0.1, 1.0)
"""Deviations that people give to a normal distribution without looking at fans."""

LEAST_COUNT = 25
"""Means over fewer weights are not yet distributed as their limit says."""

MOST_INPUTS = 4096

_TRUNCATED = 0.8796256610342398
"""Deviation of a standard normal distribution that is cut off at two deviations."""

_MOST_ROWS = 64
"""So many rows of a matrix are compared when it is asked whether they are orthogonal."""


@dataclass(frozen=True)
class Draw:
    """One way to draw the weights of a kernel.

    scheme:       its name: "torch_default", "glorot_uniform", "he_normal"…
    distribution: "uniform", "normal" or "truncated_normal"
    deviation:    standard deviation of what is drawn
    """

    scheme: str
    distribution: str
    deviation: float

    def share_below(self, x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The distribution function."""
        if self.distribution == "uniform":
            return (x / (2 * self.largest) + 0.5).clip(0, 1)
        if self.distribution == "normal":
            return ndtr(x / self.deviation)
        edge = ndtr(-2.0)
        return ((ndtr(x * _TRUNCATED / self.deviation) - edge) / (1 - 2 * edge)).clip(0, 1)

    @property
    def largest(self) -> float:
        """No weight is farther from 0."""
        if self.distribution == "uniform":
            return self.deviation * math.sqrt(3)
        return math.inf if self.distribution == "normal" else 2 * self.deviation / _TRUNCATED


def fitting(tensor: Tensor, values: npt.NDArray[np.float32], *, least: int = LEAST_WEIGHTS) -> dict[str, float]:
    """The schemes that a kernel's values [*shape] may come from, each with its p, the most probable first.

    "constant" and "orthogonal" hold or do not: their p is 1. Values that are not finite, or fewer than `least`, fit
    nothing.
    """
    flat = values.reshape(-1)
    if flat.size < least:
        return {}
    largest = max(float(flat.max()), -float(flat.min()))
    if not largest < math.inf:
        return {}
    if flat[0] == flat[-1] and (flat == flat[0]).all():
        return {"constant": 1.0}
    if len(tensor.shape) > 1 and is_orthogonal(values):
        return {"orthogonal": 1.0}
    some = np.sort(evenly(flat, MOST_WEIGHTS).astype(np.float64))
    deviation = math.sqrt(float(np.square(some).mean()))
    found: dict[str, float] = {}
    for draw in draws(tensor):
        # Most are ruled out by their scale alone; the test itself decides among the others.
        if abs(draw.deviation / deviation - 1) > max(0.03, 6 / math.sqrt(some.size)) or largest > draw.largest * 1.001:
            continue
        p = _probability(some, draw)
        if p >= LEAST_P:
            found[draw.scheme] = max(p, found.get(draw.scheme, 0.0))
    if not found or (len(tensor.shape) > 1 and values.ndim > 1 and independent(values) < LEAST_P):
        return {}
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def draws(tensor: Tensor) -> Iterator[Draw]:
    """The ways in which libraries draw a kernel of this shape."""
    window = math.prod(tensor.shape[2:])
    fans = [(math.prod(tensor.shape[1:]), tensor.shape[0] * window)]
    if tensor.groups > 1:  # Keras counts the channels of all groups
        fans.append((tensor.shape[1] * tensor.groups * window, max(1, tensor.shape[0] // tensor.groups) * window))
    if tensor.role == "recurrent":
        for gates in (1, 3, 4):
            if tensor.shape[0] % gates == 0:
                yield Draw("torch_default", "uniform", math.sqrt(gates / tensor.shape[0] / 3))
    for fan_in, fan_out in fans:
        if fan_in < 1 or fan_out < 1:
            continue
        yield Draw("torch_default", "uniform", math.sqrt(1 / fan_in / 3))
        for scheme, variance in (
            ("glorot", 2 / (fan_in + fan_out)),
            ("he", 2 / fan_in),
            ("he", 2 / fan_out),
            ("lecun", 1 / fan_in),
        ):
            yield Draw(f"{scheme}_uniform", "uniform", math.sqrt(variance))
            yield Draw(f"{scheme}_normal", "normal", math.sqrt(variance))
            yield Draw(f"{scheme}_normal", "truncated_normal", math.sqrt(variance))
    for deviation in ROUND_DEVIATIONS:
        yield Draw("random_normal", "normal", deviation)
        yield Draw("random_normal", "truncated_normal", deviation * _TRUNCATED)
    yield Draw("random_uniform", "uniform", 0.05 / math.sqrt(3))  # Keras's RandomUniform


def is_orthogonal(values: npt.NDArray[np.float32]) -> bool:
    """Whether a kernel's rows, or its columns where they are fewer, are at right angles and of one length."""
    matrix = values.reshape(len(values), -1)
    matrix = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    if matrix.shape[0] < 2:
        return False
    some = np.unique(np.linspace(0, len(matrix) - 1, min(len(matrix), _MOST_ROWS)).astype(int))
    rows = matrix[some].astype(np.float64)
    gram = rows @ rows.T
    length = gram.trace() / len(gram)
    return bool(length > 0 and np.abs(gram - length * np.eye(len(gram))).max() < 1e-3 * length)


def evenly(flat: npt.NDArray, most: int) -> npt.NDArray:
    """At most so many values, one from each of as many stretches of equal length, always the same ones."""
    if flat.size <= most:
        return flat
    places = (np.arange(most) + np.random.default_rng(most).random(most)) * (flat.size / most)
    return flat[places.astype(np.int64)]


def _probability(ordered: npt.NDArray[np.float64], draw: Draw) -> float:
    """p of Kolmogorov and Smirnov's test; the limit for many values, with Stephens' correction (JRSS B 32, 1970)."""
    distance = ks_distance(draw.share_below(ordered))
    root = math.sqrt(ordered.size)
    return float(kolmogorov(distance * (root + 0.12 + 0.11 / root)))


def independent(values: npt.NDArray[np.float32]) -> float:
    """p that a kernel's weights [o, i, window…] are independent and alike: small for what was trained.

    The smallest p of several tests, times their number (Bonferroni): sums and sums of squares over each unit's inputs
    and over each input's units vary as much as independent weights' would; weights side by side in a window, and the
    weights of two units, are uncorrelated. Of large kernels, chosen units and inputs are looked at.
    """
    matrix = values.reshape(len(values), -1)
    matrix = matrix[chosen(matrix.shape[0], MOST_UNITS)][:, chosen(matrix.shape[1], MOST_INPUTS)].astype(np.float64)
    scale = np.sqrt(np.square(matrix).mean())
    if not scale > 0:
        return 0.0
    matrix /= scale
    squares = np.square(matrix)
    spread = float(np.square(squares).mean()) - 1  # variance of a square
    tests: list[float] = []
    for axis in (0, 1):
        count = matrix.shape[axis]
        if count >= LEAST_COUNT:
            tests.append(_as_large(np.square(matrix.sum(axis=axis)).sum() / count, matrix.shape[1 - axis]))
            if spread > 0:
                powers = np.square(squares.sum(axis=axis) - count).sum() / (count * spread)
                tests.append(_as_large(powers, matrix.shape[1 - axis]))
    units, inputs = matrix.shape
    if units > 1 and inputs >= LEAST_COUNT:
        gram = matrix @ matrix.T
        np.fill_diagonal(gram, 0)
        pairs = units * (units - 1) / 2
        tests.append(_as_normal((np.square(gram).sum() / (2 * inputs) - pairs) / np.sqrt(2 * pairs)))
    if values.ndim > 2 and values.shape[-1] > 1 and values.size >= LEAST_COUNT:
        some = values[chosen(values.shape[0], MOST_UNITS)].astype(np.float64) / scale
        products = some[..., 1:] * some[..., :-1]
        tests.append(_as_normal(products.sum() / np.sqrt(products.size)))
    return min(1.0, min(tests) * len(tests)) if tests else 1.0


def _as_large(statistic: float, degrees: int) -> float:
    """p, on both sides, of a sum of so many squares."""
    return float(2 * min(chi2.sf(statistic, degrees), chi2.cdf(statistic, degrees)))


def _as_normal(statistic: float) -> float:
    return float(2 * norm.sf(abs(statistic)))
