"""Space: a distribution over set-ups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weightprint.errors import SetupError, did_you_mean
from weightprint.seeds import uniform_from_hash
from weightprint.setups.everyday import EverydaySpace
from weightprint.setups.everyday.draws import between
from weightprint.setups.setup import FIELDS, INITIALIZATIONS, Setup, check_field, check_field_name, check_hidden_units


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
        return between(u, self.low, self.high, log=self.log)

    def to_json(self) -> Any:
        return {"log_uniform" if self.log else "uniform": [self.low, self.high]}


class Space:
    """A distribution over set-ups: each field is drawn by itself, from a list of values or a range.

    name:   what to call it
    fields: field name → a constant, a list of choices, or {"uniform": [a, b]} / {"log_uniform": [a, b]};
            a field left out is as in `main`
    """

    image_forms = (Setup.image_form,)

    def __init__(self, name: str, fields: Mapping[str, Any]) -> None:
        self.name = name
        for field in fields:
            check_field_name(field)
        spelled_out = {**_MAIN, **fields}
        self.fields: dict[str, Choice | Range] = {f: _distribution(f, spelled_out[f]) for f in FIELDS}
        check_hidden_units(min(self.choices("width_fc") or ()), max(self.choices("depth_fc") or ()))

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
    def named(cls, name_or_path: str | Path | AnySpace) -> AnySpace:
        """A space by its name, or from a TOML file when the name is a path."""
        if isinstance(name_or_path, (Space, EverydaySpace)):
            return name_or_path
        known: dict[str, AnySpace] = {**SPACES, EverydaySpace.name: EverydaySpace()}
        name = str(name_or_path)
        if name in known:
            return known[name]
        if name.endswith(".toml"):
            return cls.from_toml(name)
        hint = did_you_mean(name, known) + ", or the path of a .toml file"
        raise SetupError(f"unknown space {name!r}", hint=hint)


AnySpace = Space | EverydaySpace


def _distribution(field: str, value: Any) -> Choice | Range:
    if isinstance(value, Mapping):
        return _range(field, value)
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    if not values:
        raise SetupError(f"{field} has an empty list of choices", hint="give at least one value")
    checked = tuple(check_field(field, v) for v in values)
    if len(set(checked)) < len(checked):
        hint = "every choice is drawn equally often; list each once"
        raise SetupError(f"{field} lists a choice twice: {values}", hint=hint)
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
"""`main` and `fixed` are the paper's (section 3); `wild` and `demo` are ours, as is `everyday`, an EverydaySpace."""
