"""A baseline trial: what can be said of test runs without reading a weight's value."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from weightprint.errors import MetaError
from weightprint.meta import build
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
    answers: dict[int, list[Any]] = {}
    fewest, target = math.inf, None
    for seed in trial.split_seeds:
        train, test = zoo.select(status="complete").split(split_seed=seed)
        meta = build(trial.model, target=trial.target)
        try:
            readings, _ = meta.fit(train).read_unseen(test)
        except MetaError as error:
            return {"reason": error.message, "seconds": time.monotonic() - began}
        target, fewest = meta.target_, min(fewest, len(meta.train_runs_))
        for reading in readings:
            if meta.classes_:
                answer = reading.labels[0], meta.classes_[int(reading.mean.argmax())]
            else:
                answer = float(np.mean(reading.labels)), float(reading.mean[0])
            answers.setdefault(reading.run.number, []).append(answer)
    if target is None or not answers:
        return {"reason": "no test run is left", "seconds": time.monotonic() - began}
    scores = [score_of(target, answers, int(fewest))]
    return {"scores": scores, "seconds": time.monotonic() - began}
