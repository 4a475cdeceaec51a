"""The networks, and what the deep meta-classifier learns with them."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from weightprint.errors import MetaError
from weightprint.meta import build, load_meta
from weightprint.meta.learners import dmc_draws
from weightprint.meta.learners.base import Vectors
from weightprint.meta.learners.dmc import settle
from weightprint.meta.learners.dmc_draws import Draws
from weightprint.meta.learners.dmc_network import SHORTEST, DeepMetaClassifier, Dropout, layers


def network(length=5000, outputs=4, **options):
    generator = torch.Generator().manual_seed(options.pop("seed", 0))
    return DeepMetaClassifier(length, outputs, dropout=0.5, generator=generator)


def shapes(length):
    """C or M, channels and length after every convolution and pool."""
    x, found = torch.zeros(1, 1, 1, length), []
    with torch.inference_mode():
        for layer in network(length).eval().features:
            x = layer(x)
            if isinstance(layer, (nn.Conv2d, nn.MaxPool2d)):
                found.append((type(layer).__name__[0], x.shape[1], x.shape[3]))
    return found


def units(net):
    return [(m.in_features, m.out_features) for m in net.head if isinstance(m, nn.Linear)]


def test_the_network_has_the_shapes_of_the_protocol():
    assert shapes(5000) == [
        ("C", 8, 5000), ("M", 8, 2500),
        ("C", 16, 2500), ("M", 16, 1250),
        ("C", 32, 1250), ("C", 64, 1250), ("M", 64, 625),
        ("C", 128, 625), ("C", 256, 625),
        ("M", 256, 312), ("C", 256, 312),
        ("M", 256, 156), ("C", 256, 156),
        ("M", 256, 78), ("C", 256, 78),
        ("M", 256, 39), ("C", 256, 39),
        ("C", 256, 39), ("C", 256, 39), ("M", 256, 19),
    ]  # fmt: skip
    assert units(network()) == [(256 * 19, 1024), (1024, 1024), (1024, 1024), (1024, 1024), (1024, 64), (64, 4)]


@pytest.mark.slow
def test_the_large_network_has_the_shapes_of_the_protocol():
    assert shapes(92_868) == [
        ("C", 8, 92868), ("M", 8, 46434),
        ("C", 16, 46434), ("M", 16, 23217),
        ("C", 32, 23217), ("M", 32, 11608),
        ("C", 64, 11608), ("M", 64, 5804),
        ("C", 128, 5804), ("M", 128, 2902),
        ("C", 128, 2902), ("M", 128, 1451),
        ("C", 128, 1451), ("M", 128, 725),
        ("C", 128, 725), ("M", 128, 362),
        ("C", 128, 362), ("M", 128, 181),
        ("C", 128, 181), ("C", 256, 181), ("M", 256, 90),
        ("C", 256, 90), ("C", 256, 90), ("M", 256, 45),
        ("C", 256, 45), ("C", 256, 45), ("M", 256, 22),
    ]  # fmt: skip
    net = network(92_868)
    assert units(net) == [(256 * 22, 1024), (1024, 1024), (1024, 1024), (1024, 1024), (1024, 64), (64, 4)]
    assert sum(p.numel() for p in net.parameters()) == 10_936_276


def test_slices_above_40000_weights_have_the_large_network():
    assert len(layers(40_000)) == 12
    assert len(layers(40_001)) == 15


@pytest.mark.parametrize("length", [5000, 92_868])
def test_every_convolution_is_followed_by_relu_then_batch_norm(length):
    features = network(length).features
    found = [type(m).__name__ for m in features if not isinstance(m, nn.MaxPool2d)]
    assert found == ["Conv2d", "ReLU", "BatchNorm2d"] * len(layers(length))
    assert all(m.kernel_size == (1, 5) for m in features if isinstance(m, nn.Conv2d))


def measured(net, length):
    """The convolutions' lengths and that after the last pool, multiply-adds of a slice, and the network's weights."""
    lengths, pooled, products = [], [], []

    def record(module, _, found):
        if isinstance(module, nn.Conv2d):
            lengths.append(found.shape[3])
        if isinstance(module, nn.MaxPool2d):
            pooled.append(found.shape[3])
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            products.append(found[0].numel() * module.weight[0].numel())

    for module in net.modules():
        module.register_forward_hook(record)
    with torch.inference_mode():
        net.eval()(torch.zeros(1, length))
    return lengths, pooled[-1], sum(products), sum(p.numel() for p in net.parameters())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("length", "deep", "last", "millions", "weights"),
    [
        (32, [4] * 6, 2, 12.5, 5_938_707),
        (400, [50] * 6, 25, 119.7, 11_968_019),
        (5000, [312, 156, 78, 39, 39, 39], 19, 371.2, 10_395_155),
        (40_000, [2500, 1250, 625, 312, 156, 78], 39, 2792, 15_638_035),
    ],
)
def test_pools_stand_where_the_protocol_says(length, deep, last, millions, weights):
    """Three before the deep convolutions, one before each of these while the length is above 50, one at the end."""
    lengths, pooled, products, parameters = measured(network(length, 3), length)
    assert lengths[6:] == deep
    assert pooled == last
    assert products / 1e6 == pytest.approx(millions, abs=0.5 if millions > 1000 else 0.05)
    assert parameters == weights


@pytest.mark.slow
@pytest.mark.parametrize("length", [SHORTEST, 17, 50, 51, 63, 400, 401, 801, 40_000])
def test_any_length_in_range_gives_scores(length):
    with torch.inference_mode():
        assert network(length).eval()(torch.zeros(1, length)).shape == (1, 4)


def test_a_slice_too_short_to_leave_anything_is_refused():
    assert SHORTEST == 16
    assert build("dmc", target="optimizer", slice_length=16).view.length == 16
    with pytest.raises(MetaError, match="slices of 16 weights or more, not 15"):
        build("dmc", target="optimizer", slice_length=15)


class Plain(nn.Module):
    """The network in torch's 1-D layers, with the weights of another."""

    def __init__(self, net, length):
        super().__init__()
        modules, inputs = [], 1
        for channels, pools in layers(length):
            convolution = nn.Conv1d(inputs, channels, 5, padding="same")
            modules += [convolution, nn.ReLU(), nn.BatchNorm1d(channels), *(nn.MaxPool1d(2) for _ in range(pools))]
            inputs = channels
        self.features, self.head = nn.Sequential(*modules), copy.deepcopy(net.head)
        state = net.state_dict()
        self.load_state_dict({k: state[k].squeeze(2) if state[k].dim() == 4 else state[k] for k in self.state_dict()})

    def forward(self, x):
        return self.head(self.features(x[:, None]).flatten(1))


