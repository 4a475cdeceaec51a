"""The fits of a benchmark: each is made once, side by side with others, and kept as a cell."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any

import polars as pl

from weightprint.errors import MetaError
from weightprint.evaluation.answers import from_json, to_json
from weightprint.features.table import features_named
from weightprint.files import canonical_json
from weightprint.meta.answers import answers_of
from weightprint.meta.estimator import MetaClassifier
from weightprint.meta.models import build
from weightprint.study.cells import Cell, Cells
from weightprint.study.table import fingerprint
from weightprint.study.trial import Trial
from weightprint.study.workers import side_by_side
from weightprint.zoo import Run, Zoo

VERSION = 3
"""Raised when a cell of the same settings would mean something else: older ones are then computed anew."""

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


@dataclass(frozen=True)
class _Task:
    """One fit that is missing."""

    row: Row
    seed: int
    cell: Cell
    alone: bool

    @property
    def label(self) -> str:
        return f"{self.row.trial.label}: {self.row.trial.target}"

    @classmethod
    def of(cls, row: Row, seed: int, slices: int) -> _Task:
        """alone: its learner has threads, or may have: it is not fitted beside others"""
        meta = row.trial.build()
        reads = features_named(meta.features)
        learner = vars(meta.learner)
        if row.trial.estimator is not None:
            learner = {"estimator": _described(row.trial.estimator)}
        settings = {
            "model": row.trial.model,
            "target": row.trial.target,
            "view": meta.view.to_json(),
            "features": meta.features,
            "learner": {name: list(v) if isinstance(v, tuple) else v for name, v in learner.items()},
            "seed": meta.seed,
            "split_seed": seed,
            "slices": slices,
        }
        versions = {
            "bench": VERSION,
            f"features {meta.features}": reads.version,
            f"learner {meta.learner.name}": meta.learner.version,
        }
        return cls(
            row, seed, Cell("bench", settings, versions=versions), meta.learner.redraws or bool(row.trial.estimator)
        )


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
    tasks = [_Task.of(row, seed, slices) for row in rows if not row.reason for seed in seeds]
    results = [cells.get(task.cell) for task in tasks]
    missing = [i for i, known in enumerate(results) if known is None]
    missing.sort(key=lambda i: tasks[i].alone)  # what is fitted side by side first, in the order of the rows
    took: dict[str, list[float]] = {}
    for task, known in zip(tasks, results, strict=True):
        if known is not None:
            took.setdefault(task.row.trial.label, []).append(known["seconds"])
    waiting = {i: tasks[i] for i in missing}

    def tell(what: str, left: float | None) -> None:
        if progress is not None:
            progress(len(missing) - len(waiting), len(missing), what, left)

    def tell_next() -> None:
        if waiting:
            tell(next(iter(waiting.values())).label, _seconds_left(list(waiting.values()), took, workers))

    _fill(zoo, list(waiting.values()), slices, workers, lambda what: tell(what, None))
    caught: set[str] = set()
    tell_next()
    for i, result in _results(zoo, {i: tasks[i] for i in missing}, slices, workers):
        for text in result.pop("warnings"):
            if text not in caught:
                caught.add(text)
                warnings.warn(text, stacklevel=3)
        results[i] = result
        task = waiting.pop(i)
        took.setdefault(task.row.trial.label, []).append(result["seconds"])
        if result["document"] is not None or task.row.trial.estimator is None:  # a user's mistake can be mended
            cells.put(task.cell, {"settings": task.cell.settings, **result})
        tell_next()
    tell("done", 0.0)
    for task, known in zip(tasks, results, strict=True):
        assert known is not None  # all that was missing is there by now
        if known["document"] is not None:
            task.row.documents.append(known["document"])
            task.row.answers.append(from_json(known["answers"]))
        else:
            task.row.reason = known["reason"]
    return len(missing)


def _seconds_left(waiting: Sequence[_Task], took: Mapping[str, Sequence[float]], workers: int) -> float | None:
    """How long these fits will take, from what fits of the same model took; None as long as nothing is known."""
    means = {label: sum(seconds) / len(seconds) for label, seconds in took.items()}
    if not means:
        return None
    typical = max(means.values())
    return sum(
        means.get(task.row.trial.label, task.row.trial.max_seconds or typical) / (1 if task.alone else workers)
        for task in waiting
    )


def _fill(zoo: Zoo, tasks: Sequence[_Task], slices: int, workers: int, tell: Callable[[str], None]) -> None:
    """Have the features' store hold what the fits will read in runs and what they will be judged by."""
    readers = list(_readers(tasks))
    if not readers:
        return
    runs = list(zoo.select(status="complete"))
    numbers: tuple[set[int], set[int]] = set(), set()
    for seed in {task.seed for task in tasks}:
        for side, part in zip(numbers, tasks[0].row.trial.split(runs, seed), strict=True):
            side.update(run.number for run in part)
    wanted = []
    for run in runs:
        jobs: list[tuple[MetaClassifier, int | None]] = []
        for reader in readers:
            jobs += [(reader, None)] if run.number in numbers[0] or not reader.local else []
            jobs += [(reader, slices)] if run.number in numbers[1] and reader.local else []
        wanted.append((run, jobs))
    for count, _ in enumerate(side_by_side(_prepare, wanted, workers), start=1):
        tell(f"runs read: {count} of {len(wanted)}")


