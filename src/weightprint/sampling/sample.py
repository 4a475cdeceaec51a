"""A recipe and a count → a zoo. Resumes where it stopped: a run that has a file is done."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, get_args, get_type_hints

import numpy as np

from weightprint.errors import CorruptFile, SetupError, ZooError, did_you_mean
from weightprint.files import TEMPORARY_PREFIX
from weightprint.images import TrainingImages, sets
from weightprint.sampling.cluster import RayCluster
from weightprint.sampling.engine import Answer, Engine, Job, writing_to
from weightprint.sampling.local import Workers
from weightprint.sampling.options import EngineOptions, PlanOptions
from weightprint.setups.everyday import EverydaySetup, EverydaySpace
from weightprint.setups.everyday import space as everyday
from weightprint.setups.everyday.layers import run_work
from weightprint.setups.recipe import PROCEDURE, WINDOW, Recipe, cohorts_of, refuse_other_recipe
from weightprint.setups.space import AnySpace, Space
from weightprint.training.devices import refuse_absent_device
from weightprint.training.loop import MAX_EPOCHS, SNAPSHOTS
from weightprint.zoo import LOG_FILE, Zoo, run_range, write_run
from weightprint.zoo.index import UNREADABLE, index_row, run_path
from weightprint.zoo.layout import Layout
from weightprint.zoo.locks import runs_locked
from weightprint.zoo.runfile import RunRecord

Progress = Callable[[int, int, Mapping[str, Any]], None]
"""Called with runs done, runs to do and the answer about the run just done."""

STALE_SECONDS = 3600.0
"""A temporary file of the index this far from now is a leftover; if it was not, an index is written once more."""

ENGINES = get_args(get_type_hints(EngineOptions)["engine"])


@dataclass(frozen=True)
class Sampling:
    """A recipe with its images and the runs that are asked for.

    numbers: of the runs, from 0

    Raises SetupError for a recipe of another training procedure than this version's.
    """

    path: Path
    recipe: Recipe
    images: Mapping[str, TrainingImages]
    numbers: range

    def __post_init__(self) -> None:
        if self.recipe.procedure != PROCEDURE:
            raise SetupError(
                f"a recipe of training procedure {self.recipe.procedure} cannot be sampled, only {PROCEDURE}",
                hint="the weightprint that the zoo's zoo.json names under made_with can; a new plan makes a new zoo",
            )

    def missing(self, zoo: Zoo, *, retry_failed: bool = False) -> list[int]:
        """The runs that have no readable file yet, and those that failed where they are tried again."""
        again = [UNREADABLE, "failed"] if retry_failed else [UNREADABLE]
        there = set(zoo.index.filter(~zoo.index["status"].is_in(again))["number"].to_list())
        return [number for number in self.numbers if number not in there]


@dataclass(frozen=True)
class SamplingResult:
    """What a call of `run_sampling` leaves behind.

    zoo:              the whole zoo
    counts:           status → how many of the runs asked for have it
    sampled:          runs trained in this call
    training_samples: images through gradient steps in this call, those of runs that only complete a cohort left out
    seconds:          wall time of this call
    peak_mb:          the most memory that a process held which trained; None when none did
    """

    zoo: Zoo
    counts: Mapping[str, int]
    sampled: int
    training_samples: int
    seconds: float
    peak_mb: float | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "zoo": str(self.zoo.path),
            "runs": len(self.zoo),
            "completed": self.counts.get("complete", 0),
            "diverged": self.counts.get("diverged", 0),
            "failed": self.counts.get("failed", 0),
            "sampled": self.sampled,
            "seconds": round(self.seconds, 3),
            "training_samples": self.training_samples,
            "peak_mb": self.peak_mb,
        }


def sample(
    path: str | os.PathLike[str], space: str | Path | AnySpace = "fixed", runs: int = 100, **options: Any
) -> Zoo:
    """Sample a zoo, or extend one, and return it.

    The same call goes on where an interrupted one stopped. Options are the fields of
    `weightprint.sampling.options.PlanOptions` and `EngineOptions`, and `progress` as for `run_sampling`.
    """
    training = {f.name for f in dataclasses.fields(EngineOptions)} | {"progress"}
    planned = plan(path, space, runs, **{name: value for name, value in options.items() if name not in training})
    return run_sampling(planned, **{name: value for name, value in options.items() if name in training}).zoo


def plan(
    path: str | os.PathLike[str],
    space: str | Path | AnySpace = "fixed",
    runs: int = 100,
    *,
    datasets: str | Sequence[str] | None = None,
    **options: Any,
) -> Sampling:
    """Check everything that can be checked before anything trains, and load the images.

    path:     folder of the zoo
    space:    "main", "fixed", "wild", "everyday", "demo", the path of a TOML file, a `Space` or an `EverydaySpace`
    runs:     how many runs the zoo has in the end
    datasets: names that replace the space's choice of data sets, in one text with commas between them or in a sequence
    options:  the other fields of `weightprint.sampling.options.PlanOptions`

    Images are class-balanced. A cohort is trained whole even when not all of its runs are asked for: nothing is wasted
    when ranges start and end at multiples of 16 · cohort.

    Raises SetupError, DataError, or RecipeMismatch when the folder holds a zoo of another recipe.
    """
    chosen = PlanOptions(**options)
    space = Space.named(space)
    if datasets is not None:
        given = datasets.split(",") if isinstance(datasets, str) else datasets
        space = space.replace(dataset=[name.strip() for name in given])
    if runs < 1:
        raise SetupError(f"runs must be at least 1, not {runs}")
    numbers = range(runs) if chosen.range is None else run_range(chosen.range, runs=runs)
    train_size, test_size = chosen.train_size, chosen.test_size
    max_epochs, snapshots = chosen.max_epochs, chosen.snapshots
    names = space.choices("dataset") or ()
    sets.refuse_absent_sets(names, chosen.data)
    forms = [(name, form) for name in names for form in space.image_forms]
    loaded = {sets.part_name(name, form): sets.load(name, chosen.data, form=form) for name, form in forms}
    if test_size is None:
        test_size = min(map(sets.largest_test_size, loaded.values()))
        if isinstance(space, EverydaySpace):
            test_size = min(test_size, everyday.TEST_SIZE)
    if not isinstance(space, EverydaySpace):
        train_size = train_size if train_size is not None else min(map(sets.largest_train_size, loaded.values()))
        max_epochs = max_epochs if max_epochs is not None else MAX_EPOCHS
    if snapshots is None:
        snapshots = everyday.SNAPSHOTS if isinstance(space, EverydaySpace) else SNAPSHOTS
    sizes: dict[str, Any] = {"train_size": train_size, "test_size": test_size, "seed": chosen.seed}
    recipe = Recipe(
        space=space,
        **sizes,
        max_epochs=max_epochs,
        snapshots=snapshots,
        datasets={name: images.sha256 for name, images in loaded.items()},
        cohort=chosen.cohort,
        window=WINDOW * chosen.cohort if chosen.cohort > 1 else 1,
    )
    images = {name: sets.prepare(images, **sizes) for name, images in loaded.items()}
    largest = max(space.choices("batch_size") or ())
    for part in images.values():
        sets.refuse_large_batch(part, largest)
    return Sampling(Path(path), recipe, images, numbers)


def run_sampling(sampling: Sampling, *, progress: Progress | None = None, **options: Any) -> SamplingResult:
    """Train the runs that are missing; an interruption, of whatever kind, leaves a good zoo.

    A run that fails by itself, three times, is marked as failed. What the machine is to blame for ends the call and
    marks nothing: a folder that cannot be written to, a device, a library or memory that is missing.

    progress: called after each run
    options:  fields of `weightprint.sampling.options.EngineOptions`

    Raises SetupError for a device that is not there, ZooError when the machine is to blame or another process is
    sampling these runs.
    """
    started = time.perf_counter()
    how = EngineOptions(**options)
    pool = _engine(sampling, how)
    trained = _Trained()
    with writing_to(sampling.path):
        zoo = Zoo.create(sampling.path, sampling.recipe.to_json(), space_name=sampling.recipe.space.name)
        if sampling.missing(zoo, retry_failed=how.retry_failed):
            with runs_locked(zoo.path, sampling.numbers):
                trained = _train_missing(sampling, zoo.refresh(), pool, progress, retry_failed=how.retry_failed)
            zoo = zoo.refresh()
    statuses = zoo.select(numbers=list(sampling.numbers)).index["status"].value_counts()
    counts, seconds = dict(statuses.iter_rows()), time.perf_counter() - started
    return SamplingResult(zoo, counts, trained.runs, trained.samples, seconds, trained.peak_mb)


def _engine(sampling: Sampling, how: EngineOptions) -> Engine:
    if how.engine not in ENGINES:
        raise SetupError(f"no engine {how.engine!r}", hint=did_you_mean(how.engine, ENGINES))
    if how.workers is not None and how.workers < 1:
        raise SetupError(f"workers must be at least 1, not {how.workers}")
    work = sampling.path, sampling.recipe, sampling.images
    if how.engine == "ray":
        return RayCluster(*work, count=how.workers, device=how.device, address=how.ray_address)
    if how.ray_address is not None:
        raise SetupError("a Ray address needs the engine ray", hint="--engine ray")
    refuse_absent_device(how.device)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Workers(*work, count=how.workers or cores, device=how.device)


@dataclass
class _Trained:
    """What was trained in one call."""

    runs: int = 0
    samples: int = 0
    peak_mb: float | None = None

    def add(self, answer: Answer) -> None:
        self.runs += 1
        self.samples += answer["training_samples"]
        self.peak_mb = max(filter(None, (self.peak_mb, answer.get("peak_mb"))), default=None)


def _train_missing(
    sampling: Sampling, zoo: Zoo, pool: Engine, progress: Progress | None, *, retry_failed: bool
) -> _Trained:
    refuse_other_recipe(zoo.recipe, sampling.recipe.to_json(), where=str(zoo.path))  # made by another at the same time
    missing = sampling.missing(zoo, retry_failed=retry_failed)
    _remove_leftovers(zoo.path, missing)
    trained = _Trained()

    def recover(number: int) -> Answer | None:
        row = index_row(run_path(zoo.path, number), number)
        if row["status"] in (UNREADABLE, "failed"):  # no process that trains writes a failed run
            return None
        return {"run": number, "status": row["status"], "training_samples": 0}

    def give_up(number: int, reason: str) -> Answer:
        write_run(zoo.path, _failed(sampling.recipe, zoo, number, reason))
        return {"run": number, "status": "failed", "training_samples": 0, "reason": reason}

    with pool, _open_log(zoo.path / LOG_FILE) as log:

        def note(answer: Answer) -> None:
            log.write(json.dumps({**answer, "time": round(time.time(), 3)}).encode() + b"\n")

        jobs = _training_jobs(sampling.recipe, missing)
        for answer in pool.map(jobs, give_up=give_up, recover=recover, note=note):
            trained.add(answer)
            note(answer)
            if progress is not None:
                progress(trained.runs, len(missing), answer)
    return trained


def _training_jobs(recipe: Recipe, missing: Sequence[int]) -> Iterator[Job]:
    """One job per cohort; it names the members to write."""
    wanted = set(missing)
    for cohort in cohorts_of(recipe, missing):
        runs = [run for run in cohort if run in wanted]
        yield {"job": "train", "run": runs[0], **({"runs": runs} if len(cohort) > 1 else {})}


def _open_log(path: Path) -> BinaryIO:
    """Open to append whole lines, after one that was cut off too, by a full disk for example."""
    log = open(path, "a+b", buffering=0)  # noqa: SIM115 - the caller closes it
    if log.tell():
        log.seek(-1, os.SEEK_END)
        if log.read(1) != b"\n":
            log.write(b"\n")
    return log


def _remove_leftovers(zoo: Path, missing: Sequence[int]) -> None:
    """Remove temporary files of runs that nobody but this process may make now, and old ones of the index."""
    names = {run_path(zoo, number).name for number in missing}
    folders = {run_path(zoo, number).parent for number in missing}
    for path in (path for folder in folders for path in folder.glob(f"{TEMPORARY_PREFIX}*")):
        if path.name.split("-", 2)[-1] in names:
            path.unlink(missing_ok=True)
    for path in zoo.glob(f"{TEMPORARY_PREFIX}*"):
        with contextlib.suppress(FileNotFoundError):
            if abs(time.time() - path.stat().st_mtime) > STALE_SECONDS:
                path.unlink()


def _failed(recipe: Recipe, zoo: Zoo, number: int, reason: str) -> RunRecord:
    setup = recipe.draw(number)
    layout = Layout.of(setup)
    return RunRecord(
        number=number,
        identity=zoo.run_identity(number),
        status="failed",
        reason=reason,
        properties=setup.to_dict(),
        layout=layout,
        weights=np.zeros((0, layout.size), dtype=np.float32),
    )


TIMED_RUNS = 4


def estimate(sampling: Sampling, **options: Any) -> dict[str, Any]:
    """What sampling would take, from a short timing on this machine; trains nothing and writes nothing.

    options: fields of `weightprint.sampling.options.EngineOptions`

    Returns hours and gigabytes for the runs that are missing. Where early stopping can end runs before the last
    epoch the hours are an upper bound.
    """
    how = EngineOptions(**options)
    missing = list(sampling.numbers)
    if (sampling.path / "zoo.json").exists():
        zoo = Zoo(sampling.path)
        refuse_other_recipe(zoo.recipe, sampling.recipe.to_json(), where=str(sampling.path))
        missing = sampling.missing(zoo, retry_failed=how.retry_failed)
    drawn = missing[:: max(1, len(missing) // 1000)]
    weights = [Layout.of(sampling.recipe.draw(number)).size for number in drawn]
    gigabytes = float(np.mean(weights)) * 4e-9 * sampling.recipe.snapshots * len(missing) if missing else 0.0

    def refuse(number: int, reason: str) -> Answer:
        raise ZooError(f"run {number} could not be timed: {reason}")

    with _engine(sampling, how) as pool:
        count = pool.count
        timed = missing[:: max(1, len(missing) // max(TIMED_RUNS, count))][: max(TIMED_RUNS, count)]
        jobs = ({"job": "time", "run": number} for number in timed)
        answers = pool.map(jobs, give_up=refuse, recover=lambda _: None, note=lambda _: None)
        seconds = [answer["seconds"] for answer in answers]
    cohorts = cohorts_of(sampling.recipe, missing)
    to_train = sum(map(len, cohorts)) * _relative_work(sampling.recipe, drawn, timed)
    hours = float(np.mean(seconds)) * to_train / min(count, len(cohorts)) / 3600 if seconds else 0.0
    return {
        "dry_run": True,
        "zoo": str(sampling.path),
        "runs": len(sampling.numbers),
        "missing": len(missing),
        "hours": round(hours, 4),
        "gigabytes": round(gigabytes, 4),
        "upper_bound": not sampling.recipe.fixed_length,
        "workers": count,
        "timed_runs": len(seconds),
    }


def _relative_work(recipe: Recipe, drawn: Sequence[int], timed: Sequence[int]) -> float:
    """How much more the runs of `drawn` take on average than those of `timed`, where set-ups say what they take."""

    def mean_work(numbers: Sequence[int]) -> float:
        setups = map(recipe.draw, numbers)
        return float(np.mean([run_work(s, recipe.snapshots) if isinstance(s, EverydaySetup) else 1.0 for s in setups]))

    return mean_work(drawn) / mean_work(timed) if timed else 1.0


def merge(path: str | os.PathLike[str], parts: Sequence[str | os.PathLike[str]]) -> dict[str, Any]:
    """Copy the runs of zoos of one recipe, sampled apart, into one zoo.

    A run that is already there stays; when its bytes differ in a part it is named among "different" (another machine
    may differ in the last bits). Unreadable runs are left out and named.
    Raises RecipeMismatch before anything is copied when the recipes differ.
    """
    if not parts:
        raise ZooError("nothing to merge", hint="weightprint merge ZOO PART...")
    opened = [Zoo(part) for part in parts]
    target = Zoo(path) if (Path(path) / "zoo.json").exists() else None
    first = target or opened[0]
    for zoo in opened:
        refuse_other_recipe(first.recipe, zoo.recipe, where=str(first.path))
    target = target or Zoo.create(path, first.recipe, space_name=first.space_name)
    copied, different, damaged = 0, [], []
    there = _checksums(target)
    for zoo in opened:
        offered = _checksums(zoo)
        for run in zoo:
            if run.number in there:
                if offered.get(run.number, there[run.number]) != there[run.number]:
                    different.append(run.number)
                continue
            try:
                write_run(target.path, run.load())
                there[run.number] = offered[run.number]
                copied += 1
            except CorruptFile as error:
                damaged.append({"zoo": str(zoo.path), "run": run.number, "problem": error.message})
    target = target.refresh()
    counts = {"runs": len(target), "copied": copied, "different": sorted(set(different))}
    return {"zoo": str(target.path), **counts, "damaged": damaged}


def _checksums(zoo: Zoo) -> dict[int, str]:
    """Run number → checksum of every readable run."""
    return dict(zoo.index.select("number", "sha256").drop_nulls().iter_rows())
