"""A convolution layer with batch normalisation, 2×2 max pooling and activation as one step, for training on the CPU.

Pooling comes before the affine map and the activation: both are monotone in each channel, so the values are the same,
and three quarters of the work fall away, in the gradient too. All but the convolution is
`weightprint.training.fast.kernels`, and the first layer's convolution computes several pixels as channels of one, to
fill vector registers. Equality with the plain layers is a test.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from weightprint.training.fast import kernels

_aten = torch.ops.aten

_LANES = 16
"""Channels that fill a vector register of 512 bits."""

_ACTIVATE: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu_,
    "elu": torch.nn.functional.elu_,
    "sigmoid": torch.sigmoid_,
    "tanh": torch.tanh_,
}


def fits(norm: torch.nn.Module, images: Tensor) -> bool:
    """Whether `conv_norm_pool_activate` can take these images and a layer with this norm."""
    return (
        isinstance(norm, torch.nn.BatchNorm2d)
        and norm.num_features % kernels.CHANNELS == 0
        and images.device.type == "cpu"
    )


def conv_norm_pool_activate(
    images: Tensor, conv: torch.nn.Conv2d, norm: torch.nn.BatchNorm2d, activation: str, *, pool: bool
) -> Tensor:
    """activation(max_pool2d(norm(conv(images)), 2)) in training mode; without the pool when `pool` is false.

    images: [B, C, H, W], H and W even; the convolution keeps them; `fits` says whether they can be taken.
    Moves the running statistics of `norm` as torch's own layer does.
    """
    return _Layer.apply(images, conv.weight, conv.bias, norm.weight, norm.bias, norm, activation, pool)


class _Layer(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        images: Tensor,
        kernel: Tensor,
        bias: Tensor,
        gamma: Tensor,
        beta: Tensor,
        norm: torch.nn.BatchNorm2d,
        activation: str,
        pool: bool,
    ) -> Tensor:
        assert norm.running_mean is not None  # the layers are built with running statistics
        assert norm.running_var is not None
        x = _convolve(images, kernel, bias)
        b, h, w, c = x.shape
        found, dtype = np.empty((4, c), x.dtype), x.dtype
        moving = (_array(norm.running_mean), _array(norm.running_var))
        kernels.normalisation(x, _array(gamma), _array(beta), *moving, norm.momentum, norm.eps, found)
        peaks, places = x, _NO_PLACES
        if pool:
            peaks, places = np.empty((b, h // 2, w // 2, c), dtype), np.empty((b, h // 2, w // 2, c), np.int8)
            kernels.max_pool(x, found[2], peaks, places)
        values = np.empty_like(peaks)
        kernels.affine(peaks, found[2], found[3], values)
        out = _ACTIVATE[activation](_images(values))
        ctx.save_for_backward(images, kernel, out)
        ctx.arrays = x, peaks, places, found
        ctx.activation = kernels.ACTIVATIONS.index(activation)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        images, kernel, out = ctx.saved_tensors
        x, peaks, places, found = ctx.arrays
        ctx.arrays = None  # x becomes its gradient: there is no second call
        before, sums = np.empty_like(peaks), np.empty_like(found)
        count = x.size // x.shape[3]
        kernels.activation_gradient(
            _array(gradient.permute(0, 2, 3, 1)),
            _array(out.permute(0, 2, 3, 1)),
            ctx.activation,
            peaks,
            found,
            count,
            before,
            sums,
        )
        kernels.spread(x, before, places, peaks is not x, found[2], sums[2], sums[3], x)
        convolution = _convolve_backward(torch.from_numpy(x), images, kernel, ctx.needs_input_grad[0])
        return *convolution, torch.from_numpy(sums[0]), torch.from_numpy(sums[1]), None, None, None


_NO_PLACES = np.empty((0, 0, 0, 0), np.int8)


def _array(values: Tensor) -> np.ndarray:
    return values.detach().contiguous().numpy()


def _images(values: np.ndarray) -> Tensor:
    """[B, H, W, C] as torch's [B, C, H, W], channels last in memory."""
    return torch.from_numpy(values).permute(0, 3, 1, 2)


def _pixels_at_once(kernel: Tensor) -> int:
    """How many neighbouring pixels of the result the first layer computes as channels of one, to fill a register."""
    outputs, inputs = kernel.shape[:2]
    return max(1, min(4, _LANES // outputs)) if inputs < 4 else 1


def _convolve(images: Tensor, kernel: Tensor, bias: Tensor) -> np.ndarray:
    """The convolution that keeps height and width: [B, H, W, C]."""
    margin, pixels = kernel.shape[2] // 2, _pixels_at_once(kernel)
    if pixels > 1:
        bias = bias.expand(pixels, -1).reshape(-1)
    x = torch.conv2d(images, _side_by_side(kernel, pixels), bias, (1, pixels), margin)
    b, c, h, w = x.shape
    return _array(x.permute(0, 2, 3, 1)).reshape(b, h, w * pixels, c // pixels)


def _convolve_backward(
    gradient: Tensor, images: Tensor, kernel: Tensor, needs_images: bool
) -> tuple[Tensor | None, Tensor, Tensor]:
    """The gradients of images, kernel and bias, from that of the result [B, H, W, C]."""
    (outputs, inputs, size, _), pixels = kernel.shape, _pixels_at_once(kernel)
    b, h, w, _ = gradient.shape
    of_images, of_kernel, of_bias = _aten.convolution_backward(
        gradient.view(b, h, w // pixels, pixels * outputs).permute(0, 3, 1, 2),
        images,
        _side_by_side(kernel, pixels),
        [pixels * outputs],
        *([1, pixels], [size // 2] * 2, [1, 1], False, [0, 0], 1),
        [needs_images, True, True],
    )
    if pixels > 1:
        of_kernel = of_kernel.view(pixels, outputs, inputs, size, size + pixels - 1)
        of_kernel = torch.stack([of_kernel[i, ..., i : i + size] for i in range(pixels)]).sum(0)
        of_bias = of_bias.view(pixels, outputs).sum(0)
    return of_images, of_kernel, of_bias


def _side_by_side(kernel: Tensor, pixels: int) -> Tensor:
    """Copies of a kernel [o, i, k, k], each moved on by a pixel: [pixels · o, i, k, k + pixels - 1]."""
    if pixels == 1:
        return kernel
    outputs, inputs, height, width = kernel.shape
    moved = kernel.new_zeros(pixels, outputs, inputs, height, width + pixels - 1)
    for i in range(pixels):
        moved[i, ..., i : i + width] = kernel
    return moved.view(pixels * outputs, inputs, height, width + pixels - 1)
