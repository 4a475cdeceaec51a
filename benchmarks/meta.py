"""How fast the deep meta-classifier is trained, against a plain PyTorch module of the same network.

    python benchmarks/meta.py [--length 5000] [--repeats 7] [--steps 3] [--json FILE]

Measured in training slices per second, interleaved, several repeats, as medians with the smallest and largest: a
gradient step (forward, backward, Adam) on batches of 64 slices that are at hand, in one process with all cores,

- by a plain module of 1-D layers and torch's Adam as they come, in float32 and under bfloat16 autocast;
- by weightprint's DMC, `precision="float32"` and `precision="bfloat16"`.

Ratios are medians of paired ratios: of measurements made one after the other.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

BATCH, CLASSES = 64, 3


def plain_network(length: int) -> Any:
    """The network as a newcomer to PyTorch would write it."""
    from torch import nn

    from weightprint.meta.learners.dmc_network import layers

    modules: list[nn.Module] = []
    inputs = 1
    for channels, pools in layers(length):
        modules += [nn.Conv1d(inputs, channels, 5, padding="same"), nn.ReLU(), nn.BatchNorm1d(channels)]
        modules += [nn.MaxPool1d(2) for _ in range(pools)]
        length >>= pools
        inputs = channels
    modules.append(nn.Flatten())
    inputs *= length
    for units in (1024, 1024, 1024, 1024, 64):
        modules += [nn.Linear(inputs, units), nn.ReLU(), nn.BatchNorm1d(units), nn.Dropout(0.5)]
        inputs = units
    return nn.Sequential(*modules, nn.Linear(inputs, CLASSES))


def make_step(ours: bool, precision: str, length: int) -> Callable[[], None]:
    import torch
    import torch.nn.functional as F

    from weightprint.meta.learners.dmc_network import DeepMetaClassifier

    generator = torch.Generator().manual_seed(0)
    slices = 0.05 * torch.randn(BATCH, length, generator=generator)
    labels = torch.randint(0, CLASSES, (BATCH,), generator=generator)
    if ours:
        network: Any = DeepMetaClassifier(length, CLASSES, dropout=0.5, generator=generator).train()
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)
    else:
        network = plain_network(length).train()
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            found = network(slices if ours else slices[:, None]).float()
        loss = F.cross_entropy(found, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def measure(length: int, repeats: int, steps: int) -> dict[str, list[float]]:
    """Slices per second of every case, `repeats` times each, one case after the other and round again."""
    cases = {
        f"{name}, {precision}": make_step(name == "weightprint", precision, length)
        for precision in ("float32", "bfloat16")
        for name in ("plain PyTorch", "weightprint")
    }
    for step in cases.values():
        step()
    rates: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(repeats):
        for name, step in cases.items():
            started = time.perf_counter()
            for _ in range(steps):
                step()
            rates[name].append(steps * BATCH / (time.perf_counter() - started))
    return rates


def machine() -> dict[str, str]:
    import torch

    processor = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            processor = next((line.split(":")[1].strip() for line in file if line.startswith("model name")), processor)
    return {
        "processor": processor,
        "cores": str(os.cpu_count()),
        "threads": str(torch.get_num_threads()),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--length", type=int, default=5000, help="weights per slice; 92868 is the global network")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--steps", type=int, default=3, help="of each measurement")
    parser.add_argument("--json", help="file for the result as JSON")
    options = parser.parse_args()

    rates = measure(options.length, options.repeats, options.steps)
    ratios = {
        precision: statistics.median(
            ours / plain
            for ours, plain in zip(
                rates[f"weightprint, {precision}"], rates[f"plain PyTorch, {precision}"], strict=True
            )
        )
        for precision in ("float32", "bfloat16")
    }
    document = {
        "machine": machine(),
        "length": options.length,
        "batch": BATCH,
        "repeats": options.repeats,
        "steps": options.steps,
        "rates": rates,
        "ratios": ratios,
    }
    print("  ".join(f"{key} {value}" for key, value in machine().items()))
    print(f"slices of {options.length:,} weights, batches of {BATCH}")
    print(f"{'case':26} {'median':>8} {'smallest':>9} {'largest':>8}")
    for name, values in rates.items():
        print(f"{name:26} {statistics.median(values):8.1f} {min(values):9.1f} {max(values):8.1f} slices/s")
    for precision, ratio in ratios.items():
        print(f"weightprint over plain PyTorch, {precision}: {ratio:.2f} (median of {options.repeats} paired ratios)")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(document, file, indent=2)


if __name__ == "__main__":
    main()
