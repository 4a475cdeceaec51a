"""A recorder for training loops of the user's: T snapshots of a network as a run of a zoo.

with wp.Recorder("zoo", setup={"optimizer": "adam", "learning_rate": 1e-3}) as recorder:
    for epoch in range(epochs):
        ...
        recorder.record(model, epoch=epoch, test_accuracy=accuracy)
"""

from __future__ import annotations

import json
import math
import os
import re
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from weightprint.errors import CheckpointError, ZooError
from weightprint.files import StrPath, canonical_json
from weightprint.formats import recorder_callbacks
from weightprint.formats.keras_files import flatten_order, keras_role, layer_graph, model_layers
from weightprint.formats.layout import layout_of, weight_vector
from weightprint.formats.named_tensors import Collector, Graph, NamedTensor, Stored
from weightprint.formats.recordings import Recording
from weightprint.formats.torch_files import add_torch_tensors
from weightprint.setups import EverydaySetup, Setup
from weightprint.zoo.index import SCHEMA
from weightprint.zoo.layout import Layout

SNAPSHOTS = 20
_VALIDATION = ("val", "valid", "validation", "eval", "dev")
_PARTS = {"train": "train", "test": "test", **dict.fromkeys(_VALIDATION, "validation")}
_MEASURES = {"acc": "accuracy", "accuracy": "accuracy", "loss": "loss"}


