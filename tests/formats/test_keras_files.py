"""Keras's files, written by Keras: weights turned into canonical order, layers and training told."""

import os
from itertools import pairwise

os.environ.setdefault("KERAS_BACKEND", "torch")

import numpy as np
import pytest

keras = pytest.importorskip("keras")
h5py = pytest.importorskip("h5py")

from weightprint.errors import CheckpointError  # noqa: E402
from weightprint.formats import open_checkpoint  # noqa: E402

L = keras.layers
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras's own


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    inner = keras.Sequential([L.Input((4, 4, 6)), L.Conv2D(3, 1, name="inner_conv")], name="block")
    network = keras.Sequential(
        [
            L.Input((8, 8, 1)),
            L.Conv2D(6, 3, activation="relu", name="first"),
            L.BatchNormalization(name="norm"),
            L.DepthwiseConv2D(3, depth_multiplier=1),
            inner,
            L.Conv2DTranspose(5, 2),
            L.Flatten(),
            L.Dense(7, name="a_late_name"),
            L.Dense(3),
        ]
    )
    network.compile(keras.optimizers.RMSprop(learning_rate=0.25), "mse")
    for layer in network.layers:  # nothing stays at a value that another tensor has
        layer.set_weights([np.random.default_rng(1).uniform(0.1, 1, w.shape) for w in layer.get_weights()])
    return network


