"""What every checkpoint file is read into: named tensors, what the file says of itself, what was left out.

    checkpoint = open_checkpoint("lenet.pth")
    for tensor in checkpoint.tensors:
        tensor.name, tensor.kind, tensor.shape, tensor.axes   # "conv1.weight", "kernel", (6, 1, 5, 5), "oihw"
        tensor.read()                                         # float32, in the file's own shape
        tensor.canonical()                                    # float32, (output, input, window...)

Nothing is read from a tensor's bytes before `read` or `canonical`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from weightprint.errors import CheckpointError
from weightprint.formats.dtypes import not_weights, to_float32
from weightprint.formats.limits import MAX_RANK, check_tensor_count

WINDOW = "dhw"


@dataclass(frozen=True, eq=False)
class Stored:
    """Numbers that lie in a file.

    shape: as stored
    dtype: name of the number format (`dtypes.FORMATS`), or words for one that is not read ("quantised (qint8)")
    load:  () → array of that shape in the format's stored dtype; raises CheckpointError
    place: what two tensors that share their numbers have in common; None where a format cannot share
    """

    shape: tuple[int, ...]
    dtype: str
    load: Callable[[], np.ndarray]
    place: object = None

    @classmethod
    def unread(cls, shape: Any, words: str) -> Stored:
        """Numbers of a format that is not read."""
        return cls(checked_shape(shape, "a tensor"), words, lambda: np.empty(0))


@dataclass(frozen=True, eq=False)
class NamedTensor:
    """One tensor of weights.

    name:    unique in the checkpoint; wrappers' prefixes (`module.`, `_orig_mod.`) and Keras' `:0` are taken off
    source:  the tensor's name in the file
    shape:   as stored
    dtype:   the file's number format: "float32", "float16", "bfloat16", "float64", "float8_e4m3fn"…
    kind:    one of `weightprint.zoo.layout.KINDS`, as far as the format or the name tells it
    axes:    a letter per axis: o(utput), i(nput), d, h, w (window), g (group: merged into the output, before o),
             1 (an axis of one element that carries nothing), x (an axis of another meaning).
             A letter that comes twice is one axis stored in two (attention heads).
    tied_to: name of an earlier tensor with the same numbers, or None
    """

    name: str
    source: str
    shape: tuple[int, ...]
    dtype: str
    kind: str
    axes: str
    stored: Stored = field(repr=False)
    tied_to: str | None = None

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def read(self) -> np.ndarray:
        """float32 in the file's shape, C-contiguous; a read-only view of the file where the file holds float32.

        Raises CheckpointError where the file turns out to be damaged there.
        """
        try:
            return to_float32(self.stored.load(), self.dtype)
        except CheckpointError:
            raise
        except (OSError, ValueError, RuntimeError, KeyError, MemoryError) as error:
            raise CheckpointError(f"{self.source}: its values cannot be read ({error})") from error

    @property
    def canonical_axes(self) -> str:
        """Axes of `canonical`: "oi", "oihw", "o"…; the file's own where an axis has another meaning (x)."""
        if "x" in self.axes:
            return self.axes
        window = "".join(letter for letter in WINDOW if letter in self.axes)
        is_kernel = "i" in self.axes or window
        return ("o" if set("og") & set(self.axes) else "") + ("i" if is_kernel else "") + window

    @property
    def canonical_shape(self) -> tuple[int, ...]:
        """Shape of `canonical`, without reading anything."""
        if "x" in self.axes:
            return self.shape
        by_letter = dict.fromkeys(f"oi1{WINDOW}", 1)
        for letter, side in zip(self.axes.replace("g", "o"), self.shape, strict=True):
            by_letter[letter] *= side
        return tuple(by_letter[letter] for letter in self.canonical_axes)

    def canonical(self) -> np.ndarray:
        """float32 in canonical order (output, input, window...), row-major; see `canonical_axes`.

        A depthwise kernel (`g`) comes out as (groups · outputs per group, 1, window...), as PyTorch stores it.
        """
        values = self.read()
        if "x" in self.axes:
            return values
        order = [axis for letter in "goi" + WINDOW for axis, found in enumerate(self.axes) if found == letter]
        order += [axis for axis, letter in enumerate(self.axes) if letter == "1"]
        return np.ascontiguousarray(values.transpose(order)).reshape(self.canonical_shape)


@dataclass(frozen=True)
class Skipped:
    """A tensor, or a group of them, that is in the file and not among the weights.

    reason: a few words: "integer (int64)", "quantised (qint8)", "optimizer state (24 tensors)"…
    """

    name: str
    reason: str
    shape: tuple[int, ...] = ()


