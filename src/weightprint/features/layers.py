"""Layers: a layout's tensors by layer, what each layer reads, and how large kernels are read in part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from weightprint.features.numbers import dots
from weightprint.zoo.layout import NORM_KINDS, Flatten, Layout, Tensor, map_of

VECTORS = ("bias", *NORM_KINDS)
"""Kinds of tensors with one value per unit."""

LARGEST_KERNEL = 1 << 21
"""Of kernels with more weights, chosen units and inputs stand for all."""

MOST_UNITS = 512
"""So many units of such a kernel are read; and of any kernel, so many are compared pair by pair."""

Read = Callable[[Tensor], npt.NDArray]
"""A tensor of the layout → its values [T, *shape]."""


@dataclass(frozen=True)
class Layer:
    """The tensors of one layer, by kind, and what it reads.

    name:    "conv1" for "conv1/kernel"
    kernel:  at least two axes; None for a norm that stands alone
    others:  bias, beta, gamma and moving statistics, those that there are
    flatten: how the map or image that a fully connected kernel reads was flattened; None where it reads no map
    reads:   names of the layers with kernels whose units are its inputs, as far as sizes agree
    """

    name: str
    kernel: Tensor | None
    others: dict[str, Tensor] = field(default_factory=dict)
    flatten: Flatten | None = None
    reads: tuple[str, ...] = ()

    @property
    def is_conv(self) -> bool:
        return self.kernel is not None and len(self.kernel.shape) > 2


@lru_cache(maxsize=64)
def layers_of(layout: Layout) -> tuple[Layer, ...]:
    """The layers in forward order: tensors whose names agree up to the last stroke.

    A second kernel of one name is a layer of its own, named whole. Tensors of the kind `other` (embeddings, tokens,
    positions) belong to no layer; neither does a kernel that is tied to an earlier one, nor one of a single weight.
    """
    groups: dict[str, dict[str, Tensor]] = {}
    kernels = {t.name for t in layout if t.kind == "kernel"}
    for tensor in layout:
        if tensor.kind == "kernel" and (len(tensor.shape) < 2 or tensor.size < 2 or tensor.tied_to in kernels):
            continue
        if tensor.size and tensor.kind != "other":
            name = tensor.layer if tensor.kind not in groups.get(tensor.layer, {}) else tensor.name
            groups.setdefault(name, {})[tensor.kind] = tensor
    layers: list[Layer] = []
    before: Layer | None = None
    by_name: dict[str, Layer] = {}
    for name, tensors in groups.items():
        others = {kind: tensors[kind] for kind in VECTORS if kind in tensors}
        layer = Layer(name, tensors.get("kernel"), others)
        if layer.kernel is not None:
            reads: tuple[str, ...] = () if before is None else (before.name,)
            if layer.kernel.reads is not None:
                reads = layer.kernel.reads
            flatten = flatten_of(layer.kernel, [by_name[r] for r in reads if r in by_name])
            layer = replace(layer, flatten=flatten)
            layer = replace(layer, reads=tuple(r for r in reads if r in by_name and _fits(layer, by_name[r])))
            before = by_name[name] = layer
        layers.append(layer)
    return tuple(layers)


def flatten_of(kernel: Tensor, sources: list[Layer]) -> Flatten | None:
    """How a fully connected kernel's inputs were a map: as its layout says, or by the layers it reads from.

    Where the layout says nothing, sizes tell (`map_of`), channels changing fastest (docs/format.md).
    """
    if kernel.flatten is not None or len(kernel.shape) != 2 or kernel.role is not None:
        return kernel.flatten
    if not sources:
        return None if kernel.reads else map_of(kernel.shape[1], None, "hwc")
    source = sources[-1]
    if source.kernel is None or not source.is_conv:
        return None
    return map_of(kernel.shape[1], source.kernel.shape[0], "hwc")


def _fits(layer: Layer, source: Layer) -> bool:
    """Whether the units of `source` are the channels that a layer reads."""
    if layer.kernel is None or source.kernel is None:
        return False
    channels = layer.flatten.size[0] if layer.flatten else layer.kernel.shape[1] * layer.kernel.groups
    return channels == source.kernel.shape[0]


@dataclass(frozen=True, eq=False)
class Kernel:
    """A kernel's values, brought into one form whatever the layer: float32, divided by their root mean square.

    values:   [T, o, c, h, w]: units, channels, window or places; h = w = 1 where the layer has neither
    squares:  of the values, float32 of the same shape
    scale:    float64 [T], the root mean square; 1 where all weights are 0
    units:    numbers of the units that were read [o]
    channels: numbers of the channels that were read [c]
    all_units, all_channels: how many there are
    groups: in how many groups the channels fall; `channels` then count those of one
    fan_in, fan_out: inputs of one unit; units that one input reaches, times the window

    Sums over the units' inputs and over the units, which most features start from, float64:

    unit_sums, unit_powers:   [T, o], of values and of squares
    input_sums, input_powers: [T, c, h, w]
    """

    values: npt.NDArray[np.float32]
    squares: npt.NDArray[np.float32]
    scale: npt.NDArray[np.float64]
    units: npt.NDArray[np.intp]
    channels: npt.NDArray[np.intp]
    all_units: int
    all_channels: int
    groups: int
    fan_in: int
    fan_out: int
    unit_sums: npt.NDArray[np.float64]
    unit_powers: npt.NDArray[np.float64]
    input_sums: npt.NDArray[np.float64]
    input_powers: npt.NDArray[np.float64]

    @property
    def matrix(self) -> npt.NDArray[np.float32]:
        """The values as one matrix a snapshot: [T, o, n]."""
        return self.values.reshape(*self.values.shape[:2], -1)

    @property
    def norms(self) -> npt.NDArray[np.float64]:
        """Root mean square of each unit's weights [T, o]."""
        return np.sqrt(self.unit_powers / self.values[0, 0].size)


