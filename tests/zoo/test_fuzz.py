"""A zoo's files damaged in thousands of ways: it is read as it was, or the damage is named."""

import contextlib
import io
import os
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.fuzz import findings
from weightprint.cli.main import main
from weightprint.errors import CorruptFile, ZooError
from weightprint.zoo import Zoo

INFORMATIVE = ("space", "made_with", "bytes")
"""In no checksum: whoever edits the words in zoo.json, or the white space in a run's header, changes no result."""
LONG_AGO = 1_600_000_000


@pytest.fixture(scope="module")
def settled(sampled_zoo, tmp_path_factory) -> Path:
    """A zoo whose index is read and not made anew, because its files are old."""
    zoo = Path(shutil.copytree(sampled_zoo, tmp_path_factory.mktemp("settled") / "zoo"))
    for path in zoo.rglob("*.safetensors"):
        os.utime(path, (LONG_AGO, LONG_AGO))
    Zoo(zoo)
    return zoo


def read_zoo(folder: Path) -> Any:
    """What Python and the command line say of a zoo; refuses it where `verify` finds a problem."""
    zoo = Zoo(folder)
    info = {key: value for key, value in zoo.info().items() if key not in INFORMATIVE}
    said: list[Any] = [info, zoo.index.drop("file_mtime_ns", "file_bytes").to_dicts()]
    said += [part.numbers for part in (*zoo.split(), *zoo.split(split_seed=1), zoo.select(converged=True))]
    for run in zoo:
        with contextlib.suppress(ZooError):
            record = run.load()
            said += [run.properties, run.measurements, run.layout.to_json(), run.curve_columns, record.curve.tolist()]
            said += [sha256(record.weights.tobytes()).hexdigest(), record.properties]
    problems = zoo.verify()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        codes = [main(["info", str(folder)]), main(["info", str(folder), "--json"]), main(["verify", str(folder)])]
    assert codes == [0, 0, bool(problems)]
    if problems:
        raise CorruptFile(str(problems))
    return said


def fuzz(settled: Path, work: Path, patterns: list[str], count: int, seed: int = 0) -> list[dict[str, Any]]:
    return findings(settled, patterns, "tests.zoo.test_fuzz:read_zoo", seed=seed, count=count, work=work)


OTHERS = ["zoo.json", "*.safetensors", "log.jsonl", ".lock"]


@pytest.mark.slow
def test_a_few_damages_change_no_answer_in_silence(settled, tmp_path):
    assert fuzz(settled, tmp_path, ["index.parquet", *OTHERS], 35, seed=1) == []


@pytest.mark.long
def test_2000_damages_of_the_index_change_no_answer(settled, tmp_path):
    assert fuzz(settled, tmp_path, ["index.parquet"], 2000) == []


@pytest.mark.long
def test_700_damages_of_the_other_files_change_no_answer_in_silence(settled, tmp_path):
    assert fuzz(settled, tmp_path, OTHERS, 700) == []
