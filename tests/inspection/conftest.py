"""A small meta-classifier to inspect with: fitted on a few dozen small networks that are really trained, for a moment.

It knows too little to be right; what is tested with it is what becomes of its answers.
"""

import importlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from weightprint.inspection.learning import make
from weightprint.inspection.network import Network

OPTIMIZERS = {
    "sgd_like": lambda weights: torch.optim.SGD(weights, lr=0.05, momentum=0.9),
    "adaptive": lambda weights: torch.optim.Adam(weights, lr=0.003),
}
ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh}
INITIALIZATIONS = {"torch_default": None, "he_normal": nn.init.kaiming_normal_}


def digits():
    """Images of digits, float32 [n, 1, 16, 16], and their labels."""
    images, labels = load_digits(return_X_y=True)
    images = torch.tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
    return nn.functional.interpolate(images, scale_factor=2), torch.tensor(labels)


def small_cnn(width=8, activation=nn.ReLU):
    return nn.Sequential(
        nn.Conv2d(1, width, 3), activation(), nn.MaxPool2d(2),
        nn.Conv2d(width, 2 * width, 3), activation(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(8 * width, 32), activation(), nn.Linear(32, 10),
    )  # fmt: skip


def train(module, optimizer, steps, *, seed=0, batch=32):
    """A plain loop over the digits."""
    images, labels = digits()
    draw = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        some = torch.randint(len(images), (batch,), generator=draw)
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(images[some]), labels[some]).backward()
        optimizer.step()
    return module


@dataclass(frozen=True, eq=False)
class Labelled(Network):
    """A checkpoint whose training is known."""

    labels: Mapping[str, Any] = field(default_factory=dict)

    @property
    def properties(self):
        return self.labels


def trained_networks(folder, count):
    found = []
    for number in range(count):
        rng = np.random.default_rng(number)
        torch.manual_seed(number)
        labels = {
            "optimizer_family": sorted(OPTIMIZERS)[number % 2],
            "activation": sorted(ACTIVATIONS)[number // 2 % 2],
        }
        labels |= {"initialization": sorted(INITIALIZATIONS)[number // 4 % 2]}
        labels |= {"image_kind": ("digits", "natural")[number // 8 % 2]}
        module = small_cnn(int(rng.integers(4, 9)), ACTIVATIONS[labels["activation"]])
        draw = INITIALIZATIONS[labels["initialization"]]
        for layer in module if draw is not None else ():
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                draw(layer.weight)
        train(module, OPTIMIZERS[labels["optimizer_family"]](module.parameters()), 15, seed=number)
        path = folder / f"{number}.pth"
        torch.save(module.state_dict(), path)
        network = Network.open(path)
        found.append(Labelled(network.checkpoint, network.layout, labels))
    return found


@cache
def make_small():
    with tempfile.TemporaryDirectory() as folder:
        return make(trained_networks(Path(folder), 32), iterations=5)


@pytest.fixture(scope="session")
def small_shipped():
    """Made once a process, from 32 networks, also for the tests of other folders."""
    return make_small()


@pytest.fixture
def inspects(small_shipped, monkeypatch):
    """`weightprint.inspect` with the small meta-classifier in the place of the shipped one."""
    module = importlib.import_module("weightprint.inspection.inspect")
    monkeypatch.setattr(module, "shipped", lambda: small_shipped)
    return module.inspect


@pytest.fixture(scope="session")
def trained_cnn(tmp_path_factory):
    """The file of a small CNN of the known sort, trained a little longer."""
    torch.manual_seed(1000)
    module = small_cnn(6)
    train(module, torch.optim.Adam(module.parameters(), lr=0.003), 60)
    path = tmp_path_factory.mktemp("trained") / "cnn.pth"
    torch.save(module.state_dict(), path)
    return path
