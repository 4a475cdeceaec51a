"""LayerTrees: gradient-boosted decision trees on the anatomy of a network's layers; whole vectors only."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from weightprint.features.anatomy import anatomy
from weightprint.features.statistics import align
from weightprint.meta.rows import Member
from weightprint.meta.trees import Statistics, Trees, bins
from weightprint.zoo.layout import Layout


class LayerTrees(Trees):
    """Histogram gradient boosting (scikit-learn) on what layers look like, by the roles that they have.

    Settings and fitted attributes are those of `Trees`. It differs in what it reads: not each tensor's statistics
    under the tensor's own name, but `weightprint.features.anatomy`, whose names every architecture has. So it reads
    architectures together, and ones that it was not fitted on.
    """

    name = "layer_trees"

    _shared: dict[Any, Statistics] | None = None
    """Where meta-classifiers that read the same networks keep what they read; None keeps nothing."""

    def _take(self, member: Member, weights: npt.NDArray[np.float32], generator: np.random.Generator) -> Any:
        return self._statistics(member, weights)

    def _statistics(self, member: Member, weights: npt.NDArray[np.float32]) -> Statistics:
        if self._shared is None:
            return anatomy(weights, member.layout)
        key = member.run.identity, member.snapshots
        if key not in self._shared:
            self._shared[key] = anatomy(weights, member.layout)
        return self._shared[key]

    def _answer(
        self, member: Member, weights: npt.NDArray[np.float32], starts: npt.NDArray[np.int64] | None
    ) -> npt.NDArray[np.float64]:
        return self._outputs_of(self._statistics(member, weights))

    def _outputs(
        self, weights: npt.NDArray[np.float32], layout: Layout, starts: npt.NDArray[np.int64] | None
    ) -> npt.NDArray[np.float64]:
        return self._outputs_of(anatomy(weights, layout))

    def _outputs_of(self, statistics: Statistics) -> npt.NDArray[np.float64]:
        features, names = statistics
        return self.forest_.outputs(bins(align(features, names, self.feature_names_), self.edges_))[:, None]