@pytest.fixture(scope="module")
def files(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("keras")
    for name in ("a.keras", "a.h5"):  # in this order: saving as .h5 takes the optimizer out of what .keras writes
        model.save(folder / name)
    model.save_weights(folder / "a.weights.h5")
    return folder


@pytest.mark.parametrize("name", ["a.h5", "a.keras", "a.weights.h5"])
def test_every_weight_in_the_models_order_with_its_kind_and_axes(model, files, name):
    checkpoint = open_checkpoint(files / name)
    assert checkpoint.format == {"a.h5": "keras_h5", "a.keras": "keras_v3", "a.weights.h5": "keras_weights_h5"}[name]
    assert [(t.kind, t.axes) for t in checkpoint.tensors] == [
        ("kernel", "hwio"),
        ("bias", "o"),
        ("gamma", "o"),
        ("beta", "o"),
        ("moving_mean", "o"),
        ("moving_variance", "o"),
        ("kernel", "hwgo"),
        ("bias", "o"),
        ("kernel", "hwio"),
        ("bias", "o"),
        ("kernel", "hwoi"),
        ("bias", "o"),
        ("kernel", "io"),
        ("bias", "o"),
        ("kernel", "io"),
        ("bias", "o"),
    ]
    weights = [weight for layer in model.layers for weight in layer.get_weights()]
    for tensor, expected in zip(checkpoint.tensors, weights, strict=True):
        np.testing.assert_array_equal(tensor.read(), expected)
    names = [t.name for t in checkpoint.tensors]
    assert names[0].startswith("first/")
    assert "a_late_name/kernel" in names
    assert checkpoint.flatten_order == "hwc"
    assert any("optimizer state" in s.reason for s in checkpoint.skipped)


def test_a_file_of_weights_alone_still_names_its_optimizer(files):
    assert open_checkpoint(files / "a.weights.h5").declared["optimizer"] == {"rule": "rmsprop", "learning_rate": 0.25}


@pytest.mark.parametrize("name", ["a.h5", "a.keras"])
def test_layers_wiring_and_training(files, name):
    checkpoint = open_checkpoint(files / name)
    layers = {layer.name: layer for layer in checkpoint.graph.layers}
    assert [layer.type for layer in checkpoint.graph.layers] == [
        *("Input", "Conv2D", "BatchNormalization", "DepthwiseConv2D", "Conv2D", "Conv2DTranspose"),
        *("Flatten", "Dense", "Dense"),
    ]
    wiring = checkpoint.graph.wiring
    assert all(inputs == (before,) for (before, _), (_, inputs) in pairwise(wiring))
    assert layers["first"].attributes["activation"] == "relu"
    assert layers["first"].tensors == ("first/kernel", "first/bias")
    assert layers["block/inner_conv"].tensors == ("block/inner_conv/kernel", "block/inner_conv/bias")
    assert checkpoint.declared["optimizer"]["rule"] == "rmsprop"
    assert checkpoint.declared["optimizer"]["learning_rate"] == 0.25
    assert checkpoint.declared["training_config"]["loss"] == "mse"


def test_kernels_in_canonical_order_compute_what_keras_computes(tmp_path):
    import torch

    network = keras.Sequential([L.Input((6, 6, 2)), L.Conv2D(4, 3), L.DepthwiseConv2D(3, depth_multiplier=2)])
    network.save(tmp_path / "a.keras")
    conv, conv_bias, depthwise, depthwise_bias = (
        torch.from_numpy(t.values.copy()) for t in open_checkpoint(tmp_path / "a.keras").canonical()
    )
    images = np.random.default_rng(0).normal(size=(1, 6, 6, 2)).astype(np.float32)
    x = torch.from_numpy(images).permute(0, 3, 1, 2)
    x = torch.conv2d(torch.conv2d(x, conv, conv_bias), depthwise, depthwise_bias, groups=4)
    expected = keras.ops.convert_to_numpy(network(images))
    np.testing.assert_allclose(x.permute(0, 2, 3, 1).numpy(), expected, atol=1e-5)


def test_a_functional_model_with_a_branch_tells_what_follows_what(tmp_path):
    start = L.Input((4,), name="start")
    left, right = L.Dense(3, name="left")(start), L.Dense(3, name="right")(start)
    model = keras.Model(start, L.Dense(2, name="end")(L.Add(name="sum")([left, right])))
    for name in ("a.h5", "a.keras"):
        model.save(tmp_path / name)
        checkpoint = open_checkpoint(tmp_path / name)
        assert dict(checkpoint.graph.wiring) == {
            "start": (),
            "left": ("start",),
            "right": ("start",),
            "sum": ("left", "right"),
            "end": ("sum",),
        }
        assert [t.name for t in checkpoint.tensors if t.kind == "kernel"] == [
            "left/kernel",
            "right/kernel",
            "end/kernel",
        ]


def test_recurrent_and_attention_weights_have_their_place(tmp_path):
    start = L.Input((5, 8))
    inside = L.MultiHeadAttention(2, 4, name="attention")(start, start)
    model = keras.Model(start, L.LSTM(3, name="memory")(L.LayerNormalization()(inside)))
    model.save(tmp_path / "a.keras")
    checkpoint = open_checkpoint(tmp_path / "a.keras")
    shapes = {t.source.removeprefix("layers/"): (t.kind, t.canonical_shape) for t in checkpoint.tensors}
    assert shapes["multi_head_attention/query_dense/vars/0"] == ("kernel", (8, 8))
    assert shapes["multi_head_attention/output_dense/vars/0"] == ("kernel", (8, 8))
    assert shapes["lstm/cell/vars/0"] == ("kernel", (12, 8))
    assert shapes["lstm/cell/vars/1"] == ("kernel", (12, 3))
    assert shapes["layer_normalization/vars/0"] == ("gamma", (8,))


def test_compressed_datasets_and_half_precision(tmp_path):
    values = np.random.default_rng(0).normal(size=(16, 4)).astype(np.float16)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.attrs["layer_names"] = ["dense"]
        group = file.create_group("dense")
        group.attrs["weight_names"] = ["dense/kernel:0"]
        group.create_dataset("dense/kernel:0", data=values, compression="gzip")
    (tensor,) = open_checkpoint(tmp_path / "a.h5").tensors
    assert (tensor.name, tensor.source, tensor.dtype) == ("dense/kernel", "dense/dense/kernel:0", "float16")
    np.testing.assert_array_equal(tensor.read(), values.astype(np.float32))


def test_links_and_cycles_are_not_followed(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["secret"] = np.ones((2, 2))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["layers/dense/vars/0"] = np.ones((3, 2), np.float32)
        file["layers/dense/vars/1"] = h5py.ExternalLink("other.h5", "secret")
        file["layers/dense/vars/2"] = h5py.SoftLink("/layers/dense/vars/0")
        file["layers/dense/again"] = file["layers"]
        layout = h5py.VirtualLayout((2, 2), "f4")
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "secret", (2, 2))
        file.create_virtual_dataset("layers/dense/vars/3", layout)
        outside = [(str(tmp_path / "other.h5"), 0, 16)]
        file.create_dataset("layers/dense/vars/4", (2, 2), "f4", external=outside)
    checkpoint = open_checkpoint(tmp_path / "a.h5")
    assert [t.source for t in checkpoint.tensors] == ["layers/dense/vars/0"]
    assert len(checkpoint.skipped) == 4
    assert all("not followed" in s.reason for s in checkpoint.skipped)


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_a_dataset_that_claims_terabytes_is_refused(tmp_path, compression):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        chunks = (1, 1 << 20) if compression else True
        file.create_dataset("layers/dense/vars/0", (1 << 20, 1 << 20), "f4", chunks=chunks, compression=compression)
    with pytest.raises(CheckpointError, match="would unfold to 4,398,046,511,104"):
        open_checkpoint(tmp_path / "a.h5")


def test_without_h5py_one_sentence_names_the_extra(files, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    for name in ("a.h5", "a.keras", "a.weights.h5"):
        with pytest.raises(
            CheckpointError, match=r'Keras \(HDF5\) files are read with h5py: pip install "weightprint\[formats\]"$'
        ):
            open_checkpoint(files / name)
