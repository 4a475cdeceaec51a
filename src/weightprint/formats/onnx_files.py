"""ONNX models: weights by what the graph does with them, turned where the graph turns them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from weightprint.errors import CheckpointError
from weightprint.formats.dtypes import FLOATS, FORMATS, stored_bytes, stored_dtype
from weightprint.formats.extras import require
from weightprint.formats.file_maps import FileMap, as_array, inside
from weightprint.formats.limits import MAX_TENSORS, damaged
from weightprint.formats.named_tensors import Checkpoint, Collector, Graph, Layer, Stored, checked_shape
from weightprint.formats.plain import plain, told_value
from weightprint.formats.roles import WINDOWS, vector_axes, vector_length

_PASSING = ("Identity", "Cast", "Transpose")
_NORMS = {
    "BatchNormalization": ("gamma", "beta", "moving_mean", "moving_variance"),
    **dict.fromkeys(("LayerNormalization", "InstanceNormalization", "GroupNormalization"), ("gamma", "beta")),
    **dict.fromkeys(("SimplifiedLayerNormalization", "RMSNormalization"), ("gamma",)),
}
_LINEAR = ("MatMul", "Gemm", "Conv", "ConvTranspose")
_ELEMENTWISE = {
    *("Relu", "LeakyRelu", "Elu", "Gelu", "Selu", "Celu", "Sigmoid", "Tanh", "Softplus", "Clip", "HardSwish"),
    *("HardSigmoid", "PRelu", "Dropout", "Identity", "Cast", "Mul", "Add", "BatchNormalization"),
}
_CHANNELS_LAST = [0, 2, 3, 1]
_CHANNELS_LAST_WRITERS = ("tf2onnx", "keras2onnx", "tflite2onnx", "keras")
_DTYPES = {form.onnx: name for name, form in FORMATS.items()}
_WORDS = {8: "strings", 21: "quantised (uint4)", 22: "quantised (int4)", 23: "quantised (float4)"}
_FIELDS = {
    **{"float32": "float_data", "float64": "double_data", "complex64": "float_data", "complex128": "double_data"},
    **{"int64": "int64_data", "uint64": "uint64_data", "uint32": "uint64_data"},
}
"""Number format → where numbers lie that are not given as bytes; of all others in `int32_data`."""

_EXTERNAL = 1


@dataclass(frozen=True)
class _Value:
    """A constant of the graph as a node sees it: an initialiser with its axes in another order.

    order: the initialiser's axis at each of the value's; None where it was made into something else
    """

    initialiser: str
    order: tuple[int, ...] | None


def read_onnx(path: Path, file: FileMap) -> Checkpoint:
    """An ONNX model; raises CheckpointError for what is none, for damaged ones, and where onnx is not installed."""
    require("onnx", "ONNX")
    import onnx

    model = onnx.ModelProto()
    try:
        model.ParseFromString(bytes(file.view()))
    except Exception as error:  # protobuf's DecodeError has no import path that is common to its versions
        raise CheckpointError("no ONNX model that can be read", hint="it is cut short or damaged: fetch it") from error
    if not model.graph.node:
        raise damaged("an ONNX model without a graph")
    if len(model.graph.node) > MAX_TENSORS or len(model.graph.initializer) > MAX_TENSORS:
        raise CheckpointError(f"an ONNX graph of more than {MAX_TENSORS:,} nodes or tensors")
    reader = _GraphReader(onnx, model.graph, TensorReader(path.parent))
    collector = reader.collected()
    declared: dict[str, Any] = {}
    if model.producer_name:
        declared["producer"] = f"{model.producer_name} {model.producer_version}".strip()
    for entry in model.metadata_props:
        declared[entry.key] = told_value(entry.value)
    order = "hwc" if reader.flattens_channels_last(str(model.producer_name)) else "chw"
    return collector.checkpoint(
        path, "onnx", declared=plain(declared), graph=Graph(tuple(reader.layers())), flatten_order=order
    )


class _GraphReader:
    def __init__(self, onnx: Any, graph: Any, tensors: TensorReader) -> None:
        self._onnx = onnx
        self._graph = graph
        self._stored: dict[str, Stored] = {}
        self._constants: dict[str, _Value] = {}
        self._inline: set[str] = set()
        self._roles: dict[str, tuple[str, str]] = {}
        self._quantised: set[str] = set()
        self._nodes: list[tuple[str, Any]] = []
        self._types: dict[str, str] = {}
        self._made_by: dict[str, str] = {}
        self._weights_of: dict[str, list[str]] = {}
        self._inputs = {value.name: value for value in graph.input}
        for tensor in graph.initializer:
            self._keep(tensor.name, tensors.stored(tensor))
        for name in self._inputs:
            if name not in self._constants:
                self._made_by[name] = name
        names = set(self._made_by)
        for number, node in enumerate(graph.node):
            self._follow(node, number, names, tensors)

    def _keep(self, name: str, stored: Stored) -> None:
        self._stored[name] = stored
        self._constants[name] = _Value(name, tuple(range(len(stored.shape))))

    def _follow(self, node: Any, number: int, names: set[str], tensors: TensorReader) -> None:
        """Takes in one node, in the graph's order: constants are followed, layers are kept with their weights."""
        attributes = {attribute.name: attribute for attribute in node.attribute}
        if node.op_type == "Constant" and "value" in attributes and node.output:
            self._keep(node.output[0], tensors.stored(attributes["value"].t))
            self._inline.add(node.output[0])
            return
        inputs = [self._constants.get(name) for name in node.input]
        if node.op_type == "DequantizeLinear" and inputs and inputs[0]:
            self._quantised.add(inputs[0].initialiser)
        if not any(name in self._made_by for name in node.input):  # nothing of the network's input comes here
            if inputs and inputs[0] and node.output:
                self._constants[node.output[0]] = self._passed(node.op_type, inputs[0], attributes)
            return
        if node.op_type == "Shape":
            return
        label = node.name or (node.output[0] if node.output else "") or f"{node.op_type}_{number}"
        while label in names:
            label = f"{label}_{number}"
        names.add(label)
        for position, value in enumerate(inputs):
            if value is not None:
                role = self._role(node, position, value, attributes)
                self._weights_of.setdefault(label, []).append(value.initialiser)
                if self._roles.get(value.initialiser, ("other",))[0] == "other":
                    self._roles[value.initialiser] = role
        self._nodes.append((label, node))
        self._types[label] = node.op_type
        for output in node.output:
            if output:
                self._made_by[output] = label

    @staticmethod
    def _passed(operation: str, value: _Value, attributes: dict[str, Any]) -> _Value:
        if operation not in _PASSING or value.order is None:
            return _Value(value.initialiser, None)
        if operation != "Transpose":
            return value
        turn = list(attributes["perm"].ints) if "perm" in attributes else list(range(len(value.order)))[::-1]
        if sorted(turn) != list(range(len(value.order))):
            raise CheckpointError("a Transpose that does not fit its tensor", hint="the file is damaged")
        return _Value(value.initialiser, tuple(value.order[axis] for axis in turn))

    def _role(self, node: Any, position: int, value: _Value, attributes: dict[str, Any]) -> tuple[str, str]:
        """(kind, axes as they are stored) of a constant at one input of a node."""
        shape, operation = self._stored[value.initialiser].shape, node.op_type
        if value.order is None:
            return "other", ""
        axes, kind, rank = "", "other", len(shape)
        if 1 <= position <= len(_NORMS.get(operation, ())):
            return _NORMS[operation][position - 1], "o" if rank == 1 else ""
        if operation in ("Conv", "ConvTranspose") and position == 1 and WINDOWS.get(rank):
            grouped = "group" in attributes and attributes["group"].i > 1
            kind = "kernel"
            if operation == "Conv":
                axes = "oi" + WINDOWS[rank]
            elif not grouped:
                axes = "io" + WINDOWS[rank]
        elif operation == "Gemm" and position < 2 and rank == 2:
            turned = ("transA", "transB")[position]
            first = "io" if position == 1 else "oi"
            kind, axes = "kernel", first[::-1] if turned in attributes and attributes[turned].i else first
        elif operation == "MatMul" and position < 2 and rank == 2:
            kind, axes = "kernel", ("oi", "io")[position]
        elif operation == "MatMul" and position < 2 and rank > 2:
            kind = "kernel"
        elif operation in ("LSTM", "GRU", "RNN") and position in (1, 2, 3):
            kind = "bias" if position == 3 else "kernel"
        elif (operation in _LINEAR and position == 2) or self._is_added(node, position, shape):
            return ("bias", vector_axes(shape)) if vector_length(shape) is not None else ("other", "")
        stored_axes = [""] * rank
        for axis, letter in zip(value.order, axes, strict=False):
            stored_axes[axis] = letter
        return kind, "".join(stored_axes)

    def _is_added(self, node: Any, position: int, shape: tuple[int, ...]) -> bool:
        """Whether a node adds a vector to what a layer with a kernel puts out."""
        if node.op_type != "Add" or vector_length(shape) is None or len(node.input) != 2:
            return False
        return self._types.get(self._made_by.get(node.input[1 - position], "")) in _LINEAR

    def collected(self) -> Collector:
        """The weights, in the order in which the graph uses them."""
        collector = Collector()
        used = [name for label, _ in self._nodes for name in self._weights_of.get(label, ())]
        for name in dict.fromkeys([*used, *self._stored]):
            stored = self._stored[name]
            kind, axes = self._roles.get(name, ("other", ""))
            if name in self._quantised:
                collector.skip(name, f"quantised ({stored.dtype})", stored.shape)
            elif kind == "other" and (name in self._inline or vector_length(stored.shape) == 1 or not stored.shape):
                continue  # a constant of the computation, no weight
            else:
                collector.add(name, stored, kind=kind, axes=axes)
        if any(len(a.g.node) > 0 for node in self._graph.node for a in node.attribute):
            collector.notes.append("the graphs inside its If and Loop nodes were not looked at")
        return collector

    def layers(self) -> Iterator[Layer]:
        """The nodes that the network's input passes through, and the input itself."""
        for name, value in self._inputs.items():
            if self._made_by.get(name) == name:
                shape = [side.dim_value or None for side in value.type.tensor_type.shape.dim]
                yield Layer(name, "Input", attributes={"shape": shape})
        taken = set(self._roles) - {name for name, (kind, _) in self._roles.items() if kind == "other"}
        for label, node in self._nodes:
            yield Layer(
                label,
                node.op_type,
                tuple(dict.fromkeys(self._made_by[name] for name in node.input if name in self._made_by)),
                tuple(name for name in self._weights_of.get(label, ()) if name in taken),
                {a.name: _attribute(self._onnx, a) for a in node.attribute if a.type not in (4, 5, 9, 10)},
            )

    def flattens_channels_last(self, producer: str) -> bool:
        """Whether maps are flattened height first: a Transpose to channels last stands before the Reshape."""
        nodes = dict(self._nodes)
        known = False
        for _, node in self._nodes:
            if node.op_type not in ("Reshape", "Flatten") or not node.input:
                continue
            seen: set[str] = set()
            before = nodes.get(self._made_by.get(node.input[0], ""))
            while before is not None and before.op_type in _ELEMENTWISE and before.input:
                label = self._made_by.get(before.input[0], "")
                before = nodes.get(label) if label not in seen else None
                seen.add(label)
            if before is None:
                continue
            known = True
            turn = [list(a.ints) for a in before.attribute if a.name == "perm"]
            if before.op_type == "Transpose" and turn == [_CHANNELS_LAST]:
                return True
        return not known and producer in _CHANNELS_LAST_WRITERS


