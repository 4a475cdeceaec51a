"""Questions on planted zoos, and the page that answers them."""

import dataclasses
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from tests.meta.conftest import SMALL
from tests.study.conftest import planted_run
from weightprint import study
from weightprint.errors import DataError, MetaError
from weightprint.evaluation.answers import table, to_json
from weightprint.report import question_sections
from weightprint.report.study_page import run_questions
from weightprint.study import generalization, half_life, one_factor
from weightprint.study.budgets import BUDGETS, Budget
from weightprint.study.cells import Cells
from weightprint.study.plans import Facts
from weightprint.zoo import Zoo, write_run
from weightprint.zoo.layout import Layout

TINY = Budget("quick", (0,), (0,), 2, (), (100,), 1.0, 1.0, False, 2, 1)


def zoo_of(path, name):
    Zoo.create(path, {"note": name})
    layout = Layout.of(SMALL)
    for number in range(72):
        record = planted_run(number, layout)
        batch_size = (32, 64)[number % 2]
        moments = [{**row, "epoch": t, "step": 640 / batch_size * t} for t, row in enumerate(record.measurements)]
        properties = {**record.properties, "batch_size": batch_size}
        write_run(
            path, dataclasses.replace(record, identity=f"{name}:{number}", properties=properties, measurements=moments)
        )
    return Zoo(path)


def test_images_are_for_robustness_and_have_to_be_there(tmp_path):
    zoo = zoo_of(tmp_path / "zoo", "zoo")
    with pytest.raises(MetaError, match="images serve the question robustness alone"):
        run_questions(zoo, tmp_path / "report", ["half-life"], data=tmp_path)
    with pytest.raises(DataError, match="mnist"):
        run_questions(zoo, tmp_path / "report", ["robustness"], data=tmp_path)
    assert not (tmp_path / "report").exists()


@pytest.mark.slow
def test_questions_are_answered_on_a_page_with_its_table_and_not_computed_twice(tmp_path, monkeypatch):
    monkeypatch.setitem(study.BUDGETS, "quick", TINY)
    zoo, other = (zoo_of(tmp_path / name, name) for name in ("originals", "variants"))
    asked = {"budget": "quick", "workers": 1, "against": [other]}
    first = run_questions(zoo, tmp_path / "report", ["identity", "half-life"], **asked)
    again = run_questions(zoo, tmp_path / "report", ["identity", "half-life"], **asked)
    assert first["made"] > 0
    assert again["made"] == 0
    found = pl.read_parquet(first["results"])
    assert set(found["question"]) == {"identity", "half-life"}
    across = found.filter((pl.col("question") == "identity") & (pl.col("series") == "runs of the other zoo"))
    assert across["x"].unique().sort().to_list() == ["this zoo → variants", "variants → this zoo"]
    assert across["n_compared"].min() > 0
    assert across["difference_low"].is_not_null().all()
    page = (tmp_path / "report" / "questions.html").read_text()
    assert page.count('role="img"') == page.count("<svg") >= 4
    assert not re.search(r'(src|href)="(?!#|data:)', page)
    assert "--questions identity,half-life --budget quick --against" in page


def test_every_question_has_its_section_and_its_words():
    words = Path(question_sections.__file__).with_name("questions.html").read_text()
    assert list(question_sections.SECTIONS) == list(study.QUESTIONS)
    assert all(f'"{name}": {{' in words for name in study.QUESTIONS)


def test_unknown_questions_and_lacking_zoos_are_refused(planted, tmp_path):
    with pytest.raises(MetaError, match="unknown question 'robust'"):
        run_questions(planted, tmp_path, ["robust"])
    with pytest.raises(MetaError, match="identity compares zoos"):
        run_questions(planted, tmp_path, ["identity"])


