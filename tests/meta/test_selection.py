import json

import numpy as np
import pytest

from weightprint.errors import MetaError
from weightprint.meta import build, compare_splits, pick, split_validation
from weightprint.meta.comparison import folds


def svm(**params):
    return build("svm", target="optimizer", snapshots=(1, 4), slice_length=200, draws=2, regularization=0.01, **params)


def majority(target="optimizer"):
    return build("majority", target=target, snapshots=(1, 4))


def test_folds_are_stratified_and_do_not_depend_on_the_order(zoo):
    runs = list(zoo)
    fold = folds(runs, "optimizer", 4)
    labels = np.array([run.properties["optimizer"] for run in runs])
    for label in np.unique(labels):
        assert np.ptp(np.bincount(fold[labels == label], minlength=4)) <= 1
    assert folds(runs[::-1], "optimizer", 4).tolist() == fold[::-1].tolist()
    assert folds(runs, "optimizer", 4, seed=1).tolist() != fold.tolist()


@pytest.mark.parametrize("target", ["learning_rate", "test_accuracy"])
def test_numbers_are_stratified_by_quantiles(zoo, target):
    runs = list(zoo)
    fold = folds(runs, target, 3)
    order = np.argsort([run.properties["learning_rate"] for run in runs])
    assert all(np.ptp(np.bincount(fold[fifth], minlength=3)) <= 1 for fifth in np.array_split(order, 5))


def test_validation_runs_come_from_the_training_runs_and_from_every_class(zoo):
    train, _ = zoo.split()
    learn, validation = split_validation(train, "optimizer", share=0.25)
    assert {run.identity for run in learn} | {run.identity for run in validation} == {run.identity for run in train}
    assert not {run.identity for run in learn} & {run.identity for run in validation}
    assert len(validation) in (11, 12)
    assert {run.properties["optimizer"] for run in validation} == {"adam", "momentum", "rmsprop"}
    assert svm().fit(learn).train_runs_ == tuple(sorted(run.identity for run in learn))
    with pytest.raises(MetaError, match=r"above 0 and at most 0.5, not 0.7"):
        split_validation(train, "optimizer", share=0.7)
    with pytest.raises(MetaError, match="1 runs cannot be split"):
        split_validation(list(train)[:1], "optimizer")


def test_the_better_candidate_is_picked_without_test_runs(zoo):
    train, test = zoo.split()
    candidates = {"majority": majority(), "svm": svm()}
    picked = pick(candidates, train, slices=2)
    json.dumps(picked.document, allow_nan=False)
    assert picked.name == picked.document["chosen"] == "svm"
    assert picked.document["n_runs"] == len(train)
    assert not hasattr(picked.meta, "heads_")
    assert picked.meta.fit(train).evaluate(test)["n_runs"] == len(test)


def test_every_candidate_is_judged_by_runs_that_it_was_not_fitted_on(zoo, monkeypatch):
    train, _ = zoo.split()
    seen = []
    fit = type(majority()).fit
    monkeypatch.setattr(type(majority()), "fit", lambda self, runs: seen.append(len(runs)) or fit(self, runs))
    assert pick({"one": majority()}, train, count=5).document["n_runs"] == 45
    assert seen == [36] * 5


def test_of_equals_the_first_is_picked_and_of_numbers_the_nearest(zoo):
    train, _ = zoo.split()
    assert pick({"b": majority(), "a": majority()}, train).name == "b"
    fields = build("fields", target="test_accuracy", snapshots=(1, 4))
    picked = pick({"majority": majority("test_accuracy"), "fields": fields}, train)
    assert (picked.name, picked.document["measure"]) == ("fields", "mae")


def test_a_choice_can_be_made_anew_in_every_split(zoo):
    chosen = []

    def choose(train):
        picked = pick({"majority": majority(), "svm": svm()}, train, count=2, slices=1, say=chosen.append)
        return picked.meta.fit(train)

    document = compare_splits({"picked": choose}, zoo, split_seeds=[1], slices=1)
    assert document["models"][0]["value"] > 0.5
    assert chosen[0].startswith("majority: 0.")


def test_candidates_of_one_target_are_needed(zoo):
    with pytest.raises(MetaError, match="one target, not 2: optimizer, test_accuracy"):
        pick({"a": majority(), "b": majority("test_accuracy")}, zoo)
    with pytest.raises(MetaError, match="one target, not 0: none given"):
        pick({}, zoo)
    with pytest.raises(MetaError, match="at least 2 folds"):
        pick({"a": majority()}, zoo, count=1)


def test_kin_share_a_fold(zoo, twin):
    runs = [*zoo, *twin]
    fold = folds(runs, "optimizer", 4)
    assert fold[:60].tolist() == fold[60:].tolist()
    assert np.ptp(np.bincount(fold)) <= 2
    learn, validation = split_validation(runs, "optimizer")
    assert {run.kin for run in learn}.isdisjoint({run.kin for run in validation})
    assert len(learn) + len(validation) == 120
    pairs = [zoo[0], twin[0]]
    with pytest.raises(MetaError, match="2 runs, which share their random streams, cannot be split"):
        split_validation(pairs, "optimizer")
    with pytest.raises(MetaError, match="at least 2 folds of the training runs, not 1"):
        pick({"a": majority()}, pairs)


def test_no_candidate_is_judged_by_kin_of_what_it_was_fitted_on(zoo, twin, monkeypatch):
    fitted = []
    fit = type(majority()).fit
    monkeypatch.setattr(type(majority()), "fit", lambda self, runs: fitted.append(list(runs)) or fit(self, runs))
    document = pick({"one": majority()}, [*zoo, *twin], count=4).document
    assert document["n_runs"] == 120  # every run is judged: none was left out because its kin was trained on
    for runs in fitted:
        assert len({run.kin for run in runs}) == len(runs) / 2 == 45
