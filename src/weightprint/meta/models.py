"""The table of models: each is features and a learner under a name, with the settings that suit it. By these names
meta-classifiers are built, and loaded from disk.
"""

from __future__ import annotations

import dataclasses
import importlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from weightprint.errors import CorruptFile, MetaError, check_known, did_you_mean
from weightprint.features.table import Features, features_named
from weightprint.meta.answers import Head
from weightprint.meta.estimator import MetaClassifier
from weightprint.meta.learners.base import Learner
from weightprint.meta.persistence import read_document, read_file
from weightprint.meta.targets import Target
from weightprint.meta.view import View

_LEARNERS = {
    "boosting": "boosting:Boosting",
    "linear": "linear:Linear",
    "dmc": "dmc:DMCLearner",
    "majority": "base:Majority",
    "estimator": "estimator:Estimator",
}


def learner_class(name: str) -> Any:
    """The class of a learner, loaded when first asked for. Raises MetaError for an unknown name."""
    check_known("learner", name, _LEARNERS)
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
    check_known("model", name, MODELS)
    return MODELS[name]


def build(model: str, **settings: Any) -> MetaClassifier:
    """A meta-classifier by its model's name, its settings checked: `build("svm", target="optimizer")`.

    settings: target, together and seed; those of `View`; those of the learner. `max_seconds` and `device` may be given
              to every model: one that trains on the processor alone, or cannot be capped, goes without.

    Raises MetaError for an unknown model or setting, naming the nearest known one, or a setting that cannot be.
    """
    entry = model_named(model)
    learner = learner_class(entry.learner)
    known = settings_of(model)
    for name in ("device", "max_seconds"):
        if name not in known:
            settings.pop(name, None)
    _refuse_unknown_settings(model, settings, known)
    if "target" not in settings:
        raise MetaError(f"{model} needs a target", hint="such as target='optimizer'")
    settings = {**entry.defaults, **settings}
    of_learner = {f.name: settings.pop(f.name) for f in dataclasses.fields(learner) if f.name in settings}
    return _composed(model, entry.features, learner(**of_learner), settings)


def build_own(estimator: Any, target: str, *, features: str = "statistics", name: str = "own", **settings: Any) -> Any:
    """A meta-classifier of an estimator in scikit-learn's manner: `build_own(LogisticRegression(), "optimizer")`.

    estimator: has fit(X, y) and predict(X); see `weightprint.meta.learners.estimator.Estimator`
    features:  what it is given, a name of `weightprint.features.table.FEATURES`
    name:      what the model is called
    settings:  seed, together and those of `View`

    Raises MetaError as `build` does.
    """
    known = ("seed", "together", *_VIEW_FIELDS)
    _refuse_unknown_settings(name, settings, known)
    return _composed(name, features, learner_class("estimator")(estimator), {"target": target, **settings})


def _refuse_unknown_settings(model: str, settings: Iterable[str], known: Sequence[str]) -> None:
    for name in settings:
        if name not in known:
            raise MetaError(f"{model} has no setting {name!r}", hint=did_you_mean(name, known))


def _composed(model: str, features: str, learner: Learner, settings: Mapping[str, Any]) -> MetaClassifier:
    """The meta-classifier with these settings, which are those of a view and its own."""
    view = View(**{name: value for name, value in settings.items() if name in _VIEW_FIELDS})
    further = {name: value for name, value in settings.items() if name not in _VIEW_FIELDS}
    meta = MetaClassifier(view=view, features=features, learner=learner, model=model, **further)
    meta.check()
    return meta


def load_meta(path: str | os.PathLike[str]) -> MetaClassifier:
    """The meta-classifier that `save` wrote; it predicts exactly as it did.

    Raises MetaError when there is none, or one of another version, model or features; CorruptFile when its content is
    not what was written.
    """
    from safetensors import SafetensorError

    path = Path(path)
    document = read_document(path)
    files = {name: read_file(path, name, digest) for name, digest in document["files"].items()}
    try:
        learner = learner_class(document["learner"]["name"])
        features = features_named(document["features"]["name"])
        for kind, current in (("features", features), ("learner", learner)):
            if (version := document[kind]["version"]) != current.version:
                raise MetaError(
                    f"{path} was fitted with version {version} of the {kind} {current.name}, this weightprint has "
                    f"version {current.version}",
                    hint="fit again",
                )
        meta = MetaClassifier(
            document["target"],
            view=View.from_json(document["view"]),
            features=features.name,
            learner=learner(**document["learner"]["settings"]),
            model=document["model"],
            together=tuple(document["together"]),
            seed=document["seed"],
        )
        meta.check()
        meta.heads_ = {}
        for number, head in enumerate(document["heads"]):
            target = Target(**{**head["target"], "classes": tuple(head["target"]["classes"])})
            prefix = f"{number}-"
            kept = {name.removeprefix(prefix): data for name, data in files.items() if name.startswith(prefix)}
            fitted = meta.learner.restore(kept, head["facts"])
            scale = (float(head["scale"][0]), float(head["scale"][1]))
            meta.heads_[target.name] = Head(target, scale, fitted, tuple(head["train_runs"]), head["class_counts"])
        meta.train_kin_ = tuple(document["train_kin"])
        meta.excluded_ = document["excluded"]
        meta.lengths_ = tuple(document["lengths"])
        meta.seconds_ = document["seconds"]
    except MetaError:
        raise
    except (KeyError, TypeError, IndexError, AttributeError, ValueError, RuntimeError, SafetensorError) as error:
        raise CorruptFile(f"{path} does not hold what its model needs: {error}", hint="fit again") from error
    return meta
