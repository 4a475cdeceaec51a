"""Number formats found in checkpoint files, and their widening or narrowing to float32."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np


class NumberFormat(NamedTuple):
    """One number format: numpy's code for its bytes, and what files call it ("" or 0 where they cannot say it).

    Formats that numpy lacks are held as unsigned integers of their size. `onnx`: onnx.proto, TensorProto.DataType.
    """

    numpy: str
    safetensors: str
    onnx: int
    torch_storage: str


FORMATS = {
    "float64": NumberFormat("f8", "F64", 11, "DoubleStorage"),
    "float32": NumberFormat("f4", "F32", 1, "FloatStorage"),
    "float16": NumberFormat("f2", "F16", 10, "HalfStorage"),
    "bfloat16": NumberFormat("u2", "BF16", 16, "BFloat16Storage"),
    "float8_e4m3fn": NumberFormat("u1", "F8_E4M3", 17, ""),
    "float8_e5m2": NumberFormat("u1", "F8_E5M2", 19, ""),
    "float8_e4m3fnuz": NumberFormat("u1", "F8_E4M3FNUZ", 18, ""),
    "float8_e5m2fnuz": NumberFormat("u1", "F8_E5M2FNUZ", 20, ""),
    "int64": NumberFormat("i8", "I64", 7, "LongStorage"),
    "int32": NumberFormat("i4", "I32", 6, "IntStorage"),
    "int16": NumberFormat("i2", "I16", 5, "ShortStorage"),
    "int8": NumberFormat("i1", "I8", 3, "CharStorage"),
    "uint64": NumberFormat("u8", "U64", 13, ""),
    "uint32": NumberFormat("u4", "U32", 12, ""),
    "uint16": NumberFormat("u2", "U16", 4, ""),
    "uint8": NumberFormat("u1", "U8", 2, "ByteStorage"),
    "bool": NumberFormat("?", "BOOL", 9, "BoolStorage"),
    "complex64": NumberFormat("c8", "C64", 14, "ComplexFloatStorage"),
    "complex128": NumberFormat("c16", "", 15, "ComplexDoubleStorage"),
}
"""Every number format whose numbers can be read, by its name."""

FLOATS = tuple(name for name in FORMATS if "float" in name)

_EIGHT_BITS = {  # name: (mantissa bits, exponent bias, without negative zero)
    "float8_e4m3fn": (3, 7, False),
    "float8_e4m3fnuz": (3, 8, True),
    "float8_e5m2fnuz": (2, 16, True),
}


def stored_dtype(dtype: str, order: str = "<") -> np.dtype:
    """numpy dtype of a format's bytes; `order` is "<" (little-endian) or ">"."""
    return np.dtype(FORMATS[dtype].numpy).newbyteorder(order)  # type: ignore[arg-type]


def stored_bytes(dtype: str, shape: tuple[int, ...]) -> int:
    """Bytes that so many numbers of a format take."""
    return math.prod(shape) * stored_dtype(dtype).itemsize


def not_weights(dtype: str, shape: tuple[int, ...]) -> str | None:
    """Why a tensor of this format is no weight, in a few words; None where it is one."""
    if dtype in FLOATS:
        return None
    if dtype in ("int8", "uint8") and len(shape) >= 2:
        return f"quantised ({dtype})"
    if dtype.startswith(("int", "uint")):
        return f"integer ({dtype})"
    if dtype == "bool":
        return "mask (bool)"
    if dtype.startswith("complex"):
        return f"complex numbers ({dtype})"
    return dtype


def to_float32(raw: np.ndarray, dtype: str) -> np.ndarray:
    """The numbers of `raw` (any shape, bytes of the format `dtype`) as C-contiguous float32.

    float32 that is already so is returned as it stands, without a copy. Narrowing float64 rounds to nearest; what is
    beyond float32's range becomes infinite. bfloat16 is the upper half of a float32, float8_e5m2 the upper half of a
    float16; the other 8-bit formats follow the OCP 8-bit floating point specification and its "fnuz" variants.
    """
    if dtype == "bfloat16":
        wide = raw.astype("=u4", order="C")
        wide <<= 16
        return wide.view(np.float32)
    if dtype == "float8_e5m2":
        half = raw.astype("=u2", order="C")
        half <<= 8
        return half.view(np.float16).astype(np.float32)
    if dtype in _EIGHT_BITS:
        return _eight_bit_values(dtype)[raw]
    with np.errstate(over="ignore", invalid="ignore"):
        return np.ascontiguousarray(raw, dtype=np.float32).reshape(raw.shape)


@lru_cache(maxsize=4)
def _eight_bit_values(dtype: str) -> np.ndarray:
    """float32 [256]: the value of each byte."""
    mantissa_bits, bias, unsigned_zero = _EIGHT_BITS[dtype]
    code = np.arange(256)
    exponent = (code & 0x7F) >> mantissa_bits
    fraction = (code & ((1 << mantissa_bits) - 1)) / (1 << mantissa_bits)
    size = np.where(exponent > 0, (1 + fraction) * 2.0 ** (exponent - bias), fraction * 2.0 ** (1 - bias))
    values = np.where(code & 0x80, -size, size).astype(np.float32)
    if unsigned_zero:
        values[0x80] = np.nan
    else:
        values[[0x7F, 0xFF]] = np.nan
    return values
