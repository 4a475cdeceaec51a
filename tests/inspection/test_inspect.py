"""What `inspect` says of files: facts, verdicts, what the file declares, and where nothing can be said."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from tests.inspection.conftest import small_cnn
from weightprint.errors import CheckpointError, CorruptFile, MetaError
from weightprint.inspection.network import Network
from weightprint.meta import build
from weightprint.zoo import Zoo

PROPERTIES = {"optimizer_family", "activation", "initialization", "image_kind"}


def saved(tensors, path):
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    return path


def test_a_trained_network_gets_facts_and_a_verdict_per_property(inspects, trained_cnn):
    document = json.loads(json.dumps(inspects(trained_cnn).to_json(), allow_nan=False))
    assert set(document) >= {"file", "architecture", "facts", "properties"}
    assert document["architecture"]["parameters"] == sum(p.numel() for p in small_cnn(6).parameters())
    assert [(layer["name"], layer["kind"]) for layer in document["architecture"]["layers"]] == [
        ("0", "convolution"),
        ("3", "convolution"),
        ("7", "fully connected"),
        ("9", "fully connected"),
    ]
    assert document["facts"]["initialization"]["state"] == "trained"
    assert document["facts"]["declared"] == {}
    assert set(document["properties"]) == PROPERTIES
    for found in document["properties"].values():
        assert sum(found["probabilities"].values()) == pytest.approx(1, abs=1e-3)
        assert found["verdict"] in {"cannot say", *found["probabilities"]}
        assert set(found["set"]) <= set(found["probabilities"])
        assert bool(found["reason"]) == (found["verdict"] == "cannot say")
        assert set(found["outlyingness"]) >= {"outside", "share", "p_value"}
        assert all(one["sentence"] for one in found["evidence"])


def test_an_untrained_network_is_told_with_its_scheme_and_nothing_else_is_said(inspects, tmp_path):
    torch.manual_seed(0)
    module = small_cnn(16)
    for layer in module:
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    found = inspects(saved(module.state_dict(), tmp_path / "new.safetensors"))
    assert found.facts["initialization"]["state"] == "at initialisation"
    assert found.facts["initialization"]["scheme"] == "he_normal"
    assert {verdict.verdict for verdict in found.properties.values()} == {"cannot say"}
    assert all(set(verdict.set) == set(verdict.probabilities) for verdict in found.properties.values())
    assert found.properties["initialization"].reason.endswith("by the facts they were drawn by he_normal")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_a_fact_and_no_error(inspects, tmp_path, value):
    tensors = small_cnn().state_dict()
    tensors["7.weight"][0, 0] = value
    found = inspects(saved(tensors, tmp_path / "bad.safetensors"))
    assert list(found.facts["not_finite"]) == ["7/kernel"]
    for verdict in found.properties.values():
        assert verdict.verdict == "cannot say"
        assert verdict.reason.startswith("weights of 7/kernel are NaN or infinite")
        assert set(verdict.set) == set(verdict.probabilities)
    json.dumps(found.to_json(), allow_nan=False)


@pytest.mark.parametrize(
    "tensors",
    [
        {"fc.weight": torch.randn(10, 784), "fc.bias": torch.randn(10)},
        {"bn.weight": torch.ones(8), "bn.bias": torch.zeros(8), "bn.running_mean": torch.zeros(8)},
        {"conv.weight": torch.randn(8, 1, 9), "fc.weight": torch.randn(3, 8)},
        {"embedding.weight": torch.randn(20_000, 16)},
        {"a.weight": torch.zeros(0, 5), "b.weight": torch.randn(4, 5)},
        {"scale": torch.tensor(1.5)},
        {"a.weight": torch.full((30, 40), 1e38), "b.weight": torch.full((10, 30), -1e-38)},
        {"a.weight": torch.zeros(30, 40), "a.bias": torch.zeros(30)},
    ],
    ids=["one layer", "only a norm", "1-D", "only an embedding", "no outputs", "a number", "extremes", "zeros"],
)
def test_networks_at_the_edge_get_cannot_say_rather_than_an_error(inspects, tmp_path, tensors):
    found = inspects(saved(tensors, tmp_path / "edge.safetensors"))
    assert {verdict.verdict for verdict in found.properties.values()} == {"cannot say"}
    json.dumps(found.to_json(), allow_nan=False)


def test_of_a_network_with_thousands_of_layers_the_facts_are_told_alone(inspects, tmp_path):
    tensors = {f"{number}.weight": torch.ones(2, 2) * number for number in range(2001)}
    found = inspects(saved(tensors, tmp_path / "deep.safetensors"))
    assert "2,001 layers with weights" in found.properties["activation"].reason
    assert len(found.architecture["layers"]) == 2001


def test_a_run_of_a_zoo_is_read_with_its_own_layout(inspects, sampled_zoo):
    run = Zoo(sampled_zoo)[2]
    found = inspects(sampled_zoo / "runs" / "0000" / "0000002.safetensors")
    assert found.facts["format"] == "weightprint_run"
    assert [layer["name"] for layer in found.architecture["layers"]] == list(dict.fromkeys(t.layer for t in run.layout))
    assert found.facts["declared"]["optimizer"] == run.properties["optimizer"]
    assert found.facts["declared_properties"]["activation"] == run.properties["activation"]
    rebuilt = Network.open(sampled_zoo / "runs" / "0000" / "0000002.safetensors").weights
    assert np.array_equal(rebuilt, run.weights[-1:])


def test_a_damaged_run_is_one_error(inspects, zoo_copy):
    path = zoo_copy / "runs" / "0000" / "0000002.safetensors"
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptFile, match="the checksum does not match"):
        inspects(path)


@pytest.fixture(scope="module")
def own_metas(tmp_path_factory, sampled_zoo):
    """Meta-classifiers that read whole vectors and slices; with six runs they know next to nothing."""
    found = {}
    for model, settings in {"layer_trees": {}, "slice_trees": {"slice_length": 200}}.items():
        meta = build(model, target="dataset", snapshots="all", converged=False, **settings).fit(Zoo(sampled_zoo))
        found[model] = tmp_path_factory.mktemp("metas") / f"{model}.meta"
        meta.save(found[model])
    return found


@pytest.mark.parametrize("model", ["layer_trees", "slice_trees"])
def test_a_meta_classifier_of_ones_own_adds_its_property(inspects, own_metas, trained_cnn, model):
    found = inspects(trained_cnn, meta=own_metas[model])
    assert set(found.properties) == {*PROPERTIES, "dataset"}
    own = found.properties["dataset"]
    assert set(own.probabilities) == {"digits", "shapes"}
    assert own.by == str(own_metas[model])
    assert own.to_json()["outlyingness"] is None
    assert inspects(trained_cnn, meta=own_metas[model]).properties["dataset"] == own


def test_a_network_shorter_than_one_slice_is_nothing_a_meta_classifier_of_slices_can_say_of(
    inspects, own_metas, tmp_path
):
    path = saved({"fc.weight": torch.randn(2, 30)}, tmp_path / "short.safetensors")
    own = inspects(path, meta=own_metas["slice_trees"]).properties["dataset"]
    assert own.verdict == "cannot say"
    assert own.reason == "slice_trees cannot read it: it has fewer weights than one slice"


def test_a_meta_classifier_that_reads_no_weights_is_refused(inspects, sampled_zoo, trained_cnn):
    meta = build("majority", target="dataset", converged=False, snapshots="all").fit(Zoo(sampled_zoo))
    with pytest.raises(MetaError, match="majority reads no weights"):
        inspects(trained_cnn, meta=meta)


def test_without_the_shipped_meta_classifier_the_error_says_what_to_do(monkeypatch, tmp_path, trained_cnn):
    import sys

    from weightprint.inspection.inspect import inspect
    from weightprint.inspection.shipped import Shipped

    monkeypatch.setattr(sys.modules[inspect.__module__], "shipped", lambda: Shipped.load(tmp_path / "nowhere"))
    with pytest.raises(MetaError, match="this installation holds no meta-classifier") as caught:
        inspect(trained_cnn)
    assert caught.value.hint == "install weightprint again, with its data files"


def test_full_looks_at_weights_that_a_sample_misses(inspects, tmp_path, monkeypatch):
    from weightprint.inspection import facts

    monkeypatch.setattr(facts, "LARGE", 1000)
    tensors = {"fc.weight": torch.randn(400, 50), "out.weight": torch.randn(10, 400)}
    path = saved(tensors, tmp_path / "large.safetensors")
    sampled, full = inspects(path), inspects(path, full=True)

    assert "fc/kernel" in sampled.facts["sampled"]
    assert full.facts["sampled"] == []


@pytest.mark.parametrize("full", [False, True])
def test_a_weight_that_is_nan_outside_the_sample_is_counted_all_the_same(inspects, tmp_path, monkeypatch, full):
    from weightprint.features.layers import chosen
    from weightprint.inspection import facts

    monkeypatch.setattr(facts, "LARGE", 1000)
    weights = torch.randn(400, 50)
    weights[next(row for row in range(400) if row not in chosen(400, 20)), 3] = float("nan")
    path = saved({"fc.weight": weights, "out.weight": torch.randn(10, 400)}, tmp_path / "large.safetensors")
    found = inspects(path, full=full)
    assert found.facts["sampled"] == ([] if full else ["fc/kernel"])
    assert found.facts["not_finite"] == {"fc/kernel": {"nan": 1, "infinite": 0}}
    assert {verdict.verdict for verdict in found.properties.values()} == {"cannot say"}


@pytest.mark.parametrize("content", [b"", b"this is a text\n" * 50, b"\x10\0\0\0\0\0\0\0{}              "])
def test_what_is_no_network_is_one_error(inspects, tmp_path, content):
    path = tmp_path / "notes.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        inspects(path)
    assert str(path) in caught.value.message
    assert caught.value.hint
