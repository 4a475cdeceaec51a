"""Meta-classifiers: models that read weights and predict how they were trained."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from weightprint.errors import MetaError, did_you_mean

if TYPE_CHECKING:
    from weightprint.meta.base import MetaClassifier

_HOMES = {
    "DMC": "dmc",
    "Fields": "baselines",
    "Joint": "joint",
    "LayerTrees": "layer_trees",
    "Majority": "baselines",
    "MetaClassifier": "base",
    "Reading": "base",
    "SVM": "linear",
    "Shapes": "baselines",
    "SliceTrees": "slice_trees",
    "Trees": "trees",
    "by_slices": "averaging",
    "calibrate": "calibration",
    "compare": "comparison",
    "compare_splits": "comparison",
    "conformal_sets": "conformal",
    "load_meta": "persistence",
    "pick": "selection",
    "split_validation": "selection",
}

__all__ = ["MODELS", "build", "fit", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'weightprint.meta' has no attribute {name!r}")
    return getattr(importlib.import_module(f"weightprint.meta.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)


class _Models(Mapping[str, "type[MetaClassifier]"]):
    """Model names and their classes; a class is loaded when it is first asked for."""

    _classes = {  # noqa: RUF012
        "majority": "Majority",
        "shapes": "Shapes",
        "fields": "Fields",
        "svm": "SVM",
        "trees": "Trees",
        "slice_trees": "SliceTrees",
        "layer_trees": "LayerTrees",
        "joint": "Joint",
        "dmc": "DMC",
    }

    def __getitem__(self, name: str) -> type[MetaClassifier]:
        return __getattr__(self._classes[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._classes)

    def __len__(self) -> int:
        return len(self._classes)


MODELS: Mapping[str, type[MetaClassifier]] = _Models()
"""Every meta-classifier by its name."""


def build(model: str, **params: Any) -> MetaClassifier:
    """A meta-classifier by its model's name, its settings checked: `build("svm", target="optimizer")`.

    Raises MetaError for an unknown model or setting, naming the nearest known one, or a setting that cannot be.
    """
    if model not in MODELS:
        raise MetaError(f"unknown model {model!r}", hint=did_you_mean(model, MODELS))
    cls = MODELS[model]
    known = cls._get_param_names()
    for name in params:
        if name not in known:
            raise MetaError(f"{model} has no setting {name!r}", hint=did_you_mean(name, known))
    if "target" not in params:
        raise MetaError(f"{model} needs a target", hint="such as target='optimizer'")
    meta = cls(**params)
    meta.check()
    return meta


def fit(model: str, zoo: Any, **params: Any) -> MetaClassifier:
    """`build(model, **params)`, fitted on every run of `zoo`: give it the training part of a split."""
    return build(model, **params).fit(zoo)
