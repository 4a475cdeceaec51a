"""The numbers of an ONNX graph: initialisers, constants and data in files beside the model."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from weightprint.errors import CheckpointError
from weightprint.formats.dtypes import STORED_AS, stored_dtype
from weightprint.formats.file_maps import FileMap, as_array, inside
from weightprint.formats.named_tensors import Stored, checked_shape

_DTYPES = {  # onnx.proto, TensorProto.DataType
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    9: "bool",
    10: "float16",
    11: "float64",
    12: "uint32",
    13: "uint64",
    14: "complex64",
    15: "complex128",
    16: "bfloat16",
    17: "float8_e4m3fn",
    18: "float8_e4m3fnuz",
    19: "float8_e5m2",
    20: "float8_e5m2fnuz",
}
_WORDS = {8: "strings", 21: "quantised (uint4)", 22: "quantised (int4)", 23: "quantised (float4)"}
_FIELDS = {"float32": "float_data", "float64": "double_data", "int64": "int64_data", "uint64": "uint64_data"}
_FIELDS.update({"uint32": "uint64_data", "complex64": "float_data", "complex128": "double_data"})
_EXTERNAL = 1


class TensorReader:
    """Turns TensorProto messages into `Stored` numbers; `folder` is where external data may lie, and nowhere else."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._maps: dict[str, FileMap] = {}

    def stored(self, tensor: Any) -> Stored:
        """One tensor; raises CheckpointError where its shape does not fit its data or its data lie elsewhere."""
        name = tensor.name
        shape = checked_shape([int(side) for side in tensor.dims], f"tensor {name!r}")
        dtype = _DTYPES.get(tensor.data_type, _WORDS.get(tensor.data_type, "unknown number format"))
        if dtype not in STORED_AS:
            return Stored(shape, dtype, lambda: np.empty(0))
        length = math.prod(shape) * stored_dtype(dtype).itemsize
        if tensor.data_location == _EXTERNAL:
            return Stored(shape, dtype, self._external(tensor, shape, dtype, length))
        if tensor.HasField("raw_data"):
            held, load = len(tensor.raw_data), _raw(tensor, shape, dtype)
        else:
            field = _FIELDS.get(dtype, "int32_data")
            per_number = 2 if dtype.startswith("complex") else 1
            held = len(getattr(tensor, field)) // per_number * stored_dtype(dtype).itemsize
            load = _typed(tensor, field, shape, dtype)
        if held != length:
            raise CheckpointError(
                f"tensor {name!r} of shape {list(shape)} needs {length:,} bytes, the file has {held:,} of it",
                hint="the file is cut short or damaged: fetch it again",
            )
        return Stored(shape, dtype, load)

    def _external(self, tensor: Any, shape: tuple[int, ...], dtype: str, length: int) -> Callable[[], np.ndarray]:
        where = {entry.key: entry.value for entry in tensor.external_data}
        location = where.get("location", "")
        if location not in self._maps:
            self._maps[location] = FileMap(inside(self._folder, location))
        try:
            offset, held = int(where.get("offset", "0")), int(where.get("length", str(length)))
        except ValueError:
            raise CheckpointError(f"tensor {tensor.name!r} lies at no place that can be") from None
        if held != length:
            raise CheckpointError(f"tensor {tensor.name!r} of shape {list(shape)} does not fit its {held:,} bytes")
        file = self._maps[location]
        file.view(offset, length)
        return lambda: file.array(offset, shape, dtype)


def _raw(tensor: Any, shape: tuple[int, ...], dtype: str) -> Callable[[], np.ndarray]:
    return lambda: as_array(tensor.raw_data, shape, dtype)


def _typed(tensor: Any, field: str, shape: tuple[int, ...], dtype: str) -> Callable[[], np.ndarray]:
    def load() -> np.ndarray:
        kind = stored_dtype(dtype)
        values = np.array(getattr(tensor, field))
        if dtype.startswith("complex"):
            return (values[::2] + 1j * values[1::2]).astype(kind).reshape(shape)
        if field == "int32_data" and dtype.startswith(("float", "bfloat")):  # bit patterns
            return values.astype(f"u{kind.itemsize}").view(kind).reshape(shape)
        return values.astype(kind).reshape(shape)

    return load
