"""The benchmark on a zoo with planted signals."""

import json
import shutil
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression

import weightprint as wp
from weightprint import Layout, Setup
from weightprint.cli import main as cli
from weightprint.errors import MetaError
from weightprint.evaluation.answers import from_json
from weightprint.features.table import FEATURES
from weightprint.meta.estimator import MetaClassifier
from weightprint.meta.learners.boosting import Boosting
from weightprint.report.bench import run_bench
from weightprint.seeds import uniform_from_hash
from weightprint.study.bench import BASELINES, COLUMNS, bench
from weightprint.zoo import Run, Zoo, write_run
from weightprint.zoo.runfile import RunRecord

LAYOUT = Layout.of(Setup(filter_size=3, width_conv=2, width_fc=8, depth_fc=1, outputs=10))
OPTIMIZERS = ("adam", "rmsprop")
QUICK = {"layer_trees": {"iterations": 5, "early_stopping": False}, "svm": {"draws": 2, "regularization": 0.1}}
OPTIONS = {
    "slice_lengths": (200, "all"),
    "snapshots": (1, 2),
    "converged": False,
    "slices": 2,
    "workers": 1,
    "settings": QUICK,
}
CHOICE = {**OPTIONS, "models": ["svm", "layer_trees"], "properties": ["optimizer", "learning_rate"], "reference": "svm"}


def planted_run(number, identity):
    """Its weights' scale tells the optimizer."""
    generator = np.random.default_rng(number)
    optimizer = OPTIMIZERS[number % 2]
    scale = 0.05 * (1 + number % 2)
    accuracy = 0.4 + 0.5 * uniform_from_hash("accuracy", number)
    return RunRecord(
        number=number,
        identity=identity,
        status="complete",
        reason="last epoch",
        properties={"optimizer": optimizer, "learning_rate": uniform_from_hash("rate", number), "dropout": 0.5},
        layout=LAYOUT,
        weights=(scale * generator.normal(size=(2, LAYOUT.size))).astype(np.float32),
        measurements=[{"snapshot": s, "test_accuracy": accuracy} for s in (1, 2)],
        curve=np.array([[0.0, 0.1]]),
        curve_columns=("step", "test_accuracy"),
        test_images=100,
    )


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    path = tmp_path_factory.mktemp("planted") / "zoo"
    zoo = Zoo.create(path, {"name": "planted"})
    for number in range(40):
        write_run(path, planted_run(number, zoo.run_identity(number)))
    return path


@pytest.fixture(scope="module")
def results(planted, tmp_path_factory):
    """what a benchmark of three splits gives, and its folder."""
    out = tmp_path_factory.mktemp("bench") / "out"
    return wp.bench(planted, out, splits=3, **{**CHOICE, "models": ["svm", "layer_trees", ("mine", mine())]}), out


def mine(strength=1.0):
    return LogisticRegression(C=strength, max_iter=5000)


@pytest.fixture
def fits(monkeypatch):
    """The models fitted, in their order."""
    fitted, fit = [], MetaClassifier.fit
    monkeypatch.setattr(MetaClassifier, "fit", lambda self, *a: [fitted.append(self.model), fit(self, *a)][1])
    return fitted


def of(document, **wanted):
    (found,) = [d for d in document["results"] if all(d[name] == value for name, value in wanted.items())]
    return found


def test_every_model_and_property_has_a_row_and_baselines_come_with_them(results):
    document, _ = results
    whole = {d["model"] for d in document["results"] if d["property"] == "optimizer" and d["slice_length"] == "all"}
    assert whole == {*BASELINES, "svm", "layer_trees", "mine"}
    local = {d["model"] for d in document["results"] if d["property"] == "optimizer" and d["slice_length"] == 200}
    assert local == {"svm", "mine"}
    assert of(document, model="svm", property="optimizer", slice_length="all")["per_run"]["accuracy"] > 0.9
    assert "mae" in of(document, model="svm", property="learning_rate", slice_length=200)["per_run"]
    assert all(d["seconds"] > 0 for d in document["results"])


