"""The verdict: per property an answer or "cannot say", with probabilities, the 90 % set and what it rests on."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from weightprint.errors import CheckpointError, MetaError
from weightprint.inspection.evidence import Evidence, evidence_for
from weightprint.inspection.network import Network
from weightprint.inspection.shipped import Calibration, Shipped
from weightprint.inspection.world import Outlyingness
from weightprint.meta.estimator import MetaClassifier
from weightprint.meta.targets import CLASSIFICATION

CANNOT_SAY = "cannot say"


@dataclass(frozen=True)
class Verdict:
    """What is said of one property.

    verdict:       the answer, or CANNOT_SAY
    reason:        why nothing can be said; empty for an answer
    probabilities: of every value
    set:           values of which one is the true one for nine networks in ten of the known world
    evidence:      what it rests on, the strongest first
    judged_on:     what verdicts of this property were judged on
    """

    verdict: Any
    reason: str
    probabilities: Mapping[Any, float]
    set: tuple[Any, ...]
    evidence: tuple[Evidence, ...] = ()
    judged_on: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "verdict": self.verdict,
            "reason": self.reason,
            "probabilities": {str(value): round(p, 4) for value, p in self.probabilities.items()},
            "set": list(self.set),
            "evidence": [one.to_json() for one in self.evidence],
            "judged_on": self.judged_on,
        }


def verdicts_of(
    network: Network, shipped: Shipped, *, untrained: bool = False
) -> tuple[dict[str, Verdict], Outlyingness]:
    """Property → verdict, and how far outside the known world the network lies.

    untrained: whether its layers are still at their initialisation: then nothing but the initialisation can be told

    Raises CheckpointError when weights are NaN or infinite.
    """
    table = network.anatomy
    lies = shipped.world.look(table, network.layout)
    found = {}
    for name in shipped.properties:
        calibration = shipped.calibrations[name]
        probabilities = shipped.probabilities(name, table)[0]
        reason = calibration.reason
        if untrained:
            reason = "its weights are as they were initialised: it was not trained, or hardly"
        elif lies.outside:
            reason = f"it lies outside the known world: {lies.reasons[0]}"
        evidence = evidence_for(shipped, name, table, network.layout, int(probabilities.argmax()))
        found[name] = _verdict(shipped.classes(name), probabilities, calibration, reason, tuple(evidence))
    return found, lies


def verdicts_by(network: Network, meta: MetaClassifier) -> dict[str, Verdict]:
    """What a meta-classifier of the user's own says: property → verdict. A probability of at least 0.8 is an answer.

    Raises CheckpointError when it cannot read the network.
    """
    found = {}
    for name, head in meta.heads_.items():
        readings, excluded = meta.read([network], target=name, snapshots="all")
        if not readings:
            why = ", ".join(excluded) or "it was left out"
            raise CheckpointError(f"{network.name}: the meta-classifier {meta.model} cannot read it: {why}")
        if head.target.kind != CLASSIFICATION:
            value = float(readings[0].mean[0])
            found[name] = Verdict(round(value, 6), "", {}, (), (), "not judged on files of strangers")
            continue
        note = Calibration(judged_on="not judged on files of strangers")
        found[name] = _verdict(head.target.classes, readings[0].mean, note, "", ())
    return found


def _verdict(
    classes: Sequence[Any],
    probabilities: npt.NDArray[np.float64],
    calibration: Calibration,
    reason: str,
    evidence: tuple[Evidence, ...],
) -> Verdict:
    best = int(probabilities.argmax())
    if not reason and probabilities[best] < calibration.threshold:
        second = int(np.argsort(probabilities)[-2])
        reason = (
            f"its features lie between {classes[best]} and {classes[second]}: the probability of {classes[best]} is "
            f"{probabilities[best]:.2f}, and an answer takes {calibration.threshold:.2f}"
        )
    inside = [value for value, p in zip(classes, probabilities, strict=True) if 1 - p <= calibration.quantile]
    return Verdict(
        verdict=CANNOT_SAY if reason else classes[best],
        reason=reason,
        probabilities={value: float(p) for value, p in zip(classes, probabilities, strict=True)},
        set=tuple(inside or [classes[best]]),
        evidence=evidence,
        judged_on=calibration.judged_on,
    )


@dataclass(frozen=True)
class Inspection:
    """All that is said of one file.

    file:         its path
    facts:        what needs no learning, JSON-ready; under "declared" what the file says of itself
    architecture: parameters and layers, JSON-ready
    verdicts:     property → verdict
    lies:         how far outside the known world it lies; None where that could not be told
    """

    file: str
    architecture: dict[str, Any]
    facts: dict[str, Any]
    verdicts: dict[str, Verdict]
    lies: Outlyingness | None
    disagreements: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        outlyingness = None if self.lies is None else self.lies.to_json()
        properties = {name: {**v.to_json(), "outlyingness": outlyingness} for name, v in self.verdicts.items()}
        return {
            "file": self.file,
            "architecture": self.architecture,
            "facts": self.facts,
            "properties": properties,
            "disagreements": self.disagreements,
        }


def refuse_without_weights(network: Network, path: str | os.PathLike[str]) -> None:
    """Raise CheckpointError for a file in which no layer is found."""
    if not any(tensor.kind == "kernel" for tensor in network.layout):
        raise CheckpointError(
            f"{Path(path)}: no layer with a kernel is in it", hint="give the file that holds the trained network"
        )


def check_meta(meta: MetaClassifier) -> None:
    """Raise MetaError for a meta-classifier that reads no weights."""
    if meta.features in ("shapes", "fields", "nothing"):
        raise MetaError(f"{meta.model} reads no weights: it cannot inspect a file", hint="fit layer_trees")
