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
from weightprint.report.pages import render_page
from weightprint.report.sections import Block, Code, Note, Section, figure
from weightprint.report.study_page import write_figures
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
    write_figures(folder / "figures", sections)
    failed = Counter(row["reason"] for row in rows if row["reason"])
    without = "; ".join(f"{reason} ({count})" for reason, count in sorted(failed.items()))
    again: list[Block] = [
        Code(_command(answers, folder)),
        "All numbers of this page, one row each: questions.parquet beside it.",
        *([Note(f"Without a result: {without}.")] if without else []),
    ]
    page = render_page(
        "page.html",
        title=f"Questions about {zoo.path.name}",
        answer="",
        facts=_facts(answers),
        lead=None,
        sections=[*sections, Section("again", "Doing it again", again)],
    )
    write_atomic(folder / PAGE, page.encode())
    document = {"report": str(folder / PAGE), "results": str(folder / RESULTS)}
    return {**document, "seconds": time.monotonic() - began, "made": answers.made}


def _section(name: str, rows: Sequence[Mapping[str, Any]]) -> Section:
    answer = question_sections.SECTIONS[name](rows)
    shown: list[Block] = [*figure(name, answer.pictures, answer.caption, rows)]
    nothing = Note("Nothing could be measured here on this zoo.")
    finding = answer.finding or "The intervals at hand allow no claim."
    return Section(name, answer.title, [answer.text, finding, *(shown or [nothing])])


def _facts(answers: Answers) -> list[str]:
    facts = [f"{answers.facts.runs} complete runs", f"budget {answers.budget.name}"]
    return facts + [f"beside it {other.path.name}" for other in answers.against]


def _command(answers: Answers, folder: Path) -> str:
    others = f" --against {','.join(str(zoo.path) for zoo in answers.against)}" if answers.against else ""
    asked = f"--questions {','.join(answers.names)} --budget {answers.budget.name}{others}"
    return f"weightprint study {answers.zoo.path} {folder} {asked}"
