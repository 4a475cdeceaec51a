"""Sentences that a study's numbers allow: each is empty where no interval allows a claim."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile
from typing import Any

from weightprint.evaluation.claims import above, baseline
from weightprint.report.scores import enumeration, in_order, words
from weightprint.report.tables import runs_text, whole_percent
from weightprint.study.attribution import DELETED, DELETION, SHARE

Row = Mapping[str, Any]

LARGE_SHARE = 0.05
"""Smaller shares are not named in a sentence."""


def percent_or_r2(row: Row) -> str:
    """The value of a row in words."""
    return f"R² {row['value']:.2f}" if row["measure"] == "r2" else whole_percent(row["value"])


def points_text(difference: float) -> str:
    """A difference of shares: "+12 points"."""
    return f"{100 * difference:+.0f} points".replace("-", "−")


def interval_in_percent(row: Row) -> str:
    """The interval of a row's value: "[3, 20]"."""
    return f"[{100 * row['low']:.0f}, {100 * row['high']:.0f}]"


def signed(row: Row) -> str:
    """A difference in points with its interval: "+12 [3, 20], n = 60"."""
    return f"{100 * row['value']:+.0f} {interval_in_percent(row)}, n = {row['n_runs']}".replace("-", "−")


def n_text(rows: Sequence[Row]) -> str:
    """On how many runs results stand: "n = 22–24 test runs"."""
    return f"n = {runs_text(r['n_runs'] for r in rows if r['n_runs'])} test runs"


def rows_of(rows: Iterable[Row], **wanted: Any) -> list[Row]:
    """The rows whose columns have the values wanted."""
    return [row for row in rows if all(row[name] == value for name, value in wanted.items())]


