"""What commands share: options as they are typed, one document on standard output, progress on standard error."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from weightprint.errors import SetupError

ZooFolder = Annotated[Path, Parameter(help="Folder of the zoo.")]
Json = Annotated[bool, Parameter(negative=(), help="Print one JSON document instead of text.")]


def print_document(document: dict[str, Any], text: str, *, as_json: bool) -> None:
    """A command's answer on standard output: the document as JSON, or the text."""
    print(_encoded(document) if as_json else text)


def _encoded(document: dict[str, Any]) -> str:
    """As JSON; escaped as a whole where a text in it has letters that standard output cannot take."""
    encoded = json.dumps(document, ensure_ascii=False, allow_nan=False)
    try:
        encoded.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return json.dumps(document, allow_nan=False)
    return encoded


def slice_length_of(text: str) -> int | str:
    """A number of weights, or "all". Raises SetupError."""
    if text == "all":
        return text
    if not text.isdecimal():
        raise SetupError(f"slice-length must be a number of weights or all, not {text!r}")
    return int(text)


def snapshots_of(text: str) -> str | tuple[int, int]:
    """First and last of "A-B" or "A"; "later-half" and "all" as they are. Raises SetupError."""
    if text in ("later-half", "all"):
        return text
    first, _, last = text.partition("-")
    if not (first.isdecimal() and (last or first).isdecimal()):
        raise SetupError(
            f"snapshots must be later-half, A-B, one number or all, not {text!r}", hint="for example --snapshots 11-20"
        )
    return int(first), int(last or first)


def names_of(text: str) -> list[str]:
    """What stands between commas; empty for an empty text."""
    return [name.strip() for name in text.split(",") if name.strip()]


class Bar:
    """A progress bar on standard error, where that is a terminal.

    With a unit it shows the rate, and the time left at that rate; otherwise the time left that `update` is told.
    """

    def __init__(self, what: str, *, unit: str = "") -> None:
        self._what, self._unit = what, unit

    def __enter__(self) -> Bar:
        from rich import progress
        from rich.console import Console

        console = Console(stderr=True)
        told = progress.TextColumn("{task.fields[told]}")
        columns = [progress.TextColumn("{task.description}"), progress.BarColumn(), progress.MofNCompleteColumn(), told]
        if self._unit:
            columns.append(progress.TimeRemainingColumn())
        self._progress = progress.Progress(*columns, console=console, disable=not console.is_terminal)
        self._task = self._progress.add_task(self._what, total=None, told="")
        self._started = time.perf_counter()
        self._progress.start()
        return self

    def update(self, done: int, total: int, what: object = None, left: float | None = None) -> None:
        """done, total: of what is counted; what: is under way, for a bar without a unit; left: seconds"""
        if self._unit:
            told = f"{60 * done / (time.perf_counter() - self._started):.1f} {self._unit}/min"
        else:
            told = "" if left is None else f"{left / 60:.0f} min left" if left >= 90 else f"{left:.0f} s left"
        under_way = self._what if self._unit else str(what)
        self._progress.update(self._task, completed=done, total=total, description=under_way, told=told)

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
