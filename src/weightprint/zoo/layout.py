"""Layout: which stretch of a weight vector is which tensor."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from weightprint.errors import ZooError, did_you_mean
from weightprint.setups import Setup
from weightprint.training.architecture import tensor_entries

PARTS = ("conv", "fc", "other")
KINDS = ("kernel", "bias", "beta", "gamma", "moving_mean", "moving_variance", "other")
NORM_KINDS = KINDS[2:6]


@dataclass(frozen=True)
class Tensor:
    """One tensor's place in the weight vector.

    name:    unique, in forward order numbered from 1: "conv1/kernel", "fc2/gamma", "output/bias"
    kind:    one of KINDS
    part:    one of PARTS
    shape:   row-major shape of the stretch
    offset:  index of its first weight
    source:  the tensor's name in the module or file it came from
    axes:    one letter per axis: o(utput), i(nput), h(eight), w(idth)
    tied_to: name of the tensor that this one shares its weights with, or None
    """

    name: str
    kind: str
    part: str
    shape: tuple[int, ...]
    offset: int
    source: str
    axes: str
    tied_to: str | None = None

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def stop(self) -> int:
        """Index after its last weight."""
        return self.offset + self.size

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "kind": self.kind,
            "part": self.part,
            "shape": list(self.shape),
            "offset": self.offset,
            "source": self.source,
            "axes": self.axes,
            "tied_to": self.tied_to,
        }


class Layout:
    """The tensors of a weight vector, in order and without gaps.

    Raises ZooError when tensors overlap, leave gaps, repeat a name, or carry an unknown kind or part.
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self.tensors = tuple(tensors)
        self._by_name = {t.name: t for t in self.tensors}
        end = 0
        for tensor in self.tensors:
            if tensor.offset != end:
                raise ZooError(f"layout: {tensor.name} starts at {tensor.offset}, expected {end}")
            if tensor.kind not in KINDS or tensor.part not in PARTS:
                raise ZooError(
                    f"layout: {tensor.name} has kind {tensor.kind!r} and part {tensor.part!r}",
                    hint=f"kinds: {', '.join(KINDS)}; parts: {', '.join(PARTS)}",
                )
            if any(side < 0 for side in tensor.shape):
                raise ZooError(f"layout: {tensor.name} has the impossible shape {list(tensor.shape)}")
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
        found: list[tuple[int, int]] = []
        for tensor in self.tensors:
            if tensor.part != part or not tensor.size:
                continue
            if found and found[-1][1] == tensor.offset:
                found[-1] = (found[-1][0], tensor.stop)
            else:
                found.append((tensor.offset, tensor.stop))
        return tuple(found)

    def length(self, part: str = "all") -> int:
        """Number of weights in a part; `weightn_conv` and `weightn_fc` of the paper's release."""
        return sum(stop - start for start, stop in self.segments(part))

    def to_json(self) -> list[dict[str, Any]]:
        return [tensor.to_json() for tensor in self.tensors]

    @classmethod
    def from_json(cls, entries: Sequence[Mapping[str, Any]]) -> Layout:
        """The inverse of `to_json`; raises ZooError for entries of another form."""
        try:
            return cls([Tensor(**{**entry, "shape": tuple(entry["shape"])}) for entry in entries])
        except (TypeError, KeyError) as error:
            raise ZooError(f"layout entries of an unknown form: {error}") from error

    @classmethod
    def of(cls, setup: Setup) -> Layout:
        """The layout of a set-up's network."""
        return _layout(setup)


@lru_cache(maxsize=4096)
def _layout(setup: Setup) -> Layout:
    return Layout.from_json(tensor_entries(setup))
