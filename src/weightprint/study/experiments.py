"""The study's experiments: how much of the set-up is written into the weights, what else a result could come from
(controls; protocol: section 6), where in the network, when during training, and what transfers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from weightprint.meta.view import LAST
from weightprint.meta.view import WHOLE as ALL
from weightprint.study import attribution, neighbours, plans, run_accuracy
from weightprint.study.budgets import Budget
from weightprint.study.cells import Cells
from weightprint.study.plans import Facts, Planned, Row, curve, moments_of, planned_trial
from weightprint.study.table import StudiedRun
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

MAP_MOMENTS = 10
"""Moments of training at which slices are read along the vector."""

MOVING = ("moving_mean", "moving_variance")
AS_IS = "as in the headline"
MOVING_OUT, BIASES_OUT = "without moving statistics", "without biases before batch norm"
BOTH_OUT = "without both"
WITHOUT = {
    MOVING_OUT: ("moving_statistics",),
    BIASES_OUT: ("biases_before_norm",),
    BOTH_OUT: ("moving_statistics", "biases_before_norm"),
}
"""A control's name → what meta-classifiers are kept from reading, names of `weightprint.features.omission.WITHOUT`."""


def how_much(facts: Facts, budget: Budget) -> list[Planned]:
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
            settings = {"slice_length": length, "averaged": AVERAGED, "max_seconds": seconds}
            settings["places"] = (LAST,) if model == LOCAL else ()
            trial = Trial(target, model=model, **settings)  # type: ignore[arg-type]
            planned.append(planned_trial("how_much", "slices", trial, length, AVERAGED))
    return planned


def controls(facts: Facts, budget: Budget) -> list[Planned]:
    """The headline again without the trivial footprints, without the convergence filter, without one class."""
    moving = tuple(name for name, tensor in facts.tensors.items() if tensor["kind"] in MOVING)
    # Convolutions are normalised before the activation: nothing but rounding moves their biases.
    normalised = {name.rpartition("/")[0] for name in moving if facts.tensors[name]["part"] == "conv"}
    biases = tuple(f"{layer}/bias" for layer in normalised if f"{layer}/bias" in facts.tensors)

    def but(left_out: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name for name in facts.tensors if name not in left_out)

    arms: list[tuple[str, dict[str, Any]]] = [(AS_IS, {})]
    if budget.name != "quick":
        arms.append((AS_IS, {"model": "layer_trees"}))
        arms += [(name, {"model": "layer_trees", "without": kinds}) for name, kinds in WITHOUT.items() if moving]
    arms += [(MOVING_OUT, {"tensors": but(moving)})] if moving else []
    arms += [(BIASES_OUT, {"tensors": but(biases)}), (BOTH_OUT, {"tensors": but(moving + biases)})] if biases else []
    arms.append(("runs that did not learn included", {"converged": False}))
    others = tuple(v for v in facts.values.get("initialization", ()) if v != "constant")
    if 1 < len(others) < len(facts.values["initialization"]):
        where = (("initialization", others),)
        arms.append(("without constant initialization", {"train_where": where, "test_where": where}))
    return [
        planned_trial("controls", "controls", Trial(target, split_seeds=budget.curve_seeds[:1], **changes), xs=(name,))
        for target in facts.targets
        for name, changes in arms
    ]


def where(facts: Facts, budget: Budget) -> list[Planned]:
    """By part, by kind of tensor, by layer; every tensor alone and every tensor left out; slices of one part alone.

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
    parts = dict.fromkeys([*(tensor["part"] for tensor in facts.tensors.values()), ALL])
    return [
        planned_trial("where", "slices_of_part", _slices(target, budget, part=part), xs=(part,))
        for target in facts.targets
        for part in parts
        if _maps_slices(facts, budget)
    ] + [
        planned_trial("where", experiment, curve(target, budget, tensors=tensors, **at_the_end), xs=(name,))
        for target in (*facts.targets, *facts.numbers)
        for (experiment, name), tensors in groups.items()
    ]


def when(facts: Facts, budget: Budget) -> list[Planned]:
    """Trained on the snapshots of one moment, tested at every moment: the diagonal is when, the rest what transfers.

    Where and when: slices of all snapshots, tested at even places of each of some moments.
    """
    moments = moments_of(facts.snapshots, budget.snapshots)
    every = tuple((m, m) for m in moments)
    mapped = moments_of(facts.snapshots, MAP_MOMENTS) if _maps_slices(facts, budget) else ()
    places = tuple((m, m) for m in mapped)
    any_moment = {"train_snapshots": ALL, "test_snapshots": places, "places": places}
    return [
        planned_trial("when", "slices_by_snapshot", _slices(target, budget, **any_moment), xs=mapped)
        for target in facts.targets
        if mapped
    ] + [
        planned_trial(
            "when", "moments", curve(target, budget, train_snapshots=one, test_snapshots=every), one[0], moments
        )
        for target in (*facts.targets, *facts.numbers)
        for one in every
    ]


def transfer(facts: Facts, budget: Budget) -> list[Planned]:
    """Trained with all values of a property but one, tested on that one; trained on one zoo, tested on others."""
    several = [name for name in facts.targets if len(facts.values[name]) > 2]
    planned = [
        planned_trial("transfer", across, _left_out(target, across, value, facts, budget), xs=(value,))
        for across in several[: budget.left_out]
        for target in facts.targets
        if target != across
        for value in facts.values[across]
    ]
    zoos = facts.zoos.items() if facts.others else ()
    return planned + [
        planned_trial("transfer", "zoo", curve(target, budget, train_zoo=train, test_zoo=test), trained, (tested,))
        for target in facts.targets
        for train, trained in zoos
        for test, tested in zoos
    ]


def _maps_slices(facts: Facts, budget: Budget) -> bool:
    return budget.name != "quick" and facts.length >= PAPER_LENGTH


def _slices(target: str, budget: Budget, **changes: Any) -> Trial:
    return Trial(target, model=LOCAL, slice_length=PAPER_LENGTH, max_seconds=budget.slice_seconds, **changes)


def _left_out(target: str, across: str, value: Any, facts: Facts, budget: Budget) -> Trial:
    others = tuple(v for v in facts.values[across] if v != value)
    where = {"train_where": ((across, others),), "test_where": ((across, (value,)),)}
    return curve(target, budget, split_seeds=(0,), **where)


EXPERIMENTS = (how_much, controls, where, attribution.plan, when, neighbours.plan, transfer)
"""In the order in which results are computed: the headlines first."""


def plan(facts: Facts, budget: Budget, _: Mapping[str, Sequence[StudiedRun]]) -> list[Planned]:
    """All results of the study."""
    return [planned for experiment in EXPERIMENTS for planned in experiment(facts, budget)]


def rows(planned: Sequence[Planned], cells: Cells, runs: Mapping[str, Sequence[StudiedRun]]) -> list[Row]:
    """One row per score, and what they say of the runs' own accuracies."""
    return plans.rows(planned, cells) + run_accuracy.rows(planned, cells, runs[""])
