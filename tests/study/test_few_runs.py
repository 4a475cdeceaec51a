import numpy as np
import polars as pl
import pytest

from weightprint.evaluation.answers import table, to_json
from weightprint.study.budgets import BUDGETS
from weightprint.study.cells import Cells
from weightprint.study.few_runs import MANY, SHARES, plan, predict, rows
from weightprint.study.plans import Facts

SIZES = np.array([50, 100, 200, 400, 800.0])


@pytest.mark.parametrize(("floor", "slope", "exponent"), [(0.1, 2.0, 0.5), (0.0, 1.0, 0.3), (0.05, 30.0, 1.0)])
def test_a_power_law_is_found_again_and_drawn_on(floor, slope, exponent):
    errors = floor + slope * SIZES**-exponent
    expected = floor + slope * MANY**-exponent
    assert predict(SIZES, errors[None], MANY)[0] == pytest.approx(expected, abs=0.004)


def test_no_curve_promises_less_than_no_error_or_a_rising_one():
    errors = np.array([[0.4, 0.3, 0.2, 0.1, 0.0], [0.2, 0.2, 0.2, 0.2, 0.2], [0.1, 0.2, 0.3, 0.4, 0.5]])
    found = predict(SIZES, errors, MANY)
    assert found[0] >= 0
    assert found[1] == pytest.approx(0.2)
    assert found[2] == pytest.approx(0.3)  # the mean: no curve rises


@pytest.fixture
def facts():
    return Facts(("optimizer",), (), 1, {}, {}, 100, False, 800)


def filled(tmp_path, facts, hits):
    """Cells with answers of 200 test runs, of which a share is named right at each number of training runs."""
    cells = Cells(tmp_path, "zoo")
    planned = [one for one in plan(facts, BUDGETS["quick"], {}) if one.model == "layer_trees"]
    generator = np.random.default_rng(0)
    order = generator.permutation(200)
    for one, share, right in zip(planned, SHARES, hits, strict=True):
        truth = np.arange(200) % 3
        answer = np.where(order < 200 * right, truth, (truth + 1) % 3)
        answers = table([f"zoo:{i}" for i in range(200)], truth, answer, classes=("a", "b", "c"), property="optimizer")
        score = {"measure": "accuracy", "value": right, "low": right - 0.05, "high": right + 0.05, "n_runs": 200}
        score |= {"chance": 1 / 3, "majority": 67 / 200, "n_train_runs": round(600 * share)}
        cells.put(one.cell, {"scores": [score], "answers": [to_json(answers)], "seconds": 1.0})
    return pl.DataFrame(rows(planned, cells, {}), infer_schema_length=None)


def test_a_falling_error_is_drawn_on_with_an_interval_that_holds_the_truth(tmp_path, facts):
    errors = [0.05 + 2 * (600 * share) ** -0.5 for share in SHARES]
    found = filled(tmp_path, facts, [1 - e for e in errors])
    beyond = found.filter(pl.col("experiment") == "extrapolated").row(0, named=True)
    assert beyond["x_number"] == MANY
    assert beyond["low"] <= 1 - (0.05 + 2 * MANY**-0.5) <= beyond["high"]
    check = found.filter(pl.col("experiment") == "check").row(0, named=True)
    assert check["low"] <= 1 - errors[-1] <= check["high"]
    curve = found.filter(pl.col("experiment") == "curve")
    assert curve["x_number"].to_list() == [round(600 * share) for share in SHARES]
    assert curve["difference"][0] == pytest.approx(errors[-1] - errors[0], abs=0.01)
    assert curve["difference"][-1] is None


def test_a_flat_curve_is_not_drawn_on(tmp_path, facts):
    found = filled(tmp_path, facts, [0.7] * len(SHARES))
    beyond = found.filter(pl.col("experiment") == "extrapolated").row(0, named=True)
    assert beyond["value"] is None
    assert "does not surely fall" in beyond["reason"]
