"""Checkpoint: an unfinished fit of the DMC on disk, from which it goes on to the same weights, bit for bit.

One safetensors file: the network's state, Adam's, that of dropout's random stream, and as metadata JSON that says what
is fitted, how far it has come and the state of the draws, with a checksum over all of it. Reading runs no stored code.
"""

from __future__ import annotations

import contextlib
import json
import os
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from weightprint.errors import CorruptFile, MetaError
from weightprint.files import canonical_json, sha256_hex, write_atomic

SECONDS = 60.0
"""Processor seconds between two writings, and fewer at the end of an epoch."""
EPOCH_SECONDS = 10.0

FORMAT = "weightprint-dmc-checkpoint"
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")
_DROPOUT = "dropout"


@dataclass
class Progress:
    """How far a fit has come.

    epoch:   the running one, from 0
    batch:   steps made in it
    drawn:   numpy's random state before its slices were drawn
    steps:   made in all
    slices:  seen in all
    losses:  means of the epochs before
    unseen:  of each of these, what `Unseen.measure` gave
    running: losses of the running epoch's steps
    share:   of the training, by which the learning rate falls
    seconds: of processor time
    """

    epoch: int = 0
    batch: int = 0
    drawn: Mapping[str, Any] = field(default_factory=dict)
    steps: int = 0
    slices: int = 0
    losses: list[float] = field(default_factory=list)
    unseen: list[dict[str, float]] = field(default_factory=list)
    running: list[float] = field(default_factory=list)
    share: float = 0.0
    seconds: float = 0.0

    def count(self, loss: float, slices: int) -> None:
        """A step was made."""
        self.batch, self.steps, self.slices = self.batch + 1, self.steps + 1, self.slices + slices
        self.running.append(loss)

    def end_epoch(self) -> None:
        """Begin the next one."""
        self.losses.append(float(np.mean(self.running)))
        self.epoch, self.batch, self.running = self.epoch + 1, 0, []


@dataclass
class Training:
    """All that changes during a fit.

    network, optimizer: Adam on the network's parameters
    dropout:  its random stream
    draws:    that of the slices
    progress: how far it has come
    """

    network: nn.Module
    optimizer: torch.optim.Optimizer
    dropout: torch.Generator
    draws: np.random.Generator
    progress: Progress

    def tensors(self) -> dict[str, Tensor]:
        """The state of network, optimizer and dropout, on the processor."""
        found = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        for number, parameter in enumerate(self.network.parameters()):
            state = self.optimizer.state[parameter]
            found |= {f"adam.{number}.{moment}": state[moment] for moment in _MOMENTS}
        found[_DROPOUT] = self.dropout.get_state()
        return {name: tensor.detach().cpu().contiguous() for name, tensor in found.items()}

    def load(self, tensors: Mapping[str, Tensor], progress: Progress) -> None:
        """Take over a state, and go back to the beginning of its epoch's draws. Raises KeyError, ValueError, TypeError
        or RuntimeError for what is none."""
        of_network = {name: tensors[f"network.{name}"] for name in self.network.state_dict()}
        self.network.load_state_dict(of_network)
        for number, parameter in enumerate(self.network.parameters()):
            stored = {moment: tensors[f"adam.{number}.{moment}"] for moment in _MOMENTS}
            self.optimizer.state[parameter] = {
                moment: tensor.to(parameter.device)
                if moment == "step"
                else torch.empty_like(parameter).copy_(tensor)  # laid out as the parameter is
                for moment, tensor in stored.items()
            }
        self.dropout.set_state(tensors[_DROPOUT])
        self.draws.bit_generator.state = dict(progress.drawn)
        self.progress = progress


class Checkpoint:
    """The file of an unfinished fit.

    path:     of the file
    settings: of the fit, JSON-ready
    examples: a digest of what is fitted
    """

    def __init__(self, path: str | os.PathLike[str], settings: Mapping[str, Any], examples: str) -> None:
        self.path, self._settings, self._examples = Path(path), dict(settings), examples
        self._written = 0.0

    def resume(self, training: Training) -> None:
        """Go on where the file stops; leave all as it is where there is none.

        Raises MetaError for a file of another fit, or none of ours; CorruptFile for one that is damaged.
        """
        from safetensors import SafetensorError, safe_open

        if not self.path.exists():
            return
        anew = f"delete {self.path} to begin anew"
        try:
            with safe_open(self.path, "pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            checksum = digest(metadata.get(FORMAT, ""), tensors)
        except OSError as error:
            raise MetaError(f"cannot read the unfinished fit {self.path}: {error.strerror or error}") from error
        except (SafetensorError, TypeError, ValueError, RuntimeError) as error:
            raise CorruptFile(f"{self.path} is no whole unfinished fit: {error}", hint=anew) from error
        if FORMAT not in metadata:
            raise MetaError(f"{self.path} exists and is no unfinished fit of the dmc", hint="choose another path")
        if metadata.get("sha256") != checksum:
            raise CorruptFile(f"{self.path} is not what was written: its checksum differs", hint=anew)
        document = json.loads(metadata[FORMAT])
        self._refuse_another_fit(document["settings"], document["examples"], anew)
        try:
            training.load(tensors, Progress(**document["progress"]))
        except (KeyError, ValueError, TypeError, RuntimeError) as error:
            raise CorruptFile(f"{self.path} does not hold what a fit needs: {error}", hint=anew) from error
        self._written = training.progress.seconds

    def _refuse_another_fit(self, settings: dict[str, Any], examples: str, anew: str) -> None:
        ours = self._settings
        differing = [name for name in {**ours, **settings} if settings.get(name) != ours.get(name)]
        if differing:
            listed = ", ".join(f"{name} {settings.get(name)!r}, not {ours.get(name)!r}" for name in differing)
            problem = f"{self.path} is an unfinished fit with other settings: {listed}"
            raise MetaError(problem, hint=f"fit with the same ones to go on, or {anew}")
        if examples != self._examples:
            problem = f"{self.path} is an unfinished fit on other runs or another property"
            raise MetaError(problem, hint=f"fit on the same ones to go on, or {anew}")

    def keep(self, training: Training, *, epoch_ended: bool) -> None:
        """Write the state when it is time to. A file that cannot be written is a warning, and the fit goes on."""
        if training.progress.seconds - self._written < (EPOCH_SECONDS if epoch_ended else SECONDS):
            return
        self._written = training.progress.seconds
        try:
            self.write(training)
        except OSError as error:
            problem = f"the unfinished fit cannot be kept in {self.path}: {error.strerror or error}; it goes on"
            warnings.warn(problem, stacklevel=3)

    def write(self, training: Training) -> None:
        """Write the state, whole or not at all. Raises OSError."""
        from safetensors.torch import save

        tensors = training.tensors()
        progress = asdict(training.progress)
        document = canonical_json({"settings": self._settings, "examples": self._examples, "progress": progress})
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(self.path, save(tensors, {FORMAT: document, "sha256": digest(document, tensors)}))

    def remove(self) -> None:
        """The fit is done. A file that stays would lead to the same weights again."""
        with contextlib.suppress(OSError):
            self.path.unlink()


def digest(document: str, tensors: Mapping[str, Tensor]) -> str:
    """The checksum of a checkpoint."""
    chunks: list[Any] = [document.encode()]
    for name, tensor in sorted(tensors.items()):
        array = tensor.numpy()
        chunks += [f"{name} {array.dtype} {array.shape}".encode(), array.reshape(-1).view(np.uint8).data]
    return sha256_hex(*chunks)
