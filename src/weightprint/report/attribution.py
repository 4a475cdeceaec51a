"""What the study's report shows of attribution: which layers and tensors a verdict rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from weightprint.report import findings
from weightprint.report.figures import Shade, shade_figure
from weightprint.report.scores import in_order
from weightprint.report.sections import Figure, figure
from weightprint.report.tables import runs_text
from weightprint.study import Study
from weightprint.study.attribution import KIND, SHARE

Row = Mapping[str, Any]

LEAST = 0.005
"""Shares that round to 0 % are not written."""


def entries(study: Study, rows: Sequence[Row]) -> list[Figure]:
    """The figure with caption, data and finding, for the section that says where."""
    selected = [r for r in rows if r["experiment"] == KIND and r["value"] is not None]
    shares = [r for r in selected if r["measure"] == SHARE]
    large = [r for r in shares if abs(r["value"]) >= LEAST]
    if not large:
        return []
    picture = shade_figure(
        "attribution",
        [name for name in in_order(r["x"] for r in shares) if any(r["x"] == name for r in large)],
        [target for target in study.facts.targets if any(r["property"] == target for r in shares)],
        {(r["x"], r["property"]): Shade(r["value"], 0.0, (r["low"] or 0) > 0) for r in large},
        title="share, %",
        rows_are="layer and tensor",
        columns_are="property",
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
