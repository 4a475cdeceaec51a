"""The study's report: run what is missing, then write one HTML file and one table."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from weightprint.files import write_atomic, write_json
from weightprint.report import figures, findings, tables
from weightprint.report.drawing import standalone
from weightprint.report.pages import csv_text, render_page
from weightprint.report.provenance import PROVENANCE, RESULTS, provenance, study_command
from weightprint.report.scores import (
    Result,
    answer,
    best_of_each_property,
    classifications,
    headline,
    in_order,
    many,
    opening,
)
from weightprint.report.sections import Block, Code, Figure, Note, Points, Section, Terms, figure
from weightprint.report.study_sections import sections_of
from weightprint.study import COLUMNS, Study, compute_study
from weightprint.study.how_much import BASELINES
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
    write_figures(folder / "figures", sections)
    page = _render(study, rows, documents, sections, folder=folder)
    write_atomic(folder / "report.html", page.encode())
    return {
        "report": str(folder / "report.html"),
        "results": str(folder / RESULTS),
        "seconds": time.monotonic() - began,
        "made": study.made,
    }


def write_figures(folder: Path, sections: Sequence[Section]) -> None:
    """Every figure as SVG files, and its data as CSV: what goes into a talk or another plot."""
    folder.mkdir(exist_ok=True)
    for shown in (one for section in sections for one in section.figures):
        for picture in shown.pictures:
            write_atomic(folder / f"{picture.name}.svg", standalone(picture.svg).encode())
        if shown.rows:
            write_atomic(folder / f"{shown.name}.csv", csv_text(shown.rows).encode())


def _render(
    study: Study, rows: Sequence[Row], documents: Sequence[Row], sections: Sequence[Section], *, folder: Path
) -> str:
    """The HTML of a study's report."""
    failed = Counter(row["reason"] for row in rows if row["reason"])
    without = "; ".join(f"{reason} ({count})" for reason, count in sorted(failed.items()))
    again: list[Block] = [
        Code(study_command(study, folder)),
        "All numbers of this page, one row each: results.parquet beside it. Results are kept by content; the same "
        "command with a larger budget adds what is missing.",
        *([Note(f"Without a result: {without}.")] if without else []),
        Points(_caveats(study, rows)),
    ]
    questions = [(q, found or "The intervals at hand allow no claim.") for q, found in _questions(rows, documents)]
    sentences = opening(documents, study.facts.runs)[:2]
    sentences += [findings.shortest_slices(rows), findings.controls(rows, unsettled=False)]
    return render_page(
        "page.html",
        title=headline(documents),
        answer=" ".join(filter(None, sentences)),
        facts=_facts(study),
        lead=_lead(documents),
        sections=[
            Section("questions", "The questions, set beforehand", [Terms(questions)]),
            *sections,
            Section("again", "Doing it again", again),
        ],
    )


def _lead(documents: Sequence[Row]) -> Figure | None:
    """The headline in one figure: of each property the best answer from whole networks, from slices and without
    weights."""
    kinds: dict[str, list[Result]] = {"whole networks": [], "10 slices of 5,000 weights": [], "no weights": []}
    for result in classifications(documents):
        local, blind = "slice" in result.document["model"], result.document["model"] in BASELINES
        kinds[list(kinds)[2 if blind else 1 if local else 0]].append(result)
    best = [replace(result, label=kind) for kind, results in kinds.items() for result in best_of_each_property(results)]
    caption = (
        "Share of test runs named right by the best meta-classifier that reads whole networks, slices, or no weights "
        "at all (other choices and the shapes of tensors), with 95 % intervals. Filled points: the whole interval "
        "lies above chance and majority."
    )
    return next(iter(figure("lead", [figures.accuracy_figure(best, name="lead")], caption)), None)


def _facts(study: Study) -> list[str]:
    space = f"space {study.zoo.space_name}" if study.zoo.space_name else ""
    return [
        f"study of {study.zoo.path.name}",
        f"{study.facts.runs} complete runs",
        f"{tables.span([run.snapshots for run in study.table.runs])} snapshots each",
        *filter(None, [space]),
        f"budget {study.budget.name}",
        many(len(study.budget.split_seeds), "split by run", "splits by run"),
    ]


def _documents(study: Study) -> list[dict[str, Any]]:
    """The headline results as evaluation documents, for the figures and sentences that read those."""
    documents = []
    for one in study.planned:
        local = one.experiment == "slices" and one.series == "5000"
        result = study.cells.get(one.cell) if local or one.experiment == "headline" else None
        if not result or not result.get("scores"):
            continue
        score = result["scores"][one.xs.index(10) if local else 0]
        if score.get("measure") != "accuracy":
            continue
        known = ("chance", "majority", "n_runs", "n_train_runs", "classes", "confusion")
        documents.append(
            {
                "property": one.target,
                "model": f"{one.model}, 10 slices of 5,000" if local else one.model,
                "kind": "classification",
                "per_run": {"accuracy": score["value"], "interval": [score["low"], score["high"]]},
                **{name: score.get(name) for name in known},
            }
        )
    return sorted(documents, key=lambda d: study.facts.targets.index(d["property"]))


def _questions(rows: Sequence[Row], documents: Sequence[Row]) -> list[tuple[str, str]]:
    across = in_order(r["experiment"] for r in rows if r["question"] == "transfer")
    transfers = filter(None, (findings.transfer(rows, name) for name in across))
    return [
        ("Which choices can be read from the weights of a whole network?", answer(documents)),
        ("How few consecutive weights are enough?", findings.shortest_slices(rows)),
        ("Where in the network are they written?", findings.where(rows)),
        ("Which layers does a verdict rest on?", findings.attribution(rows)),
        ("How early in the training can they be read?", findings.when(rows)),
        ("How long does the initialization stay readable?", findings.initialization_lasts(rows)),
        ("Are the choices of runs that learn better named more often?", findings.run_accuracy(rows)),
        ("Does what is learnt on some networks hold for others?", " ".join(transfers)),
        ("What remains without the trivial footprints?", findings.controls(rows)),
    ]


def _caveats(study: Study, rows: Sequence[Row]) -> list[str]:
    caveats = [
        "The unit is the run: intervals are over test runs, never over snapshots or slices. With several splits a run "
        "may be tested more than once; it counts once.",
        "Only the headline is pooled over several splits; a difference of a few points between two curves means "
        "nothing where their bands overlap.",
        "Many intervals are compared with a baseline; of results that are all luck, about one in forty would still lie "
        "above it.",
    ]
    shorter = sum(run.snapshots < study.facts.snapshots for run in study.table.runs)
    if shorter:
        caveats.append(
            f"{shorter} of {study.facts.runs} runs have fewer than {study.facts.snapshots} snapshots: where a later "
            "half or last snapshot is read it is their own, and where a snapshot is read that they lack they are left "
            "out; the table of results counts them."
        )
    kin = sum("kin" in (row["left_out"] or "") for row in rows)
    if kin:
        caveats.append(
            f"In {kin} results runs are not tested because runs that share their random streams were trained on; the "
            "table of results counts them."
        )
    if study.facts.lengths_differ:
        caveats.append("Networks differ in architecture; part of a result may come from which tensors there are.")
    if any("step" in row for row in next(iter(study.zoo.select(status="complete"))).measurements):
        caveats.append(
            "Training here may be short beside the paper's, whose runs take about 195 steps an epoch at the largest "
            "batch size; traces of the initial weights are then fresher and those of the data fainter."
        )
    return caveats
