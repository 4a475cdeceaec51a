import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from weightprint.features.statistics import FEATURES, QUANTILES, statistics, tensor_statistics
from weightprint.features.table import Table
from weightprint.setups import Setup
from weightprint.zoo.layout import Layout

ROWS = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40),
    elements=st.floats(-100, 100, width=32, allow_subnormal=False),
)


def eight_by_hand(x: np.ndarray) -> np.ndarray:
    x = x.astype(np.float64)
    constant = np.ptp(x, axis=1) <= 1e-6 * np.abs(x).max(axis=1)
    skewness = np.zeros(len(x))
    if (~constant).any():
        skewness[~constant] = scipy.stats.skew(x[~constant], axis=1)
    return np.column_stack([x.mean(axis=1), x.var(axis=1), skewness, *np.quantile(x, QUANTILES, axis=1)])


@given(ROWS)
def test_statistics_agree_with_scipy_and_numpy(x):
    found = statistics(x)
    assert found.shape == (len(x), 16)
    assert found.dtype == np.float64
    for features, source in ((found[:, :8], x), (found[:, 8:], np.diff(x.astype(np.float64), axis=1))):
        if not source.shape[1]:
            assert not features.any()
            continue
        expected = eight_by_hand(source)
        clear = np.ptp(source, axis=1) > 1e-6 * np.abs(source).max(axis=1)  # skewness is ill-conditioned otherwise
        others = [i for i in range(8) if i != 2]
        np.testing.assert_allclose(features[:, others], expected[:, others], rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(features[clear, 2], expected[clear, 2], rtol=1e-6, atol=1e-6)


def test_many_rows_are_worked_on_in_parts_without_a_difference():
    x = np.random.default_rng(0).normal(size=(50, 3000)).astype(np.float32)
    np.testing.assert_array_equal(statistics(x), np.concatenate([statistics(row[None]) for row in x]))


def test_the_skewness_of_a_constant_is_zero():
    found = statistics(np.full((1, 7), 0.1, np.float32))[0]
    assert found[FEATURES.index("skewness")] == 0
    assert found[FEATURES.index("variance")] == 0
    assert found[FEATURES.index("d.skewness")] == 0
    assert found[FEATURES.index("mean")] == pytest.approx(0.1)


def test_a_single_weight_has_no_differences():
    found = statistics(np.array([[3.0]], np.float32))[0]
    assert dict(zip(FEATURES, found, strict=True))["q50"] == 3
    assert not found[8:].any()


@pytest.mark.parametrize("size", [1e-44, 1e-30, 1e30, 3e38])
def test_very_small_and_very_large_weights_stay_finite(size):
    x = np.array([[1, -1, 0.5, 0, 1]], np.float32) * np.float32(size)
    found = statistics(x)
    assert np.isfinite(found).all()
    assert found[0, 2] == pytest.approx(scipy.stats.skew(x[0].astype(np.float64) / size), rel=1e-3, abs=1e-3)


def test_tensor_statistics_are_those_of_each_tensor():
    layout = Layout.of(Setup(filter_size=3, width_conv=4, width_fc=64))
    weights = np.random.default_rng(0).normal(size=(3, layout.size)).astype(np.float32)
    features, names = tensor_statistics(weights, layout)
    assert features.shape == (3, 16 * len(layout)) == (3, len(names))
    assert names[0] == "conv1/kernel.mean"
    kernel = layout["conv2/kernel"]
    expected = np.quantile(np.diff(weights[1, kernel.offset : kernel.stop].astype(np.float64)), 0.25)
    assert features[1, names.index("conv2/kernel.d.q25")] == pytest.approx(expected)


def test_features_of_different_architectures_share_columns():
    shallow, deep = Layout.of(Setup(depth_fc=1)), Layout.of(Setup(depth_fc=2))
    of_shallow = Table(*tensor_statistics(np.ones((2, shallow.size), np.float32), shallow))
    of_deep = Table(*tensor_statistics(np.ones((2, deep.size), np.float32), deep))
    assert set(of_shallow.names) < set(of_deep.names)
    aligned = of_shallow.aligned(of_deep.names)
    missing = np.isnan(aligned[0])
    assert {of_deep.names[i].split("/")[0] for i in np.flatnonzero(missing)} == {"fc2"}
    assert aligned[0, of_deep.names.index("output/bias.mean")] == 1
    assert of_deep.aligned(of_shallow.names).shape == (2, len(of_shallow.names))  # unknown tensors are dropped
    assert np.isnan(of_deep.aligned(("nowhere.mean",))).all()
