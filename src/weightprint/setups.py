"""Set-ups and the distributions they are drawn from."""

from __future__ import annotations

import dataclasses
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weightprint.errors import SetupError, did_you_mean
from weightprint.files import uniform_from_hash

OPTIMIZERS = ("adam", "rmsprop", "momentum", "sgd", "nesterov", "adamw", "rmsprop_torch")
ACTIVATIONS = ("relu", "elu", "sigmoid", "tanh")
INITIALIZATIONS = ("constant", "random_normal", "glorot_uniform", "glorot_normal", "he_normal", "torch_default")

CLASSES = 10
"""Every data set has ten classes; an output layer may be wider (protocol: 20, of which 10 are used)."""


@dataclass(frozen=True, kw_only=True)
class Setup:
    """Every choice that defines one training. Checked when built; see paper section 3 for the values it draws.

    dataset:        name of the image data set
    learning_rate:  of the first epoch; multiplied by 0.96 after each
    batch_size:     images per gradient step, at least 2
    augmentation:   random affine and colour changes of the training images
    optimizer:      update rule; see `weightprint.optimizers`
    activation:     after every layer but the output
    initialization: of the kernels; see `weightprint.networks`
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

    def __post_init__(self) -> None:
        for name in FIELDS:
            object.__setattr__(self, name, check_field(name, getattr(self, name)))
        _check_last_hidden_layer(self.width_fc, self.depth_fc)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Setup:
        """A set-up from field names and values; an unknown name is refused with the nearest known one."""
        for name in values:
            _check_field_name(name)
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Field names and values, in the order of the fields."""
        return dataclasses.asdict(self)


FIELDS = tuple(field.name for field in dataclasses.fields(Setup))


def check_field(name: str, value: Any) -> Any:
    """The value of one field in its own type, or a SetupError that names the field and what it may be."""
    _check_field_name(name)
    return _CHECKS[name](name, value)


def _check_field_name(name: str) -> None:
    if name not in FIELDS:
        raise SetupError(f"unknown set-up field {name!r}", hint=did_you_mean(name, FIELDS))


def _one_of(allowed: Sequence[str]) -> Callable[[str, Any], str]:
    def check(name: str, value: Any) -> str:
        if value not in allowed:
            raise SetupError(f"unknown {name} {value!r}", hint=did_you_mean(value, allowed))
        return value

    return check


def _whole(low: int, high: int, *, odd: bool = False) -> Callable[[str, Any], int]:
    def check(name: str, value: Any) -> int:
        try:
            number = operator.index(value)
        except TypeError:
            number = low - 1
        if isinstance(value, bool) or not low <= number <= high or (odd and number % 2 == 0):
            kind = "an odd whole number" if odd else "a whole number"
            raise SetupError(f"{name} must be {kind} from {low} to {high}, not {value!r}")
        return number

    return check


def _real(low: float, high: float, *, open_low: bool = False, open_high: bool = False) -> Callable[[str, Any], float]:
    def check(name: str, value: Any) -> float:
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

    return check


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
    "learning_rate": _real(0.0, 10.0, open_low=True),
    "batch_size": _whole(2, 65536),
    "augmentation": _truth,
    "optimizer": _one_of(OPTIMIZERS),
    "activation": _one_of(ACTIVATIONS),
    "initialization": _one_of(INITIALIZATIONS),
    "filter_size": _whole(1, 31, odd=True),
    "depth_conv": _whole(3, 48),
    "depth_fc": _whole(1, 16),
    "width_conv": _whole(1, 1024),
    "width_fc": _whole(1, 65536),
    "batch_norm": _truth,
    "dropout": _real(0.0, 1.0, open_high=True),
    "outputs": _whole(CLASSES, 1000),
    "weight_decay": _real(0.0, 1.0),
}


def _check_last_hidden_layer(width_fc: int, depth_fc: int) -> None:
    if width_fc >> (depth_fc - 1) < 1:
        raise SetupError(
            f"width_fc {width_fc} leaves no unit in hidden layer {depth_fc}",
            hint=f"units halve from layer to layer: width_fc of at least {1 << (depth_fc - 1)}, or a smaller depth_fc",
        )


@dataclass(frozen=True)
class Choice:
    """A field drawn uniformly from a list of values."""

    values: tuple[Any, ...]

    def at(self, u: float) -> Any:
        return self.values[int(u * len(self.values))]

    def to_json(self) -> Any:
        return list(self.values) if len(self.values) > 1 else self.values[0]


@dataclass(frozen=True)
class Range:
    """A field drawn between two bounds, uniformly or uniformly in its logarithm."""

    low: float
    high: float
    log: bool = False

    def at(self, u: float) -> float:
        if self.log:
            return min(self.high, math.exp(math.log(self.low) + (math.log(self.high) - math.log(self.low)) * u))
        return self.low + (self.high - self.low) * u

    def to_json(self) -> Any:
        return {"log_uniform" if self.log else "uniform": [self.low, self.high]}


