"""ModelZooDataset (Schürholt et al., NeurIPS 2022): runs as Ray Tune leaves them.

A run is a folder: `params.json` (settings), `result.json` (a JSON object a line, one per evaluation) and folders
`checkpoint_000025` (or `checkpoint_25`) with a PyTorch state dict in a file `checkpoints`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from weightprint.errors import ZooError
from weightprint.files import StrPath
from weightprint.formats.importing import (
    ForeignRun,
    Progress,
    Source,
    existing_folder,
    import_runs,
    inside,
    numbers_of,
    run_folders,
    snapshots_of,
)
from weightprint.formats.recorder import standard_name

RENAMED = {
    "model::nlin": "activation",
    "model::init_type": "initialization",
    "model::dropout": "dropout",
    "model::type": "architecture",
    "optim::optimizer": "optimizer",
    "optim::lr": "learning_rate",
    "optim::wd": "weight_decay",
    "optim::momentum": "momentum",
    "training::batchsize": "batch_size",
    "training::epochs_train": "epochs",
}
"""Settings that have a name with us; the others keep their own, `::` written as `_`."""

_MEASURED = (
    *("train_acc", "train_loss", "validation_acc", "val_acc"),
    *("validation_loss", "val_loss", "test_acc", "test_loss"),
)
NOT_MEASURED = -999
"""What a result says for what was not measured."""

_MAX_JSON = 64 << 20
_CHECKPOINT = re.compile(r"checkpoint_(\d{1,9})")
_MOST_ITERATIONS = 10**9


def import_model_zoos(
    src: StrPath, zoo: StrPath, *, runs: int | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """Import an unpacked zoo of ModelZooDataset; see docs/exchange.md.

    Weights are read without unpickling. Arguments, answer and errors are those of `import_runs`.
    """
    folder = existing_folder(src)
    names = run_folders(
        folder, lambda _, inner, files: "params.json" in files and any(map(_CHECKPOINT.fullmatch, inner))
    )
    source = Source("model_zoos", names, lambda number: _read(folder / names[number]))
    return import_runs(source, zoo, runs=runs, progress=progress)


def _read(place: Path) -> ForeignRun:
    settings = _json(inside(place, "params.json", where=place.name))
    results = _results(inside(place, "result.json", where=place.name))
    epochs = sorted(
        (int(match.group(1)), inside(place, f"{path.name}/checkpoints", where=place.name))
        for path in place.iterdir()
        if (match := _CHECKPOINT.fullmatch(path.name)) and path.is_dir()
    )
    layout, weights = snapshots_of([path for _, path in epochs])
    columns = tuple(sorted({name for row in results.values() for name in row}))
    curve = [[epoch, *(row.get(name, np.nan) for name in columns)] for epoch, row in sorted(results.items())]
    return ForeignRun(
        layout=layout,
        weights=weights,
        properties={RENAMED.get(name, name.replace("::", "_")): v for name, v in settings.items() if _is_label(v)},
        measurements=[{"epoch": epoch, **results.get(epoch, {})} for epoch, _ in epochs],
        curve=np.array(curve, np.float64).reshape(len(curve), 1 + len(columns)),
        curve_columns=("epoch", *columns),
    )


def _is_label(value: Any) -> bool:
    """Whether a setting is a plain one; paths of the machine that trained are none."""
    return isinstance(value, (bool, int, float)) or (isinstance(value, str) and "/" not in value)


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _MAX_JSON:
            raise ZooError(f"{path.name} has more than {_MAX_JSON >> 20} MiB", hint="no run writes that much: not read")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise ZooError(f"{path.name} cannot be read: {reason}", hint="unpack the zoo again") from error


def _json(path: Path, text: str | None = None) -> Mapping[str, Any]:
    try:
        found = json.loads(_text(path) if text is None else text)
    except (ValueError, RecursionError) as error:
        raise ZooError(f"{path.name} is damaged: {error}", hint="unpack the zoo again") from error
    if not isinstance(found, dict):
        raise ZooError(f"{path.name} holds no JSON object", hint="unpack the zoo again")
    return found


def _results(path: Path) -> dict[int, dict[str, Any]]:
    """Training iteration → what was measured after it; empty without the file."""
    if not path.exists():
        return {}
    results: dict[int, dict[str, Any]] = {}
    for line in _text(path).splitlines():
        if line.strip():
            row = _json(path, line)
            iteration = row.get("training_iteration")
            if not isinstance(iteration, int) or abs(iteration) > _MOST_ITERATIONS:
                raise ZooError("result.json has a line without training_iteration", hint="unpack the zoo again")
            given = [name for name in _MEASURED if row.get(name, NOT_MEASURED) != NOT_MEASURED]
            results[iteration] = numbers_of({standard_name(name): row[name] for name in given})
    return results
