import numpy as np
import pytest

from weightprint.errors import MetaError
from weightprint.meta import build, load_meta
from weightprint.setups import Setup

BASELINES = ("majority", "shapes", "fields")


def baseline(model, target="optimizer", **params):
    return build(model, target=target, snapshots=(1, 4), **params)


@pytest.fixture
def unread(make_zoo, monkeypatch):
    """A zoo whose weights must not be read."""
    zoo = make_zoo(40)
    monkeypatch.setattr(type(zoo[0]), "weights", property(lambda run: pytest.fail("weights were read")))
    return zoo


@pytest.mark.parametrize("model", BASELINES)
@pytest.mark.parametrize("target", ["optimizer", "test_accuracy"])
def test_baselines_read_no_weights_and_survive_the_disk(unread, tmp_path, model, target):
    train, test = unread.split()
    meta = baseline(model, target).fit(train)
    document = meta.evaluate(test)
    assert document["n_runs"] == 10
    meta.save(tmp_path / "x.meta")
    loaded = load_meta(tmp_path / "x.meta")
    assert {**loaded.evaluate(test), "seconds": 0} == {**document, "seconds": 0}


def test_the_majority_is_the_training_runs_most_frequent_class(unread):
    for run in unread:
        run.properties["colour"] = "red" if run.number % 5 else "blue"
    train, test = unread.split()
    meta = baseline("majority", "colour").fit(train)
    blue = sum(run.properties["colour"] == "blue" for run in train) / len(train)
    np.testing.assert_allclose(meta.predict_proba(test), np.tile([blue, 1 - blue], (10, 1)))
    assert set(meta.predict(test)) == {"red"}
    assert meta.evaluate(test)["per_run"]["accuracy"] == meta.evaluate(test)["majority"]


def test_the_majority_of_numbers_is_their_mean(unread):
    train, test = unread.split()
    meta = baseline("majority", "learning_rate").fit(train)
    assert meta.predict(test) == pytest.approx(np.mean([run.properties["learning_rate"] for run in train]))
    assert meta.evaluate(test)["per_run"]["r2"]["value"] <= 0


def test_shapes_tell_the_architecture_and_nothing_else(make_zoo):
    zoo = make_zoo(setups=[Setup(filter_size=3, width_conv=2, width_fc=8, depth_fc=depth) for depth in (1, 2)])
    for run in zoo:
        run.properties["hidden"] = sum(t.name.startswith("fc") and t.kind == "kernel" for t in run.layout)
    train, test = zoo.where(lambda run: run.number < 40), zoo.where(lambda run: run.number >= 40)
    assert baseline("shapes", "hidden").fit(train).score(test) == 1
    assert baseline("shapes", "optimizer").fit(train).score(test) < 0.7


def test_fields_predict_what_depends_on_the_other_choices(unread):
    train, test = unread.split()
    # Of a run's measured accuracy nearly all comes from its learning rate.
    assert baseline("fields", "test_accuracy").fit(train).evaluate(test)["per_run"]["r2"]["value"] > 0.7
    for run in unread:
        run.properties["copied"] = run.properties["optimizer"]
    assert baseline("fields").fit(train).score(test) == 1
    for run in unread:
        del run.properties["copied"]
    assert baseline("fields").fit(train).score(test) < 0.8


def test_fields_use_neither_the_target_nor_what_is_measured_nor_names(unread):
    for run in unread:
        run.properties.update(test_accuracy=0.5, name=f"run {run.number}", nested=[1, 2], missing=None)
    meta = baseline("fields").fit(unread)
    assert set(meta.facts_["columns"]) == {"augmentation", "batch_size", "learning_rate"}


def test_without_facts_that_tell_runs_apart_nothing_is_found(unread):
    for run in unread:
        run.properties = {"optimizer": run.properties["optimizer"], "dataset": "mnist"}
    train, test = unread.split()
    chances = baseline("fields").fit(train).predict_proba(test)
    assert np.ptp(chances, axis=0) == pytest.approx(0)


def test_baselines_do_not_read_slices():
    with pytest.raises(MetaError, match="shapes reads whole vectors, not slices of 5000"):
        baseline("shapes", slice_length=5000)
