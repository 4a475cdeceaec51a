"""The report's page: what results say of a zoo, what was sampled, and how to do it again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from weightprint.report import figures, scores, tables
from weightprint.report.curves import curve_figures
from weightprint.report.drawing import Picture
from weightprint.report.pages import figure, render_page
from weightprint.report.scores import Result, enumeration, in_order, many, words
from weightprint.report.tables import Table
from weightprint.study import population
from weightprint.study.maps import weight_map

if TYPE_CHECKING:
    from weightprint.zoo import Zoo

PAPER_STEPS_PER_EPOCH = 195
"""Of the paper's runs at batch size 256 (section 3: 50,000 training images)."""
PAPER_LEAST_EPOCHS = 19
"""A run of the paper has at least 20 evaluations, the first of them before training."""
FEW_RUNS = 50
"""With fewer test runs a 95 % interval is more than about 25 points wide."""


def render(
    zoo: Zoo,
    results: Sequence[Mapping[str, Any]],
    *,
    title: str,
    seconds: Mapping[str, float],
    commands: Sequence[str],
) -> str:
    """The HTML of the report; arguments as in `write_report`. The same arguments give the same text."""
    named, estimated = scores.classifications(results), scores.regressions(results)
    every = [*named, *estimated]
    lengths, curves = population.training_lengths(zoo), population.training_curves(zoo)
    map_of_weights = weight_map(zoo)
    return render_page(
        "report.html",
        title=title or scores.headline(results),
        answer=" ".join(scores.opening(results, len(zoo))),
        facts=_facts(zoo, results),
        figures={
            "accuracy": figure([figures.accuracy_figure(named)]),
            "final": figure([figures.final_accuracy_figure(population.final_accuracies(zoo))]),
            "curves": figure(_training_curves(curves)),
            "map": figure(figures.map_figures(map_of_weights) if map_of_weights else []),
            "confusions": figure(figures.confusion_figures(scores.best_of_each_property(named))),
        },
        tested_on=tables.runs_text(r.n_runs for r in every),
        tables=[_result_table(what, of) for what, of in (("Accuracy", named), ("Estimates", estimated)) if of],
        left_out=_left_out(every),
        runs=len(zoo),
        trained=" and ".join(f"{tables.span(known, ',.0f')} {name}s" for name, known in lengths.items() if known),
        short=_short_training(lengths["step"], lengths["epoch"]),
        statuses=Table.of(_status_rows(zoo)),
        values=Table.of(_value_rows(zoo)),
        constant=population.constant_values(zoo),
        unreadable=curves.unreadable,
        map=map_of_weights,
        times=Table.of([{"step": words(name), "time": tables.duration(took)} for name, took in seconds.items()]),
        commands=commands,
        recipe=Table((), list(_recipe(zoo).items())),
        recipe_text=json.dumps(zoo.recipe, indent=2, sort_keys=True, ensure_ascii=False),
        caveats=_caveats(zoo, every),
    )


def _facts(zoo: Zoo, results: Sequence[Any]) -> list[str]:
    """What stands under the title: how much of everything."""
    facts = [many(len(zoo), "run")]
    if "dataset" in zoo.index.columns:
        facts.append(many(zoo.index["dataset"].drop_nulls().n_unique(), "data set"))
    facts.append(many(int(zoo.index["snapshots"].fill_null(0).sum()), "snapshot"))
    sizes = zoo.index["weights"].drop_nulls().to_list()
    if sizes:
        facts.append(f"{tables.span(sizes, ',')} weights each")
    return [*facts, many(len(results), "evaluation")]


def _result_table(what: str, results: Sequence[Result]) -> dict[str, Any]:
    table = Table.of(tables.result_rows(results))
    alike = table.alike(tables.SETTINGS)
    said = [text for text in alike.values() if text != tables.UNKNOWN]
    return {"what": what, "content": table.without(alike), "alike": said}


def _left_out(results: Sequence[Result]) -> list[tuple[str, str]]:
    """(what was left out, of which evaluations), equal counts together."""
    groups: dict[str, list[str]] = {}
    for one in results:
        excluded = one.document.get("excluded") or {}
        if any(excluded.values()):
            groups.setdefault(tables.excluded_text(excluded), []).append(f"{words(one.target)} by {one.label}")
    return [(text, "all evaluations" if len(of) == len(results) else "; ".join(of)) for text, of in groups.items()]


def _status_rows(zoo: Zoo) -> list[dict[str, str]]:
    return [
        {words(name) if name != "unknown" else "not known": str(value) for name, value in row.items()}
        for row in population.status_rows(zoo)
    ]


def _value_rows(zoo: Zoo) -> list[dict[str, str]]:
    return [
        {
            "choice": words(row["property"]),
            "value": row["value"],
            "runs": str(row["runs"]),
            "converged": str(row["converged"]),
            "median final test accuracy (%)": tables.percent(row["median"]),
        }
        for row in population.value_rows(zoo)
    ]


def _training_curves(curves: population.Curves) -> list[Picture]:
    points = [
        {"property": dataset, "series": f"run {curve.number}", "x_number": x, "value": y}
        for dataset, members in curves.per_dataset.items()
        for curve in members
        for x, y in zip(curve.x, curve.y, strict=True)
    ]
    measure = words(curves.y_name)
    return curve_figures("curves", points, curves.per_dataset, x=curves.x_name, by="series", measure=measure)


def _short_training(steps: Sequence[float], epochs: Sequence[float]) -> dict[str, Any] | None:
    """How short training is beside the paper's; None when it is not, or not known."""
    if not steps or min(steps) >= PAPER_STEPS_PER_EPOCH * PAPER_LEAST_EPOCHS:
        return None
    rates = [step / epoch for step, epoch in zip(steps, epochs, strict=True) if epoch > 0]
    return {
        "steps": tables.span(steps, ",.0f"),
        "least_per_epoch": f"{min(rates):.0f}" if rates else "",
        "paper_per_epoch": PAPER_STEPS_PER_EPOCH,
        "paper_epochs": PAPER_LEAST_EPOCHS,
    }


def _recipe(zoo: Zoo) -> dict[str, str]:
    """What the zoo was made by, and with which versions."""
    plain = {name: value for name, value in zoo.recipe.items() if isinstance(value, (str, int, float))}
    datasets = zoo.recipe.get("datasets")
    checksums = sorted(datasets.items()) if isinstance(datasets, Mapping) else []
    return {
        **({"space": zoo.space_name} if zoo.space_name else {}),
        **{words(name): f"{value:,}" if type(value) is int else str(value) for name, value in plain.items()},
        **zoo.made_with,
        "SHA-256 of the recipe": zoo.identity,
        **{f"SHA-256 of {name}": str(value) for name, value in checksums},
    }


def _caveats(zoo: Zoo, results: Sequence[Result]) -> dict[str, Any]:
    """What the section of caveats depends on."""
    documents = [one.document for one in results]
    counts = [one.n_runs for one in results if one.n_runs is not None]
    return {
        "results": len(results),
        "few": bool(counts) and min(counts) < FEW_RUNS,
        "filtered": population.convergence_text(zoo),
        "filter_known": any("converged" in d for d in documents),
        "filter_always": all(d.get("converged") for d in documents),
        "lengths_known": any("lengths_differ" in d for d in documents),
        "lengths_differ": any(d.get("lengths_differ") for d in documents),
        "notes": in_order(d["note"] for d in documents if d.get("note")),
        "capped": enumeration(in_order(one.label for one in results if one.document.get("capped"))),
    }
