"""Attribution: which tensors, and which single weights, a verdict on a network rests on.

`layer_trees`, fitted on the training runs, names a property of test networks. What it says of a network is compared
with what it says of references, training networks of other classes; the difference is shared out by Shapley values
(`weightprint.study.shapley`) among the tensors. The weights of the first convolution's kernel share out what a second
`layer_trees` says that reads nothing but this kernel: to the first one a single kernel of many matters too little.
Tensors share the probability, which is easy to read; weights its log odds, of which half as many orders tell as much.

Shapley values and not gradients: trees have none. What is replaced comes from a network that was trained, but a
mixture of two networks is none that training makes: shares tell what the meta-classifier leans on, not what training
does.

Sampling is noisy. Everything is computed twice, with other orders and other references, and the two are correlated;
and deletion checks the ranking of one half on the references of the other.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from operator import attrgetter
from typing import Any

import numpy as np
import numpy.typing as npt

from weightprint.errors import MetaError
from weightprint.features.anatomy import anatomy
from weightprint.meta.evaluation import wilson
from weightprint.meta.layer_trees import LayerTrees
from weightprint.meta.targets import CLASSIFICATION, Target
from weightprint.seeds import seed_from_hash
from weightprint.study.budgets import Budget
from weightprint.study.cells import Cell
from weightprint.study.how_much import CURVE_ITERATIONS
from weightprint.study.mixtures import Mixture
from weightprint.study.plans import Facts, Planned
from weightprint.study.shapley import shapley
from weightprint.study.table import FeatureTable
from weightprint.zoo import Zoo, in_test_part
from weightprint.zoo.layout import Layout, Tensor

KIND = "attribution"

DELETED_TENSORS = 3
"""So many of the most attributed tensors are replaced, to see whether the verdict rests on them."""
DELETED_WEIGHTS = 0.1
"""And such a share of the weights of the kernel."""
RANDOM_DELETIONS = 5
"""Random choices of as many, for comparison."""

MOST_WEIGHTS = 2000
"""A first kernel with more weights is not attributed weight by weight: orders get longer, and each share smaller."""

AGREEMENT = "agreement of two halves"
DELETION = ("most attributed replaced", "random ones replaced", "difference")
CHECKS = (AGREEMENT, *DELETION)
WEIGHTS = "weights: "
"""Marks the checks of single weights among the rows."""

PREFERRED = ("optimizer", "initialization")
"""Where a budget allows few properties, those of which small zoos tell most."""

SEVERAL_LAYOUTS = "networks of several layouts: no tensor stands for another's"


@dataclass(frozen=True)
class Attribution:
    """What is attributed.

    target:     a property that is classified
    snapshots:  first and last that the meta-classifier is fitted on, from 1; the last one is attributed
    networks:   test networks that are attributed to tensors, at most, all of them named right
    references: of each network in each half; each is mixed in with one pair of orders
    examples:   the same of networks that are attributed to single weights
    weight_references: of each of those in each half
    split_seed: of the split
    iterations: of the trees
    """

    target: str
    snapshots: tuple[int, int]
    networks: int = 12
    references: int = 1
    examples: int = 3
    weight_references: int = 40
    split_seed: int = 0
    iterations: int = CURVE_ITERATIONS


def plan(facts: Facts, budget: Budget) -> list[Planned]:
    """One result for each property."""
    targets = sorted(facts.targets, key=lambda t: PREFERRED.index(t) if t in PREFERRED else len(PREFERRED))
    xs = ("all",) if facts.lengths_differ else (*facts.tensors, *CHECKS, *(WEIGHTS + name for name in CHECKS))
    found = []
    for target in targets[: budget.attributed]:
        asked = Attribution(target, facts.later_half, networks=budget.networks, examples=budget.examples)
        cell = Cell(KIND, asdict(asked), 10.0 + budget.networks + 12.0 * budget.examples)
        found.append(Planned("where", KIND, target, LayerTrees.name, "", xs, cell))
    return found


def run_attribution(zoo: Zoo, table: FeatureTable, asked: Attribution) -> dict[str, Any]:
    """{"scores": one per tensor, then CHECKS of tensors and of weights, "networks", "examples", "kernel_named",
    "seconds"}, JSON-ready; {"reason": text} when it cannot be done.

    table: of what `layer_trees` reads

    scores:       shares of the probability, means over networks with 95 % intervals over networks
    networks:     of each {"run", "class", "shares" in the order of the layout, "gain": their sum, "agreement"}
    examples:     of some the same of log odds by the weights of one tensor, and "tensor", "shape", "weights"
    kernel_named: test runs that are named right from the first kernel alone, and test runs
    """
    began = time.monotonic()
    try:
        found = _attribute(zoo, table, asked)
    except MetaError as error:
        found = {"reason": error.message}
    return {**found, "seconds": time.monotonic() - began}


def _attribute(zoo: Zoo, table: FeatureTable, asked: Attribution) -> dict[str, Any]:
    if len({run["length"] for run in table.runs}) > 1:
        raise MetaError(SEVERAL_LAYOUTS)
    task = _Task(zoo, table, asked)
    layout = zoo[table.runs[task.training[0]]["number"]].layout
    whole = _Game(task, layout, table.names, np.repeat(np.arange(len(layout)), [t.size for t in layout]))
    if not whole.above:
        raise MetaError(f"{asked.target} is not named above chance and majority: there is nothing to attribute")
    tensors = [whole.shares(i, asked.references, DELETED_TENSORS) for i in whole.chosen(asked.networks)]
    place = {tensor.name: i for i, tensor in enumerate(layout)}
    values = np.array([one.shares.mean(axis=0) for one in tensors])  # [networks, tensors]
    scores = [{**_mean(values[:, place[name]]), "measure": "share of probability"} for name in table.tensors]
    singles, examples, named = [], [], None
    kernel = first_kernel(layout)
    if kernel is not None and kernel.size <= MOST_WEIGHTS and asked.examples:
        only = Layout([replace(kernel, offset=0, tied_to=None)])
        game = _Game(task, only, _names_of(only, table), np.arange(kernel.size), start=kernel.offset, odds=True)
        named = [len(game.right), len(task.testing)]
        deleted = max(1, round(DELETED_WEIGHTS * kernel.size))
        for i in game.chosen(asked.examples) if game.above else ():
            singles.append(game.shares(i, asked.weight_references, deleted))
            known = {
                "tensor": kernel.name,
                "shape": list(kernel.shape),
                "weights": game.weights(i).astype(float).tolist(),
            }
            examples.append({**singles[-1].to_json(), **known})
    scores += [*_checks(tensors), *_checks(singles)]
    return {
        "scores": [{**score, "n_train_runs": len(task.training)} for score in scores],
        "networks": [one.to_json() for one in tensors],
        "examples": examples,
        "kernel_named": named,
    }


def first_kernel(layout: Layout) -> Tensor | None:
    """The first convolution's kernel."""
    return next((t for t in layout if t.kind == "kernel" and len(t.shape) == 4), None)


