import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.conftest import TINY, TINY_SPACE, sample_tiny
from tests.faults import DIE_IN_RUN_2, hook_training
from weightprint import Space
from weightprint.errors import DataError, RecipeMismatch, SetupError, ZooError
from weightprint.sampling import sample as sampling
from weightprint.sampling.jobs import time_run
from weightprint.sampling.sample import estimate, merge, plan
from weightprint.zoo import Zoo


def checksums(path):
    return dict(Zoo(path).index.select("number", "sha256").iter_rows())


def files(path):
    return {p.name: p.read_bytes() for p in sorted((path / "runs").rglob("*.safetensors"))}


@pytest.mark.slow
def test_one_worker_makes_the_same_bytes_as_two(sampled_zoo, tmp_path):
    sample_tiny(tmp_path / "one", workers=1)
    assert files(tmp_path / "one") == files(sampled_zoo)


@pytest.mark.slow
def test_the_same_command_goes_on_where_it_stopped(zoo_copy, sampled_zoo):
    for number in (1, 4):
        (zoo_copy / "runs" / "0000" / f"{number:07d}.safetensors").unlink()
    result = sample_tiny(zoo_copy)
    assert result.sampled == 2
    assert files(zoo_copy) == files(sampled_zoo)
    assert sample_tiny(zoo_copy).training_samples == 0


@pytest.mark.slow
def test_more_runs_extend_a_zoo_and_change_none(zoo_copy, sampled_zoo):
    result = sample_tiny(zoo_copy, runs=8)
    assert result.sampled == 2
    assert result.to_json()["runs"] == 8
    assert {k: v for k, v in checksums(zoo_copy).items() if k < 6} == checksums(sampled_zoo)


@pytest.mark.slow
def test_a_damaged_run_is_made_again(zoo_copy, sampled_zoo):
    path = zoo_copy / "runs" / "0000" / "0000003.safetensors"
    path.write_bytes(path.read_bytes()[:3000])
    assert sample_tiny(zoo_copy).sampled == 1
    assert files(zoo_copy) == files(sampled_zoo)


@pytest.mark.slow
def test_parts_sampled_apart_merge_into_the_same_zoo(sampled_zoo, tmp_path):
    sample_tiny(tmp_path / "a", range="0-2")
    sample_tiny(tmp_path / "b", range="3-5")
    assert Zoo(tmp_path / "b").numbers == [3, 4, 5]
    document = merge(tmp_path / "whole", [tmp_path / "a", tmp_path / "b"])
    assert document["copied"] == 6
    assert files(tmp_path / "whole") == files(sampled_zoo)
    assert merge(tmp_path / "whole", [tmp_path / "a"])["copied"] == 0


def test_merging_leaves_out_damaged_runs_and_names_them(sampled_zoo, zoo_copy, tmp_path):
    path = zoo_copy / "runs" / "0000" / "0000003.safetensors"
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    document = merge(tmp_path / "whole", [zoo_copy])
    assert document["copied"] == 5
    assert [d["run"] for d in document["damaged"]] == [3]


@pytest.mark.slow
def test_zoos_of_other_recipes_do_not_merge(sampled_zoo, tmp_path):
    sample_tiny(tmp_path / "other", runs=1, seed=5)
    with pytest.raises(RecipeMismatch, match="seed is 0 there and 5 here"):
        merge(tmp_path / "whole", [sampled_zoo, tmp_path / "other"])
    assert not (tmp_path / "whole").exists()


