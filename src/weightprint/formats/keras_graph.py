"""A Keras model's configuration as layers and their wiring. It is read as data: nothing in it is called."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from weightprint.errors import CheckpointError
from weightprint.formats.limits import MAX_DEPTH, MAX_TENSORS
from weightprint.formats.named_tensors import Graph, Layer
from weightprint.formats.plain import plain


def model_layers(model: Any) -> list[Layer]:
    """The layers of a Sequential or functional model, in its order; models inside it are opened, their layers named
    "model/layer". Raises CheckpointError for nesting beyond limits; what is no such model has no layers."""
    layers: list[Layer] = []
    _walk(model, "", (), layers, 0)
    return layers


def flatten_order(layers: list[Layer]) -> str:
    """ "chw" where the model's layers keep channels first, "hwc" (Keras's default) otherwise."""
    return "chw" if any(layer.attributes.get("data_format") == "channels_first" for layer in layers) else "hwc"


def layer_graph(layers: list[Layer], named: dict[str, list[str]]) -> Graph | None:
    """The layers with the names of their tensors; None for none. named: layer → its tensors"""
    if not layers:
        return None
    return Graph(tuple(replace(layer, tensors=tuple(named.get(layer.name, ()))) for layer in layers))


def store_paths(model: Any, prefix: str = "layers", depth: int = 0) -> Iterator[tuple[str, str, str]]:
    """(group in a Keras 3 weights file, layer's name, its class) of each layer.

    Keras 3 names groups by the layer's class in snake case, counted from the second one on (keras/saving).
    """
    used: dict[str, int] = {}
    for layer in _layer_configurations(model) if depth < MAX_DEPTH else ():
        kind, name = _kind(layer), _name(layer)
        group = snake_case(kind)
        used[group] = used.get(group, -1) + 1
        group = f"{group}_{used[group]}" if used[group] else group
        yield f"{prefix}/{group}", name, kind
        if _is_model(layer):
            for path, inner, inner_kind in store_paths(layer, f"{prefix}/{group}/layers", depth + 1):
                yield path, f"{name}/{inner}", inner_kind


def snake_case(name: str) -> str:
    """ "Conv2DTranspose" → "conv2d_transpose", as Keras does it."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def _layer_configurations(model: Any) -> list[dict[str, Any]]:
    config = model.get("config") if isinstance(model, dict) else None
    layers = config.get("layers") if isinstance(config, dict) else config  # a list alone: Sequential before Keras 2.2
    return [layer for layer in layers if isinstance(layer, dict)] if isinstance(layers, list) else []


def _kind(layer: dict[str, Any]) -> str:
    return str(layer.get("class_name", ""))


def _name(layer: dict[str, Any]) -> str:
    config = layer.get("config")
    name = config.get("name") if isinstance(config, dict) else None
    return str(name or layer.get("name") or _kind(layer))


def _is_model(layer: dict[str, Any]) -> bool:
    return bool(_layer_configurations(layer))


def _walk(model: Any, prefix: str, inputs: tuple[str, ...], layers: list[Layer], depth: int) -> tuple[str, ...]:
    """Adds a model's layers to `layers`; returns the names of those that put out its result."""
    if depth > MAX_DEPTH or len(layers) > MAX_TENSORS:
        raise CheckpointError(f"a Keras model with models more than {MAX_DEPTH} deep in it")
    outputs: dict[str, tuple[str, ...]] = {}
    last = inputs
    functional = any("inbound_nodes" in layer for layer in _layer_configurations(model))
    for layer in _layer_configurations(model):
        name, kind = _name(layer), _kind(layer)
        before = last
        if functional:
            referred = dict.fromkeys(_references(layer.get("inbound_nodes"), 0))
            before = tuple(dict.fromkeys(source for name_ in referred for source in outputs.get(name_, ())))
        if kind == "InputLayer" and inputs:
            last = inputs
        elif _is_model(layer):
            last = _walk(layer, f"{prefix}{name}/", before, layers, depth + 1)
        else:
            attributes = plain(layer.get("config"))
            layers.append(
                Layer(
                    prefix + name,
                    "Input" if kind == "InputLayer" else kind,
                    before,
                    attributes=attributes if isinstance(attributes, dict) else {},
                )
            )
            last = (prefix + name,)
        outputs[name] = last
    if functional and isinstance(model.get("config"), dict):
        named = [out for name in _references(model["config"].get("output_layers"), 0) for out in outputs.get(name, ())]
        return tuple(dict.fromkeys(named)) or last
    return last


def _references(value: Any, depth: int) -> Iterator[str]:
    """Names of the layers that a call refers to: ["name", node, tensor, …] or Keras 3's keras_history."""
    if depth > MAX_DEPTH:
        return
    if isinstance(value, dict):
        if value.get("class_name") == "__keras_tensor__" and isinstance(value.get("config"), dict):
            value = value["config"].get("keras_history")
        else:
            for item in value.values():
                yield from _references(item, depth + 1)
            return
    if isinstance(value, list):
        if len(value) >= 3 and isinstance(value[0], str) and all(isinstance(number, int) for number in value[1:3]):
            yield value[0]
        else:
            for item in value:
                yield from _references(item, depth + 1)
