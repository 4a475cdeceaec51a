"""The random streams of a run, each keyed by (purpose, seed, run) and by nothing else."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch

from weightprint.images.augment import COLOR_NUMBERS, WARP_NUMBERS, Colors, colors_of, source_maps, warps_of
from weightprint.seeds import seed_from_hash
from weightprint.training.fast.mersenne import Mersenne


class Streams:
    """What a run draws from.

    initialization:        of the weights, always on the CPU
    order:                 of the images
    dropout, augmentation: on the device; the kernels draw the same by `draw_units` and `draw_changes` instead
    """

    def __init__(self, seed: int, run: int, device: str) -> None:
        self._key = seed, run
        self.initialization = _generator("initialization", seed, run, "cpu")
        self.order = np.random.Generator(np.random.PCG64(seed_from_hash("order", seed, run)))
        self.dropout = _generator("dropout", seed, run, device)
        self.augmentation = _generator("augmentation", seed, run, device)

    def draw_units(self, count: int) -> np.ndarray:
        """For dropout: float32 [count], uniform in [0, 1), as `weightprint.training.networks.draw_units` has them."""
        return self._compiled_dropout.units(np.empty(count, np.float32))

    def draw_changes(self, count: int, noise: np.ndarray) -> tuple[np.ndarray, Colors]:
        """What `weightprint.images.augment.augment` draws for so many images, in the same order.

        noise: float32, where the noise is written, [H, C, W, B] flat
        Returns maps [B, 3, 2] of `source_maps`, and one change of colours.
        """
        stream = self._compiled_augmentation
        units = stream.units(np.empty(count * WARP_NUMBERS, np.float32)).reshape(count, WARP_NUMBERS)
        maps = source_maps(warps_of(torch.from_numpy(units)))
        colors = colors_of(stream.units(np.empty(COLOR_NUMBERS, np.float32)).tolist())
        stream.normals(noise)
        return maps.numpy(), colors

    @cached_property
    def _compiled_dropout(self) -> Mersenne:
        return Mersenne(seed_from_hash("dropout", *self._key))

    @cached_property
    def _compiled_augmentation(self) -> Mersenne:
        return Mersenne(seed_from_hash("augmentation", *self._key))


def _generator(purpose: str, seed: int, run: int, device: str) -> torch.Generator:
    return torch.Generator(device).manual_seed(seed_from_hash(purpose, seed, run))
