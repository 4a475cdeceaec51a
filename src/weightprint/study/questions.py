"""Questions beyond how much, where and when, each answered by experiments of its own."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any

from weightprint.errors import MetaError, did_you_mean
from weightprint.meta.models import model_named
from weightprint.study import few_runs, fine_tuning, half_life, identity, one_factor, paired, plans, robustness
from weightprint.study.budgets import Budget, budget
from weightprint.study.cells import Cell, Cells, compute
from weightprint.study.plans import TRIAL, Facts, Other, Planned
from weightprint.study.robustness import Robustness, run_robustness
from weightprint.study.table import Read, StudiedRun, fill, fingerprint, read_table
from weightprint.study.trial import Trial, run_trial
from weightprint.zoo import Run, Zoo

QUESTIONS: dict[str, ModuleType] = {
    "robustness": robustness,
    "few-runs": few_runs,
    "everyday": one_factor,
    "identity": identity,
    "half-life": half_life,
    "fine-tuning": fine_tuning,
}
"""Name → the module that plans its results and makes rows of them."""

COLUMNS = {**plans.COLUMNS, "question": f"which question: {', '.join(QUESTIONS)}", **paired.COLUMNS}
"""The columns of the table of results and what they hold."""


@dataclass(frozen=True)
class Answers:
    """What was asked of a zoo, and what is computed of it.

    names:   of the questions
    runs:    the complete runs of this zoo ("") and of the others by fingerprint, without weights
    planned: all results, those of each question
    against: other zoos
    seconds: of the call
    made:    results that it computed; the others were read from files
    """

    zoo: Zoo
    budget: Budget
    names: tuple[str, ...]
    facts: Facts
    runs: Mapping[str, Sequence[StudiedRun]]
    planned: dict[str, list[Planned]]
    cells: Cells
    against: tuple[Zoo, ...]
    seconds: float
    made: int

    def rows(self) -> list[dict[str, Any]]:
        """One row per score; columns are COLUMNS."""
        found = [row for name in self.names for row in QUESTIONS[name].rows(self.planned[name], self.cells, self.runs)]
        return [{**dict.fromkeys(COLUMNS), **row} for row in found]


def compute_questions(
    zoo: Zoo,
    folder: str | os.PathLike[str],
    names: Sequence[str],
    *,
    size: str = "standard",
    workers: int | None = None,
    against: Sequence[Zoo] = (),
    progress: Callable[[str, float, float], None] | None = None,
) -> Answers:
    """Compute what is missing of the answers to some questions, in `folder`, and return them all.

    names:    of QUESTIONS
    size:     a budget's name
    workers:  processes; all cores when None
    against:  other zoos, for the questions that need some
    progress: called with what is done ("reading", "robustness", …), how much of it is done, and how much there is

    Can be interrupted at any moment: the same call goes on. Raises MetaError for an unknown question or budget, a zoo
    without complete runs, or a question that lacks a zoo to compare with.
    """
    began = time.monotonic()
    chosen = budget(size)
    for name in names:
        if name not in QUESTIONS:
            raise MetaError(f"unknown question {name!r}", hint=did_you_mean(name, QUESTIONS))
    folder = Path(folder)
    zoos = {"": zoo, **{fingerprint(other): other for other in against}}
    known = {key: read_table(one, "fields") for key, one in zoos.items()}
    runs = {key: table.runs for key, table in known.items()}
    others = tuple(Other(key, other.path.name) for key, other in zoos.items() if key)
    facts = Facts.of(known[""], chosen.properties, others)
    planned = {name: QUESTIONS[name].plan(facts, chosen, runs) for name in dict.fromkeys(names)}
    cells = Cells(folder / "cells", fingerprint(zoo))
    made = 0
    for name, wanted in planned.items():
        missing = cells.missing([one.cell for one in wanted])
        for key, reads in dict.fromkeys(one for cell in missing for one in _reads(cell)):
            labelled = progress and partial(progress, f"reading {zoos[key].path.name}")
            fill(zoos[key], [reads], workers=workers or os.cpu_count() or 1, progress=labelled)
        made += compute(
            cells,
            missing,
            partial(_work, {key: (str(one.path), tuple(one.numbers)) for key, one in zoos.items()}),
            workers=workers or os.cpu_count() or 1,
            progress=progress and partial(progress, name),
        )
    seconds = time.monotonic() - began
    return Answers(zoo, chosen, tuple(planned), facts, runs, planned, cells, tuple(against), seconds, made)


def _reads(cell: Cell) -> tuple[tuple[str, Read], ...]:
    """The tables that a cell reads: a zoo's fingerprint ("" for the first) and what is read in it."""
    if cell.kind != TRIAL or not (trial := Trial(**_tuples(cell.settings))).reads_tables:
        return ()
    reads = model_named(trial.model).features, trial.without
    return (trial.train_zoo, reads), (trial.test_zoo, reads)


def _work(zoos: dict[str, tuple[str, tuple[int, ...]]], cell: Cell) -> dict[str, Any]:
    """Compute one cell; runs in a worker process. zoos: by fingerprint, the path and the numbers of the runs"""
    settings = _tuples(cell.settings)
    if cell.kind == robustness.KIND:
        return run_robustness(_runs(*zoos[""]), Robustness(**settings))
    trial = Trial(**settings)
    if tables := [read_table(_zoo(*zoos[key]), features, without=left) for key, (features, left) in _reads(cell)]:
        train, test = tables[0].readable(trial.tensors), tables[-1].readable(trial.tensors)
        return run_trial(train, trial, test if trial.test_zoo != trial.train_zoo else None)
    runs = {key: _runs(*zoos[key]) for key in (trial.train_zoo, trial.test_zoo)}
    return run_trial(runs[trial.train_zoo], trial, runs[trial.test_zoo] if len(runs) > 1 else None)


@lru_cache(maxsize=8)
def _zoo(path: str, numbers: tuple[int, ...]) -> Zoo:
    return Zoo(path).select(numbers=numbers)


@lru_cache(maxsize=8)
def _runs(path: str, numbers: tuple[int, ...]) -> list[Run]:
    return list(_zoo(path, numbers).select(status="complete"))


def _tuples(value: Any) -> Any:
    """Lists that travelled as JSON are tuples again."""
    if isinstance(value, dict):
        return {name: _tuples(v) for name, v in value.items()}
    return tuple(_tuples(v) for v in value) if isinstance(value, (list, tuple)) else value
