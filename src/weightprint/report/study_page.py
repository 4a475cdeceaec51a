"""The study's report: run what is missing, then write one HTML file and one table."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from weightprint.files import write_atomic, write_json
from weightprint.report import figures, findings, tables
from weightprint.report.pages import csv_text, render_page
from weightprint.report.provenance import PROVENANCE, RESULTS, provenance, study_command
from weightprint.report.scores import answer
from weightprint.report.study_sections import sections_of
from weightprint.study import COLUMNS, Study, compute_study
from weightprint.zoo import Zoo

Row = Mapping[str, Any]


def run_study(
    zoo: Zoo | str | os.PathLike[str],
    report: str | os.PathLike[str],
    *,
    budget: str = "standard",
    workers: int | None = None,
    against: Sequence[Zoo | str | os.PathLike[str]] = (),
    progress: Callable[[str, float, float], None] | None = None,
) -> dict[str, Any]:
    """The study of a zoo: `report` becomes a folder with report.html, results.parquet and the cells behind them.

    report.json beside them says what they stand on; figures/ has every figure as SVG and its data as CSV.

    budget:   "quick", "standard" or "paper"; what an earlier call computed is used again
    workers:  processes; all cores when None
    against:  other zoos, to see what transfers between them and this one
    progress: called with what is being done, how much of it is done, and how much there is

    Returns {"report", "results", "seconds", "made"}: the paths of the page and the table, and how many results this
    call computed. Raises MetaError for an unknown budget or a zoo without complete runs.
    """
    began = time.monotonic()
    zoo = zoo if isinstance(zoo, Zoo) else Zoo(zoo)
    folder = Path(report)
    others = [other if isinstance(other, Zoo) else Zoo(other) for other in against]
    study = compute_study(zoo, folder, size=budget, workers=workers, against=others, progress=progress)
    rows = study.rows()
    write_atomic(folder / RESULTS, tables.parquet(rows, COLUMNS))
    write_json(folder / PROVENANCE, provenance(study, folder))
    documents = _documents(study)
    sections = sections_of(study, rows, documents)
    _write_figures(folder / "figures", sections)
    page = _render(study, rows, documents, sections, folder=folder)
    write_atomic(folder / "report.html", page.encode())
    return {
        "report": str(folder / "report.html"),
        "results": str(folder / RESULTS),
        "seconds": time.monotonic() - began,
        "made": study.made,
    }


def _write_figures(folder: Path, sections: Sequence[Mapping[str, Any]]) -> None:
    """Every figure as SVG files, and its data as CSV: what goes into a talk or another plot."""
    folder.mkdir(exist_ok=True)
    for shown in (figure for section in sections for figure in section["figures"]):
        for picture in shown["pictures"]:
            write_atomic(folder / f"{picture.name}.svg", figures.standalone(picture.svg).encode())
        if shown["rows"]:
            write_atomic(folder / f"{shown['name']}.csv", csv_text(shown["rows"]).encode())


def _render(
    study: Study,
    rows: Sequence[Row],
    documents: Sequence[Row],
    sections: Sequence[dict[str, Any]],
    *,
    folder: Path,
) -> str:
    """The HTML of a study's report."""
    failed = Counter(row["reason"] for row in rows if row["reason"])
    return render_page(
        "study.html",
        title=f"The study of {study.zoo.path.name}",
        answer=answer(documents),
        facts=_facts(study),
        questions=_questions(study, rows, documents),
        sections=sections,
        command=study_command(study, folder),
        failed=sorted(failed.items()),
        caveats=_caveats(study, rows),
    )


def _facts(study: Study) -> list[str]:
    counts = sorted({run.snapshots for run in study.table.runs})
    each = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    facts = [f"{study.facts.runs} complete runs", f"{each} snapshots each"]
    if study.zoo.space_name:
        facts.append(f"space {study.zoo.space_name}")
    facts.append(f"budget {study.budget.name}")
    facts.append(f"{len(study.budget.split_seeds)} splits by run")
    return facts