def test_what_a_model_cannot_do_is_said_with_the_reason(results):
    document, _ = results
    reasons = {(r["model"], r["property"], r["slice_length"]): r["reason"] for r in document["left_out"]}
    assert reasons["layer_trees", "optimizer", 200] == "layer_trees reads whole vectors alone"
    assert "Unknown label type" in reasons["mine", "learning_rate", "all"]


def test_a_run_counts_once_in_several_splits(planted, results):
    document, _ = results
    found = of(document, model="svm", property="optimizer", slice_length="all")
    tests = [{run.identity for run in Zoo(planted).split(split_seed=seed)[1]} for seed in range(3)]
    assert found["n_splits"] == 3
    assert found["n_runs"] == found["per_run"]["n"] == len(set.union(*tests)) < sum(map(len, tests))
    low, high = found["per_run"]["interval"]
    assert low < found["per_run"]["accuracy"] <= high
    assert np.sum(found["confusion"]) == pytest.approx(found["n_runs"])


def test_differences_are_paired_with_the_reference_of_the_same_slice_length(results):
    document, _ = results
    gap = of(document, model="mine", property="optimizer", slice_length=200)["difference"]
    assert gap["reference"] == "svm (slices of 200)"
    pair = of(document, model="layer_trees", property="learning_rate", slice_length="all")
    other = of(document, model="svm", property="learning_rate", slice_length="all")
    expected = pair["per_run"]["mae"]["value"] - other["per_run"]["mae"]["value"]
    assert pair["difference"]["difference"] == pytest.approx(expected)
    low, high = pair["difference"]["interval"]
    assert low < pair["difference"]["difference"] < high
    assert other["difference"] is None


def test_the_table_holds_what_the_documents_say(results):
    document, out = results
    table = pl.read_parquet(out / "results.parquet")
    assert table.columns == list(COLUMNS)
    row = table.row(
        by_predicate=(pl.col("model") == "svm")
        & (pl.col("property") == "optimizer")
        & (pl.col("slice_length") == "200")
        & (pl.col("measure") == "accuracy"),
        named=True,
    )
    found = of(document, model="svm", property="optimizer", slice_length=200)
    assert row["value"] == found["per_run"]["accuracy"]
    assert [row["low"], row["high"]] == found["per_run"]["interval"]
    assert row["majority"] == found["majority"]
    assert table.filter(pl.col("reason").is_not_null())["value"].is_null().all()


def test_the_text_has_a_table_per_property_and_the_reasons(results):
    _, out = results
    text = (out / "results.md").read_text()
    assert "## optimizer" in text
    assert "| svm | slices of 200 |" in text
    assert "need at least five" in text
    assert "layer_trees, slices of 200: layer_trees reads whole vectors alone" in text


def test_the_figure_stands_alone_and_tells_what_it_shows(results):
    _, out = results
    svg = ET.parse(out / "results.svg").getroot()
    assert svg.tag == "{http://www.w3.org/2000/svg}svg"
    assert "the highest: optimizer" in svg.find("{http://www.w3.org/2000/svg}title").text
    text = (out / "results.svg").read_text()
    assert "currentColor" not in text
    assert "var(" not in text


@pytest.mark.slow
def test_a_second_call_computes_only_what_is_missing(planted, tmp_path, fits):
    first = wp.bench(planted, tmp_path / "out", **{**CHOICE, "models": ["layer_trees"], "reference": "layer_trees"})
    assert fits == [name for name in (*BASELINES, "layer_trees") for _ in range(2)]
    fits.clear()
    again = wp.bench(planted, tmp_path / "out", **{**CHOICE, "models": ["layer_trees"], "reference": "layer_trees"})
    assert (fits, again["computed"]) == ([], 0)
    assert again["results"] == first["results"]
    more = wp.bench(
        planted, tmp_path / "out", **{**CHOICE, "models": ["layer_trees", ("mine", mine())], "reference": "layer_trees"}
    )
    assert fits == ["mine"] * 4
    fits.clear()
    wp.bench(
        planted,
        tmp_path / "out",
        **{**CHOICE, "models": [("mine", mine(2.0))], "properties": ["optimizer"], "reference": "mine"},
    )
    assert fits == ["mine"] * 2
    assert len(more["results"]) > len(first["results"])


