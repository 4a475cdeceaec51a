"""What fine-tuning leaves: children that start from parents' weights and go on under another optimizer or data set.

A meta-classifier of the parents' zoo names the set-up of children after each of a few numbers of steps. Its answer can
be the parent's choice, the child's, or neither. A child has its parent's seed and number, so that it is kin: children
of runs that were trained on are not tested.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from weightprint.errors import MetaError, ZooError
from weightprint.evaluation.scores import score
from weightprint.images import epoch_indices, load, prepare
from weightprint.setups import Setup
from weightprint.study.budgets import Budget
from weightprint.study.cells import Cells
from weightprint.study.plans import Facts, Planned, Row, answers_in, curve, planned_trial, row
from weightprint.study.table import StudiedRun
from weightprint.zoo import Zoo, write_run
from weightprint.zoo.layout import Layout
from weightprint.zoo.runfile import RunRecord

NAME = "fine-tuning"
STEPS = (0, 1, 3, 10, 30, 100, 300, 1000)
"""After how many steps a child's weights are kept."""
PARENT = "parent_"
"""Before a property's name: the parent's value of it."""
CHILDS, PARENTS = "the child's", "the parent's"


def fine_tune(
    parents: Zoo,
    folder: str | os.PathLike[str],
    *,
    changes: Mapping[str, Any],
    data: str | os.PathLike[str] | None = None,
    steps: Sequence[int] = STEPS,
    train_size: int | None = None,
    test_size: int | None = None,
) -> Zoo:
    """A zoo of one child for each converged run of `parents`, whose set-up is the parent's but for `changes`.

    parents:    of a sampled space other than everyday
    folder:     of the new zoo; children that are there stay, so that an interrupted call can be repeated
    changes:    fields of `Setup` that are not of the architecture, such as {"optimizer": "momentum"}
    data:       folder of .npz files, as for `sample`
    steps:      ascending, after which weights are kept
    train_size, test_size: as for `sample`; all images where None

    A child starts from its parent's last weights with a fresh optimizer. Its snapshots are in the order of `steps`,
    with "step", "epoch" and accuracies as measurements; properties that start with "parent_" are its parent's. Parents
    that already have all of `changes` have no child. Raises ZooError where the parents have no common seed.
    """
    from weightprint.training.loop import CURVE_COLUMNS, begin
    from weightprint.training.streams import Streams

    seed = parents.recipe.get("seed")
    if not isinstance(seed, int):
        raise ZooError(f"{parents.path} was not sampled: its runs have no seed", hint="sample the parents' zoo")
    recipe = {"fine_tuned": parents.identity, "changes": dict(changes), "steps": list(steps), "seed": seed}
    zoo = Zoo.create(folder, {**recipe, "train_size": train_size, "test_size": test_size})
    there = set(zoo.numbers)
    prepared: dict[str, Any] = {}
    for parent in parents.select(status="complete", converged=True):
        setup = replace(parent.setup, **changes)
        if parent.number in there or setup == parent.setup:
            continue
        if not isinstance(setup, Setup) or Layout.of(setup) != parent.layout:
            raise ZooError("a child has its parent's architecture", hint="change the optimizer, data set or the like")
        if setup.dataset not in prepared:
            sizes = {"train_size": train_size, "test_size": test_size}
            prepared[setup.dataset] = prepare(load(setup.dataset, data), seed=seed, **sizes)
        images = prepared[setup.dataset]
        streams = Streams(seed, parent.number, "cpu")
        training = begin(setup, images, streams, vector=np.array(parent.snapshot(len(parent.measurements))))
        vectors: list[np.ndarray] = []
        moments: list[dict[str, Any]] = []
        step = epoch = 0
        indices = np.zeros(0, np.int64)
        for wanted in steps:
            while step < wanted:
                if len(indices) < setup.batch_size:
                    indices, epoch = epoch_indices(images.y_train, generator=streams.order), epoch + 1
                training.step(indices[: setup.batch_size], setup.learning_rate)
                indices, step = indices[setup.batch_size :], step + 1
            measured = dict(zip(CURVE_COLUMNS[2:8], map(float, training.evaluate()), strict=True))
            vectors.append(training.vector().astype(np.float32))
            moments.append({"snapshot": len(moments) + 1, "step": step, "epoch": epoch, **measured})
        whole = bool(np.isfinite(vectors).all())
        record = RunRecord(
            number=parent.number,
            identity=zoo.run_identity(parent.number),
            status="complete" if whole else "failed",
            reason="last step" if whole else "weights that are no numbers",
            properties={**setup.to_dict(), **{PARENT + name: v for name, v in parent.setup.to_dict().items()}},
            layout=parent.layout,
            weights=np.stack(vectors) if whole else np.zeros((0, parent.layout.size), np.float32),
            measurements=moments if whole else [],
            test_images=len(images.y_test),
        )
        write_run(Path(folder), record)
    return zoo.refresh()


def plan(facts: Facts, budget: Budget, runs: Mapping[str, Sequence[StudiedRun]]) -> list[Planned]:
    """One result for each zoo of children and property of which some child has another value than its parent.

    Raises MetaError without a zoo of children.
    """
    planned = []
    for key, name in facts.others.items():
        children = runs[key]
        moments = range(1, max(len(run.measurements) for run in children) + 1)
        for target in facts.targets:
            if all(run.properties.get(PARENT + target) in (None, run.properties.get(target)) for run in children):
                continue
            at = {"test_snapshots": tuple((m, m) for m in moments), "split_seeds": budget.split_seeds}
            planned.append(planned_trial(NAME, name, curve(target, budget, test_zoo=key, **at), xs=moments))
    if not planned:
        raise MetaError("fine-tuning needs a zoo of children", hint="weightprint.study.fine_tuning.fine_tune makes one")
    return planned


def rows(planned: Sequence[Planned], cells: Cells, runs: Mapping[str, Sequence[StudiedRun]]) -> list[Row]:
    """Two rows for each result and moment: how often the child's choice is named, and how often the parent's.

    "series" says whose, "x_number" is the steps; only children are counted whose choice is another than the parent's.
    """
    return [row for one in planned for row in _of_result(one, cells, runs[one.cell.settings["test_zoo"]])]


def _of_result(one: Planned, cells: Cells, children: Sequence[StudiedRun]) -> Iterator[Row]:
    known = {run.identity: run for run in children}
    for i, moment in enumerate(one.xs):
        answers = answers_in(cells, one, i)
        if answers is None:
            continue
        classes = answers["classes"][0].to_list()
        names = {label: number for number, label in enumerate(classes)}
        told = [json.dumps(known[run].properties.get(PARENT + one.target)) for run in answers["run"]]
        parents = pl.Series("parent", [names.get(label) for label in told], dtype=pl.Float64)
        changed = answers.with_columns(parents).filter(pl.col("parent") != pl.col("truth"))
        if not len(changed):
            continue
        steps = float(known[changed["run"][0]].measurements[moment - 1]["step"])
        for series, truth in ((CHILDS, "truth"), (PARENTS, "parent")):
            found = score(changed.with_columns(pl.col(truth).alias("truth")).drop("parent"))
            yield {**row(one, steps, found, series=series, majority=None), "x": f"{steps:g}"}
