"""One run of the space `everyday`: a plain loop of a drawn number of steps."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from weightprint.errors import DataError
from weightprint.images import ImageSet, TrainingImages, prepare, refuse_other_form
from weightprint.images.augment import (
    adjust_brightness_and_contrast,
    adjust_hue_and_saturation,
    draw_colors,
    draw_warps,
    warp,
)
from weightprint.setups.everyday import EverydaySetup
from weightprint.setups.everyday.space import SNAPSHOTS
from weightprint.training.devices import refuse_absent_device
from weightprint.training.everyday.networks import EverydayNetwork, initialize
from weightprint.training.loop import CURVE_COLUMNS, TrainedRun
from weightprint.training.optimizers import RULES, FlatParameters, Momentum, Optimizer
from weightprint.training.streams import Streams
from weightprint.training.vectors import to_vector

MOST_EVALUATED = 500
"""Training and validation images that an evaluation looks at: the first ones, which are one of each class in turn."""

EVALUATION_BATCH = 250


def train_everyday(
    setup: EverydaySetup,
    images: ImageSet | TrainingImages,
    *,
    seed: int = 0,
    run: int = 0,
    snapshots: int = SNAPSHOTS,
    device: str = "cpu",
) -> TrainedRun:
    """Train one network for the steps of its set-up; evaluate and keep its weights at `snapshot_steps`.

    images: of the set-up's form

    The result depends on the arguments alone: every random choice has a generator of its own, keyed by
    (purpose, seed, run). Raises DataError for images of another form, or fewer than one batch.
    """
    if isinstance(images, ImageSet):
        images = prepare(images, train_size=None, test_size=None, seed=seed)
    refuse_other_form(images, setup.image_form)
    if len(images.y_train) < setup.batch_size:
        raise DataError(
            f"{images.name} has {len(images.y_train)} training images, fewer than one batch of {setup.batch_size}",
            hint="more training images",
        )
    refuse_absent_device(device)
    streams = Streams(seed, run, device)
    network = EverydayNetwork(setup)
    initialize(network, generator=streams.initialization)
    network.to(device)
    flat = FlatParameters(network.parameters())
    optimizer = _rule(setup, flat)
    pixels, labels, *others = (
        torch.from_numpy(array).to(device) for part in (images.train, images.validation, images.test) for array in part
    )
    x_validation, y_validation, x_test, y_test = others
    measured_on = [
        (pixels[:MOST_EVALUATED], labels[:MOST_EVALUATED]),
        (x_validation[:MOST_EVALUATED], y_validation[:MOST_EVALUATED]),
        (x_test, y_test),
    ]

    kept = snapshot_steps(setup.steps, snapshots)
    vectors: list[np.ndarray] = []
    curve: list[list[float]] = []
    status, reason = "complete", "all steps"
    order = _batches(len(labels), setup.batch_size, streams.order)
    for step in range(setup.steps + 1):  # before the step of this number
        if step in kept:
            vector = to_vector(network)
            measured = [number for part in measured_on for number in _evaluate(network, *part)]
            if not (torch.isfinite(vector).all() and all(map(math.isfinite, measured))):
                status, reason = "diverged", f"not finite after {step} steps"
                break
            vectors.append(vector.to("cpu", torch.float32).numpy())
            smoothed = measured[2] if not curve else 0.5 * curve[-1][-1] + 0.5 * measured[2]
            curve.append([step, step * setup.batch_size / len(labels), *measured, smoothed])
            network.train()
        if step == setup.steps:
            break
        chosen = torch.from_numpy(next(order)).to(device)
        x = network.inputs(_augmented(pixels[chosen], setup, streams.augmentation))
        scores = network(x, generator=streams.dropout)
        loss = F.cross_entropy(scores, labels[chosen], label_smoothing=setup.label_smoothing)
        if not math.isfinite(loss.item()):
            status, reason = "diverged", f"not finite after {step} steps"
            break
        flat.backward(loss)
        optimizer.step(learning_rate(setup, step))
    return TrainedRun(
        setup=setup,
        status=status,
        reason=reason,
        weights=np.stack(vectors) if vectors else np.zeros((0, to_vector(network).numel()), dtype=np.float32),
        curve=np.array(curve, dtype=np.float64).reshape(len(curve), len(CURVE_COLUMNS)),
        evaluations=tuple(range(len(curve))),
        training_samples=step * setup.batch_size,
    )


def snapshot_steps(steps: int, snapshots: int) -> list[int]:
    """After which steps weights are kept: none, …, an eighth, a quarter, half, and all of them.

    Where halving would run out of steps before there are enough, they lie closer. Of one snapshot: the last.
    """
    if snapshots == 1:
        return [steps]
    ratio = min(2.0, steps ** (1 / max(snapshots - 2, 1)))
    kept = [0]
    for place in range(1, snapshots):
        wanted = round(steps / ratio ** (snapshots - 1 - place))
        kept.append(min(max(wanted, kept[-1] + 1), steps - (snapshots - 1 - place)))
    return kept


def learning_rate(setup: EverydaySetup, step: int) -> float:
    """Of a step, from 0: constant; a tenth after half and again after three quarters of the steps; or falling along a
    cosine to zero."""
    done = step / setup.steps
    if setup.schedule == "step":
        return setup.learning_rate * (1.0 if done < 0.5 else 0.1 if done < 0.75 else 0.01)
    if setup.schedule == "cosine":
        return setup.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
    return setup.learning_rate


def _rule(setup: EverydaySetup, flat: FlatParameters) -> Optimizer:
    rule = RULES["rmsprop_keras" if setup.optimizer == "rmsprop" else setup.optimizer]
    further = {"momentum": setup.momentum} if issubclass(rule, Momentum) else {}
    return rule(flat.values, flat.gradients, weight_decay=setup.weight_decay, **further)


def _batches(count: int, size: int, generator: np.random.Generator) -> Iterator[np.ndarray]:
    """Indices of whole batches; every pass over the images is shuffled anew, what is left of it stays unseen."""
    while True:
        order = generator.permutation(count)
        for start in range(0, count - size + 1, size):
            yield order[start : start + size]


def _augmented(images: Tensor, setup: EverydaySetup, generator: torch.Generator) -> Tensor:
    """Bytes [B, H, W, C] changed at random: bytes of the same form, or pixels [B, C, H, W] in [0, 1]."""
    if setup.augmentation == "crops":
        return _cropped(images, generator, mirrored=setup.image_kind != "digits")
    if setup.augmentation == "none":
        return images
    pixels = images.to(torch.float32).div_(255).permute(0, 3, 1, 2)
    warps, colors = draw_warps(len(pixels), generator=generator), draw_colors(generator=generator)
    changed = adjust_brightness_and_contrast(warp(pixels, warps), colors.brightness, colors.contrast)
    if pixels.shape[1] == 3:
        changed = adjust_hue_and_saturation(changed, colors.hue, colors.saturation)
    noise = torch.empty(changed.shape, device=generator.device).normal_(generator=generator)
    return torch.add(changed, noise.to(changed.device), alpha=colors.noise).clamp_(0, 1)


def _cropped(images: Tensor, generator: torch.Generator, *, mirrored: bool) -> Tensor:
    """Each image [H, W, C] shifted by up to an eighth of its side, with zeros around it, and half of them mirrored."""
    count, side = images.shape[:2]
    most = side // 8
    padded = F.pad(images, (0, 0, most, most, most, most))
    shifts = torch.randint(2 * most + 1, (2, count, 1), generator=generator, device=generator.device)
    places = torch.arange(side, device=images.device)
    rows, columns = (shifts.to(images.device) + places).unbind(0)  # [B, H], [B, W]
    if mirrored:
        turned = torch.rand(count, 1, generator=generator, device=generator.device).to(images.device) < 0.5
        columns = torch.where(turned, columns.flip(1), columns)
    number = torch.arange(count, device=images.device)
    return padded[number[:, None, None], rows[:, :, None], columns[:, None, :]]


@torch.inference_mode()
def _evaluate(network: EverydayNetwork, images: Tensor, labels: Tensor) -> tuple[float, float]:
    """Accuracy and mean loss, in eval mode."""
    network.eval()
    correct, loss = 0, 0.0
    for x, y in zip(images.split(EVALUATION_BATCH), labels.split(EVALUATION_BATCH), strict=True):
        scores = network(network.inputs(x))
        correct += int((scores.argmax(1) == y).sum())
        loss += float(F.cross_entropy(scores, y, reduction="sum"))
    return correct / len(labels), loss / len(labels)
