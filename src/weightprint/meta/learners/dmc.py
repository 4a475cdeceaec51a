"""DMC: the deep meta-classifier, a convolutional network on slices or whole vectors (protocol: section 4)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from weightprint.errors import MetaError, check_known
from weightprint.meta.learners.base import Clock, Vectors, check_limit, check_whole
from weightprint.meta.learners.dmc_checkpoint import Checkpoint, Progress, Training
from weightprint.meta.learners.dmc_draws import Draws, check_whole_vectors
from weightprint.meta.learners.dmc_network import DeepMetaClassifier, batch_norms, loss_of
from weightprint.meta.learners.dmc_unseen import hold_out
from weightprint.seeds import seed_from_hash

DECAYS, DECAY = 50, 0.95
"""The learning rate is multiplied by DECAY this many times over the training."""
TRAINING_SHARE = 0.8
"""Of `max_seconds`; the rest is for batch norm's statistics."""
CANDIDATES = 8
"""Batches whose statistics are tried for batch norm at the end of a training; fewer where time is up."""
SCORED_WEIGHTS = 640_000
"""Weights read at once while scoring: 128 slices of 5,000."""
PRECISIONS = ("float32", "bfloat16")
NETWORK_FILE = "network.safetensors"


@dataclass(frozen=True)
class DMCLearner:
    """The deep meta-classifier of the paper, for slices of 16 weights and more, or whole vectors of one length.

    epochs:        one random slice per snapshot in each
    batch_size:    slices per gradient step; an epoch is dealt to batches of equal size, at most this large
    learning_rate: of Adam at the start
    dropout:       share of units dropped in the fully connected layers
    precision:     "float32", or "bfloat16": faster where the processor has it, with products rounded to 8 bits while
                   training
    device:        of torch, such as "cpu" or "cuda"
    max_seconds:   of processor time, shared by torch's threads; None for no limit
    max_steps:     gradient steps after which a training ends; None for no limit
    squashed:      read asinh of each slice's own standard scores, which say nothing of its scale, not its weights
    unseen:        one run in so many is not trained on: its loss is measured after each epoch; 0 for none
    checkpoint:    file in which an unfinished fit is kept and from which it goes on; removed when the fit is done

    Slices above 40,000 weights have a larger network; with whole vectors of 92,868 weights it takes about 5 GB at a
    batch of 64.

    Each epoch draws equally many slices of each class. The schedule of the learning rate follows the progress, which
    is the largest of the shares of epochs, of steps and of seconds used: limits change what is learnt, not only how
    much. At least one step is made. At the end batch norm's statistics are measured anew (`anchor`). A fit that no
    limit of seconds ended, interrupted or not, gives the same weights for the same seed, settings, thread count and
    library version.
    """

    epochs: int = 50
    batch_size: int = 64
    learning_rate: float = 1e-3
    dropout: float = 0.5
    precision: str = "float32"
    device: str = "cpu"
    max_seconds: float | None = None
    max_steps: int | None = None
    squashed: bool = False
    unseen: int = 0
    checkpoint: str | None = None

    name: ClassVar[str] = "dmc"
    version: ClassVar[int] = 3
    """1: a network that pooled once more before the deep convolutions; 2: batch norm's statistics were always means."""
    redraws: ClassVar[bool] = True

    def check(self) -> None:
        check_known("precision", self.precision, PRECISIONS)
        check_whole("epochs", self.epochs, 1)
        check_whole("batch_size", self.batch_size, 2)
        check_limit(self.max_seconds)
        if self.max_steps is not None:
            check_whole("max_steps", self.max_steps, 1)
        if self.unseen:
            check_whole("unseen", self.unseen, 2)
        if not 0 <= self.dropout < 1:
            raise MetaError(f"dropout must be from 0 to below 1, not {self.dropout!r}")
        if not 0 < self.learning_rate < math.inf:
            raise MetaError(f"learning_rate must be above 0, not {self.learning_rate!r}")
        if self.checkpoint is not None and not (isinstance(self.checkpoint, str) and self.checkpoint):
            raise MetaError(f"checkpoint must be the path of a file, not {self.checkpoint!r}")

    def fit(self, examples: Vectors, *, seed: int) -> FittedDMC:
        """Raises MetaError for a device that cannot be used, whole vectors of several lengths, a loss that is no number
        any more and a checkpoint of another fit; CorruptFile for a run or a checkpoint that cannot be read."""
        device = _device(self.device)
        unseen = None
        if self.unseen:
            examples, unseen = hold_out(examples, self.unseen, seed_from_hash("dmc unseen", int(seed)))
        draws = Draws(examples, np.random.default_rng(seed_from_hash("dmc slices", int(seed))))
        training = self._begin(draws, examples.classes, seed, device)
        checkpoint = None
        if self.checkpoint is not None:
            settings = {**asdict(self), "seed": int(seed), "version": self.version}
            del settings["checkpoint"]
            checkpoint = Checkpoint(self.checkpoint, settings, draws.digest())
            checkpoint.resume(training)
        network, progress = training.network, training.progress
        # While a device computes, the one thread that waits for it runs.
        clock = Clock(None, threads=torch.get_num_threads() if device.type == "cpu" else 1)
        before = progress.seconds
        rounded = torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bfloat16")

        capped = False
        while True:
            progress.drawn = draws.generator.bit_generator.state
            places, goals = draws.draw()
            batches = np.array_split(np.arange(len(goals)), math.ceil(len(goals) / self.batch_size))
            ahead = batches[progress.batch :]
            for batch, slices in zip(ahead, draws.deal(places, ahead), strict=True):
                progress.seconds = before + clock.spent
                used = self._used(progress)
                if progress.steps and used >= 1:
                    capped = True
                    break
                of_epochs = (progress.epoch + progress.batch / len(batches)) / self.epochs
                progress.share = max(progress.share, used, of_epochs)
                for group in training.optimizer.param_groups:
                    group["lr"] = self.learning_rate * DECAY ** math.floor(DECAYS * progress.share)
                with rounded:
                    predicted = network(torch.from_numpy(slices).to(device)).float()  # [B, C]
                truth = torch.from_numpy(goals[batch]).to(device)
                loss = loss_of(predicted, truth, examples.classes)
                training.optimizer.zero_grad()
                loss.backward()
                training.optimizer.step()
                if not math.isfinite(value := loss.item()):
                    problem = f"the training loss is no number any more after {progress.steps} steps"
                    raise MetaError(problem, hint="a lower learning_rate")
                progress.count(value, len(batch))
                if unseen is not None and progress.batch == len(batches):
                    progress.unseen.append(unseen.measure(network, self.batch_size))
                progress.seconds = before + clock.spent
                if checkpoint is not None:
                    checkpoint.keep(training, epoch_ended=progress.batch == len(batches))
            if capped or progress.epoch + 1 == self.epochs:
                break
            progress.end_epoch()

        examined = CANDIDATES * self.batch_size
        slices, goals_of_slices = draws.cut(places[:examined]), torch.from_numpy(goals[:examined]).to(device)
        limit = math.inf if self.max_seconds is None else self.max_seconds

        def loss_on_slices(predicted: Tensor) -> float:
            return float(loss_of(predicted, goals_of_slices, examples.classes))

        whole = anchor(
            network, slices, self.batch_size, loss_on_slices, time_is_up=lambda: before + clock.spent > limit
        )
        if checkpoint is not None:
            checkpoint.remove()
        losses = [*progress.losses, *([float(np.mean(progress.running))] if progress.running else [])]
        facts = {
            "epochs": progress.epoch + progress.batch / len(batches),
            "steps": progress.steps,
            "slices_seen": progress.slices,
            "train_loss": losses[-1],
            "chance_loss": chance_loss(draws.goals, examples.classes),
            "losses": losses,
            "unseen": progress.unseen,
            "capped": capped or not whole,
            "length": draws.length,
            "classes": examples.classes,
        }
        return FittedDMC(network, facts)

    def restore(self, files: Mapping[str, bytes], facts: Mapping[str, Any]) -> FittedDMC:
        """On the device of the settings where this machine has it, otherwise on the processor."""
        from safetensors.torch import load

        try:
            device = _device(self.device)
        except MetaError:
            device = torch.device("cpu")
        network = self._network(facts["length"], facts["classes"], torch.Generator(device))
        network.load_state_dict(load(files[NETWORK_FILE]))
        return FittedDMC(network, facts)

    def _begin(self, draws: Draws, classes: int, seed: int, device: torch.device) -> Training:
        """An untrained network."""
        generator = torch.Generator(device).manual_seed(seed_from_hash("dmc", int(seed)))
        network = self._network(draws.length, classes, generator).train()
        optimizer = torch.optim.Adam(network.parameters(), lr=self.learning_rate, fused=True)
        return Training(network, optimizer, generator, draws.generator, Progress())

    def _network(self, length: int, classes: int, generator: torch.Generator) -> DeepMetaClassifier:
        return DeepMetaClassifier(
            length, classes or 1, dropout=self.dropout, generator=generator, squashed=self.squashed
        )

    def _used(self, progress: Progress) -> float:
        """The larger share of the limits that is used; 0 without one."""
        of_steps = progress.steps / self.max_steps if self.max_steps else 0.0
        of_seconds = progress.seconds / (TRAINING_SHARE * self.max_seconds) if self.max_seconds else 0.0
        return max(of_steps, of_seconds)


