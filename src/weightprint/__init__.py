"""weightprint reads a network's training set-up out of its weights."""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "Setup": "setups",
    "Space": "setups",
    "Layout": "layouts",
    "WeightprintError": "errors",
}
"""Public names and the modules that hold them; a module is loaded when its name is first used."""

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'weightprint' has no attribute {name!r}")
    return getattr(importlib.import_module(f"weightprint.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
