"""Draws: the slices that the DMC trains on, drawn anew for every epoch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from weightprint.errors import MetaError
from weightprint.features.slices import draw_starts
from weightprint.files import canonical_json, sha256_hex
from weightprint.meta.learners.base import Vectors
from weightprint.meta.learners.dmc_network import SHORTEST

KEPT_BYTES = 2 << 30
"""Weights kept in memory during a fit; what goes beyond is read from the disk again for every portion of batches."""

PORTION_BYTES = 1 << 28
"""Slices cut at once: a run that is not kept is read once for all the batches of a portion."""

DIGEST_WEIGHTS = 1000
"""Weights of each snapshot, evenly spread, that go into the digest of the examples."""


class Draws:
    """Slices of runs' weights, or whole vectors.

    vectors:   the runs
    generator: of the draws

    Raises MetaError for whole vectors of several lengths, or ones too short for the network.
    """

    def __init__(self, vectors: Vectors, generator: np.random.Generator) -> None:
        self.vectors, self.generator = vectors, generator
        self._kept: dict[int, npt.NDArray[np.float32]] = {}
        self._kept_bytes = 0
        if vectors.length is None:
            check_whole_vectors(layout.size for layout in vectors.layouts)
        self.length = vectors.length or vectors.layouts[0].size
        self._goals = np.concatenate(vectors.goals)
        counts = [len(goal) for goal in vectors.goals]
        self._owner = np.repeat(np.arange(len(counts)), counts)
        self._snapshot = np.concatenate([np.arange(count) for count in counts])

    @property
    def goals(self) -> npt.NDArray:
        """Of all snapshots, run by run: class numbers or values [n]."""
        return self._goals

    def draw(self) -> tuple[npt.NDArray[np.int64], npt.NDArray]:
        """One epoch's slices in random order: where they are, int64 [n, 3] of run, snapshot and start, and what to
        predict [n].

        As many slices as there are snapshots; each class gets an equal share of them, its snapshots taking turns.
        """
        goals, generator = self._goals, self.generator
        classes = self.vectors.classes
        groups = [np.flatnonzero(goals == c) for c in np.unique(goals)] if classes else [np.arange(len(goals))]
        drawn = np.concatenate(list(_turns(groups, len(goals), generator)))
        order = generator.permutation(len(drawn))
        places = np.zeros((len(drawn), 3), np.int64)
        for run, layout in enumerate(self.vectors.layouts):
            at = np.flatnonzero(self._owner[drawn] == run)
            places[order[at], 0] = run
            places[order[at], 1] = self._snapshot[drawn[at]]
            if self.vectors.length is not None:
                starts = draw_starts(layout, self.vectors.part, self.length, len(at), generator=generator)
                places[order[at], 2] = starts
        wanted = np.empty(len(drawn), np.int64 if classes else np.float32)
        wanted[order] = goals[drawn]
        return places, wanted

    def cut(self, places: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """The slices at `places` [n, 3], as `draw` gives them: float32 [n, L]. Raises CorruptFile."""
        slices = np.empty((len(places), self.length), np.float32)
        for run in np.unique(places[:, 0]):
            weights = self._weights(int(run))
            for row in np.flatnonzero(places[:, 0] == run):
                _, snapshot, start = places[row]
                slices[row] = weights[snapshot, start : start + self.length]
        return slices

    def deal(
        self, places: npt.NDArray[np.int64], batches: Sequence[npt.NDArray[np.intp]]
    ) -> Iterator[npt.NDArray[np.float32]]:
        """The slices of each batch of rows of `places`, one after the other: float32 [B, L]. Raises CorruptFile."""
        most = max(map(len, batches), default=1)
        at_once = max(1, PORTION_BYTES // (4 * self.length * most))
        for first in range(0, len(batches), at_once):
            portion = batches[first : first + at_once]
            slices = self.cut(places[np.concatenate(portion)])
            yield from np.split(slices, np.cumsum([len(batch) for batch in portion])[:-1])

    def digest(self) -> str:
        """Of goals, layouts and a sample of each run's weights. Raises CorruptFile."""
        vectors = self.vectors
        chunks: list[Any] = [canonical_json([vectors.classes, vectors.part, vectors.length]).encode()]
        for run, (layout, goals) in enumerate(zip(vectors.layouts, vectors.goals, strict=True)):
            weights = self._weights(run)
            sample = weights[:, :: max(1, weights.shape[1] // DIGEST_WEIGHTS)]
            chunks.append(canonical_json([len(goals), list(sample.shape), layout.to_json()]).encode())
            chunks += [np.asarray(goals, "<f8").tobytes(), np.ascontiguousarray(sample, "<f4").tobytes()]
        return sha256_hex(*chunks)

    def _weights(self, run: int) -> npt.NDArray[np.float32]:
        """From memory, or from the disk and kept while there is room: [T, P]."""
        if run in self._kept:
            return self._kept[run]
        weights = self.vectors.read[run]()
        if self._kept_bytes + weights.nbytes <= KEPT_BYTES:
            self._kept[run] = weights
            self._kept_bytes += weights.nbytes
        return weights


def check_whole_vectors(lengths: Iterable[int]) -> None:
    """Raise MetaError for whole vectors that no one network can read."""
    first, *others = dict.fromkeys(lengths)
    if others or first < SHORTEST:
        listed = f"{first} and {others[0]}" if others else f"{first}"
        problem = f"dmc reads whole vectors of one length, at least {SHORTEST} weights; these have {listed}"
        raise MetaError(problem, hint="read slices of them: --slice-length 5000")


def _turns(groups: list[npt.NDArray], total: int, generator: np.random.Generator) -> Iterator[npt.NDArray]:
    """About total / len(groups) members of each group; every member comes up equally often, or once more."""
    each = max(1, round(total / len(groups)))
    for group in groups:
        whole, rest = divmod(each, len(group))
        yield np.tile(group, whole)
        yield generator.choice(group, rest, replace=False)
