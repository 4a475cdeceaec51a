"""Time and memory of `weightprint inspect` on large files of safetensors.

    python benchmarks/inspection.py            # 100 MB
    python benchmarks/inspection.py 1000       # 1 GB

A bottleneck ResNet of random weights, widened until the file has the size asked for, is written to a temporary folder
and inspected by a process of its own. Prints processor seconds after import, seconds by the clock, the largest tensor
and the most memory that the process held, the mapped pages of the file included (as Linux
counts them).
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np


def write_network(path: Path, megabytes: int) -> int:
    """Writes the file; returns the bytes of its largest tensor."""
    from safetensors.numpy import save_file

    rng = np.random.default_rng(0)
    scale = (megabytes / 90) ** 0.5
    tensors = {"conv1.weight": (int(64 * scale), 3, 7, 7)}
    before = int(64 * scale)
    for stage, blocks in enumerate((3, 4, 6, 3)):
        inner = int(64 * scale) << stage
        for block in range(blocks):
            name = f"layer{stage + 1}.{block}"
            tensors[f"{name}.conv1.weight"] = (inner, before, 1, 1)
            tensors[f"{name}.conv2.weight"] = (inner, inner, 3, 3)
            tensors[f"{name}.conv3.weight"] = (4 * inner, inner, 1, 1)
            before = 4 * inner
    tensors["fc.weight"] = (1000, before)
    made = {}
    for name, shape in tensors.items():
        values = rng.standard_normal(shape, dtype=np.float32)
        made[name] = values * np.float32((2 / values[0].size) ** 0.5)
    save_file(made, path)
    return max(values.nbytes for values in made.values())


def peak_bytes() -> int:
    """The most memory that this program held, mapped pages included. (`ru_maxrss` counts what started it, too.)"""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])


def measure(path: Path, *options: str) -> dict:
    """Inspects in this process; the shipped meta-classifier is read beforehand, as libraries are."""
    from weightprint.inspection import inspect

    inspect.shipped()
    began, clock = time.process_time(), time.perf_counter()
    found = inspect.inspect(path, full="--full" in options)
    return {
        "processor_seconds": round(time.process_time() - began, 2),
        "seconds": round(time.perf_counter() - clock, 2),
        "peak_mb": peak_bytes() // 10**6,
        "parameters": found.architecture["parameters"],
    }


def main() -> None:
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        largest = write_network(path, megabytes)
        print(f"{path.stat().st_size / 1e6:.0f} MB, the largest tensor {largest / 1e6:.0f} MB")
        for options in ([], ["--full"]):
            command = [sys.executable, __file__, "--measure", str(path), *options]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            print(" ".join(options) or "default", done.stdout.strip())


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measure(Path(sys.argv[2]), *sys.argv[3:])))
    else:
        main()
