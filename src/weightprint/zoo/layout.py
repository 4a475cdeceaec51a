"""Layout: which stretch of a weight vector is which tensor."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

from weightprint.errors import ZooError, did_you_mean
from weightprint.setups import EverydaySetup, Setup
from weightprint.training.architecture import tensor_entries
from weightprint.training.everyday.entries import everyday_entries

PARTS = ("conv", "fc", "other")
KINDS = ("kernel", "bias", "beta", "gamma", "moving_mean", "moving_variance", "other")
NORM_KINDS = KINDS[2:6]
ORDERS = ("chw", "hwc")
ROLES = ("attention", "embedding", "position", "recurrent", "token")
KERNEL_AXES = ("oi", "oiw", "oihw", "oidhw")
"""Axes of a kernel in canonical order, by the number of its window's axes."""


@dataclass(frozen=True)
class Flatten:
    """How the map that a fully connected kernel reads became a row of inputs.

    order: "chw" (places change fastest; PyTorch) or "hwc" (channels change fastest; Keras, and our own networks)
    size:  channels, height, width of the map, whatever the order; a map of one axis has height 1
    """

    order: str
    size: tuple[int, int, int]

    def to_json(self) -> dict[str, Any]:
        return {"order": self.order, "size": list(self.size)}


_SIDES = {1: (28, 32), 3: (24, 28, 32, 48, 64, 96, 224)}
IMAGE_SIZES = {c * side * side: (c, side, side) for c, sides in _SIDES.items() for side in sides}
"""Number of inputs → channels, height and width of the image that a first fully connected layer reads."""


def map_of(inputs: int, units: int | None, order: str) -> Flatten | None:
    """The map behind which a fully connected kernel with so many inputs stands, by sizes alone; None for no map.

    units: of the convolution that it reads, None where it reads the network's input. The places of a map are a
           square, or one row where their number is no square.
    """
    if units is None:
        return Flatten(order, IMAGE_SIZES[inputs]) if inputs in IMAGE_SIZES else None
    if units < 1 or inputs % units or inputs <= units:
        return None
    places = inputs // units
    side = math.isqrt(places)
    return Flatten(order, (units, side, side) if side * side == places else (units, 1, places))


@dataclass(frozen=True)
class Tensor:
    """One tensor's place in the weight vector.

    name:    unique, in forward order numbered from 1: "conv1/kernel", "fc2/gamma", "output/bias"; up to the last
             stroke it is the layer's name, which kernel, bias and norm of one layer share
    kind:    one of KINDS
    part:    one of PARTS
    shape:   row-major shape of the stretch
    offset:  index of its first weight
    source:  the tensor's name in the module or file it came from
    axes:    one letter per axis: o(utput), i(nput), d(epth), h(eight), w(idth); of kernels one of KERNEL_AXES
    tied_to: name of the tensor that this one shares its weights with, or None
    groups:  of a grouped convolution, in how many groups its channels fall; axis i is then the inputs of one group
    flatten: of a fully connected kernel that stands behind a map or reads an image, how that was flattened, or None
    reads:   of a kernel, names of the layers it reads from: () reads the network's input, None the layer before
    role:    one of ROLES where the tensor is no plain layer's, or None
    """

    name: str
    kind: str
    part: str
    shape: tuple[int, ...]
    offset: int
    source: str
    axes: str
    tied_to: str | None = None
    groups: int = 1
    flatten: Flatten | None = None
    reads: tuple[str, ...] | None = None
    role: str | None = None

    @property
    def layer(self) -> str:
        """Name of its layer: its own up to the last stroke, or whole where it has none."""
        return self.name.rpartition("/")[0] or self.name

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def stop(self) -> int:
        """Index after its last weight."""
        return self.offset + self.size

    def to_json(self) -> dict[str, Any]:
        """As docs/format.md writes it: an optional field that is not set is left out."""
        entry = {field.name: getattr(self, field.name) for field in fields(self)}
        entry["shape"] = list(self.shape)
        entry["flatten"] = None if self.flatten is None else self.flatten.to_json()
        entry["reads"] = None if self.reads is None else list(self.reads)
        left_out = {"groups": 1, "flatten": None, "reads": None, "role": None}
        return {name: value for name, value in entry.items() if name not in left_out or value != left_out[name]}

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Tensor:
        """The inverse of `to_json`; raises TypeError, KeyError or ValueError for an entry of another form."""
        values = {**entry, "shape": tuple(entry["shape"])}
        if (flatten := entry.get("flatten")) is not None:
            channels, height, width = flatten["size"]
            values["flatten"] = Flatten(flatten["order"], (channels, height, width))
        if (reads := entry.get("reads")) is not None:
            values["reads"] = tuple(reads)
        return cls(**values)

    def problem(self) -> str:
        """What about it is impossible, in words; "" when nothing is."""
        if self.kind not in KINDS or self.part not in PARTS:
            return f"kind {self.kind!r} and part {self.part!r}"
        if self.role is not None and self.role not in ROLES:
            return f"role {self.role!r}"
        if any(side < 0 for side in self.shape):
            return f"the impossible shape {list(self.shape)}"
        if self.groups < 1 or (self.shape and self.shape[0] % self.groups):
            return f"{self.groups} groups for shape {list(self.shape)}"
        flatten = self.flatten
        if flatten is not None and flatten.order not in ORDERS:
            return f"flatten order {flatten.order!r}"
        if flatten is not None and (len(self.shape) != 2 or math.prod(flatten.size) != self.shape[1]):
            return f"shape {list(self.shape)} behind a map of size {list(flatten.size)}"
        return ""


