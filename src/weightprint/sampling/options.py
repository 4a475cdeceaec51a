"""The options of sampling, spelled once: the command line is generated from them, the Python API takes them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """What a zoo is to hold, besides its space and its number of runs: fields of its recipe, and which runs to sample.

    Parameters
    ----------
    datasets
        Names with commas between them, instead of the space's own.
    data
        Folder of .npz files; without it the bundled data sets.
    train_size
        Images per run before the 90/10 split; default: the most that all data sets have, in everyday all of each.
    test_size
        Test images per run; default: the most that all data sets have, in everyday at most 500.
    max_epochs
        At which a run ends if early stopping did not end it before; default: 1000. Not for everyday, whose set-ups are
        drawn with a number of steps.
    snapshots
        Weight vectors kept of each run; default: 20, in everyday 8.
    seed
        Of every random choice.
    cohort
        Runs of one architecture and batch size that are trained as one, at most; to fill a GPU.
    range
        A-B: only the runs A to B, both included; see merge.
    """

    datasets: str | None = None
    data: Path | None = None
    train_size: int | None = None
    test_size: int | None = None
    max_epochs: int | None = None
    snapshots: int | None = None
    seed: int = 0
    cohort: int = 1
    range: str | None = None


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """How the runs of a plan are trained; the runs are the same whatever is chosen.

    Parameters
    ----------
    workers
        Runs under way at once, each on one thread; default: one per core.
    engine
        local: processes of this machine. ray: tasks of a Ray cluster whose nodes share the zoo's folder; same runs.
    ray_address
        Of a running Ray cluster, or RAY_ADDRESS; without either a Ray is started on this machine for this command.
    device
        Where to train: cpu, cuda, cuda:1, …
    retry_failed
        Train runs that failed again.
    """

    workers: int | None = None
    engine: Literal["local", "ray"] = "local"
    ray_address: str | None = None
    device: str = "cpu"
    retry_failed: bool = False
