"""Numbers that span decades are learnt as logarithms and judged as what they are."""

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import r2_score

from weightprint.errors import MetaError
from weightprint.meta import build, load_meta
from weightprint.meta.targets import Target, check_name, labels_of, property_order


def rates(values, name="learning_rate", measured=False):
    return Target.of(name, [[float(v)] for v in values], measured=measured)


def test_a_log_uniform_number_is_learnt_as_a_logarithm_and_a_uniform_one_is_not():
    generator = np.random.default_rng(0)
    for n in (20, 200):
        assert rates(10 ** generator.uniform(-4, -1.5, n)).log
        assert not rates(generator.uniform(2e-4, 5e-3, n)).log  # spans more than a decade all the same


def test_only_positive_properties_over_more_than_a_decade_are():
    x = np.geomspace(1e-4, 1e-1, 30)
    assert rates(x).log
    assert not rates(np.geomspace(1e-3, 9e-3, 30)).log
    assert not rates([0.0, *x]).log
    assert not rates(x, "test_loss", measured=True).log


def test_encoding_and_decoding_undo_each_other():
    target = Target("learning_rate", "regression", log=True)
    assert target.decode(np.array([target.encode(0.02)])) == pytest.approx(0.02)
    assert target.encode(0.0) is None
    assert target.encode("fast") is None
    assert target.mean(np.array([[1e-4, 1e-2]]), axis=(0, 1)) == pytest.approx(1e-3)


def test_scores_are_those_of_the_values_and_of_their_logarithms(make_zoo, tmp_path):
    zoo = make_zoo()
    for run in zoo:
        run.properties["rate"] = float(10 ** (100 * run.properties["learning_rate"] - 4))  # 1e-4 to 1e-2
    train, test = zoo.split()
    meta = build("fields", target="rate", snapshots=(1, 4)).fit(train)
    assert meta.target_.log
    document = meta.evaluate(test)
    truth = np.array([run.properties["rate"] for run in test])
    assert document["learnt_on"] == "logarithm"
    assert document["per_run"]["r2"]["value"] == pytest.approx(r2_score(truth, meta.predict(test)))
    found = document["per_run_log10"]["r2"]["value"]
    assert found == pytest.approx(r2_score(np.log10(truth), np.log10(meta.predict(test))))
    assert found > 0.7
    meta.save(tmp_path / "x.meta")
    np.testing.assert_array_equal(load_meta(tmp_path / "x.meta").predict(test), meta.predict(test))


def test_what_is_learnt_as_it_is_says_so(zoo):
    train, test = zoo.split()
    document = build("majority", target="learning_rate", snapshots=(1, 4)).fit(train).evaluate(test)
    assert document["learnt_on"] == "value"
    assert "per_run_log10" not in document


def test_the_generalization_gap_follows_from_what_was_measured():
    both = [
        {"snapshot": 1, "train_accuracy": 0.5, "test_accuracy": 0.25},
        {"train_accuracy": 1.0, "test_accuracy": 0.5},
    ]
    run = SimpleNamespace(properties={}, measurements=both)
    assert check_name("generalization_gap", [run])
    assert labels_of(run, "generalization_gap", (1, 2)) == (0.25, 0.5)
    half = SimpleNamespace(properties={}, measurements=[{"test_accuracy": 0.25}])
    assert labels_of(half, "generalization_gap", (1,)) == ()
    with pytest.raises(MetaError, match="no property 'generalization_gap'"):
        check_name("generalization_gap", [half])


def test_the_papers_choices_come_first_in_any_zoo_then_what_only_everyday_networks_have_then_others():
    names = ["zeta", "architecture", "depth_conv", "optimizer", "dataset", "norm", "initialization"]
    ordered = ["dataset", "optimizer", "initialization", "depth_conv", "architecture", "norm", "zeta"]
    assert property_order([dict.fromkeys(names), {"dataset": "mnist"}]) == ordered
