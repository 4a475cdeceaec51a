"""The page of a verdict: what `weightprint inspect` says of one file or several, as one HTML file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from weightprint.errors import ZooError
from weightprint.files import write_atomic
from weightprint.inspection.notable import headline, notable
from weightprint.inspection.verdicts import CANNOT_SAY, SHIPPED, Inspection, Verdict
from weightprint.inspection.words import (
    common_reason,
    flat,
    in_words,
    kind_of,
    printable,
    short_names,
    size_of,
    standing,
    stored_as,
)
from weightprint.report.pages import render_page
from weightprint.report.scores import enumeration
from weightprint.report.verdict_figures import filter_images, histogram_figure, spectrum_figure

PARTS = {
    "conv first": "first convolution",
    "conv second": "second convolution",
    "conv last": "last convolution",
    "hidden first": "first hidden layer",
    "hidden last": "last hidden layer",
    "output": "output layer",
    "norm": "normalisations",
    "mean": "all layers, on average",
    "least": "all layers, the least of each feature",
    "largest": "all layers, the most of each feature",
}
"""What plays a role in a network (`weightprint.features.anatomy.roles`), in words."""


def write_verdicts(path: str | os.PathLike[str], entries: Sequence[Inspection | Mapping[str, Any]]) -> Path:
    """Write one HTML file that needs nothing else: no network, no fonts, no scripts. Returns its path.

    entries: inspections with details, or {"file", "error"} for a file that could not be read; several make a table
             and a part for each

    Raises ZooError when the folder for the file does not exist.
    """
    return write_page(path, render(entries))


def write_page(path: str | os.PathLike[str], html: str) -> Path:
    """The page as a file, which appears whole or not at all. Raises ZooError where there is no folder for it."""
    path = Path(path)
    if not path.parent.is_dir():
        raise ZooError(f"the page cannot be written: there is no folder {path.parent}", hint="make it first")
    write_atomic(path, html.encode())
    return path


def render(entries: Sequence[Inspection | Mapping[str, Any]]) -> str:
    """The HTML of the page; the same entries give the same text."""
    files = [entry.file if isinstance(entry, Inspection) else entry["file"] for entry in entries]
    names = [printable(name) for name in short_names(files)]
    parts = [
        _part(entry, name, number)
        for number, (entry, name) in enumerate(zip(entries, names, strict=True))
        if isinstance(entry, Inspection)
    ]
    problems = [
        {"name": name, "message": printable(e["error"]["message"]), "hint": printable(e["error"]["hint"])}
        for e, name in zip(entries, names, strict=True)
        if not isinstance(e, Inspection)
    ]
    properties = list(dict.fromkeys(n for e in entries if isinstance(e, Inspection) for n in e.properties))
    one = len(entries) == 1 and len(parts) == 1
    return render_page(
        "verdict.html",
        title=names[0] if one else f"{len(entries)} checkpoint files",
        answer=parts[0]["answer"] if one else _summary(entries),
        facts=parts[0]["facts"] if one else [],
        one=one,
        parts=parts,
        problems=problems,
        properties=[in_words(name) for name in properties],
        rows=[
            _row(entry, name, number, properties)
            for number, (entry, name) in enumerate(zip(entries, names, strict=True))
        ],
    )


def _summary(entries: Sequence[Inspection | Mapping[str, Any]]) -> str:
    read = [entry for entry in entries if isinstance(entry, Inspection)]
    answered = sum(any(v.verdict != CANNOT_SAY for v in entry.properties.values()) for entry in read)
    failed = len(entries) - len(read)
    unread = f" {failed} could not be read." if failed else ""
    return f"Of {len(read)} networks, something is said of how {answered} were trained.{unread}"


def _row(entry: Inspection | Mapping[str, Any], name: str, number: int, properties: Sequence[str]) -> dict[str, Any]:
    if not isinstance(entry, Inspection):
        return {"name": name, "link": None, "parameters": "not read", "answers": [("–", False)] * len(properties)}
    answers = []
    for key in properties:
        verdict = entry.properties.get(key)
        p = None if verdict is None else verdict.probabilities.get(verdict.verdict)
        said = verdict is not None and verdict.verdict != CANNOT_SAY
        text = "–" if verdict is None else str(verdict.verdict)
        answers.append((printable(text) + ("" if p is None else f" {_percent(p)}"), said))
    return {
        "name": name,
        "link": f"file-{number}",
        "parameters": f"{entry.architecture['parameters']:,}",
        "answers": answers,
    }


def _part(inspection: Inspection, name: str, number: int) -> dict[str, Any]:
    facts = inspection.facts
    common = common_reason(inspection.properties)
    lies = next((v.outlyingness for v in inspection.properties.values() if v.outlyingness is not None), None)
    declared = [(in_words(key), printable(str(value))) for key, value in facts["declared_properties"].items()]
    details = inspection.details or {"layers": {}, "left_out": 0, "filters": None}
    prefix = f"f{number}"
    layers = {printable(layer): known for layer, known in details["layers"].items()}
    return {
        "id": f"file-{number}",
        "name": name,
        "answer": _answer(inspection, common),
        "facts": [printable(stored_as(inspection)), size_of(inspection)],
        "common": printable(common),
        "verdicts": [_verdict(key, verdict, common) for key, verdict in inspection.properties.items()],
        "world": None if lies is None else _world(lies),
        "sentences": [printable(s) for s in (headline(facts), *notable(facts)) if s],
        "declared": declared,
        "disagreements": [printable(sentence) for sentence in inspection.disagreements],
        "layers": _layers(inspection),
        "filters": filter_images(details["filters"]) if details["filters"] else [],
        "filters_of": details["filters"],
        "histograms": [
            histogram_figure(f"{prefix}-weights-{i}", layer, known["histogram"])
            for i, (layer, known) in enumerate(layers.items())
        ],
        "spectra": [
            spectrum_figure(f"{prefix}-spectrum-{i}", layer, known["spectrum"])
            for i, (layer, known) in enumerate(layers.items())
            if known["spectrum"] is not None
        ],
        "spectrum_rows": [_spectrum(layer, known) for layer, known in layers.items() if known["spectrum"] is not None],
        "left_out": details["left_out"],
    }


def _answer(inspection: Inspection, common: str) -> str:
    """What is said of the network, in a sentence or two."""
    if common:
        return printable(f"Nothing can be said of how it was trained: {common}.")
    said = [f"{in_words(k)} {v.verdict}" for k, v in inspection.properties.items() if v.verdict != CANNOT_SAY]
    silent = [in_words(k) for k, v in inspection.properties.items() if v.verdict == CANNOT_SAY]
    text = f"By its weights: {enumeration(said)}." if said else "Nothing can be said of how it was trained."
    return printable(text + (f" Cannot say: {enumeration(silent)}." if said and silent else ""))


def _verdict(name: str, verdict: Verdict, common: str) -> dict[str, Any]:
    silent = verdict.verdict == CANNOT_SAY
    values = sorted(verdict.probabilities.items(), key=lambda pair: -pair[1])
    drawn = bool(values) and not (common and flat(verdict))
    return {
        "name": in_words(name),
        "answer": printable(str(verdict.verdict)),
        "silent": silent,
        "reason": printable(verdict.reason) if silent and verdict.reason != common else "",
        "bars": [
            {
                "value": printable(str(v)),
                "p": _percent(p),
                "width": f"{100 * p:.1f}",
                "inside": not common and v in verdict.set,
            }
            for v, p in (values if drawn else ())
        ],
        "evidence": [
            {
                "layer": printable(one.layer),
                "about": one.about,
                "level": one.level,
                "towards": one.towards,
                "share": _percent(one.share),
                "width": f"{50 * one.share / max(e.share for e in verdict.evidence):.1f}",
            }
            for one in (() if common else verdict.evidence)
        ],
        "about": printable(str(values[0][0])) if values else "",
        "judged_on": verdict.judged_on,
        "by": "" if verdict.by == SHIPPED else printable(verdict.by),
    }


def _world(lies: Any) -> dict[str, Any]:
    head, sentences = standing(lies)
    rows = [
        {"role": PARTS.get(role, role), "share": _percent(share), "width": f"{100 * share:.1f}", "p": _percent(p)}
        for role, (share, p) in sorted(
            lies.roles.items(), key=lambda item: list(PARTS).index(item[0]) if item[0] in PARTS else -1
        )
    ]
    return {"outside": lies.outside, "head": head, "sentences": [printable(s) for s in sentences], "rows": rows}


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _layers(inspection: Inspection) -> list[dict[str, Any]]:
    start = inspection.facts["initialization"]
    dead, norms = inspection.facts["dead_units"], inspection.facts["norms"]
    rows = []
    for layer in inspection.architecture["layers"]:
        name = layer["name"]
        known = start["layers"].get(name, {})
        notes = []
        if name in start["untrained"] and known.get("scheme"):
            notes.append(f"as drawn by {known['scheme']}")
        if name in dead:
            notes.append(f"{sum(dead[name].values())} dead units")
        if norms.get(name, {}).get("untouched"):
            notes.append("norm untouched")
        rows.append(
            {
                "name": printable(name),
                "kind": kind_of(layer),
                "shape": " × ".join(f"{side:,}" for side in layer["shape"]) or "1",
                "parameters": f"{layer['parameters']:,}",
                "reads": printable(", ".join(layer["reads"])),
                "notes": "; ".join(notes),
            }
        )
    return rows


def _spectrum(layer: str, known: Mapping[str, Any]) -> dict[str, Any]:
    spectrum = known["spectrum"]
    law = spectrum["power_law"]
    longer, shorter = spectrum["sides"]
    return {
        "layer": layer,
        "sides": f"{longer:,} × {shorter:,}" + (" of it" if known["sampled"] else ""),
        "beyond": spectrum["beyond"],
        "stable_rank": f"{spectrum['stable_rank']:.1f}",
        "alpha": "–" if law is None else f"{law['alpha']:.2f} ± {law['error']:.2f}",
        "distance": "–" if law is None else f"{law['distance']:.3f}",
        "tail": "–" if law is None else f"{law['tail']:,}",
        "few": law is not None and not law["reliable"],
        "chance": "–" if law is None or law["chance"] is None else f"{law['chance']:.2f}",
    }
