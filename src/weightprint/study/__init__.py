"""The study: how much of the set-up is written into the weights, where and when; what transfers; what controls say.

Every result is a cell that is computed once (`cells`); a plan per question says which cells it wants (`how_much`,
`where`, `when`, `transfer`, `controls`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from weightprint.meta.models import model_named
from weightprint.study import attribution, controls, how_much, neighbours, run_accuracy, transfer, when, where
from weightprint.study.attribution import Attribution, run_attribution
from weightprint.study.budgets import BUDGETS, Budget, budget
from weightprint.study.cells import Cell, Cells, compute
from weightprint.study.neighbours import STATISTICS, Embedding, Neighbours, run_embedding, run_neighbours
from weightprint.study.plans import COLUMNS, TRIAL, Facts, Other, Planned, rows
from weightprint.study.table import FeatureTable, Read, fill, fingerprint, read_table
from weightprint.study.trial import Trial, run_trial
from weightprint.zoo import Run, Zoo

__all__ = ["BUDGETS", "COLUMNS", "Study", "compute_study"]

QUESTIONS = (how_much, controls, where, attribution, when, neighbours, transfer)
"""In the order in which results are computed: the headlines first."""


class Study:
    """A study of a zoo: the results that were planned and are computed.

    zoo:     the runs it stands on
    budget:  what was asked for
    facts:   what the plans need to know of the zoo
    planned: all results of the study
    cells:   the files that hold them
    table:   statistics of every tensor of every snapshot
    against: other zoos
    seconds: of this call
    made:    results that this call computed; the others were read from files
    """

    def __init__(
        self, zoo: Zoo, size: Budget, facts: Facts, planned: list[Planned], cells: Cells, table: FeatureTable
    ) -> None:
        self.zoo, self.budget, self.facts, self.planned, self.cells = zoo, size, facts, planned, cells
        self.table = table
        self.against: tuple[Zoo, ...] = ()
        self.seconds = 0.0
        self.made = 0

    def rows(self) -> list[dict[str, Any]]:
        """One row per score; columns are COLUMNS."""
        return rows(self.planned, self.cells) + run_accuracy.rows(self.planned, self.cells, self.table)


def compute_study(
    zoo: Zoo,
    folder: str | os.PathLike[str],
    *,
    size: str = "standard",
    workers: int | None = None,
    against: Sequence[Zoo] = (),
    progress: Callable[[str, float, float], None] | None = None,
) -> Study:
    """Compute what is missing of a study, in `folder`, and return it all.

    size:     a budget's name
    workers:  processes; all cores when None
    against:  other zoos, to see what transfers between them and this one
    progress: called with what is done ("reading", "studying"), how much of it is done, and how much there is

    Can be interrupted at any moment: the same call goes on. Raises MetaError for an unknown budget or a zoo without a
    complete run.
    """
    began = time.monotonic()
    chosen = budget(size)
    folder = Path(folder)
    processes = workers or os.cpu_count() or 1
    zoos = {"": zoo, **{fingerprint(other): other for other in against}}

    def read(key: str, reads: Sequence[Read]) -> None:
        fill(zoos[key], reads, workers=processes, progress=_labelled(progress, f"reading {zoos[key].path.name}"))

    read("", [STATISTICS])
    table = read_table(zoo)
    facts = Facts.of(table, chosen.properties, tuple(Other(key, other.path.name) for key, other in zoos.items() if key))
    planned = [one for question in QUESTIONS for one in question.plan(facts, chosen)]
    cells = Cells(folder / "cells", fingerprint(zoo))
    study = Study(zoo, chosen, facts, planned, cells, table)
    study.against = tuple(against)
    missing = cells.missing([one.cell for one in planned])
    needed: dict[str, list[Read]] = {}
    for key, reads in dict.fromkeys(one for cell in missing for one in _reads(cell)):
        if (key, reads) != ("", STATISTICS):
            needed.setdefault(key, []).append(reads)
    for key, several in needed.items():
        read(key, several)
    study.made = compute(
        cells,
        missing,
        partial(_work, {key: (str(one.path), tuple(one.numbers)) for key, one in zoos.items()}),
        workers=processes,
        progress=_labelled(progress, "studying"),
    )
    study.seconds = time.monotonic() - began
    return study


def _reads(cell: Cell) -> tuple[tuple[str, Read], ...]:
    """The tables that a cell reads, each a zoo's fingerprint ("" for the studied one) and what is read in it: a trial's
    what it trains on and what it is tested on."""
    if cell.kind == TRIAL:
        trial = _settings(cell)
        reads = model_named(trial.model).features, trial.without
        return ((trial.train_zoo, reads), (trial.test_zoo, reads)) if trial.reads_tables else ()
    return (("", (model_named(attribution.MODEL).features, ()) if cell.kind == attribution.KIND else STATISTICS),)


def _work(zoos: Mapping[str, tuple[str, tuple[int, ...]]], cell: Cell) -> dict[str, Any]:
    """Compute one cell; runs in a worker process. zoos: by fingerprint, the path and the numbers of the runs"""
    settings = _settings(cell)
    tables = [read_table(_zoo(*zoos[key]), features, without=without) for key, (features, without) in _reads(cell)]
    if cell.kind != TRIAL:
        run: dict[str, Callable[..., dict[str, Any]]] = {
            "neighbours": run_neighbours,
            "embedding": run_embedding,
            attribution.KIND: run_attribution,
        }
        return run[cell.kind](tables[0], settings)
    if tables:
        train, test = tables
        others = None if test is train else test.readable(settings.tensors)
        return run_trial(train.readable(settings.tensors), settings, others)
    if settings.model == "dmc":
        import torch

        torch.set_num_threads(1)  # one process per core
    return run_trial(_runs(*zoos[""]), settings)


def _settings(cell: Cell) -> Any:
    """What the settings of a cell describe; lists that travelled as JSON are tuples again."""
    kinds = {TRIAL: Trial, "neighbours": Neighbours, "embedding": Embedding, attribution.KIND: Attribution}
    return kinds[cell.kind](**_tuples(cell.settings))


@lru_cache(maxsize=8)
def _zoo(path: str, numbers: tuple[int, ...]) -> Zoo:
    return Zoo(path).select(numbers=numbers)


@lru_cache(maxsize=2)
def _runs(path: str, numbers: tuple[int, ...]) -> list[Run]:
    """The complete runs of a zoo; kept, so that a process reads what is known of a run once."""
    return list(_zoo(path, numbers).select(status="complete"))


def _tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _tuples(v) for name, v in value.items()}
    return tuple(_tuples(v) for v in value) if isinstance(value, (list, tuple)) else value


def _labelled(progress: Callable[[str, float, float], None] | None, what: str) -> Callable[[float, float], None] | None:
    return None if progress is None else partial(progress, what)
