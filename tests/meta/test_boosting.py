import numpy as np
import pytest

from weightprint.meta import build
from weightprint.meta.learners.base import Examples
from weightprint.meta.learners.boosting import Boosting


def examples(classes, *, runs=60, gaps=0.2):
    """Five rows a run; the first column tells the class or the value."""
    generator = np.random.default_rng(0)
    goals = np.arange(runs) % classes if classes else generator.normal(size=runs)
    rows = generator.normal(size=(runs * 5, 6)).astype(np.float32)
    rows[:, 0] += 3 * np.repeat(goals, 5)
    rows[generator.random(rows.shape) < gaps] = np.nan
    rows[:, 5] = 7  # tells nothing
    return Examples(rows, tuple("abcdef"), np.repeat(goals, 5), np.repeat(np.arange(runs), 5), classes)


@pytest.mark.parametrize("classes", [2, 4, 0])
def test_outputs_are_probabilities_or_values_and_survive_the_disk(classes):
    given = examples(classes)
    fitted = Boosting(iterations=40, column_share=1.0).fit(given, seed=0)
    found = fitted.outputs(given.rows, given.names)
    if classes:
        assert found.shape == (300, classes)
        np.testing.assert_allclose(found.sum(axis=1), 1)
        assert (found.argmax(axis=1) == given.goals).mean() > 0.85
    else:
        assert found.shape == (300, 1)
        assert np.corrcoef(found[:, 0], given.goals)[0, 1] > 0.85
    restored = Boosting().restore(fitted.files(), fitted.facts)
    np.testing.assert_array_equal(restored.outputs(given.rows, given.names), found)


def test_columns_are_found_by_name_in_any_order():
    given = examples(2)
    fitted = Boosting(iterations=20, column_share=1.0).fit(given, seed=0)
    assert "f" not in fitted.names
    backwards = fitted.outputs(given.rows[:, ::-1], given.names[::-1])
    np.testing.assert_array_equal(backwards, fitted.outputs(given.rows, given.names))
    unknown = fitted.outputs(np.full((1, 1), np.nan, np.float32), ("z",))  # nothing that it knows
    assert unknown.shape == (1, 2)


@pytest.mark.parametrize("classes", [2, 4, 0])
def test_contributions_add_up_to_the_score(classes):
    given = examples(classes)
    fitted = Boosting(iterations=20, column_share=1.0).fit(given, seed=0)
    shares = fitted.contributions(given.rows, given.names)
    assert shares.shape == (300, classes if classes > 2 else 1, len(fitted.names) + 1)
    score, found = shares.sum(axis=2), fitted.outputs(given.rows, given.names)
    if classes == 2:
        np.testing.assert_allclose(1 / (1 + np.exp(-score[:, 0])), found[:, 1], atol=1e-9)
    elif classes:
        np.testing.assert_allclose(np.exp(score) / np.exp(score).sum(axis=1, keepdims=True), found, atol=1e-9)
    else:
        np.testing.assert_allclose(score, found, atol=1e-9)
    assert np.abs(shares[..., 0]).mean() > 3 * np.abs(shares[..., 1]).mean()  # the first column is what tells


def test_the_number_of_rounds_is_chosen_on_runs_held_out():
    """Labels that nothing tells: further rounds only learn the training runs by heart."""
    given = examples(2)
    shuffled = np.repeat(np.random.default_rng(1).permutation(60) % 2, 5)
    nothing = Examples(given.rows, given.names, shuffled, given.run, 2)
    assert Boosting().fit(nothing, seed=0).facts["iterations"] < 30
    assert Boosting(iterations=50, early_stopping=False).fit(nothing, seed=0).facts["iterations"] == 50


def test_time_ends_the_search_for_rounds(zoo):
    meta = build("trees", target="optimizer", snapshots=(1, 4), iterations=1000, max_seconds=1e-3).fit(zoo)
    assert meta.facts_["capped"]
    assert meta.facts_["iterations"] < 20
    assert meta.evaluate(others(zoo))["capped"]


def others(zoo):
    """The same runs under other identities."""
    copies = type(zoo)([type(run)(run.number + 1000, run.properties, run.layout) for run in zoo])
    return copies


def test_a_class_of_one_run_is_learnt(make_zoo):
    zoo = make_zoo(20)
    for run in zoo:
        run.properties["source"] = "rare" if run.number == 7 else "common"
    meta = build("trees", target="source", snapshots=(1, 4), iterations=10).fit(zoo)
    assert meta.classes_ == ("common", "rare")
    assert build("svm", target="source", snapshots=(1, 4), slice_length=100).fit(zoo).classes_ == ("common", "rare")
