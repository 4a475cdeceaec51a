"""Where in the network the set-up is written."""

from __future__ import annotations

from weightprint.meta.view import LAST
from weightprint.study.budgets import Budget
from weightprint.study.plans import Facts, Planned, curve, planned_trial


def plan(facts: Facts, budget: Budget) -> list[Planned]:
    """By part, by kind of tensor, by layer; every tensor alone and every tensor left out.

    Along the vector: `how_much`'s slices, which are tested at places spread evenly over it.
    """
    every = tuple(facts.tensors)
    groups: dict[tuple[str, str], tuple[str, ...]] = {}
    for experiment in ("part", "kind", "layer"):
        for name, tensor in facts.tensors.items():
            place = experiment, name.rpartition("/")[0] or name if experiment == "layer" else tensor[experiment]
            groups[place] = (*groups.get(place, ()), name)
    if budget.per_tensor:
        groups |= {("only", name): (name,) for name in every}
        groups |= {("without", name): tuple(n for n in every if n != name) for name in every}
    groups["all", "all"] = ()
    at_the_end = {"train_snapshots": LAST, "test_snapshots": (LAST,), "model": "trees"}
    return [
        planned_trial("where", experiment, curve(target, budget, tensors=tensors, **at_the_end), xs=(name,))
        for target in (*facts.targets, *facts.numbers)
        for (experiment, name), tensors in groups.items()
    ]
