"""Compiled code is kept on disk: once per machine, not once per process.

numba keeps what it compiles in a folder and finds it again by the function's own file, by what the function closes
over and by the processor. It does not see that another file changed whose intrinsics the function uses, so the folder
has a name that changes with every source of this package, with the versions of what compiles it and with the processor.

The folder lies in $NUMBA_CACHE_DIR, or else in the user's cache, or where that cannot be written to in the temporary
folder. What is in it is executed: a folder that another user could have filled is not used. Without any folder each
process compiles for itself.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import llvmlite
import numba

from weightprint.training.fast.choice import features_in_force


def compiled(function: Callable[..., Any]) -> Any:
    """A function compiled for this processor when first called, kept on disk for the next process.

    Division by zero gives infinity, as in numpy. What the function closes over must be numbers: by anything else
    numba would not find it again.
    """
    folder = cache_folder()
    config: Any = numba.config
    before = config.CACHE_DIR
    if folder is not None:
        config.CACHE_DIR = str(folder)  # read when a function is decorated
    try:
        return numba.njit(cache=folder is not None, error_model="numpy")(function)
    finally:
        config.CACHE_DIR = before


@lru_cache(maxsize=1)
def cache_folder() -> Path | None:
    """Where compiled code is kept; None where no folder is to be had."""
    return next((folder for folder in _candidates() if _is_ours(folder)), None)


def _candidates() -> Iterator[Path]:
    name = f"weightprint-kernels-{_fingerprint()}"
    if os.environ.get("NUMBA_CACHE_DIR"):
        yield Path(os.environ["NUMBA_CACHE_DIR"]) / name
    if os.environ.get("XDG_CACHE_HOME"):
        yield Path(os.environ["XDG_CACHE_HOME"]) / name
    yield Path("~/.cache").expanduser() / name
    yield Path(tempfile.gettempdir()) / f"{name}-{os.getuid() if hasattr(os, 'getuid') else 'user'}"


def _fingerprint() -> str:
    """Of the sources of this package, the versions of what compiles them and the processor they are compiled for."""
    features = sorted(name for name, on in features_in_force().items() if on)
    found = hashlib.sha256(f"{numba.__version__} {llvmlite.__version__} {features}".encode())
    for source in sorted(Path(__file__).parent.glob("*.py")):
        found.update(source.read_bytes())
    return found.hexdigest()[:16]


def _is_ours(folder: Path) -> bool:
    """Whether the folder is there, made if need be, can be written to, and by this user alone."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        found = folder.lstat()
    except (OSError, RuntimeError):  # the latter where there is no home
        return False
    return not hasattr(os, "getuid") or (found.st_uid == os.getuid() and not found.st_mode & 0o022)
