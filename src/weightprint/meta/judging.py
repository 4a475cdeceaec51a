"""What fitted meta-classifiers can be asked about runs besides their scores: averaging, calibration."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from weightprint.errors import MetaError
from weightprint.evaluation.averaging import averaged_classes, averaged_values
from weightprint.evaluation.calibration import DRAWS, calibration_scores, temperature, tempered
from weightprint.meta.answers import class_numbers
from weightprint.meta.estimator import MetaClassifier
from weightprint.meta.heads import Reading
from weightprint.meta.targets import CLASSIFICATION
from weightprint.seeds import seed_from_hash
from weightprint.zoo.readable import Readable

COUNTS = (1, 2, 5, 10, 20, 50)
"""Slices per snapshot that are averaged."""


def by_slices(meta: MetaClassifier, runs: Iterable[Readable], *, counts: Sequence[int] = COUNTS) -> dict[str, Any]:
    """How well a fitted model does when 1, 2, 5, … slices of each snapshot are averaged, on runs it was not fitted on.

    Returns a JSON-ready document whose "results" have for each count of slices (None for a model of whole vectors)
    what `weightprint.evaluation.averaging` says of them. The slices of a smaller count are among those of a larger
    one. Raises MetaError as `evaluate` does.
    """
    counts = sorted(set(counts)) if meta.local else [1]
    if not counts or counts[0] < 1:
        raise MetaError(f"counts of slices must be from 1 up, not {list(counts)}")
    readings, excluded = meta.read_unseen(runs, slices=counts[-1])
    target = meta.target_
    outputs = [reading.outputs for reading in readings]
    results = []
    for count in counts:
        if target.kind == CLASSIFICATION:
            result = averaged_classes(class_numbers(readings), outputs, len(target.classes), count)
        else:
            labels = [np.array(reading.labels, float) for reading in readings]
            result = averaged_values(labels, outputs, count, log=target.log)
        results.append({"slices": count if meta.local else None, **result})
    return {
        "property": meta.target,
        "model": meta.model,
        "kind": target.kind,
        "n_runs": len(readings),
        "n_snapshots": sorted({len(reading.snapshots) for reading in readings}),
        "slice_length": meta.view.slice_length,
        "excluded": excluded,
        "results": results,
    }


def calibrate(
    meta: MetaClassifier,
    validation: Iterable[Readable],
    test: Iterable[Readable],
    *,
    slices: int = 10,
    one_snapshot: bool = False,
    draws: int = DRAWS,
    seed: int = 0,
) -> dict[str, Any]:
    """How well calibrated a fitted classifier is on test runs, as it is and with a temperature from validation runs.

    validation:   runs that it was not fitted on; see `weightprint.meta.split_validation`
    test:         others; those that are validation runs or their kin are left out
    one_snapshot: judge by one random snapshot of each run instead of the mean over its snapshots

    Returns a JSON-ready document: "temperature", `calibration_scores` of test runs "before" and "after", and the test
    runs "excluded", by reason. Probabilities are those for equally frequent classes as long as the fit balanced them.
    Raises MetaError when it regresses, or when one of both has no run left.
    """
    meta.check_fitted()
    if meta.target_.kind != CLASSIFICATION:
        raise MetaError(f"{meta.target} is a number: there are no probabilities to calibrate")
    validation = list(validation)
    kin = {name for run in validation for name in run.kin}
    test = list(test)
    apart = [run for run in test if kin.isdisjoint(run.kin)]
    if test and not apart:
        raise MetaError(
            f"no test run is left: all {len(test)} are validation runs or share random streams with one",
            hint="give other runs to test, such as the test part of a split",
        )

    def read(runs: Iterable[Readable]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.intp], dict[str, int]]:
        readings, excluded = meta.read_unseen(runs, slices=slices)
        rows = [_of_one_snapshot(r, seed) if one_snapshot else r.mean for r in readings]
        return np.array(rows), class_numbers(readings), excluded

    probabilities, truth, _ = read(validation)
    result = temperature(probabilities, truth)
    n_validation = len(truth)
    probabilities, truth, excluded = read(apart)
    if len(apart) < len(test):
        excluded = {**excluded, "kin": excluded.get("kin", 0) + len(test) - len(apart)}
    return {
        "property": meta.target,
        "model": meta.model,
        "unit": "snapshot, one per run" if one_snapshot else "run",
        "n_validation_runs": n_validation,
        "n_runs": len(truth),
        "excluded": excluded,
        "temperature": result,
        "before": calibration_scores(probabilities, truth, draws=draws, seed=seed),
        "after": calibration_scores(tempered(probabilities, result), truth, draws=draws, seed=seed),
    }


def draw_snapshot(identity: str, snapshots: Sequence[int], seed: int) -> int:
    """One of a run's snapshots; depends on the run and the seed alone."""
    return snapshots[seed_from_hash("one snapshot", seed, identity) % len(snapshots)]


def _of_one_snapshot(reading: Reading, seed: int) -> npt.NDArray[np.float64]:
    number = draw_snapshot(reading.run.identity, reading.snapshots, seed)
    return reading.outputs[reading.snapshots.index(number)].mean(axis=0)
