"""Meta-classifiers read from disk; `weightprint.meta.persistence` is how they lie there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from weightprint.errors import CorruptFile, MetaError
from weightprint.features.table import features_named
from weightprint.meta.estimator import MetaClassifier
from weightprint.meta.heads import Head
from weightprint.meta.models import learner_class
from weightprint.meta.persistence import read_document, read_file
from weightprint.meta.targets import Target
from weightprint.meta.view import View


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
        learner_of = document["learner"]
        cls = learner_class(learner_of["name"])
        reads = features_named(document["features"]["name"])
        _refuse_other_version(path, "features", reads.name, document["features"]["version"], reads.version)
        _refuse_other_version(path, "learner", cls.name, learner_of["version"], cls.version)
        meta = MetaClassifier(
            document["target"],
            view=View.from_json(document["view"]),
            features=reads.name,
            learner=cls(**learner_of["settings"]),
            model=document["model"],
            together=tuple(document["together"]),
            seed=document["seed"],
        )
        meta.check()
        meta.heads_ = {}
        for number, head in enumerate(document["heads"]):
            target = Target(**{**head["target"], "classes": tuple(head["target"]["classes"])})
            prefix = f"{number}-"
            own = {name.removeprefix(prefix): data for name, data in files.items() if name.startswith(prefix)}
            fitted = meta.learner.restore(own, head["facts"])
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


def _refuse_other_version(path: Path, what: str, name: str, found: Any, own: int) -> None:
    if found != own:
        raise MetaError(
            f"{path} was fitted with version {found} of the {what} {name}, this weightprint has version {own}",
            hint="fit again",
        )
