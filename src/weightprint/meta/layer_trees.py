"""LayerTrees: gradient-boosted decision trees on the anatomy of a network's layers; whole vectors only."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from weightprint.features.anatomy import Features, Layer, anatomy
from weightprint.features.statistics import align
from weightprint.meta.rows import Member
from weightprint.meta.trees import Statistics, Trees, bins
from weightprint.zoo.layout import Layout


class LayerTrees(Trees):
    """Histogram gradient boosting (scikit-learn) on what layers look like, by the roles that they have.

    Settings and fitted attributes are those of `Trees`. It differs in what it reads: not each tensor's statistics
    under the tensor's own name, but `weightprint.features.anatomy` of each layer under names that every architecture
    has: first, second and last convolution, first and last hidden fully connected layer, output. So it reads
    architectures together, and ones that it was not fitted on.
    """

    name = "layer_trees"

    _shared: dict[Any, Statistics] | None = None
    """Where meta-classifiers that read the same networks keep what they read; None keeps nothing."""

    def _take(self, member: Member, weights: npt.NDArray[np.float32], generator: np.random.Generator) -> Any:
        return self._statistics(member, weights)

    def _statistics(self, member: Member, weights: npt.NDArray[np.float32]) -> Statistics:
        if self._shared is None:
            return role_statistics(weights, member.layout)
        key = member.run.identity, member.snapshots
        if key not in self._shared:
            self._shared[key] = role_statistics(weights, member.layout)
        return self._shared[key]

    def _answer(
        self, member: Member, weights: npt.NDArray[np.float32], starts: npt.NDArray[np.int64] | None
    ) -> npt.NDArray[np.float64]:
        return self._outputs_of(self._statistics(member, weights))

    def _outputs(
        self, weights: npt.NDArray[np.float32], layout: Layout, starts: npt.NDArray[np.int64] | None
    ) -> npt.NDArray[np.float64]:
        return self._outputs_of(role_statistics(weights, layout))

    def _outputs_of(self, statistics: Statistics) -> npt.NDArray[np.float64]:
        features, names = statistics
        return self.forest_.outputs(bins(align(features, names, self.feature_names_), self.edges_))[:, None]


def role_statistics(weights: npt.NDArray, layout: Layout) -> Statistics:
    """The anatomy of the layers, named by role: [T, P] → (float64 [T, F], names such as "conv first: kernel.mean")."""
    found = anatomy(weights, layout)
    columns: Features = {}
    for role, features in roles(found).items():
        columns |= {f"{role}: {name}": value for name, value in features.items()}
    table = np.column_stack(list(columns.values())) if columns else np.zeros((len(weights), 0))
    return table, tuple(columns)


def roles(layers: list[tuple[Layer, Features]]) -> dict[str, Features]:
    """The layers' features by role. One layer may have several roles; a role that no layer has is left out."""
    convs = [features for layer, features in layers if layer.is_conv]
    others = [features for layer, features in layers if not layer.is_conv]
    found: dict[str, Features] = {}
    for kind, of_kind in (("conv", convs), ("hidden", others[:-1])):
        if of_kind:
            found[f"{kind} first"], found[f"{kind} last"] = of_kind[0], of_kind[-1]
    if len(convs) > 2:
        found["conv second"] = convs[1]
    if others:
        found["output"] = others[-1]
    return found
