"""Several runs trained as one, for devices that one small network leaves idle: the same results but for rounding.

The members of a cohort have networks of one shape and lie side by side: a convolution has a group of channels per
member, a fully connected layer is a batch of matrix products, the loss is the sum of all. No number of one member
enters another's, so one that diverges spoils none. Each member draws from the random streams of its own single run.
Shapes: K members, n trainable weights of each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from weightprint.errors import DataError, SetupError
from weightprint.images import ImageSet, TrainingImages, epoch_indices, epoch_size, prepare, refuse_large_batch
from weightprint.images.augment import augment
from weightprint.setups import Setup
from weightprint.setups.recipe import SHAPE_FIELDS
from weightprint.training.architecture import BATCH_NORM_EPSILON, BATCH_NORM_MOMENTUM, layers_per_block, tensor_entries
from weightprint.training.devices import refuse_absent_device
from weightprint.training.loop import (
    LEARNING_RATE_DECAY,
    MAX_EPOCHS,
    SNAPSHOTS,
    Course,
    TrainedRun,
)
from weightprint.training.networks import (
    ACTIVATIONS,
    Network,
    draw_units,
    initialize,
)
from weightprint.training.optimizers import RULES, AdamW, Optimizer
from weightprint.training.plain import EVALUATION_BATCH, ResidentImages, to_float
from weightprint.training.streams import Streams


def train_cohort(
    setups: Sequence[Setup],
    images: Mapping[str, ImageSet | TrainingImages],
    *,
    seed: int = 0,
    runs: Sequence[int],
    max_epochs: int = MAX_EPOCHS,
    snapshots: int = SNAPSHOTS,
    device: str = "cpu",
    spool: str | Path | None = None,
) -> list[TrainedRun]:
    """Train K classifiers side by side; each result is what `weightprint.training.loop.train` gives, up to rounding.

    setups: of the members, equal in SHAPE_FIELDS
    images: data set name → images, equally many of each data set
    runs:   the members' run numbers

    All other arguments are as in `train`. A member that ends early leaves the cohort, and the rest goes on.

    Raises SetupError for set-ups that differ in shape and for a device that is not there, DataError for images of
    different numbers or fewer than a batch.
    """
    _refuse_other_shapes(setups, runs)
    refuse_absent_device(device)
    order = sorted(range(len(setups)), key=lambda k: setups[k].activation)  # one operation for neighbours that share it
    members = [_Member(setups[k], Streams(seed, runs[k], device)) for k in order]
    parts = CohortImages(_prepared(setups, images, seed), [member.setup.dataset for member in members], device)
    network = CohortNetwork([member.network().to(device) for member in members])
    optimizer = CohortOptimizer(network.setups, network.values)

    step = 0
    with ExitStack() as spools:
        limits = {"max_epochs": max_epochs, "snapshots": snapshots}
        courses = [spools.enter_context(Course(m.setup, **limits, spool=spool)) for m in members]
        under_way = courses
        for epoch in range(max_epochs + 1):
            evaluations = zip(under_way, network.vectors(), parts.evaluate(network), strict=True)
            ended = [
                course.ends(step, epoch, vector.cpu().numpy(), measured) for course, vector, measured in evaluations
            ]
            if all(ended):
                break
            if any(ended):
                kept = [k for k, end in enumerate(ended) if not end]
                members, under_way = [members[k] for k in kept], [under_way[k] for k in kept]
                network.keep(kept)
                optimizer.keep(kept, network.values)
                parts.keep(kept)
            rates = network.values.new_tensor([[m.setup.learning_rate * LEARNING_RATE_DECAY**epoch] for m in members])
            indices = parts.epoch_indices([member.streams.order for member in members])
            for start in range(0, indices.shape[1] - setups[0].batch_size + 1, setups[0].batch_size):
                batch, labels = parts.training_batch(indices[:, start : start + setups[0].batch_size])
                batch = augment_members(batch, network.setups, [m.streams.augmentation for m in members])
                scores = network.scores(batch, [m.streams.dropout for m in members])
                optimizer.step(network.gradients(scores, labels), rates)
                step += 1
        found = dict(zip(order, (course.result() for course in courses), strict=True))
    return [found[k] for k in range(len(setups))]


@dataclass(frozen=True)
class _Member:
    setup: Setup
    streams: Streams

    def network(self) -> Network:
        """The member's own network at the start of its training."""
        network = Network(self.setup)
        initialize(network, generator=self.streams.initialization)
        return network


