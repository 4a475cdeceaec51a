"""Report: the results of meta-classifiers as one self-contained HTML file and as text for the terminal."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weightprint.report.tables import accuracy_text, evaluation_text

if TYPE_CHECKING:
    from weightprint.zoo import Zoo

__all__ = ["accuracy_text", "evaluation_text", "write_report"]


def write_report(
    path: str | os.PathLike[str],
    zoo: Zoo,
    results: Sequence[Mapping[str, Any]],
    *,
    title: str = "",
    seconds: Mapping[str, float],
    commands: Sequence[str],
) -> Path:
    """Write one HTML file that needs nothing else: no network, no fonts, no scripts. Returns its path.

    path:     where to; the file appears whole or not at all
    zoo:      the runs that the results stand on, training and test runs alike
    results:  evaluation documents, as `MetaClassifier.evaluate` makes them; keys that are missing are left blank
    title:    the heading; without one, what the results say in a line
    seconds:  what was done → how long it took
    commands: what to type to get the same again

    Raises ZooError when the folder for the file does not exist.
    """
    from weightprint.report.page import render
    from weightprint.report.pages import write_page

    return write_page(path, render(zoo, results, title=title, seconds=seconds, commands=commands))
