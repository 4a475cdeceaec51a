import numpy as np
import pytest

from weightprint.evaluation.calibration import calibration_scores, temperature, tempered


def drawn(n, sharpness=1.0, seed=0):
    """Probabilities [n, 3], and labels drawn from them before they are sharpened."""
    generator = np.random.default_rng(seed)
    probabilities = generator.dirichlet([0.7] * 3, size=n)
    truth = np.array([generator.choice(3, p=p) for p in probabilities])
    return tempered(probabilities, 1 / sharpness), truth


def test_the_temperature_undoes_what_sharpened_the_probabilities():
    probabilities, truth = drawn(4000, sharpness=2.5)
    assert temperature(probabilities, truth) == pytest.approx(2.5, rel=0.1)
    assert temperature(*drawn(4000)) == pytest.approx(1, rel=0.1)
    np.testing.assert_allclose(tempered(probabilities, 1), probabilities, atol=1e-9)


def test_the_error_of_a_calibrated_model_lies_in_its_null():
    found = [calibration_scores(*drawn(75, seed=seed), draws=400)["ece"] for seed in range(40)]
    inside = [f["null"]["interval"][0] <= f["value"] <= f["null"]["interval"][1] for f in found]
    assert np.mean(inside) > 0.85
    assert np.mean([f["null"]["mean"] for f in found]) == pytest.approx(0.1, abs=0.03)  # protocol: section 6
    assert np.mean([f["p_value"] < 0.05 for f in found]) < 0.2


def test_the_error_of_an_overconfident_model_lies_beyond_it():
    found = calibration_scores(*drawn(300, sharpness=4), draws=400)["ece"]
    assert found["value"] > found["null"]["interval"][1]
    assert found["p_value"] == pytest.approx(1 / 401)


def test_the_calibration_error_is_that_of_its_definition():
    probabilities = np.array([[0.95, 0.05], [0.91, 0.09], [0.42, 0.58], [0.5, 0.5], [1.0, 0.0]])
    truth = np.array([0, 1, 1, 0, 0])
    document = calibration_scores(probabilities, truth, draws=10)
    # Bins: 0.5 to 0.6 with confidences 0.58 and 0.5, both right; 0.9 to 1 with 0.95, 0.91 and 1, two of them right.
    assert document["ece"]["value"] == pytest.approx((abs(2 - 1.08) + abs(2 - 2.86)) / 5)
    assert [(b["from"], b["n"], b["accuracy"]) for b in document["bins"]] == [
        (0.5, 2, 1),
        (0.9, 3, pytest.approx(2 / 3)),
    ]
    assert document["brier"] == pytest.approx(2 * np.mean([0.05**2, 0.91**2, 0.42**2, 0.5**2, 0]))
    assert document["log_loss"] == pytest.approx(-np.mean(np.log([0.95, 0.09, 0.58, 0.5, 1])))
