"""Compiling ahead: once per machine, in the process that starts workers, so that they only load what they need."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from weightprint.images import TrainingImages
from weightprint.setups import CLASSES, IMAGE_CHANNELS, IMAGE_SIDE, Setup
from weightprint.training.architecture import weight_count
from weightprint.training.fast.cache import cache_folder
from weightprint.training.fast.training import FastTraining, why_not
from weightprint.training.streams import Streams


def compile_ahead(setups: Iterable[Setup], *, device: str = "cpu", say: Callable[[str], None]) -> None:
    """Have the kernels that these set-ups need compiled and on disk.

    say: called with a line before anything is compiled, and not at all when all was there
    """
    folder = cache_folder()
    if folder is None:  # then every process compiles for itself
        return
    wanted = dict(_samples(setup for setup in setups if not why_not(setup, device)))
    absent = {name: setup for name, setup in wanted.items() if not (folder / name).exists()}
    for number, (name, setup) in enumerate(absent.items(), 1):
        say(f"compiling for this processor, once: {name.replace('-', ' ')} ({number} of {len(absent)})")
        _train_briefly(setup)
        (folder / name).touch()


def _samples(setups: Iterable[Setup]) -> Iterator[tuple[str, Setup]]:
    """The smallest set-ups that need the same kernels, by what they need: a filter size, a rule, augmentation."""
    small: dict[str, Any] = {"batch_size": 2, "width_conv": 1, "width_fc": 2, "depth_fc": 1}
    for size, rule, augmentation in sorted({(s.filter_size, s.optimizer, s.augmentation) for s in setups}):
        yield f"filter-{size}", Setup(filter_size=size, **small)
        yield f"rule-{rule}", Setup(filter_size=size, optimizer=rule, **small)
        if augmentation:
            yield "augmentation", Setup(filter_size=size, augmentation=True, **small)


def _train_briefly(setup: Setup) -> None:
    pixels = np.zeros((CLASSES, IMAGE_SIDE, IMAGE_SIDE, IMAGE_CHANNELS), dtype=np.uint8)
    labels = np.arange(CLASSES)
    images = TrainingImages("black", pixels, labels, pixels, labels, pixels, labels)
    vector = np.ones(weight_count(setup), dtype=np.float32)
    training = FastTraining(setup, vector, images, Streams(0, 0, "cpu"))
    training.step(np.arange(setup.batch_size), 0.0)
    training.evaluate()
