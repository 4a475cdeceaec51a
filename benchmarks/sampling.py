"""How fast small networks are trained, against a plain PyTorch loop in the same process of measurement.

    python benchmarks/sampling.py [--seconds 3] [--repeats 7] [--json FILE]

Measured, interleaved, several repeats, as medians with the smallest and largest:

- the fixed space's network at batch 64, ReLU, Adam, no augmentation, in training samples per second summed over the
  machine: a plain PyTorch loop with all cores, the same as one single-threaded process per core, and weightprint's step
  as one single-threaded process per core;
- a cohort's step: runs that are trained as one, meant for GPUs, in training samples of all its members;
- weightprint's step for the smallest, the median and the largest architecture of the space `main`;
- evaluation, in images per second; augmentation, in microseconds per image and core;
- the dense convolution peak of the machine, in GFLOP/s, as the yardstick of what is possible;
- a whole run end to end: the share of the time that is neither training step nor evaluation.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

BATCH = 64
SETUP: dict[str, Any] = {"optimizer": "adam", "activation": "relu", "batch_size": BATCH}


def architectures() -> dict[str, dict[str, int]]:
    """The smallest, median and largest network of `main` by its number of weights."""
    from weightprint import Layout, Setup
    from weightprint.setups import SPACES

    fields = ("filter_size", "depth_conv", "depth_fc", "width_conv", "width_fc")
    found = [dict(zip(fields, v, strict=True)) for v in itertools.product(*(SPACES["main"].choices(f) for f in fields))]
    found.sort(key=lambda a: Layout.of(Setup(**a)).size)
    return {"smallest": found[0], "median": found[len(found) // 2], "largest": found[-1]}


def plain_step() -> Callable[[], int]:
    """One training step as a newcomer to PyTorch would write it: torch's own layers and optimizer."""
    import torch
    from torch import nn

    def block(inputs: int, outputs: int) -> list[nn.Module]:
        return [nn.Conv2d(inputs, outputs, 5, padding=2), nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(2)]

    def hidden(inputs: int, outputs: int) -> list[nn.Module]:
        return [nn.Linear(inputs, outputs), nn.ReLU(), nn.BatchNorm1d(outputs), nn.Dropout(0.5)]

    network = nn.Sequential(
        *block(3, 8),
        *block(8, 16),
        *block(16, 32),
        nn.Flatten(),
        *hidden(512, 128),
        *hidden(128, 64),
        nn.Linear(64, 20),
    )
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    loss_function = nn.CrossEntropyLoss()
    images, labels = torch.rand(2250, 3, 32, 32), torch.randint(0, 10, (2250,))

    def step() -> int:
        indices = torch.randint(0, len(images), (BATCH,))
        optimizer.zero_grad()
        loss_function(network(images[indices]), labels[indices]).backward()
        optimizer.step()
        return BATCH

    return step


def our_step(**architecture: int) -> Callable[[], int]:
    """One training step as `weightprint.training.loop.train` makes it."""
    import torch
    import torch.nn.functional as F

    from weightprint import Setup
    from weightprint.training.loop import ResidentImages
    from weightprint.training.networks import Network, initialize
    from weightprint.training.optimizers import RULES, FlatParameters

    setup = Setup(**SETUP, **architecture)
    generator = torch.Generator().manual_seed(0)
    network = Network(setup)
    initialize(network, generator=generator)
    flat = FlatParameters(network.parameters())
    optimizer = RULES[setup.optimizer](flat.values, flat.gradients)
    images = ResidentImages(_random_images(), "cpu")
    network.train()

    def step() -> int:
        batch, labels = images.training_batch(torch.randint(0, 2250, (BATCH,), generator=generator))
        flat.backward(F.cross_entropy(network(batch, generator=generator), labels))
        optimizer.step(1e-3)
        return BATCH

    return step


