import json

import numpy as np
import pytest
import scipy.stats

from weightprint.errors import MetaError
from weightprint.meta import build, calibrate, conformal_sets, split_validation
from weightprint.meta.calibration import calibration_scores, draw_snapshot, temperature, tempered
from weightprint.meta.conformal import clopper_pearson, set_scores
from weightprint.meta.selection import Runs, folds
from weightprint.report.figures import standalone
from weightprint.report.reliability import reliability_figure

OPTIMIZERS = ["adam", "momentum", "rmsprop"]


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


def svm(target="optimizer", **params):
    return build(
        "svm",
        **{"target": target, "snapshots": (1, 4), "slice_length": 200, "draws": 2, "regularization": 0.01, **params},
    )


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


def test_clopper_pearson_agrees_with_its_definition():
    assert clopper_pearson(0, 59) == pytest.approx((0, 1 - 0.025 ** (1 / 59)))
    low, high = clopper_pearson(54, 60)
    assert scipy.stats.binom.sf(53, 60, low) == pytest.approx(0.025)
    assert scipy.stats.binom.cdf(54, 60, high) == pytest.approx(0.025)
    assert clopper_pearson(0, 0) == (0, 1)


def test_set_scores_count_coverage_sizes_and_confident_errors():
    sets = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 0], [1, 1, 1]], bool)
    document = set_scores(sets, np.array([0, 0, 0, 0, 2]))
    assert (document["covered"], document["coverage"]) == (3, 0.6)
    assert document["interval"] == pytest.approx(clopper_pearson(3, 5))
    assert document["mean_size"] == pytest.approx(7 / 5)
    assert document["sizes"] == [1, 2, 1, 1]
    assert document["confident_errors"]["n"] == 1
    assert document["per_class"] == [{"covered": 2, "n": 4}, {"covered": 0, "n": 0}, {"covered": 1, "n": 1}]


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
    assert not hasattr(meta, "target_")
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
    models = [svm().fit(Runs(run for run, f in zip(runs, fold, strict=True) if f != k)) for k in range(3)]

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


def test_a_reliability_diagram_shows_every_bin_with_its_runs():
    probabilities = np.array([[0.95, 0.05]] * 6 + [[0.6, 0.4]] * 4)
    truth = np.array([0] * 6 + [1] * 3 + [0])
    document = {"property": "optimizer", "model": "trees", "before": calibration_scores(probabilities, truth, draws=50)}
    picture = reliability_figure([document, document])
    assert picture.alt.count("claimed 60 %, right 25 % of 4; claimed 95 %, right 100 % of 6") == 2
    assert standalone(picture.svg).startswith("<?xml")
