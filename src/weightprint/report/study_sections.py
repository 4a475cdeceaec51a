"""The sections of a study's report: figures with their captions, data and findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from weightprint.report import figures, findings
from weightprint.report.curves import curve_figures
from weightprint.report.findings import n_text, rows_of
from weightprint.report.pages import Figure, Section, figure, measured
from weightprint.report.scores import best_of_each_property, classifications, in_order, words
from weightprint.report.tables import runs_text, span
from weightprint.study import Study, attribution, run_accuracy
from weightprint.study.experiments import LOCAL
from weightprint.study.maps import PathMap, weight_map
from weightprint.study.neighbours import NEAREST, PERPLEXITY
from weightprint.study.population import convergence_text

Row = Mapping[str, Any]

BAND = "The band is the 95 % interval over runs, the dashed line the larger of chance and majority."

SHADES = (
    "Numbers are accuracies in % (of numbers the R² in %), bold where the whole 95 % interval lies above chance and "
    "majority (above 0); the shade grows from there."
)

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


def sections_of(study: Study, rows: Sequence[Row], documents: Sequence[Row]) -> list[Section]:
    """The sections in order.

    rows:      of the study
    documents: the headlines as evaluation documents
    """
    return [
        _section(
            "how-much",
            "How much",
            "How much of each choice can be named from weights. Of a whole network trees read statistics of every "
            "tensor, layer_trees the anatomy of its layers; slice_trees, the SVM and the paper's DMC read slices of "
            "consecutive weights. Shapes and fields read no weights: they are what must be beaten. The later half of "
            "each run's snapshots is read; no run, nor its kin, is on both sides of a split.",
            _how_much(study, rows, documents),
        ),
        _section(
            "where",
            "Where",
            "Which tensors carry the traces: trees that see only some of them, slices read at even places along the "
            "vector, and what a meta-classifier of whole networks leans on.",
            [*_some_tensors(study, rows), *_places(study), *attribution_figures(study, rows)],
        ),
        _section(
            "when",
            "When",
            "When the traces appear, and how long they stay: one meta-classifier for each moment of training.",
            [
                *_when(study, rows),
                *_map(study),
                *_embedding(study),
                *_neighbours(study, rows),
                *_run_accuracy(study, rows),
            ],
        ),
        _section(
            "transfer",
            "Transfer",
            "Whether what is learnt on some networks can be read from others that differ in one choice.",
            _transfer(study, rows),
        ),
        _section(
            "controls",
            "Controls",
            "Biases in front of batch normalisation nearly name the optimizer by their size alone; moving statistics "
            f"describe the images and, early on, the number of steps. {convergence_text(study.zoo)}",
            _controls(study, rows),
        ),
    ]


def _section(name: str, title: str, text: str, shown: Sequence[Figure]) -> Section:
    return Section(name, title, [text, *measured(shown)])


def _how_much(study: Study, rows: Sequence[Row], documents: Sequence[Row]) -> list[Figure]:
    results = classifications(documents)
    targets = study.facts.targets
    headline = rows_of(rows, experiment="headline")
    averaged = rows_of(rows, experiment="slices", series="5000")
    shown = figure(
        "headline",
        [figures.accuracy_figure(results)],
        f"Share of test runs named right. Whole vectors, shapes and fields: {n_text(headline)}, pooled over "
        f"{len(study.budget.split_seeds)} splits; slices: one split{', ' + n_text(averaged) if averaged else ''}. 95 % "
        "intervals over runs. Upright lines: the larger of chance and majority. Filled points: the whole interval lies "
        "above it.",
        headline,
    )
    numbers = [{**r, "x": r["model"]} for r in rows_of(headline, measure="r2")]
    shown += figure(
        "numbers",
        [figures.shade_figure("numbers", numbers, targets, columns_are="meta-classifier")],
        f"R² in % of what is a number, {n_text(numbers)}; bold where the whole 95 % interval lies above 0. Fields "
        "reads no weights: how well a network does follows to a good part from its data set and other choices, so "
        "that only what lies above fields is read from weights.",
        numbers,
    )
    slices = rows_of(rows, experiment="slices", model=LOCAL)
    several = {"1": "1 slice", "10": "10 slices"}
    lengths = [{**r, "x_number": float(r["series"]), "read": several[r["x"]]} for r in slices if r["x"] in several]
    shown += figure(
        "slice-length",
        curve_figures("slice-length", lengths, targets, x="weights in a slice", by="read", logarithmic=True),
        f"Accuracy against the length of the slices that are read, {n_text(slices)}. {BAND}",
        slices,
        finding=findings.shortest_slices(rows),
    )
    shown += figure(
        "averaged",
        curve_figures("averaged", averaged, targets, x="slices of 5,000 averaged", by="model", logarithmic=True),
        f"Accuracy against the number of slices whose answers are averaged, {n_text(averaged)}. {_dmc(study)} {BAND}",
        averaged,
        finding=findings.averaging(rows),
    )
    shares = rows_of(rows, experiment="training_runs")
    whole = [r for r in headline if r["model"] in {r["model"] for r in shares}]
    counted = [{**r, "x_number": r["n_train_runs"]} for r in (*shares, *whole) if r["n_train_runs"]]
    shown += figure(
        "training-runs",
        curve_figures("training-runs", counted, (*targets, *study.facts.numbers), x="training runs", by="model"),
        f"Accuracy (R² of numbers) on whole networks against the number of training runs, {n_text(counted)}. {BAND}",
        counted,
    )
    return shown + figure(
        "confusion",
        figures.confusion_figures(best_of_each_property(r for r in results if r.above)),
        "Test runs by true class (rows) and the class named (columns), for the most accurate meta-classifier of "
        "each property that is above its baseline; a run that splits name differently is divided among its answers.",
    )


def _dmc(study: Study) -> str:
    """What was done of the paper's DMC."""
    if study.budget.dmc_seconds is None:
        return f"A {study.budget.name} study leaves out the paper's DMC and SVM on slices; a larger budget has them."
    return f"The DMC is the paper's, stopped after {study.budget.dmc_seconds:g} s of training per property."


