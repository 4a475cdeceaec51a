import dataclasses

import numpy as np
import pytest

from weightprint.study.baseline_trials import BaselineTrial, run_baseline_trial
from weightprint.study.table import load_table, read_table
from weightprint.study.trials import Trial, run_trial
from weightprint.zoo import in_test_part

LAST = ((4, 4),)
TRIAL = Trial("optimizer", (4, 4), LAST, iterations=30)


def score(table, trial, which=0):
    return run_trial(table, trial)["scores"][which]


def test_a_planted_footprint_is_found_and_its_interval_lies_above_the_baseline(table):
    found = score(table, TRIAL)
    assert found["value"] > 0.9
    assert found["low"] > max(found["chance"], found["majority"])
    assert np.sum(found["confusion"]) == found["n_runs"]


def test_only_test_runs_of_the_split_are_scored_and_none_is_trained_on(table):
    found = score(table, TRIAL)
    wanted = {run["number"] for run in table.runs if in_test_part(run["identity"])}
    assert {int(number) for number in found["per_run"]} == wanted
    assert found["n_train_runs"] == len(table.runs) - len(wanted)


def test_a_run_that_is_tested_in_several_splits_counts_once(table):
    seeds = (0, 1, 2)
    found = score(table, dataclasses.replace(TRIAL, split_seeds=seeds))
    tested = {run["number"] for run in table.runs for s in seeds if in_test_part(run["identity"], split_seed=s)}
    assert found["n_runs"] == len(tested)


def test_what_is_written_late_is_not_named_early_and_does_not_transfer(table):
    moments = ((1, 1), (4, 4))
    late = run_trial(table, Trial("optimizer", (4, 4), moments, iterations=30))["scores"]
    early = run_trial(table, Trial("optimizer", (1, 1), moments, iterations=30))["scores"]
    assert late[1]["value"] > 0.9
    assert late[0]["low"] <= max(late[0]["chance"], late[0]["majority"])
    assert early[0]["low"] <= max(early[0]["chance"], early[0]["majority"])


@pytest.mark.parametrize(("tensors", "found"), [(("conv2/kernel",), True), (("conv1/kernel", "fc1/kernel"), False)])
def test_a_footprint_is_found_only_in_the_tensor_that_carries_it(table, tensors, found):
    result = score(table, dataclasses.replace(TRIAL, tensors=tensors))
    assert (result["low"] > max(result["chance"], result["majority"])) == found


def test_conditions_on_either_side_hold_and_left_out_runs_are_all_tested(table):
    trial = dataclasses.replace(
        TRIAL, train_where=(("dataset", ("mnist", "svhn")),), test_where=(("dataset", ("cifar10",)),)
    )
    found = score(table, trial)
    left_out = {run["number"] for run in table.runs if run["properties"]["dataset"] == "cifar10"}
    assert {int(number) for number in found["per_run"]} == left_out
    others = [r for r in table.runs if r["properties"]["dataset"] != "cifar10"]
    assert found["n_train_runs"] == sum(not in_test_part(r["identity"]) for r in others)
    assert found["low"] > max(found["chance"], found["majority"])


def test_a_larger_share_of_the_training_runs_is_more_of_them(table):
    few, many = (score(table, dataclasses.replace(TRIAL, train_share=s))["n_train_runs"] for s in (0.25, 0.5))
    assert 0 < few < many < score(table, TRIAL)["n_train_runs"]


def test_a_number_is_regressed(table):
    found = score(table, Trial("test_accuracy", (4, 4), LAST, iterations=30))
    assert found["measure"] == "r2"
    assert found["chance"] is None
    assert found["low"] <= 0  # nothing in the weights tells it


def test_what_cannot_be_done_gives_a_reason(table):
    where = (("dataset", ("mnist",)),)
    result = run_trial(table, Trial("dataset", (4, 4), LAST, train_where=where, test_where=where))
    assert "2 classes" in result["reason"]


def test_layer_trees_find_the_same_footprint_and_statistics_left_out_are_not_read(planted, tmp_path):
    path = read_table(planted, tmp_path, "layer_trees", without=("moving_statistics",), workers=2)
    reduced = load_table(str(path))
    assert not any("moving" in name for name in reduced.names)
    assert any("moving" in name for name in load_table(str(read_table(planted, tmp_path, "layer_trees"))).names)
    trial = dataclasses.replace(TRIAL, model="layer_trees", without=("moving_statistics",))
    assert score(reduced, trial)["value"] > 0.9


@pytest.mark.parametrize(("seed", "shares"), [(7, True), (8, False), (None, False)])
def test_a_set_up_that_was_trained_on_is_not_tested_on_in_another_zoo_of_the_same_seed(table, seed, shares):
    trained = dataclasses.replace(table, seed=7 if seed else None)
    other_runs = [{**run, "identity": f"other:{run['number']}"} for run in table.runs]
    other = dataclasses.replace(table, seed=seed, runs=other_runs)
    found = run_trial(trained, TRIAL, tested=other)["scores"][0]
    numbers = {run["number"] for run in table.runs}
    trained_on = {run["number"] for run in table.runs if not in_test_part(run["identity"])}
    assert {int(number) for number in found["per_run"]} == (numbers - trained_on if shares else numbers)


def test_baselines_read_no_weights_and_tell_nothing_of_what_lies_in_them(planted):
    trial = BaselineTrial("optimizer", (3, 4), "fields", (0, 1))
    found = run_baseline_trial(planted, trial)["scores"][0]
    assert found["low"] <= max(found["chance"], found["majority"])
    tested = {run.number for run in planted for s in (0, 1) if in_test_part(run.identity, split_seed=s)}
    assert found["n_runs"] == len(tested)
