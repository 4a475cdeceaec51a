"""What every way of spreading runs over processes shares: a job, its answer, and what becomes of one that went wrong.

A job is {"job": "train" or "time", "run": number}; one about members of a cohort has their numbers as "runs" and the
first as "run". Its answer has "run" and either what was done ("answers", one for each, where there are "runs"), or
"failure", what went wrong with the run ("died" says that the process is gone, "hint" that the machine is to blame), or
"stop" with a "hint": what no run can help, so that the command ends. "traceback" tells where it happened.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import socket
import sys
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from weightprint.errors import WeightprintError, ZooError
from weightprint.images import TrainingImages
from weightprint.setups.recipe import Recipe
from weightprint.zoo import write_run

Job = dict[str, Any]
Answer = dict[str, Any]
GiveUp = Callable[[int, str], Answer]
"""From a run's number and what went wrong with it to the answer that stands for it."""
Note = Callable[[Answer], None]
"""Told every answer about something that went wrong, also where it is tried again."""
Recover = Callable[[int], "Answer | None"]
"""The answer about a run whose file was written although its process died before it could say so."""

DEATHS_UNTIL_FAILED = 3
"""A run on which this many processes died is given up."""

GIVEN_UP_UNTIL_STOP = 3
"""When this many runs were given up and none was done, nothing is marked as failed."""

MORE_MEMORY = "fewer --workers, or a machine with more memory"
_OUT_OF_MEMORY = ("allocate memory", "out of memory", "ALLOC_FAILED")
_OOM_COUNTERS = ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control", "/proc/vmstat")

GO_ON = "the same command goes on where it stopped"
_HINTS = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), f"make room; {GO_ON}"),
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), f"make it writable or choose another folder; {GO_ON}"),
    **dict.fromkeys(
        (errno.ENOENT, errno.ENOTDIR, errno.ESTALE),
        "the folder was deleted, moved, or is not to be seen from here; the same command makes what is missing",
    ),
}


class Engine(Protocol):
    """Processes that do jobs, there inside a `with` block.

    count: how many jobs are under way at once
    """

    count: int

    def __enter__(self) -> Engine: ...

    def __exit__(self, *error: object) -> None: ...

    def map(self, jobs: Iterable[Job], *, give_up: GiveUp, recover: Recover, note: Note) -> Iterator[Answer]:
        """Answers to the jobs in the order in which they are done; see `Attempts`."""
        ...


class Attempts:
    """The jobs that wait, and what went wrong with them so far.

    A job that failed, or on which a process died, is repeated; after the third time the answer is
    give_up(run, reason), unless the machine is to blame. After a death the answer is recover(run) where that finds one.
    Of a job with several runs there is an answer for each, and only what was not recovered is repeated.
    """

    def __init__(self, jobs: Iterable[Job], *, give_up: GiveUp, recover: Recover, note: Note) -> None:
        self.waiting = deque(jobs)
        self._give_up, self._recover, self._note = give_up, recover, note
        self._killed_for_memory = oom_kills()
        self._failures: Counter[int] = Counter()
        self._given_up: list[tuple[Job, str]] = []
        self._under_way = self._done = 0

    @property
    def open(self) -> bool:
        """Whether a job waits or is under way."""
        return bool(self.waiting or self._under_way)

    def take(self) -> Job:
        """The next job."""
        self._under_way += 1
        return self.waiting.popleft()

    def settle(self, job: Job, answer: Answer) -> list[Answer]:
        """The answers that are final now that a job was answered.

        Raises ZooError where the answer says to stop, where the machine is to blame for the third failure of a job, and
        when several jobs had to be given up and none was done: then the reason lies elsewhere.
        """
        self._under_way -= 1
        if "stop" in answer or "failure" in answer:
            self._note({"run": job["run"], **answer})
        if "stop" in answer:
            raise ZooError(answer["stop"], hint=answer["hint"])
        final: list[Answer] = []
        if "failure" not in answer:
            final += answer.get("answers", [answer])
        else:
            if answer.get("died"):
                final += [recovered for run in _runs(job) if (recovered := self._recover(run))]
                answer = self._blamed(answer)
            there = {recovered["run"] for recovered in final}
            if left := [run for run in _runs(job) if run not in there]:
                self._failed({**job, "runs": left} if there else job, answer)
        self._done += len(final)
        while self._given_up and (self._done or not self.open):
            job, reason = self._given_up.pop()
            final += [self._give_up(run, reason) for run in _runs(job)]
        return final

    def _blamed(self, answer: Answer) -> Answer:
        """The answer about a death, with a hint where the system has killed for memory since the last one."""
        before, self._killed_for_memory = self._killed_for_memory, oom_kills()
        if self._killed_for_memory <= before:
            return answer
        return {**answer, "failure": f"{answer['failure']}: the system is out of memory", "hint": MORE_MEMORY}

    def _failed(self, job: Job, answer: Answer) -> None:
        reason = answer["failure"]
        self._failures[job["run"]] += 1
        if self._failures[job["run"]] < DEATHS_UNTIL_FAILED:
            self.waiting.appendleft(job)
            return
        if "hint" in answer:
            raise ZooError(f"run {job['run']} cannot be trained here: {reason}", hint=f"{answer['hint']}; {GO_ON}")
        self._given_up.append((job, reason))
        if not self._done and len(self._given_up) >= GIVEN_UP_UNTIL_STOP:
            job, reason = self._given_up[0]
            raise ZooError(f"no run could be trained; run {job['run']}: {reason}", hint="nothing was marked as failed")


