"""The numbers of an ONNX graph: initialisers, constants and data in files beside the model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from weightprint.errors import CheckpointError
from weightprint.formats.dtypes import FLOATS, FORMATS, stored_bytes, stored_dtype
from weightprint.formats.file_maps import FileMap, as_array, inside
from weightprint.formats.named_tensors import Stored, checked_shape

_DTYPES = {form.onnx: name for name, form in FORMATS.items()}
_WORDS = {8: "strings", 21: "quantised (uint4)", 22: "quantised (int4)", 23: "quantised (float4)"}
_FIELDS = {
    **{"float32": "float_data", "float64": "double_data", "complex64": "float_data", "complex128": "double_data"},
    **{"int64": "int64_data", "uint64": "uint64_data", "uint32": "uint64_data"},
}
"""Number format → where numbers lie that are not given as bytes; of all others in `int32_data`."""

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
        if dtype not in FORMATS:
            return Stored.unread(shape, dtype)
        length = stored_bytes(dtype, shape)
        if tensor.data_location == _EXTERNAL:
            return Stored(shape, dtype, self._external(tensor, shape, dtype, length))
        if tensor.HasField("raw_data"):
            held = len(tensor.raw_data)
            stored = Stored(shape, dtype, lambda: as_array(tensor.raw_data, shape, dtype))
        else:
            numbers = getattr(tensor, _FIELDS.get(dtype, "int32_data"))
            held = len(numbers) // (2 if dtype.startswith("complex") else 1) * stored_dtype(dtype).itemsize
            stored = Stored(shape, dtype, lambda: _typed(np.array(numbers), dtype).reshape(shape))
        if held != length:
            raise CheckpointError(
                f"tensor {name!r} of shape {list(shape)} needs {length:,} bytes, the file has {held:,} of it",
                hint="the file is cut short or damaged: fetch it again",
            )
        return stored

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


def _typed(values: np.ndarray, dtype: str) -> np.ndarray:
    """Numbers of a field as an array of the format's stored dtype."""
    kind = stored_dtype(dtype)
    if dtype.startswith("complex"):
        values = values[::2] + 1j * values[1::2]
    elif dtype in FLOATS and dtype not in _FIELDS:  # bit patterns in `int32_data`
        return values.astype(f"u{kind.itemsize}").view(kind)
    return values.astype(kind)
