"""Whether the compiled kernels are as good as they were made: fails where one spills or is far from the peak.

    python benchmarks/kernels.py [--seconds 1.5] [--repeats 5]

1. The convolutions' kernels are compiled for AVX-512, whatever this processor has, and not run: pieces of code with
   many products of 16 lanes must not touch the stack. A spill says that a tile of weightprint.training.fast.choice is
   too large for the registers, or that LLVM has become worse at it.
2. A training step of the fixed network must reach half of the multiplications and additions that this processor does in
   registers alone, by processor time, one process per core.

Ends with exit code 1 where one of them does not hold.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys

from sampling import OURS, PEAK, flop_per_sample, measure

FEATURES = ("avx512f", "avx512vl", "avx512bw", "avx512dq", "avx2", "avx", "fma", "sse4.2")
FILTER_SIZES = (3, 5, 7)
MANY = 12
"""Products of a piece of code that is an innermost loop of a convolution."""
LEAST_SHARE = 0.5


def compiled_pieces() -> list[tuple[int, int, int]]:
    """(filter size, products of 16 lanes, touches of the stack) of each innermost piece of the kernels' code, compiled
    for the processor in force."""
    import numba
    from numba import types

    from weightprint.training.fast import block
    from weightprint.training.fast.choice import choose, features_in_force

    choice = choose(features_in_force())
    number, flag, array, table = types.int64, types.boolean, types.float32[::1], types.float32[:, ::1]
    shape = (*[number] * 5, flag)
    kernels = {
        block.forward_kernel: (*shape, *[array] * 6),
        block.backward_kernel: (*shape, flag, *[array] * 5, table, table, *[array] * 5),
    }
    pieces = []
    for size in FILTER_SIZES:
        for make, signature in kernels.items():
            kernel = numba.njit(error_model="numpy")(make(choice, size).py_func)
            kernel.compile(signature)
            (assembly,) = kernel.inspect_asm().values()
            for part in re.split(r"\n(?=\.LBB)", assembly):
                products = len(re.findall(r"\tvfm.*zmm", part))
                if products > MANY:
                    pieces.append((size, products, len(re.findall(r"[xyz]mm.*%rsp|%rsp.*[xyz]mm", part))))
    return pieces


def pieces_for_avx512() -> list[tuple[int, int, int]]:
    """`compiled_pieces` in a process of its own, in which AVX-512 is in force."""
    names = ",".join(f"+{name}" for name in FEATURES)
    environment = {**os.environ, "NUMBA_CPU_NAME": "skylake-avx512", "NUMBA_CPU_FEATURES": names}
    done = subprocess.run(
        [sys.executable, __file__, "--pieces"], env=environment, capture_output=True, text=True, check=True
    )
    return [tuple(map(int, line.split())) for line in done.stdout.splitlines()]  # type: ignore[misc]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1.5, help="of each measurement")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--pieces", action="store_true", help="print the compiled pieces for the processor in force")
    options = parser.parse_args()
    if options.pieces:
        for piece in compiled_pieces():
            print(*piece)
        return
    pieces = pieces_for_avx512()
    spilled = [piece for piece in pieces if piece[2]]
    known = {size for size, _, _ in pieces} == set(FILTER_SIZES)
    print(f"compiled for AVX-512: {len(pieces)} innermost pieces, {len(spilled)} touch the stack {spilled or ''}")
    rates = measure(options.seconds, options.repeats, None, [OURS, PEAK])
    by_processor = {name: statistics.median(processor for _, processor in values) for name, values in rates.items()}
    share = flop_per_sample() * by_processor[OURS] / by_processor[PEAK]
    print(f"a step's multiplications and additions: {share:.0%} of the peak in registers, by processor time")
    if spilled or not known or share < LEAST_SHARE:
        sys.exit(f"expected innermost pieces of all filter sizes, none that spills, and a share of {LEAST_SHARE:.0%}")


if __name__ == "__main__":
    main()