def _names_of(kernel: Layout, table: FeatureTable) -> tuple[str, ...]:
    """The columns of the table that depend on the first convolution's kernel alone."""
    alone = anatomy(np.ones((1, kernel.size), np.float32), kernel)[1]
    return tuple(name for name in alone if name.startswith("conv first: ") and name in set(table.names))


class _Task:
    """What is named, and from what: places in the table of training and test runs, those that learnt, have the
    property and all snapshots; their labels."""

    def __init__(self, zoo: Zoo, table: FeatureTable, asked: Attribution) -> None:
        self.zoo, self.table, self.asked = zoo, table, asked
        usable = [
            i
            for i, run in enumerate(table.runs)
            if run["converged"] is not False
            and run["properties"].get(asked.target) is not None
            and len(run["measurements"]) >= table.snapshots
        ]
        test = {i for i in usable if in_test_part(table.runs[i]["identity"], split_seed=asked.split_seed)}
        self.training, self.testing = [i for i in usable if i not in test], sorted(test)
        self.labels = {i: table.runs[i]["properties"][asked.target] for i in usable}
        self.target = Target.of(asked.target, [(self.labels[i],) for i in self.training], measured=False)
        if self.target.kind != CLASSIFICATION:
            raise MetaError(f"{asked.target} is a number: attribution is of classes")