class Recorder:
    """Keeps snapshots of one training, evenly spaced although its length is not known beforehand.

    Every call of `record` is one moment. Its metrics are all kept; its weights when its number is a multiple of a
    stride that starts at 1 and doubles whenever 2 T are held. At the end the T nearest to even spacing become the
    snapshots, the first and the last recorded state always among them; a training of fewer than T records has as many
    snapshots. What is held lies on disk (at most 2 T + 1 vectors of 4 P bytes), in memory is the last one.

    zoo:         folder of the zoo; made where there is none. Several processes may record into one
    setup:       what is known of the training: JSON values by name, or a `Setup`. They become the run's properties
    snapshots:   T
    test_images: how many images a `test_accuracy` stands on; lets `converged` be computed
    classes:     how many classes these have; without it, as many as the network has outputs

    Of the processes of a distributed training (torch.distributed, torchrun) the first alone records; in the others
    nothing happens. Make the recorder after `init_process_group`.

    The run appears in the zoo at `close`, whole or not at all. In a `with` block that ends by an exception, or in a
    process that is killed, the recording stays in <zoo>/recordings/: see `weightprint.recover`.

    Raises ZooError for a folder that is no zoo, RecipeMismatch for a zoo that was not recorded.
    """

    def __init__(
        self,
        zoo: StrPath,
        setup: Mapping[str, Any] | Setup | EverydaySetup | None = None,
        *,
        snapshots: int = SNAPSHOTS,
        test_images: int | None = None,
        classes: int | None = None,
    ) -> None:
        if snapshots < 1:
            raise ZooError(f"snapshots must be at least 1, not {snapshots}")
        if classes is not None and classes < 2:
            raise ZooError(f"classes must be at least 2, not {classes}")
        self._properties = _properties(setup or {})
        self._facts = {"snapshots": snapshots, "test_images": test_images, "test_classes": classes}
        self._snapshots = snapshots
        self._recording: Recording | None = Recording.begin(Path(zoo)) if _is_first_process() else None
        self.number = self._recording.number if self._recording is not None else None
        self._silent = self._recording is None
        self._layout: Layout | None = None
        self._records = 0
        self._stride = 1
        self._held: list[int] = []
        self._last: tuple[int, npt.NDArray[np.float32]] | None = None
        self._diverged_at: int | None = None

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._recording is None:
            return
        if error is None:
            self.close()
        else:
            self._keep_last()
            self._recording.release()
            self._recording = None

    def __repr__(self) -> str:
        return f"<recorder of run {self.number}, {self._records} records>"

    def record(self, network: Any, **metrics: float) -> None:
        """Record the state of a network: a torch module, its state dict, or a Keras model.

        metrics: numbers by name; of `epoch`, `step` and `<train|validation|test>_<accuracy|loss>` weightprint knows
                 the meaning (accuracies as shares of 1); `val_acc`, `eval/loss` and their like are brought to these

        A network whose weights became infinite or NaN makes the run `diverged`: it keeps what was finite before.
        Raises ZooError where the network has other tensors than before, or a metric is no number.
        """
        if not self._silent:
            self.add(self.weights_of(network), metrics)

    def weights_of(self, network: Any) -> npt.NDArray[np.float32]:
        """The weight vector [P] of a network as it is now, a copy, in the order of this run's layout."""
        tensors, graph, order = tensors_of(network)
        layout = self._layout
        if layout is None:
            layout = self._layout = layout_of(tensors, graph=graph, flatten_order=order)
            self._open().describe(self._properties, layout, **self._facts)
        if {(t.name, t.canonical_shape) for t in tensors} != {(t.source, t.shape) for t in layout}:
            raise ZooError(
                f"the network has other tensors than at the first record of run {self.number}",
                hint="record one network with one recorder",
            )
        return weight_vector(tensors, layout)[0]

    def add(self, weights: npt.NDArray[np.float32], metrics: Mapping[str, Any]) -> None:
        """Record a vector that `weights_of` made earlier; what callbacks use whose metrics come later."""
        recording = self._open()
        number, named = self._records, {standard_name(name): _number(name, value) for name, value in metrics.items()}
        if self._diverged_at is None and not np.isfinite(weights).all():
            self._diverged_at = number
        moment: dict[str, Any] = {"record": number, "metrics": named}
        if self._diverged_at is not None:
            moment["diverged"] = True
        else:
            self._last = number, weights
            if number % self._stride == 0:
                recording.keep(number, weights)
                self._held.append(number)
        recording.note(moment)
        self._records += 1
        if len(self._held) > 2 * self._snapshots:
            self._stride *= 2
            for dropped in [n for n in self._held if n % self._stride]:
                recording.drop(dropped)
            self._held = [n for n in self._held if n % self._stride == 0]

    def close(self) -> int | None:
        """End the recording: the run appears in the zoo. Returns its number, None where nothing was recorded.

        A second call does nothing.
        """
        recording = self._recording
        if recording is None:
            return self.number if self._records else None
        if not self._records:
            recording.discard()
            self._recording = None
            return None
        self._keep_last()
        status, reason = "complete", f"recorded to its end, {self._records} records"
        if self._diverged_at is not None:
            status = "diverged"
            reason = f"weights became infinite or NaN at record {self._diverged_at} of {self._records}"
        recording.finish(status=status, reason=reason)
        self._recording = None
        return self.number

    def lightning(self) -> Any:
        """A callback for Lightning's Trainer: records at the start and after every epoch. Needs `[recorder]`."""
        return recorder_callbacks.lightning_callback(self)

    def transformers(self) -> Any:
        """A callback for the Hugging Face Trainer: records at the start and after every epoch. Needs `[recorder]`."""
        return recorder_callbacks.transformers_callback(self)

    def keras(self) -> Any:
        """A callback for `fit` of Keras 3: records at the start and after every epoch. Needs `[recorder]`."""
        return recorder_callbacks.keras_callback(self)

    def _open(self) -> Recording:
        if self._recording is None:
            raise ZooError(f"the recording of run {self.number} has ended", hint="begin another Recorder")
        return self._recording

    def _keep_last(self) -> None:
        if self._last is not None and self._last[0] not in self._held:
            self._open().keep(*self._last)
            self._held.append(self._last[0])


def _is_first_process() -> bool:
    """Whether this process trains alone, or is the first of several."""
    distributed = getattr(sys.modules.get("torch"), "distributed", None)
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        return bool(distributed.get_rank() == 0)
    alone = "WORLD_SIZE" not in os.environ
    return alone or (os.environ.get("RANK") or os.environ.get("LOCAL_RANK") or "0") == "0"


def standard_name(name: str) -> str:
    """A metric's name; one of a part and a measure as weightprint has it: "val_acc" → "validation_accuracy"."""
    words = re.split(r"[_/]", name)
    if len(words) == 2 and words[0] in _PARTS and words[1] in _MEASURES:
        return f"{_PARTS[words[0]]}_{_MEASURES[words[1]]}"
    return name


