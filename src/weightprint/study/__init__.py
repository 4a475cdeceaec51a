"""The study: how much of the set-up is written into the weights, where and when; what transfers; what controls say.

Every result is a cell that is computed once (`cells`); a plan per question says which cells it wants (`how_much`,
`where`, `when`, `transfer`, `controls`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from weightprint.study import controls, how_much, transfer, when, where
from weightprint.study.budgets import BUDGETS, Budget, budget
from weightprint.study.cells import Cell, Cells, compute
from weightprint.study.plans import COLUMNS, Facts, Planned, rows
from weightprint.study.slice_trials import SliceTrial, run_slice_trial
from weightprint.study.table import fingerprint, load_table, read_table
from weightprint.study.trials import Trial, run_trial
from weightprint.zoo import Zoo

__all__ = ["BUDGETS", "COLUMNS", "Study", "compute_study"]

QUESTIONS = (how_much, controls, where, when, transfer)
"""In the order in which results are computed: the headlines first."""


class Study:
    """What a study found.

    zoo:     the runs it stands on
    budget:  what was asked for
    facts:   what the plans knew of the zoo
    planned: the results that were wanted
    cells:   where they lie
    seconds: of this call
    made:    results that this call computed; the rest were there
    """

    def __init__(self, zoo: Zoo, size: Budget, facts: Facts, planned: list[Planned], cells: Cells) -> None:
        self.zoo, self.budget, self.facts, self.planned, self.cells = zoo, size, facts, planned, cells
        self.seconds = 0.0
        self.made = 0

    def rows(self) -> list[dict[str, Any]]:
        """One row per score; columns are COLUMNS."""
        return rows(self.planned, self.cells)


def compute_study(
    zoo: Zoo,
    folder: str | os.PathLike[str],
    *,
    size: str = "standard",
    workers: int | None = None,
    progress: Callable[[str, float, float], None] | None = None,
) -> Study:
    """Compute what is missing of a study, in `folder`, and return it all.

    size:     a budget's name
    workers:  processes; all cores when None
    progress: called with what is done ("reading", "studying"), how much of it is done, and how much there is

    Can be interrupted at any moment: the same call goes on. Raises MetaError for an unknown budget or a zoo without a
    complete run.
    """
    began = time.monotonic()
    chosen = budget(size)
    folder = Path(folder)
    table_path = read_table(zoo, folder, progress=_told(progress, "reading"))
    table = load_table(str(table_path))
    facts = Facts.of(table, chosen.properties)
    planned = [one for question in QUESTIONS for one in question.plan(facts, chosen)]
    cells = Cells(folder / "cells", fingerprint(zoo))
    study = Study(zoo, chosen, facts, planned, cells)
    work = partial(_work, str(table_path), str(zoo.path), tuple(zoo.numbers))
    study.made = compute(
        cells,
        [one.cell for one in planned],
        work,
        workers=workers or os.cpu_count() or 1,
        progress=_told(progress, "studying"),
    )
    study.seconds = time.monotonic() - began
    return study


def _work(table_path: str, zoo_path: str, numbers: tuple[int, ...], cell: Cell) -> dict[str, Any]:
    """Compute one cell; runs in a worker process."""
    if cell.kind == "trial":
        return run_trial(load_table(table_path), _trial(cell))
    import torch

    torch.set_num_threads(1)  # one process per core
    return run_slice_trial(_zoo(zoo_path, numbers), SliceTrial(**_tuples(cell.settings)))


def _zoo(path: str, numbers: tuple[int, ...]) -> Zoo:
    return Zoo(path).select(numbers=numbers)


def _trial(cell: Cell) -> Trial:
    return Trial(**_tuples(cell.settings))


def _tuples(value: Any) -> Any:
    """Lists as tuples, so that settings that travelled as JSON are as they were."""
    if isinstance(value, dict):
        return {name: _tuples(v) for name, v in value.items()}
    return tuple(_tuples(v) for v in value) if isinstance(value, (list, tuple)) else value


def _told(progress: Callable[[str, float, float], None] | None, what: str) -> Callable[[float, float], None] | None:
    return None if progress is None else partial(progress, what)
