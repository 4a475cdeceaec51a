import json

import numpy as np
import polars as pl
import pytest

from weightprint.errors import MetaError
from weightprint.evaluation.answers import SCHEMA, common_classes, from_json, per_run, table, to_json
from weightprint.evaluation.scores import scores

THRICE = ("x", "x", "x", "y")
"""Tests of two runs: x in the splits 0, 1 and 2, y in split 0."""
SPLITS = (0, 1, 2, 0)


def thrice_tested(truth, answer, *, classes=()):
    """The answers to THRICE."""
    parts = [
        table([run], [t], [a], classes=classes, split=split)
        for run, split, t, a in zip(THRICE, SPLITS, truth, answer, strict=True)
    ]
    return pl.concat(parts)


def test_a_table_survives_as_json():
    answers = table(["x"], [1], [0], classes=[True, False], probabilities=[[0.5, 0.5]], hits=[0], readings=[4])
    assert dict(answers.schema) == dict(SCHEMA)
    assert from_json(json.loads(json.dumps(to_json(answers)))).equals(answers)


def test_each_run_weighs_the_same_however_often_it_is_tested():
    # x: right, wrong, right; y: wrong. By tests it would be 2 of 4.
    answers = thrice_tested([0, 0, 0, 1], [0, 1, 0, 0], classes=["a", "b"])
    assert per_run(answers).select("run", "tests", "score").rows() == [("x", 3, pytest.approx(2 / 3)), ("y", 1, 0)]
    found = scores(answers)
    assert found["per_run"]["accuracy"] == pytest.approx(1 / 3)
    assert found["per_run"]["n"] == 2
    assert (found["majority"], found["class_counts"]) == (0.5, [1, 1])  # by tests: 0.75
    assert np.allclose(found["confusion"], [[2 / 3, 1 / 3], [1, 0]])
    assert np.trace(found["confusion"]) / 2 == pytest.approx(found["per_run"]["accuracy"])


def test_errors_are_averaged_and_not_predictions():
    # x is 1 too large, then 1 too small, then right; the mean prediction would be without error. y is 2 too large.
    answers = thrice_tested([4.0, 4.0, 4.0, 8.0], [5.0, 3.0, 4.0, 10.0])
    found = scores(answers)["per_run"]
    assert found["n"] == 2
    assert found["mae"]["value"] == pytest.approx((2 / 3 + 2) / 2)
    assert found["r2"]["value"] == pytest.approx(1 - (2 / 3 + 4) / (4 + 4))


def test_orders_are_those_of_single_splits():
    rising = table("wxyz", [1, 2, 3, 4], [1, 2, 3, 4], split=0)
    falling = table("wx", [1, 2], [9, 8], split=1)
    alone = table("w", [1], [5], split=2)
    found = scores(pl.concat([rising, falling, alone]))["per_run"]
    assert found["kendall_tau"]["value"] == 0  # of 1 and −1; one run has no order
    assert found["tau_ceiling"]["value"] == 1
    low, high = found["kendall_tau"]["interval"]
    assert -1 <= low <= 0 <= high <= 1


def test_repeating_a_split_adds_nothing():
    generator = np.random.default_rng(0)
    truth, answer = generator.normal(size=(2, 12))
    once = table([f"run {i}" for i in range(12)], truth, answer)
    twice = pl.concat([once, once.with_columns(split=pl.lit(1, pl.Int64))])
    one, two = scores(once)["per_run"], scores(twice)["per_run"]
    for measure in ("r2", "mae", "kendall_tau", "tau_ceiling"):
        assert two[measure]["value"] == pytest.approx(one[measure]["value"])
        assert two[measure]["interval"] == pytest.approx(one[measure]["interval"])


def test_a_class_that_is_missing_in_a_split_keeps_its_name():
    whole = table("xy", [0, 2], [0, 1], classes=[16, 32, 64], probabilities=np.eye(3)[[0, 1]], split=0)
    few = table("x", [0], [1], classes=[16, 64], probabilities=[[0.2, 0.8]], split=1)
    classes, answers = common_classes(pl.concat([few, whole]))
    assert classes == [16, 32, 64]
    in_split_1 = answers.filter(pl.col("split") == 1)
    assert in_split_1.select("truth", "answer", "probabilities").rows() == [(0, 2, [0.2, 0, 0.8])]
    found = scores(pl.concat([few, whole]))
    assert found["classes"] == [16, 32, 64]
    assert found["confusion"] == [[0.5, 0, 0.5], [0, 0, 0], [0, 1, 0]]
    assert per_run(pl.concat([few, whole]))["truth"].to_list() == [0, 2]


def test_answers_of_one_property_are_needed():
    one, other = table("x", [0], [0], property="p"), table("x", [0], [0], property="q")
    with pytest.raises(MetaError, match="different targets cannot be compared: p, q, regression"):
        scores(pl.concat([one, other]))
    few = table("x", [0], [0], property="p", classes=[0, 1], probabilities=[[0.5, 0.5]])
    with pytest.raises(MetaError, match="p is told in classes by some fits and regressed by others"):
        scores(pl.concat([one, few]))
    with pytest.raises(MetaError, match="there are no answers"):
        scores(one.clear())
