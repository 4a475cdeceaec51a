"""The study: how much of the set-up is written into the weights, where and when; what transfers; what controls say. And
questions beyond it, each answered by experiments of its own.

Every result is a cell that is computed once (`cells`). The module of the study (`experiments`), and that of each
question, says which cells it wants (`plan`) and makes rows of them (`rows`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from weightprint.errors import MetaError, check_known
from weightprint.study import (
    experiments,
    few_runs,
    fine_tuning,
    generalization,
    half_life,
    identity,
    one_factor,
    plans,
    robustness,
)
from weightprint.study.budgets import BUDGETS, Budget, budget
from weightprint.study.cells import Cells
from weightprint.study.neighbours import STATISTICS
from weightprint.study.plans import COLUMNS, Facts, Planned
from weightprint.study.table import StudiedRun, fill, fingerprint, read_table
from weightprint.study.work import Progress, compute_planned
from weightprint.zoo import Zoo

__all__ = ["BUDGETS", "COLUMNS", "QUESTIONS", "QUESTION_COLUMNS", "Study", "compute_study"]

QUESTIONS: dict[str, ModuleType] = {
    "robustness": robustness,
    "few-runs": few_runs,
    "everyday": one_factor,
    "identity": identity,
    "half-life": half_life,
    "fine-tuning": fine_tuning,
    "generalization": generalization,
}
"""Beyond the study: name → the module that plans a question's results and makes rows of them."""

QUESTION_COLUMNS = {**COLUMNS, "question": f"which question: {', '.join(QUESTIONS)}", **plans.COMPARED}
"""The columns of the table of their results and what they hold."""


@dataclass(frozen=True)
class Study:
    """A study of a zoo, or answers to questions about it: the results that were planned and are computed.

    zoo:     the runs it stands on
    budget:  how much was to be done
    names:   of the questions; empty for the study itself
    facts:   what the plans need to know of the zoo
    runs:    the complete runs of this zoo ("") and, for questions, of the others by fingerprint; without weights
    parts:   of the study, or of each question, the module and the results that it planned
    cells:   the files that hold them
    against: other zoos
    seconds: of this call
    made:    results that this call computed; the others were read from files
    """

    zoo: Zoo
    budget: Budget
    names: tuple[str, ...]
    facts: Facts
    runs: Mapping[str, Sequence[StudiedRun]]
    parts: Sequence[tuple[ModuleType, Sequence[Planned]]]
    cells: Cells
    against: tuple[Zoo, ...]
    seconds: float
    made: int

    @property
    def planned(self) -> list[Planned]:
        """All results."""
        return [one for _, planned in self.parts for one in planned]

    def rows(self) -> list[dict[str, Any]]:
        """One row per score; columns are COLUMNS, those of questions QUESTION_COLUMNS."""
        columns = QUESTION_COLUMNS if self.names else COLUMNS
        found = [row for module, planned in self.parts for row in module.rows(planned, self.cells, self.runs)]
        return [{**dict.fromkeys(columns), **row} for row in found]


def compute_study(
    zoo: Zoo,
    folder: str | os.PathLike[str],
    names: Sequence[str] = (),
    *,
    size: str = "standard",
    workers: int | None = None,
    against: Sequence[Zoo] = (),
    data: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Study:
    """Compute what is missing of a study, or of the answers to some questions, in `folder`, and return it all.

    names:    of QUESTIONS; the study itself where there is none
    size:     a budget's name
    workers:  processes; all cores when None
    against:  other zoos, to see what transfers between them and this one, and for the questions that need some
    data:     folder of the images that the zoo's runs were trained on, for robustness
    progress: called with what is done ("reading", "studying", "robustness", …), how much of it is done, and how much
              there is

    Can be interrupted at any moment: the same call goes on. Raises MetaError for an unknown question or budget, a zoo
    without complete runs, a question that lacks a zoo to compare with, or images for a question that needs none;
    DataError where a data set is not there.
    """
    began = time.monotonic()
    chosen = budget(size)
    for name in names:
        check_known("question", name, QUESTIONS)
    if data is not None and "robustness" not in names:
        raise MetaError("images serve the question robustness alone", hint="--questions robustness, or no --data")
    zoos = {"": zoo, **{fingerprint(other): other for other in against}}
    processes = workers or os.cpu_count() or 1
    if not names:
        fill(zoo, [STATISTICS], workers=processes, progress=progress and partial(progress, f"reading {zoo.path.name}"))
    table = read_table(zoo, "fields" if names else "statistics")
    runs = {key: read_table(other, "fields").runs for key, other in zoos.items() if key and names}
    others = {key: other.path.name for key, other in zoos.items() if key}
    facts = Facts.of(table, chosen.properties, others, None if data is None else str(data))
    runs[""] = table.runs
    asked = {name: QUESTIONS[name] for name in names} or {"studying": experiments}
    planned = {name: module.plan(facts, chosen, runs) for name, module in asked.items()}
    cells = Cells(Path(folder) / "cells", fingerprint(zoo))
    made = sum(
        compute_planned(zoos, cells, wanted, workers=processes, progress=progress, what=name)
        for name, wanted in planned.items()
    )
    parts = list(zip(asked.values(), planned.values(), strict=True))
    own = tuple(asked) if names else ()
    return Study(zoo, chosen, own, facts, runs, parts, cells, tuple(against), time.monotonic() - began, made)
