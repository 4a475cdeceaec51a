"""Recording a PyTorch loop: which snapshots are kept, in what layout, and what is left when the process dies."""

import json
import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import weightprint as wp
from tests.formats.architectures import VGG, LeNet
from weightprint.cli.main import main
from weightprint.errors import RecipeMismatch, ZooError
from weightprint.formats import open_checkpoint
from weightprint.formats.layout import layout_of, weight_vector
from weightprint.formats.recorder import standard_name
from weightprint.formats.recordings import RECORDINGS_FOLDER, evenly_spaced
from weightprint.zoo.index import run_path


def filled(value):
    """A module whose only weight says when it was recorded."""
    module = nn.Linear(1, 1, bias=False)
    nn.init.constant_(module.weight, value)
    return module


def record_numbers(zoo, count, **options):
    with wp.Recorder(zoo, **options) as recorder:
        for i in range(count):
            recorder.record(filled(i), epoch=i)
    return wp.Zoo(zoo)[recorder.number]


@pytest.mark.parametrize("count", [1, 2, 5, 6, 10, 11, 37, 200])
def test_snapshots_are_evenly_spaced_whatever_the_length(tmp_path, count):
    run = record_numbers(tmp_path / "zoo", count, snapshots=5)
    recorded = run.weights[:, 0].astype(int).tolist()
    assert len(recorded) == min(count, 5)
    assert recorded[0] == 0
    assert recorded[-1] == count - 1
    wanted = np.linspace(0, count - 1, len(recorded))
    assert np.abs(np.array(recorded) - wanted).max() <= max(1, count / 10)
    assert [row["record"] for row in run.measurements] == recorded
    assert run.curve[:, 0].tolist() == list(range(count))


def test_what_lies_on_disk_meanwhile_is_bounded(tmp_path):
    recorder = wp.Recorder(tmp_path / "zoo", snapshots=4)
    for i in range(100):
        recorder.record(filled(i))
        assert len(list((tmp_path / "zoo" / RECORDINGS_FOLDER).glob("*/*.npy"))) <= 8
    assert len(wp.Zoo(tmp_path / "zoo")) == 0
    recorder.close()
    recorder.close()
    assert not list((tmp_path / "zoo" / RECORDINGS_FOLDER).iterdir())


@given(st.sets(st.integers(0, 10_000), min_size=1, max_size=60), st.integers(1, 30))
def test_the_chosen_are_ascending_and_hold_the_last(numbers, count):
    numbers = sorted(numbers)
    chosen = evenly_spaced(numbers, count)
    assert chosen == sorted(set(chosen))
    assert len(chosen) == min(count, len(numbers))
    assert chosen[-1] == numbers[-1]
    assert count == 1 or chosen[0] == numbers[0]
    assert set(chosen) <= set(numbers)


@pytest.mark.parametrize("make", [LeNet, VGG])
def test_a_recorded_network_has_the_layout_and_weights_of_its_own_checkpoint(tmp_path, make):
    module = make()
    with wp.Recorder(tmp_path / "zoo") as recorder:
        recorder.record(module)
    torch.save(module.state_dict(), tmp_path / "saved.pt")
    checkpoint = open_checkpoint(tmp_path / "saved.pt")
    run = wp.Zoo(tmp_path / "zoo")[0]
    layout = layout_of(checkpoint.tensors, graph=checkpoint.graph, flatten_order=checkpoint.flatten_order)
    assert run.layout == layout
    assert np.array_equal(run.weights, weight_vector(checkpoint.tensors, layout))


def test_shared_weights_half_precision_and_wrappers(tmp_path):
    net = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    net[1].weight = net[0].weight
    with wp.Recorder(tmp_path / "zoo") as recorder:
        recorder.record(nn.DataParallel(net.to(torch.bfloat16)))
    run = wp.Zoo(tmp_path / "zoo")[0]
    assert [(t.source, t.tied_to) for t in run.layout] == [("0.weight", None), ("1.weight", "0/kernel")]
    assert np.array_equal(run.weights[0, :9], net[0].weight.detach().float().numpy().ravel())


