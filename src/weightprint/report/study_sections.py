"""The sections of a study's report: figures with their captions, data and findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from weightprint.evaluation.claims import above, baseline
from weightprint.report import attribution, figures, findings, population, training_paths
from weightprint.report.scores import best_of_each_property, classifications, words
from weightprint.report.sections import BAND, SHADES, figure, n_text, section, shades
from weightprint.report.study_figures import Line, Panel, Shade, curve_figures, panel_of, shade_figure
from weightprint.study import Study
from weightprint.study.how_much import LOCAL
from weightprint.study.maps import weight_map

Row = Mapping[str, Any]


def sections_of(study: Study, rows: Sequence[Row], documents: Sequence[Row]) -> list[dict[str, Any]]:
    """{"id", "title", "text", "figures"} of each, in order.

    rows:      of the study
    documents: the headlines as evaluation documents

    Figures are those of `weightprint.report.sections.figure`.
    """
    return [
        _how_much(study, rows, documents),
        _where(study, rows),
        _when(study, rows),
        _transfer(study, rows),
        _controls(study, rows),
    ]


def _how_much(study: Study, rows: Sequence[Row], documents: Sequence[Row]) -> dict[str, Any]:
    scores = classifications(documents)
    headline = [r for r in rows if r["experiment"] == "headline"]
    targets = study.facts.targets
    every = (*targets, *study.facts.numbers)
    averaged = [r for r in rows if r["experiment"] == "slices" and r["series"] == "5000"]
    shown = figure(
        "headline",
        [figures.accuracy_figure(scores)],
        f"Share of test runs named right. Whole vectors, shapes and fields: {n_text(headline)}, pooled over "
        f"{len(study.budget.split_seeds)} splits; slices: one split{', ' + n_text(averaged) if averaged else ''}. 95 % "
        "intervals over runs. Upright lines: the larger of chance and majority. Filled points: the whole interval lies "
        "above it.",
        headline,
    )
    numbers = [{**r, "x": r["model"]} for r in headline if r["measure"] == "r2"]
    named, columns, fields = shades(numbers, targets)
    shown += figure(
        "numbers",
        [shade_figure("numbers", named, columns, fields, columns_are="meta-classifier")],
        f"R² in % of what is a number, {n_text(numbers)}; bold where the whole 95 % interval lies above 0. Fields "
        "reads no weights: how well a network does follows to a good part from its data set and other choices, so "
        "that only what lies above fields is read from weights.",
        numbers,
    )
    slices = [r for r in rows if r["experiment"] == "slices" and r["model"] == LOCAL]
    one = [{**r, "x_number": float(r["series"])} for r in slices if r["x"] in ("1", "10")]
    panels = [panel_of(one, t, lambda r: f"{r['x']} slice{'s' if r['x'] != '1' else ''}") for t in targets]
    panels = [p for p in panels if p.lines]
    shown += figure(
        "slice-length",
        curve_figures("slice-length", panels, x="weights in a slice", logarithmic=True),
        f"Accuracy against the length of the slices that are read, {n_text(slices)}. {BAND}",
        slices,
        finding=findings.shortest_slices(rows),
    )
    shown += figure(
        "averaged",
        curve_figures(
            "averaged",
            [p for p in (panel_of(averaged, t, lambda r: r["model"]) for t in targets) if p.lines],
            x="slices of 5,000 averaged",
            logarithmic=True,
        ),
        f"Accuracy against the number of slices whose answers are averaged, {n_text(averaged)}. {_dmc(study)} {BAND}",
        averaged,
        finding=findings.averaging(rows),
    )
    shares = [r for r in rows if r["experiment"] == "training_runs"]
    shares = [{**r, "x_number": r["n_train_runs"]} for r in shares if r["n_train_runs"]]
    models = {r["model"] for r in shares}
    shares += [{**r, "x_number": r["n_train_runs"]} for r in headline if r["model"] in models and r["n_train_runs"]]
    shown += figure(
        "training-runs",
        curve_figures(
            "training-runs",
            [p for p in (panel_of(shares, t, lambda r: r["model"]) for t in every) if p.lines],
            x="training runs",
        ),
        f"Accuracy (R² of numbers) on whole networks against the number of training runs, {n_text(shares)}. {BAND}",
        shares,
    )
    best = best_of_each_property(s for s in scores if s.above)
    shown += figure(
        "confusion",
        figures.confusion_figures(best),
        "Test runs by true class (rows) and the class named (columns), for the most accurate meta-classifier of "
        "each property that is above its baseline; a run that splits name differently is divided among its answers.",
        [],
    )
    text = (
        "How much of each choice can be named from weights. Of a whole network trees read statistics of every tensor, "
        "layer_trees the anatomy of its layers; slice_trees, the SVM and the paper's DMC read slices of consecutive "
        "weights. Shapes and fields read no weights: they are what must be beaten. The later half of each run's "
        "snapshots is read; no run, nor its kin, is on both sides of a split."
    )
    return section("how-much", "How much", text, shown)


def _dmc(study: Study) -> str:
    """What was done of the paper's DMC."""
    if study.budget.dmc_seconds is None:
        return f"A {study.budget.name} study leaves out the paper's DMC and SVM on slices; a larger budget has them."
    return f"The DMC is the paper's, stopped after {study.budget.dmc_seconds:g} s of training per property."


