"""What the sections of all pages are made of: figures with caption, data and finding, and words for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from weightprint.evaluation.claims import above, baseline
from weightprint.report import tables
from weightprint.report.figures import Picture
from weightprint.report.pages import csv_link
from weightprint.report.study_figures import Shade

Row = Mapping[str, Any]

BAND = "The band is the 95 % interval over runs, the dashed line the larger of chance and majority."

SHADES = (
    "Numbers are accuracies in % (of numbers the R² in %), bold where the whole 95 % interval lies above chance and "
    "majority (above 0); the shade grows from there."
)


def section(name: str, title: str, text: str, figures: Sequence[Mapping[str, Any]] = (), **more: Any) -> dict[str, Any]:
    """A section of a page. more: what the page's template shows besides"""
    return {"id": name, "title": title, "text": text, "figures": figures, **more}


def figure(
    name: str, pictures: Sequence[Picture | None], caption: str, rows: Sequence[Row] = (), *, finding: str = ""
) -> list[dict[str, Any]]:
    """A figure as the pages' templates take it; none without a picture.

    rows:    its data, behind a link
    finding: what it shows, in a sentence, or ""
    """
    drawn = [picture for picture in pictures if picture is not None]
    if not drawn:
        return []
    data = {"rows": list(rows), "csv": csv_link(rows)}
    return [{"name": name, "pictures": drawn, "caption": caption, "finding": finding, **data}]


def n_text(rows: Sequence[Row]) -> str:
    """On how many runs results stand: "n = 22–24 test runs"."""
    return f"n = {tables.runs_text(r['n_runs'] for r in rows if r['n_runs'])} test runs"


def shades(rows: Sequence[Row], targets: Sequence[str]) -> tuple[list[str], list[str], dict[tuple[str, str], Shade]]:
    """A table of shades: its rows (properties), columns (the rows' x) and fields."""
    rows = [{**r, "property": r["property"] + (" (R²)" if r["measure"] == "r2" else "")} for r in rows]
    columns = list(dict.fromkeys(r["x"] for r in rows))
    names = list(dict.fromkeys(r["property"] for r in rows))
    names.sort(key=lambda name: targets.index(name) if name in targets else len(targets))
    fields = {
        (r["property"], r["x"]): Shade(r["value"], baseline(r) or 0.0, above(r)) for r in rows if r["value"] is not None
    }
    return names, columns, fields
