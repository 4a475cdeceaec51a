"""Layers of a network under training: their tensors, their room in memory, and calls of the kernels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from weightprint.setups import Setup
from weightprint.training.architecture import BATCH_NORM_EPSILON, BATCH_NORM_MOMENTUM, tensor_entries
from weightprint.training.fast import block, dense
from weightprint.training.fast.activation import ACTIVATIONS
from weightprint.training.fast.choice import Choice
from weightprint.training.streams import Streams

_NORM = BATCH_NORM_MOMENTUM, BATCH_NORM_EPSILON


def aligned(size: int, dtype: np.dtype) -> np.ndarray:
    """A flat array of zeros that begins with a line of the cache."""
    line = 64
    room = np.zeros(size * dtype.itemsize + line, np.uint8)
    start = -room.ctypes.data % line
    return room[start : start + size * dtype.itemsize].view(dtype)


class Batch:
    """B images in whole groups of L lanes.

    padded: G · L
    mask:   [padded] 1 for an image of the batch, 0 for a copy
    """

    def __init__(self, size: int, lanes: int, dtype: np.dtype) -> None:
        self.size, self.dtype = size, dtype
        self.groups = -(-size // lanes)
        self.padded = self.groups * lanes
        self.mask = aligned(self.padded, dtype)
        self.mask[:size] = 1

    def new(self, numbers: int) -> np.ndarray:
        """Room for so many numbers of each image."""
        return aligned(numbers * self.padded, self.dtype)


class Weights:
    """All tensors of a network in one vector, and their gradients.

    values:    [P] tensors that have gradients first, then the moving statistics
    trained:   [n] the former, filled up to whole vectors
    gradients: [n] of the former
    """

    def __init__(self, setup: Setup, vector: np.ndarray, lanes: int) -> None:
        entries = tensor_entries(setup)
        moving = [entry for entry in entries if entry["kind"].startswith("moving")]
        self._places: dict[str, slice] = {}
        self._order = np.empty(len(vector), dtype=np.int64)
        end = self._place([entry for entry in entries if entry not in moving], 0)
        whole = -(-end // lanes) * lanes
        self.values = aligned(self._place(moving, whole), vector.dtype)
        self.values[self._order] = vector
        self.trained, self.gradients = self.values[:whole], aligned(whole, vector.dtype)

    def _place(self, entries: Sequence[Mapping[str, Any]], start: int) -> int:
        """Give tensors their places one after the other; where they end."""
        for entry in entries:
            stop = start + math.prod(entry["shape"])
            self._places[entry["name"]] = slice(start, stop)
            self._order[entry["offset"] : entry["offset"] + stop - start] = np.arange(start, stop)
            start = stop
        return start

    def vector(self) -> np.ndarray:
        """[P] in the order of the layout"""
        return self.values[self._order]

    def __call__(self, layer: str, kind: str) -> tuple[np.ndarray, np.ndarray]:
        """A tensor and its gradient, both flat; there is none of a moving statistic."""
        place = self._places[f"{layer}/{kind}"]
        return self.values[place], self.gradients[place]


class Norm:
    """Batch normalisation of a layer; where the set-up has none, one that changes nothing.

    scale, shift: what it is in evaluation, after `settle`
    """

    def __init__(self, layer: str, setup: Setup, weights: Weights, width: int) -> None:
        dtype = weights.values.dtype
        self.there = setup.batch_norm
        self.scale, self.shift = np.ones(width, dtype), np.zeros(width, dtype)
        if self.there:
            self.gamma, self.dgamma = weights(layer, "gamma")
            self.beta, self.dbeta = weights(layer, "beta")
            self.moving = weights(layer, "moving_mean")[0], weights(layer, "moving_variance")[0]
        else:
            self.gamma, self.beta = self.scale, self.shift
            self.dgamma, self.dbeta = np.empty(width, dtype), np.empty(width, dtype)
            self.moving = np.zeros(width, dtype), np.ones(width, dtype)

    def settle(self) -> None:
        if self.there:
            mean, variance = self.moving
            self.scale[:] = self.gamma / np.sqrt(variance + BATCH_NORM_EPSILON)
            self.shift[:] = self.beta - mean * self.scale


class Block:
    """A convolution with what follows it; see `weightprint.training.fast.block`. shape: IC, OC, H, W, pool."""

    scratch: np.ndarray

    def __init__(
        self,
        name: str,
        setup: Setup,
        weights: Weights,
        choice: Choice,
        batch: Batch,
        shape: tuple[int, int, int, int, bool],
        x: np.ndarray,
    ) -> None:
        _, outputs, height, width, pool = shape
        L, dtype, size = choice.lanes, batch.dtype, setup.filter_size
        self._shape, self._batch, self._x = shape, batch, x
        self._lanes = L
        self._activation = ACTIVATIONS.index(setup.activation)
        self._left = height >> pool, width >> pool
        self._w, self._dw = weights(name, "kernel")
        self._bias, self._dbias = weights(name, "bias")
        self._norm = Norm(name, setup, weights, outputs)
        self._out = batch.new(outputs * height * width)
        left = outputs * self._left[0] * self._left[1]
        self._peaks = batch.new(left) if pool else self._out
        self.values, self.g = batch.new(left), batch.new(left)
        self._statistics = batch.new(outputs * 2)
        self._found, self._sums = np.zeros((4, outputs), dtype), np.zeros((4, outputs), dtype)
        self._shift = np.empty(outputs, dtype)
        self.scratch_size = L * outputs * height * width
        self._forward, self._backward = block.forward_kernel(choice, size), block.backward_kernel(choice, size)
        self._evaluate = block.evaluate_kernel(choice, size)
        self._activate, self._gradient = block.activate_kernel(L), block.activation_gradient_kernel(L)

    def forward(self) -> None:
        _, outputs, height, width, _ = self._shape
        norm, batch, found = self._norm, self._batch, self._found
        sign = np.where(norm.gamma < 0, -1, 1).astype(batch.dtype)
        self._forward(batch.groups, *self._shape, self._x, self._w, sign, self._out, self._peaks, self._statistics)
        if norm.there:
            weights = self._bias, norm.gamma, norm.beta, *norm.moving
            counts = batch.size, height * width, self._lanes
            block.normalisation(*counts, self._statistics, *weights, *_NORM, found)
        else:
            found[1:3], found[3] = 1, self._bias
        self._activate(outputs, self._left[1], self._activation, self._peaks, found[2], found[3], self.values)

    def backward(self, dx: np.ndarray | None) -> None:
        """From `g` the gradients of the weights and, unless it is None, into dx that of x."""
        _, outputs, height, width, _ = self._shape
        norm, batch = self._norm, self._batch
        self._gradient(
            batch.groups, outputs, *self._left, self._activation, self.g, self.values, self._peaks, self._found,
            batch.size * height * width, norm.there, self._sums,
        )  # fmt: skip
        norm.dgamma[:], norm.dbeta[:] = self._sums[0], self._sums[1]
        self._backward(
            batch.groups, *self._shape, dx is not None, self._x, self._w, self._out, self._peaks, self.g, self._found,
            self._sums, batch.mask, self.scratch, self.g if dx is None else dx, self._dw, self._dbias,
        )  # fmt: skip

    def settle(self) -> None:
        """Make ready for `evaluate`."""
        self._norm.settle()
        self._shift[:] = self._norm.shift + self._bias * self._norm.scale

    def evaluate(self, groups: int) -> None:
        self._evaluate(
            groups, *self._shape, self._activation, self._x, self._w, self._norm.scale, self._shift, self.scratch,
            self.values,
        )  # fmt: skip


class Linear:
    """z = w · x [units, padded], and what its gradient gives. `dx` is that of x."""

    def __init__(
        self, name: str, weights: Weights, choice: Choice, batch: Batch, inputs: int, units: int, x: np.ndarray
    ) -> None:
        self.inputs, self.units = inputs, units
        self.bias, self.dbias = weights(name, "bias")
        self.z, self.dx = batch.new(units), batch.new(inputs)
        self._x, self._batch = x, batch
        self._w, self._dw = weights(name, "kernel")
        self._product, self._dot = dense.product_kernel(choice), dense.dot_kernel(choice)

    def forward(self, padded: int) -> None:
        self._product(self.units, padded, self.inputs, self.inputs, 1, self._w, self._x, self.z)

    def backward(self, d: np.ndarray) -> None:
        """From d, the gradient of z, those of the kernel and of x."""
        padded = self._batch.padded
        self._dot(self.units, self.inputs, padded, d, self._x, self._dw)
        self._product(self.inputs, padded, self.units, 1, self.inputs, self._w, d, self.dx)


class Hidden:
    """A hidden layer: product, bias, activation, normalisation and dropout; see `weightprint.training.fast.dense`.

    out: [units, padded] the result; dx: the gradient of the layer's input
    """

    def __init__(
        self,
        name: str,
        setup: Setup,
        weights: Weights,
        choice: Choice,
        batch: Batch,
        inputs: int,
        units: int,
        x: np.ndarray,
    ) -> None:
        self._linear = Linear(name, weights, choice, batch, inputs, units, x)
        self.out, self.dx = batch.new(units), self._linear.dx
        self._batch, self._norm = batch, Norm(name, setup, weights, units)
        self._activation = ACTIVATIONS.index(setup.activation)
        self._keep = 1.0 - setup.dropout
        self._random = aligned(units * batch.size + batch.padded, batch.dtype)
        self._found = np.empty((3, units), batch.dtype)
        lanes = choice.lanes
        self._forward, self._gradient = dense.hidden_forward_kernel(lanes), dense.hidden_backward_kernel(lanes)
        self._evaluate = dense.hidden_evaluate_kernel(lanes)

    def forward(self, streams: Streams) -> None:
        linear, norm, batch = self._linear, self._norm, self._batch
        if self._keep < 1:
            count = linear.units * batch.size
            self._random[:count] = streams.draw_units(count)
        linear.forward(batch.padded)
        self._forward(
            linear.units, batch.padded, batch.size, self._activation, norm.there, linear.z, linear.bias, norm.gamma,
            norm.beta, *norm.moving, *_NORM, batch.mask, self._random, batch.size, self._keep, self._found,
            self.out,
        )  # fmt: skip

    def backward(self, d: np.ndarray) -> None:
        """From d, the gradient of `out`, which is overwritten."""
        linear, norm, batch = self._linear, self._norm, self._batch
        self._gradient(
            linear.units, batch.padded, batch.size, self._activation, norm.there, d, linear.z, batch.mask,
            self._random, batch.size, self._keep, self._found, norm.dgamma, norm.dbeta, linear.dbias,
        )  # fmt: skip
        linear.backward(d)

    def settle(self) -> None:
        """Make ready for `evaluate`."""
        self._norm.settle()

    def evaluate(self, padded: int) -> None:
        linear, norm = self._linear, self._norm
        linear.forward(padded)
        shape = linear.units, padded, self._activation
        self._evaluate(*shape, linear.z, linear.bias, norm.scale, norm.shift, self.out)
