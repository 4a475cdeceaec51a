"""When during training the set-up becomes readable, and how long it stays so."""

from __future__ import annotations

from weightprint.study.budgets import Budget
from weightprint.study.plans import Facts, Planned, curve, moments_of, planned_trial


def plan(facts: Facts, budget: Budget) -> list[Planned]:
    """Trained on the snapshots of one moment, tested at every moment: the diagonal is when, the rest what transfers."""
    moments = moments_of(facts.snapshots, budget.snapshots)
    every = tuple((m, m) for m in moments)
    return [
        planned_trial(
            "when", "moments", curve(target, budget, train_snapshots=one, test_snapshots=every), one[0], moments
        )
        for target in (*facts.targets, *facts.numbers)
        for one in every
    ]
