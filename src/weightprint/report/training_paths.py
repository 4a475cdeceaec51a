"""What the study's report shows of training paths: where runs go, who their neighbours are, and how well they learn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from weightprint.report import figures, findings
from weightprint.report.curves import curve_figures, panels_of
from weightprint.report.scores import words
from weightprint.report.sections import Figure, figure
from weightprint.report.tables import runs_text, span
from weightprint.study import Study
from weightprint.study.maps import PathMap
from weightprint.study.neighbours import NEAREST, PERPLEXITY
from weightprint.study.run_accuracy import EXPERIMENT, HALVES, MEAN

Row = Mapping[str, Any]


def entries(study: Study, rows: Sequence[Row]) -> list[Figure]:
    """The figures with captions, data and findings, for the section that says when."""
    return [*_embedding(study), *_neighbours(study, rows), *_run_accuracy(study, rows)]


def _embedding(study: Study) -> list[Figure]:
    result = next((study.cells.get(one.cell) for one in study.planned if one.experiment == "embedding"), None)
    if not result or not result.get("paths"):
        return []
    path_map = PathMap(
        [np.array(path) for path in result["paths"]],
        result["properties"],
        "tsne",
        "a t-SNE plane",
        ("t-SNE 1", "t-SNE 2"),
    )
    each = span([len(path) for path in result["paths"]])
    caption = (
        f"Training paths of {len(path_map.paths)} runs with {each} snapshots each by t-SNE (perplexity "
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
    selected = [r for r in rows if r["experiment"] == "neighbours" and r["value"] is not None]
    panels = panels_of(selected, study.facts.targets)
    caption = (
        f"Of each run's {NEAREST} nearest other runs at the same snapshot, the share with the same value, by the "
        f"statistics of all tensors (each as its rank among the runs), n = {runs_text(r['n_runs'] for r in selected)} "
        "runs. Nothing is fitted. The band is the 95 % interval over runs, each drawn with all pairs that it takes "
        "part in, the dashed line the share among all other runs."
    )
    pictures = curve_figures("neighbours", panels, x="snapshot")
    return figure("neighbours", pictures, caption, selected, finding=findings.neighbours(rows))


def _run_accuracy(study: Study, rows: Sequence[Row]) -> list[Figure]:
    means = [r for r in rows if r["experiment"] == EXPERIMENT and r["series"] == MEAN]
    named = [r for r in rows if r["experiment"] == "moments" and r["series"] == r["x"] and r["measure"] == "accuracy"]
    names = {EXPERIMENT: "the runs' test accuracy", "moments": "runs named right"}
    both = [*named, *means]
    panels = panels_of(both, study.facts.targets, lambda r: names[r["experiment"]])
    panels = [p for p in panels if len(p.lines) == 2]
    caption = (
        "How often a choice is named right at a snapshot, beside the mean test accuracy that the same runs have "
        f"reached by then, n = {runs_text(r['n_runs'] for r in means)} test runs. Bands are 95 % intervals over runs, "
        "the dashed line the larger of chance and majority for naming. That both rise does not mean that one makes the "
        "other rise."
    )
    later = [
        r for r in rows if r["experiment"] == EXPERIMENT and r["series"] == HALVES[2] and r["model"] == "layer_trees"
    ]
    if later:
        steps_text = [f"{words(r['property'])} {findings.signed(r)}" for r in later]
        caption += (
            " In the later half, runs above the median test accuracy of their data set are named more often than those "
            f"below by so many points, with 95 % intervals: {'; '.join(steps_text)}."
        )
    data = [r for r in rows if r["experiment"] == EXPERIMENT]
    pictures = curve_figures("run-accuracy", panels, x="snapshot")
    return figure("run-accuracy", pictures, caption, data, finding=findings.run_accuracy(rows))