def _some_tensors(study: Study, rows: Sequence[Row]) -> list[Figure]:
    shown: list[Figure] = []
    for experiment, what in WHERE.items():
        selected = rows_of(rows, question="where", experiment=experiment)
        drawn = [*selected, *rows_of(rows, question="where", experiment="all")]
        name = f"where-{experiment}"
        axes: dict[str, Any] = {"columns_are": what}
        if len({r["x"] for r in drawn}) > 12:
            axes = {"rows_are": "tensor", "by": figures.TURNED}
        picture = figures.shade_figure(name, drawn, study.facts.targets, **axes) if selected else None
        shown += figure(
            name,
            [picture],
            f"Trees that read the statistics of some tensors only, {what}, in each run's last snapshot; "
            f"{n_text(selected)}. {SHADES}",
            drawn,
            finding=findings.where(rows) if experiment == "kind" else "",
        )
    return shown


def _places(study: Study) -> list[Figure]:
    """Accuracy by where slices begin: of each property from the longest that leave room to move."""
    layout = next((run.layout for run in study.zoo.select(status="complete")), ())
    borders = [(float(t.offset), t.name.rpartition("/")[0]) for t in layout if t.name.endswith("/kernel")]
    drawn: dict[str, list[Row]] = {}
    data = []
    for one in study.planned:
        result = study.cells.get(one.cell) if one.experiment == "slices" and one.model == LOCAL else None
        places = (result or {}).get("places")
        if not result or not places or None in places["low"]:
            continue
        same = {"property": one.target, "model": one.model, "slice_length": one.series, "n_runs": places["n_runs"]}
        starts = zip(*(places[name] for name in ("starts", "hits", "low", "high")), strict=True)
        found = [{**same, **dict(zip(("start", "value", "low", "high"), values, strict=True))} for values in starts]
        # Later plans of a property overwrite earlier ones up to 1,000.
        if one.target not in drawn or int(one.series) <= 1000:
            without = {name: result["scores"][0][name] for name in ("chance", "majority")}
            drawn[one.target] = [{**row, **without, "x_number": row["start"]} for row in found]
        data += found
    caption = (
        f"Accuracy from one slice of the last snapshot by where it begins; upright lines: where layers begin. {BAND}"
    )
    points = [row for of_target in drawn.values() for row in of_target]
    pictures = curve_figures("places", points, drawn, x="first weight of the slice", borders=borders)
    return figure("places", pictures, caption, data)


