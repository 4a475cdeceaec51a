"""From an everyday set-up to a torch module, and between modules and weight vectors."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weightprint.setups.everyday import EverydaySetup
from weightprint.setups.everyday.layers import Layer, is_pooled, layers
from weightprint.training.architecture import BATCH_NORM_EPSILON, BATCH_NORM_MOMENTUM
from weightprint.training.everyday.entries import everyday_entries
from weightprint.training.networks import TRUNCATED_SIGMA, fans
from weightprint.training.vectors import filled

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
    "gelu": F.gelu,
    "silu": F.silu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
}
"""As torch has them: a slope of 0.01 for leaky_relu, gelu by the error function."""

POOLS: dict[str, Callable[..., Tensor]] = {"max": F.max_pool2d, "average": F.avg_pool2d}


class EverydayNetwork(nn.Module):
    """The classifier of an everyday set-up; scores [B, 10] of inputs [B, C, H, W], see `inputs`.

    Every layer but the output is followed by its normalisation, if any, and the activation; stages end in a pool.
    Weights are uninitialised until `initialize` or `load_vector`.
    """

    def __init__(self, setup: EverydaySetup) -> None:
        super().__init__()
        self.setup = setup
        found = layers(setup)
        convolutions = [layer for layer in found if layer.part == "conv"]
        hidden = [layer for layer in found if layer.part == "fc" and layer.name != "output"]
        self.conv = nn.ModuleList(_convolution(layer) for layer in convolutions)
        self.conv_norm = nn.ModuleList(_norm(layer, setup.norm) for layer in convolutions)
        self.fc = nn.ModuleList(_linear(layer) for layer in hidden)
        self.fc_norm = nn.ModuleList(_norm(layer, setup.norm) for layer in hidden)
        self.output = _linear(found[-1])
        self._activation = ACTIVATIONS[setup.activation]
        self._pool = POOLS[setup.pooling]
        mean, deviation = setup.input_scale()
        self._mean = torch.tensor(mean).view(-1, 1, 1)
        self._deviation = torch.tensor(deviation).view(-1, 1, 1)

    def inputs(self, images: Tensor) -> Tensor:
        """Bytes [B, H, W, C], or pixels [B, C, H, W] in [0, 1], as the network reads them: [B, C, H, W], scaled."""
        if images.dtype == torch.uint8:
            images = images.to(torch.float32).div_(255).permute(0, 3, 1, 2)
        if self.setup.scaling == "unit":
            return images
        return (images - self._mean.to(images.device)) / self._deviation.to(images.device)

    @property
    def entries(self) -> list[dict[str, Any]]:
        """Of its layout, as docs/format.md writes it."""
        return everyday_entries(self.setup)

    def forward(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """Class scores; dropout draws from `generator` in training mode."""
        x = self._averages(x, generator) if self.setup.architecture == "residual" else self._vector(x, generator)
        for fc, norm in zip(self.fc, self.fc_norm, strict=True):
            x = self._dropout(self._activation(norm(fc(x))), self.setup.dropout, generator)
        return self.output(x)

    def _vector(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        """Stages of convolutions, each ending in a pool, then the map as a vector."""
        layers = zip(self.conv, self.conv_norm, strict=True)
        for stage in self.setup.stages:
            for _ in stage:
                conv, norm = next(layers)
                x = self._activation(norm(conv(x)))  # [B, C, H, W]
            if is_pooled(x.shape[-1]):
                x = self._dropout(self._pool(x, 2), self.setup.dropout_conv, generator)
        if self.setup.flatten == "hwc":
            x = x.permute(0, 2, 3, 1)
        return x.flatten(1)

    def _averages(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        """A convolution, residual blocks, and the mean of each channel."""
        layers = zip(self.conv, self.conv_norm, strict=True)

        def following(x: Tensor) -> Tensor:
            conv, norm = next(layers)
            return norm(conv(x))

        x = self._activation(following(x))
        for number, stage in enumerate(self.setup.stages):
            for block, width in enumerate(stage):
                changed = following(self._activation(following(x)))
                if number and not block:
                    x = x[:, :, ::2, ::2]  # in place of the shortcut's stride; see `_convolution`
                if x.shape[1] != width or (number and not block):
                    x = following(x)
                x = self._activation(changed + x)
        return self._dropout(x.mean((2, 3)), self.setup.dropout, generator)

    def _dropout(self, x: Tensor, share: float, generator: torch.Generator | None) -> Tensor:
        if not self.training or share == 0.0:
            return x
        keep = 1.0 - share
        return x * torch.rand(x.shape, generator=generator, device=x.device).lt_(keep).div_(keep)


def _convolution(layer: Layer) -> nn.Module:
    """Differs: a 1 × 1 window has stride 1 and reads a map of which every second row and column was taken, which is the
    same. With stride 2, images in channels-last order and channels that are no multiple of 8, oneDNN (torch 2.13)
    writes beyond its memory."""
    outputs, inputs, window, _ = layer.shape
    stride = layer.stride if window > 1 else 1
    return nn.utils.skip_init(nn.Conv2d, inputs, outputs, window, stride=stride, padding=layer.padding, bias=layer.bias)


def _linear(layer: Layer) -> nn.Module:
    outputs, inputs = layer.shape
    return nn.utils.skip_init(nn.Linear, inputs, outputs, bias=layer.bias)


def _norm(layer: Layer, kind: str) -> nn.Module:
    """Batch normalisation, or layer normalisation: over a whole map, with a gamma and a beta for each channel."""
    width = layer.shape[0]
    if kind == "batch":
        cls = nn.BatchNorm2d if layer.part == "conv" else nn.BatchNorm1d
        return nn.utils.skip_init(cls, width, eps=BATCH_NORM_EPSILON, momentum=BATCH_NORM_MOMENTUM)
    if kind == "layer":
        if layer.part == "conv":
            return nn.utils.skip_init(nn.GroupNorm, 1, width)
        return nn.utils.skip_init(nn.LayerNorm, width)
    return nn.Identity()


def initialize(network: EverydayNetwork, *, generator: torch.Generator) -> None:
    """Fill a network as its set-up says; gamma 1, beta 0, moving statistics 0 and 1.

    Kernels: torch_default ±1/√fan_in; glorot_uniform ±√(6 / (fan_in + fan_out)); he_uniform ±√(6 / fan_in); normal
    ones of variance 2 / (fan_in + fan_out) and 2 / fan_in, truncated at two σ where the set-up says so; orthogonal:
    orthonormal rows or columns (Saxe et al. 2014). Biases: zero or ±1/√fan_in.
    """
    setup = network.setup
    with torch.no_grad():
        for layer in (*network.conv, *network.fc, network.output):
            _fill(layer.weight, setup, generator)
            if layer.bias is not None:
                layer.bias.zero_()
                if setup.bias_initialization == "torch_default":
                    bound = 1 / math.sqrt(fans(layer.weight)[0])
                    layer.bias.uniform_(-bound, bound, generator=generator)
        for norm in (*network.conv_norm, *network.fc_norm):
            if not isinstance(norm, nn.Identity):
                norm.reset_parameters()


def _fill(kernel: Tensor, setup: EverydaySetup, generator: torch.Generator) -> None:
    fan_in, fan_out = fans(kernel)
    scheme = setup.initialization
    if scheme == "orthogonal":
        nn.init.orthogonal_(kernel, generator=generator)
    elif scheme in ("glorot_normal", "he_normal"):
        sigma = math.sqrt(2 / (fan_in + fan_out) if scheme == "glorot_normal" else 2 / fan_in)
        if setup.truncated:
            sigma /= TRUNCATED_SIGMA
            nn.init.trunc_normal_(kernel, std=sigma, a=-2 * sigma, b=2 * sigma, generator=generator)
        else:
            kernel.normal_(0, sigma, generator=generator)
    else:
        bounds = {"torch_default": 1 / fan_in, "glorot_uniform": 6 / (fan_in + fan_out), "he_uniform": 6 / fan_in}
        bound = math.sqrt(bounds[scheme])
        kernel.uniform_(-bound, bound, generator=generator)


def from_vector(setup: EverydaySetup, vector: Tensor | np.ndarray) -> EverydayNetwork:
    """A network with the weights of a vector [P], in eval mode."""
    return filled(EverydayNetwork(setup), vector)
