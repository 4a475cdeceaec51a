"""How fast small networks are trained, against a plain PyTorch loop in the same process of measurement.

    python benchmarks/sampling.py [--seconds 2] [--repeats 7] [--against CHECKOUT] [--whole] [--zoo RUNS]
                                  [--cases A,B] [--json FILE]

Measured, interleaved, several repeats, as medians with the smallest and largest, by the clock on the wall and by
processor time, which other work on the machine disturbs less:

- the fixed space's network at batch 64, ReLU, Adam, no augmentation, in training samples per second summed over the
  machine: a plain PyTorch loop with all cores, the same as one single-threaded process per core, and weightprint's step
  as one process and as one process per core;
- a cohort's step: runs that are trained as one, meant for GPUs, in training samples of all its members;
- weightprint's step with augmentation, and for the smallest, median and largest architecture of the space `main`;
- evaluation, in images per second; augmentation, in microseconds per image and core;
- the peak of multiplication with addition in registers and of a dense convolution, in GFLOP/s, as yardsticks;
- a whole run in one process: the shares of the time that are training steps, evaluation, and neither;
- with --whole, `weightprint sample` end to end, start of the workers included: 8 runs of 6,000 images, 20 epochs;
- with --zoo, the same for so many runs of 2,500 images and 19 epochs, against the time that their training steps alone
  would take at the rate that was measured.

With --against the same of another checkout of this repository, by its own benchmarks/sampling.py, in turn with ours.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import tempfile
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


def our_step(augmentation: bool = False, **architecture: int) -> Callable[[], int]:
    """One training step as `weightprint.training.loop.train` makes it."""
    import numpy as np

    from weightprint import Setup
    from weightprint.training.loop import begin
    from weightprint.training.streams import Streams

    setup = Setup(**SETUP, augmentation=augmentation, **architecture)
    training = begin(setup, _random_images(), Streams(0, 0, "cpu"))
    generator = np.random.default_rng(0)

    def step() -> int:
        training.step(generator.integers(0, 2250, BATCH), 1e-3)
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
    from weightprint import Setup
    from weightprint.training.loop import begin
    from weightprint.training.streams import Streams

    training = begin(Setup(**SETUP), _random_images(), Streams(0, 0, "cpu"))

    def evaluate() -> int:
        training.evaluate()
        return 1000

    return evaluate


def our_augmentation() -> Callable[[], int]:
    """A batch from bytes to changed numbers in lanes, as a training step begins."""
    import numpy as np

    from weightprint import Setup
    from weightprint.training.fast.training import FastTraining
    from weightprint.training.loop import begin
    from weightprint.training.streams import Streams

    training = begin(Setup(**SETUP, augmentation=True), _random_images(), Streams(0, 0, "cpu"))
    assert isinstance(training, FastTraining)  # there is nothing to measure elsewhere

    def run() -> int:
        training.load_changed(np.arange(BATCH))
        return BATCH

    return run


def multiplications() -> Callable[[], int]:
    """Multiplications with addition that stay in registers: what the processor can do at most. Counts operations."""
    import numba
    import numpy as np
    from numba.core import types

    from weightprint.training.fast.choice import choose, features_in_force
    from weightprint.training.fast.emit import Emitter, integers, intrinsic

    choice = choose(features_in_force())
    assert choice is not None
    times, sums = 200_000, 12

    @intrinsic(prefer_literal=True)
    def multiply(typing_context, numbers, times, spec):
        lanes, count = integers(spec)

        def codegen(context, builder, signature, args):
            emit = Emitter(context, builder, numbers.dtype, lanes)
            data, accumulators = emit.data(numbers, args[0]), emit.accumulators(count)
            a, b = emit.load(data, 0), emit.load(data, lanes)
            with emit.loop(0, args[1]):
                for accumulator in accumulators:
                    emit.accumulate(a, b, accumulator)
            for i, accumulator in enumerate(accumulators):
                emit.store(builder.load(accumulator), data, (2 + i) * lanes)
            return context.get_dummy_value()

        return types.void(numbers, types.int64, spec), codegen

    spec = choice.lanes, sums

    @numba.njit
    def kernel(numbers, times):
        multiply(numbers, times, spec)

    numbers = np.zeros((sums + 2) * choice.lanes, np.float32)

    def run() -> int:
        kernel(numbers, times)
        return 2 * sums * choice.lanes * times

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
        PLAIN: ("samples/s", plain_step, 0),
        "plain PyTorch, a process per core": ("samples/s", plain_step, cores),
        OURS: ("samples/s", our_step, cores),
        "weightprint, one process": ("samples/s", our_step, 1),
        "weightprint with augmentation": ("samples/s", lambda: our_step(augmentation=True), cores),
        "cohorts of 2": ("samples/s", lambda: cohort_step(2), cores),
        "cohorts of 4": ("samples/s", lambda: cohort_step(4), cores),
        "evaluation": ("images/s", our_evaluation, cores),
        "augmentation": ("images/s", our_augmentation, cores),
        "dense convolution": ("FLOP/s", dense_convolution, cores),
        PEAK: ("FLOP/s", multiplications, cores),
    }
    for name, fields in architectures().items():
        found[f"weightprint, {name} of main"] = ("samples/s", lambda fields=fields: our_step(**fields), cores)
    return found


PLAIN, OURS, PEAK = "plain PyTorch, all cores", "weightprint, a process per core", "multiplications in registers"

BEFORE = {
    OURS: lambda before: before.our_step(),
    "evaluation": lambda before: before.our_evaluation(),
    "augmentation": lambda before: before.our_augmentation(),
    **{
        f"weightprint, {name} of main": lambda before, name=name: before.our_step(**before.architectures()[name])
        for name in ("smallest", "median", "largest")
    },
}
"""Cases that another checkout's benchmark knows as well, by what calls it."""


