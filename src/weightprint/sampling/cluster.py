"""Runs as tasks of a Ray cluster, or of a local Ray: the same runs, the same bytes as worker processes make.

A task trains one run on one thread and writes its file, so the zoo's folder must be one that every node shares.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import os
import socket
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from weightprint.errors import SetupError, ZooError
from weightprint.images import TrainingImages
from weightprint.sampling.engine import Answer, Attempts, GiveUp, Job, Note, Recover, do, prepare_process
from weightprint.setups.recipe import Recipe

GPU_SHARE = 0.25
"""Of a GPU for each run, where runs train on GPUs: the networks are small."""

KNOCK_SECONDS = 20.0
LEAST_OBJECT_STORE = 200 * 2**20

_LOCAL_ENVIRONMENT = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # listens on the loopback interface alone; read when ray is imported
    "RAY_USAGE_STATS_ENABLED": "0",
}


class RayCluster:
    """An engine whose jobs are Ray tasks; see `weightprint.sampling.engine.Engine`.

    count:   tasks in flight at most; as many as the cluster has room for when None
    address: of a running cluster, or else RAY_ADDRESS; without either a local Ray is started, listening on the
             loopback interface alone and without a dashboard, and ended with the `with` block. A Ray to which this
             process is already connected is used as it is

    Raises SetupError when Ray is not installed or the device is not one that tasks can be given.
    """

    def __init__(
        self,
        zoo: Path,
        recipe: Recipe,
        images: Mapping[str, TrainingImages],
        *,
        count: int | None,
        device: str,
        address: str | None,
    ) -> None:
        if device not in ("cpu", "cuda"):
            raise SetupError(f"on Ray the device is cpu or cuda, not {device!r}", hint="Ray chooses which GPU")
        self._address = address or os.environ.get("RAY_ADDRESS") or "local"
        self._ray = _import_ray(local=self._address == "local")
        self._specification = json.dumps({"zoo": str(zoo.resolve()), "recipe": recipe.to_json(), "device": device})
        self._images = dict(images)
        self._gpu_share = GPU_SHARE if device == "cuda" else 0.0
        self._asked = count
        self._in_flight: dict[Any, Job] = {}
        self.count = count or 1

    def __enter__(self) -> RayCluster:
        self._is_ours = not self._ray.is_initialized()
        if self._is_ours:
            self._connect()
        try:
            self.count = min(self._asked or self._room(), self._room())
            self._stored = self._ray.put(self._images)
        except BaseException:
            self.__exit__()
            raise
        self._task = self._ray.remote(**self.task_resources)(_do)
        return self

    @property
    def task_resources(self) -> dict[str, float]:
        """What a task is given. `Attempts` repeats it after a death, not Ray: a run whose file was written is done."""
        return {"num_cpus": 1, "num_gpus": self._gpu_share, "max_retries": 0}

    def __exit__(self, *_: object) -> None:
        for reference in self._in_flight:
            with contextlib.suppress(Exception):  # it is being left; the tasks of a driver end with it
                self._ray.cancel(reference, force=True)
        self._in_flight.clear()
        if self._is_ours:
            self._ray.shutdown()

    def map(self, jobs: Iterable[Job], *, give_up: GiveUp, recover: Recover, note: Note) -> Iterator[Answer]:
        attempts = Attempts(jobs, give_up=give_up, recover=recover, note=note)
        self._submit(attempts)
        while attempts.open:
            (reference,), _ = self._ray.wait(list(self._in_flight), num_returns=1)
            final = attempts.settle(self._in_flight.pop(reference), self._answer(reference))
            self._submit(attempts)
            yield from final

    def _submit(self, attempts: Attempts) -> None:
        while attempts.waiting and len(self._in_flight) < self.count:
            job = attempts.take()
            self._in_flight[self._task.remote(self._specification, self._stored, job)] = job

    def _answer(self, reference: Any) -> Answer:
        """A task's answer; of one whose process or node was lost, that."""
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            reason = str(error).strip().splitlines()[:1] or [""]
            answer = {"failure": f"{type(error).__name__}: {reason[0]}", "died": True}
            if isinstance(error, self._ray.exceptions.WorkerCrashedError):
                return answer
            return {**answer, "hint": "see what Ray and the nodes say"}

    def _connect(self) -> None:
        quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
        try:
            if self._address != "local":
                _knock(self._address)
                self._ray.init(address=self._address, **quiet)
                return
            size = sum(array.nbytes for part in self._images.values() for array in part.arrays().values())
            self._ray.init(
                address="local",
                num_cpus=self._asked,
                include_dashboard=False,
                object_store_memory=max(LEAST_OBJECT_STORE, 2 * size),
                **quiet,
            )
        except (OSError, ValueError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[:1] or [type(error).__name__]
            raise ZooError(
                f"no Ray at {self._address}: {reason[0]}",
                hint="check --ray-address and RAY_ADDRESS; without them a local Ray is started",
            ) from error

    def _room(self) -> int:
        """How many tasks the cluster can run at once."""
        resources = self._ray.cluster_resources()
        room = resources.get("CPU", 0)
        if self._gpu_share:
            if not resources.get("GPU", 0):
                raise ZooError("Ray knows of no GPU", hint="--device cpu, or a cluster whose nodes have GPUs")
            room = min(room, resources["GPU"] / self._gpu_share)
        return max(1, int(room))


def _do(specification: str, images: Mapping[str, TrainingImages], job: Job) -> Answer:
    """Body of a task."""
    prepare_process()
    # images lie in memory that all tasks of a node share; training only reads them
    warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
    fixed = json.loads(specification)
    recipe = Recipe.from_json(fixed["recipe"])
    return do(job, zoo=Path(fixed["zoo"]), recipe=recipe, images=images, device=fixed["device"])


def _knock(address: str) -> None:
    """Raise OSError when nobody listens there: Ray would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK_SECONDS).close()


def _import_ray(*, local: bool) -> Any:
    for name, value in _LOCAL_ENVIRONMENT.items() if local else ():
        os.environ.setdefault(name, value)
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # or Ray warns that a default will change
    try:
        return importlib.import_module("ray")
    except ImportError:
        problem = "--engine ray needs the package ray, which is not installed"
        raise SetupError(problem, hint="pip install 'weightprint[ray]'") from None
