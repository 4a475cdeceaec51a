"""An advisory lock on runs of a zoo, so that two samplers do not train the same runs at once.

Byte i of the lock file stands for run i. The kernel frees what a process has locked when it ends, however it ends, so
that no stale lock is ever left behind. The lock holds between processes, also on other machines where the file system
carries locks; where it does not, two samplers train the same runs twice, to the same bytes.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from weightprint.errors import ZooError

LOCK_FILE = ".lock"
PATIENCE_SECONDS = 1.0
"""A process that was killed holds its locks until it is gone."""

_TAKEN = (errno.EACCES, errno.EAGAIN)
_TO_THE_END = 0


@contextlib.contextmanager
def runs_locked(zoo: Path, numbers: range) -> Iterator[None]:
    """Hold the lock on runs numbers[0] to numbers[-1] of a zoo.

    Raises ZooError that names the other process when any of them is locked already.
    """
    with open(zoo / LOCK_FILE, "a+b", buffering=0) as file:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not _take(file, numbers):
            if time.monotonic() > deadline:
                problem = f"runs {numbers[0]} to {numbers[-1]} of {zoo} are being sampled{_by_whom(file, numbers)}"
                raise ZooError(problem, hint="wait for it to end, or give each its own runs with --range")
            time.sleep(0.05)
        holder = {"pid": os.getpid(), "host": socket.gethostname(), "first": numbers[0], "last": numbers[-1]}
        file.write(json.dumps(holder).encode() + b"\n")
        yield


def _take(file: BinaryIO, numbers: range) -> bool:
    if _lock(file, 0, _TO_THE_END):  # nobody else is there: forget those who were
        file.truncate(0)
        _unlock(file, numbers[-1] + 1, _TO_THE_END)
        if numbers[0]:
            _unlock(file, 0, numbers[0])
        return True
    return _lock(file, numbers[0], len(numbers))


def _by_whom(file: BinaryIO, numbers: range) -> str:
    """Says who holds a lock on any of these runs, as far as the file tells."""
    file.seek(0)
    for line in reversed(file.read().splitlines()):
        with contextlib.suppress(ValueError, KeyError, TypeError):
            holder: dict[str, Any] = json.loads(line)
            first, last = max(holder["first"], numbers[0]), min(holder["last"], numbers[-1])
            if first <= last:
                if not _lock(file, first, last - first + 1):
                    return f" by process {holder['pid']} on {holder['host']}"
                _unlock(file, first, last - first + 1)
    return " by another process"


def _lock(file: BinaryIO, start: int, length: int) -> bool:
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, length, start)
    except OSError as error:
        return error.errno not in _TAKEN  # any other reason: this file system has no locks
    return True


def _unlock(file: BinaryIO, start: int, length: int) -> None:
    with contextlib.suppress(ImportError, OSError):
        import fcntl

        fcntl.lockf(file, fcntl.LOCK_UN, length, start)
