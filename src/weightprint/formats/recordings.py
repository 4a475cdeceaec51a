"""Recordings on disk: what a recorder has kept of a training that goes on, or that was cut off.

    zoo/recordings/0000017/
      recording.json      number, identity, properties, layout; written at the first record
      moments.jsonl       a line per record: its number, whether its weights were kept, its metrics
      0000000012.npy      the weights of record 12, float32 [P]
      lock                held by the process that records

A run file appears in the zoo when a recording is closed, whole or not at all; until then the zoo's readers do not see
it. A process that is killed leaves its recording: `recover` makes a run of it.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import secrets
import shutil
import time
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from weightprint.errors import CorruptFile
from weightprint.files import StrPath, canonical_json, write_atomic
from weightprint.zoo import Zoo, runfile, write_run
from weightprint.zoo.index import run_path
from weightprint.zoo.layout import Layout
from weightprint.zoo.runfile import RunRecord

RECORDINGS_FOLDER = "recordings"
RECIPE = {"source": "recorder"}
"""Of a zoo of recorded runs."""

_ABOUT, _MOMENTS, _LOCK = "recording.json", "moments.jsonl", "lock"
_YOUNG_SECONDS = 60.0
"""A folder without a record may belong to a process that has only just made it."""


class Recording:
    """The folder of one recording, held by this process. Made by `begin`."""

    def __init__(self, zoo: Path, number: int, lock: int) -> None:
        self.zoo, self.number, self.folder = zoo, number, recording_path(zoo, number)
        self._release = weakref.finalize(self, os.close, lock)  # also for a recorder that is given up

    @classmethod
    def begin(cls, zoo: Path) -> Recording:
        """Take the next free number of a zoo, made where there is none. Several processes may do so at once."""
        number = max(Zoo.create(zoo, RECIPE, space_name="recorded").numbers, default=-1) + 1
        (zoo / RECORDINGS_FOLDER).mkdir(exist_ok=True)
        while True:
            folder = recording_path(zoo, number)
            with contextlib.suppress(FileExistsError):
                folder.mkdir()
                if not run_path(zoo, number).exists():  # another process ended its recording meanwhile
                    lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT)
                    while not _take(lock):  # another process just looks whether this one lives
                        time.sleep(0.01)
                    return cls(zoo, number, lock)
                folder.rmdir()
            number += 1

    def describe(self, properties: Mapping[str, Any], layout: Layout, **facts: int | None) -> None:
        """Write what holds for all records: facts are snapshots, test_images and test_classes."""
        about = {
            "number": self.number,
            "identity": f"recorded:{secrets.token_hex(16)}",
            "properties": dict(properties),
            "layout": layout.to_json(),
            **facts,
        }
        write_atomic(self.folder / _ABOUT, canonical_json(about).encode())

    def keep(self, number: int, weights: npt.NDArray[np.float32]) -> None:
        """Write the weights [P] of a record."""
        buffer = io.BytesIO()
        np.save(buffer, weights)
        write_atomic(_weights_path(self.folder, number), buffer.getvalue())

    def drop(self, number: int) -> None:
        """Remove the weights of a record."""
        _weights_path(self.folder, number).unlink(missing_ok=True)

    def note(self, moment: Mapping[str, Any]) -> None:
        """Append one record's line."""
        with open(self.folder / _MOMENTS, "ab") as file:
            file.write(canonical_json(dict(moment)).encode() + b"\n")

    def finish(self, *, status: str, reason: str) -> int:
        """Make it a run of the zoo and remove the folder. Returns the run's number."""
        write_run(self.zoo, _record(self.folder, status=status, reason=reason))
        self.discard()
        return self.number

    def discard(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder)
        self.release()

    def release(self) -> None:
        """Let go of the folder and leave it as it is."""
        self._release()


def recording_path(zoo: Path, number: int) -> Path:
    """Where a recording lies until it is a run."""
    return zoo / RECORDINGS_FOLDER / f"{number:07d}"


def unfinished(zoo: StrPath) -> list[dict[str, Any]]:
    """The recordings that are no runs yet: [{"run", "records": how many so far, "goes_on": its process lives}]."""
    found = []
    for folder in sorted((Path(zoo) / RECORDINGS_FOLDER).glob("[0-9]*")):
        with contextlib.suppress(OSError):
            lock = os.open(folder / _LOCK, os.O_RDONLY)
            goes_on = not _take(lock)
            os.close(lock)
            found.append({"run": int(folder.name), "records": len(_moments(folder)), "goes_on": goes_on})
    return found


