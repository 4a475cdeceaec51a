"""What is learnt on some networks, read from others."""

from __future__ import annotations

from weightprint.study.budgets import Budget
from weightprint.study.plans import Facts, Planned, planned_trial
from weightprint.study.trials import Trial

ACROSS = ("dataset", "filter_size", "depth_conv", "width_conv", "activation")
"""Properties of which one value is left out of the training and tested on alone."""


def plan(facts: Facts, budget: Budget) -> list[Planned]:
    """Trained on runs with all values of a property but one, tested on that one."""
    found = []
    for across in ACROSS:
        values = facts.values.get(across, ())
        if not 2 < len(values) <= 10 or (budget.name == "quick" and across != "dataset"):
            continue
        for target in facts.targets:
            if target == across:
                continue
            for value in values:
                others = tuple(v for v in values if v != value)
                trial = Trial(
                    target,
                    facts.later_half,
                    (facts.later_half,),
                    train_where=((across, others),),
                    test_where=((across, (value,)),),
                    iterations=60,
                )
                found.append(planned_trial("transfer", across, trial, xs=(value,)))
    return found