def _refuse_other_shapes(setups: Sequence[Setup], runs: Sequence[int]) -> None:
    if len(setups) != len(runs) or not setups:
        raise SetupError(f"a cohort needs as many runs as set-ups and at least one, not {len(runs)} and {len(setups)}")
    for field in SHAPE_FIELDS:
        values = sorted({getattr(setup, field) for setup in setups})
        if len(values) > 1:
            raise SetupError(f"members of a cohort must share {field}, found {', '.join(map(str, values))}")


def _prepared(
    setups: Sequence[Setup], images: Mapping[str, ImageSet | TrainingImages], seed: int
) -> dict[str, TrainingImages]:
    """The images of every data set of the members, as they are trained on."""
    parts: dict[str, TrainingImages] = {}
    for setup in setups:
        if setup.dataset not in parts:
            part = images[setup.dataset]
            if isinstance(part, ImageSet):
                part = prepare(part, train_size=None, test_size=None, seed=seed)
            refuse_large_batch(part, setup.batch_size)
            parts[setup.dataset] = part
    sizes = {name: _sizes(part) for name, part in parts.items()}
    if len(set(sizes.values())) > 1:
        found = "; ".join(f"{name} {size}" for name, size in sizes.items())
        raise DataError(
            f"members of a cohort need data sets of the same size (train, of it per epoch, validation, test): {found}",
            hint="give train_size and test_size to `weightprint.images.prepare`",
        )
    return parts


def _sizes(part: TrainingImages) -> tuple[int, int, int, int]:
    return len(part.y_train), epoch_size(part.y_train), len(part.y_validation), len(part.y_test)


