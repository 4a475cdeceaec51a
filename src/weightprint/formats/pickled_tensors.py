"""Tensors and arrays inside a pickle: what stands for PyTorch's and numpy's rebuilding functions."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from weightprint.errors import CheckpointError
from weightprint.formats.dtypes import FORMATS, stored_dtype
from weightprint.formats.file_maps import as_array
from weightprint.formats.limits import EXPANDED_FREE
from weightprint.formats.named_tensors import Stored, checked_shape
from weightprint.formats.pickles import PLAIN_BUILDERS, Buildable, Builder, Name

STORAGE_TYPES = {form.torch_storage: name for name, form in FORMATS.items() if form.torch_storage}
STORAGE_TYPES["UntypedStorage"] = "uint8"
_TORCH_NAMES = {"double": "float64", "float": "float32", "half": "float16", "long": "int64", "int": "int32"}
_QUANTISED = {"QInt8Storage": "qint8", "QUInt8Storage": "quint8", "QInt32Storage": "qint32"}


@dataclass(frozen=True)
class Storage:
    """A stretch of numbers that tensors are views of.

    key:   which one
    dtype: name of the number format, or words for one that is not read
    count: number of elements
    load:  () → its bytes
    order: "<" or ">"
    """

    key: str
    dtype: str
    count: int
    load: Callable[[], memoryview]
    order: str = "<"


def storage_dtype(kind: Any) -> str:
    """Number format of a storage's class, as the pickle names it; raises CheckpointError for an unknown one."""
    name = kind.name if isinstance(kind, Name) and kind.module.split(".")[0] == "torch" else str(kind)
    if name in STORAGE_TYPES:
        return STORAGE_TYPES[name]
    if name in _QUANTISED or name.startswith("QU"):
        return f"quantised ({_QUANTISED.get(name, name)})"
    raise CheckpointError(f"a storage of the unknown kind {kind}")


def item_size(dtype: str) -> int:
    """Bytes of one element."""
    if dtype in FORMATS:
        return stored_dtype(dtype).itemsize
    return 4 if "qint32" in dtype else 1


