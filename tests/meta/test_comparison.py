import json

import numpy as np
import pytest

from weightprint.meta import build, compare, compare_splits


def majority(**params):
    return build("majority", target="optimizer", snapshots=(1, 4), **params)


def svm(**params):
    return build("svm", target="optimizer", snapshots=(1, 4), slice_length=200, draws=2, regularization=0.01, **params)


@pytest.fixture(scope="module")
def fitted(zoo):
    train, _ = zoo.split()
    return {"majority": majority().fit(train), "svm": svm().fit(train)}


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
    assert not hasattr(settings["svm"], "heads_")
    assert document["n_runs"] == 30
    assert [s["split_seed"] for s in document["splits"]] == [0, 1]
    mean = np.mean([s["values"]["svm"] for s in document["splits"]])
    assert document["models"][0]["value"] == pytest.approx(mean)


def test_kin_of_training_runs_judge_nothing_and_are_counted(fitted, zoo, twin):
    document = compare(fitted, twin, slices=2)
    assert document["n_runs"] == 15  # the kin of the test runs alone
    assert [m["excluded"] for m in document["models"]] == [{"kin": 45}, {"kin": 45}]
    assert document["n_not_common"] == 0


class Mixed:
    """Two zoos of one seed as one. A split tests the numbers of one that leave a certain rest by 4, and of the other
    all that are even."""

    def __init__(self, zoo, twin):
        self.zoo, self.twin = zoo, twin

    def split(self, *, split_seed):
        train, test = self.zoo.split(split_seed=split_seed)
        odd, even = ([run for run in self.twin if run.number % 2 == rest] for rest in (1, 0))
        return [*train, *odd], [*test, *even]


def test_kin_are_left_out_of_every_split(zoo, twin):
    document = compare_splits({"m": majority()}, Mixed(zoo, twin), split_seeds=[0, 2])
    # In split 0 the numbers 2, 6, … are tested in one zoo and trained on in the other; in split 2 it is 0, 4, …
    assert [s["n_runs"] for s in document["splits"]] == [30, 30]
    assert document["n_runs"] == 60
    assert document["models"][0]["excluded"] == {"kin": 15}
