"""What all pages have in common: their templates, and data behind a link."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from weightprint.report import tables
from weightprint.report.scores import words


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
        finalize=_keep_percent_together,
    )
    environment.filters.update(percent=tables.percent, duration=tables.duration, words=words)
    style = (files("weightprint.report") / "page.css").read_text(encoding="utf-8")
    return environment.get_template(template).render(style=Markup(style), **content)


def _keep_percent_together(value: Any) -> Any:
    """A number stays on one line with its percent sign."""
    return value.replace(" %", "\u00a0%") if type(value) is str else value


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
