"""What meta-classifiers read: a run of a zoo, an imported run and a single checkpoint file look the same to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from weightprint.zoo.layout import Layout


class Readable(Protocol):
    """One training and the weights that it left.

    name:         what messages call it: "run 17", a file's name
    identity:     unique among all runs of all zoos
    kin:          names of what it may share with other runs, in whatever zoo: random streams, final weights. Runs that
                  have one in common are kin, and never on both sides of a test
    status:       "complete", "diverged", "failed" or "unreadable"
    converged:    whether it learned; None when that is not known
    checksum:     of its content, by which what was read in it is kept; None keeps nothing
    cache:        folder where what is derived from it may be kept, or None
    properties:   what is known of it, by name
    layout:       of its weight vector
    weights:      float32 [T, P]; reading may raise CorruptFile
    measurements: one row per snapshot, by name; may be empty
    """

    @property
    def name(self) -> str: ...
    @property
    def identity(self) -> str: ...
    @property
    def kin(self) -> frozenset[str]: ...
    @property
    def status(self) -> str: ...
    @property
    def converged(self) -> bool | None: ...
    @property
    def checksum(self) -> str | None: ...
    @property
    def cache(self) -> Path | None: ...
    @property
    def properties(self) -> Mapping[str, Any]: ...
    @property
    def layout(self) -> Layout: ...
    @property
    def weights(self) -> npt.NDArray[np.float32]: ...
    @property
    def measurements(self) -> Sequence[Mapping[str, Any]]: ...


def families(runs: Iterable[Readable]) -> npt.NDArray[np.intp]:
    """A number for each run [N], equal for runs that are kin, if only by way of others."""
    parents: dict[str, str] = {}

    def first(name: str) -> str:
        while parents.setdefault(name, name) != name:
            name = parents[name]
        return name

    shared = [sorted(run.kin) for run in runs]
    for names in shared:
        for name in names[1:]:
            parents[first(name)] = first(names[0])
    return np.unique([first(names[0]) for names in shared], return_inverse=True)[1]
