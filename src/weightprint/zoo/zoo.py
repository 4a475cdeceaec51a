"""A zoo: a folder of runs with an index. docs/format.md is the specification."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from weightprint.errors import CorruptFile, SetupError, ZooError, did_you_mean
from weightprint.files import TEMPORARY_PREFIX, canonical_json, versions, write_atomic, write_json
from weightprint.setups import EverydaySetup, Setup
from weightprint.setups.recipe import Recipe, recipe_sha256, refuse_other_recipe
from weightprint.setups.setup import FIELDS
from weightprint.zoo import runfile
from weightprint.zoo.index import (
    RUNS_FOLDER,
    UNREADABLE,
    build_index,
    run_path,
    split_value,
    split_values,
    stray_entries,
)
from weightprint.zoo.layout import Layout
from weightprint.zoo.locks import LOCK_FILE
from weightprint.zoo.runfile import RunRecord

if TYPE_CHECKING:
    from weightprint.training.everyday.networks import EverydayNetwork
    from weightprint.training.networks import Network

ZOO_FILE = "zoo.json"
LOG_FILE = "log.jsonl"
ZOO_FORMAT = 1
TEST_FRACTION = 0.25
MOST_RUNS = 1 << 40
"""More than any zoo has."""
_NO_CONTENT = (TEMPORARY_PREFIX, LOCK_FILE)

FEATURES_FOLDER = "features"
"""Beside the runs: tables of what was read in them. Derived; can be deleted at any time."""

_RUN_COLUMNS = ("number", "identity", "status", "reason", "converged", "sha256")
KIN = "kin"
"""Property of an imported run: the name of the random streams that it shares with others."""


class Run:
    """One run of a zoo, read when asked.

    number, identity, status, reason: as in `RunRecord`
    name:      what messages call it
    streams:   names the random streams it was trained with; equal in runs of one seed and number, in whatever zoo
    converged: whether it learned, see `weightprint.zoo.index.converged`; None when that is not known
    checksum:  of its content
    cache:     folder for what is derived from it
    """

    def __init__(self, path: Path, row: Mapping[str, Any], *, seed: int | None = None) -> None:
        self.path = path
        self.name = f"run {row['number']}"
        self.streams: str = row.get(KIN) or row["identity"]
        if seed is not None:
            self.streams = f"seed {seed}, run {row['number']}"
        self.checksum: str | None = row["sha256"]
        self.cache = path.parents[2] / FEATURES_FOLDER
        self.number: int = row["number"]
        self.identity: str = row["identity"]
        self.status: str = row["status"]
        self.reason: str = row["reason"]
        self.converged: bool | None = row["converged"]

    def __repr__(self) -> str:
        return f"<run {self.number}, {self.status}>"

    @cached_property
    def kin(self) -> frozenset[str]:
        """Its streams and its final weights: see `weightprint.zoo.readable.Readable`."""
        return frozenset({self.streams, _final_weights(self.path, self.checksum) or self.streams})

    @cached_property
    def _metadata(self) -> dict[str, Any]:
        return runfile.read_metadata(self.path)

    @property
    def properties(self) -> dict[str, Any]:
        """What is known of the run, by name; of our own runs the fields of the set-up."""
        return self._metadata["properties"]

    @property
    def setup(self) -> Setup | EverydaySetup:
        """The set-up it was trained under. Raises SetupError for a run that was not trained by weightprint."""
        if EverydaySetup.describes(self.properties):
            return EverydaySetup.from_dict(self.properties)
        if missing := [name for name in FIELDS if name not in self.properties]:
            raise SetupError(f"{self.name} was not trained by weightprint: it has no {', '.join(missing[:3])}")
        return Setup(**{name: self.properties[name] for name in FIELDS})

    @property
    def layout(self) -> Layout:
        """Which stretch of the weight vector is which tensor."""
        return runfile.layout_of(self._metadata)

    @property
    def measurements(self) -> list[dict[str, Any]]:
        """One row per snapshot: "snapshot" from 1, "epoch", accuracies and losses."""
        return self._metadata["measurements"]

    @property
    def test_images(self) -> int | None:
        """How many images the test accuracies stand on; None when that is not known."""
        return self._metadata["test_images"]

    @property
    def curve_columns(self) -> tuple[str, ...]:
        """Names of the columns of `curve`."""
        return tuple(self._metadata["curve_columns"])

    def load(self) -> RunRecord:
        """The whole run from disk, checksum verified. Raises CorruptFile."""
        record = runfile.read(self.path)
        if record.identity != self.identity:
            raise CorruptFile(f"run {self.number} changed on disk while the zoo was open", hint="open the zoo again")
        return record

    @property
    def weights(self) -> np.ndarray:
        """All snapshots [T, P] float32, read from disk at every access, checksum verified."""
        return self.load().weights

    @property
    def curve(self) -> np.ndarray:
        """[E, K] float64, one row per evaluation, columns `curve_columns`; checksum verified."""
        return self.load().curve

    def snapshot(self, number: int) -> np.ndarray:
        """The weight vector [P] of one snapshot, numbered from 1."""
        weights = self.weights
        if not 1 <= number <= len(weights):
            raise ZooError(f"run {self.number} has snapshots 1 to {len(weights)}, not {number}")
        return weights[number - 1]

    def module(self, snapshot: int) -> Network | EverydayNetwork:
        """One snapshot, numbered from 1, as a torch module in eval mode, ready to run: on images in [0, 1], or in the
        space everyday on what the module's `inputs` makes of them."""
        from weightprint.training.everyday import networks as everyday
        from weightprint.training.networks import from_vector

        setup = self.setup
        if isinstance(setup, EverydaySetup):
            return everyday.from_vector(setup, self.snapshot(snapshot))
        return from_vector(setup, self.snapshot(snapshot))


