"""Seeds: a key → a random stream. The only place where randomness is keyed."""

from __future__ import annotations

import hashlib

from weightprint.files import canonical_json


def uniform_from_hash(*key: object) -> float:
    """A number in [0, 1) that depends on `key` alone.

    The same on every machine and library version: the first 53 bits of the SHA-256 of the key's parts as
    canonical JSON.
    """
    digest = hashlib.sha256(canonical_json(list(key)).encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / (1 << 53)


def seed_from_hash(*key: object) -> int:
    """A 63-bit seed that depends on `key` alone; see `uniform_from_hash`."""
    digest = hashlib.sha256(canonical_json(list(key)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