def serve(connection, all_cores: bool, checkout: str | None) -> None:
    """A process that measures what it is asked to: steps for some seconds, answered as counts a second of the clock
    on the wall and of processor time. `checkout`: another one, to measure the code of."""
    if checkout:
        sys.path.insert(0, os.path.join(checkout, "src"))
        specification = importlib.util.spec_from_file_location("before", f"{checkout}/benchmarks/sampling.py")
        before = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(before)
    import torch

    from weightprint.sampling.engine import prepare_process

    torch.set_num_threads(os.cpu_count() or 1)
    if not all_cores:
        prepare_process()
    steps: dict[str, Callable[[], int]] = {}
    while (request := connection.recv()) is not None:
        name, seconds = request
        if name not in steps:
            steps[name] = BEFORE[name](before) if checkout else cases()[name][1]()
            for _ in range(3):
                steps[name]()
            connection.send("ready")
            continue
        started, used, count = time.perf_counter(), time.process_time(), 0
        while time.perf_counter() - started < seconds:
            count += steps[name]()
        connection.send((count / (time.perf_counter() - started), count / (time.process_time() - used)))


def measure(
    seconds: float, repeats: int, checkout: str | None, wanted: list[str]
) -> dict[str, list[tuple[float, float]]]:
    """Rates of every wanted case by wall and by processor time, one case after the other and round again."""
    from weightprint import Setup
    from weightprint.training.fast.ahead import compile_ahead

    fields = [{}, {"augmentation": True}, *architectures().values()]
    compile_ahead([Setup(**SETUP, **some) for some in fields], say=print)
    context = multiprocessing.get_context("spawn")
    cores = os.cpu_count() or 1

    def start(count: int, *, all_cores: bool = False, checkout: str | None = None) -> list:
        connections = []
        for _ in range(count):
            here, there = context.Pipe()
            context.Process(target=serve, args=(there, all_cores, checkout), daemon=True).start()
            connections.append(here)
        return connections

    plain, ours = start(1, all_cores=True), start(cores)
    others = start(cores, checkout=checkout) if checkout else []
    asked = {}
    for name, (_, _, count) in cases().items():
        if not any(part in name for part in wanted):
            continue
        asked[name] = name, plain if count == 0 else ours[:count]
        if checkout and name in BEFORE:
            asked[f"{name} ({BEFORE_WORD})"] = name, others
    rates: dict[str, list[tuple[float, float]]] = {name: [] for name in asked}

    def ask(name: str, connections: list) -> tuple[float, float] | None:
        for connection in connections:
            connection.send((name, seconds))
        answers = [connection.recv() for connection in connections]
        if "ready" in answers:
            return None
        wall, processor = zip(*answers, strict=True)
        return sum(wall), sum(processor) * (cores if connections is plain else 1)

    for name, connections in asked.values():
        ask(name, connections)
    for _ in range(repeats):
        for label, (name, connections) in asked.items():
            rates[label].append(ask(name, connections))
    for connection in (*plain, *ours, *others):
        connection.send(None)
    return rates


