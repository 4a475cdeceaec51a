"""How a zoo behaves as it grows: opening, selecting, splitting and reading runs of a synthetic zoo.

    python benchmarks/zoo_scale.py 100000 [--folder DIR] [--keep] [--only NAME ...] [--json FILE]

The zoo consists of real run files of the recipe of the space `fixed`, each with the set-up its recipe draws for it, but
with two snapshots of 32 weights instead of twenty of 92,868: about 4 kB, one block, instead of 7.4 MB. Everything but
`verify` and reading weights costs the same as in a full zoo; indexing a run for the first time reads its header, which
is longer in a full zoo and therefore measured by itself. Files are written without being flushed one by one.

Each measurement is made in a process of its own that imports nothing else, so that its peak memory is its own; what is
on disk is in the page cache. `--folder` may name a zoo of an earlier call with `--keep`.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from weightprint import Layout, Setup
from weightprint.setups import SPACES
from weightprint.setups.recipe import Recipe, recipe_sha256
from weightprint.zoo import ZOO_FILE, Zoo, runfile, write_run
from weightprint.zoo.index import INDEX_FILE, index_row, run_path
from weightprint.zoo.layout import Tensor
from weightprint.zoo.runfile import RunRecord

RECIPE = Recipe(
    space=SPACES["fixed"],
    seed=0,
    train_size=2500,
    test_size=1000,
    max_epochs=19,
    snapshots=20,
    datasets=dict.fromkeys(SPACES["fixed"].choices("dataset") or (), "0" * 64),
)
TINY = Layout(
    [
        Tensor("conv1/kernel", "kernel", "conv", (2, 1, 3, 3), 0, "conv1.weight", "oihw"),
        Tensor("conv1/bias", "bias", "conv", (2,), 18, "conv1.bias", "o"),
        Tensor("output/kernel", "kernel", "fc", (2, 5), 20, "output.weight", "oi"),
        Tensor("output/bias", "bias", "fc", (2,), 30, "output.bias", "o"),
    ]
)
IDENTITY = recipe_sha256(RECIPE.to_json())


def record(number: int, layout: Layout = TINY, snapshots: int = 2) -> RunRecord:
    """A run of the recipe with drawn weights and accuracies."""
    generator = np.random.default_rng(number)
    return RunRecord(
        number=number,
        identity=f"{IDENTITY}:{number}",
        status="complete",
        reason="last epoch",
        properties=RECIPE.draw(number).to_dict(),
        layout=layout,
        weights=generator.standard_normal((snapshots, layout.size), dtype=np.float32),
        measurements=[_measurement(s, generator) for s in range(1, snapshots + 1)],
        test_images=1000,
    )


def _measurement(snapshot: int, generator: np.random.Generator) -> dict[str, Any]:
    row: dict[str, Any] = {"snapshot": snapshot, "step": 35 * (snapshot - 1), "epoch": snapshot - 1}
    for part in ("train", "validation", "test"):
        correct = float(generator.integers(50, 900))
        row |= {f"{part}_accuracy": correct / 1000, f"{part}_loss": 3 - correct / 400}
    return row


def write_zoo(path: Path, runs: int) -> float:
    """Write what is missing of the zoo. Returns seconds per run written."""
    if not (path / ZOO_FILE).exists():
        Zoo.create(path, RECIPE.to_json(), space_name="fixed")
    started, written = time.perf_counter(), 0
    for number in range(runs):
        file = run_path(path, number)
        if number % 1000 == 0:
            file.parent.mkdir(exist_ok=True)
            there = set(os.listdir(file.parent))
        if file.name not in there:
            file.write_bytes(runfile.encode(record(number)))
            written += 1
    return (time.perf_counter() - started) / max(1, written)


def open_again(path: Path) -> float:
    return _seconds(lambda: Zoo(path))


def open_thoroughly(path: Path) -> float:
    return _seconds(lambda: Zoo(path, thorough=True))


def open_first(path: Path) -> float:
    (path / INDEX_FILE).unlink(missing_ok=True)
    return _seconds(lambda: Zoo(path))


def open_after_adding_a_run(path: Path) -> float:
    write_run(path, record(_last_run(path) + 1))
    return _seconds(lambda: Zoo(path))


def open_after_removing_a_run(path: Path) -> float:
    run_path(path, _last_run(path)).unlink()
    return _seconds(lambda: Zoo(path))


def _last_run(path: Path) -> int:
    folders = sorted((path / "runs").iterdir(), key=lambda folder: int(folder.name), reverse=True)
    files = next(files for files in map(os.listdir, folders) if files)
    return max(int(name.partition(".")[0]) for name in files)


def select_by_property(path: Path) -> float:
    zoo = Zoo(path)
    return _seconds(lambda: zoo.select(optimizer="adam", converged=True))


def split(path: Path) -> float:
    zoo = Zoo(path)
    return _seconds(zoo.split)


def split_by_another_seed(path: Path) -> float:
    zoo = Zoo(path)
    return _seconds(lambda: zoo.split(split_seed=1))


def get_a_run(path: Path) -> float:
    zoo = Zoo(path)
    numbers = np.random.default_rng(0).choice(zoo.index["number"].to_numpy(), 10_000).tolist()
    return _seconds(lambda: [zoo[number] for number in numbers]) / len(numbers)


def iterate_over_all(path: Path) -> float:
    zoo = Zoo(path)
    return _seconds(lambda: sum(1 for _ in zoo))


def verify_a_run(path: Path) -> float:
    some = Zoo(path).select(numbers=range(5000))
    return _seconds(lambda: [some._verify_run(runfile.read(run.path), run.number, RECIPE) for run in some]) / len(some)


def index_a_full_run(path: Path) -> float:
    """A run of the real size: 16 tensors, 20 snapshots of 92,868 weights."""
    layout = Layout.of(Setup())
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "0000000.safetensors"
        file.write_bytes(runfile.encode(record(0, layout, 20)))
        return _seconds(lambda: [index_row(file, 0) for _ in range(1000)]) / 1000


MEASUREMENTS: dict[Callable[[Path], float], int] = {
    open_first: 1,
    open_again: 5,
    open_thoroughly: 3,
    open_after_adding_a_run: 3,
    open_after_removing_a_run: 3,
    select_by_property: 5,
    split: 5,
    split_by_another_seed: 3,
    get_a_run: 3,
    iterate_over_all: 3,
    verify_a_run: 3,
    index_a_full_run: 3,
}
"""What is measured, in this order, and how often."""


def _seconds(action: Callable[[], Any]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def _alone(name: str, path: str, answer: Any) -> None:
    import resource

    seconds = globals()[name](Path(path))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    answer.send((seconds, peak))


def measure(path: Path, only: list[str] | None = None) -> dict[str, dict[str, Any]]:
    """Seconds of each repeat and the largest peak memory in bytes; every repeat in a process of its own."""
    context = multiprocessing.get_context("spawn")
    found: dict[str, dict[str, Any]] = {}
    for function, repeats in MEASUREMENTS.items():
        if only and function.__name__ not in only:
            continue
        answers = []
        for _ in range(repeats):
            here, there = context.Pipe()
            process = context.Process(target=_alone, args=(function.__name__, str(path), there))
            process.start()
            there.close()
            answers.append(here.recv())
            process.join()
        found[function.__name__] = {"seconds": [a[0] for a in answers], "peak_bytes": max(a[1] for a in answers)}
        print(f"  {function.__name__} {found[function.__name__]['seconds']}", file=sys.stderr, flush=True)
    return found


def machine() -> dict[str, str]:
    processor = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            processor = next((line.split(":")[1].strip() for line in file if line.startswith("model name")), processor)
    return {
        "processor": processor,
        "cores": str(os.cpu_count()),
        "python": platform.python_version(),
        "polars": version("polars"),
        "numpy": version("numpy"),
        "date": time.strftime("%Y-%m-%d"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=int, nargs="?", default=100_000)
    parser.add_argument("--folder", type=Path, help="where to write the zoo; default: a temporary folder")
    parser.add_argument("--keep", action="store_true", help="leave the zoo where it is")
    parser.add_argument("--only", nargs="+", choices=[function.__name__ for function in MEASUREMENTS])
    parser.add_argument("--json", help="file for the result as JSON")
    options = parser.parse_args()

    path = options.folder or Path(tempfile.mkdtemp(prefix="zoo-scale-")) / "zoo"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        written = write_zoo(path, options.runs)
        time.sleep(3)  # until the last folder has settled
        document = {
            "machine": machine(),
            "runs": options.runs,
            "seconds_per_run_written": written,
            "measurements": measure(path, options.only),
            "index_bytes": (path / INDEX_FILE).stat().st_size,
        }
    finally:
        if not options.keep:
            shutil.rmtree(path, ignore_errors=True)
    print("  ".join(f"{key} {value}" for key, value in document["machine"].items()))
    print(f"{options.runs:,} runs, index of {document['index_bytes'] / 1e6:.1f} MB")
    print(f"{'':28}{'median':>12}{'smallest':>12}{'largest':>12}{'peak MB':>10}")
    for name, found in document["measurements"].items():
        seconds = found["seconds"]
        cells = "".join(_time(s) for s in (statistics.median(seconds), min(seconds), max(seconds)))
        print(f"{name.replace('_', ' '):28}{cells}{found['peak_bytes'] / 1e6:10,.0f}")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(document, file, indent=2)


def _time(seconds: float) -> str:
    return f"{seconds:10.3f} s" if seconds >= 0.001 else f"{seconds * 1e6:9.1f} µs"


if __name__ == "__main__":
    main()
