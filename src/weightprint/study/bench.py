"""The benchmark: meta-classifiers × properties on one zoo, over several splits. What is computed stays computed.

Every fit is a cell: a small file in `OUT/cells` with its evaluation and what was answered for each test run, written
whole the moment it is done. All that is reported is made from cells.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from statistics import fmean
from typing import Any

import polars as pl

from weightprint.errors import CorruptFile, MetaError, check_known, did_you_mean
from weightprint.evaluation.answers import REGRESSION
from weightprint.evaluation.comparison import difference
from weightprint.evaluation.scores import MEASURES, scores, scores_of_logarithms
from weightprint.features.table import features_named
from weightprint.meta.models import MODELS
from weightprint.meta.targets import MOST_CLASSES, check_name, common_values
from weightprint.meta.view import LATER_HALF, WHOLE, Snapshots
from weightprint.study.bench_fits import Progress, Row, compute_rows, made_with
from weightprint.study.cells import Cells
from weightprint.study.plans import ACCURACY
from weightprint.study.table import fingerprint
from weightprint.study.trial import OWN_FEATURES, Trial
from weightprint.zoo import Zoo

BASELINES = ("majority", "shapes", "fields")
"""Models that read no weights; always among the rows."""

COLUMNS = {
    "property": "what is predicted",
    "model": "the meta-classifier",
    "slice_length": "weights read at a time, or all for whole vectors",
    "kind": "classification or regression",
    "measure": "accuracy (per run), accuracy_per_slice, accuracy_per_snapshot, r2, mae, kendall_tau or tau_ceiling",
    "value": "the measure; null where it is not defined or the row has a reason",
    "low": "lower end of its 95 % interval over runs",
    "high": "upper end",
    "chance": "1 / number of classes; null for a regression",
    "majority": "share of the most frequent class among the test runs; null for a regression",
    "reference": "the model, with its slice length, that the difference is taken to; null without one",
    "difference": "this model's measure minus the reference's, on the runs that both were judged by",
    "difference_low": "lower end of its paired 95 % interval over runs",
    "difference_high": "upper end",
    "n_runs": "test runs, each counted once",
    "n_splits": "splits that they are test runs in",
    "n_train_runs": "runs fitted on; of several splits the fewest",
    "fit_seconds": "time of a fit once its features are in the store; of several splits the mean",
    "max_seconds": "the time that a fit was allowed; null for no limit",
    "capped": "whether that limit ended a fit",
    "reason": "why the model could not be fitted or tested; null if it could",
}
"""The columns of `results.parquet`: a row per property, model, slice length and measure."""

OF_ONE_SPLIT = ("per_class", "train_per_class")
"""Parts of an evaluation document that are not pooled."""

Model = str | tuple[str, Any]


def bench(
    zoo: Zoo | str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    models: Sequence[Model] | None = None,
    properties: Sequence[str] | None = None,
    slice_lengths: Sequence[int | str] = (5000, WHOLE),
    snapshots: Snapshots = LATER_HALF,
    converged: bool = True,
    splits: int = 1,
    max_seconds: float | None = None,
    slices: int = 10,
    reference: str = "dmc",
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    device: str = "cpu",
    workers: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Fit every model for every property in every split, and keep the results in the folder `out`.

    models:        names of `weightprint.meta.MODELS`, and (name, estimator) for an estimator of yours with fit and
                   predict, see `weightprint.meta.learners.estimator.Estimator`; all models by default. The baselines
                   are always among them
    properties:    by default the choices that vary among the runs, and test_accuracy
    slice_lengths: what is read at a time; "all" for whole vectors
    snapshots:     that are read: "later-half" of each run's, "all", or a first and a last number from 1
    converged:     leave out runs whose test accuracy is not above chance
    splits:        fits on the training runs of the splits 0 … splits − 1; protocol: headlines over at least five
    max_seconds:   of processor time, ends a fit early; said in its row
    slices:        per snapshot, averaged when a run is judged
    reference:     the model that paired differences are taken to
    settings:      of a model what differs from its defaults, such as {"dmc": {"epochs": 10}}
    workers:       processes that read runs and fit models side by side, all cores when None; torch models and
                   estimators of yours are fitted one at a time, with all threads
    progress:      called before each fit with fits done, fits to do, what comes, and the seconds left, None at first

    Writes `cells/`; the same call computes what is missing and may be interrupted at any moment. What is read in runs
    goes to the features' store beside the zoo, before the first fit. What a model cannot do is a row with the reason.

    Returns a JSON-ready document: "results" (evaluation documents with "seconds" and "difference"), "left_out" (the
    reasons), "computed" (fits made by this call) and the settings. Raises MetaError for unknown models, properties or
    settings, and when nothing at all can be computed.
    """
    began = time.monotonic()
    zoo = zoo if isinstance(zoo, Zoo) else Zoo(zoo)
    if splits < 1:
        raise MetaError(f"splits must be from 1 up, not {splits}")
    chosen = _models(models)
    if reference not in chosen and reference != "dmc":
        raise MetaError(f"the reference {reference!r} is not among the models", hint=did_you_mean(reference, chosen))
    targets = _properties(zoo, properties)
    common = {"snapshots": snapshots, "converged": converged, "max_seconds": max_seconds, "device": device}
    rows = _plan(chosen, targets, slice_lengths, common, settings or {})
    folder = Path(out)
    if folder.is_file():
        raise MetaError(f"{folder} is a file, not a folder for results", hint="choose another path")
    cells = Cells(folder / "cells", fingerprint(zoo))
    computed = compute_rows(zoo, rows, cells, list(range(splits)), slices, workers or os.cpu_count() or 1, progress)
    if not any(row.documents for row in rows):
        raise MetaError(f"nothing could be computed: {rows[0].reason}", hint="see the settings, such as --snapshots")
    left_out = [
        {"property": t.target, "model": t.model, "slice_length": t.slice_length, "reason": r.reason}
        for r, t in ((row, row.trial) for row in rows)
        if not r.documents
    ]
    return {
        "results": _documents(rows, reference),
        "left_out": left_out,
        "zoo": str(zoo.path),
        "runs": len(zoo),
        "n_splits": splits,
        "max_seconds": max_seconds,
        "reference": reference if reference in chosen else None,
        "made_with": made_with(),
        "computed": computed,
        "seconds": time.monotonic() - began,
    }


