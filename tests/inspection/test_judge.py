"""The judge: what it counts, and that nothing is judged by trees that saw it."""

import csv

import numpy as np
import pytest

from weightprint.inspection import learning
from weightprint.inspection.cases import Case, further
from weightprint.inspection.judge import Judge, Reply, judge, markdown, scores
from weightprint.inspection.learning import Answers
from weightprint.inspection.strangers import Stranger, read_strangers

from .conftest import trained_networks


def reply(truth, best, *, told=True, held=True, shapes="sgd_like"):
    case = Case({}, (), None, None)
    return Reply(case, truth, best, best if told else None, held, 2, shapes)


def test_scores_count_classes_verdicts_and_sets():
    rows = [reply("adaptive", "adaptive") for _ in range(6)] + [reply("adaptive", "sgd_like", told=False, held=False)]
    rows += [reply("sgd_like", "sgd_like"), reply("sgd_like", "adaptive")]
    found = scores(rows)
    assert found["per_class"] == {"adaptive": [6, 7], "sgd_like": [1, 2]}
    assert found["balanced"] == pytest.approx((6 / 7 + 1 / 2) / 2)
    assert (found["verdicts"], found["wrong"][0], found["sets"][0]) == (8, 1, 8)
    assert found["shapes"] == 0.5
    assert found["majority"] == pytest.approx(7 / 9)
    # R: binom.test(1, 8)$conf.int
    assert found["wrong"][1:] == pytest.approx([0.003159724, 0.526509671], abs=1e-6)
    table = markdown({"files": {"optimizer_family": found}}, ["optimizer_family"], [])
    assert "| files | 9 | adaptive 6/7, sgd_like 1/2 | .68 | .50 |" in table
    assert "judged only" in table
    by_family = markdown({"held out: lenet": {"optimizer_family": found}}, ["optimizer_family"], [])
    assert "| held out: lenet | .68 (9) |" in by_family


def test_further_properties_leave_out_what_lies_between_their_ranges():
    assert further({"optimizer": "rmsprop_torch", "batch_size": 32, "learning_rate": 0.01, "weight_decay": 0.0}) == {
        "optimizer": "rmsprop",
        "learning_rate_range": "above 5e-3",
        "weight_decay_use": "none",
    }
    assert further({"batch_size": 16, "learning_rate": 0.001}) == {
        "batch_size_range": "at most 16",
        "learning_rate_range": "below 2e-3",
    }


def lab_answers(rng, classes, n, sharpness):
    """Probabilities of networks whose classes are equally common, each class's own score raised by `sharpness`."""
    truth = np.arange(n) % classes
    scores_ = rng.normal(size=(n, classes)) + sharpness * np.eye(classes)[truth]
    return Answers(truth, np.exp(scores_) / np.exp(scores_).sum(axis=1, keepdims=True))


def test_calibration_never_makes_probabilities_surer_than_the_fits():
    lab = lab_answers(np.random.default_rng(0), 2, 400, 2.0)
    # Scores of unit variance that the class raises by 2 have twice their differences as log odds: temperature a half.
    bold = lab.probabilities**3 / (lab.probabilities**3).sum(axis=1, keepdims=True)
    assert learning.calibrate(lab).temperature == pytest.approx(1, abs=1e-4)
    assert learning.calibrate(Answers(lab.truth, bold)).temperature == pytest.approx(1.5, rel=0.1)


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    found = trained_networks(tmp_path_factory.mktemp("judged"), 32)
    for number, network in enumerate(found):
        network.labels["architecture"] = ("lenet", "mlp")[number // 8 % 2]
    return found


def files_of(networks):
    """The networks again as strangers' files, two a repository."""
    return [
        Stranger(str(i), f"repo {i // 2}", n.checkpoint.path, n.labels, False, "", (str(i // 4),), "", n)
        for i, n in enumerate(networks)
    ]


@pytest.mark.slow
def test_nothing_is_judged_by_trees_that_saw_it(networks, monkeypatch):
    monkeypatch.setitem(learning.SETTINGS, "iterations", 3)
    fits = []

    def spied(runs, names, seeds, **changes):
        metas = learning_fit(runs, names, seeds, **changes)
        fits.append(set().union(*(run.kin for run in runs)))
        return metas

    learning_fit = learning.fit_metas
    monkeypatch.setattr(learning, "fit_metas", spied)
    runs, files = networks[:16], files_of(networks[16:])
    names = ("optimizer_family", "activation")
    found = dict(judge(Judge(runs, files, names, (0,)), files[:4]))
    assert found["everyday runs held out"]["activation"]["n"] == 16
    assert found["architectures held out: lenet"]["activation"]["n"] == 8
    assert found["real files, A"]["activation"]["n"] == found["real files, B"]["activation"]["n"] == 16
    assert found["real files, B, one per set-up"]["activation"]["n"] == 4
    assert found["loops not ours, A"]["optimizer_family"]["n"] == 4
    by_runs, by_family, a, b = fits[:4], fits[4:6], fits[6:7], fits[7:11]
    identities = set().union(*(run.kin for run in runs))
    assert [len(fit & identities) for fit in by_runs] == [12] * 4
    assert set.intersection(*by_runs) == set()  # each run is in no fit of its own fold
    assert {frozenset(fit) for fit in by_family} == {
        frozenset().union(*(n.kin for n in runs if n.labels["architecture"] == family)) for family in ("lenet", "mlp")
    }
    assert a == [identities]
    ids = {s.id: s.repo for s in files}
    left_out = [ids.keys() - fit for fit in b]
    assert sorted(i for out in left_out for i in out) == sorted(ids)
    repos = [{ids[i] for i in out} for out in left_out]
    assert sum(map(len, repos)) == len(set(ids.values()))  # a repository is left out whole


@pytest.mark.slow
def test_a_table_without_rates_reads_as_one_that_does_not_document_them(tmp_path, networks):
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a.pth").write_bytes(networks[0].checkpoint.path.read_bytes())
    row = {"id": "a", "repo": "r", "dataset": "tiny_imagenet10", "optimizer": "sgd_nesterov", "learning_rate": "0.01"}
    row |= {"momentum": "0.9", "weight_decay": "", "batch_size": "64", "activation": "relu", "initialization": ""}
    with open(tmp_path / "table.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, [*row, "embedded", "doubt"])
        writer.writeheader()
        writer.writerow({**row, "embedded": "false", "doubt": ""})
    (stranger,) = read_strangers(tmp_path)
    assert stranger.labels["image_kind"] == "natural"
    assert stranger.labels["batch_size"] == 64
    assert "weight_decay" not in stranger.labels
