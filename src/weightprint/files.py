"""Files that appear whole or not at all, and checksums."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import secrets
from pathlib import Path
from typing import Any

TEMPORARY_PREFIX = ".tmp-"
StrPath = str | os.PathLike[str]
"""A path as users give it."""


def write_atomic(path: str | os.PathLike[str], data: bytes | memoryview) -> None:
    """Write `data` to `path` so that a reader sees the old content or the new, never a part.

    The bytes go to a temporary file in the same folder, are flushed to the disk and renamed.
    """
    path = Path(path)
    temporary = path.parent / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}-{path.name}"
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no white space: equal values give equal bytes.

    Raises ValueError for NaN and infinities, which JSON does not have.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write `value` as indented JSON, atomically."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_atomic(path, (text + "\n").encode())


def versions(*libraries: str) -> dict[str, str]:
    """The versions of weightprint, of Python and of these libraries, by name."""
    from importlib.metadata import version

    from weightprint import __version__

    found = {name: version(name) for name in libraries}
    return {"weightprint": __version__, "python": platform.python_version(), **found}


def sha256_hex(*chunks: bytes | bytearray | memoryview) -> str:
    """SHA-256 over the chunks one after the other, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()
