"""Joint: several properties at once, from one reading of every network; whole vectors only."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import numpy.typing as npt

from weightprint.errors import MetaError
from weightprint.meta.base import WHOLE
from weightprint.meta.layer_trees import LayerTrees
from weightprint.meta.targets import Target
from weightprint.meta.trees import Statistics

_SEPARATOR = ":"
"""Between a head's number and the name of its array in a file."""

_FITTED = ("_scale", "train_runs_", "zoo_", "excluded_", "class_counts_", "lengths_", "seconds_")
"""What a fit leaves besides the target and the model itself."""

_TUPLES = ("_scale", "train_runs_", "lengths_")
"""Which of them a file holds as lists."""


class Joint(LayerTrees):
    """`LayerTrees` for a property and others together: each network is read once, every property has its forest.

    Settings and fitted attributes are those of `LayerTrees`, and
    together: further properties or measurements, classified or regressed as each one's labels ask for

    Of itself it predicts `target`. `heads` gives a fitted meta-classifier for each property, to be used like any other;
    `evaluate_all` judges all of them. A run that lacks a label is left out of that property's forest alone. Trees
    of different properties share the reading, not the splits: networks with common layers and a head per property
    did worse (docs/meta-models.md).
    """

    name = "joint"

    def __init__(
        self,
        target: str,
        *,
        part: str = WHOLE,
        slice_length: int | str = WHOLE,
        snapshots: tuple[int, int] | None = (11, 20),
        without: tuple[str, ...] = (),
        converged: bool = True,
        seed: int = 0,
        device: str = "cpu",
        max_seconds: float | None = None,
        iterations: int = 100,
        learning_rate: float = 0.1,
        leaves: int = 15,
        early_stopping: bool = True,
        together: tuple[str, ...] = (),
    ) -> None:
        super().__init__(
            target,
            part=part,
            slice_length=slice_length,
            snapshots=snapshots,
            without=without,
            converged=converged,
            seed=seed,
            device=device,
            max_seconds=max_seconds,
            iterations=iterations,
            learning_rate=learning_rate,
            leaves=leaves,
            early_stopping=early_stopping,
        )
        self.together = together

    def check(self) -> None:
        super().check()
        names = self.together
        if not isinstance(names, (tuple, list)) or not all(isinstance(name, str) for name in names):
            raise MetaError(f"together must be a sequence of properties' names, not {names!r}")
        if len({self.target, *names}) < 1 + len(names):
            raise MetaError("target and together name a property twice")

    @property
    def heads(self) -> dict[str, LayerTrees]:
        """A fitted meta-classifier for each property, the target's (this one) first. Raises MetaError before a fit."""
        self._check_fitted()
        return {self.target: self, **self._others}

    def fit(self, zoo: Any, y: None = None) -> Joint:
        """`LayerTrees.fit` for every property. Raises MetaError when one of them cannot be learnt."""
        self.check()
        began, runs = time.monotonic(), _Runs(zoo)
        self._others = {name: self._other(name) for name in self.together}
        with self._reading_once():
            for done, head in enumerate(self._others.values()):
                head.max_seconds = self._share(began, 1 + len(self.together) - done)
                head.fit(runs)
                head.max_seconds = self.max_seconds
            # Itself last: it counts as fitted only when every property could be learnt.
            limit, self.max_seconds = self.max_seconds, self._share(began, 1)
            try:
                super().fit(runs)
            finally:
                self.max_seconds = limit
        self.seconds_ = time.monotonic() - began
        return self

    def evaluate_all(self, zoo: Any) -> list[dict[str, Any]]:
        """`evaluate` of every head on the runs of a zoo that it was not fitted on: one document per property.

        Raises MetaError when no such run is left for one of them.
        """
        heads, runs = self.heads.values(), _Runs(zoo)
        with self._reading_once():
            return [head.evaluate(runs) for head in heads]

    @contextmanager
    def _reading_once(self) -> Iterator[None]:
        """Every head takes what another has read of a network."""
        shared: dict[Any, Statistics] = {}
        heads = [self, *self._others.values()]
        for head in heads:
            head._shared = shared
        try:
            yield
        finally:
            for head in heads:
                head._shared = None

    def _share(self, began: float, heads: int) -> float | None:
        """An equal part of the seconds left for each of the heads still to be fitted."""
        if self.max_seconds is None:
            return None
        return max(1e-3, (self.max_seconds - (time.monotonic() - began)) / heads)

    def _other(self, name: str) -> LayerTrees:
        settings = self.get_params(deep=False)
        del settings["together"]
        return LayerTrees(**{**settings, "target": name})

    def _state(self) -> tuple[dict[str, npt.NDArray], dict[str, Any]]:
        arrays, facts = super()._state()
        heads = []
        for i, head in enumerate(self._others.values()):
            of_head, facts_of_head = head._state()
            arrays |= {f"{i}{_SEPARATOR}{name}": array for name, array in of_head.items()}
            fitted = {name: getattr(head, name) for name in _FITTED}
            heads.append({"target": asdict(head.target_), "fitted": fitted, "facts": facts_of_head})
        return arrays, {**facts, "heads": heads}

    def _restore(self, arrays: dict[str, npt.NDArray], facts: dict[str, Any]) -> None:
        super()._restore(arrays, facts)
        self._others = {}
        for i, (name, stored) in enumerate(zip(self.together, facts["heads"], strict=True)):
            head = self._others[name] = self._other(name)
            target = stored["target"]
            head.target_ = Target(**{**target, "classes": tuple(target["classes"])})
            head.classes_ = head.target_.classes
            for attribute, value in stored["fitted"].items():
                setattr(head, attribute, tuple(value) if attribute in _TUPLES else value)
            prefix = f"{i}{_SEPARATOR}"
            of_head = {key.removeprefix(prefix): array for key, array in arrays.items() if key.startswith(prefix)}
            head._restore(of_head, stored["facts"])


class _Runs(list):
    """The runs of a zoo with what they have read of their files, so that several heads do not open them again."""

    def __init__(self, zoo: Any) -> None:
        super().__init__(zoo)
        self.identity = getattr(zoo, "identity", None)
