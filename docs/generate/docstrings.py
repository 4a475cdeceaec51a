"""Turns the lists of our docstrings ("name: what it is", a line each) into lists of Markdown."""

from __future__ import annotations

import re
from typing import Any

import griffe

ENTRY = re.compile(r"(\*{0,2}[A-Za-z_]\w*(?:, \w+)*): +(\S.*)")
SECTION = re.compile(r"Parameters\n-+\n")
TERM = re.compile(r"^(\w+)\n((?: {4}.*\n?)+)", flags=re.MULTILINE)


class Lists(griffe.Extension):
    """Changes each docstring before it is rendered."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring and not obj.is_alias:
            obj.docstring.value = markdown(obj.docstring.value)


def markdown(docstring: str) -> str:
    """The docstring with its lists as bullets, and nothing that Markdown would take for HTML."""
    docstring, sections = SECTION.subn("", docstring)
    if sections:
        docstring = TERM.sub(lambda term: f"{term[1]}: {' '.join(term[2].split())}\n", docstring)
    return "\n\n".join(map(_listed, docstring.replace("<", "&lt;").split("\n\n")))


def _listed(paragraph: str) -> str:
    """A paragraph of entries, each of which may go on in indented lines, as bullets; another one as it is."""
    lines = paragraph.splitlines()
    if not lines or not all(ENTRY.match(line) or line.startswith("  ") for line in lines) or lines[0][:1] == " ":
        return paragraph
    bullets: list[str] = []
    for line in lines:
        entry = ENTRY.match(line)
        if entry:
            bullets.append(f"- `{entry[1]}`: {entry[2]}")
        else:
            bullets[-1] += f" {line.strip()}"
    return "\n".join(bullets)
