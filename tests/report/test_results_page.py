import json

import polars as pl
import pytest
from docs.generate import results

from weightprint.study import COLUMNS


def scored(**known):
    return {**dict.fromkeys(COLUMNS), "experiment": "headline", "measure": "accuracy", "chance": 0.25} | known


@pytest.fixture
def page(tmp_path, monkeypatch):
    path = tmp_path / "results.md"
    path.write_text(
        "Prose.\n\n<!-- splits -->\nold\n<!-- end -->\n\nMore.\n\n<!-- fresh -->\nold\n<!-- end -->\n\nThe end.\n"
    )
    monkeypatch.setattr(results, "PAGE", path)
    return path


def test_tables_are_written_between_their_marks_and_the_prose_is_left(page, tmp_path, monkeypatch):
    rows = [
        scored(property="batch_size", model="trees", value=0.5, low=0.4, high=0.6),
        scored(property="dataset", model="trees", value=0.3, low=0.2, high=0.4),
        scored(
            property="learning_rate", model="layer_trees", value=-0.06, low=-0.2, high=0.1, measure="r2", chance=None
        ),
    ]
    pl.DataFrame(rows, infer_schema_length=None).write_parquet(tmp_path / "results.parquet")
    known = {"kind": "classification", "model": "svm", "n_train_runs": 9, "chance": 0.25, "majority": 0.31}
    document = {**known, "property": "optimizer", "per_run": {"accuracy": 0.8, "interval": [0.7, 0.9]}}
    (tmp_path / "evaluated").mkdir()
    (tmp_path / "evaluated" / "svm, one slice.json").write_text(json.dumps(document))
    monkeypatch.setattr("sys.argv", ["results.py", str(tmp_path / "results.parquet"), str(tmp_path / "evaluated")])
    for _ in range(2):
        results.main()
        lines = page.read_text().split("\n")
        assert [line for line in lines if line[:1] not in ("|", "<", "")] == ["Prose.", "More.", "The end."]
        assert [line for line in lines if line.startswith("|")] == [
            "|  | dataset | batch size | learning rate |",
            "| --- | --- | --- | --- |",
            "| layer_trees | – | – | −.06 [−.20, .10] |",
            "| trees | 30 [20, 40] | 50 [40, 60] ▲ | – |",
            "|  | optimizer |",
            "| --- | --- |",
            "| svm, one slice | 80 [70, 90] ▲ |",
            "| *chance or majority* | 31 |",
        ]


def test_zoos_that_test_a_property_on_fewer_runs_keep_one_row():
    zoo = {"experiment": "zoo", "series": "this zoo", "x": "wild", "model": "layer_trees", "low": 0.3, "high": 0.7}
    rows = [scored(**zoo, property=name, value=0.5, n_runs=n) for name, n in (("dataset", 226), ("optimizer", 116))]
    table = results.of_study(pl.DataFrame(rows, infer_schema_length=None))["zoos"]
    assert table.split("\n") == [
        "| trained → tested | n | dataset | optimizer |",
        "| --- | --- | --- | --- |",
        "| fixed → wild | 116–226 | 50 [30, 70] ▲ | 50 [30, 70] ▲ |",
    ]