def viewed(storage: Storage, offset: Any, size: Any, stride: Any, dtype: str) -> Stored:
    """A tensor as a view of its storage; raises CheckpointError where it would reach beyond it."""
    shape = checked_shape(size, "a tensor")
    steps = checked_shape(stride, "a tensor's strides")
    if len(steps) != len(shape) or isinstance(offset, bool) or not isinstance(offset, int) or offset < 0:
        raise CheckpointError("a tensor whose strides do not fit its shape")
    count = storage.count * item_size(storage.dtype) // item_size(dtype)
    elements = math.prod(shape)
    reach = offset + sum((side - 1) * step for side, step in zip(shape, steps, strict=True)) + 1 if elements else 0
    if reach > count:
        raise CheckpointError(
            f"a tensor of shape {list(shape)} that reaches beyond its {count:,} stored numbers",
            hint="the file is damaged: fetch it again",
        )
    if elements > max(count, EXPANDED_FREE):
        raise CheckpointError(f"a tensor that repeats {count:,} stored numbers {elements:,} times")

    def load() -> np.ndarray:
        if elements == 0:
            return np.zeros(shape, stored_dtype(dtype, storage.order))
        data = storage.load()
        flat = as_array(data[: len(data) // item_size(dtype) * item_size(dtype)], (-1,), dtype, storage.order)
        if len(flat) < reach:
            raise CheckpointError(f"storage {storage.key!r} is shorter than its tensors", hint="fetch the file again")
        strides = tuple(step * flat.itemsize for step in steps)
        return np.lib.stride_tricks.as_strided(flat[offset:], shape, strides, writeable=False)

    return Stored(shape, dtype, load, place=(storage.key, offset, shape, steps))


def _no_values(args: tuple[Any, ...]) -> Stored:
    def load() -> np.ndarray:
        raise CheckpointError("a tensor without values")

    dtype, size = args[:2]
    return Stored(checked_shape(size, "a tensor"), f"{torch_dtype(dtype)}, without values", load)


def torch_dtype(value: Any) -> str:
    """The number format that a pickled torch.dtype names."""
    name = value.name if isinstance(value, Name) else str(value)
    name = _TORCH_NAMES.get(name, name)
    return name if name in FORMATS else f"unknown number format ({name})"


def _tensor(args: tuple[Any, ...]) -> Stored:
    """(storage, offset, size, strides, …) in the storage's own number format"""
    return _tensor_of(args, _storage(args[0]).dtype)


def _tensor_of_dtype(args: tuple[Any, ...]) -> Stored:
    return _tensor_of(args, torch_dtype(args[6]))


def _tensor_of(args: tuple[Any, ...], dtype: str) -> Stored:
    storage, offset, size, stride = args[:4]
    return viewed(_storage(storage), offset, size, stride, dtype) if dtype in FORMATS else Stored.unread(size, dtype)


def _quantised(args: tuple[Any, ...]) -> Stored:
    dtype = _storage(args[0]).dtype
    return Stored.unread(args[2], dtype if dtype.startswith("quantised") else f"quantised ({dtype})")


def _sparse(args: tuple[Any, ...]) -> Stored:
    """torch._utils._rebuild_sparse_tensor(layout, (indices…, values, size, …))"""
    sizes = [part for part in args[1] if isinstance(part, tuple)]
    return Stored.unread(sizes[-1] if sizes else (), "sparse")


def _storage(value: Any) -> Storage:
    if not isinstance(value, Storage):
        raise CheckpointError("a tensor without a storage", hint="the file is damaged: fetch it again")
    return value


def _parameter(args: tuple[Any, ...]) -> Any:
    return args[0]


def _of_subclass(args: tuple[Any, ...]) -> Any:
    """torch._tensor._rebuild_from_type_v2(function, class, arguments, state)"""
    function = TENSOR_BUILDERS.get(str(args[0]))
    if function is None or str(args[0]).startswith("builtins"):
        raise CheckpointError(f"a tensor of the class {args[1]}, built by {args[0]}, which is not called")
    return function(args[2])


# numpy


class PickledDType(Buildable):
    """numpy.dtype in a pickle; `dtype` is None for one that is not of numbers."""

    def __init__(self, args: tuple[Any, ...]) -> None:
        self.dtype: np.dtype | None = None
        code = args[0] if args and isinstance(args[0], str) else ""
        if code[:1] in tuple("fiucb") and code[1:].isdigit() and len(code) <= 3:
            self.dtype = np.dtype(code)

    def build(self, state: Any) -> None:
        if self.dtype is not None and isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


class PickledArray(Buildable):
    """numpy.ndarray in a pickle; `stored` once its state has come, None for one that is not of numbers."""

    def __init__(self, args: tuple[Any, ...]) -> None:
        self.stored: Stored | None = None

    def build(self, state: Any) -> None:
        _, shape, dtype, by_column, data = state
        shape = checked_shape(shape, "an array")
        if not isinstance(dtype, PickledDType) or dtype.dtype is None or isinstance(data, list):
            return
        kind = dtype.dtype
        if len(data) != math.prod(shape) * kind.itemsize:
            raise CheckpointError("an array whose size does not fit its shape", hint="the file is damaged")

        order: Literal["F", "C"] = "F" if by_column else "C"
        self.stored = Stored(shape, kind.name, lambda: np.frombuffer(_bytes(data), kind).reshape(shape, order=order))


def _array_of_bytes(args: tuple[Any, ...]) -> PickledArray:
    """numpy._core.numeric._frombuffer(bytes, dtype, shape, order), protocol 5"""
    data, dtype, shape, order = args
    array = PickledArray(())
    array.build((1, shape, dtype, order == "F", data))
    return array


def _scalar(args: tuple[Any, ...]) -> Any:
    kind, data = args[0], args[1] if len(args) > 1 else b""
    if not isinstance(kind, PickledDType) or kind.dtype is None or len(data) != kind.dtype.itemsize:
        return None
    return np.frombuffer(_bytes(data), dtype=kind.dtype)[0].item()


def _bytes(data: Any) -> Any:
    """Python 2's byte strings come as text."""
    return data.encode("latin1") if isinstance(data, str) else data


def _size(args: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(args[0]) if args else ()


def _device(args: tuple[Any, ...]) -> str:
    return ":".join(str(part) for part in args[:2] if isinstance(part, (str, int)))


TENSOR_BUILDERS: dict[str, Builder] = {
    **PLAIN_BUILDERS,
    **dict.fromkeys(("torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2"), _tensor),
    "torch._utils._rebuild_tensor_v3": _tensor_of_dtype,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._utils._rebuild_qtensor": _quantised,
    "torch._utils._rebuild_sparse_tensor": _sparse,
    "torch._utils._rebuild_meta_tensor_no_storage": _no_values,
    "torch._tensor._rebuild_from_type_v2": _of_subclass,
    **{f"torch.jit._pickle.build_{kind}list": _size for kind in ("int", "double", "bool")},
    "torch.jit._pickle.build_tensorlist": lambda args: list(args[0]),
    "torch.jit._pickle.restore_type_tag": _parameter,
    "torch.Size": _size,
    "torch.device": _device,
    **{f"numpy.{core}.multiarray._reconstruct": PickledArray for core in ("core", "_core")},
    **{f"numpy.{core}.multiarray.scalar": _scalar for core in ("core", "_core")},
    **{f"numpy.{core}.numeric._frombuffer": _array_of_bytes for core in ("core", "_core")},
    "numpy.dtype": PickledDType,
}
