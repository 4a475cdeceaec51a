"""What is learnt on some networks, read from others."""

from __future__ import annotations

from weightprint.study.budgets import Budget
from weightprint.study.plans import CURVE_ITERATIONS, Facts, Other, Planned, planned_trial
from weightprint.study.trial import Trial

THIS = "this zoo"
"""The studied zoo's name among several."""


def plan(facts: Facts, budget: Budget) -> list[Planned]:
    """Trained with all values of a property but one, tested on that one; trained on one zoo, tested on others."""
    planned = []
    several = [name for name in facts.targets if len(facts.values[name]) > 2]
    for across in several[: budget.left_out]:
        values = facts.values[across]
        for target in facts.targets:
            if target == across:
                continue
            for value in values:
                others = tuple(v for v in values if v != value)
                trial = Trial(
                    target,
                    train_where=((across, others),),
                    test_where=((across, (value,)),),
                    iterations=CURVE_ITERATIONS,
                    model="layer_trees",
                )
                planned.append(planned_trial("transfer", across, trial, xs=(value,)))
    return planned + _zoos(facts, budget)


def _zoos(facts: Facts, budget: Budget) -> list[Planned]:
    """Every zoo as training and as test, itself included."""
    zoos = [Other("", THIS), *facts.others]
    planned = []
    for target in facts.targets if facts.others else ():
        for train in zoos:
            for test in zoos:
                trial = Trial(
                    target,
                    split_seeds=budget.curve_seeds,
                    iterations=CURVE_ITERATIONS,
                    model="layer_trees",
                    train_zoo=train.key,
                    test_zoo=test.key,
                )
                planned.append(planned_trial("transfer", "zoo", trial, series=train.name, xs=(test.name,)))
    return planned
