"""ONNX graphs: weights found by what the graph does with them, checked against the reference evaluator."""

import sys
import warnings

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from onnx.reference import ReferenceEvaluator  # noqa: E402

from weightprint.errors import CheckpointError  # noqa: E402
from weightprint.formats import open_checkpoint  # noqa: E402

RNG = np.random.default_rng(0)


def saved(path, nodes, weights, shape, *, producer="", out="y"):
    """Writes a graph with input x [shape] and initialisers `weights`; returns it."""
    initialisers = [w if hasattr(w, "dims") else numpy_helper.from_array(w, n) for n, w in weights.items()]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(out, TensorProto.FLOAT, None)],
        initialisers,
    )
    model = helper.make_model(graph, producer_name=producer, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    return model


def normal(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def node(operation, inputs, outputs, **attributes):
    return helper.make_node(operation, inputs.split(), outputs.split(), name=f"{operation}_{outputs}", **attributes)


LINEAR = {
    "Gemm, turned": ([node("Gemm", "x w b", "y", transB=1)], (3, 4), "oi"),
    "Gemm": ([node("Gemm", "x w b", "y")], (4, 3), "io"),
    "MatMul": ([node("MatMul", "x w", "m"), node("Add", "m b", "y")], (4, 3), "io"),
    "MatMul of a Transpose": (
        [node("Transpose", "w", "t", perm=[1, 0]), node("MatMul", "x t", "m"), node("Add", "b m", "y")],
        (3, 4),
        "oi",
    ),
    "Gemm of a Transpose of an Identity of a Cast": (
        [
            node("Identity", "w", "i"),
            node("Cast", "i", "c", to=TensorProto.FLOAT),
            node("Transpose", "c", "t"),
            node("Gemm", "x t b", "y"),
        ],
        (3, 4),
        "oi",
    ),
}


@pytest.mark.parametrize("form", list(LINEAR))
def test_a_linear_layer_is_found_however_the_graph_writes_it(tmp_path, form):
    nodes, shape, axes = LINEAR[form]
    model = saved(tmp_path / "a.onnx", nodes, {"w": normal(*shape), "b": normal(3)}, [2, 4])
    checkpoint = open_checkpoint(tmp_path / "a.onnx")
    assert (checkpoint["w"].kind, checkpoint["w"].axes) == ("kernel", axes)
    assert (checkpoint["b"].kind, checkpoint["b"].axes) == ("bias", "o")
    x = normal(2, 4)
    (expected,) = ReferenceEvaluator(model).run(None, {"x": x})
    kernel, bias = (t.values for t in sorted(checkpoint.canonical(), key=lambda t: t.kind, reverse=True))
    np.testing.assert_allclose(x @ kernel.T + bias, expected, rtol=1e-5)


def convolutional(path, *, channels_last=False, producer=""):
    turn = [node("Transpose", "r", "t", perm=[0, 2, 3, 1])] if channels_last else []
    nodes = [
        node("Conv", "x k kb", "c", pads=[1, 1, 1, 1], strides=[2, 2]),
        node("BatchNormalization", "c g be m v", "n"),
        node("Relu", "n", "r"),
        *turn,
        node("Constant", "", "s", value=numpy_helper.from_array(np.array([1, -1]))),
        node("Reshape", f"{'t' if channels_last else 'r'} s", "f"),
        node("Gemm", "f w b", "y", transB=1),
    ]
    weights = {"k": normal(5, 2, 3, 3), "kb": normal(5), "g": normal(5), "be": normal(5), "m": normal(5)}
    weights |= {"v": normal(5) ** 2, "w": normal(3, 45), "b": normal(3)}
    saved(path, nodes, weights, [1, 2, 6, 6], producer=producer)


def test_convolutions_norms_and_the_wiring(tmp_path):
    convolutional(tmp_path / "a.onnx", producer="pytorch")
    checkpoint = open_checkpoint(tmp_path / "a.onnx")
    assert {t.name: (t.kind, t.axes) for t in checkpoint.tensors} == {
        "k": ("kernel", "oihw"),
        "kb": ("bias", "o"),
        "g": ("gamma", "o"),
        "be": ("beta", "o"),
        "m": ("moving_mean", "o"),
        "v": ("moving_variance", "o"),
        "w": ("kernel", "oi"),
        "b": ("bias", "o"),
    }
    assert checkpoint.graph.wiring == [
        ("x", ()),
        ("Conv_c", ("x",)),
        ("BatchNormalization_n", ("Conv_c",)),
        ("Relu_r", ("BatchNormalization_n",)),
        ("Reshape_f", ("Relu_r",)),
        ("Gemm_y", ("Reshape_f",)),
    ]
    conv = checkpoint.graph.layers[1]
    assert conv.tensors == ("k", "kb")
    assert conv.attributes == {"pads": [1, 1, 1, 1], "strides": [2, 2]}
    assert checkpoint.declared["producer"] == "pytorch"
    assert checkpoint.flatten_order == "chw"


def test_a_transpose_before_the_flattening_is_hwc(tmp_path):
    convolutional(tmp_path / "a.onnx", channels_last=True)
    assert open_checkpoint(tmp_path / "a.onnx").flatten_order == "hwc"


def test_quantised_weights_are_named_and_skipped(tmp_path):
    weights = {
        "q": np.ones((4, 3), np.int8),
        "scale": np.array(0.5, np.float32),
        "zero": np.array(0, np.int8),
        "b": normal(3),
    }
    nodes = [node("DequantizeLinear", "q scale zero", "w"), node("MatMul", "x w", "m"), node("Add", "m b", "y")]
    saved(tmp_path / "a.onnx", nodes, weights, [2, 4])
    checkpoint = open_checkpoint(tmp_path / "a.onnx")
    assert [t.name for t in checkpoint.tensors] == ["b"]
    assert "quantised (int8)" in {s.reason for s in checkpoint.skipped if s.name == "q"}


@pytest.mark.parametrize(
    ("code", "values"),
    [
        (TensorProto.FLOAT, [0.5, -2.0]),
        (TensorProto.DOUBLE, [0.5, -2.0]),
        (TensorProto.FLOAT16, [0.5, -2.0]),
        (TensorProto.BFLOAT16, [0.5, -2.0]),
        (TensorProto.FLOAT8E4M3FN, [0.5, -2.0]),
        (TensorProto.FLOAT8E5M2, [0.5, -2.0]),
    ],
)
@pytest.mark.parametrize("raw", [True, False])
def test_number_formats_in_both_ways_of_storing_them(tmp_path, code, values, raw):
    tensor = helper.make_tensor("w", code, [2, 1], values)
    if raw:
        tensor = numpy_helper.from_array(numpy_helper.to_array(tensor), "w")
    saved(tmp_path / "a.onnx", [node("MatMul", "x w", "y")], {"w": tensor}, [1, 2])
    np.testing.assert_array_equal(open_checkpoint(tmp_path / "a.onnx")["w"].read(), [[0.5], [-2.0]])


def external(path, location, length=24):
    tensor = numpy_helper.from_array(np.arange(6, dtype=np.float32).reshape(2, 3), "w")
    data = tensor.raw_data
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, "offset": "4", "length": str(length)}.items():
        tensor.external_data.add(key=key, value=value)
    saved(path, [node("MatMul", "x w", "y")], {"w": tensor}, [1, 2])
    return b"\0" * 4 + data


def test_data_in_a_file_beside_the_model(tmp_path):
    (tmp_path / "a.data").write_bytes(external(tmp_path / "a.onnx", "a.data"))
    np.testing.assert_array_equal(open_checkpoint(tmp_path / "a.onnx")["w"].read(), np.arange(6).reshape(2, 3))


@pytest.mark.parametrize("trick", ["../a.data", "/absolute", "link", "missing.data"])
def test_data_outside_the_models_folder_are_never_read(tmp_path, trick):
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "a.data").write_bytes(
        external(folder / "a.onnx", str(tmp_path / "a.data") if trick[0] == "/" else trick)
    )
    (folder / "link").symlink_to(tmp_path / "a.data")
    with pytest.raises(CheckpointError, match="it refers to"):
        open_checkpoint(folder / "a.onnx")


def test_a_shape_that_its_data_do_not_fill_is_refused(tmp_path):
    tensor = numpy_helper.from_array(normal(2, 3), "w")
    tensor.dims[0] = 1 << 40
    saved(tmp_path / "a.onnx", [node("MatMul", "x w", "y")], {"w": tensor}, [1, 2])
    with pytest.raises(CheckpointError, match="needs 13,194,139,533,312 bytes, the file has 24"):
        open_checkpoint(tmp_path / "a.onnx")


def test_a_network_exported_by_torch(tmp_path):
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(48, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of the exporter that needs no onnxscript
        torch.onnx.export(model, (torch.zeros(1, 1, 6, 6),), tmp_path / "a.onnx", dynamo=False)
    checkpoint = open_checkpoint(tmp_path / "a.onnx")
    for name, tensor in model.state_dict().items():
        np.testing.assert_array_equal(checkpoint[name].read(), tensor.numpy())


def test_without_onnx_one_sentence_names_the_extra(tmp_path, monkeypatch):
    convolutional(tmp_path / "a.onnx")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(CheckpointError, match=r'ONNX files are read with onnx: pip install "weightprint\[formats\]"$'):
        open_checkpoint(tmp_path / "a.onnx")
