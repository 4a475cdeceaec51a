"""What can be done with run numbers of a recipe: train them, or time one."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from weightprint.images import TrainingImages, epoch_size, part_name
from weightprint.setups import CLASSES, IMAGE_CHANNELS, IMAGE_SIDE, EverydaySetup, Setup
from weightprint.setups.recipe import Recipe, cohorts_of, recipe_sha256
from weightprint.training.cohorts import train_cohort
from weightprint.training.everyday.loop import train_everyday
from weightprint.training.loop import CURVE_COLUMNS, TrainedRun, train
from weightprint.zoo.layout import Layout
from weightprint.zoo.runfile import RunRecord

TIMED_IMAGES = 1024
TIMED_STEPS = 10


def train_runs(
    recipe: Recipe, numbers: Sequence[int], images: Mapping[str, TrainingImages], *, device: str, spool: Path | None
) -> list[tuple[RunRecord, int]]:
    """Train the whole cohort that these runs belong to; for each of them what `train_run` returns."""
    (cohort,) = cohorts_of(recipe, numbers)
    if len(cohort) == 1:
        return [train_run(recipe, cohort[0], images, device=device, spool=spool)]
    trained = train_cohort(
        [_paper_setup(recipe, number) for number in cohort],
        images,
        seed=recipe.seed,
        runs=cohort,
        max_epochs=recipe.most_epochs,
        snapshots=recipe.snapshots,
        device=device,
        spool=spool,
    )
    records = {number: _record(recipe, number, run, images) for number, run in zip(cohort, trained, strict=True)}
    return [records[number] for number in numbers]


def train_run(
    recipe: Recipe, number: int, images: Mapping[str, TrainingImages], *, device: str, spool: Path | None
) -> tuple[RunRecord, int]:
    """Train one run of a recipe: its record and how many images went through gradient steps."""
    setup = recipe.draw(number)
    part = _part(images, setup)
    how: dict[str, Any] = {"seed": recipe.seed, "run": number, "snapshots": recipe.snapshots, "device": device}
    if isinstance(setup, EverydaySetup):
        trained = train_everyday(setup, part, **how)
    else:
        trained = train(setup, part, max_epochs=recipe.most_epochs, spool=spool, **how)
    return _record(recipe, number, trained, images)


def train_plainly(device: str, *, spool: Path | None) -> None:
    """Take a gradient step of the smallest network, which raises nothing where anything trains at all."""
    images, labels = np.zeros((CLASSES, IMAGE_SIDE, IMAGE_SIDE, IMAGE_CHANNELS), dtype=np.uint8), np.arange(CLASSES)
    part = TrainingImages("plain", *(images, labels) * 3)
    setup = Setup(batch_size=CLASSES, filter_size=1, width_conv=1, width_fc=2, depth_fc=1, outputs=CLASSES)
    train(setup, part, max_epochs=1, snapshots=1, device=device, spool=spool)


def _record(
    recipe: Recipe, number: int, trained: TrainedRun, images: Mapping[str, TrainingImages]
) -> tuple[RunRecord, int]:
    setup = trained.setup
    record = RunRecord(
        number=number,
        identity=f"{recipe_sha256(recipe.to_json())}:{number}",
        status=trained.status,
        reason=trained.reason,
        properties=setup.to_dict(),
        layout=Layout.of(setup),
        weights=trained.weights,
        measurements=trained.measurements,
        curve=trained.curve,
        curve_columns=CURVE_COLUMNS,
        test_images=len(_part(images, setup).y_test),
    )
    return record, trained.training_samples


def _part(images: Mapping[str, TrainingImages], setup: Setup | EverydaySetup) -> TrainingImages:
    """The images that a set-up is trained on."""
    return images[part_name(setup.dataset, setup.image_form)]


def _paper_setup(recipe: Recipe, number: int) -> Setup:
    setup = recipe.draw(number)
    assert isinstance(setup, Setup)  # for the type checker: cohorts are of such set-ups only
    return setup


def time_run(recipe: Recipe, number: int, images: Mapping[str, TrainingImages], *, device: str) -> float:
    """Seconds that a run would take to its end, as a share of its cohort's, from one short epoch or a few steps."""
    drawn = recipe.draw(number)
    if isinstance(drawn, EverydaySetup):
        return _time_everyday(drawn, _part(images, drawn), snapshots=recipe.snapshots, device=device)
    (cohort,) = cohorts_of(recipe, [number])
    setups = [_paper_setup(recipe, member) for member in cohort]
    setup, part = setups[0], images[setups[0].dataset]
    shown = min(len(part.y_train), CLASSES * math.ceil(max(TIMED_IMAGES, setup.batch_size) / CLASSES))
    short = {name: replace(p, x_train=p.x_train[:shown], y_train=p.y_train[:shown]) for name, p in images.items()}

    def seconds(epochs: int) -> tuple[float, int]:
        started = time.perf_counter()
        if len(cohort) == 1:
            trained = train(setup, short[setup.dataset], max_epochs=epochs, snapshots=1, device=device)
        else:
            trained, *_ = train_cohort(setups, short, runs=cohort, max_epochs=epochs, snapshots=1, device=device)
        return (time.perf_counter() - started) / len(cohort), trained.training_samples

    seconds(1)
    evaluation, _ = seconds(0)
    epoch, samples = seconds(1)
    per_sample = max(epoch - 2 * evaluation, 0.0) / max(samples, 1)
    steps = epoch_size(part.y_train) // setup.batch_size
    return recipe.most_epochs * (per_sample * steps * setup.batch_size + evaluation) + evaluation


def _time_everyday(setup: EverydaySetup, part: TrainingImages, *, snapshots: int, device: str) -> float:
    def seconds(steps: int) -> float:
        started = time.perf_counter()
        train_everyday(replace(setup, steps=steps), part, snapshots=1, device=device)
        return time.perf_counter() - started

    seconds(1)
    one = seconds(1)
    per_step = max(seconds(1 + TIMED_STEPS) - one, 0.0) / TIMED_STEPS
    return setup.steps * per_step + snapshots * one
