"""How much of the set-up is written into the weights."""

from __future__ import annotations

from weightprint.study.budgets import Budget
from weightprint.study.plans import Facts, Planned, planned_trial
from weightprint.study.trial import AVERAGED, Trial

WHOLE = ("trees", "layer_trees")
"""Meta-classifiers that read whole networks."""

BASELINES = ("shapes", "fields")
"""Beside chance and majority, which stand in every row: how long and of what shape the tensors are, and the other
choices of the set-up."""

LOCAL = "slice_trees"
"""The cheap local meta-classifier of the curves."""

PAPER_LENGTH = 5000
"""Of the slices that the paper's local meta-classifiers read (protocol: section 4)."""


def plan(facts: Facts, budget: Budget) -> list[Planned]:
    """The headline of every property; against slice length, training runs and slices averaged."""
    planned = []
    for target in (*facts.targets, *facts.numbers):
        for model in (*WHOLE, *BASELINES):
            headline = Trial(target, split_seeds=budget.split_seeds, model=model)
            planned.append(planned_trial("how_much", "headline", headline))
        for share in budget.shares:
            for model in WHOLE:
                part = Trial(target, split_seeds=budget.curve_seeds, train_share=share, model=model)
                planned.append(planned_trial("how_much", "training_runs", part, xs=(share,)))
    local = [(LOCAL, length, budget.slice_seconds) for length in budget.lengths if length <= facts.length]
    if budget.dmc_seconds is not None and facts.length >= PAPER_LENGTH:
        local += [("svm", PAPER_LENGTH, budget.slice_seconds), ("dmc", PAPER_LENGTH, budget.dmc_seconds)]
    for target in facts.targets:
        for model, length, seconds in local:
            settings = {"slice_length": length, "averaged": AVERAGED, "places": model == LOCAL, "max_seconds": seconds}
            trial = Trial(target, model=model, **settings)  # type: ignore[arg-type]
            planned.append(planned_trial("how_much", "slices", trial, length, AVERAGED))
    return planned
