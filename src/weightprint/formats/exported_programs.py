"""Programs that `torch.export.save` wrote (.pt2): raw numbers, and a description of them in JSON.

Source: torch/export/pt2_archive and torch/_export/serde/schema.py (as they are in PyTorch 2.13).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from weightprint.formats.archives import Archive
from weightprint.formats.dtypes import FORMATS
from weightprint.formats.limits import damaged
from weightprint.formats.named_tensors import Checkpoint, Collector, Stored
from weightprint.formats.pickled_tensors import Storage, item_size, viewed
from weightprint.formats.plain import parsed_json
from weightprint.formats.torch_files import add_torch_tensors

_DESCRIPTION = re.compile(r"(.*/)?data/weights/(\w+)_weights_config\.json")
_NUMBERS = {  # ScalarType of the schema
    **{1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16", 7: "float32", 8: "float64", 12: "bool"},
    **{13: "bfloat16", 28: "uint16", 29: "float8_e4m3fn", 30: "float8_e5m2", 31: "float8_e4m3fnuz"},
    **{32: "float8_e5m2fnuz", 34: "uint32", 35: "uint64"},
}
_STRIDED = 7
"""The only memory layout of the schema whose numbers lie in one stretch."""


def descriptions(archive: Archive) -> list[str]:
    """The entries that describe weights, one for each network; empty for an archive of another kind."""
    return sorted(name for name in archive.entries if _DESCRIPTION.fullmatch(name))


def read_exported(path: Path, archive: Archive) -> Checkpoint:
    """The weights of an exported program; its code is not looked at. Raises CheckpointError for a damaged one."""
    collector = Collector()
    found = descriptions(archive)
    for entry in found:
        document = parsed_json(archive.read(entry), "the description of its weights")
        described = document.get("config") if isinstance(document, dict) else None
        if not isinstance(described, dict):
            raise damaged(f"{entry} does not describe weights")
        folder, network = entry.rpartition("/")[0], _DESCRIPTION.fullmatch(entry)
        prefix = f"{network[2]}." if network and len(found) > 1 else ""
        tensors = {str(name): _stored(archive, folder, str(name), of) for name, of in described.items()}
        add_torch_tensors(collector, tensors, prefix)
    return collector.checkpoint(path, "torch_export", flatten_order="chw")


def _stored(archive: Archive, folder: str, name: str, described: Any) -> Stored:
    try:
        meta: Mapping[str, Any] = described["tensor_meta"]
        size, stride = ([side["as_int"] for side in meta[key]] for key in ("sizes", "strides"))
        offset, number, layout = meta["storage_offset"]["as_int"], meta["dtype"], meta["layout"]
        entry = f"{folder}/{described['path_name']}"
        dtype = _NUMBERS.get(number, f"unknown number format ({number})")
    except (KeyError, TypeError) as error:
        raise damaged(f"{name}: not described as a tensor is ({error!r})") from error
    if dtype not in FORMATS:
        return Stored.unread(size, dtype)
    if described.get("use_pickle") or layout != _STRIDED:
        return Stored.unread(size, "pickled or sparse")
    if entry not in archive.entries:
        raise damaged(f"the archive lacks the numbers of {name!r}")
    count = archive.entries[entry].file_size // item_size(dtype)
    return viewed(Storage(entry, dtype, count, lambda: archive.read(entry)), offset, size, stride, dtype)
