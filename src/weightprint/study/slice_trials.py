"""A slice trial: one local meta-classifier, tested on many slices of each test run, at random and at even places."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from weightprint.errors import CorruptFile, MetaError
from weightprint.evaluation.answers import table
from weightprint.evaluation.intervals import bootstrap_share
from weightprint.meta import build
from weightprint.meta.answers import class_numbers
from weightprint.meta.estimator import MetaClassifier
from weightprint.meta.heads import Reading
from weightprint.study.cells import Cell
from weightprint.study.plans import Planned, versions_of
from weightprint.study.scores import score_of
from weightprint.zoo import Run, Zoo

LOCAL = "slice_trees"
"""The cheap local meta-classifier of the curves."""

AVERAGED = (1, 2, 5, 10, 20, 50)
"""Slices whose answers are averaged: one snapshot's only when it is one, then spread over the snapshots."""

PLACES = 60
"""Even places along the vector at which slices are read."""


@dataclass(frozen=True)
class SliceTrial:
    """What is trained on and tested on: the later half of each run's snapshots.

    target:       a property of the runs
    slice_length: in weights
    model:        a local meta-classifier
    max_seconds:  time cap of the fit
    split_seed:   of the split
    """

    target: str
    slice_length: int
    model: str = LOCAL
    max_seconds: float | None = None
    split_seed: int = 0


def planned_slices(
    question: str, experiment: str, trial: SliceTrial, *, series: str = "", xs: Sequence[Any] = AVERAGED
) -> Planned:
    """A result that one slice trial gives."""
    cell = Cell("slices", asdict(trial), 2.0 + (trial.max_seconds or 10.0), versions_of(trial.model))
    return Planned(question, experiment, trial.target, trial.model, series, tuple(xs), cell)


def run_slice_trial(zoo: Zoo, trial: SliceTrial) -> dict[str, Any]:
    """{"scores": one per number in AVERAGED, "places", "seconds", "capped"}; {"reason": text} when it cannot be done.

    places: {"starts", "hits", "low", "high", "n_runs"}: the share of runs named right from one slice at each of PLACES
    starts, in each run's last snapshot; None for networks of several lengths, and for other models than LOCAL
    """
    began = time.monotonic()
    train, test = zoo.select(status="complete").split(split_seed=trial.split_seed)
    meta = build(
        trial.model,
        target=trial.target,
        slice_length=trial.slice_length,
        max_seconds=trial.max_seconds,
    )
    try:
        meta.fit(train)
        by_length = _by_length(test)
        fewest = min((len(meta.view.snapshots_of(total)) for total in by_length), default=1)
        readings, _ = meta.read(test, slices=-(-max(AVERAGED) // max(1, fewest)), held_out=True)
        places = None
        if trial.model == LOCAL:
            places = _places(_last_snapshots(meta, by_length), meta.classes_)
    except MetaError as error:
        return {"reason": error.message, "seconds": time.monotonic() - began}
    known = [r for r in readings if r.labels[0] in meta.classes_]
    if not known:
        return {"reason": "no test run is left", "seconds": time.monotonic() - began}
    scores = []
    for count in AVERAGED:
        answers = table(
            [r.run.identity for r in known],
            class_numbers(known),
            [_answer(r, count) for r in known],
            classes=meta.classes_,
            split=trial.split_seed,
        )
        scores.append(score_of(answers, len(meta.train_runs_)))
    return {
        "scores": scores,
        "places": places,
        "fit_seconds": meta.seconds_,
        "capped": bool(meta.facts_.get("capped", False)),
        "seconds": time.monotonic() - began,
    }


def _by_length(runs: Iterable[Run]) -> dict[int, list[Run]]:
    """Runs by how many snapshots they have."""
    found: dict[int, list[Run]] = {}
    for run in runs:
        try:
            found.setdefault(len(run.measurements) or len(run.weights), []).append(run)
        except CorruptFile:
            continue  # counted where the runs are chosen
    return found


def _last_snapshots(meta: MetaClassifier, by_length: Mapping[int, Sequence[Run]]) -> list[Reading]:
    """What is read at even places in the last snapshot of each run of a class that is known."""
    found: list[Reading] = []
    for total, runs in by_length.items():
        found += meta.read(runs, slices=PLACES, spread=True, snapshots=(total, total), held_out=True)[0]
    return [reading for reading in found if reading.labels[0] in meta.classes_]


def _answer(reading: Reading, count: int) -> int:
    """The class named by the mean over `count` slices, the last snapshots' first."""
    outputs = reading.outputs[::-1].swapaxes(0, 1).reshape(-1, reading.outputs.shape[2])  # [K·T, C]
    return int(outputs[:count].mean(axis=0).argmax())


def _places(readings: Sequence[Reading], classes: tuple[Any, ...]) -> dict[str, Any] | None:
    if not readings or len({r.run.layout.size for r in readings}) > 1:
        return None
    truth = np.array([classes.index(r.labels[0]) for r in readings])
    hits = np.array([r.outputs[0].argmax(axis=1) == t for r, t in zip(readings, truth, strict=True)], np.float64)
    ones = np.ones(len(readings))
    intervals = [bootstrap_share(column, ones) or (None, None) for column in hits.T]
    starts = readings[0].starts
    return {
        "starts": [] if starts is None else starts[0].tolist(),
        "hits": hits.mean(axis=0).tolist(),
        "low": [low for low, _ in intervals],
        "high": [high for _, high in intervals],
        "n_runs": len(readings),
    }
