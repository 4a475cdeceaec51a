"""Attribution: which layers, and which tensors of them, a verdict on a network rests on.

`layer_trees`, fitted on the training runs, names a property of test networks. TreeSHAP gives each of its columns an
exact Shapley value: its share in the log odds of the right class against the other classes. The columns of a layer's
role and kind of tensor ("conv first: kernel") are added up.

What Shapley values share out is what this meta-classifier makes of columns that often tell the same: a tensor without
a share may tell the same as one that has it. Single weights get none: columns are statistics of many weights.

Two checks. Columns that are much attributed are replaced by what training runs have in the middle, and the verdict
has to suffer more than when as many others are. And shares are computed again by meta-classifiers of either half of
the training runs, and have to agree.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from weightprint.errors import MetaError
from weightprint.evaluation.claims import above
from weightprint.evaluation.scores import score
from weightprint.features.table import Table
from weightprint.meta.answers import answers_of
from weightprint.meta.estimator import MetaClassifier
from weightprint.meta.learners.base import deal_folds
from weightprint.meta.learners.boosting import FittedTrees
from weightprint.meta.targets import CLASSIFICATION
from weightprint.meta.view import LAST, LATER_HALF, Snapshots, choose
from weightprint.seeds import seed_from_hash
from weightprint.study.budgets import Budget
from weightprint.study.cells import Cell, explained
from weightprint.study.plans import CURVE_ITERATIONS, Facts, Planned, versions_of
from weightprint.study.table import FeatureTable, StudiedRun
from weightprint.study.trial import Trial

KIND = "attribution"
MODEL = "layer_trees"

SHARE = "share of log odds"
"""The measure of a group's row."""

DELETED = 10
"""So many of a network's most attributed columns are replaced, to see whether the verdict rests on them."""
RANDOM_DELETIONS = 5
"""Random choices of as many, for comparison, among the columns by which some tested network was judged."""

AGREEMENT = "agreement of two halves"
DELETION = ("most attributed replaced", "random ones replaced", "difference")
CHECKS = (AGREEMENT, *DELETION)

TENSORS = {"variance": "moving_variance", "mean": "moving_mean", "channels": "moving_mean", "outgoing": "next kernel"}
"""The first word of a quantity's name → the kind of tensor that it is mostly about, where it is not that word."""

OVER_LAYERS = ("mean", "least", "largest")
"""Stand for a role where a quantity is summed up over layers."""


@dataclass(frozen=True)
class Attribution:
    """What is attributed.

    target:     a property that is classified
    snapshots:  that the meta-classifier is fitted on; the last one of each test network is attributed
    split_seed: of the split
    iterations: of the trees
    """

    target: str
    snapshots: Snapshots = LATER_HALF
    split_seed: int = 0
    iterations: int = CURVE_ITERATIONS


def plan(facts: Facts, budget: Budget) -> list[Planned]:
    """One result for each property."""
    found = []
    for target in facts.targets:
        settings = Attribution(target)
        cell = Cell(KIND, asdict(settings), 12.0, versions_of(MODEL), settings)
        found.append(Planned("where", KIND, target, MODEL, "", ("all",), cell))
    return found


def group_of(column: str) -> str:
    """What a column of anatomy is about: role and kind of tensor ("conv first: kernel"), "all layers: kernel" where it
    sums up layers, "shape" for what needs no weights."""
    role, _, quantity = column.partition(": ")
    if not quantity:
        return role.partition("/")[0]
    first = re.split(r"[.~]", quantity)[0]
    return f"{'all layers' if role in OVER_LAYERS else role}: {TENSORS.get(first, first)}"


