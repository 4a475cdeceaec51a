"""What a file says of itself, as plain values: what JSON has, and no more of it than a reader wants."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from typing import Any

from weightprint.errors import CheckpointError
from weightprint.formats.limits import MAX_HEADER
from weightprint.formats.pickles import Name, Unbuilt

MOST_ITEMS, LONGEST_TEXT, DEEPEST = 10_000, 10_000, 20


def plain(value: Any) -> Any:
    """`value` with numbers, texts, lists and dictionaries alone; an object becomes a dictionary of its attributes.

    What has no plain form, lies deeper than DEEPEST or comes after MOST_ITEMS values is left out.
    """
    return _Plain().of(value, 0)


class _Plain:
    def __init__(self) -> None:
        self.left = MOST_ITEMS

    def of(self, value: Any, depth: int) -> Any:
        self.left -= 1
        if self.left < 0 or depth > DEEPEST:
            return None
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int):
            return value if abs(value) < 1 << 64 else str(value)[:40] if abs(value) < 1 << 1024 else None
        if isinstance(value, float):
            return value if math.isfinite(value) else str(value)
        if isinstance(value, str):
            return value[:LONGEST_TEXT]
        if isinstance(value, Name):
            return str(value)
        if isinstance(value, Unbuilt):
            # an Enum member comes with its value alone
            attributes = value.attributes or value.items
            if not attributes and len(value.args) == 1:
                return self.of(value.args[0], depth + 1)
            return self.of(attributes, depth)
        if isinstance(value, dict):
            found = {}
            for key, item in value.items():
                if self.left <= 0:
                    break
                if isinstance(key, (str, int, float, bool)) and _has_plain_form(item):
                    found[str(key)[:LONGEST_TEXT]] = self.of(item, depth + 1)
            return found
        if isinstance(value, (list, tuple)):
            return [self.of(item, depth + 1) for item in value[: max(self.left, 0)] if _has_plain_form(item)]
        return None


def _has_plain_form(value: Any) -> bool:
    return value is None or isinstance(value, (bool, int, float, str, Name, Unbuilt, dict, list, tuple))


def told_value(value: Any) -> Any:
    """A value of a file's metadata; a text that holds a JSON object or list is parsed."""
    if isinstance(value, str) and value.startswith(("{", "[")):
        with suppress(CheckpointError):
            return parsed_json(value, "metadata")
    return value


def parsed_json(data: Any, what: str) -> Any:
    """The JSON document in `data` (bytes or str); raises CheckpointError where there is none, or one too long."""
    if not isinstance(data, (str, bytes, memoryview)):
        raise CheckpointError(f"{what} is no text")
    if len(data) > MAX_HEADER:
        raise CheckpointError(f"{what} is {len(data):,} bytes long; at most {MAX_HEADER:,} are read")
    try:
        return json.loads(bytes(data) if isinstance(data, memoryview) else data)
    except (ValueError, RecursionError) as error:
        reason = "too deep" if isinstance(error, RecursionError) else str(error)[:80]
        raise CheckpointError(f"{what} is no JSON ({reason})", hint="the file is damaged: fetch it again") from error