def _readers(tasks: Iterable[_Task]) -> Iterator[MetaClassifier]:
    """One meta-classifier, never fitted, for each way in which the store is read."""
    results: dict[tuple[str, str, int], tuple[MetaClassifier, dict[str, None]]] = {}
    for task in tasks:
        meta = task.row.trial.build()
        if not meta.learner.redraws and features_named(meta.features).weights:
            key = meta.features, canonical_json(meta.view.to_json()), meta.seed
            results.setdefault(key, (meta, {}))[1][meta.target] = None
    for meta, targets in results.values():
        first, *others = targets
        learner = build("majority", target=first).learner  # never asked; one of the user's may not travel
        yield MetaClassifier(
            first, view=meta.view, features=meta.features, learner=learner, together=tuple(others), seed=meta.seed
        )


def _prepare(run: Run, jobs: Sequence[tuple[MetaClassifier, int | None]]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a run that cannot be read is named by the fit
        for reader, slices in jobs:
            # What cannot be read this way at all is said by the fit, too.
            with suppress(MetaError):
                reader.prepare([run], slices=slices)


def _results(zoo: Zoo, tasks: Mapping[int, _Task], slices: int, workers: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """The number of each task and the result of its fit, in the order in which they end."""
    which = str(zoo.path), tuple(zoo.numbers), fingerprint(zoo)
    work = partial(_result, which, slices)
    yield from side_by_side(work, [(i, task) for i, task in tasks.items() if not task.alone], workers)
    for i, task in tasks.items():
        if task.alone:
            yield work(i, task)


def _result(which: tuple[str, tuple[int, ...], str], slices: int, i: int, task: _Task) -> tuple[int, dict[str, Any]]:
    """Fit and judge one model: `i` and {"document", "answers", "reason", "seconds", "made_with", "warnings"}; may run
    in a worker process."""
    began = time.monotonic()
    train, test = task.row.trial.split(_runs(*which), task.seed)
    meta = task.row.trial.build()
    document, results, reason = None, {}, ""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            meta.fit(train)
            judging = time.monotonic()
            readings, excluded = meta.read_unseen(test, slices=slices)
            results = to_json(answers_of(meta, readings, split=task.seed))
            document = meta.judge(test, readings, excluded, slices=slices, seconds=time.monotonic() - judging)
        except MetaError as error:
            reason = error.message
    seconds = time.monotonic() - began
    if document is not None:
        document["seconds"] = seconds
    result = {"document": document, "answers": results, "reason": reason, "seconds": seconds, "made_with": made_with()}
    return i, {**result, "warnings": [str(one.message) for one in caught if one.category is UserWarning]}


@lru_cache(maxsize=2)
def _runs(path: str, numbers: tuple[int, ...], _: str) -> list[Run]:
    """The runs of a zoo; kept, so that a process reads what is known of a run once."""
    return list(Zoo(path).select(numbers=numbers))


def _described(estimator: Any) -> dict[str, Any]:
    """What tells an estimator from another: its class and parameters, or without these its text."""
    kind = type(estimator)
    params = estimator.get_params(deep=True) if hasattr(estimator, "get_params") else {"": estimator}
    return {"class": f"{kind.__module__}.{kind.__qualname__}", **{name: repr(value) for name, value in params.items()}}


def made_with() -> dict[str, str]:
    """The versions and the machine that a result was made with: {"weightprint", "python", "numpy", …, "machine"}."""
    import platform
    from importlib.metadata import version

    from weightprint import __version__

    libraries = {name: version(name) for name in ("numpy", "scikit-learn", "torch")}
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    return {"weightprint": __version__, "python": platform.python_version(), **libraries, "machine": machine}
