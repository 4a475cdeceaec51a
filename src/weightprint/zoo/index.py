"""The index of a zoo: one row per run file, derived from the files and rebuilt wherever they changed.

A zoo of a million runs is opened by looking at its thousand folders, not at its files: a file that was added, removed
or renamed into place changes its folder's time. Three rules keep that safe, the second and third as in git:

- a small zoo, and any zoo when asked (`thorough`), has every file looked at;
- a folder that changed within two seconds of being listed is listed again the next time, because a later change might
  not show in its time; so is a folder with an unreadable run;
- a file that changed within two seconds of being read is read again the next time its folder is listed.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from json.encoder import encode_basestring
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from weightprint.errors import ZooError
from weightprint.files import canonical_json, sha256_hex, write_atomic
from weightprint.seeds import seed_from_hash, uniform_from_hash
from weightprint.setups import CLASSES, EverydaySetup, Setup
from weightprint.setups.everyday import IMAGE_KINDS
from weightprint.zoo import runfile
from weightprint.zoo.layout import Layout

INDEX_FILE = "index.parquet"
CHECKSUM_KEY, CHECKSUM_PREFIX = "checksum", b"weightprint-index-sha256="
"""Of the Parquet file's own metadata, which lie at its end: the checksum follows the last prefix in the file."""
RUNS_FOLDER = "runs"
RUNS_PER_FOLDER = 1000
UNREADABLE = "unreadable"
CONVERGENCE_LEVEL = 0.001
MOST_IMAGES = 1 << 31
"""No test part has more; of a run that says so it is not known whether it learned."""
ALWAYS_THOROUGH = 20_000
"""Up to so many runs every file is looked at at every opening; it takes milliseconds."""
SETTLED_NS = 2_000_000_000
"""After so long without a change the next one shows in a file's or folder's time; the coarsest file system's step."""

READING, LISTING, WRITING = 100, 2, 1
"""Microseconds, about: to read a run's header, to list a file, to write a row of the index."""

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
    "split_value": pl.Float64,
    "file_bytes": pl.Int64,
    "file_mtime_ns": pl.Int64,
}
"""Columns of every index; the properties follow by name, each under its own."""

_BOOKKEEPING: dict[str, Any] = {"read_ns": pl.Int64, "folder_stamp": pl.Int64}
"""Columns of the file alone: when the run file was read; the state of its folder, 0 when it is to be listed again."""


def run_path(zoo: Path, number: int) -> Path:
    """Where a run's file lies."""
    return zoo / RUNS_FOLDER / f"{number // RUNS_PER_FOLDER:04d}" / _run_name(number)


def _run_name(number: int) -> str:
    return f"{number:07d}.safetensors"


def _folders(zoo: Path) -> list[tuple[int, os.DirEntry[str]]]:
    """(folder number, directory entry), in order."""
    try:
        with os.scandir(zoo / RUNS_FOLDER) as entries:
            folders = [(int(e.name), e) for e in entries if e.name.isdecimal() and len(e.name) < 16 and e.is_dir()]
    except FileNotFoundError:
        return []
    return sorted((pair for pair in folders if pair[1].name == f"{pair[0]:04d}"), key=lambda pair: pair[0])


def _run_number(name: str, block: int) -> int | None:
    """The number of the run whose file has this name in this folder, or None for what is no run file."""
    stem, _, suffix = name.partition(".")
    if suffix != "safetensors" or not stem.isdecimal():
        return None
    number = int(stem)
    return number if number // RUNS_PER_FOLDER == block and name == _run_name(number) else None


def stray_entries(zoo: Path) -> list[Path]:
    """What lies among the runs and is neither a run file nor a folder of runs, in order."""
    strays = []
    folders = _folders(zoo)
    with contextlib.suppress(FileNotFoundError):
        strays += [zoo / RUNS_FOLDER / name for name in {*os.listdir(zoo / RUNS_FOLDER)} - {e.name for _, e in folders}]
    for block, entry in folders:
        strays += [Path(entry.path, name) for name in os.listdir(entry.path) if _run_number(name, block) is None]
    return sorted(strays)


