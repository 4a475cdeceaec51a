"""Pooling: what a model said of each test run, and one evaluation document for several splits.

The unit is the run. In several splits a run may be a test run repeatedly; it counts once, with the mean over these
splits, and intervals draw runs.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from weightprint.meta import evaluation
from weightprint.meta.base import MetaClassifier, Reading
from weightprint.meta.comparison import Tally, compare
from weightprint.meta.targets import CLASSIFICATION, Target

OF_ONE_SPLIT = ("per_class", "train_per_class", "per_run_log10")
"""Parts of an evaluation document that are not pooled."""


@dataclass(frozen=True)
class Split:
    """One model's answers in one split; JSON-ready.

    seed:     of the split
    document: as `MetaClassifier.evaluate` makes it
    answers:  per test run what `answers` found
    """

    seed: int
    document: dict[str, Any]
    answers: list[dict[str, Any]]


def answers(meta: MetaClassifier, readings: Sequence[Reading]) -> list[dict[str, Any]]:
    """Per run its identity, "truth" and "predicted" label or value; of a classification also "probabilities", in the
    order of the document's classes, and how many "readings" (slices or snapshots) there were and named it "right"."""
    found = []
    for reading in readings:
        answer: dict[str, Any] = {"run": reading.run.identity}
        if meta.target_.kind == CLASSIFICATION:
            truth, named = reading.labels[0], reading.outputs.argmax(axis=2)
            answer |= {
                "truth": truth,
                "predicted": meta.classes_[int(reading.mean.argmax())],
                "probabilities": reading.mean.tolist(),
                "right": int((named == meta.target_.encode(truth)).sum()),
                "readings": named.size,
            }
        else:
            answer |= {"truth": float(np.mean(reading.labels)), "predicted": float(reading.mean[0])}
        found.append(answer)
    return found


def pooled(splits: Sequence[Split]) -> dict[str, Any]:
    """One evaluation document for all splits of one model. With one split it is that split's, with "n_splits" added.

    Accuracies, errors and R² stand on each run's mean over the splits that tested it, with a bootstrap over runs;
    Kendall's τ and its ceiling are means over splits. "splits" has the value of each.
    """
    documents = [split.document for split in splits]
    first = documents[0]
    shared: dict[str, Any] = {"n_splits": len(splits), "split_seeds": [split.seed for split in splits]}
    if len(splits) == 1:
        return {**first, **shared}
    classification = first["kind"] == CLASSIFICATION
    left_out = Counter({reason for document in documents for reason in document["excluded"]})
    document = {name: value for name, value in first.items() if name not in OF_ONE_SPLIT}
    document |= {
        **shared,
        "n_runs": len({answer["run"] for split in splits for answer in split.answers}),
        "n_train_runs": min(d["n_train_runs"] for d in documents),
        "fit_seconds": float(np.mean([d["fit_seconds"] for d in documents])),
        "seconds": sum(d["seconds"] for d in documents),
        "capped": any(d["capped"] for d in documents),
        "excluded": {reason: max(d["excluded"].get(reason, 0) for d in documents) for reason in sorted(left_out)},
        "splits": [
            {"split_seed": s.seed, "n_runs": s.document["n_runs"], "per_run": s.document["per_run"]} for s in splits
        ],
    }
    return {**document, **(_pooled_classes(splits) if classification else _pooled_values(splits))}


def difference(model: Sequence[Split], reference: Sequence[Split]) -> dict[str, Any] | None:
    """A model's score minus the reference's on the runs and splits that judged both, with its paired interval.

    "measure" is the accuracy, or the mean absolute error of a regression; the rest is a pair of
    `weightprint.meta.compare`. None when no run was judged by both.
    """
    theirs = {(split.seed, answer["run"]): answer for split in reference for answer in split.answers}
    ours = {(split.seed, answer["run"]): answer for split in model for answer in split.answers}
    both = sorted(ours.keys() & theirs.keys())
    if not both:
        return None
    document = model[0].document
    tallies = {
        name: _tally(document, [(run, by_run[seed, run]) for seed, run in both])
        for name, by_run in (("model", ours), ("reference", theirs))
    }
    found = compare(tallies)
    pair = {name: value for name, value in found["pairs"][0].items() if name not in ("a", "b")}
    return {"measure": found["measure"], "n_runs": found["n_runs"], **pair}


