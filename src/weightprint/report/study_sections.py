"""The figures of a study's report, by their names in `study.html`, which has their captions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from weightprint.evaluation.answers import per_run
from weightprint.report import figures, findings
from weightprint.report.curves import curve_figures
from weightprint.report.drawing import Picture
from weightprint.report.findings import n_text, rows_of
from weightprint.report.pages import Figure, figure
from weightprint.report.scores import best_of_each_property, classifications, in_order, words
from weightprint.report.tables import runs_text, span
from weightprint.study import Study, attribution, run_accuracy
from weightprint.study.experiments import LOCAL, PAPER_LENGTH
from weightprint.study.maps import PathMap, WeightMap
from weightprint.study.plans import ACCURACY, Planned, answers_in

Row = Mapping[str, Any]

LEAST = 0.005
"""Shares that round to 0 % are not written."""

WHERE = {
    "part": "by part of the network",
    "kind": "by kind of tensor",
    "layer": "by layer",
    "only": "from one tensor alone",
    "without": "with one tensor left out",
}
"""Experiments that read some tensors only, in words."""


def how_much(study: Study, rows: Sequence[Row], documents: Sequence[Row]) -> dict[str, Figure]:
    """How much of each choice is named, and from how little. documents: the headlines as evaluation documents"""
    results = classifications(documents)
    targets = study.facts.targets
    headline = rows_of(rows, experiment="headline")
    numbers = [{**r, "x": r["model"]} for r in rows_of(headline, measure="r2")]
    slices = rows_of(rows, experiment="slices", model=LOCAL)
    averaged = rows_of(rows, experiment="slices", series="5000")
    several = {"1": "1 slice", "10": "10 slices"}
    lengths = [{**r, "x_number": float(r["series"]), "read": several[r["x"]]} for r in slices if r["x"] in several]
    shares = rows_of(rows, experiment="training_runs")
    whole = [r for r in headline if r["model"] in {r["model"] for r in shares}]
    counted = [{**r, "x_number": r["n_train_runs"]} for r in (*shares, *whole) if r["n_train_runs"]]
    return {
        "headline": figure([figures.accuracy_figure(results)], headline, n=n_text(headline)),
        "numbers": figure(
            [figures.shade_figure("numbers", numbers, targets, columns_are="meta-classifier")],
            numbers,
            n=n_text(numbers),
        ),
        "slice-length": figure(
            curve_figures("slice-length", lengths, targets, x="weights in a slice", by="read", logarithmic=True),
            slices,
            finding=findings.shortest_slices(rows),
            n=n_text(slices),
        ),
        "averaged": figure(
            curve_figures("averaged", averaged, targets, x="slices of 5,000 averaged", by="model", logarithmic=True),
            averaged,
            finding=findings.averaging(rows),
            n=n_text(averaged),
        ),
        "slices-of-runs": _slices_of_runs(study),
        "training-runs": figure(
            curve_figures("training-runs", counted, (*targets, *study.facts.numbers), x="training runs", by="model"),
            counted,
            n=n_text(counted),
        ),
        "confusion": figure(figures.confusion_figures(best_of_each_property(r for r in results if r.above))),
    }


def where(study: Study, rows: Sequence[Row]) -> dict[str, Figure]:
    """Which tensors, which places along the vector, and what a verdict rests on."""
    shown = {}
    for experiment, what in WHERE.items():
        selected = rows_of(rows, question="where", experiment=experiment)
        drawn = [*selected, *rows_of(rows, question="where", experiment="all")]
        name = f"where-{experiment}"
        axes: dict[str, Any] = {"columns_are": what}
        if len({r["x"] for r in drawn}) > 12:
            axes = {"rows_are": "tensor", "by": figures.TURNED}
        shown[name] = figure(
            [figures.shade_figure(name, drawn, study.facts.targets, **axes) if selected else None],
            drawn,
            finding=findings.where(rows) if experiment == "kind" else "",
            n=n_text(selected),
        )
    parts = rows_of(rows, experiment="slices_of_part")
    picture = figures.shade_figure("slices-of-part", parts, study.facts.targets, columns_are="slices of this part")
    return {
        **shown,
        "slices-of-part": figure([picture], parts, n=n_text(parts)),
        "places": _places(study),
        "attribution": attribution_figure(study, rows),
    }


def _borders(study: Study) -> list[tuple[float, str]]:
    """Where layers begin."""
    layout = next((run.layout for run in study.zoo.select(status="complete")), ())
    return [(float(t.offset), t.name.rpartition("/")[0]) for t in layout if t.name.endswith("/kernel")]


def _read_along(study: Study, experiment: str) -> Iterator[tuple[Planned, list[Row]]]:
    """The results whose slices were read at even places: the plan and a row per moment and place."""
    for one in study.planned:
        result = study.cells.get(one.cell) if one.experiment == experiment and one.model == LOCAL else None
        places = (result or {}).get("places")
        if not result or not places or None in places["low"][-1]:
            continue
        same = {"property": one.target, "model": one.model, "n_runs": places["n_runs"]}
        same |= {"slice_length": one.cell.given.slice_length}
        same |= {name: result["scores"][0][name] for name in ("chance", "majority")}
        columns = {"value": "hits", **{name: name for name in ("low", "high", "probability")}}
        yield (
            one,
            [
                {**same, "snapshot": moment, "start": start, **{to: places[of][i][j] for to, of in columns.items()}}
                for i, moment in enumerate(places["snapshots"])
                for j, start in enumerate(places["starts"])
            ],
        )


def _places(study: Study) -> Figure:
    """Accuracy by where slices begin: of each property from the longest that leave room to move."""
    drawn: dict[str, list[Row]] = {}
    data: list[Row] = []
    for one, found in _read_along(study, "slices"):
        # Later plans of a property overwrite earlier ones up to 1,000.
        if one.target not in drawn or int(one.series) <= 1000:
            drawn[one.target] = [{**row, "x_number": row["start"]} for row in found]
        data += found
    points = [row for of_target in drawn.values() for row in of_target]
    borders = _borders(study)
    return figure(curve_figures("places", points, drawn, x="first weight of the slice", borders=borders), data)


def _place_map(study: Study) -> Figure:
    """Where and when: the probability of the right class by where a slice begins and the snapshot."""
    maps = {one.target: found for one, found in _read_along(study, "slices_by_snapshot")}
    data = [row for found in maps.values() for row in found]
    return figure(figures.place_maps(data, maps, borders=_borders(study)), data, n=runs_text(r["n_runs"] for r in data))


def _slices_of_runs(study: Study) -> Figure:
    """Each test run by its own test accuracy and by how many of its slices name its set-up."""
    runs = {run.identity: run for run in study.runs[""] if run.measurements}
    data = []
    for one in study.planned:
        longest = one.experiment == "slices" and one.model == LOCAL and one.series == str(PAPER_LENGTH)
        answers = answers_in(study.cells, one, len(one.xs) - 1) if longest else None
        for row in () if answers is None else per_run(answers).iter_rows(named=True):
            run = runs.get(row["run"])
            reached = run.measurements[-1].get(ACCURACY) if run else None
            if run is not None and reached is not None:
                dataset = run.properties.get("dataset", "")
                value = row["hits"] / row["readings"]
                data.append(
                    {"property": one.target, "run": row["run"], "dataset": dataset, ACCURACY: reached, "value": value}
                )
    pictures = figures.scatter_figures(
        "slices-of-runs", data, ACCURACY, x="test accuracy of the network", y="slices that name it", by="dataset"
    )
    return figure(pictures, data, n=runs_text(Counter(r["property"] for r in data).values()))


def attribution_figure(study: Study, rows: Sequence[Row]) -> Figure:
    """Which layers and tensors a verdict rests on."""
    selected = [r for r in rows_of(rows, experiment=attribution.KIND) if r["value"] is not None]
    shares = rows_of(selected, measure=attribution.SHARE)
    large = [r for r in shares if abs(r["value"]) >= LEAST]
    told = {r["x"] for r in large}
    picture = figures.shade_figure(
        "attribution",
        [{**r, "value": r["value"] if r in large else None} for r in shares if r["x"] in told],
        study.facts.targets,
        by=figures.TURNED,
        title="share, %",
        rows_are="layer and tensor",
    )
    networks = runs_text(r["n_runs"] for r in shares)
    return figure([picture], selected, finding=findings.attribution(selected), n=networks)


def when(study: Study, rows: Sequence[Row], drawn: WeightMap | None) -> dict[str, Figure]:
    """When traces appear and how long they stay. drawn: the map of the zoo's weights"""
    moments = rows_of(rows, experiment="moments")
    diagonal = [r for r in moments if r["series"] == r["x"]]
    targets = (*study.facts.targets, *study.facts.numbers)
    return {
        "when": figure(
            curve_figures("when", diagonal, targets, x="snapshot"),
            diagonal,
            finding=findings.when(rows),
            n=n_text(diagonal),
        ),
        "moments": figure(
            [_moments(i, target, moments) for i, target in enumerate(targets)], moments, n=n_text(moments)
        ),
        "place-map": _place_map(study),
        "map": figure(figures.map_figures(drawn) if drawn else []),
        "tsne": _embedding(embedding(study)),
        "neighbours": _neighbours(study, rows),
        "run-accuracy": _run_accuracy(study, rows),
    }


