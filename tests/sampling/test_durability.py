"""Sampling survives being killed at any moment, and folders that cannot be written to."""

import contextlib
import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import sample_tiny
from tests.faults import DIE_AFTER_WRITING_RUN_2, hook_training, run_files, sample_command, start
from weightprint.errors import ZooError
from weightprint.sampling.engine import Attempts, cannot_write
from weightprint.sampling.sample import STALE_SECONDS, _remove_leftovers
from weightprint.zoo import Zoo
from weightprint.zoo.locks import runs_locked

RUNS, WORKERS = 12, 2
finds_processes = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes through /proc")

RECORD_STARTS = """
train_run = jobs.train_run
def recorded(recipe, number, *args, **kwargs):
    with open({path!r}, "a") as started:
        started.write(f"{{number}}\\n")
    return train_run(recipe, number, *args, **kwargs)
jobs.train_run = recorded
"""


def children(pid: int) -> list[int]:
    """Process numbers of the children of a process (Linux)."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(stat.parent.name))
    return found


def kill(pids: list[int]) -> None:
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def wait_for_runs(zoo: Path, count: int) -> None:
    deadline = time.monotonic() + 60
    while len(list(zoo.glob("runs/*/0*.safetensors"))) < count and time.monotonic() < deadline:
        time.sleep(0.01)


def kill_at_random_moments(command: list[str], zoo: Path, kills: int, chance: random.Random) -> int:
    """Start the command, kill something, and start it again, until `kills` were made.

    Returns how many runs can have been in flight at kills, or were deleted to make work for further ones.
    """
    made = repeated = 0
    while made < kills:
        parent = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(chance.uniform(0.0, 5.0))
        if parent.poll() is not None:  # it was faster
            deleted = chance.sample(sorted(zoo.glob("runs/*/0*.safetensors")), k=RUNS // 2)
            for path in deleted:
                path.unlink()
            repeated += len(deleted)
            continue
        victim = chance.choice(["worker", "parent", "all"])
        workers = children(parent.pid)
        if victim == "worker":
            kill(workers[:1])
            time.sleep(chance.uniform(0.0, 3.0))
            repeated += 1
        kill([*workers, parent.pid] if victim == "all" else [parent.pid])
        parent.wait()
        repeated += WORKERS
        made += 1
    return repeated


def check_kills(tmp_path: Path, monkeypatch, kills: int, seed: int) -> None:
    whole, killed, starts = tmp_path / "whole", tmp_path / "killed", tmp_path / "starts"
    command = sample_command(killed, tmp_path / "tiny.toml", runs=RUNS, workers=WORKERS)
    hook_training(tmp_path, monkeypatch, RECORD_STARTS.format(path=str(starts)))
    repeated = kill_at_random_moments(command, killed, kills, random.Random(seed))
    subprocess.run(command, check=True, capture_output=True)
    assert len(starts.read_text().split()) <= RUNS + repeated
    monkeypatch.undo()
    subprocess.run(sample_command(whole, tmp_path / "tiny.toml", runs=RUNS), check=True, capture_output=True)
    assert Zoo(killed).verify() == []
    assert Zoo(killed).index["status"].to_list() == ["complete"] * RUNS
    assert run_files(killed) == run_files(whole)
    assert [path.name for path in killed.rglob(".tmp-*.safetensors")] == []


@pytest.mark.slow
@finds_processes
def test_a_zoo_that_was_killed_is_the_one_that_was_not(tmp_path, monkeypatch):
    check_kills(tmp_path, monkeypatch, kills=1, seed=0)


@pytest.mark.long
@finds_processes
def test_a_zoo_that_was_killed_25_times_is_the_one_that_was_not(tmp_path, monkeypatch):
    check_kills(tmp_path, monkeypatch, kills=25, seed=1)


@pytest.mark.long
def test_a_run_whose_file_is_there_is_never_trained_again(tmp_path):
    zoo = tmp_path / "zoo"
    command = sample_command(zoo, tmp_path / "tiny.toml", runs=RUNS, workers=WORKERS)
    parent = start(command)
    wait_for_runs(zoo, RUNS // 2)
    parent.kill()
    parent.communicate()
    subprocess.run(command, check=True, capture_output=True)
    trained = Counter(json.loads(line)["run"] for line in (zoo / "log.jsonl").read_text().splitlines())
    assert max(trained.values()) == 1
    assert len(trained) >= RUNS - WORKERS


@pytest.mark.slow
def test_a_worker_that_dies_between_writing_and_answering_costs_nothing(tmp_path, monkeypatch, sampled_zoo):
    hook_training(tmp_path, monkeypatch, DIE_AFTER_WRITING_RUN_2)
    result = sample_tiny(tmp_path / "zoo")
    assert result.counts == {"complete": 6}
    assert run_files(tmp_path / "zoo") == run_files(sampled_zoo)
    assert Counter((tmp_path / "zoo" / "trained").read_text().split()) == Counter("012345")


def attempts(runs, recover=lambda run: None):
    jobs = [{"job": "train", "run": run} for run in range(runs)]
    return Attempts(jobs, give_up=lambda run, reason: {"run": run, "given_up": reason}, recover=recover, note=print)


def test_a_job_is_given_up_after_the_third_failure_once_another_was_done():
    tried = attempts(2)
    first, second = tried.take(), tried.take()
    for _ in range(2):
        assert tried.settle(first, {"run": 0, "failure": "killed"}) == []
        first = tried.take()
    assert tried.settle(first, {"run": 0, "failure": "killed"}) == []
    assert tried.settle(second, {"run": 1, "done": 1}) == [{"run": 1, "done": 1}, {"run": 0, "given_up": "killed"}]
    assert not tried.open


def test_a_written_file_counts_more_than_a_death():
    tried = attempts(1, recover=lambda run: {"run": run, "status": "complete"})
    assert tried.settle(tried.take(), {"failure": "killed", "died": True}) == [{"run": 0, "status": "complete"}]


def test_when_runs_fail_one_beside_the_other_none_is_given_up_before_all_have_had_their_turn():
    tried = attempts(3)
    under_way = [tried.take(), tried.take()]
    for _ in range(8):
        job = under_way.pop(0)
        assert tried.settle(job, {"run": job["run"], "failure": "no memory"}) == []
        if tried.waiting:
            under_way.append(tried.take())
    with pytest.raises(ZooError, match="no run could be trained; run 0: no memory"):
        tried.settle(under_way[0], {"run": 2, "failure": "no memory"})


REFUSE_WRITING = """
fsync = os.fsync
def refuse(descriptor):
    if len([n for _, _, names in os.walk({zoo!r}) for n in names if n.startswith("0")]) >= 2:
        raise OSError({number}, os.strerror({number}))
    fsync(descriptor)
