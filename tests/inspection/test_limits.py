"""Time and memory on large files, and the package as it is installed: each in a process of its own."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import weightprint

ROOT = Path(__file__).parents[2]

spec = importlib.util.spec_from_file_location("inspection_benchmark", ROOT / "benchmarks" / "inspection.py")
benchmark = importlib.util.module_from_spec(spec)
spec.loader.exec_module(benchmark)

MEASURED = """
import json, runpy, sys
from weightprint.inspection import inspect
from weightprint.inspection.shipped import Shipped
known = Shipped.load(sys.argv[3])
inspect.shipped = lambda: known
print(json.dumps(runpy.run_path(sys.argv[1])["measure"](sys.argv[2], *sys.argv[4:])))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory, small_shipped):
    return small_shipped.save(tmp_path_factory.mktemp("shipped") / "small")


def measured(path, folder, *options):
    script = ROOT / "benchmarks" / "inspection.py"
    arguments = [sys.executable, "-c", MEASURED, str(script), str(path), str(folder), *options]
    return json.loads(subprocess.run(arguments, capture_output=True, text=True, check=True).stdout)


@pytest.mark.long
def test_100_mb_take_three_seconds_of_one_core(tmp_path, folder):
    benchmark.write_network(tmp_path / "model.safetensors", 100)
    assert min(measured(tmp_path / "model.safetensors", folder)["processor_seconds"] for _ in range(2)) <= 3


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the memory of a program is read from /proc")
@pytest.mark.parametrize("options", [[], ["--full"]], ids=["sample", "full"])
def test_1_gb_stays_within_twice_its_largest_tensor_and_500_mb(tmp_path, folder, options):
    largest = benchmark.write_network(tmp_path / "model.safetensors", 1000)
    assert measured(tmp_path / "model.safetensors", folder, *options)["peak_mb"] <= 2 * largest / 1e6 + 500


@pytest.mark.long
def test_an_installed_wheel_inspects_a_file(tmp_path, trained_cnn):
    pytest.importorskip("setuptools")
    pip = [sys.executable, "-m", "pip", "-q"]
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    wheel = [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", tmp_path / "wheels", source]
    subprocess.run(wheel, check=True)
    (built,) = (tmp_path / "wheels").glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", tmp_path / "installed", built], check=True)
    code = "import weightprint as wp, sys, json; print(json.dumps([wp.__file__, wp.inspect(sys.argv[1]).to_json()]))"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "installed")}
    done = subprocess.run(
        [sys.executable, "-c", code, trained_cnn], env=environment, capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    where, document = json.loads(done.stdout)
    assert where.startswith(str(tmp_path / "installed"))
    assert where != weightprint.__file__
    assert "optimizer_family" in document["properties"]
