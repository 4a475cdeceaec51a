"""The layers of an everyday network as arithmetic: shapes, connections, and what a run costs in multiply-adds.

Costs are counted, never timed, so that how long a run is depends on its set-up alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from weightprint.errors import SetupError
from weightprint.setups.everyday.setup import EverydaySetup
from weightprint.setups.setup import IMAGE_FORMS

SMALLEST_POOLED = 4
"""A map with fewer pixels along a side is not pooled."""


@dataclass(frozen=True)
class Layer:
    """One convolution or fully connected layer.

    name:      conv1, conv2, …, fc1, …, output
    shape:     of its kernel: [o, i, h, w] or [o, i]
    reads:     layers whose results it reads, summed; empty for the images
    normed:    whether its result is normalised
    bias:      whether it has one
    side:      of the map that it gives; 1 for a fully connected layer
    stride:    of a convolution
    padding:   of a convolution, on each side
    flattened: [c, h, w] of the map that a fully connected layer reads
    """

    name: str
    shape: tuple[int, ...]
    reads: tuple[str, ...]
    normed: bool
    bias: bool
    side: int = 1
    stride: int = 1
    padding: int = 0
    flattened: tuple[int, int, int] | None = None

    @property
    def part(self) -> str:
        return "conv" if len(self.shape) == 4 else "fc"

    @property
    def multiply_adds(self) -> int:
        """Of the forward pass of one image."""
        return math.prod(self.shape) * self.side**2

    @property
    def values(self) -> int:
        """Numbers that it gives for one image."""
        return self.shape[0] * self.side**2


@lru_cache(maxsize=4096)
def layers(setup: EverydaySetup) -> tuple[Layer, ...]:
    """The layers in forward order; of a residual block first, second and, where it has one, shortcut.

    Raises SetupError where a window does not fit on its map.
    """
    if setup.architecture == "residual":
        result, channels, reads = _residual(setup)
        inputs, flattened = channels, None
    else:
        result, channels, side = _plain(setup)
        reads = (result[-1].name,) if result else ()
        inputs, flattened = channels * side**2, (channels, side, side)
    for i, units in enumerate(setup.units):
        result.append(_hidden(setup, f"fc{i + 1}", (units, inputs), reads, flattened=flattened))
        inputs, reads, flattened = units, (f"fc{i + 1}",), None
    shape = setup.outputs, inputs
    result.append(Layer("output", shape, reads, False, setup.biases != "none", flattened=flattened))
    return tuple(result)


def _plain(setup: EverydaySetup) -> tuple[list[Layer], int, int]:
    """Stages of convolutions that end in a pool: layers, channels and side of the last map."""
    result: list[Layer] = []
    side, channels = IMAGE_FORMS[setup.image_form]
    reads: tuple[str, ...] = ()
    for stage in setup.stages:
        for width in stage:
            name = f"conv{len(result) + 1}"
            padded = setup.padding == "same" or (setup.padding == "first" and not result)
            padding = setup.filter_size // 2 if padded else 0
            side += 2 * padding - setup.filter_size + 1
            if side < 1:
                problem = f"{name} has a window that does not fit on its map"
                raise SetupError(problem, hint="padding same, or fewer layers")
            shape = width, channels, setup.filter_size, setup.filter_size
            result.append(_hidden(setup, name, shape, reads, side=side, padding=padding))
            channels, reads = width, (name,)
        if is_pooled(side):
            side //= 2
    return result, channels, side


def _residual(setup: EverydaySetup) -> tuple[list[Layer], int, tuple[str, ...]]:
    """A convolution and stages of residual blocks, each but the first halving the map: layers, channels of the last
    map, and the layers whose results it is the sum of."""
    result: list[Layer] = []
    side, channels = IMAGE_FORMS[setup.image_form]
    window = setup.filter_size

    def add(width: int, inputs: int, size: int, stride: int, reads: tuple[str, ...]) -> tuple[str, ...]:
        name = f"conv{len(result) + 1}"
        shape = width, inputs, size, size
        result.append(_hidden(setup, name, shape, reads, side=side, stride=stride, padding=size // 2))
        return (name,)

    reads = add(setup.stages[0][0], channels, window, 1, ())
    channels = setup.stages[0][0]
    for number, stage in enumerate(setup.stages):
        for block, width in enumerate(stage):
            stride = 2 if number and not block else 1
            side = (side - 1) // stride + 1
            second = add(width, width, window, 1, add(width, channels, window, stride, reads))
            reads = second + (add(width, channels, 1, stride, reads) if (width, stride) != (channels, 1) else reads)
            channels = width
    return result, channels, reads


def _hidden(setup: EverydaySetup, name: str, shape: tuple[int, ...], reads: tuple[str, ...], **geometry: Any) -> Layer:
    """Any layer but the output: they have biases and a norm alike."""
    return Layer(name, shape, reads, setup.norm != "none", setup.biases == "all", **geometry)


def is_pooled(side: int) -> bool:
    """Whether a stage whose map has this side ends in a pool."""
    return side >= SMALLEST_POOLED


def weight_count(setup: EverydaySetup) -> int:
    """P: trainable weights and, of batch normalisation, moving statistics."""
    per_channel = {"none": 0, "batch": 4, "layer": 2}[setup.norm]
    kernels = sum(math.prod(layer.shape) for layer in layers(setup))
    return kernels + sum(layer.shape[0] * (layer.bias + per_channel * layer.normed) for layer in layers(setup))


def multiply_adds(setup: EverydaySetup) -> int:
    """Of the forward pass of one image through all convolutions and fully connected layers."""
    return sum(layer.multiply_adds for layer in layers(setup))


LAYER = 6_000_000
VALUE = 240
WEIGHT = 40
CROPPED_PIXEL = 600
WARPED_PIXEL = 2000
"""Multiply-adds that one processor core does in the time that a step spends on a layer however small its batch is; on a
value between two layers; on updating a weight; on a pixel that is cropped, or changed as the paper does. Fitted to the
times of random set-ups on one core."""

EVALUATED_IMAGES = 1500
"""At each snapshot: at most 500 of each of three parts."""


def step_work(setup: EverydaySetup) -> int:
    """Multiply-adds that a gradient step counts: forward, and twice as many backward, and what goes with them."""
    of_network = layers(setup)
    side, channels = IMAGE_FORMS[setup.image_form]
    pixel = {"none": 0, "crops": CROPPED_PIXEL, "paper": WARPED_PIXEL}[setup.augmentation]
    operations = len(of_network) + sum(layer.normed for layer in of_network)
    image = 3 * multiply_adds(setup) + VALUE * sum(layer.values for layer in of_network) + pixel * side**2 * channels
    return setup.batch_size * image + LAYER * operations + WEIGHT * weight_count(setup)


def run_work(setup: EverydaySetup, snapshots: int) -> int:
    """Multiply-adds of a whole run, its evaluations included."""
    evaluated = multiply_adds(setup) + VALUE // 3 * sum(layer.values for layer in layers(setup))
    return setup.steps * step_work(setup) + snapshots * EVALUATED_IMAGES * evaluated