def _documents(study: Study) -> list[dict[str, Any]]:
    """The headline results as evaluation documents, for the figures and sentences that read those."""
    documents = []
    for one in study.planned:
        result = study.cells.get(one.cell)
        if not result or not result.get("scores"):
            continue
        if one.experiment == "headline":
            score, local, seconds = result["scores"][0], False, result["seconds"]
        elif one.experiment == "slices" and one.series == "5000":
            score, local, seconds = result["scores"][one.xs.index(10)], True, result.get("fit_seconds")
        else:
            continue
        if score.get("measure") != "accuracy":
            continue
        documents.append(
            {
                "property": one.target,
                "model": f"{one.model}, 10 slices of 5,000" if local else one.model,
                "kind": "classification",
                "chance": score["chance"],
                "majority": score["majority"],
                "n_runs": score["n_runs"],
                "per_run": {"accuracy": score["value"], "interval": [score["low"], score["high"]]},
                "classes": score["classes"],
                "confusion": score["confusion"],
                "capped": result.get("capped", False),
                "seconds": seconds,
            }
        )
    return sorted(documents, key=lambda d: study.facts.targets.index(d["property"]))


def _questions(study: Study, rows: Sequence[Row], documents: Sequence[Row]) -> list[tuple[str, str]]:
    across = dict.fromkeys(r["experiment"] for r in rows if r["question"] == "transfer")
    return [
        ("Which choices can be read from the weights of a whole network?", answer(documents)),
        ("How few consecutive weights are enough?", findings.shortest_slices(rows)),
        ("Where in the network are they written?", findings.where(rows)),
        ("Which layers does a verdict rest on?", findings.attribution(rows)),
        ("How early in the training can they be read?", findings.when(rows)),
        ("How long does the initialization stay readable?", findings.initialization_lasts(rows)),
        ("Are the choices of runs that learn better named more often?", findings.run_accuracy(rows)),
        (
            "Does what is learnt on some networks hold for others?",
            " ".join(findings.transfer(rows, name) for name in across).strip(),
        ),
        ("What remains without the trivial footprints?", findings.controls(rows)),
    ]


def _lacking(study: Study, rows: Sequence[Row]) -> str:
    """What has to be said of runs that could not take part."""
    counts = Counter(run.snapshots for run in study.table.runs)
    shorter = sum(count for snapshots, count in counts.items() if snapshots < study.facts.snapshots)
    sentences = []
    if shorter:
        sentences.append(
            f"{shorter} of {study.facts.runs} runs have fewer than {study.facts.snapshots} snapshots: where a later "
            "half or last snapshot is read it is their own, and where a snapshot is read that they lack they are left "
            "out; the table of results counts them."
        )
    kin = sum("kin" in (row["left_out"] or "") for row in rows)
    if kin:
        sentences.append(
            f"In {kin} results runs are not tested because runs that share their random streams were trained on; the "
            "table of results counts them."
        )
    return " ".join(sentences)


def _caveats(study: Study, rows: Sequence[Row]) -> list[str]:
    caveats = [
        "The unit is the run: intervals are over test runs, never over snapshots or slices. With several splits a run "
        "may be tested more than once; it counts once.",
        "Only the headline is pooled over several splits; a difference of a few points between two curves means "
        "nothing where their bands overlap.",
        "Many intervals are compared with a baseline; of results that are all luck, about one in forty would still lie "
        "above it.",
    ]
    lacking = _lacking(study, rows)
    if lacking:
        caveats.append(lacking)
    if study.facts.lengths_differ:
        caveats.append("Networks differ in architecture; part of a result may come from which tensors there are.")
    steps = [m["step"] for m in next(iter(study.zoo.select(status="complete"))).measurements if "step" in m]
    if steps and np.isfinite(steps[-1]):
        caveats.append(
            "Training here may be short beside the paper's, whose runs take about 195 steps an epoch at the largest "
            "batch size; traces of the initial weights are then fresher and those of the data fainter."
        )
    return caveats
