"""Weights that PyTorch modules hold in parts, put together.

Weight normalization holds a direction and a length, pruning a kernel and a mask: read is what the network uses. Of
spectral normalization, a kernel and two vectors that give its largest singular value, the kernel is read as it is
stored, which is what was drawn and trained. Names of both generations are known: `weight_g`, `weight_orig`, … of
`torch.nn.utils`, and those of `torch.nn.utils.parametrize`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from weightprint.formats.dtypes import FORMATS, to_float32
from weightprint.formats.named_tensors import Stored

_OLD = re.compile(r"((?:.*\.)?\w+)_(g|v|u|orig|mask)")
_NEW = re.compile(r"((?:.*\.)?)parametrizations\.(\w+)\.(original0|original1|original|\d+\.\w+)")
_NEW_PARTS = {"original0": "g", "original1": "v", "original": "orig"}


@dataclass
class Joined:
    """A state dict whose weights in parts are put together.

    tensors: name → numbers, float32 where they are computed from parts; the others as they are stored
    sources: name → that of its largest part, where there are parts
    parts:   name of a part that is left out → the weight to which it belongs
    """

    tensors: dict[str, Stored]
    sources: dict[str, str] = field(default_factory=dict)
    parts: dict[str, str] = field(default_factory=dict)


def joined(state_dict: Mapping[str, Stored]) -> Joined:
    """Puts together what is held in parts, each weight in its largest part's place.

    A parametrization that is not known here leaves its stored kernel under the weight's name.
    """
    groups: dict[str, dict[str, str]] = {}
    for name in state_dict:
        if new := _NEW.fullmatch(name):
            part = _NEW_PARTS.get(new[3], new[3].partition("._")[2] or new[3])
            groups.setdefault(new[1] + new[2], {})[part] = name
        elif old := _OLD.fullmatch(name):
            groups.setdefault(old[1], {})[old[2]] = name
    places: dict[str, tuple[str, Stored]] = {}
    found = Joined({})
    for weight, names in groups.items():
        whole = _whole({part: state_dict[name] for part, name in names.items()})
        main = names.get("orig", names.get("v", ""))
        if whole is None and _NEW.fullmatch(main):
            whole = state_dict[main]
        if whole is None or weight in state_dict:
            continue
        places[main] = weight, whole
        found.sources[weight] = main
        found.parts |= {name: weight for name in names.values() if name != main}
    for name, stored in state_dict.items():
        if name in places:
            weight, whole = places[name]
            found.tensors[weight] = whole
        elif name not in found.parts:
            found.tensors[name] = stored
    return found


def _whole(parts: Mapping[str, Stored]) -> Stored | None:
    """The weight; None where these are no parts of one."""
    if any(part.dtype not in FORMATS for part in parts.values()):
        return None
    shapes = {name: part.shape for name, part in parts.items()}
    if "orig" in parts:
        shape = shapes["orig"]
        if shapes.get("mask") == shape:
            return Stored(shape, "float32", lambda: _values(parts["orig"]) * _values(parts["mask"]))
        ends = [side for name in "uv" for side in shapes.get(name, ())]
        return parts["orig"] if len(ends) == 2 and math.prod(ends) == math.prod(shape) else None
    shape, length = shapes.get("v", ()), shapes.get("g")
    if len(shape) < 2 or length is None or (length and len(length) != len(shape)):
        return None
    if any(side not in (1, full) for side, full in zip(length, shape, strict=False)):
        return None
    return Stored(shape, "float32", lambda: _of_length(_values(parts["v"]), _values(parts["g"])))


def _values(part: Stored) -> npt.NDArray[np.float32]:
    return to_float32(part.load(), part.dtype)


def _of_length(direction: npt.NDArray[np.float32], length: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """length: shape () or that of `direction` with 1 for the axes over which the length is taken"""
    axes = tuple(axis for axis, side in enumerate(length.shape) if side == 1) if length.shape else None
    norm = np.sqrt(np.square(direction).sum(axes, keepdims=True))
    return direction * (length / np.maximum(norm, np.finfo(np.float32).tiny))
