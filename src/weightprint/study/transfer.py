"""What is learnt on some networks, read from others."""

from __future__ import annotations

from typing import Any

from weightprint.study.budgets import Budget
from weightprint.study.plans import Facts, Other, Planned, curve, planned_trial
from weightprint.study.trial import Trial

THIS = "this zoo"
"""The studied zoo's name among several."""


def plan(facts: Facts, budget: Budget) -> list[Planned]:
    """Trained with all values of a property but one, tested on that one; trained on one zoo, tested on others."""
    several = [name for name in facts.targets if len(facts.values[name]) > 2]
    planned = [
        planned_trial("transfer", across, _left_out(target, across, value, facts, budget), xs=(value,))
        for across in several[: budget.left_out]
        for target in facts.targets
        if target != across
        for value in facts.values[across]
    ]
    zoos = [Other("", THIS), *facts.others] if facts.others else []
    return planned + [
        planned_trial(
            "transfer", "zoo", curve(target, budget, train_zoo=train.key, test_zoo=test.key), train.name, (test.name,)
        )
        for target in facts.targets
        for train in zoos
        for test in zoos
    ]


def _left_out(target: str, across: str, value: Any, facts: Facts, budget: Budget) -> Trial:
    others = tuple(v for v in facts.values[across] if v != value)
    where = {"train_where": ((across, others),), "test_where": ((across, (value,)),)}
    return curve(target, budget, split_seeds=(0,), **where)
