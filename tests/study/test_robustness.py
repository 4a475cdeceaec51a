"""A planted scale of one kernel names the optimizer: what edits of that scale do to the answer is known."""

import dataclasses

import numpy as np
import polars as pl
import pytest

from tests.meta.conftest import SMALL
from tests.study.conftest import planted_run
from weightprint.evaluation.answers import from_json
from weightprint.study.edits import EDITS
from weightprint.study.re_estimation import ReEstimatedRun
from weightprint.study.robustness import (
    AS_IS,
    FITTED_ON,
    RE_ESTIMATED,
    EditedRun,
    Robustness,
    edited_or_not,
    run_robustness,
    suits,
)
from weightprint.zoo import Zoo, write_run
from weightprint.zoo.layout import Layout

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Runs of networks with batch norm whose moving variances are positive, as they are in any."""
    path = tmp_path_factory.mktemp("robustness") / "zoo"
    Zoo.create(path, {"note": "planted for edits"})
    layout = Layout.of(SMALL)
    for number in range(72):
        record = planted_run(number, layout)
        activation = ("relu", "elu")[number // 3 % 2]
        properties = {**SMALL.to_dict(), **record.properties, "dataset": "digits", "activation": activation}
        record = dataclasses.replace(record, properties=properties)
        for tensor in layout:
            if tensor.kind == "moving_variance":
                record.weights[:, tensor.offset : tensor.stop] = 1.0
        write_run(path, record)
    return list(Zoo(path))


@pytest.fixture(scope="module")
def found(runs):
    return run_robustness(runs, Robustness("optimizer", "layer_trees", ("permuted", "batch norm folded", "float16")))


def test_every_edit_is_scored_against_the_same_runs_unedited(found):
    rows = list(zip(found["series"], found["xs"], found["scores"], strict=True))
    assert [x for _, x, _ in rows] == [AS_IS, "permuted", "batch norm folded", "float16"] * 2
    assert rows[0][2]["difference"] is None
    for series, x, score in rows[1:]:
        assert score["difference"]["n_runs"] == score["n_runs"] == rows[0][2]["n_runs"]
        assert score["difference"]["difference"] == pytest.approx(score["value"] - rows[0][2]["value"]), (series, x)


def test_edits_that_leave_the_planted_scale_leave_the_answers(found):
    scores = dict(zip(zip(found["series"], found["xs"], strict=True), found["scores"], strict=True))
    plain = scores[FITTED_ON[0], AS_IS]
    assert plain["low"] > plain["majority"]
    assert scores[FITTED_ON[0], "float16"]["difference"]["difference"] == 0
    assert abs(scores[FITTED_ON[0], "permuted"]["difference"]["difference"]) < 0.2


def test_no_run_is_on_both_sides_although_edits_give_it_another_checksum(runs, found):
    from weightprint.zoo import in_test_part

    tested = set().union(*(from_json(table)["run"] for table in found["answers"]))
    assert tested == {run.identity for run in runs if in_test_part(run.identity)}


def test_what_is_read_in_an_edited_run_is_kept_apart_from_the_run(runs):
    run = runs[0]
    editions = [EditedRun(run, EDITS[name], last=last) for name in ("float16", "int8") for last in (True, False)]
    assert len({run.checksum, *(edition.checksum for edition in editions)}) == 5
    assert editions[0].weights.shape == (1, run.layout.size)
    assert len(editions[0].measurements) == 1
    np.testing.assert_array_equal(editions[0].weights[0], run.weights[-1].astype(np.float16).astype(np.float32))
    averaged = EditedRun(run, EDITS["two snapshots averaged"], last=True)
    np.testing.assert_allclose(averaged.weights[0], run.weights[-2:].mean(axis=0), rtol=1e-5, atol=1e-6)
    folded = EditedRun(run, EDITS["batch norm folded"], last=True)
    assert folded.layout == Layout.of(dataclasses.replace(SMALL, batch_norm=False))
    assert folded.weights.shape == (1, folded.layout.size)


def test_training_runs_are_dealt_to_the_edits_by_their_identity_and_only_relu_networks_are_rescaled(runs):
    edits = tuple(EDITS)
    dealt = [edited_or_not(run, edits) for run in runs]
    assert [d.checksum for d in dealt] == [edited_or_not(run, edits).checksum for run in runs]
    assert len({type(d) is EditedRun and d.layout.size for d in dealt}) > 2
    for run in runs:
        assert suits(EDITS["ReLU rescaled"], run) == (run.properties.get("activation") == "relu")


def test_batch_norms_are_re_estimated_on_the_images_of_each_runs_data_set(runs, tmp_path):
    found = run_robustness(runs, Robustness("optimizer", "layer_trees", ("float16",), data=str(tmp_path)))
    assert found["xs"] == [AS_IS, "float16", RE_ESTIMATED] * 2
    assert found["scores"][2]["difference"]["n_runs"] == found["scores"][0]["n_runs"]
    run = runs[0]
    edited = ReEstimatedRun(run, str(tmp_path))
    assert edited.checksum != run.checksum
    changed = (edited.weights[0] != run.weights[-1]).nonzero()[0]
    moving = [t for t in run.layout if t.kind.startswith("moving")]
    assert len(changed)
    assert all(any(t.offset <= place < t.stop for t in moving) for place in changed)


def test_an_edit_that_no_test_run_suits_has_a_reason(runs):
    others = [run for run in runs if run.properties.get("activation") != "relu"]
    found = run_robustness(others, Robustness("optimizer", "layer_trees", ("ReLU rescaled",)))
    assert found["scores"][1]["reason"]
    assert pl.DataFrame(found["answers"][0]["columns"]).height > 0
