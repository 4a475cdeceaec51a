"""Meta-classifiers on a zoo as `sample` makes it."""

import numpy as np
import pytest

from weightprint.meta import build, load_meta
from weightprint.zoo import Zoo

SETTINGS = {
    "svm": {"slice_length": 500},
    "trees": {"iterations": 5},
    "dmc": {"slice_length": 64, "epochs": 1},
}


@pytest.mark.parametrize("model", SETTINGS)
def test_a_sampled_zoo_is_learnt_and_evaluated(sampled_zoo, tmp_path, model):
    zoo = Zoo(sampled_zoo)
    train, test = zoo.select(numbers=[0, 1, 2, 3]), zoo.select(numbers=[4, 5])
    meta = build(model, target="test_accuracy", snapshots=(1, 4), converged=False, **SETTINGS[model]).fit(train)
    assert meta.train_kin_ == tuple(sorted(set().union(*(zoo[n].kin for n in range(4)))))
    assert meta.train_runs_ == tuple(sorted(zoo.run_identity(n) for n in range(4)))
    assert meta.evaluate(zoo)["n_runs"] == 2
    meta.save(tmp_path / "x.meta")
    np.testing.assert_array_equal(load_meta(tmp_path / "x.meta").predict(test), meta.predict(test))


def test_a_damaged_run_is_left_out_by_name(zoo_copy):
    path = zoo_copy / "runs" / "0000" / "0000002.safetensors"
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    meta = build("svm", target="test_accuracy", snapshots=(1, 4), converged=False, slice_length=500)
    with pytest.warns(UserWarning, match="run 2"):
        meta.fit(Zoo(zoo_copy))
    assert meta.excluded_ == {"corrupt": 1}
    assert len(meta.train_runs_) == 5
