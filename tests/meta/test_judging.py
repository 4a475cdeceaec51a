import json

import numpy as np
import pytest

from weightprint.errors import MetaError
from weightprint.meta import build, by_slices, calibrate, conformal_sets, split_validation
from weightprint.meta.comparison import folds
from weightprint.meta.judging import draw_snapshot

OPTIMIZERS = ["adam", "momentum", "rmsprop"]


def svm(target="optimizer", **params):
    return build(
        "svm",
        **{"target": target, "snapshots": (1, 4), "slice_length": 200, "draws": 2, "regularization": 0.01, **params},
    )


@pytest.fixture(scope="module")
def fitted(zoo):
    train, _ = zoo.split()
    majority = build("majority", target="optimizer", snapshots=(1, 4))
    return {"majority": majority.fit(train), "svm": svm().fit(train)}


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


def test_validation_runs_fit_the_temperature_and_test_runs_judge_it(zoo):
    train, test = zoo.split()
    learn, validation = split_validation(train, "optimizer")
    meta = svm().fit(learn)
    for one_snapshot in (False, True):
        document = calibrate(meta, validation, test, slices=3, one_snapshot=one_snapshot, draws=100)
        json.dumps(document, allow_nan=False)
        assert (document["n_validation_runs"], document["n_runs"]) == (len(validation), 15)
        assert document["before"]["accuracy"] == document["after"]["accuracy"]
    with pytest.raises(MetaError, match="were trained on"):
        calibrate(meta, learn, test)
    with pytest.raises(MetaError, match="learning_rate is a number"):
        calibrate(build("majority", target="learning_rate", snapshots=(1, 4)).fit(learn), validation, test)


def test_one_snapshot_of_each_run_is_drawn_by_its_identity_alone():
    numbers = [draw_snapshot(f"run {i}", (11, 12, 13), 0) for i in range(300)]
    assert numbers == [draw_snapshot(f"run {i}", (11, 12, 13), 0) for i in range(300)]
    assert min(np.bincount(numbers)[11:]) > 70
    assert numbers != [draw_snapshot(f"run {i}", (11, 12, 13), 1) for i in range(300)]


@pytest.mark.slow
def test_conformal_sets_hold_the_true_class_as_often_as_promised(make_zoo):
    pytest.importorskip("mapie")
    zoo = make_zoo(240)
    train, test = zoo.where(lambda run: run.number % 2), zoo.where(lambda run: run.number % 2 == 0)
    weak = svm(slice_length=5)
    document = conformal_sets(weak, train, test, levels=(0.6, 0.9), slices=1)
    assert document["accuracy"] < 0.9
    for level in document["levels"]:
        low, high = level["interval"]
        assert low <= level["level"] <= high
    assert document["levels"][0]["mean_size"] < document["levels"][1]["mean_size"]


def test_conformal_sets_of_a_model_that_knows_are_small(zoo):
    pytest.importorskip("mapie")
    train, test = zoo.split()
    meta = svm()
    document = conformal_sets(meta, train, test, levels=(0.8, 0.9), count=3, slices=3)
    json.dumps(document, allow_nan=False)
    assert not hasattr(meta, "heads_")
    assert (document["n_train_runs"], document["n_runs"], document["folds"]) == (45, 15, 3)
    assert document["levels"][0]["mean_size"] <= document["levels"][1]["mean_size"] < 3
    assert document["levels"][1]["coverage"] > 0.7
    for of_run in document["sets"]:
        assert set(of_run["sets"][0]) <= set(of_run["sets"][1]) <= set(document["classes"])


