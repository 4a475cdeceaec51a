"""Layouts of named tensors: real networks, saved by the libraries that people use, read by us."""

import os

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.formats import architectures
from weightprint.features.anatomy import anatomy, anatomy_of
from weightprint.features.layers import layers_of
from weightprint.formats import open_checkpoint
from weightprint.formats.layout import layout_of, tensor_reader, weight_vector
from weightprint.zoo.layout import Flatten, Layout

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras's own
NORM = ["beta", "gamma", "moving_mean", "moving_variance"]


def read(path):
    checkpoint = open_checkpoint(path)
    return checkpoint, layout_of(checkpoint.tensors, graph=checkpoint.graph, flatten_order=checkpoint.flatten_order)


def of_module(folder, module):
    torch.save(module.state_dict(), folder / "model.pt")
    return read(folder / "model.pt")[1]


def kernels(layout):
    return {layer.name: layer for layer in layers_of(layout) if layer.kernel is not None}


def test_lenet_is_two_convolutions_and_a_map_of_16_channels(tmp_path):
    layout = of_module(tmp_path, architectures.LeNet())
    assert [t.name for t in layout][:4] == ["conv1/kernel", "conv1/bias", "conv2/kernel", "conv2/bias"]
    assert [t.part for t in layout if t.kind == "kernel"] == ["conv"] * 2 + ["fc"] * 3
    assert layout["conv1/kernel"].reads == ()
    assert layout["fc1/kernel"].flatten == Flatten("chw", (16, 5, 5))
    assert layout["fc2/kernel"].flatten is None
    assert layout["fc3/bias"].source == "fc3.bias"
    assert Layout.from_json(layout.to_json()) == layout


def test_a_first_fully_connected_layer_reads_an_image_where_its_size_says_so(tmp_path):
    layout = of_module(tmp_path, architectures.MLP(784, 32, 10))
    assert layout["net.1/kernel"].flatten == Flatten("chw", (1, 28, 28))
    assert layout["net.3/kernel"].flatten is None
    assert of_module(tmp_path, architectures.MLP(100, 32, 10))["net.1/kernel"].flatten is None


def test_each_batch_norm_of_a_vgg_belongs_to_the_convolution_before_it(tmp_path):
    layout = of_module(tmp_path, architectures.VGG())
    layers = kernels(layout)
    assert list(layers)[-2:] == ["classifier.0", "classifier.3"]
    convs = [layer for layer in layers.values() if layer.is_conv]
    assert len(convs) == 6
    assert all(list(layer.others) == ["bias", *NORM] for layer in convs)
    assert layout["features.0/moving_variance"].source == "features.1.running_var"
    assert layout["classifier.0/kernel"].flatten == Flatten("chw", (24, 2, 2))


def test_a_residual_network_is_wired_around_its_shortcuts(tmp_path):
    layout = of_module(tmp_path, architectures.ResNet18())
    layers = kernels(layout)
    assert len(layers) == 21
    assert len(layers_of(layout)) == 21  # no norm stands alone
    assert all(list(layer.others) == NORM for name, layer in layers.items() if name != "fc")
    assert layout["layer3.0.downsample.0/gamma"].source == "layer3.0.downsample.1.weight"
    assert layers["layer2.0.downsample.0"].reads == layers["layer2.0.conv1"].reads == ("layer1.1.conv2",)
    assert layers["layer2.1.conv1"].reads == ("layer2.0.conv2", "layer2.0.downsample.0")
    assert layers["fc"].flatten is None


def test_tokens_and_positions_are_other_and_norms_of_a_transformer_stand_alone(tmp_path):
    layout = of_module(tmp_path, architectures.ViT())
    other = {t.name: t.role for t in layout if t.kind == "other"}
    assert other == {"cls_token": "token", "pos_embed": "position"}
    assert [t.name for t in layout if t.part == "conv"] == ["patch_embed.proj/kernel", "patch_embed.proj/bias"]
    assert layout["blocks.0.attn.qkv/kernel"].role == "attention"
    assert [layer.name for layer in layers_of(layout) if layer.kernel is None] == [
        "blocks.0.norm1",
        "blocks.0.norm2",
        "blocks.1.norm1",
        "blocks.1.norm2",
        "norm",
    ]


