import time

import numpy as np
import pytest
import torch
from torch import nn

from weightprint.meta import build
from weightprint.meta.base import Training
from weightprint.meta.dmc import DeepMetaClassifier, Dropout
from weightprint.meta.rows import Member
from weightprint.meta.targets import Target


def network(length=5000, outputs=4, **options):
    generator = torch.Generator().manual_seed(options.pop("seed", 0))
    return DeepMetaClassifier(length, outputs, dropout=0.5, generator=generator)


def test_the_network_has_the_shapes_of_the_protocol():
    net = network()
    x, shapes = torch.zeros(2, 1, 5000), []
    with torch.inference_mode():
        for layer in net.eval().features:
            x = layer(x)
            if isinstance(layer, (nn.Conv1d, nn.MaxPool1d)):
                shapes.append((type(layer).__name__[0], *x.shape[1:]))
    assert shapes == [
        ("C", 8, 5000), ("M", 8, 2500),
        ("C", 16, 2500), ("M", 16, 1250),
        ("C", 32, 1250), ("C", 64, 1250), ("M", 64, 625),
        ("C", 128, 625), ("C", 256, 625), ("M", 256, 312),
        ("M", 256, 156), ("C", 256, 156),
        ("M", 256, 78), ("C", 256, 78),
        ("M", 256, 39), ("C", 256, 39),
        ("C", 256, 39), ("C", 256, 39), ("C", 256, 39), ("M", 256, 19),
    ]  # fmt: skip
    linear = [(m.in_features, m.out_features) for m in net.head if isinstance(m, nn.Linear)]
    assert linear == [(256 * 19, 1024), (1024, 1024), (1024, 1024), (1024, 1024), (1024, 64), (64, 4)]


def test_every_convolution_is_followed_by_relu_then_batch_norm():
    layers = [type(m).__name__ for m in network().features if not isinstance(m, nn.MaxPool1d)]
    assert layers == ["Conv1d", "ReLU", "BatchNorm1d"] * 12
    assert all(m.kernel_size == (5,) for m in network().features if isinstance(m, nn.Conv1d))


def test_it_has_ten_million_weights_for_slices_of_5000():
    assert sum(p.numel() for p in network().parameters()) == 10_395_220


@pytest.mark.parametrize("length", [32, 50, 51, 63, 801, 40_000])
def test_any_length_in_range_gives_scores(length):
    with torch.inference_mode():
        assert network(length).eval()(torch.zeros(1, length)).shape == (1, 4)


def test_initial_kernels_are_glorot_normal_and_depend_on_the_seed():
    kernel = network().features[-3 - 1].weight
    assert kernel.shape == (256, 256, 5)
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


def test_a_planted_signal_is_learnt_in_seconds(zoo):
    train, test = zoo.split()
    meta = quick(epochs=6, batch_size=32).fit(train)
    assert meta.evaluate(test)["per_run"]["accuracy"] > 0.7
    assert (meta.epochs_, meta.capped_, len(meta.loss_)) == (6, False, 6)
    assert meta.loss_[-1] < meta.loss_[0]


def test_moving_statistics_are_those_of_the_final_weights(few):
    meta = quick(epochs=1).fit(few)
    x = torch.randn(64, 128) * 0.1
    meta._settle(x.numpy())
    first = meta.network_.features[:2](x[:, None])  # convolution and ReLU
    norm = meta.network_.features[2]
    assert torch.allclose(norm.running_mean, first.mean(dim=(0, 2)), atol=1e-5)
    assert torch.allclose(norm.running_var, first.var(dim=(0, 2)), rtol=1e-3)
    assert (norm.momentum, norm.training) == (0.1, False)


def test_the_global_random_state_is_not_touched(few):
    torch.manual_seed(5)
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    quick(epochs=1).fit(few)
    assert torch.equal(before, torch.get_rng_state())
    assert np.array_equal(numpy_before, np.random.get_state()[1])  # noqa: NPY002


def test_other_seeds_give_other_fits(few):
    one, other = (quick(epochs=1, seed=seed).fit(few).predict_proba(few, slices=1) for seed in (0, 1))
    assert not np.array_equal(one, other)


def test_max_seconds_ends_a_training_and_is_recorded(zoo):
    began = time.monotonic()
    meta = quick(epochs=100_000, max_seconds=1).fit(zoo)
    assert time.monotonic() - began < 10
    assert meta.capped_
    assert 0 < meta.epochs_ < 100_000
    assert not meta.network_.training


def test_an_epoch_draws_classes_equally_often_and_every_snapshot_in_turn(make_zoo):
    zoo = make_zoo(24)
    meta = quick()
    members = [Member(run, (1, 2, 3, 4), ()) for run in zoo]
    goals = [np.full(4, 0 if run.number < 18 else 1) for run in zoo]  # 72 snapshots of one class, 24 of the other
    training = Training(members, [run.weights for run in zoo], goals, Target("x", "classification", (0, 1)))
    x, y = meta._draw_epoch(training, np.random.default_rng(0))
    assert x.shape == (96, 128)
    assert np.bincount(y).tolist() == [48, 48]
    flat = {int(g[0]): np.concatenate([run.weights.ravel() for run, h in zip(zoo, goals, strict=True) if h[0] == g[0]])
            for g in goals}  # fmt: skip
    assert all(np.isin(row[:5], flat[label]).all() for row, label in zip(x[:20], y[:20], strict=True))


def test_weights_beyond_the_memory_limit_are_read_again(few, monkeypatch):
    train, test = few.split()
    kept = quick().fit(train).predict_proba(test)
    monkeypatch.setattr("weightprint.meta.dmc.KEPT_BYTES", 0)
    np.testing.assert_array_equal(quick().fit(train).predict_proba(test), kept)


def test_evaluation_leaves_the_network_as_it_is(few):
    meta = quick(epochs=1).fit(few)
    before = {name: tensor.clone() for name, tensor in meta.network_.state_dict().items()}
    meta.predict_proba(few)
    assert all(torch.equal(before[name], tensor) for name, tensor in meta.network_.state_dict().items())
