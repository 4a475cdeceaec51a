import math

import numpy as np
import pytest
import scipy.stats
import torch
import torch.nn.functional as F

from weightprint import Layout, Setup
from weightprint.errors import ZooError
from weightprint.setups import ACTIVATIONS, INITIALIZATIONS
from weightprint.training.architecture import hidden_units
from weightprint.training.networks import Network, dropout_masks, from_vector, initialize
from weightprint.training.vectors import load_vector, to_vector


def network(setup, seed=0):
    net = Network(setup)
    initialize(net, generator=torch.Generator().manual_seed(seed))
    return net


def published_forward(setup, vector, images):
    """The network as the protocol words it, from the weight vector alone: activation before pooling, no modules."""
    layout = Layout.of(setup)

    def tensor(name):
        entry = layout[name]
        return vector[entry.offset : entry.stop].view(entry.shape)

    def norm(x, layer):
        if not setup.batch_norm:
            return x
        mean, variance, beta, gamma = (
            tensor(f"{layer}/{k}").view([1, -1] + [1] * (x.ndim - 2))
            for k in ("moving_mean", "moving_variance", "beta", "gamma")
        )
        return gamma * (x - mean) / torch.sqrt(variance + 1e-5) + beta

    act = {"relu": F.relu, "elu": F.elu, "sigmoid": torch.sigmoid, "tanh": torch.tanh}[setup.activation]
    blocks = {3: [1, 1, 1], 4: [1, 1, 2], 5: [1, 2, 2]}[setup.depth_conv]
    x, layer = images, 0
    for count in blocks:
        for _ in range(count):
            layer += 1
            name = f"conv{layer}"
            x = F.conv2d(x, tensor(f"{name}/kernel"), tensor(f"{name}/bias"), padding=setup.filter_size // 2)
            x = act(norm(x, name))
        x = F.max_pool2d(x, 2)
    x = x.permute(0, 2, 3, 1).reshape(len(x), -1)
    for i in range(setup.depth_fc):
        name = f"fc{i + 1}"
        x = norm(act(x @ tensor(f"{name}/kernel").T + tensor(f"{name}/bias")), name)
    return x @ tensor("output/kernel").T + tensor("output/bias")


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("depth_conv", "filter_size", "batch_norm"), [(3, 5, True), (4, 3, True), (5, 7, False)])
def test_the_network_computes_what_the_protocol_words(activation, depth_conv, filter_size, batch_norm):
    setup = Setup(activation=activation, depth_conv=depth_conv, filter_size=filter_size, batch_norm=batch_norm)
    generator = torch.Generator().manual_seed(1)
    vector = torch.randn(Layout.of(setup).size, generator=generator).abs() * 0.1
    net = from_vector(setup, vector).double()
    images = torch.rand(4, 3, 32, 32, generator=generator, dtype=torch.float64)
    expected = published_forward(setup, vector.double(), images)
    torch.testing.assert_close(net(images), expected, rtol=1e-9, atol=1e-9)


def test_a_vector_survives_the_way_through_a_module_and_back():
    setup = Setup(depth_conv=4, depth_fc=3)
    vector = torch.randn(Layout.of(setup).size, generator=torch.Generator().manual_seed(0))
    net = from_vector(setup, vector)
    assert not net.training
    assert torch.equal(to_vector(net), vector)
    assert torch.equal(to_vector(from_vector(setup, vector.numpy())), vector)


def test_a_vector_of_another_length_is_refused():
    with pytest.raises(ZooError, match="has 92868 entries, not shape \\[10\\]"):
        load_vector(network(Setup()), torch.zeros(10))