BEFORE_WORD = "the other checkout"


def overhead() -> dict[str, float]:
    """A whole run of 19 epochs, in one process: seconds in all, and the shares of its parts."""
    from weightprint import Setup
    from weightprint.sampling.engine import prepare_process
    from weightprint.training import loop

    prepare_process()
    inside = {"training_steps": 0.0, "evaluation": 0.0}
    begin = loop.begin

    def timed(function: Callable, part: str) -> Callable:
        def call(*args):
            started = time.perf_counter()
            result = function(*args)
            inside[part] += time.perf_counter() - started
            return result

        return call

    def begin_timed(*args):
        training = begin(*args)
        training.step = timed(training.step, "training_steps")
        training.evaluate = timed(training.evaluate, "evaluation")
        return training

    loop.begin = begin_timed
    images = _random_images()
    loop.train(Setup(**SETUP), images, max_epochs=1, snapshots=1)
    inside.update(dict.fromkeys(inside, 0.0))
    started = time.perf_counter()
    loop.train(Setup(**SETUP), images, max_epochs=19)
    seconds = time.perf_counter() - started
    loop.begin = begin
    shares = {part: spent / seconds for part, spent in inside.items()}
    return {"seconds": seconds, **shares, "everything_else": 1 - sum(shares.values())}


def whole(
    checkout: str | None = None, *, workers: int, runs: int = 8, train_size: int = 6000, epochs: int = 20
) -> dict[str, float]:
    """`weightprint sample` as a command of its own: training samples a second, start included, and peak memory."""
    import numpy as np

    source = os.path.join(checkout or os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "src")
    fields = {**SETUP, "dataset": "random", "filter_size": 5, "depth_conv": 3, "depth_fc": 2, "width_conv": 8}
    lines = (f"{name} = {json.dumps(value)}" for name, value in {**fields, "width_fc": 128}.items())
    with tempfile.TemporaryDirectory() as folder:
        generator = np.random.default_rng(0)
        arrays = {}
        for part, count in (("train", train_size), ("test", 500)):
            arrays[f"x_{part}"] = generator.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
            arrays[f"y_{part}"] = np.arange(count) % 10
        np.savez(f"{folder}/random.npz", **arrays)
        with open(f"{folder}/space.toml", "w", encoding="utf-8") as file:
            file.write("\n".join(lines))
        arguments = ["sample", f"{folder}/zoo", "--space", f"{folder}/space.toml", "--data", folder, "--json"]
        sizes = {"--runs": runs, "--train-size": train_size, "--test-size": 500, "--max-epochs": epochs}
        for name, value in {**sizes, "--workers": workers}.items():
            arguments += [name, str(value)]
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "weightprint.cli", *arguments],
            env={**os.environ, "PYTHONPATH": source},
            stdout=subprocess.PIPE,
            check=True,
        )
        seconds = time.perf_counter() - started
    document = json.loads(done.stdout)
    return {
        "samples_per_second": document["training_samples"] / seconds,
        "training_samples": document["training_samples"],
        "seconds": seconds,
        "peak_mb": document["peak_mb"],
    }


