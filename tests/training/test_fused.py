import copy

import pytest
import torch
import torch.nn.functional as F

from weightprint import Setup
from weightprint.training.fast.fused import conv_norm_pool_activate
from weightprint.training.networks import ACTIVATIONS, Network, initialize
from weightprint.training.vectors import to_vector


@pytest.mark.parametrize("pool", [True, False])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(
    ("inputs", "outputs", "size"), [(3, 4, 3), (3, 8, 5), (3, 12, 7), (3, 16, 1), (8, 16, 5), (5, 20, 3)]
)
def test_the_fused_step_is_convolution_norm_activation_and_pool(inputs, outputs, size, activation, pool):
    """Values, all gradients and moving statistics, with some channels turned over by a negative gamma."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(4, inputs, 8, 8, dtype=torch.float64, generator=generator)
    conv = torch.nn.Conv2d(inputs, outputs, size, padding=size // 2).double()
    norm = torch.nn.BatchNorm2d(outputs).double()
    with torch.no_grad():
        for parameter in (*conv.parameters(), *norm.parameters()):
            parameter.normal_(generator=generator)
    plain_conv, plain_norm = copy.deepcopy(conv), copy.deepcopy(norm)
    fused_images, plain_images = images.clone().requires_grad_(), images.clone().requires_grad_()

    fused = conv_norm_pool_activate(fused_images, conv, norm, activation, pool=pool)
    plain = ACTIVATIONS[activation](plain_norm(plain_conv(plain_images)))
    plain = F.max_pool2d(plain, 2) if pool else plain
    upstream = torch.randn(plain.shape, dtype=torch.float64, generator=generator)
    fused.backward(upstream)
    plain.backward(upstream)

    close = {"rtol": 1e-10, "atol": 1e-10}
    torch.testing.assert_close(fused, plain, **close)
    torch.testing.assert_close(fused_images.grad, plain_images.grad, **close)
    ours, theirs = ((*c.parameters(), *n.parameters()) for c, n in ((conv, norm), (plain_conv, plain_norm)))
    for our, their in zip(ours, theirs, strict=True):
        torch.testing.assert_close(our.grad, their.grad, **close)
    torch.testing.assert_close(norm.running_mean, plain_norm.running_mean, **close)
    torch.testing.assert_close(norm.running_var, plain_norm.running_var, **close)


@pytest.mark.parametrize("image", [0.0, 1.0])
def test_the_first_of_equal_values_is_pooled(image):
    """Black borders and constant initialisation make whole windows equal: the gradient goes where torch's goes."""
    conv, norm = torch.nn.Conv2d(3, 4, 3, padding=1).double(), torch.nn.BatchNorm2d(4).double()
    images = torch.full((2, 3, 8, 8), image, dtype=torch.float64)
    images[:, :, 2:4, 3:6] = 0.5

    def gradient(forward):
        x = images.clone().requires_grad_()
        forward(x).square().sum().backward()
        return x.grad

    ours = gradient(lambda x: conv_norm_pool_activate(x, conv, norm, "tanh", pool=True))
    theirs = gradient(lambda x: F.max_pool2d(torch.tanh(norm(conv(x))), 2))
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def test_a_network_that_the_fused_step_does_not_fit_trains_with_plain_layers():
    network = Network(Setup(width_conv=3, filter_size=3))
    initialize(network, generator=torch.Generator().manual_seed(0))
    network.train()(torch.rand(4, 3, 32, 32)).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters())


@pytest.mark.parametrize("depth_conv", [3, 5])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_training_step_is_that_of_plain_layers(activation, depth_conv, monkeypatch):
    """One step of the whole network in float64, with the fused step and without it."""
    setup = Setup(activation=activation, depth_conv=depth_conv, filter_size=3, dropout=0.0)
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(8, 3, 32, 32, dtype=torch.float64, generator=generator)
    labels = torch.arange(8)

    def step():
        network = Network(setup)
        initialize(network, generator=torch.Generator().manual_seed(0))
        network.double().train()
        F.cross_entropy(network(images), labels).backward()
        return torch.cat([p.grad.reshape(-1) for p in network.parameters()]), to_vector(network)

    fused = step()

    def plain_step(x, conv, norm, activation, *, pool):
        x = ACTIVATIONS[activation](norm(conv(x)))
        return F.max_pool2d(x, 2) if pool else x

    monkeypatch.setattr("weightprint.training.networks.conv_norm_pool_activate", plain_step)
    for ours, theirs in zip(fused, step(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def test_gradients_of_biases_before_batch_norm_are_rounding_as_they_are_in_torch():
    """They are zero in exact arithmetic; their size in float32 is a footprint of the optimizer that must not change."""
    setup = Setup(dropout=0.0)
    network = Network(setup)
    initialize(network, generator=torch.Generator().manual_seed(0))
    images = torch.rand(64, 3, 32, 32, generator=torch.Generator().manual_seed(1))

    def bias_gradients(forward):
        network.zero_grad()
        F.cross_entropy(forward(images), torch.arange(64) % 10).backward()
        return torch.cat([conv.bias.grad for conv in network.conv]).abs().median().item()

    network.train()
    fused = bias_gradients(network)

    def plain(x):
        for conv, norm in zip(network.conv, network.conv_norm, strict=True):
            x = F.relu(F.max_pool2d(norm(conv(x)), 2))
        x = x.permute(0, 2, 3, 1).flatten(1)
        for fc, norm in zip(network.fc, network.fc_norm, strict=True):
            x = norm(F.relu(fc(x)))
        return network.output(x)

    assert fused < 1e-6
    assert 0.02 < fused / bias_gradients(plain) < 50