def test_a_step_is_equal_to_one_of_plain_1d_layers():
    generator = torch.Generator().manual_seed(1)
    net = network(200).double().train()
    for module in net.modules():
        if isinstance(module, Dropout):
            module.share = 0.0
        if isinstance(module, nn.BatchNorm2d):  # a training makes some negative
            module.weight.data = torch.randn(module.weight.shape, generator=generator).double()
    plain = Plain(net, 200).double().train()
    x, scores = torch.randn(8, 200, generator=generator).double(), []
    for model, fused in ((net, True), (plain, False)):
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=fused, eps=1e-3)
        scores.append(model(x))
        scores[-1].square().mean().backward()
        optimizer.step()
    torch.testing.assert_close(*scores, rtol=1e-10, atol=1e-10)
    for ours, theirs in zip(net.parameters(), plain.parameters(), strict=True):
        for found, wanted in ((ours.grad, theirs.grad), (ours, theirs)):
            torch.testing.assert_close(found.reshape(wanted.shape), wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.slow
def test_initial_kernels_are_glorot_normal_and_depend_on_the_seed():
    kernel = network().features[-3 - 1].weight
    assert kernel.shape == (256, 256, 1, 5)
    assert kernel.std().item() == pytest.approx((2 / (2 * 256 * 5)) ** 0.5, rel=0.01)
    assert torch.equal(kernel, network().features[-4].weight)
    assert not torch.equal(kernel, network(seed=1).features[-4].weight)


def test_dropout_keeps_the_mean_and_has_a_stream_of_its_own():
    x = torch.ones(200, 200)
    layer = Dropout(0.5, torch.Generator().manual_seed(0))
    found = layer(x)
    assert set(found.unique().tolist()) == {0, 2}
    assert found.mean().item() == pytest.approx(1, abs=0.02)
    assert torch.equal(found, Dropout(0.5, torch.Generator().manual_seed(0))(x))
    assert torch.equal(layer.eval()(x), x)


def quick(**params):
    return build("dmc", **{"target": "optimizer", "slice_length": 128, "snapshots": (1, 4), "epochs": 2, **params})


@pytest.mark.slow
def test_a_planted_signal_is_learnt_in_seconds(zoo):
    train, test = zoo.split()
    meta = quick(epochs=6, batch_size=32).fit(train)
    assert meta.evaluate(test)["per_run"]["accuracy"] > 0.7
    assert meta.facts_["losses"][-1] < meta.facts_["losses"][0]


@pytest.mark.slow
def test_whole_vectors_of_one_length_are_learnt(zoo):
    train, test = zoo.split()
    meta = quick(slice_length="all", snapshots=(3, 4), epochs=5, batch_size=16).fit(train)
    assert meta.evaluate(test)["per_run"]["accuracy"] > 0.6


def test_moving_statistics_are_those_of_the_final_weights():
    net = network(128)
    x = torch.randn(64, 128, generator=torch.Generator().manual_seed(0)) * 0.1
    settle(net, x.numpy(), 64)
    with torch.no_grad():
        first = net.features[:2](x[:, None, None])  # convolution and ReLU
    norm = net.features[2]
    assert torch.allclose(norm.running_mean, first.mean(dim=(0, 2, 3)), atol=1e-5)
    assert torch.allclose(norm.running_var, first.var(dim=(0, 2, 3)), rtol=1e-3)
    assert (norm.momentum, norm.training) == (0.1, False)


def draws_of(zoo, goals, *, part="all", length=128, classes=0):
    reading = [lambda run=run: run.weights for run in zoo]
    vectors = Vectors(reading, [run.layout for run in zoo], goals, classes, part, length)
    return Draws(vectors, np.random.default_rng(0))


def test_an_epoch_draws_classes_equally_often_and_every_snapshot_in_turn(make_zoo):
    zoo = make_zoo(24)
    goals = [np.full(4, 0 if run.number < 18 else 1) for run in zoo]  # 72 snapshots of one class, 24 of the other
    draws = draws_of(zoo, goals, classes=2)
    places, wanted = draws.draw()
    x = draws.cut(places)
    assert x.shape == (96, 128)
    assert np.bincount(wanted).tolist() == [48, 48]
    flat = {c: np.concatenate([run.weights.ravel() for run, goal in zip(zoo, goals, strict=True) if goal[0] == c])
            for c in (0, 1)}  # fmt: skip
    assert all(np.isin(row[:5], flat[label]).all() for row, label in zip(x[:20], wanted[:20], strict=True))


def test_an_epoch_of_values_draws_every_snapshot_once(few):
    goals = [run.number + np.arange(4) / 4 for run in few]
    places, wanted = draws_of(few, goals).draw()
    assert sorted(wanted.tolist()) == np.concatenate(goals).tolist()
    assert [goals[run][snapshot] for run, snapshot, _ in places] == wanted.tolist()


def test_slices_stay_in_their_part(few):
    places, _ = draws_of(few, [np.full(4, 0.5) for _ in few], part="fc", length=64).draw()
    segments = few[0].layout.segments("fc")
    assert all(any(low <= start and start + 64 <= high for low, high in segments) for start in places[:, 2])


def test_batches_are_the_same_however_many_are_cut_at_once(few, monkeypatch):
    draws = draws_of(few, [np.full(4, 0.5) for _ in few])
    places, _ = draws.draw()
    batches = np.array_split(np.arange(64), 5)
    whole = draws.cut(places)
    for at_once in (1, 2, 100):
        monkeypatch.setattr(dmc_draws, "PORTION_BYTES", at_once * 13 * 128 * 4)
        for batch, slices in zip(batches, draws.deal(places, batches), strict=True):
            np.testing.assert_array_equal(slices, whole[batch])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_fit_on_a_gpu_reads_like_one_on_the_processor(zoo, tmp_path):
    train, test = zoo.split()
    meta = quick(epochs=6, batch_size=32, device="cuda").fit(train)
    assert meta.evaluate(test)["per_run"]["accuracy"] > 0.7
    meta.save(tmp_path / "x.meta")
    np.testing.assert_allclose(load_meta(tmp_path / "x.meta").predict_proba(test), meta.predict_proba(test), atol=1e-4)
