"""A network's layers as a table: what they are, how large, what they read."""

from __future__ import annotations

from typing import Any

from weightprint.features.layers import Layer, layers_of
from weightprint.zoo.layout import Layout, Tensor

MOVING = ("moving_mean", "moving_variance")
WINDOWS = {1: "1-D convolution", 2: "convolution", 3: "3-D convolution"}
ROLES = {**{role: role for role in ("attention", "recurrent", "embedding", "token")}, "position": "positions"}


def architecture(layout: Layout) -> dict[str, Any]:
    """JSON-ready: `parameters`, `moving_statistics` and `layers` in forward order.

    A tied tensor counts once, and a normalisation's moving statistics are no parameters. Of a layer:

    | key | value |
    |---|---|
    | `name`, `kind` | as the file names it; "convolution", "fully connected", "batch norm", "embedding"… |
    | `shape` | of the kernel, or of the tensor: outputs, inputs, window |
    | `parameters` | of all its tensors |
    | `reads` | names of the layers that it reads from; empty where it reads the network's input |
    | `tensors` | kind → the tensor's name in the file |
    | `groups` | of a grouped convolution |
    | `tied_to` | of a tensor that shares another one's weights |
    """
    layers = layers_of(layout)
    held = {tensor.name for layer in layers for tensor in _tensors(layer)}
    rows = [(_tensors(layer)[0].offset, _layer(layer)) for layer in layers]
    rows += [(tensor.offset, _single(tensor)) for tensor in layout if tensor.name not in held]
    free = [tensor for tensor in layout if tensor.tied_to is None]
    moving = sum(tensor.size for tensor in free if tensor.kind in MOVING)
    return {
        "parameters": sum(tensor.size for tensor in free) - moving,
        "moving_statistics": moving,
        "layers": [row for _, row in sorted(rows, key=lambda pair: pair[0])],
    }


def _tensors(layer: Layer) -> list[Tensor]:
    return [*([] if layer.kernel is None else [layer.kernel]), *layer.others.values()]


def _layer(layer: Layer) -> dict[str, Any]:
    tensors = _tensors(layer)
    kernel = layer.kernel
    found = _row(layer.name, _kind(layer), tensors, layer.reads)
    if kernel is not None and kernel.groups > 1:
        found["groups"] = kernel.groups
    return found


def _row(name: str, kind: str, tensors: list[Tensor], reads: tuple[str, ...]) -> dict[str, Any]:
    return {
        "name": name,
        "kind": kind,
        "shape": list(tensors[0].shape),
        "parameters": sum(t.size for t in tensors if t.kind not in MOVING and t.tied_to is None),
        "reads": list(reads),
        "tensors": {t.kind: t.source for t in tensors},
    }


def _kind(layer: Layer) -> str:
    kernel = layer.kernel
    if kernel is None:
        return "batch norm" if "moving_mean" in layer.others else "norm"
    if kernel.role is not None:
        return ROLES[kernel.role]
    if layer.is_conv:
        kind = WINDOWS.get(len(kernel.shape) - 2, "convolution")
        return f"{'depthwise' if kernel.shape[1] == 1 else 'grouped'} {kind}" if kernel.groups > 1 else kind
    return "fully connected"


def _single(tensor: Tensor) -> dict[str, Any]:
    """A tensor that belongs to no layer."""
    kind = ROLES.get(tensor.role or "", "other")
    if tensor.tied_to is not None and kind != "other":
        kind += ", tied"
    found = _row(tensor.name, kind, [tensor], ())
    if tensor.tied_to is not None:
        found["tied_to"] = tensor.tied_to
    return found
