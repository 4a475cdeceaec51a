import json
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from weightprint.meta.evaluation import (
    bootstrap_share,
    classification_scores,
    length_note,
    regression_scores,
    tau_ceiling,
    wilson,
)


def test_wilson_agrees_with_known_values():
    # Newcombe, Statistics in Medicine 17 (1998), 857–872, table I.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0, 0.1611), abs=5e-5)
    assert wilson(29, 29) == pytest.approx((0.8830, 1), abs=5e-5)
    assert wilson(0, 0) == (0, 1)


@given(st.integers(1, 200), st.data())
def test_wilson_agrees_with_scipy(n, data):
    k = data.draw(st.integers(0, n))
    expected = scipy.stats.binomtest(k, n).proportion_ci(method="wilson")
    assert wilson(k, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_the_bootstrap_draws_runs_not_slices():
    hits = np.array([100.0, 0, 100, 0])  # four runs, each wholly right or wrong
    low, high = bootstrap_share(hits, np.full(4, 100.0))
    assert low == 0
    assert high == 1


def test_bootstrap_intervals_repeat():
    hits, totals = np.arange(10.0), np.full(10, 10.0)
    assert bootstrap_share(hits, totals) == bootstrap_share(hits, totals)


def test_classification_scores_take_the_mean_probability_of_a_run():
    hesitant = np.array([[[0.51, 0.49], [0.51, 0.49], [0.01, 0.99]]])  # two slices for class 0, the mean for class 1
    found = classification_scores(np.array([1, 1]), [hesitant, hesitant], 2, local=True)
    assert found["per_run"]["accuracy"] == 1
    assert found["per_slice"] == {
        "accuracy": pytest.approx(1 / 3),
        "interval": pytest.approx([1 / 3, 1 / 3]),
        "n_runs": 2,
    }
    assert found["confusion"] == [[0, 0], [0, 2]]
    assert (found["chance"], found["majority"]) == (0.5, 1)


def test_regression_scores_agree_with_scikit_learn_and_scipy():
    from sklearn.metrics import mean_absolute_error, r2_score

    generator = np.random.default_rng(0)
    truth = generator.integers(0, 8, 40) / 10
    predicted = truth + generator.normal(size=40) / 5
    found = regression_scores(truth, predicted)
    assert found["r2"]["value"] == pytest.approx(r2_score(truth, predicted))
    assert found["mae"]["value"] == pytest.approx(mean_absolute_error(truth, predicted))
    assert found["kendall_tau"]["value"] == pytest.approx(scipy.stats.kendalltau(truth, predicted).statistic)
    assert found["tau_ceiling"]["value"] == pytest.approx(tau_ceiling(truth))
    for measure in ("r2", "mae", "kendall_tau", "tau_ceiling"):
        low, high = found[measure]["interval"]
        assert low < found[measure]["value"] < high or measure == "tau_ceiling"


@given(st.lists(st.integers(0, 4), min_size=2, max_size=30))
def test_the_tau_ceiling_is_what_a_perfect_order_without_ties_reaches(truth):
    truth = np.array(truth)
    if len(set(truth.tolist())) < 2:
        assert tau_ceiling(truth) == 0
        return
    perfect = truth + np.arange(len(truth)) / 1000
    assert tau_ceiling(truth) == pytest.approx(scipy.stats.kendalltau(truth, perfect).statistic)


def test_what_is_not_defined_is_null_in_json():
    found = regression_scores(np.array([0.5]), np.array([0.4]))
    assert found["r2"]["value"] is None
    assert found["kendall_tau"] == {"value": None, "interval": None}
    assert found["mae"]["value"] == pytest.approx(0.1)
    json.dumps(found, allow_nan=False)
    assert math.isnan(tau_ceiling(np.array([1.0])))


def test_differing_lengths_come_with_a_note():
    assert length_note([10, 10]) == {"lengths_differ": False}
    note = length_note([10, 25])
    assert note["lengths_differ"]
    assert "10 to 25 weights" in note["note"]
