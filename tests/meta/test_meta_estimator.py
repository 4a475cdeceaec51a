"""What every meta-classifier does the same way, shown with the quick ones."""

import json
import subprocess
import sys

import numpy as np
import pytest
from sklearn.base import clone

from weightprint.errors import MetaError
from weightprint.meta import MODELS, build, fit
from weightprint.meta.learners.base import Examples, deal_folds
from weightprint.meta.targets import Target

QUICK = {
    "svm": {"slice_length": 200, "snapshots": (2, 4), "draws": 3},
    "trees": {"slice_length": "all", "snapshots": (2, 4), "iterations": 20},
    "dmc": {"slice_length": 64, "snapshots": (2, 4), "epochs": 2, "batch_size": 32},
}


def quick(model, target="optimizer", **params):
    return build(model, target=target, **{**QUICK[model], **params})


@pytest.fixture(scope="module")
def fitted(zoo):
    return {
        (model, target): quick(model, target).fit(zoo.split()[0])
        for model in QUICK
        for target in ("optimizer", "learning_rate")
    }


@pytest.mark.parametrize("model", ["svm", "trees"])
def test_a_planted_signal_is_found(fitted, zoo, model):
    document = fitted[model, "optimizer"].evaluate(zoo.split()[1])
    assert document["per_run"]["accuracy"] > 0.85
    assert document["n_runs"] == document["per_run"]["n"] == 15
    assert document["chance"] == pytest.approx(1 / 3)
    assert document["classes"] == ["adam", "momentum", "rmsprop"]
    regression = fitted[model, "learning_rate"].evaluate(zoo.split()[1])
    assert regression["kind"] == "regression"
    assert regression["per_run"]["r2"]["value"] > 0.7


def test_the_svm_reads_whole_vectors_too(zoo):
    train, test = zoo.split()
    assert quick("svm", slice_length="all").fit(train).score(test) > 0.85


@pytest.mark.slow
@pytest.mark.parametrize("model", ["svm", "trees"])
def test_shuffled_labels_stay_at_chance(make_zoo, model):
    right = 0
    for seed in range(5):
        zoo = make_zoo(40)
        for run, label in zip(zoo, np.random.default_rng(seed).permutation(40) % 2, strict=True):
            run.properties["shuffled"] = "ab"[label]
        train, test = zoo.split()
        right += 10 * quick(model, "shuffled").fit(train).score(test)
    assert 15 <= right <= 35  # of 50; beyond it with a probability of 0.3 %


@pytest.mark.parametrize("model", QUICK)
def test_documents_are_json_and_hold_the_least_content(fitted, zoo, model):
    train, test = zoo.split()
    document = fitted[model, "optimizer"].evaluate(test, slices=3)
    json.dumps(document, allow_nan=False)
    assert {"property", "model", "kind", "chance", "majority", "per_run", "confusion", "excluded"} <= document.keys()
    assert ("per_snapshot" if model == "trees" else "per_slice") in document
    assert document["n_train_runs"] == len(train) == 45
    assert document["snapshots"] == [2, 4]
    assert np.sum(document["confusion"]) == len(test) == sum(document["class_counts"])
    assert document["lengths_differ"] is False
    regression = fitted[model, "learning_rate"].evaluate(test, slices=3)
    json.dumps(regression, allow_nan=False)
    assert {"r2", "mae", "kendall_tau", "tau_ceiling"} <= regression["per_run"].keys()


@pytest.mark.parametrize("model", QUICK)
def test_predictions_are_one_per_run(fitted, zoo, model):
    meta = fitted[model, "optimizer"]
    chances = meta.predict_proba(zoo, slices=3)
    assert chances.shape == (60, 3)
    np.testing.assert_allclose(chances.sum(axis=1), 1)
    labels = meta.predict(zoo, slices=3)
    assert labels.tolist() == [meta.classes_[i] for i in chances.argmax(axis=1)]
    assert fitted[model, "learning_rate"].predict(zoo, slices=3).shape == (60,)
    with pytest.raises(MetaError, match="no class probabilities"):
        fitted[model, "learning_rate"].predict_proba(zoo)


