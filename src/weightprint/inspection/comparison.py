"""Two checkpoint files compared layer by layer: the same architecture, one run, one fine-tuned from the other?"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from weightprint.features.layers import Layer, arranged, chosen, layers_of
from weightprint.files import StrPath
from weightprint.inspection.matching import Order, paired
from weightprint.inspection.network import Network
from weightprint.inspection.relation import Comparison, LayerPair, decided
from weightprint.zoo.layout import Tensor

LARGEST = 1 << 22
"""Of kernels with more weights, chosen units are compared, in their places alone."""

ROUNDING = 2.0**-8
"""What rounding to bfloat16 changes, at most, as a share of a weight."""


def compare_checkpoints(a: StrPath, b: StrPath, *, full: bool = False) -> Comparison:
    """What two checkpoint files have to do with each other.

        found = weightprint.compare_checkpoints("epoch-10.pth", "epoch-90.safetensors")
        found.relation                # "equal", "reordered", "close", "fine_tuned", "same_start", "unrelated"…
        found.answers                 # {"same_architecture": "yes", "same_run": "possible", "fine_tuned": "possible"}
        found.layers[0].pairing       # correlation, distance, and both after units were put in order

    Layers are paired in forward order by their shapes, names and formats do not count. Nothing in the files is ever
    run. Memory: the larger of both networks' largest tensors twice, and about 400 MB.

    full: compare all units of large kernels too, and search their order; takes ten times the largest tensor's memory

    Raises CheckpointError for what is no checkpoint, CorruptFile for a damaged run file.
    """
    with threadpool_limits(1, "blas"):
        first, second = Network.open(a), Network.open(b)
        of_a, of_b = (_with_kernels(network) for network in (first, second))
        pairs = _aligned(of_a, of_b)
        same = len(pairs) == len(of_a) == len(of_b)
        orders: dict[str, Order] = {}
        layers = [_pair(first, second, x, y, orders, last=x is of_a[-1] and y is of_b[-1], full=full) for x, y in pairs]
        equal = same and all(layer.equal for layer in layers) and _equal_rest(first, second)
    relation, evidence = decided(layers, whole=same, equal=equal)
    left_out = _without(of_a, [x for x, _ in pairs]), _without(of_b, [y for _, y in pairs])
    return Comparison((str(a), str(b)), same, relation, evidence, tuple(layers), left_out)


def _without(layers: Sequence[Layer], paired: Sequence[Layer]) -> tuple[str, ...]:
    held = {layer.name for layer in paired}
    return tuple(layer.name for layer in layers if layer.name not in held)


def _with_kernels(network: Network) -> list[Layer]:
    return [layer for layer in layers_of(network.layout) if layer.kernel is not None and layer.kernel.size]


def _aligned(a: Sequence[Layer], b: Sequence[Layer]) -> list[tuple[Layer, Layer]]:
    """Layers of equal shape in the same order, as many as can be had."""
    keys = [[(x.kernel.shape, x.kernel.groups) for x in every if x.kernel is not None] for every in (a, b)]
    blocks = SequenceMatcher(None, keys[0], keys[1], autojunk=False).get_matching_blocks()
    return [(a[block.a + i], b[block.b + i]) for block in blocks for i in range(block.size)]


def _pair(
    first: Network, second: Network, x: Layer, y: Layer, orders: dict[str, Order], *, last: bool, full: bool
) -> LayerPair:
    kernel = x.kernel
    if kernel is None:
        raise ValueError(f"{x.name} has no kernel")
    flat = (x.flatten is None) != (y.flatten is None)
    (a, digest_a), (b, digest_b) = _read(first, x, flat, full), _read(second, y, flat, full)
    equal = digest_a == digest_b and _vectors(first, x) == _vectors(second, y)
    sampled = a.size < kernel.size
    names = (x.name, y.name)
    if a.shape != b.shape or not (np.isfinite(a).all() and np.isfinite(b).all()):
        return LayerPair(names, kernel.shape, equal, False, last, None, sampled)
    rounded = bool((np.abs(a - b) <= ROUNDING * np.abs(a) + 1e-7 * float(np.abs(a).max())).all())
    biases = None
    if "bias" in x.others and "bias" in y.others and x.others["bias"].shape == y.others["bias"].shape == (len(a),):
        biases = first.read(x.others["bias"])[0], second.read(y.others["bias"])[0]
    pairing, order = paired(x, a, b, orders, biases, last=last, sampled=sampled)
    if order is not None:
        orders[x.name] = order
    return LayerPair(names, kernel.shape, equal, rounded, last, pairing, sampled)


def _read(network: Network, layer: Layer, flat: bool, full: bool) -> tuple[npt.NDArray[np.float32], bytes]:
    """A layer's kernel [o, c, h, w], of a large one chosen units unless `full`, and a checksum over all of it."""
    values = arranged(layer, network.read)[0]
    if flat:
        values = values.reshape(len(values), -1, 1, 1)
    digest = hashlib.blake2b(digest_size=16)
    for unit in values:
        digest.update(np.ascontiguousarray(unit).data)
    some = chosen(len(values), len(values) if full else max(16, LARGEST // values[0].size))
    return np.array(values[some], dtype=np.float32), digest.digest()


def _vectors(network: Network, layer: Layer) -> Mapping[str, bytes]:
    return {kind: _bytes(network, tensor) for kind, tensor in layer.others.items()}


def _equal_rest(first: Network, second: Network) -> bool:
    """Whether tensors that belong to no layer with a kernel are the same, in the file's order."""
    rest = []
    for network in (first, second):
        held = {t.name for layer in _with_kernels(network) for t in (layer.kernel, *layer.others.values()) if t}
        rest.append([_bytes(network, t) for t in network.layout if t.name not in held and t.tied_to is None])
    return rest[0] == rest[1]


def _bytes(network: Network, tensor: Tensor) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(network.read(tensor)[0]).data, digest_size=16).digest()