def test_conformal_sets_are_those_of_their_definition(zoo):
    pytest.importorskip("mapie")
    train, test = zoo.split()
    levels, slices = (0.6, 0.8, 0.9), 2
    document = conformal_sets(svm(), train, test, levels=levels, count=3, slices=slices)
    runs = sorted(train, key=lambda run: run.identity)
    fold = folds(runs, "optimizer", 3)
    models = [svm().fit([run for run, f in zip(runs, fold, strict=True) if f != k]) for k in range(3)]

    def scores(run, model):
        number = draw_snapshot(run.identity, (1, 2, 3, 4), 0)
        return 1 - model.read([run], slices=slices, snapshots=(number, number))[0][0].mean

    own = [
        scores(run, models[f])[OPTIMIZERS.index(run.properties["optimizer"])] for run, f in zip(runs, fold, strict=True)
    ]
    n = len(runs)
    for of_run, run in zip(document["sets"], test, strict=True):
        found = [scores(run, model) for model in models]
        worse = [sum(own[i] < found[fold[i]][c] for i in range(n)) for c in range(3)]
        expected = [[OPTIMIZERS[c] for c in range(3) if worse[c] < level * (n + 1)] for level in levels]
        assert of_run["sets"] == expected


@pytest.mark.parametrize(
    ("params", "options", "message"),
    [
        ({"target": "learning_rate"}, {}, "conformal sets are of classes"),
        ({}, {"levels": (0.5, 1.0)}, "levels must lie between 0 and 1"),
        ({}, {"levels": (0.99,)}, r"at level 0.99 take at least 100 training runs, not 45 \(a lower level"),
    ],
)
def test_sets_that_cannot_be_are_refused(zoo, params, options, message):
    pytest.importorskip("mapie")
    train, test = zoo.split()
    with pytest.raises(MetaError, match=message):
        conformal_sets(svm(**params), train, test, **options)


def test_sets_need_their_library(zoo, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "mapie.classification", None)
    with pytest.raises(MetaError, match=r"need the library MAPIE \(pip install 'weightprint\[conformal\]'\)"):
        conformal_sets(svm(), *zoo.split())


def test_averages_are_not_taken_over_kin_of_training_runs(fitted, twin):
    document = by_slices(fitted["svm"], twin, counts=(1,))
    assert (document["n_runs"], document["excluded"]) == (15, {"kin": 45})


def test_a_temperature_is_not_judged_by_kin_of_the_runs_that_set_it(zoo, twin):
    train, test = zoo.split()
    learn, validation = split_validation(train, "optimizer")
    meta = svm().fit(learn)
    document = calibrate(meta, validation, twin, slices=1, draws=20)
    assert (document["n_runs"], document["excluded"]) == (15, {"kin": 45})
    assert calibrate(meta, validation, test, slices=1, draws=20)["excluded"] == {}
    with pytest.raises(MetaError, match="no test run is left: all 15 are validation runs or share random streams"):
        calibrate(meta, test, twin.split()[1], draws=20)


@pytest.mark.slow
def test_sets_are_not_made_for_kin_of_training_runs_and_kin_share_a_fold(zoo, twin, monkeypatch):
    pytest.importorskip("mapie")
    train, _ = zoo.split()
    both = [*train, *(run for run in twin if run.kin in {r.kin for r in train})]
    fitted = []
    fit = type(svm()).fit
    monkeypatch.setattr(type(svm()), "fit", lambda self, runs: fitted.append(list(runs)) or fit(self, runs))
    document = conformal_sets(svm(), both, twin, levels=(0.8,), count=3, slices=1)
    assert (document["n_train_runs"], document["n_runs"], document["excluded"]) == (90, 15, {})
    assert [len({run.kin for run in runs}) for runs in fitted] == [len(runs) / 2 for runs in fitted]
    alone = conformal_sets(svm(), train, twin, levels=(0.8,), count=3, slices=1)
    assert (alone["n_train_runs"], alone["n_runs"], alone["excluded"]) == (45, 15, {"kin": 45})


def test_a_class_of_one_kin_alone_has_no_sets(zoo, twin):
    pytest.importorskip("mapie")
    train, test = zoo.split()
    rare = [run for run in train if run.properties["optimizer"] == "adam"][1:]
    kept = [run for run in train if run not in rare]
    (only,) = [run for run in kept if run.properties["optimizer"] == "adam"]
    with pytest.raises(MetaError, match="optimizer 'adam' has one training run"):
        conformal_sets(svm(), kept, test)
    with pytest.raises(MetaError, match="optimizer 'adam' has training runs of one kin alone"):
        conformal_sets(svm(), [*kept, twin[only.number]], test)
