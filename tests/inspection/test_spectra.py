"""Spectra against chance, and the power law of their tail."""

import numpy as np
import pytest
from scipy import stats

from weightprint.inspection.spectra import chance_eigenvalues, power_law, spectrum_of


def independent(seed, shape, deviation=0.3):
    return (deviation * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def test_eigenvalues_are_those_of_the_singular_values():
    matrix = independent(0, (30, 80))
    found = spectrum_of(matrix)
    assert found["sides"] == [80, 30]
    assert found["eigenvalues"] == pytest.approx(np.sort(np.linalg.svd(matrix.astype(float))[1] ** 2) / 80)
    assert spectrum_of(matrix.T)["eigenvalues"] == pytest.approx(found["eigenvalues"])


def test_independent_weights_stay_inside_the_edges_of_marchenko_and_pastur():
    beyond = [spectrum_of(independent(seed, (60, 150)))["beyond"] for seed in range(300)]
    assert sum(number > 0 for number in beyond) <= 12  # 3 are expected at a level of 1 %
    found = spectrum_of(independent(0, (400, 1000)))
    low, high = found["edges"]
    assert 0.97 * low < found["eigenvalues"][0] < found["eigenvalues"][-1] < 1.03 * high
    assert found["eigenvalues"] == pytest.approx(found["variance"] * chance_eigenvalues(400, 1000), rel=0.1)


def test_directions_that_were_learnt_are_counted():
    rng = np.random.default_rng(1)
    learnt = 3 * np.outer(rng.standard_normal(60), rng.standard_normal(150)) / 10
    learnt += 2 * np.outer(rng.standard_normal(60), rng.standard_normal(150)) / 10
    assert spectrum_of(independent(0, (60, 150)) + learnt.astype(np.float32))["beyond"] == 2


@pytest.mark.parametrize("alpha", [1.8, 2.5, 4.0])
def test_the_exponent_of_a_power_law_is_found(alpha):
    values = (1 - np.random.default_rng(2).random(3000)) ** (-1 / (alpha - 1))
    found = power_law(values)
    assert abs(found["alpha"] - alpha) < 4 * found["error"]
    assert found["reliable"]
    scaled = power_law(7.5 * values)
    assert scaled["alpha"] == pytest.approx(found["alpha"])
    assert scaled["x_min"] == pytest.approx(7.5 * found["x_min"])


def test_the_tail_begins_where_kolmogorov_and_smirnovs_distance_is_least():
    rng = np.random.default_rng(3)
    values = np.concatenate([rng.uniform(0.2, 1, 300), (1 - rng.random(200)) ** (-1 / 1.5)])
    found = power_law(values)
    assert 0.8 < found["x_min"] < 1.4
    tail = values[values >= found["x_min"]]
    law = stats.pareto(found["alpha"] - 1, scale=found["x_min"])
    assert found["distance"] == pytest.approx(stats.kstest(tail, law.cdf).statistic)
    assert found["tail"] == tail.size


@pytest.mark.parametrize("values", [np.arange(1.0, 15), np.ones(100), np.zeros(100), np.array([])])
def test_nothing_is_fitted_to_too_few_or_equal_values(values):
    assert power_law(values) is None


@pytest.mark.parametrize("matrix", [np.zeros((30, 40)), np.ones((1, 40)), np.zeros((0, 4))])
def test_a_kernel_of_zeros_or_of_one_row_has_no_spectrum(matrix):
    assert spectrum_of(matrix.astype(np.float32)) is None