class Zoo:
    """A zoo folder, or a selection of its runs. Iterating gives `Run`s in the order of their numbers.

    path:     the folder
    recipe:   what it was made by, as in zoo.json
    identity: SHA-256 of the recipe
    index:    polars table, one row per run in the order of their numbers; columns in docs/format.md

    thorough: look at every run file while opening, which takes seconds for a million runs. Otherwise, in a zoo of more
              than 20,000 runs, a file that was damaged in place is found only when it is read; see docs/scaling.md
    """

    def __init__(self, path: str | os.PathLike[str], *, thorough: bool = False) -> None:
        self.path = Path(path)
        self._header = _read_zoo_file(self.path)
        self.recipe: dict[str, Any] = self._header["recipe"]
        self.identity: str = self._header["recipe_sha256"]
        self.index: pl.DataFrame = build_index(self.path, thorough=thorough)

    @classmethod
    def create(cls, path: str | os.PathLike[str], recipe: Mapping[str, Any], *, space_name: str = "") -> Zoo:
        """Make an empty zoo, or open the one that is there, looking at every run file.

        Raises RecipeMismatch when it was made by another recipe, ZooError when something else is in the way.
        """
        path = Path(path)
        if (path / ZOO_FILE).exists():
            zoo = cls(path, thorough=True)
            refuse_other_recipe(zoo.recipe, recipe, where=str(path))
            (path / RUNS_FOLDER).mkdir(exist_ok=True)
            return zoo
        if path.exists() and (not path.is_dir() or any(not e.name.startswith(_NO_CONTENT) for e in path.iterdir())):
            raise ZooError(f"{path} exists and is not a zoo", hint="choose a new or empty folder")
        path.mkdir(parents=True, exist_ok=True)
        write_json(
            path / ZOO_FILE,
            {
                "format": "weightprint-zoo",
                "version": ZOO_FORMAT,
                "space_name": space_name,
                "recipe": dict(recipe),
                "recipe_sha256": recipe_sha256(recipe),
                "made_with": {**versions("torch", "numpy", "safetensors"), "machine": platform.machine()},
            },
        )
        (path / RUNS_FOLDER).mkdir(exist_ok=True)
        return cls(path)

    def refresh(self, *, thorough: bool = False) -> Zoo:
        """The whole zoo as it is on disk now."""
        return Zoo(self.path, thorough=thorough)

    def run_identity(self, number: int) -> str:
        """The identity of a run of this zoo's own recipe."""
        return f"{self.identity}:{number}"

    @property
    def space_name(self) -> str:
        """Of the space it was sampled from; empty when unknown."""
        name = self._header.get("space_name", "")
        return name if isinstance(name, str) and name.isprintable() else ""

    @property
    def made_with(self) -> dict[str, str]:
        """Versions of what it was made with, by name."""
        versions = self._header.get("made_with")
        return versions if isinstance(versions, dict) else {}

    def __len__(self) -> int:
        return len(self.index)

    def __iter__(self) -> Iterator[Run]:
        for row in self.index.select(self._run_columns).iter_rows(named=True):
            yield Run(run_path(self.path, row["number"]), row, seed=self.recipe.get("seed"))

    def __getitem__(self, number: int) -> Run:
        row = self._row_of(number)
        if row is None:
            numbers = self.numbers
            has = f"{len(numbers)} runs numbered from {numbers[0]} to {numbers[-1]}" if numbers else "no runs"
            raise ZooError(f"no run {number} in this selection of {self.path}", hint=f"it has {has}")
        columns = {name: self.index[name][row] for name in self._run_columns}
        return Run(run_path(self.path, number), columns, seed=self.recipe.get("seed"))

    def __contains__(self, number: object) -> bool:
        return self._row_of(number) is not None

    @property
    def _run_columns(self) -> tuple[str, ...]:
        return (*_RUN_COLUMNS, KIN) if self.index.schema.get(KIN) == pl.String else _RUN_COLUMNS

    @cached_property
    def _sorted_numbers(self) -> np.ndarray:
        return self.index["number"].to_numpy()

    def _row_of(self, number: object) -> int | None:
        """Where a run's row is: rows are in the order of their numbers."""
        if not isinstance(number, (int, np.integer)) or not 0 <= number < 2**63:
            return None
        row = int(np.searchsorted(self._sorted_numbers, number))
        return row if row < len(self) and self._sorted_numbers[row] == number else None

    def __repr__(self) -> str:
        return f"Zoo({str(self.path)!r}, {len(self)} runs)"

    @property
    def numbers(self) -> list[int]:
        """Of its runs, in ascending order."""
        return self.index["number"].to_list()

    def select(
        self,
        *predicates: pl.Expr,
        status: str | None = None,
        converged: bool | None = None,
        numbers: Sequence[int] | None = None,
        **properties: Any,
    ) -> Zoo:
        """The runs that meet all conditions.

        predicates: polars expressions over the columns of `index`
        status:     "complete", "diverged", "failed" or "unreadable"
        converged:  True keeps runs that learned and those of which it is not known; False those that are known not to
        numbers:    run numbers
        properties: column name → the value it must have, or a list of values

        Raises ZooError for an unknown column.
        """
        conditions = list(predicates)
        if status is not None:
            properties["status"] = status
        if converged is not None:
            conditions.append(pl.col("converged").fill_null(True) == converged)
        if isinstance(numbers, range) and numbers.step == 1:  # may be as long as a user types
            conditions.append(pl.col("number").is_between(numbers.start, numbers.stop, closed="left"))
        elif numbers is not None:
            conditions.append(pl.col("number").is_in(list(numbers)))
        for name, value in properties.items():
            if name not in self.index.columns:
                raise ZooError(f"no column {name!r} in the index", hint=did_you_mean(name, self.index.columns))
            wanted = list(value) if isinstance(value, (list, tuple, set)) else [value]
            conditions.append(pl.col(name).is_in(wanted))
        return self._view(self.index.filter(*conditions) if conditions else self.index)

    def split(self, test: float = TEST_FRACTION, *, split_seed: int = 0) -> tuple[Zoo, Zoo]:
        """(training runs, test runs). A run's side depends on its identity, `test` and `split_seed` alone, so that
        extending a zoo moves no run. Unreadable runs, whose identity is not known, are on neither side."""
        if not 0 < test < 1:
            raise ZooError(f"the test fraction must lie between 0 and 1, not {test}")
        readable = self.index.filter(pl.col("status") != UNREADABLE)
        if type(split_seed) is int and split_seed == 0:
            values = readable["split_value"]
        else:
            values = pl.Series(split_values(readable["identity"], split_seed), dtype=pl.Float64)
        is_test = values < test
        return self._view(readable.filter(~is_test)), self._view(readable.filter(is_test))

    def _view(self, index: pl.DataFrame) -> Zoo:
        view = object.__new__(Zoo)
        view.path, view.recipe, view.identity, view._header = self.path, self.recipe, self.identity, self._header
        view.index = index
        return view

    def verify(self, *, progress: Callable[[int, int], None] | None = None) -> list[dict[str, Any]]:
        """Read every run of this selection whole. Returns what is wrong: [{"run": number, "problem": text}].

        progress: called with runs read and runs to read after each
        """
        recipe = Recipe.from_json(self.recipe) if "space" in self.recipe else None
        problems = []
        for done, run in enumerate(self, start=1):
            try:
                self._verify_run(runfile.read(run.path), run.number, recipe)
            except ZooError as error:
                problems.append({"run": run.number, "problem": str(error)})
            if progress is not None:
                progress(done, len(self))
        strays = (path for path in stray_entries(self.path) if not path.name.startswith(TEMPORARY_PREFIX))
        return problems + [{"run": None, "problem": f"{path} is no run file"} for path in strays]

    def _verify_run(self, record: RunRecord, number: int, recipe: Recipe | None) -> None:
        problem = ""
        if record.number != number:
            problem = f"it holds run {record.number}: the file was moved"
        elif recipe is not None:
            if record.identity != self.run_identity(number):
                problem = "it belongs to a zoo of another recipe"
            elif record.properties != recipe.draw(number).to_dict():
                problem = "its set-up is not the one that the recipe draws for it"
        if problem:
            path = run_path(self.path, number)
            raise CorruptFile(f"{path.name} is wrong: {problem}", hint=f"delete {path} and sample again")

    def info(self) -> dict[str, Any]:
        """Counts, sizes and the recipe, as the `info` command prints them."""
        status = dict(sorted(self.index["status"].value_counts().iter_rows()))
        has_datasets = "dataset" in self.index.columns
        datasets = self.index["dataset"].drop_nulls().value_counts().iter_rows() if has_datasets else ()
        return {
            "zoo": str(self.path),
            "runs": len(self),
            "snapshots": int(self.index["snapshots"].fill_null(0).sum()),
            "status": status,
            "converged": int(self.index["converged"].fill_null(False).sum()),
            "convergence_unknown": self.index["converged"].null_count(),
            "datasets": dict(sorted(datasets)),
            "weights": sorted(self.index["weights"].drop_nulls().unique().to_list()),
            "bytes": int(self.index["file_bytes"].fill_null(0).sum()),
            "space": self.space_name,
            "recipe": self.recipe,
            "recipe_sha256": self.identity,
            "made_with": self.made_with,
        }


