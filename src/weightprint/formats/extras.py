"""Libraries that only some formats need."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from weightprint.errors import CheckpointError, ZooError


def require(module: str, kind: str) -> None:
    """Raises CheckpointError, in one sentence, where the extra `[formats]` is not installed."""
    try:
        found = find_spec(module) is not None
    except (ImportError, ValueError):
        found = False
    if not found:
        raise CheckpointError(f'{kind} files are read with {module}: pip install "weightprint[formats]"')


def with_extra(module: str, extra: str, what: str) -> Any:
    """The module that an extra brings. Raises ZooError, naming what needs it, where it is not installed."""
    try:
        return import_module(module)
    except ImportError:
        package = module.partition(".")[0]
        raise ZooError(f"{what} needs {package}", hint=f'pip install "weightprint[{extra}]"') from None
