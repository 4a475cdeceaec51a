"""What the study's report shows of attribution: which tensors a verdict rests on, and which weights of filters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from weightprint.report import findings
from weightprint.report.figures import Picture
from weightprint.report.filters import filter_figure
from weightprint.report.panels import Shade, shade_figure
from weightprint.report.scores import enumeration, words
from weightprint.report.tables import runs_text
from weightprint.study import Study
from weightprint.study.attribution import DELETED_WEIGHTS, KIND

Row = Mapping[str, Any]

LEAST = 0.005
"""Shares that round to 0 % are not written."""

READABLE = 1 / 3
"""Correlation of two halves of the sampling above which filters are drawn: then more than half of the variance of what
is drawn, the mean of both, is no noise (Spearman and Brown: 2r / (1 + r) > 1/2)."""

MOST_EXAMPLES = 3


def entries(study: Study, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The figures with captions, data and findings, for the section that says where."""
    own = [r for r in rows if r["experiment"] == KIND and r["value"] is not None]
    pictures, data, told = _filters(study)
    shares = [r for r in own if r["measure"] == "share of probability"]
    if not shares:
        return []
    finding = " ".join(filter(None, [findings.attribution(own), "" if pictures else told]))
    found = [_entry("attribution", [_tensors(study, shares)], _tensor_caption(shares), own, finding)]
    if pictures:
        finding = " ".join(filter(None, [findings.single_weights(own, DELETED_WEIGHTS), told]))
        found.append(_entry("filters", pictures, FILTER_CAPTION, data, finding))
    return found


def _tensors(study: Study, shares: Sequence[Row]) -> Picture | None:
    large = [r for r in shares if abs(r["value"]) >= LEAST]
    return shade_figure(
        "attribution",
        [name for name in study.facts.tensors if any(r["x"] == name for r in large)],
        [target for target in study.facts.targets if any(r["property"] == target for r in shares)],
        {(r["x"], r["property"]): Shade(r["value"], 0.0, (r["low"] or 0) > 0) for r in large},
        title="share, points",
        rows_are="tensor",
        columns_are="property",
    )


def _tensor_caption(shares: Sequence[Row]) -> str:
    return (
        "Which tensors a verdict of layer_trees rests on, in the last snapshot: the probability of the right class, "
        "less that of a training run of another class (a reference), shared out among the tensors by Shapley values, "
        f"in percentage points; means over {runs_text(r['n_runs'] for r in shares)} test networks that were named "
        "right. Bold where the whole 95 % interval over networks lies above 0; below half a point nothing is written. "
        "A mixture of two networks is none that training makes: shares tell what the meta-classifier leans on, and a "
        "tensor without a share may tell the same as one that has it."
    )


FILTER_CAPTION = (
    "Weights of the first convolution's kernel beside what each of them adds to the verdict (the log odds of the right "
    "class) of a layer_trees that reads this kernel alone, in test networks that it named right. Rows are filters, "
    "columns the input's channels; blue is positive, orange negative; either half has a scale of its own, full colour "
    "from the 98 % quantile on. Shares are sampled and noisy: the colour of one weight alone means little."
)


def _filters(study: Study) -> tuple[list[Picture], list[dict[str, Any]], str]:
    """Pictures, their data, and what has to be said of those that are there and those that are not."""
    pictures, data = [], []
    drawn: list[str] = []
    noisy: list[str] = []
    unnamed: list[str] = []
    for one in study.planned:
        result = (study.cells.get(one.cell) or {}) if one.experiment == KIND else {}
        if not result.get("kernel_named"):
            continue
        if not result["examples"]:
            unnamed.append(words(one.target))
            continue
        readable = [e for e in result["examples"] if e["agreement"] > READABLE]
        for examples, names in ((readable, drawn), ([e for e in result["examples"] if e not in readable], noisy)):
            if examples:
                agreements = ", ".join(f"{e['agreement']:.2f}" for e in examples)
                names.append(f"{words(one.target)} ({agreements})")
        for i, example in enumerate(readable[:MOST_EXAMPLES]):
            pictures.append(filter_figure(f"filters-{one.target}-{i}", one.target, example))
            data += _weights(one.target, example)
    halves = "two halves of the sampling, with other references, correlate"
    sentences = [
        f"Of the weights of the networks shown, {halves} at {enumeration(drawn)}." if drawn else "",
        f"Single weights {'of other networks ' if drawn else ''}carry no readable share of the verdict on "
        f"{enumeration(noisy)}: there "
        f"{halves} too little to be drawn."
        if noisy
        else "",
        f"Not named from the first kernel alone: {enumeration(unnamed)}." if unnamed else "",
    ]
    return pictures, data, " ".join(filter(None, sentences))


def _weights(target: str, example: Mapping[str, Any]) -> list[dict[str, Any]]:
    shape = tuple(example["shape"])
    known = {"property": target, "run": example["run"], "class": example["class"]}
    return [
        {
            **known,
            **dict(
                zip(("filter", "channel", "row", "column"), (int(i) for i in np.unravel_index(k, shape)), strict=True)
            ),
            "weight": f"{weight:.4g}",
            "share": f"{share:.3g}",
        }
        for k, (weight, share) in enumerate(zip(example["weights"], example["shares"], strict=True))
    ]


def _entry(
    name: str, pictures: Sequence[Picture | None], caption: str, rows: Sequence[Row], finding: str
) -> dict[str, Any]:
    return {"name": name, "pictures": pictures, "caption": caption, "rows": rows, "finding": finding}
