"""Batch norm's moving statistics measured anew on images, as is done after weights were averaged or quantized."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from weightprint.errors import SetupError
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
    from weightprint.meta.learners.dmc import settle
    from weightprint.training.networks import from_vector
    from weightprint.training.vectors import to_vector

    values = images.transpose(0, 3, 1, 2) / np.float32(255)
    edited = np.empty_like(weights)
    for row, vector in zip(edited, weights, strict=True):
        network = from_vector(setup, vector)
        settle(network, values, BATCH_SIZE)
        row[:] = to_vector(network).numpy()
    return edited


def suits(run: Run) -> bool:
    """Whether it is a network of the spaces main, fixed, wild or demo with batch norm."""
    try:
        setup = run.setup
    except SetupError:  # it was imported
        return False
    return isinstance(setup, Setup) and setup.batch_norm


class ReEstimatedRun(Run):
    """The last snapshot of a run with batch norm's statistics measured on images of its data set; otherwise the run.

    run:  one that `suits`
    data: folder of .npz files, as for `sample`; the first MOST_IMAGES training images are used

    Raises DataError where the data set is not there.
    """

    def __init__(self, run: Run, data: str) -> None:
        vars(self).update(vars(run), kin=run.kin)
        self._run = run
        self._images, digest = images_of(run.properties["dataset"], data)
        self.checksum = run.checksum and sha256_hex(f"{run.checksum} {VERSION} {digest}".encode())

    @property
    def measurements(self) -> list[dict[str, Any]]:
        return self._run.measurements[-1:]

    @property
    def weights(self) -> npt.NDArray[np.float32]:
        """Float32 [1, P]."""
        setup = self._run.setup
        assert isinstance(setup, Setup)  # `suits` was asked
        return re_estimate_batch_norm(self._run.weights[-1:], setup, self._images)


@cache
def images_of(dataset: str, data: str) -> tuple[npt.NDArray[np.uint8], str]:
    """The first training images of a data set, and a digest of all of it. Raises DataError where it is not there."""
    images = load(dataset, data)
    return images.x_train[:MOST_IMAGES].copy(), images.sha256
