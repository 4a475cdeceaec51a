"""The space `everyday`: what people train, with every class of the properties to be told often enough."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from weightprint.errors import SetupError
from weightprint.setups.everyday import architectures
from weightprint.setups.everyday.draws import Draws
from weightprint.setups.everyday.layers import step_work
from weightprint.setups.everyday.setup import IMAGE_KINDS, EverydaySetup
from weightprint.setups.setup import IMAGE_FORMS

FAMILY = "everyday"

DATASET_PERCENTS = {"mnist": 27, "svhn": 11, "fashion_mnist": 25, "cifar10": 25, "tiny_imagenet10": 12}
OPTIMIZER_PERCENTS = {
    "sgd": 14,
    "momentum": 18,
    "nesterov": 10,
    "adam": 16,
    "adamw": 10,
    "rmsprop": 7,
    "rmsprop_torch": 7,
    "nadam": 6,
    "adagrad": 6,
    "adadelta": 6,
}
ACTIVATION_PERCENTS = {"relu": 28, **dict.fromkeys(("leaky_relu", "elu", "gelu", "silu", "tanh", "sigmoid"), 12)}
INITIALIZATION_PERCENTS = {
    "torch_default": 40,
    "glorot_uniform": 16,
    **dict.fromkeys(("glorot_normal", "he_uniform", "he_normal", "orthogonal"), 11),
}
LEARNING_RATES = {
    "sgd": (1e-3, 0.3),
    "momentum": (1e-3, 0.1),
    "nesterov": (1e-3, 0.1),
    "adam": (1e-4, 1e-2),
    "adamw": (1e-4, 1e-2),
    "rmsprop": (1e-4, 1e-2),
    "rmsprop_torch": (1e-4, 1e-2),
    "nadam": (1e-4, 1e-2),
    "adagrad": (1e-3, 0.1),
    "adadelta": (0.1, 1.0),
}
"""Bounds between which the rate is drawn, uniformly in its logarithm."""

GREY_PERCENTS = {"digits": 60, "clothing": 70, "natural": 30, "other": 50}
"""How many of each hundred runs see a kind of pictures as 28 × 28 grey ones."""

BATCH_PERCENTS = {4: 8, 8: 8, 10: 5, 16: 12, 20: 4, 32: 18, 50: 5, 64: 18, 100: 5, 128: 10, 200: 2, 256: 5}

STEPS = (300, 30_000)
WORK = 180_000_000_000
MOST_IMAGES = 2_000_000
LEAST_STEPS = 50
"""Steps are drawn between two bounds, uniformly in their logarithm, and cut where they would take more multiply-adds
than WORK or show the network more than MOST_IMAGES images, but not below LEAST_STEPS."""

SNAPSHOTS = 8
TEST_SIZE = 500
"""What a zoo of this space keeps of a run, and evaluates on, when not asked for something else."""


@dataclass(frozen=True)
class EverydaySpace:
    """The space `everyday`: fields are drawn one after the other, each from a stream of its own, keyed by (seed, run,
    field); the ranges of some depend on others.

    datasets: names in place of the usual ones, each as likely as the others
    steps:    bounds of the length
    work:     multiply-adds at which a run's length is cut
    """

    datasets: tuple[str, ...] = ()
    steps: tuple[int, int] = STEPS
    work: int = WORK

    name = FAMILY
    image_forms = tuple(IMAGE_FORMS)

    def __post_init__(self) -> None:
        if len(set(self.datasets)) < len(self.datasets) or len(self.datasets) > 100:
            raise SetupError(f"data sets must be listed once, at most 100: {', '.join(self.datasets)}")
        if not 1 <= self.steps[0] <= self.steps[1]:
            raise SetupError(f"steps need bounds with 1 ≤ low ≤ high, not {list(self.steps)}")

    def draw(self, seed: int, run: int) -> EverydaySetup:
        """The set-up of one run."""
        draws = Draws(seed, run)
        dataset = draws.dealt("dataset", self._dataset_percents)
        grey = GREY_PERCENTS[IMAGE_KINDS.get(dataset, "other")]
        optimizer = draws.dealt("optimizer", OPTIMIZER_PERCENTS)
        initialization = draws.dealt("initialization", INITIALIZATION_PERCENTS)
        torch_biases = initialization == "torch_default" or draws.uniform("bias_initialization", 0, 1) < 0.2
        setup = EverydaySetup(
            dataset=dataset,
            image_form=draws.weighted("image_form", {"28x28x1": grey, "32x32x3": 100 - grey}),
            scaling=draws.weighted("scaling", {"unit": 40, "symmetric": 30, "standardized": 30}),
            augmentation=draws.weighted("augmentation", {"none": 78, "crops": 16, "paper": 6}),
            **architectures.draw(draws),
            dropout_conv=draws.weighted("dropout_conv", {0.0: 88, 0.25: 8, 0.1: 4}),
            dropout=draws.weighted("dropout", {0.0: 64, 0.5: 14, 0.25: 8, 0.2: 8, 0.3: 4, 0.1: 2}),
            activation=draws.dealt("activation", ACTIVATION_PERCENTS),
            initialization=initialization,
            truncated=draws.pick("truncated", (False, True)),
            bias_initialization="torch_default" if torch_biases else "zeros",
            optimizer=optimizer,
            momentum=_momentum(draws, optimizer),
            learning_rate=draws.log_uniform("learning_rate", *LEARNING_RATES[optimizer]),
            schedule=draws.weighted("schedule", {"constant": 80, "step": 10, "cosine": 10}),
            batch_size=draws.weighted("batch_size", BATCH_PERCENTS),
            weight_decay=_weight_decay(draws, optimizer),
            label_smoothing=draws.weighted("label_smoothing", {0.0: 94, 0.1: 6}),
            steps=round(draws.log_uniform("steps", *self.steps)),
        )
        setup = architectures.fitted(setup)
        steps = min(setup.steps, self.work // step_work(setup), MOST_IMAGES // setup.batch_size)
        return dataclasses.replace(setup, steps=max(steps, self.least_steps))

    @property
    def least_steps(self) -> int:
        """The fewest steps that a run can have."""
        return min(LEAST_STEPS, self.steps[0])

    @property
    def _dataset_percents(self) -> dict[str, int]:
        if not self.datasets:
            return DATASET_PERCENTS
        each, more = divmod(100, len(self.datasets))
        return {name: each + (place < more) for place, name in enumerate(self.datasets)}

    def replace(self, *, dataset: list[str]) -> EverydaySpace:
        """The same space with other data sets."""
        if not dataset:
            raise SetupError("dataset has an empty list of choices", hint="give at least one value")
        return dataclasses.replace(self, datasets=tuple(dataset))

    def choices(self, field: str) -> tuple[Any, ...] | None:
        """The data sets or batch sizes that can be drawn; None for another field."""
        return {"dataset": tuple(self._dataset_percents), "batch_size": tuple(BATCH_PERCENTS)}.get(field)

    def to_json(self) -> dict[str, Any]:
        """The space spelled out: everything that is drawn by percentages or between bounds."""
        return {
            "family": FAMILY,
            "version": 1,
            "datasets": list(self.datasets),
            "steps": list(self.steps),
            "work": self.work,
            "dataset": self._dataset_percents,
            "architecture": architectures.PERCENTS,
            "optimizer": OPTIMIZER_PERCENTS,
            "activation": ACTIVATION_PERCENTS,
            "initialization": INITIALIZATION_PERCENTS,
            "learning_rate": {name: list(bounds) for name, bounds in LEARNING_RATES.items()},
            "image_form": {kind: {"28x28x1": grey, "32x32x3": 100 - grey} for kind, grey in GREY_PERCENTS.items()},
            "batch_size": {str(size): percent for size, percent in BATCH_PERCENTS.items()},
            "most_images": MOST_IMAGES,
            "least_steps": self.least_steps,
            "largest": {"multiply_adds": architectures.LARGEST_MULTIPLY_ADDS, "weights": architectures.LARGEST_WEIGHTS},
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> EverydaySpace:
        """The inverse of `to_json`. Raises SetupError where this version draws otherwise."""
        space = cls(tuple(value["datasets"]), (value["steps"][0], value["steps"][1]), value["work"])
        mine = space.to_json()
        if other := sorted(name for name in {*mine, *value} if mine.get(name) != value.get(name)):
            hint = "use the weightprint version named in zoo.json"
            raise SetupError(f"the space everyday was another one: {', '.join(other)}", hint=hint)
        return space


def _momentum(draws: Draws, optimizer: str) -> float:
    if optimizer not in ("momentum", "nesterov"):
        return 0.0
    if draws.uniform("usual_momentum", 0, 1) < 0.6:
        return 0.9
    return draws.uniform("momentum", 0.5, 0.95)


def _weight_decay(draws: Draws, optimizer: str) -> float:
    percents = {"usual": 40, "drawn": 30, "none": 30} if optimizer == "adamw" else {"drawn": 24, "none": 76}
    kind = draws.weighted("decays", percents)
    if kind == "usual":
        return 0.01
    return draws.log_uniform("weight_decay", 1e-5, 1e-2) if kind == "drawn" else 0.0
