"""The index of a zoo: one row per run file, derived from the files and rebuilt wherever they changed."""

from __future__ import annotations

import contextlib
import io
import math
import os
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import polars as pl

from weightprint import runfile
from weightprint.errors import ZooError
from weightprint.files import write_atomic
from weightprint.setups import CLASSES

INDEX_FILE = "index.parquet"
RUNS_FOLDER = "runs"
UNREADABLE = "unreadable"
CONVERGENCE_LEVEL = 0.001

SCHEMA: dict[str, Any] = {
    "number": pl.Int64,
    "identity": pl.String,
    "status": pl.String,
    "reason": pl.String,
    "snapshots": pl.Int64,
    "weights": pl.Int64,
    "weights_conv": pl.Int64,
    "weights_fc": pl.Int64,
    "converged": pl.Boolean,
    "final_train_accuracy": pl.Float64,
    "final_validation_accuracy": pl.Float64,
    "final_test_accuracy": pl.Float64,
    "sha256": pl.String,
    "file_bytes": pl.Int64,
    "file_mtime_ns": pl.Int64,
}
"""Columns of every index; the properties follow, each under its own name."""


def run_path(zoo: Path, number: int) -> Path:
    """Where a run's file lies."""
    return zoo / RUNS_FOLDER / f"{number // 1000:04d}" / f"{number:07d}.safetensors"


def run_folders(zoo: Path) -> list[Path]:
    """The folders that hold run files, in order."""
    try:
        with os.scandir(zoo / RUNS_FOLDER) as entries:
            return sorted(Path(e.path) for e in entries if e.is_dir() and e.name.isdecimal())
    except FileNotFoundError:
        return []


def run_files(folder: Path) -> Iterator[tuple[int, os.DirEntry[str]]]:
    """(run number, directory entry) of each run file in one folder, in order."""
    with os.scandir(folder) as entries:
        found = sorted((e for e in entries if e.name.endswith(".safetensors")), key=lambda e: e.name)
    for entry in found:
        stem = entry.name.removesuffix(".safetensors")
        if stem.isdecimal() and entry.name == run_path(folder, int(stem)).name:
            yield int(stem), entry


def build_index(zoo: Path) -> pl.DataFrame:
    """The index of the run files as they are now; reads only what changed since the index was written.

    A file that cannot be read has the status "unreadable" and says why in `reason`.
    """
    known = _stored_index(zoo)
    rows = {row["number"]: row for row in known.iter_rows(named=True)}
    listed = [_row(number, entry, rows) for folder in run_folders(zoo) for number, entry in run_files(folder)]
    if len(listed) == len(rows) and all(row is rows.get(row["number"]) for row in listed):
        return known
    index = pl.DataFrame(listed, schema_overrides=SCHEMA, infer_schema_length=None) if listed else _empty()
    _store_index(zoo, index)
    return index


def _row(number: int, entry: os.DirEntry[str], known: Mapping[int, dict[str, Any]]) -> dict[str, Any]:
    status = entry.stat()
    row = known.get(number)
    if row is not None and (row["file_bytes"], row["file_mtime_ns"]) == (status.st_size, status.st_mtime_ns):
        return row
    return index_row(Path(entry.path), number) | {"file_bytes": status.st_size, "file_mtime_ns": status.st_mtime_ns}


def _empty() -> pl.DataFrame:
    return pl.DataFrame(schema=SCHEMA)


def _stored_index(zoo: Path) -> pl.DataFrame:
    """The index as it was last written; empty when there is none or it is unreadable, since it is derived."""
    try:
        stored = pl.read_parquet(io.BytesIO((zoo / INDEX_FILE).read_bytes()))
    except (OSError, pl.exceptions.PolarsError):
        return _empty()
    if any(stored.schema.get(name) != dtype for name, dtype in SCHEMA.items()):
        return _empty()
    return stored


def _store_index(zoo: Path, index: pl.DataFrame) -> None:
    buffer = io.BytesIO()
    index.write_parquet(buffer)
    with contextlib.suppress(OSError):  # a zoo that cannot be written to can still be read; the index is derived
        write_atomic(zoo / INDEX_FILE, buffer.getvalue())


def index_row(path: Path, number: int) -> dict[str, Any]:
    """What the index says of one run file."""
    row: dict[str, Any] = dict.fromkeys(SCHEMA)
    try:
        metadata = runfile.read_metadata(path)
        layout = runfile.layout_of(metadata)
        if metadata["number"] != number:
            raise ZooError(f"{path.name} holds run {metadata['number']}")
    except ZooError as error:
        return row | {"number": number, "identity": "", "status": UNREADABLE, "reason": error.message}
    last = metadata["measurements"][-1] if metadata["measurements"] else {}
    final = {f"final_{part}_accuracy": last.get(f"{part}_accuracy") for part in ("train", "validation", "test")}
    return {
        **metadata["properties"],
        **row,
        "number": number,
        "identity": metadata["identity"],
        "status": metadata["status"],
        "reason": metadata["reason"],
        "snapshots": metadata["tensors"]["weights"][0],
        "weights": layout.size,
        "weights_conv": layout.length("conv"),
        "weights_fc": layout.length("fc"),
        "converged": converged(metadata["status"], final["final_test_accuracy"], metadata["test_images"]),
        **final,
        "sha256": metadata["sha256"],
    }


def converged(status: str, test_accuracy: float | None, test_images: int | None) -> bool | None:
    """Whether a run learned: its final test accuracy lies above chance, one-sided binomial test, p < .001.

    None when the accuracy or the number of test images is not known.
    """
    if status != "complete":
        return False
    if test_accuracy is None or not test_images:
        return None
    return round(test_accuracy * test_images) >= _least_correct(test_images)


@lru_cache(maxsize=256)
def _least_correct(images: int) -> int:
    """The smallest number of correct answers out of `images` with P(X ≥ k) < .001 when guessing."""
    log_p, log_q = math.log(1 / CLASSES), math.log(1 - 1 / CLASSES)
    tail = 0.0
    for k in range(images, -1, -1):
        ways = math.lgamma(images + 1) - math.lgamma(k + 1) - math.lgamma(images - k + 1)
        tail += math.exp(ways + k * log_p + (images - k) * log_q)
        if tail >= CONVERGENCE_LEVEL:
            return k + 1
    return 0