def test_batch_norm_moves_its_statistics_a_tenth_of_the_way():
    setup = Setup(dropout=0.0)
    net = network(setup).train()
    images = torch.rand(16, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    net(images)
    first = F.conv2d(images, net.conv[0].weight, net.conv[0].bias, padding=2)
    torch.testing.assert_close(net.conv_norm[0].running_mean, 0.1 * first.mean((0, 2, 3)), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(net.conv_norm[0].running_var, 0.9 + 0.1 * first.var((0, 2, 3)), rtol=1e-4, atol=1e-6)


def test_measuring_in_eval_mode_changes_nothing():
    net = network(Setup()).eval()
    before = to_vector(net)
    net(torch.rand(8, 3, 32, 32))
    assert torch.equal(to_vector(net), before)


def test_dropout_keeps_half_of_the_hidden_units_and_depends_on_its_generator_alone():
    setup, batch = Setup(dropout=0.5), torch.rand(1000, 3, 32, 32)
    masks = dropout_masks(setup, batch, generator=torch.Generator().manual_seed(3))
    assert [mask.shape for mask in masks] == [(1000, units) for units in hidden_units(setup)]
    for mask, again in zip(masks, dropout_masks(setup, batch, generator=torch.Generator().manual_seed(3)), strict=True):
        assert set(mask.unique().tolist()) == {0.0, 2.0}
        assert mask.mean().item() == pytest.approx(1, abs=0.03)
        assert torch.equal(mask, again)
    net, x = network(setup), batch[:8]
    with torch.no_grad():
        scores = [net.train()(x, generator=torch.Generator().manual_seed(seed)) for seed in (3, 3, 4)]
        assert torch.equal(scores[0], scores[1])
        assert not torch.equal(scores[0], scores[2])
        assert torch.equal(net.eval()(x, generator=torch.Generator().manual_seed(3)), net(x))


DISTRIBUTIONS = {
    "random_normal": lambda i, o: scipy.stats.norm(0, 1),
    "glorot_uniform": lambda i, o: scipy.stats.uniform(-math.sqrt(6 / (i + o)), 2 * math.sqrt(6 / (i + o))),
    "glorot_normal": lambda i, o: scipy.stats.truncnorm(-2, 2, scale=math.sqrt(2 / (i + o)) / 0.87962566),
    "he_normal": lambda i, o: scipy.stats.truncnorm(-2, 2, scale=math.sqrt(2 / i) / 0.87962566),
    "torch_default": lambda i, o: scipy.stats.uniform(-1 / math.sqrt(i), 2 / math.sqrt(i)),
}


@pytest.mark.parametrize("initialization", DISTRIBUTIONS)
@pytest.mark.parametrize(("name", "fan_in", "fan_out"), [("conv3", 400, 800), ("fc1", 512, 128)])
def test_kernels_are_drawn_from_the_named_distribution(initialization, name, fan_in, fan_out):
    setup = Setup(initialization=initialization)
    vector, entry = to_vector(network(setup)).numpy(), Layout.of(setup)[f"{name}/kernel"]
    kernel = vector[entry.offset : entry.stop].astype(np.float64)
    distribution = DISTRIBUTIONS[initialization](fan_in, fan_out)
    assert scipy.stats.kstest(kernel, distribution.cdf).pvalue > 1e-3
    low, high = distribution.support()
    assert low - 1e-7 <= kernel.min()
    assert kernel.max() <= high + 1e-7


def test_the_glorot_normal_variance_is_two_over_the_fans():
    setup = Setup(initialization="glorot_normal")
    vector, entry = to_vector(network(setup)).numpy(), Layout.of(setup)["fc1/kernel"]
    assert vector[entry.offset : entry.stop].var() == pytest.approx(2 / (512 + 128), rel=0.02)


@pytest.mark.parametrize("initialization", INITIALIZATIONS)
def test_everything_but_kernels_and_gamma_starts_at_zero_or_one(initialization):
    setup = Setup(initialization=initialization)
    vector = to_vector(network(setup)).numpy()
    start = {"beta": 0.0, "moving_mean": 0.0, "moving_variance": 1.0}
    if initialization != "torch_default":
        start["bias"] = 0.0
    if initialization == "constant":
        start["kernel"] = np.float32(0.1)
    for entry in Layout.of(setup):
        if entry.kind in start:
            assert (vector[entry.offset : entry.stop] == start[entry.kind]).all(), entry.name


@pytest.mark.parametrize("initialization", INITIALIZATIONS)
def test_gamma_starts_around_one_with_the_published_deviation(initialization):
    setup = Setup(initialization=initialization, width_conv=12, width_fc=192)
    gammas = np.concatenate(
        [
            vector[entry.offset : entry.stop].astype(np.float64)
            for vector in (to_vector(network(setup, seed)).numpy() for seed in range(20))
            for entry in Layout.of(setup)
            if entry.kind == "gamma"
        ]
    )
    assert scipy.stats.kstest(gammas, scipy.stats.norm(1, 0.002).cdf).pvalue > 1e-3


def test_gammas_noise_tells_constant_filters_apart_so_that_they_can_learn():
    setup = Setup(initialization="constant", dropout=0.0)
    net = network(setup).train()
    images = torch.rand(16, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    F.cross_entropy(net(images), torch.arange(16) % 10).backward()
    gradient = net.conv[1].weight.grad.flatten(1)
    assert len(gradient.unique(dim=0)) == len(gradient)


@pytest.mark.parametrize("initialization", INITIALIZATIONS)
def test_gamma_is_drawn_after_all_kernels(initialization):
    """So that a set-up with and without batch norm starts from the same kernels."""
    with_norm, without = (network(Setup(initialization=initialization, batch_norm=norm)) for norm in (True, False))
    for ours, theirs in zip((*with_norm.conv, *with_norm.fc), (*without.conv, *without.fc), strict=True):
        assert torch.equal(ours.weight, theirs.weight)
    assert torch.equal(with_norm.output.weight, without.output.weight)


def test_torch_default_is_what_torch_does():
    """Kernels and biases of torch's own layers lie within the same bounds, and fill them."""
    setup = Setup(initialization="torch_default")
    net = network(setup)
    reference = torch.nn.Linear(512, 128)
    for ours, theirs in ((net.fc[0].weight, reference.weight), (net.fc[0].bias, reference.bias)):
        assert ours.abs().max().item() == pytest.approx(theirs.abs().max().item(), rel=0.05)


def test_building_and_initialising_leaves_the_global_random_state_alone():
    state = torch.get_rng_state()
    network(Setup(initialization="glorot_normal")).train()(
        torch.zeros(4, 3, 32, 32), generator=torch.Generator().manual_seed(0)
    )
    assert torch.equal(torch.get_rng_state(), state)
