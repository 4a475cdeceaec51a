"""The random streams of a run, each keyed by (purpose, seed, run) and by nothing else."""

from __future__ import annotations

import numpy as np
import torch

from weightprint.images.augment import Colors, draw_colors, draw_warps, source_maps
from weightprint.seeds import seed_from_hash


class Streams:
    """What a run draws from.

    initialization:        of the weights, always on the CPU
    order:                 of the images
    dropout, augmentation: on the device
    """

    def __init__(self, seed: int, run: int, device: str) -> None:
        self.initialization = _generator("initialization", seed, run, "cpu")
        self.order = np.random.Generator(np.random.PCG64(seed_from_hash("order", seed, run)))
        self.dropout = _generator("dropout", seed, run, device)
        self.augmentation = _generator("augmentation", seed, run, device)

    def draw_units(self, count: int) -> np.ndarray:
        """For dropout: float32 [count], uniform in [0, 1), as `weightprint.training.networks.draw_units` has them."""
        return torch.rand(count, generator=self.dropout).numpy()

    def draw_changes(self, count: int, noise: np.ndarray) -> tuple[np.ndarray, Colors]:
        """What `weightprint.images.augment.augment` draws for so many images, in the same order.

        noise: float32, where the noise is written, [H, C, W, B] flat
        Returns maps [B, 3, 2] of `source_maps`, and one change of colours.
        """
        maps = source_maps(draw_warps(count, generator=self.augmentation))
        colors = draw_colors(generator=self.augmentation)
        torch.from_numpy(noise).normal_(generator=self.augmentation)
        return maps.numpy(), colors


def _generator(purpose: str, seed: int, run: int, device: str) -> torch.Generator:
    return torch.Generator(device).manual_seed(seed_from_hash(purpose, seed, run))
