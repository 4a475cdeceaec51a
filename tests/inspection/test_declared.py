"""What a file says of itself stands beside the verdict, in the same names."""

import os

import pytest
import torch

from tests.inspection.conftest import small_cnn
from weightprint.formats import open_checkpoint
from weightprint.inspection.declared import declared_properties, disagreements

os.environ.setdefault("KERAS_BACKEND", "torch")


def told(path):
    checkpoint = open_checkpoint(path)
    return declared_properties(checkpoint.declared, checkpoint.graph)


def keras_model(optimizer, activation="tanh", initializer="he_normal"):
    keras = pytest.importorskip("keras")
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Conv2D(3, 3, activation=activation, kernel_initializer=initializer),
            layers.Flatten(),
            layers.Dense(10, activation="softmax", kernel_initializer=initializer),
        ]
    )
    model.compile(optimizer=optimizer, loss="sparse_categorical_crossentropy")
    return model


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("suffix", [".h5", ".keras"])
@pytest.mark.parametrize(
    ("rule", "settings", "name"),
    [
        ("Adam", {}, "adam"),
        ("SGD", {}, "sgd"),
        ("SGD", {"momentum": 0.9}, "momentum"),
        ("SGD", {"momentum": 0.9, "nesterov": True}, "nesterov"),
    ],
)
def test_of_keras(tmp_path, suffix, rule, settings, name):
    keras = pytest.importorskip("keras")
    path = tmp_path / f"model{suffix}"
    keras_model(getattr(keras.optimizers, rule)(**settings)).save(path)
    assert told(path) == {
        "optimizer": name,
        "optimizer_family": "adaptive" if name == "adam" else "sgd_like",
        "activation": "tanh",
        "initialization": "he_normal",
    }


def test_of_pytorch_with_its_optimizer(tmp_path):
    module = small_cnn()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    optimizer.step()
    torch.save({"model": module.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "a.pt")
    assert told(tmp_path / "a.pt") == {"optimizer": "momentum", "optimizer_family": "sgd_like"}


def test_an_onnx_graph_names_its_activation_and_not_that_of_its_output(tmp_path):
    onnx = pytest.importorskip("onnx")
    import numpy as np

    def weights(name, *shape):
        return onnx.numpy_helper.from_array(np.ones(shape, np.float32), name)

    nodes = [
        onnx.helper.make_node("Gemm", ["x", "w1", "b1"], ["h"]),
        onnx.helper.make_node("LeakyRelu", ["h"], ["a"]),
        onnx.helper.make_node("Gemm", ["a", "w2", "b2"], ["y"]),
        onnx.helper.make_node("Sigmoid", ["y"], ["z"]),
    ]
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes,
        "g",
        [value("x", 1, [1, 6])],
        [value("z", 1, [1, 3])],
        [weights("w1", 6, 5), weights("b1", 5), weights("w2", 5, 3), weights("b2", 3)],
    )
    onnx.save(onnx.helper.make_model(graph), tmp_path / "m.onnx")
    assert told(tmp_path / "m.onnx") == {"activation": "leaky_relu"}


def test_a_file_that_names_two_activations_names_none():
    from weightprint.formats.named_tensors import Graph, Layer

    layers = (Layer("a", "Gemm", (), ("w",)), Layer("b", "Relu"), Layer("c", "Tanh"), Layer("d", "Gemm", (), ("v",)))
    assert declared_properties({}, Graph(layers)) == {}


def test_a_disagreement_is_one_sentence_and_silence_is_none():
    said = {"optimizer_family": "adaptive", "activation": "relu", "optimizer": "rmsprop"}
    verdicts = {"optimizer_family": "sgd_like", "activation": "cannot say", "optimizer": "rmsprop_torch"}
    assert disagreements(said, verdicts, "cannot say") == [
        "optimizer_family: the file itself says adaptive, its weights look like sgd_like"
    ]
