"""The layout of an everyday network, as docs/format.md writes it."""

from __future__ import annotations

from typing import Any

from weightprint.setups.everyday import EverydaySetup
from weightprint.setups.everyday.layers import layers
from weightprint.training.architecture import add_entry

_NORM_TENSORS = {
    "none": (),
    "layer": (("beta", "bias"), ("gamma", "weight")),
    "batch": (
        ("beta", "bias"),
        ("gamma", "weight"),
        ("moving_mean", "running_mean"),
        ("moving_variance", "running_var"),
    ),
}
"""Of each kind of normalisation: what a layout calls its tensors and what torch does."""


def everyday_entries(setup: EverydaySetup) -> list[dict[str, Any]]:
    """Layers in forward order, each with kernel, bias and, where normalised, beta, gamma and moving statistics."""
    entries: list[dict[str, Any]] = []
    for layer in layers(setup):
        source = module_of(layer.name)
        wiring: dict[str, Any] = {"reads": list(layer.reads)}
        if layer.flattened:
            wiring["flatten"] = {"order": setup.flatten, "size": list(layer.flattened)}
        add_entry(
            entries,
            layer.name,
            "kernel",
            layer.part,
            layer.shape,
            f"{source}.weight",
            "oihw"[: len(layer.shape)],
            **wiring,
        )
        if layer.bias:
            add_entry(entries, layer.name, "bias", layer.part, layer.shape[:1], f"{source}.bias", "o")
        for kind, attribute in _NORM_TENSORS[setup.norm] if layer.normed else ():
            add_entry(entries, layer.name, kind, layer.part, layer.shape[:1], f"{norm_of(layer.name)}.{attribute}", "o")
    return entries


def module_of(layer: str) -> str:
    """Where a layer is in `EverydayNetwork`: conv3 is conv.2, output is output."""
    kind = layer.rstrip("0123456789")
    return layer if kind == layer else f"{kind}.{int(layer[len(kind) :]) - 1}"


def norm_of(layer: str) -> str:
    """Where a layer's normalisation is in `EverydayNetwork`: that of conv3 is conv_norm.2."""
    return module_of(layer).replace(".", "_norm.")
