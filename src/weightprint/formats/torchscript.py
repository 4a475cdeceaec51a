"""TorchScript archives: the tensors of their modules, under the dotted names that a state dict has; no code is read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from weightprint.errors import CheckpointError
from weightprint.formats.limits import MAX_DEPTH
from weightprint.formats.named_tensors import Checkpoint, Collector, Graph, Layer, Stored
from weightprint.formats.pickles import Unbuilt
from weightprint.formats.plain import plain
from weightprint.formats.roles import roles_of_names

_ATTRIBUTES = (
    *("stride", "padding", "dilation", "groups", "kernel_size", "transposed", "padding_mode", "eps", "momentum", "p"),
    *("negative_slope", "alpha", "in_channels", "out_channels", "in_features", "out_features"),
)


def scripted_modules(path: Path, top: Any) -> Checkpoint:
    """The modules of a TorchScript archive as `pickles` leaves them; raises CheckpointError where there are none."""
    if not isinstance(top, Unbuilt):
        raise CheckpointError("a TorchScript archive without a module")
    collector = Collector()
    found: dict[str, Stored] = {}
    layers: list[Layer] = []
    for name, module in _modules(top):
        attributes = module.attributes
        own = {key: value for key, value in attributes.items() if isinstance(value, Stored)}
        prefix = f"{name}." if name else ""
        found.update({f"{prefix}{key}": value for key, value in own.items()})
        packed = [key for key, value in attributes.items() if _is_packed(value)]
        for key in packed:
            collector.skip(f"{prefix}{key}", "quantised (packed parameters)")
        if own or packed or not any(isinstance(value, Unbuilt) for value in attributes.values()):
            layers.append(
                Layer(
                    name,
                    module.name.name,
                    tensors=tuple(f"{prefix}{key}" for key in own),
                    attributes={key: plain(attributes[key]) for key in _ATTRIBUTES if key in attributes},
                )
            )
    roles = roles_of_names({name: stored.shape for name, stored in found.items()})
    transposed = {layer.name for layer in layers if layer.type.startswith("ConvTranspose")}
    for name, stored in found.items():
        kind, axes = roles[name]
        if name.rpartition(".")[0] in transposed and axes.startswith("oi"):
            axes = "io" + axes[2:]
        collector.add(name, stored, kind=kind, axes=axes)
    collector.notes.append("TorchScript: the tensors alone, its code was not looked at")
    return collector.checkpoint(path, "torchscript", graph=Graph(tuple(layers), wired=False), flatten_order="chw")


def _is_packed(value: Any) -> bool:
    return isinstance(value, Unbuilt) and value.name.module.startswith("__torch__.torch.classes")


def _modules(top: Unbuilt) -> Iterator[tuple[str, Unbuilt]]:
    """(dotted name, module) of all modules, each once, in the order of their definition."""
    seen: set[int] = set()
    waiting: list[tuple[str, Unbuilt, int]] = [("", top, 0)]
    while waiting:
        name, module, depth = waiting.pop()
        if id(module) in seen:
            continue
        if depth > MAX_DEPTH:
            raise CheckpointError(f"modules more than {MAX_DEPTH} deep")
        seen.add(id(module))
        yield name, module
        inner = [
            (f"{name}.{key}" if name else key, value, depth + 1)
            for key, value in module.attributes.items()
            if isinstance(value, Unbuilt) and not _is_packed(value)
        ]
        waiting.extend(reversed(inner))
