import dataclasses
import shutil

import numpy as np
import polars as pl
import pytest

from tests.study.conftest import changed, planted_run
from weightprint.evaluation.answers import from_json
from weightprint.evaluation.answers import table as answers_table
from weightprint.evaluation.scores import score as score_of
from weightprint.meta import fit
from weightprint.meta.view import LAST, LATER_HALF
from weightprint.study.bench import bench
from weightprint.study.cells import Cell, Cells
from weightprint.study.plans import planned_trial, rows
from weightprint.study.table import fill, fingerprint, read_table
from weightprint.study.trial import Trial, run_trial
from weightprint.zoo import Zoo, in_test_part, write_run

END = ((4, 4),)
TRIAL = Trial("optimizer", (4, 4), END, iterations=30)


def result_of(table, trial, other=None):
    others = None if other is None else other.readable(trial.tensors)
    return run_trial(table.readable(trial.tensors), trial, others)


def scores(table, trial, other=None):
    """The scores, each with the numbers of the test runs."""
    result = result_of(table, trial, other)
    tested = [{int(run.split(":")[1]) for run in from_json(kept)["run"]} for kept in result["answers"]]
    return [{**score, "tested": runs} for score, runs in zip(result["scores"], tested, strict=True)]


def score(table, trial):
    return scores(table, trial)[0]


def test_a_planted_footprint_is_found_and_its_interval_lies_above_the_baseline(table):
    found = score(table, TRIAL)
    assert found["value"] > 0.9
    assert found["low"] > max(found["chance"], found["majority"])
    assert np.sum(found["confusion"]) == found["n_runs"]


def test_only_test_runs_of_the_split_are_scored_and_none_is_trained_on(table):
    found = score(table, TRIAL)
    wanted = {run.number for run in table.runs if in_test_part(run.identity)}
    assert found["tested"] == wanted
    assert found["n_train_runs"] == len(table.runs) - len(wanted)


def test_a_run_that_is_tested_in_several_splits_counts_once(table):
    seeds = (0, 1, 2)
    found = score(table, dataclasses.replace(TRIAL, split_seeds=seeds))
    tested = {run.number for run in table.runs for s in seeds if in_test_part(run.identity, split_seed=s)}
    assert found["n_runs"] == len(tested)


def test_what_is_written_late_is_not_named_early_and_does_not_transfer(table):
    moments = ((1, 1), (4, 4))
    late = scores(table, Trial("optimizer", (4, 4), moments, iterations=30))
    early = scores(table, Trial("optimizer", (1, 1), moments, iterations=30))
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
    left_out = {run.number for run in table.runs if run.properties["dataset"] == "cifar10"}
    assert found["tested"] == left_out
    others = [r for r in table.runs if r.properties["dataset"] != "cifar10"]
    assert found["n_train_runs"] == sum(not in_test_part(r.identity) for r in others)
    assert found["low"] > max(found["chance"], found["majority"])


def test_a_larger_share_of_the_training_runs_is_more_of_them(table):
    few, many = (score(table, dataclasses.replace(TRIAL, train_share=s))["n_train_runs"] for s in (0.25, 0.5))
    assert 0 < few < many < score(table, TRIAL)["n_train_runs"]


def test_a_number_is_regressed(table):
    found = score(table, Trial("test_accuracy", (4, 4), END, iterations=30))
    assert found["measure"] == "r2"
    assert found["chance"] is None
    assert found["low"] <= 0  # nothing in the weights tells it


def test_what_cannot_be_done_gives_a_reason(table):
    where = (("dataset", ("mnist",)),)
    result = result_of(table, Trial("dataset", (4, 4), END, train_where=where, test_where=where))
    assert "2 classes" in result["reason"]


@pytest.mark.slow
def test_layer_trees_find_the_same_footprint_and_statistics_left_out_are_not_read(planted):
    without = ("moving_statistics",)
    fill(planted, [("anatomy", without)])
    reduced = read_table(planted, "anatomy", without=without)
    assert not any("moving" in name for name in reduced.names)
    assert any("moving" in name for name in read_table(planted, "anatomy").names)
    trial = dataclasses.replace(TRIAL, model="layer_trees", without=without)
    assert score(reduced, trial)["value"] > 0.9


