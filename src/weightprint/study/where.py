"""Where in the network the set-up is written."""

from __future__ import annotations

from weightprint.meta.view import LAST
from weightprint.study.budgets import Budget
from weightprint.study.plans import CURVE_ITERATIONS, Facts, Planned, planned_trial
from weightprint.study.trial import Trial


def plan(facts: Facts, budget: Budget) -> list[Planned]:
    """By part, by kind of tensor, by layer; every tensor alone and every tensor left out.

    Along the vector: `how_much`'s slices, which are tested at places spread evenly over it.
    """
    kinds = tuple(dict.fromkeys(tensor["kind"] for tensor in facts.tensors.values()))
    parts = tuple(dict.fromkeys(tensor["part"] for tensor in facts.tensors.values()))
    groups = [("part", part, facts.tensors_of(part=part)) for part in parts]
    groups += [("kind", kind, facts.tensors_of(kind=kind)) for kind in kinds]
    groups += [("layer", layer, facts.tensors_of(layer=layer)) for layer in facts.layers]
    if budget.per_tensor:
        every = tuple(facts.tensors)
        groups += [("only", name, (name,)) for name in every]
        groups += [("without", name, tuple(n for n in every if n != name)) for name in every]
    planned = []
    for target in (*facts.targets, *facts.numbers):
        for experiment, name, tensors in groups:
            trial = Trial(
                target,
                LAST,
                (LAST,),
                tensors=tensors,
                split_seeds=budget.curve_seeds,
                iterations=CURVE_ITERATIONS,
            )
            planned.append(planned_trial("where", experiment, trial, xs=(name,)))
        trial = Trial(target, LAST, (LAST,), split_seeds=budget.curve_seeds, iterations=CURVE_ITERATIONS)
        planned.append(planned_trial("where", "all", trial, xs=("all",)))
    return planned
