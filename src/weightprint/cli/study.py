"""The command `study`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Literal

from weightprint.cli.terminal import Bar, Json, ZooFolder, names_of, print_document


def study(
    zoo: ZooFolder,
    report: Path,
    /,
    *,
    budget: Literal["quick", "standard", "paper"] = "standard",
    workers: int | None = None,
    against: str | None = None,
    questions: str | None = None,
    data: Path | None = None,
    json: Json = False,
) -> None:
    """How much of the set-up is written into the weights, where, and when: experiments and a report.

    Example: weightprint study zoo study --budget quick

    What an earlier call computed is used again; a larger budget adds to it. May be interrupted at any moment.

    Parameters
    ----------
    report
        Folder for report.html, results.parquet and what they stand on.
    budget
        quick: minutes; standard: about an hour for 600 runs on two cores; paper: everything.
    workers
        Processes; one per core by default.
    against
        Other zoos with commas between them, to see what transfers between them and this one.
    questions
        Instead of the study, questions of their own with commas between them, answered in questions.html: robustness
        (edited weights), few-runs (learning curves), everyday (one factor at a time), identity (--against zoos of
        variants of the data sets, see data vary), half-life (epochs or steps; --against a zoo of longer training),
        fine-tuning (--against a zoo of children), generalization (test accuracy within each data set).
    data
        Folder of the images, as for sample: robustness then also measures batch norm's statistics anew on them.
    """
    from weightprint.errors import MetaError
    from weightprint.report.study_page import run_questions, run_study

    if data is not None and questions is None:
        raise MetaError("images serve the question robustness alone", hint="--questions robustness, or no --data")
    with Bar("study") as bar:
        run = run_study if questions is None else partial(run_questions, names=questions.split(","), data=data)
        document = run(
            zoo,
            report,
            budget=budget,
            workers=workers,
            against=names_of(against or ""),
            progress=lambda what, done, total: bar.update(round(done), round(total), what),
        )
    text = f"{document['report']}: {document['made']} results computed in {document['seconds']:.0f} s"
    print_document(document, text, as_json=json)
