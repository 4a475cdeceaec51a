"""A network in memory as named tensors, like those of a checkpoint file: a PyTorch module or a Keras model."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import numpy as np

from weightprint.errors import CheckpointError
from weightprint.formats.keras_files import flatten_order, keras_role, layer_graph, model_layers
from weightprint.formats.named_tensors import Collector, Graph, NamedTensor, Stored
from weightprint.formats.torch_files import add_torch_tensors


def tensors_of(network: Any) -> tuple[tuple[NamedTensor, ...], Graph | None, str]:
    """(tensors, graph, flatten order) of a network as it is now; their values are read when asked for.

    network: a torch module, its state dict, or a built Keras model. Of a module come the tensors of its state dict,
             named as a file saved from it would name them; integers (batch counts) are left out

    Raises CheckpointError for anything else, and for a network without weights.
    """
    collector = Collector()
    keras = sys.modules.get("keras")
    if keras is not None and isinstance(network, keras.Model):
        graph, order = _add_keras(collector, network)
    else:
        state = network.state_dict() if hasattr(network, "state_dict") else network
        if not isinstance(state, dict):
            raise CheckpointError(
                f"expected a torch module, its state dict or a Keras model, found {type(network).__name__}"
            )
        stored = {str(name): _of_torch(value) for name, value in state.items() if hasattr(value, "untyped_storage")}
        add_torch_tensors(collector, stored)
        graph, order = None, "chw"
    if not any(tensor.size for tensor in collector.tensors):
        raise CheckpointError("a network without weights", hint="build it, or call it once, before it is recorded")
    return collector.tensors, graph, order


def _of_torch(tensor: Any) -> Stored:
    dtype = str(tensor.dtype).removeprefix("torch.")
    shape = tuple(tensor.shape)
    place = (tensor.data_ptr(), shape, tensor.stride()) if tensor.numel() else None
    if not tensor.is_floating_point():
        return Stored(shape, dtype, lambda: tensor.cpu().numpy(), place)
    return Stored(shape, "float32", lambda: tensor.detach().float().cpu().contiguous().numpy(), place)


def _add_keras(collector: Collector, model: Any) -> tuple[Graph | None, str]:
    layers = model_layers(json.loads(model.to_json()))
    named: dict[str, list[str]] = {}
    for owner, layer in _keras_layers(model, ""):
        for weight in layer.weights:
            parts = weight.path.split("/")
            rest = parts[len(parts) - parts[::-1].index(layer.name) :] if layer.name in parts else [weight.name]
            name = "/".join([owner, *rest])
            kind, axes = keras_role(weight.name, type(layer).__name__, name, len(weight.shape))
            collector.add(name, _of_keras(weight), kind=kind, axes=axes)
            named.setdefault(owner, []).append(name)
    return layer_graph(layers, named), flatten_order(layers)


def _keras_layers(model: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    """(name as `model_layers` has it, layer) of all that are no models themselves, each once."""
    for layer in model.layers:
        if getattr(layer, "layers", None):
            yield from _keras_layers(layer, f"{prefix}{layer.name}/")
        else:
            yield f"{prefix}{layer.name}", layer


def _of_keras(weight: Any) -> Stored:
    def load() -> np.ndarray:
        return np.asarray(import_module("keras").ops.convert_to_numpy(weight), dtype=np.float32)

    is_float = "float" in str(weight.dtype)
    return Stored(tuple(weight.shape), "float32" if is_float else str(weight.dtype), load, id(weight))
