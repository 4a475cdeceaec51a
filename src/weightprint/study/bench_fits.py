"""The fits of a benchmark: each is made once, side by side with others, and kept as a cell."""

from __future__ import annotations

import os
import platform
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from statistics import fmean
from typing import Any

import polars as pl

from weightprint.errors import MetaError
from weightprint.evaluation.answers import from_json, to_json
from weightprint.features.table import features_named
from weightprint.files import versions
from weightprint.meta.answers import answers_of
from weightprint.meta.estimator import MetaClassifier
from weightprint.meta.learners.base import Majority
from weightprint.study.cells import Cell, Cells, Result, results, side_by_side
from weightprint.study.table import Place, place_of, runs_at
from weightprint.study.trial import Trial
from weightprint.zoo import Run, Zoo

VERSION = 3
"""Raised when a cell of the same settings would mean something else: older ones are then computed anew."""

Jobs = list[tuple[MetaClassifier, int | None]]
"""What reads in a run, and how many slices of it: None reads what a fit does."""

Progress = Callable[[int, int, str, float | None], None]


@dataclass
class Row:
    """One model on one property, with all its splits.

    trial:     without its split seeds
    documents: of each split that could be judged
    answers:   of the same
    reason:    why the model could not be fitted or tested; empty if it could
    """

    trial: Trial
    documents: list[dict[str, Any]] = field(default_factory=list)
    answers: list[pl.DataFrame] = field(default_factory=list)
    reason: str = ""


def compute_rows(
    zoo: Zoo,
    rows: Sequence[Row],
    cells: Cells,
    seeds: Sequence[int],
    slices: int,
    workers: int,
    progress: Progress | None,
) -> int:
    """Give every row its splits, from cells that are there or computed now and kept. Returns how many were computed."""
    fits = [(row, _cell(row.trial, seed, slices)) for row in rows if not row.reason for seed in seeds]
    found = {cells.path(cell): cells.get(cell) for _, cell in fits}
    took: dict[str, list[float]] = defaultdict(list)
    for _, cell in fits:
        if (known := found[cells.path(cell)]) is not None:
            took[cell.given.label].append(known["seconds"])
    missing = sorted(cells.missing([cell for _, cell in fits]), key=lambda cell: cell.alone)
    waiting = list(missing)

    def tell(what: str, left: float | None) -> None:
        if progress is not None:
            progress(len(missing) - len(waiting), len(missing), what, left)

    def tell_next() -> None:
        trial = waiting[0].given if waiting else None
        tell(f"{trial.label}: {trial.target}" if trial else "done", _seconds_left(waiting, took, workers))

    place = place_of(zoo)
    _fill(place, [cell.given for cell in missing], slices, workers, lambda what: tell(what, None))
    caught: set[str] = set()
    tell_next()
    for cell, result in results(missing, partial(_fit, place, slices), workers):
        for text in result.pop("warnings"):
            if text not in caught:
                caught.add(text)
                warnings.warn(text, stacklevel=3)
        found[cells.path(cell)] = result
        waiting.remove(cell)
        took[cell.given.label].append(result["seconds"])
        if result["document"] is not None or cell.given.estimator is None:  # a user's mistake can be mended
            cells.put(cell, {"settings": cell.settings, **result})
        tell_next()
    for row, cell in fits:
        known = found[cells.path(cell)]
        assert known is not None  # all that was missing is there by now
        if known["document"] is not None:
            row.documents.append(known["document"])
            row.answers.append(from_json(known["answers"]))
        else:
            row.reason = known["reason"]
    return len(missing)


def _cell(trial: Trial, seed: int, slices: int) -> Cell:
    """The cell of one fit; it is given the trial in this split."""
    meta = trial.build()
    own = trial.estimator is not None
    learner = {"estimator": _described(trial.estimator)} if own else vars(meta.learner)
    settings = {
        "model": trial.model,
        "target": trial.target,
        "view": meta.view.to_json(),
        "features": meta.features,
        "learner": {name: list(v) if isinstance(v, tuple) else v for name, v in learner.items()},
        "seed": meta.seed,
        "split_seed": seed,
        "slices": slices,
    }
    code = {
        "bench": VERSION,
        f"features {meta.features}": features_named(meta.features).version,
        f"learner {meta.learner.name}": meta.learner.version,
    }
    given = replace(trial, split_seeds=(seed,))
    return Cell("bench", settings, versions=code, given=given, alone=meta.learner.redraws or own)