@lru_cache(maxsize=1 << 17)
def _final_weights(path: Path, checksum: str | None) -> str:
    """`runfile.final_weights` of a run with this checksum; empty where it cannot be read, which is said elsewhere."""
    try:
        return runfile.final_weights(path)
    except ZooError:
        return ""


def write_run(zoo: Path, record: RunRecord) -> Path:
    """Write one run's file into a zoo folder, whole or not at all. An open `Zoo` sees it after `refresh`."""
    path = run_path(zoo, record.number)
    path.parent.mkdir(exist_ok=True)
    write_atomic(path, runfile.encode(record))
    return path


def in_test_part(identity: str, test: float = TEST_FRACTION, *, split_seed: int = 0) -> bool:
    """Whether a run is a test run: the hash of its identity falls below the test fraction."""
    return split_value(identity, split_seed) < test


def run_range(text: str, *, runs: int | None = None) -> range:
    """The run numbers of "A-B", both included. Raises SetupError, also for a B that is not below `runs`."""
    first, _, last = text.partition("-")
    if first.isdecimal() and last.isdecimal() and int(first) <= int(last) < (MOST_RUNS if runs is None else runs):
        return range(int(first), int(last) + 1)
    limit = "" if runs is None else f" < {runs}"
    problem = f"range must be two run numbers A-B with A ≤ B{limit}, not {text!r}"
    raise SetupError(problem, hint="for example --range 0-99")


