"""Damaged files, read in processes of their own: a crash or an endless loop there is a finding here.

A case names a folder, which of its files are damaged, and a function "module:name" that reads the folder and returns
something that JSON can hold. `findings` damages one file at a time, has a child process read the folder, and returns
what was neither the answer of the undamaged folder nor a refusal by an error of the package.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import math
import os
import random
import resource
import selectors
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from weightprint.errors import WeightprintError

PATIENCE_SECONDS = 60.0
MEMORY_BYTES = 16 * 2**30
"""Of addresses: what asks for more is stopped before it harms the machine."""
REPOSITORY = Path(__file__).parent.parent

TOKENS = [
    *(b"null", b"-1", b"0", b"3.5", b"1e999", b"NaN", b"Infinity", b"true", b"2147483648", b"99999999999999999999"),
    *(b"[]", b"{}", b'""', b"[" * 5000, b"9" * 5000, b'"', b"\\", b",", b"\\ud800", b"\\u0000", b"\x00", b"\xff"),
]


def damaged(data: bytes, chance: random.Random) -> bytes:
    """The bytes with one to three changes, of kinds that disks, copies and editors make, often near its start."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 3))):
        at = chance.randrange(min(len(changed), chance.choice((20_000, len(changed)))) + 1)
        length = min(chance.choice((1, 1, 2, 8, 64, 1000)), len(changed) - at)
        match chance.randrange(10):
            case 0 | 1 if length:
                changed[at] ^= 1 << chance.randrange(8)
            case 2 if length:
                changed[at : at + length] = chance.randbytes(length)
            case 3:
                del changed[at : at + length]
            case 4:
                changed[at:at] = chance.randbytes(chance.choice((1, 8, 300)))
            case 5:
                del changed[at:]
            case 6:
                changed[at : at + length] = bytes(length)
            case 7:
                token = chance.choice(TOKENS)
                changed[at : at + (len(token) if chance.random() < 0.5 else 0)] = token
            case 8:
                digits = [i for i, byte in enumerate(changed) if 48 <= byte < 58]
                if digits:
                    changed[chance.choice(digits)] = 48 + chance.randrange(10)
            case 9:
                end = chance.choice((8, 64))  # lengths and magic numbers lie at the ends
                start = chance.choice((0, max(0, len(changed) - end)))
                changed[start : start + end] = chance.randbytes(min(end, len(changed)))
    return bytes(changed)


VALUES = [None, True, -1, 0, 3.5, 1e308, 2**70, math.nan, "", "x", "\ud800", "9" * 400, [], {}, [[]], {"a": None}]


def edited(data: bytes, chance: random.Random) -> bytes | None:
    """A JSON file, or a safetensors file's header, with a value deleted or replaced; None for other files."""
    try:
        if data[:1] == b"{":
            return json.dumps(_with_another_value(json.loads(data), chance)).encode()
        (length,) = struct.unpack("<Q", data[:8])
        header = json.loads(data[8 : 8 + length])
    except (ValueError, struct.error):
        return None
    texts = header.get("__metadata__", {})
    if texts and chance.random() < 0.8:
        key = chance.choice(sorted(texts))
        with contextlib.suppress(ValueError):
            texts[key] = json.dumps(_with_another_value(json.loads(texts[key]), chance))
    else:
        header = _with_another_value(header, chance)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


def _with_another_value(document: Any, chance: random.Random) -> Any:
    place = document
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            return document
        key = chance.choice(keys)
        if isinstance(place[key], (dict, list)) and place[key] and chance.random() < 0.7:
            place = place[key]
            continue
        if chance.random() < 0.3:
            del place[key]
        else:
            place[key] = chance.choice([*VALUES, *(place[other] for other in keys)])
        return document


def changes(folder: Path, patterns: list[str], seed: int, first: int, last: int) -> Iterator[tuple[int, Path, bytes]]:
    """(number, file, its damaged bytes) of the changes first to last - 1; each depends on seed and number alone."""
    files = sorted(path for pattern in patterns for path in folder.rglob(pattern) if path.is_file())
    whole = {path: path.read_bytes() for path in files}
    for number in range(first, last):
        chance = random.Random(f"{seed}:{number}")
        path = chance.choice(files)
        found = edited(whole[path], chance) if chance.random() < 0.4 else None
        yield number, path, found if found is not None else damaged(whole[path], chance)


def findings(
    folder: Path, patterns: list[str], reader: str, *, seed: int, count: int, work: Path
) -> list[dict[str, Any]]:
    """What went wrong, with the numbers of the changes; empty when all were met with the old answer or a refusal.

    folder:   stays as it is; a copy in `work` is damaged
    patterns: of the names of the files to damage, anywhere in the folder
    reader:   "module:name"
    """
    copy = Path(shutil.copytree(folder, work / "fuzzed"))
    whole = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    found: list[dict[str, Any]] = []
    expected: Any = None
    number = -1  # the undamaged folder
    while number < count:
        arguments = json.dumps([str(copy), patterns, reader, seed, number, count])
        for answer in _child(arguments):
            number = answer["number"]
            if number == -1:
                expected = answer.get("answer")
                assert expected is not None, answer
            elif "refused" not in answer and answer.get("answer") != expected:
                found.append(answer)
        for path, data in whole.items():  # a child that died left one damaged
            path.write_bytes(data)
        number += 1
    return found


def _child(arguments: str) -> Iterator[dict[str, Any]]:
    """Answers of one child process, the last of them about its death where it did not end well."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.fuzz", arguments],
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    last, waiting = None, selectors.DefaultSelector()
    waiting.register(process.stdout, selectors.EVENT_READ)
    while True:
        line = process.stdout.readline() if waiting.select(PATIENCE_SECONDS) else b"hangs"
        if not line.endswith(b"\n"):
            break
        last = json.loads(line)
        if "begin" not in last:
            yield last
    if line:
        process.kill()
    _, errors = process.communicate()
    if line or process.returncode:
        how = "it hangs" if line else f"exit code {process.returncode}"
        number = last["number"] if last else -1
        yield {"number": number, "end": how, "stderr": errors.decode(errors="replace")[-2000:]}


def main(folder: str, patterns: list[str], reader: str, seed: int, first: int, last: int) -> None:
    """Body of a child process: a line of JSON before and after each change."""
    module, name = reader.split(":")
    read = getattr(importlib.import_module(module), name)
    root = Path(folder)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    say = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(number: int) -> None:
        say.write(json.dumps({"number": number, "begin": True}) + "\n")
        say.flush()
        try:
            found = {"answer": json.loads(json.dumps(read(root)))}
        except WeightprintError as error:
            found = {"refused": str(error)}
        except BaseException as error:
            found = {"raised": f"{type(error).__name__}: {error}"[:500]}
        say.write(json.dumps({"number": number, **found}) + "\n")
        say.flush()

    if first == -1:
        answer(-1)
    for number, path, data in changes(root, patterns, seed, max(first, 0), last):
        whole = path.read_bytes()
        path.write_bytes(data)
        answer(number)
        path.write_bytes(whole)


if __name__ == "__main__":
    main(*json.loads(sys.argv[1]))
