"""A slice trial: one local meta-classifier, tested on many slices of each test run, at random and at even places."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from weightprint.errors import MetaError
from weightprint.evaluation.intervals import bootstrap_share
from weightprint.meta import build
from weightprint.meta.base import Reading
from weightprint.study.cells import Cell
from weightprint.study.plans import Planned
from weightprint.study.trials import score_of
from weightprint.zoo import Zoo

LOCAL = "slice_trees"
"""The cheap local meta-classifier of the curves."""

AVERAGED = (1, 2, 5, 10, 20, 50)
"""Slices whose answers are averaged: one snapshot's only when it is one, then spread over the snapshots."""

PLACES = 60
"""Even places along the vector at which slices are read."""


@dataclass(frozen=True)
class SliceTrial:
    """What is trained on and tested on.

    target:       a property of the runs
    snapshots:    first and last that are read, from 1
    slice_length: in weights
    model:        a local meta-classifier
    max_seconds:  time cap of the fit
    split_seed:   of the split
    """

    target: str
    snapshots: tuple[int, int]
    slice_length: int
    model: str = LOCAL
    max_seconds: float | None = None
    split_seed: int = 0


def planned_slices(
    question: str, experiment: str, trial: SliceTrial, *, series: str = "", xs: Sequence[Any] = AVERAGED
) -> Planned:
    """A result that one slice trial gives."""
    cell = Cell("slices", asdict(trial), 2.0 + (trial.max_seconds or 10.0))
    return Planned(question, experiment, trial.target, trial.model, series, tuple(xs), cell)


def run_slice_trial(zoo: Zoo, trial: SliceTrial) -> dict[str, Any]:
    """{"scores": one per number in AVERAGED, "places", "seconds", "capped"}; {"reason": text} when it cannot be done.

    places: {"starts", "hits", "low", "high", "n_runs"}: the share of runs named right from one slice at each of PLACES
    starts, in the last snapshot; None for networks of several lengths, and for other models than LOCAL
    """
    began = time.monotonic()
    train, test = zoo.select(status="complete").split(split_seed=trial.split_seed)
    meta = build(
        trial.model,
        target=trial.target,
        slice_length=trial.slice_length,
        snapshots=trial.snapshots,
        max_seconds=trial.max_seconds,
    )
    try:
        meta.fit(train)
        first, last = trial.snapshots
        per_snapshot = -(-max(AVERAGED) // (last - first + 1))
        readings, _ = meta.read(test, slices=per_snapshot, held_out=True)
        places = None
        if trial.model == LOCAL:
            ends, _ = meta.read(test, slices=PLACES, spread=True, snapshots=(last, last), held_out=True)
            places = _places([r for r in ends if r.labels[0] in meta.classes_], meta.classes_)
    except MetaError as error:
        return {"reason": error.message, "seconds": time.monotonic() - began}
    known = [r for r in readings if r.labels[0] in meta.classes_]
    if not known:
        return {"reason": "no test run is left", "seconds": time.monotonic() - began}
    scores = []
    for count in AVERAGED:
        answers = {r.run.number: [(r.labels[0], meta.classes_[_answer(r, count)])] for r in known}
        scores.append(asdict(score_of(meta.target_, answers, len(meta.train_runs_))))
    return {
        "scores": scores,
        "places": places,
        "fit_seconds": meta.seconds_,
        "capped": bool(getattr(meta, "capped_", False)),
        "seconds": time.monotonic() - began,
    }


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
