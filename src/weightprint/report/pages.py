"""Pages: templates of this folder, which hold all prose, filled with figures, tables and numbers."""

from __future__ import annotations

import base64
import csv
import io
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from weightprint.errors import WeightprintError, ZooError
from weightprint.files import write_atomic
from weightprint.inspection.words import printable
from weightprint.report import tables
from weightprint.report.drawing import Picture
from weightprint.report.scores import words

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Figure:
    """One or several pictures; where there is none, the page leaves the figure out. Its caption is the template's.

    rows:    their data, behind a link
    finding: what they show, in a sentence, or ""
    n:       on how many runs they stand, in words
    """

    pictures: Sequence[Picture]
    rows: Sequence[Row] = ()
    finding: str = ""
    n: str = ""


def figure(pictures: Iterable[Picture | None], rows: Sequence[Row] = (), *, finding: str = "", n: str = "") -> Figure:
    """A figure of the pictures that there are; the rest as in `Figure`."""
    return Figure([picture for picture in pictures if picture is not None], rows, finding, n)


def render_page(template: str, **content: Any) -> str:
    """The HTML of a page: a template of this package, by its file's name, filled with `content`.

    Under the title, which all pages have, stand `answer` (a sentence or two) and `facts` (texts), where they are given,
    and beside it a figure where the template sets `lead`.
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
    environment.filters.update(percent=tables.whole_percent, sentence=_sentence, address=_address, words=words)
    environment.globals.update(ABOVE=tables.ABOVE, DIFFERS=tables.DIFFERS)
    environment.tests["marked"] = lambda text: text.endswith(tables.MARKS)
    style = Markup((files("weightprint.report") / "page.css").read_text(encoding="utf-8"))
    head: dict[str, Any] = {"answer": "", "facts": (), "lead": False}
    return _unbroken(environment.get_template(template).render(style=style, **{**head, **content}))


def _unbroken(html: str) -> str:
    """Every number of the text on one line with its percent sign; pictures are left as they were drawn."""
    return re.sub(r"(<svg.*?</svg>)| %", lambda found: found[1] or "\u00a0%", html, flags=re.DOTALL)


def _shown(value: Any) -> Any:
    """A text as it may be shown: control characters are written out."""
    return printable(value, keep="\n\u00a0") if type(value) is str else value


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