class FittedDMC:
    """A fitted network.

    network: as trained
    facts:   epochs, steps, slices_seen, losses (mean of each epoch), train_loss (the last of them), chance_loss (that
             of the best constant answer), unseen (of each whole epoch, see `Unseen.measure`), capped (whether a limit
             ended the training), length, classes
    """

    def __init__(self, network: nn.Module, facts: Mapping[str, Any]) -> None:
        self.network, self.facts = network.eval(), dict(facts)

    def outputs(self, rows: npt.NDArray[np.float32], names: tuple[str, ...]) -> npt.NDArray[np.float64]:
        """Of slices or whole vectors [n, L], whose columns have no names of their own. Raises MetaError for whole
        vectors of another length."""
        length = self.facts["length"]
        check_whole_vectors((length, rows.shape[1]))
        device = next(self.network.parameters()).device
        slices = torch.from_numpy(np.ascontiguousarray(rows, np.float32))
        with torch.inference_mode():
            at_once = max(1, SCORED_WEIGHTS // length)
            scores = torch.cat([self.network(batch.to(device)).double() for batch in slices.split(at_once)])
            if self.facts["classes"]:
                scores = scores.softmax(dim=1)
        return scores.cpu().numpy()

    def files(self) -> dict[str, bytes]:
        from safetensors.torch import save

        return {NETWORK_FILE: save({name: t.cpu().contiguous() for name, t in self.network.state_dict().items()})}


def anchor(
    network: nn.Module,
    slices: npt.NDArray,
    batch_size: int,
    judge: Callable[[Tensor], float],
    *,
    time_is_up: Callable[[], bool] = lambda: False,
) -> bool:
    """Give batch norm the statistics under which the scores of these slices, float32 [n, L], have the least loss: those
    of one of their batches or the means over all.

    judge:      the loss of scores [n, C]
    time_is_up: asked before each of these but the first

    Returns whether all were tried. Differs: the paper never evaluates with moving statistics. Where the scales of
    slices differ by factors of ten thousand, as those of networks do, a few batches rule the means of every layer, and
    means fit no batch; where they are alike, the means of many are better than those of one.
    """
    device = next(network.parameters()).device
    norms = batch_norms(network)
    batches = np.array_split(slices, math.ceil(len(slices) / batch_size))
    tried, least = 0, math.inf
    best: list[dict[str, Tensor]] = []
    for sample in (*batches, slices):
        if tried and time_is_up():
            break
        tried += 1
        settle(network, sample, batch_size)
        with torch.inference_mode():
            scores = torch.cat([network(torch.from_numpy(batch).to(device)).float() for batch in batches])
        loss = judge(scores)
        if loss < least or not best:
            least = math.inf if math.isnan(loss) else loss
            best = [{name: value.clone() for name, value in norm.state_dict().items()} for norm in norms]
    for norm, state in zip(norms, best, strict=True):
        norm.load_state_dict(state)
    return tried == len(batches) + 1


def settle(network: nn.Module, inputs: npt.NDArray, batch_size: int) -> None:
    """Measure batch norm's moving statistics for the weights as they are: plain means over batches of the inputs,
    float32 [n, ...]. The network is in evaluation mode afterwards."""
    device = next(network.parameters()).device
    norms = batch_norms(network)
    momenta = [norm.momentum for norm in norms]
    network.eval()  # no dropout
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean
        norm.train()
    with torch.inference_mode():
        for batch in np.array_split(inputs, math.ceil(len(inputs) / batch_size)):
            network(torch.from_numpy(batch).to(device))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.eval()


def chance_loss(goals: npt.NDArray, classes: int) -> float:
    """The least loss of one answer for all: ln C for balanced classes, the mean distance from the median of values."""
    if classes:
        return math.log(classes)
    return float(np.abs(goals - np.median(goals)).mean())


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise MetaError(f"device {name!r} cannot be used: {str(error).splitlines()[0]}", hint="--device cpu") from error
    return device
