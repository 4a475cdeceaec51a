"""The pages of a study and of questions: run what is missing, then write one HTML file, one table and the figures."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from weightprint.files import write_atomic, write_json
from weightprint.report import figures, findings, scores, study_sections, tables
from weightprint.report.pages import Figure, csv_text, figure, render_page
from weightprint.report.question_sections import SECTIONS
from weightprint.report.scores import Result, best_of_each_property, classifications, enumeration, in_order, many, words
from weightprint.study import COLUMNS, QUESTION_COLUMNS, Study, compute_study, run_accuracy
from weightprint.study.edits import EDITS
from weightprint.study.experiments import BASELINES
from weightprint.study.few_runs import MANY
from weightprint.study.folder import PROVENANCE, RESULTS, provenance
from weightprint.study.maps import weight_map
from weightprint.study.neighbours import NEAREST, PERPLEXITY
from weightprint.study.population import convergence_text
from weightprint.study.work import Progress
from weightprint.zoo import Zoo

Row = Mapping[str, Any]


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
    command = _command(study, folder)
    write_json(folder / PROVENANCE, provenance(study, command))
    sentences = scores.opening(documents, study.facts.runs)[:2]
    sentences += [findings.shortest_slices(rows), findings.when(rows), findings.controls(rows)]
    map_of_weights = weight_map(study.zoo)
    sections = {
        "how_much": study_sections.how_much(study, rows, documents),
        "where": study_sections.where(study, rows),
        "when": study_sections.when(study, rows, map_of_weights),
        "transfer": study_sections.transfer(study, rows),
        "controls": study_sections.controls(study, rows),
    }
    halves = findings.rows_of(rows, experiment=run_accuracy.EXPERIMENT, series=run_accuracy.HALVES[2])
    return _write(
        study,
        began,
        folder / "report.html",
        folder / RESULTS,
        tables.parquet(rows, COLUMNS),
        sections.values(),
        rows=rows,
        command=command,
        title=scores.headline(documents),
        answer=" ".join(filter(None, sentences)),
        facts=_facts(study),
        study=study,
        headline=_lead(documents),
        questions=_questions(rows, documents),
        map=map_of_weights,
        tsne=study_sections.embedding(study),
        tensors=study_sections.WHERE,
        nearest=NEAREST,
        perplexity=PERPLEXITY,
        halves=[f"{words(r['property'])} {findings.signed(r)}" for r in findings.rows_of(halves, model="layer_trees")],
        filtered=convergence_text(study.zoo),
        **_caveats(study, rows),
        **sections,
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
    shown = {name: SECTIONS[name](findings.rows_of(rows, question=name)) for name in answers.names}
    return _write(
        answers,
        began,
        folder / "questions.html",
        folder / "questions.parquet",
        tables.parquet(rows, QUESTION_COLUMNS),
        [shown],
        rows=rows,
        command=_command(answers, folder, f"--questions {','.join(answers.names)} "),
        title=f"Questions about {opened.path.name}",
        facts=[*facts, *(f"beside it {other.path.name}" for other in answers.against)],
        figures=shown,
        keeping=enumeration([name for name, edit in EDITS.items() if edit.keeps]),
        many_runs=MANY,
    )


def _write(
    made: Study,
    began: float,
    page: Path,
    results: Path,
    table: bytes,
    figures_of: Iterable[Mapping[str, Figure]],
    *,
    rows: Sequence[Row],
    **content: Any,
) -> dict[str, Any]:
    """Write the page, the table, every figure as SVG files, and its data as CSV: what goes into a talk or another plot.

    figures_of: each section's figures by name
    rows:       of the table
    content:    as in `render_page`

    Returns what `run_study` does.
    """
    write_atomic(results, table)
    folder = page.parent / "figures"
    folder.mkdir(exist_ok=True)
    for name, shown in (pair for section in figures_of for pair in section.items()):
        for picture in shown.pictures:
            write_atomic(folder / f"{picture.name}.svg", picture.standalone.encode())
        if shown.pictures and shown.rows:
            write_atomic(folder / f"{name}.csv", csv_text(shown.rows).encode())
    failed = sorted(Counter(row["reason"] for row in rows if row["reason"]).items())
    template = "questions.html" if made.names else "study.html"
    html = render_page(template, failed=failed, **content)
    write_atomic(page, html.encode())
    seconds = time.monotonic() - began
    return {"report": str(page), "results": str(results), "seconds": seconds, "made": made.made}


def _command(made: Study, folder: Path, asked: str = "") -> str:
    """What to type to have the page made again."""
    others = f" --against {','.join(str(zoo.path) for zoo in made.against)}" if made.against else ""
    images = f" --data {made.facts.data}" if made.facts.data else ""
    return f"weightprint study {made.zoo.path} {folder} {asked}--budget {made.budget.name}{others}{images}"


def _lead(documents: Sequence[Row]) -> Figure:
    """The headline in one figure: of each property the best answer from whole networks, from slices and without
    weights."""
    kinds: dict[str, list[Result]] = {"whole networks": [], "10 slices of 5,000 weights": [], "no weights": []}
    whole, local, blind = kinds.values()
    for result in classifications(documents):
        model = result.document["model"]
        (blind if model in BASELINES else local if "slice" in model else whole).append(result)
    best = [replace(result, label=kind) for kind, results in kinds.items() for result in best_of_each_property(results)]
    return figure([figures.accuracy_figure(best, name="lead")])


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


def _caveats(study: Study, rows: Sequence[Row]) -> dict[str, Any]:
    """What the caveats depend on: runs with fewer snapshots, results that leave out kin, whether steps are known."""
    first = next(iter(study.zoo.select(status="complete")))
    return {
        "shorter": sum(run.snapshots < study.facts.snapshots for run in study.runs[""]),
        "kin": sum("kin" in (row["left_out"] or "") for row in rows),
        "counts_steps": any("step" in row for row in first.measurements),
    }