@explained
def run_attribution(table: FeatureTable, settings: Attribution) -> dict[str, Any]:
    """{"scores", "xs": what each of them is about, "networks", "seconds"}, JSON-ready; {"reason": text} when it cannot
    be done.

    table: of anatomy

    scores:   one per group of columns: its part in the log odds divided by all parts' absolute sum, so that parts
              against the right class count as negative; then CHECKS. Means over the test networks that are named
              right, with 95 % intervals over networks
    networks: of each {"run", "class", "log_odds": of the right class, "base": what every network starts from,
              "parts" of the log odds in the order of the groups, "agreement": None where one half of the training
              runs lacks the class}; parts and base sum up to the log odds
    """
    trial = Trial(
        settings.target,
        settings.snapshots,
        model=MODEL,
        split_seeds=(settings.split_seed,),
        iterations=settings.iterations,
    )
    train, _ = trial.split(table.readable(), settings.split_seed)
    members, _ = choose(train, trial.build().view, [settings.target])
    place = {run.identity: i for i, run in enumerate(table.runs)}
    table = distinct(table, [place[member.run.identity] for member in members])
    train, test = trial.split(table.readable(), settings.split_seed)
    meta = trial.build().fit(train)
    fitted_on = set(meta.train_runs_)
    training = sorted((run for run in train if run.identity in fitted_on), key=lambda run: run.identity)
    target = meta.target_
    if target.kind != CLASSIFICATION:
        raise MetaError(f"{settings.target} is a number: attribution is of classes")
    readings, _ = meta.read_unseen(test, snapshots=LAST)
    right = [reading for reading in readings if reading.mean.argmax() == target.encode(reading.labels[0])]
    if len(right) < 2 or not above(score(answers_of(meta, readings))):
        raise MetaError(f"{settings.target} is not named above chance and majority: there is nothing to attribute")
    named = [table.runs[place[reading.run.identity]] for reading in right]
    rows = np.array([table.features[place[run.identity], run.snapshots - 1] for run in named])
    truth = np.array([target.encode(reading.labels[0]) for reading in right], np.intp)
    groups = tuple(dict.fromkeys(map(group_of, table.names)))
    number = np.array([groups.index(group_of(name)) for name in table.names])
    values, base = _log_odds(meta, rows, table.names, truth)
    parts = _grouped(values, number, len(groups))
    shares = parts / np.maximum(np.abs(parts).sum(axis=1, keepdims=True), 1e-300)
    strata = [run.properties[settings.target] for run in training]
    half = deal_folds(
        strata, 2, np.random.default_rng(seed_from_hash("attribution", settings.target, settings.split_seed))
    )
    halves, known = [], np.ones(len(named), bool)
    for side in (0, 1):
        of_half = trial.build().fit([run for run, h in zip(training, half, strict=True) if h == side])
        of_named = [of_half.target_.encode(reading.labels[0]) for reading in right]
        known &= [number is not None for number in of_named]  # a rare class may have runs in one half alone
        odds, _ = _log_odds(of_half, rows, table.names, np.array([n or 0 for n in of_named], np.intp))
        halves.append(_grouped(odds, number, len(groups)))
    agreements = [_correlation(one, other) if both else None for one, other, both in zip(*halves, known, strict=True)]
    falls = _falls(meta, table, training, rows, truth, values, settings)
    scores = [{**_mean(column), "measure": SHARE} for column in shares.T]
    scores.append({**_mean(np.array([a for a in agreements if a is not None])), "measure": "correlation"})
    scores += [{**_mean(column), "measure": "fall of probability"} for column in falls.T]
    return {
        "xs": [*groups, *CHECKS],
        "scores": [{**score, "n_train_runs": len(training)} for score in scores],
        "networks": [
            {
                "run": run.number,
                "class": run.properties[settings.target],
                "log_odds": float(parts[i].sum() + base[i]),
                "base": float(base[i]),
                "parts": parts[i].tolist(),
                "agreement": agreements[i],
            }
            for i, run in enumerate(named)
        ],
    }


def distinct(table: FeatureTable, training: Sequence[int]) -> FeatureTable:
    """The table without columns that repeat an earlier one in all training runs, which are given by their places."""
    rows = table.features[list(training)]
    first: dict[bytes, int] = {}
    for i in range(rows.shape[2]):
        first.setdefault(np.ascontiguousarray(rows[:, :, i]).tobytes(), i)
    kept = sorted(first.values())
    names = tuple(table.names[i] for i in kept)
    return FeatureTable(table.features[:, :, kept], names, table.tensors, table.runs)


