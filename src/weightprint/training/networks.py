"""From a set-up to a torch module, and between modules and weight vectors."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weightprint.setups import IMAGE_CHANNELS, IMAGE_SIDE, Setup
from weightprint.training.architecture import (
    BATCH_NORM_EPSILON,
    BATCH_NORM_MOMENTUM,
    BLOCKS,
    conv_channels,
    hidden_units,
    layers_per_block,
    tensor_entries,
)
from weightprint.training.vectors import filled

GAMMA_DEVIATION = 0.002
"""Standard deviation of gamma at the start (the reference's). With constant kernels this noise alone tells the filters
of a layer apart; without it they stay equal for ever."""

TRUNCATED_SIGMA = 0.87962566103423978
"""Standard deviation of a standard normal truncated at ±2 (Keras, VarianceScaling)."""

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "elu": F.elu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
}


class Network(nn.Module):
    """The classifier of a set-up (paper section 3; protocol section 1).

    Three blocks of convolutions, each ending in a 2×2 max pool, then hidden fully connected layers that are
    normalised after their activation, then a linear output. Images are [B, 3, 32, 32] float32 in [0, 1]; the
    result is [B, outputs]. Weights are uninitialised until `initialize` or `load_vector`.
    """

    def __init__(self, setup: Setup) -> None:
        super().__init__()
        self.setup = setup
        channels, units = conv_channels(setup), hidden_units(setup)
        conv_inputs = (IMAGE_CHANNELS, *channels[:-1])
        flat = channels[-1] * (IMAGE_SIDE >> BLOCKS) ** 2
        fc_inputs = (flat, *units[:-1])
        size, same = setup.filter_size, setup.filter_size // 2
        self.conv = nn.ModuleList(
            nn.utils.skip_init(nn.Conv2d, i, o, size, padding=same) for i, o in zip(conv_inputs, channels, strict=True)
        )
        self.fc = nn.ModuleList(nn.utils.skip_init(nn.Linear, i, o) for i, o in zip(fc_inputs, units, strict=True))
        self.output = nn.utils.skip_init(nn.Linear, units[-1], setup.outputs)
        self.conv_norm = nn.ModuleList(_batch_norm(nn.BatchNorm2d, width, setup) for width in channels)
        self.fc_norm = nn.ModuleList(_batch_norm(nn.BatchNorm1d, width, setup) for width in units)
        self._ends_block = [i + 1 == n for n in layers_per_block(setup.depth_conv) for i in range(n)]
        self._activation = ACTIVATIONS[setup.activation]

    @property
    def entries(self) -> list[dict[str, Any]]:
        """Of its layout, as docs/format.md writes it."""
        return tensor_entries(self.setup)

    def forward(
        self,
        images: Tensor,
        *,
        generator: torch.Generator | None = None,
        masks: Sequence[Tensor] | None = None,
        activation: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Class scores [B, outputs] of images [B, 3, 32, 32].

        generator:  what dropout draws from in training mode
        masks:      of dropout, where they are drawn already
        activation: in place of the set-up's
        """
        if masks is None:
            masks = dropout_masks(self.setup, images, generator=generator) if self.training else ()
        activate, x = activation or self._activation, images
        for conv, norm, pool in zip(self.conv, self.conv_norm, self._ends_block, strict=True):
            x = norm(conv(x))  # [B, C, H, W]
            if pool:  # before the activation, which is monotone: the same values for a quarter of the work
                x = F.max_pool2d(x, 2)
            x = activate(x)
        x = x.permute(0, 2, 3, 1).flatten(1)  # height, width, channel
        for i, (fc, norm) in enumerate(zip(self.fc, self.fc_norm, strict=True)):
            x = norm(activate(fc(x)))
            x = x * masks[i] if masks else x
        return self.output(x)


def dropout_masks(setup: Setup, images: Tensor, *, generator: torch.Generator | None) -> list[Tensor]:
    """What each hidden layer is multiplied by, [B, units]: 0 or 1 / share kept; an empty list without dropout.

    images: the batch [B, …], for its size, type and device
    """
    if setup.dropout == 0.0:
        return []
    keep = 1.0 - setup.dropout
    shapes = (torch.Size((len(images), units)) for units in hidden_units(setup))
    drawn = (draw_units(shape, generator=generator, device=images.device) for shape in shapes)
    return [units.lt_(keep).to(images.dtype).div_(keep) for units in drawn]


def draw_units(shape: torch.Size, *, generator: torch.Generator | None, device: torch.device | str = "cpu") -> Tensor:
    """Random numbers [B, units], uniform in [0, 1); drawn unit by unit, as the compiled kernels have them in memory."""
    images, units = shape
    return torch.rand(units, images, generator=generator, device=device).t()


def _batch_norm(cls: type[nn.Module], width: int, setup: Setup) -> nn.Module:
    if not setup.batch_norm:
        return nn.Identity()
    return nn.utils.skip_init(cls, width, eps=BATCH_NORM_EPSILON, momentum=BATCH_NORM_MOMENTUM)


def initialize(network: Network, *, generator: torch.Generator) -> None:
    """Fill a network as its set-up's `initialization` says; biases 0, beta 0, moving statistics 0 and 1.

    constant 0.1; random_normal N(0, 1); glorot_uniform ±√(6 / (fan_in + fan_out)); glorot_normal of variance
    2 / (fan_in + fan_out) and he_normal of variance 2 / fan_in, both truncated at two σ (Keras); torch_default
    ±1/√fan_in for kernels and biases (torch 2's Linear and Conv2d). Gamma is N(1, GAMMA_DEVIATION), drawn last: the
    kernels are the same with and without batch norm.
    """
    scheme = network.setup.initialization
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "norm" not in name and name.endswith("bias"):
                parameter.zero_()
        for layer in (*network.conv, *network.fc, network.output):
            fill_kernel(layer.weight, scheme, generator)
            if scheme == "torch_default":
                bound = 1 / math.sqrt(fans(layer.weight)[0])
                layer.bias.uniform_(-bound, bound, generator=generator)
        for norm in (*network.conv_norm, *network.fc_norm):
            if isinstance(norm, nn.modules.batchnorm._BatchNorm):
                norm.reset_parameters()
                norm.weight.normal_(1.0, GAMMA_DEVIATION, generator=generator)


def fans(kernel: Tensor) -> tuple[int, int]:
    """(fan_in, fan_out) of a kernel [o, i] or [o, i, h, w]: connections per output and per input unit."""
    window = math.prod(kernel.shape[2:])
    return kernel.shape[1] * window, kernel.shape[0] * window


def fill_kernel(kernel: Tensor, scheme: str, generator: torch.Generator) -> None:
    """Draw a kernel's weights by a scheme of `Setup.initialization`; call it under `torch.no_grad`."""
    fan_in, fan_out = fans(kernel)
    if scheme == "constant":
        kernel.fill_(0.1)
    elif scheme == "random_normal":
        kernel.normal_(generator=generator)
    elif scheme == "glorot_uniform":
        bound = math.sqrt(6 / (fan_in + fan_out))
        kernel.uniform_(-bound, bound, generator=generator)
    elif scheme in ("glorot_normal", "he_normal"):
        variance = 2 / (fan_in + fan_out) if scheme == "glorot_normal" else 2 / fan_in
        sigma = math.sqrt(variance) / TRUNCATED_SIGMA
        nn.init.trunc_normal_(kernel, std=sigma, a=-2 * sigma, b=2 * sigma, generator=generator)
    else:
        bound = 1 / math.sqrt(fan_in)
        kernel.uniform_(-bound, bound, generator=generator)


def from_vector(setup: Setup, vector: Tensor | np.ndarray) -> Network:
    """A network with the weights of a vector [P], in eval mode."""
    return filled(Network(setup), vector)
