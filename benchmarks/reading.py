"""How fast a network's weights become the features that meta-classifiers read.

    python benchmarks/reading.py [--repeats 15] [--json FILE]

Measured on one core, as the median and the smallest of several repeats:

- the anatomy of ten snapshots of the fixed space's network (92,868 weights);
- the anatomy of one kernel of 10,000 × 10,000 weights, of which chosen units and inputs are read: seconds, and the
  memory that it takes beyond the weights themselves.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

SNAPSHOTS = 10
SIDE = 10_000


def timed(call: Callable[[], object], repeats: int) -> dict[str, float]:
    """Seconds of a call, wall and processor time; the first call, which fills caches, is not counted."""
    call()
    wall, processor = [], []
    for _ in range(repeats):
        start, start_processor = time.perf_counter(), time.process_time()
        call()
        wall.append(time.perf_counter() - start)
        processor.append(time.process_time() - start_processor)
    return {
        "seconds_median": statistics.median(wall),
        "seconds_smallest": min(wall),
        "processor_seconds_median": statistics.median(processor),
        "processor_seconds_smallest": min(processor),
    }


def fixed_network(repeats: int) -> dict[str, Any]:
    from weightprint import Layout
    from weightprint.features.anatomy import anatomy
    from weightprint.setups import SPACES

    layout = Layout.of(SPACES["fixed"].draw(0, 0))
    weights = np.random.default_rng(0).normal(scale=0.1, size=(SNAPSHOTS, layout.size)).astype(np.float32)
    columns = len(anatomy(weights, layout)[1])
    return {"weights": layout.size, "columns": columns, **timed(lambda: anatomy(weights, layout), repeats)}


def large_kernel() -> dict[str, Any]:
    from weightprint import Layout
    from weightprint.features.anatomy import anatomy
    from weightprint.zoo.layout import Tensor

    layout = Layout([Tensor("large/kernel", "kernel", "fc", (SIDE, SIDE), 0, "large.weight", "oi")])
    weights = np.empty((1, layout.size), dtype=np.float32)
    generator = np.random.default_rng(0)
    for row in weights.reshape(SIDE, SIDE):
        generator.standard_normal(out=row, dtype=np.float32)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    anatomy(weights, layout)
    seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    kilobyte = 1 if platform.system() == "Darwin" else 1024
    return {
        "weights": layout.size,
        "seconds": seconds,
        "bytes_beyond_weights": (after - before) * kilobyte,
        "bytes_at_most": after * kilobyte,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--json", help="write the numbers to this file too")
    options = parser.parse_args()

    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        found = {
            "machine": f"{platform.machine()}, Python {platform.python_version()}, numpy {np.__version__}",
            "fixed_network": fixed_network(options.repeats),
            "large_kernel": large_kernel(),
        }
    fixed, large = found["fixed_network"], found["large_kernel"]
    print(found["machine"])
    print(
        f"{SNAPSHOTS} snapshots of {fixed['weights']:,} weights, {fixed['columns']} columns: "
        f"{fixed['seconds_median']:.3f} s, at best {fixed['seconds_smallest']:.3f} s"
    )
    print(
        f"a kernel of {large['weights']:,} weights: {large['seconds']:.2f} s, "
        f"{large['bytes_beyond_weights'] / 1e6:.0f} MB beyond the weights, {large['bytes_at_most'] / 1e6:.0f} MB in all"
    )
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(found, file, indent=2)


if __name__ == "__main__":
    main()
