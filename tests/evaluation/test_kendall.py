import math
import tracemalloc

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from weightprint.evaluation import kendall
from weightprint.evaluation.answers import table
from weightprint.evaluation.scores import value_scores


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=40), st.integers(0, 100))
def test_tau_of_a_resample_is_that_of_the_runs_drawn(pairs, seed):
    truth, predicted = np.array(pairs, float).T
    counts = np.random.default_rng(seed).multinomial(len(pairs), np.full(len(pairs), 1 / len(pairs)), size=3)
    found = kendall.tau(truth, predicted, counts.astype(float))
    for row, value in zip(counts, found, strict=True):
        signs = [np.sign(np.subtract.outer(v, v)) * np.outer(row, row) for v in (truth, predicted)]
        untied = np.abs(signs[0]).sum() * np.abs(signs[1]).sum()
        order = (np.sign(np.subtract.outer(truth, truth)) * signs[1]).sum()
        expected = order / math.sqrt(untied) if untied else math.nan
        assert value == pytest.approx(expected, abs=1e-12, nan_ok=True)


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(-1, 1)), min_size=2, max_size=60))
def test_tau_agrees_with_scipy(pairs):
    truth, predicted = np.array(pairs, float).T
    (found,) = kendall.tau(truth, predicted, np.ones((1, len(pairs))))
    if len(set(truth)) < 2 or len(set(predicted)) < 2:
        assert math.isnan(found)
    else:
        assert found == pytest.approx(scipy.stats.kendalltau(truth, predicted).statistic, abs=1e-12)


@given(st.lists(st.integers(0, 4), min_size=2, max_size=30))
def test_the_ceiling_of_tau_is_what_a_perfect_order_without_ties_reaches(truth):
    truth = np.array(truth)
    (found,) = kendall.ceiling(truth, np.ones((1, len(truth))))
    if len(set(truth.tolist())) < 2:
        assert found == 0
        return
    perfect = truth + np.arange(len(truth)) / 1000
    assert found == pytest.approx(scipy.stats.kendalltau(truth, perfect).statistic)


def test_one_run_has_no_order():
    assert np.isnan(kendall.ceiling(np.array([1.0]), np.ones((1, 1)))).all()


@pytest.mark.slow
def test_memory_does_not_grow_with_the_square_of_the_runs(monkeypatch):
    """7,500 test runs: one table of their pairs takes 450 MB."""
    monkeypatch.setattr("weightprint.evaluation.intervals.RESAMPLES", 8)
    generator = np.random.default_rng(0)
    truth = generator.random(7500)
    predicted = truth + generator.normal(size=7500)
    tracemalloc.start()
    try:
        found = value_scores(table([f"run {i}" for i in range(7500)], truth, predicted))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found["kendall_tau"]["value"] == pytest.approx(scipy.stats.kendalltau(truth, predicted).statistic, abs=1e-9)
    assert peak < 30e6
