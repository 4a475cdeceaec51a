"""The NWS release (Eilertsen et al., ECAI 2020) into a zoo: names, codes and columns as published.

A run is a folder: `meta.csv`, `weights/001.bin` … `020.bin` (float64), `error.bin` (float64 rows of 5) and `stat.bin`
(4 float64). Lists of runs, CSV files beside the folders, have the columns of `meta.csv`, then `weightn_conv`,
`weightn_fc` and `path`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from weightprint.errors import SetupError, ZooError
from weightprint.files import TEMPORARY_PREFIX, StrPath, sha256_hex
from weightprint.formats.importing import (
    ForeignRun,
    Progress,
    Source,
    existing_folder,
    import_runs,
    inside,
    run_folders,
)
from weightprint.formats.tables import number, read_table, whole
from weightprint.setups import Setup
from weightprint.zoo.layout import Layout
from weightprint.zoo.zoo import KIN

CODES: dict[str, tuple[str, ...]] = {
    "optimizer": ("adam", "rmsprop", "momentum"),
    "activation": ("relu", "elu", "sigmoid", "tanh"),
    "initialization": ("constant", "random_normal", "glorot_uniform", "glorot_normal"),
}
"""Fields that are whole numbers in the lists: the place of the value here."""

DATASETS = {**{name: name for name in ("mnist", "cifar10", "svhn", "stl10")}, "fashion": "fashion_mnist"}
"""Name in the lists → ours."""

COLUMNS = {
    "dataset": "dataset",
    "lrate": "learning_rate",
    **{name: name for name in ("batch_size", "batch_norm", "augmentation", *CODES)},
    **{name: name for name in ("filter_size", "depth_conv", "depth_fc", "width_conv", "width_fc")},
}
"""Column → field of a set-up, in the order of the columns."""

LIST_COLUMNS = (*COLUMNS, "weightn_conv", "weightn_fc", "path")
SNAPSHOTS = 20
ERROR_COLUMNS = ("step", "train_accuracy", "validation_accuracy", "test_accuracy", "smoothed_validation_accuracy")
"""Columns of `error.bin`, here as shares of 1 that are right; in the file in percent that are wrong."""

KIN_FILE = "kin.txt"
"""In a run's folder, of our exports alone: the name of the random streams that it was trained with."""

LIST_PROPERTY, SECONDS_PROPERTY = "published_list", "training_seconds"
"""What a run has beside its set-up: "train" or "test", where a list of that name has it; how long it took."""

FIXED = {"dropout": 0.5, "outputs": 20, "weight_decay": 0.0}
"""What the release does not write down, because all its networks have it."""

_MAX_CURVE = 1 << 22
_MAX_KIN = 1000


def import_nws(
    src: StrPath, zoo: StrPath, *, runs: int | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """Import a folder of runs with its lists, as `nws_main` and `nws_fixed` are published; see docs/exchange.md.

    Runs that no list names are imported as well (the lists leave out what converged badly); which list names a run is
    its property `published_list`. The weights of a run are those of the files bit for bit, as float32. Arguments,
    answer and errors are those of `import_runs`; ZooError also for a list that lacks a column, gives a path that
    leads out of the folder, or names a run twice.
    """
    folder = existing_folder(src)
    listed = _listed(folder)
    runs_there = run_folders(folder, lambda place, _, files: "meta.csv" in files and place != Path())
    names = sorted({*listed, *runs_there})
    lists = sha256_hex(*(path.read_bytes() for path in _lists(folder)))
    source = Source("nws", names, lambda n: _read(folder, names[n], listed.get(names[n])), {"lists": lists})
    return import_runs(source, zoo, runs=runs, progress=progress)


@dataclass(frozen=True)
class _Listed:
    """A row of a list. side: "train", "test" or the list's whole name."""

    row: Mapping[str, str]
    side: str


def _lists(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.glob("*.csv")) if not path.name.startswith(TEMPORARY_PREFIX)]


def _listed(folder: Path) -> dict[str, _Listed]:
    """Run's path inside the folder → its row."""
    listed: dict[str, _Listed] = {}
    for path in _lists(folder):
        table = read_table(path, required=LIST_COLUMNS, may_be_empty=True)
        side = next((s for s in ("train", "test") if path.stem.endswith(s)), path.stem)
        for row in table.iter_rows(named=True):
            place = inside(folder, row["path"] or "", where=str(path)).relative_to(folder)
            if place.parts[0] == folder.name and not (folder / place.parts[0]).exists():
                place = Path(*place.parts[1:])  # the list lay beside the folder, not in it
            name = place.as_posix()
            if name in listed:
                raise ZooError(f"{path} names {name} a second time", hint="a run is either a training or a test run")
            listed[name] = _Listed(row, side)
    return listed


