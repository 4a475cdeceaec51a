"""How much of the set-up is written into the weights."""

from __future__ import annotations

from weightprint.meta.view import LATER_HALF
from weightprint.study.baseline_trials import BASELINES, planned_baseline
from weightprint.study.budgets import Budget
from weightprint.study.plans import Facts, Planned, planned_trial
from weightprint.study.slice_trials import AVERAGED, SliceTrial, planned_slices
from weightprint.study.trials import Trial

WHOLE = ("trees", "layer_trees")
"""Meta-classifiers that read whole networks."""

CURVE_ITERATIONS = 60
"""Of the trees in curves, where no time goes into choosing the number."""


def plan(facts: Facts, budget: Budget) -> list[Planned]:
    """The headline of every property; against slice length, training runs and slices averaged."""
    found = []
    for target in (*facts.targets, *facts.numbers):
        for model in WHOLE:
            whole = Trial(target, LATER_HALF, (LATER_HALF,), split_seeds=budget.split_seeds, model=model)
            found.append(planned_trial("how_much", "headline", whole))
        found += [planned_baseline("how_much", "headline", name, target, budget) for name in BASELINES]
        for share in budget.shares:
            for model in WHOLE:
                seeds = budget.curve_seeds
                part = Trial(target, LATER_HALF, (LATER_HALF,), split_seeds=seeds, train_share=share, model=model)
                found.append(planned_trial("how_much", "training_runs", part, xs=(share,)))
    for target in facts.targets:
        for length in budget.lengths:
            if length <= facts.length:
                local = SliceTrial(target, length, max_seconds=budget.slice_seconds)
                found.append(planned_slices("how_much", "slices", local, series=f"{length}", xs=AVERAGED))
        if facts.length >= 5000:
            rivals = {"svm": budget.slice_seconds, "dmc": budget.dmc_seconds}
            if budget.name == "quick":
                del rivals["svm"]
            for model, seconds in rivals.items():
                rival = SliceTrial(target, 5000, model=model, max_seconds=seconds)
                found.append(planned_slices("how_much", "slices", rival, series="5000", xs=AVERAGED))
    return found
