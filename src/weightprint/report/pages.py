"""What pages are made of: templates, and sections of paragraphs, figures with their data, tables, lists and code."""

from __future__ import annotations

import base64
import csv
import io
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from weightprint.errors import WeightprintError, ZooError
from weightprint.files import write_atomic
from weightprint.inspection.words import printable
from weightprint.report import tables
from weightprint.report.drawing import Picture
from weightprint.report.tables import Table

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Note:
    """A paragraph in small print."""

    text: str


@dataclass(frozen=True)
class Figure:
    """One or several pictures.

    rows:    their data, behind a link
    finding: what they show, in a sentence, or ""
    """

    name: str
    pictures: Sequence[Picture]
    caption: str
    rows: Sequence[Row] = ()
    finding: str = ""


@dataclass(frozen=True)
class Tabled:
    """A table.

    label: what it shows, for readers that hear the page
    rows:  its data, behind a link in the caption
    """

    table: Table
    label: str
    caption: str = ""
    name: str = ""
    rows: Sequence[Row] = ()


@dataclass(frozen=True)
class Points:
    """A list of sentences."""

    sentences: Sequence[str]


@dataclass(frozen=True)
class Terms:
    """Terms, each with its text."""

    pairs: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Code:
    """What to type, or what a file holds. summary: under which it is folded away"""

    text: str
    summary: str = ""


Block = str | Note | Figure | Tabled | Points | Terms | Code


@dataclass(frozen=True)
class Section:
    """A heading with what stands under it; a block that is a text is a paragraph."""

    name: str
    title: str
    blocks: Sequence[Block]


def figure(
    name: str, pictures: Sequence[Picture | None], caption: str, rows: Sequence[Row] = (), *, finding: str = ""
) -> list[Figure]:
    """A figure of the pictures that there are; none without one."""
    drawn = [picture for picture in pictures if picture is not None]
    return [Figure(name, drawn, caption, rows, finding)] if drawn else []


def measured(figures: Sequence[Figure]) -> Sequence[Block]:
    """The figures of a section, or that there are none."""
    return figures or [Note("Nothing could be measured here on this zoo.")]


def render_page(template: str, **content: Any) -> str:
    """The HTML of a page: a template of this package, by its file's name, filled with `content`.

    Under the title, which all pages have, stand `answer` (a sentence or two), `facts` (texts) and `lead` (figures),
    where they are given.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("weightprint.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.filters.update(percent=tables.whole_percent, sentence=_sentence, address=_address)
    environment.tests["marked"] = lambda text: text.endswith(tables.MARKS)
    style = Markup((files("weightprint.report") / "page.css").read_text(encoding="utf-8"))
    head: dict[str, Any] = {"answer": "", "facts": (), "lead": ()}
    return environment.get_template(template).render(style=style, **{**head, **content})


def _shown(value: Any) -> Any:
    """A text as it may be shown: control characters are written out, and a number stays on one line with its percent
    sign."""
    return printable(value, keep="\n\u00a0").replace(" %", "\u00a0%") if type(value) is str else value


def _sentence(text: str) -> str:
    """With a capital; a Greek letter is a symbol and stays."""
    return (text[:1].upper() if text[:1].isascii() else text[:1]) + text[1:]


def _address(rows: Sequence[Row]) -> str:
    """An address that holds the rows as CSV."""
    return "data:text/csv;base64," + base64.b64encode(csv_text(rows).encode()).decode()


def csv_text(rows: Sequence[Row]) -> str:
    """At least one row as CSV, with a line of names."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def write_page(path: str | os.PathLike[str], html: str, *, error: Callable[..., WeightprintError] = ZooError) -> Path:
    """The page as a file, which appears whole or not at all. Raises `error` where there is no place for it."""
    path = Path(path)
    if path.is_dir() or not path.parent.is_dir():
        raise error(
            f"the page cannot be written to {path}: "
            + ("that is a folder" if path.is_dir() else f"there is no folder {path.parent}"),
            hint="name an HTML file in a folder that exists",
        )
    write_atomic(path, html.encode())
    return path
