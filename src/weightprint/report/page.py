"""The page: results, zoo and figures put into its template."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from weightprint.report import figures, population, tables
from weightprint.report.pages import render_page
from weightprint.report.scores import (
    Result,
    answer,
    best_of_each_property,
    classifications,
    enumeration,
    headline,
    in_order,
    regressions,
    words,
)
from weightprint.study.maps import WeightMap, weight_map

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
    scores, fits = _by_property(classifications(results)), _by_property(regressions(results))
    best = best_of_each_property(scores)
    score_rows, fit_rows = tables.score_rows(scores), tables.fit_rows(fits)
    every_row = [*score_rows, *fit_rows]
    common = tables.common_settings(every_row)
    drawn_map = weight_map(zoo)
    curves = population.training_curves(zoo)
    lengths = population.training_lengths(zoo)
    return render_page(
        "page.html",
        title=title or headline(results),
        answer=answer(results),
        facts=_facts(zoo, scores, fits),
        above=tables.ABOVE,
        score_rows=score_rows,
        units=enumeration(in_order(row["unit"] for row in score_rows if row["unit"])).replace(" and ", " or "),
        fit_rows=fit_rows,
        columns=[name for name in every_row[0]["settings"] if name not in common] if every_row else [],
        common=[(name, value) for name, value in common.items() if value != tables.UNKNOWN],
        measures=list(tables.MEASURE_NAMES.values()),
        test_runs=tables.runs_text(s.n_runs for s in _evaluated(scores, fits)),
        accuracy=figures.accuracy_figure(scores),
        runs=len(zoo),
        status_rows=population.status_rows(zoo),
        value_rows=population.value_rows(zoo),
        constant_values=population.constant_values(zoo),
        final=figures.final_accuracy_figure(population.final_accuracies(zoo)),
        curves=figures.curve_figures(curves),
        unreadable=curves.unreadable,
        lengths=_lengths_text(lengths),
        short=_short_training(lengths),
        map=drawn_map,
        maps=figures.map_figures(drawn_map) if drawn_map else [],
        confusions=figures.confusion_figures(best),
        seconds=list(seconds.items()),
        commands=list(commands),
        recipe=_recipe_rows(zoo),
        datasets=_datasets(zoo),
        recipe_json=json.dumps(zoo.recipe, indent=2, sort_keys=True, ensure_ascii=False),
        made_with=list(zoo.made_with.items()),
        identity=zoo.identity,
        caveats=_caveats(zoo, scores, fits, lengths, drawn_map),
        left_out=_left_out(scores, fits),
    )


def _evaluated(scores: Sequence[Result], fits: Sequence[Result]) -> list[Result]:
    return [*scores, *fits]


def _by_property(drawn_map: Sequence[Any]) -> list[Any]:
    order = in_order(one.target for one in drawn_map)
    return sorted(drawn_map, key=lambda one: order.index(one.target))


def _facts(zoo: Zoo, scores: Sequence[Result], fits: Sequence[Result]) -> list[str]:
    """What stands under the title: how much of everything."""
    facts = [_many(len(zoo), "run")]
    if "dataset" in zoo.index.columns:
        facts.append(_many(zoo.index["dataset"].drop_nulls().n_unique(), "data set"))
    facts.append(_many(int(zoo.index["snapshots"].fill_null(0).sum()), "snapshot"))
    sizes = sorted(zoo.index["weights"].drop_nulls().unique().to_list())
    if sizes:
        span = f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,}"
        facts.append(f"{span} weights each")
    if scores or fits:
        facts.append(_many(len(scores) + len(fits), "evaluation"))
    return facts


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _span(values: Sequence[float]) -> str:
    low, high = round(min(values)), round(max(values))
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _lengths_text(lengths: Mapping[str, Sequence[float]]) -> str:
    parts = [f"{_span(values)} {name}s" for name, values in lengths.items() if values]
    return f"Each run trained for {' and '.join(parts)}." if parts else ""


def _steps_per_epoch(lengths: Mapping[str, Sequence[float]]) -> float | None:
    """The fewest steps per epoch of any run whose lengths are known."""
    if len(lengths["step"]) != len(lengths["epoch"]):
        return None
    known = [step / epoch for step, epoch in zip(lengths["step"], lengths["epoch"], strict=True) if epoch > 0]
    return min(known, default=None)


def _short_training(lengths: Mapping[str, Sequence[float]]) -> str:
    """A note when training is short beside the paper's; empty when it is not, or not known."""
    if not lengths["step"] or min(lengths["step"]) >= PAPER_STEPS_PER_EPOCH * PAPER_LEAST_EPOCHS:
        return ""
    per_epoch = _steps_per_epoch(lengths)
    rate = f", as few as {per_epoch:.0f} an epoch" if per_epoch is not None else ""
    return (
        f"Training here is short: {_span(lengths['step'])} gradient steps a run{rate}. The runs of the paper that this "
        f"follows (Eilertsen et al., 2020) take about {PAPER_STEPS_PER_EPOCH} steps an epoch at the largest batch "
        f"size, for at least {PAPER_LEAST_EPOCHS} epochs. Traces of the initial weights are therefore fresher here, "
        "and traces of the data fainter."
    )


