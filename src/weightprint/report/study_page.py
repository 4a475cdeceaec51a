"""The pages of a study and of questions: run what is missing, then write one HTML file, one table and the figures."""

from __future__ import annotations

import os
import platform
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from weightprint.files import versions, write_atomic, write_json
from weightprint.report import figures, findings, scores, tables
from weightprint.report.pages import (
    Block,
    Code,
    Figure,
    Note,
    Points,
    Section,
    Terms,
    csv_text,
    figure,
    render_page,
)
from weightprint.report.question_sections import SECTIONS
from weightprint.report.scores import Result, best_of_each_property, classifications, in_order, many
from weightprint.report.study_sections import sections_of
from weightprint.study import COLUMNS, QUESTION_COLUMNS, Study, compute_study
from weightprint.study.experiments import BASELINES
from weightprint.study.table import fingerprint
from weightprint.study.work import Progress
from weightprint.zoo import Zoo

Row = Mapping[str, Any]

RESULTS, PROVENANCE = "results.parquet", "report.json"


def run_study(
    zoo: Zoo | str | os.PathLike[str],
    report: str | os.PathLike[str],
    *,
    budget: str = "standard",
    workers: int | None = None,
    against: Sequence[Zoo | str | os.PathLike[str]] = (),
    progress: Progress | None = None,
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
    folder = Path(report)
    opened, *others = (one if isinstance(one, Zoo) else Zoo(one) for one in (zoo, *against))
    study = compute_study(opened, folder, size=budget, workers=workers, against=others, progress=progress)
    rows, documents = study.rows(), _documents(study)
    write_json(folder / PROVENANCE, provenance(study, folder))
    sentences = scores.opening(documents, study.facts.runs)[:2]
    sentences += [findings.shortest_slices(rows), findings.controls(rows, unsettled=False)]
    asked = [(question, found or findings.NO_CLAIM) for question, found in _questions(rows, documents)]
    advice = " Results are kept by content; the same command with a larger budget adds what is missing."
    again = [*_again(_command(study, folder), RESULTS, rows, advice), Points(_caveats(study, rows))]
    return _write(
        study,
        began,
        folder / "report.html",
        folder / RESULTS,
        tables.parquet(rows, COLUMNS),
        title=scores.headline(documents),
        answer=" ".join(filter(None, sentences)),
        facts=_facts(study),
        lead=_lead(documents),
        sections=[
            Section("questions", "The questions, set beforehand", [Terms(asked)]),
            *sections_of(study, rows, documents),
            Section("again", "Doing it again", again),
        ],
    )


def run_questions(
    zoo: Zoo | str | os.PathLike[str],
    report: str | os.PathLike[str],
    names: Sequence[str],
    *,
    budget: str = "standard",
    against: Sequence[Zoo | str | os.PathLike[str]] = (),
    **choice: Any,
) -> dict[str, Any]:
    """Answer questions about a zoo: `report` becomes a folder with questions.html, questions.parquet, the figures as
    SVG and the results behind them.

    names: of `weightprint.study.QUESTIONS`; the other arguments are those of `run_study`

    Returns {"report", "results", "seconds", "made"}, as `run_study` does. Raises MetaError for an unknown question or
    budget, a zoo without complete runs, or a question that lacks a zoo to compare with.
    """
    began = time.monotonic()
    folder = Path(report)
    opened, *others = (one if isinstance(one, Zoo) else Zoo(one) for one in (zoo, *against))
    answers = compute_study(opened, folder, names, size=budget, against=others, **choice)
    rows = answers.rows()
    facts = [f"{answers.facts.runs} complete runs", f"budget {answers.budget.name}"]
    command = _command(answers, folder, f"--questions {','.join(answers.names)} ")
    return _write(
        answers,
        began,
        folder / "questions.html",
        folder / "questions.parquet",
        tables.parquet(rows, QUESTION_COLUMNS),
        title=f"Questions about {opened.path.name}",
        facts=[*facts, *(f"beside it {other.path.name}" for other in answers.against)],
        sections=[
            *(SECTIONS[name](findings.rows_of(rows, question=name)) for name in answers.names),
            Section("again", "Doing it again", _again(command, "questions.parquet", rows)),
        ],
    )


def _write(made: Study, began: float, page: Path, results: Path, table: bytes, **content: Any) -> dict[str, Any]:
    """Write the page, the table, every figure as SVG files, and its data as CSV: what goes into a talk or another plot.

    content: as in `render_page`

    Returns what `run_study` does.
    """
    write_atomic(results, table)
    folder = page.parent / "figures"
    folder.mkdir(exist_ok=True)
    for shown in (block for section in content["sections"] for block in section.blocks if isinstance(block, Figure)):
        for picture in shown.pictures:
            write_atomic(folder / f"{picture.name}.svg", picture.standalone.encode())
        if shown.rows:
            write_atomic(folder / f"{shown.name}.csv", csv_text(shown.rows).encode())
    write_atomic(page, render_page("page.html", **content).encode())
    seconds = time.monotonic() - began
    return {"report": str(page), "results": str(results), "seconds": seconds, "made": made.made}


def _again(command: str, table: str, rows: Sequence[Row], advice: str = "") -> list[Block]:
    """What to type, where the numbers are, and which there are not."""
    failed = Counter(row["reason"] for row in rows if row["reason"])
    without = "; ".join(f"{reason} ({count})" for reason, count in sorted(failed.items()))
    text = f"All numbers of this page, one row each: {table} beside it.{advice}"
    return [Code(command), text, *([Note(f"Without a result: {without}.")] if without else [])]


def _command(made: Study, folder: Path, asked: str = "") -> str:
    """What to type to have the page made again."""
    others = f" --against {','.join(str(zoo.path) for zoo in made.against)}" if made.against else ""
    images = f" --data {made.facts.data}" if made.facts.data else ""
    return f"weightprint study {made.zoo.path} {folder} {asked}--budget {made.budget.name}{others}{images}"


def provenance(study: Study, folder: Path) -> dict[str, Any]:
    """What a study's report stands on: the content of report.json, JSON-ready.

    zoo:         its folder's name
    fingerprint: SHA-256 over its runs' identities and statuses
    recipe:      SHA-256 of its recipe
    space, seed: of its recipe; "" and None where there is none, as in imported zoos
    runs:        complete ones
    snapshots:   T
    budget, split_seeds, curve_seeds: how much was done; the splits of headlines and of the other results
    seconds:     of the call that wrote the file, which may have found results of earlier ones
    machine, versions: that it ran on
    command:     that does it again
    """
    seed = study.zoo.recipe.get("seed")
    return {
        "zoo": study.zoo.path.name,
        "fingerprint": fingerprint(study.zoo),
        "recipe": study.zoo.identity,
        "space": study.zoo.space_name,
        "seed": seed if isinstance(seed, int) else None,
        "runs": study.facts.runs,
        "snapshots": study.facts.snapshots,
        "budget": study.budget.name,
        "split_seeds": list(study.budget.split_seeds),
        "curve_seeds": list(study.budget.curve_seeds),
        "seconds": round(study.seconds, 3),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": versions("numpy", "polars", "scikit-learn"),
        "command": _command(study, folder),
    }


def _lead(documents: Sequence[Row]) -> list[Figure]:
    """The headline in one figure: of each property the best answer from whole networks, from slices and without
    weights."""
    kinds: dict[str, list[Result]] = {"whole networks": [], "10 slices of 5,000 weights": [], "no weights": []}
    whole, local, blind = kinds.values()
    for result in classifications(documents):
        model = result.document["model"]
        (blind if model in BASELINES else local if "slice" in model else whole).append(result)
    best = [replace(result, label=kind) for kind, results in kinds.items() for result in best_of_each_property(results)]
    caption = (
        "Share of test runs named right by the best meta-classifier that reads whole networks, slices, or no weights "
        "at all (other choices and the shapes of tensors), with 95 % intervals. Filled points: the whole interval "
        "lies above chance and majority."
    )
    return figure("lead", [figures.accuracy_figure(best, name="lead")], caption)


def _facts(study: Study) -> list[str]:
    space = f"space {study.zoo.space_name}" if study.zoo.space_name else ""
    snapshots = tables.span([run.snapshots for run in study.runs[""]])
    return [
        f"study of {study.zoo.path.name}",
        f"{study.facts.runs} complete runs",
        f"{snapshots} snapshots each",
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
        ("Which choices can be read from the weights of a whole network?", scores.answer(documents)),
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
    shorter = sum(run.snapshots < study.facts.snapshots for run in study.runs[""])
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
