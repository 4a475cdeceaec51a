"""The Small CNN Zoo (Unterthiner et al., 2020, arXiv 2002.11448): one matrix of weights, a table of what each row is.

`weights.npy` is [N, P]; `metrics.csv.gz` has N rows: settings as `config.*`, `modeldir`, `step`, accuracies, losses;
`layout.csv` says which columns of the matrix are which tensor (`varname`, `start_idx`, `end_idx`, `shape`): biases
before kernels, kernels in Keras' order (height, width, input, output).
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from weightprint.errors import ZooError
from weightprint.files import StrPath, canonical_json, sha256_hex
from weightprint.formats.importing import ForeignRun, Progress, Source, existing_folder, import_runs
from weightprint.formats.layout import layout_of
from weightprint.formats.named_tensors import NamedTensor, Stored
from weightprint.formats.roles import KERAS_AXES
from weightprint.formats.tables import read_table, typed, whole
from weightprint.zoo.layout import Layout

RENAMED = {"w_init": "initialization", "l2reg": "weight_decay"}
"""Settings that have another name with us; all lose their `config.`."""

TEST_IMAGES = {"mnist": 10_000, "fashion_mnist": 10_000, "cifar10": 10_000, "svhn_cropped": 26_032}
"""Each network was evaluated on the whole test part of its data set."""

_MEASURED = ("step", "train_accuracy", "train_loss", "test_accuracy", "test_loss")
_KINDS = {"kernel": "kernel", "weight": "kernel", "bias": "bias"}


def import_small_cnn_zoo(
    src: StrPath, zoo: StrPath, *, runs: int | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """Import one data set's folder of the Small CNN Zoo; see docs/exchange.md.

    The rows of one `modeldir`, in the order of `step`, are the snapshots of one run. The matrix is mapped, never read
    as a whole. Arguments, answer and errors are those of `import_runs`; ZooError also for a file that is missing, a
    table that lacks a column, or files that do not fit together.
    """
    folder = existing_folder(src)
    matrix = _matrix(folder / "weights.npy")
    layout_table = read_table(folder / "layout.csv", required=("varname", "start_idx", "end_idx", "shape"))
    layout, order = _layout(layout_table, matrix.shape[1])
    metrics = _metrics(folder, len(matrix))
    groups = metrics.group_by("modeldir", maintain_order=True).agg("row").sort("modeldir")
    names, rows_of = groups["modeldir"].to_list(), groups["row"]

    def read(place: int) -> ForeignRun:
        table = metrics[rows_of[place].to_numpy()].sort("step", maintain_order=True)
        first = table.row(0, named=True)
        settings = {name.removeprefix("config."): value for name, value in first.items() if name.startswith("config.")}
        return ForeignRun(
            layout=layout,
            weights=matrix[table["row"].to_numpy()][:, order],
            properties={RENAMED.get(name, name): value for name, value in settings.items()},
            measurements=table.select(name for name in _MEASURED if name in table.columns).to_dicts(),
            test_images=TEST_IMAGES.get(str(settings.get("dataset"))),
        )

    facts = {"columns": sha256_hex(canonical_json(metrics.columns).encode()), "rows": len(matrix)}
    return import_runs(Source("small_cnn_zoo", names, read, facts), zoo, runs=runs, progress=progress)


def _matrix(path: Path) -> npt.NDArray[Any]:
    try:
        matrix = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError, OverflowError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise ZooError(
            f"cannot read {path}: {reason}", hint="it is missing, cut short or no matrix: unpack it again"
        ) from error
    if not isinstance(matrix, np.ndarray) or matrix.ndim != 2 or matrix.dtype.kind != "f":
        raise ZooError(f"{path} holds no matrix of real numbers", hint="expected one row of weights per snapshot")
    return matrix


def _metrics(folder: Path, count: int) -> pl.DataFrame:
    """The table with typed columns and `row`, the row in the matrix."""
    path = folder / "metrics.csv.gz"
    if not path.exists() and (folder / "metrics.csv").exists():
        path = folder / "metrics.csv"
    table = read_table(path, required=("modeldir", "step"))
    if len(table) != count:
        raise ZooError(f"{path} has {len(table)} rows for {count} rows of weights", hint="they are of different zoos")
    if table["modeldir"].null_count():
        raise ZooError(f"{path} has rows without a modeldir", hint="the table is damaged: unpack it again")
    table = typed(table).with_columns(pl.col("modeldir").cast(pl.String), row=pl.int_range(len(table), dtype=pl.Int64))
    wrong = [n for n in _MEASURED if n in table.columns and not (table[n].dtype.is_numeric() or not table[n].count())]
    if wrong:
        names = ", ".join(wrong)
        raise ZooError(f"{path} has {names} that are no numbers", hint="the table is damaged: unpack it again")
    return table


def _layout(table: pl.DataFrame, width: int) -> tuple[Layout, npt.NDArray[np.intp]]:
    """(layout, order [P]): column `order[i]` of the matrix is weight i of ours."""
    tensors, places = [], {}
    for row in sorted(table.iter_rows(named=True), key=lambda row: whole(row["start_idx"], "start_idx")):
        name = str(row["varname"]).removesuffix(":0")
        shape = tuple(map(int, re.findall(r"\d{1,9}", row["shape"] or "")))
        start, end = whole(row["start_idx"], "start_idx"), whole(row["end_idx"], "end_idx")
        kind = _KINDS.get(re.split(r"[./]", name)[-1], "")
        axes = KERAS_AXES.get(len(shape), "") if kind == "kernel" else "o" if len(shape) == 1 else ""
        if not 0 <= start <= end <= width or end - start != math.prod(shape) or not shape:
            raise ZooError(
                f"layout.csv gives {name} the columns {start} to {end} of {width} and the shape {list(shape)}"
            )
        if not kind or not axes:
            raise ZooError(f"layout.csv has {name} of shape {list(shape)}, neither kernel nor bias")
        values = np.arange(start, end).reshape(shape)
        tensors.append(NamedTensor(name, name, shape, "float32", kind, axes, Stored.unread(shape, "float32")))
        places[name] = values.transpose([axes.index(letter) for letter in "oidhw" if letter in axes]).reshape(-1)
    layout = layout_of(tensors)
    order = np.concatenate([places[tensor.source] for tensor in layout])
    if len(places) != len(table) or not np.array_equal(np.sort(order), np.arange(width)):
        raise ZooError(f"layout.csv does not describe each of the {width} columns once", hint="it is of another zoo")
    return layout, order
