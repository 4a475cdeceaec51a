import dataclasses
from math import factorial
from types import SimpleNamespace

import numpy as np
import pytest
from weightprint.meta.layer_trees import LayerTrees, role_statistics
from weightprint.study.mixtures import Mixture
from weightprint.study.shapley import shapley

from tests.meta.conftest import OPTIMIZERS, SMALL
from tests.study.conftest import planted_run
from weightprint.report import attribution as report
from weightprint.report import findings
from weightprint.study import attribution
from weightprint.study.attribution import CHECKS, Attribution, run_attribution
from weightprint.study.cells import Cell, Cells
from weightprint.study.plans import Planned, rows
from weightprint.study.table import load_table, read_table
from weightprint.zoo import Zoo, write_run
from weightprint.zoo.layout import Layout

ASKED = Attribution("optimizer", (3, 4), networks=6, references=1, examples=2, weight_references=2, iterations=20)


@pytest.fixture(scope="module")
def whole(planted_path, tmp_path_factory):
    return load_table(str(read_table(Zoo(planted_path), tmp_path_factory.mktemp("whole"), "layer_trees")))


@pytest.fixture(scope="module")
def found(planted_path, whole):
    return run_attribution(Zoo(planted_path), whole, ASKED)


LOUD = 37
"""A weight of the first kernel that tells the optimizer by its size."""


@pytest.fixture(scope="module")
def loud(tmp_path_factory):
    folder = tmp_path_factory.mktemp("loud")
    zoo = Zoo.create(folder / "zoo", {"note": "planted"})
    layout = Layout.of(SMALL)
    for number in range(72):
        run = planted_run(number, layout)
        run.weights[:, layout["conv1/kernel"].offset + LOUD] = 9.0 * (OPTIMIZERS.index(run.properties["optimizer"]) - 1)
        write_run(zoo.path, run)
    zoo = Zoo(zoo.path)
    whole = load_table(str(read_table(zoo, folder, "layer_trees")))
    return run_attribution(zoo, whole, dataclasses.replace(ASKED, examples=3, weight_references=4)), whole


def named(result, whole):
    names = [*whole.tensors, *CHECKS, *(attribution.WEIGHTS + name for name in CHECKS)]
    return dict(zip(names, result["scores"], strict=True))


def test_shares_sum_to_the_whole_gain_and_a_player_without_effect_gets_none():
    def value(kept):
        return 3.0 * kept[:, 0] * kept[:, 1] + 0.5 * kept[:, 2] + 7.0

    shares = shapley(value, 4, 3, np.random.default_rng(0))
    assert shares.sum() == pytest.approx(3.5, abs=1e-12)
    assert shares[3] == 0
    assert shares[2] == pytest.approx(0.5)


def test_sampled_shares_are_those_of_all_orders():
    worth = np.random.default_rng(1).normal(size=16)
    bits = 1 << np.arange(4)

    def value(kept):
        return worth[kept @ bits]

    exact = np.zeros(4)
    for player in range(4):
        for coalition in range(16):
            if not coalition >> player & 1:
                size = bin(coalition).count("1")
                weight = factorial(size) * factorial(3 - size) / factorial(4)
                exact[player] += weight * (worth[coalition | 1 << player] - worth[coalition])
    np.testing.assert_allclose(shapley(value, 4, 3000, np.random.default_rng(0)), exact, atol=0.05)


def test_a_mixture_is_read_as_the_mixed_network_would_be(planted):
    train, test = planted.split()
    meta = LayerTrees("optimizer", snapshots=(4, 4), iterations=5, early_stopping=False).fit(train)
    one, other = (run.snapshot(4) for run in list(test)[:2])
    layout = next(iter(test)).layout
    owner = np.repeat(np.arange(len(layout)), [t.size for t in layout])
    kept = np.random.default_rng(0).random((6, len(layout))) < 0.5
    mixture = Mixture(meta, layout, one, other, owner, 1)
    mixed = np.where(kept[:, owner], one, other)
    np.testing.assert_array_equal(mixture.worth(kept), meta.read_statistics(role_statistics(mixed, layout))[:, 1])


def test_the_planted_tensor_carries_the_verdict_and_the_others_do_not(found, whole):
    scores = named(found, whole)
    tensors = {name: scores[name] for name in whole.tensors}
    assert max(tensors, key=lambda name: tensors[name]["value"]) == "conv2/kernel"
    assert tensors["conv2/kernel"]["low"] > 0
    assert tensors["conv2/kernel"]["value"] > 5 * max(
        abs(s["value"]) for n, s in tensors.items() if n != "conv2/kernel"
    )
    assert scores["agreement of two halves"]["low"] > 0.5


