"""A saved meta-classifier damaged in many ways: it answers as it did, or the damage is named."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.fuzz import findings
from weightprint import load_meta
from weightprint.meta import build
from weightprint.zoo import Zoo


@pytest.fixture(scope="module")
def folder(sampled_zoo, tmp_path_factory) -> Path:
    """A zoo, and a meta-classifier that was fitted on it."""
    folder = tmp_path_factory.mktemp("meta")
    shutil.copytree(sampled_zoo, folder / "zoo")
    train, _ = Zoo(folder / "zoo").split()
    settings = {"slice_length": "all", "snapshots": (2, 4), "converged": False}
    build("trees", target="learning_rate", **settings).fit(train).save(folder / "x.meta")
    return folder


def read_meta(folder: Path) -> Any:
    """What the meta-classifier says of the test runs."""
    document = load_meta(folder / "x.meta").evaluate(Zoo(folder / "zoo"))
    return {key: value for key, value in document.items() if "seconds" not in key}


def fuzz(folder: Path, work: Path, count: int, seed: int) -> list[dict[str, Any]]:
    return findings(folder, ["x.meta/*"], "tests.meta.test_meta_fuzz:read_meta", seed=seed, count=count, work=work)


@pytest.mark.slow
def test_a_few_damages_change_no_answer_in_silence(folder, tmp_path):
    assert fuzz(folder, tmp_path, 15, seed=1) == []


@pytest.mark.long
def test_300_damages_change_no_answer_in_silence(folder, tmp_path):
    assert fuzz(folder, tmp_path, 300, seed=0) == []
