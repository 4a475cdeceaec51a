"""What is in the table of answers: exactly what an evaluation says."""

import json

import numpy as np
import polars as pl
import pytest

from weightprint.evaluation.answers import from_json, to_json
from weightprint.evaluation.scores import scores
from weightprint.meta import build
from weightprint.meta.answers import read_answers, view_text
from weightprint.meta.view import View
from weightprint.study.bench import pooled


def svm(target):
    return build("svm", target=target, snapshots=(1, 4), slice_length=200, draws=2, regularization=0.01)


@pytest.mark.parametrize("target", ["optimizer", "batch_size", "augmentation", "learning_rate"])
def test_an_evaluation_is_computed_from_the_table(zoo, target):
    train, test = zoo.split()
    meta = svm(target).fit(train)
    answers, excluded = read_answers(meta, test, slices=3, split=7, zoo="here")
    document = meta.evaluate(test, slices=3)
    kept = from_json(json.loads(json.dumps(to_json(answers))))
    for name, value in scores(kept).items():
        assert document[name] == value, name
    assert excluded == document["excluded"]
    assert set(answers["zoo"]) == {"here"}
    assert pooled([document], answers) == {**document, "n_splits": 1, "split_seeds": [7]}


def test_each_answer_is_what_the_model_says_of_the_run(zoo):
    train, test = zoo.split()
    meta = svm("optimizer").fit(train)
    answers, _ = read_answers(meta, test)
    named = [meta.classes_[int(i)] for i in answers["answer"]]
    assert named == list(meta.predict(test))
    np.testing.assert_allclose(answers["probabilities"].to_list(), meta.predict_proba(test))
    assert answers["run"].to_list() == [run.identity for run in test]
    assert answers["readings"].to_list() == [40] * 15


def test_several_splits_have_one_document(zoo):
    documents, parts = [], []
    for seed in (0, 1):
        train, test = zoo.split(split_seed=seed)
        meta = build("fields", target="test_accuracy", snapshots=(1, 4)).fit(train)
        documents.append(meta.evaluate(test))
        parts.append(read_answers(meta, test, split=seed)[0])
    found = pooled(documents, pl.concat(parts))
    json.dumps(found, allow_nan=False)
    assert (found["n_runs"], found["n_splits"]) == (30, 2)
    taus = [document["per_run"]["kendall_tau"]["value"] for document in documents]
    assert found["per_run"]["kendall_tau"]["value"] == pytest.approx(np.mean(taus))
    mae = [document["per_run"]["mae"]["value"] for document in documents]
    assert found["per_run"]["mae"]["value"] == pytest.approx(np.mean(mae))


def test_views_have_the_same_words_when_they_are_equal():
    views = [
        View(),
        View(snapshots=(2, 4)),
        View(slice_length=50),
        View(slice_length=50, draws=3),
        View(slice_length=50, part="conv"),
        View(without=("moving_statistics",)),
        View(converged=False),
    ]
    assert len({view_text(view) for view in views}) == len(views)
    assert view_text(views[4]) == "slices of 50, 10 drawn, part conv, snapshots later-half"
