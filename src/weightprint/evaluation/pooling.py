"""Pooling: one evaluation document for several splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from weightprint.evaluation.scores import scores, scores_of_logarithms

OF_ONE_SPLIT = ("per_class", "train_per_class")
"""Parts of an evaluation document that are not pooled."""


def pooled(documents: Sequence[Mapping[str, Any]], answers: pl.DataFrame) -> dict[str, Any]:
    """One evaluation document for all splits of one model.

    documents: of each split, as `weightprint.meta.MetaClassifier.evaluate` makes them
    answers:   of all splits, which come in the documents' order

    With one split it is that split's, with "n_splits" and "split_seeds" added. With several, scores are those of
    `weightprint.evaluation.scores.scores`, in which each run counts once, and "splits" has those of each split.
    """
    seeds = answers["split"].unique(maintain_order=True).to_list()
    first = dict(documents[0])
    shared: dict[str, Any] = {"n_splits": len(documents), "split_seeds": seeds}
    if len(documents) == 1:
        return {**first, **shared}
    reasons = sorted({reason for document in documents for reason in document["excluded"]})
    document = {name: value for name, value in first.items() if name not in OF_ONE_SPLIT}
    document |= {
        **shared,
        "n_runs": answers["run"].n_unique(),
        "n_train_runs": min(d["n_train_runs"] for d in documents),
        "fit_seconds": float(np.mean([d["fit_seconds"] for d in documents])),
        "seconds": sum(d["seconds"] for d in documents),
        "capped": any(d["capped"] for d in documents),
        "excluded": {reason: max(d["excluded"].get(reason, 0) for d in documents) for reason in reasons},
        "splits": [
            {"split_seed": seed, "n_runs": d["n_runs"], "per_run": d["per_run"]}
            for seed, d in zip(seeds, documents, strict=True)
        ],
    }
    document |= scores(answers)
    if "per_run_log10" in first:
        document["per_run_log10"] = scores_of_logarithms(answers)
    return document
