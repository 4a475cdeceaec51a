"""The table of models: each is features and a learner under a name, with the settings that suit it."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from weightprint.errors import MetaError, did_you_mean
from weightprint.features.table import Features, features_named
from weightprint.meta.estimator import MetaClassifier
from weightprint.meta.learners.base import Learner
from weightprint.meta.view import WHOLE, View

_LEARNERS = {
    "boosting": "boosting:Boosting",
    "linear": "linear:Linear",
    "dmc": "dmc:DMCLearner",
    "majority": "majority:Majority",
    "estimator": "estimator:Estimator",
}


def learner_class(name: str) -> Any:
    """The class of a learner, loaded when first asked for. Raises MetaError for an unknown name."""
    if name not in _LEARNERS:
        raise MetaError(f"unknown learner {name!r}", hint=did_you_mean(name, _LEARNERS))
    module, _, attribute = _LEARNERS[name].partition(":")
    return getattr(importlib.import_module(f"weightprint.meta.learners.{module}"), attribute)


@dataclass(frozen=True)
class Model:
    """One row of the table.

    features: what is read, a name of `weightprint.features.table.FEATURES`
    learner:  what learns from it
    defaults: of its settings, where they differ from those of `View` and the learner
    """

    features: str
    learner: str
    defaults: Mapping[str, Any] = field(default_factory=dict)

    @property
    def reads(self) -> Features:
        return features_named(self.features)


MODELS: Mapping[str, Model] = {
    "majority": Model("nothing", "majority"),
    "shapes": Model("shapes", "boosting"),
    "fields": Model("fields", "boosting"),
    "svm": Model("statistics", "linear", {"slice_length": 5000}),
    "trees": Model("statistics", "boosting"),
    "slice_trees": Model("texture", "boosting", {"slice_length": 5000, "draws": 4, "iterations": 60}),
    "layer_trees": Model("anatomy", "boosting"),
    "dmc": Model("raw", "dmc", {"slice_length": 5000}),
}
"""Every meta-classifier by its name: baselines that read no weights, then the simplest first.

majority:    answers the same for every run
shapes:      reads the length of the vector, the number of tensors and their shapes: what it finds is the architecture's
fields:      predicts from the run's other properties: how far a choice depends on the others
svm:         the paper's linear machine on sixteen statistics of a slice, or of every tensor
trees:       boosted trees on the same statistics of every tensor
slice_trees: boosted trees on the texture of slices
layer_trees: boosted trees on what layers look like, under names that every architecture has
dmc:         the paper's deep meta-classifier
"""

_VIEW_FIELDS = tuple(f.name for f in dataclasses.fields(View))
_COMMON = ("target", "together", "seed")


def settings_of(model: str) -> tuple[str, ...]:
    """The names of a model's settings. Raises MetaError for an unknown model."""
    return (*_COMMON, *_VIEW_FIELDS, *(f.name for f in dataclasses.fields(learner_class(model_named(model).learner))))


def model_named(name: str) -> Model:
    """Raises MetaError for an unknown model, naming the nearest known one."""
    if name == "joint":
        raise MetaError("joint is no model any more", hint="layer_trees, with the further properties as --together Q,R")
    if name not in MODELS:
        raise MetaError(f"unknown model {name!r}", hint=did_you_mean(name, MODELS))
    return MODELS[name]


def build(model: str, **settings: Any) -> MetaClassifier:
    """A meta-classifier by its model's name, its settings checked: `build("svm", target="optimizer")`.

    settings: target, together and seed; those of `View`; those of the learner. `max_seconds` and `device` may be given
              to every model: one that trains on the processor alone, or cannot be capped, goes without.

    Raises MetaError for an unknown model or setting, naming the nearest known one, or a setting that cannot be.
    """
    entry = model_named(model)
    learner = learner_class(entry.learner)
    of_learner = {f.name for f in dataclasses.fields(learner)}
    known = settings_of(model)
    for name in ("device", "max_seconds"):
        if name not in known:
            settings.pop(name, None)
    for name in settings:
        if name not in known:
            raise MetaError(f"{model} has no setting {name!r}", hint=did_you_mean(name, known))
    if "target" not in settings:
        raise MetaError(f"{model} needs a target", hint="such as target='optimizer'")
    settings = {**entry.defaults, **settings}
    meta = MetaClassifier(
        settings["target"],
        view=View(**{name: settings[name] for name in _VIEW_FIELDS if name in settings}),
        features=entry.features,
        learner=learner(**{name: value for name, value in settings.items() if name in of_learner}),
        model=model,
        together=settings.get("together", ()),
        seed=settings.get("seed", 0),
    )
    meta.check()
    return meta


def build_own(estimator: Any, target: str, *, features: str = "statistics", name: str = "own", **settings: Any) -> Any:
    """A meta-classifier of an estimator in scikit-learn's manner: `build_own(LogisticRegression(), "optimizer")`.

    estimator: has fit(X, y) and predict(X); see `weightprint.meta.learners.estimator.Estimator`
    features:  what it is given, a name of `weightprint.features.table.FEATURES`
    name:      what the model is called
    settings:  seed, together and those of `View`

    Raises MetaError as `build` does.
    """
    known = ("seed", "together", *_VIEW_FIELDS)
    for setting in settings:
        if setting not in known:
            raise MetaError(f"{name} has no setting {setting!r}", hint=did_you_mean(setting, known))
    learner: Learner = learner_class("estimator")(estimator)
    view = View(**{field: value for field, value in settings.items() if field in _VIEW_FIELDS})
    further = {field: value for field, value in settings.items() if field not in _VIEW_FIELDS}
    meta = MetaClassifier(target, view=view, features=features, learner=learner, model=name, **further)
    meta.check()
    return meta


def reads_whole_only(model: str) -> bool:
    """Whether a model reads whole vectors alone, as opposed to slices. Raises MetaError for an unknown model."""
    return not model_named(model).reads.slices


def default_slice_length(model: str) -> int | str:
    """The slice length where none is given."""
    return model_named(model).defaults.get("slice_length", WHOLE)
