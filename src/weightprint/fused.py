"""A convolution layer with batch normalisation, 2×2 max pooling and activation as one step, for training on the CPU.

Pooling comes before the affine map and the activation: both are monotone in each channel, so the values are the same,
and three quarters of the work fall away, in the gradient too. Where a layer has few channels, sums run over rows of
many pixels side by side, and the first layer computes several pixels as channels of one: both fill vector registers.
Equality with the plain layers is a test.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

_aten = torch.ops.aten

_FOLDED_PIXELS = 16
"""Pixels side by side in one row of sums where channels are few; divides the pixels of every layer (8×8 at least)."""

_LANES = 16
"""Channels that fill a vector register of 512 bits."""

_FORWARD: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu_,
    "elu": torch.nn.functional.elu_,
    "sigmoid": torch.sigmoid_,
    "tanh": torch.tanh_,
}
_BACKWARD: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "relu": lambda gradient, out: _aten.threshold_backward(gradient, out, 0),
    "elu": lambda gradient, out: _aten.elu_backward(gradient, 1, 1, 1, True, out),
    "sigmoid": lambda gradient, out: _aten.sigmoid_backward(gradient, out),
    "tanh": lambda gradient, out: _aten.tanh_backward(gradient, out),
}


def conv_norm_pool_activate(
    images: Tensor, conv: torch.nn.Conv2d, norm: torch.nn.BatchNorm2d, activation: str, *, pool: bool
) -> Tensor:
    """activation(max_pool2d(norm(conv(images)), 2)) in training mode; without the pool when `pool` is false.

    images: [B, C, H, W], H · W a multiple of 16; the convolution keeps H and W. Moves the running statistics of `norm`
    as torch's own layer does.
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
        x = _convolve(images, kernel, bias)
        rows = _rows(x)
        count = x.numel() // x.shape[1]
        mean = _sum(rows, like=gamma).div_(count)
        variance = _sum((rows - _wide(mean)).square_(), like=gamma).div_(count)
        _move(norm, mean, variance * (count / (count - 1)))
        inverse = (variance + norm.eps).rsqrt_()
        scale = gamma * inverse
        shift = beta - mean * scale
        peaks, indices = _pool(x, gamma) if pool else (x, None)
        out = torch.addcmul(_wide(shift), _rows(peaks), _wide(scale))
        out = _FORWARD[activation](_images(out, peaks.shape))
        ctx.save_for_backward(images, kernel, x, peaks, indices, out, mean, inverse, scale)
        ctx.activation = activation
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        images, kernel, x, peaks, indices, out, mean, inverse, scale = ctx.saved_tensors
        count = x.numel() // x.shape[1]
        gradient = _BACKWARD[ctx.activation](gradient.contiguous(memory_format=torch.channels_last), out)
        spread = _images(_rows(gradient) * _wide(scale), gradient.shape)
        if indices is not None:
            spread = _aten.max_pool2d_with_indices_backward(spread, x, [2, 2], [2, 2], [0, 0], [1, 1], False, indices)
        beta_gradient = _sum(_rows(gradient), like=mean)
        gamma_gradient = _sum((_rows(peaks) - _wide(mean)).mul_(_rows(gradient)), like=mean).mul_(inverse)
        # spread − scale · (mean(gradient) + normalised · mean(gradient · normalised)), collected by powers of x
        slope = scale * inverse * gamma_gradient / -count
        offset = scale * beta_gradient / -count - slope * mean
        x_gradient = _rows(spread).addcmul_(_rows(x), _wide(slope)).add_(_wide(offset))
        convolution = _convolve_backward(_images(x_gradient, x.shape), images, kernel, ctx.needs_input_grad[0])
        return *convolution, gamma_gradient, beta_gradient, None, None, None


def _pixels_at_once(kernel: Tensor) -> int:
    """How many neighbouring pixels of the result the first layer computes as channels of one, to fill a register."""
    outputs, inputs = kernel.shape[:2]
    return max(1, min(4, _LANES // outputs)) if inputs < 4 else 1


def _convolve(images: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
    """The convolution that keeps height and width: [B, C, H, W], channels last in memory."""
    margin, pixels = kernel.shape[2] // 2, _pixels_at_once(kernel)
    if pixels > 1:
        bias = bias.expand(pixels, -1).reshape(-1)
    x = torch.conv2d(images, _side_by_side(kernel, pixels), bias, (1, pixels), margin)
    b, c, h, w = x.shape
    rows = x.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1)
    return rows.reshape(b, h, w * pixels, c // pixels).permute(0, 3, 1, 2)


def _convolve_backward(
    gradient: Tensor, images: Tensor, kernel: Tensor, needs_images: bool
) -> tuple[Tensor | None, Tensor, Tensor]:
    """The gradients of images, kernel and bias."""
    (outputs, inputs, size, _), pixels = kernel.shape, _pixels_at_once(kernel)
    b, _, h, w = gradient.shape
    wide = gradient.permute(0, 2, 3, 1).reshape(b, h, w // pixels, pixels * outputs).permute(0, 3, 1, 2)
    of_images, of_kernel, of_bias = _aten.convolution_backward(
        wide,
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


def _folded_pixels(channels: int) -> int:
    return _FOLDED_PIXELS if channels < _LANES else 1


def _rows(x: Tensor) -> Tensor:
    """Values [B, C, H, W], channels last in memory, as rows of one pixel, or of several where channels are few."""
    return x.permute(0, 2, 3, 1).reshape(-1, _folded_pixels(x.shape[1]) * x.shape[1])


def _wide(values: Tensor) -> Tensor:
    """Values per channel [C] as a row that fits `_rows`."""
    pixels = _folded_pixels(len(values))
    return values if pixels == 1 else values.expand(pixels, -1).reshape(-1)


def _sum(rows: Tensor, *, like: Tensor) -> Tensor:
    """Sum over all pixels, per channel as `like` [C]."""
    return rows.sum(0) if rows.shape[1] == len(like) else rows.sum(0).view(-1, len(like)).sum(0)


def _images(rows: Tensor, shape: torch.Size) -> Tensor:
    """The inverse of `_rows`."""
    b, c, h, w = shape
    return rows.view(b, h, w, c).permute(0, 3, 1, 2)


def _pool(x: Tensor, gamma: Tensor) -> tuple[Tensor, Tensor]:
    """The values of each 2×2 window that are largest after a multiplication by gamma, and their places."""
    if bool((gamma >= 0).all()):
        return _aten.max_pool2d_with_indices(x, [2, 2])
    sign = torch.where(gamma < 0, -1.0, 1.0).to(x.dtype)[:, None, None]
    peaks, indices = _aten.max_pool2d_with_indices(x * sign, [2, 2])
    return peaks.mul_(sign), indices


def _move(norm: torch.nn.BatchNorm2d, mean: Tensor, variance: Tensor) -> None:
    assert norm.running_mean is not None  # the layers are built with running statistics
    assert norm.running_var is not None
    assert norm.momentum is not None
    norm.running_mean.lerp_(mean, norm.momentum)
    norm.running_var.lerp_(variance, norm.momentum)