def _recipe_rows(zoo: Zoo) -> list[tuple[str, str]]:
    rows = [("space", zoo.space_name)] if zoo.space_name else []
    rows += [
        (words(key), f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value))
        for key, value in zoo.recipe.items()
        if isinstance(value, (str, int, float))
    ]
    return rows


def _datasets(zoo: Zoo) -> list[tuple[str, str]]:
    datasets = zoo.recipe.get("datasets")
    return [(str(k), str(v)) for k, v in sorted(datasets.items())] if isinstance(datasets, Mapping) else []


def _left_out(scores: Sequence[Result], fits: Sequence[Result]) -> list[tuple[str, str]]:
    """(what was left out, of which evaluations), equal counts together."""
    groups: dict[str, list[str]] = {}
    for one in _evaluated(scores, fits):
        excluded = one.document.get("excluded") or {}
        if any(excluded.values()):
            groups.setdefault(tables.excluded_text(excluded), []).append(f"{words(one.target)} by {one.label}")
    every = len(scores) + len(fits)
    return [(text, "all evaluations" if len(of) == every else "; ".join(of)) for text, of in groups.items()]


def _caveats(
    zoo: Zoo,
    scores: Sequence[Result],
    fits: Sequence[Result],
    lengths: Mapping[str, Sequence[float]],
    drawn_map: WeightMap | None,
) -> list[str]:
    evaluated = _evaluated(scores, fits)
    documents = [one.document for one in evaluated]
    caveats = []
    counts = [one.n_runs for one in evaluated if one.n_runs is not None]
    if counts:
        few = (
            " With so few of them, a difference of a few points between two models means nothing."
            if min(counts) < FEW_RUNS
            else ""
        )
        caveats.append(
            f"Results stand on {tables.runs_text(counts)} test runs. The unit is the run: its snapshots and slices say "
            f"nearly the same thing and do not make the intervals narrower.{few}"
        )
    if len(scores) > 1:
        caveats.append(
            f"{len(scores)} intervals are compared with a baseline; of results that are all luck, about one in forty "
            "would still be marked. The best of several models is chosen on the test runs that it is reported on, "
            "which flatters it a little."
        )
    removed, complete, per_initialization = population.removed_by_filter(zoo)
    if complete:
        listed = enumeration([f"{r} of {n} with {words(name)}" for name, r, n in per_initialization if r])
        text = (
            f"The convergence filter keeps runs whose final test accuracy is above chance (one-sided binomial test, "
            f"p < .001). Of {_many(complete, 'complete run')} it removes {removed}"
            + (f": {listed}" if listed and removed else "")
            + "."
        )
        if documents and all(d.get("converged") for d in documents):
            text += " It was on for every result here."
        elif any("converged" in d for d in documents):
            text += " It was not on for every result here; see the table."
        if any(name == "constant" for name, _, _ in per_initialization):
            text += (
                " Constant initialization keeps all filters of a layer identical and often never learns, so that the "
                "filter changes the mix of classes; it also makes that one value easy to name."
            )
        caveats.append(text)
    if any(d.get("lengths_differ") for d in documents):
        notes = in_order(str(d["note"]) for d in documents if d.get("note"))
        caveats.append(
            "Weight vectors differ in length, and length tells the architecture: "
            + (
                " ".join(f"{note[0].upper()}{note[1:]}." for note in notes)
                if notes
                else "part of a result may be that."
            )
        )
    elif documents and any("lengths_differ" in d for d in documents):
        caveats.append(
            "All weight vectors have the same length: results say nothing yet about networks of another architecture."
        )
    if drawn_map and drawn_map.same < drawn_map.complete:
        caveats.append(
            f"The map shows one architecture of several: {drawn_map.same} of {drawn_map.complete} complete runs."
        )
    capped = in_order(one.label for one in evaluated if one.document.get("capped"))
    if capped:
        caveats.append(
            f"Fitting of {enumeration(capped)} was ended by its time limit; with more time it may do better."
        )
    if _short_training(lengths):
        caveats.append(
            "Training is short beside the paper’s (see “What was sampled”): how clear the traces are may change with "
            "longer training."
        )
    caveats.append(
        "Some marks are trivial. Biases in front of batch normalisation nearly name the optimizer by their size alone; "
        "moving statistics of the first layers describe the input images; those of early snapshots tell the number "
        "of steps and with it the batch size. A high accuracy need not mean that the learned features differ."
    )
    return caveats