def _read(folder: Path, name: str, listed: _Listed | None) -> ForeignRun:
    place = inside(folder, name, where="the folder")
    row = listed.row if listed is not None else _only_row(place / "meta.csv")
    setup = setup_of(row, where=name)
    layout = Layout.of(setup)
    if listed is not None:
        lengths = [whole(row[column], column) for column in ("weightn_conv", "weightn_fc")]
        if lengths != [layout.length("conv"), layout.length("fc")]:
            raise ZooError(
                f"its list gives {lengths[0]} conv and {lengths[1]} fc weights, its set-up has "
                f"{layout.length('conv')} and {layout.length('fc')}",
                hint="the row belongs to another architecture",
            )
    files = sorted((place / "weights").glob("[0-9][0-9][0-9].bin"))
    if not files or [int(file.stem) for file in files] != list(range(1, len(files) + 1)):
        raise ZooError(f"expected weights/001.bin and on, found {', '.join(f.name for f in files[:4]) or 'none'}")
    with np.errstate(over="ignore"):
        weights = np.array([doubles(file, count=layout.size).astype(np.float32) for file in files])
    curve = np.zeros((0, len(ERROR_COLUMNS)))
    if (place / "error.bin").exists():
        curve = doubles(place / "error.bin", columns=len(ERROR_COLUMNS))
        curve[:, 1:] = 1 - curve[:, 1:] / 100
    more: dict[str, Any] = {} if listed is None else {LIST_PROPERTY: listed.side}
    if (place / "stat.bin").exists():
        more[SECONDS_PROPERTY] = float(doubles(place / "stat.bin", count=4)[3])
    if (place / KIN_FILE).exists():
        with open(place / KIN_FILE, "rb") as text:
            more[KIN] = text.read(_MAX_KIN).decode(errors="replace").strip() or None
    rows: list[int] = np.round(np.linspace(0, len(curve) - 1, len(files))).astype(int).tolist() if len(curve) else []
    return ForeignRun(
        layout=layout,
        weights=weights,
        properties={**setup.to_dict(), **more},
        measurements=[dict(zip(ERROR_COLUMNS, curve[row].tolist(), strict=True)) for row in rows],
        curve=curve,
        curve_columns=ERROR_COLUMNS,
    )


def _only_row(path: Path) -> Mapping[str, str]:
    table = read_table(path, required=tuple(COLUMNS))
    if len(table) != 1:
        raise ZooError(f"{path} has {len(table)} rows where one was expected")
    return table.row(0, named=True)


def setup_of(row: Mapping[str, Any], *, where: str) -> Setup:
    """The set-up that a row of a list or of `meta.csv` describes. Raises ZooError for a value that cannot be."""
    values: dict[str, Any] = dict(FIXED)
    for column, name in COLUMNS.items():
        cell = row[column]
        if column == "dataset":
            values[name] = DATASETS.get(cell, cell)
        elif column == "lrate":
            values[name] = number(cell, column)
        elif name in CODES:
            code = whole(cell, column)
            if not 0 <= code < len(CODES[name]):
                raise ZooError(f"{where}: {column} {code} is no code; codes go from 0 to {len(CODES[name]) - 1}")
            values[name] = CODES[name][code]
        else:
            values[name] = whole(cell, column)
    for name in ("batch_norm", "augmentation"):
        if values[name] not in (0, 1):
            raise ZooError(f"{where}: {name} must be 0 or 1, not {values[name]}")
        values[name] = bool(values[name])
    try:
        return Setup(**values)
    except SetupError as error:
        raise ZooError(f"{where}: {error.message}", hint=error.hint) from error


def doubles(path: Path, *, count: int | None = None, columns: int = 1) -> npt.NDArray[np.float64]:
    """A headerless file of little-endian float64: [count], or rows [E, columns]. Raises ZooError for another length."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise ZooError(f"{path.name} cannot be read: {error.strerror}", hint="fetch the run again") from error
    fits = size == 8 * count if count is not None else size % (8 * columns) == 0 and size <= 8 * columns * _MAX_CURVE
    if not fits:
        expected = f"{8 * count:,} bytes" if count is not None else f"rows of {8 * columns} bytes"
        raise ZooError(f"{path.name} has {size:,} bytes, expected {expected}", hint="it is cut short or damaged")
    values = np.fromfile(path, dtype="<f8")
    return values if count is not None else values.reshape(-1, columns)