def _models(models: Sequence[Model] | None) -> dict[str, Any]:
    """Name → the user's estimator, or None for a model of ours; baselines first."""
    chosen: dict[str, Any] = dict.fromkeys(BASELINES)
    for model in MODELS if models is None else models:
        name, estimator = (model, None) if isinstance(model, str) else model
        if estimator is None:
            check_known("model", name, MODELS)
        elif name in MODELS or name in chosen:
            raise MetaError(f"there is a model {name!r} already", hint="give the estimator another name")
        chosen[name] = estimator
    return chosen


def _properties(zoo: Zoo, names: Sequence[str] | None) -> list[str]:
    """The properties to predict; by default those that at least half of the complete runs have, with two values or
    more."""
    if names is not None:
        for name in names:
            check_name(name, zoo)
        return list(dict.fromkeys(names))
    known = []
    for run in zoo.select(status="complete"):
        with suppress(CorruptFile):  # reported where the runs are chosen
            known += [run] if run.properties else []
    found = [name for name, values in common_values(known).items() if _varies(values)]
    measured = any(ACCURACY in row for run in known for row in run.measurements[:1])
    return found + [ACCURACY] * (measured and ACCURACY not in found)


def _varies(values: Sequence[Any]) -> bool:
    """Whether there is something to tell apart, and not a text for nearly each run, such as its name."""
    distinct = set(values)
    return len(distinct) > 1 and (len(distinct) <= MOST_CLASSES or not isinstance(values[0], str))


