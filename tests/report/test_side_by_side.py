"""Two reports side by side: what is claimed of their differences. Reports are written, not studied."""

import base64
import csv
import io
import json
import re

import polars as pl
import pytest

from weightprint.cli import main as cli
from weightprint.errors import CorruptFile, ReportError
from weightprint.evaluation.intervals import wilson
from weightprint.report.differences import difference_of
from weightprint.report.side_by_side import compare_reports
from weightprint.report.tables import DIFFERS
from weightprint.study import COLUMNS


def row(hits, n=100, *, question="how_much", experiment="headline", target="optimizer", series="", x="", **changes):
    low, high = wilson(hits, n)
    return (
        dict.fromkeys(COLUMNS)
        | {"question": question, "experiment": experiment, "property": target, "model": "layer_trees"}
        | {"series": series, "x": x, "x_number": float(x) if x.isdecimal() else None, "measure": "accuracy"}
        | {"value": hits / n, "low": low, "high": high, "chance": 1 / 3, "majority": 0.4, "n_runs": n}
        | changes
    )


def report(path, rows, **standing):
    path.mkdir()
    pl.DataFrame(rows, schema_overrides={"x_number": pl.Float64}, infer_schema_length=None).write_parquet(
        path / "results.parquet"
    )
    if standing:
        (path / "report.json").write_text(json.dumps({"zoo": path.name, "fingerprint": path.name, **standing}))
    return path


def moments(first, second):
    return [
        row(hits, question="when", experiment="moments", series=x, x=x) for x, hits in (("1", first), ("20", second))
    ]


@pytest.fixture
def two(tmp_path):
    a = [row(95), row(70, target="dataset"), *moments(40, 90)]
    b = [row(60), row(66, target="dataset"), row(50, target="activation"), *moments(42, 88)]
    where = [
        row(hits, question="where", experiment="kind", x="kernel", target=target)
        for target, hits in (("optimizer", 80), ("dataset", 50))
    ]
    return (
        report(tmp_path / "one", a + where, seed=1, runs=300, split_seeds=[0, 1], budget="quick"),
        report(tmp_path / "other", b + where, seed=2, runs=200, split_seeds=[0, 1], budget="quick"),
    )


@pytest.mark.parametrize(
    ("a", "b", "low", "high"), [((56, 70), (48, 80), 0.0524, 0.3339), ((10, 10), (0, 20), 0.6791, 1.0)]
)
def test_the_interval_of_a_difference_is_newcombes(a, b, low, high):
    """Newcombe 1998, table II, method 10."""
    found = difference_of(row(*a), row(*b))
    assert found == pytest.approx((a[0] / a[1] - b[0] / b[1], low, high), abs=5e-5)


def test_only_a_difference_whose_interval_excludes_0_is_claimed(two, tmp_path):
    document = compare_reports(*two, tmp_path / "both.html")
    found = {(p["property"], p["experiment"], p["x"]): p for p in document["pairs"]}
    assert len(found) == 6
    assert [key for key, pair in found.items() if pair["differs"]] == [("optimizer", "headline", "")]
    assert found["optimizer", "headline", ""]["difference"] == pytest.approx(0.35)
    assert (document["only_in_a"], document["only_in_b"]) == (0, 1)
    assert document["answer"].startswith(
        "1 of the 2 headline results differs: optimizer by layer_trees (A 95 %, B 60 %"
    )
    assert "dataset" not in document["answer"]
    page = (tmp_path / "both.html").read_text(encoding="utf-8")
    assert len(re.findall(rf"<b>[^<]*{DIFFERS}</b>", page)) == 1


def test_the_page_needs_nothing_but_itself_and_carries_its_data(two, tmp_path):
    compare_reports(*two, tmp_path / "both.html")
    page = (tmp_path / "both.html").read_text(encoding="utf-8")
    assert not re.search(r'(src|href)="(?!#|data:)', page)
    assert "<script" not in page
    assert page.count('role="img"') == page.count("<svg") > 1
    links = dict(re.findall(r'download="([\w-]+)\.csv" href="data:text/csv;base64,([^"]+)"', page))
    assert set(links) == {"headline-layer_trees", "when-curves", "where"}
    rows = list(csv.DictReader(io.StringIO(base64.b64decode(links["when-curves"]).decode())))
    assert [(r["x"], r["a_value"], r["b_value"]) for r in rows] == [("1", "0.4", "0.42"), ("20", "0.9", "0.88")]


def test_results_among_other_numbers_of_classes_are_shown_and_not_judged(tmp_path):
    a = report(tmp_path / "a", [row(95)])
    b = report(tmp_path / "b", [row(60, chance=0.5)])
    (pair,) = compare_reports(a, b, tmp_path / "both.html")["pairs"]
    assert pair["interval"] is None
    assert not pair["differs"]
    page = (tmp_path / "both.html").read_text(encoding="utf-8")
    assert "different numbers of classes: optimizer" in page


@pytest.mark.parametrize(
    ("standing", "says"),
    [
        ({"seed": 1}, "have the seed 1"),
        ({"seed": 2}, ""),
        ({"seed": None, "fingerprint": "a"}, "stand on the same runs"),
        ({"seed": 1, "recipe": "r"}, "have one recipe"),
        ({}, "whether the two sides are independent is not known"),
    ],
)
def test_what_ties_the_two_sides_together_is_said(tmp_path, standing, says):
    a = report(tmp_path / "a", [row(95)], seed=1, recipe="r")
    b = report(tmp_path / "b", [row(60)], **standing)
    compare_reports(a, b, tmp_path / "both.html")
    page = (tmp_path / "both.html").read_text(encoding="utf-8")
    assert says in page
    assert ("not independent" in page or "is not known" in page) == bool(says)


@pytest.mark.slow
def test_a_report_beside_itself_has_no_difference(studied, tmp_path):
    folder, *_ = studied
    document = compare_reports(folder, folder, tmp_path / "both.html")
    assert document["pairs"]
    assert document["differ"] == document["only_in_a"] == document["only_in_b"] == 0
    assert document["a"]["zoo"] == "planted"
    page = (tmp_path / "both.html").read_text(encoding="utf-8")
    assert "stand on the same runs" in page


def test_a_folder_without_a_report_is_refused_with_what_to_do(two, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ReportError, match=r"empty is no report: a folder with results\.parquet was expected"):
        compare_reports(two[0], tmp_path / "empty", tmp_path / "both.html")
    assert cli.main(["compare", str(two[0]), str(tmp_path / "empty"), str(tmp_path / "both.html")]) == 1
    assert "weightprint study ZOO" in capsys.readouterr().err
    with pytest.raises(ReportError, match="there is no folder"):
        compare_reports(*two, tmp_path / "none" / "both.html")
    assert not (tmp_path / "both.html").exists()


def test_reports_of_before_runs_left_out_were_counted_are_read(tmp_path):
    older = [{name: value for name, value in row(95).items() if name != "left_out"}]
    found = compare_reports(report(tmp_path / "a", older), report(tmp_path / "b", [row(60)]), tmp_path / "both.html")
    assert found["differ"] == 1


def test_a_damaged_report_is_refused(two, tmp_path):
    (two[0] / "report.json").write_text("{")
    with pytest.raises(CorruptFile, match=r"report\.json is no JSON"):
        compare_reports(*two, tmp_path / "both.html")
    (two[0] / "results.parquet").write_bytes(b"PAR1 nonsense")
    with pytest.raises(CorruptFile, match="is no parquet file"):
        compare_reports(*two, tmp_path / "both.html")