def _where(study: Study, rows: Sequence[Row]) -> dict[str, Any]:
    targets, shown = study.facts.targets, []
    every = [r for r in rows if r["question"] == "where" and r["experiment"] == "all"]
    names = {
        "part": "by part of the network",
        "kind": "by kind of tensor",
        "layer": "by layer",
        "only": "from one tensor alone",
        "without": "with one tensor left out",
    }
    for experiment, what in names.items():
        selected = [r for r in rows if r["question"] == "where" and r["experiment"] == experiment]
        if not selected:
            continue
        drawn = [*selected, *every]
        named, columns, fields = shades(drawn, targets)
        if len(columns) > 12:  # turned: a row for each tensor
            turned = {(b, a): shade for (a, b), shade in fields.items()}
            picture = shade_figure(
                f"where-{experiment}", columns, named, turned, rows_are="tensor", columns_are="property"
            )
        else:
            picture = shade_figure(f"where-{experiment}", named, columns, fields, columns_are=what)
        shown += figure(
            f"where-{experiment}",
            [picture],
            f"Trees that read the statistics of some tensors only, {what}, in each run's last snapshot; "
            f"{n_text(selected)}. {SHADES}",
            drawn,
            finding=findings.where(rows) if experiment == "kind" else "",
        )
    panels, data = _places(study)
    shown += figure(
        "places",
        curve_figures("places", panels, x="first weight of the slice"),
        "Accuracy from one slice of the last snapshot by where it begins; upright lines are where layers begin. "
        + BAND,
        data,
    )
    shown += attribution.entries(study, rows)
    text = (
        "Which tensors carry the traces: trees that see only some of them, slices read at even places along the "
        "vector, and what a meta-classifier of whole networks leans on."
    )
    return section("where", "Where", text, shown)


def _places(study: Study) -> tuple[list[Panel], list[dict[str, Any]]]:
    layout = next((run.layout for run in study.zoo.select(status="complete")), None)
    borders = (
        []
        if layout is None
        else [(float(t.offset), t.name.rpartition("/")[0]) for t in layout if t.name.endswith("/kernel")]
    )
    panels: dict[str, Panel] = {}
    data = []
    for one in study.planned:
        result = study.cells.get(one.cell) if one.experiment == "slices" and one.model == LOCAL else None
        places = (result or {}).get("places")
        if not result or not places or None in places["low"]:
            continue
        score = result["scores"][0]
        line = Line("", places["starts"], places["hits"], places["low"], places["high"])
        # The longest slices that leave room to move: later plans of a property overwrite earlier ones up to 1,000.
        if one.target not in panels or int(one.series) <= 1000:
            panels[one.target] = Panel(one.target, [line], max(score["chance"], score["majority"]), borders)
        for start, value, low, high in zip(
            places["starts"], places["hits"], places["low"], places["high"], strict=True
        ):
            data.append(
                {
                    "property": one.target,
                    "model": one.model,
                    "slice_length": one.series,
                    "start": start,
                    "value": value,
                    "low": low,
                    "high": high,
                    "n_runs": places["n_runs"],
                }
            )
    return list(panels.values()), data


