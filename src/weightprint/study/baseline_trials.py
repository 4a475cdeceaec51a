"""A baseline trial: what can be said of test runs without reading a weight's value."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from weightprint.errors import MetaError
from weightprint.meta import build
from weightprint.meta.answers import read_answers
from weightprint.study.budgets import Budget
from weightprint.study.cells import Cell
from weightprint.study.plans import Planned, versions_of
from weightprint.study.scores import score_of
from weightprint.zoo import Zoo

BASELINES = ("shapes", "fields")
"""Beside chance and majority, which stand in every row: how long and of what shape the tensors are, and the other
choices of the set-up."""


@dataclass(frozen=True)
class BaselineTrial:
    """What is trained on and tested on.

    target:      a property of the runs, or a measurement of the later half of their snapshots
    model:       one of BASELINES
    split_seeds: one fit for each
    """

    target: str
    model: str
    split_seeds: tuple[int, ...]


def planned_baseline(question: str, experiment: str, model: str, target: str, budget: Budget) -> Planned:
    """A result that one baseline trial gives."""
    trial = BaselineTrial(target, model, budget.split_seeds)
    cell = Cell("baseline", asdict(trial), len(budget.split_seeds) / 2, versions_of(model))
    return Planned(question, experiment, target, model, "", ("",), cell)


def run_baseline_trial(zoo: Zoo, trial: BaselineTrial) -> dict[str, Any]:
    """{"scores": [one], "seconds"}; {"reason": text} when it cannot be done. JSON-ready."""
    began = time.monotonic()
    answers, fewest = [], 0
    for seed in trial.split_seeds:
        train, test = zoo.select(status="complete").split(split_seed=seed)
        meta = build(trial.model, target=trial.target)
        try:
            answers.append(read_answers(meta.fit(train), test, split=seed)[0])
        except MetaError as error:
            return {"reason": error.message, "seconds": time.monotonic() - began}
        fewest = min(fewest or len(meta.train_runs_), len(meta.train_runs_))
    scores = [score_of(pl.concat(answers), fewest)]
    return {"scores": scores, "seconds": time.monotonic() - began}
