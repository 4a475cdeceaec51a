"""The NWS release in and out."""

import csv
import json
import shutil

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from weightprint.cli import main as cli
from weightprint.errors import ZooError
from weightprint.formats.nws import COLUMNS, LIST_COLUMNS, import_nws
from weightprint.formats.nws_export import export_nws
from weightprint.setups import Setup
from weightprint.zoo import Zoo, write_run
from weightprint.zoo.layout import Layout
from weightprint.zoo.runfile import RunRecord

SMALL = {"filter_size": 3, "width_conv": 4, "width_fc": 64}
CURVE = ("step", "epoch", "train_accuracy", "validation_accuracy", "test_accuracy", "smoothed_validation_accuracy")


def record(number, setup, *, seed=0, status="complete", test_accuracy=0.9):
    layout = Layout.of(setup)
    rng = np.random.default_rng([seed, number])
    curve = np.column_stack([np.arange(20) * 8, np.arange(20), rng.random((20, 4))]).astype(np.float64)
    curve[-1, 4] = test_accuracy
    return RunRecord(
        number=number,
        identity=f"made:{seed}:{number}",
        status=status,
        reason="",
        properties=setup.to_dict(),
        layout=layout,
        weights=rng.normal(size=(20, layout.size)).astype(np.float32),
        measurements=[{"snapshot": t + 1, **dict(zip(CURVE, curve[t].tolist(), strict=True))} for t in range(20)],
        curve=curve,
        curve_columns=CURVE,
        test_images=500,
    )


@pytest.fixture
def zoo(tmp_path):
    made = Zoo.create(tmp_path / "zoo", {"made": "by hand"}, space_name="main")
    choices = [("mnist", "adam", "relu"), ("fashion_mnist", "momentum", "tanh"), ("stl10", "rmsprop", "sigmoid")]
    for number, (dataset, optimizer, activation) in enumerate(choices):
        setup = Setup(
            dataset=dataset, optimizer=optimizer, activation=activation, learning_rate=0.0003 + number / 7e3, **SMALL
        )
        write_run(made.path, record(number, setup))
    write_run(made.path, record(3, Setup(**SMALL), test_accuracy=0.1))
    return made.refresh()


def changed(zoo, **fields):
    write_run(zoo.path, record(4, Setup(**{**SMALL, **fields})))
    return zoo.refresh()


def test_a_zoo_comes_back_from_nws_with_the_same_weights_and_names(zoo, tmp_path):
    document = export_nws(zoo, tmp_path / "out")
    assert (document["runs"], document["train"] + document["test"]) == (4, 3)
    answer = import_nws(tmp_path / "out", tmp_path / "back")
    assert (answer["left_out"], answer["imported"]) == ([], 4)
    back = Zoo(tmp_path / "back")
    assert back.verify() == []
    for run, twin in zip(zoo, back, strict=True):
        assert run.weights.tobytes() == twin.weights.tobytes()
        assert (run.setup, run.layout) == (twin.setup, twin.layout)
        columns = ["step", "train_accuracy", "test_accuracy"]
        for a, b in zip(run.measurements, twin.measurements, strict=True):
            assert [a[c] for c in columns] == pytest.approx([b[c] for c in columns], abs=1e-12)
    assert back[0].module(20)(__import__("torch").zeros(1, 3, 32, 32)).shape == (1, 20)
    assert back[3].properties.get("published_list") is None
    sides = back.index["published_list"].drop_nulls().to_list()
    assert (sides.count("train"), sides.count("test")) == (document["train"], document["test"])