def cohort_step(members: int) -> Callable[[], int]:
    """One training step of a cohort as `weightprint.training.cohorts.train_cohort` makes it."""
    import torch

    from weightprint import Setup
    from weightprint.training.cohorts import CohortImages, CohortNetwork, CohortOptimizer
    from weightprint.training.networks import Network, initialize

    setups = [Setup(**SETUP)] * members
    generators = [torch.Generator().manual_seed(k) for k in range(members)]
    networks = [Network(setup) for setup in setups]
    for network, generator in zip(networks, generators, strict=True):
        initialize(network, generator=generator)
    cohort = CohortNetwork(networks)
    optimizer = CohortOptimizer(setups, cohort.values)
    images = CohortImages({"random": _random_images()}, ["random"] * members, "cpu")
    rates = torch.full((members, 1), 1e-3)

    def step() -> int:
        batch, labels = images.training_batch(torch.randint(0, 2250, (members, BATCH), generator=generators[0]))
        optimizer.step(cohort.gradients(cohort.scores(batch, generators), labels), rates)
        return members * BATCH

    return step


def our_evaluation() -> Callable[[], int]:
    """One evaluation of training, validation and test images."""
    import torch

    from weightprint import Setup
    from weightprint.training.loop import ResidentImages
    from weightprint.training.networks import Network, initialize

    network = Network(Setup(**SETUP))
    initialize(network, generator=torch.Generator().manual_seed(0))
    images = ResidentImages(_random_images(), "cpu")

    def evaluate() -> int:
        images.evaluate(network)
        return 1000

    return evaluate


def our_augmentation() -> Callable[[], int]:
    import torch

    from weightprint.images.augment import augment

    generator = torch.Generator().manual_seed(0)
    batch = torch.rand(BATCH, 32, 32, 3, generator=generator).permute(0, 3, 1, 2)

    def run() -> int:
        augment(batch, generator=generator)
        return BATCH

    return run


def dense_convolution() -> Callable[[], int]:
    """A convolution that fills the machine: 128 to 128 channels, 3×3, 32 images of 32×32. Counts operations."""
    import torch

    weights, images = torch.rand(128, 128, 3, 3), torch.rand(32, 128, 32, 32)
    images = images.contiguous(memory_format=torch.channels_last)
    weights = weights.contiguous(memory_format=torch.channels_last)

    def run() -> int:
        with torch.inference_mode():
            torch.conv2d(images, weights, padding=1)
        return 2 * 32 * 32 * 32 * 128 * 128 * 9

    return run


def _random_images():
    import numpy as np

    from weightprint.images import TrainingImages

    generator = np.random.default_rng(0)
    parts = []
    for count in (2250, 250, 500):
        parts += [generator.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8), np.arange(count) % 10]
    return TrainingImages("random", *parts)


def cases() -> dict[str, tuple[str, Callable[[], Callable[[], int]], int]]:
    """Name → (unit, what makes the step, processes; 0 stands for one process with all cores)."""
    cores = os.cpu_count() or 1
    found = {
        "plain PyTorch, all cores": ("samples/s", plain_step, 0),
        "plain PyTorch, a process per core": ("samples/s", plain_step, cores),
        "weightprint, a process per core": ("samples/s", our_step, cores),
        "weightprint, cohorts of 2, a process per core": ("samples/s", lambda: cohort_step(2), cores),
        "weightprint, cohorts of 4, a process per core": ("samples/s", lambda: cohort_step(4), cores),
        "evaluation, a process per core": ("images/s", our_evaluation, cores),
        "augmentation, a process per core": ("images/s", our_augmentation, cores),
        "dense convolution, a process per core": ("FLOP/s", dense_convolution, cores),
    }
    for name, fields in architectures().items():
        found[f"weightprint, {name} of main"] = ("samples/s", lambda fields=fields: our_step(**fields), cores)
    return found


def serve(connection, process: int, processes: int) -> None:
    """A process that measures what it is asked to: steps for some seconds, answered as (count, seconds)."""
    from weightprint.sampling.engine import prepare_process

    ours = processes > 0
    import torch

    torch.set_num_threads(os.cpu_count() or 1)
    if ours:
        prepare_process()
    steps: dict[str, Callable[[], int]] = {}
    while (request := connection.recv()) is not None:
        name, seconds = request
        if name not in steps:
            steps[name] = cases()[name][1]()
            for _ in range(3):
                steps[name]()
            connection.send("ready")
            continue
        started, count = time.perf_counter(), 0
        while time.perf_counter() - started < seconds:
            count += steps[name]()
        connection.send(count / (time.perf_counter() - started))


