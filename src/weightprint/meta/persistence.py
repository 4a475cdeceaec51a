"""Meta-classifiers on disk: a folder of one JSON file and one file of arrays. Loading runs no stored code.

    name.meta/
      meta.json            model, settings, classes, identities of the training runs, versions, checksums
      arrays.safetensors   coefficients, trees or network weights

`meta.json` carries the SHA-256 of `arrays.safetensors` and, under "sha256", that of itself without this field, as
canonical JSON.
"""

from __future__ import annotations

import json
import os
import platform
import secrets
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weightprint import __version__
from weightprint.errors import CorruptFile, MetaError, did_you_mean
from weightprint.files import TEMPORARY_PREFIX, canonical_json, sha256_hex, write_atomic, write_json

if TYPE_CHECKING:
    from weightprint.meta.base import MetaClassifier

META_FILE = "meta.json"
ARRAYS_FILE = "arrays.safetensors"
FORMAT = "weightprint-meta"
FORMAT_VERSION = 1
_LIBRARIES = ("numpy", "scikit-learn", "torch", "safetensors")


def save_meta(meta: MetaClassifier, path: str | os.PathLike[str]) -> Path:
    """Write a fitted meta-classifier as a folder that appears whole or not at all; an older one there is replaced.

    Raises MetaError before a fit, and when something that is no meta-classifier is in the way.
    """
    import numpy as np
    from safetensors.numpy import save

    meta._check_fitted()
    path = Path(path)
    _refuse_other_content(path)
    arrays, facts = meta._state()
    encoded = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    document = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "model": meta.name,
        "params": _listed(meta.get_params(deep=False)),
        "kind": meta.target_.kind,
        "classes": list(meta.classes_),
        "log": meta.target_.log,
        "scale": list(meta._scale),
        "zoo": meta.zoo_,
        "train_runs": list(meta.train_runs_),
        "excluded": meta.excluded_,
        "class_counts": meta.class_counts_,
        "lengths": list(meta.lengths_),
        "seconds": meta.seconds_,
        "facts": facts,
        "made_with": {
            "weightprint": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in _LIBRARIES},
        },
        "arrays_sha256": sha256_hex(encoded),
    }
    document["sha256"] = _own_sha256(document)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.parent / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}-{path.name}"
    try:
        fresh.mkdir()
        write_atomic(fresh / ARRAYS_FILE, encoded)
        write_json(fresh / META_FILE, document)
        _replace_folder(fresh, path)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return path


def load_meta(path: str | os.PathLike[str]) -> MetaClassifier:
    """The meta-classifier that `save` wrote; it predicts exactly as it did.

    Raises MetaError when there is none, or one of an unknown version or model; CorruptFile when its content is
    not what was written.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    from weightprint.meta import MODELS
    from weightprint.meta.targets import Target

    path = Path(path)
    document = _read_document(path)
    try:
        encoded = (path / ARRAYS_FILE).read_bytes()
    except OSError as error:
        raise CorruptFile(f"cannot read {path / ARRAYS_FILE}: {error.strerror}", hint="fit again") from error
    if sha256_hex(encoded) != document["arrays_sha256"]:
        raise CorruptFile(f"{path / ARRAYS_FILE} is not what was written: its checksum differs", hint="fit again")
    if document["model"] not in MODELS:
        raise MetaError(
            f"{path} holds a model {document['model']!r} that this version does not have",
            hint=did_you_mean(document["model"], MODELS),
        )
    try:
        params: dict[str, Any] = {
            name: tuple(v) if isinstance(v, list) else v for name, v in document["params"].items()
        }
        meta = MODELS[document["model"]](**params)
        meta.check()
        meta.target_ = Target(meta.target, document["kind"], tuple(document["classes"]), document["log"])
        meta.classes_ = meta.target_.classes
        meta._scale = (document["scale"][0], document["scale"][1])
        meta.zoo_ = document["zoo"]
        meta.train_runs_ = tuple(document["train_runs"])
        meta.excluded_ = document["excluded"]
        meta.class_counts_ = document["class_counts"]
        meta.lengths_ = tuple(document["lengths"])
        meta.seconds_ = document["seconds"]
        meta._restore(load(encoded), document["facts"])
    except (KeyError, TypeError, IndexError, AttributeError, RuntimeError, SafetensorError) as error:
        raise CorruptFile(f"{path} does not hold what its model needs: {error}", hint="fit again") from error
    return meta


def _read_document(path: Path) -> dict[str, Any]:
    try:
        document = json.loads((path / META_FILE).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise MetaError(
            f"{path} is no meta-classifier: it has no {META_FILE}", hint="make one with `weightprint fit`"
        ) from None
    except OSError as error:
        raise MetaError(f"cannot read {path / META_FILE}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise CorruptFile(f"{path / META_FILE} is not valid JSON: {error}", hint="fit again") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise MetaError(f"{path / META_FILE} does not describe a meta-classifier")
    if document.get("version") != FORMAT_VERSION:
        raise MetaError(
            f"{path} has format {document.get('version')}, this version reads {FORMAT_VERSION}",
            hint="load it with a newer weightprint",
        )
    if document.get("sha256") != _own_sha256(document):
        raise CorruptFile(f"{path / META_FILE} is not what was written: its checksum differs", hint="fit again")
    return document


def _own_sha256(document: dict[str, Any]) -> str:
    """The checksum of the document without the checksum."""
    try:
        return sha256_hex(canonical_json({k: v for k, v in document.items() if k != "sha256"}).encode())
    except ValueError:  # NaN, which the writer never writes
        return ""


def _refuse_other_content(path: Path) -> None:
    """Raise MetaError when `path` holds something that `save` did not write."""
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    try:
        theirs = json.loads((path / META_FILE).read_text(encoding="utf-8")).get("format") != FORMAT
        theirs = theirs or any(entry.name not in (META_FILE, ARRAYS_FILE) for entry in path.iterdir())
    except (OSError, ValueError, AttributeError):
        theirs = True
    if theirs:
        raise MetaError(f"{path} exists and is not a meta-classifier", hint="choose another path")


def _replace_folder(fresh: Path, path: Path) -> None:
    """Put `fresh` in the place of `path`. A folder cannot be renamed over a full one: the old one steps aside first."""
    old = path.parent / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}-{path.name}"
    if path.exists():
        os.replace(path, old)
    try:
        os.replace(fresh, path)
    except OSError:
        if old.exists():
            os.replace(old, path)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _listed(params: dict[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in params.items()}
