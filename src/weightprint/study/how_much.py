"""How much of the set-up is written into the weights."""

from __future__ import annotations

from weightprint.study.budgets import Budget
from weightprint.study.plans import Facts, Planned, planned_trial
from weightprint.study.slice_trials import AVERAGED, SliceTrial, planned_slices
from weightprint.study.trials import Trial

CURVE_ITERATIONS = 60
"""Of the trees in curves, where no time goes into choosing the number."""


def plan(facts: Facts, budget: Budget) -> list[Planned]:
    """The headline of every property; against slice length, training runs and slices averaged."""
    found = []
    for target in (*facts.targets, *facts.numbers):
        whole = Trial(target, facts.later_half, (facts.later_half,), split_seeds=budget.split_seeds)
        found.append(planned_trial("how_much", "headline", whole))
    for target in facts.targets:
        for share in budget.shares:
            trial = Trial(
                target,
                facts.later_half,
                (facts.later_half,),
                split_seeds=budget.curve_seeds,
                train_share=share,
            )
            found.append(planned_trial("how_much", "training_runs", trial, xs=(share,)))
        for length in budget.lengths:
            if length <= facts.length:
                local = SliceTrial(target, facts.later_half, length, max_seconds=budget.slice_seconds)
                found.append(planned_slices("how_much", "slices", local, series=f"{length}", xs=AVERAGED))
        if facts.length >= 5000:
            dmc = SliceTrial(target, facts.later_half, 5000, model="dmc", max_seconds=budget.dmc_seconds)
            found.append(planned_slices("how_much", "slices", dmc, series="5000", xs=AVERAGED))
    return found
