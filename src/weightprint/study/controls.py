"""Controls: what a result could come from besides learnt weights (protocol: section 6)."""

from __future__ import annotations

from weightprint.study.budgets import Budget
from weightprint.study.plans import Facts, Planned, planned_trial
from weightprint.study.trials import Trial

MOVING = ("moving_mean", "moving_variance")


def plan(facts: Facts, budget: Budget) -> list[Planned]:
    """The headline again without the trivial footprints, without the convergence filter, without one class."""
    moving = tuple(name for name, tensor in facts.tensors.items() if tensor["kind"] in MOVING)
    # Convolutions are normalised before the activation: nothing but rounding moves their biases.
    normalised = {name.rpartition("/")[0] for name in moving if facts.tensors[name]["part"] == "conv"}
    biases = tuple(f"{layer}/bias" for layer in normalised if f"{layer}/bias" in facts.tensors)
    every = tuple(facts.tensors)

    def without(*left_out: str) -> tuple[str, ...]:
        return tuple(name for name in every if name not in left_out)

    found = []
    for target in facts.targets:

        def headline(name: str, **changes: object) -> None:
            settings = {"split_seeds": budget.curve_seeds, **changes}
            trial = Trial(target, facts.later_half, (facts.later_half,), **settings)  # type: ignore[arg-type]  # noqa: B023
            found.append(planned_trial("controls", "controls", trial, xs=(name,)))

        headline("as in the headline")
        if moving:
            headline("without moving statistics", tensors=without(*moving))
        if biases:
            headline("without biases before batch norm", tensors=without(*biases))
            headline("without both", tensors=without(*moving, *biases))
        headline("runs that did not learn included", converged=False)
        others = tuple(v for v in facts.values.get("initialization", ()) if v != "constant")
        if 1 < len(others) < len(facts.values["initialization"]):
            where = (("initialization", others),)
            headline("without constant initialization", train_where=where, test_where=where)
    return found
