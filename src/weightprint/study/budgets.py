"""How much a study does: quick for a look, standard for a result, paper for everything."""

from __future__ import annotations

from dataclasses import dataclass

from weightprint.errors import check_known


@dataclass(frozen=True)
class Budget:
    """What the experiments do at one budget.

    name:           "quick", "standard" or "paper"
    split_seeds:    splits of the headline results; the curves use the first
    curve_seeds:    splits of every other result
    snapshots:      at most this many moments of training are looked at, evenly spread
    shares:         of the training runs
    lengths:        of slices, in weights
    slice_seconds:  time cap of each fit of the local model
    dmc_seconds:    time cap of each fit of the paper's DMC, at 5,000 weights;
                    None leaves it and the SVM out
    per_tensor:     whether every tensor is looked at by itself, and left out by itself
    properties:     at most this many
    left_out:       at most this many properties of which every value is left out of the training and tested on alone
    """

    name: str
    split_seeds: tuple[int, ...]
    curve_seeds: tuple[int, ...]
    snapshots: int
    shares: tuple[float, ...]
    lengths: tuple[int, ...]
    slice_seconds: float
    dmc_seconds: float | None
    per_tensor: bool
    properties: int
    left_out: int


PAPER_LENGTHS = (50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 40_000)
FIVE, TEN = tuple(range(5)), tuple(range(10))

BUDGETS = {
    budget.name: budget
    for budget in (
        Budget("quick", FIVE, (0,), 5, (0.5,), (500, 5000), 10.0, None, False, 8, 1),
        Budget(
            "standard", FIVE, (0, 1), 20, (0.1, 0.25, 0.5), (50, 200, 1000, 5000, 20_000), 30.0, 120.0, True, 16, 16
        ),
        Budget("paper", TEN, FIVE, 20, (0.05, 0.1, 0.25, 0.5, 0.75), PAPER_LENGTHS, 300.0, 1200.0, True, 32, 32),
    )
}
"""Budgets by name. A step of the DMC takes about 1.4e11 operations (protocol: section 4), too many for a quick look."""


def budget(name: str) -> Budget:
    """The budget of a name. Raises MetaError for an unknown one, naming the nearest."""
    check_known("budget", name, BUDGETS)
    return BUDGETS[name]
