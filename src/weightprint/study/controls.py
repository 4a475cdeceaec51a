"""Controls: what a result could come from besides learnt weights (protocol: section 6)."""

from __future__ import annotations

from typing import Any

from weightprint.study.budgets import Budget
from weightprint.study.plans import Facts, Planned, planned_trial
from weightprint.study.trial import Trial

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


def plan(facts: Facts, budget: Budget) -> list[Planned]:
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
