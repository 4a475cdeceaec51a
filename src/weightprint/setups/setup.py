"""Setup: every choice that defines one training."""

from __future__ import annotations

import dataclasses
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from weightprint.errors import SetupError, did_you_mean

OPTIMIZERS = ("adam", "rmsprop", "momentum", "sgd", "nesterov", "adamw", "rmsprop_torch")
ACTIVATIONS = ("relu", "elu", "sigmoid", "tanh")
INITIALIZATIONS = ("constant", "random_normal", "glorot_uniform", "glorot_normal", "he_normal", "torch_default")

IMAGE_SIDE = 32
IMAGE_CHANNELS = 3
IMAGE_FORMS = {"32x32x3": (IMAGE_SIDE, IMAGE_CHANNELS), "28x28x1": (28, 1)}
"""Name of a form of images → (side, channels)."""

CLASSES = 10
"""Every data set has ten classes; an output layer may be wider (protocol: 20, of which 10 are used)."""


@dataclass(frozen=True, kw_only=True)
class Setup:
    """Every choice that defines one training. Checked when built; see paper section 3 for the values it draws.

    dataset:        name of the image data set
    learning_rate:  of the first epoch; multiplied by 0.96 after each
    batch_size:     images per gradient step, at least 2
    augmentation:   random affine and colour changes of the training images
    optimizer:      update rule; see `weightprint.training.optimizers`
    activation:     after every layer but the output
    initialization: of the kernels; see `weightprint.training.networks`
    filter_size:    side of the square convolution kernels, odd
    depth_conv:     convolution layers, dealt to three blocks
    depth_fc:       hidden fully connected layers
    width_conv:     channels of the first block; doubled from block to block
    width_fc:       units of the first hidden fully connected layer; halved from layer to layer
    batch_norm:     batch normalisation in every layer but the output
    dropout:        share of hidden fully connected units dropped while training
    outputs:        units of the output layer
    weight_decay:   decoupled for adamw, added to the gradient for the others
    """

    dataset: str = "mnist"
    learning_rate: float = 0.001
    batch_size: int = 64
    augmentation: bool = False
    optimizer: str = "adam"
    activation: str = "relu"
    initialization: str = "glorot_uniform"
    filter_size: int = 5
    depth_conv: int = 3
    depth_fc: int = 2
    width_conv: int = 8
    width_fc: int = 128
    batch_norm: bool = True
    dropout: float = 0.5
    outputs: int = 20
    weight_decay: float = 0.0

    image_form: ClassVar[str] = "32x32x3"

    def __post_init__(self) -> None:
        for name in FIELDS:
            object.__setattr__(self, name, check_field(name, getattr(self, name)))
        check_hidden_units(self.width_fc, self.depth_fc)

    @classmethod
    def describes(cls, properties: Mapping[str, Any]) -> bool:
        """Whether a run's properties are those of such a set-up."""
        return properties.keys() >= set(FIELDS)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Setup:
        """A set-up from field names and values; an unknown name is refused with the nearest known one."""
        for name in values:
            check_field_name(name)
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Field names and values, in the order of the fields."""
        return dataclasses.asdict(self)


FIELDS = tuple(field.name for field in dataclasses.fields(Setup))


def check_field(name: str, value: Any) -> Any:
    """The value of one field in its own type, or a SetupError that names the field and what it may be."""
    check_field_name(name)
    return _CHECKS[name](name, value)


def check_field_name(name: str) -> None:
    """Raise SetupError for what is no field of a set-up, with the nearest one."""
    if name not in FIELDS:
        raise SetupError(f"unknown set-up field {name!r}", hint=did_you_mean(name, FIELDS))


def check_one_of(name: str, value: Any, allowed: Sequence[str]) -> str:
    """The value of a field that is one of some names, or a SetupError with the nearest of them."""
    if value not in allowed:
        raise SetupError(f"unknown {name} {value!r}", hint=did_you_mean(value, allowed))
    return value


def _whole(name: str, value: Any, low: int, high: int, *, odd: bool = False) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = low - 1
    if isinstance(value, bool) or not low <= number <= high or (odd and number % 2 == 0):
        kind = "an odd whole number" if odd else "a whole number"
        raise SetupError(f"{name} must be {kind} from {low} to {high}, not {value!r}")
    return number


def _real(name: str, value: Any, low: float, high: float, *, open_low: bool = False, open_high: bool = False) -> float:
    try:
        number = math.nan if isinstance(value, (bool, str)) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    above = number > low if open_low else number >= low
    below = number < high if open_high else number <= high
    if not (above and below):
        range_ = f"{'above' if open_low else 'from'} {low:g} {'to below' if open_high else 'to'} {high:g}"
        raise SetupError(f"{name} must be a number {range_}, not {value!r}")
    return number


def _truth(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise SetupError(f"{name} must be true or false, not {value!r}")
    return value


def _data_set_name(name: str, value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", value):
        raise SetupError(f"{name} must be a name of letters, digits, '_', '-' and '.', not {value!r}")
    return value


_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "dataset": _data_set_name,
    "learning_rate": partial(_real, low=0.0, high=10.0, open_low=True),
    "batch_size": partial(_whole, low=2, high=65536),
    "augmentation": _truth,
    "optimizer": partial(check_one_of, allowed=OPTIMIZERS),
    "activation": partial(check_one_of, allowed=ACTIVATIONS),
    "initialization": partial(check_one_of, allowed=INITIALIZATIONS),
    "filter_size": partial(_whole, low=1, high=31, odd=True),
    "depth_conv": partial(_whole, low=3, high=48),
    "depth_fc": partial(_whole, low=1, high=16),
    "width_conv": partial(_whole, low=1, high=1024),
    "width_fc": partial(_whole, low=1, high=65536),
    "batch_norm": _truth,
    "dropout": partial(_real, low=0.0, high=1.0, open_high=True),
    "outputs": partial(_whole, low=CLASSES, high=1000),
    "weight_decay": partial(_real, low=0.0, high=1.0),
}


def check_hidden_units(width_fc: int, depth_fc: int) -> None:
    """Raise SetupError where halving the width from layer to layer leaves no unit."""
    if width_fc >> (depth_fc - 1) < 1:
        raise SetupError(
            f"width_fc {width_fc} leaves no unit in hidden layer {depth_fc}",
            hint=f"units halve from layer to layer: width_fc of at least {1 << (depth_fc - 1)}, or a smaller depth_fc",
        )
