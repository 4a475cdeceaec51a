"""Libraries that only some formats need."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from weightprint.errors import CheckpointError


def needed(module: str, kind: str) -> Any:
    """The module; raises CheckpointError, in one sentence, where the extra `[formats]` is not installed."""
    try:
        return import_module(module)
    except ImportError as error:
        raise CheckpointError(
            f'{kind} files are read with {module.split(".")[0]}: pip install "weightprint[formats]"'
        ) from error
