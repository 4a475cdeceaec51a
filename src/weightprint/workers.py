"""Single-threaded worker processes that train runs and write their files.

A worker is `python -m weightprint.workers`. It reads a specification and the images from standard input, then one run
number a line, and answers each with one line of JSON. It dies with its parent.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from weightprint.errors import WeightprintError, ZooError
from weightprint.images import TrainingImages
from weightprint.recipes import Recipe
from weightprint.zoo import write_run

DEATHS_UNTIL_FAILED = 3
"""A run on which this many workers died is given up."""

GIVEN_UP_UNTIL_STOP = 3
"""When this many runs were given up and none was done, nothing is marked as failed."""


class Workers:
    """Worker processes for one zoo, started when first used and ended with the `with` block.

    Each call of `map` sends jobs, {"job": "train" or "time", "run": number}, and yields the answers as they come.
    """

    def __init__(
        self,
        zoo: Path,
        recipe: Recipe,
        images: Mapping[str, TrainingImages],
        *,
        count: int,
        device: str = "cpu",
    ) -> None:
        self._specification = json.dumps({"zoo": str(zoo), "recipe": recipe.to_json(), "device": device}).encode()
        self._images = _pack(images)
        self._count = count
        self._workers: list[_Worker] = []
        self._selector = selectors.DefaultSelector()

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self._selector.close()
        for worker in self._workers:
            worker.end()

    def map(
        self, jobs: Iterable[dict[str, Any]], *, give_up: Callable[[int, str], dict[str, Any]]
    ) -> Iterator[dict[str, Any]]:
        """Answers to the jobs in the order in which they are done.

        A job on which a worker died or failed is repeated; after the third time the answer is give_up(run, reason).
        Raises ZooError when a worker cannot write to the zoo, or when several jobs had to be given up and none was
        done: then the reason lies elsewhere.
        """
        waiting = deque(jobs)
        failures: Counter[int] = Counter()
        dead_at_start = done = 0
        given_up: list[tuple[int, str]] = []
        while len(self._workers) < min(self._count, len(waiting)):
            self._start()
        for worker in self._workers:
            if worker.ready and waiting:
                worker.give(waiting.popleft())
        while waiting or any(worker.job for worker in self._workers):
            for worker in self._with_news():
                job, answer = worker.job, worker.receive()
                if answer is None:
                    dead_at_start = 0 if worker.ready else dead_at_start + 1
                    worker = self._replace(worker, fatal=dead_at_start >= DEATHS_UNTIL_FAILED)
                    answer = {"failure": worker.predecessor}
                elif waiting and "failure" not in answer:
                    worker.give(waiting.popleft())
                if job is None:
                    continue
                if "cannot_write" in answer:
                    raise ZooError(answer["cannot_write"], hint="make room or choose another folder")
                if "failure" in answer:
                    failures[job["run"]] += 1
                    if failures[job["run"]] < DEATHS_UNTIL_FAILED:
                        waiting.appendleft(job)
                    else:
                        given_up.append((job["run"], answer["failure"]))
                    if worker.ready and waiting:
                        worker.give(waiting.popleft())
                else:
                    done += 1
                    yield answer
            if not done and len(given_up) >= GIVEN_UP_UNTIL_STOP:
                raise ZooError(f"no run could be trained; run {given_up[0][0]}: {given_up[0][1]}")
            while given_up and (done or not waiting):
                yield give_up(*given_up.pop())

    def _start(self, predecessor: str = "") -> _Worker:
        worker = _Worker(self._specification, self._images, predecessor)
        self._workers.append(worker)
        self._selector.register(worker.answers, selectors.EVENT_READ, worker)
        return worker

    def _with_news(self) -> list[_Worker]:
        return [key.data for key, _ in self._selector.select()]

    def _replace(self, dead: _Worker, *, fatal: bool) -> _Worker:
        self._selector.unregister(dead.answers)
        self._workers.remove(dead)
        end = dead.end()
        if fatal:
            raise ZooError(f"worker processes do not start: {end}", hint="what they printed above says why")
        return self._start(end)


class _Worker:
    """One process, seen from its parent.

    ready:       it has started and takes jobs
    job:         what it is working on
    predecessor: how the worker ended that this one replaces
    """

    def __init__(self, specification: bytes, images: bytes, predecessor: str) -> None:
        self.ready = False
        self.job: dict[str, Any] | None = None
        self.predecessor = predecessor
        self._process = subprocess.Popen(
            [sys.executable, "-m", "weightprint.workers", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # an interrupt from the terminal is the parent's to handle
        )
        self._input, self.answers = _open(self._process.stdin), _open(self._process.stdout)
        self._send(specification + b"\n" + str(len(images)).encode() + b"\n" + images)

    def give(self, job: dict[str, Any]) -> None:
        """Have it do a job."""
        self.job = job
        self._send(json.dumps(job).encode() + b"\n")

    def receive(self) -> dict[str, Any] | None:
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


def _pack(images: Mapping[str, TrainingImages]) -> bytes:
    arrays = {f"{name}/{field}": array for name, part in images.items() for field, array in part.arrays().items()}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type, unused-ignore]
    return buffer.getvalue()


def _unpack(data: bytes) -> dict[str, TrainingImages]:
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        fields: dict[str, dict[str, np.ndarray]] = {}
        for key in arrays.files:
            name, field = key.rsplit("/", 1)
            fields.setdefault(name, {})[field] = arrays[key]
    return {name: TrainingImages(name=name, **parts) for name, parts in fields.items()}


def main(parent: int) -> None:
    """Body of a worker process whose parent has the process number `parent`."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not end up among the answers
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _die_with_parent(parent)
    _keep_freed_memory()

    import torch

    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)
    torch.set_flush_denormal(True)  # as TensorFlow does; dead units' moments would slow every step down
    commands = sys.stdin.buffer
    specification = json.loads(commands.readline())
    images = _unpack(commands.read(int(commands.readline())))
    recipe = Recipe.from_json(specification["recipe"])

    def answer(document: Mapping[str, Any]) -> None:
        answers.write(json.dumps(document).encode() + b"\n")
        answers.flush()

    answer({"ready": True})
    for line in commands:
        job = json.loads(line)
        work = _JOBS[job["job"]]
        try:
            done = work(Path(specification["zoo"]), recipe, images, job["run"], specification["device"])
        except OSError as error:
            done = {"cannot_write": f"run {job['run']} cannot be written to {specification['zoo']}: {error.strerror}"}
        except Exception as error:
            kind = "" if isinstance(error, WeightprintError) else f"{type(error).__name__}: "
            done = {"failure": f"{kind}{error}"}
        answer({"run": job["run"], **done})


