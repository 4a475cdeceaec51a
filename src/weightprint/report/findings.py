"""Sentences that a study's numbers allow: each is empty where no interval allows a claim."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from weightprint.report.scores import enumeration, words

Row = Mapping[str, Any]


def baseline(row: Row) -> float:
    """The larger of chance and majority."""
    return max(row["chance"] or 0.0, row["majority"] or 0.0)


def above(row: Row) -> bool:
    """Whether a row's whole interval lies above its baseline."""
    return row["measure"] == "accuracy" and row["low"] is not None and row["low"] > baseline(row)


def _percent(row: Row) -> str:
    return f"{100 * row['value']:.0f} %"


def _of(rows: Iterable[Row], **wanted: Any) -> list[Row]:
    return [r for r in rows if r["value"] is not None and all(r[name] == value for name, value in wanted.items())]


def shortest_slices(rows: Sequence[Row]) -> str:
    """The shortest slice from which each property is named above its baseline, from one slice of one snapshot."""
    found: dict[str, Row] = {}
    for row in sorted(_of(rows, experiment="slices", x="1"), key=lambda r: int(r["series"])):
        if above(row) and row["property"] not in found:
            found[row["property"]] = row
    if not found:
        return ""
    parts = [f"{words(p)} from {int(r['series']):,} ({_percent(r)}, {r['model']})" for p, r in found.items()]
    return f"One slice of consecutive weights names {enumeration(parts)} better than chance and majority."


def averaging(rows: Sequence[Row]) -> str:
    """What averaging over slices gains, where the intervals do not overlap."""
    gains = []
    for target in dict.fromkeys(r["property"] for r in rows):
        for model in dict.fromkeys(r["model"] for r in rows):
            own = _of(rows, experiment="slices", property=target, model=model, series="5000")
            one, many = ([r for r in own if r["x"] == x] for x in ("1", "50"))
            if one and many and many[0]["low"] > one[0]["high"]:
                gains.append(f"{words(target)} from {_percent(one[0])} to {_percent(many[0])} ({model})")
    return f"Averaging 50 slices instead of one raises {enumeration(gains)}." if gains else ""


def where(rows: Sequence[Row]) -> str:
    """The kind of tensor from which each property is named best, where that is above its baseline."""
    parts = []
    for target in dict.fromkeys(r["property"] for r in rows):
        own = [r for r in _of(rows, experiment="kind", property=target) if above(r)]
        if own:
            best = max(own, key=lambda r: r["value"])
            parts.append(f"{words(target)} from {words(best['x'])} ({_percent(best)})")
    return f"By a single kind of tensor, the highest accuracy is that of {enumeration(parts)}." if parts else ""


def when(rows: Sequence[Row]) -> str:
    """The first snapshot at which each property is named above its baseline."""
    diagonal = [r for r in _of(rows, experiment="moments") if r["series"] == r["x"]]
    parts = []
    for target in dict.fromkeys(r["property"] for r in diagonal):
        own = sorted((r for r in diagonal if r["property"] == target and above(r)), key=lambda r: r["x_number"])
        if own:
            parts.append(f"{words(target)} from snapshot {own[0]['x']} ({_percent(own[0])})")
    return f"Named better than chance and majority: {enumeration(parts)}." if parts else ""


def initialization_lasts(rows: Sequence[Row]) -> str:
    """Whether the initialization can still be read at the end."""
    diagonal = [
        r for r in _of(rows, experiment="moments", property="initialization") if r["series"] == r["x"] and above(r)
    ]
    if not diagonal:
        return ""
    last = max(diagonal, key=lambda r: r["x_number"])
    return f"The initialization is readable up to snapshot {last['x']} of those looked at ({_percent(last)})."


def transfer(rows: Sequence[Row], across: str) -> str:
    """How many left-out values of a property leave the others readable."""
    parts = []
    for target in dict.fromkeys(r["property"] for r in rows):
        own = _of(rows, question="transfer", experiment=across, property=target)
        good = [r for r in own if above(r)]
        if good:
            parts.append(f"{words(target)} on {len(good)} of {len(own)}")
    if not parts:
        return ""
    return (
        f"Trained without one {words(across)} and tested on it alone, above chance and majority: {enumeration(parts)}."
    )


def controls(rows: Sequence[Row]) -> str:
    """What remains above the baseline without the trivial footprints."""
    own = _of(rows, experiment="controls", x="without both") or _of(
        rows, experiment="controls", x="without moving statistics"
    )
    kept = [f"{words(r['property'])} ({_percent(r)})" for r in own if above(r)]
    lost = [words(r["property"]) for r in own if not above(r)]
    text = ""
    if kept:
        text = f"Without moving statistics and biases before batch norm there remain {enumeration(kept)}."
    if lost and kept:
        text += f" Not settled then: {enumeration(lost)}."
    return text
