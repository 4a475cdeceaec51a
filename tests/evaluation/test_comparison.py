import json

import numpy as np
import polars as pl
import pytest
import scipy.stats

from weightprint.errors import MetaError
from weightprint.evaluation.answers import table
from weightprint.evaluation.comparison import compare_answers, difference


def tally(right, *, runs=None, readings=10, split=0):
    """Answers of which those are right that are asked for."""
    right = np.array(right, int)
    runs = list(runs if runs is not None else (f"run {i}" for i in range(len(right))))
    counted = {"hits": readings * right, "readings": np.full(len(right), readings), "reads": "slice"}
    return table(runs, np.zeros(len(right)), 1 - right, classes="ab", split=split, property="optimizer", **counted)


def errors(found, truth, *, split=0):
    return table([f"run {i}" for i in range(len(truth))], truth, found, split=split, property="learning_rate")


def test_a_difference_is_paired():
    generator = np.random.default_rng(0)
    hard = generator.random(200) < 0.5  # runs that neither names right
    better = ~hard
    worse = ~hard & (np.arange(200) % 20 > 0)
    (pair,) = compare_answers({"a": tally(better), "b": tally(worse)})["pairs"]
    assert pair["difference"] == pytest.approx(better.mean() - worse.mean())
    low, high = pair["interval"]
    assert 0 <= low < pair["difference"] < high < 0.1  # unpaired it would be twice ± 7 %
    assert pair["per_reading"]["difference"] == pytest.approx(pair["difference"])


def test_mcnemar_is_the_exact_test():
    a = [1] * 9 + [0] * 2 + [1] * 20 + [0] * 5
    b = [0] * 9 + [1] * 2 + [1] * 20 + [0] * 5
    (pair,) = compare_answers({"a": tally(a), "b": tally(b)})["pairs"]
    assert pair["mcnemar"] == {"a_better": 9, "b_better": 2, "p_value": scipy.stats.binomtest(2, 11).pvalue}
    assert compare_answers({"a": tally(a), "b": tally(a)})["pairs"][0]["mcnemar"]["p_value"] == 1


def test_only_runs_that_all_were_judged_by_count():
    document = compare_answers({"a": tally([1, 1, 0], runs="xyz"), "b": tally([0, 1], runs="yz")})
    assert document["n_runs"] == 2
    assert document["n_not_common"] == 1
    assert [m["value"] for m in document["models"]] == [0.5, 0.5]
    with pytest.raises(MetaError, match="no run is left that all models can be judged by"):
        compare_answers({"a": tally([1], runs="x"), "b": tally([0], runs="y")})


def test_equal_targets_alone_are_compared():
    with pytest.raises(MetaError, match="different targets cannot be compared: classification, learning_rate"):
        compare_answers({"a": tally([1, 0]), "b": errors([1, 2], [1, 2])})


def test_values_are_compared_by_their_errors():
    truth = np.arange(40) / 10
    near, far = truth + 0.1, truth + np.where(np.arange(40) % 2, 0.6, -0.6)
    document = compare_answers({"near": errors(near, truth), "far": errors(far, truth)})
    (pair,) = document["pairs"]
    assert document["measure"] == "mae"
    assert pair["difference"] == pytest.approx(-0.5)
    assert pair["interval"] == pytest.approx([-0.5, -0.5])
    assert pair["mcnemar"]["a_better"] == 40
    assert document["models"][1]["r2"]["value"] == pytest.approx(1 - 40 * 0.36 / np.sum((truth - truth.mean()) ** 2))
    assert pair["r2"]["interval"][0] > 0


def test_a_run_that_three_splits_test_counts_once():
    """Right in all of its three tests, while the other is wrong in its only one."""
    splits = [tally([1, 0], runs="xy"), tally([1], runs="x", split=1), tally([1], runs="x", split=2)]
    document = compare_answers({"a": pl.concat(splits), "b": pl.concat(splits)})
    assert (document["n_runs"], document["n_splits"]) == (2, 3)
    assert document["models"][0]["value"] == 0.5
    assert document["models"][0]["per_reading"] == 0.5
    json.dumps(document, allow_nan=False)


def test_a_difference_is_the_mean_of_the_runs_differences():
    ours = [tally([1, 0], runs="xy"), tally([1], runs="x", split=1), tally([0], runs="x", split=2)]
    theirs = [tally([0, 0], runs="xy"), tally([0], runs="x", split=1), tally([0], runs="x", split=2)]
    found = difference(pl.concat(ours), pl.concat(theirs))
    assert found["difference"] == pytest.approx(2 / 3 / 2)
    assert found["mcnemar"] == {"a_better": 1, "b_better": 0, "p_value": 1}
    assert (found["measure"], found["n_runs"]) == ("accuracy", 2)
    assert found["per_reading"]["difference"] == pytest.approx(2 / 3 / 2)


def test_a_difference_is_taken_on_tests_that_both_took():
    ours = pl.concat([tally([1, 1], runs="xy"), tally([0], runs="x", split=1)])
    assert difference(ours, tally([1, 0], runs="xy"))["difference"] == 0.5
    assert difference(ours, tally([1], runs="x", split=2)) is None


def test_answers_alone_are_compared_without_readings():
    answers = {name: table(["x", "y"], [0, 1], [0, wrong], classes="ab") for name, wrong in (("a", 1), ("b", 0))}
    document = compare_answers(answers)
    assert document["pairs"][0]["difference"] == 0.5
    assert document["pairs"][0]["per_reading"] is document["models"][0]["per_reading"] is None
    with pytest.raises(MetaError, match="there are no answers"):
        compare_answers({})