class Space:
    """A distribution over set-ups: each field is drawn by itself, from a list of values or a range.

    name:   what to call it
    fields: field name → a constant, a list of choices, or {"uniform": [a, b]} / {"log_uniform": [a, b]};
            a field left out is as in `main`
    """

    def __init__(self, name: str, fields: Mapping[str, Any]) -> None:
        self.name = name
        for field in fields:
            _check_field_name(field)
        spelled_out = {**_MAIN, **fields}
        self.fields: dict[str, Choice | Range] = {f: _distribution(f, spelled_out[f]) for f in FIELDS}
        _check_last_hidden_layer(min(self.choices("width_fc") or ()), max(self.choices("depth_fc") or ()))

    def draw(self, seed: int, run: int) -> Setup:
        """The set-up of one run. Each field has a random stream of its own, keyed by (seed, run, field name)."""
        values: dict[str, Any] = {f: d.at(uniform_from_hash("setup", seed, run, f)) for f, d in self.fields.items()}
        return Setup(**values)

    def replace(self, **fields: Any) -> Space:
        """The same space with some fields drawn otherwise."""
        return Space(self.name, {**self.to_json(), **fields})

    def choices(self, field: str) -> tuple[Any, ...] | None:
        """The values a field can take, or None where it has a range."""
        distribution = self.fields[field]
        return distribution.values if isinstance(distribution, Choice) else None

    def to_json(self) -> dict[str, Any]:
        """The fields spelled out, as `Space` and TOML files take them."""
        return {f: d.to_json() for f, d in self.fields.items()}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Space) and self.fields == other.fields

    def __hash__(self) -> int:
        return hash(tuple(self.fields.items()))

    def __repr__(self) -> str:
        return f"Space({self.name!r}, {self.to_json()!r})"

    @classmethod
    def from_toml(cls, path: str | Path) -> Space:
        """A space from a TOML file: one key per field, with a constant, a list or a range."""
        try:
            import tomllib
        except ModuleNotFoundError:  # Python 3.10
            import tomli as tomllib  # type: ignore[import-not-found, no-redef, unused-ignore]
        path = Path(path)
        try:
            fields = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise SetupError(f"cannot read the space file {path}: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SetupError(f"{path} is not valid TOML: {error}") from error
        return cls(path.stem, fields)

    @classmethod
    def named(cls, name_or_path: str | Path | Space) -> Space:
        """A space by its name, or from a TOML file when the name is a path."""
        if isinstance(name_or_path, Space):
            return name_or_path
        if str(name_or_path) in SPACES:
            return SPACES[str(name_or_path)]
        if str(name_or_path).endswith(".toml"):
            return cls.from_toml(name_or_path)
        hint = did_you_mean(name_or_path, SPACES) + ", or the path of a .toml file"
        raise SetupError(f"unknown space {str(name_or_path)!r}", hint=hint)


def _distribution(field: str, value: Any) -> Choice | Range:
    if isinstance(value, Mapping):
        return _range(field, value)
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    if not values:
        raise SetupError(f"{field} has an empty list of choices", hint="give at least one value")
    checked = tuple(check_field(field, v) for v in values)
    if len(set(checked)) < len(checked):
        raise SetupError(
            f"{field} lists a choice twice: {values}", hint="every choice is drawn equally often; list each once"
        )
    return Choice(checked)


def _range(field: str, value: Mapping[str, Any]) -> Range:
    if field not in _REAL_FIELDS:
        raise SetupError(f"{field} cannot be drawn from a range", hint="give a constant or a list of choices")
    if len(value) != 1 or next(iter(value)) not in ("uniform", "log_uniform"):
        hint = "expected { uniform = [low, high] } or { log_uniform = [low, high] }"
        raise SetupError(f"{field} has an unknown distribution {dict(value)!r}", hint=hint)
    kind, bounds = next(iter(value.items()))
    if not isinstance(bounds, (list, tuple)) or len(bounds) != 2:
        raise SetupError(f"{field} needs two bounds [low, high], not {bounds!r}")
    low, high = (check_field(field, b) for b in bounds)
    log = kind == "log_uniform"
    if low >= high or (log and low <= 0):
        raise SetupError(f"{field} needs bounds with {'0 < ' if log else ''}low < high, not {list(bounds)!r}")
    return Range(low, high, log)


_REAL_FIELDS = ("learning_rate", "dropout", "weight_decay")

_MAIN: dict[str, Any] = {
    "dataset": ["mnist", "cifar10", "svhn", "stl10", "fashion_mnist"],
    "learning_rate": {"uniform": [0.0002, 0.005]},
    "batch_size": [32, 64, 128, 256],
    "augmentation": [False, True],
    "optimizer": ["adam", "rmsprop", "momentum"],
    "activation": ["relu", "elu", "sigmoid", "tanh"],
    "initialization": ["constant", "random_normal", "glorot_uniform", "glorot_normal"],
    "filter_size": [3, 5, 7],
    "depth_conv": [3, 4, 5],
    "depth_fc": [2, 3, 4],
    "width_conv": [4, 8, 12],
    "width_fc": [64, 128, 192],
    "batch_norm": True,
    "dropout": 0.5,
    "outputs": 20,
    "weight_decay": 0.0,
}

SPACES: dict[str, Space] = {
    "main": Space("main", {}),
    "fixed": Space("fixed", {"filter_size": 5, "depth_conv": 3, "depth_fc": 2, "width_conv": 8, "width_fc": 128}),
    "wild": Space(
        "wild",
        {
            "learning_rate": {"log_uniform": [1e-4, 3e-2]},
            "optimizer": ["adam", "rmsprop", "momentum", "sgd", "nesterov", "adamw"],
            "initialization": list(INITIALIZATIONS),
            "batch_norm": [True, False],
            "dropout": [0.0, 0.25, 0.5],
            "outputs": 10,
            "weight_decay": [0.0, 1e-4, 1e-2],
        },
    ),
    "demo": Space(
        "demo",
        {
            "dataset": ["digits", "photo_patches", "shapes"],
            "learning_rate": {"uniform": [0.001, 0.005]},
            "batch_size": [32, 64],
            "filter_size": 3,
            "depth_conv": 3,
            "depth_fc": 2,
            "width_conv": 4,
            "width_fc": 64,
        },
    ),
}
"""`main` and `fixed` are the paper's (section 3); `wild` and `demo` are ours."""