def _log_odds(
    meta: MetaClassifier, rows: npt.NDArray[np.float32], names: tuple[str, ...], truth: npt.NDArray[np.intp]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Each column's part in the log odds of the right class against the others' geometric mean [n, F], and what every
    network of the class starts from [n]."""
    fitted = meta.heads_[meta.target].fitted
    assert isinstance(fitted, FittedTrees)  # the learner of MODEL
    found = fitted.contributions(rows, names)  # [n, K, F' + 1] of the columns that it reads
    if found.shape[1] == 1:  # two classes: of the second one's odds
        found = np.concatenate([-found / 2, found / 2], axis=1)
    right_class = found[np.arange(len(rows)), truth]
    parts = right_class - (found.sum(axis=1) - right_class) / (found.shape[1] - 1)
    place = {name: i for i, name in enumerate(names)}
    values = np.zeros((len(rows), len(names)))
    values[:, [place[name] for name in fitted.names]] = parts[:, :-1]
    return values, parts[:, -1]


def _grouped(values: npt.NDArray[np.float64], number: npt.NDArray[np.intp], groups: int) -> npt.NDArray[np.float64]:
    """The sums of each group's columns: [n, F] → [n, groups]."""
    return values @ (number[:, None] == np.arange(groups))


def _falls(
    meta: MetaClassifier,
    table: FeatureTable,
    training: Sequence[StudiedRun],
    rows: npt.NDArray[np.float32],
    truth: npt.NDArray[np.intp],
    values: npt.NDArray[np.float64],
    settings: Attribution,
) -> npt.NDArray[np.float64]:
    """How far the probability of the right class falls when a network's most attributed columns are replaced by the
    training runs' median, and when random ones are: [n, 2]."""
    place = {run.identity: i for i, run in enumerate(table.runs)}
    known = np.concatenate(
        [table.features[place[run.identity], np.array(run.snapshots_of(settings.snapshots)) - 1] for run in training]
    )
    present = ~np.isnan(known).all(axis=0)
    middle = np.full(len(table.names), np.nan, np.float32)
    middle[present] = np.nanmedian(known[:, present], axis=0)
    generator = np.random.default_rng(seed_from_hash("deletion", settings.target, settings.split_seed))
    used = np.flatnonzero(np.abs(values).sum(axis=0) > 0)
    count = min(DELETED, len(used))

    def chance(chosen: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
        """Of the right class, with the chosen columns [n, count] of each network replaced."""
        replaced = rows.copy()
        np.put_along_axis(replaced, chosen, middle[chosen], axis=1)
        return meta.heads_[settings.target].outputs(Table(replaced, table.names))[np.arange(len(rows)), truth]

    before = chance(np.zeros((len(rows), 0), np.intp))
    most = chance(np.argsort(-values, axis=1, kind="stable")[:, :count])
    lots = [
        chance(np.array([generator.choice(used, count, replace=False) for _ in rows])) for _ in range(RANDOM_DELETIONS)
    ]
    random = np.mean(lots, axis=0)
    return np.column_stack([before - most, before - random, random - most])


def _correlation(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float:
    """Pearson's; 0 where one of them is constant."""
    one, other = one - one.mean(), other - other.mean()
    scale = float(np.sqrt((one @ one) * (other @ other)))
    return float(one @ other) / scale if scale > 0 else 0.0


def _mean(values: npt.NDArray[np.float64]) -> dict[str, Any]:
    """The mean over networks, each of a run of its own, of what lies in [−1, 1], with its 95 % interval by Student's
    t: of so few the bootstrap's is too narrow."""
    from scipy.stats import t

    n = len(values)
    if n < 2:
        return {"reason": "fewer than two networks"}
    mean, half = float(values.mean()), float(t.ppf(0.975, n - 1) * values.std(ddof=1) / np.sqrt(n))
    return {"value": mean, "low": max(-1.0, mean - half), "high": min(1.0, mean + half), "n_runs": n}
