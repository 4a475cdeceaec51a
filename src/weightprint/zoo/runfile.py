"""The file of one run; docs/format.md is its specification."""

from __future__ import annotations

import contextlib
import json
import math
import os
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from weightprint.errors import CorruptFile, ZooError
from weightprint.files import canonical_json, sha256_hex
from weightprint.zoo.layout import Layout

RUN_FORMAT = 1
STATUSES = ("complete", "diverged", "failed")
METADATA_KEY = "weightprint"
_LARGEST_HEADER = 100_000_000
_NUMPY_TYPES = {"F32": "<f4", "F64": "<f8"}


@dataclass(frozen=True, kw_only=True, eq=False)
class RunRecord:
    """One run as it is kept on disk.

    number:        of the run in its zoo, from 0
    identity:      names the run for splits: recipe and number, or an imported run's name
    status:        "complete", "diverged" or "failed"
    reason:        why it ended
    properties:    what is known of it: JSON values by name
    layout:        of the weight vector
    weights:       [T, P] float32, finite
    measurements:  T rows, one per snapshot: "snapshot" from 1 and numbers by name
    curve:         [E, K] float64, one row per evaluation
    curve_columns: K names
    test_images:   how many images the test accuracies stand on, or None when unknown
    test_classes:  how many classes these images have, where neither the set-up nor the network's outputs say it
    """

    number: int
    identity: str
    status: str
    reason: str
    properties: Mapping[str, Any]
    layout: Layout
    weights: np.ndarray
    measurements: list[dict[str, Any]] = field(default_factory=list)
    curve: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    curve_columns: tuple[str, ...] = ()
    test_images: int | None = None
    test_classes: int | None = None


_AS_THEY_ARE = ("number", "identity", "status", "reason", "measurements", "test_images")
"""Fields of a record that are metadata without any change."""


def encode(record: RunRecord) -> bytes:
    """The bytes of a run file: equal records give equal bytes.

    Raises ZooError when the parts of the record do not fit together.
    """
    from safetensors.numpy import save

    _check(record)
    weights = np.ascontiguousarray(record.weights, dtype="<f4")
    arrays = {"weights": weights, "curve": np.ascontiguousarray(record.curve, dtype="<f8")}
    metadata = {
        "format": RUN_FORMAT,
        **{name: getattr(record, name) for name in _AS_THEY_ARE},
        "properties": dict(record.properties),
        "layout": record.layout.to_json(),
        "curve_columns": list(record.curve_columns),
        "tensors": {name: list(array.shape) for name, array in arrays.items()},
    }
    if record.test_classes is not None:
        metadata["test_classes"] = record.test_classes
    metadata["sha256"] = _checksum({name: array.tobytes() for name, array in arrays.items()}, metadata)
    return save(arrays, metadata={METADATA_KEY: canonical_json(metadata)})


def _check(record: RunRecord) -> None:
    weights = record.weights
    problem = ""
    if record.status not in STATUSES:
        problem = f"status {record.status!r} is none of {', '.join(STATUSES)}"
    elif weights.ndim != 2 or weights.shape[1] != record.layout.size:
        problem = f"weights of shape {list(weights.shape)} do not fit a layout of {record.layout.size}"
    elif len(record.measurements) != len(weights):
        problem = f"{len(record.measurements)} rows of measurements for {len(weights)} snapshots"
    elif record.curve.ndim != 2 or record.curve.shape[1] != len(record.curve_columns):
        problem = f"a curve of shape {list(record.curve.shape)} for {len(record.curve_columns)} columns"
    elif record.status == "failed" and len(weights):
        problem = "a failed run has no weights"
    elif record.status == "complete" and not len(weights):
        problem = "a complete run has at least one snapshot"
    elif not np.isfinite(weights).all():
        problem = "weights that are not finite"
    if problem:
        raise ZooError(f"run {record.number} cannot be written: {problem}")


