"""Several runs trained as one, for devices that one small network leaves idle: the same results but for rounding.

The members of a cohort have networks of one shape, which `torch.func.vmap` calls as one; the loss is the sum of all. No
number of one member enters another's, so one that diverges spoils none. Each member draws from the random streams of
its own single run. Shapes: K members, n trainable weights of each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call, stack_module_state, vmap

from weightprint.errors import DataError, SetupError
from weightprint.images import ImageSet, TrainingImages, epoch_indices, epoch_size, prepare, refuse_large_batch
from weightprint.images.augment import augment
from weightprint.setups import Setup
from weightprint.setups.recipe import SHAPE_FIELDS
from weightprint.training.architecture import tensor_entries
from weightprint.training.devices import refuse_absent_device
from weightprint.training.loop import LEARNING_RATE_DECAY, MAX_EPOCHS, SNAPSHOTS, Course, TrainedRun
from weightprint.training.networks import ACTIVATIONS, Network, dropout_masks, initialize
from weightprint.training.optimizers import RULES, AdamW, Optimizer
from weightprint.training.plain import EVALUATION_BATCH, ResidentImages, to_float
from weightprint.training.streams import Streams

Tensors = dict[str, Tensor]


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
    members = list(zip(setups, (Streams(seed, run, device) for run in runs), strict=True))
    parts = CohortImages(_prepared(setups, images, seed), [setup.dataset for setup in setups], device)
    networks = [Network(setup) for setup in setups]
    for single, (_, streams) in zip(networks, members, strict=True):
        initialize(single, generator=streams.initialization)
    network = CohortNetwork([single.to(device) for single in networks])
    optimizer = CohortOptimizer(setups, network.values)
    size, step = setups[0].batch_size, 0
    with ExitStack() as spools:
        limits = {"max_epochs": max_epochs, "snapshots": snapshots}
        courses = [spools.enter_context(Course(setup, **limits, spool=spool)) for setup in setups]
        under_way = courses
        for epoch in range(max_epochs + 1):
            evaluations = zip(under_way, network.vectors(), parts.evaluate(network), strict=True)
            ended = [course.ends(step, epoch, vector.cpu().numpy(), six) for course, vector, six in evaluations]
            kept = [k for k, end in enumerate(ended) if not end]
            if not kept:
                break
            if any(ended):
                members, under_way = [members[k] for k in kept], [under_way[k] for k in kept]
                network.keep(kept)
                optimizer.keep(kept, network.values)
                parts.keep(kept)
            decayed = [[setup.learning_rate * LEARNING_RATE_DECAY**epoch] for setup, _ in members]
            rates = network.values.new_tensor(decayed)
            indices = parts.epoch_indices([streams.order for _, streams in members])
            for start in range(0, indices.shape[1] - size + 1, size):
                batch, labels = parts.training_batch(indices[:, start : start + size])
                batch = augment_members(batch, network.setups, [streams.augmentation for _, streams in members])
                scores = network.scores(batch, [streams.dropout for _, streams in members])
                optimizer.step(network.gradients(scores, labels), rates)
                step += 1
        return [course.result() for course in courses]


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
    """The networks of K set-ups of one shape, called as one.

    setups: of the members
    values: [K, n] the trainable weights, one member a row, in the order of `Network.parameters()`
    """

    def __init__(self, networks: Sequence[Network]) -> None:
        self.setups = [network.setup for network in networks]
        self._network = networks[0]  # its `forward` is everyone's
        parameters, self._buffers = stack_module_state(list(networks))
        self._shapes = {name: parameter.shape[1:] for name, parameter in parameters.items()}
        self.values = torch.cat([p.detach().flatten(1) for p in parameters.values()], 1).requires_grad_()

    def keep(self, kept: list[int]) -> None:
        """Go on with these members alone."""
        self.setups = [self.setups[k] for k in kept]
        self._buffers = {name: buffer[kept] for name, buffer in self._buffers.items()}
        self.values = self.values.detach()[kept].requires_grad_()

    @torch.no_grad()
    def vectors(self) -> Tensor:
        """Each member's weights in the order of its layout [K, P]."""
        tensors = {**self._parameters(), **self._buffers}
        return torch.cat([tensors[entry["source"]].flatten(1) for entry in tensor_entries(self.setups[0])], 1)

    def gradients(self, scores: Tensor, labels: Tensor) -> Tensor:
        """Of each member's mean cross-entropy in its own weights [K, n]; scores [K, B, outputs], labels [K, B]."""
        losses = _cross_entropies(scores, labels).mean(1)
        return torch.autograd.grad(losses.sum(), self.values)[0]

    def scores(self, images: Tensor, dropout: Sequence[torch.Generator] | None = None) -> Tensor:
        """Class scores [K, B, outputs] of images [K, B, 3, 32, 32]; in eval mode where `dropout` is None.

        dropout: a stream per member
        """
        self._network.train(dropout is not None)
        masks: list[Tensor] = []
        if dropout is not None and any(setup.dropout for setup in self.setups):
            members = zip(self.setups, images, dropout, strict=True)
            drawn = [dropout_masks(setup, batch, generator=stream) for setup, batch, stream in members]
            ones = [torch.ones_like(mask) for mask in next(filter(None, drawn))]
            masks = [torch.stack(layer) for layer in zip(*(own or ones for own in drawn), strict=True)]
        names = list(dict.fromkeys(setup.activation for setup in self.setups))
        which = torch.tensor([names.index(setup.activation) for setup in self.setups], device=images.device)

        def member(parameters: Tensors, buffers: Tensors, x: Tensor, place: Tensor, drawn: list[Tensor]) -> Tensor:
            def activate(x: Tensor) -> Tensor:
                first, *others = (ACTIVATIONS[name](x) for name in names)
                for i, other in enumerate(others, 1):
                    first = torch.where(place == i, other, first)
                return first

            return functional_call(self._network, (parameters, buffers), (x,), {"masks": drawn, "activation": activate})

        return vmap(member)(self._parameters(), self._buffers, images, which, masks)

    def _parameters(self) -> Tensors:
        """Name → that tensor of all members [K, …], views of `values`."""
        stretches = self.values.split([shape.numel() for shape in self._shapes.values()], 1)
        shapes = self._shapes.items()
        return {name: part.unflatten(1, shape) for (name, shape), part in zip(shapes, stretches, strict=True)}


