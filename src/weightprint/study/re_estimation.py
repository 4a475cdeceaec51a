"""Batch norm's moving statistics measured anew on images, as is done after weights were averaged or quantized."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from weightprint.setups import Setup

BATCH_SIZE = 250


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
