"""A zoo written as the NWS release is: folders of runs and lists that its published scripts read."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from weightprint.errors import WeightprintError, ZooError
from weightprint.files import TEMPORARY_PREFIX, StrPath, canonical_json, write_atomic, write_json
from weightprint.formats import nws
from weightprint.formats.importing import Progress
from weightprint.formats.nws import CODES, COLUMNS, DATASETS, ERROR_COLUMNS, FIXED, LIST_PROPERTY, SNAPSHOTS
from weightprint.setups import EverydaySetup, Setup
from weightprint.zoo import Run, Zoo, in_test_part

EXPORT_FILE = "weightprint-export.json"
OPTIONS: dict[str, tuple[Any, ...]] = {
    "dataset": tuple(DATASETS.values()),
    "batch_size": (32, 64, 128, 256),
    "filter_size": (3, 5, 7),
    "depth_conv": (3, 4, 5),
    "depth_fc": (2, 3, 4),
    "width_conv": (4, 8, 12),
    "width_fc": (64, 128, 192),
    **CODES,
}
"""The values that the published reader knows; it takes any other for the last of them."""

_OUR_DATASETS = {ours: theirs for theirs, ours in DATASETS.items()}


def export_nws(
    zoo: StrPath | Zoo,
    dest: StrPath,
    *,
    numbers: Sequence[int] | None = None,
    map_: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write a zoo's complete runs as the NWS release; memory does not grow with their number.

    zoo:     a folder, or a zoo whose selection is exported
    numbers: of the runs; all where None
    map_:    value → the value to write for it, where the format has none: {"tiny_imagenet10": "stl10"}

    Writes `nws_<space>/` with a folder for each run, `nws_<space>_train.csv` and `nws_<space>_test.csv`; paths in the
    lists are relative to `dest`. Runs known not to have learned get a folder and are left out of the lists. What was
    not measured is NaN. Folders that are there stay: an interrupted export goes on.

    Returns {"dest", "runs", "train", "test", "skipped", "mapped", "notes", "seconds"}. Raises ZooError, before
    anything is written, for a run that the format cannot say, and for a folder that holds the export of something else.
    """
    started = time.perf_counter()
    opened = zoo if isinstance(zoo, Zoo) else Zoo(zoo)
    mapping = dict(map_ or {})
    runs = opened if numbers is None else opened.select(numbers=numbers)
    complete = runs.select(status="complete")
    if not len(complete):
        raise ZooError(f"no complete run to export in {opened.path}", hint="weightprint info tells what the zoo holds")
    used: dict[str, str] = {}
    for run in complete:
        _sayable(run, mapping, used)
    folder = Path(dest)
    name = opened.space_name if opened.space_name.startswith("nws") else f"nws_{opened.space_name or 'zoo'}"
    _claim(folder, {"zoo": opened.identity, "map": mapping})
    lists: dict[str, list[list[Any]]] = {"train": [], "test": []}
    listed: list[Setup] = []
    for done, run in enumerate(complete, start=1):
        setup = _sayable(run, mapping, used)
        path = f"{name}/{run.number:07d}"
        _write_run(folder / path, run, setup)
        if run.converged is not False:
            layout = run.layout
            side = run.properties.get(LIST_PROPERTY)
            if side not in lists:
                side = "test" if in_test_part(run.identity) else "train"
            lists[side].append([*_cells(setup).values(), layout.length("conv"), layout.length("fc"), path])
            listed.append(setup)
        if progress is not None:
            progress(done, len(complete))
    for side, rows in lists.items():
        write_atomic(folder / f"{name}_{side}.csv", _csv([nws.LIST_COLUMNS, *rows]))
    seen = {field: {getattr(setup, field) for setup in listed} for field in OPTIONS}
    absent = [f"{field} {value}" for field, values in OPTIONS.items() for value in values if value not in seen[field]]
    note = (
        f"no listed run has {', '.join(absent)}: the published reader balances classes, and finds no runs for such a "
        "property"
    )
    return {
        "dest": str(folder),
        "runs": len(complete),
        "train": len(lists["train"]),
        "test": len(lists["test"]),
        "skipped": len(runs) - len(complete),
        "mapped": used,
        "notes": [note] if absent else [],
        "seconds": round(time.perf_counter() - started, 3),
    }


