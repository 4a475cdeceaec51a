"""Robustness: which footprints survive edits of the weights (`weightprint.study.edits`).

A meta-classifier is fitted on training runs as they are and names the properties of test runs from their last
snapshot: as it is, and after each edit. A second one is fitted on training runs each of which was put through an edit
drawn for it, or through none: what could be read if edits were reckoned with. Everything is compared with the first
one's answers for the same runs unedited.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import polars as pl

from weightprint.errors import MetaError
from weightprint.evaluation.comparison import difference
from weightprint.evaluation.scores import score
from weightprint.files import sha256_hex
from weightprint.images import refuse_absent_sets
from weightprint.meta.answers import answers_of
from weightprint.meta.view import LAST
from weightprint.seeds import seed_from_hash
from weightprint.study import plans, re_estimation
from weightprint.study.budgets import Budget
from weightprint.study.cells import Cell, Cells, explained
from weightprint.study.edits import EDITS, VERSION, Edit, Weights
from weightprint.study.plans import Facts, Planned, Row, as_it_comes, compared, versions_of
from weightprint.study.table import StudiedRun
from weightprint.study.trial import Trial, kept
from weightprint.zoo import Run
from weightprint.zoo.layout import Layout

KIND = "robustness"
MODELS = ("svm", "layer_trees", "slice_trees")
AS_IS = "unedited"
RE_ESTIMATED = "batch norm re-estimated"
FITTED_ON = ("fitted on unedited runs", "fitted on edited runs")


@dataclass(frozen=True)
class Robustness:
    """What is fitted and what is edited.

    target:      a property that is classified
    model:       a name of `weightprint.meta.MODELS`
    edits:       names of EDITS
    split_seeds: one fit of either kind for each
    max_seconds: time cap of each fit
    data:        folder of the images; with them test runs are also shown with their batch norms re-estimated
    """

    target: str
    model: str
    edits: tuple[str, ...] = tuple(EDITS)
    split_seeds: tuple[int, ...] = (0,)
    max_seconds: float | None = None
    data: str | None = None

    def to_json(self) -> dict[str, Any]:
        """For the name of a result; without images as it was before there were any."""
        document = asdict(self)
        if self.data is None:
            del document["data"]
        return document

    @property
    def trial(self) -> Trial:
        """The fit on unedited runs."""
        return as_it_comes(self.target, self.model, self.max_seconds)


def plan(facts: Facts, budget: Budget, _: Mapping[str, Sequence[StudiedRun]]) -> list[Planned]:
    """One result for each property and model, with a score for every edit. Raises DataError where images of the runs'
    data sets are asked for and not there."""
    versions = {"edits": VERSION}
    if facts.data is not None:
        names = [str(name) for name in facts.values.get("dataset", ())]
        refuse_absent_sets(names, facts.data)
        digests = {f"images {re_estimation.images_of(name, facts.data)[1]}": 1 for name in names}
        versions |= {"re-estimation": re_estimation.VERSION, **digests}
    planned = []
    for target in facts.targets:
        for model in MODELS:
            limits = {"split_seeds": budget.curve_seeds, "max_seconds": budget.slice_seconds}
            settings = Robustness(target, model, data=facts.data, **limits)  # type: ignore[arg-type]
            cell = Cell(KIND, settings.to_json(), 30.0, {**versions_of(model), **versions}, settings)
            planned.append(Planned(KIND, "edits", target, model, "", ("",), cell))
    return planned


class EditedRun(Run):
    """A run whose weights are edited when they are read; otherwise the run.

    last: whether its last snapshot stands for it; an edit that reads the one before still does
    """

    def __init__(self, run: Run, edit: Edit, *, last: bool) -> None:
        vars(self).update(vars(run), kin=run.kin)
        self._run, self._edit, self._last = run, edit, last
        self.checksum = run.checksum and sha256_hex(f"{run.checksum} {edit.name} {VERSION} {last}".encode())

    @property
    def measurements(self) -> list[dict[str, Any]]:
        return self._run.measurements[-1:] if self._last else self._run.measurements

    @property
    def layout(self) -> Layout:
        return _layout_after(self._edit.name, self._run.layout)

    @property
    def weights(self) -> Weights:
        """Float32 [T, P], or [1, P] of the last snapshot."""
        weights = self._run.weights[-2:] if self._last else self._run.weights
        generator = np.random.default_rng(seed_from_hash("edit", self._edit.name, self.identity))
        edited, _ = self._edit.change(weights, self._run.layout, generator)
        return edited[-1:] if self._last else edited


@lru_cache(maxsize=256)
def _layout_after(edit: str, layout: Layout) -> Layout:
    return EDITS[edit].change(np.zeros((1, layout.size), np.float32), layout, np.random.default_rng(0))[1]


def suits(edit: Edit, run: Run) -> bool:
    """Whether a run can be edited so, and its function kept where the edit says so."""
    try:
        _layout_after(edit.name, run.layout)
    except MetaError:
        return False
    return edit.suits(run.properties)


def edited_or_not(run: Run, edits: Sequence[str]) -> Run:
    """A training run put through one of the edits, or none, each as likely; drawn by its identity alone."""
    drawn = seed_from_hash("training edit", run.identity) % (len(edits) + 1)
    if drawn == len(edits) or not suits(EDITS[edits[drawn]], run):
        return run
    return EditedRun(run, EDITS[edits[drawn]], last=False)


@explained
def run_robustness(runs: Sequence[Run], settings: Robustness) -> dict[str, Any]:
    """{"xs", "series", "scores", "answers", "seconds"}, JSON-ready; {"reason": text} when it cannot be done.

    runs: of one zoo, complete

    One entry for each way of fitting (FITTED_ON) and AS_IS or edit: "scores" has those of
    `weightprint.evaluation.scores.score` with "n_train_runs", "left_out" and "difference", the paired comparison with
    the first entry (`weightprint.evaluation.comparison.difference`); "answers" the tables of answers behind them.
    """
    trial, data = settings.trial, settings.data
    names = (AS_IS, *settings.edits, *((RE_ESTIMATED,) if data else ()))
    answers: dict[tuple[str, str], list[pl.DataFrame]] = {(fit, name): [] for fit in FITTED_ON for name in names}
    left_out: dict[str, int] = dict.fromkeys(names, 0)
    sizes = []
    for seed in settings.split_seeds:
        train, test = trial.split(runs, seed)
        shown: dict[str, Sequence[Run]] = {AS_IS: test}
        for name in settings.edits:
            shown[name] = [EditedRun(run, EDITS[name], last=True) for run in test if suits(EDITS[name], run)]
        if data:
            shown[RE_ESTIMATED] = [re_estimation.ReEstimatedRun(run, data) for run in test if re_estimation.suits(run)]
        for name in names:
            left_out[name] = max(left_out[name], len(test) - len(shown[name]))
        for fit, fitted_on in zip(FITTED_ON, (train, [edited_or_not(r, settings.edits) for r in train]), strict=True):
            meta = trial.build().fit(fitted_on)
            sizes.append(len(meta.train_runs_))
            for name in names:
                if any(run.converged is not False for run in shown[name]):
                    readings, _ = meta.read_unseen(shown[name], snapshots=LAST)
                    answers[fit, name].append(answers_of(meta, readings, split=seed))
    tables = [pl.concat(parts) if parts else None for parts in answers.values()]
    scores: list[dict[str, Any]] = []
    for (_, name), table in zip(answers, tables, strict=True):
        if table is None or tables[0] is None:
            scores.append({"reason": "no test run suits the edit"})
            continue
        known = {"n_train_runs": min(sizes), "left_out": {"not_suited": left_out[name]}}
        against = None if table is tables[0] else difference(table, tables[0])
        scores.append({**score(table), **known, "difference": against})
    series, xs = zip(*answers, strict=True)
    return {"xs": list(xs), "series": list(series), "scores": scores, "answers": kept(tables)}


def rows(planned: Sequence[Planned], cells: Cells, _: Mapping[str, Sequence[StudiedRun]]) -> list[Row]:
    """One row per score; "series" is how the meta-classifier was fitted, "x" the edit."""
    found = []
    for one in planned:
        scores = (cells.get(one.cell) or {}).get("scores", [{}])
        for row, score_of in zip(plans.rows([one], cells), scores, strict=False):
            found.append({**row, **compared(score_of.get("difference"), f"{FITTED_ON[0]}, {AS_IS}")})
    return found
