"""How many lanes and which tiles suit a processor.

A tile is what the innermost loop computes at a time. Its sums and what they are computed from must fit into the vector
registers, 32 with AVX-512 and NEON, 16 with AVX2, and there must be enough sums to keep two units busy that take four
steps for a multiplication: at least 8. All sizes were measured; see docs/performance.md.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

FILTER_SIZES = (1, 3, 5, 7)
"""There are kernels for these; a tile is at least half a filter wide, and a row of 8 pixels at least two tiles."""

Tile = tuple[int, int]


@dataclass(frozen=True)
class Choice:
    """What code is generated for.

    lanes:       numbers in a vector register
    convolution: filter size → output channels and pixels of a tile of the convolution and of its data gradient
    weights:     filter size → output channels and pixels of a tile of the weight gradient
    product:     rows and vectors of a tile of a matrix product
    dot:         rows and columns of a tile of the product that is summed over lanes
    """

    lanes: int
    convolution: Mapping[int, Tile]
    weights: Mapping[int, Tile]
    product: Tile
    dot: Tile


def _with_32_registers(lanes: int) -> Choice:
    return Choice(
        lanes,
        convolution={1: (4, 4), 3: (4, 4), 5: (4, 4), 7: (4, 4)},
        weights={1: (4, 2), 3: (4, 2), 5: (4, 2), 7: (2, 4)},
        product=(4, 4),
        dot=(4, 4),
    )


def _with_16_registers(lanes: int) -> Choice:
    return Choice(
        lanes,
        convolution=dict.fromkeys(FILTER_SIZES, (3, 4)),
        weights={1: (4, 2), 3: (3, 4), 5: (2, 4), 7: (1, 4)},
        product=(6, 2),
        dot=(3, 4),
    )


def choose(features: Mapping[str, bool], *, itemsize: int = 4) -> Choice | None:
    """The choice for a processor with these features, by LLVM's names, and numbers of `itemsize` bytes.

    None for a processor without vectors of at least four float32 numbers and multiplication with addition.
    """
    if features.get("avx512f"):
        return _with_32_registers(64 // itemsize)
    if features.get("avx2") and features.get("fma"):
        return _with_16_registers(32 // itemsize)
    if features.get("neon"):
        return _with_32_registers(16 // itemsize)
    return None


@lru_cache(maxsize=1)
def features_in_force() -> Mapping[str, bool]:
    """What numba generates code for: this processor's features, or those that NUMBA_CPU_FEATURES names instead."""
    import llvmlite.binding as llvm

    named = os.environ.get("NUMBA_CPU_FEATURES")
    if named is not None:
        return {part[1:]: part.startswith("+") for part in named.split(",") if part}
    return dict(llvm.get_host_cpu_features())
