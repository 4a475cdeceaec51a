"""Any folder of checkpoints, with a table that says what each of them is."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path
from typing import Any

import polars as pl

from weightprint.errors import ZooError
from weightprint.files import StrPath, canonical_json, sha256_hex
from weightprint.formats.importing import (
    MOST_RUNS,
    ForeignRun,
    Progress,
    Source,
    existing_folder,
    import_runs,
    inside,
    snapshots_of,
)
from weightprint.formats.tables import read_table, typed

FILE_COLUMNS = ("file", "filename", "checkpoint", "path", "id", "name")
"""Columns that may name the file, as a path inside the folder or as its name without the ending."""

RUN_COLUMN = "run"
ORDER_COLUMNS = ("snapshot", "step", "epoch")
"""Rows of one run are its snapshots, in the order of the first of these columns that there is."""

TEST_IMAGES = "test_images"
_MEASURED_ENDINGS = ("_accuracy", "_loss")


def import_folder(
    src: StrPath, zoo: StrPath, *, table: StrPath, runs: int | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """Import checkpoints of any format that `inspect` reads, of any architectures; see docs/exchange.md.

    table: CSV with a row per file. One of FILE_COLUMNS names it; with a column `run`, the rows of equal value are the
           snapshots of one run. Columns that end in _accuracy or _loss, `step` and `epoch` are measured at the
           snapshot, all others are properties of the run. `test_images` is how many images a test accuracy stands on,
           and runs with the same text under `kin` share random streams.

    The other arguments, the answer and the errors are those of `import_runs`; ZooError also for a table without a
    column that names files, and for one whose paths lead out of the folder. Nothing in a file is ever run.
    """
    folder = existing_folder(src)
    raw = read_table(Path(table))
    files = _files(folder)
    column = _file_column(raw, files, where=str(table))
    for cell in raw[column].drop_nulls():
        inside(folder, cell, where=f"{table}, column {column},")
    values = typed(raw)
    groups: dict[str, list[int]] = defaultdict(list)
    for place, name in enumerate(raw[RUN_COLUMN if RUN_COLUMN in raw.columns else column]):
        groups[name or f"row {place + 1}"].append(place)
    names = list(groups)

    def read(place: int) -> ForeignRun:
        rows = values[groups[names[place]]].with_columns(pl.Series(_CELL, raw[column][groups[names[place]]]))
        order = next((name for name in ORDER_COLUMNS if name in rows.columns), None)
        rows = rows.sort(order, maintain_order=True) if order is not None else rows
        return _read(rows, [_file_of(cell, files) for cell in rows[_CELL]])

    source = Source("folder", names, read, {"columns": sha256_hex(canonical_json(raw.columns).encode())})
    return import_runs(source, zoo, runs=runs, progress=progress)


_CELL = "\0file"
_NO_PROPERTIES = (_CELL, ORDER_COLUMNS[0], TEST_IMAGES)


def _read(rows: pl.DataFrame, paths: list[Path]) -> ForeignRun:
    """One run from its rows, in the order of its snapshots, and their files."""
    layout, weights = snapshots_of(paths)
    measured = [n for n in rows.columns if is_measured(n) and rows[n].dtype.is_numeric()]
    first = rows.row(0, named=True)
    return ForeignRun(
        layout=layout,
        weights=weights,
        properties={name: value for name, value in first.items() if name not in (*measured, *_NO_PROPERTIES)},
        measurements=rows.select(measured).to_dicts() if measured else (),
        test_images=images if type(images := first.get(TEST_IMAGES)) is int and images > 0 else None,
    )


def is_measured(column: str) -> bool:
    """Whether a column of a table is measured at each snapshot."""
    return column in ("step", "epoch") or column.endswith(_MEASURED_ENDINGS)


def _files(folder: Path) -> dict[str, list[Path]]:
    """Path inside the folder, and name without the ending → files."""
    files: dict[str, list[Path]] = defaultdict(list)
    count = 0
    for here, _, names in os.walk(folder):
        count += len(names)
        if count > MOST_RUNS:
            raise ZooError(f"{folder} holds more than {MOST_RUNS:,} files", hint="give the folder of the checkpoints")
        for name in names:
            path = Path(here, name)
            for key in {path.relative_to(folder).as_posix(), path.name, path.stem}:
                files[key].append(path)
    return files


def _file_column(table: pl.DataFrame, files: dict[str, list[Path]], *, where: str) -> str:
    """The column most of whose cells name files."""
    candidates = [name for name in FILE_COLUMNS if name in table.columns]
    if not candidates:
        raise ZooError(
            f"{where} has no column that names the files: expected one of {', '.join(FILE_COLUMNS)}",
            hint=f"it has {', '.join(table.columns[:30])}",
        )
    return max(candidates, key=lambda name: sum(_key(cell) in files for cell in table[name]))


def _key(cell: str | None) -> str:
    return Path(cell or "").as_posix()


def _file_of(cell: str | None, files: dict[str, list[Path]]) -> Path:
    found = files.get(_key(cell), [])
    if not found:
        hint = "a path inside it, or a name without the ending"
        raise ZooError(f"there is no file {cell!r} in the folder", hint=hint)
    if len(found) > 1:
        shown = ", ".join(path.name for path in found[:3])
        raise ZooError(f"{cell!r} names {len(found)} files ({shown})", hint="write the whole path in the table")
    return found[0]