@pytest.mark.slow
def test_an_interrupted_call_keeps_what_is_done_and_leaves_nothing_half_written(planted, tmp_path, monkeypatch, fits):
    fit = MetaClassifier.fit

    def interrupt(self, *runs):
        if self.model == "layer_trees":
            raise KeyboardInterrupt
        return fit(self, *runs)

    with monkeypatch.context() as patch:
        patch.setattr(MetaClassifier, "fit", interrupt)
        with pytest.raises(KeyboardInterrupt):
            wp.bench(planted, tmp_path / "out", **CHOICE)
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["cells"]
    kept = [json.loads(p.read_text()) for p in (tmp_path / "out" / "cells").iterdir()]
    assert sorted(cell["settings"]["model"] for cell in kept) == sorted(2 * list(BASELINES) + 4 * ["svm"])
    fits.clear()
    wp.bench(planted, tmp_path / "out", **CHOICE)
    assert fits == ["layer_trees", "layer_trees"]


def test_cells_hold_the_answers_of_every_test_run(planted, results):
    _, out = results
    tests = {run.identity: run.properties["optimizer"] for run in Zoo(planted).split(split_seed=1)[1]}
    cells = [json.loads(p.read_text()) for p in (out / "cells").iterdir()]
    (cell,) = [
        c
        for c in cells
        if (s := c["settings"])["split_seed"] == 1 and s["model"] == "layer_trees" and s["target"] == "optimizer"
    ]
    classes = sorted(OPTIMIZERS)
    answers = from_json(cell["answers"])
    named = {run: classes[int(truth)] for run, truth in answers.select("run", "truth").rows()}
    assert named == tests
    assert answers["probabilities"].list.sum().to_list() == pytest.approx([1] * len(tests))


@pytest.mark.slow
def test_the_store_is_filled_before_the_first_fit_and_changes_no_result(planted, tmp_path, monkeypatch):
    zoo = Path(shutil.copytree(planted, tmp_path / "zoo", ignore=shutil.ignore_patterns("features")))
    choice = {**CHOICE, "models": ["svm"], "splits": 2}
    read, fit, stored = Run.load, MetaClassifier.fit, []

    def no_weights(run):
        raise AssertionError(f"{run} is read once the fits have begun")

    def fitted(self, *runs):
        stored.append(len(list((zoo / "features").rglob("*.safetensors"))))
        monkeypatch.setattr(Run, "load", no_weights)
        return fit(self, *runs)

    monkeypatch.setattr(MetaClassifier, "fit", fitted)
    filled = bench(zoo, tmp_path / "filled", **choice)
    monkeypatch.undo()
    assert Run.load is read
    assert len(set(stored)) == 1 < stored[0]
    again = bench(planted, tmp_path / "again", **choice)
    assert [d["per_run"] for d in filled["results"]] == [d["per_run"] for d in again["results"]]


@pytest.mark.slow
def test_fits_in_several_processes_are_those_of_one(planted, tmp_path, results):
    document, _ = results
    models = ["svm", "layer_trees", ("mine", mine())]
    found = bench(planted, tmp_path / "out", splits=3, **{**CHOICE, "models": models, "workers": 2})
    assert found["computed"] == document["computed"]
    timed = ("seconds", "fit_seconds")
    for one, other in zip(found["results"], document["results"], strict=True):
        assert {n: v for n, v in one.items() if n not in timed} == {n: v for n, v in other.items() if n not in timed}


def test_a_run_file_that_changed_has_its_fits_made_again(planted, tmp_path, fits):
    zoo = Path(shutil.copytree(planted, tmp_path / "zoo"))
    choice = {**CHOICE, "models": [], "properties": ["optimizer"], "reference": "dmc"}
    bench(zoo, tmp_path / "out", **choice)
    assert fits
    fits.clear()
    record = planted_run(3, Zoo(zoo).run_identity(3))
    write_run(zoo, replace(record, weights=record.weights + np.float32(1)))
    assert bench(zoo, tmp_path / "out", **choice)["computed"] == len(fits) == len(BASELINES)


