"""When during training the set-up becomes readable, and how long it stays so."""

from __future__ import annotations

import numpy as np

from weightprint.study.budgets import Budget
from weightprint.study.plans import CURVE_ITERATIONS, Facts, Planned, planned_trial
from weightprint.study.trial import Trial


def moments(facts: Facts, budget: Budget) -> tuple[int, ...]:
    """The snapshots that are looked at, evenly spread from the first to the last of the longest runs."""
    places = np.linspace(1, facts.snapshots, min(budget.snapshots, facts.snapshots))
    return tuple(int(p) for p in np.unique(places.round()))


def plan(facts: Facts, budget: Budget) -> list[Planned]:
    """Trained on the snapshots of one moment, tested at every moment: the diagonal is when, the rest what transfers."""
    found = []
    for target in (*facts.targets, *facts.numbers):
        for moment in moments(facts, budget):
            trial = Trial(
                target,
                (moment, moment),
                tuple((m, m) for m in moments(facts, budget)),
                split_seeds=budget.curve_seeds,
                iterations=CURVE_ITERATIONS,
                model="layer_trees",
            )
            planned = planned_trial("when", "moments", trial, series=str(moment), xs=moments(facts, budget))
            found.append(planned)
    return found
