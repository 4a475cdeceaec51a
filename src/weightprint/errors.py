"""One error family: every message says what was expected and found, every hint what to do."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable


class WeightprintError(Exception):
    """Base of all errors raised on purpose.

    message: one line, what was expected and what was found.
    hint:    one line, the next thing to try; may be empty.
    kind:    a short stable word for the family member, used in JSON documents.
    """

    kind = "error"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message

    def __reduce__(self):  # keeps the hint when an error crosses a process border
        return _rebuild, (type(self), self.message, self.hint)


def _rebuild(cls: type[WeightprintError], message: str, hint: str) -> WeightprintError:
    return cls(message, hint=hint)


class SetupError(WeightprintError, ValueError):
    """A set-up or space that cannot be: an unknown name or an impossible value."""

    kind = "setup"


class DataError(WeightprintError, ValueError):
    """Images or labels that cannot be used."""

    kind = "data"


class ZooError(WeightprintError):
    """A zoo that cannot be read, extended or used as asked."""

    kind = "zoo"


class CorruptFile(ZooError):
    """A file whose content is not what was written."""

    kind = "corrupt"


class RecipeMismatch(ZooError):
    """A zoo made by another recipe than the one asked for."""

    kind = "recipe"


class MetaError(WeightprintError, ValueError):
    """A meta-classifier that cannot be fitted, evaluated or loaded as asked."""

    kind = "meta"


class CheckpointError(WeightprintError, ValueError):
    """A checkpoint file that cannot be read, or that is not read because reading it could run code."""

    kind = "checkpoint"


class ReportError(WeightprintError):
    """A report that cannot be read."""

    kind = "report"


def check_known(kind: str, name: object, allowed: Collection[str]) -> None:
    """Raise MetaError for a name, such as that of a "model", that is not among the allowed ones."""
    if name not in allowed:
        raise MetaError(f"unknown {kind} {name!r}", hint=did_you_mean(name, allowed))


def did_you_mean(name: object, allowed: Iterable[str]) -> str:
    """Hint for an unknown name: the nearest allowed one first, then all of them."""
    allowed = [str(a) for a in allowed]
    near = difflib.get_close_matches(str(name).lower(), allowed, n=1, cutoff=0.5)
    listing = "allowed: " + ", ".join(allowed)
    return f"did you mean {near[0]!r}? {listing}" if near else listing
