"""Meta-classifiers on disk: a folder of one JSON file and what learners keep. Loading runs no stored code.

    name.meta/
      meta.json                view, features, learner, targets, identities of the training runs, versions, checksums
      0-trees.txt, 0-linear.safetensors, …   of the first target's learner: trees as text, coefficients, network weights

`meta.json` carries the SHA-256 of the other files and, under "sha256", that of itself without this field, as canonical
JSON.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weightprint.errors import CorruptFile, MetaError
from weightprint.features.table import features_named
from weightprint.files import TEMPORARY_PREFIX, canonical_json, sha256_hex, versions, write_atomic, write_json

if TYPE_CHECKING:
    from weightprint.meta.estimator import MetaClassifier

META_FILE = "meta.json"
FORMAT = "weightprint-meta"
FORMAT_VERSION = 2
_LIBRARIES = ("numpy", "scikit-learn", "lightgbm", "torch", "safetensors")


def save_meta(meta: MetaClassifier, path: str | os.PathLike[str]) -> Path:
    """Write a fitted meta-classifier as a folder that appears whole or not at all; an older one there is replaced.

    Raises MetaError before a fit, and when something that is no meta-classifier is in the way.
    """
    meta.check_fitted()
    path = Path(path)
    _refuse_other_content(path)
    files: dict[str, bytes] = {}
    heads = []
    for number, head in enumerate(meta.heads_.values()):
        files |= {f"{number}-{name}": data for name, data in head.fitted.files().items()}
        target: dict[str, Any] = {**vars(head.target), "classes": list(head.target.classes)}
        heads.append(
            {
                "target": target,
                "scale": list(head.scale),
                "train_runs": list(head.train_runs),
                "class_counts": head.class_counts,
                "facts": dict(head.fitted.facts),
            }
        )
    learner = meta.learner
    # Where unfinished fits are kept is this machine's alone.
    settings = {name: None if name == "checkpoint" else value for name, value in vars(learner).items()}
    document = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "model": meta.model,
        "target": meta.target,
        "together": list(meta.together),
        "view": meta.view.to_json(),
        "features": {"name": meta.features, "version": features_named(meta.features).version},
        "learner": {"name": learner.name, "version": learner.version, "settings": settings},
        "seed": meta.seed,
        "heads": heads,
        "train_kin": list(meta.train_kin_),
        "excluded": meta.excluded_,
        "lengths": list(meta.lengths_),
        "seconds": meta.seconds_,
        "made_with": versions(*_LIBRARIES),
        "files": {name: sha256_hex(data) for name, data in files.items()},
    }
    document["sha256"] = own_sha256(document)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.parent / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}-{path.name}"
    try:
        fresh.mkdir()
        for name, data in files.items():
            write_atomic(fresh / name, data)
        write_json(fresh / META_FILE, document)
        _replace_folder(fresh, path)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return path


def read_file(folder: Path, name: str, digest: Any) -> bytes:
    """One of the other files, checked against its checksum. Raises CorruptFile."""
    if not re.fullmatch(r"\d+-[a-z]+\.[a-z]+", name):
        raise CorruptFile(f"{folder} names a file {name!r}, which is none of a meta-classifier's", hint="fit again")
    path = folder / name
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CorruptFile(f"cannot read {path}: {error.strerror}", hint="fit again") from error
    if sha256_hex(data) != digest:
        raise CorruptFile(f"{path} is not what was written: its checksum differs", hint="fit again")
    return data


def read_document(path: Path) -> dict[str, Any]:
    """What `meta.json` in a folder says, checked against its own checksum. Raises MetaError and CorruptFile as
    `load_meta` does."""
    try:
        document = json.loads((path / META_FILE).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        problem = f"{path} is no meta-classifier: it has no {META_FILE}"
        raise MetaError(problem, hint="make one with `weightprint fit`") from None
    except OSError as error:
        raise MetaError(f"cannot read {path / META_FILE}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise CorruptFile(f"{path / META_FILE} is not valid JSON: {error}", hint="fit again") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise MetaError(f"{path / META_FILE} does not describe a meta-classifier")
    if document.get("version") != FORMAT_VERSION:
        stored = document.get("version")
        older = isinstance(stored, int) and stored < FORMAT_VERSION
        hint = "fit it again" if older else "load it with a newer weightprint"
        raise MetaError(f"{path} has format {stored}, this version reads {FORMAT_VERSION}", hint=hint)
    if document.get("sha256") != own_sha256(document) or not isinstance(document.get("files"), dict):
        raise CorruptFile(f"{path / META_FILE} is not what was written: its checksum differs", hint="fit again")
    return document


def own_sha256(document: dict[str, Any]) -> str:
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
        document = json.loads((path / META_FILE).read_text(encoding="utf-8"))
        written = {META_FILE, "arrays.safetensors", *document.get("files", ())}
        is_other = document.get("format") != FORMAT or any(entry.name not in written for entry in path.iterdir())
    except (OSError, ValueError, AttributeError, TypeError):
        is_other = True
    if is_other:
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
