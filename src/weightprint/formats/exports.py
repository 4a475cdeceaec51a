"""A zoo, written as others read it: folders of state dicts, graphs, a Hugging Face dataset. Each is an index and files
beside it; a file appears whole or not at all, and an export that was interrupted is repeated by the same call."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from weightprint.errors import ZooError
from weightprint.files import TEMPORARY_PREFIX, StrPath, write_atomic
from weightprint.formats.checkpoint_folder import TEST_IMAGES, is_measured
from weightprint.formats.graphs import graph_of, tensors_by_source
from weightprint.formats.importing import Progress
from weightprint.zoo import ZOO_FILE, Run, Zoo
from weightprint.zoo.index import SCHEMA, UNREADABLE, run_path
from weightprint.zoo.zoo import KIN

INDEX = "runs.parquet"
_OF_THE_DISK = ("file_bytes", "file_mtime_ns")


def export_folder(
    zoo: StrPath | Zoo, dest: StrPath, *, numbers: Sequence[int] | None = None, progress: Progress | None = None
) -> dict[str, int]:
    """Write a state dict per snapshot: <dest>/0000017/20.safetensors; <dest>/runs.csv with a row per run; and
    <dest>/snapshots.csv with a row per state dict of the complete runs, from which `import_folder` makes a zoo again.

    `load_state_dict` takes them: names are those of the module that was trained, tensors float32. Of networks that came
    from other frameworks names are theirs and axes are in the order output, input, window.

    zoo:     a folder, or a zoo whose selection is exported
    numbers: of the runs; all where None. Runs without a snapshot have a row in the list alone
    Returns {"runs", "files"}. Raises ZooError for a folder with other things in it, CorruptFile for a damaged run.
    """
    from safetensors.numpy import save

    chosen, dest = _chosen(zoo, numbers), _prepared(dest, "runs.csv")
    table = chosen.index.select(pl.exclude(*_OF_THE_DISK, "split_value", "sha256"))
    write_atomic(dest / "runs.csv", table.write_csv().encode())
    write_atomic(dest / "snapshots.csv", _snapshots(chosen.select(status="complete")).write_csv().encode())

    def write(run: Run) -> int:
        record = run.load()
        for snapshot, weights in enumerate(record.weights, start=1):
            path = dest / _state_path(run.number, snapshot)
            path.parent.mkdir(exist_ok=True)
            tensors = {name: np.array(t) for name, t in tensors_by_source(record.layout, weights).items()}
            write_atomic(path, save(tensors, metadata={"format": "pt"}))
        return len(record.weights)

    return _each(chosen, write, progress)


def _state_path(number: int, snapshot: int) -> str:
    return f"{number:07d}/{snapshot:02d}.safetensors"


def _snapshots(zoo: Zoo) -> pl.DataFrame:
    """A row per snapshot: file, run, snapshot, kin, what was measured, then the run's properties."""
    rows: list[dict[str, Any]] = []
    for run in zoo:
        about = {"run": run.number, KIN: run.streams, TEST_IMAGES: run.test_images}
        for snapshot, row in enumerate(run.measurements, start=1):
            measured = {name: value for name, value in row.items() if is_measured(name)}
            rows.append({"file": _state_path(run.number, snapshot), **about, "snapshot": snapshot, **measured})
    if not rows:
        return pl.DataFrame(schema={"file": pl.String})
    table = pl.DataFrame(rows, infer_schema_length=None)
    properties = zoo.index.select("number", pl.exclude(*SCHEMA, *table.columns))
    return table.join(properties, left_on="run", right_on="number", how="left", maintain_order="left")


def export_graph(
    zoo: StrPath | Zoo, dest: StrPath, *, numbers: Sequence[int] | None = None, progress: Progress | None = None
) -> dict[str, int]:
    """Write a graph per run, <dest>/0000017.npz, and <dest>/runs.parquet with a row per run.

    Arrays: those of `NetworkGraph.structure`, `x` float32 [T, V, 5], `edge_attr` float32 [T, E, 1], and `other_values`
    float32 [T, O]. Nothing is pickled.

    Arguments, result and errors are those of `export_folder`.
    """
    chosen, dest = _chosen(zoo, numbers), _prepared(dest, INDEX)
    _write_index(chosen, dest)

    def write(run: Run) -> int:
        record = run.load()
        if not len(record.weights):
            return 0
        graph = graph_of(record.layout)
        buffer = io.BytesIO()
        arrays: dict[str, Any] = graph.structure() | graph.values(record.weights)
        np.savez(buffer, **arrays, other_values=record.weights[:, graph.other])
        write_atomic(dest / f"{run.number:07d}.npz", buffer.getvalue())
        return 1

    return _each(chosen, write, progress)


def export_hub(
    zoo: StrPath | Zoo,
    dest: StrPath,
    *,
    numbers: Sequence[int] | None = None,
    license: str | None = None,
    progress: Progress | None = None,
) -> dict[str, int]:
    """Write a Hugging Face dataset folder: README.md (its card), runs.parquet (a row per run, `file` names its weights)
    and the runs as they are. The folder is itself a zoo; what was pulled can be read at once.

    license: by the Hub's names ("cc-by-4.0"); the card says none where None

    The other arguments, result and errors are those of `export_folder`; unreadable runs are left out.
    """
    from weightprint.formats.hub import card

    chosen = _chosen(zoo, numbers)
    chosen = chosen.select(pl.col("status") != UNREADABLE)
    dest = _prepared(dest, ZOO_FILE)
    write_atomic(dest / ZOO_FILE, (chosen.path / ZOO_FILE).read_bytes())
    _write_index(chosen, dest)
    write_atomic(dest / "README.md", card(chosen, license=license).encode())

    def write(run: Run) -> int:
        run.load()  # nothing damaged is passed on
        path = run_path(dest, run.number)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, run.path.read_bytes())
        return 1

    return _each(chosen, write, progress)


def _chosen(zoo: StrPath | Zoo, numbers: Sequence[int] | None) -> Zoo:
    zoo = zoo if isinstance(zoo, Zoo) else Zoo(zoo)
    chosen = zoo if numbers is None else zoo.select(numbers=numbers)
    if not len(chosen):
        raise ZooError(f"{zoo.path} has no such runs to export", hint=f"it has {len(zoo)} runs")
    return chosen


def _prepared(dest: StrPath, mark: str) -> Path:
    """The folder, made where there is none; one with other things in it than an export with this file is refused."""
    dest = Path(dest)
    dest.mkdir(parents=True, exist_ok=True)
    there = [path.name for path in dest.iterdir() if not path.name.startswith(TEMPORARY_PREFIX)]
    if there and mark not in there:
        raise ZooError(f"{dest} holds other things ({there[0]})", hint="export into a new or empty folder")
    return dest


def _write_index(zoo: Zoo, dest: Path) -> None:
    names = [str(run_path(Path(), number)) for number in zoo.numbers]
    buffer = io.BytesIO()
    zoo.index.drop(_OF_THE_DISK).with_columns(file=pl.Series(names, dtype=pl.String)).write_parquet(buffer)
    write_atomic(dest / INDEX, buffer.getvalue())


def _each(zoo: Zoo, write: Callable[[Run], int], progress: Progress | None) -> dict[str, int]:
    files = 0
    for done, run in enumerate(zoo, start=1):
        files += write(run)
        if progress is not None:
            progress(done, len(zoo))
    return {"runs": len(zoo), "files": files}