def build_index(zoo: Path, *, thorough: bool = False) -> pl.DataFrame:
    """The index of the run files as they are now, in the order of their numbers.

    thorough: look at every file. Otherwise a large zoo's folders that show no change are taken as they were, and a
              file that was written over in place, without being renamed, is found when it is read

    A file that cannot be read has the status "unreadable" and says why in `reason`.
    """
    stored = _stored_index(zoo)
    look = _look(zoo, stored, thorough=thorough or len(stored) <= ALWAYS_THOROUGH)
    index = stored if look.kept.all() else stored.filter(pl.Series(look.kept))
    index = index.with_columns(pl.Series("folder_stamp", look.stamps[look.kept], dtype=pl.Int64))
    if look.to_read:
        index = pl.concat([index, *(_read_runs(zoo, files) for files in look.to_read)], how="diagonal_relaxed")
    if look.to_read or not look.kept.all():
        index = _in_order(index)
    if look.worth_writing:
        _store_index(zoo, index)
    return index.drop(*_BOOKKEEPING)


@dataclass
class _Look:
    """What a look at the files of a zoo found.

    kept:    which rows of the stored index still hold
    stamps:  of the folders, one for each row of the stored index
    to_read: of each folder the files without a row that holds, [F, 4]: number, size, time of change, folder's stamp
    listed:  how many files lie in folders whose stamp is a new one
    hidden:  whether something changed that the next look would miss, because its folder does not show it
    """

    kept: np.ndarray
    stamps: np.ndarray
    to_read: list[np.ndarray] = field(default_factory=list)
    listed: int = 0
    hidden: bool = False

    @property
    def worth_writing(self) -> bool:
        """Whether the index is written again: always in a small zoo, and in a large one when the next look would take
        longer without it than a tenth of the time that writing takes."""
        changes = sum(map(len, self.to_read)) + int((~self.kept).sum())
        if self.hidden or len(self.kept) <= ALWAYS_THOROUGH:
            return bool(changes or self.listed)
        return READING * changes + LISTING * self.listed > WRITING * len(self.kept) / 10


def _look(zoo: Path, stored: pl.DataFrame, *, thorough: bool) -> _Look:
    numbers = stored["number"].to_numpy()
    stamps = stored["folder_stamp"].to_numpy()
    settled = (stored["file_mtime_ns"] + SETTLED_NS < stored["read_ns"]) & (stored["status"] != UNREADABLE)
    holds = settled.to_numpy()
    files = stored.select("number", "file_bytes", "file_mtime_ns").to_numpy()
    look = _Look(np.zeros(len(stored), dtype=bool), stamps.copy())
    for block, entry in _folders(zoo):
        stamp = _stamp(entry)
        first, last = np.searchsorted(numbers, (block * RUNS_PER_FOLDER, (block + 1) * RUNS_PER_FOLDER))
        rows = slice(first, last)
        if not thorough and stamp and last > first and stamps[first] == stamp:
            look.kept[rows] = True
            continue
        on_disk, before = _list_folder(entry.path, block), len(look.to_read)
        if len(on_disk):
            at = np.minimum(np.searchsorted(on_disk[:, 0], numbers[rows]), len(on_disk) - 1)
            look.kept[rows] = holds[rows] & (on_disk[at] == files[rows]).all(axis=1)
            new = on_disk[~np.isin(on_disk[:, 0], numbers[rows][look.kept[rows]])]
            if len(new):
                look.to_read.append(np.column_stack([new, np.full(len(new), stamp)]))
        if stamp and (stamps[rows] == stamp).any():
            look.hidden |= not look.kept[rows].all() or len(look.to_read) > before
        if (stamps[rows] != stamp).any():
            look.stamps[rows] = stamp
            look.listed += len(on_disk)
    return look


def _stamp(entry: os.DirEntry[str]) -> int:
    """A number that is another one after any file of the folder was added, removed or renamed; 0 for a folder that
    changed just now, or in the future of this machine's clock, where that cannot be promised."""
    now = time.time_ns()
    status = os.stat(entry.path)
    if max(status.st_mtime_ns, status.st_ctime_ns) + SETTLED_NS > now:
        return 0
    return seed_from_hash("folder", status.st_ino, status.st_mtime_ns, status.st_ctime_ns)


def _list_folder(path: str, block: int) -> np.ndarray:
    """[F, 3] int64: number, size and time of change of each run file, in order."""
    files = []
    with os.scandir(path) as entries:
        for entry in entries:
            number = _run_number(entry.name, block)
            if number is not None:
                with contextlib.suppress(FileNotFoundError):  # removed since it was listed
                    status = entry.stat()
                    files.append((number, status.st_size, status.st_mtime_ns))
    return np.array(sorted(files), dtype=np.int64).reshape(-1, 3)