def _read_zoo_file(path: Path) -> dict[str, Any]:
    try:
        header = json.loads((path / ZOO_FILE).read_text(encoding="utf-8"))
        canonical_json(header).encode()  # refuses what JSON and text do not have: NaN, half a surrogate pair
    except (FileNotFoundError, NotADirectoryError):
        problem = f"{path} is not a zoo: it has no {ZOO_FILE}"
        raise ZooError(problem, hint="make one with `weightprint sample`") from None
    except OSError as error:
        raise ZooError(f"cannot read {path / ZOO_FILE}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        problem = f"{path / ZOO_FILE} is not valid JSON: {error}"
        raise CorruptFile(problem, hint="restore it; runs are untouched") from error
    if not isinstance(header, dict) or header.get("format") != "weightprint-zoo":
        raise ZooError(f"{path / ZOO_FILE} does not describe a weightprint zoo")
    if header.get("version") != ZOO_FORMAT:
        problem = f"{path} has zoo format {header.get('version')}, this version reads {ZOO_FORMAT}"
        raise ZooError(problem, hint="read it with a newer weightprint")
    if not isinstance(header.get("recipe"), dict) or recipe_sha256(header["recipe"]) != header.get("recipe_sha256"):
        problem = f"{path / ZOO_FILE}: the recipe does not match its checksum"
        raise CorruptFile(problem, hint="restore it; runs are untouched")
    return header
