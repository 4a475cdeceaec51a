"""Runs as Ray tasks: the runs that worker processes make, through the same faults."""

import json
import subprocess
import sys
from importlib.util import find_spec

import pytest

from tests.conftest import TINY, TINY_SPACE
from tests.faults import DIE_AFTER_WRITING_RUN_2, DIE_IN_RUN_2, hook_training, run_files, sample_command, start
from tests.sampling.test_durability import finds_processes, wait_for_runs
from weightprint.errors import SetupError
from weightprint.sampling.cluster import RayCluster
from weightprint.sampling.sample import plan, run_sampling
from weightprint.zoo import Zoo

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="needs the extra [ray]")


def sample_on_ray(tmp_path, *options, runs=6):
    command = sample_command(tmp_path / "zoo", tmp_path / "tiny.toml", "--engine", "ray", "--json", *options, runs=runs)
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def test_without_ray_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SetupError, match="needs the package ray") as caught:
        run_sampling(plan(tmp_path / "zoo", TINY_SPACE, 6, **TINY), engine="ray")
    assert caught.value.hint == "pip install 'weightprint[ray]'"
    assert not (tmp_path / "zoo").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"engine": "rya"}, "no engine 'rya'.*did you mean 'ray'"),
        ({"engine": "local", "ray_address": "127.0.0.1:6379"}, "needs the engine ray"),
        ({"engine": "ray", "workers": 0}, "workers must be at least 1"),
        ({"engine": "ray", "device": "cuda:1"}, "on Ray the device is cpu or cuda"),
    ],
)
def test_what_no_engine_can_do_is_refused_before_anything_is_written(tmp_path, options, says):
    with pytest.raises(SetupError, match=says):
        run_sampling(plan(tmp_path / "zoo", TINY_SPACE, 6, **TINY), **options)
    assert not (tmp_path / "zoo").exists()


@pytest.mark.slow
@needs_ray
def test_ray_makes_the_same_bytes_and_says_nothing_else_on_standard_output(tmp_path, sampled_zoo):
    done = sample_on_ray(tmp_path)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["completed"] == 6
    assert document["peak_mb"] > 0
    assert run_files(tmp_path / "zoo") == run_files(sampled_zoo)


@pytest.mark.long
@needs_ray
def test_a_ray_process_that_is_killed_costs_nothing_but_time(tmp_path, monkeypatch, sampled_zoo):
    hook_training(tmp_path, monkeypatch, DIE_IN_RUN_2.format(condition="and once()"))
    done = sample_on_ray(tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "happened").exists()
    assert json.loads(done.stdout)["completed"] == 6
    assert run_files(tmp_path / "zoo") == run_files(sampled_zoo)


@pytest.mark.slow
@needs_ray
def test_a_run_that_kills_its_ray_process_three_times_is_marked_failed_and_the_rest_goes_on(tmp_path, monkeypatch):
    hook_training(tmp_path, monkeypatch, DIE_IN_RUN_2.format(condition=""))
    document = json.loads(sample_on_ray(tmp_path).stdout)
    assert (document["completed"], document["failed"]) == (5, 1)
    assert Zoo(tmp_path / "zoo")[2].reason.startswith("WorkerCrashedError: ")
    assert Zoo(tmp_path / "zoo").verify() == []


@pytest.mark.long
@needs_ray
def test_a_ray_process_that_dies_after_writing_does_not_repeat_the_run(tmp_path, monkeypatch, sampled_zoo):
    hook_training(tmp_path, monkeypatch, DIE_AFTER_WRITING_RUN_2)
    assert json.loads(sample_on_ray(tmp_path).stdout)["completed"] == 6
    assert sorted((tmp_path / "zoo" / "trained").read_text().split()) == list("012345")
    assert run_files(tmp_path / "zoo") == run_files(sampled_zoo)


@pytest.mark.long
@needs_ray
@finds_processes
def test_a_ray_that_was_killed_with_its_driver_is_gone_on_with_by_local_workers(tmp_path, sampled_zoo):
    zoo, space = tmp_path / "zoo", tmp_path / "tiny.toml"
    driver = start(sample_command(zoo, space, "--engine", "ray", runs=60))
    wait_for_runs(zoo, 1)
    driver.kill()
    driver.communicate()
    subprocess.run(sample_command(zoo, space), check=True, capture_output=True)
    assert Zoo(zoo).verify() == []
    assert run_files(sampled_zoo).items() <= run_files(zoo).items()


@pytest.mark.slow
@needs_ray
def test_an_address_where_no_cluster_is_is_one_clear_error(tmp_path):
    done = sample_on_ray(tmp_path, "--ray-address", "127.0.0.1:1")
    assert done.returncode == 1
    error = json.loads(done.stdout)["error"]
    assert error["message"].startswith("no Ray at 127.0.0.1:1")
    assert "--ray-address" in error["hint"]


@pytest.mark.slow
@needs_ray
def test_a_share_of_a_gpu_is_asked_for_when_runs_train_on_gpus(tmp_path):
    sampling = plan(tmp_path / "zoo", TINY_SPACE, 6, **TINY)
    cluster = RayCluster(sampling.path, sampling.recipe, sampling.images, count=1, device="cuda", address=None)
    assert cluster.task_resources == {"num_cpus": 1, "num_gpus": 0.25, "max_retries": 0}