def _runs(job: Job) -> list[int]:
    return job.get("runs", [job["run"]])


def oom_kills() -> int:
    """How many processes the system has killed for memory, as far as it says."""
    kills = 0
    for path in _OOM_COUNTERS:
        with contextlib.suppress(OSError):
            text = Path(path).read_text(encoding="ascii", errors="replace")
            kills += sum(int(count) for count in re.findall(r"^oom_kill (\d+)$", text, re.MULTILINE))
    return kills


def cannot_write(folder: Path, error: OSError, *, what: str = "") -> ZooError:
    """The error for a folder that cannot be written to, with what to do about it."""
    subject = f"{what} cannot be written to {folder}" if what else f"cannot write to {folder}"
    return ZooError(f"{subject}: {error.strerror or error}", hint=_HINTS.get(error.errno or 0, GO_ON))


@contextlib.contextmanager
def writing_to(folder: Path) -> Iterator[None]:
    """Turn any OSError inside the block into the error of `cannot_write`."""
    try:
        yield
    except OSError as error:
        raise cannot_write(folder, error) from error


def prepare_process() -> None:
    """Have this process train on one thread, as every process of every engine does, so that the bytes are the same."""
    import torch

    with contextlib.suppress(RuntimeError):  # it was set before, or someone else's work in this process came first
        torch.set_num_interop_threads(1)
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # as TensorFlow does; dead units' moments would slow every step down
    # glibc is to reuse freed memory rather than return it: activations come and go with every step, and fresh pages
    # cost more than the arithmetic on them. Elsewhere there is no such function.
    trim_threshold, mmap_threshold = -1, -3
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(mmap_threshold, 1 << 30)
        libc.mallopt(trim_threshold, 1 << 30)


def do(job: Job, *, zoo: Path, recipe: Recipe, images: Mapping[str, TrainingImages], device: str) -> Answer:
    """Do a job in this process. What goes wrong is an answer, never an exception."""
    try:
        if job["job"] == "time":
            from weightprint.sampling.jobs import time_run

            done: Answer = {"seconds": time_run(recipe, job["run"], images, device=device)}
        else:
            done = _train(zoo, recipe, images, job, device)
    except Exception as error:
        done = {**_blame(error, job["run"], zoo, device), "traceback": traceback.format_exc()}
    return {"run": job["run"], **done}


def _blame(error: Exception, run: int, zoo: Path, device: str) -> Answer:
    """What is to blame for an exception: the folder, the machine, or the run itself, if it fails where a plain training
    does not."""
    if isinstance(error, OSError) and error.errno:
        refusal = cannot_write(zoo, error, what=f"run {run}")
        return {"stop": refusal.message, "hint": refusal.hint}
    reason = str(error) if isinstance(error, WeightprintError) else f"{type(error).__name__}: {error}"
    hint = ""
    if isinstance(error, ImportError):
        hint = "install what is missing"
    elif isinstance(error, MemoryError) or any(sign in str(error) for sign in _OUT_OF_MEMORY):
        hint = MORE_MEMORY
    else:
        from weightprint.sampling.jobs import train_plainly

        try:
            train_plainly(device, spool=zoo if zoo.is_dir() else None)
        except Exception:
            hint = f"nothing trains here on {device}: check the device and the libraries"
    if hint:
        return {"stop": f"run {run} cannot be trained here: {reason}", "hint": f"{hint}; {GO_ON}"}
    return {"failure": reason}


def _train(zoo: Path, recipe: Recipe, images: Mapping[str, TrainingImages], job: Job, device: str) -> Answer:
    from weightprint.sampling.jobs import train_runs

    started = time.perf_counter()
    trained = train_runs(recipe, _runs(job), images, device=device, spool=zoo)
    for record, _ in trained:
        write_run(zoo, record)
    seconds = round((time.perf_counter() - started) / len(trained), 3)
    of_all = {"seconds": seconds, "worker": os.getpid(), "host": socket.gethostname(), "peak_mb": peak_mb()}
    answers = [
        {"run": record.number, "status": record.status, "training_samples": samples, **of_all}
        for record, samples in trained
    ]
    return {"answers": answers} if "runs" in job else answers[0]


def peak_mb() -> float | None:
    """The most memory that this process ever held, in MB; None where the system does not say."""
    try:
        import resource
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, 1)
