"""Keras's files: .h5 (a model or its weights, Keras 1 to 3), .weights.h5 and .keras."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from weightprint.errors import CheckpointError
from weightprint.formats.archives import Archive
from weightprint.formats.file_maps import FileMap
from weightprint.formats.hdf5 import Tree, read_tree
from weightprint.formats.limits import MAX_DEPTH, MAX_TENSORS
from weightprint.formats.named_tensors import Checkpoint, Collector, Graph, Layer, Stored
from weightprint.formats.plain import parsed_json, plain
from weightprint.formats.roles import KERAS_AXES, WINDOWS
from weightprint.zoo.layout import NORM_KINDS

WEIGHTS_ENTRY, CONFIG_ENTRY, ABOUT_ENTRY = "model.weights.h5", "config.json", "metadata.json"
_ATTRIBUTES = ("layer_names", "weight_names", "keras_version", "backend", "model_config", "training_config", "name")


def read_keras_h5(path: Path, file: FileMap) -> Checkpoint:
    """A .h5 file of Keras; raises CheckpointError for a damaged one, or an HDF5 file without weights."""
    tree = read_tree(path, file, _ATTRIBUTES)
    top = tree.attributes[""]
    if any(name.startswith(("layers/", "_layer_checkpoint_dependencies/")) for name in tree.datasets):
        return _keras_3(path, tree, None, "keras_weights_h5", {})
    declared: dict[str, Any] = {key: top[key] for key in ("keras_version", "backend") if key in top}
    layers: list[Layer] = []
    if "model_config" in top:
        model = parsed_json(top["model_config"], "its model_config")
        layers = model_layers(model)
        declared["model_config"] = plain(model)
    if "training_config" in top:
        _declare_training(declared, parsed_json(top["training_config"], "its training_config"))
    collector = Collector()
    named: dict[str, list[str]] = {}
    root = "model_weights" if "model_weights" in tree.attributes else ""
    classes = {layer.name: layer.type for layer in layers}
    for layer, weight, source in _legacy_weights(tree, root):
        parts = re.sub(r":\d+$", "", weight).split("/")
        if layer in parts:
            parts = parts[len(parts) - parts[::-1].index(layer) :]
        name = "/".join([layer, *parts])
        stored = tree.datasets[source]
        if isinstance(stored, str):
            collector.skip(name, stored)
            continue
        owner = next((n for n in (f"{layer}/{'/'.join(parts[:-1])}", layer) if n in classes), layer)
        kind, axes = keras_role(parts[-1], classes.get(owner, owner), name, len(stored.shape))
        collector.add(name, stored, source=source, kind=kind, axes=axes)
        named.setdefault(owner, []).append(name)
    _skip_optimizer(collector, [name for name in tree.datasets if name.startswith("optimizer_weights/")])
    return collector.checkpoint(
        path, "keras_h5", declared=declared, graph=layer_graph(layers, named), flatten_order=flatten_order(layers)
    )


def read_keras_v3(path: Path, archive: Archive) -> Checkpoint:
    """A .keras archive; raises CheckpointError for a damaged one, or one without weights."""
    if WEIGHTS_ENTRY not in archive.entries:
        raise CheckpointError(f"a Keras archive without {WEIGHTS_ENTRY}", hint="fetch the file again")
    model = parsed_json(archive.read(CONFIG_ENTRY), CONFIG_ENTRY) if CONFIG_ENTRY in archive.entries else {}
    about = parsed_json(archive.read(ABOUT_ENTRY), ABOUT_ENTRY) if ABOUT_ENTRY in archive.entries else {}
    declared: dict[str, Any] = plain(about) if isinstance(about, dict) else {}
    if isinstance(model, dict):
        declared["model_config"] = plain(model)
        _declare_training(declared, model.get("compile_config"))
    if not archive.is_stored(WEIGHTS_ENTRY):
        raise CheckpointError(f"its {WEIGHTS_ENTRY} is compressed, which Keras does not do", hint="save it with Keras")
    archive.read(WEIGHTS_ENTRY)  # for its checksum
    start, length = archive.place(WEIGHTS_ENTRY)
    return _keras_3(path, read_tree(path, archive.file, _ATTRIBUTES, start, length), model, "keras_v3", declared)


def keras_role(word: str, kind: str, name: str, rank: int) -> tuple[str, str]:
    """(kind, axes) of a weight by Keras's word for it, its layer's class (or default name) and its rank."""
    kind = kind.lower().replace("_", "")
    if word in NORM_KINDS:
        return word, "o" if rank == 1 else ""
    if word == "bias" or word.endswith("_bias"):
        return "bias", "o" * rank if rank == 1 or "einsum" in kind or "attention" in kind else ""
    if "kernel" not in word:
        return "other", ""
    window = WINDOWS.get(rank)
    if word == "depthwise_kernel" or (word == "kernel" and "depthwise" in kind):
        return "kernel", f"{window}go" if window else ""
    if "transpose" in kind and rank > 2:
        return "kernel", f"{window}oi" if window else ""
    if ("attention" in kind or "einsum" in kind) and rank == 3:
        return "kernel", "iio" if "output" in name else "ioo"
    return "kernel", KERAS_AXES.get(rank, "")


def _legacy_weights(tree: Tree, root: str) -> Iterator[tuple[str, str, str]]:
    """(layer, weight's name, path of its dataset) in the order of the model, by Keras's lists of names."""
    prefix = f"{root}/" if root else ""
    layers = _names(tree.attributes[root], "layer_names")
    if layers:
        for layer in [*layers, "top_level_model_weights"]:
            for weight in _names(tree.attributes.get(f"{prefix}{layer}", {}), "weight_names"):
                source = f"{prefix}{layer}/{weight}"
                if source not in tree.datasets:
                    raise CheckpointError(f"weight {weight!r} of layer {layer!r} is not in the file")
                yield layer, weight, source
        return
    for source in tree.datasets:
        if source.startswith(prefix) and not source.startswith("optimizer_weights/"):
            layer, _, weight = source.removeprefix(prefix).rpartition("/")
            yield layer, weight, source


def _names(attributes: dict[str, Any], key: str) -> list[str]:
    """A list of names; one that is too long for an attribute is cut into key0, key1…"""
    pieces = [attributes[key]] if key in attributes else []
    while f"{key}{len(pieces)}" in attributes:
        pieces.append(attributes[f"{key}{len(pieces)}"])
    return [str(name) for piece in pieces if isinstance(piece, list) for name in piece]


def _keras_3(path: Path, tree: Tree, model: Any, form: str, declared: dict[str, Any]) -> Checkpoint:
    """Groups of numbered variables: layers/conv2d/vars/0. Without a configuration the layers come in the order in
    which their numbers lie in the file, which is the order in which Keras wrote them."""
    layers = model_layers(model)
    known = {group: (name, kind) for group, name, kind in store_paths(model)} if model else {}
    groups: dict[str, list[str]] = {}
    optimizer: list[str] = []
    for source in tree.datasets:
        group, _, number = source.rpartition("/")
        if source.startswith("optimizer/"):
            optimizer.append(source)
        elif group.endswith("vars") and number.isdigit():
            groups.setdefault(group.removesuffix("vars").rstrip("/"), []).append(source)
    order = {group: number for number, group in enumerate(known)}
    configurations = {layer.name: layer.attributes for layer in layers}
    collector = Collector()
    named: dict[str, list[str]] = {}
    rank = {group: order[owner] if (owner := _owner(group, order)) else len(order) for group in groups}
    for group in sorted(groups, key=rank.__getitem__):
        owner = _owner(group, known)
        rest = group.removeprefix(owner).strip("/") if owner else ""
        layer, kind = known.get(owner, ("", ""))
        own = tree.attributes.get(f"{group}/vars", {}).get("name")
        if not owner:
            layer = re.sub(r"(^|/)layers/", r"\1", group)
            layer = "/".join([*layer.split("/")[:-1], own]) if isinstance(own, str) and own else layer
            kind = group.rpartition("/")[2]
        label = "/".join(part for part in (layer, rest) if part) or "model"
        sources = sorted(groups[group], key=lambda source: int(source.rpartition("/")[2]))
        held = [tree.datasets[source] for source in sources]
        words = _variable_words(rest or kind, configurations.get(layer, {}), held)
        for source, word, stored in zip(sources, words, held, strict=True):
            name = f"{label}/{word}"
            if isinstance(stored, str):
                collector.skip(name, stored)
                continue
            role, axes = keras_role(word, f"{kind}/{rest}", name, len(stored.shape))
            collector.add(name, stored, source=source, kind=role, axes=axes)
            named.setdefault(layer, []).append(name)
    _skip_optimizer(collector, optimizer)
    rule = tree.attributes.get("optimizer/vars", {}).get("name")
    if isinstance(rule, str) and "optimizer" not in declared:
        declared = {**declared, "optimizer": {"rule": rule.lower().replace("_", ""), **_learning_rate(tree)}}
    return collector.checkpoint(
        path, form, declared=declared, graph=layer_graph(layers, named), flatten_order=flatten_order(layers)
    )


def _owner(group: str, known: Any) -> str:
    """The layer whose group `group` is or lies in; "" where there is none."""
    while group and group not in known:
        group = group.rpartition("/")[0]
    return group


_VARIABLES = {
    "separable": ("depthwise_kernel", "pointwise_kernel", "bias"),
    "cell": ("kernel", "recurrent_kernel", "bias"),
    "embedding": ("embeddings",),
    "dense": ("kernel", "bias"),
    "conv": ("kernel", "bias"),
}
"""Part of a layer's class → its variables, the first that fits."""


def _variable_words(kind: str, configuration: Any, held: list[Any]) -> list[str]:
    """Keras's words for a layer's numbered variables, by its class (or the group's name) and their number."""
    kind = re.sub(r"_\d+$", "", kind.rpartition("/")[2]).lower().replace("_", "")
    count = len(held)
    words = next((list(known) for part, known in _VARIABLES.items() if part in kind), [])
    if "normalization" in kind:
        words = [word for key, word in (("scale", "gamma"), ("center", "beta")) if configuration.get(key, True)]
    if "batchnormalization" in kind:
        words = [*(words if count != 2 else ()), "moving_mean", "moving_variance"]
    return [*words, *(f"variable_{number}" for number in range(len(words), count))][:count]


def _declare_training(declared: dict[str, Any], training: Any) -> None:
    """Puts a model's training configuration under `training_config`, its optimizer under `optimizer`."""
    if not isinstance(training, dict):
        return
    declared["training_config"] = plain(training)
    optimizer = training.get("optimizer_config") or training.get("optimizer")
    if isinstance(optimizer, str):
        declared["optimizer"] = {"rule": optimizer.lower()}
    elif isinstance(optimizer, dict):
        config = plain(optimizer.get("config"))
        rule = str(optimizer.get("class_name", "")).rpartition(">")[2]
        declared["optimizer"] = {"rule": rule.lower() or None, **(config if isinstance(config, dict) else {})}


def _learning_rate(tree: Tree) -> dict[str, float]:
    """The learning rate among a Keras 3 optimizer's variables: the second one, after the count of its steps."""
    stored = tree.datasets.get("optimizer/vars/1")
    if not isinstance(stored, Stored) or stored.shape or stored.dtype != "float32":
        return {}
    return {"learning_rate": float(stored.load())}


def _skip_optimizer(collector: Collector, sources: list[str]) -> None:
    if sources:
        collector.skip(sources[0].partition("/")[0], f"optimizer state ({len(sources)} tensors)")


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
            config = plain(layer.get("config"))
            attributes = config if isinstance(config, dict) else {}
            kind = "Input" if kind == "InputLayer" else kind
            layers.append(Layer(prefix + name, kind, before, attributes=attributes))
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
