"""What several test files share: small zoos, made once."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["WEIGHTPRINT_DATA"] = os.devnull + "/none"  # no data set that the user has fetched

import fcntl
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import settings

from weightprint import Space
from weightprint.sampling.sample import plan, run_sampling
from weightprint.study import BUDGETS, Budget

settings.register_profile("busy", deadline=None)  # how long an example takes is the machine's affair
settings.load_profile("busy")

# Files are not forced to the disk one by one: no test here loses its power.
os.fsync = lambda descriptor: None

TINY_SPACE = Space(
    "tiny",
    {
        "dataset": ["digits", "shapes"],
        "batch_size": 32,
        "filter_size": 3,
        "depth_conv": 3,
        "depth_fc": 2,
        "width_conv": 2,
        "width_fc": 20,  # of six runs one is a test run in the first splits
    },
)
TINY = {"train_size": 100, "test_size": 50, "max_epochs": 3, "snapshots": 4}


def sample_tiny(path, runs=6, *, workers=1, **options):
    return run_sampling(plan(path, TINY_SPACE, runs, **{**TINY, **options}), workers=workers)


def made_once(tmp_path_factory, name: str, make: Callable[[Path], object]) -> Path:
    """What `make` writes to a path: by the first process of a run of tests that needs it, for all of them."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    path, done = shared / name, shared / f"{name}.done"
    with open(shared / f"{name}.lock", "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            make(path)
            done.touch()
    return path


@pytest.fixture(scope="session")
def sampled_zoo(tmp_path_factory) -> Path:
    """A zoo of six really trained runs. Not to be changed; see `zoo_copy`."""
    sampled = made_once(tmp_path_factory, "tiny", partial(sample_tiny, workers=2))
    # A copy for each process, as readers write an index and a store.
    return Path(shutil.copytree(sampled, tmp_path_factory.mktemp("zoos") / "tiny"))


FEW_RESULTS = Budget("quick", (0,), (0,), 2, (), (100,), 1.0, 1.0, False, 4, 1)
"""Each kind of result of a study, and as few of them as can be."""


@pytest.fixture
def few_results(monkeypatch) -> None:
    """A quick study has FEW_RESULTS."""
    monkeypatch.setitem(BUDGETS, "quick", FEW_RESULTS)


@pytest.fixture
def zoo_copy(sampled_zoo, tmp_path) -> Path:
    """A copy of `sampled_zoo` that a test may damage."""
    return Path(shutil.copytree(sampled_zoo, tmp_path / "zoo", ignore=shutil.ignore_patterns("features")))
