"""EverydaySetup: every choice that defines one training of the space `everyday`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from weightprint.errors import SetupError
from weightprint.setups.setup import CLASSES, check_one_of

ACTIVATIONS = ("relu", "leaky_relu", "elu", "gelu", "silu", "tanh", "sigmoid")
INITIALIZATIONS = ("torch_default", "glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "orthogonal")

OPTIMIZER_FAMILIES = {
    **dict.fromkeys(("sgd", "momentum", "nesterov"), "sgd_like"),
    **dict.fromkeys(("adam", "adamw", "rmsprop", "rmsprop_torch", "nadam", "adagrad", "adadelta"), "adaptive"),
}
"""Update rule → its family; `rmsprop` is Keras's rule here."""

IMAGE_KINDS = {
    "mnist": "digits",
    "svhn": "digits",
    "digits": "digits",
    "fashion_mnist": "clothing",
    "cifar10": "natural",
    "tiny_imagenet10": "natural",
    "stl10": "natural",
    "photo_patches": "natural",
}
"""Data set → what its pictures show; "other" for all that are not here."""

_Scale = tuple[tuple[float, ...], tuple[float, ...]]
_SCALES: dict[str, _Scale] = {"unit": ((0.0,), (1.0,)), "symmetric": ((0.5,), (0.5,))}
_TUTORIALS: dict[str, _Scale] = {
    "mnist": ((0.1307,), (0.3081,)),
    "fashion_mnist": ((0.2860,), (0.3530,)),
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "svhn": ((0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)),
}
_IMAGENET: _Scale = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Means and standard deviations per channel with which tutorials standardise pictures; ImageNet's for all others."""

_CHOICES: dict[str, tuple[str, ...]] = {
    "architecture": ("lenet", "plain_cnn", "mlp", "vgg", "residual"),
    "padding": ("same", "valid", "first"),
    "pooling": ("max", "average"),
    "flatten": ("chw", "hwc"),
    "norm": ("none", "batch", "layer"),
    "biases": ("all", "output", "none"),
    "activation": ACTIVATIONS,
    "initialization": INITIALIZATIONS,
    "bias_initialization": ("zeros", "torch_default"),
    "optimizer": tuple(OPTIMIZER_FAMILIES),
    "schedule": ("constant", "step", "cosine"),
    "scaling": ("unit", "symmetric", "standardized"),
    "augmentation": ("none", "crops", "paper"),
    "image_form": ("28x28x1", "32x32x3"),
}


@dataclass(frozen=True, kw_only=True)
class EverydaySetup:
    """Every choice that defines one training of the space `everyday`. Names are checked when built.

    dataset:             name of the image data set
    image_form:          "28x28x1" (grey) or "32x32x3"
    scaling:             of the inputs: unit [0, 1], symmetric [-1, 1], or standardized by the constants of tutorials
    augmentation:        none; crops (shifts, and mirror images unless they are digits); paper (see `images.augment`)
    architecture:        lenet, plain_cnn, mlp, vgg or residual
    stages:              channels of the convolutions of each stage, which ends in a 2 × 2 pool if its map has at least
                         4 × 4 pixels. Of a residual network: channels of the blocks (two convolutions each) of each
                         stage, behind a first convolution; a stage but the first starts with a stride of two
    filter_size:         side of the square windows
    padding:             same, valid, or first (only the first convolution keeps the map's size)
    pooling:             max or average
    units:               of the hidden fully connected layers
    flatten:             order in which a map becomes a vector: chw (PyTorch) or hwc (Keras)
    norm:                before every activation: none, batch, or layer normalisation
    biases:              of all layers, of the output alone, or of none
    dropout_conv:        share dropped after each pool while training
    dropout:             share dropped after each hidden fully connected layer while training; residual: of the means
    activation:          after every layer but the output
    initialization:      of the kernels
    truncated:           whether normal kernels are truncated at two standard deviations, as Keras does
    bias_initialization: zeros (Keras) or torch_default
    optimizer:           update rule
    momentum:            of the rules momentum and nesterov; 0 for the others
    learning_rate:       of the first step
    schedule:            constant; step (a tenth after half and again after three quarters); cosine (to zero)
    batch_size:          images per gradient step
    weight_decay:        decoupled for adamw, added to the gradient for the others
    label_smoothing:     share of the target spread over all classes
    steps:               gradient steps
    """

    dataset: str
    image_form: str
    scaling: str
    augmentation: str
    architecture: str
    stages: tuple[tuple[int, ...], ...]
    filter_size: int
    padding: str
    pooling: str
    units: tuple[int, ...]
    flatten: str
    norm: str
    biases: str
    dropout_conv: float
    dropout: float
    activation: str
    initialization: str
    truncated: bool
    bias_initialization: str
    optimizer: str
    momentum: float
    learning_rate: float
    schedule: str
    batch_size: int
    weight_decay: float
    label_smoothing: float
    steps: int

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            check_one_of(name, getattr(self, name), allowed)
        object.__setattr__(self, "stages", tuple(tuple(stage) for stage in self.stages))
        object.__setattr__(self, "units", tuple(self.units))
        if bool(self.stages) == (self.architecture == "mlp"):
            raise SetupError(f"{self.architecture} with the stages {self.stages}: an mlp has none, all others some")
        for name in ("batch_size", "steps", "filter_size"):
            if getattr(self, name) < 1:
                raise SetupError(f"{name} must be at least 1, not {getattr(self, name)}")

    @property
    def optimizer_family(self) -> str:
        """`sgd_like` or `adaptive`, by the optimizer."""
        return OPTIMIZER_FAMILIES[self.optimizer]

    @property
    def image_kind(self) -> str:
        """`digits`, `clothing`, `natural` or `other`, by the data set."""
        return IMAGE_KINDS.get(self.dataset, "other")

    @property
    def outputs(self) -> int:
        """Units of the output layer."""
        return CLASSES

    def input_scale(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """(mean, deviation) per channel: inputs are (pixels in [0, 1] - mean) / deviation."""
        mean, deviation = _SCALES.get(self.scaling) or _TUTORIALS.get(self.dataset, _IMAGENET)
        if self.image_form == "28x28x1":  # green stands for the luma
            return mean[1 % len(mean) :][:1], deviation[1 % len(deviation) :][:1]
        return (mean * 3)[:3], (deviation * 3)[:3]

    @classmethod
    def describes(cls, properties: Mapping[str, Any]) -> bool:
        """Whether a run's properties are those of such a set-up."""
        return properties.keys() >= EVERYDAY_FIELDS

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> EverydaySetup:
        """The inverse of `to_dict`."""
        if not cls.describes(values):
            raise SetupError(f"no everyday set-up: it lacks {', '.join(sorted(EVERYDAY_FIELDS - values.keys()))}")
        return cls(**{name: values[name] for name in EVERYDAY_FIELDS})

    def to_dict(self) -> dict[str, Any]:
        """Field names and values, with `optimizer_family` and `image_kind`, which follow from them."""
        values = dataclasses.asdict(self)
        values["stages"] = [list(stage) for stage in self.stages]
        values["units"] = list(self.units)
        return {**values, "optimizer_family": self.optimizer_family, "image_kind": self.image_kind}


EVERYDAY_FIELDS = frozenset(field.name for field in dataclasses.fields(EverydaySetup))
