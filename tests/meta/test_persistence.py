import json

import numpy as np
import pytest

from weightprint.errors import CorruptFile, MetaError
from weightprint.meta import build, load_meta
from weightprint.meta.persistence import own_sha256

SETTINGS = {
    "svm": {"slice_length": 200},
    "svm global": {"slice_length": "all"},
    "trees": {"iterations": 10},
    "dmc": {"slice_length": 64, "epochs": 1},
}
TARGETS = ("optimizer", "learning_rate", "augmentation", "test_accuracy")


@pytest.fixture(scope="module")
def svm(zoo):
    return build("svm", target="optimizer", snapshots=(1, 4), slice_length=200).fit(zoo.split()[0])


@pytest.fixture
def saved(svm, tmp_path):
    svm.save(tmp_path / "optimizer.meta")
    return tmp_path / "optimizer.meta"


@pytest.mark.parametrize(
    ("settings", "target"),
    [
        *((s, t) for s in SETTINGS if s != "dmc" for t in TARGETS[:2]),
        *(pytest.param(s, t, marks=pytest.mark.slow) for s in SETTINGS if s != "dmc" for t in TARGETS[2:]),
        *(pytest.param("dmc", t, marks=pytest.mark.slow) for t in TARGETS[:2]),
    ],
)
def test_a_loaded_one_predicts_the_same(mixed_zoo, tmp_path, settings, target):
    train, test = mixed_zoo.where(lambda run: run.number < 40), mixed_zoo.where(lambda run: run.number >= 40)
    meta = build(settings.split()[0], target=target, snapshots=(1, 4), **SETTINGS[settings]).fit(train)
    meta.save(tmp_path / "x.meta")
    loaded = load_meta(tmp_path / "x.meta")
    assert loaded.get_params() == meta.get_params()
    assert (loaded.classes_, loaded.train_runs_, loaded.excluded_) == (
        meta.classes_,
        meta.train_runs_,
        meta.excluded_,
    )
    np.testing.assert_array_equal(loaded.predict(test), meta.predict(test))
    if meta.classes_:
        np.testing.assert_array_equal(loaded.predict_proba(test), meta.predict_proba(test))
    one, other = loaded.evaluate(test), meta.evaluate(test)
    assert {**one, "seconds": 0} == {**other, "seconds": 0}


def test_the_folder_holds_json_and_arrays_alone(saved, svm):
    assert sorted(p.name for p in saved.iterdir()) == ["0-linear.safetensors", "meta.json"]
    document = json.loads((saved / "meta.json").read_text())
    assert document["model"] == "svm"
    (head,) = document["heads"]
    assert head["train_runs"] == list(svm.train_runs_)
    assert head["facts"]["columns"][0] == "mean"
    assert document["train_kin"] == sorted(svm.train_runs_)
    assert {"weightprint", "scikit-learn", "lightgbm", "numpy", "python"} <= document["made_with"].keys()


def test_saving_again_replaces(saved, svm):
    svm.save(saved)
    assert load_meta(saved).train_runs_ == svm.train_runs_
    assert [p.name for p in saved.parent.iterdir()] == ["optimizer.meta"]


@pytest.mark.parametrize("content", [{"notes.txt": "x"}, {"meta.json": "{}"}, {"meta.json": "[1]"}])
def test_other_content_is_not_overwritten(svm, tmp_path, content):
    path = tmp_path / "mine"
    path.mkdir()
    for name, text in content.items():
        (path / name).write_text(text)
    with pytest.raises(MetaError, match="exists and is not a meta-classifier"):
        svm.save(path)
    assert {p.name: p.read_text() for p in path.iterdir()} == content


def test_a_file_in_the_way_is_not_overwritten(svm, tmp_path):
    (tmp_path / "mine").write_text("x")
    with pytest.raises(MetaError, match="choose another path"):
        svm.save(tmp_path / "mine")
    assert (tmp_path / "mine").read_text() == "x"


def test_a_meta_folder_with_a_stranger_in_it_is_not_overwritten(saved, svm):
    (saved / "notes.txt").write_text("x")
    with pytest.raises(MetaError, match="not a meta-classifier"):
        svm.save(saved)


def test_an_unfitted_one_cannot_be_saved(tmp_path):
    with pytest.raises(MetaError, match="has not been fitted"):
        build("svm", target="optimizer").save(tmp_path / "x")
    assert not list(tmp_path.iterdir())


def change(path, **values):
    document = json.loads((path / "meta.json").read_text())
    document.update(values)
    (path / "meta.json").write_text(json.dumps(document))
    return document


def test_changed_arrays_are_noticed(saved):
    data = bytearray((saved / "0-linear.safetensors").read_bytes())
    data[-1] ^= 1
    (saved / "0-linear.safetensors").write_bytes(data)
    with pytest.raises(CorruptFile, match=r"linear.safetensors is not what was written"):
        load_meta(saved)


def test_missing_arrays_are_noticed(saved):
    (saved / "0-linear.safetensors").unlink()
    with pytest.raises(CorruptFile, match="cannot read"):
        load_meta(saved)


def test_a_changed_document_is_noticed(saved):
    change(saved, train_kin=[])
    with pytest.raises(CorruptFile, match=r"meta.json is not what was written"):
        load_meta(saved)


def test_half_a_document_is_noticed(saved):
    text = (saved / "meta.json").read_text()
    (saved / "meta.json").write_text(text[: len(text) // 2])
    with pytest.raises(CorruptFile, match="not valid JSON"):
        load_meta(saved)


def test_other_formats_are_refused(saved):
    change(saved, version=3)
    with pytest.raises(MetaError, match=r"has format 3, this version reads 2 \(load it with a newer weightprint\)"):
        load_meta(saved)
    change(saved, version=1)
    with pytest.raises(MetaError, match=r"has format 1, this version reads 2 \(fit it again\)"):
        load_meta(saved)


@pytest.mark.parametrize("what", ["features", "learner"])
def test_other_versions_of_features_and_learners_are_refused(saved, what):
    document = json.loads((saved / "meta.json").read_text())
    document = change(saved, **{what: {**document[what], "version": 99}})
    change(saved, sha256=own_sha256(document))
    with pytest.raises(MetaError, match=rf"was fitted with version 99 of the {what} .*\(fit again\)"):
        load_meta(saved)


def test_a_learner_that_this_version_does_not_have_is_refused(saved):
    document = change(saved, learner={"name": "lineer", "version": 1, "settings": {}})
    change(saved, sha256=own_sha256(document))
    with pytest.raises(MetaError, match="unknown learner 'lineer'"):
        load_meta(saved)


def test_a_file_outside_the_folder_is_not_read(saved, tmp_path):
    document = change(saved, files={"../secret.txt": "0" * 64})
    change(saved, sha256=own_sha256(document))
    with pytest.raises(CorruptFile, match="which is none of a meta-classifier's"):
        load_meta(saved)


def test_a_document_that_lacks_something_is_refused(saved):
    document = change(saved, heads=[{}])
    change(saved, sha256=own_sha256(document))
    with pytest.raises(CorruptFile, match="does not hold what its model needs"):
        load_meta(saved)


def test_what_is_no_meta_classifier_is_refused(tmp_path):
    with pytest.raises(MetaError, match=r"it has no meta.json \(make one with `weightprint fit`\)"):
        load_meta(tmp_path)
    (tmp_path / "meta.json").write_text('{"format": "weightprint-zoo"}')
    with pytest.raises(MetaError, match="does not describe a meta-classifier"):
        load_meta(tmp_path)