def _tally(document: dict[str, Any], found: Sequence[tuple[str, dict[str, Any]]]) -> Tally:
    """Per run the means over its answers."""
    per_run: dict[str, list[dict[str, Any]]] = {}
    for run, answer in found:
        per_run.setdefault(run, []).append(answer)
    runs = tuple(per_run)
    classification = document["kind"] == CLASSIFICATION
    reads = "slice" if document["slices"] else "snapshot"
    target = Target(document["property"], document["kind"], tuple(document.get("classes", ())))
    if classification:
        score = [np.mean([a["predicted"] == a["truth"] for a in own]) for own in per_run.values()]
        right = [np.mean([a["right"] for a in own]) for own in per_run.values()]
        readings = [np.mean([a["readings"] for a in own]) for own in per_run.values()]
        none = np.zeros(len(runs))
        return Tally(target, reads, runs, none, np.array(score), none, np.array(right), np.array(readings))
    truth = np.array([own[0]["truth"] for own in per_run.values()])
    errors = [np.array([a["predicted"] - a["truth"] for a in own]) for own in per_run.values()]
    absolute = np.array([np.abs(e).mean() for e in errors])
    squared = np.array([(e**2).mean() for e in errors])
    none = np.zeros(len(runs))
    return Tally(target, reads, runs, truth, absolute, squared, none, none)


def _pooled_classes(splits: Sequence[Split]) -> dict[str, Any]:
    found = [(answer["run"], answer) for split in splits for answer in split.answers]
    classes = sorted({name for split in splits for name in split.document["classes"]})
    truths = Counter(answer["truth"] for _, answer in found)
    confusion = np.zeros((len(classes), len(classes)), np.int64)
    for _, answer in found:
        confusion[classes.index(answer["truth"]), classes.index(answer["predicted"])] += 1
    tally = _tally(splits[0].document, found)
    n = len(tally.runs)
    return {
        "classes": classes,
        "class_counts": [truths[name] for name in classes],
        "chance": 1 / len(classes),
        "majority": max(truths.values()) / len(found),
        "per_run": {
            "accuracy": float(tally.score.mean()),
            "interval": _share_interval(tally.score, np.ones(n)),
            "n": n,
        },
        f"per_{tally.reads}": {
            "accuracy": float(tally.hits.sum() / tally.totals.sum()),
            "interval": _share_interval(tally.hits, tally.totals),
            "n_runs": n,
        },
        "confusion": confusion.tolist(),
    }


def _share_interval(hits: npt.NDArray, totals: npt.NDArray) -> list[float]:
    """The bootstrap's, or Wilson's where all runs agree and nothing can vary."""
    found = evaluation.bootstrap_share(hits, totals)
    if found is None or found[0] == found[1]:
        found = evaluation.wilson(float((hits / totals).sum()), len(hits))
    return list(found)


def _pooled_values(splits: Sequence[Split]) -> dict[str, Any]:
    tally = _tally(splits[0].document, [(answer["run"], answer) for split in splits for answer in split.answers])
    (mean_errors,) = compare({"model": tally})["models"]
    per_run = {
        "n": len(tally.runs),
        "r2": mean_errors["r2"],
        "mae": {"value": mean_errors["value"], "interval": mean_errors["interval"]},
    }
    for name in ("kendall_tau", "tau_ceiling"):
        values = [split.document["per_run"][name]["value"] for split in splits]
        defined = [value for value in values if value is not None]
        per_run[name] = {"value": float(np.mean(defined)) if defined else None, "interval": None}
    per_run["kendall_tau"]["interval"] = _tau_interval(splits, tally.runs)
    return {"per_run": per_run}


def _tau_interval(splits: Sequence[Split], runs: tuple[str, ...]) -> list[float] | None:
    """Of the mean over splits of Kendall's τ-b, when runs are drawn with replacement; a run drawn twice makes no pair
    with itself."""
    place = {run: i for i, run in enumerate(runs)}

    def mean_tau(counts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        taus = [_tau(counts[:, [place[a["run"]] for a in s.answers]], s.answers) for s in splits]
        return np.mean(taus, axis=0)

    return evaluation.listed(evaluation.bootstrap(mean_tau, len(runs)))


def _tau(counts: npt.NDArray[np.float64], found: Sequence[dict[str, Any]]) -> npt.NDArray[np.float64]:
    """τ-b per resample [B]: concordant minus discordant pairs over √(pairs untied in truth · untied in prediction)."""
    truth, predicted = (np.array([answer[name] for answer in found]) for name in ("truth", "predicted"))
    signs = [np.sign(values[:, None] - values) for values in (truth, predicted)]

    def weighed(pairs: npt.NDArray) -> npt.NDArray[np.float64]:
        return ((counts @ pairs) * counts).sum(axis=1)

    untied = weighed(np.abs(signs[0])) * weighed(np.abs(signs[1]))
    defined = untied > 0
    return np.where(defined, weighed(signs[0] * signs[1]) / np.sqrt(np.where(defined, untied, 1)), math.nan)