def _checksum(tensors: Mapping[str, bytes | memoryview], metadata: Mapping[str, Any]) -> str:
    unsigned = {key: value for key, value in metadata.items() if key != "sha256"}
    return sha256_hex(*(tensors[name] for name in sorted(tensors)), canonical_json(unsigned).encode())


def read(path: str | os.PathLike[str]) -> RunRecord:
    """Read a run file whole and check its checksum. Raises CorruptFile when anything is not as written."""
    path = Path(path)
    with _opened(path) as file:
        whole = memoryview(file.read())
    header, metadata, start = _parse_header(path, whole[:8], whole[8:], len(whole))
    data = whole[start:]
    tensors, arrays = {}, {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        tensors[name] = data[begin:end]
        arrays[name] = np.frombuffer(tensors[name], dtype=_NUMPY_TYPES[entry["dtype"]]).reshape(entry["shape"])
    if _checksum(tensors, metadata) != metadata["sha256"]:
        raise _corrupt(path, "the checksum does not match: weights or labels are not as written")
    return RunRecord(
        **{name: metadata[name] for name in _AS_THEY_ARE},
        properties=metadata["properties"],
        layout=layout_of(metadata),
        curve_columns=tuple(metadata["curve_columns"]),
        test_classes=metadata.get("test_classes"),
        weights=arrays["weights"],
        curve=arrays["curve"],
    )


def read_metadata(path: str | os.PathLike[str]) -> dict[str, Any]:
    """A run's metadata without its tensors; finds a truncated file, but not a changed one."""
    path = Path(path)
    with _opened(path) as file:
        return _read_header(path, file)[1]


def final_weights(path: str | os.PathLike[str]) -> str:
    """A name that runs share whose last snapshots hold the same weights, in whatever order of tensors and axes.

    It is made of their number, the sum of their 32 bits and the exclusive or of the mixed bits; empty without a
    snapshot. The checksum is not verified. Raises CorruptFile.
    """
    path = Path(path)
    with _opened(path) as file:
        header, _, start = _read_header(path, file)
        length = 4 * header["weights"]["shape"][1]
        if not header["weights"]["shape"][0]:
            return ""
        file.seek(start + header["weights"]["data_offsets"][1] - length)
        bits = np.frombuffer(file.read(length), dtype="<u4")
    return f"weights {len(bits)}-{bits.sum(dtype=np.uint64):x}-{np.bitwise_xor.reduce(bits * _MIXER):x}"


_MIXER = np.uint32(0x9E3779B1)
"""Odd, so that no two numbers are mixed to the same one (Knuth, The Art of Computer Programming 3, section 6.4)."""


def _read_header(path: Path, file: BinaryIO) -> tuple[dict[str, Any], dict[str, Any], int]:
    size = os.fstat(file.fileno()).st_size
    prefix = file.read(8)
    text = file.read(min(_header_length(prefix), _LARGEST_HEADER, size))
    return _parse_header(path, prefix, text, size)


def layout_of(metadata: Mapping[str, Any]) -> Layout:
    """The layout in a run's metadata; equal layouts are one object."""
    return _layout_from_text(canonical_json(metadata["layout"]))


@lru_cache(maxsize=1024)
def _layout_from_text(text: str) -> Layout:
    entries = json.loads(text)
    try:
        for entry in entries:
            words = [entry[name] for name in ("name", "kind", "part", "source", "axes")]
            if not (all(type(word) is str for word in words) and _are_counts([entry["offset"], *entry["shape"]])):
                raise ValueError(f"{entry}")
        return Layout.from_json(entries)
    except (TypeError, LookupError, ValueError, AttributeError) as error:
        raise ZooError(f"layout entries of an unknown form: {error}") from error


def _are_counts(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and 0 <= value < 2**63 for value in values)


_FORMS: dict[str, Callable[[Any], bool]] = {
    "number": lambda value: _are_counts([value]),
    "identity": lambda value: isinstance(value, str),
    "status": lambda value: value in STATUSES,
    "reason": lambda value: isinstance(value, str),
    "properties": lambda value: isinstance(value, dict),
    "layout": lambda value: isinstance(value, list),
    "measurements": lambda value: isinstance(value, list) and all(isinstance(row, dict) for row in value),
    "curve_columns": lambda value: isinstance(value, list) and all(isinstance(name, str) for name in value),
    "test_images": lambda value: value is None or _are_counts([value]),
    "test_classes": lambda value: _are_counts([value]) and value > 1,
    "sha256": lambda value: isinstance(value, str),
}
"""Of each metadata field, whether a value can be what was written. Only `test_classes` may be absent."""


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        with open(path, "rb") as file:
            yield file
    except FileNotFoundError as error:
        raise ZooError(f"there is no run file {path}") from error
    except OSError as error:
        raise ZooError(f"cannot read {path}: {error.strerror}") from error


def _header_length(prefix: bytes | memoryview) -> int:
    return struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else 0


def _parse_header(
    path: Path, prefix: bytes | memoryview, rest: bytes | memoryview, size: int
) -> tuple[dict[str, Any], dict[str, Any], int]:
    """(tensor entries, metadata, where the tensor bytes start) of a run file of the right length.

    prefix: its first 8 bytes
    rest:   what follows, as far as the end of the header at least
    size:   of the whole file
    """
    length = _header_length(prefix)
    if not 2 <= length <= min(_LARGEST_HEADER, size - 8):
        raise _corrupt(path, f"{size} bytes are too few for its header")
    text = bytes(rest[:length])
    try:
        header = json.loads(text, parse_constant=_refuse_constant)
        metadata = json.loads(header["__metadata__"][METADATA_KEY], parse_constant=_refuse_constant)
        if b"\\ud" in text.lower():
            canonical_json([header, metadata]).encode()  # refuses half a surrogate pair, which is no text
        del header["__metadata__"]
        end = max(entry["data_offsets"][1] for entry in header.values())
        shapes = {name: entry["shape"] for name, entry in header.items()}
        if {name: entry["dtype"] for name, entry in header.items()} != {"weights": "F32", "curve": "F64"}:
            raise ValueError("other tensors than weights in F32 and curve in F64")
        for entry in header.values():
            (begin, stop), shape, bits = entry["data_offsets"], entry["shape"], int(entry["dtype"][1:])
            if not (_are_counts(shape) and len(shape) == 2):
                raise ValueError(f"a tensor of shape {shape}")
            if not _are_counts([begin, stop]) or stop - begin != math.prod(shape) * bits // 8:
                raise ValueError("a tensor's bytes do not fit its shape")
        if metadata["format"] != RUN_FORMAT:
            problem = f"{path} has format {metadata['format']}, this version reads {RUN_FORMAT}"
            raise ZooError(problem, hint="read it with a newer weightprint")
        if shapes != metadata["tensors"]:
            raise ValueError(f"tensors {shapes} where {metadata['tensors']} were written")
        wrong = [name for name in _FORMS if name in metadata and not _FORMS[name](metadata[name])]
        wrong += sorted(_FORMS.keys() - metadata.keys() - {"test_classes"})
        if wrong:
            raise ValueError(f"no {', '.join(wrong)} of the right form")
        rows, snapshots = len(metadata["measurements"]), shapes["weights"][0]
        if rows != snapshots:
            raise ValueError(f"{rows} rows of measurements for {snapshots} snapshots")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise _corrupt(path, f"its header cannot be read: {error}") from error
    if size != 8 + length + end:
        raise _corrupt(path, f"it has {size} bytes where {8 + length + end} were written")
    return header, metadata, 8 + length


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _corrupt(path: Path, what: str) -> CorruptFile:
    hint = f"delete {path} and repeat the same sample command to make it again"
    return CorruptFile(f"{path.name} is damaged: {what}", hint=hint)