class CohortNetwork:
    """The networks of K set-ups of one shape, side by side.

    setups: of the members
    values: [K, n] the trainable weights, one member a row, in the order of `Network.parameters()`
    """

    def __init__(self, networks: Sequence[Network]) -> None:
        self.setups = [network.setup for network in networks]
        self._shapes = {name: parameter.shape for name, parameter in networks[0].named_parameters()}
        self._moving = {
            name: torch.stack([network.get_buffer(name) for network in networks])  # [K, C]
            for name, _ in networks[0].named_buffers()
            if not name.endswith("num_batches_tracked")
        }
        rows = [torch.cat([p.detach().reshape(-1) for p in network.parameters()]) for network in networks]
        self._set_values(torch.stack(rows))

    def _set_values(self, values: Tensor) -> None:
        self.values = values.requires_grad_()
        keep = [[[1.0 - setup.dropout]] for setup in self.setups]
        self._keep = torch.tensor(keep, dtype=torch.float32, device=values.device)  # [K, 1, 1]

    def keep(self, kept: list[int]) -> None:
        """Go on with these members alone."""
        self.setups = [self.setups[k] for k in kept]
        self._moving = {name: moving[kept] for name, moving in self._moving.items()}
        self._set_values(self.values.detach()[kept])

    @torch.no_grad()
    def vectors(self) -> Tensor:
        """Each member's weights in the order of its layout [K, P]."""
        tensors = {**self._weights(), **self._moving}
        return torch.cat([tensors[entry["source"]].flatten(1) for entry in tensor_entries(self.setups[0])], 1)

    def gradients(self, scores: Tensor, labels: Tensor) -> Tensor:
        """Of each member's mean cross-entropy in its own weights [K, n]; scores [K, B, outputs], labels [K, B]."""
        losses = _cross_entropies(scores, labels).mean(1)
        return torch.autograd.grad(losses.sum(), self.values)[0]

    def scores(self, images: Tensor, dropout: Sequence[torch.Generator] | None = None) -> Tensor:
        """Class scores [K, B, outputs] of images [K, B, 3, 32, 32]; in eval mode where `dropout` is None.

        dropout: a stream per member
        """
        setup, weights, training = self.setups[0], self._weights(), dropout is not None
        members = len(self.setups)
        ends_block = [i + 1 == n for n in layers_per_block(setup.depth_conv) for i in range(n)]
        x = images.transpose(0, 1).flatten(1, 2)  # [B, K·C, H, W]
        for i, pool in enumerate(ends_block):
            kernel, bias = weights[f"conv.{i}.weight"].flatten(0, 1), weights[f"conv.{i}.bias"].flatten()
            if x.device.type == "cpu":  # where it halves the time of a step
                x = x.contiguous(memory_format=torch.channels_last)
            x = F.conv2d(x, kernel, bias, padding=setup.filter_size // 2, groups=members)
            x = self._normalise(x, f"conv_norm.{i}", weights, training)
            if pool:  # before the activation, as in `Network`
                x = F.max_pool2d(x, 2)
            x = self._activate(x, dim=1)
        x = x.unflatten(1, (members, -1)).permute(1, 0, 3, 4, 2).flatten(2)  # [K, B, height · width · channel]
        for i in range(setup.depth_fc):
            x = self._activate(_linear(x, f"fc.{i}", weights), dim=0)
            x = self._normalise(x.transpose(0, 1).flatten(1), f"fc_norm.{i}", weights, training)
            x = self._drop(x.unflatten(1, (members, -1)).transpose(0, 1), dropout)
        return _linear(x, "output", weights)

    def _weights(self) -> dict[str, Tensor]:
        """Name → that tensor of all members [K, …], views of `values`."""
        stretches = self.values.split([shape.numel() for shape in self._shapes.values()], 1)
        return {
            name: stretch.unflatten(1, shape)
            for (name, shape), stretch in zip(self._shapes.items(), stretches, strict=True)
        }

    def _normalise(self, x: Tensor, name: str, weights: Mapping[str, Tensor], training: bool) -> Tensor:
        """Batch norm of [B, K·C, …]."""
        if not self.setups[0].batch_norm:
            return x
        gamma, beta = weights[f"{name}.weight"].flatten(), weights[f"{name}.bias"].flatten()
        mean, variance = (self._moving[f"{name}.{kind}"].view(-1) for kind in ("running_mean", "running_var"))
        return F.batch_norm(x, mean, variance, gamma, beta, training, BATCH_NORM_MOMENTUM, BATCH_NORM_EPSILON)

    def _activate(self, x: Tensor, *, dim: int) -> Tensor:
        """Each member's activation, where the members lie one after the other along `dim`."""
        width = x.shape[dim] // len(self.setups)
        alike = [(name, len(list(group))) for name, group in groupby(setup.activation for setup in self.setups)]
        pieces = x.split([width * count for _, count in alike], dim)
        changed = [ACTIVATIONS[name](piece) for (name, _), piece in zip(alike, pieces, strict=True)]
        return torch.cat(changed, dim) if len(changed) > 1 else changed[0]

    def _drop(self, x: Tensor, generators: Sequence[torch.Generator] | None) -> Tensor:
        """Dropout of [K, B, units], drawn per member as `Network` draws."""
        if generators is None or not any(setup.dropout for setup in self.setups):
            return x
        drawn = torch.zeros(x.shape, device=x.device)
        for row, setup, generator in zip(drawn, self.setups, generators, strict=True):
            if setup.dropout:
                row.copy_(draw_units(row.shape, generator=generator, device=x.device))
        return x * drawn.lt_(self._keep).to(x.dtype).div_(self._keep)


def _linear(x: Tensor, name: str, weights: Mapping[str, Tensor]) -> Tensor:
    return torch.baddbmm(weights[f"{name}.bias"].unsqueeze(1), x, weights[f"{name}.weight"].transpose(1, 2))


def _cross_entropies(scores: Tensor, labels: Tensor) -> Tensor:
    """Of every image [K, B]."""
    return F.cross_entropy(scores.flatten(0, 1), labels.flatten(), reduction="none").view(labels.shape)


@dataclass
class _Alike:
    """Members of one update rule.

    rows:  which members [members]
    decay: their weight decay [members, 1]; None when no one has any
    rule:  holds their gradients and, as values, their step at learning rate 1
    """

    rows: Tensor
    decay: Tensor | None
    rule: Optimizer


class CohortOptimizer:
    """The members' update rules on their weights `values` [K, n]; each rule runs once for all members that have it.

    A rule is asked for its step from zero at learning rate 1, which the members' learning rates then scale.
    """

    def __init__(self, setups: Sequence[Setup], values: Tensor) -> None:
        self.values = values
        self._groups: list[_Alike] = []
        for name in dict.fromkeys(setup.optimizer for setup in setups):
            rows = [k for k, setup in enumerate(setups) if setup.optimizer == name]
            decay = values.new_tensor([[setups[k].weight_decay] for k in rows])
            zeros = torch.zeros_like(values.detach()[rows])
            rule = RULES[name](zeros, zeros.clone())
            places = torch.tensor(rows, device=values.device)
            self._groups.append(_Alike(places, decay if decay.any() else None, rule))

    def keep(self, kept: list[int], values: Tensor) -> None:
        """Go on with these members alone, whose weights are now `values`."""
        self.values = values
        for group in self._groups:
            rows = group.rows.tolist()
            places = [place for place, row in enumerate(rows) if row in kept]
            group.rows = group.rows.new_tensor([kept.index(rows[place]) for place in places])
            group.decay = None if group.decay is None else group.decay[places]
            for name, state in vars(group.rule).items():
                if isinstance(state, Tensor):
                    setattr(group.rule, name, state[places])
        self._groups = [group for group in self._groups if len(group.rows)]

    @torch.no_grad()
    def step(self, gradients: Tensor, learning_rates: Tensor) -> None:
        """Change `values` in place; gradients [K, n], learning_rates [K, 1]."""
        for group in self._groups:
            rule, values, rates = group.rule, self.values[group.rows], learning_rates[group.rows]
            rule.gradients.copy_(gradients[group.rows])
            if group.decay is not None:
                if isinstance(rule, AdamW):
                    values.mul_(1 - rates * group.decay)
                else:
                    rule.gradients.addcmul_(values, group.decay)
            rule.values.zero_()
            rule.step(1.0)
            self.values[group.rows] = values.addcmul_(rule.values, rates)


def augment_members(images: Tensor, setups: Sequence[Setup], generators: Sequence[torch.Generator]) -> Tensor:
    """Images [K, B, 3, H, W], those of members with augmentation changed at random."""
    if not any(setup.augmentation for setup in setups):
        return images
    members = zip(images, setups, generators, strict=True)
    return torch.stack([augment(x, generator=drawn) if setup.augmentation else x for x, setup, drawn in members])


class CohortImages:
    """The images of K members on their device, each data set once.

    images: data set name → images, equally many of each
    names:  the members' data sets
    """

    def __init__(self, images: Mapping[str, TrainingImages], names: Sequence[str], device: str) -> None:
        there = list(images)
        resident = [ResidentImages(part, device) for part in images.values()]
        self._train = torch.cat([part.train for part in resident])
        self._labels = torch.cat([part.train_labels for part in resident])
        measured = zip(*(part.measured for part in resident), strict=True)
        self._measured = [tuple(map(torch.stack, zip(*parts, strict=True))) for parts in measured]
        self._train_labels = [part.y_train for part in images.values()]
        self._device = device
        self._sets = [there.index(name) for name in names]

    def keep(self, kept: list[int]) -> None:
        """Go on with these members alone."""
        self._sets = [self._sets[k] for k in kept]

    def epoch_indices(self, orders: Sequence[np.random.Generator]) -> Tensor:
        """The images of one epoch [K, images], drawn for each member from its own stream."""
        drawn = []
        for place, order in zip(self._sets, orders, strict=True):
            labels = self._train_labels[place]
            drawn.append(epoch_indices(labels, generator=order) + place * len(labels))
        return torch.from_numpy(np.stack(drawn)).to(self._device)

    def training_batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Images [K, B, 3, 32, 32] float32 in [0, 1] and labels [K, B]."""
        return _to_float(self._train[indices]), self._labels[indices]

    @torch.inference_mode()
    def evaluate(self, network: CohortNetwork) -> list[list[float]]:
        """For each member what `ResidentImages.evaluate` measures of one network."""
        columns = []
        for images, labels in self._measured:  # [data sets, images, 32, 32, 3] and [data sets, images]
            sums = [
                torch.stack(_correct_and_loss(network.scores(_to_float(x[self._sets])), y[self._sets]))
                for x, y in zip(images.split(EVALUATION_BATCH, 1), labels.split(EVALUATION_BATCH, 1), strict=True)
            ]
            columns.append(np.array(torch.stack(sums).tolist()).sum(0) / labels.shape[1])  # [2, K]
        return np.concatenate(columns).T.tolist()


def _to_float(images: Tensor) -> Tensor:
    """Bytes [K, B, 32, 32, 3] as float32 [K, B, 3, 32, 32]."""
    return to_float(images.flatten(0, 1)).unflatten(0, images.shape[:2])


def _correct_and_loss(scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Sums over the images [K] each."""
    return (scores.argmax(2) == labels).sum(1).float(), _cross_entropies(scores, labels).sum(1)
