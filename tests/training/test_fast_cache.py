"""Where compiled code is kept, and that it is compiled once."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import weightprint
from tests.training.test_fast import SMALL, serves
from weightprint.training.fast import ahead


def folder(source, **environment):
    """What a process that runs this source takes for the cache."""
    program = "from weightprint.training.fast.cache import cache_folder; print(cache_folder())"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(source), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.mark.slow
def test_the_cache_of_another_source_or_processor_and_a_folder_of_others_are_not_used(tmp_path):
    package = Path(weightprint.__file__).parent
    shutil.copytree(package, tmp_path / "changed" / "weightprint", ignore=shutil.ignore_patterns("__pycache__"))
    with open(tmp_path / "changed" / "weightprint" / "training" / "fast" / "emit.py", "a", encoding="utf-8") as file:
        file.write("# changed\n")
    chosen = {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    first = folder(package.parent, **chosen)
    assert Path(first).parent == tmp_path / "cache"
    assert folder(package.parent, **chosen) == first
    others = {
        folder(tmp_path / "changed", **chosen),
        folder(package.parent, **chosen, NUMBA_CPU_FEATURES="+avx2,+fma"),
    }
    assert len({first, *others}) == 3
    os.chmod(first, 0o777)  # anyone could have put code there
    assert folder(package.parent, **chosen) != first


def test_a_read_only_home_leaves_the_temporary_folder(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "temporary").mkdir()
    blocked = dict.fromkeys(("HOME", "XDG_CACHE_HOME", "NUMBA_CACHE_DIR"), str(tmp_path / "file"))
    found = folder(Path(weightprint.__file__).parent.parent, **blocked, TMPDIR=str(tmp_path / "temporary"))
    assert Path(found).parent == tmp_path / "temporary"
    assert Path(found).stat().st_mode & 0o077 == 0


@serves
def test_kernels_are_compiled_ahead_once_and_only_those_that_are_needed(tmp_path, monkeypatch):
    monkeypatch.setattr(ahead, "cache_folder", lambda: tmp_path)
    said = []
    setups = [replace(SMALL, optimizer="sgd"), replace(SMALL, optimizer="adam"), replace(SMALL, filter_size=9)]
    ahead.compile_ahead(setups, say=said.append)
    assert [line.split(": ")[1].split(" (")[0] for line in said] == ["filter 3", "rule adam", "rule sgd"]
    ahead.compile_ahead(setups, say=said.append)
    ahead.compile_ahead(setups, device="cuda", say=said.append)
    assert len(said) == 3
    ahead.compile_ahead([replace(SMALL, optimizer="sgd", augmentation=True)], say=said.append)
    assert len(said) == 4
    assert "augmentation" in said[-1]


def test_without_a_folder_nothing_is_compiled_ahead(monkeypatch, tmp_path):
    said = []
    monkeypatch.setattr(ahead, "cache_folder", lambda: None)
    ahead.compile_ahead([SMALL], say=said.append)
    assert said == []
    monkeypatch.setattr(ahead, "cache_folder", lambda: tmp_path)
    ahead.compile_ahead([SMALL], say=said.append)
    assert said != []
