import json
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import sample_tiny
from weightprint.errors import CorruptFile, RecipeMismatch, ZooError
from weightprint.images import load, prepare
from weightprint.setups import Setup
from weightprint.setups.recipe import Recipe
from weightprint.training.vectors import to_vector
from weightprint.zoo import Zoo, in_test_part, write_run
from weightprint.zoo.index import converged
from weightprint.zoo.layout import Layout, Tensor
from weightprint.zoo.runfile import RunRecord


def run_file(zoo, number):
    return zoo / "runs" / "0000" / f"{number:07d}.safetensors"


def flip(path, offset):
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


def test_a_zoo_lists_its_runs_with_their_setups(sampled_zoo):
    zoo = Zoo(sampled_zoo)
    assert zoo.numbers == [0, 1, 2, 3, 4, 5]
    for run in zoo:
        assert run.setup == zoo_recipe(zoo).draw(run.number)
        assert run.weights.shape == (4, run.layout.size)
        assert run.weights.dtype == np.float32
        assert [m["snapshot"] for m in run.measurements] == [1, 2, 3, 4]
    assert set(zoo.index.columns) >= {"number", "status", "optimizer", "learning_rate", "final_test_accuracy"}


def zoo_recipe(zoo):
    return Recipe.from_json(zoo.recipe)


def test_a_snapshot_becomes_a_module_that_scores_as_it_was_measured(sampled_zoo):
    zoo = Zoo(sampled_zoo)
    run = zoo[3]
    images = prepare(load(run.setup.dataset), train_size=100, test_size=50, seed=0)
    for number in (1, 4):
        module = run.module(number)
        assert not module.training
        assert np.array_equal(to_vector(module).numpy(), run.snapshot(number))
        x = torch.from_numpy(images.x_test).permute(0, 3, 1, 2) / 255
        accuracy = (module(x).argmax(1).numpy() == images.y_test).mean()
        assert accuracy == pytest.approx(run.measurements[number - 1]["test_accuracy"], abs=0.021)


def test_a_run_or_snapshot_that_is_not_there_is_named(sampled_zoo):
    zoo = Zoo(sampled_zoo)
    with pytest.raises(ZooError, match="no run 6 .* 6 runs numbered from 0 to 5"):
        zoo[6]
    with pytest.raises(ZooError, match="snapshots 1 to 4, not 0"):
        zoo[0].snapshot(0)


def test_select_takes_values_lists_and_expressions(sampled_zoo):
    zoo = Zoo(sampled_zoo)
    adam = zoo.select(optimizer="adam")
    assert {run.setup.optimizer for run in adam} <= {"adam"}
    assert len(adam) + len(zoo.select(optimizer=["rmsprop", "momentum"])) == len(zoo)
    assert zoo.select(pl.col("number") > 2, numbers=[1, 4]).numbers == [4]
    assert len(zoo.select(converged=True)) + len(zoo.select(converged=False)) == len(zoo)
    with pytest.raises(ZooError, match="did you mean 'optimizer'"):
        zoo.select(optimiser="adam")


def test_a_split_parts_the_runs_and_another_seed_parts_them_otherwise(sampled_zoo):
    zoo = Zoo(sampled_zoo)
    sides = [
        {n: n in test.numbers for n in zoo.numbers} for _, test in (zoo.split(0.5, split_seed=s) for s in range(8))
    ]
    for seed in range(8):
        train, test = zoo.split(0.5, split_seed=seed)
        assert sorted(train.numbers + test.numbers) == zoo.numbers
    assert any(side != sides[0] for side in sides[1:])


@given(st.text(max_size=20), st.integers(0, 100), st.floats(0.01, 0.98))
def test_a_larger_test_part_contains_the_smaller(identity, seed, fraction):
    if in_test_part(identity, fraction, split_seed=seed):
        assert in_test_part(identity, fraction + 0.01, split_seed=seed)


