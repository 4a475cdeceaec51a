"""The safetensors format: a 64-bit length, a JSON header, the numbers (github.com/huggingface/safetensors, README)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from weightprint.errors import CheckpointError
from weightprint.formats.dtypes import FORMATS, stored_bytes
from weightprint.formats.file_maps import FileMap
from weightprint.formats.limits import MAX_HEADER, check_tensor_count, damaged
from weightprint.formats.named_tensors import Checkpoint, Collector, Stored, checked_shape
from weightprint.formats.plain import parsed_json, plain, told_value
from weightprint.formats.torch_files import add_torch_tensors

_DTYPES = {form.safetensors: name for name, form in FORMATS.items() if form.safetensors}


def looks_like_safetensors(file: FileMap) -> bool:
    """Whether the file begins as a safetensors file does: a length, then a JSON object."""
    return file.size > 8 and bytes(file.view(8, 1)) == b"{" and int.from_bytes(file.view(0, 8), "little") < 1 << 40


def read_safetensors(path: Path, file: FileMap) -> Checkpoint:
    """A single .safetensors file; raises CheckpointError for a damaged one, or one without weights."""
    tensors, metadata = stored_tensors(file)
    collector = Collector()
    add_torch_tensors(collector, tensors)
    return collector.checkpoint(path, "safetensors", declared=metadata, flatten_order=flatten_order(metadata, tensors))


def stored_tensors(file: FileMap) -> tuple[dict[str, Stored], dict[str, Any]]:
    """(name → tensor, the file's metadata with JSON values parsed).

    The order is the file's; where that is merely alphabetical, numbers in names count as numbers (layer 2 before 10).
    """
    if file.size < 8:
        raise CheckpointError(f"a file of {file.size} bytes, too short for a safetensors header")
    length = int.from_bytes(file.view(0, 8), "little")
    if length > min(file.size - 8, MAX_HEADER):
        raise CheckpointError(
            f"its safetensors header claims {length:,} bytes, the file has {file.size:,}",
            hint="it is cut short, damaged or no safetensors file: fetch it again",
        )
    raw = bytes(file.view(8, length))
    check_tensor_count(raw.count(b'"data_offsets"'))
    header = parsed_json(raw, "its safetensors header")
    if not isinstance(header, dict):
        raise CheckpointError("its safetensors header is no JSON object", hint="fetch the file again")
    metadata = header.pop("__metadata__", {})
    names = list(header)
    if names == sorted(names):
        names.sort(key=_numbers_as_numbers)
    start = 8 + length
    tensors = {name: _tensor(file, name, header[name], start) for name in names}
    return tensors, _parsed(metadata if isinstance(metadata, dict) else {})


def flatten_order(metadata: dict[str, Any], names: Any) -> str | None:
    """ "chw" for tensors written by PyTorch or named as it names them, "hwc" for Keras's and Flax's, else None."""
    writer = metadata.get("format")
    if writer in ("tf", "flax", "keras") or any(name.endswith("kernel") for name in names):
        return "hwc"
    return "chw" if writer == "pt" or any(name.endswith(".weight") for name in names) else None


def _tensor(file: FileMap, name: str, entry: Any, start: int) -> Stored:
    if not isinstance(entry, dict):
        raise CheckpointError(f"tensor {name!r} is not described as safetensors has it", hint="fetch the file again")
    shape = checked_shape(entry.get("shape"), f"tensor {name!r}")
    first, last = checked_shape(entry.get("data_offsets"), f"the place of tensor {name!r}")
    dtype = _DTYPES.get(str(entry.get("dtype")), f"quantised or unknown format ({str(entry.get('dtype'))[:20]})")
    if not 0 <= first <= last <= file.size - start:
        raise damaged(f"tensor {name!r} lies beyond the end of the file")
    if dtype in FORMATS and last - first != stored_bytes(dtype, shape):
        raise CheckpointError(
            f"tensor {name!r} of shape {list(shape)} does not fit its {last - first:,} bytes",
            hint="the file is damaged",
        )
    return Stored(shape, dtype, lambda: file.array(start + first, shape, dtype))


def _parsed(metadata: dict[str, Any]) -> dict[str, Any]:
    """Metadata values are texts; those that hold JSON objects or lists are parsed."""
    return plain({key: told_value(value) for key, value in metadata.items()})


def _numbers_as_numbers(name: str) -> list[tuple[bool, int, str]]:
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in re.split(r"(\d{1,9})", name)]