def with_runs(table, **changes):
    """The table with other facts of its runs: field → a function of the run."""
    runs = tuple(changed(r, **{name: of(r) for name, of in changes.items()}) for r in table.runs)
    return dataclasses.replace(table, runs=runs)


@pytest.mark.parametrize("shares", [True, False])
def test_a_run_whose_kin_was_trained_on_is_not_tested_in_another_zoo(table, shares):
    trained = with_runs(table, kin=lambda r: frozenset({f"seed 7, run {r.number}"}))
    seed = 7 if shares else 8
    streams = {"kin": lambda r: frozenset({f"seed {seed}, run {r.number}"})}
    other = with_runs(table, **streams, identity=lambda r: f"other:{r.number}")
    found = scores(trained, TRIAL, other)[0]
    numbers = {run.number for run in table.runs}
    trained_on = {run.number for run in table.runs if not in_test_part(run.identity)}
    assert found["tested"] == (numbers - trained_on if shares else numbers)
    assert found["left_out"] == ({"kin": len(trained_on)} if shares else {})


def test_kin_within_one_zoo_are_not_on_both_sides_either(table):
    pairs = with_runs(table, kin=lambda r: frozenset({f"pair {r.number // 2}"}))
    found = score(pairs, TRIAL)
    trained_on = {run.kin for run in pairs.runs if not in_test_part(run.identity)}
    tested = [run for run in pairs.runs if in_test_part(run.identity)]
    apart = {run.number for run in tested if run.kin not in trained_on}
    assert found["tested"] == apart
    assert found["left_out"] == {"kin": len(tested) - len(apart)}


def stopped_early(table):
    """Every third run has only the first three of four snapshots."""
    features = table.features.copy()
    features[::3, 3] = np.nan
    short = {run.number for run in table.runs[::3]}
    table = with_runs(
        table,
        snapshots=lambda r: 3 if r.number in short else 4,
        measurements=lambda r: r.measurements[: 3 if r.number in short else 4],
    )
    return dataclasses.replace(table, features=features), short


def test_runs_with_fewer_snapshots_take_part_with_their_own_later_half_and_their_own_last(table):
    table, short = stopped_early(table)
    tested = {run.number for run in table.runs if in_test_part(run.identity)}
    assert short & tested
    for moments in (LATER_HALF, LAST):
        found = score(table, dataclasses.replace(TRIAL, train_snapshots=moments, test_snapshots=(moments,)))
        assert found["tested"] == tested
        assert found["n_train_runs"] == len(table.runs) - len(tested)
        assert found["low"] > max(found["chance"], found["majority"])
        assert found["left_out"] == {}


def test_runs_that_lack_a_moment_are_counted(table, tmp_path):
    table, short = stopped_early(table)
    tested = {run.number for run in table.runs if in_test_part(run.identity)}
    trial = dataclasses.replace(TRIAL, train_snapshots=(3, 3), test_snapshots=((3, 3), (4, 4)))
    early, late = scores(table, trial)
    assert early["tested"] == tested
    assert late["tested"] == tested - short
    assert late["left_out"] == {"no_such_snapshot": len(tested & short)}
    found = score(table, TRIAL)
    assert found["left_out"]["train_no_such_snapshot"] == len(short - tested)
    one, cells = planned_trial("q", "e", TRIAL), Cells(tmp_path, "zoo")
    cells.put(one.cell, {"scores": [{n: v for n, v in found.items() if n != "tested"}]})
    (row,) = rows([one], cells)
    assert row["left_out"] == f"{len(short & tested)} no_such_snapshot, {len(short - tested)} train_no_such_snapshot"


def answers_of(truth, answers, classes=()):
    """A table of answers: run → (truth, its answers in one split after another)."""
    splits = range(max(map(len, answers.values())))
    runs = [[run for run in answers if split < len(answers[run])] for split in splits]
    return pl.concat(
        answers_table(own, [truth[r] for r in own], [answers[r][split] for r in own], classes=classes, split=split)
        for split, own in zip(splits, runs, strict=True)
    )


def test_every_run_weighs_the_same_however_many_splits_test_it():
    truth, answers = {"1": 0, "2": 1, "3": 0}, {"1": [0, 0, 0], "2": [0], "3": [1, 0]}
    found = score_of(answers_of(truth, answers, ("adam", "sgd")))
    assert found["value"] == pytest.approx((1 + 0 + 1 / 2) / 3)  # by answers it would be 4 / 6
    assert found["majority"] == pytest.approx(2 / 3)


