import numpy as np
import pytest
import torch

from weightprint.errors import MetaError
from weightprint.features.anatomy import anatomy, layers_of
from weightprint.features.permutation import permute_units
from weightprint.features.anatomy import anatomy as role_statistics
from weightprint.setups import Setup
from weightprint.training.networks import from_vector
from weightprint.zoo.layout import Layout, Tensor

SETUPS = [
    Setup(filter_size=3, depth_conv=4, depth_fc=2, width_conv=4, width_fc=16),
    Setup(filter_size=5, depth_conv=3, depth_fc=3, width_conv=4, width_fc=24, batch_norm=False),
]


def draw(setup, snapshots=2, seed=0):
    layout = Layout.of(setup)
    weights = np.random.default_rng(seed).normal(size=(snapshots, layout.size)).astype(np.float32) * 0.1
    for tensor in layout:
        if tensor.kind in ("gamma", "moving_variance"):
            weights[:, tensor.offset : tensor.stop] = 1 + np.abs(weights[:, tensor.offset : tensor.stop])
    return weights, layout


@pytest.mark.parametrize("setup", SETUPS)
def test_renumbered_units_change_the_vector_and_not_the_function(setup):
    weights, layout = draw(setup)
    permuted = permute_units(weights, layout, generator=np.random.default_rng(1))
    assert (permuted != weights).mean() > 0.8
    np.testing.assert_array_equal(np.sort(permuted), np.sort(weights))
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        for before, after in zip(weights, permuted, strict=True):
            expected = from_vector(setup, before).double()(images.double())
            found = from_vector(setup, after).double()(images.double())
            torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("setup", SETUPS)
def test_the_anatomy_does_not_depend_on_the_order_of_units(setup):
    weights, layout = draw(setup)
    permuted = permute_units(weights, layout, generator=np.random.default_rng(1))
    before, names = role_statistics(weights, layout)
    after, _ = role_statistics(permuted, layout)
    assert len(set(names)) == len(names) > 400
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-5)


def test_layers_that_do_not_follow_one_another_are_not_renumbered():
    layout = Layout(
        [
            Tensor("a/kernel", "kernel", "fc", (4, 3), 0, "a", "oi"),
            Tensor("b/kernel", "kernel", "fc", (2, 6), 12, "b", "oi"),
        ]
    )
    with pytest.raises(MetaError, match="b/kernel has 6 inputs, which 4 units before it cannot feed"):
        permute_units(np.zeros((1, 24)), layout, generator=np.random.default_rng(0))


def test_layers_are_those_of_the_layout_in_forward_order():
    names = [layer.name for layer in layers_of(Layout.of(SETUPS[0]))]
    assert names == ["conv1", "conv2", "conv3", "conv4", "fc1", "fc2", "output"]


@pytest.mark.parametrize("scale", [0, 1e-30, 1e37])
def test_every_feature_is_a_number_at_any_scale(scale):
    weights, layout = draw(SETUPS[0])
    features, _ = role_statistics((weights * scale).astype(np.float32), layout)
    assert np.isfinite(features).all()


def test_tensors_of_other_networks_are_read_as_far_as_they_can_be():
    tensors, offset = [], 0
    shapes = {
        "stem/kernel": ("kernel", (6, 3, 4, 2)),
        "norm/gamma": ("gamma", (6,)),
        "token": ("other", (1, 5)),
        "mix/kernel": ("kernel", (1, 7)),
        "single": ("other", (1,)),
        "none/kernel": ("kernel", (0, 4)),
    }
    for name, (kind, shape) in shapes.items():
        tensors.append(Tensor(name, kind, "other", shape, offset, name, "o" * len(shape)))
        offset = tensors[-1].stop
    layout = Layout(tensors)
    weights = np.random.default_rng(0).normal(size=(2, layout.size)).astype(np.float32)
    found = anatomy(weights, layout)
    assert [layer.name for layer, _ in found] == ["stem", "norm", "token", "mix"]
    assert all(np.isfinite(value).all() for _, features in found for value in features.values())


def test_a_network_without_layers_has_no_features():
    layout = Layout([Tensor("single", "other", "other", (1,), 0, "single", "o")])
    assert role_statistics(np.ones((3, 1)), layout)[0].shape == (3, 0)


def test_grey_first_kernels_show_in_what_the_channels_share():
    weights, layout = draw(SETUPS[0])
    kernel = layout["conv1/kernel"]
    values = weights[:, kernel.offset : kernel.stop].reshape(2, *kernel.shape)
    values[:] = values.mean(axis=2, keepdims=True)  # the same for red, green and blue
    features, names = role_statistics(weights, layout)
    place = names.index("conv first: kernel.inputs.difference")
    assert (features[:, place] < role_statistics(draw(SETUPS[0])[0], layout)[0][:, place] - 5).all()
