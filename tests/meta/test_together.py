import numpy as np
import pytest

from weightprint.errors import MetaError
from weightprint.meta import build, load_meta

SETTINGS = {"slice_length": "all", "snapshots": (1, 4), "iterations": 10, "early_stopping": False}


@pytest.fixture(scope="module")
def joint(zoo):
    together = ("learning_rate", "test_accuracy", "augmentation")
    return build("layer_trees", target="optimizer", together=together, **SETTINGS).fit(zoo.split()[0])


def test_every_property_is_learnt_from_one_fit(joint, zoo):
    documents = joint.evaluate_all(zoo.split()[1])
    assert [d["property"] for d in documents] == ["optimizer", "learning_rate", "test_accuracy", "augmentation"]
    assert [d["kind"] for d in documents] == ["classification", "regression", "regression", "classification"]
    assert documents[0]["per_run"]["accuracy"] > 0.85
    assert documents[1]["per_run"]["r2"]["value"] > 0.4
    assert documents[2]["per_run"]["r2"]["value"] > 0.4
    assert all(d["n_runs"] == 15 for d in documents)


@pytest.mark.slow
def test_heads_are_meta_classifiers_of_their_own(joint, zoo):
    test = zoo.split()[1]
    assert joint.alone("augmentation").predict_proba(test).shape == (15, 2)
    alone = build("layer_trees", target="learning_rate", **SETTINGS).fit(zoo.split()[0])
    np.testing.assert_array_equal(joint.alone("learning_rate").predict(test), alone.predict(test))
    with pytest.raises(MetaError, match="nothing was learnt for 'augmentatio'"):
        joint.alone("augmentatio")


@pytest.mark.slow
def test_what_is_saved_has_all_heads(joint, zoo, tmp_path):
    test = zoo.split()[1]
    joint.save(tmp_path / "joint")
    loaded = load_meta(tmp_path / "joint")
    assert list(loaded.heads_) == list(joint.heads_)
    for name in joint.heads_:
        np.testing.assert_array_equal(loaded.alone(name).predict(test), joint.alone(name).predict(test))
    timeless = [{k: v for k, v in d.items() if k != "seconds"} for d in loaded.evaluate_all(test)]
    assert timeless == [{k: v for k, v in d.items() if k != "seconds"} for d in joint.evaluate_all(test)]


@pytest.mark.slow
def test_each_network_is_read_once_for_all_targets(zoo, monkeypatch):
    reads = []
    cls = type(zoo[0])
    kept = cls.weights
    monkeypatch.setattr(cls, "weights", property(lambda run: reads.append(run.number) or kept.fget(run)))
    train, _ = zoo.split()
    build("layer_trees", target="optimizer", together=("augmentation", "batch_size"), **SETTINGS).fit(train)
    assert sorted(reads) == [run.number for run in train]


def test_a_run_without_a_label_is_left_out_of_that_head_alone(make_zoo):
    zoo = make_zoo(20)
    del zoo[3].properties["augmentation"]
    joint = build("layer_trees", target="optimizer", together=("augmentation",), **SETTINGS).fit(zoo)
    assert len(joint.heads_["augmentation"].train_runs) == 19
    assert len(joint.train_runs_) == 20
    assert joint.excluded_ == {}


@pytest.mark.parametrize(
    ("together", "message"),
    [
        ("dataset", "together must be a sequence of properties' names, not 'dataset'"),
        (("optimizer",), "target and together name a property twice"),
        (("augmentation", "augmentation"), "name a property twice"),
    ],
)
def test_impossible_company_is_refused(together, message):
    with pytest.raises(MetaError, match=message):
        build("layer_trees", target="optimizer", together=together)


def test_an_unknown_property_is_named_with_the_nearest(zoo):
    with pytest.raises(MetaError, match="no property 'augmentatio'"):
        build("layer_trees", target="optimizer", together=("augmentatio",), **SETTINGS).fit(zoo)


@pytest.mark.slow
def test_architectures_that_were_not_fitted_on_are_read(mixed_zoo):
    sizes = sorted({run.layout.size for run in mixed_zoo})
    train = mixed_zoo.where(lambda run: run.layout.size == sizes[0])
    test = mixed_zoo.where(lambda run: run.layout.size == sizes[1])
    meta = build("layer_trees", target="optimizer", **SETTINGS).fit(train)
    document = meta.evaluate(test)
    assert document["lengths_differ"]
    assert document["per_run"]["accuracy"] > 0.7


@pytest.mark.slow
def test_architectures_are_learnt_together(mixed_zoo):
    train, test = mixed_zoo.split()
    meta = build("layer_trees", target="optimizer", **SETTINGS)
    parts = [train.runs[i::2] for i in range(2)]
    meta.fit(type(train)(parts[0] + parts[1]))
    assert meta.score(test) > 0.7


@pytest.mark.parametrize("without", [("moving_statistics",), ("moving_statistics", "biases_before_norm")])
def test_tensors_left_out_are_not_read(few, without):
    meta = build("layer_trees", target="optimizer", without=without, **SETTINGS).fit(few)
    assert not any("moving" in name or "variance" in name for name in meta.facts_["columns"])
