"""What layers look like, under names that every architecture has: the roles of layers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from weightprint.features.anatomy import Features, Layer, anatomy
from weightprint.zoo.layout import Layout


def role_statistics(weights: npt.NDArray, layout: Layout) -> tuple[npt.NDArray[np.float64], tuple[str, ...]]:
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
