"""Training paths: who lies near whom, and how well runs learn beside how often they are named."""

import dataclasses

import numpy as np
import polars as pl
import pytest

from tests.study.conftest import changed
from weightprint.evaluation.answers import table as answers_table
from weightprint.evaluation.answers import to_json
from weightprint.report import findings
from weightprint.study import run_accuracy
from weightprint.study.cells import Cell, Cells
from weightprint.study.neighbours import Embedding, Neighbours, run_embedding, run_neighbours
from weightprint.study.plans import COLUMNS, Planned


def scores(table, target="optimizer"):
    return run_neighbours(table, Neighbours(target, (1, 4)))["scores"]


def with_features(table, change):
    features = table.features.copy()
    change(features)
    return dataclasses.replace(table, features=features)


def test_neighbours_share_a_value_from_the_moment_at_which_it_is_written(table):
    early, late = scores(table)
    assert early["low"] <= early["chance"] <= early["high"]
    # Sixteen columns of all carry it: neighbours are chosen by all columns, so that it shows less than trees can see.
    assert late["value"] > early["value"]
    tensor = table.columns(("conv2/kernel",))
    (alone,) = run_neighbours(
        dataclasses.replace(table, features=table.features[:, :, tensor]), Neighbours("optimizer", (4,))
    )["scores"]
    assert alone["low"] > alone["chance"]
    other = scores(table, "dataset")[1]
    assert other["low"] <= other["chance"]


def test_networks_that_begin_alike_are_no_more_near_to_the_first_of_them_than_to_the_last(table):
    def alike(features):
        features[:, 0] = features[0, 0]

    early = scores(with_features(table, alike))[0]
    assert early["low"] <= early["chance"] <= early["high"]


def test_a_run_is_not_its_own_neighbour_and_chance_leaves_it_out(table):
    values = [run.properties["optimizer"] for run in table.runs]
    n = len(values)
    chance = sum(values.count(v) - 1 for v in values) / (n * (n - 1))
    assert scores(table)[0]["chance"] == pytest.approx(chance)
    (everyone,) = run_neighbours(table, Neighbours("optimizer", (4,), nearest=n - 1))["scores"]
    assert everyone["value"] == pytest.approx(chance)


def test_neighbours_of_one_run_are_no_independent_evidence(table):
    # Two groups of runs: all neighbours of a group are one another, so that there is far less to learn than pairs.
    features = np.repeat(np.random.default_rng(0).normal(size=(2, 1, 12)), 36, axis=0).repeat(4, axis=1)
    features = (features + 0.01 * np.random.default_rng(1).normal(size=features.shape)).astype(np.float32)
    (found,) = run_neighbours(
        dataclasses.replace(table, features=features, names=table.names[:12]), Neighbours("optimizer", (4,))
    )["scores"]
    naive = 1.96 * np.sqrt(found["value"] * (1 - found["value"]) / (5 * found["n_runs"]))
    assert found["low"] <= found["chance"] <= found["high"]
    assert found["high"] - found["low"] > 1.5 * 2 * naive


def test_runs_that_lack_a_moment_have_no_place_in_it_and_are_counted(table):
    runs = tuple(changed(r, snapshots=3 if i < 10 else 4) for i, r in enumerate(table.runs))
    features = table.features.copy()
    features[:10, 3] = np.nan
    table = dataclasses.replace(table, runs=runs, features=features)
    early, late = run_neighbours(table, Neighbours("optimizer", (3, 4)))["scores"]
    assert (early["n_runs"], late["n_runs"]) == (72, 62)
    assert late["left_out"] == {"no_such_snapshot": 10}
    picture = run_embedding(table, Embedding(runs=20, perplexity=10))
    assert {len(path) for path in picture["paths"]} == {3, 4}
    assert [len(path) for path in picture["paths"]] == [len(numbers) for numbers in picture["snapshots"]]


def test_scales_and_extreme_runs_move_no_neighbours(table):
    def stretch(features):
        features[:] = np.sign(features) * np.abs(features) ** 3 * 1e6

    assert scores(with_features(table, stretch)) == scores(table)


def test_networks_without_a_common_tensor_give_a_reason(table):
    def gap(features):
        features[::2, :, ::2] = np.nan
        features[1::2, :, 1::2] = np.nan

    assert "no tensor in common" in run_neighbours(with_features(table, gap), Neighbours("optimizer", (1,)))["reason"]


@pytest.mark.slow
def test_the_picture_is_the_same_every_time_and_holds_every_snapshot_of_its_runs(table):
    asked = Embedding(runs=20, perplexity=10)
    first, second = (run_embedding(table, asked) for _ in range(2))
    assert first["paths"] == second["paths"]
    assert np.shape(first["paths"]) == (20, table.snapshots, 2)
    assert len(set(first["runs"])) == 20
    assert 0.5 < first["trustworthiness"] <= 1


def test_too_few_snapshots_for_a_picture_give_a_reason(table):
    assert "too few snapshots" in run_embedding(table, Embedding(runs=2))["reason"]


def named_rows(table, folder, shares):
    """Rows for a headline that named each run in these shares of its splits."""
    right = [[shares(run) > split / 5 for run in table.runs] for split in range(5)]
    runs = [run.identity for run in table.runs]
    parts = [
        answers_table(runs, [0] * len(runs), [int(not r) for r in of_split], classes=("adam", "sgd"), split=split)
        for split, of_split in enumerate(right)
    ]
    kept = to_json(pl.concat(parts))
    headline = Planned("how_much", "headline", "optimizer", "layer_trees", "", ("",), Cell("trial", {"a": 1}))
    moments = Planned("when", "moments", "optimizer", "layer_trees", "4", (1, 4), Cell("trial", {"a": 2}))
    cells = Cells(folder, "zoo")
    cells.put(headline.cell, {"answers": [kept]})
    cells.put(moments.cell, {"answers": [kept, kept]})
    return run_accuracy.rows([headline, moments], cells, table.runs)


def learns_well(table):
    """Run number → whether its test accuracy is above the median of its data set; the planted accuracy is constant."""
    level = {r.number: r.measurements[0]["test_accuracy"] for r in table.runs}
    of = {r.number: r.properties["dataset"] for r in table.runs}
    return {n: level[n] > np.median([level[m] for m in level if of[m] == of[n]]) for n in level}


def test_runs_that_learn_better_are_compared_with_those_that_learn_worse_on_the_same_data(table, tmp_path):
    well = learns_well(table)
    rows = named_rows(table, tmp_path, lambda run: 1.0 if well[run.number] else 0.4)
    assert all(tuple(row) == tuple(COLUMNS) for row in rows)
    (difference,) = (r for r in rows if r["series"] == "difference")
    assert difference["value"] == pytest.approx(0.6)
    assert 0 < difference["low"] < 0.6 < difference["high"] <= 1
    assert difference["n_runs"] == len(table.runs)
    assert "more often" in findings.run_accuracy(rows)
    (mean,) = (r for r in rows if r["series"] == "mean test accuracy")  # of the moment that was trained on
    assert mean["x_number"] == 4
    accuracies = [r.measurements[3]["test_accuracy"] for r in table.runs]
    assert mean["value"] == pytest.approx(np.mean(accuracies))
    assert mean["low"] < mean["value"] < mean["high"]


def test_nothing_is_said_when_both_are_named_alike(table, tmp_path):
    rows = named_rows(table, tmp_path, lambda run: 1.0)
    (difference,) = (r for r in rows if r["series"] == "difference")
    assert difference["low"] < 0 < difference["high"]
    assert findings.run_accuracy(rows) == ""