def _read_runs(zoo: Path, files: np.ndarray) -> pl.DataFrame:
    """Rows of the index, read from run files [F, 4] of one folder."""
    rows = []
    for number, size, mtime_ns, stamp in files.tolist():
        kept = {"file_bytes": size, "file_mtime_ns": mtime_ns, "read_ns": time.time_ns(), "folder_stamp": stamp}
        rows.append(index_row(run_path(zoo, number), number) | kept)
    form: dict[str, Any] = {"schema_overrides": _STORED, "infer_schema_length": None}
    try:
        return pl.DataFrame(rows, **form)
    except (pl.exceptions.PolarsError, TypeError):  # a property is of several kinds
        return pl.concat([pl.DataFrame([row], **form) for row in rows], how="diagonal_relaxed")


_STORED = SCHEMA | _BOOKKEEPING


_NO_CHECKSUM = b"0" * 64


def _in_order(index: pl.DataFrame) -> pl.DataFrame:
    """Rows by number, the columns of every index first, then properties by name; a property that no run has is none.

    Folders with an unreadable run lose their stamp, so that it is looked at again.
    """
    if not index["number"].is_sorted():
        index = index.sort("number")
    counts = index.null_count().row(0, named=True)
    properties = sorted(name for name, nulls in counts.items() if name not in _STORED and nulls < len(index))
    index = index.select(*_STORED, *properties)
    unreadable = index.filter(pl.col("status") == UNREADABLE)["number"] // RUNS_PER_FOLDER
    if len(unreadable):
        inside = (pl.col("number") // RUNS_PER_FOLDER).is_in(unreadable.unique().to_list())
        index = index.with_columns(folder_stamp=pl.when(inside).then(0).otherwise("folder_stamp"))
    return index


def _stored_index(zoo: Path) -> pl.DataFrame:
    """The index as it was last written; empty when there is none or it is not as it was written, since it is derived.

    The checksum comes first: of a damaged file polars may read other values, panic, or ask for all memory there is.
    """
    empty = pl.DataFrame(schema=_STORED)
    try:
        data = (zoo / INDEX_FILE).read_bytes()
        if not _as_written(data):
            return empty
        stored = pl.read_parquet(io.BytesIO(data))
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return empty
    if any(stored.schema.get(name) != dtype for name, dtype in _STORED.items()):
        return empty
    if stored.select("number", "file_bytes", "file_mtime_ns", *_BOOKKEEPING).null_count().sum_horizontal().item():
        return empty
    return stored if (np.diff(stored["number"].to_numpy()) > 0).all() else empty


def _store_index(zoo: Path, index: pl.DataFrame) -> None:
    buffer = io.BytesIO()
    index.write_parquet(buffer, metadata={CHECKSUM_KEY: f"{CHECKSUM_PREFIX.decode()}{_NO_CHECKSUM.decode()}"})
    before, checksum, after = _around_checksum(buffer.getvalue())
    assert checksum == _NO_CHECKSUM  # or polars writes metadata in another way
    digest = sha256_hex(before, _NO_CHECKSUM, after).encode()
    with contextlib.suppress(OSError):  # a zoo that cannot be written to can still be read; the index is derived
        write_atomic(zoo / INDEX_FILE, b"".join((before, digest, after)))


def _as_written(data: bytes) -> bool:
    """Whether an index file's checksum is that of its bytes, with zeros in the checksum's place."""
    before, checksum, after = _around_checksum(data)
    return checksum == sha256_hex(before, _NO_CHECKSUM, after).encode()


def _around_checksum(data: bytes) -> tuple[memoryview, bytes, memoryview]:
    """An index file's bytes before its checksum, the checksum, and the bytes after it."""
    start = data.rfind(CHECKSUM_PREFIX) + len(CHECKSUM_PREFIX)
    stop = start + len(_NO_CHECKSUM)
    view = memoryview(data)
    return view[:start], data[start:stop], view[stop:]


def index_row(path: Path, number: int) -> dict[str, Any]:
    """What the index says of one run file."""
    row: dict[str, Any] = dict.fromkeys(SCHEMA)
    try:
        metadata = runfile.read_metadata(path)
        weights, weights_conv, weights_fc = _lengths(runfile.layout_of(metadata))
        if metadata["number"] != number:
            raise ZooError(f"{path.name} holds run {metadata['number']}")
        if metadata["tensors"]["weights"][1] != weights:
            raise ZooError(f"{path.name} holds {metadata['tensors']['weights'][1]} weights for a layout of {weights}")
    except ZooError as error:
        return row | {"number": number, "identity": "", "status": UNREADABLE, "reason": error.message}
    last = metadata["measurements"][-1] if metadata["measurements"] else {}
    train, validation, test = (_number(last.get(f"{part}_accuracy")) for part in ("train", "validation", "test"))
    return {
        **{name: _cell(value) for name, value in metadata["properties"].items()},
        **row,
        **{name: metadata[name] for name in ("number", "identity", "status", "reason", "sha256")},
        "snapshots": metadata["tensors"]["weights"][0],
        "weights": weights,
        "weights_conv": weights_conv,
        "weights_fc": weights_fc,
        "converged": converged(metadata["status"], test, metadata["test_images"], class_count(metadata)),
        "final_train_accuracy": train,
        "final_validation_accuracy": validation,
        "final_test_accuracy": test,
        "split_value": split_value(metadata["identity"]),
    }


@lru_cache(maxsize=1024)
def _lengths(layout: Layout) -> tuple[int, int, int]:
    return layout.size, layout.length("conv"), layout.length("fc")


def _number(value: Any) -> float | None:
    return float(value) if type(value) in (int, float) and abs(value) < math.inf else None


def _cell(value: Any) -> Any:
    """A property as a table takes it; lists, objects and very large integers as JSON text."""
    nested = isinstance(value, (list, dict))
    huge = isinstance(value, int) and not -(2**63) <= value < 2**63
    return canonical_json(value) if nested or huge else value


def split_value(identity: str, split_seed: int = 0) -> float:
    """Where between 0 and 1 a run lies in a split: below the test fraction it is a test run."""
    return uniform_from_hash("split", split_seed, identity)


def split_values(identities: Iterable[str], split_seed: int = 0) -> np.ndarray:
    """`split_value` of many runs, [N] float64; about 1 µs each."""
    start = canonical_json(["split", split_seed])[:-1] + ","
    hashes = (sha256(f"{start}{encode_basestring(identity)}]".encode()).digest()[:8] for identity in identities)
    return (np.frombuffer(b"".join(hashes), dtype=">u8") >> np.uint64(11)) / float(1 << 53)


def class_count(metadata: Mapping[str, Any]) -> int | None:
    """How many classes the images of a run have, so that guessing names one in so many right.

    What its file or its property `classes` says; ten for a set-up of ours, since each of its data sets has ten, and for
    others on one of the data sets that we know; otherwise the units of the network's last layer, at least two. None for
    a network without a kernel.
    """
    if "test_classes" in metadata:
        return metadata["test_classes"]
    properties = metadata["properties"]
    given = properties.get("classes")
    if type(given) is int and 2 <= given < MOST_IMAGES:
        return given
    is_ours = Setup.describes(properties) or EverydaySetup.describes(properties)
    if is_ours or str(properties.get("dataset")) in IMAGE_KINDS:
        return CLASSES
    units = [tensor.shape[0] for tensor in runfile.layout_of(metadata) if tensor.kind == "kernel" and tensor.shape]
    return max(units[-1], 2) if units else None


def converged(status: str, test_accuracy: float | None, test_images: int | None, classes: int | None) -> bool | None:
    """Whether a run learned: its final test accuracy lies above chance, one-sided binomial test, p < .001.

    None when the accuracy, the number of test images or that of their classes is not known.
    """
    if status != "complete":
        return False
    if test_accuracy is None or not test_images or test_images > MOST_IMAGES or classes is None:
        return None
    return round(test_accuracy * test_images) >= _least_correct(test_images, classes)


@lru_cache(maxsize=256)
def _least_correct(images: int, classes: int) -> int:
    """The smallest number of correct answers out of `images` with P(X ≥ k) < .001 when guessing."""
    from scipy.special import bdtrc

    expected = images / classes
    farthest = expected + 10 * math.sqrt(expected) + 10  # nearly never so many
    counts = np.arange(int(expected), min(images, int(farthest)) + 1)
    return int(counts[np.argmax(bdtrc(counts, images, 1 / classes) < CONVERGENCE_LEVEL)]) + 1
