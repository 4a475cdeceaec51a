import dataclasses

import numpy as np
import pytest

from tests.study.conftest import changed
from weightprint.features.table import Table
from weightprint.report import findings
from weightprint.report.study_sections import attribution_figure
from weightprint.study import attribution
from weightprint.study.attribution import CHECKS, SHARE, Attribution, distinct, group_of, run_attribution
from weightprint.study.cells import Cell, Cells
from weightprint.study.plans import Planned, rows
from weightprint.study.table import read_table
from weightprint.study.trial import Trial
from weightprint.zoo import Zoo, in_test_part

pytestmark = pytest.mark.slow

ASKED = Attribution("optimizer", iterations=20)


PAIR_SEED = 5
"""Of a split in which enough runs of the two classes are test runs."""


@pytest.fixture(scope="module")
def whole(planted_path):
    return read_table(Zoo(planted_path), "anatomy")


@pytest.fixture(scope="module")
def found(whole):
    return run_attribution(whole, ASKED)


def named(result):
    return dict(zip(result["xs"], result["scores"], strict=True))


def test_the_layer_that_carries_the_plant_carries_the_verdict_and_the_others_do_not(found):
    shares = {name: score for name, score in named(found).items() if score["measure"] == SHARE}
    planted = ("conv second: kernel", "all layers: kernel")
    assert max(shares, key=lambda name: shares[name]["value"]) == planted[0]
    assert all(shares[name]["low"] > 0 for name in planted)
    assert max(abs(score["value"]) for name, score in shares.items() if name not in planted) < 0.1
    assert sum(score["value"] for score in shares.values()) <= 1 + 1e-9


def test_parts_and_base_sum_to_the_log_odds_that_the_meta_classifier_gives(found, whole):
    trial = Trial("optimizer", model="layer_trees", iterations=ASKED.iterations)
    whole = distinct(whole, [i for i, run in enumerate(whole.runs) if not in_test_part(run.identity)])
    meta = trial.build().fit(trial.split(whole.readable(), 0)[0])
    head, target = meta.heads_["optimizer"], meta.target_
    place = {run.number: i for i, run in enumerate(whole.runs)}
    assert len(found["networks"]) > 5
    for network in found["networks"]:
        chances = head.outputs(Table(whole.features[place[network["run"]], -1:], whole.names))[0]
        logs = np.log(chances)
        right = target.classes.index(network["class"])
        assert right == chances.argmax()
        assert network["base"] + sum(network["parts"]) == pytest.approx(network["log_odds"])
        assert network["log_odds"] == pytest.approx(logs[right] - np.delete(logs, right).mean(), rel=1e-3)


def test_replacing_the_most_attributed_columns_takes_the_verdict_away_and_random_ones_do_not(found):
    difference = named(found)["difference"]
    assert difference["low"] > 0
    assert difference["n_runs"] == len(found["networks"])
    assert named(found)["most attributed replaced"]["value"] > named(found)["random ones replaced"]["value"]


def test_meta_classifiers_of_either_half_of_the_runs_agree_on_a_plant(found):
    assert named(found)["agreement of two halves"]["low"] > 0.5


def test_no_test_network_was_trained_on_and_each_stands_for_its_own_run(found, whole):
    numbers = [network["run"] for network in found["networks"]]
    assert len(set(numbers)) == len(numbers)
    identities = {run.number: run.identity for run in whole.runs}
    assert all(in_test_part(identities[number]) for number in numbers)


def test_equal_seeds_give_equal_shares(found, whole):
    assert run_attribution(whole, ASKED)["scores"] == found["scores"]
    assert run_attribution(whole, dataclasses.replace(ASKED, split_seed=1))["scores"] != found["scores"]


def test_a_property_of_two_values_is_attributed_too(whole):
    two = {"adam": False, "momentum": True}
    runs = tuple(
        changed(r, properties={**r.properties, "pair": two[r.properties["optimizer"]]})
        for r in whole.runs
        if r.properties["optimizer"] in two
    )
    features = whole.features[[r.properties["optimizer"] in two for r in whole.runs]]
    found = run_attribution(
        dataclasses.replace(whole, runs=runs, features=features),
        dataclasses.replace(ASKED, target="pair", split_seed=PAIR_SEED),
    )
    shares = {name: score["value"] for name, score in named(found).items() if score["measure"] == SHARE}
    assert max(shares, key=lambda name: shares[name]) == "conv second: kernel"
    assert {network["class"] for network in found["networks"]} == {True, False}
    assert all(network["log_odds"] > 0 for network in found["networks"])


@pytest.mark.parametrize("rare", ["adam", "momentum"])
def test_a_class_that_one_half_of_the_runs_lacks_has_no_agreement(whole, found, monkeypatch, rare):
    def deal(strata, folds, generator):
        return np.array([0 if stratum == rare else i % folds for i, stratum in enumerate(strata)])

    monkeypatch.setattr(attribution, "deal_folds", deal)
    result = run_attribution(whole, ASKED)
    assert [n["run"] for n in result["networks"]] == [n["run"] for n in found["networks"]]
    missing = {n["run"] for n in result["networks"] if n["agreement"] is None}
    assert missing == {n["run"] for n in result["networks"] if n["class"] == rare} != set()
    assert named(result)["agreement of two halves"]["n_runs"] == len(result["networks"]) - len(missing)


def test_what_is_not_named_is_not_attributed(whole):
    result = run_attribution(whole, dataclasses.replace(ASKED, target="dataset"))
    assert "not named above chance" in result["reason"]


@pytest.mark.parametrize(
    ("column", "group"),
    [
        ("conv first: kernel.log.q0.5", "conv first: kernel"),
        ("mean: kernel.norms.q0.5", "all layers: kernel"),
        ("hidden last: bias~norms", "hidden last: bias"),
        ("output: variance~power", "output: moving_variance"),
        ("conv last: outgoing~gamma", "conv last: next kernel"),
        ("shape/conv first.units", "shape"),
    ],
)
def test_columns_belong_to_the_tensor_that_they_are_about(column, group):
    assert group_of(column) == group


def test_every_column_of_a_network_belongs_to_a_tensor_that_it_has(whole):
    kinds = {group_of(name).rpartition(": ")[2] for name in whole.names}
    assert kinds <= {*(tensor["kind"] for tensor in whole.tensors.values()), "next kernel", "shape"}


def test_a_layer_with_two_roles_counts_under_the_first_of_them(found):
    # The network has one hidden layer, which is the first and the last.
    assert any(name.startswith("hidden first: ") for name in found["xs"])
    assert not any(name.startswith("hidden last: ") for name in found["xs"])


def test_the_report_names_what_was_planted_and_is_silent_on_noise(found, tmp_path):
    cells = Cells(tmp_path, "zoo")
    one = Planned("where", "attribution", "optimizer", "layer_trees", "", ("all",), Cell("a", {}))
    cells.put(one.cell, found)
    told = rows([one], cells)
    assert [row["x"] for row in told] == found["xs"]
    assert {row["x"] for row in told} >= set(CHECKS)
    assert "optimizer by" in findings.attribution(told)
    assert "conv second: kernel" in findings.attribution(told)
    noise = [{**row, "low": -0.1} for row in told]
    assert findings.attribution(noise) == ""
    study = dataclasses.make_dataclass("Study", ["facts"])(
        dataclasses.make_dataclass("Facts", ["targets"])(["optimizer"])
    )
    entry = attribution_figure(study, told)
    assert "layer and tensor" in entry.pictures[0].svg
    assert entry.rows == told