def test_depthwise_and_grouped_convolutions_have_their_groups(tmp_path):
    layout = of_module(tmp_path, architectures.Separable())
    groups = {name: layer.kernel.groups for name, layer in kernels(layout).items()}
    assert groups == {"stem": 1, "dw1": 12, "pw1": 1, "dw2": 24, "pw2": 1, "grouped": 4, "head": 1}
    assert kernels(layout)["dw2"].reads == ("pw1",)


def test_windows_of_one_axis_stay_of_one_axis(tmp_path):
    layout = of_module(tmp_path, architectures.Conv1dNet())
    assert layout["conv1/kernel"].axes == "oiw"
    assert layout["fc/kernel"].flatten == Flatten("chw", (12, 1, 7))
    weights = np.random.default_rng(0).normal(size=(1, layout.size)).astype(np.float32)
    names = anatomy(weights, layout)[1]
    assert "conv first: kernel.window.along" in names
    assert not [name for name in names if "window.down" in name or "window.corners" in name]


def test_both_kernels_of_a_recurrent_layer_are_layers(tmp_path):
    layout = of_module(tmp_path, architectures.LSTMClassifier())
    layers = kernels(layout)
    assert list(layers) == ["lstm.ih_l0", "lstm.hh_l0", "lstm.ih_l1", "lstm.hh_l1", "fc"]
    assert layers["lstm.hh_l1"].others["bias"].source == "lstm.bias_hh_l1"
    assert {layer.kernel.role for name, layer in layers.items() if name != "fc"} == {"recurrent"}
    assert layout["embedding.weight"].role == "embedding"
    assert not layout.segments("conv")


def test_norms_that_are_defined_last_find_their_convolution_by_number(tmp_path):
    layout = of_module(tmp_path, architectures.NormsLast())
    assert layout["conv1/gamma"].source == "bn1.weight"
    assert layout["conv2/moving_mean"].source == "bn2.running_mean"


def test_a_head_that_shares_its_weights_with_an_embedding_says_so(tmp_path):
    layout = of_module(tmp_path, architectures.TiedLanguageModel())
    assert layout["lm_head/kernel"].tied_to == "wte.weight"
    assert layout["wpe.weight"].role == "position"


def test_a_file_sorted_by_name_is_brought_into_forward_order(tmp_path):
    save_file(architectures.VGG().state_dict(), tmp_path / "vgg.safetensors")
    checkpoint, layout = read(tmp_path / "vgg.safetensors")
    assert checkpoint.tensors[0].name.startswith("classifier")
    assert next(iter(kernels(layout))) == "features.0"
    assert list(kernels(layout))[-1] == "classifier.3"


