"""Which facts are worth saying: sentences on what is not as it is in most networks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

SPARSE = 0.1
"""Share of zeros among all weights from which on it is said."""

NAMED = 3
"""So many names are given of a longer list."""


def headline(facts: Mapping[str, Any]) -> str:
    """One sentence on whether the network was trained; empty where nothing can be told."""
    start = facts["initialization"]
    scheme = f", scheme {start['scheme']}" if start["scheme"] else ""
    if start["state"] == "at initialisation":
        return f"At initialisation{scheme}: its weights are as they were drawn; it was not trained, or hardly."
    if start["state"] == "partly":
        layers, one = start["untrained"], len(start["untrained"]) == 1
        return (
            f"{len(layers)} of {len(start['layers'])} layers {'is' if one else 'are'} still at "
            f"initialisation{scheme}: {listed(layers)}."
        )
    if start["state"] == "trained":
        return "Trained: no layer is as it was drawn, of those that are large enough to tell."
    return ""


def notable(facts: Mapping[str, Any]) -> list[str]:
    """Sentences on everything unusual, what matters most first."""
    return [sentence for part in (_damage, _sizes, _units, _formats, _left_out) for sentence in part(facts)]


def _damage(facts: Mapping[str, Any]) -> Iterator[str]:
    bad = facts["not_finite"]
    if bad:
        count = sum(numbers["nan"] + numbers["infinite"] for numbers in bad.values())
        yield f"{count:,} weights are NaN or infinite, in {_tensors(list(bad))}"
    if facts["all_zero"]:
        yield f"all weights are zero in {_tensors(facts['all_zero'])}"
    if facts["constant"]:
        yield f"all weights are equal in {_tensors(facts['constant'])}"


def _sizes(facts: Mapping[str, Any]) -> Iterator[str]:
    if facts["zeros"] >= SPARSE:
        yield f"{facts['zeros']:.0%} of all weights are exactly zero: it was pruned, or parts were never used"
    for group in facts["duplicates"]:
        yield f"{listed(group)} hold the same values, and are stored apart"
    for group in facts["tied"]:
        yield f"{listed(group)} share their weights"


def _units(facts: Mapping[str, Any]) -> Iterator[str]:
    for side, words in (("incoming", "read nothing"), ("outgoing", "are read by nothing")):
        dead = {name: numbers[side] for name, numbers in facts["dead_units"].items() if numbers[side]}
        if dead:
            yield f"{sum(dead.values()):,} units {words} (weights next to zero), in {listed(list(dead))}"
    untouched = [name for name, known in facts["norms"].items() if known["untouched"]]
    if untouched:
        yield f"the normalisation is as before the first step in {listed(untouched)}"
    for key, words in (("switched_off", "are scaled to zero by"), ("no_variance", "never varied before")):
        layers = {name: known[key] for name, known in facts["norms"].items() if known.get(key)}
        if layers:
            yield f"{sum(layers.values()):,} units {words} the normalisation of {listed(list(layers))}"


def _formats(facts: Mapping[str, Any]) -> Iterator[str]:
    by_grid: dict[str, list[str]] = {}
    for name, grid in facts["grids"].items():
        by_grid.setdefault(grid, []).append(name)
    for grid, names in by_grid.items():
        what = "take few values" if grid == "few values" else f"lie on the grid of {grid}"
        yield f"the float32 weights of {_tensors(names)} {what}: they were rounded or quantised once"


def _left_out(facts: Mapping[str, Any]) -> Iterator[str]:
    by_reason: dict[str, list[str]] = {}
    for one in facts["skipped"]:
        by_reason.setdefault(one["reason"], []).append(one["name"])
    for reason, names in by_reason.items():
        yield f"not read: {listed(names)}: {reason}"
    if facts["sampled"]:
        yield f"of {_tensors(facts['sampled'])} a sample was looked at (NaN: all of it); --full looks at all"
    yield from facts["notes"]


def _tensors(names: Sequence[str]) -> str:
    return listed(names) if len(names) <= NAMED else f"{len(names):,} tensors ({listed(names)})"


def listed(names: Sequence[str]) -> str:
    """Names with commas between them, the first few of many."""
    if len(names) <= NAMED:
        return ", ".join(names)
    return f"{', '.join(names[:NAMED])} and {len(names) - NAMED:,} more"