def test_a_quarter_of_all_runs_are_test_runs():
    share = np.mean([in_test_part(f"recipe:{number}") for number in range(20_000)])
    assert share == pytest.approx(0.25, abs=0.01)


def test_a_run_of_which_it_is_not_known_has_neither_learned_nor_failed_to(sampled_zoo):
    zoo = Zoo(sampled_zoo)
    zoo.index = zoo.index.with_columns(converged=pl.Series([True, False, None, False, None, True]))
    assert zoo.select(converged=False).numbers == [1, 3]
    assert zoo.select(converged=True).numbers == [0, 2, 4, 5]


@pytest.mark.parametrize(("images", "classes"), [(100, 10), (500, 10), (2000, 2), (5000, 100)])
def test_a_run_has_converged_when_a_binomial_test_says_so(images, classes):
    for correct in range(images // classes // 2, images // classes * 3 // 2):
        p = scipy.stats.binomtest(correct, images, 1 / classes, alternative="greater").pvalue
        assert converged("complete", correct / images, images, classes) == (p < 0.001)
    assert converged("complete", None, images, classes) is None
    assert converged("complete", 1.0, images, None) is None
    assert converged("diverged", 1.0, images, classes) is False


def test_chance_is_that_of_each_runs_own_classes(tmp_path):
    tensors = [Tensor("output/kernel", "kernel", "fc", (3, 4), 0, "w", "oi")]
    run = {"status": "complete", "reason": "", "layout": Layout(tensors), "weights": np.ones((1, 12), np.float32)}
    zoo = Zoo.create(tmp_path / "zoo", {"imported": "somewhere"})
    for number, known in enumerate(({}, {"test_classes": 2}, {"test_classes": 100}, {"properties": Setup().to_dict()})):
        # 16 of 100 right are far above guessing among 100, near guessing among ten, below it among three
        kept = {"properties": {}, "test_images": 100, "measurements": [{"snapshot": 1, "test_accuracy": 0.16}], **known}
        write_run(zoo.path, RunRecord(number=number, identity=str(number), **run, **kept))
    zoo = zoo.refresh()
    assert zoo.index["converged"].to_list() == [False, False, True, False]
    assert zoo[2].load().test_classes == 100
    assert zoo[0].load().test_classes is None


def test_an_untouched_zoo_verifies(sampled_zoo):
    assert Zoo(sampled_zoo).verify() == []


@pytest.mark.parametrize("where", ["weights", "label"])
def test_a_flipped_bit_is_found_and_named_and_harms_no_other_run(zoo_copy, where):
    path = run_file(zoo_copy, 2)
    in_a_label = path.read_bytes().index(b"learning_rate") + len('learning_rate\\":0.00')
    flip(path, path.stat().st_size - 1000 if where == "weights" else in_a_label)
    problems = Zoo(zoo_copy).verify()
    assert [p["run"] for p in problems] == [2]
    assert "damaged" in problems[0]["problem"]
    with pytest.raises(CorruptFile, match="0000002"):
        Zoo(zoo_copy)[2].weights  # noqa: B018
    assert Zoo(zoo_copy)[3].weights.shape[0] == 4


def test_a_truncated_run_is_listed_as_unreadable_and_left_out_of_splits(zoo_copy):
    path = run_file(zoo_copy, 2)
    path.write_bytes(path.read_bytes()[:5000])
    zoo = Zoo(zoo_copy)
    assert zoo.info()["status"] == {"complete": 5, "unreadable": 1}
    assert [p["run"] for p in zoo.verify()] == [2]
    train, test = zoo.split(0.5)
    assert sorted(train.numbers + test.numbers) == [0, 1, 3, 4, 5]


def test_a_moved_file_and_a_stray_one_are_found(zoo_copy):
    run_file(zoo_copy, 5).rename(run_file(zoo_copy, 7))
    (zoo_copy / "runs" / "0000" / "notes.txt").write_text("mine")
    problems = Zoo(zoo_copy).verify()
    assert problems[0]["run"] == 7
    assert "notes.txt is no run file" in problems[1]["problem"]


@pytest.mark.slow
def test_a_run_of_another_recipe_is_found(zoo_copy, tmp_path):
    sample_tiny(tmp_path / "other", runs=1, seed=1)
    run_file(zoo_copy, 0).write_bytes(run_file(tmp_path / "other", 0).read_bytes())
    problems = Zoo(zoo_copy).verify()
    assert [p["run"] for p in problems] == [0]
    assert "another recipe" in problems[0]["problem"]


@pytest.mark.parametrize("content", [None, b"", b"PAR1 garbage"])
def test_a_lost_or_broken_index_is_made_again(zoo_copy, content):
    before = Zoo(zoo_copy).index
    index = zoo_copy / "index.parquet"
    index.unlink() if content is None else index.write_bytes(content)
    assert Zoo(zoo_copy).index.equals(before)


def test_the_index_follows_added_changed_and_removed_files(zoo_copy):
    assert len(Zoo(zoo_copy)) == 6
    data = run_file(zoo_copy, 5).read_bytes()
    run_file(zoo_copy, 5).unlink()
    assert Zoo(zoo_copy).numbers == [0, 1, 2, 3, 4]
    run_file(zoo_copy, 5).write_bytes(data)
    assert Zoo(zoo_copy).numbers == [0, 1, 2, 3, 4, 5]


def test_a_zoo_file_that_was_changed_is_refused(zoo_copy):
    path = zoo_copy / "zoo.json"
    header = json.loads(path.read_text())
    header["recipe"]["seed"] = 1
    path.write_text(json.dumps(header))
    with pytest.raises(CorruptFile, match="does not match its checksum"):
        Zoo(zoo_copy)
    path.write_text("{")
    with pytest.raises(CorruptFile, match="not valid JSON"):
        Zoo(zoo_copy)


def test_a_folder_that_is_no_zoo_is_refused(tmp_path):
    with pytest.raises(ZooError, match=r"has no zoo\.json"):
        Zoo(tmp_path)
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(ZooError, match="exists and is not a zoo"):
        Zoo.create(tmp_path, {})


def test_a_newer_zoo_format_is_refused(zoo_copy):
    path = zoo_copy / "zoo.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": 2}))
    with pytest.raises(ZooError, match="has zoo format 2, this version reads 1"):
        Zoo(zoo_copy)