def test_metrics_get_their_standard_names_and_what_is_no_number_is_refused(tmp_path):
    recorder = wp.Recorder(tmp_path / "zoo", {"optimizer": "adam"}, test_images=1000)
    recorder.record(filled(0))
    recorder.record(filled(1), epoch=1, val_acc=torch.tensor(0.5), test_accuracy=0.9, lr=float("nan"))
    with pytest.raises(ZooError, match="metric lr must be a number, not 'high'"):
        recorder.record(filled(2), lr="high")
    recorder.close()
    run = wp.Zoo(tmp_path / "zoo")[0]
    assert run.measurements[0] | {"record": 0} == {
        **{"snapshot": 1, "record": 0, "epoch": None, "validation_accuracy": None, "test_accuracy": None, "lr": None}
    }
    assert run.measurements[1]["validation_accuracy"] == 0.5
    assert run.curve_columns == ("epoch", "lr", "test_accuracy", "validation_accuracy")
    assert np.isnan(run.curve[1, 1])
    assert run.converged
    assert [standard_name(n) for n in ("eval/loss", "valid_acc", "lr", "loss")] == [
        *("validation_loss", "validation_accuracy", "lr", "loss")
    ]


def test_learning_is_judged_against_guessing_among_the_classes_that_were_told(tmp_path):
    for classes in (None, 100):  # a network of one output tells two classes apart
        with wp.Recorder(tmp_path / "zoo", test_images=1000, classes=classes) as recorder:
            recorder.record(filled(0), test_accuracy=0.2)
    assert [run.converged for run in wp.Zoo(tmp_path / "zoo")] == [False, True]
    with pytest.raises(ZooError, match="classes must be at least 2, not 1"):
        wp.Recorder(tmp_path / "zoo", classes=1)


def test_a_diverged_training_keeps_what_was_finite(tmp_path):
    with wp.Recorder(tmp_path / "zoo") as recorder:
        for value in (0.0, 1.0, float("nan"), 2.0):
            recorder.record(filled(value), loss=value)
    run = wp.Zoo(tmp_path / "zoo")[0]
    assert (run.status, run.weights[:, 0].tolist()) == ("diverged", [0.0, 1.0])
    assert run.reason == "weights became infinite or NaN at record 2 of 4"
    assert len(run.curve) == 4


def test_what_cannot_be_recorded_is_refused(tmp_path, sampled_zoo):
    with pytest.raises(ZooError, match="no property can be named 'status'"):
        wp.Recorder(tmp_path / "zoo", {"status": "good"})
    with pytest.raises(ZooError, match="the property rule must be a JSON value"):
        wp.Recorder(tmp_path / "zoo", {"rule": torch.optim.SGD})
    with pytest.raises(RecipeMismatch):
        wp.Recorder(sampled_zoo)
    recorder = wp.Recorder(tmp_path / "zoo")
    recorder.record(filled(0))
    with pytest.raises(ZooError, match="other tensors than at the first record"):
        recorder.record(nn.Linear(2, 1))
    recorder.close()
    with pytest.raises(ZooError, match="has ended"):
        recorder.record(filled(0))


def test_nothing_recorded_leaves_nothing(tmp_path):
    assert wp.Recorder(tmp_path / "zoo").close() is None
    assert len(wp.Zoo(tmp_path / "zoo")) == 0
    assert not list((tmp_path / "zoo" / RECORDINGS_FOLDER).iterdir())


def test_an_exception_leaves_a_recording_that_can_be_made_a_run(tmp_path):
    zoo = tmp_path / "zoo"

    def train():
        with wp.Recorder(zoo, {"lr": 1.0}, snapshots=2) as recorder:
            for i in range(7):
                recorder.record(filled(i), epoch=i)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train()
    assert len(wp.Zoo(zoo)) == 0
    assert wp.recover(zoo) == [0]
    assert wp.recover(zoo) == []
    run = wp.Zoo(zoo)[0]
    assert run.weights[:, 0].tolist() == [0, 6]
    assert (run.status, run.reason, run.properties) == ("complete", "cut off after 7 records", {"lr": 1.0})


TRAINING = textwrap.dedent("""
    import sys, torch
    import weightprint as wp
    module = torch.nn.Linear(100, 100)
    recorder = wp.Recorder(sys.argv[1], setup={"optimizer": "sgd"}, snapshots=3)
    for step in range(int(sys.argv[2])):
        torch.nn.init.constant_(module.weight, step)
        recorder.record(module, step=step)
        if step == 20:
            print("recording", flush=True)
    recorder.close()
""")


