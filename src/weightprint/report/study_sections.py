"""The sections of a study's report: figures with their captions, data and findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from weightprint.report import attribution, figures, findings, training_paths
from weightprint.report.curves import Line, Panel, curve_figures, panels_of
from weightprint.report.scores import best_of_each_property, classifications, in_order, words
from weightprint.report.sections import BAND, SHADES, Block, Figure, Note, Section, figure, n_text, shade_of, shades
from weightprint.study import Study
from weightprint.study.how_much import LOCAL
from weightprint.study.maps import weight_map
from weightprint.study.population import convergence_text

Row = Mapping[str, Any]

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
            [*_some_tensors(study, rows), *_places(study), *attribution.entries(study, rows)],
        ),
        _section(
            "when",
            "When",
            "When the traces appear, and how long they stay: one meta-classifier for each moment of training.",
            [*_when(study, rows), *_map(study), *training_paths.entries(study, rows)],
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
    blocks: list[Block] = [text, *shown]
    return Section(name, title, blocks if shown else [text, Note("Nothing could be measured here on this zoo.")])


def _of(rows: Sequence[Row], **wanted: Any) -> list[Row]:
    return [row for row in rows if all(row[name] == value for name, value in wanted.items())]


def _how_much(study: Study, rows: Sequence[Row], documents: Sequence[Row]) -> list[Figure]:
    results = classifications(documents)
    targets = study.facts.targets
    headline = _of(rows, experiment="headline")
    averaged = _of(rows, experiment="slices", series="5000")
    shown = figure(
        "headline",
        [figures.accuracy_figure(results)],
        f"Share of test runs named right. Whole vectors, shapes and fields: {n_text(headline)}, pooled over "
        f"{len(study.budget.split_seeds)} splits; slices: one split{', ' + n_text(averaged) if averaged else ''}. 95 % "
        "intervals over runs. Upright lines: the larger of chance and majority. Filled points: the whole interval lies "
        "above it.",
        headline,
    )
    numbers = [{**r, "x": r["model"]} for r in _of(headline, measure="r2")]
    shown += figure(
        "numbers",
        [figures.shade_figure("numbers", *shades(numbers, targets), columns_are="meta-classifier")],
        f"R² in % of what is a number, {n_text(numbers)}; bold where the whole 95 % interval lies above 0. Fields "
        "reads no weights: how well a network does follows to a good part from its data set and other choices, so "
        "that only what lies above fields is read from weights.",
        numbers,
    )
    slices = _of(rows, experiment="slices", model=LOCAL)
    lengths = [{**r, "x_number": float(r["series"])} for r in slices if r["x"] in ("1", "10")]
    panels = panels_of(lengths, targets, lambda r: f"{r['x']} slice{'s' if r['x'] != '1' else ''}")
    shown += figure(
        "slice-length",
        curve_figures("slice-length", panels, x="weights in a slice", logarithmic=True),
        f"Accuracy against the length of the slices that are read, {n_text(slices)}. {BAND}",
        slices,
        finding=findings.shortest_slices(rows),
    )
    panels = panels_of(averaged, targets, lambda r: r["model"])
    shown += figure(
        "averaged",
        curve_figures("averaged", panels, x="slices of 5,000 averaged", logarithmic=True),
        f"Accuracy against the number of slices whose answers are averaged, {n_text(averaged)}. {_dmc(study)} {BAND}",
        averaged,
        finding=findings.averaging(rows),
    )
    shares = _of(rows, experiment="training_runs")
    whole = [r for r in headline if r["model"] in {r["model"] for r in shares}]
    counted = [{**r, "x_number": r["n_train_runs"]} for r in (*shares, *whole) if r["n_train_runs"]]
    panels = panels_of(counted, (*targets, *study.facts.numbers), lambda r: r["model"])
    shown += figure(
        "training-runs",
        curve_figures("training-runs", panels, x="training runs"),
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
        selected = _of(rows, question="where", experiment=experiment)
        drawn = [*selected, *_of(rows, question="where", experiment="all")]
        named, columns, fields = shades(drawn, study.facts.targets)
        name, rows_are, columns_are = f"where-{experiment}", "", what
        if len(columns) > 12:  # turned: a row for each tensor
            named, columns, fields = columns, named, {(b, a): shade for (a, b), shade in fields.items()}
            rows_are, columns_are = "tensor", "property"
        picture = figures.shade_figure(name, named, columns, fields, rows_are=rows_are, columns_are=columns_are)
        shown += figure(
            name,
            [picture if selected else None],
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
    panels: dict[str, Panel] = {}
    data = []
    for one in study.planned:
        result = study.cells.get(one.cell) if one.experiment == "slices" and one.model == LOCAL else None
        places = (result or {}).get("places")
        if not result or not places or None in places["low"]:
            continue
        score, columns = result["scores"][0], [places[name] for name in ("starts", "hits", "low", "high")]
        # Later plans of a property overwrite earlier ones up to 1,000.
        if one.target not in panels or int(one.series) <= 1000:
            baseline = max(score["chance"], score["majority"])
            panels[one.target] = Panel(one.target, [Line("", *columns)], baseline, borders)
        same = {"property": one.target, "model": one.model, "slice_length": one.series, "n_runs": places["n_runs"]}
        names = ("start", "value", "low", "high")
        data += [{**same, **dict(zip(names, values, strict=True))} for values in zip(*columns, strict=True)]
    caption = (
        f"Accuracy from one slice of the last snapshot by where it begins; upright lines: where layers begin. {BAND}"
    )
    pictures = curve_figures("places", list(panels.values()), x="first weight of the slice")
    return figure("places", pictures, caption, data)


def _when(study: Study, rows: Sequence[Row]) -> list[Figure]:
    moments = _of(rows, experiment="moments")
    diagonal = [r for r in moments if r["series"] == r["x"]]
    targets = (*study.facts.targets, *study.facts.numbers)
    shown = figure(
        "when",
        curve_figures("when", panels_of(diagonal, targets), x="snapshot"),
        f"layer_trees trained on one snapshot and tested on the same snapshot of other runs, {n_text(diagonal)}. "
        f"Snapshot 1 is before the first step. {BAND}",
        diagonal,
        finding=findings.when(rows),
    )
    pictures = []
    for i, target in enumerate(targets):
        selected = [r for r in _of(moments, property=target) if r["value"] is not None]
        names = sorted({r["x"] for r in selected}, key=int)
        pictures.append(
            figures.shade_figure(
                f"moments-{i}",
                names,
                names,
                {(r["series"], r["x"]): shade_of(r) for r in selected},
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
    for across in in_order(r["experiment"] for r in _of(rows, question="transfer")):
        selected = _of(rows, question="transfer", experiment=across)
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
            [figures.shade_figure(name, *shades(selected, study.facts.targets), columns_are=columns_are)],
            f"layer_trees. {caption}, {n_text(selected)}. {SHADES}",
            selected,
            finding=findings.transfer(rows, across),
        )
    return shown


def _controls(study: Study, rows: Sequence[Row]) -> list[Figure]:
    selected = _of(rows, question="controls")
    pictures = []
    for model in in_order(r["model"] for r in selected):
        named, columns, fields = shades(_of(selected, model=model), study.facts.targets)
        turned = {(b, a): shade for (a, b), shade in fields.items()}
        name = f"controls-{model}"
        pictures.append(figures.shade_figure(name, columns, named, turned, title=model, columns_are="property"))
    return figure(
        "controls",
        pictures,
        f"The headline again on one split, with what could explain it trivially taken away; "
        f"{n_text(selected)}. {SHADES}",
        selected,
        finding=findings.controls(rows),
    )
