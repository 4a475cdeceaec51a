"""What a run costs, in multiply-adds, and where that cuts its length.

Everything is counted, never timed, so that how long a run is depends on its set-up alone.
"""

from __future__ import annotations

from weightprint.setups.everyday.layers import layers, multiply_adds, weight_count
from weightprint.setups.everyday.setup import EverydaySetup
from weightprint.setups.setup import IMAGE_FORMS

LAYER = 6_000_000
VALUE = 240
WEIGHT = 40
CROPPED_PIXEL = 600
WARPED_PIXEL = 2000
"""Multiply-adds that one processor core does in the time that a step spends on a layer however small its batch is; on a
value between two layers; on updating a weight; on a pixel that is cropped, or changed as the paper does. Fitted to the
times of random set-ups on one core."""

EVALUATED_IMAGES = 1500
"""At each snapshot: at most 500 of each of three parts."""


def step_work(setup: EverydaySetup) -> int:
    """Multiply-adds that a gradient step counts: forward, and twice as many backward, and what goes with them."""
    found = layers(setup)
    side, channels = IMAGE_FORMS[setup.image_form]
    pixel = {"none": 0, "crops": CROPPED_PIXEL, "paper": WARPED_PIXEL}[setup.augmentation]
    operations = len(found) + sum(layer.normed for layer in found)
    image = 3 * multiply_adds(setup) + VALUE * sum(layer.values for layer in found) + pixel * side**2 * channels
    return setup.batch_size * image + LAYER * operations + WEIGHT * weight_count(setup)


def evaluation_work(setup: EverydaySetup) -> int:
    """Multiply-adds of one evaluation."""
    image = multiply_adds(setup) + VALUE // 3 * sum(layer.values for layer in layers(setup))
    return EVALUATED_IMAGES * image


def run_work(setup: EverydaySetup, snapshots: int) -> int:
    """Multiply-adds of a whole run."""
    return setup.steps * step_work(setup) + snapshots * evaluation_work(setup)


def cut_steps(setup: EverydaySetup, *, work: int) -> int:
    """The steps of a set-up, fewer where they would take more than `work` multiply-adds."""
    return min(setup.steps, work // step_work(setup))
