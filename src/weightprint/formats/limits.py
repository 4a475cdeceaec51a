"""What a checkpoint file may ask of its reader. A file beyond a limit is refused with a sentence that names it."""

from __future__ import annotations

from weightprint.errors import CheckpointError

MAX_TENSORS = 200_000
"""Named tensors in one checkpoint; the largest published models hold about half as many."""

MAX_HEADER = 100_000_000
"""Bytes of JSON that describe a file (safetensors header, shard index, Keras configuration)."""

MAX_PICKLE_STEPS = 8_000_000
"""Instructions of one pickle: about ten seconds, and four times what MAX_TENSORS tensors need in practice."""

MAX_DEPTH = 64
"""How deep dictionaries, groups or modules may lie in one another."""

MAX_RANK = 32
"""Axes of one tensor."""

UNFOLD_RATIO, UNFOLD_FREE = 100, 64 << 20
"""Compressed data may unfold to UNFOLD_RATIO times their stored size plus UNFOLD_FREE bytes."""

EXPANDED_FREE = 1 << 20
"""Elements that a tensor may have beyond those stored for it (an expanded view repeats what is stored)."""


def damaged(message: str) -> CheckpointError:
    """The refusal of a file that is not whole."""
    return CheckpointError(message, hint="it is cut short or damaged: fetch it again")


def check_tensor_count(count: int) -> None:
    """Raises CheckpointError for more than MAX_TENSORS."""
    if count > MAX_TENSORS:
        raise CheckpointError(f"more than {MAX_TENSORS:,} tensors", hint="no network of this many is read")


def unfolded_limit(stored: int) -> int:
    """The most bytes that `stored` compressed bytes may become."""
    return UNFOLD_RATIO * stored + UNFOLD_FREE
