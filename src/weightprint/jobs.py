"""What can be done with one run number of a recipe: train it, or time it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from weightprint.images import TrainingImages
from weightprint.layouts import Layout
from weightprint.recipes import Recipe, recipe_sha256
from weightprint.runfile import RunRecord
from weightprint.training import CURVE_COLUMNS, train

TIMED_IMAGES = 1024


def train_run(
    recipe: Recipe, number: int, images: Mapping[str, TrainingImages], *, device: str, spool: Path | None
) -> tuple[RunRecord, int]:
    """Train one run of a recipe: its record and how many images went through gradient steps."""
    setup = recipe.draw(number)
    trained = train(
        setup,
        images[setup.dataset],
        seed=recipe.seed,
        run=number,
        max_epochs=recipe.max_epochs,
        snapshots=recipe.snapshots,
        device=device,
        spool=spool,
    )
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
        test_images=len(images[setup.dataset].y_test),
    )
    return record, trained.training_samples


def time_run(recipe: Recipe, number: int, images: Mapping[str, TrainingImages], *, device: str) -> float:
    """Seconds that a run would take to its last epoch, from one short epoch."""
    setup = recipe.draw(number)
    part = images[setup.dataset]
    shown = min(len(part.y_train), max(TIMED_IMAGES, setup.batch_size))
    short = replace(part, x_train=part.x_train[:shown], y_train=part.y_train[:shown])

    def seconds(epochs: int) -> tuple[float, int]:
        started = time.perf_counter()
        trained = train(setup, short, max_epochs=epochs, snapshots=1, device=device)
        return time.perf_counter() - started, trained.training_samples

    seconds(1)
    evaluation, _ = seconds(0)
    epoch, samples = seconds(1)
    per_sample = max(epoch - 2 * evaluation, 0.0) / max(samples, 1)
    steps = len(part.y_train) // setup.batch_size
    return recipe.max_epochs * (per_sample * steps * setup.batch_size + evaluation) + evaluation