@pytest.mark.slow
def test_fits_of_older_code_are_made_again(planted, tmp_path, fits, monkeypatch):
    choice = {**CHOICE, "models": ["layer_trees"], "properties": ["optimizer"], "reference": "layer_trees"}
    bench(planted, tmp_path / "out", **choice)
    fits.clear()
    anatomy = FEATURES["anatomy"]
    monkeypatch.setitem(FEATURES, "anatomy", replace(anatomy, version=anatomy.version + 1))
    bench(planted, tmp_path / "out", **choice)
    assert fits == ["layer_trees"]
    fits.clear()
    monkeypatch.setattr(Boosting, "version", Boosting.version + 1)
    bench(planted, tmp_path / "out", **choice)
    assert set(fits) == {"layer_trees", "shapes", "fields"}


def test_the_bench_writes_cells_alone_and_the_report_the_rest(planted, tmp_path):
    choice = {**CHOICE, "models": [], "properties": ["optimizer"], "reference": "dmc"}
    found = bench(planted, tmp_path / "out", **choice)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["cells"]
    written = run_bench(planted, tmp_path / "out", **choice)
    assert all(Path(path).is_file() for path in written["files"].values())
    assert written["results"] == found["results"]


def test_by_default_the_choices_that_vary_and_the_accuracy_are_predicted(planted, tmp_path):
    document = wp.bench(planted, tmp_path / "out", **{**OPTIONS, "models": [], "settings": {}})
    assert list(dict.fromkeys(d["property"] for d in document["results"])) == [
        "learning_rate",
        "optimizer",
        "test_accuracy",
    ]
    assert document["reference"] is None


@pytest.mark.slow
def test_progress_tells_what_comes_and_the_time_left(planted, tmp_path):
    told = []
    wp.bench(planted, tmp_path / "out", progress=lambda *a: told.append(a), **CHOICE)
    read = [t for t in told if t[2].startswith("runs read")]
    assert len(read) == 40
    assert {(t[0], t[3]) for t in read} == {(0, None)}
    told = [t for t in told if t not in read]
    assert [t[0] for t in told] == list(range(len(told)))
    assert {t[1] for t in told} == {len(told) - 1}
    assert told[0][2:] == ("majority (whole vectors): optimizer", None)
    assert all(t[3] > 0 for t in told[1:-1])
    assert told[-1][3] == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models": ["tres"]}, "unknown model 'tres' .did you mean 'trees'"),
        ({"properties": ["optimiser"]}, "no property 'optimiser' .* .did you mean 'optimizer'"),
        ({"models": [("svm", mine())]}, "a model 'svm' already"),
        (
            {"models": [("mine", LogisticRegression), "svm"], "properties": ["optimizer"]},
            "an estimator is an object",
        ),
        ({"reference": "dnc"}, "'dnc' is not among"),
        ({"settings": {"tres": {}}}, "settings for an unknown model 'tres'"),
        ({"splits": 0}, "splits must be from 1 up"),
        ({"snapshots": (11, 20)}, "nothing could be computed: snapshots 11-20 were asked for"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_anything_is_written(planted, tmp_path, changes, message):
    with pytest.raises(MetaError, match=message):
        wp.bench(planted, tmp_path / "out", **{**CHOICE, **changes})
    assert not list(tmp_path.glob("out/results*"))


@pytest.mark.slow
def test_the_command_prints_one_document_and_nothing_else_on_standard_output(planted, tmp_path, capsys):
    options = ["--models", "svm", "--properties", "optimizer", "--slice-length", "200", "--snapshots", "1-2"]
    arguments = ["bench", str(planted), str(tmp_path / "out"), *options, "--converged", "off", "--json"]
    assert cli.main(arguments) == 0
    document = json.loads(capsys.readouterr().out)
    assert {d["model"] for d in document["results"]} == {*BASELINES, "svm"}
    assert all({"property", "kind", "n_runs", "seconds", "per_run"} <= set(d) for d in document["results"])
    assert cli.main([*arguments[:-1]]) == 0
    assert "results.md" in capsys.readouterr().out
