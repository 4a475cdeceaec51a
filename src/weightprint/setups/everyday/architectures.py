"""Architectures of the space `everyday`, drawn: LeNets, plain convolutions, MLPs, VGG-like and residual networks."""

from __future__ import annotations

import dataclasses
from typing import Any

from weightprint.errors import SetupError
from weightprint.setups.everyday.draws import Draws
from weightprint.setups.everyday.layers import layers, multiply_adds, weight_count
from weightprint.setups.everyday.setup import EverydaySetup

PERCENTS = {"lenet": 27, "plain_cnn": 33, "mlp": 20, "vgg": 10, "residual": 10}

LARGEST_MULTIPLY_ADDS = 3_000_000
"""Of one image's forward pass; networks above have their channels halved until they fit."""

LARGEST_WEIGHTS = 400_000
"""P; networks above have their hidden fully connected layers halved, or else their channels, until they fit."""

_NARROWEST = 4

_LENET_CHANNELS = ((6, 16), (8, 16), (10, 20), (12, 24), (16, 32), (20, 50), (32, 64), (6, 12), (16, 16), (12, 36))
_LENET_UNITS = ((120,), (84,), (50,), (128,), (256,), (500,), (128, 64), (100, 50), (256, 128))
_FIRST_CHANNELS = (6, 8, 10, 12, 16, 16, 20, 24, 32, 32, 48, 64)
_PLAIN_UNITS = (32, 50, 64, 84, 100, 120, 128, 128, 256, 512)
_MLP_UNITS = (32, 64, 100, 128, 128, 200, 256, 256, 300, 400, 512)


def draw(draws: Draws) -> dict[str, Any]:
    """The fields of a set-up that define its network, drawn; `fitted` comes next."""
    architecture = draws.dealt("architecture", PERCENTS)
    small = architecture in ("lenet", "plain_cnn", "mlp")
    norms = {"none": 82, "batch": 12, "layer": 6} if small else {"none": 42, "batch": 46, "layer": 12}
    norm = draws.weighted("norm", norms)
    biases = {"all": 88, "output": 5, "none": 7} if norm == "none" else {"all": 60, "output": 40}
    return {
        "architecture": architecture,
        "stages": (),
        "filter_size": 3,
        "padding": "same",
        "pooling": "max",
        "units": (),
        "flatten": draws.pick("flatten", ("chw", "hwc")),
        "norm": norm,
        "biases": draws.weighted("biases", biases),
        **_FAMILIES[architecture](draws),
    }


def _lenet(draws: Draws) -> dict[str, Any]:
    classic = draws.uniform("lenet", 0, 1)
    channels = (6, 16) if classic < 0.45 else draws.pick("channels", _LENET_CHANNELS)
    units = (120, 84) if draws.uniform("lenet_units", 0, 1) < 0.6 else draws.pick("units", _LENET_UNITS)
    stages: tuple[tuple[int, ...], ...] = tuple((width,) for width in channels)
    if classic < 0.08:  # as first published: the layer of 120 units is a convolution
        stages, units = (*stages, (120,)), (84,)
    return {
        "stages": stages,
        "filter_size": draws.weighted("filter_size", {5: 85, 3: 15}),
        "padding": draws.weighted("padding", {"first": 35, "valid": 45, "same": 20}),
        "pooling": draws.weighted("pooling", {"max": 60, "average": 40}),
        "units": units,
    }


def _plain_cnn(draws: Draws) -> dict[str, Any]:
    depth = draws.weighted("depth_conv", {1: 15, 2: 40, 3: 28, 4: 17})
    widths = [draws.pick("channels", _FIRST_CHANNELS)]
    for i in range(1, depth):
        widths.append(min(64, int(widths[-1] * draws.pick(f"growth_{i}", (1, 1.5, 2, 2, 2)))))
    per_stage = draws.weighted("convolutions_per_pool", {1: 75, 2: 25})
    depth_fc = draws.weighted("depth_fc", {0: 18, 1: 57, 2: 25})
    return {
        "stages": tuple(tuple(widths[i : i + per_stage]) for i in range(0, depth, per_stage)),
        "filter_size": draws.weighted("filter_size", {3: 65, 5: 35}),
        "padding": draws.weighted("padding", {"same": 60, "valid": 40}),
        "pooling": draws.weighted("pooling", {"max": 80, "average": 20}),
        "units": _falling(draws, _PLAIN_UNITS, depth_fc),
    }


def _mlp(draws: Draws) -> dict[str, Any]:
    depth = draws.weighted("depth_fc", {1: 30, 2: 35, 3: 20, 4: 15})
    return {"filter_size": 1, "units": _falling(draws, _MLP_UNITS, depth)}


def _vgg(draws: Draws) -> dict[str, Any]:
    base = draws.weighted("channels", {8: 35, 16: 45, 32: 20})
    depth = draws.weighted("depth_conv", {2: 45, 3: 55})
    single = draws.weighted("convolutions_per_pool", {1: 25, 2: 75})
    units = draws.weighted("depth_fc", {0: 25, 1: 60, 2: 15})
    return {
        "stages": tuple((base << i,) * (single if i == 0 else 2) for i in range(depth)),
        "pooling": draws.weighted("pooling", {"max": 85, "average": 15}),
        "units": _falling(draws, (64, 128, 256), units),
    }


def _residual(draws: Draws) -> dict[str, Any]:
    base = draws.weighted("channels", {8: 50, 16: 50})
    depth = draws.weighted("depth_conv", {2: 40, 3: 60})
    blocks = draws.weighted("blocks", {1: 75, 2: 25})
    return {"stages": tuple((base << i,) * blocks for i in range(depth))}


_FAMILIES = {"lenet": _lenet, "plain_cnn": _plain_cnn, "mlp": _mlp, "vgg": _vgg, "residual": _residual}


def _falling(draws: Draws, widths: tuple[int, ...], depth: int) -> tuple[int, ...]:
    """Units of `depth` layers: all alike, halved from layer to layer, or drawn apart and put in falling order."""
    how = draws.pick("units_fall", ("alike", "halved", "halved", "apart"))
    first = draws.pick("units", widths)
    if how == "alike":
        return (first,) * depth
    if how == "halved":
        return tuple(max(first >> i, 16) for i in range(depth))
    return tuple(sorted((draws.pick(f"units_{i}", widths) for i in range(depth)), reverse=True))


def fitted(setup: EverydaySetup) -> EverydaySetup:
    """The network itself, or the nearest one whose windows fit on its maps and that is not too large."""
    if setup.padding != "same":
        try:
            layers(setup)
        except SetupError:
            setup = dataclasses.replace(setup, padding="same")
    while multiply_adds(setup) > LARGEST_MULTIPLY_ADDS:
        setup = _narrower(setup)
    while weight_count(setup) > LARGEST_WEIGHTS:
        if setup.units and max(setup.units) > 32:
            setup = dataclasses.replace(setup, units=tuple(max(min(32, n), n // 2) for n in setup.units))
        else:
            setup = _narrower(setup)
    return setup


def _narrower(setup: EverydaySetup) -> EverydaySetup:
    stages = tuple(tuple(max(_NARROWEST, width // 2) for width in stage) for stage in setup.stages)
    return dataclasses.replace(setup, stages=stages)
