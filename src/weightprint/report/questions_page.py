"""The page of the questions: compute what is missing, then write one HTML file and one table."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from weightprint.files import write_atomic
from weightprint.report import question_sections, tables
from weightprint.report.drawing import standalone
from weightprint.report.pages import csv_link, render_page
from weightprint.study.questions import COLUMNS, Answers, compute_questions
from weightprint.zoo import Zoo

PAGE, RESULTS = "questions.html", "questions.parquet"


def run_questions(
    zoo: Zoo | str | os.PathLike[str],
    report: str | os.PathLike[str],
    names: Sequence[str],
    *,
    budget: str = "standard",
    workers: int | None = None,
    against: Sequence[Zoo | str | os.PathLike[str]] = (),
    progress: Callable[[str, float, float], None] | None = None,
) -> dict[str, Any]:
    """Answer questions about a zoo: `report` becomes a folder with questions.html, questions.parquet, the figures as
    SVG and the results behind them.

    names: of `weightprint.study.questions.QUESTIONS`; the other arguments are those of `run_study`

    Returns {"report", "results", "seconds", "made"}, as `run_study` does. Raises MetaError for an unknown question or
    budget, a zoo without complete runs, or a question that lacks a zoo to compare with.
    """
    began = time.monotonic()
    folder = Path(report)
    zoo, *others = (one if isinstance(one, Zoo) else Zoo(one) for one in (zoo, *against))
    answers = compute_questions(zoo, folder, names, size=budget, workers=workers, against=others, progress=progress)
    rows = answers.rows()
    write_atomic(folder / RESULTS, tables.parquet(rows, COLUMNS))
    sections = [_section(name, [row for row in rows if row["question"] == name]) for name in answers.names]
    (folder / "figures").mkdir(exist_ok=True)
    for picture in (picture for section in sections for picture in section["pictures"]):
        write_atomic(folder / "figures" / f"{picture.name}.svg", standalone(picture.svg).encode())
    failed = Counter(row["reason"] for row in rows if row["reason"])
    page = render_page(
        "questions.html",
        title=f"Questions about {zoo.path.name}",
        answer=" ".join(section["finding"] for section in sections),
        facts=_facts(answers),
        sections=sections,
        command=_command(answers, folder),
        failed=sorted(failed.items()),
    )
    write_atomic(folder / PAGE, page.encode())
    document = {"report": str(folder / PAGE), "results": str(folder / RESULTS)}
    return {**document, "seconds": time.monotonic() - began, "made": answers.made}


def _section(name: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    made = question_sections.SECTIONS[name](rows)
    pictures = [picture for picture in made.pictures if picture is not None]
    finding = made.finding or "The intervals at hand allow no claim."
    return {**vars(made), "name": name, "pictures": pictures, "finding": finding, "csv": csv_link(rows)}


def _facts(answers: Answers) -> list[str]:
    facts = [f"{answers.facts.runs} complete runs", f"budget {answers.budget.name}"]
    return facts + [f"beside it {other.path.name}" for other in answers.against]


def _command(answers: Answers, folder: Path) -> str:
    others = f" --against {','.join(str(zoo.path) for zoo in answers.against)}" if answers.against else ""
    asked = f"--questions {','.join(answers.names)} --budget {answers.budget.name}{others}"
    return f"weightprint study {answers.zoo.path} {folder} {asked}"