files.os.fsync = refuse
"""


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (errno.ENOSPC, "make room; the same command goes on where it stopped"),
        (errno.EROFS, "make it writable or choose another folder"),
        (errno.EIO, "the same command goes on where it stopped"),
    ],
)
def test_a_folder_that_cannot_be_written_to_has_a_hint_of_its_own(tmp_path, number, hint):
    error = cannot_write(tmp_path, OSError(number, os.strerror(number)), what="run 3")
    assert error.message == f"run 3 cannot be written to {tmp_path}: {os.strerror(number)}"
    assert hint in error.hint


@pytest.mark.slow
def test_a_folder_that_takes_no_more_is_one_clear_error_and_loses_nothing(tmp_path, monkeypatch, sampled_zoo):
    zoo = tmp_path / "zoo"
    hook_training(tmp_path, monkeypatch, REFUSE_WRITING.format(zoo=str(zoo), number=errno.ENOSPC))
    with pytest.raises(ZooError, match="run . cannot be written to .*zoo: No space left") as caught:
        sample_tiny(zoo, workers=2)
    assert caught.value.hint.startswith("make room")
    assert len(run_files(zoo)) in (2, 3)  # two workers may look at the same moment
    assert Zoo(zoo).verify() == []
    monkeypatch.undo()
    sample_tiny(zoo)
    assert run_files(zoo) == run_files(sampled_zoo)


@pytest.mark.long
def test_a_run_file_that_the_system_cuts_off_never_gets_its_name(tmp_path, sampled_zoo, monkeypatch):
    zoo = tmp_path / "zoo"
    command = sample_command(zoo, tmp_path / "tiny.toml", "--json")
    limit = min(map(len, run_files(sampled_zoo).values())) - 100
    hook_training(tmp_path, monkeypatch, f"import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, ({limit},) * 2)")
    limited = subprocess.run(command, capture_output=True)
    assert limited.returncode == 1
    error = json.loads(limited.stdout)["error"]
    assert "File too large" in error["message"]
    assert error["hint"].startswith("make room")
    assert run_files(zoo) == {}
    monkeypatch.undo()
    subprocess.run(command, check=True, capture_output=True)
    assert run_files(zoo) == run_files(sampled_zoo)


def test_no_room_for_the_images_that_workers_share_is_one_clear_error(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("weightprint.sampling.local.tempfile.TemporaryFile", full)
    with pytest.raises(ZooError, match="the images cannot be written to .*: No space left") as caught:
        sample_tiny(tmp_path / "zoo")
    assert caught.value.hint.startswith("make room")


def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ZooError, match="cannot write to .*zoo: Not a directory"):
        sample_tiny(tmp_path / "file" / "zoo")


def test_a_disk_that_is_full_in_the_parent_is_the_same_error(zoo_copy, monkeypatch):
    next(zoo_copy.rglob("0000003.safetensors")).unlink()

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("weightprint.sampling.sample._open_log", full)
    with pytest.raises(ZooError, match="cannot write to .*zoo: No space left") as caught:
        sample_tiny(zoo_copy)
    assert caught.value.hint.startswith("make room")


def test_a_complete_zoo_is_not_written_to(zoo_copy):
    (zoo_copy / ".lock").unlink()
    before = {path: path.stat().st_mtime_ns for path in zoo_copy.rglob("*") if path.name != "index.parquet"}
    assert sample_tiny(zoo_copy).sampled == 0
    after = {path: path.stat().st_mtime_ns for path in zoo_copy.rglob("*") if path.name != "index.parquet"}
    assert {p: t for p, t in after.items() if p.is_file()} == {p: t for p, t in before.items() if p.is_file()}


@pytest.mark.long
def test_a_zoo_that_is_deleted_while_it_is_sampled_is_one_clear_error(tmp_path, sampled_zoo):
    zoo = tmp_path / "zoo"
    process = start(sample_command(zoo, tmp_path / "tiny.toml", "--json", runs=500))
    wait_for_runs(zoo, 1)
    while zoo.exists():
        shutil.rmtree(zoo, ignore_errors=True)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "the folder was deleted, moved" in json.loads(out)["error"]["hint"]
    assert not zoo.exists()
    subprocess.run(sample_command(zoo, tmp_path / "tiny.toml"), check=True, capture_output=True)
    assert run_files(zoo) == run_files(sampled_zoo)


@pytest.mark.parametrize("left", ["zoo.json", ".lock"])
def test_a_zoo_that_was_hardly_begun_or_hardly_deleted_is_begun_again(zoo_copy, left):
    recipe = Zoo(zoo_copy).recipe
    (zoo_copy / ".lock").touch()
    for path in zoo_copy.iterdir():
        if path.name != left:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert len(Zoo.create(zoo_copy, recipe)) == 0
    assert (zoo_copy / "runs").is_dir()


HOLD = """
import sys, time
from pathlib import Path
from weightprint.zoo.locks import runs_locked
with runs_locked(Path(sys.argv[1]), range(int(sys.argv[2]), int(sys.argv[3]) + 1)):
    print("held", flush=True)
    time.sleep(600)