def test_another_recipe_in_the_same_folder_is_refused_and_harms_nothing(zoo_copy, sampled_zoo):
    with pytest.raises(RecipeMismatch, match="max_epochs is 3 there and 4 here"):
        sample_tiny(zoo_copy, max_epochs=4)
    assert files(zoo_copy) == files(sampled_zoo)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"train_size": 10**6}, DataError, "largest train size that fits is 1400"),
        ({"train_size": 105}, DataError, "multiple of 10"),
        ({"datasets": ["digts"]}, DataError, "no data set digts fetched, added or bundled .*did you mean 'digits'"),
        ({"train_size": 30}, DataError, "fewer than one batch of 32"),
        ({"snapshots": 5}, SetupError, "5 snapshots need at least 4 epochs, not 3"),
        ({"range": "4-2"}, SetupError, "range must be two run numbers"),
        ({"range": "4-9"}, SetupError, "range must be two run numbers"),
        ({"runs": 0}, SetupError, "runs must be at least 1"),
        ({"data": "no-such-folder"}, DataError, "no-such-folder"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_trains(tmp_path, options, error, says):
    options = {"runs": 6, **TINY, **options}
    with pytest.raises(error, match=says):
        plan(tmp_path / "zoo", TINY_SPACE, options.pop("runs"), **options)
    assert not (tmp_path / "zoo").exists()


@pytest.mark.parametrize("space", ["main", "fixed", "wild"])
def test_where_a_data_set_of_a_space_is_missing_the_error_says_which_would_do(tmp_path, space):
    """Ready to copy: those of the space that are there, in its order, or all that are there when none is."""
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (20, 8, 8), dtype=np.uint8), np.arange(20) % 10
    for name in ("fashion_mnist", "mine", "mnist"):
        np.savez(tmp_path / f"{name}.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    with pytest.raises(DataError, match=f"no data set cifar10, svhn, stl10 in {tmp_path} or bundled") as caught:
        plan(tmp_path / "zoo", space, 6, data=tmp_path)
    assert caught.value.hint.startswith("--datasets mnist,fashion_mnist; ")
    assert "mine" in caught.value.hint
    absent = "mnist, cifar10, svhn, stl10, fashion_mnist"
    with pytest.raises(DataError, match=f"no data set {absent} fetched, added or bundled") as caught:
        plan(tmp_path / "zoo", space, 6)
    assert caught.value.hint.startswith("--datasets digits,photo_patches,shapes; ")
    assert "weightprint data fetch mnist, or give --data DIR" in caught.value.hint


def test_without_sizes_the_largest_that_fit_all_data_sets_are_taken(tmp_path):
    recipe = plan(tmp_path, TINY_SPACE, 1, max_epochs=3, snapshots=4).recipe
    assert (recipe.train_size, recipe.test_size) == (1400, 340)


@pytest.mark.slow
def test_a_run_that_kills_its_workers_is_marked_failed_and_the_rest_goes_on(tmp_path, monkeypatch):
    hook_training(tmp_path, monkeypatch, DIE_IN_RUN_2.format(condition=""))
    result = sample_tiny(tmp_path / "zoo", workers=2)
    assert result.counts == {"complete": 5, "failed": 1}
    failed = result.zoo[2]
    assert failed.reason == "worker killed by signal 9"
    assert failed.weights.shape[0] == 0
    assert result.zoo.verify() == []


@pytest.mark.slow
def test_an_interrupt_leaves_a_good_zoo_that_can_be_completed(sampled_zoo, tmp_path):
    space = tmp_path / "tiny.toml"
    space.write_text(
        'dataset = ["digits", "shapes"]\nbatch_size = 32\nfilter_size = 3\ndepth_conv = 3\n'
        "depth_fc = 2\nwidth_conv = 2\nwidth_fc = 20\n"
    )
    assert Space.from_toml(space) == TINY_SPACE
    zoo = tmp_path / "zoo"
    command = ["sample", str(zoo), "--space", str(space), "--runs", "6", "--train-size", "100", "--test-size", "50",
               "--max-epochs", "3", "--snapshots", "4", "--json"]  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "weightprint.cli", *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 180  # a first call compiles the kernels
    while not list(zoo.glob("runs/*/0*.safetensors")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert json.loads(out)["error"]["kind"] == "interrupted"
    assert 1 <= len(Zoo(zoo)) < 6
    assert Zoo(zoo).verify() == []
    sample_tiny(zoo)
    assert files(zoo) == files(sampled_zoo)


@pytest.mark.slow
def test_workers_end_with_their_parent(tmp_path):
    code = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from tests.conftest import sample_tiny\n"
        "sample_tiny(sys.argv[1], runs=50, workers=2)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "zoo"), os.getcwd()])
    deadline = time.monotonic() + 60
    while not list(tmp_path.rglob("0*.safetensors")) and time.monotonic() < deadline:
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    time.sleep(0.5)
    count = len(list(tmp_path.rglob("*.safetensors")))
    time.sleep(1.5)
    assert len(list(tmp_path.rglob("*.safetensors"))) == count < 50
    assert Zoo(tmp_path / "zoo").verify() == []


@pytest.mark.slow
def test_batches_as_large_as_what_is_timed_are_timed_too(tmp_path):
    """The timed images are balanced as well: 1,024 images would leave 1,020."""
    asked = plan(tmp_path, TINY_SPACE.replace(batch_size=1024), 1, max_epochs=3, snapshots=4)
    assert 0 < time_run(asked.recipe, 0, asked.images, device="cpu") < 60


@pytest.mark.slow
def test_an_estimate_trains_nothing_and_writes_nothing(tmp_path):
    sampling_plan = plan(tmp_path / "zoo", TINY_SPACE, 100, **TINY)
    document = estimate(sampling_plan, workers=2)
    assert not (tmp_path / "zoo").exists()
    assert document["missing"] == 100
    assert 0 < document["hours"] < 1
    assert document["upper_bound"] is False
    sizes = [sampling.Layout.of(TINY_SPACE.draw(0, run)).size * 4 * 4e-9 for run in range(100)]
    assert document["gigabytes"] == pytest.approx(sum(sizes), rel=0.02, abs=1e-4)


def test_an_unwritable_folder_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises((ZooError, OSError), match="file"):
        sample_tiny(tmp_path / "file" / "zoo")