def _when(study: Study, rows: Sequence[Row]) -> dict[str, Any]:
    moments = [r for r in rows if r["experiment"] == "moments"]
    diagonal = [r for r in moments if r["series"] == r["x"]]
    targets = study.facts.targets
    every = (*targets, *study.facts.numbers)
    panels = [p for p in (panel_of(diagonal, t, lambda r: "") for t in every) if p.lines]
    shown = figure(
        "when",
        curve_figures("when", panels, x="snapshot"),
        f"layer_trees trained on one snapshot and tested on the same snapshot of other runs, {n_text(diagonal)}. "
        f"Snapshot 1 is before the first step. {BAND}",
        diagonal,
        finding=findings.when(rows),
    )
    pictures = []
    for i, target in enumerate(every):
        selected = [r for r in moments if r["property"] == target and r["value"] is not None]
        order = sorted({int(r["x"]) for r in selected})
        fields = {(r["series"], r["x"]): Shade(r["value"], baseline(r) or 0.0, above(r)) for r in selected}
        names = [str(m) for m in order]
        pictures.append(
            shade_figure(
                f"moments-{i}",
                names,
                names,
                fields,
                title=target,
                rows_are="trained on snapshot",
                columns_are="tested on snapshot",
                numbered=len(order) <= 8,
            )
        )
    shown += figure(
        "moments",
        pictures,
        f"Trained on one snapshot (rows), tested on another (columns), {n_text(moments)}. {SHADES}",
        moments,
    )
    drawn = weight_map(study.zoo)
    if drawn:
        shown += figure(
            "map",
            figures.map_figures(drawn),
            f"Training paths of {len(drawn.paths)} runs in two principal components of rank-transformed weights, "
            f"{100 * sum(drawn.shares):.0f} % of the variance. Each line is a run from first to last snapshot.",
            [],
        )
    shown += training_paths.entries(study, rows)
    text = "When the traces appear, and how long they stay: one meta-classifier for each moment of training."
    return section("when", "When", text, shown)


_BETWEEN_ZOOS = (
    "Trained on one zoo's training runs, tested on all runs of another that are no kin of them (zoos of one seed share "
    "random streams, run by run), or on the same zoo's test runs"
)


def _transfer(study: Study, rows: Sequence[Row]) -> dict[str, Any]:
    shown = []
    for across in dict.fromkeys(r["experiment"] for r in rows if r["question"] == "transfer"):
        selected = [r for r in rows if r["question"] == "transfer" and r["experiment"] == across]
        if across == "zoo":
            selected = [{**r, "x": f"{r['series']} → {r['x']}"} for r in selected]
            columns_are, caption = "trained on → tested on", _BETWEEN_ZOOS
        else:
            columns_are = f"{words(across)} left out"
            caption = f"Trained on runs without one {words(across)} and tested on runs with it"
        named, columns, fields = shades(selected, study.facts.targets)
        shown += figure(
            f"transfer-{across}",
            [shade_figure(f"transfer-{across}", named, columns, fields, columns_are=columns_are)],
            f"layer_trees. {caption}, {n_text(selected)}. {SHADES}",
            selected,
            finding=findings.transfer(rows, across),
        )
    text = "Whether what is learnt on some networks can be read from others that differ in one choice."
    return section("transfer", "Transfer", text, shown)


def _controls(study: Study, rows: Sequence[Row]) -> dict[str, Any]:
    selected = [r for r in rows if r["question"] == "controls"]
    pictures = []
    for model in dict.fromkeys(r["model"] for r in selected):
        named, columns, fields = shades([r for r in selected if r["model"] == model], study.facts.targets)
        turned = {(b, a): shade for (a, b), shade in fields.items()}
        pictures.append(shade_figure(f"controls-{model}", columns, named, turned, title=model, columns_are="property"))
    shown = figure(
        "controls",
        pictures,
        f"The headline again on one split, with what could explain it trivially taken away; "
        f"{n_text(selected)}. {SHADES}",
        selected,
        finding=findings.controls(rows),
    )
    removed, complete, per_initialization = population.removed_by_filter(study.zoo)
    kept = "; ".join(f"{words(name)} {n - r} of {n}" for name, r, n in per_initialization)
    text = (
        "Biases in front of batch normalisation nearly name the optimizer by their size alone; moving statistics "
        "describe the images and, early on, the number of steps. The convergence filter keeps "
        f"{complete - removed} of {complete} complete runs" + (f" (by initialization: {kept})." if kept else ".")
    )
    return section("controls", "Controls", text, shown)