def _seconds_left(waiting: Sequence[Cell], took: Mapping[str, Sequence[float]], workers: int) -> float | None:
    """How long these fits will take, from what fits of the same model took; None as long as nothing is known."""
    means = {label: fmean(seconds) for label, seconds in took.items()}
    if not waiting or not means:
        return None if waiting else 0.0
    typical = max(means.values())
    return sum(
        means.get(cell.given.label, cell.given.max_seconds or typical) / (1 if cell.alone else workers)
        for cell in waiting
    )


def _fill(place: Place, trials: Sequence[Trial], slices: int, workers: int, tell: Callable[[str], None]) -> None:
    """Have the features' store hold what the fits will read in runs and what they will be judged by."""
    readers = _readers(trials)
    if not readers:
        return
    runs = [run for run in runs_at(place) if run.status == "complete"]
    fitted: set[int] = set()
    judged: set[int] = set()
    for seed in {trial.split_seeds[0] for trial in trials}:
        for numbers, part in zip((fitted, judged), trials[0].split(runs, seed), strict=True):
            numbers.update(run.number for run in part)
    wanted = []
    for run in runs:
        jobs: Jobs = [(reader, None) for reader in readers if run.number in fitted or not reader.local]
        jobs += [(reader, slices) for reader in readers if run.number in judged and reader.local]
        wanted.append((run, jobs))
    for count, _ in enumerate(side_by_side(_prepare, wanted, workers), start=1):
        tell(f"runs read: {count} of {len(wanted)}")


def _readers(trials: Iterable[Trial]) -> list[MetaClassifier]:
    """One meta-classifier, never fitted, for each way in which the store is read."""
    found: dict[tuple[str, str, int], MetaClassifier] = {}
    for trial in trials:
        meta = trial.build()
        if not meta.learner.redraws and features_named(meta.features).weights:
            meta.set_params(learner=Majority())  # never asked; one of the user's may not travel
            reader = found.setdefault((meta.features, repr(meta.view), meta.seed), meta)
            if trial.target not in (reader.target, *reader.together):
                reader.together = (*reader.together, trial.target)
    return list(found.values())


def _prepare(wanted: tuple[Run, Jobs]) -> None:
    run, jobs = wanted
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a run that cannot be read is named by the fit
        for reader, slices in jobs:
            # What cannot be read this way at all is said by the fit, too.
            with suppress(MetaError):
                reader.prepare([run], slices=slices)


def _fit(place: Place, slices: int, cell: Cell) -> Result:
    """Fit and judge one model: {"document", "answers", "reason", "seconds", "made_with", "warnings"}; may run in a
    worker process."""
    began = time.monotonic()
    (seed,) = cell.given.split_seeds
    train, test = cell.given.split(runs_at(place), seed)
    meta = cell.given.build()
    result: Result = {"document": None, "answers": {}, "reason": "", "made_with": made_with()}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            meta.fit(train)
            judging = time.monotonic()
            readings, excluded = meta.read_unseen(test, slices=slices)
            result["answers"] = to_json(answers_of(meta, readings, split=seed))
            result["document"] = meta.judge(test, readings, excluded, slices=slices, seconds=time.monotonic() - judging)
        except MetaError as error:
            result["reason"] = error.message
    result["seconds"] = time.monotonic() - began
    if result["document"] is not None:
        result["document"]["seconds"] = result["seconds"]
    return {**result, "warnings": [str(one.message) for one in caught if one.category is UserWarning]}


def _described(estimator: Any) -> dict[str, Any]:
    """What tells an estimator from another: its class and parameters, or without these its text."""
    kind = type(estimator)
    params = estimator.get_params(deep=True) if hasattr(estimator, "get_params") else {"": estimator}
    return {"class": f"{kind.__module__}.{kind.__qualname__}", **{name: repr(value) for name, value in params.items()}}


def made_with() -> dict[str, str]:
    """The versions and the machine that a result was made with: {"weightprint", "python", "numpy", …, "machine"}."""
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    return {**versions("numpy", "scikit-learn", "torch"), "machine": machine}
