"""Architectures of set-ups as arithmetic: widths, shapes and the order of the tensors in the weight vector."""

from __future__ import annotations

import math
from typing import Any

from weightprint.setups import IMAGE_CHANNELS, IMAGE_SIDE, Setup

BLOCKS = 3
BATCH_NORM_EPSILON = 1e-5
BATCH_NORM_MOMENTUM = 0.1
"""Torch counts the share of the new value: the protocol's 0.9 is the share of the old one."""

NORM_KINDS = ("beta", "gamma", "moving_mean", "moving_variance")


def layers_per_block(depth_conv: int) -> tuple[int, ...]:
    """Convolution layers dealt to three blocks evenly, extra ones to the last blocks first (4 → 1, 1, 2)."""
    even, extra = divmod(depth_conv, BLOCKS)
    return tuple(even + (block >= BLOCKS - extra) for block in range(BLOCKS))


def conv_channels(setup: Setup) -> tuple[int, ...]:
    """Output channels of each convolution layer: width_conv · 2^c in block c."""
    return tuple(
        setup.width_conv << block
        for block, count in enumerate(layers_per_block(setup.depth_conv))
        for _ in range(count)
    )


def hidden_units(setup: Setup) -> tuple[int, ...]:
    """Units of each hidden fully connected layer: ⌊width_fc / 2^i⌋."""
    return tuple(setup.width_fc >> i for i in range(setup.depth_fc))


def add_entry(
    entries: list[dict[str, Any]],
    name: str,
    kind: str,
    part: str,
    shape: tuple[int, ...],
    source: str,
    axes: str,
    **more: Any,
) -> None:
    """Add a layer's tensor behind those that are there; `more` are the optional fields of docs/format.md."""
    offset = entries[-1]["offset"] + math.prod(entries[-1]["shape"]) if entries else 0
    entries.append(
        {
            "name": f"{name}/{kind}",
            "kind": kind,
            "part": part,
            "shape": list(shape),
            "offset": offset,
            "source": source,
            "axes": axes,
            "tied_to": None,
            **more,
        }
    )


def tensor_entries(setup: Setup) -> list[dict[str, Any]]:
    """The layout of a set-up's network, as docs/format.md writes it: layers in forward order, each with kernel, bias
    and, where it is normalised, beta, gamma, moving mean and moving variance (protocol: the paper's release files)."""
    entries: list[dict[str, Any]] = []

    def add(name: str, kind: str, part: str, shape: tuple[int, ...], source: str, axes: str) -> None:
        add_entry(entries, name, kind, part, shape, source, axes)

    def add_norm(name: str, part: str, width: int, source: str) -> None:
        if setup.batch_norm:
            for kind, attribute in zip(NORM_KINDS, ("bias", "weight", "running_mean", "running_var"), strict=True):
                add(name, kind, part, (width,), f"{source}.{attribute}", "o")

    inputs, size = IMAGE_CHANNELS, setup.filter_size
    for i, width in enumerate(conv_channels(setup)):
        add(f"conv{i + 1}", "kernel", "conv", (width, inputs, size, size), f"conv.{i}.weight", "oihw")
        add(f"conv{i + 1}", "bias", "conv", (width,), f"conv.{i}.bias", "o")
        add_norm(f"conv{i + 1}", "conv", width, f"conv_norm.{i}")
        inputs = width
    inputs *= (IMAGE_SIDE >> BLOCKS) ** 2
    for i, width in enumerate(hidden_units(setup)):
        add(f"fc{i + 1}", "kernel", "fc", (width, inputs), f"fc.{i}.weight", "oi")
        add(f"fc{i + 1}", "bias", "fc", (width,), f"fc.{i}.bias", "o")
        add_norm(f"fc{i + 1}", "fc", width, f"fc_norm.{i}")
        inputs = width
    add("output", "kernel", "fc", (setup.outputs, inputs), "output.weight", "oi")
    add("output", "bias", "fc", (setup.outputs,), "output.bias", "o")
    return entries


def weight_count(setup: Setup) -> int:
    """P: the length of a set-up's weight vector."""
    return sum(math.prod(entry["shape"]) for entry in tensor_entries(setup))
