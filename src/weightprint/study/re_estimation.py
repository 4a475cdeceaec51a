"""Batch norm's moving statistics measured anew on images, as is done after weights were averaged or quantized."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from weightprint.files import sha256_hex
from weightprint.images import load
from weightprint.setups import Setup
from weightprint.zoo import Run

BATCH_SIZE = 250
MOST_IMAGES = 2500
VERSION = 1
"""Raised whenever the same run and images give other weights."""


def re_estimate_batch_norm(
    weights: npt.NDArray[np.float32], setup: Setup, images: npt.NDArray[np.uint8]
) -> npt.NDArray[np.float32]:
    """The weights [T, P] float32 with moving means and variances that are plain means over batches of the images.

    images: uint8 [N, 32, 32, 3], in batches of BATCH_SIZE that are each normalised by their own statistics; no dropout
    """
    import torch

    from weightprint.training.networks import from_vector
    from weightprint.training.vectors import to_vector

    values = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    edited = np.empty_like(weights)
    for row, vector in zip(edited, weights, strict=True):
        network = from_vector(setup, vector)
        for norm in (*network.conv_norm, *network.fc_norm):
            norm.reset_running_stats()
            norm.momentum = None  # a plain mean
        network.train()
        with torch.inference_mode():
            for batch in values.split(BATCH_SIZE):
                network(batch, masks=())
        row[:] = to_vector(network).numpy()
    return edited


def suits(run: Run) -> bool:
    """Whether it is a network of the spaces main, fixed, wild or demo with batch norm."""
    return isinstance(run.setup, Setup) and run.setup.batch_norm


class ReEstimatedRun(Run):
    """The last snapshot of a run with batch norm's statistics measured on images of its data set; otherwise the run.

    run:  one that `suits`
    data: folder of .npz files, as for `sample`; the first MOST_IMAGES training images are used
    """

    def __init__(self, run: Run, data: str) -> None:
        vars(self).update(vars(run), kin=run.kin)
        self._run, self._data = run, data
        self.checksum = run.checksum and sha256_hex(f"{run.checksum} re-estimated {VERSION} {data}".encode())

    @property
    def measurements(self) -> list[dict[str, Any]]:
        return self._run.measurements[-1:]

    @property
    def weights(self) -> npt.NDArray[np.float32]:
        """Float32 [1, P]. Raises DataError where the data set is not there."""
        setup = self._run.setup
        assert isinstance(setup, Setup)  # `suits` was asked
        images = _images(self._run.properties["dataset"], self._data)
        return re_estimate_batch_norm(self._run.weights[-1:], setup, images)


@lru_cache(maxsize=8)
def _images(dataset: str, data: str) -> npt.NDArray[np.uint8]:
    return load(dataset, data).x_train[:MOST_IMAGES]
