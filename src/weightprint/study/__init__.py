"""The study: how much of the set-up is written into the weights, where and when; what transfers; what controls say.

Every result is a cell that is computed once (`cells`); a plan per question says which cells it wants (`how_much`,
`where`, `when`, `transfer`, `controls`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from weightprint.study import attribution, controls, how_much, neighbours, run_accuracy, transfer, when, where
from weightprint.study.budgets import BUDGETS, Budget, budget
from weightprint.study.cells import Cells
from weightprint.study.neighbours import STATISTICS
from weightprint.study.plans import COLUMNS, Facts, Other, Planned, rows
from weightprint.study.table import FeatureTable, fill, fingerprint, read_table
from weightprint.study.work import Progress, compute_planned
from weightprint.zoo import Zoo

__all__ = ["BUDGETS", "COLUMNS", "Study", "compute_study"]

QUESTIONS = (how_much, controls, where, attribution, when, neighbours, transfer)
"""In the order in which results are computed: the headlines first."""


@dataclass(frozen=True)
class Study:
    """A study of a zoo: the results that were planned and are computed.

    zoo:     the runs it stands on
    budget:  how much was to be done
    facts:   what the plans need to know of the zoo
    planned: all results of the study
    cells:   the files that hold them
    table:   statistics of every tensor of every snapshot
    against: other zoos
    seconds: of this call
    made:    results that this call computed; the others were read from files
    """

    zoo: Zoo
    budget: Budget
    facts: Facts
    planned: Sequence[Planned]
    cells: Cells
    table: FeatureTable
    against: tuple[Zoo, ...] = ()
    seconds: float = 0.0
    made: int = 0

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
    progress: Progress | None = None,
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
    zoos = {"": zoo, **{fingerprint(other): other for other in against}}
    processes = workers or os.cpu_count() or 1
    fill(zoo, [STATISTICS], workers=processes, progress=progress and partial(progress, f"reading {zoo.path.name}"))
    table = read_table(zoo)
    facts = Facts.of(table, chosen.properties, tuple(Other(key, other.path.name) for key, other in zoos.items() if key))
    planned = [one for question in QUESTIONS for one in question.plan(facts, chosen)]
    cells = Cells(Path(folder) / "cells", fingerprint(zoo))
    made = compute_planned(zoos, cells, planned, workers=processes, progress=progress)
    return Study(zoo, chosen, facts, planned, cells, table, tuple(against), time.monotonic() - began, made)