@dataclass(frozen=True)
class Layer:
    """One layer of the network, as a format that knows it tells it.

    name:       unique
    type:       the format's own word: "Conv2D", "Dense", "Gemm", "MaxPool", "ReLU"
    inputs:     names of the layers that it reads from; a network's input is one of type "Input"
    tensors:    names of its tensors in `Checkpoint.tensors`
    attributes: plain values: strides, padding, activation, groups…
    """

    name: str
    type: str
    inputs: tuple[str, ...] = ()
    tensors: tuple[str, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Graph:
    """The layers of a network in the file's order (forward order for ONNX and Keras).

    wired: whether `inputs` are known; a TorchScript archive names its modules but their order is only that of
           definition
    """

    layers: tuple[Layer, ...]
    wired: bool = True

    @property
    def wiring(self) -> list[tuple[str, tuple[str, ...]]] | None:
        """(layer, the layers it reads from) of each layer, or None where the file does not tell."""
        return [(layer.name, layer.inputs) for layer in self.layers] if self.wired else None


@dataclass(frozen=True)
class CanonicalTensor:
    """A tensor in canonical order. values: float32, row-major, axes as `NamedTensor.canonical_axes` says."""

    name: str
    source: str
    kind: str
    axes: str
    values: np.ndarray


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint file (or folder of shards) as it was read.

    path:          as given
    format:        "pytorch", "torchscript", "torch_export", "safetensors", "npz", "pickle", "keras_h5",
                   "keras_weights_h5", "keras_v3", "onnx", or "huggingface" for a folder
    tensors:       the weights, in the file's order; at least one
    declared:      what the file itself says of its training: plain values only, as JSON has them. Where it holds an
                   optimizer's state or configuration, `declared["optimizer"]` is a dict with "rule" (as far as the
                   file tells) and its hyper-parameters
    graph:         the layers and their wiring, where the format tells them
    flatten_order: how a map is flattened before a fully connected layer: "chw", "hwc", or None where the file
                   does not tell
    skipped:       what is in the file and not in `tensors`
    notes:         sentences about the reading
    """

    path: Path
    format: str
    tensors: tuple[NamedTensor, ...]
    declared: Mapping[str, Any] = field(default_factory=dict)
    graph: Graph | None = None
    flatten_order: str | None = None
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> NamedTensor:
        """The tensor of that name; raises CheckpointError where there is none."""
        for tensor in self.tensors:
            if tensor.name == name:
                return tensor
        raise CheckpointError(f"{self.path} holds no tensor {name!r}")

    @property
    def parameters(self) -> int:
        """Number of weights, tied ones counted once."""
        return sum(tensor.size for tensor in self.tensors if tensor.tied_to is None)

    def canonical(self) -> Iterator[CanonicalTensor]:
        """Each tensor in canonical order, one at a time, so that no more than one is held."""
        for tensor in self.tensors:
            yield CanonicalTensor(tensor.name, tensor.source, tensor.kind, tensor.canonical_axes, tensor.canonical())


class Collector:
    """Sorts what a reader finds into weights and what is left out, within the limits."""

    def __init__(self) -> None:
        self.skipped: list[Skipped] = []
        self.notes: list[str] = []
        self._found: dict[str, NamedTensor] = {}
        self._places: dict[object, str] = {}

    @property
    def tensors(self) -> tuple[NamedTensor, ...]:
        return tuple(self._found.values())

    def add(self, name: str, stored: Stored, *, source: str = "", kind: str = "other", axes: str = "") -> None:
        """Takes one tensor in; raises CheckpointError for one too many, or a name that is taken."""
        reason = not_weights(stored.dtype, stored.shape)
        if reason is not None:
            self.skip(name, reason, stored.shape)
            return
        check_tensor_count(len(self._found) + len(self.skipped) + 1)
        if name in self._found:
            raise CheckpointError(f"two tensors are named {name!r}")
        tied_to = self._places.get(stored.place) if stored.place is not None else None
        if stored.place is not None:
            self._places.setdefault(stored.place, name)
        axes = axes if len(axes) == len(stored.shape) else "x" * len(stored.shape)
        self._found[name] = NamedTensor(name, source or name, stored.shape, stored.dtype, kind, axes, stored, tied_to)

    def skip(self, name: str, reason: str, shape: tuple[int, ...] = ()) -> None:
        check_tensor_count(len(self._found) + len(self.skipped) + 1)
        self.skipped.append(Skipped(name, reason, shape))

    def checkpoint(
        self,
        path: Path,
        form: str,
        *,
        declared: Mapping[str, Any] | None = None,
        graph: Graph | None = None,
        flatten_order: str | None = None,
    ) -> Checkpoint:
        """What was collected; raises CheckpointError where not one weight was found."""
        if not any(tensor.size for tensor in self.tensors):
            held = f"; left out: {self.skipped[0].name} ({self.skipped[0].reason})" if self.skipped else ""
            raise CheckpointError(f"it holds no weights{held}", hint="give the file that holds the trained network")
        return Checkpoint(
            path, form, self.tensors, declared or {}, graph, flatten_order, tuple(self.skipped), tuple(self.notes)
        )


def checked_shape(shape: Any, what: str) -> tuple[int, ...]:
    """`shape` as a tuple of whole numbers ≥ 0; raises CheckpointError for anything else."""
    is_shape = isinstance(shape, (list, tuple)) and len(shape) <= MAX_RANK
    if not is_shape or any(type(side) is not int or not 0 <= side < 1 << 62 for side in shape):
        raise CheckpointError(f"{what}: no shape that a tensor can have")
    return tuple(shape)
