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

    weights [T, P], starts [T, count], places of each snapshot's own → [T, count, L]

    Raises MetaError when a slice would leave the vector.
    """
    first, last = starts.min(), starts.max()
    if first < 0 or last + length > weights.shape[1]:
        raise MetaError(f"slices of {length} weights from {first} to {last} leave a vector of {weights.shape[1]}")
    windows = np.lib.stride_tricks.sliding_window_view(weights, length, axis=1)
    return windows[np.arange(len(weights))[:, None], starts]


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
