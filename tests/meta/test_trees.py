import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from weightprint.meta import build
from weightprint.meta.trees import Forest, bin_edges, bins


@pytest.fixture(scope="module")
def rows():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(300, 6))
    x[generator.random(x.shape) < 0.2] = np.nan
    return x


@pytest.mark.parametrize("classes", [2, 4])
def test_probabilities_are_scikit_learns(rows, classes):
    y = np.nan_to_num(rows[:, 0] * 2 + rows[:, 1]).astype(int) % classes
    boosting = HistGradientBoostingClassifier(max_iter=30, early_stopping=False).fit(rows, y)
    np.testing.assert_allclose(Forest.of(boosting).outputs(rows), boosting.predict_proba(rows), atol=1e-12)


def test_values_are_scikit_learns(rows):
    boosting = HistGradientBoostingRegressor(max_iter=30).fit(rows, np.nan_to_num(rows[:, 0]))
    np.testing.assert_allclose(Forest.of(boosting).outputs(rows)[:, 0], boosting.predict(rows), atol=1e-12)


def test_bins_keep_the_order_and_what_is_missing(rows):
    edges = bin_edges(rows)
    numbers = bins(rows, edges)
    np.testing.assert_array_equal(np.isnan(numbers), np.isnan(rows))
    for x, n in zip(rows.T, numbers.T, strict=True):
        order = np.argsort(x[~np.isnan(x)])
        assert (np.diff(n[~np.isnan(x)][order]) >= 0).all()
        assert len(np.unique(n[~np.isnan(x)])) > 55


def test_time_ends_the_search_for_iterations(zoo):
    meta = build("trees", target="optimizer", snapshots=(1, 4), iterations=1000, max_seconds=1e-3).fit(zoo)
    assert meta.capped_
    assert meta.iterations_ == 10


def test_a_class_of_one_run_is_learnt(make_zoo):
    zoo = make_zoo(20)
    for run in zoo:
        run.properties["source"] = "rare" if run.number == 7 else "common"
    meta = build("trees", target="source", snapshots=(1, 4), iterations=10).fit(zoo)
    assert meta.classes_ == ("common", "rare")
    assert build("svm", target="source", snapshots=(1, 4), slice_length=100).fit(zoo).classes_ == ("common", "rare")
