"""Whether float32 weights lie on the grid of a coarser number format: they were rounded or quantised once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

LEAST_VALUES = 64
"""So many values other than 0 must lie on a grid before it says anything."""

MOST_ROWS = 64
"""So many rows are looked at for integer grids, whose step may differ from row to row."""


def grid_of(values: npt.NDArray[np.float32]) -> str | None:
    """ "float16", "bfloat16", "float8", "int8", "int4" or "few values"; None for ordinary float32 weights.

    values: finite, outputs first

    int8 and int4: a whole tensor, or each of its rows, has at most 255 or 15 values, whole multiples of one step.
    "few values": at most 256 values in a tensor with four times as many weights, at no equal distances.
    """
    flat = np.ascontiguousarray(values, dtype=np.float32).reshape(-1)
    if flat.size < LEAST_VALUES:
        return None
    nonzero = flat[: 1 << 16][flat[: 1 << 16] != 0]
    if nonzero.size < LEAST_VALUES or (nonzero == nonzero[0]).all():
        return None
    if (whole := _levels(flat)) is not None:
        return whole
    rows = flat.reshape(len(values), -1)
    if rows.shape[1] >= LEAST_VALUES:
        found = {_levels(row) for row in rows[:: max(1, len(rows) // MOST_ROWS)] if (row != 0).any()}
        if found <= {"int8", "int4"} and found:
            return "int4" if found == {"int4"} else "int8"
    # The first look rules out nearly every tensor before all of it is read.
    for name, on_grid in _FORMATS:
        if on_grid(nonzero) and on_grid(flat):
            return name
    return None


def _low_bits_zero(x: npt.NDArray[np.float32], bits: int) -> bool:
    return not (x.view(np.uint32) & np.uint32((1 << bits) - 1)).any()


def _is_float16(x: npt.NDArray[np.float32]) -> bool:
    with np.errstate(over="ignore"):
        return bool((x.astype(np.float16).astype(np.float32) == x).all())


_FORMATS = (
    ("float8", lambda x: _low_bits_zero(x, 20)),
    ("bfloat16", lambda x: _low_bits_zero(x, 16)),
    ("float16", _is_float16),
)


def _levels(x: npt.NDArray[np.float32]) -> str | None:
    """ "int8", "int4" or "few values" of a stretch of weights; None for ordinary ones."""
    if np.unique(x[:4096]).size > 256 or (levels := np.unique(x).astype(np.float64)).size > 256 or levels.size < 3:
        return None
    distances = np.diff(levels)
    largest = np.abs(levels).max()
    for step in (distances.min(), distances.min() / 2, distances.min() / 3):
        # Of unrelated values the least distance is far too small for 255 steps.
        if largest / step > 255.5:
            return "few values" if levels.size * 4 <= x.size else None
        places = levels * (np.round(largest / step) / largest)  # the largest level tells the step best
        whole = np.round(places)
        if np.abs(places - whole).max() < 1e-3 and whole[-1] - whole[0] <= 255:
            return "int4" if whole[-1] - whole[0] <= 15 else "int8"
    return "few values" if levels.size * 4 <= x.size else None
