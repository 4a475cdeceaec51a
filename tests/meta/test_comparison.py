import json

import numpy as np
import pytest
import scipy.stats

from weightprint.errors import MetaError
from weightprint.meta import build, by_slices, compare, compare_splits
from weightprint.meta.comparison import Tally
from weightprint.meta.targets import Target

CLASSES = Target("optimizer", "classification", ("a", "b"))
VALUES = Target("learning_rate", "regression")


def tally(right, *, runs=None, readings=10, target=CLASSES):
    right = np.array(right, float)
    none = np.zeros(len(right))
    runs = tuple(runs if runs is not None else (f"run {i}" for i in range(len(right))))
    return Tally(target, "slice", runs, none, right, none, readings * right, np.full(len(right), float(readings)))


def errors(found, truth):
    error = np.array(found, float) - truth
    none = np.zeros(len(truth))
    runs = tuple(f"run {i}" for i in range(len(truth)))
    return Tally(VALUES, "snapshot", runs, np.array(truth, float), np.abs(error), error**2, none, none)


def majority(**params):
    return build("majority", target="optimizer", snapshots=(1, 4), **params)


def svm(**params):
    return build("svm", target="optimizer", snapshots=(1, 4), slice_length=200, draws=2, regularization=0.01, **params)


@pytest.fixture(scope="module")
def fitted(zoo):
    train, _ = zoo.split()
    return {"majority": majority().fit(train), "svm": svm().fit(train)}


def test_a_difference_is_paired():
    generator = np.random.default_rng(0)
    hard = generator.random(200) < 0.5  # runs that neither names right
    better = ~hard
    worse = ~hard & (np.arange(200) % 20 > 0)
    (pair,) = compare({"a": tally(better), "b": tally(worse)})["pairs"]
    assert pair["difference"] == pytest.approx(better.mean() - worse.mean())
    low, high = pair["interval"]
    assert 0 <= low < pair["difference"] < high < 0.1  # unpaired it would be twice ± 7 %
    assert pair["per_reading"]["difference"] == pytest.approx(pair["difference"])


def test_mcnemar_is_the_exact_test():
    a = [1] * 9 + [0] * 2 + [1] * 20 + [0] * 5
    b = [0] * 9 + [1] * 2 + [1] * 20 + [0] * 5
    (pair,) = compare({"a": tally(a), "b": tally(b)})["pairs"]
    assert pair["mcnemar"] == {"a_better": 9, "b_better": 2, "p_value": scipy.stats.binomtest(2, 11).pvalue}
    assert compare({"a": tally(a), "b": tally(a)})["pairs"][0]["mcnemar"]["p_value"] == 1


def test_only_runs_that_all_were_judged_by_count():
    document = compare({"a": tally([1, 1, 0], runs="xyz"), "b": tally([0, 1], runs="yz")})
    assert document["n_runs"] == 2
    assert document["n_not_common"] == 1
    assert [m["value"] for m in document["models"]] == [0.5, 0.5]
    with pytest.raises(MetaError, match="no run is left that all models can be judged by"):
        compare({"a": tally([1], runs="x"), "b": tally([0], runs="y")})


def test_equal_targets_alone_are_compared():
    with pytest.raises(MetaError, match="different targets cannot be compared: classification, learning_rate"):
        compare({"a": tally([1, 0]), "b": errors([1, 2], [1, 2])})


def test_values_are_compared_by_their_errors():
    truth = np.arange(40) / 10
    near, far = truth + 0.1, truth + np.where(np.arange(40) % 2, 0.6, -0.6)
    document = compare({"near": errors(near, truth), "far": errors(far, truth)})
    (pair,) = document["pairs"]
    assert document["measure"] == "mae"
    assert pair["difference"] == pytest.approx(-0.5)
    assert pair["interval"] == pytest.approx([-0.5, -0.5])
    assert pair["mcnemar"]["a_better"] == 40
    assert document["models"][1]["r2"]["value"] == pytest.approx(1 - 40 * 0.36 / np.sum((truth - truth.mean()) ** 2))
    assert pair["r2"]["interval"][0] > 0


def test_fitted_models_are_compared_on_unseen_runs(fitted, zoo):
    document = compare(fitted, zoo, slices=5)
    json.dumps(document, allow_nan=False)
    assert document["n_runs"] == 15
    assert [m["name"] for m in document["models"]] == ["majority", "svm"]
    assert document["models"][1]["value"] == fitted["svm"].evaluate(zoo, slices=5)["per_run"]["accuracy"]
    assert document["pairs"][0]["difference"] < 0
    same = compare([fitted["majority"], fitted["majority"]], zoo)
    assert [m["name"] for m in same["models"]] == ["majority", "majority #2"]
    assert same["pairs"][0]["interval"] == [0, 0]


def test_a_run_in_several_splits_counts_once(zoo):
    once = compare_splits({"m": majority(), "n": majority()}, zoo, split_seeds=[0])
    # The memory zoo has the same split for 0 and 4: nothing new is learnt from testing it twice.
    twice = compare_splits({"m": majority(), "n": majority()}, zoo, split_seeds=[0, 4])
    assert (once["n_runs"], twice["n_runs"], twice["n_splits"]) == (15, 15, 2)
    assert once["models"][0]["value"] == twice["models"][0]["value"]
    low, high = twice["models"][0]["interval"]
    assert high - low == pytest.approx(np.subtract(*once["models"][0]["interval"][::-1]), rel=0.25)


def test_splits_are_pooled_and_settings_stay_unfitted(zoo):
    settings = {"svm": svm(), "chosen": lambda train: majority().fit(train)}
    document = compare_splits(settings, zoo, split_seeds=[0, 1], slices=2)
    json.dumps(document, allow_nan=False)
    assert not hasattr(settings["svm"], "target_")
    assert document["n_runs"] == 30
    assert [s["split_seed"] for s in document["splits"]] == [0, 1]
    mean = np.mean([s["values"]["svm"] for s in document["splits"]])
    assert document["models"][0]["value"] == pytest.approx(mean)


def test_accuracy_by_the_number_of_slices(fitted, zoo):
    document = by_slices(fitted["svm"], zoo, counts=(1, 4, 2))
    json.dumps(document, allow_nan=False)
    assert [r["slices"] for r in document["results"]] == [1, 2, 4]
    for result in document["results"]:
        for part in ("per_run", "one_snapshot", "last_snapshot"):
            low, high = result[part]["interval"]
            assert low <= result[part]["accuracy"] <= high
    readings, _ = fitted["svm"].read_unseen(zoo, slices=4)
    truth = [r.target.encode(r.labels[0]) for r in readings]
    last = np.mean([r.outputs[-1, :2].mean(axis=0).argmax() == t for r, t in zip(readings, truth, strict=True)])
    assert document["results"][1]["last_snapshot"]["accuracy"] == last
    with pytest.raises(MetaError, match="counts of slices must be from 1 up"):
        by_slices(fitted["svm"], zoo, counts=(0, 1))


def test_whole_vectors_have_one_row_and_values_their_own_measures(fitted, zoo):
    assert [r["slices"] for r in by_slices(fitted["majority"], zoo)["results"]] == [None]
    regression = build("fields", target="test_accuracy", snapshots=(1, 4)).fit(zoo.split()[0])
    (result,) = by_slices(regression, zoo)["results"]
    assert result["per_run"] == regression.evaluate(zoo)["per_run"]
    assert result["one_snapshot"]["mae"]["value"] >= result["per_run"]["mae"]["value"]
