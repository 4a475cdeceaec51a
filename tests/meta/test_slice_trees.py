import numpy as np
import pytest

from weightprint.meta import build, load_meta


@pytest.mark.parametrize("length", [50, 300])
def test_a_planted_signal_is_found_in_slices(zoo, length, tmp_path):
    train, test = zoo.split()
    meta = build("slice_trees", target="optimizer", slice_length=length, snapshots=(3, 4), iterations=20).fit(train)
    assert meta.evaluate(test, slices=4)["per_run"]["accuracy"] > 0.85
    meta.save(tmp_path / "meta")
    np.testing.assert_array_equal(load_meta(tmp_path / "meta").predict_proba(test), meta.predict_proba(test))


def test_a_number_is_regressed_from_slices(zoo):
    train, test = zoo.split()
    meta = build("slice_trees", target="learning_rate", slice_length=200, snapshots=(3, 4), iterations=40).fit(train)
    assert meta.evaluate(test)["per_run"]["r2"]["value"] > 0.7


def test_equal_seeds_give_equal_fits_of_slices(few):
    def fit(seed):
        settings = {"slice_length": 100, "snapshots": (1, 4), "iterations": 10, "seed": seed}
        return build("slice_trees", target="optimizer", **settings).fit(few)

    first = fit(0).predict_proba(few)
    np.testing.assert_array_equal(first, fit(0).predict_proba(few))
    assert not np.array_equal(first, fit(1).predict_proba(few))