def _attribute(onnx: Any, attribute: Any) -> Any:
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return plain(value if value is None or isinstance(value, (int, float, str)) else list(value))


class TensorReader:
    """Turns TensorProto messages into `Stored` numbers; `folder` is where external data may lie, and nowhere else."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._maps: dict[str, FileMap] = {}

    def stored(self, tensor: Any) -> Stored:
        """One tensor; raises CheckpointError where its shape does not fit its data or its data lie elsewhere."""
        name = tensor.name
        shape = checked_shape([int(side) for side in tensor.dims], f"tensor {name!r}")
        dtype = _DTYPES.get(tensor.data_type, _WORDS.get(tensor.data_type, "unknown number format"))
        if dtype not in FORMATS:
            return Stored.unread(shape, dtype)
        length = stored_bytes(dtype, shape)
        if tensor.data_location == _EXTERNAL:
            return Stored(shape, dtype, self._external(tensor, shape, dtype, length))
        if tensor.HasField("raw_data"):
            held = len(tensor.raw_data)
            stored = Stored(shape, dtype, lambda: as_array(tensor.raw_data, shape, dtype))
        else:
            numbers = getattr(tensor, _FIELDS.get(dtype, "int32_data"))
            held = len(numbers) // (2 if dtype.startswith("complex") else 1) * stored_dtype(dtype).itemsize
            stored = Stored(shape, dtype, lambda: _typed(np.array(numbers), dtype).reshape(shape))
        if held != length:
            raise CheckpointError(
                f"tensor {name!r} of shape {list(shape)} needs {length:,} bytes, the file has {held:,} of it",
                hint="the file is cut short or damaged: fetch it again",
            )
        return stored

    def _external(self, tensor: Any, shape: tuple[int, ...], dtype: str, length: int) -> Callable[[], np.ndarray]:
        where = {entry.key: entry.value for entry in tensor.external_data}
        location = where.get("location", "")
        if location not in self._maps:
            self._maps[location] = FileMap(inside(self._folder, location))
        try:
            offset, held = int(where.get("offset", "0")), int(where.get("length", str(length)))
        except ValueError:
            raise CheckpointError(f"tensor {tensor.name!r} lies at no place that can be") from None
        if held != length:
            raise CheckpointError(f"tensor {tensor.name!r} of shape {list(shape)} does not fit its {held:,} bytes")
        file = self._maps[location]
        file.view(offset, length)
        return lambda: file.array(offset, shape, dtype)


def _typed(values: np.ndarray, dtype: str) -> np.ndarray:
    """Numbers of a field as an array of the format's stored dtype."""
    kind = stored_dtype(dtype)
    if dtype.startswith("complex"):
        values = values[::2] + 1j * values[1::2]
    elif dtype in FLOATS and dtype not in _FIELDS:  # bit patterns in `int32_data`
        return values.astype(f"u{kind.itemsize}").view(kind)
    return values.astype(kind)