def _train(zoo: Path, recipe: Recipe, images: Mapping[str, TrainingImages], run: int, device: str) -> dict[str, Any]:
    from weightprint.jobs import train_run

    started = time.perf_counter()
    record, training_samples = train_run(recipe, run, images, device=device, spool=zoo)
    write_run(zoo, record)
    return {
        "status": record.status,
        "training_samples": training_samples,
        "seconds": round(time.perf_counter() - started, 3),
        "worker": os.getpid(),
    }


def _time(zoo: Path, recipe: Recipe, images: Mapping[str, TrainingImages], run: int, device: str) -> dict[str, Any]:
    from weightprint.jobs import time_run

    return {"seconds": time_run(recipe, run, images, device=device)}


_JOBS = {"train": _train, "time": _time}


def _die_with_parent(parent: int) -> None:
    """Ask Linux to end this process when its parent ends; elsewhere it ends when its input does."""
    set_parent_death_signal = 1
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)


def _keep_freed_memory() -> None:
    """Have glibc reuse freed memory rather than return it: activations come and go with every step, and fresh pages
    cost more than the arithmetic on them. Does nothing elsewhere."""
    trim_threshold, mmap_threshold = -1, -3
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(mmap_threshold, 1 << 30)
        libc.mallopt(trim_threshold, 1 << 30)


if __name__ == "__main__":
    main(int(sys.argv[1]))