def _when(study: Study, rows: Sequence[Row]) -> list[Figure]:
    moments = rows_of(rows, experiment="moments")
    diagonal = [r for r in moments if r["series"] == r["x"]]
    targets = (*study.facts.targets, *study.facts.numbers)
    shown = figure(
        "when",
        curve_figures("when", diagonal, targets, x="snapshot"),
        f"layer_trees trained on one snapshot and tested on the same snapshot of other runs, {n_text(diagonal)}. "
        f"Snapshot 1 is before the first step. {BAND}",
        diagonal,
        finding=findings.when(rows),
    )
    pictures = []
    for i, target in enumerate(targets):
        known = [r for r in rows_of(moments, property=target) if r["value"] is not None]
        names = sorted({r["x"] for r in known}, key=int)
        pictures.append(
            figures.shade_figure(
                f"moments-{i}",
                known,
                names,
                by=("series", "x"),
                title=target,
                rows_are="trained on snapshot",
                columns_are="tested on snapshot",
                numbered=len(names) <= 8,
            )
        )
    caption = f"Trained on one snapshot (rows), tested on another (columns), {n_text(moments)}. {SHADES}"
    return shown + figure("moments", pictures, caption, moments)


def _map(study: Study) -> list[Figure]:
    drawn = weight_map(study.zoo)
    if drawn is None:
        return []
    return figure(
        "map",
        figures.map_figures(drawn),
        f"Training paths of {len(drawn.paths)} runs in two principal components of rank-transformed weights, "
        f"{100 * sum(drawn.shares):.0f} % of the variance. Each line is a run from first to last snapshot.",
    )


def _transfer(study: Study, rows: Sequence[Row]) -> list[Figure]:
    shown: list[Figure] = []
    for across in in_order(r["experiment"] for r in rows_of(rows, question="transfer")):
        selected = rows_of(rows, question="transfer", experiment=across)
        columns_are = f"{words(across)} left out"
        caption = f"Trained on runs without one {words(across)} and tested on runs with it"
        if across == "zoo":
            selected = [{**r, "x": f"{r['series']} → {r['x']}"} for r in selected]
            columns_are = "trained on → tested on"
            caption = (
                "Trained on one zoo's training runs, tested on all runs of another that are no kin of them (zoos of "
                "one seed share random streams, run by run), or on the same zoo's test runs"
            )
        name = f"transfer-{across}"
        shown += figure(
            name,
            [figures.shade_figure(name, selected, study.facts.targets, columns_are=columns_are)],
            f"layer_trees. {caption}, {n_text(selected)}. {SHADES}",
            selected,
            finding=findings.transfer(rows, across),
        )
    return shown


def _controls(study: Study, rows: Sequence[Row]) -> list[Figure]:
    selected = rows_of(rows, question="controls")
    order, by = study.facts.targets, figures.TURNED
    pictures = [
        figures.shade_figure(f"controls-{model}", rows_of(selected, model=model), order, title=model, by=by)
        for model in in_order(r["model"] for r in selected)
    ]
    return figure(
        "controls",
        pictures,
        f"The headline again on one split, with what could explain it trivially taken away; "
        f"{n_text(selected)}. {SHADES}",
        selected,
        finding=findings.controls(rows),
    )


