"""Runs that share random streams are never on both sides of a test, in whatever zoos they lie."""

import numpy as np
import pytest

from tests.conftest import TINY, TINY_SPACE
from weightprint.errors import MetaError
from weightprint.meta import build, load_meta
from weightprint.sampling.sample import plan, run_sampling
from weightprint.zoo import Zoo

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def zoos(sampled_zoo, tmp_path_factory):
    """Two zoos of one seed, the second trained longer, and one of another seed."""
    folder = tmp_path_factory.mktemp("kin")
    longer = {**TINY, "max_epochs": TINY["max_epochs"] + 1}
    run_sampling(plan(folder / "b", TINY_SPACE, 6, **longer), workers=1)
    run_sampling(plan(folder / "c", TINY_SPACE, 6, **TINY, seed=7), workers=1)
    return {"a": Zoo(sampled_zoo), "b": Zoo(folder / "b"), "c": Zoo(folder / "c")}


@pytest.fixture(scope="module")
def meta(zoos):
    settings = {"snapshots": (2, 4), "converged": False, "iterations": 5}
    return build("trees", target="learning_rate", **settings).fit(zoos["a"].select(numbers=[0, 1, 2, 3]))


def test_kin_share_their_first_weights_and_other_seeds_do_not(zoos):
    a, b, c = (zoos[name][2] for name in "abc")
    assert a.identity != b.identity
    assert a.streams == b.streams != c.streams
    assert a.kin & b.kin == {a.streams}
    assert a.kin.isdisjoint(c.kin)
    np.testing.assert_array_equal(a.snapshot(1), b.snapshot(1))


def test_kin_of_training_runs_are_not_judged_and_are_counted(zoos, meta):
    document = meta.evaluate(zoos["b"])
    assert document["n_runs"] == 2
    assert document["excluded"] == {"kin": 4}
    assert meta.evaluate(zoos["c"])["excluded"] == {}
    assert meta.evaluate(zoos["c"])["n_runs"] == 6
    assert meta.score(zoos["b"]) == document["per_run"]["r2"]["value"]


def test_a_zoo_of_kin_alone_cannot_judge(zoos, meta):
    with pytest.raises(MetaError, match="no run is left to evaluate on: 0 of 4 were trained on, 4 kin"):
        meta.evaluate(zoos["b"].select(numbers=[0, 1, 2, 3]))


def test_kin_are_remembered_on_disk(zoos, meta, tmp_path):
    meta.save(tmp_path / "x.meta")
    assert load_meta(tmp_path / "x.meta").evaluate(zoos["b"])["excluded"] == {"kin": 4}
