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
    assert "optimizer (90 %)" in findings.controls(rows)


def test_each_property_has_its_own_better_model_and_one_below_its_baseline_is_not_settled():
    rows = [
        control("trees", BOTH, 0.9),
        control("layer_trees", BOTH, 0.6),
        control("trees", BOTH, 0.5, target="activation"),
        control("layer_trees", BOTH, 0.8, target="activation"),
        control("layer_trees", BOTH, 0.35, low=0.28, target="dataset"),
    ]
    said = findings.controls(rows)
    assert "optimizer (90 %) and activation (80 %)" in said
    assert "; not settled then: dataset." in said


def test_a_zoo_without_such_biases_is_judged_without_moving_statistics():
    rows = [control("trees", MOVING, 0.7), control("layer_trees", MOVING, 0.95), control("layer_trees", BOTH, 0.8)]
    assert "optimizer (80 %)" in findings.controls(rows)
    assert "optimizer (70 %)" in findings.controls(rows[:1])


def test_a_length_of_slices_is_enough_only_where_every_longer_one_is_too():
    def slices(model, length, value, target):
        return control(model, "1", value, target=target) | {"experiment": "slices", "series": str(length)}

    lucky = [slices("slice_trees", n, v, "augmentation") for n, v in ((200, 0.7), (1000, 0.3), (5000, 0.3))]
    read = [slices("slice_trees", n, v, "optimizer") for n, v in ((200, 0.3), (1000, 0.5), (5000, 0.6))]
    other = [slices("svm", 5000, 0.9, "optimizer"), slices("svm", 5000, 0.4, "dataset")]
    said = findings.shortest_slices([*lucky, *read, *other])
    assert "optimizer from 1,000 weights on (50 %) and dataset from 5,000 weights on (40 %)" in said
    assert "augmentation" not in said
    assert findings.shortest_slices(lucky) == ""


def test_properties_are_told_by_the_first_snapshot_that_names_them_the_earliest_first():
    def at(snapshot, target, value):
        known = {"experiment": "moments", "series": str(snapshot), "x": str(snapshot), "x_number": float(snapshot)}
        return control("layer_trees", "", value, target=target) | known

    rows = [at(n, "dataset", v) for n, v in ((1, 0.3), (2, 0.6), (20, 0.9))]
    rows += [at(n, "initialization", v) for n, v in ((1, 1.0), (2, 0.9))]
    rows += [at(2, "optimizer", 0.8), at(20, "batch_size", 0.3)]
    assert findings.when(rows) == (
        "By snapshot 1 initialization (100 %) can be named better than chance and majority, by snapshot 2 dataset "
        "(60 %) and optimizer (80 %)."
    )
    assert findings.when(rows[-1:]) == ""