def measure(seconds: float, repeats: int) -> dict[str, list[float]]:
    """Rates of every case, `repeats` times each, one case after the other and round again."""
    context = multiprocessing.get_context("spawn")
    cores = os.cpu_count() or 1
    pools = {count: [] for count in (0, cores)}
    for count, connections in pools.items():
        for i in range(max(count, 1)):
            here, there = context.Pipe()
            context.Process(target=serve, args=(there, i, count), daemon=True).start()
            connections.append(here)
    rates: dict[str, list[float]] = {name: [] for name in cases()}

    def ask(name: str) -> float:
        connections = pools[cases()[name][2]]
        for connection in connections:
            connection.send((name, seconds))
        answers = [connection.recv() for connection in connections]
        return 0.0 if "ready" in answers else sum(answers)

    for name in rates:
        ask(name)
    for _ in range(repeats):
        for name in rates:
            rates[name].append(ask(name))
    for connection in itertools.chain(*pools.values()):
        connection.send(None)
    return rates


def overhead() -> dict[str, float]:
    """A whole run of 19 epochs, in one process: seconds in all, and the shares of its parts.

    The clock is put around the parts of `weightprint.training.loop.train` from outside: drawing a batch, forward,
    backward and update make a training step; forward in eval mode happens inside the evaluation alone.
    """
    import torch

    from weightprint import Setup
    from weightprint.training import loop as training
    from weightprint.training.networks import Network
    from weightprint.training.optimizers import RULES

    torch.set_num_threads(1)
    inside = {"training_steps": 0.0, "evaluation": 0.0}

    def timed(owner: type, method: str, part: str) -> None:
        original = getattr(owner, method)

        def call(self, *args, **kwargs):
            if method == "forward" and not self.training:
                return original(self, *args, **kwargs)
            started = time.perf_counter()
            result = original(self, *args, **kwargs)
            inside[part] += time.perf_counter() - started
            return result

        setattr(owner, method, call)

    timed(training.ResidentImages, "evaluate", "evaluation")
    timed(training.ResidentImages, "training_batch", "training_steps")
    timed(Network, "forward", "training_steps")
    timed(training.FlatParameters, "backward", "training_steps")
    timed(RULES[SETUP["optimizer"]], "step", "training_steps")
    images = _random_images()
    training.train(Setup(**SETUP), images, max_epochs=1, snapshots=1)
    inside.update(dict.fromkeys(inside, 0.0))
    started = time.perf_counter()
    training.train(Setup(**SETUP), images, max_epochs=19)
    seconds = time.perf_counter() - started
    shares = {part: spent / seconds for part, spent in inside.items()}
    return {"seconds": seconds, **shares, "everything_else": 1 - sum(shares.values())}


def machine() -> dict[str, str]:
    import torch

    processor = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            processor = next((line.split(":")[1].strip() for line in file if line.startswith("model name")), processor)
    return {
        "processor": processor,
        "cores": str(os.cpu_count()),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", help="file for the result as JSON")
    options = parser.parse_args()

    rates = measure(options.seconds, options.repeats)
    document = {"machine": machine(), "seconds": options.seconds, "repeats": options.repeats, "rates": rates}
    document["end_to_end"] = overhead()
    print("  ".join(f"{key} {value}" for key, value in document["machine"].items()))
    print(f"{'case':46} {'median':>14} {'smallest':>14} {'largest':>14}")
    for name, values in rates.items():
        scale, unit = (1e-9, "GFLOP/s") if cases()[name][0] == "FLOP/s" else (1.0, cases()[name][0])
        cells = [f"{scale * v:14,.0f}" for v in (statistics.median(values), min(values), max(values))]
        print(f"{name:46} {' '.join(cells)} {unit}")
    ours, plain = (rates[name] for name in ("weightprint, a process per core", "plain PyTorch, all cores"))
    ratio = statistics.median(a / b for a, b in zip(ours, plain, strict=True))
    print(f"weightprint over plain PyTorch with all cores: {ratio:.2f} (median of {options.repeats} paired ratios)")
    per_image = 1e6 * (os.cpu_count() or 1) / statistics.median(rates["augmentation, a process per core"])
    print(f"augmentation: {per_image:.1f} µs per image and core")
    print("end to end: " + ", ".join(f"{key} {value:.3f}" for key, value in document["end_to_end"].items()))
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(document, file, indent=2)


if __name__ == "__main__":
    main()