def _moments(number: int, target: str, moments: Sequence[Row]) -> Picture | None:
    """Of one property: trained on one snapshot, tested on another."""
    known = [r for r in rows_of(moments, property=target) if r["value"] is not None]
    names = sorted({r["x"] for r in known}, key=int)
    return figures.shade_figure(
        f"moments-{number}",
        known,
        names,
        by=("series", "x"),
        title=target,
        rows_are="trained on snapshot",
        columns_are="tested on snapshot",
        numbered=len(names) <= 8,
    )


def embedding(study: Study) -> Mapping[str, Any] | None:
    """The result of t-SNE, where the study has one."""
    planned = (one for one in study.planned if one.experiment == "embedding")
    result = next((study.cells.get(one.cell) for one in planned), None)
    return result if result and result.get("paths") else None


def _embedding(result: Mapping[str, Any] | None) -> Figure:
    if result is None:
        return figure([])
    paths = [np.array(path) for path in result["paths"]]
    path_map = PathMap(paths, result["properties"], "tsne", "a t-SNE plane", ("t-SNE 1", "t-SNE 2"))
    data = [
        {"run": run, "snapshot": number, "x": x, "y": y}
        for run, numbers, path in zip(result["runs"], result["snapshots"], result["paths"], strict=True)
        for number, (x, y) in zip(numbers, path, strict=True)
    ]
    return figure(figures.map_figures(path_map), data, n=span([len(path) for path in paths]))