def test_what_is_written_is_what_the_published_reader_reads(zoo, tmp_path, monkeypatch):
    """The reader's steps: columns by place, codes, rows of error.bin for the snapshots, lengths."""
    export_nws(zoo, tmp_path / "out")
    monkeypatch.chdir(tmp_path / "out")
    texts = [(tmp_path / "out" / f"nws_main_{side}.csv").read_text() for side in ("train", "test")]
    rows = [row for text in texts for row in csv.reader(text.splitlines())]
    assert rows[0] == list(LIST_COLUMNS)
    listed = {row[-1]: row for row in rows if row[-1] != "path"}
    assert set(listed) == {f"nws_main/{number:07d}" for number in range(3)}
    row = listed["nws_main/0000001"]
    assert [row[i] for i in (0, 3, 4, 5, 6, 7)] == ["fashion", "1", "0", "2", "3", "2"]
    assert float(row[1]) == zoo[1].setup.learning_rate
    errors, stat = np.fromfile(f"{row[-1]}/error.bin"), np.fromfile(f"{row[-1]}/stat.bin")
    assert (errors.size, *stat[:3]) == (100, 20, 152, 19)
    assert np.isnan(stat[3])
    at = np.round(np.linspace(0, stat[0] - 1, 20)).astype("uint32")
    assert 100 - errors.reshape(-1, 5)[at, 3] == pytest.approx(100 * zoo[1].curve[:, 4])
    weights = np.fromfile(f"{row[-1]}/weights/011.bin", "double")
    assert len(weights) == int(row[13]) + int(row[14])
    assert weights.tolist() == zoo[1].snapshot(11).tolist()
    with open(f"{row[-1]}/meta.csv") as file:
        assert next(csv.reader(file)) == list(COLUMNS)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"dataset": "tiny_imagenet10"}, "dataset tiny_imagenet10; NWS can say mnist"),
        ({"optimizer": "adamw"}, "optimizer adamw"),
        ({"dropout": 0.25}, "dropout 0.25"),
        ({"weight_decay": 1e-4}, "weight_decay 0.0001"),
        ({"outputs": 10}, "outputs 10"),
        ({"width_fc": 96}, "width_fc 96"),
    ],
)
def test_what_nws_cannot_say_is_refused_before_anything_is_written(zoo, tmp_path, fields, message):
    with pytest.raises(ZooError, match=message):
        export_nws(changed(zoo, **fields), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_mapped_value_is_written_and_said(zoo, tmp_path, capsys):
    changed(zoo, dataset="tiny_imagenet10")
    arguments = ["export", "nws", str(zoo.path), str(tmp_path / "out"), "--map", "tiny_imagenet10=stl10", "--json"]
    assert cli.main(arguments) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["mapped"] == {"tiny_imagenet10": "stl10"}
    assert "dataset cifar10" in document["notes"][0]
    assert cli.main(["import", "nws", str(tmp_path / "out"), str(tmp_path / "back"), "--json"]) == 0
    assert Zoo(tmp_path / "back")[4].setup.dataset == "stl10"


def test_interrupted_exports_and_imports_go_on(zoo, tmp_path):
    out = tmp_path / "out"
    export_nws(zoo, out)
    kept = (out / "nws_main" / "0000000" / "stat.bin").stat().st_mtime_ns
    shutil.rmtree(out / "nws_main" / "0000002")
    export_nws(zoo, out)
    assert (out / "nws_main" / "0000000" / "stat.bin").stat().st_mtime_ns == kept
    assert import_nws(out, tmp_path / "back", runs=2)["imported"] == 2
    assert import_nws(out, tmp_path / "back")["imported"] == 2
    with pytest.raises(ZooError, match="holds the export of another"):
        export_nws(zoo, out, map_={"a": "b"})
    arguments = ["export", "nws", str(zoo.path), str(tmp_path / "new"), "--range", "3-1"]
    assert cli.main(arguments) == 1
    assert not (tmp_path / "new").exists()


def with_cell(path, column, value):
    rows = list(csv.reader(path.read_text().splitlines()))
    rows[1][rows[0].index(column)] = value
    path.write_text("\n".join(",".join(row) for row in rows) + "\n")


@pytest.mark.parametrize("path", ["/etc", "../../etc", "nws_main/../../..", "C:/x", ""])
def test_a_list_cannot_lead_out_of_its_folder(zoo, tmp_path, path):
    export_nws(zoo, tmp_path / "out")
    with_cell(next(p for p in (tmp_path / "out").glob("*.csv") if len(p.read_text().splitlines()) > 1), "path", path)
    with pytest.raises(ZooError, match="no path inside"):
        import_nws(tmp_path / "out", tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_a_list_without_a_column_is_one_error_and_nothing_is_written(zoo, tmp_path):
    export_nws(zoo, tmp_path / "out")
    path = tmp_path / "out" / "nws_main_train.csv"
    path.write_text(path.read_text().replace("weightn_fc", "other", 1))
    with pytest.raises(ZooError, match="lacks the column weightn_fc"):
        import_nws(tmp_path / "out", tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_damaged_runs_are_left_out_and_named(zoo, tmp_path):
    out = tmp_path / "out"
    export_nws(zoo, out)
    runs = out / "nws_main"
    (runs / "0000000" / "weights" / "007.bin").write_bytes(b"\0" * 11)
    with_cell(runs / "0000003" / "meta.csv", "optimizer", "9")
    (runs / "0000002" / "error.bin").write_bytes(b"\0" * 41)
    vector = np.fromfile(runs / "0000001" / "weights" / "003.bin")
    vector[5] = np.nan
    vector.tofile(runs / "0000001" / "weights" / "003.bin")
    answer = import_nws(out, tmp_path / "back")
    problems = {one["run"]: one["problem"] for one in answer["left_out"]}
    assert "007.bin has 11 bytes" in problems["nws_main/0000000"]
    assert "optimizer 9 is no code" in problems["nws_main/0000003"]
    assert "error.bin has 41 bytes" in problems["nws_main/0000002"]
    (run,) = Zoo(tmp_path / "back")
    assert (run.status, len(run.weights), run.reason) == ("diverged", 2, "snapshot 3 is not finite")
    shutil.rmtree(runs / "0000001")
    with pytest.raises(ZooError, match="none of the"):
        import_nws(out, tmp_path / "other")
    assert not (tmp_path / "other").exists()


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    optimizer=st.sampled_from(["adam", "rmsprop", "momentum"]),
    activation=st.sampled_from(["relu", "elu", "sigmoid", "tanh"]),
    initialization=st.sampled_from(["constant", "random_normal", "glorot_uniform", "glorot_normal"]),
    dataset=st.sampled_from(["mnist", "cifar10", "svhn", "stl10", "fashion_mnist"]),
    learning_rate=st.floats(2e-4, 5e-3),
    batch_norm=st.booleans(),
    augmentation=st.booleans(),
    depth_conv=st.sampled_from([3, 4, 5]),
    seed=st.integers(0, 99),
)
def test_any_set_up_of_the_paper_makes_the_round_trip(tmp_path_factory, seed, **fields):
    folder = tmp_path_factory.mktemp("trip")
    made = Zoo.create(folder / "zoo", {"made": "by hand"})
    write_run(made.path, record(0, Setup(**SMALL, **fields), seed=seed))
    export_nws(folder / "zoo", folder / "out")
    import_nws(folder / "out", folder / "back")
    before, after = Zoo(folder / "zoo")[0], Zoo(folder / "back")[0]
    assert before.setup == after.setup
    assert before.weights.tobytes() == after.weights.tobytes()
