"""Meta-classifiers: models that read weights and predict how they were trained."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weightprint.meta.estimator import MetaClassifier
    from weightprint.zoo.readable import Readable

_CONTENTS = {
    "answers": ("Reading",),
    "comparison": ("compare", "compare_splits", "pick", "split_validation"),
    "estimator": ("MetaClassifier",),
    "judging": ("by_slices", "calibrate", "conformal_sets"),
    "models": ("MODELS", "build", "build_own", "load_meta"),
    "view": ("View",),
}
_HOMES = {name: module for module, names in _CONTENTS.items() for name in names}

_MODELS = {"DMC": "dmc", "LayerTrees": "layer_trees", "SVM": "svm", "SliceTrees": "slice_trees", "Trees": "trees"}
"""Public functions that build a model of this name: `SVM("optimizer", slice_length=200)`."""

__all__ = ["fit", *_HOMES, *_MODELS]


def __getattr__(name: str) -> Any:
    if name in _MODELS:
        return _builder(name)
    if name not in _HOMES:
        raise AttributeError(f"module 'weightprint.meta' has no attribute {name!r}")
    return getattr(importlib.import_module(f"weightprint.meta.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)


def _builder(name: str) -> Any:
    from weightprint.meta.models import build

    model = _MODELS[name]

    def make(target: str, **settings: Any) -> Any:
        return build(model, target=target, **settings)

    make.__name__ = make.__qualname__ = name
    make.__doc__ = f"The model {model} for a target; settings as for `weightprint.meta.build`."
    return make


def fit(model: str, runs: Iterable[Readable], **settings: Any) -> MetaClassifier:
    """`build(model, **settings)`, fitted on every run given: give it the training part of a split."""
    from weightprint.meta.models import build

    return build(model, **settings).fit(runs)
