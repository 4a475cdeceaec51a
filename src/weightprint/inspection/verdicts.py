"""The verdict: per property an answer or "cannot say", with probabilities, the 90 % set and what it rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from weightprint.errors import MetaError
from weightprint.features.anatomy import roles
from weightprint.features.layers import layers_of
from weightprint.features.table import Table
from weightprint.inspection.network import Network
from weightprint.inspection.shipped import Calibration, Shipped
from weightprint.inspection.world import Outlyingness
from weightprint.meta.estimator import MetaClassifier
from weightprint.meta.targets import CLASSIFICATION
from weightprint.zoo.layout import Layout

MOST_EVIDENCE = 4
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
    return sorted(found, key=lambda e: -e.share)[:MOST_EVIDENCE]


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


Probabilities = npt.NDArray[np.float64]
CANNOT_SAY = "cannot say"
SHIPPED = "the shipped meta-classifier"


@dataclass(frozen=True)
class Verdict:
    """What is said of one property.

    verdict:       the answer, or CANNOT_SAY; a number where a number is told
    reason:        why nothing can be said; empty for an answer
    probabilities: of every value; all the same where the weights could not be read
    set:           values of which one is the true one for nine networks in ten of the known world; all values where
                   the network is not of that world, or was not trained
    outlyingness:  how far outside the world that it knows the network lies; None where that is not known
    evidence:      what it rests on, the strongest first
    judged_on:     what verdicts of this property were judged on
    by:            the meta-classifier that says it
    """

    verdict: Any
    reason: str
    probabilities: Mapping[Any, float]
    set: tuple[Any, ...]
    outlyingness: Outlyingness | None = None
    evidence: tuple[Evidence, ...] = ()
    judged_on: str = ""
    by: str = SHIPPED

    def to_json(self) -> dict[str, Any]:
        return {
            **vars(self),
            "probabilities": {str(value): round(p, 4) for value, p in self.probabilities.items()},
            "set": list(self.set),
            "outlyingness": None if self.outlyingness is None else self.outlyingness.to_json(),
            "evidence": [one.to_json() for one in self.evidence],
        }


def verdicts_of(network: Network, shipped: Shipped, *, why: Mapping[str, str] | None = None) -> dict[str, Verdict]:
    """Property → verdict of the shipped meta-classifier.

    why: property → why nothing can be said of it whatever the weights say, as of a network that was not trained

    Raises CheckpointError when weights are NaN or infinite.
    """
    table = network.anatomy
    lies = shipped.world.look(table, network.layout)
    outside = f"it lies outside the known world: {lies.reasons[0]}" if lies.outside else ""
    found = {}
    for name in shipped.properties:
        calibration = shipped.calibrations[name]
        probabilities = shipped.probabilities(name, table)[0]
        strange = (why or {}).get(name) or outside
        evidence = evidence_for(shipped, name, table, network.layout, int(probabilities.argmax()))
        classes = shipped.classes(name)
        verdict = _verdict(classes, probabilities, calibration, strange or calibration.reason, tuple(evidence))
        # A set's promise is for networks of the known world: of another one every value is possible.
        found[name] = replace(verdict, outlyingness=lies, set=classes if strange else verdict.set)
    return found


def unread(shipped: Shipped, reason: str) -> dict[str, Verdict]:
    """The shipped meta-classifier's verdicts on a network whose weights it cannot read."""
    lies = Outlyingness(1.0, 0.0, {}, (reason,))
    return {name: replace(_silent(shipped.classes(name), reason), outlyingness=lies) for name in shipped.properties}


def verdicts_by(network: Network, meta: MetaClassifier, by: str, *, reason: str = "") -> dict[str, Verdict]:
    """What a meta-classifier of the user's own says: property → verdict. A probability of at least 0.8 is an answer.

    by:     what it is called
    reason: why it cannot say anything, where that is known beforehand
    """
    found = {}
    for name, head in meta.heads_.items():
        readings, excluded = ([], {}) if reason else meta.read([network], target=name, snapshots="all", spread=True)
        if not readings:
            why = reason or f"{meta.model} cannot read it: {_excluded(excluded)}"
            verdict = _silent(head.target.classes, why)
        elif head.target.kind != CLASSIFICATION:
            verdict = Verdict(float(f"{readings[0].mean[0]:.6g}"), "", {}, ())
        else:
            verdict = _verdict(head.target.classes, readings[0].mean, Calibration(), "", ())
        found[name] = replace(verdict, judged_on="not judged on files of strangers", by=by)
    return found


def _excluded(reasons: Mapping[str, int]) -> str:
    words = {"too_short": "it has fewer weights than one slice", "not_finite": "weights are NaN or infinite"}
    return ", ".join(words.get(name, name.replace("_", " ")) for name in reasons) or "it was left out"


def _silent(classes: Sequence[Any], reason: str) -> Verdict:
    return Verdict(CANNOT_SAY, reason, {value: 1 / len(classes) for value in classes}, tuple(classes))


def _verdict(
    classes: Sequence[Any], of: Probabilities, calibration: Calibration, reason: str, evidence: tuple[Evidence, ...]
) -> Verdict:
    best = int(of.argmax())
    if not reason and not calibration.answers(of):
        second = int(np.argsort(of)[-2])
        reason = (
            f"its features lie between {classes[best]} and {classes[second]}: the probability of {classes[best]} is "
            f"{of[best]:.2f}, and an answer takes {calibration.threshold:.2f}"
        )
    return Verdict(
        verdict=CANNOT_SAY if reason else classes[best],
        reason=reason,
        probabilities={value: float(p) for value, p in zip(classes, of, strict=True)},
        set=tuple(classes[number] for number in calibration.inside(of)),
        evidence=evidence,
        judged_on=calibration.judged_on,
    )


@dataclass(frozen=True)
class Inspection:
    """All that is said of one file.

    file:          its path
    architecture:  parameters and layers, JSON-ready (`weightprint.inspection.architecture`)
    facts:         what needs no learning, JSON-ready (`weightprint.inspection.facts`), and how the file is stored;
                   under "declared" what the file says of itself
    properties:    name → verdict
    disagreements: sentences on where the file says one thing and its weights another
    details:       histograms, spectra and first filters, JSON-ready (`weightprint.inspection.details`), where they were
                   asked for
    """

    file: str
    architecture: dict[str, Any]
    facts: dict[str, Any]
    properties: dict[str, Verdict]
    disagreements: tuple[str, ...] = ()
    details: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        verdicts = {name: verdict.to_json() for name, verdict in self.properties.items()}
        found = {**vars(self), "properties": verdicts, "disagreements": list(self.disagreements)}
        if self.details is None:
            del found["details"]
        return found


def check_meta(meta: MetaClassifier) -> None:
    """Raise MetaError for a meta-classifier that reads no weights."""
    if meta.features in ("shapes", "fields", "nothing"):
        raise MetaError(f"{meta.model} reads no weights: it cannot inspect a file", hint="fit layer_trees")