@pytest.mark.slow
@pytest.mark.parametrize("model", QUICK)
def test_a_prediction_does_not_depend_on_the_company(fitted, zoo, model):
    meta = fitted[model, "optimizer"]
    alone = meta.predict_proba(zoo.where(lambda run: run.number == 7))
    np.testing.assert_allclose(alone[0], meta.predict_proba(zoo)[7], rtol=1e-6, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("model", QUICK)
def test_equal_seeds_give_equal_fits_in_any_order_of_runs(few, model):
    train, test = few.split()
    backwards = type(few)(train.runs[::-1])
    one, other = quick(model).fit(train), quick(model).fit(backwards)
    np.testing.assert_array_equal(one.predict_proba(test), other.predict_proba(test))


def test_runs_that_were_trained_on_are_never_scored(fitted, zoo):
    train, test = zoo.split()
    meta = fitted["svm", "optimizer"]
    assert set(meta.train_runs_) == {run.identity for run in train}
    assert meta.evaluate(zoo)["n_runs"] == len(test)
    with pytest.raises(MetaError, match="45 of 45 were trained on") as error:
        meta.evaluate(train)
    assert "test part of a split" in error.value.hint


@pytest.mark.filterwarnings("ignore:run 1 :UserWarning")
def test_runs_left_out_are_counted_by_reason(make_zoo):
    zoo = make_zoo(40)
    zoo[1].broken, zoo[2].broken = "corrupt", "nan"
    zoo[3].status, zoo[5].converged, zoo[6].converged = "diverged", False, None
    del zoo[7].properties["optimizer"]
    zoo[9].layout = type(zoo[9].layout)(zoo[9].layout.tensors[:1])
    meta = quick("svm").fit(zoo)
    assert meta.excluded_ == {
        "corrupt": 1,
        "not_complete": 1,
        "not_converged": 1,
        "not_finite": 1,
        "too_short": 1,
        "unlabelled": 1,
    }
    assert len(meta.train_runs_) == 34
    assert "zoo:6" in meta.train_runs_  # not known is kept
    assert "zoo:5" in quick("svm", converged=False).fit(zoo).train_runs_


def test_a_corrupt_run_is_named(make_zoo):
    zoo = make_zoo(30)
    zoo[4].broken = "corrupt"
    with pytest.warns(UserWarning, match=r"run 4 \(zoo:4\) is left out: 0000003"):
        quick("svm").fit(zoo)


@pytest.mark.filterwarnings("ignore:run 1 :UserWarning")
def test_runs_that_cannot_be_read_get_no_prediction(make_zoo, fitted):
    zoo = make_zoo(4)
    zoo[1].broken, zoo[2].status = "corrupt", "failed"
    meta = fitted["svm", "optimizer"]
    assert [label is None for label in meta.predict(zoo)] == [False, True, True, False]
    assert np.isnan(meta.predict_proba(zoo)).all(axis=1).tolist() == [False, True, True, False]
    assert np.isnan(fitted["svm", "learning_rate"].predict(zoo)).tolist() == [False, True, True, False]


def test_a_class_that_no_training_run_had_is_counted(make_zoo, fitted):
    zoo = make_zoo(8)
    for run in zoo:
        run.identity = f"other:{run.number}"
        run.kin = frozenset({run.identity})
    zoo[0].properties = {**zoo[0].properties, "dataset": "x"}
    meta = fitted["svm", "optimizer"]
    zoo[0].properties["optimizer"] = "sgd"
    # Its weights cannot be drawn under an unknown optimizer: draw them under a known one.
    weights = make_zoo(1)[0].weights
    type(zoo[0]).weights, kept = property(lambda run: weights), type(zoo[0]).weights
    try:
        document = meta.evaluate(zoo)
    finally:
        type(zoo[0]).weights = kept
    assert document["excluded"] == {"class_not_trained": 1}
    assert document["n_runs"] == 7


@pytest.mark.parametrize("model", ["svm", "trees"])
def test_networks_of_different_architectures_are_read_together(mixed_zoo, model):
    train, test = mixed_zoo.split()
    test = type(test)([*test.runs, *train.runs[:4]])
    meta = quick(model, slice_length="all").fit(train.where(lambda run: run.number > 5))
    document = meta.evaluate(test)
    assert document["lengths_differ"]
    assert "weights" in document["note"]
    assert document["per_run"]["accuracy"] > 0.7


def test_a_measurement_is_regressed_at_its_snapshots(zoo):
    train, test = zoo.split()
    meta = quick("trees", "test_accuracy").fit(train)
    assert meta.target_ == Target("test_accuracy", "regression")
    document = meta.evaluate(test)
    assert document["per_run"]["kendall_tau"]["value"] > 0.6
    readings, excluded = meta.read(test, held_out=True)
    assert readings[0].labels == tuple(m["test_accuracy"] for m in readings[0].run.measurements[1:4])
    assert excluded == {}


@pytest.mark.slow
@pytest.mark.parametrize("model", ["trees", "layer_trees"])
def test_a_single_snapshot_a_run_is_enough(make_zoo, model):
    zoo = make_zoo(60, snapshots=1)
    train, test = zoo.split()
    meta = build(model, target="optimizer", iterations=20).fit(train)
    assert meta.view.snapshots == "later-half"
    assert meta.read(test)[0][0].snapshots == (1,)
    assert meta.score(test) > 0.6


def test_classes_keep_their_own_type(zoo):
    train, test = zoo.split()
    assert quick("svm", "augmentation").fit(train).classes_ == (False, True)
    assert quick("svm", "batch_size").fit(train).evaluate(test)["classes"] == [32, 64]


def test_readings_can_be_spread_over_the_vector_and_other_snapshots(fitted, zoo):
    readings, _ = fitted["svm", "optimizer"].read(zoo, slices=5, spread=True, snapshots=(1, 2))
    assert len(readings) == 60
    reading = readings[0]
    assert reading.snapshots == (1, 2)
    assert reading.outputs.shape == (2, 5, 3)
    assert reading.starts[0].tolist() == reading.starts[1].tolist()
    assert (reading.starts[0, 0], reading.starts[0, -1]) == (0, reading.run.layout.size - 200)


def test_slices_stay_in_the_part(zoo):
    train, test = zoo.split()
    meta = quick("svm", part="conv", slice_length=100).fit(train)
    last = train[1].layout.length("conv") - 100
    assert all(reading.starts.max() <= last for reading in meta.read(test)[0])


def test_clone_and_settings_follow_scikit_learn():
    meta = quick("svm", seed=3)
    copy = clone(meta)
    assert copy.get_params() == meta.get_params()
    assert copy.set_params(seed=4).seed == 4
    assert (meta.seed, meta.view.slice_length) == (3, 200)
    assert "slice_length=200" in repr(meta)


@pytest.mark.parametrize(
    ("model", "params", "message"),
    [
        ("swm", {}, r"unknown model 'swm' \(did you mean 'svm'\?"),
        ("svm", {"slice_lenght": 3}, r"no setting 'slice_lenght' \(did you mean 'slice_length'\?"),
        ("svm", {"target": None}, "needs a target"),
        ("svm", {"part": "convs"}, r"unknown part 'convs' \(did you mean 'conv'\?"),
        ("svm", {"slice_length": 0}, "slice_length must be a whole number from 1 up or 'all', not 0"),
        ("svm", {"slice_length": 2.5}, "not 2.5"),
        ("svm", {"slice_length": "all", "part": "fc"}, "reads the whole vector, not its fc part"),
        ("svm", {"snapshots": (5, 3)}, "a first and a last number from 1 up"),
        ("svm", {"snapshots": 4}, "such as --snapshots 11-20"),
        ("svm", {"converged": "on"}, "converged must be true or false"),
        ("svm", {"without": "moving_statistics"}, r"must be a sequence of names, not 'moving_statistics'"),
        ("svm", {"without": ("moving_statistic",)}, r"'moving_statistic' \(did you mean 'moving_statistics'\?"),
        ("svm", {"without": ("moving_statistics",) * 2}, "names something twice"),
        ("svm", {"seed": -1}, "seed must be"),
        ("svm", {"max_seconds": 0}, "max_seconds must be a number above 0"),
        ("svm", {"draws": 0}, "draws must be"),
        ("svm", {"regularization": 0}, "regularization must be above 0"),
        ("layer_trees", {"slice_length": 5000}, r"not slices of 5000 weights \(--slice-length all\)"),
        ("trees", {"iterations": 0}, "iterations must be"),
        ("trees", {"leaves": 1}, "leaves must be"),
        ("trees", {"learning_rate": 2}, "learning_rate must be"),
        ("slice_trees", {"slice_length": "all"}, r"reads slices, not whole vectors \(--slice-length 5000\)"),
        ("dmc", {"slice_length": 15}, "slices of 16 weights or more, not 15"),
        ("dmc", {"epochs": 0}, "epochs must be"),
        ("dmc", {"batch_size": 1}, "batch_size must be a whole number from 2"),
        ("dmc", {"dropout": 1}, "dropout must be"),
    ],
)
def test_impossible_settings_are_refused(model, params, message):
    target = {} if "target" in params else {"target": "optimizer"}
    params = {name: value for name, value in params.items() if name != "target"}
    with pytest.raises(MetaError, match=message):
        build(model, **target, **params)


@pytest.mark.parametrize(
    ("target", "params", "message"),
    [
        ("optimiser", {}, r"no property 'optimiser' in this zoo \(did you mean 'optimizer'\?"),
        ("test_acuracy", {}, "did you mean 'test_accuracy'"),
        ("dataset", {}, r"at least 2 classes among the training runs, found 1, all 'mnist'"),
        ("optimizer", {"slice_length": 10**6}, "fit in no run: the longest vector has"),
        ("optimizer", {"part": "other"}, "the longest other part has 0"),
        ("optimizer", {"snapshots": (11, 20)}, r"the runs have 1-4 \(--snapshots 1-4\)"),
        ("optimizer", {"device": "nowhere"}, None),
    ],
)
def test_what_a_zoo_cannot_give_is_refused(zoo, target, params, message):
    if message is None:
        with pytest.raises(MetaError, match="device 'nowhere' cannot be used"):
            quick("dmc", target, **params).fit(zoo)
        return
    with pytest.raises(MetaError, match=message):
        quick("svm", target, **params).fit(zoo)


def test_nothing_to_fit_on_is_refused(zoo, make_zoo):
    with pytest.raises(MetaError, match="no runs to fit on"):
        fit("svm", make_zoo(0), target="optimizer")
    unconverged = make_zoo(6, converged=False)
    with pytest.raises(MetaError, match=r"no run is left to fit on: 6 not_converged \(--converged off"):
        quick("svm").fit(unconverged)
    with pytest.raises(MetaError, match="has not been fitted"):
        quick("svm").predict(zoo)


def test_numbers_of_few_values_are_classes_and_of_many_are_regressed():
    assert Target.of("dropout", [[0.0], [0.5], [0.25]], measured=False).classes == (0.0, 0.25, 0.5)
    assert Target.of("rate", [[i / 7] for i in range(11)], measured=False).kind == "regression"
    assert Target.of("augmentation", [[True], [False]], measured=False).kind == "classification"
    assert Target.of("test_accuracy", [[0.1, 0.2]], measured=True).kind == "regression"
    with pytest.raises(MetaError, match="mixed types: int, str"):
        Target.of("x", [[1], ["a"]], measured=False)


def test_folds_are_stratified_by_run():
    labels = ["a"] * 11 + ["b"] * 5 + ["c"]
    fold = deal_folds(labels, 4, np.random.default_rng(0))
    assert set(np.bincount(fold[:11])) <= {2, 3}
    assert set(np.bincount(fold[11:16], minlength=4)) <= {1, 2}
    assert np.ptp(np.bincount(fold)) <= 1


def test_balanced_weights_make_classes_weigh_the_same():
    goals = np.array([0, 0, 0, 1])
    weights = Examples(np.zeros((4, 1), np.float32), ("x",), goals, np.arange(4), 2).balanced
    assert weights[:3].sum() == pytest.approx(weights[3])
    assert weights.mean() == pytest.approx(1)


@pytest.mark.slow
def test_the_registry_lists_models_without_loading_torch():
    assert {"majority", "shapes", "fields", "svm", "trees", "layer_trees", "slice_trees", "dmc"} <= set(MODELS)
    program = (
        "import sys, weightprint.meta as m; list(m.MODELS); m.MODELS['svm']; m.build('trees', target='x');"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_learning_rate_is_regressed_however_few_runs_there_are_and_a_choice_of_rates_is_not():
    assert Target.of("learning_rate", [[0.001 * i] for i in range(1, 7)], measured=False).kind == "regression"
    assert Target.of("dropout", [[d] for d in (0.0, 0.25, 0.5) * 3], measured=False).kind == "classification"
    assert Target.of("batch_size", [[32], [64], [128], [256]], measured=False).kind == "classification"
