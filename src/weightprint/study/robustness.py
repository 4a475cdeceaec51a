"""Robustness: which footprints survive edits of the weights (`weightprint.study.edits`).

A meta-classifier is fitted on training runs as they are and names the properties of test runs from their last
snapshot: as it is, and after each edit. A second one is fitted on training runs each of which was put through an edit
drawn for it, or through none: what could be read if edits were reckoned with. Everything is compared with the first
one's answers for the same runs unedited.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from weightprint.errors import MetaError
from weightprint.evaluation.answers import to_json
from weightprint.evaluation.comparison import difference
from weightprint.evaluation.scores import score
from weightprint.files import sha256_hex
from weightprint.meta.answers import answers_of
from weightprint.meta.models import model_named
from weightprint.meta.view import LAST, WHOLE
from weightprint.seeds import seed_from_hash
from weightprint.study import plans
from weightprint.study.budgets import Budget
from weightprint.study.cells import Cell, Cells
from weightprint.study.edits import EDITS, VERSION, Edit, Weights
from weightprint.study.paired import Row, compared
from weightprint.study.plans import CURVE_ITERATIONS, Facts, Planned, versions_of
from weightprint.study.table import StudiedRun
from weightprint.study.trial import Trial
from weightprint.zoo.layout import Layout
from weightprint.zoo.readable import Readable

KIND = "robustness"
MODELS = ("svm", "layer_trees", "slice_trees")
AS_IS = "unedited"
FITTED_ON = ("fitted on unedited runs", "fitted on edited runs")


@dataclass(frozen=True)
class Robustness:
    """What is fitted and what is edited.

    target:      a property that is classified
    model:       a name of `weightprint.meta.MODELS`
    edits:       names of EDITS
    split_seeds: one fit of either kind for each
    max_seconds: time cap of each fit
    """

    target: str
    model: str
    edits: tuple[str, ...] = tuple(EDITS)
    split_seeds: tuple[int, ...] = (0,)
    max_seconds: float | None = None

    @property
    def trial(self) -> Trial:
        """The fit on unedited runs."""
        return Trial(
            self.target,
            model=self.model,
            slice_length=model_named(self.model).defaults.get("slice_length", WHOLE),
            iterations=CURVE_ITERATIONS if self.model.endswith("trees") else None,
            max_seconds=self.max_seconds,
        )


def plan(facts: Facts, budget: Budget, _: Mapping[str, Sequence[StudiedRun]]) -> list[Planned]:
    """One result for each property and model, with a score for every edit."""
    planned = []
    for target in facts.targets:
        for model in MODELS:
            settings = Robustness(target, model, split_seeds=budget.curve_seeds, max_seconds=budget.slice_seconds)
            cell = Cell(KIND, asdict(settings), 30.0, {**versions_of(model), "edits": VERSION})
            planned.append(Planned(KIND, "edits", target, model, "", (), cell))
    return planned


class EditedRun:
    """A run whose weights are edited when they are read; otherwise the run.

    last: whether its last snapshot stands for it; an edit that reads the one before still does
    """

    def __init__(self, run: Readable, edit: Edit, *, last: bool) -> None:
        self._run, self._edit, self._last = run, edit, last
        self.name, self.identity, self.kin = run.name, run.identity, run.kin
        self.status, self.converged = run.status, run.converged
        self.cache: Path | None = run.cache
        self.checksum = run.checksum and sha256_hex(f"{run.checksum} {edit.name} {VERSION} {last}".encode())

    @property
    def properties(self) -> Mapping[str, Any]:
        return self._run.properties

    @property
    def measurements(self) -> Sequence[Mapping[str, Any]]:
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


def suits(edit: Edit, run: Readable) -> bool:
    """Whether a run can be edited so, and its function kept where the edit says so."""
    try:
        _layout_after(edit.name, run.layout)
    except MetaError:
        return False
    return edit.suits(run.properties)


def edited_or_not(run: Readable, edits: Sequence[str]) -> Readable:
    """A training run put through one of the edits, or none, each as likely; drawn by its identity alone."""
    drawn = seed_from_hash("training edit", run.identity) % (len(edits) + 1)
    if drawn == len(edits) or not suits(EDITS[edits[drawn]], run):
        return run
    return EditedRun(run, EDITS[edits[drawn]], last=False)


def run_robustness(runs: Sequence[Readable], settings: Robustness) -> dict[str, Any]:
    """{"xs", "series", "scores", "answers", "seconds"}, JSON-ready; {"reason": text} when it cannot be done.

    runs: of one zoo, complete

    One entry for each way of fitting (FITTED_ON) and AS_IS or edit: "scores" has those of
    `weightprint.evaluation.scores.score` with "n_train_runs", "left_out" and "difference", the paired comparison with
    the first entry (`weightprint.evaluation.comparison.difference`); "answers" the tables of answers behind them.
    """
    began = time.monotonic()
    trial = settings.trial
    entries = [(series, name) for series in FITTED_ON for name in (AS_IS, *settings.edits)]
    answers: dict[tuple[str, str], list[pl.DataFrame]] = {entry: [] for entry in entries}
    left_out: dict[tuple[str, str], int] = dict.fromkeys(entries, 0)
    fewest = 0
    try:
        for seed in settings.split_seeds:
            train, test = trial.split(runs, seed)
            for series, fitted_on in zip(
                FITTED_ON, (train, [edited_or_not(run, settings.edits) for run in train]), strict=True
            ):
                meta = trial.build().fit(fitted_on)
                fewest = min(fewest or len(meta.train_runs_), len(meta.train_runs_))
                for name in (AS_IS, *settings.edits):
                    suited = test if name == AS_IS else [run for run in test if suits(EDITS[name], run)]
                    left_out[series, name] = max(left_out[series, name], len(test) - len(suited))
                    shown = suited if name == AS_IS else [EditedRun(run, EDITS[name], last=True) for run in suited]
                    if any(run.converged is not False for run in shown):
                        readings, _ = meta.read_unseen(shown, snapshots=LAST)
                        answers[series, name].append(answers_of(meta, readings, split=seed))
    except MetaError as error:
        return {"reason": error.message, "seconds": time.monotonic() - began}
    tables = {entry: pl.concat(parts) if parts else None for entry, parts in answers.items()}
    reference = tables[entries[0]]
    scores: list[dict[str, Any]] = []
    for entry, table in tables.items():
        if table is None or reference is None:
            scores.append({"reason": "no test run suits the edit"})
            continue
        known = {"n_train_runs": fewest, "left_out": {"not_suited": left_out[entry]}}
        against = difference(table, reference) if entry != entries[0] else None
        scores.append({**score(table), **known, "difference": against})
    return {
        "xs": [name for _, name in entries],
        "series": [series for series, _ in entries],
        "scores": scores,
        "answers": [None if table is None else to_json(table.drop("probabilities")) for table in tables.values()],
        "seconds": time.monotonic() - began,
    }


def rows(planned: Sequence[Planned], cells: Cells, _: Mapping[str, Sequence[StudiedRun]]) -> list[Row]:
    """One row per score; "series" is how the meta-classifier was fitted, "x" the edit."""
    found = []
    for one in planned:
        result = cells.get(one.cell) or {}
        several = zip(result.get("series", [""]), result.get("scores", [{}]), strict=True)
        for row, (series, score_of) in zip(plans.rows([one], cells), several, strict=True):
            found.append({**row, "series": series, **compared(score_of.get("difference"), f"{FITTED_ON[0]}, {AS_IS}")})
    return found