def test_another_recipe_is_refused_naming_every_difference(zoo_copy):
    recipe = json.loads((zoo_copy / "zoo.json").read_text())["recipe"]
    other = recipe | {"seed": 7, "space": recipe["space"] | {"dropout": 0.25}}
    with pytest.raises(RecipeMismatch) as error:
        Zoo.create(zoo_copy, other)
    assert "seed is 0 there and 7 here" in str(error.value)
    assert "space.dropout is 0.5 there and 0.25 here" in str(error.value)


def test_opening_a_zoo_does_not_load_torch(sampled_zoo):
    code = "import sys, weightprint.zoo as z; z.Zoo(sys.argv[1]).verify(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code, str(sampled_zoo)], check=True)


@pytest.mark.parametrize(
    "value", ["[" * 100_000, "NaN", "1e999", '"\\ud800"'], ids=["deep", "nan", "infinite", "surrogate"]
)
def test_what_is_no_json_in_a_zoo_file_is_one_clear_error(zoo_copy, value):
    text = (zoo_copy / "zoo.json").read_text()
    (zoo_copy / "zoo.json").write_text(text.replace('"space_name": "tiny"', f'"space_name": {value}'))
    with pytest.raises(CorruptFile, match="zoo.json is not valid JSON"):
        Zoo(zoo_copy)


def test_a_zoo_file_without_what_is_informative_alone_is_read(zoo_copy):
    header = json.loads((zoo_copy / "zoo.json").read_text())
    del header["made_with"], header["space_name"]
    (zoo_copy / "zoo.json").write_text(json.dumps(header))
    assert Zoo(zoo_copy).info()["made_with"] == {}