def test_errors_are_averaged_over_splits_and_estimates_are_not():
    found = score_of(answers_of({"1": 0.0, "2": 2.0, "3": 4.0}, {"1": [1.0, -1.0], "2": [2.0], "3": [4.0]}))
    assert found["value"] == pytest.approx(1 - 1 / 8)  # the mean estimate of run 1 would be without error
    assert found["n_runs"] == 3


def test_a_table_changes_with_what_the_run_files_hold(planted_path, tmp_path):
    zoo = Zoo(shutil.copytree(planted_path, tmp_path / "zoo"))
    before = read_table(zoo)
    record = planted_run(3, zoo[3].layout)
    write_run(zoo.path, dataclasses.replace(record, weights=record.weights + np.float32(1)))
    changed = zoo.refresh()
    assert fingerprint(changed) != fingerprint(zoo)
    assert fingerprint(changed) == fingerprint(zoo.refresh())
    after = read_table(changed)
    differs = (before.features != after.features) & ~np.isnan(before.features)
    assert [run.number for run, d in zip(after.runs, differs, strict=True) if d.any()] == [3]


def test_a_result_of_older_code_is_not_found(tmp_path):
    cells = Cells(tmp_path, "zoo")
    cell = Cell("trial", dataclasses.asdict(TRIAL), versions={"features statistics": 2})
    cells.put(cell, {"scores": []})
    assert cells.get(cell) == {"scores": []}
    assert cells.get(dataclasses.replace(cell, versions={"features statistics": 3})) is None
    assert planned_trial("q", "e", TRIAL).cell.versions == {"features statistics": 2, "learner boosting": 1}


def test_baselines_read_no_weights_and_tell_nothing_of_what_lies_in_them(planted):
    (found,) = run_trial(list(planted), Trial("optimizer", model="fields", split_seeds=(0, 1)))["scores"]
    assert found["low"] <= max(found["chance"], found["majority"])
    tested = {run.number for run in planted for s in (0, 1) if in_test_part(run.identity, split_seed=s)}
    assert found["n_runs"] == len(tested)


@pytest.mark.slow
def test_slices_are_averaged_and_read_along_the_vector(planted):
    trial = Trial("optimizer", model="slice_trees", slice_length=200, averaged=(1, 10), places=((1, 1), LAST, (9, 9)))
    found = run_trial(list(planted), trial)
    one, ten = found["scores"]
    assert one["n_runs"] == ten["n_runs"] == found["places"]["n_runs"]
    kernel = planted[0].layout["conv2/kernel"]
    carries = [start < kernel.stop and start + 200 > kernel.offset for start in found["places"]["starts"]]
    assert found["places"]["snapshots"] == [1, 4]  # there is no ninth
    for measured, gap in (("hits", 0.1), ("probability", 0.05)):
        early, late = np.array(found["places"][measured])
        assert late[carries].mean() > max(early[carries].mean(), late[np.logical_not(carries)].mean()) + gap


@pytest.mark.slow
@pytest.mark.parametrize("target", ["optimizer", "learning_rate"])
def test_evaluate_bench_and_study_give_one_fit_the_same_figures(planted, table, tmp_path, target):
    train, test = planted.split()
    evaluated = fit("trees", train, target=target).evaluate(test)
    benched = bench(planted, tmp_path, models=["trees"], properties=[target], slice_lengths=("all",), workers=1)
    (benched,) = [d for d in benched["results"] if d["model"] == "trees"]
    trial = Trial(target)
    (studied,) = result_of(table, trial)["scores"]
    assert {name: value for name, value in benched.items() if name in evaluated and "seconds" not in name} == {
        name: value for name, value in evaluated.items() if "seconds" not in name
    }
    per_run = evaluated["per_run"]
    value = per_run["accuracy"] if target == "optimizer" else per_run["r2"]["value"]
    interval = per_run["interval"] if target == "optimizer" else per_run["r2"]["interval"]
    assert [studied["value"], studied["low"], studied["high"]] == [value, *interval]
    for name in ("chance", "majority", "confusion", "n_runs", "n_train_runs", "classes"):
        assert studied[name] == evaluated.get(name)
