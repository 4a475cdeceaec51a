"""What a verdict rests on, in words: the features that moved it most, and where they lie among known networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from weightprint.features.anatomy import roles
from weightprint.features.layers import layers_of
from weightprint.features.table import Table
from weightprint.inspection.shipped import Shipped
from weightprint.zoo.layout import Layout

MOST = 4
"""Pieces of evidence for a verdict."""

ABOUT: Mapping[str, str] = {
    "bias.beyond": "the share of biases outside the range of PyTorch's initialisation",
    "bias.from": "the distance of the biases from PyTorch's initialisation",
    "bias.scaled": "the size of the biases for their number of inputs",
    "bias.by_kernel": "the size of the biases beside that of the weights",
    "bias.absolute": "the size of the biases",
    "bias.negative": "the share of negative biases",
    "bias.mean_by_deviation": "the biases' mean beside their spread",
    "bias.zeros": "the share of biases that are zero",
    "bias.spread": "the spread of the biases",
    "bias~": "the relation of the biases to the units' weights",
    "bias": "the shape of the biases' distribution",
    "kernel.beyond": "the share of weights outside the range of a usual initialisation",
    "kernel.from": "the distance of the weights from the distribution of an initialisation",
    "kernel.scaled": "the size of the weights for their number of inputs",
    "kernel.glorot": "the size of the weights for their numbers of inputs and outputs",
    "kernel.absolute": "the size of the weights",
    "kernel.kurtosis": "the weight of the tails in the weights' distribution",
    "kernel.skewness": "the skewness of the weights' distribution",
    "kernel.shape": "the shape of the weights' distribution",
    "kernel.near": "the share of weights very near zero",
    "kernel.zeros": "the share of weights that are zero",
    "kernel.mean_by_deviation": "the weights' mean beside their spread",
    "kernel.norms": "the difference in size between the units' weights",
    "kernel.columns": "the difference in size between the inputs' weights",
    "kernel.column_sums": "the sums of the weights that read one input",
    "kernel.sums": "the sums of the units' weights",
    "kernel.cosines": "the likeness of the units' weights",
    "kernel.spectrum": "the singular values of the weights",
    "kernel.inputs": "the difference between the weights of the input channels",
    "kernel.places": "the pattern of the weights over the places of the image or map",
    "kernel.window": "the pattern of the weights inside the window",
    "outgoing": "the size of the weights with which the next layer reads the units",
    "gamma": "the scales of the normalisation",
    "beta": "the shifts of the normalisation",
    "moving_mean": "the normalisation's moving means",
    "moving_variance": "the normalisation's moving variances",
    "variance": "the normalisation's moving variances beside the weights",
    "mean": "the normalisation's moving means beside the weights",
}
"""Beginning of a feature's name → what it is about; the longest beginning counts."""

ROLE_NAMES = {
    "mean": "all layers on average",
    "least": "the layer with the least",
    "largest": "the layer with the most",
    "norm": "the normalisations",
}


@dataclass(frozen=True)
class Evidence:
    """One feature that a verdict rests on.

    feature: the column's name
    layer:   the layer's own name, or words for several
    about:   what the feature is about, in words
    level:   where the network's value lies among known ones, in words
    share:   of the sum of all features' absolute Shapley values
    towards: whether it speaks for the answer
    """

    feature: str
    layer: str
    about: str
    level: str
    share: float
    towards: bool

    @property
    def sentence(self) -> str:
        layer = f"layer {self.layer}" if self.layer.isdecimal() else self.layer
        return f"{layer}: {self.about}, {self.level}; that speaks {'for' if self.towards else 'against'} it"

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "share": round(self.share, 4), "sentence": self.sentence}


def evidence_for(shipped: Shipped, name: str, table: Table, layout: Layout, answer: int) -> list[Evidence]:
    """The features that moved a property's score most, features of one layer and one meaning put together."""
    contributions = shipped.contributions(name, table, answer)
    total = sum(abs(v) for v in contributions.values()) or 1.0
    grouped: dict[tuple[str, str], list[tuple[str, float]]] = {}
    for column, value in contributions.items():
        role, _, feature = column.partition(": ")
        grouped.setdefault((role, _about(feature)), []).append((column, value))
    layers = layers_of(layout)
    by_role = {role: layers[number].name for role, number in roles(layers).items()}
    found = []
    for (role, about), columns in grouped.items():
        value = sum(v for _, v in columns)
        strongest = max(columns, key=lambda pair: abs(pair[1]))[0]
        layer = by_role.get(role) or ROLE_NAMES.get(role, role)
        level = _level(shipped, strongest, table)
        found.append(Evidence(strongest, layer, about, level, abs(value) / total, value > 0))
    return sorted(found, key=lambda e: -e.share)[:MOST]


def _about(feature: str) -> str:
    best = max((start for start in ABOUT if feature.startswith(start)), key=len, default="")
    return ABOUT.get(best, feature)


def _level(shipped: Shipped, column: str, table: Table) -> str:
    """Where the network's value lies among known ones, in words."""
    world = shipped.world
    if column not in world.names or column not in table.names:
        return "missing" if column not in table.names else "unusual"
    place = world.names.index(column)
    value = float(table.rows[0, table.names.index(column)])
    low, middle, high = world.low[place], world.middle[place], world.high[place]
    if not np.isfinite([low, high]).all():
        return "known of few networks"
    if value < low:
        return "lower than in nearly all known networks"
    if value > high:
        return "higher than in nearly all known networks"
    return "on the high side" if value > middle else "on the low side"