def _plan(
    models: Mapping[str, Any],
    targets: Sequence[str],
    slice_lengths: Sequence[int | str],
    common: Mapping[str, Any],
    settings: Mapping[str, Mapping[str, Any]],
) -> list[Row]:
    """All rows, those of one model and slice length together. Checks settings; what a model cannot read is a reason."""
    for name in settings:
        if name not in models and name not in MODELS:
            raise MetaError(f"settings for an unknown model {name!r}", hint=did_you_mean(name, [*models, *MODELS]))
    rows = []
    for name, estimator in models.items():
        reads = MODELS[name].reads if estimator is None else features_named(OWN_FEATURES)
        for length in dict.fromkeys(slice_lengths) if reads.weights else [WHOLE]:
            for target in targets:
                row = Row(_trial(name, target, estimator, {**common, "slice_length": length, **settings.get(name, {})}))
                if (length == WHOLE and not reads.whole) or (length != WHOLE and not reads.slices):
                    row.reason = f"{name} reads {'slices' if length == WHOLE else 'whole vectors'} alone"
                else:
                    row.trial.build()
                rows.append(row)
    return rows


def _trial(model: str, target: str, estimator: Any, settings: Mapping[str, Any]) -> Trial:
    known = {f.name for f in fields(Trial)}
    names = {"snapshots": "train_snapshots"}
    given = {names.get(name, name): value for name, value in settings.items()}
    others = tuple((name, value) for name, value in given.items() if name not in known or name == "iterations")
    given = {name: value for name, value in given.items() if name in known and name != "iterations"}
    return Trial(target, model=model, estimator=estimator, settings=others, **given)


def _documents(rows: Sequence[Row], reference: str) -> list[dict[str, Any]]:
    """The evaluation document of every row that has one, property by property, with the difference to the reference:
    the one with the same slice length, or the first."""
    documents = []
    for target in dict.fromkeys(row.trial.target for row in rows):
        of_property = [row for row in rows if row.trial.target == target and row.documents]
        rivals = [row for row in of_property if row.trial.model == reference]
        for row in of_property:
            answers = pl.concat(row.answers)
            rival = next(
                (r for r in rivals if r.trial.slice_length == row.trial.slice_length), rivals[0] if rivals else None
            )
            pair = difference(answers, pl.concat(rival.answers)) if rival is not None and rival is not row else None
            if pair is not None and rival is not None:
                pair = {"reference": rival.trial.label, **pair}
            documents.append({**pooled(row.documents, answers), "difference": pair, "reason": row.reason or None})
    return documents


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
        "fit_seconds": fmean(d["fit_seconds"] for d in documents),
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


def table(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of `results.parquet` from what `bench` returns."""
    rows = []
    for document in result["results"]:
        pair = document["difference"] or {}
        shared = {name: document.get(name) for name in COLUMNS}
        shared |= {"reference": pair.get("reference"), "difference": None}
        for measure, value, interval, gap in _measures(document, pair):
            low, high = interval or (None, None)
            gap_low, gap_high = gap.get("interval") or (None, None)
            ends = {"low": low, "high": high, "difference_low": gap_low, "difference_high": gap_high}
            known = {"measure": measure, "value": value, "difference": gap.get("difference")}
            rows.append({**shared, **known, **ends})
    rows += [{**dict.fromkeys(COLUMNS), **left_out} for left_out in result["left_out"]]
    return [{**row, "slice_length": str(row["slice_length"])} for row in rows]


def _measures(
    document: Mapping[str, Any], pair: Mapping[str, Any]
) -> Iterable[tuple[str, float | None, Sequence[float] | None, Mapping[str, Any]]]:
    """Each measure of a document: its name, value and interval, and its difference to the reference."""
    per_run = document["per_run"]
    if document["kind"] == REGRESSION:
        gaps = {"r2": pair.get("r2", {}), "mae": pair}
        for name in MEASURES:
            yield name, per_run[name]["value"], per_run[name]["interval"], gaps.get(name, {})
        return
    yield "accuracy", per_run["accuracy"], per_run["interval"], pair
    for unit in ("per_slice", "per_snapshot"):
        if unit in document:
            yield f"accuracy_{unit}", document[unit]["accuracy"], document[unit]["interval"], {}