def by_property(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """The rows of each property, in the order of first appearance."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["property"], []).append(row)
    return groups


def best_of_each(rows: Iterable[Row]) -> dict[str, Row]:
    """Of each property the row of the highest value; the first of equals."""
    return {target: max(of_target, key=lambda r: r["value"]) for target, of_target in by_property(rows).items()}


def _known(rows: Iterable[Row], **wanted: Any) -> list[Row]:
    return [row for row in rows_of(rows, **wanted) if row["value"] is not None]


def _claimed(rows: Iterable[Row], **wanted: Any) -> list[Row]:
    return [row for row in _known(rows, **wanted) if above(row)]


def _diagonal(rows: Iterable[Row], **wanted: Any) -> list[Row]:
    """What is named above its baseline at the snapshot that was trained on, the first snapshot first."""
    claimed = [r for r in _claimed(rows, experiment="moments", **wanted) if r["series"] == r["x"]]
    return sorted(claimed, key=lambda r: r["x_number"])


def shortest_slices(rows: Sequence[Row]) -> str:
    """The shortest slice from which on each property is named above its baseline: one slice of one snapshot, of this
    length and of every longer one."""
    longest_first = sorted(_known(rows, experiment="slices", x="1"), key=_length, reverse=True)
    enough: list[Row] = []
    for model in in_order(r["model"] for r in longest_first):
        for of_target in by_property(rows_of(longest_first, model=model)).values():
            enough += list(takewhile(above, of_target))[-1:]
    shortest = by_property(sorted(enough, key=_length))
    parts = [
        f"{words(target)} from {_length(r):,} weights on ({percent_or_r2(r)})" for target, (r, *_) in shortest.items()
    ]
    told = "A single slice of consecutive weights names better than chance and majority"
    return f"{told}: {enumeration(parts)}." if parts else ""


def _length(row: Row) -> int:
    return int(row["series"])


def averaging(rows: Sequence[Row]) -> str:
    """What averaging over slices gains, where the intervals do not overlap."""
    known = {(r["property"], r["model"], r["x"]): r for r in _known(rows, experiment="slices", series="5000")}
    gains = []
    for target, model in dict.fromkeys(key[:2] for key in known):
        one, many = (known.get((target, model, x)) for x in ("1", "50"))
        if one and many and many["low"] > one["high"]:
            gains.append(f"{words(target)} from {percent_or_r2(one)} to {percent_or_r2(many)} ({model})")
    return f"Averaging 50 slices instead of one raises {enumeration(gains)}." if gains else ""


def where(rows: Sequence[Row]) -> str:
    """The kind of tensor from which each property is named best, where that is above its baseline."""
    best = best_of_each(_claimed(rows, experiment="kind"))
    parts = [f"{words(target)} from {words(row['x'])} ({percent_or_r2(row)})" for target, row in best.items()]
    return f"By a single kind of tensor, the highest accuracy is that of {enumeration(parts)}." if parts else ""


def when(rows: Sequence[Row]) -> str:
    """The first snapshot at which each property is named above its baseline."""
    first: dict[str, list[str]] = {}
    firsts = [found[0] for of_target in by_property(rows).values() if (found := _diagonal(of_target))]
    for row in sorted(firsts, key=lambda r: r["x_number"]):
        first.setdefault(row["x"], []).append(f"{words(row['property'])} ({percent_or_r2(row)})")
    parts = [f"snapshot {x} {enumeration(named)}" for x, named in first.items()]
    if not parts:
        return ""
    told = f"By {parts[0]} can be named better than chance and majority"
    return f"{', by '.join([told, *parts[1:]])}."


def initialization_lasts(rows: Sequence[Row]) -> str:
    """Whether the initialization can still be read at the end."""
    claimed = _diagonal(rows, property="initialization")
    if not claimed:
        return ""
    last = claimed[-1]
    return f"The initialization is readable up to snapshot {last['x']} of those looked at ({percent_or_r2(last)})."


def transfer(rows: Sequence[Row], across: str) -> str:
    """How many left-out values of a property leave the others readable; what holds for other zoos."""
    known = _known(rows, question="transfer", experiment=across)
    if across == "zoo":
        return _between_zoos([r for r in known if r["series"] != r["x"]])
    parts = [
        f"{words(target)} on {claimed} of {len(of_target)}"
        for target, of_target in by_property(known).items()
        if (claimed := sum(map(above, of_target)))
    ]
    told = f"Trained without one {words(across)} and tested on it alone, above chance and majority"
    return f"{told}: {enumeration(parts)}." if parts else ""


def _between_zoos(rows: Sequence[Row]) -> str:
    """What is named above the baseline in one zoo by what was trained on another."""
    named: dict[tuple[str, str], list[str]] = {(r["series"], r["x"]): [] for r in rows}
    for row in filter(above, rows):
        named[row["series"], row["x"]].append(f"{words(row['property'])} ({percent_or_r2(row)})")
    return " ".join(
        f"Trained on {train} and tested on {test}, above chance and majority: {enumeration(parts)}."
        for (train, test), parts in named.items()
        if parts
    )


def controls(rows: Sequence[Row]) -> str:
    """What remains above the baseline without the trivial footprints, read by whichever model names most of it; and
    what is not settled then."""
    without: dict[tuple[str, str], Row] = {}
    for x in ("without moving statistics", "without both"):  # the second where there is one
        without |= {(r["property"], r["model"]): r for r in _known(rows, experiment="controls", x=x)}
    best = best_of_each(without.values())
    kept = [f"{words(target)} ({percent_or_r2(row)})" for target, row in best.items() if above(row)]
    lost = [words(target) for target, row in best.items() if not above(row)]
    if not kept:
        return ""
    rest = f"; not settled then: {enumeration(lost)}" if lost else ""
    return f"Without moving statistics and biases before batch norm there remain {enumeration(kept)}{rest}."


def attribution(rows: Sequence[Row]) -> str:
    """Which tensors verdicts rest on, where replacing what is most attributed tells more than replacing others."""
    parts = []
    for target, of_target in by_property(_known(rows, experiment="attribution")).items():
        matching = {r["x"]: r for r in of_target}
        most, at_random, difference = (matching.get(name) for name in DELETION)
        if not (most and at_random and difference and (difference["low"] or 0) > 0):
            continue
        sure = [r for r in rows_of(of_target, measure=SHARE) if (r["low"] or 0) > 0 and r["value"] >= LARGE_SHARE]
        foremost = [f"{r['x']} ({_points(r)} %)" for r in sorted(sure, key=lambda r: -r["value"])[:3]]
        told = f"; largest shares {enumeration(foremost)}" if foremost else ""
        parts.append(
            f"{words(target)} by {_points(most)} points against {_points(at_random)} (difference {_points(difference)} "
            f"{interval_in_percent(difference)}, n = {difference['n_runs']}{told})"
        )
    return (
        f"Replacing the {DELETED} most attributed columns of a network by what training runs have in the middle, "
        f"instead of as many random ones, lowers the probability of the right class of {enumeration(parts)}."
        if parts
        else ""
    )


def _points(row: Row) -> str:
    return f"{100 * row['value']:.0f}"


def neighbours(rows: Sequence[Row]) -> str:
    """Of which properties neighbours share the value more often than others, at the last snapshot looked at."""
    claimed = _claimed(rows, experiment="neighbours")
    last = max((r["x_number"] for r in claimed), default=0.0)
    parts = [
        f"{words(r['property'])} ({percent_or_r2(r)} against {whole_percent(baseline(r) or 0)})"
        for r in rows_of(claimed, x_number=last)
    ]
    told = f"Without any fit, nearest neighbours at snapshot {last:.0f} have the same value more often than other runs"
    return f"{told}: {enumeration(parts)}." if parts else ""


def run_accuracy(rows: Sequence[Row]) -> str:
    """Whether runs that learnt better than others of their data set are named more often, or less."""
    known = _known(rows, experiment="run_accuracy", series="difference", model="layer_trees")
    sides = {
        "more": [f"{words(r['property'])} ({signed(r)})" for r in known if (r["low"] or 0) > 0],
        "less": [f"{words(r['property'])} ({signed(r)})" for r in known if (r["high"] or 0) < 0],
    }
    return " ".join(
        f"In the later half, runs whose own test accuracy is above the median of their data set are named {how} often "
        f"than those below: {enumeration(parts)}."
        for how, parts in sides.items()
        if parts
    )