def recover(zoo: StrPath) -> list[int]:
    """Make runs of a zoo's recordings whose process is gone, and return their numbers.

    Such a run has the snapshots that lie on disk (at most 2 T, the last one at most one thinning step before the end)
    thinned to T, all metrics, and the reason "cut off after N records". A recording without one record is removed. One
    whose process still lives, on this machine or on another where the file system carries locks, is left alone.
    Raises CorruptFile for a recording that was damaged.
    """
    zoo = Path(zoo)
    recovered = []
    for folder in sorted((zoo / RECORDINGS_FOLDER).glob("[0-9]*")):
        recording = _left_behind(zoo, folder)
        if recording is None:
            continue
        with contextlib.ExitStack() as stack:
            stack.callback(recording.release)
            moments = _moments(folder)
            path = run_path(zoo, recording.number)
            # A process may be killed after it has written the run.
            written = path.exists() and runfile.read_metadata(path)["identity"] == _about(folder)["identity"]
            if written or not moments:
                recording.discard()
                continue
            status = "diverged" if any(moment.get("diverged") for moment in moments) else "complete"
            recording.finish(status=status, reason=f"cut off after {len(moments)} records")
            recovered.append(recording.number)
    return recovered


def evenly_spaced(numbers: Sequence[int], count: int) -> list[int]:
    """`count` of these ascending record numbers, or all where there are fewer: the first, the last, and those nearest
    to even spacing between them."""
    if len(numbers) <= count:
        return list(numbers)
    if count == 1:
        return [numbers[-1]]
    wanted = np.linspace(numbers[0], numbers[-1], count)
    places = [int(np.abs(np.asarray(numbers) - at).argmin()) for at in wanted]
    for i in range(1, count):
        places[i] = max(places[i], places[i - 1] + 1)
    for i in range(count - 1, -1, -1):
        places[i] = min(places[i], len(numbers) - (count - i))
    return [numbers[place] for place in places]


def _left_behind(zoo: Path, folder: Path) -> Recording | None:
    """The recording in a folder whose process is gone, locked; None where it lives."""
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not folder.name.isdecimal() or not _take(lock):
        os.close(lock)
        return None
    if not (folder / _ABOUT).exists():
        if abs(time.time() - folder.stat().st_mtime) >= _YOUNG_SECONDS:
            shutil.rmtree(folder)
        os.close(lock)
        return None
    return Recording(zoo, int(folder.name), lock)


def _record(folder: Path, *, status: str, reason: str) -> RunRecord:
    """The run that a recording's files make."""
    about, moments = _about(folder), _moments(folder)
    layout = Layout.from_json(about["layout"])
    numbers = sorted(int(path.stem) for path in folder.glob("[0-9]*.npy") if path.stem.isdecimal())
    numbers = [number for number in numbers if number < len(moments)]
    chosen = evenly_spaced(numbers, about["snapshots"])
    columns = tuple(sorted({name for moment in moments for name in moment["metrics"]}))
    curve = [[moment["metrics"].get(name) for name in columns] for moment in moments]
    return RunRecord(
        number=about["number"],
        identity=about["identity"],
        status=status,
        reason=reason,
        properties=about["properties"],
        layout=layout,
        weights=np.array([_weights(folder, n, layout) for n in chosen], np.float32).reshape(-1, layout.size),
        measurements=[
            {"snapshot": i, "record": n, **{name: moments[n]["metrics"].get(name) for name in columns}}
            for i, n in enumerate(chosen, start=1)
        ],
        curve=np.array(curve, dtype=np.float64).reshape(len(moments), len(columns)),
        curve_columns=columns,
        test_images=about["test_images"],
        test_classes=about.get("test_classes"),
    )


def _about(folder: Path) -> dict[str, Any]:
    try:
        about = json.loads((folder / _ABOUT).read_bytes())
        fields = about["number"], about["identity"], about["properties"], about["layout"], about["snapshots"]
    except (ValueError, LookupError, TypeError) as error:
        raise CorruptFile(f"{folder / _ABOUT} is damaged: {error}", hint=f"delete {folder} to give it up") from error
    if not (type(fields[0]) is int and isinstance(fields[1], str) and isinstance(fields[2], dict)):
        raise CorruptFile(f"{folder / _ABOUT} is of another form than written", hint=f"delete {folder} to give it up")
    return about


def _moments(folder: Path) -> list[dict[str, Any]]:
    """The records as far as their lines are whole."""
    moments: list[dict[str, Any]] = []
    with contextlib.suppress(FileNotFoundError):
        for line in (folder / _MOMENTS).read_bytes().splitlines(keepends=True):
            try:
                moment = json.loads(line) if line.endswith(b"\n") else None
            except ValueError:
                moment = None
            if not isinstance(moment, dict) or moment.get("record") != len(moments):
                break
            moments.append(moment)
    return moments


def _weights(folder: Path, number: int, layout: Layout) -> npt.NDArray[np.float32]:
    path = _weights_path(folder, number)
    try:
        weights = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise CorruptFile(f"{path} cannot be read: {error}", hint="delete it, and try again without it") from error
    if weights.shape != (layout.size,) or weights.dtype != np.float32:
        raise CorruptFile(
            f"{path} holds {weights.dtype} {list(weights.shape)}, expected float32 [{layout.size}]",
            hint="delete it, and try again without it",
        )
    return weights


def _weights_path(folder: Path, number: int) -> Path:
    return folder / f"{number:010d}.npy"


def _take(lock: int) -> bool:
    """Whether the lock could be had; always where the system has none. It ends with the process that holds it.

    An open file holds it, not a process: several recorders of one process are told apart.
    """
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
