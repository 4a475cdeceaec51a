"""Moving statistics that are measured anew."""

import numpy as np
import torch

from weightprint.setups import Setup
from weightprint.study.re_estimation import re_estimate_batch_norm
from weightprint.training.networks import from_vector
from weightprint.zoo.layout import NORM_KINDS, Layout


def test_moving_statistics_become_those_of_the_images_and_nothing_else_changes():
    setup = Setup(width_conv=4, width_fc=16, filter_size=3, dropout=0.5)
    layout = Layout.of(setup)
    generator = np.random.default_rng(0)
    weights = (0.1 * generator.standard_normal((2, layout.size))).astype(np.float32)
    for tensor in layout:
        if tensor.kind == "moving_variance":
            weights[:, tensor.offset : tensor.stop] = 1
    images = generator.integers(0, 256, (500, 32, 32, 3), np.uint8)
    edited = re_estimate_batch_norm(weights, setup, images)

    moving = [t for t in layout if t.kind in NORM_KINDS[2:]]
    assert {t.kind for t in moving} == {"moving_mean", "moving_variance"}
    changed = (edited != weights).any(axis=0)
    for tensor in layout:
        assert changed[tensor.offset : tensor.stop].any() == (tensor in moving), tensor.name

    with torch.inference_mode():
        network = from_vector(setup, edited[1]).requires_grad_(False)
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
        first = network.conv[0](pixels)
        normal = network.conv_norm[0](first)
        scores = network(pixels)
    assert torch.allclose(network.conv_norm[0].running_mean, first.mean((0, 2, 3)), atol=1e-5)
    scale, shift = network.conv_norm[0].weight, network.conv_norm[0].bias
    assert torch.allclose(normal.mean((0, 2, 3)), shift, atol=1e-3)
    assert torch.allclose(normal.std((0, 2, 3)), scale.abs(), rtol=1e-2)
    assert scores.isfinite().all()
