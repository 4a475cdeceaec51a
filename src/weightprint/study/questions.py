"""Questions beyond how much, where and when, each answered by experiments of its own."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from weightprint.errors import MetaError, did_you_mean
from weightprint.study import few_runs, fine_tuning, generalization, half_life, identity, one_factor, plans, robustness
from weightprint.study.budgets import Budget, budget
from weightprint.study.cells import Cells
from weightprint.study.plans import Facts, Other, Planned
from weightprint.study.table import StudiedRun, fingerprint, read_table
from weightprint.study.work import Progress, compute_planned
from weightprint.zoo import Zoo

QUESTIONS: dict[str, ModuleType] = {
    "robustness": robustness,
    "few-runs": few_runs,
    "everyday": one_factor,
    "identity": identity,
    "half-life": half_life,
    "fine-tuning": fine_tuning,
    "generalization": generalization,
}
"""Name → the module that plans its results and makes rows of them."""

COLUMNS = {**plans.COLUMNS, "question": f"which question: {', '.join(QUESTIONS)}", **plans.COMPARED}
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
    data: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Answers:
    """Compute what is missing of the answers to some questions, in `folder`, and return them all.

    names:    of QUESTIONS
    size:     a budget's name
    workers:  processes; all cores when None
    against:  other zoos, for the questions that need some
    data:     folder of the images that the zoo's runs were trained on, for robustness
    progress: called with what is done ("reading", "robustness", …), how much of it is done, and how much there is

    Can be interrupted at any moment: the same call goes on. Raises MetaError for an unknown question or budget, a zoo
    without complete runs, a question that lacks a zoo to compare with, or images for a question that needs none;
    DataError where a data set is not there.
    """
    began = time.monotonic()
    chosen = budget(size)
    for name in names:
        if name not in QUESTIONS:
            raise MetaError(f"unknown question {name!r}", hint=did_you_mean(name, QUESTIONS))
    if data is not None and "robustness" not in names:
        raise MetaError("images serve the question robustness alone", hint="--questions robustness, or no --data")
    folder = Path(folder)
    zoos = {"": zoo, **{fingerprint(other): other for other in against}}
    known = {key: read_table(one, "fields") for key, one in zoos.items()}
    runs = {key: table.runs for key, table in known.items()}
    others = tuple(Other(key, other.path.name) for key, other in zoos.items() if key)
    facts = replace(Facts.of(known[""], chosen.properties, others), data=None if data is None else str(data))
    planned = {name: QUESTIONS[name].plan(facts, chosen, runs) for name in dict.fromkeys(names)}
    cells = Cells(folder / "cells", fingerprint(zoo))
    made = sum(
        compute_planned(zoos, cells, wanted, workers=workers or os.cpu_count() or 1, progress=progress, what=name)
        for name, wanted in planned.items()
    )
    seconds = time.monotonic() - began
    return Answers(zoo, chosen, tuple(planned), facts, runs, planned, cells, tuple(against), seconds, made)
