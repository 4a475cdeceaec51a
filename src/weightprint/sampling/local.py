"""Single-threaded worker processes that train runs and write their files.

A worker is `python -m weightprint.sampling.local`. It reads a specification from standard input, maps the images and
then reads one run number a line, and answers each with one line of JSON. It dies with its parent.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import math
import os
import selectors
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np

from weightprint.errors import ZooError
from weightprint.images import TrainingImages
from weightprint.sampling import engine
from weightprint.sampling.engine import Answer, Attempts, GiveUp, Job, Note, Recover
from weightprint.setups import Setup
from weightprint.setups.recipe import Recipe
from weightprint.training.fast.ahead import compile_ahead


class Workers:
    """Worker processes for one zoo, started when first used and ended with the `with` block.

    An engine; see `weightprint.sampling.engine.Engine`.
    """

    def __init__(
        self, zoo: Path, recipe: Recipe, images: Mapping[str, TrainingImages], *, count: int, device: str = "cpu"
    ) -> None:
        self._zoo, self._recipe, self._images, self._device = zoo, recipe, images, device
        self._file: IO[bytes] | None = None
        self._specification = b""
        self.count = count
        self._workers: list[_Worker] = []
        self._selector = selectors.DefaultSelector()

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self._selector.close()
        for worker in self._workers:
            worker.end()
        if self._file is not None:
            self._file.close()

    def map(self, jobs: Iterable[Job], *, give_up: GiveUp, recover: Recover, note: Note) -> Iterator[Answer]:
        """Answers to the jobs in the order in which they are done; see `Attempts`.

        Raises ZooError when workers do not start, or as `Attempts.settle` does.
        """
        jobs = list(jobs)
        drawn = (self._recipe.draw(job["run"]) for job in jobs if "runs" not in job)
        say = partial(print, file=sys.stderr, flush=True)
        compile_ahead((setup for setup in drawn if isinstance(setup, Setup)), device=self._device, say=say)
        attempts = Attempts(jobs, give_up=give_up, recover=recover, note=note)
        dead_at_start = 0
        while len(self._workers) < min(self.count, len(attempts.waiting)):
            self._start()
        self._give_out(attempts)
        while attempts.open:
            for worker in [key.data for key, _ in self._selector.select()]:
                job, answer = worker.job, worker.receive()
                if answer is None:
                    dead_at_start = 0 if worker.ready else dead_at_start + 1
                    end = self._replace(worker, fatal=dead_at_start >= engine.DEATHS_UNTIL_FAILED)
                    answer = {"failure": end, "died": True}
                elif job is None:  # it has just started
                    dead_at_start = 0
                final = attempts.settle(job, answer) if job else []
                self._give_out(attempts)
                yield from final

    def _give_out(self, attempts: Attempts) -> None:
        for worker in self._workers:
            if worker.ready and not worker.job and attempts.waiting:
                worker.give(attempts.take())

    def _start(self) -> None:
        if self._file is None:
            try:
                self._file, places = _share(self._images)
            except OSError as error:
                raise engine.cannot_write(Path(tempfile.gettempdir()), error, what="the images") from error
            fixed = {"zoo": str(self._zoo), "recipe": self._recipe.to_json(), "device": self._device}
            self._specification = json.dumps({**fixed, "file": self._file.fileno(), "images": places}).encode()
        try:
            worker = _Worker(self._specification, self._file)
        except OSError as error:
            problem = f"worker processes do not start: {error.strerror}"
            raise ZooError(problem, hint="fewer --workers, or more memory") from error
        self._workers.append(worker)
        self._selector.register(worker.answers, selectors.EVENT_READ, worker)

    def _replace(self, dead: _Worker, *, fatal: bool) -> str:
        """Start another worker in place of a dead one; says how that one ended."""
        self._selector.unregister(dead.answers)
        self._workers.remove(dead)
        end = dead.end()
        if fatal:
            raise ZooError(f"worker processes do not start: {end}", hint="what they printed above says why")
        self._start()
        return end


class _Worker:
    """One process, seen from its parent.

    ready: it has started and takes jobs
    job:   what it is working on
    """

    def __init__(self, specification: bytes, images: IO[bytes]) -> None:
        self.ready = False
        self.job: Job | None = None
        self._process = subprocess.Popen(
            [sys.executable, "-m", "weightprint.sampling.local", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[images.fileno()],
            start_new_session=True,  # an interrupt from the terminal is the parent's to handle
        )
        self._input, self.answers = _open(self._process.stdin), _open(self._process.stdout)
        self._send(specification + b"\n")

    def give(self, job: Job) -> None:
        """Have it do a job."""
        self.job = job
        self._send(json.dumps(job).encode() + b"\n")

    def receive(self) -> Answer | None:
        """The next answer, or None when the process has died."""
        line = self.answers.readline()
        if not line.endswith(b"\n"):
            return None
        self.ready, self.job = True, None
        return json.loads(line)

    def end(self) -> str:
        """End the process; says how it ended."""
        self._process.kill()
        code = self._process.wait()
        with contextlib.suppress(BrokenPipeError):
            self._input.close()
        self.answers.close()
        return f"worker killed by signal {-code}" if code < 0 else f"worker ended with exit code {code}"

    def _send(self, data: bytes) -> None:
        with contextlib.suppress(BrokenPipeError):  # a dead process shows as an end of file among the answers
            self._input.write(data)
            self._input.flush()


def _open(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None  # both were asked for as pipes
    return pipe


_LINE = 64
"""Bytes of a line of the cache, where each array begins."""


def _share(images: Mapping[str, TrainingImages]) -> tuple[IO[bytes], list[dict[str, Any]]]:
    """A file without a name that holds all images, to be mapped by workers, and what lies where in it."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by the caller
    places = []
    for name, part in images.items():
        for field, array in part.arrays().items():
            start = -(-file.tell() // _LINE) * _LINE
            file.seek(start)
            file.write(np.ascontiguousarray(array).data)
            form = {"dtype": array.dtype.str, "shape": array.shape}
            places.append({"name": name, "field": field, "start": start, **form})
    file.flush()
    return file, places


def _shared(file: IO[bytes], places: Iterable[Mapping[str, Any]]) -> dict[str, TrainingImages]:
    """The images of such a file: read when used, and in memory once for all workers."""
    mapped = np.memmap(file, dtype=np.uint8, mode="c")
    fields: dict[str, dict[str, np.ndarray]] = {}
    for place in places:
        dtype = np.dtype(place["dtype"])
        stop = place["start"] + math.prod(place["shape"]) * dtype.itemsize
        array = mapped[place["start"] : stop].view(np.ndarray).view(dtype).reshape(place["shape"])
        fields.setdefault(place["name"], {})[place["field"]] = array
    return {name: TrainingImages(name=name, **parts) for name, parts in fields.items()}


def main(parent: int) -> None:
    """Body of a worker process whose parent has the process number `parent`."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not end up among the answers
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _die_with_parent(parent)
    engine.prepare_process()
    commands = sys.stdin.buffer
    specification = json.loads(commands.readline())
    with os.fdopen(specification["file"], "rb") as file:
        images = _shared(file, specification["images"])
    recipe, device = Recipe.from_json(specification["recipe"]), specification["device"]

    def answer(document: Mapping[str, Any]) -> None:
        answers.write(json.dumps(document).encode() + b"\n")
        answers.flush()

    answer({"ready": True})
    for line in commands:
        answer(engine.do(json.loads(line), zoo=Path(specification["zoo"]), recipe=recipe, images=images, device=device))


def _die_with_parent(parent: int) -> None:
    """Ask Linux to end this process when its parent ends; elsewhere it ends when its input does."""
    set_parent_death_signal = 1
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]))