class _Game:
    """A meta-classifier that reads some of the table's columns, and the weights among which its verdict is shared out.

    layout: of these weights
    names:  of the columns
    owner:  of each weight its player [P]
    start:  of these weights in the whole vector
    odds:   whether the log odds of the right class are shared out, not its probability
    """

    def __init__(
        self,
        task: _Task,
        layout: Layout,
        names: tuple[str, ...],
        owner: npt.NDArray[np.intp],
        *,
        start: int = 0,
        odds: bool = False,
    ) -> None:
        asked, table = task.asked, task.table
        self._task, self._layout, self._owner, self._start = task, layout, owner, start
        self._odds = odds
        self._generator = np.random.default_rng(seed_from_hash("attribution", asked.target, asked.split_seed, start))
        place = {name: column for column, name in enumerate(table.names)}
        read = table.features[:, :, [place[name] for name in names]]
        first, last = asked.snapshots
        self._meta = LayerTrees(
            asked.target, snapshots=asked.snapshots, iterations=asked.iterations, early_stopping=False
        )
        goals = [np.full(last - first + 1, task.target.encode(task.labels[i])) for i in task.training]
        self._meta.fit_statistics([(read[i, first - 1 : last], names) for i in task.training], goals, task.target)
        said = {i: self._meta.read_statistics((read[i, last - 1 : last], names))[0] for i in task.testing}
        self.right = [i for i in task.testing if task.labels[i] == task.target.classes[int(said[i].argmax())]]

    @property
    def above(self) -> bool:
        """Whether the test runs are named above chance and majority."""
        known = [self._task.labels[i] for i in self._task.testing]
        if len(self.right) < 2:
            return False
        most = max(len(known) / len(self._task.target.classes), max(map(known.count, known)))
        return wilson(len(self.right), len(known))[0] > most / len(known)

    def chosen(self, most: int) -> list[int]:
        """Test runs that are named right, in a random order in which classes take turns."""
        turn: Counter[Any] = Counter()
        rank = {}
        for k in self._generator.permutation(len(self.right)):
            i = self.right[k]
            turn[self._task.labels[i]] += 1
            rank[i] = turn[self._task.labels[i]]
        return sorted(rank, key=lambda i: rank[i])[:most]

    def weights(self, i: int) -> npt.NDArray[np.float32]:
        """The weights of a run's last snapshot that are read [P]."""
        run = self._task.zoo[self._task.table.runs[i]["number"]]
        known = run.layout[self._layout.tensors[0].name]
        if known.offset != self._start or known.shape != self._layout.tensors[0].shape:
            raise MetaError(SEVERAL_LAYOUTS)
        snapshot = run.snapshot(self._task.asked.snapshots[1])
        return snapshot[self._start : self._start + self._layout.size]

    def shares(self, i: int, references: int, deleted: int) -> _Shares:
        """A run's probability of its class, or the log odds, shared out; what is left when `deleted` are replaced.

        references: in each half, if there are so many
        """
        label, players = self._task.labels[i], int(self._owner.max()) + 1
        others = [j for j in self._task.training if self._task.labels[j] != label]
        references = min(references, len(others) // 2)
        if not references:
            raise MetaError(f"too few training runs of other classes than {label!r}: {len(others)}")
        own, answer = self.weights(i), self._meta.classes_.index(label)
        picked = self._generator.choice(others, 2 * references, replace=False)
        mixtures = [Mixture(self._meta, self._layout, own, self.weights(j), self._owner, answer) for j in picked]
        halves = mixtures[:references], mixtures[references:]
        value = attrgetter("log_odds" if self._odds else "worth")
        shares = np.array(
            [np.mean([shapley(value(m), players, 1, self._generator) for m in half], axis=0) for half in halves]
        )
        falls, gains = [], []
        for ranked, half in zip(shares[::-1], halves, strict=True):
            rows = np.ones((3 + RANDOM_DELETIONS, players), bool)  # nobody is replaced in the first, all in the second
            rows[1] = False
            rows[2, np.argsort(-ranked)[:deleted]] = False
            for row in rows[3:]:
                row[self._generator.choice(players, min(deleted, players), replace=False)] = False
            worth = np.mean([m.worth(rows) for m in half], axis=0)  # of falls, always the probability
            gains.append(np.mean([-np.diff(value(m)(rows[:2])) for m in half]))
            falls.append((worth[0] - worth[2], worth[0] - worth[3:].mean()))
        most, at_random = np.mean(falls, axis=0)
        number = self._task.table.runs[i]["number"]
        return _Shares(number, label, shares, float(np.mean(gains)), (float(most), float(at_random)))


@dataclass(frozen=True)
class _Shares:
    """What came of one network.

    shares: of each half [2, players]
    gain:   the probability, or its log odds, less the references' mean, over both halves
    falls:  of the probability, when the players most attributed by the other half are replaced, and random ones
    """

    run: int
    label: Any
    shares: npt.NDArray[np.float64]
    gain: float
    falls: tuple[float, float]

    @property
    def agreement(self) -> float:
        """Pearson's correlation of the halves; 0 where one of them is constant."""
        one, other = self.shares - self.shares.mean(axis=1, keepdims=True)
        scale = float(np.sqrt((one @ one) * (other @ other)))
        return float(one @ other) / scale if scale > 0 else 0.0

    def to_json(self) -> dict[str, Any]:
        known = {"run": self.run, "class": self.label, "gain": self.gain, "agreement": self.agreement}
        return {**known, "shares": self.shares.mean(axis=0).tolist()}


def _checks(found: Sequence[_Shares]) -> list[dict[str, Any]]:
    """Scores in the order of CHECKS; without a value where no network was attributed."""
    falls = np.array([f.falls for f in found]).reshape(-1, 2)
    fall = {"measure": "fall of probability"}
    return [
        {**_mean(np.array([f.agreement for f in found])), "measure": "correlation"},
        {**_mean(falls[:, 0]), **fall},
        {**_mean(falls[:, 1]), **fall},
        {**_mean(falls[:, 0] - falls[:, 1]), **fall},
    ]


def _mean(values: npt.NDArray[np.float64]) -> dict[str, Any]:
    """The mean over networks of what lies in [−1, 1], with its 95 % interval by Student's t: of so few the bootstrap's
    is too narrow."""
    from scipy.stats import t

    n = len(values)
    if n < 2:
        return {"value": None, "low": None, "high": None, "n_runs": n}
    mean, half = float(values.mean()), float(t.ppf(0.975, n - 1) * values.std(ddof=1) / np.sqrt(n))
    return {"value": mean, "low": max(-1.0, mean - half), "high": min(1.0, mean + half), "n_runs": n}
