"""What the pages are made of: sections of paragraphs, figures with their data, tables, lists and code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from weightprint.evaluation.claims import above, baseline
from weightprint.report.drawing import Picture
from weightprint.report.figures import Shade
from weightprint.report.pages import csv_link
from weightprint.report.scores import in_order
from weightprint.report.tables import Table, runs_text

Row = Mapping[str, Any]

BAND = "The band is the 95 % interval over runs, the dashed line the larger of chance and majority."

SHADES = (
    "Numbers are accuracies in % (of numbers the R² in %), bold where the whole 95 % interval lies above chance and "
    "majority (above 0); the shade grows from there."
)


@dataclass(frozen=True)
class Note:
    """A paragraph in small print."""

    kind: ClassVar = "note"
    text: str


@dataclass(frozen=True)
class Figure:
    """One or several pictures.

    rows:    their data, behind a link
    finding: what they show, in a sentence, or ""
    """

    kind: ClassVar = "figure"
    name: str
    pictures: Sequence[Picture]
    caption: str
    rows: Sequence[Row] = ()
    finding: str = ""

    @property
    def csv(self) -> str:
        return csv_link(self.rows)


@dataclass(frozen=True)
class Tabled:
    """A table.

    label: what it shows, for readers that hear the page
    rows:  its data, behind a link in the caption
    """

    kind: ClassVar = "table"
    table: Table
    label: str
    caption: str = ""
    name: str = ""
    rows: Sequence[Row] = ()

    @property
    def csv(self) -> str:
        return csv_link(self.rows)


@dataclass(frozen=True)
class Points:
    """A list of sentences."""

    kind: ClassVar = "points"
    sentences: Sequence[str]


@dataclass(frozen=True)
class Terms:
    """Terms, each with its text."""

    kind: ClassVar = "terms"
    pairs: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Code:
    """What to type, or what a file holds. summary: under which it is folded away"""

    kind: ClassVar = "code"
    text: str
    summary: str = ""


Block = str | Note | Figure | Tabled | Points | Terms | Code


@dataclass(frozen=True)
class Section:
    """A heading with what stands under it; a block that is a text is a paragraph."""

    name: str
    title: str
    blocks: Sequence[Block]

    @property
    def figures(self) -> list[Figure]:
        return [block for block in self.blocks if isinstance(block, Figure)]


def figure(
    name: str, pictures: Sequence[Picture | None], caption: str, rows: Sequence[Row] = (), *, finding: str = ""
) -> list[Figure]:
    """A figure of the pictures that there are; none without one."""
    drawn = [picture for picture in pictures if picture is not None]
    return [Figure(name, drawn, caption, rows, finding)] if drawn else []


def n_text(rows: Sequence[Row]) -> str:
    """On how many runs results stand: "n = 22–24 test runs"."""
    return f"n = {runs_text(r['n_runs'] for r in rows if r['n_runs'])} test runs"


def shades(rows: Sequence[Row], targets: Sequence[str]) -> tuple[list[str], list[str], dict[tuple[str, str], Shade]]:
    """A table of shades: its rows (properties), columns (the rows' x) and fields."""
    rows = [{**r, "property": r["property"] + (" (R²)" if r["measure"] == "r2" else "")} for r in rows]
    names = in_order(r["property"] for r in rows)
    names.sort(key=lambda name: targets.index(name) if name in targets else len(targets))
    fields = {(r["property"], r["x"]): shade_of(r) for r in rows if r["value"] is not None}
    return names, in_order(r["x"] for r in rows), fields


def shade_of(row: Row) -> Shade:
    """The field of a row that has a value."""
    return Shade(row["value"], baseline(row) or 0.0, above(row))
