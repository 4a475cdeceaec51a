"""CSV tables beside weights: columns of text, read with limits, then given types by their values."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from weightprint.errors import ZooError

MAX_TABLE = 2 << 30
"""Bytes of one table, unfolded."""

_TRUTHS = {"true": True, "false": False}


def read_table(path: Path, *, required: Sequence[str] = (), may_be_empty: bool = False) -> pl.DataFrame:
    """A table as text, None where a cell is empty; `.gz` is unfolded.

    Raises ZooError for a table that is missing, damaged, empty or too large, or lacks a required column.
    """
    try:
        table = pl.read_csv(_unfolded(path), infer_schema=False)
    except (OSError, pl.exceptions.PolarsError, UnicodeDecodeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise ZooError(f"cannot read the table {path}: {reason}", hint="it must be a CSV file with a header") from error
    missing = [name for name in required if name not in table.columns]
    if missing:
        raise ZooError(
            f"{path} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}",
            hint=f"it has {', '.join(table.columns[:30])}",
        )
    if not len(table) and not may_be_empty:
        raise ZooError(f"{path} has a header and no rows", hint="fetch it again")
    return table


def _unfolded(path: Path) -> bytes:
    with open(path, "rb") as file:
        data = file.read(MAX_TABLE + 1)
    if path.suffix == ".gz":
        data = _gunzipped(path, data)
    if len(data) > MAX_TABLE:
        raise ZooError(f"{path} holds more than {MAX_TABLE >> 30} GiB", hint="no table of runs is that large: not read")
    return data


def _gunzipped(path: Path, stored: bytes) -> bytes:
    unfolder = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        data = unfolder.decompress(stored, MAX_TABLE + 1)
    except zlib.error as error:
        raise ZooError(f"{path} is no gzip file, or damaged ({error})", hint="fetch it again") from error
    if not unfolder.eof and len(data) <= MAX_TABLE:
        raise ZooError(f"{path} is cut short", hint="fetch it again")
    return data


def typed(table: pl.DataFrame) -> pl.DataFrame:
    """Columns whose cells all are whole numbers, real numbers or true/false in that type; the others stay text."""
    return table.with_columns(_typed(table[name]) for name in table.columns)


def _typed(column: pl.Series) -> pl.Series:
    cells = column.str.strip_chars()
    cells = cells.set(cells == "", None)
    given = cells.drop_nulls()
    if not len(given):
        return cells
    if given.str.to_lowercase().is_in(list(_TRUTHS)).all():
        return cells.str.to_lowercase().replace_strict(_TRUTHS, return_dtype=pl.Boolean)
    for dtype in (pl.Int64, pl.Float64):
        numbers = cells.cast(dtype, strict=False)
        if numbers.null_count() == cells.null_count():
            return numbers
    return cells


def number(text: Any, what: str) -> float:
    """A finite number from a table's cell. Raises ZooError for anything else."""
    try:
        value = float(text)
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise ZooError(f"{what} must be a number, not {text!r}", hint="the table is damaged: fetch it again")
    return value


def whole(text: Any, what: str) -> int:
    """A whole number from a table's cell. Raises ZooError for anything else."""
    value = number(_TRUTHS.get(str(text).strip().lower(), text), what)
    if value != int(value):
        raise ZooError(f"{what} must be a whole number, not {text!r}", hint="the table is damaged: fetch it again")
    return int(value)
