"""Sentences of the study's report: what they claim of rows at hand."""

import pytest

from weightprint.report import findings
from weightprint.study import COLUMNS

MOVING, BOTH = "without moving statistics", "without both"


def control(model, x, value, *, low=None, target="optimizer"):
    known = {"experiment": "controls", "property": target, "model": model, "x": x, "measure": "accuracy"}
    low = value - 0.05 if low is None else low
    return dict.fromkeys(COLUMNS) | known | {"value": value, "low": low, "high": 1.0, "chance": 0.25, "majority": 0.3}


@pytest.mark.parametrize("order", [1, -1])
def test_what_remains_is_read_by_the_better_of_the_models_whichever_comes_last(order):
    rows = [control("trees", BOTH, 0.9), control("layer_trees", BOTH, 0.6)][::order]
    assert "optimizer (90 %, trees)" in findings.controls(rows)


def test_each_property_has_its_own_better_model_and_one_below_its_baseline_is_not_settled():
    rows = [
        control("trees", BOTH, 0.9),
        control("layer_trees", BOTH, 0.6),
        control("trees", BOTH, 0.5, target="activation"),
        control("layer_trees", BOTH, 0.8, target="activation"),
        control("layer_trees", BOTH, 0.35, low=0.28, target="dataset"),
    ]
    said = findings.controls(rows)
    assert "optimizer (90 %, trees) and activation (80 %, layer_trees)" in said
    assert "Not settled then: dataset." in said


def test_a_zoo_without_such_biases_is_judged_without_moving_statistics():
    rows = [control("trees", MOVING, 0.7), control("layer_trees", MOVING, 0.95), control("layer_trees", BOTH, 0.8)]
    assert "optimizer (80 %, layer_trees)" in findings.controls(rows)
    assert "optimizer (70 %, trees)" in findings.controls(rows[:1])


def test_a_length_of_slices_is_enough_only_where_every_longer_one_is_too():
    def slices(model, length, value, target):
        return control(model, "1", value, target=target) | {"experiment": "slices", "series": str(length)}

    lucky = [slices("slice_trees", n, v, "augmentation") for n, v in ((200, 0.7), (1000, 0.3), (5000, 0.3))]
    read = [slices("slice_trees", n, v, "optimizer") for n, v in ((200, 0.3), (1000, 0.5), (5000, 0.6))]
    other = [slices("svm", 5000, 0.9, "optimizer"), slices("svm", 5000, 0.4, "dataset")]
    said = findings.shortest_slices([*lucky, *read, *other])
    assert "optimizer from 1,000 weights on (50 %, slice_trees) and dataset from 5,000 weights on (40 %, svm)" in said
    assert "augmentation" not in said
    assert findings.shortest_slices(lucky) == ""
