"""Libraries that only some formats need."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from weightprint.errors import CheckpointError


def require(module: str, kind: str) -> None:
    """Raises CheckpointError, in one sentence, where the extra `[formats]` is not installed."""
    try:
        found = find_spec(module) is not None
    except (ImportError, ValueError):
        found = False
    if not found:
        raise CheckpointError(f'{kind} files are read with {module}: pip install "weightprint[formats]"')


def needed(module: str, kind: str) -> Any:
    """The module; raises as `require` does."""
    require(module, kind)
    return import_module(module)
