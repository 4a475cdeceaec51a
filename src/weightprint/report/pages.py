"""What all pages have in common: their templates, and data behind a link."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from weightprint.inspection.words import printable
from weightprint.report import tables


def render_page(template: str, **content: Any) -> str:
    """The HTML of a page: a template of this package, by its file's name, filled with `content`."""
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
    environment.filters.update(percent=lambda share: f"{share:.0%}".replace("%", " %"), sentence=_sentence)
    environment.tests["marked"] = lambda text: text.endswith(tables.MARKS)
    style = (files("weightprint.report") / "page.css").read_text(encoding="utf-8")
    return environment.get_template(template).render(style=Markup(style), **content)


def _shown(value: Any) -> Any:
    """A text as it may be shown: control characters are written out, and a number stays on one line with its percent
    sign."""
    return printable(value, keep="\n\u00a0").replace(" %", "\u00a0%") if type(value) is str else value


def _sentence(text: str) -> str:
    """With a capital; a Greek letter is a symbol and stays."""
    return (text[:1].upper() if text[:1].isascii() else text[:1]) + text[1:]


def csv_link(rows: Sequence[Mapping[str, Any]]) -> str:
    """An address that holds the rows as CSV; empty without rows."""
    return "data:text/csv;base64," + base64.b64encode(csv_text(rows).encode()).decode() if rows else ""


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """At least one row as CSV, with a line of names."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