"""


@contextlib.contextmanager
def held(zoo: Path, first: int, last: int) -> Iterator[int]:
    """A process that holds the lock on runs of a zoo, and is killed at the end of the block; its number."""
    command = [sys.executable, "-c", HOLD, str(zoo), str(first), str(last)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        try:
            yield holder.pid
        finally:
            holder.kill()


@pytest.mark.slow
def test_a_second_sampler_of_the_same_runs_is_refused_until_the_first_is_gone(zoo_copy, sampled_zoo):
    next(zoo_copy.rglob("0000003.safetensors")).unlink()
    with held(zoo_copy, 100, 199):
        with held(zoo_copy, 5, 9) as pid:
            says = rf"runs 0 to 5 of .* are being sampled by process {pid} on "
            with pytest.raises(ZooError, match=says) as caught:
                sample_tiny(zoo_copy)
            assert "--range" in caught.value.hint
        assert sample_tiny(zoo_copy).sampled == 1
    assert run_files(zoo_copy) == run_files(sampled_zoo)


def test_locks_on_other_runs_and_of_dead_processes_are_not_in_the_way(tmp_path):
    with held(tmp_path, 0, 9):
        with held(tmp_path, 10, 19):
            pass
        with runs_locked(tmp_path, range(10, 30)):
            assert len((tmp_path / ".lock").read_text().splitlines()) == 3
    with runs_locked(tmp_path, range(0, 5)):
        assert len((tmp_path / ".lock").read_text().splitlines()) == 1


@pytest.mark.long
def test_two_samplers_at_once_share_a_zoo_by_range(tmp_path, sampled_zoo):
    zoo, space = tmp_path / "zoo", tmp_path / "tiny.toml"
    ranges = [("--range", "0-2"), ("--range", "3-5")]
    processes = [start(sample_command(zoo, space, *range_, workers=1)) for range_ in ranges]
    for process in processes:
        process.communicate(timeout=400)
    assert [process.returncode for process in processes] == [0, 0]
    assert Zoo(zoo).verify() == []
    assert run_files(zoo) == run_files(sampled_zoo)


@pytest.mark.long
def test_of_two_samplers_of_the_same_runs_that_start_at_once_one_is_refused_or_finds_all_done(tmp_path, sampled_zoo):
    zoo, space = tmp_path / "zoo", tmp_path / "tiny.toml"
    ranges = [("--range", "0-2"), ("--range", "3-5"), ("--range", "0-2")]
    processes = [start(sample_command(zoo, space, *range_, "--json", workers=1)) for range_ in ranges]
    outs = [process.communicate(timeout=120)[0] for process in processes]
    assert processes[1].returncode == 0
    first, third = processes[0], processes[2]
    assert 0 in (first.returncode, third.returncode)
    for process, out in ((first, outs[0]), (third, outs[2])):
        if process.returncode:
            assert "are being sampled by process" in json.loads(out)["error"]["message"]
    assert Zoo(zoo).verify() == []
    assert run_files(zoo) == run_files(sampled_zoo)


def test_leftovers_are_told_by_run_and_not_by_the_clock(zoo_copy):
    folder = zoo_copy / "runs" / "0000"
    mine, others = folder / ".tmp-00ff-0000003.safetensors", folder / ".tmp-00ff-0000009.safetensors"
    fresh, old, future = (zoo_copy / f".tmp-{name}-index.parquet" for name in ("fresh", "old", "future"))
    for path in (mine, others, fresh, old, future):
        path.touch()
    for path, shift in ((others, -1), (old, -1), (future, 1)):
        moment = time.time() + shift * (STALE_SECONDS + 100)
        os.utime(path, (moment, moment))
    _remove_leftovers(zoo_copy, [3, 4])
    assert {p.name for p in zoo_copy.rglob(".tmp-*")} == {others.name, fresh.name}


@pytest.mark.slow
def test_a_log_line_that_was_cut_off_spoils_no_other(zoo_copy):
    next(zoo_copy.rglob("0000003.safetensors")).unlink()
    log = zoo_copy / "log.jsonl"
    log.write_text(log.read_text()[:-20])
    sample_tiny(zoo_copy)
    *_, cut, last = log.read_text().splitlines()
    assert not cut.endswith("}")
    assert json.loads(last)["run"] == 3


@pytest.mark.slow
def test_the_memory_of_a_worker_stays_flat(tmp_path):
    result = sample_tiny(tmp_path / "zoo", runs=40, workers=1)
    peaks = [json.loads(line)["peak_mb"] for line in (tmp_path / "zoo" / "log.jsonl").read_text().splitlines()]
    assert result.to_json()["peak_mb"] == max(peaks) == peaks[-1]
    assert peaks[-1] < 1.03 * peaks[9]
