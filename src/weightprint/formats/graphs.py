"""A network as a graph: units are nodes, weights are edges. Names are those of PyTorch Geometric.

Every unit of a layer with a kernel (a neuron, a channel of a convolution) is a node, and so is every input of the
network. Every number of a kernel is an edge from the unit that it reads to the unit that it feeds: two channels of a
3 x 3 convolution are joined by nine edges, told apart by `edge_place`; so are a channel and the unit of a fully
connected layer that reads it place by place. (Kofinas et al., "Graph neural networks for learning equivariant
representations of neural networks", 2024, describe networks by such graphs.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from weightprint.zoo.layout import Layout, Tensor

Integers = npt.NDArray[np.int64]
FEATURES = ("bias", "beta", "gamma", "moving_mean", "moving_variance")
"""Columns of `x`."""
_ABSENT = (0.0, 0.0, 1.0, 0.0, 1.0)
"""What stands in `x` for a vector that a layer does not have: what changes nothing."""
INPUT = "input"


@dataclass(frozen=True, eq=False)
class NetworkGraph:
    """The structure of one architecture, V nodes and E edges; all snapshots share it.

    edge_index:    int64 [2, E]: from node, to node
    edge_position: int64 [E]: where in the weight vector an edge's weight lies
    edge_layer:    int64 [E]: number of its layer in `layers`
    edge_place:    int64 [E]: which place of the window (row-major), or of the map that a fully connected layer reads; 0
                   where there is one
    x_position:    int64 [V, 5]: where in the weight vector the features lie, -1 for what a unit does not have
    node_layer:    int64 [V]: number of its layer in `layers`
    other:         int64 [O]: positions of weights that are neither edges nor features: embeddings and their like
    layers:        names; inputs that no known layer feeds are nodes of layers "input" and "<layer>/input"
    """

    edge_index: Integers
    edge_position: Integers
    edge_layer: Integers
    edge_place: Integers
    x_position: Integers
    node_layer: Integers
    other: Integers
    layers: tuple[str, ...]

    def values(self, weights: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.float32]]:
        """`x` float32 [..., V, 5] and `edge_attr` float32 [..., E, 1] of weight vectors [..., P]."""
        x = np.where(self.x_position < 0, np.array(_ABSENT, np.float32), weights[..., self.x_position])
        return {"x": x.astype(np.float32), "edge_attr": weights[..., self.edge_position, None]}

    def structure(self) -> dict[str, np.ndarray]:
        """The arrays that do not depend on the weights, by name."""
        return {**vars(self), "layers": np.array(self.layers)}


def graph_of(layout: Layout) -> NetworkGraph:
    """The graph of a network's layout.

    What a kernel reads is what its layout entry says, else the layer before. Several layers whose units together are
    as many as its inputs are concatenated; several of as many units each are added, so that each of the kernel's
    weights is an edge from each of them. Where sizes fit neither way (attention, recurrent cells), the inputs are nodes
    of their own.
    """
    builder = _Builder()
    by_layer: dict[str, list[Tensor]] = {}
    for tensor in layout:
        by_layer.setdefault(tensor.layer, []).append(tensor)
    before: str | None = None
    for layer, tensors in by_layer.items():
        kernel = next((t for t in tensors if t.kind == "kernel" and t.axes.startswith("oi")), None)
        vectors = [t for t in tensors if t.kind in FEATURES and len(t.shape) == 1]
        if kernel is not None:
            vectors = [t for t in vectors if t.shape[0] == kernel.shape[0]]
        taken = {t.name for t in (kernel, *vectors) if t is not None}
        builder.other += [t for t in tensors if t.name not in taken]
        if kernel is not None and kernel.shape[0]:
            reads = kernel.reads if kernel.reads is not None else (before,) if before is not None else ()
            sources, channels, places = builder.inputs(kernel, reads)
            nodes = builder.add_nodes(layer, kernel.shape[0])
            builder.is_map[layer] = len(kernel.shape) > 2
            for source in sources:
                builder.add_edges(layer, kernel, nodes, source[channels], places)
            before = layer
        elif kernel is None and (units := max((t.shape[0] for t in vectors), default=0)):
            builder.add_nodes(layer, units)
        else:
            continue
        for vector in vectors:
            column = FEATURES.index(vector.kind)
            builder.x_position[-1][: vector.shape[0], column] = np.arange(vector.offset, vector.stop)
    return builder.graph()


class _Builder:
    def __init__(self) -> None:
        self.nodes: dict[str, Integers] = {}
        self.x_position: list[Integers] = []
        self.edges: list[Integers] = []
        self.other: list[Tensor] = []
        self.is_map: dict[str, bool] = {}

    def add_nodes(self, layer: str, units: int) -> Integers:
        start = sum(map(len, self.nodes.values()))
        self.nodes[layer] = np.arange(start, start + units)
        self.x_position.append(np.full((units, len(FEATURES)), -1, dtype=np.int64))
        return self.nodes[layer]

    def inputs(self, kernel: Tensor, reads: tuple[str, ...]) -> tuple[list[Integers], Integers, Integers]:
        """(nodes that it reads, several sets where they are added; of each of its inputs [I · groups], which of these
        nodes; and which place of that node's map)"""
        width = kernel.shape[1] * kernel.groups
        found = [self.nodes[name] for name in reads if name in self.nodes]
        channels, places, order = width, 1, "chw"
        if kernel.flatten is not None:
            channels, places, order = kernel.flatten.size[0], math.prod(kernel.flatten.size[1:]), kernel.flatten.order
        elif len(kernel.shape) == 2 and len(found) == 1 and self.is_map.get(reads[0]) and width % len(found[0]) == 0:
            channels, places, order = len(found[0]), width // len(found[0]), "hwc"
        if len(found) != len(reads) or not found:
            found = []
        elif sum(map(len, found)) == channels:
            found = [np.concatenate(found)]
        elif any(len(nodes) != channels for nodes in found):
            found = []
        if not found:
            name = INPUT if not reads else f"{kernel.layer}/{INPUT}"
            while name in self.nodes and len(self.nodes[name]) != channels:
                name = f"{kernel.layer}/{name}"
            found = [self.nodes[name] if name in self.nodes else self.add_nodes(name, channels)]
        index = np.arange(width)
        if order == "chw":
            return found, index // places, index % places
        return found, index % channels, index // channels

    def add_edges(self, layer: str, kernel: Tensor, nodes: Integers, sources: Integers, places: Integers) -> None:
        outputs, inputs = kernel.shape[:2]
        window = math.prod(kernel.shape[2:])
        unit = np.arange(outputs).repeat(inputs)
        read = np.tile(np.arange(inputs), outputs) + unit // (outputs // kernel.groups) * inputs
        place = places[read].repeat(window) + np.tile(np.arange(window), outputs * inputs)
        number = np.full(kernel.size, list(self.nodes).index(layer))
        position = np.arange(kernel.offset, kernel.stop)
        self.edges.append(np.stack([sources[read].repeat(window), nodes[unit].repeat(window), position, number, place]))

    def graph(self) -> NetworkGraph:
        edges = np.concatenate([np.zeros((5, 0), np.int64), *self.edges], axis=1)
        numbers = [np.full(len(nodes), number) for number, nodes in enumerate(self.nodes.values())]
        none = np.zeros(0, dtype=np.int64)
        return NetworkGraph(
            edge_index=edges[:2],
            edge_position=edges[2],
            edge_layer=edges[3],
            edge_place=edges[4],
            x_position=np.concatenate([np.zeros((0, len(FEATURES)), np.int64), *self.x_position]),
            node_layer=np.concatenate([none, *numbers]),
            other=np.concatenate([none, *(np.arange(t.offset, t.stop) for t in self.other)]),
            layers=tuple(self.nodes),
        )


def tensors_by_source(layout: Layout, weights: npt.NDArray[np.float32]) -> Mapping[str, npt.NDArray[np.float32]]:
    """One weight vector [P] as tensors under the names of the module or file that they came from, in canonical order
    (output, input, window): a torch module's state dict."""
    return {t.source: weights[t.offset : t.stop].reshape(t.shape) for t in layout}
