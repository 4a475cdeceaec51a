import json

import numpy as np
import pytest
import scipy.stats

from weightprint.evaluation.answers import table
from weightprint.evaluation.intervals import wilson
from weightprint.evaluation.kendall import ceiling
from weightprint.evaluation.scores import (
    accuracy_interval,
    length_note,
    scores,
    share_interval,
)


def test_runs_and_their_readings_have_scores_of_their_own():
    answers = {"answer": [1, 1], "hits": [1, 1], "readings": [3, 3]}  # two slices for class 0, the mean for class 1
    found = scores(table(["x", "y"], [1, 1], classes=[0, 1], reads="slice", **answers))
    assert found["per_run"]["accuracy"] == 1
    assert found["per_slice"] == {
        "accuracy": pytest.approx(1 / 3),
        "interval": pytest.approx(list(wilson(2 / 3, 2))),  # two runs that agree are no certainty
        "n_runs": 2,
    }
    assert found["confusion"] == [[0, 0], [0, 2]]
    assert (found["chance"], found["majority"]) == (0.5, 1)


def regression_scores(truth, predicted):
    return scores(table([f"run {i}" for i in range(len(truth))], truth, predicted))["per_run"]


def test_regression_scores_agree_with_scikit_learn_and_scipy():
    from sklearn.metrics import mean_absolute_error, r2_score

    generator = np.random.default_rng(0)
    truth = generator.integers(0, 8, 40) / 10
    predicted = truth + generator.normal(size=40) / 5
    found = regression_scores(truth, predicted)
    assert found["r2"]["value"] == pytest.approx(r2_score(truth, predicted))
    assert found["mae"]["value"] == pytest.approx(mean_absolute_error(truth, predicted))
    assert found["kendall_tau"]["value"] == pytest.approx(scipy.stats.kendalltau(truth, predicted).statistic)
    assert found["tau_ceiling"]["value"] == pytest.approx(ceiling(truth, np.ones((1, 40)))[0])
    for measure in ("r2", "mae", "kendall_tau", "tau_ceiling"):
        low, high = found[measure]["interval"]
        assert low < found[measure]["value"] < high or measure == "tau_ceiling"


def test_what_is_not_defined_is_null_in_json():
    found = regression_scores(np.array([0.5]), np.array([0.4]))
    assert found["r2"]["value"] is None
    assert found["kendall_tau"] == {"value": None, "interval": None}
    assert found["mae"]["value"] == pytest.approx(0.1)
    json.dumps(found, allow_nan=False)


def test_differing_lengths_come_with_a_note():
    assert length_note([10, 10]) == {"lengths_differ": False}
    note = length_note([10, 25])
    assert note["lengths_differ"]
    assert "10 to 25 weights" in note["note"]


def test_a_table_of_answers_alone_has_no_score_of_readings():
    found = scores(table(["x", "y"], [0, 1], [0, 0], classes=[32, 64]))
    assert found["per_run"]["accuracy"] == 0.5
    assert not {"per_slice", "per_snapshot"} & set(found)


def test_an_interval_is_wilsons_where_runs_are_right_or_wrong_and_the_bootstraps_between():
    right = np.array([1.0] * 9 + [0])
    assert accuracy_interval(right) == wilson(9, 10)
    assert accuracy_interval(np.full(10, 0.5)) == wilson(5, 10)  # nothing varies
    mixed = np.array([1.0] * 5 + [2 / 3] * 5)
    low, high = accuracy_interval(mixed)
    assert 2 / 3 < low < mixed.mean() < high < 1
    assert share_interval(10 * right, np.full(10, 10.0)) != wilson(9, 10)
