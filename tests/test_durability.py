"""Sampling survives being killed at any moment."""

import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from weightprint.zoo import Zoo

RUNS, WORKERS = 12, 2


def command(zoo: Path, space: Path) -> list[str]:
    sizes = ["--train-size", "100", "--test-size", "50", "--max-epochs", "3", "--snapshots", "4"]
    return [
        *(sys.executable, "-m", "weightprint.cli", "sample", str(zoo), "--space", str(space), "--runs", str(RUNS)),
        *(*sizes, "--workers", str(WORKERS)),
    ]


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


def kill(pid: int) -> None:
    subprocess.run(["kill", "-9", str(pid)], check=False, capture_output=True)


def kill_at_random_moments(zoo: Path, space: Path, kills: int, seed: int) -> int:
    """Start the command, kill something, and start it again, until `kills` were made. Returns how many were."""
    chance, made = random.Random(seed), 0
    while made < kills:
        parent = subprocess.Popen(command(zoo, space), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(chance.uniform(0.2, 7.0))
        if parent.poll() is not None:  # it was faster
            for path in chance.sample(sorted(zoo.rglob("*.safetensors")), k=RUNS // 2):
                path.unlink()
            continue
        workers, victim = children(parent.pid), chance.choice(["worker", "parent", "all"])
        for pid in workers if victim == "all" else workers[:1] if victim == "worker" else []:
            kill(pid)
        if victim != "worker":
            parent.send_signal(signal.SIGKILL)
        elif workers:
            time.sleep(chance.uniform(0.0, 2.0))
            parent.send_signal(signal.SIGKILL)
        parent.wait()
        made += 1
    return made


def check(tmp_path: Path, kills: int, seed: int) -> None:
    space = tmp_path / "tiny.toml"
    space.write_text(
        'dataset = "digits"\nbatch_size = 32\nfilter_size = 3\ndepth_conv = 3\nwidth_conv = 2\nwidth_fc = 16\n'
    )
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run(command(whole, space), check=True, capture_output=True)
    assert kill_at_random_moments(killed, space, kills, seed) == kills
    subprocess.run(command(killed, space), check=True, capture_output=True)
    assert Zoo(killed).verify() == []
    assert Zoo(killed).index["status"].to_list() == ["complete"] * RUNS
    assert {p.name: p.read_bytes() for p in killed.rglob("*.safetensors")} == {
        p.name: p.read_bytes() for p in whole.rglob("*.safetensors")
    }


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes through /proc")
def test_a_zoo_that_was_killed_five_times_is_the_one_that_was_not(tmp_path):
    check(tmp_path, kills=5, seed=0)


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes through /proc")
def test_a_zoo_that_was_killed_25_times_is_the_one_that_was_not(tmp_path):
    check(tmp_path, kills=25, seed=1)


@pytest.mark.slow
def test_only_runs_in_flight_are_repeated(tmp_path):
    """A run whose file is there is never trained again: the log has it once."""
    space = tmp_path / "tiny.toml"
    space.write_text(
        'dataset = "digits"\nbatch_size = 32\nfilter_size = 3\ndepth_conv = 3\nwidth_conv = 2\nwidth_fc = 16\n'
    )
    zoo = tmp_path / "zoo"
    parent = subprocess.Popen(command(zoo, space), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while len(list(zoo.rglob("*.safetensors"))) < RUNS // 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    parent.kill()
    parent.wait()
    subprocess.run(command(zoo, space), check=True, capture_output=True)
    trained = Counter(json.loads(line)["run"] for line in (zoo / "log.jsonl").read_text().splitlines())
    assert max(trained.values()) == 1
    assert len(trained) >= RUNS - WORKERS