def machine() -> dict[str, str]:
    import torch

    processor = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            text = file.read()
        processor = next(
            (line.split(":")[1].strip() for line in text.splitlines() if line.startswith("model name")), ""
        )
        vectors = next((name for name in ("avx512f", "avx2") if f" {name} " in text), "")
        processor = f"{processor} {vectors}".strip()
    return {
        "processor": processor,
        "cores": str(os.cpu_count()),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--against", metavar="CHECKOUT", help="another checkout of this repository")
    parser.add_argument("--cases", default="", help="only those with one of these in their names, commas between them")
    parser.add_argument("--whole", action="store_true", help="weightprint sample end to end as well")
    parser.add_argument("--zoo", type=int, metavar="RUNS", help="weightprint sample with so many runs, by its steps")
    parser.add_argument("--json", help="file for the result as JSON")
    options = parser.parse_args()

    rates = measure(options.seconds, options.repeats, options.against, options.cases.split(","))
    document = {"machine": machine(), "seconds": options.seconds, "repeats": options.repeats, "rates": rates}
    document["one_run"] = overhead()
    print("  ".join(f"{key} {value}" for key, value in document["machine"].items()))
    print(f"{'case':56} {'median':>12} {'smallest':>12} {'largest':>12} {'by processor time':>20}")
    for name, values in rates.items():
        unit = cases()[name.removesuffix(f" ({BEFORE_WORD})")][0]
        scale, unit = (1e-9, "GFLOP/s") if unit == "FLOP/s" else (1.0, unit)
        wall, processor = zip(*values, strict=True)
        cells = (statistics.median(wall), min(wall), max(wall))
        by_processor = f"{scale * statistics.median(processor):20,.0f}"
        print(f"{name:56} {' '.join(f'{scale * v:12,.0f}' for v in cells)} {by_processor} {unit}")
    pairs = [(OURS, PLAIN)] + [(name, f"{name} ({BEFORE_WORD})") for name in BEFORE if options.against]
    for ours, theirs in pairs:
        if ours not in rates or theirs not in rates:
            continue
        by_wall, by_processor = (
            statistics.median(a[clock] / b[clock] for a, b in zip(rates[ours], rates[theirs], strict=True))
            for clock in (0, 1)
        )
        print(
            f"{ours} over {theirs}: {by_wall:.2f} by wall time, {by_processor:.2f} by processor time (median of pairs)"
        )
    if OURS in rates and PEAK in rates:
        operations = flop_per_sample() * statistics.median(processor for _, processor in rates[OURS])
        share = operations / statistics.median(processor for _, processor in rates[PEAK])
        print(f"a step's multiplications and additions: {share:.0%} of the peak in registers, by processor time")
    if "augmentation" in rates:
        per_image = 1e6 * (os.cpu_count() or 1) / statistics.median(processor for _, processor in rates["augmentation"])
        print(f"augmentation: {per_image:.1f} µs of processor time per image")
    print("one run: " + ", ".join(f"{key} {value:.3f}" for key, value in document["one_run"].items()))
    if options.whole:
        document["whole"] = {}
        for workers in (os.cpu_count() or 1, 1):
            for checkout in (None, options.against) if options.against else (None,):
                found = whole(checkout, workers=workers)
                name = f"sample, {workers} workers" + (f" ({BEFORE_WORD})" if checkout else "")
                document["whole"][name] = found
                print(f"{name}: " + ", ".join(f"{key} {value:,.1f}" for key, value in found.items()))
    if options.zoo and OURS in rates:
        found = whole(workers=os.cpu_count() or 1, runs=options.zoo, train_size=2500, epochs=19)
        steps = found["training_samples"] / statistics.median(wall for wall, _ in rates[OURS])
        document["zoo"] = {**found, "seconds_of_steps": steps, "bound": 1.4 * steps + 10}
        print(f"zoo of {options.zoo} runs: " + ", ".join(f"{k} {v:,.1f}" for k, v in document["zoo"].items()))
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(document, file, indent=2)


def flop_per_sample() -> int:
    """Of the fixed network's step: forward, and twice as many backward, but for the gradient of the images."""
    forward, side, inputs = 0, 32, 3
    for outputs in (8, 16, 32):
        layer = 2 * side * side * inputs * outputs * 25
        forward += 3 * layer - (layer if inputs == 3 else 0)
        side, inputs = side // 2, outputs
    return forward + 3 * 2 * (512 * 128 + 128 * 64 + 64 * 20)


if __name__ == "__main__":
    main()