def answered(tmp_path, hit):
    """Cells of half-life in which run i of batch size b is named right after e epochs and s steps where hit(e, s)."""
    runs = [
        SimpleNamespace(
            identity=f"zoo:{i}",
            properties={"batch_size": b},
            measurements=[{"epoch": e, "step": e * 2048 // b} for e in range(20)],
        )
        for i, b in enumerate((32, 64, 128, 256) * 12)
    ]
    cells, zoos = Cells(tmp_path, "zoo"), {"": runs}
    facts = Facts(("initialization",), (), 20, {}, {}, 100, False, len(runs))
    planned = half_life.plan(facts, BUDGETS["standard"], zoos)
    for one in planned:
        at = [run.measurements[one.xs[0] - 1] for run in runs]
        right = np.array([hit(m["epoch"], m["step"]) for m in at])
        truth = np.arange(len(runs)) % 2
        answers = table([r.identity for r in runs], truth, np.where(right, truth, 1 - truth), classes=("a", "b"))
        score = {"measure": "accuracy", "value": right.mean(), "low": right.mean() - 0.1, "high": 1.0}
        score |= {"chance": 0.5, "majority": 0.5, "n_runs": len(runs)}
        cells.put(one.cell, {"scores": [score], "answers": [to_json(answers)]})
    return pl.DataFrame(half_life.rows(planned, cells, zoos), infer_schema_length=None)


def test_what_is_not_there_before_the_first_step_and_stays_does_not_grow_by_any_clock(tmp_path):
    found = answered(tmp_path, lambda epoch, step: step > 0)
    assert found.filter(pl.col("experiment") == half_life.SLOPE)["value"].to_list() == pytest.approx([0, 0], abs=1e-9)
    moments = found.filter(pl.col("experiment") == "moments").sort("x_number")
    assert moments["value"].to_list() == [0.0] + [1.0] * 19
    assert moments["x_number"][1] == np.median([2048 // b for b in (32, 64, 128, 256)])


@pytest.mark.parametrize("clock", ["epoch", "step"])
def test_the_clock_by_which_a_footprint_fades_takes_the_slope(tmp_path, clock):
    limit = {"epoch": 8, "step": 150}[clock]
    found = answered(tmp_path, lambda epoch, step: {"epoch": epoch, "step": step}[clock] < limit)
    slopes = {r["x"]: r for r in found.filter(pl.col("experiment") == half_life.SLOPE).iter_rows(named=True)}
    other = "step" if clock == "epoch" else "epoch"
    assert slopes[clock]["high"] < 0
    assert abs(slopes[other]["value"]) < abs(slopes[clock]["value"]) / 2
    groups = found.filter(pl.col("experiment") == half_life.BY_BATCH)
    assert groups["series"].n_unique() == 4
    last = {
        r["x"]: r["value"] for r in found.filter(pl.col("experiment") == half_life.LAST_READABLE).iter_rows(named=True)
    }
    assert 0 < last["epoch"] < 19


def test_levels_of_a_factor_are_its_values_or_the_halves_of_a_number():
    runs = [
        SimpleNamespace(
            properties={"norm": ("none", "batch", "rare")[(i % 2) + (i > 590)], "steps": i}, converged=i < 598
        )
        for i in range(600)
    ]
    assert [name for name, _ in one_factor.levels(runs, "norm")] == ["batch", "none"]
    (low, below), (high, above) = one_factor.levels(runs, "steps")
    assert (low, high) == ("below 299", "299 and more")
    assert max(below) < min(above) == 299
    assert list(one_factor.levels(runs, "architecture")) == []


@pytest.mark.slow
def test_an_accuracy_that_is_only_the_data_sets_is_not_told_within_one(tmp_path):
    runs = [
        SimpleNamespace(
            identity=f"zoo:{i}",
            properties={"dataset": ("easy", "hard", "middling")[i % 3]},
            measurements=[{"train_accuracy": 0.9, "test_accuracy": 0.9 - 0.3 * (i % 3) + 0.001 * i}],
        )
        for i in range(90)
    ]
    facts = Facts((), ("test_accuracy",), 1, {}, {"dataset": ("easy", "hard", "middling")}, 100, False, len(runs))
    planned = generalization.plan(facts, BUDGETS["quick"], {"": runs})
    assert len(planned) == 2 * 2 * (1 + 3)
    cells = Cells(tmp_path, "zoo")
    level = {name: 0.9 - 0.3 * i for i, name in enumerate(("easy", "hard", "middling"))}
    for one in planned:
        tested = [r for r in runs if one.xs[0] in ("", r.properties["dataset"])]
        truth = [r.measurements[0]["test_accuracy"] for r in tested]
        known = [level[r.properties["dataset"]] for r in tested]
        told = known if one.model == generalization.BLIND else truth
        cells.put(one.cell, {"scores": [{}], "answers": [to_json(table([r.identity for r in tested], truth, told))]})
    found = pl.DataFrame(generalization.rows(planned, cells, {"": runs}), infer_schema_length=None)
    found = found.filter(property="test_accuracy", measure="r2")
    blind = {r["x"]: r for r in found.filter(model=generalization.BLIND).iter_rows(named=True)}
    assert blind[generalization.TOGETHER]["value"] > 0.9
    assert all(blind[name]["value"] < 0 for name in level)
    seen = found.filter(model="layer_trees", experiment=generalization.KNOWN)
    assert seen["x"].to_list() == [generalization.TOGETHER, "easy", "hard", "middling"]
    assert seen["difference_high"].max() < 0
    unseen = found.filter(model="layer_trees", experiment=generalization.NEVER_SEEN)
    assert unseen["x"].to_list() == ["easy", "hard", "middling"]
    assert unseen["difference_high"].max() < 0  # compared with fields fitted without that data set
    assert found.filter(model=generalization.BLIND, experiment=generalization.NEVER_SEEN)["value"].max() < 0
    with pytest.raises(MetaError, match="accuracies were measured"):
        generalization.plan(facts, BUDGETS["quick"], {"": [SimpleNamespace(measurements=[{"test_accuracy": 0.5}])]})