def kernel_of(layer: Layer, read: Read) -> Kernel:
    """Reads a layer's kernel; of one with more than LARGEST_KERNEL weights, chosen units and channels.

    The choice depends on their numbers alone, so that equal kernels are read alike.
    """
    values = arranged(layer, read)
    steps, units, channels, height, width = values.shape
    area = height * width
    some_units, some_channels = np.arange(units), np.arange(channels)
    if units * channels * area > LARGEST_KERNEL:
        some_units = chosen(units, max(16, min(MOST_UNITS, LARGEST_KERNEL // area)))
        some_channels = chosen(channels, max(1, LARGEST_KERNEL // (len(some_units) * area)))
        values = values[:, some_units[:, None], some_channels]
    x, scale = _divided(values)
    squares = np.square(x)
    matrix, powers = (a.reshape(steps, len(some_units), -1) for a in (x, squares))
    inputs = np.ones(matrix.shape[2], dtype=np.float32)
    outputs = np.ones((1, len(some_units)), dtype=np.float32)
    return Kernel(
        x,
        squares,
        scale,
        some_units,
        some_channels,
        units,
        channels,
        groups=1 if layer.kernel is None else layer.kernel.groups,
        fan_in=channels * area,
        fan_out=units * (area if layer.is_conv else 1),
        unit_sums=(matrix @ inputs).astype(np.float64),
        unit_powers=(powers @ inputs).astype(np.float64),
        input_sums=(outputs @ matrix).astype(np.float64).reshape(steps, *x.shape[2:]),
        input_powers=(outputs @ powers).astype(np.float64).reshape(steps, *x.shape[2:]),
    )


def arranged(layer: Layer, read: Read) -> npt.NDArray:
    """A layer's kernel [T, o, c, h, w], a view as far as can be."""
    tensor = layer.kernel
    if tensor is None:
        raise ValueError(f"{layer.name} has no kernel")
    values = read(tensor)
    steps, units, channels = values.shape[:3]
    if layer.flatten is not None:
        c, h, w = layer.flatten.size
        if layer.flatten.order == "hwc":
            return values.reshape(steps, units, h, w, c).transpose(0, 1, 4, 2, 3)
        return values.reshape(steps, units, c, h, w)
    if values.ndim == 5:
        return values
    if values.ndim == 4:
        return values.reshape(steps, units, channels, 1, -1)
    return values.reshape(steps, units, channels, -1, values.shape[-1] if values.ndim > 5 else 1)


def _divided(values: npt.NDArray) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
    """Values [T, …] divided by their root mean square, and that [T]; no intermediate result overflows."""
    rest = tuple(range(1, values.ndim))
    largest = np.maximum(values.max(axis=rest), -values.min(axis=rest))
    largest = np.where(largest > 0, largest, 1).astype(np.float32).reshape(-1, *(1 for _ in rest))
    x = np.empty(values.shape, dtype=np.float32)  # C-contiguous, whatever order the file has
    np.divide(values, largest, out=x, casting="same_kind")
    flat = x.reshape(len(x), -1)
    rms = np.sqrt(dots(flat, flat) / flat.shape[1])
    rms = np.where(rms > 0, rms, 1.0)
    x *= (1 / rms).astype(np.float32).reshape(largest.shape)
    return x, rms * largest.reshape(-1).astype(np.float64)


@lru_cache(maxsize=4096)
def chosen(count: int, most: int) -> npt.NDArray[np.intp]:
    """`most` of the numbers below `count` in ascending order, always the same ones; all where there are no more."""
    if count <= most:
        return np.arange(count)
    numbers = np.sort(np.random.default_rng([count, most]).choice(count, most, replace=False))
    numbers.setflags(write=False)
    return numbers