def test_arrays_of_a_network_written_with_numpy_are_layers(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {"W1": (784, 32), "b1": (1, 32), "W2": (32, 10), "b2": (1, 10)}
    np.savez(tmp_path / "net.npz", **{name: rng.normal(size=shape) for name, shape in arrays.items()})
    layout = read(tmp_path / "net.npz")[1]
    assert [(t.layer, t.kind, t.source) for t in layout] == [
        ("1", "kernel", "W1"),
        ("1", "bias", "b1"),
        ("2", "kernel", "W2"),
        ("2", "bias", "b2"),
    ]


@pytest.mark.parametrize(
    "module",
    [
        architectures.LeNet,
        architectures.VGG,
        architectures.ResNet18,
        architectures.ViT,
        architectures.Separable,
        architectures.Conv1dNet,
        architectures.LSTMClassifier,
        architectures.TiedLanguageModel,
    ],
)
def test_every_network_has_finite_features_read_tensor_by_tensor_as_in_one_vector(tmp_path, module):
    torch.manual_seed(0)
    torch.save(module().state_dict(), tmp_path / "model.pt")
    checkpoint, layout = read(tmp_path / "model.pt")
    table, names = anatomy_of(tensor_reader(checkpoint.tensors), 1, layout)
    assert np.isfinite(table).all()
    assert len(set(names)) == len(names)
    whole, _ = anatomy(weight_vector(checkpoint.tensors, layout), layout)
    np.testing.assert_array_equal(whole, table)


@pytest.fixture(scope="module")
def keras():
    os.environ.setdefault("KERAS_BACKEND", "torch")
    return pytest.importorskip("keras")


def keras_lenet(keras):
    layers = keras.layers
    return keras.Sequential(
        [
            layers.Input((28, 28, 1)),
            layers.Conv2D(6, 5, padding="same", activation="relu", name="conv1"),
            layers.MaxPooling2D(),
            layers.Conv2D(16, 5, activation="relu", name="conv2"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(120, activation="relu", name="fc1"),
            layers.Dense(84, activation="relu", name="fc2"),
            layers.Dense(10, name="fc3"),
        ]
    )


@pytest.mark.parametrize("suffix", ["h5", "keras", "weights.h5"])
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_the_same_network_in_pytorch_and_in_keras_has_equal_features(tmp_path, keras, suffix):
    """Other axes, another flatten order, another file: not one feature differs in its last bit."""
    torch.manual_seed(0)
    module = architectures.LeNet()
    state = {name: value.numpy() for name, value in module.state_dict().items()}
    model = keras_lenet(keras)
    for name in ("conv1", "conv2", "fc1", "fc2", "fc3"):
        kernel = state[f"{name}.weight"]
        if name == "fc1":
            kernel = kernel.reshape(120, 16, 5, 5).transpose(0, 2, 3, 1).reshape(120, -1)
        kernel = kernel.transpose(2, 3, 1, 0) if kernel.ndim == 4 else kernel.T
        model.get_layer(name).set_weights([kernel, state[f"{name}.bias"]])
    torch.save(module.state_dict(), tmp_path / "lenet.pt")
    path = tmp_path / f"lenet.{suffix}"
    model.save_weights(path) if suffix == "weights.h5" else model.save(path)
    tables = []
    for file in (tmp_path / "lenet.pt", path):
        checkpoint, layout = read(file)
        tables.append(anatomy_of(tensor_reader(checkpoint.tensors), 1, layout))
    assert layout["fc1/kernel"].flatten == Flatten("hwc", (16, 5, 5))
    assert tables[0][1] == tables[1][1]
    np.testing.assert_array_equal(tables[0][0], tables[1][0])


def test_norms_and_wiring_of_a_keras_model_come_from_its_configuration(tmp_path, keras):
    layers = keras.layers
    inputs = keras.Input((32, 32, 3))
    x = layers.Conv2D(8, 3, padding="same", name="a")(inputs)
    x = layers.BatchNormalization(name="norm_a")(x)
    shortcut = layers.Conv2D(8, 1, name="b")(inputs)
    x = layers.Add()([layers.ReLU()(x), shortcut])
    x = layers.DepthwiseConv2D(3, name="depthwise")(x)
    x = layers.GlobalAveragePooling2D()(x)
    keras.Model(inputs, layers.Dense(10, name="output")(x)).save(tmp_path / "net.keras")
    layout = read(tmp_path / "net.keras")[1]
    found = kernels(layout)
    assert list(found["a"].others) == ["bias", *NORM]
    assert layout["b/kernel"].reads == ()
    assert found["depthwise"].reads == ("a", "b")
    assert found["depthwise"].kernel.groups == 8
    assert found["output"].reads == ("depthwise",)


def test_a_keras_mlp_reads_its_image_channels_last(tmp_path, keras):
    layers = keras.layers
    model = keras.Sequential([layers.Input((32, 32, 3)), layers.Flatten(), layers.Dense(16), layers.Dense(10)])
    model.save(tmp_path / "mlp.keras")
    layout = read(tmp_path / "mlp.keras")[1]
    first, output = kernels(layout).values()
    assert first.flatten == Flatten("hwc", (3, 32, 32))
    assert output.reads == (first.name,)