def _sayable(run: Run, mapping: Mapping[str, str], used: dict[str, str]) -> Setup:
    """The set-up as the format can say it. Raises ZooError that names what it cannot."""
    try:
        setup = run.setup
    except WeightprintError as error:
        raise ZooError(f"{run.name} has no set-up of the paper's: {error.message}", hint=_ONLY) from error
    if isinstance(setup, EverydaySetup):
        raise ZooError(f"{run.name} is of the space everyday, whose networks NWS cannot say", hint=_ONLY)
    values = setup.to_dict()
    for field in ("dataset", *CODES):
        if values[field] not in OPTIONS[field] and values[field] in mapping:
            used[values[field]] = values[field] = mapping[values[field]]
    for field, value in {**FIXED, **OPTIONS}.items():
        allowed = value if isinstance(value, tuple) else (value,)
        if values[field] not in allowed:
            text = isinstance(values[field], str)
            shown = ", ".join(map(str, allowed))
            raise ZooError(
                f"{run.name} has {field} {values[field]}; NWS can say {shown}",
                hint=f"--map {values[field]}={allowed[0]} writes one for the other" if text else _ONLY,
            )
    if len(run.measurements) != SNAPSHOTS:
        raise ZooError(f"{run.name} has {len(run.measurements)} snapshots; NWS has {SNAPSHOTS}", hint=_ONLY)
    return Setup(**values)


_ONLY = "sample with --space main or fixed and 20 snapshots, or leave such runs out with --range"


def _claim(folder: Path, content: Mapping[str, Any]) -> None:
    """Mark a folder as that of this export. Raises ZooError when it is another's."""
    mark = folder / EXPORT_FILE
    if mark.exists():
        try:
            found = json.loads(mark.read_text(encoding="utf-8"))
        except ValueError:
            found = None
        if found is None or canonical_json(found) != canonical_json(content):
            raise ZooError(f"{folder} holds the export of another zoo or mapping", hint="choose a new folder")
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ZooError(f"{folder} exists and is not empty", hint="choose a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    write_json(mark, content)


def _write_run(place: Path, run: Run, setup: Setup) -> None:
    """A run's folder, whole or not at all."""
    if place.exists():
        return
    record = run.load()
    curve = _errors(record.curve, record.curve_columns)
    if not len(curve):
        measured = [[row.get(column, np.nan) for column in ERROR_COLUMNS] for row in record.measurements]
        curve = _errors(np.array(measured), ERROR_COLUMNS)
    has_epochs = len(record.curve) > 0 and "epoch" in record.curve_columns
    epochs = record.curve[-1, record.curve_columns.index("epoch")] if has_epochs else np.nan
    stat = [len(curve), curve[-1, 0], epochs, record.properties.get(nws.SECONDS_PROPERTY, np.nan)]
    temporary = place.parent / f"{TEMPORARY_PREFIX}{place.name}"
    shutil.rmtree(temporary, ignore_errors=True)
    (temporary / "weights").mkdir(parents=True)
    (temporary / "meta.csv").write_bytes(_csv([tuple(COLUMNS), list(_cells(setup).values())]))
    for snapshot, vector in enumerate(record.weights, start=1):
        vector.astype("<f8").tofile(temporary / "weights" / f"{snapshot:03d}.bin")
    curve.astype("<f8").tofile(temporary / "error.bin")
    np.array(stat, dtype="<f8").tofile(temporary / "stat.bin")
    (temporary / nws.KIN_FILE).write_text(run.streams, encoding="utf-8")
    os.replace(temporary, place)


def _errors(curve: npt.NDArray[np.float64], columns: tuple[str, ...]) -> npt.NDArray[np.float64]:
    """Rows of `error.bin`; NaN for what was not measured."""
    found = np.full((len(curve), len(ERROR_COLUMNS)), np.nan)
    for place, column in enumerate(ERROR_COLUMNS):
        if column in columns:
            values = curve[:, columns.index(column)]
            found[:, place] = values if column == "step" else 100 * (1 - values)
    return found


def _cells(setup: Setup) -> dict[str, Any]:
    """Column → cell of a set-up."""
    values = setup.to_dict()
    cells: dict[str, Any] = {}
    for column, field in COLUMNS.items():
        value = values[field]
        if field == "dataset":
            value = _OUR_DATASETS[value]
        elif field in CODES:
            value = CODES[field].index(value)
        cells[column] = int(value) if isinstance(value, bool) else value
    return cells


def _csv(rows: Iterable[Iterable[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()
