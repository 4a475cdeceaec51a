"""A recorder as a callback of Lightning, of the Hugging Face Trainer and of Keras 3.

Each records the state before the first step and after every epoch, and closes the recording when the training ends. One
that ends by an exception stays a recording, see `weightprint.recover`. Of several processes only the first records.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from weightprint.formats.extras import with_extra

if TYPE_CHECKING:
    from weightprint.formats.recorder import Recorder


def lightning_callback(recorder: Recorder) -> Any:
    """A `lightning.pytorch.Callback`; metrics are those that were logged by the end of the epoch."""
    callback: Any = with_extra("lightning.pytorch", "recorder", "this callback").Callback

    class LightningRecorder(callback):
        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            if trainer.is_global_zero:
                recorder.record(pl_module, epoch=trainer.current_epoch, step=trainer.global_step)

        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            if trainer.is_global_zero:
                moment = {"epoch": trainer.current_epoch + 1, "step": trainer.global_step}
                recorder.add(recorder.weights_of(pl_module), _numbers(trainer.callback_metrics) | moment)

        def on_train_end(self, trainer: Any, pl_module: Any) -> None:
            recorder.close()

    return LightningRecorder()


def transformers_callback(recorder: Recorder) -> Any:
    """A `transformers.TrainerCallback`; metrics are those of the logs and evaluations at the end of the epoch."""
    callback: Any = with_extra("transformers", "recorder", "this callback").TrainerCallback

    class TransformersRecorder(callback):
        def __init__(self) -> None:
            self.waiting: tuple[npt.NDArray[np.float32], dict[str, Any]] | None = None
            self.metrics: dict[str, Any] = {}

        def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
            if state.is_world_process_zero:
                recorder.record(model, epoch=float(state.epoch or 0), step=state.global_step)

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            self.metrics |= _with_train(_numbers(logs or {}))

        def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.flush()

        def on_epoch_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
            if state.is_world_process_zero:  # evaluations of this state are still to come
                moment = {"epoch": float(state.epoch or 0), "step": state.global_step}
                self.waiting = recorder.weights_of(model), moment

        def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.flush()
            recorder.close()

        def flush(self) -> None:
            if self.waiting is not None:
                weights, moment = self.waiting
                recorder.add(weights, self.metrics | moment)
            self.waiting, self.metrics = None, {}

    return TransformersRecorder()


def keras_callback(recorder: Recorder) -> Any:
    """A `keras.callbacks.Callback`; metrics are the logs of the epoch, those without `val_` of the training images."""
    callback: Any = with_extra("keras", "recorder", "this callback").callbacks.Callback

    class KerasRecorder(callback):
        def on_train_begin(self, logs: Any = None) -> None:
            if self.model.built:
                recorder.record(self.model, epoch=0)

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            recorder.add(recorder.weights_of(self.model), _with_train(_numbers(logs or {})) | {"epoch": epoch + 1})

        def on_train_end(self, logs: Any = None) -> None:
            recorder.close()

    return KerasRecorder()


def _with_train(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The same; a bare loss or accuracy is that of the training images."""
    return {f"train_{name}" if name in ("loss", "accuracy", "acc") else name: v for name, v in metrics.items()}


def _numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The metrics that are single numbers."""
    found = {}
    for name, value in metrics.items():
        try:
            found[name] = float(value)
        except (TypeError, ValueError, RuntimeError):
            continue
    return found