def _neighbours(study: Study, rows: Sequence[Row]) -> Figure:
    selected = [r for r in rows_of(rows, experiment="neighbours") if r["value"] is not None]
    return figure(
        curve_figures("neighbours", selected, study.facts.targets, x="snapshot"),
        selected,
        finding=findings.neighbours(rows),
        n=runs_text(r["n_runs"] for r in selected),
    )


def _run_accuracy(study: Study, rows: Sequence[Row]) -> Figure:
    data = rows_of(rows, experiment=run_accuracy.EXPERIMENT)
    means = rows_of(data, series=run_accuracy.MEAN)
    named = [r for r in rows_of(rows, experiment="moments", measure="accuracy") if r["series"] == r["x"]]
    names = {run_accuracy.EXPERIMENT: "the runs' test accuracy", "moments": "runs named right"}
    both = {r["property"] for r in named if r["low"] is not None} & {r["property"] for r in means}
    points = [{**r, "what": names[r["experiment"]]} for r in (*named, *means) if r["property"] in both]
    return figure(
        curve_figures("run-accuracy", points, study.facts.targets, x="snapshot", by="what"),
        data,
        finding=findings.run_accuracy(rows),
        n=runs_text(r["n_runs"] for r in means),
    )


def transfer(study: Study, rows: Sequence[Row]) -> dict[str, Figure]:
    """What is learnt on some networks, tested on others: a figure for each choice that they differ in, or "zoo"."""
    shown = {}
    for across in in_order(r["experiment"] for r in rows_of(rows, question="transfer")):
        selected = rows_of(rows, question="transfer", experiment=across)
        columns_are = f"{words(across)} left out"
        if across == "zoo":
            selected = [{**r, "x": f"{r['series']} → {r['x']}"} for r in selected]
            columns_are = "trained on → tested on"
        name = f"transfer-{across}"
        shown[name] = figure(
            [figures.shade_figure(name, selected, study.facts.targets, columns_are=columns_are)],
            selected,
            finding=findings.transfer(rows, across),
            n=n_text(selected),
        )
    return shown


def controls(study: Study, rows: Sequence[Row]) -> dict[str, Figure]:
    """What remains without the trivial footprints."""
    selected = rows_of(rows, question="controls")
    order, by = study.facts.targets, figures.TURNED
    pictures = [
        figures.shade_figure(f"controls-{model}", rows_of(selected, model=model), order, title=model, by=by)
        for model in in_order(r["model"] for r in selected)
    ]
    return {"controls": figure(pictures, selected, finding=findings.controls(rows), n=n_text(selected))}