def attribution_figures(study: Study, rows: Sequence[Row]) -> list[Figure]:
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
    caption = (
        "Which layers and tensors a verdict of layer_trees rests on, in the last snapshot: the log odds of the right "
        "class against the others, shared out among the columns that it reads by exact Shapley values (TreeSHAP) and "
        "added up by the layer's role and the kind of tensor; in % of all parts' absolute sum, so that what speaks "
        f"against the right class is negative. Means over {runs_text(r['n_runs'] for r in shares)} test networks that "
        "were named right. Bold where the whole 95 % interval over networks lies above 0; below half a percent nothing "
        "is written. Shares tell what this meta-classifier leans on: a tensor without a share may tell the same as "
        "one that has it."
    )
    return figure("attribution", [picture], caption, selected, finding=findings.attribution(selected))


def _embedding(study: Study) -> list[Figure]:
    result = next((study.cells.get(one.cell) for one in study.planned if one.experiment == "embedding"), None)
    if not result or not result.get("paths"):
        return []
    paths = [np.array(path) for path in result["paths"]]
    path_map = PathMap(paths, result["properties"], "tsne", "a t-SNE plane", ("t-SNE 1", "t-SNE 2"))
    each = span([len(path) for path in paths])
    caption = (
        f"Training paths of {len(paths)} runs with {each} snapshots each by t-SNE (perplexity "
        f"{PERPLEXITY}, seed 0). Read were the statistics of all tensors, each as its rank among these snapshots, not "
        "the raw weights. Only who lies beside whom means something: distances between clusters, their sizes and the "
        "axes do not. Snapshots of one run lie together because they are alike, whatever the colour. scikit-learn's "
        f"trustworthiness of the picture is {result['trustworthiness']:.2f} (1 where all that is near in it is near "
        "in truth)."
    )
    data = [
        {"run": run, "snapshot": number, "x": x, "y": y}
        for run, numbers, path in zip(result["runs"], result["snapshots"], result["paths"], strict=True)
        for number, (x, y) in zip(numbers, path, strict=True)
    ]
    return figure("tsne", figures.map_figures(path_map), caption, data)


def _neighbours(study: Study, rows: Sequence[Row]) -> list[Figure]:
    selected = [r for r in rows_of(rows, experiment="neighbours") if r["value"] is not None]
    caption = (
        f"Of each run's {NEAREST} nearest other runs at the same snapshot, the share with the same value, by the "
        f"statistics of all tensors (each as its rank among the runs), n = {runs_text(r['n_runs'] for r in selected)} "
        "runs. Nothing is fitted. The band is the 95 % interval over runs, each drawn with all pairs that it takes "
        "part in, the dashed line the share among all other runs."
    )
    pictures = curve_figures("neighbours", selected, study.facts.targets, x="snapshot")
    return figure("neighbours", pictures, caption, selected, finding=findings.neighbours(rows))


def _run_accuracy(study: Study, rows: Sequence[Row]) -> list[Figure]:
    data = rows_of(rows, experiment=run_accuracy.EXPERIMENT)
    means = rows_of(data, series=run_accuracy.MEAN)
    named = [r for r in rows_of(rows, experiment="moments", measure="accuracy") if r["series"] == r["x"]]
    names = {run_accuracy.EXPERIMENT: "the runs' test accuracy", "moments": "runs named right"}
    both = {r["property"] for r in named if r["low"] is not None} & {r["property"] for r in means}
    points = [{**r, "what": names[r["experiment"]]} for r in (*named, *means) if r["property"] in both]
    caption = (
        "How often a choice is named right at a snapshot, beside the mean test accuracy that the same runs have "
        f"reached by then, n = {runs_text(r['n_runs'] for r in means)} test runs. Bands are 95 % intervals over runs, "
        "the dashed line the larger of chance and majority for naming. That both rise does not mean that one makes the "
        "other rise."
    )
    later = rows_of(data, series=run_accuracy.HALVES[2], model="layer_trees")
    if later:
        told = "; ".join(f"{words(r['property'])} {findings.signed(r)}" for r in later)
        caption += (
            " In the later half, runs above the median test accuracy of their data set are named more often than those "
            f"below by so many points, with 95 % intervals: {told}."
        )
    pictures = curve_figures("run-accuracy", points, study.facts.targets, x="snapshot", by="what")
    return figure("run-accuracy", pictures, caption, data, finding=findings.run_accuracy(rows))
