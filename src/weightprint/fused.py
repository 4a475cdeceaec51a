"""Batch normalisation, 2×2 max pooling and activation of a convolution layer as one step, for training on the CPU.

Pooling comes before the affine map and the activation: both are monotone in each channel, so the values are the same,
and three quarters of the work fall away, in the gradient too. Sums run over rows of many channels side by side, which
fill vector registers where a layer has few channels. Equality with the plain layers is a test.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

_aten = torch.ops.aten

FOLD = 16
"""Pixels side by side in one row of sums; divides the pixels of every layer (8×8 at least)."""

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


def norm_pool_activate(x: Tensor, norm: torch.nn.BatchNorm2d, activation: str, *, pool: bool) -> Tensor:
    """activation(max_pool2d(norm(x), 2)) in training mode; without the pool when `pool` is false.

    x: [B, C, H, W], H · W a multiple of 16. Moves the running statistics of `norm` as torch's own layer does.
    """
    return _NormPoolActivate.apply(x, norm.weight, norm.bias, norm, activation, pool)


class _NormPoolActivate(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, gamma: Tensor, beta: Tensor, norm: torch.nn.BatchNorm2d, activation: str, pool: bool
    ) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        count = x.numel() // x.shape[1]
        rows = _rows(x)
        mean = _sum(rows).div_(count)
        variance = _sum((rows - _wide(mean)).square_()).div_(count)
        _move(norm, mean, variance * (count / (count - 1)))
        inverse = (variance + norm.eps).rsqrt_()
        scale = gamma * inverse
        shift = beta - mean * scale
        peaks, indices = _pool(x, gamma) if pool else (x, None)
        out = torch.addcmul(_wide(shift), _rows(peaks), _wide(scale))
        out = _FORWARD[activation](_images(out, peaks.shape))
        ctx.save_for_backward(x, peaks, indices, out, mean, inverse, scale)
        ctx.activation = activation
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        x, peaks, indices, out, mean, inverse, scale = ctx.saved_tensors
        count = x.numel() // x.shape[1]
        gradient = _BACKWARD[ctx.activation](gradient.contiguous(memory_format=torch.channels_last), out)
        if indices is None:
            spread = gradient.clone()
        else:
            spread = _aten.max_pool2d_with_indices_backward(gradient, x, [2, 2], [2, 2], [0, 0], [1, 1], False, indices)
        beta_gradient = _sum(_rows(gradient))
        gamma_gradient = _sum((_rows(peaks) - _wide(mean)).mul_(_rows(gradient))).mul_(inverse)
        # scale · (spread − mean(spread) − normalised · mean(spread · normalised)), collected by powers of x
        slope = -scale * inverse * gamma_gradient / count
        offset = -scale * beta_gradient / count - slope * mean
        x_gradient = _rows(spread).mul_(_wide(scale)).addcmul_(_rows(x), _wide(slope))
        x_gradient = _images(x_gradient.add_(_wide(offset)), x.shape)
        return x_gradient, gamma_gradient, beta_gradient, None, None, None


def _rows(x: Tensor) -> Tensor:
    """Values [B, C, H, W], channels last in memory, as rows of FOLD pixels: [B · H · W / FOLD, FOLD · C]."""
    return x.permute(0, 2, 3, 1).reshape(-1, FOLD * x.shape[1])


def _wide(values: Tensor) -> Tensor:
    """Values per channel [C] as a row that fits `_rows`: [FOLD · C]."""
    return values.expand(FOLD, -1).reshape(-1)


def _sum(rows: Tensor) -> Tensor:
    """Sum over all pixels: [C]."""
    return rows.sum(0).view(FOLD, -1).sum(0)


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
