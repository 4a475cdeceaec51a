import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from weightprint.evaluation import intervals
from weightprint.evaluation.intervals import (
    bootstrap,
    bootstrap_each,
    bootstrap_pairs,
    bootstrap_share,
    clopper_pearson,
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


def test_clopper_pearson_agrees_with_its_definition():
    assert clopper_pearson(0, 59) == pytest.approx((0, 1 - 0.025 ** (1 / 59)))
    low, high = clopper_pearson(54, 60)
    assert scipy.stats.binom.sf(53, 60, low) == pytest.approx(0.025)
    assert scipy.stats.binom.cdf(54, 60, high) == pytest.approx(0.025)
    assert clopper_pearson(0, 0) == (0, 1)


def test_the_bootstrap_draws_runs_not_slices():
    hits = np.array([100.0, 0, 100, 0])  # four runs, each wholly right or wrong
    low, high = bootstrap_share(hits, np.full(4, 100.0))
    assert low == 0
    assert high == 1


def test_bootstrap_intervals_repeat():
    hits, totals = np.arange(10.0), np.full(10, 10.0)
    assert bootstrap_share(hits, totals) == bootstrap_share(hits, totals)


def test_resamples_are_the_same_in_blocks_of_any_size(monkeypatch):
    values = np.arange(30.0) ** 2
    sizes = []
    statistics = {"mean": lambda counts: counts @ values / 30, "size": lambda c: sizes.append(c.size) or c.min(axis=1)}
    whole = bootstrap_each(statistics, 30)
    monkeypatch.setattr(intervals, "BLOCK", 30 * 7)
    assert bootstrap_each(statistics, 30) == whole
    assert max(sizes[1:]) == 30 * 7  # what is held at once does not grow with the number of resamples
    assert bootstrap(statistics["mean"], 30) == whole["mean"]


def test_resamples_without_a_value_are_left_out():
    def of_the_first(counts):
        return np.where(counts[:, 0] > 0, 1.0, np.nan)

    assert bootstrap(of_the_first, 5) == (1, 1)
    assert bootstrap(lambda counts: np.full(len(counts), np.nan), 5) is None


def dependent_pairs(seed, *, networks=40, nearest=5):
    """Values of pairs (network, neighbour) about 0.5, to which both networks contribute; some are everybody's
    neighbours."""
    generator = np.random.default_rng(seed)
    fame = generator.gamma(1, size=networks)
    chances = fame / fame.sum()
    right = np.array([generator.choice(networks, nearest, replace=False, p=chances) for _ in range(networks)])
    left = np.repeat(np.arange(networks), nearest)
    own, its = generator.normal(size=(2, networks))
    values = 0.5 + own[left] + its[right.ravel()] + generator.normal(size=len(left))
    return values, left.tolist(), right.ravel().tolist()


@pytest.mark.slow
def test_the_interval_of_pairs_covers_the_mean_although_pairs_share_networks(monkeypatch):
    monkeypatch.setattr(intervals, "RESAMPLES", 400)
    covered = {"pairs": 0, "networks": 0, "as if independent": 0}
    for seed in range(150):
        values, left, right = dependent_pairs(seed)
        of_networks = values.reshape(40, -1).sum(axis=1)
        found = {
            "pairs": bootstrap_pairs(values, left, right),
            "networks": bootstrap_share(of_networks, np.full(40, 5.0)),
            "as if independent": bootstrap_share(values, np.ones(len(values))),
        }
        for name, (low, high) in found.items():
            covered[name] += low <= 0.5 <= high
    assert covered["pairs"] >= 0.91 * 150
    assert covered["networks"] < 0.85 * 150
    assert covered["as if independent"] < 0.75 * 150


def test_the_interval_of_pairs_is_not_much_wider_where_pairs_are_independent():
    generator = np.random.default_rng(0)
    values = generator.normal(size=400)
    units = [f"left {i}" for i in range(400)], [f"right {i}" for i in range(400)]
    low, high = bootstrap_pairs(values, *units)
    naive = np.subtract(*bootstrap_share(values, np.ones(400))[::-1])
    assert naive < high - low < 2 * naive
    assert low < values.mean() < high


def test_equal_names_are_one_unit_on_either_side():
    values = np.array([0.0, 1, 2, 3])
    apart = bootstrap_pairs(values, ["a", "b", "c", "d"], ["e", "e", "f", "f"])
    met = bootstrap_pairs(values, ["a", "b", "c", "d"], ["b", "a", "d", "c"])
    assert apart != met
    assert bootstrap_pairs(values[:0], [], []) is None