class Layout:
    """The tensors of a weight vector, in order and without gaps.

    Raises ZooError when tensors overlap, leave gaps, repeat a name, or are impossible (`Tensor.problem`).
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self.tensors = tuple(tensors)
        self._by_name = {t.name: t for t in self.tensors}
        end = 0
        for tensor in self.tensors:
            if tensor.offset != end:
                raise ZooError(f"layout: {tensor.name} starts at {tensor.offset}, expected {end}")
            if problem := tensor.problem():
                raise ZooError(
                    f"layout: {tensor.name} has {problem}",
                    hint=f"kinds: {', '.join(KINDS)}; parts: {', '.join(PARTS)}; roles: {', '.join(ROLES)}; "
                    f"flatten orders: {', '.join(ORDERS)}",
                )
            end = tensor.stop
        if len(self._by_name) < len(self.tensors):
            raise ZooError("layout: two tensors have the same name")
        self.size = end

    def __getitem__(self, name: str) -> Tensor:
        try:
            return self._by_name[name]
        except KeyError:
            raise ZooError(f"no tensor {name!r} in this layout", hint=did_you_mean(name, self._by_name)) from None

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Layout) and self.tensors == other.tensors

    def __hash__(self) -> int:
        return hash(self.tensors)

    def __repr__(self) -> str:
        return f"Layout({len(self.tensors)} tensors, {self.size} weights)"

    def segments(self, part: str = "all") -> tuple[tuple[int, int], ...]:
        """The longest stretches [start, stop) that lie inside one part; `all` is the whole vector."""
        if part != "all" and part not in PARTS:
            raise ZooError(f"unknown part {part!r}", hint=did_you_mean(part, ("all", *PARTS)))
        if part == "all":
            return ((0, self.size),) if self.size else ()
        stretches: list[tuple[int, int]] = []
        for tensor in self.tensors:
            if tensor.part != part or not tensor.size:
                continue
            if stretches and stretches[-1][1] == tensor.offset:
                stretches[-1] = (stretches[-1][0], tensor.stop)
            else:
                stretches.append((tensor.offset, tensor.stop))
        return tuple(stretches)

    def length(self, part: str = "all") -> int:
        """Number of weights in a part; `weightn_conv` and `weightn_fc` of the paper's release."""
        return sum(stop - start for start, stop in self.segments(part))

    def to_json(self) -> list[dict[str, Any]]:
        """A list of tensors, as docs/format.md writes it."""
        return [tensor.to_json() for tensor in self.tensors]

    @classmethod
    def from_json(cls, entries: Sequence[Mapping[str, Any]]) -> Layout:
        """The inverse of `to_json`; raises ZooError for entries of another form."""
        try:
            return cls([Tensor.from_json(entry) for entry in entries])
        except (TypeError, KeyError, ValueError) as error:
            raise ZooError(f"layout entries of an unknown form: {error}") from error

    @classmethod
    def of(cls, setup: Setup | EverydaySetup) -> Layout:
        """The layout of a set-up's network."""
        return _layout(setup)


@lru_cache(maxsize=4096)
def _layout(setup: Setup | EverydaySetup) -> Layout:
    entries = everyday_entries(setup) if isinstance(setup, EverydaySetup) else tensor_entries(setup)
    return Layout.from_json(entries)