def test_replacing_the_attributed_tensors_takes_the_verdict_away_and_random_ones_do_not(found, whole):
    difference = named(found, whole)["difference"]
    assert difference["low"] > 0
    assert difference["n_runs"] == ASKED.networks


def test_a_planted_weight_carries_the_verdict_of_the_kernel(loud):
    found, whole = loud
    assert len(found["examples"]) == 3
    assert {example["class"] for example in found["examples"]} == set(OPTIMIZERS)
    for example in found["examples"]:
        shares = np.array(example["shares"])
        assert shares.argmax() == LOUD
        assert shares[LOUD] > 10 * np.delete(np.abs(shares), LOUD).max()
        assert example["shape"] == list(Layout.of(SMALL)["conv1/kernel"].shape)
        assert abs(example["weights"][LOUD]) in (0, 9)
    scores = named(found, whole)
    assert scores["weights: difference"]["low"] > 0
    assert scores["weights: agreement of two halves"]["low"] > 0.5


def test_a_kernel_that_carries_nothing_gets_no_shares(found, whole):
    # The signal is in conv2; conv1, whose weights are attributed one by one, is noise.
    right, runs = found["kernel_named"]
    assert 0 <= right < runs
    assert found["examples"] == []
    assert all(named(found, whole)[attribution.WEIGHTS + name]["value"] is None for name in CHECKS)


def test_the_shares_of_every_network_sum_to_its_probability_less_that_of_its_references(found, loud):
    assert len(found["networks"]) == ASKED.networks
    for network in (*found["networks"], *loud[0]["examples"]):
        assert sum(network["shares"]) == pytest.approx(network["gain"], abs=1e-12)
    assert all(0.2 < network["gain"] <= 1 for network in found["networks"])


def test_equal_seeds_give_equal_shares(found, planted, whole):
    again = run_attribution(planted, whole, ASKED)
    assert again["scores"] == found["scores"]
    assert again["examples"] == found["examples"]
    other = run_attribution(planted, whole, dataclasses.replace(ASKED, split_seed=1))
    assert other["scores"] != found["scores"]


def test_what_is_not_named_is_not_attributed(planted, whole):
    result = run_attribution(planted, whole, dataclasses.replace(ASKED, target="dataset"))
    assert "not named above chance" in result["reason"]


def test_networks_of_several_layouts_are_refused_with_a_reason(planted, whole):
    runs = [{**run, "length": run["length"] + i % 2} for i, run in enumerate(whole.runs)]
    result = run_attribution(planted, dataclasses.replace(whole, runs=runs), ASKED)
    assert "several layouts" in result["reason"]


@pytest.mark.parametrize("which", ["found", "loud"])
def test_the_report_names_what_was_planted_and_is_silent_on_noise(which, request, tmp_path):
    result = request.getfixturevalue("found") if which == "found" else request.getfixturevalue("loud")[0]
    whole = request.getfixturevalue("whole")
    xs = (*whole.tensors, *CHECKS, *(attribution.WEIGHTS + name for name in CHECKS))
    cells, one = (
        Cells(tmp_path, "zoo"),
        Planned("where", "attribution", "optimizer", "layer_trees", "", xs, Cell("a", {})),
    )
    cells.put(one.cell, result)
    told = rows([one], cells)
    assert "optimizer by" in findings.attribution(told)
    assert ("first kernel" in findings.single_weights(told, 0.1)) == (which == "loud")
    noise = [{**row, "low": -0.1} for row in told if row["low"] is not None]
    assert findings.attribution(noise) == findings.single_weights(noise, 0.1) == ""
    pictures, data, text = report._filters(SimpleNamespace(planned=[one], cells=cells))
    if which == "found":
        assert not pictures
        assert "Not named from the first kernel alone: optimizer" in text
    else:
        assert len(pictures) == 3
        assert len(data) == 3 * np.prod(result["examples"][0]["shape"])
        noisy = {**result, "examples": [{**e, "agreement": 0.1} for e in result["examples"]]}
        cells.put(one.cell, noisy)
        pictures, _, text = report._filters(SimpleNamespace(planned=[one], cells=cells))
        assert not pictures
        assert "no readable share of the verdict on optimizer" in text
