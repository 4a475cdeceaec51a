"""Mixtures: a network with some of its weights taken from another one, and what `layer_trees` says of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from weightprint.features.anatomy import layer_anatomy, table
from weightprint.features.layers import Layer, layers_of
from weightprint.features.numbers import Features
from weightprint.meta.layer_trees import LayerTrees
from weightprint.zoo.layout import Layout

TINY = 1e-9
"""Probabilities nearer to 0 or 1 are no other verdict."""


@dataclass(frozen=True)
class Piece:
    """The tensors on which one layer's anatomy depends: its own and the kernel of the first layer that reads it.

    layer:   its place and kernel
    columns: of the weight vector, tensor after tensor [K]
    layout:  of those columns
    """

    layer: Layer
    columns: npt.NDArray[np.intp]
    layout: Layout


def pieces_of(layout: Layout) -> list[Piece]:
    """One for each layer, in forward order."""
    layers = layers_of(layout)
    found = []
    for i, layer in enumerate(layers):
        tensors = list(layer.others.values())
        if layer.kernel is not None:
            tensors.insert(0, replace(layer.kernel, flatten=layer.flatten, reads=layer.reads))
        following = next((later for later in layers[i + 1 :] if layer.name in later.reads), None)
        if following is not None and following.kernel is not None:
            tensors.append(replace(following.kernel, flatten=following.flatten, reads=(layer.name,)))
        columns = np.concatenate([np.arange(t.offset, t.stop) for t in tensors])
        offsets = np.cumsum([0, *(t.size for t in tensors)])
        moved = [replace(t, offset=int(o), tied_to=None) for t, o in zip(tensors, offsets[:-1], strict=True)]
        found.append(Piece(layer, columns, Layout(moved)))
    return found


@dataclass(frozen=True)
class Mixture:
    """A network, a reference, and which weights belong to which player.

    meta:      a fitted `layer_trees` that classifies
    layout:    of both
    own:       the network's weights, float32 [P]
    reference: the other's [P]
    owner:     of each weight the number of its player: intp [P]
    answer:    number of the class whose probability is the worth
    """

    meta: LayerTrees
    layout: Layout
    own: npt.NDArray[np.float32]
    reference: npt.NDArray[np.float32]
    owner: npt.NDArray[np.intp]
    answer: int

    def worth(self, kept: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
        """The probability of the class [M] when only these players' weights [M, n] are kept, the others' replaced.

        A layer is read once for each way in which its own weights are mixed, not once for every row.
        """
        found = [(piece.layer, self._features(piece, kept)) for piece in pieces_of(self.layout)]
        return self.meta.read_statistics(table(found, self.layout, len(kept)))[:, self.answer]

    def log_odds(self, kept: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
        """The same as a logarithm of odds, which still moves where a probability is nearly 0 or 1."""
        chances = self.worth(kept).clip(TINY, 1 - TINY)
        return np.log(chances / (1 - chances))

    def _features(self, piece: Piece, kept: npt.NDArray[np.bool_]) -> Features:
        players, number = np.unique(self.owner[piece.columns], return_inverse=True)
        ways, row = kept, np.arange(len(kept))
        if len(players) < kept.shape[1]:  # all players' coalitions differ as it is
            ways, row = np.unique(kept[:, players], axis=0, return_inverse=True)
        if (
            len(ways) == 1
        ):  # numpy sums a single network in another order, and the last bit may cross a tree's threshold
            ways = ways.repeat(2, axis=0)
        mixed = np.where(ways[:, number], self.own[piece.columns], self.reference[piece.columns])
        features = layer_anatomy(mixed, piece.layout)[0][1]
        return {name: value[row.reshape(-1)] for name, value in features.items()}