def start(zoo, steps):
    arguments = [sys.executable, "-c", TRAINING, str(zoo), str(steps)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


@pytest.mark.slow
def test_a_killed_process_leaves_no_half_written_run_and_what_it_recorded(tmp_path, capsys):
    zoo = tmp_path / "zoo"
    process = start(zoo, 10**9)
    try:
        assert process.stdout.readline() == "recording\n"
        assert wp.recover(zoo) == []  # it lives
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    assert len(wp.Zoo(zoo)) == 0
    assert main(["verify", str(zoo)]) == 0
    assert main(["recover", str(zoo)]) == 0
    run = wp.Zoo(zoo)[0]
    assert run.load().status == "complete"
    records = [row["record"] for row in run.measurements]
    assert len(records) == 3
    assert records[-1] >= 16
    assert [int(w[0]) for w in run.weights] == records == [row["step"] for row in run.measurements]
    assert main(["verify", str(zoo)]) == 0
    assert "recovered 1" in capsys.readouterr().out


def test_a_process_killed_between_writing_the_run_and_tidying_up(tmp_path):
    zoo = tmp_path / "zoo"
    recorder = wp.Recorder(zoo)
    recorder.record(filled(1))
    folder = zoo / RECORDINGS_FOLDER / "0000000"
    kept = {path.name: path.read_bytes() for path in folder.iterdir()}
    recorder.close()
    before = run_path(zoo, 0).read_bytes()
    folder.mkdir()
    for name, data in kept.items():
        (folder / name).write_bytes(data)
    assert wp.recover(zoo) == []
    assert not folder.exists()
    assert run_path(zoo, 0).read_bytes() == before


def test_damaged_recordings_are_named(tmp_path):
    zoo = tmp_path / "zoo"
    recorder = wp.Recorder(zoo)
    for i in range(3):
        recorder.record(filled(i), epoch=i)
    recorder.__exit__(RuntimeError, RuntimeError(), None)
    folder = zoo / RECORDINGS_FOLDER / "0000000"
    with open(folder / "moments.jsonl", "ab") as file:
        file.write(b'{"record": 3, "metr')  # a torn line is no record
    (folder / "0000000001.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(wp.WeightprintError, match=r"0000000001.npy cannot be read"):
        wp.recover(zoo)
    (folder / "0000000001.npy").unlink()
    assert wp.recover(zoo) == [0]
    assert wp.Zoo(zoo)[0].weights[:, 0].tolist() == [0, 2]


@pytest.mark.slow
def test_several_processes_record_into_one_zoo(tmp_path):
    zoo = tmp_path / "zoo"
    processes = [start(zoo, 30) for _ in range(3)]
    for process in processes:
        process.communicate()
        assert process.returncode == 0
    opened = wp.Zoo(zoo)
    assert opened.numbers == [0, 1, 2]
    assert len(set(opened.index["identity"])) == 3
    assert opened.verify() == []


def test_two_recorders_of_one_process(tmp_path):
    first, second = wp.Recorder(tmp_path / "zoo"), wp.Recorder(tmp_path / "zoo")
    first.record(filled(1))
    second.record(filled(2))
    assert wp.recover(tmp_path / "zoo") == []
    assert (second.close(), first.close()) == (1, 0)
    assert [run.weights[0, 0] for run in wp.Zoo(tmp_path / "zoo")] == [1, 2]


@pytest.fixture(scope="module")
def recorded_zoo(tmp_path_factory):
    """Forty really trained networks, with two optimizers."""
    zoo = tmp_path_factory.mktemp("recorded") / "zoo"
    x = torch.randn(200, 8, generator=torch.Generator().manual_seed(0))
    y = (x[:, 0] * x[:, 1] > 0).long()
    for seed in range(40):
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 2))
        name = ("sgd", "adam")[seed % 2]
        optimizer = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[name](net.parameters(), lr=0.05)
        with wp.Recorder(zoo, {"optimizer": name, "seed": seed}, snapshots=4) as recorder:
            for epoch in range(8):
                loss = nn.functional.cross_entropy(net(x), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                recorder.record(net, epoch=epoch, train_loss=loss.item())
    return zoo


def test_a_recorded_zoo_appears_in_info_and_can_be_fitted(recorded_zoo, tmp_path, capsys):
    assert main(["info", str(recorded_zoo)]) == 0
    out = capsys.readouterr().out
    assert "40 runs (40 complete)" in out
    assert "178 per snapshot" in out
    meta = str(tmp_path / "optimizer.meta")
    command = [str(recorded_zoo), meta, "--property", "optimizer", "--model", "svm", "--slice-length", "all"]
    assert main(["fit", *command]) == 0
    assert main(["evaluate", meta, str(recorded_zoo)]) == 0
    assert "accuracy" in capsys.readouterr().out


@pytest.mark.slow
def test_a_recorded_zoo_can_be_studied(recorded_zoo, tmp_path, few_results):
    assert main(["study", str(recorded_zoo), str(tmp_path / "study"), "--budget", "quick", "--workers", "1"]) == 0
    assert (tmp_path / "study" / "report.html").exists()


def test_info_shows_recordings_that_are_no_runs_yet(tmp_path, capsys):
    zoo = tmp_path / "zoo"
    left = wp.Recorder(zoo)
    left.record(filled(0))
    left.record(filled(1))
    left.__exit__(RuntimeError, RuntimeError(), None)
    going_on = wp.Recorder(zoo)
    assert main(["info", str(zoo), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["recordings"] == [
        {"run": 0, "records": 2, "goes_on": False},
        {"run": 1, "records": 0, "goes_on": True},
    ]
    assert main(["info", str(zoo)]) == 0
    assert f"run 0, 2 records, was cut off; weightprint recover {zoo}" in capsys.readouterr().out
    going_on.close()
    assert wp.recover(zoo) == [0]
    assert main(["info", str(zoo), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["recordings"] == []


@pytest.mark.parametrize(("outputs", "setup", "learned"), [(2, {}, False), (2, {"classes": 3}, True), (10, {}, True)])
def test_whether_a_run_learned_is_judged_by_the_chance_level_of_its_classes(tmp_path, outputs, setup, learned):
    with wp.Recorder(tmp_path / "zoo", setup, test_images=1000) as recorder:
        recorder.record(nn.Linear(3, outputs), test_accuracy=0.5)
    assert wp.Zoo(tmp_path / "zoo")[0].converged is learned


DISTRIBUTED = textwrap.dedent("""
    import sys, torch
    import torch.distributed as dist
    import weightprint as wp
    dist.init_process_group("gloo")
    torch.manual_seed(dist.get_rank())
    net = torch.nn.parallel.DistributedDataParallel(torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Linear(3, 2)))
    step = torch.optim.SGD(net.parameters(), lr=0.1)
    with wp.Recorder(sys.argv[1], setup={"optimizer": "sgd"}, snapshots=3) as recorder:
        for epoch in range(5):
            step.zero_grad()
            net(torch.randn(8, 4)).square().mean().backward()
            step.step()
            recorder.record(net, epoch=epoch)
    torch.save(net.module.state_dict(), f"{sys.argv[2]}-{dist.get_rank()}.pt")
    assert (recorder.number is None) == (dist.get_rank() > 0)
    dist.destroy_process_group()
""")


@pytest.mark.long
def test_of_two_processes_that_train_one_network_the_first_records(tmp_path):
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {**os.environ, "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    arguments = [sys.executable, "-c", DISTRIBUTED, str(tmp_path / "zoo"), str(tmp_path / "saved")]
    processes = [
        subprocess.Popen(arguments, env={**shared, "WORLD_SIZE": "2", "RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in (0, 1)
    ]
    assert [process.wait(timeout=300) for process in processes] == [0, 0]
    (run,) = wp.Zoo(tmp_path / "zoo")
    assert [row["epoch"] for row in run.measurements] == [0, 2, 4]
    assert [t.source for t in run.layout] == ["0.weight", "0.bias", "1.weight", "1.bias"]
    checkpoint = open_checkpoint(tmp_path / "saved-0.pt")
    assert np.array_equal(run.snapshot(3), weight_vector(checkpoint.tensors, layout_of(checkpoint.tensors))[0])
    assert not list((tmp_path / "zoo" / RECORDINGS_FOLDER).iterdir())
