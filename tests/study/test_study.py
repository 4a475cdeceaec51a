import base64
import csv
import dataclasses
import io
import itertools
import re
import shutil
from pathlib import Path
from xml.etree import ElementTree

import polars as pl
import pytest

from tests.conftest import FEW_RESULTS
from weightprint import study
from weightprint.errors import MetaError
from weightprint.report import study_sections
from weightprint.report.study_page import run_study
from weightprint.study import experiments, plans
from weightprint.study.cells import Cell, Cells, compute


def test_a_result_is_computed_once(tmp_path):
    cells, made = Cells(tmp_path, "zoo"), []

    def work(cell):
        made.append(cell.settings["n"])
        return {"n": cell.settings["n"]}

    wanted = [Cell("trial", {"n": n}) for n in (1, 2, 2)]
    assert compute(cells, wanted, work, workers=1) == 2
    assert compute(cells, [*wanted, Cell("trial", {"n": 3})], work, workers=1) == 1
    assert made == [1, 2, 3]
    assert compute(Cells(tmp_path, "another zoo"), wanted, work, workers=1) == 2


def test_an_interrupt_keeps_what_is_done_and_a_damaged_result_is_made_again(tmp_path):
    cells, wanted = Cells(tmp_path, "zoo"), [Cell("trial", {"n": n}) for n in range(3)]

    def work(cell):
        if cell.settings["n"] == 1:
            raise KeyboardInterrupt
        return {}

    with pytest.raises(KeyboardInterrupt):
        compute(cells, wanted, work, workers=1)
    assert [cells.get(cell) for cell in wanted] == [{}, None, None]
    cells.path(wanted[0]).write_text("{")
    assert compute(cells, wanted, lambda cell: {"again": True}, workers=1) == 3


@pytest.mark.slow
def test_a_study_answers_every_question_and_is_not_computed_twice(studied):
    _, first, second = studied
    assert first["made"] > 0
    assert second["made"] == 0
    table = pl.read_parquet(first["results"])
    assert tuple(table.columns) == tuple(study.COLUMNS)
    assert set(table["question"]) == {"how_much", "where", "when", "transfer", "controls"}
    named = table.filter(pl.col("value").is_not_null())
    assert named.filter(pl.col("n_runs").is_null() | pl.col("low").is_null()).is_empty()
    headline = table.filter((pl.col("experiment") == "headline") & (pl.col("property") == "optimizer"))
    assert headline["low"][0] > headline["majority"][0]


@pytest.mark.slow
def test_the_report_is_one_file_with_its_data_and_claims_only_what_was_planted(studied):
    page = (studied[0] / "report.html").read_text(encoding="utf-8")
    assert not re.search(r'(src|href)="(?!#|data:)', page)
    assert "<script" not in page
    assert page.count('role="img"') == page.count("<svg")
    links = re.findall(r'download="([\w-]+)\.csv" href="data:text/csv;base64,([^"]+)"', page)
    rows = {name: list(csv.DictReader(io.StringIO(base64.b64decode(data).decode()))) for name, data in links}
    assert rows["headline"][0]["property"] == "dataset"
    answer = re.search(r'<p class="answer">(.*?)</p>', page, re.DOTALL)[1]
    assert "optimizer" in answer.partition("do not settle")[0]
    assert "dataset (" not in answer


def test_a_quick_study_leaves_out_the_papers_local_models_and_a_standard_one_has_them():
    facts = plans.Facts(("optimizer",), (), 4, {}, {}, length=5000, lengths_differ=False, runs=9)
    models = {size: {one.model for one in experiments.how_much(facts, study.BUDGETS[size])} for size in study.BUDGETS}
    assert {"svm", "dmc"} <= models["standard"] & models["paper"]
    assert not {"svm", "dmc"} & models["quick"]


@pytest.mark.slow
def test_slices_are_mapped_by_place_and_snapshot_and_beside_each_runs_accuracy(planted_path, tmp_path, monkeypatch):
    """The optimizer is written into the third and the last quarter of training, into one layer of the middle."""
    for module in (experiments, study_sections):
        monkeypatch.setattr(module, "PAPER_LENGTH", 200)
    monkeypatch.setitem(study.BUDGETS, "standard", dataclasses.replace(FEW_RESULTS, name="standard", lengths=(200,)))
    mapped = ("slices", "slices_of_part", "slices_by_snapshot")
    whole = experiments.plan

    def few(*known):
        return [p for p in whole(*known) if p.experiment in mapped and p.target == "optimizer"]

    monkeypatch.setattr(experiments, "plan", few)
    run_study(planted_path, tmp_path, budget="standard", workers=1)
    with (tmp_path / "figures" / "place-map.csv").open() as file:
        of_optimizer = [row for row in csv.DictReader(file) if row["property"] == "optimizer"]
    moments = itertools.groupby(of_optimizer, key=lambda row: int(row["snapshot"]))
    best = {moment: max(float(row["probability"]) for row in of_moment) for moment, of_moment in moments}
    assert list(best) == [1, 2, 3, 4]
    assert max(best, key=best.get) in (3, 4)
    parts = pl.read_parquet(tmp_path / "results.parquet").filter(pl.col("experiment") == "slices_of_part")
    assert set(parts["x"]) == {"conv", "fc", "all"}
    with (tmp_path / "figures" / "slices-of-runs.csv").open() as file:
        of_runs = list(csv.DictReader(file))
    assert {row["dataset"] for row in of_runs} == {"mnist", "svhn", "cifar10"}
    assert all(0 <= float(row["value"]) <= 1 and 0 < float(row["test_accuracy"]) < 1 for row in of_runs)


def test_an_unknown_budget_is_refused(planted_path, tmp_path):
    with pytest.raises(MetaError, match="unknown budget"):
        run_study(planted_path, tmp_path, budget="fast")


@pytest.mark.slow
def test_every_figure_lies_beside_the_report_as_a_file_with_its_data(studied):
    folder = studied[0] / "figures"
    named = {path.stem for path in folder.glob("*.csv")}
    assert {"headline", "when", "controls"} <= named
    for path in folder.glob("*.svg"):
        root = ElementTree.fromstring(path.read_text(encoding="utf-8"))
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert "var(" not in path.read_text(encoding="utf-8")


@pytest.mark.slow
def test_every_zoo_is_trained_on_and_tested_on_and_the_command_says_so(planted_path, tmp_path, monkeypatch):
    other = Path(shutil.copytree(planted_path, tmp_path / "other"))
    next(iter((other / "runs" / "0000").glob("*071*"))).unlink()  # another zoo by its runs
    monkeypatch.setattr(experiments, "EXPERIMENTS", (experiments.transfer,))
    quick = dataclasses.replace(study.BUDGETS["quick"], properties=4, left_out=0)
    monkeypatch.setitem(study.BUDGETS, "quick", quick)
    document = run_study(planted_path, tmp_path / "report", budget="quick", workers=1, against=[other])
    rows = pl.read_parquet(document["results"]).filter(pl.col("property") == "optimizer")
    pairs = {(series, x): low - majority for series, x, low, majority in rows["series", "x", "low", "majority"].rows()}
    assert set(pairs) == set(itertools.product(("this zoo", "other"), repeat=2))
    assert min(pairs.values()) > 0
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert f"--against {other}" in page
    assert "Trained on this zoo and tested on other" in page.replace("\u00a0", " ")
