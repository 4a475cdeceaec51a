"""A zoo as a torch Dataset: whole weight vectors, or random slices of them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

from weightprint.errors import ZooError
from weightprint.seeds import uniform_from_hash
from weightprint.zoo import Zoo


class _Held(NamedTuple):
    """A run of the data set. segments: of its part; first: snapshot; label: of its target"""

    path: Path
    number: int
    segments: tuple[tuple[int, int], ...]
    first: int
    label: Any


class WeightsDataset(Dataset):
    """One item per snapshot of the runs of a zoo, in the order of run numbers.

    An item is {"weights": float32 [L], or [P] without a slice length, "run": number, "snapshot": from 1, "start": of
    the slice, and what `transform` made of it}. With `target` also "target": the class's number (int64; `classes` names
    them), or the value (float32) where it is a real number.

    zoo:          or a selection of it; failed, diverged and unreadable runs are left out
    slice_length: L; a slice never leaves its part. Runs that have no such slice are left out, `left_out` of them
    part:         "conv", "fc", "other" or "all"
    snapshots:    first and last that are read, from 1; all where None
    target:       a property; runs without it are left out
    seed:         of where slices start, which depends on seed, epoch (`set_epoch`), run and snapshot alone, not on
                  workers or order

    Vectors of several lengths can be batched only as slices. A worker reads one snapshot's stretch of the file, not the
    run; checksums are not verified (`weightprint verify` does).
    """

    def __init__(
        self,
        zoo: Zoo,
        *,
        slice_length: int | None = None,
        part: str = "all",
        snapshots: tuple[int, int] | None = None,
        target: str | None = None,
        seed: int = 0,
        transform: Callable[[dict[str, Any]], Any] | None = None,
    ) -> None:
        self.slice_length, self.part, self.seed, self.epoch, self.transform = slice_length, part, seed, 0, transform
        self.left_out = 0
        index = zoo.index.filter(zoo.index["status"] == "complete")
        if target is not None:
            if target not in index.columns:
                raise ZooError(f"no property {target!r} in this zoo")
            index = index.drop_nulls(target)
        self.classes: list[Any] = []
        labels: Sequence[Any] = index[target].to_list() if target is not None else [None] * len(index)
        if target is not None and not index[target].dtype.is_float():
            self.classes = sorted(set(labels))
        self._held: list[_Held] = []
        counts = []
        for number, held, label in zip(index["number"], index["snapshots"], labels, strict=True):
            first, last = snapshots or (1, held)
            run = zoo[number]
            segments = run.layout.segments(part)
            if slice_length is not None:
                segments = tuple(s for s in segments if s[1] - s[0] >= slice_length)
            elif part != "all" and len(segments) > 1:
                raise ZooError(f"the part {part} of run {number} is in pieces", hint="give a slice_length")
            if not segments or not 1 <= first <= min(last, held):
                self.left_out += 1
                continue
            label = self.classes.index(label) if self.classes else label
            self._held.append(_Held(run.path, number, segments, first, label))
            counts.append(min(last, held) - first + 1)
        self._stops = list(accumulate(counts))

    def set_epoch(self, epoch: int) -> None:
        """Other slices: call it before each pass; with persistent workers it reaches them only when they start."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self._stops[-1] if self._stops else 0

    def __getitem__(self, item: int) -> Any:
        if not -len(self) <= item < len(self):
            raise IndexError(item)
        item %= len(self)
        at = bisect_right(self._stops, item)
        held = self._held[at]
        snapshot = held.first + item - (self._stops[at - 1] if at else 0)
        start, stop = self._stretch(held, snapshot)
        row = _weights_of(held.path)[snapshot - 1 : snapshot, start:stop]
        found: dict[str, Any] = {
            "weights": torch.from_numpy(np.array(row[0], dtype=np.float32)),
            "run": held.number,
            "snapshot": snapshot,
            "start": start,
        }
        if held.label is not None:
            found["target"] = torch.tensor(held.label, dtype=torch.int64 if self.classes else torch.float32)
        return self.transform(found) if self.transform is not None else found

    def _stretch(self, held: _Held, snapshot: int) -> tuple[int, int]:
        if self.slice_length is None:
            return held.segments[0]
        starts = [stop - first - self.slice_length + 1 for first, stop in held.segments]
        u = uniform_from_hash("slice", self.seed, self.epoch, held.number, snapshot, self.part)
        offset = int(u * sum(starts))
        for (first, _), count in zip(held.segments, starts, strict=True):
            if offset < count:
                return first + offset, first + offset + self.slice_length
            offset -= count
        raise AssertionError("u is below 1")


@lru_cache(maxsize=8)
def _weights_of(path: Path) -> Any:
    from safetensors import safe_open

    return safe_open(path, framework="np").get_slice("weights")
