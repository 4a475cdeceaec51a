"""The networks of the DMC (protocol: section 4): one for slices up to 40,000 weights, one for longer ones."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weightprint.training.networks import fill_kernel

KERNEL = 5
BLOCKS = ((8,), (16,), (32, 64), (128, 256))
"""Channels of the first convolutions; a max pool of 2 stands between two blocks."""
DEEP_LAYERS, DEEP_CHANNELS = 6, 256
LONGEST_DEEP = 50
"""Each of the six deep convolutions that follow is preceded by a pool while the length is above this; a pool ends
them."""
LONGEST = 40_000
"""Slices above this have the large network."""
LARGE_BLOCKS = ((8,), (16,), (32,), (64,), *((128,),) * 5, (128, 256), (256, 256), (256, 256))
"""Channels of the large network; a pool ends each block: fifteen convolutions, twelve pools."""
SHORTEST = 16
"""At least four pools halve the length: a shorter slice would leave nothing."""
UNITS = (1024, 1024, 1024, 1024, 64)
LEAST_SPREAD = 1e-12
"""Slices of one value have no standard scores: theirs are 0."""


class DeepMetaClassifier(nn.Module):
    """The network: slices [B, L] → class scores or values [B, C]; 10.4 million weights at L = 5000.

    Slices are images of height 1 with the channels last: the same sums as those of 1-D convolutions, for which torch
    has slower kernels on the processor.

    generator: of the initial weights and of dropout; the global random state is not touched
    squashed:  read asinh of each slice's own standard scores, which say nothing of its scale, instead of its weights
    """

    def __init__(
        self, length: int, outputs: int, *, dropout: float, generator: torch.Generator, squashed: bool = False
    ) -> None:
        super().__init__()
        self.squashed = squashed
        with torch.device("meta"):  # no initial weights but those drawn below
            self.features, self.head = nn.Sequential(), nn.Sequential()
            inputs = 1
            for channels, pooled in layers(length):
                convolution = nn.Conv2d(inputs, channels, (1, KERNEL), padding=(0, KERNEL // 2))
                self.features.extend([convolution, nn.ReLU(inplace=True), nn.BatchNorm2d(channels)])
                self.features.extend(nn.MaxPool2d((1, 2)) for _ in range(pooled))
                inputs = channels
                length >>= pooled
            inputs *= length
            for units in UNITS:
                dropped = Dropout(dropout, generator)
                self.head.extend([nn.Linear(inputs, units), nn.ReLU(), nn.BatchNorm1d(units), dropped])
                inputs = units
            self.head.append(nn.Linear(inputs, outputs))
        self.to_empty(device=generator.device)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                with torch.no_grad():
                    fill_kernel(module.weight, "glorot_normal", generator)
                    module.bias.zero_()  # type: ignore[union-attr]
            elif isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
                module.reset_parameters()
        for parameter in self.features.parameters():
            if parameter.dim() == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        if self.squashed:
            x = torch.asinh((x - x.mean(1, keepdim=True)) / x.std(1, keepdim=True).clamp_min(LEAST_SPREAD))
        x = x[:, None, None].contiguous(memory_format=torch.channels_last)  # [B, 1, 1, L]
        x = self.features(x)  # [B, 256, 1, L']
        return self.head(x.flatten(1))  # [B, C]


def layers(length: int) -> list[tuple[int, int]]:
    """The convolutions for slices of `length` weights: of each its channels and the max pools that follow it."""
    blocks = BLOCKS if length <= LONGEST else LARGE_BLOCKS
    convolutions = [(channels, int(i == len(block) - 1)) for block in blocks for i, channels in enumerate(block)]
    if length > LONGEST:
        return convolutions
    length >>= len(BLOCKS) - 1
    pools = []  # before each deep convolution
    for _ in range(DEEP_LAYERS):
        pools.append(int(length > LONGEST_DEEP))
        length >>= pools[-1]
    convolutions[-1] = BLOCKS[-1][-1], pools[0]
    return [*convolutions, *((DEEP_CHANNELS, pooled) for pooled in (*pools[1:], 1))]


class Dropout(nn.Module):
    """Inverted dropout with a random stream of its own."""

    def __init__(self, share: float, generator: torch.Generator) -> None:
        super().__init__()
        self.share, self.generator = share, generator

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.share:
            return x
        kept = torch.rand(x.shape, generator=self.generator, device=x.device) >= self.share
        return x * kept / (1 - self.share)


def batch_norms(network: nn.Module) -> list[nn.BatchNorm1d | nn.BatchNorm2d]:
    """Its batch norms."""
    return [module for module in network.modules() if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d))]


def loss_of(predicted: Tensor, truth: Tensor, classes: int) -> Tensor:
    """Of scores [B, C]: the cross-entropy; without classes the mean distance from the values."""
    return F.cross_entropy(predicted, truth) if classes else F.l1_loss(predicted[:, 0], truth)
