import numpy as np
import pytest
from scipy.special import expit

from weightprint.meta.learners.linear import RankScaler, fit_sigmoid


def test_sigmoids_find_the_probabilities_that_margins_were_drawn_with():
    generator = np.random.default_rng(0)
    margins = generator.normal(size=20_000)
    positive = generator.random(20_000) < expit(3 * margins - 1)
    a, b = fit_sigmoid(margins, positive, np.ones(20_000), int(positive.sum()), 20_000)
    assert (a, b) == pytest.approx((3, -1), abs=0.1)


def test_sigmoids_agree_with_scikit_learn():
    from sklearn.calibration import _sigmoid_calibration

    generator = np.random.default_rng(1)
    margins = generator.normal(size=200)
    positive = margins + generator.normal(size=200) > 0.3
    weights = generator.random(200) + 0.5
    # Platt's targets count runs here and weights there: large counts make both nearly 0 and 1.
    a, b = fit_sigmoid(margins, positive, weights, 10**6, 2 * 10**6)
    theirs = _sigmoid_calibration(margins, positive, weights * 10**4)
    assert (a, b) == pytest.approx((-theirs[0], -theirs[1]), rel=1e-2)


def test_few_runs_make_no_certain_probabilities():
    """Ten rows each of three runs a class, perfectly apart: a thousand rows would not be more evidence."""
    margins, positive = np.repeat([-1.0, 1.0], 30), np.repeat([False, True], 30)
    a, b = fit_sigmoid(margins, positive, np.ones(60), 3, 6)
    assert expit(a + b) == pytest.approx(4 / 5, abs=0.01)
    assert expit(b - a) == pytest.approx(1 / 5, abs=0.01)


def test_margins_that_rank_wrongly_count_for_nothing():
    a, b = fit_sigmoid(np.array([1.0, 0.9, -1.0, -0.9]), np.array([False, False, True, True]), np.ones(4), 2, 4)
    assert (a, b) == pytest.approx((0, 0))


def test_ranks_are_the_same_for_any_magnitude():
    x = np.random.default_rng(0).normal(size=(300, 1))
    features = np.hstack([x, 1e-30 * x, 1e30 * x, 10 ** (20 * x)])
    scaled = RankScaler.fit(features).transform(features)
    np.testing.assert_allclose(scaled, scaled[:, :1] * np.ones(4), atol=0.2)
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(scaled.std(axis=0), 1, atol=1e-9)


def test_values_beyond_the_training_rows_are_as_the_outermost():
    scaler = RankScaler.fit(np.arange(50.0)[:, None])
    outer = scaler.transform(np.array([[-1e9], [0.0], [49.0], [1e9]]))[:, 0]
    assert outer[0] == outer[1]
    assert outer[2] == outer[3]


def test_constant_features_become_zero():
    assert not RankScaler.fit(np.full((9, 2), 3.0)).transform(np.full((4, 2), 3.0)).any()


def test_missing_features_get_a_column_that_tells_so():
    features = np.arange(24.0).reshape(8, 3)
    features[:4, 1:] = np.nan  # both missing in the same rows: one further column
    scaled = RankScaler.fit(features).transform(features)
    assert scaled.shape == (8, 4)
    assert not scaled[:4, 1:3].any()
    assert scaled[:, 3].tolist() == [1] * 4 + [-1] * 4
