"""An inspection as a page for the terminal, and several as one table.

    Console().print(page(inspection))

Readable at 80 columns and more; colours are the console's affair.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from weightprint.inspection import words
from weightprint.inspection.notable import headline, listed, notable
from weightprint.inspection.relation import Comparison
from weightprint.inspection.verdicts import CANNOT_SAY, Inspection, Verdict
from weightprint.inspection.words import in_words, printable

MOST_LAYERS = 24
"""Of a deeper network the first and the last layers are shown."""

MOST_SENTENCES = 12
"""Facts that are shown; all are in the JSON document."""

MOST_VALUES = 6
"""Values of one property that are shown with their probabilities, the most probable first."""

EVIDENCE = 3
"""Pieces of evidence that are shown for an answer."""


def page(inspection: Inspection) -> RenderableType:
    """One file: its layers, facts worth saying, and what is said of each property."""
    facts = inspection.facts
    parts: list[RenderableType] = [_title(inspection), _section("Architecture"), _layers(inspection)]
    told = [sentence for sentence in (headline(facts), *notable(facts)) if sentence]
    hidden = len(told) - MOST_SENTENCES
    told = told[:MOST_SENTENCES] + ([f"{hidden} more with --json"] if hidden > 0 else [])
    if told:
        parts += [_section("Facts"), *map(_point, told)]
    if facts["declared_properties"]:
        says = ", ".join(f"{in_words(name)} {value}" for name, value in facts["declared_properties"].items())
        parts += [_section("What the file says of itself"), _point(says)]
        parts += [_point(f"They disagree. {sentence}", "bold yellow") for sentence in inspection.disagreements]
    parts.append(_section("How it was trained, by its weights"))
    common = words.common_reason(inspection.properties)
    if common:
        parts.append(_point(f"Nothing can be said: {common}.", "yellow"))
    parts += [_property(name, verdict, common) for name, verdict in inspection.properties.items()]
    parts += _world(inspection.properties, common)
    if not common and any(verdict.set for verdict in inspection.properties.values()):
        parts.append(Text("\nA 90 % set holds the true value for nine networks in ten of that world.", "dim"))
    return Group(*parts)


def overview(entries: Sequence[Inspection | Mapping[str, Any]]) -> RenderableType:
    """Several files as one table: an inspection each, or {"file", "error"} for one that could not be read."""
    problems = [entry for entry in entries if not isinstance(entry, Inspection)]
    return Group(_Overview(entries), *(_problem(entry["error"]) for entry in problems))


def comparison_page(found: Comparison) -> RenderableType:
    """Two files: what they have to do with each other, why, and their layers."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("layer", overflow="fold")
    for name in ("correlation", "distance", "in order", "by chance", "moved"):
        table.add_column(name, justify="right")
    cut = len(found.layers) - MOST_LAYERS
    shown = found.layers if cut <= 0 else (*found.layers[: MOST_LAYERS // 2], *found.layers[-MOST_LAYERS // 2 :])
    for layer in shown:
        table.add_row(_shown(words.pair_name(layer.names)), *(Text(cell) for cell in words.pair_cells(layer)))
    parts: list[RenderableType] = [_shown(f"{found.files[0]}\n{found.files[1]}", "bold"), Text()]
    parts += [_shown(found.sentence, "bold green" if found.relation != "cannot say" else "yellow")]
    parts += [_point(sentence) for sentence in found.evidence]
    parts += [_point(f"{in_words(question)}: {answer}") for question, answer in found.answers.items()]
    if found.layers:
        parts += [_section("Layers"), table, Text(words.PAIR_NOTE, "dim")]
    if cut > 0:
        parts.append(Text(f"{cut} layers between the first and the last are left out; all with --json", "dim"))
    for file, names in zip(found.files, found.left_out, strict=True):
        if names:
            parts.append(_point(f"without a like in the other file: {listed(names)} of {Path(file).name}", "yellow"))
    return Group(*parts)


@dataclass
class _Overview:
    """The table of several files. Answers are kept whole where the width allows it, and the files' names folded."""

    entries: Sequence[Inspection | Mapping[str, Any]]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        entries = self.entries
        names = list(dict.fromkeys(n for e in entries if isinstance(e, Inspection) for n in e.properties))
        widths = [max(map(len, (*in_words(name).split(), CANNOT_SAY))) for name in names]
        fits = sum(widths) + 2 * len(widths) + 24 <= options.max_width
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
        table.add_column("file", overflow="fold")
        table.add_column("parameters", justify="right")
        for name, width in zip(names, widths, strict=True):
            table.add_column(in_words(name), overflow="fold", min_width=width if fits else None)
        files = [entry.file if isinstance(entry, Inspection) else entry["file"] for entry in entries]
        for entry, file in zip(entries, words.short_names(files), strict=True):
            if isinstance(entry, Inspection):
                cells = [_answer(entry.properties.get(name)) for name in names]
                table.add_row(_shown(file), _shown(f"{entry.architecture['parameters']:,}"), *cells)
            else:
                table.add_row(_shown(file), Text("not read", "red"), *[Text("–")] * len(names))
        yield table


def _title(inspection: Inspection) -> Text:
    title = _shown(inspection.file, "bold")
    title.append(f"\n{words.stored_as(inspection)}: {words.size_of(inspection)}", "")
    return title


def _layers(inspection: Inspection) -> Table:
    layers = inspection.architecture["layers"]
    start = inspection.facts["initialization"]
    untrained = set(start["untrained"])
    before: str | None = None
    rows = []
    for layer in layers:
        known = start["layers"].get(layer["name"], {})
        reads = "" if before is None or layer["reads"] == [before] else ", ".join(layer["reads"])
        rows.append((layer, reads, known.get("scheme") or "" if layer["name"] in untrained else ""))
        before = layer["name"] if layer["name"] in start["layers"] else before
    columns = [any(reads for _, reads, _ in rows), bool(untrained)]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("layer", overflow="fold", ratio=3)
    table.add_column("kind", ratio=3)
    table.add_column("shape", ratio=3)
    table.add_column("parameters", justify="right", no_wrap=True)
    if columns[0]:
        table.add_column("reads from", overflow="fold", ratio=2)
    if columns[1]:
        table.add_column("still as drawn by", ratio=2)
    cut = len(rows) - MOST_LAYERS
    for number, (layer, *extra) in enumerate(rows):
        if cut > 0 and number == MOST_LAYERS // 2:
            table.add_row(Text(f"… {cut} more", "dim"))
        if MOST_LAYERS // 2 <= number < MOST_LAYERS // 2 + cut:
            continue
        cells = [_shown(text) for text, kept in zip(extra, columns, strict=True) if kept]
        sides = Text(" × ".join(f"{side:,}" for side in layer["shape"]) or "1")
        table.add_row(
            _shown(layer["name"]), Text(words.kind_of(layer)), sides, Text(f"{layer['parameters']:,}"), *cells
        )
    return table


def _property(name: str, verdict: Verdict, common: str = "") -> RenderableType:
    """One property: its answer, the reason where there is none, probabilities, the 90 % set, evidence."""
    head = Text(f"{in_words(name)}: ", "bold")
    silent = verdict.verdict == CANNOT_SAY
    head.append_text(_shown(str(verdict.verdict), "yellow" if silent else "bold green"))
    lines: list[RenderableType] = []
    if silent and verdict.reason != common:
        lines.append(_shown(f"because {verdict.reason}"))
    if common:
        return Padding(Group(head, Padding(Group(*lines), (0, 0, 0, 2), expand=False)), (0, 0, 0, 2), expand=False)
    if verdict.probabilities and not words.flat(verdict):
        lines.append(_Bars(verdict.probabilities))
    if verdict.set:
        ordered = sorted(verdict.set, key=lambda value: -verdict.probabilities[value])
        lines.append(_shown(f"90 % set: {', '.join(map(str, ordered))}"))
    if not silent and verdict.evidence:
        lines.append(Text("it rests on"))
        lines += [_point(one.sentence) for one in verdict.evidence[:EVIDENCE]]
    if not silent and verdict.judged_on:
        lines.append(_shown(f"answers like this were judged on: {verdict.judged_on}", "dim"))
    return Padding(Group(head, Padding(Group(*lines), (0, 0, 0, 2), expand=False)), (0, 0, 1, 2), expand=False)


@dataclass
class _Bars:
    """Probabilities as bars, the most probable first."""

    probabilities: Mapping[Any, float]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        most = max(10, min(30, options.max_width - 30))
        full = "█" if options.encoding.startswith("utf") else "#"
        values = sorted(self.probabilities.items(), key=lambda pair: -pair[1])
        grid = Table.grid(padding=(0, 1))
        for value, p in values[:MOST_VALUES]:
            grid.add_row(_shown(str(value)), Text(f"{p:4.0%}"), Text(full * round(p * most), "cyan"))
        yield grid
        if rest := values[MOST_VALUES:]:
            yield Text(f"{len(rest)} other values: {sum(p for _, p in rest):.0%}", "dim")


def _world(properties: Mapping[str, Verdict], said: str) -> list[RenderableType]:
    """How far outside the known world the network lies, unless the one reason for that was said already."""
    lies = next((v.outlyingness for v in properties.values() if v.outlyingness is not None), None)
    if lies is None or (len(lies.reasons) == 1 and lies.reasons[0] in said):
        return []
    head, sentences = words.standing(lies)
    return [_shown(head, "bold"), *map(_point, sentences)]


def _answer(verdict: Verdict | None) -> Text:
    if verdict is None:
        return Text("–")
    if verdict.verdict == CANNOT_SAY:
        return Text(CANNOT_SAY, "yellow")
    p = verdict.probabilities.get(verdict.verdict)
    return _shown(str(verdict.verdict) + ("" if p is None else f" {p:.0%}"), "green")


def _problem(error: Mapping[str, Any]) -> RenderableType:
    """What is wrong with a file, and below it what to do."""
    lines = [_point(error["message"], "red")]
    lines += [Padding(_shown(line), (0, 0, 0, 3), expand=False) for line in error["hint"].splitlines()]
    return Group(*lines)


def _section(title: str) -> Text:
    return Text(f"\n{title}", "bold cyan")


def _point(sentence: str, style: str = "") -> RenderableType:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(Text(" •"), _shown(sentence, style))
    return grid


def _shown(text: str, style: str = "") -> Text:
    """Text of a file as it may be shown: control characters, which could steer a terminal, are written out."""
    return Text(printable(text), style)
