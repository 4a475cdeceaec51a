"""What is kept from a meta-classifier, and which runs: the controls of an honest result."""

import json

import numpy as np
import polars as pl
import pytest

from weightprint.cli.main import main
from weightprint.features.omission import WITHOUT, reduced
from weightprint.meta import MODELS, build, load_meta
from weightprint.meta.view import Member, View, choose
from weightprint.setups import Setup
from weightprint.zoo import Zoo
from weightprint.zoo.layout import Layout, Tensor

NORMALISED = Setup(filter_size=3, width_conv=2, width_fc=8, depth_fc=1)
PLAIN = Setup(filter_size=3, width_conv=2, width_fc=8, depth_fc=1, batch_norm=False)


def test_moving_statistics_are_those_of_every_batch_norm():
    left_out = {t.name for t in Layout.of(NORMALISED)} - {
        t.name for t in reduced(Layout.of(NORMALISED), ("moving_statistics",))
    }
    layers = ("conv1", "conv2", "conv3", "fc1")
    assert left_out == {f"{layer}/moving_{what}" for layer in layers for what in ("mean", "variance")}


def test_biases_before_norm_are_those_of_convolutions_and_not_of_layers_that_are_activated_first():
    whole, left = Layout.of(NORMALISED), reduced(Layout.of(NORMALISED), ("biases_before_norm",))
    assert {t.name for t in whole} - {t.name for t in left} == {f"conv{i}/bias" for i in (1, 2, 3)}
    assert reduced(Layout.of(PLAIN), WITHOUT) == Layout.of(PLAIN)


def test_what_is_left_moves_together_and_keeps_its_weights(make_zoo):
    (run,) = make_zoo(1)
    member = Member(run, (2, 4), {}, View(without=WITHOUT))
    weights = member.weights()
    assert weights.shape == (2, member.layout.size)
    assert member.layout.size < run.layout.size
    for tensor in member.layout:
        whole = run.layout[tensor.name]
        np.testing.assert_array_equal(
            weights[:, tensor.offset : tensor.stop], run.weights[[1, 3], whole.offset : whole.stop]
        )


def test_a_tensor_tied_to_one_that_is_left_out_is_tied_to_none():
    tensors = [
        Tensor("a/moving_mean", "moving_mean", "conv", (2,), 0, "a", "o"),
        Tensor("b/gamma", "gamma", "conv", (2,), 2, "b", "o", tied_to="a/moving_mean"),
    ]
    assert reduced(Layout(tensors), ("moving_statistics",))["b/gamma"].tied_to is None


def test_slices_lie_in_what_is_left(make_zoo):
    zoo = make_zoo(12)
    meta = build("svm", target="optimizer", snapshots=(1, 4), slice_length=100, part="conv", without=WITHOUT).fit(zoo)
    left = reduced(zoo[0].layout, WITHOUT)
    assert meta.lengths_ == (left.size,)
    readings, _ = meta.read(zoo, slices=50)
    assert max(reading.starts.max() for reading in readings) <= left.length("conv") - 100
    assert all(reading.layout == left for reading in readings)


def test_a_part_that_becomes_too_short_is_counted(make_zoo):
    zoo = make_zoo(4)
    length = zoo[0].layout.length("conv")
    assert len(choose(zoo, View("conv", length), ["optimizer"])[0]) == 4
    members, excluded = choose(zoo, View("conv", length, without=WITHOUT), ["optimizer"], filtered=False)
    assert (members, excluded["too_short"]) == ([], 4)


def test_a_footprint_in_the_moving_statistics_is_lost_without_them(make_zoo):
    zoo = make_zoo(48)
    generator = np.random.default_rng(0)
    planted = {}
    for run in zoo:
        run.properties["planted"] = "ab"[run.number // 4 % 2]
        run.properties["optimizer"], run.properties["learning_rate"] = "adam", 0.001
        weights = generator.normal(size=(4, run.layout.size)).astype(np.float32)
        for tensor in run.layout:
            if tensor.kind.startswith("moving"):
                weights[:, tensor.offset : tensor.stop] += 3 * (run.properties["planted"] == "b")
        planted[run.identity] = weights
    cls = type(zoo[0])
    kept = cls.weights
    cls.weights = property(lambda run: planted[run.identity])
    try:
        train, test = zoo.split()
        settings = {"target": "planted", "snapshots": (1, 4), "slice_length": "all"}
        whole = build("svm", **settings).fit(train).evaluate(test)
        left = build("svm", **settings, without=("moving_statistics",)).fit(train).evaluate(test)
    finally:
        cls.weights = kept
    assert whole["per_run"]["accuracy"] == 1
    assert left["per_run"]["accuracy"] < 0.9
    assert (whole["without"], left["without"]) == ([], ["moving_statistics"])


@pytest.mark.parametrize("model", MODELS)
def test_every_model_can_be_kept_from_reading(model):
    params = {"without": WITHOUT, "target": "optimizer"}
    assert build(model, **params).view.without == WITHOUT


def test_kept_and_removed_runs_are_counted_per_class(make_zoo):
    zoo = make_zoo(24)
    for run in zoo:
        run.properties["initialization"] = ("constant", "glorot", "normal")[run.number // 4 % 3]
        run.converged = run.properties["initialization"] != "constant" or run.number % 4 == 1
    train, test = zoo.split()
    settings = {"target": "initialization", "snapshots": (1, 4)}
    document = build("majority", **settings).fit(train).evaluate(test)
    assert document["train_per_class"] == [
        {"class": "constant", "kept": 2, "removed": 4, "not_converged": 4},
        {"class": "glorot", "kept": 6, "removed": 0, "not_converged": 0},
        {"class": "normal", "kept": 6, "removed": 0, "not_converged": 0},
    ]
    assert document["per_class"][0] == {"class": "constant", "kept": 0, "removed": 2, "not_converged": 2}
    assert document["excluded"] == {"not_converged": 2}
    off = build("majority", **settings, converged=False).fit(train).evaluate(test)
    assert off["per_class"][0] == {"class": "constant", "kept": 2, "removed": 0, "not_converged": 2}
    assert off["train_per_class"][0]["kept"] == 6


def test_a_class_can_be_left_out_by_selecting_runs(sampled_zoo):
    zoo = Zoo(sampled_zoo)
    left_out = zoo[0].properties["initialization"]
    rest = zoo.select(pl.col("initialization") != left_out)
    assert 0 < len(rest) < len(zoo)
    meta = build("majority", target="optimizer", snapshots=(1, 4), converged=False).fit(rest)
    assert {zoo[n].properties["initialization"] for n in rest.numbers}.isdisjoint({left_out})
    assert set(meta.train_runs_) == {run.identity for run in rest}


def test_the_command_line_takes_and_keeps_what_is_left_out(sampled_zoo, tmp_path, capsys):
    options = ["--property", "learning_rate", "--model", "svm", "--slice-length", "100", "--snapshots", "1-4"]
    options += ["--converged", "off", "--without", "moving_statistics,biases_before_norm", "--split-seed", "1"]
    assert main(["fit", str(sampled_zoo), str(tmp_path / "x.meta"), *options]) == 0
    assert load_meta(tmp_path / "x.meta").view.without == WITHOUT
    capsys.readouterr()
    assert main(["evaluate", str(tmp_path / "x.meta"), str(sampled_zoo), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["without"] == list(WITHOUT)
    assert main(["fit", str(sampled_zoo), str(tmp_path / "y.meta"), *options[:8], "--without", "biases"]) == 1
    assert "did you mean 'biases_before_norm'" in capsys.readouterr().err
