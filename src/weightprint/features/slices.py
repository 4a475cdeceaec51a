"""Where a slice may lie, and draws of slices: `L` consecutive weights, never across the border of a part."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from weightprint.errors import MetaError
from weightprint.zoo.layout import Layout


def start_count(layout: Layout, part: str, length: int) -> int:
    """Number of places where a slice of `length` weights may start inside a part; 0 when the part is too short.

    Raises ZooError for an unknown part, MetaError for a length below 1.
    """
    return int(_counts(layout.segments(part), length).sum())


def draw_starts(
    layout: Layout, part: str, length: int, count: int, *, generator: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Starts of `count` random slices, each uniform over all valid starts: int64 [count], or [0] when none is valid."""
    total = start_count(layout, part, length)
    if not total:
        return np.zeros(0, np.int64)
    return _nth_start(layout, part, length, generator.integers(0, total, size=count))


def spread_starts(layout: Layout, part: str, length: int, count: int) -> npt.NDArray[np.int64]:
    """Starts of `count` slices evenly spread over a part, from its first valid start to its last: int64 [count].

    One slice alone lies in the middle. [0] when no start is valid; starts repeat when there are fewer than `count`.
    """
    total = start_count(layout, part, length)
    if not total:
        return np.zeros(0, np.int64)
    places = np.linspace(0, total - 1, count) if count > 1 else np.full(count, (total - 1) / 2)
    return _nth_start(layout, part, length, np.rint(places).astype(np.int64))


def cut(weights: npt.NDArray, starts: npt.NDArray[np.integer], length: int) -> npt.NDArray:
    """The slices that begin at `starts`, copied out.

    weights [P],    starts [count]     → [count, L]
    weights [T, P], starts [count]     → [T, count, L], the same places in every snapshot
    weights [T, P], starts [T, count]  → [T, count, L], places of each snapshot's own

    Raises MetaError when a slice would leave the vector.
    """
    starts = np.asarray(starts)
    if starts.size and (starts.min() < 0 or starts.max() + length > weights.shape[-1]):
        first, last = starts.min(), starts.max()
        raise MetaError(f"slices of {length} weights from {first} to {last} leave a vector of {weights.shape[-1]}")
    if not starts.size:
        return np.zeros((*weights.shape[: weights.ndim - 1], starts.shape[-1], length), weights.dtype)
    windows = np.lib.stride_tricks.sliding_window_view(weights, length, axis=-1)
    if weights.ndim == 1:
        return windows[starts]
    rows = np.arange(len(weights))[:, None]
    return windows[rows, np.broadcast_to(starts, (len(weights), starts.shape[-1]))]


def _counts(segments: Sequence[tuple[int, int]], length: int) -> npt.NDArray[np.int64]:
    if length < 1:
        raise MetaError(f"a slice has at least 1 weight, not {length}")
    return np.array([max(0, stop - start - length + 1) for start, stop in segments], np.int64)


def _nth_start(layout: Layout, part: str, length: int, n: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The n-th valid start, in the order of the vector."""
    segments = layout.segments(part)
    ends = np.cumsum(_counts(segments, length))
    segment = np.searchsorted(ends, n, side="right")
    firsts = np.array([start for start, _ in segments], np.int64)
    return firsts[segment] + n - np.concatenate([[0], ends[:-1]])[segment]
