"""What the machine is to blame for ends the command and marks nothing; a run fails only by itself."""

import json

import pytest

from tests.conftest import TINY, TINY_SPACE, sample_tiny
from tests.faults import TINY_TOML, hook_training, run_files
from weightprint import Setup
from weightprint.cli.main import main
from weightprint.errors import SetupError, ZooError
from weightprint.images import load
from weightprint.sampling import engine, jobs
from weightprint.sampling.engine import Attempts, do
from weightprint.sampling.sample import plan, run_sampling, sample
from weightprint.training.loop import train
from weightprint.zoo import Zoo

FAIL_IN_RUN_2 = """
train_run = jobs.train_run
def failing(recipe, number, *args, **kwargs):
    if number == 2:
        raise RuntimeError("not this one")
    return train_run(recipe, number, *args, **kwargs)
jobs.train_run = failing
"""


@pytest.fixture
def asked(tmp_path):
    return plan(tmp_path / "zoo", TINY_SPACE, 6, **TINY)


def done_with(monkeypatch, asked, error, **everything):
    """The answer about run 0 where training it raises `error`."""

    def fail(*_, **__):
        raise error

    for name in ("train_run", *everything):
        monkeypatch.setattr(jobs, name, fail)
    asked.path.mkdir()
    return do({"job": "train", "run": 0}, zoo=asked.path, recipe=asked.recipe, images=asked.images, device="cpu")


@pytest.mark.slow
@pytest.mark.parametrize("device", ["cuda:99", "gpu", "cpu:x"])
def test_a_device_that_is_not_there_is_one_error_before_anything_starts(zoo_copy, sampled_zoo, device):
    with pytest.raises(SetupError, match=f"no device '{device}' to train on: ") as caught:
        run_sampling(plan(zoo_copy, TINY_SPACE, 7, **TINY), device=device)
    assert caught.value.hint.startswith("there are: cpu")
    assert run_files(zoo_copy) == run_files(sampled_zoo)
    assert sample_tiny(zoo_copy, runs=7, workers=1).counts == {"complete": 7}


def test_a_single_training_refuses_a_device_that_is_not_there():
    with pytest.raises(SetupError, match="no device 'cuda:99'"):
        train(Setup(), load("digits"), device="cuda:99")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (ImportError("No module named 'numba'"), "install what is missing"),
        (MemoryError(), "more memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), "more memory"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "more memory"),
        (OSError(28, "No space left on device"), "make room"),
    ],
    ids=["library", "memory", "memory of torch", "memory of a GPU", "disk"],
)
def test_what_the_machine_lacks_says_to_stop(monkeypatch, asked, error, hint):
    answer = done_with(monkeypatch, asked, error)
    assert str(error) in answer["stop"] or error.strerror in answer["stop"]
    assert hint in answer["hint"]
    assert answer["hint"].endswith("the same command goes on where it stopped")
    assert "Traceback" in answer["traceback"]


def test_where_nothing_trains_no_run_is_to_blame(monkeypatch, asked):
    answer = done_with(monkeypatch, asked, RuntimeError("no kernel image is available"), train=...)
    assert answer["stop"] == "run 0 cannot be trained here: RuntimeError: no kernel image is available"
    assert answer["hint"].startswith("nothing trains here on cpu")


@pytest.mark.slow
def test_a_run_fails_by_itself_where_a_plain_one_trains(monkeypatch, asked):
    answer = done_with(monkeypatch, asked, RuntimeError("this one only"))
    assert answer["failure"] == "RuntimeError: this one only"
    assert "this one only" in answer["traceback"].splitlines()[-1]


def test_deaths_for_want_of_memory_end_the_command_and_mark_nothing(monkeypatch, tmp_path):
    counters = tmp_path / "cgroup", tmp_path / "vmstat"
    monkeypatch.setattr(engine, "_OOM_COUNTERS", (*counters, tmp_path / "absent"))
    counters[0].write_text("low 0\noom 9\noom_kill 3\noom_group_kill 7\n")
    counters[1].write_text("nr_dirty 1\noom_kill 5\n")
    assert engine.oom_kills() == 8
    died, given_up, notes = {"failure": "worker killed by signal 9", "died": True}, [], []
    tried = Attempts(
        [{"job": "train", "run": run} for run in range(2)],
        give_up=lambda run, reason: given_up.append(run),
        recover=lambda run: None,
        note=notes.append,
    )
    tried.settle(tried.take(), {"run": 0, "done": True})
    for killed in (6, 7):
        counters[1].write_text(f"oom_kill {killed}\n")
        assert tried.settle(tried.take(), died) == []
    counters[1].write_text("oom_kill 9\n")
    with pytest.raises(
        ZooError, match="run 1 cannot be trained here: .* signal 9: the system is out of memory"
    ) as caught:
        tried.settle(tried.take(), died)
    assert "fewer --workers" in caught.value.hint
    assert given_up == []
    assert [note["run"] for note in notes] == [1, 1, 1]


@pytest.mark.slow
def test_a_failed_run_leaves_its_traceback_and_is_tried_again_when_asked(tmp_path, monkeypatch, sampled_zoo, capsys):
    zoo = tmp_path / "zoo"
    with monkeypatch.context() as patch:
        hook_training(tmp_path, patch, FAIL_IN_RUN_2)
        assert sample_tiny(zoo).counts == {"complete": 5, "failed": 1}
    assert Zoo(zoo)[2].reason == "RuntimeError: not this one"
    lines = [json.loads(line) for line in (zoo / "log.jsonl").read_text().splitlines()]
    assert ["not this one" in line["traceback"] for line in lines if "failure" in line] == [True] * 3
    assert main(["info", str(zoo)]) == 0
    assert "failed     1; to try failed runs again" in capsys.readouterr().out
    assert sample_tiny(zoo).sampled == 0
    (tmp_path / "tiny.toml").write_text(TINY_TOML)
    sizes = ["--train-size", "100", "--test-size", "50", "--max-epochs", "3", "--snapshots", "4", "--workers", "1"]
    command = ["sample", str(zoo), "--space", str(tmp_path / "tiny.toml"), "--runs", "6", *sizes, "--json"]
    assert main([*command, "--retry-failed"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["sampled"], document["failed"], document["completed"]) == (1, 0, 6)
    assert run_files(zoo) == run_files(sampled_zoo)


@pytest.mark.long
def test_a_run_that_kills_its_workers_again_is_failed_again(tmp_path, monkeypatch):
    """What lies there of the first failure is no answer about the second attempt."""
    hook_training(tmp_path, monkeypatch, "jobs.train_run = lambda recipe, number, *a, **k: os.kill(os.getpid(), 9)")
    zoo = tmp_path / "zoo"
    failed = plan(zoo, TINY_SPACE, 1, **TINY)
    assert run_sampling(failed, workers=1).counts == {"failed": 1}
    log = zoo / "log.jsonl"
    assert len(log.read_text().splitlines()) == 4
    assert len(sample(zoo, TINY_SPACE, 1, **TINY, workers=1, retry_failed=True)) == 1
    assert len(log.read_text().splitlines()) == 8