def _number(name: str, value: Any) -> float | int | None:
    """A metric as JSON has it: None for NaN and infinities."""
    if type(value) is int:
        return value
    try:
        number = float(value)
    except (TypeError, ValueError, RuntimeError):
        raise ZooError(f"the metric {name} must be a number, not {value!r:.60}") from None
    return number if math.isfinite(number) else None


def _properties(setup: Mapping[str, Any] | Setup | EverydaySetup) -> dict[str, Any]:
    properties = dict(setup) if isinstance(setup, Mapping) else setup.to_dict()
    for name, value in properties.items():
        if not isinstance(name, str) or name in SCHEMA:
            raise ZooError(
                f"no property can be named {name!r}", hint="the index of every zoo has a column of that name"
            )
        try:
            canonical_json(value).encode()
        except (TypeError, ValueError) as error:
            raise ZooError(
                f"the property {name} must be a JSON value, not {value!r:.60}: {error}",
                hint="numbers, text, truth values, lists and dictionaries of them",
            ) from None
    return properties


def tensors_of(network: Any) -> tuple[tuple[NamedTensor, ...], Graph | None, str]:
    """(tensors, graph, flatten order) of a network as it is now; their values are read when asked for.

    network: a torch module, its state dict, or a built Keras model. Of a module come the tensors of its state dict,
             named as a file saved from it would name them; integers (batch counts) are left out

    Raises CheckpointError for anything else, and for a network without weights.
    """
    collector = Collector()
    keras = sys.modules.get("keras")
    if keras is not None and isinstance(network, keras.Model):
        graph, order = _add_keras(collector, network)
    else:
        state = network.state_dict() if hasattr(network, "state_dict") else network
        if not isinstance(state, dict):
            raise CheckpointError(
                f"expected a torch module, its state dict or a Keras model, found {type(network).__name__}"
            )
        stored = {str(name): _of_torch(value) for name, value in state.items() if hasattr(value, "untyped_storage")}
        add_torch_tensors(collector, stored)
        graph, order = None, "chw"
    if not any(tensor.size for tensor in collector.tensors):
        raise CheckpointError("a network without weights", hint="build it, or call it once, before it is recorded")
    return collector.tensors, graph, order


def _of_torch(tensor: Any) -> Stored:
    dtype = str(tensor.dtype).removeprefix("torch.")
    shape = tuple(tensor.shape)
    place = (tensor.data_ptr(), shape, tensor.stride()) if tensor.numel() else None
    if not tensor.is_floating_point():
        return Stored(shape, dtype, lambda: tensor.cpu().numpy(), place)
    return Stored(shape, "float32", lambda: tensor.detach().float().cpu().contiguous().numpy(), place)


def _add_keras(collector: Collector, model: Any) -> tuple[Graph | None, str]:
    layers = model_layers(json.loads(model.to_json()))
    named: dict[str, list[str]] = {}
    for owner, layer in _keras_layers(model, ""):
        for weight in layer.weights:
            parts = weight.path.split("/")
            rest = parts[len(parts) - parts[::-1].index(layer.name) :] if layer.name in parts else [weight.name]
            name = "/".join([owner, *rest])
            kind, axes = keras_role(weight.name, type(layer).__name__, name, len(weight.shape))
            collector.add(name, _of_keras(weight), kind=kind, axes=axes)
            named.setdefault(owner, []).append(name)
    return layer_graph(layers, named), flatten_order(layers)


def _keras_layers(model: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    """(name as `model_layers` has it, layer) of all that are no models themselves, each once."""
    for layer in model.layers:
        if getattr(layer, "layers", None):
            yield from _keras_layers(layer, f"{prefix}{layer.name}/")
        else:
            yield f"{prefix}{layer.name}", layer


def _of_keras(weight: Any) -> Stored:
    def load() -> np.ndarray:
        return np.asarray(import_module("keras").ops.convert_to_numpy(weight), dtype=np.float32)

    is_float = "float" in str(weight.dtype)
    return Stored(tuple(weight.shape), "float32" if is_float else str(weight.dtype), load, id(weight))
