"""Sentences that a study's numbers allow: each is empty where no interval allows a claim."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from weightprint.evaluation.claims import above, baseline
from weightprint.report.scores import enumeration, words
from weightprint.study.attribution import DELETED, DELETION, SHARE

Row = Mapping[str, Any]


def percent_or_r2(row: Row) -> str:
    """The value of a row in words."""
    return f"R² {row['value']:.2f}" if row["measure"] == "r2" else f"{100 * row['value']:.0f} %"


def _of(rows: Iterable[Row], **wanted: Any) -> list[Row]:
    return [r for r in rows if r["value"] is not None and all(r[name] == value for name, value in wanted.items())]


def shortest_slices(rows: Sequence[Row]) -> str:
    """The shortest slice from which each property is named above its baseline, from one slice of one snapshot."""
    shortest: dict[str, Row] = {}
    for row in sorted(_of(rows, experiment="slices", x="1"), key=lambda r: int(r["series"])):
        if above(row) and row["property"] not in shortest:
            shortest[row["property"]] = row
    if not shortest:
        return ""
    parts = [
        f"{words(p)} from {int(r['series']):,} weights on ({percent_or_r2(r)}, {r['model']})"
        for p, r in shortest.items()
    ]
    return f"A single slice of consecutive weights names better than chance and majority: {enumeration(parts)}."


def averaging(rows: Sequence[Row]) -> str:
    """What averaging over slices gains, where the intervals do not overlap."""
    gains = []
    for target in dict.fromkeys(r["property"] for r in rows):
        for model in dict.fromkeys(r["model"] for r in rows):
            matching = _of(rows, experiment="slices", property=target, model=model, series="5000")
            one, many = ([r for r in matching if r["x"] == x] for x in ("1", "50"))
            if one and many and many[0]["low"] > one[0]["high"]:
                gains.append(f"{words(target)} from {percent_or_r2(one[0])} to {percent_or_r2(many[0])} ({model})")
    return f"Averaging 50 slices instead of one raises {enumeration(gains)}." if gains else ""


def where(rows: Sequence[Row]) -> str:
    """The kind of tensor from which each property is named best, where that is above its baseline."""
    parts = []
    for target in dict.fromkeys(r["property"] for r in rows):
        matching = [r for r in _of(rows, experiment="kind", property=target) if above(r)]
        if matching:
            best = max(matching, key=lambda r: r["value"])
            parts.append(f"{words(target)} from {words(best['x'])} ({percent_or_r2(best)})")
    return f"By a single kind of tensor, the highest accuracy is that of {enumeration(parts)}." if parts else ""


def when(rows: Sequence[Row]) -> str:
    """The first snapshot at which each property is named above its baseline."""
    diagonal = [r for r in _of(rows, experiment="moments") if r["series"] == r["x"]]
    parts = []
    for target in dict.fromkeys(r["property"] for r in diagonal):
        matching = sorted((r for r in diagonal if r["property"] == target and above(r)), key=lambda r: r["x_number"])
        if matching:
            parts.append(f"{words(target)} from snapshot {matching[0]['x']} ({percent_or_r2(matching[0])})")
    return f"Named better than chance and majority: {enumeration(parts)}." if parts else ""


def initialization_lasts(rows: Sequence[Row]) -> str:
    """Whether the initialization can still be read at the end."""
    diagonal = [
        r for r in _of(rows, experiment="moments", property="initialization") if r["series"] == r["x"] and above(r)
    ]
    if not diagonal:
        return ""
    last = max(diagonal, key=lambda r: r["x_number"])
    return f"The initialization is readable up to snapshot {last['x']} of those looked at ({percent_or_r2(last)})."


def transfer(rows: Sequence[Row], across: str) -> str:
    """How many left-out values of a property leave the others readable; what holds for other zoos."""
    if across == "zoo":
        return _between_zoos(rows)
    parts = []
    for target in dict.fromkeys(r["property"] for r in rows):
        matching = _of(rows, question="transfer", experiment=across, property=target)
        good = [r for r in matching if above(r)]
        if good:
            parts.append(f"{words(target)} on {len(good)} of {len(matching)}")
    if not parts:
        return ""
    return (
        f"Trained without one {words(across)} and tested on it alone, above chance and majority: {enumeration(parts)}."
    )


def _between_zoos(rows: Sequence[Row]) -> str:
    """What is named above the baseline in one zoo by what was trained on another."""
    matching = [r for r in _of(rows, question="transfer", experiment="zoo") if r["series"] != r["x"]]
    sentences = []
    for train, test in dict.fromkeys((r["series"], r["x"]) for r in matching):
        good = [r for r in matching if (r["series"], r["x"]) == (train, test) and above(r)]
        if good:
            named = enumeration([f"{words(r['property'])} ({percent_or_r2(r)})" for r in good])
            sentences.append(f"Trained on {train} and tested on {test}, above chance and majority: {named}.")
    return " ".join(sentences)


def controls(rows: Sequence[Row], *, unsettled: bool = True) -> str:
    """What remains above the baseline without the trivial footprints, read by whichever model names most of it; and
    what is not settled then."""
    kept, lost = [], []
    for target in dict.fromkeys(r["property"] for r in rows):
        of_models = []
        for model in dict.fromkeys(r["model"] for r in rows):
            matching = {r["x"]: r for r in _of(rows, experiment="controls", property=target, model=model)}
            row = matching.get("without both") or matching.get("without moving statistics")
            of_models += [row] if row else []
        if of_models:
            best = max(of_models, key=lambda r: r["value"])
            if above(best):
                kept.append(f"{words(target)} ({percent_or_r2(best)}, {best['model']})")
            else:
                lost.append(words(target))
    if not kept:
        return ""
    text = f"Without moving statistics and biases before batch norm there remain {enumeration(kept)}."
    return f"{text} Not settled then: {enumeration(lost)}." if lost and unsettled else text


def _points(row: Row) -> str:
    return f"{100 * row['value']:.0f}"


def _interval(row: Row) -> str:
    return f"[{100 * row['low']:.0f}, {100 * row['high']:.0f}], n = {row['n_runs']}"


def signed(row: Row) -> str:
    """A difference in points with its interval: "+12 [3, 20], n = 60"."""
    return f"{100 * row['value']:+.0f} {_interval(row)}".replace("-", "−")


LARGE_SHARE = 0.05
"""Smaller shares are not named in a sentence."""


def attribution(rows: Sequence[Row]) -> str:
    """Which tensors verdicts rest on, where replacing what is most attributed tells more than replacing others."""
    parts = []
    for target in dict.fromkeys(r["property"] for r in rows):
        matching_rows = _of(rows, experiment="attribution", property=target)
        matching = {r["x"]: r for r in matching_rows}
        most, at_random, difference = (matching.get(name) for name in DELETION)
        if not (most and at_random and difference) or difference["low"] is None or difference["low"] <= 0:
            continue
        shares = [r for r in matching_rows if r["measure"] == SHARE]
        sure = [r for r in shares if r["low"] is not None and r["low"] > 0 and r["value"] >= LARGE_SHARE]
        foremost = [f"{r['x']} ({_points(r)} %)" for r in sorted(sure, key=lambda r: -r["value"])[:3]]
        told = f"; largest shares {enumeration(foremost)}" if foremost else ""
        parts.append(
            f"{words(target)} by {_points(most)} points against {_points(at_random)} (difference {_points(difference)} "
            f"{_interval(difference)}{told})"
        )
    if not parts:
        return ""
    return (
        f"Replacing the {DELETED} most attributed columns of a network by what training runs have in the middle, "
        f"instead of as many random ones, lowers the probability of the right class of {enumeration(parts)}."
    )


def neighbours(rows: Sequence[Row]) -> str:
    """Of which properties neighbours share the value more often than others, at the last snapshot looked at."""
    matching = [r for r in _of(rows, experiment="neighbours") if above(r)]
    last = max((r["x_number"] for r in matching), default=None)
    parts = [
        f"{words(r['property'])} ({percent_or_r2(r)} against {100 * (baseline(r) or 0):.0f} %)"
        for r in matching
        if r["x_number"] == last
    ]
    if not parts:
        return ""
    return (
        f"Without any fit, nearest neighbours at snapshot {last:.0f} have the same value more often than other runs: "
        f"{enumeration(parts)}."
    )


def run_accuracy(rows: Sequence[Row]) -> str:
    """Whether runs that learnt better than others of their data set are named more often, or less."""
    parts: dict[int, list[str]] = {1: [], -1: []}
    for row in _of(rows, experiment="run_accuracy", series="difference", model="layer_trees"):
        if row["low"] is not None and (row["low"] > 0 or row["high"] < 0):
            text = f"{words(row['property'])} ({signed(row)})"
            parts[1 if row["low"] > 0 else -1].append(text)
    sentences = [
        f"In the later half, runs whose own test accuracy is above the median of their data set are named {how} often "
        f"than those below: {enumeration(matching)}."
        for matching, how in ((parts[1], "more"), (parts[-1], "less"))
        if matching
    ]
    return " ".join(sentences)
