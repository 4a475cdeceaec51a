"""The command `demo`."""

from __future__ import annotations

import sys
from pathlib import Path

from weightprint.cli.terminal import Bar, Json, print_document


def demo(out: Path = Path("weightprint-demo"), /, *, workers: int | None = None, json: Json = False) -> None:
    """The main job, small: sample a weight space, fit meta-classifiers, write a report. No download.

    Example: weightprint demo my-first-report

    Parameters
    ----------
    out
        Folder for zoo/, metas/ and report.html.
    workers
        Worker processes; one per core by default.
    """
    from weightprint.demo import run_demo
    from weightprint.report import accuracy_text

    with Bar("sampling", unit="runs") as bar:
        document = run_demo(out, workers=workers, say=_say, progress=bar.update)
    print_document(document, accuracy_text(document["results"]) + f"\n\nreport: {document['report']}", as_json=json)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