def _cross_entropies(scores: Tensor, labels: Tensor) -> Tensor:
    """Of every image [K, B]."""
    return F.cross_entropy(scores.flatten(0, 1), labels.flatten(), reduction="none").view(labels.shape)


class CohortOptimizer:
    """The members' update rules on their weights `values` [K, n]; each rule runs once for all members that have it.

    A rule is asked for its step from zero at learning rate 1, which the members' learning rates then scale.
    """

    def __init__(self, setups: Sequence[Setup], values: Tensor) -> None:
        self._values = values
        self._decay = values.new_tensor([[setup.weight_decay] for setup in setups])  # [K, 1]
        self._rules: list[tuple[Tensor, Optimizer]] = []  # rows that a rule changes, and the rule
        for name in dict.fromkeys(setup.optimizer for setup in setups):
            rows = [k for k, setup in enumerate(setups) if setup.optimizer == name]
            zeros = torch.zeros_like(values.detach()[rows])
            self._rules.append((torch.tensor(rows, device=values.device), RULES[name](zeros, zeros.clone())))

    def keep(self, kept: list[int], values: Tensor) -> None:
        """Go on with these members alone, whose weights are now `values`."""
        self._values, self._decay = values, self._decay[kept]
        for i, (rows, rule) in enumerate(self._rules):
            places = [place for place, row in enumerate(rows.tolist()) if row in kept]
            for name, state in vars(rule).items():
                if isinstance(state, Tensor):
                    setattr(rule, name, state[places])
            self._rules[i] = rows.new_tensor([kept.index(row) for row in rows.tolist() if row in kept]), rule

    @torch.no_grad()
    def step(self, gradients: Tensor, learning_rates: Tensor) -> None:
        """Change the weights in place; gradients [K, n], learning_rates [K, 1]."""
        for rows, rule in self._rules:
            values, rates, decay = self._values[rows], learning_rates[rows], self._decay[rows]
            rule.gradients.copy_(gradients[rows])
            if isinstance(rule, AdamW):
                values.mul_(1 - rates * decay)
            else:
                rule.gradients.addcmul_(values, decay)
            rule.values.zero_()
            rule.step(1.0)
            self._values[rows] = values.addcmul_(rule.values, rates)


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
