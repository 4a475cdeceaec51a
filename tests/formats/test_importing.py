"""Small CNN Zoo, ModelZooDataset and folders of checkpoints: read as they are, damaged ones refused."""

import json
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.formats import foreign_zoos
from weightprint.cli import main as cli
from weightprint.errors import RecipeMismatch, ZooError
from weightprint.formats.checkpoint_folder import import_folder
from weightprint.formats.model_zoos import import_model_zoos
from weightprint.formats.small_cnn_zoo import import_small_cnn_zoo
from weightprint.zoo import Zoo


def run_json(capsys, *arguments):
    code = cli.main([*map(str, arguments), "--json"])
    return code, json.loads(capsys.readouterr().out)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """(folder, torch states) of a Small CNN Zoo."""
    folder = tmp_path_factory.mktemp("small") / "mnist"
    return folder, foreign_zoos.small_cnn_zoo(folder)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    return foreign_zoos.model_zoos(tmp_path_factory.mktemp("tuned"))


@pytest.fixture
def own(published, tmp_path):
    """A copy to be damaged."""
    return Path(shutil.copytree(published[0], tmp_path / "own"))


def tensors(run, snapshot):
    return {t.name: run.snapshot(snapshot)[t.offset : t.stop].reshape(t.shape) for t in run.layout}


def test_a_small_cnn_zoo_has_kernels_in_our_order_and_one_run_per_modeldir(published, tmp_path):
    folder, states = published
    answer = import_small_cnn_zoo(folder, tmp_path / "zoo")
    zoo = Zoo(tmp_path / "zoo")
    assert (answer["imported"], answer["left_out"], len(zoo)) == (16, [], 16)
    assert zoo.verify() == []
    for run in zoo:
        for snapshot, state in enumerate(states[run.number], start=1):
            found = tensors(run, snapshot)
            for layer, source in foreign_zoos.LAYOUT:
                assert (found[f"sequential/{layer}/kernel"] == state[f"{source}.weight"].numpy()).all()
                assert (found[f"sequential/{layer}/bias"] == state[f"{source}.bias"].numpy()).all()
        assert [row["step"] for row in run.measurements] == [0, 1, 2]
    assert [t.part for t in zoo[0].layout] == ["conv"] * 4 + ["fc"] * 2
    assert zoo[1].properties["optimizer"] == "sgd"
    assert zoo[1].properties["initialization"] == "he_normal"
    assert "weight_decay" not in zoo[0].properties
    assert "train_loss" not in zoo[0].measurements[0]
    assert max(zoo, key=lambda run: run.measurements[-1]["test_accuracy"]).converged


def test_a_model_zoo_is_read_with_its_settings_and_results(tuned, tmp_path):
    answer = import_model_zoos(tuned, tmp_path / "zoo")
    zoo = Zoo(tmp_path / "zoo")
    assert (answer["imported"], answer["left_out"]) == (16, [])
    run = zoo[3]
    last = torch.load(tuned / "NN_tune_trainable_00003" / "checkpoint_000002" / "checkpoints", weights_only=True)
    assert (tensors(run, 3)["module_list.5/kernel"] == last["module_list.5.weight"].numpy()).all()
    assert run.layout["module_list.5/kernel"].flatten.to_json() == {"order": "chw", "size": [4, 4, 4]}
    assert run.properties == {"activation": "relu", "optimizer": "sgd", "learning_rate": 0.1, "seed": 3}
    assert "train_accuracy" not in run.measurements[0]
    assert run.measurements[2]["test_accuracy"] == run.curve[2, run.curve_columns.index("test_accuracy")]


def mixed_folder(folder):
    """Networks of two architectures in two formats; run "b" has two snapshots."""
    from safetensors.torch import save_file

    (folder / "deep").mkdir(parents=True)
    states, _ = foreign_zoos.trained(foreign_zoos.Small(nn.ReLU), optimizer="adam", seed=0, epochs=1)
    torch.save(states[1], folder / "a.pt")
    save_file(states[0], folder / "deep" / "b0.safetensors")
    save_file(states[1], folder / "deep" / "b1.safetensors")
    other, _ = foreign_zoos.trained(foreign_zoos.Pooled(nn.Tanh), optimizer="sgd", seed=1, epochs=1)
    torch.save(other[1], folder / "c.pth")
    (folder / "runs.csv").write_text(
        "file,run,epoch,optimizer,rate,sha256,test_accuracy\n"
        "a.pt,a,3,adam,0.1,x,0.9\ndeep/b1.safetensors,b,1,sgd,0.2,y,0.8\ndeep/b0.safetensors,b,0,sgd,0.2,y,\n"
        "c,c,1,,inf,z,0.7\nmissing.pt,d,1,sgd,1,z,0.1\n"
    )
    return states


def test_a_folder_of_checkpoints_becomes_a_zoo_with_the_table_as_properties(tmp_path):
    states = mixed_folder(tmp_path / "src")
    answer = import_folder(tmp_path / "src", tmp_path / "zoo", table=tmp_path / "src" / "runs.csv")
    zoo = Zoo(tmp_path / "zoo")
    assert answer["imported"] == 3
    assert [one["run"] for one in answer["left_out"]] == ["d"]
    a, b, c = zoo
    assert a.properties == {"file": "a.pt", "run": "a", "optimizer": "adam", "rate": 0.1, "sha256_given": "x"}
    assert "optimizer" not in c.properties
    assert "rate" not in c.properties
    assert [row.get("test_accuracy") for row in b.measurements] == [None, 0.8]
    kernel = "module_list.0/kernel"
    assert (tensors(b, 1)[kernel] == states[0]["module_list.0.weight"].numpy()).all()
    assert (tensors(b, 2)[kernel] == states[1]["module_list.0.weight"].numpy()).all()
    assert len({len(a.layout), len(c.layout), a.layout.size, c.layout.size}) > 2


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("file,optimizer\n/etc/passwd,adam\n", "no path inside"),
        ("file,optimizer\n../x.pt,adam\n", "no path inside"),
        ("optimizer\nadam\n", "no column that names the files"),
        ("file,optimizer\n", "no rows"),
        ("", "cannot read the table"),
        ("file,optimizer\na.pt,adam\nb.pt,adam,more,cells\n", "cannot read the table"),
        ("file\nother.pt\n", "none of the 1 runs could be read"),
    ],
)
def test_a_table_that_cannot_be_used_is_one_error_and_nothing_is_written(tmp_path, table, message):
    (tmp_path / "src").mkdir()
    torch.save({"fc.weight": torch.ones(2, 2)}, tmp_path / "src" / "a.pt")
    (tmp_path / "runs.csv").write_text(table)
    with pytest.raises(ZooError, match=message):
        import_folder(tmp_path / "src", tmp_path / "zoo", table=tmp_path / "runs.csv")
    assert not (tmp_path / "zoo").exists()


def test_a_link_out_of_the_folder_is_refused(tmp_path):
    (tmp_path / "src").mkdir()
    torch.save({"fc.weight": torch.ones(2, 2)}, tmp_path / "secret.pt")
    (tmp_path / "src" / "a.pt").symlink_to(tmp_path / "secret.pt")
    (tmp_path / "runs.csv").write_text("file\na.pt\n")
    with pytest.raises(ZooError, match="leads out of"):
        import_folder(tmp_path / "src", tmp_path / "zoo", table=tmp_path / "runs.csv")


class Bomb:
    def __reduce__(self):
        return os.system, ("touch exploded",)


def test_a_pickle_that_would_run_code_is_left_out(tuned, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tuned, "tuned")
    runs = sorted(Path("tuned").iterdir())
    (runs[0] / "checkpoint_000001" / "checkpoints").write_bytes(pickle.dumps(Bomb()))
    (runs[1] / "checkpoint_000002" / "checkpoints").write_bytes(b"PK\x03\x04")
    (runs[2] / "result.json").write_text('{"training_iteration": 0}\n{"training_iter')
    (runs[3] / "params.json").write_text("[" * 100_000)
    torch.save({"other.weight": torch.ones(2, 2)}, runs[4] / "checkpoint_000001" / "checkpoints")
    state = torch.load(runs[5] / "checkpoint_000002" / "checkpoints", weights_only=True)
    state["module_list.0.bias"][0] = float("nan")
    torch.save(state, runs[5] / "checkpoint_000002" / "checkpoints")
    answer = import_model_zoos("tuned", "zoo")
    assert [one["run"] for one in answer["left_out"]] == [run.name for run in runs[:5]]
    assert not Path("exploded").exists()
    assert (Zoo("zoo")[5].status, len(Zoo("zoo")[5].weights)) == ("diverged", 2)


def change_metrics(own, change):
    change(pl.read_csv(own / "metrics.csv.gz", infer_schema=False)).write_csv(own / "metrics.csv")
    (own / "metrics.csv.gz").unlink()


def change_csv(path, change):
    table = pl.read_csv(path, infer_schema=False)
    change(table).write_csv(path)


DAMAGES = {
    "metrics without modeldir": lambda own: change_metrics(own, lambda t: t.drop("modeldir")),
    "a step that is no number": lambda own: change_metrics(own, lambda t: t.with_columns(step=pl.lit("../1"))),
    "no weights": lambda own: (own / "weights.npy").unlink(),
    "weights cut short": lambda own: os.truncate(own / "weights.npy", 1000),
    "a pickle": lambda own: np.save(own / "weights.npy", np.array([Bomb()], dtype=object), allow_pickle=True),
    "a vector": lambda own: np.save(own / "weights.npy", np.ones(4)),
    "a row too few": lambda own: np.save(own / "weights.npy", np.load(own / "weights.npy")[1:]),
    "a column too few": lambda own: np.save(own / "weights.npy", np.load(own / "weights.npy")[:, 1:]),
    "metrics cut short": lambda own: os.truncate(own / "metrics.csv.gz", 100),
    "no gzip": lambda own: (own / "metrics.csv.gz").write_bytes(b"modeldir,step\n"),
    "layout without shape": lambda own: change_csv(own / "layout.csv", lambda t: t.drop("shape")),
    "layout with a gap": lambda own: change_csv(own / "layout.csv", lambda t: t[1:]),
    "a huge count": lambda own: change_csv(own / "layout.csv", lambda t: t.with_columns(end_idx=pl.lit("9" * 30))),
    "a huge shape": lambda own: change_csv(own / "layout.csv", lambda t: t.with_columns(shape=pl.lit("(999999999,)"))),
    "no number": lambda own: change_csv(own / "layout.csv", lambda t: t.with_columns(start_idx=pl.lit("x"))),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_small_cnn_zoo_is_one_error_and_nothing_is_written(own, tmp_path, damage):
    DAMAGES[damage](own)
    with pytest.raises(ZooError):
        import_small_cnn_zoo(own, tmp_path / "zoo")
    assert not (tmp_path / "zoo").exists()


def test_an_import_goes_on_and_another_source_is_refused(published, tuned, tmp_path):
    assert import_small_cnn_zoo(published[0], tmp_path / "zoo", runs=5)["imported"] == 5
    answer = import_small_cnn_zoo(published[0], tmp_path / "zoo")
    assert (answer["imported"], answer["runs"]) == (11, 16)
    with pytest.raises(RecipeMismatch):
        import_model_zoos(tuned, tmp_path / "zoo")


@pytest.mark.parametrize("kind", ["small-cnn-zoo", "model-zoos"])
def test_meta_classifiers_work_on_imported_zoos(published, tuned, tmp_path, capsys, kind):
    source = {"small-cnn-zoo": published[0], "model-zoos": tuned}[kind]
    zoo, meta = tmp_path / "zoo", tmp_path / "meta"
    assert run_json(capsys, "import", kind, source, zoo)[0] == 0
    code, info = run_json(capsys, "info", zoo)
    assert (code, info["runs"], info["snapshots"]) == (0, 16, 48)
    assert info["convergence_unknown"] == {"small-cnn-zoo": 0, "model-zoos": 16}[kind]
    assert run_json(capsys, "verify", zoo)[0] == 0
    code, fitted = run_json(
        capsys, "fit", zoo, meta, "--property", "optimizer", "--model", "trees", "--converged", "off"
    )
    assert code == 0, fitted
    code, evaluated = run_json(capsys, "evaluate", meta, zoo)
    assert code == 0, evaluated
    assert evaluated["n_runs"] == 16 - fitted["n_train_runs"]


@settings(max_examples=15)
@given(
    shapes=st.lists(st.tuples(*[st.integers(1, 4)] * 4), min_size=1, max_size=3),
    runs=st.integers(1, 3),
    snapshots=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_any_matrix_keeps_its_values_under_the_right_names(tmp_path_factory, shapes, runs, snapshots, seed):
    folder = tmp_path_factory.mktemp("any")
    rng, rows, start = np.random.default_rng(seed), [], 0
    for i, shape in enumerate(shapes):
        for word, sides in (("bias", shape[3:]), ("kernel", shape)):
            stop = start + int(np.prod(sides))
            rows.append({"varname": f"net/conv{i}/{word}:0", "start_idx": start, "end_idx": stop, "shape": str(sides)})
            start = stop
    matrix = rng.normal(size=(runs * snapshots, start)).astype(np.float32)
    np.save(folder / "weights.npy", matrix)
    pl.DataFrame(rows).write_csv(folder / "layout.csv")
    places = [(run, step) for run in range(runs) for step in range(snapshots)]
    metrics = {"modeldir": [f"m{run}" for run, _ in places], "step": [step for _, step in places]}
    pl.DataFrame(metrics).write_csv(folder / "metrics.csv")
    import_small_cnn_zoo(folder, folder / "zoo")
    for run in Zoo(folder / "zoo"):
        for step in range(snapshots):
            found = tensors(run, step + 1)
            for row, shape in zip(rows[1::2], shapes, strict=True):
                stored = matrix[run.number * snapshots + step, row["start_idx"] : row["end_idx"]].reshape(shape)
                kernel = found[row["varname"].removesuffix(":0")]
                assert (kernel == stored.transpose(3, 2, 0, 1)).all()


def test_weights_that_are_no_numbers_end_a_run_and_names_that_are_paths_lead_nowhere(own, tmp_path):
    matrix = np.load(own / "weights.npy")
    metrics = pl.read_csv(own / "metrics.csv.gz", infer_schema=False)
    matrix[
        [i for i, row in enumerate(metrics.rows(named=True)) if (row["modeldir"], row["step"]) == ("/x/003", "1")]
    ] = np.nan
    np.save(own / "weights.npy", matrix)
    changed = pl.when(pl.col("modeldir") == "/x/004").then(pl.lit("../../../escaped")).otherwise("modeldir")
    change_metrics(own, lambda t: t.with_columns(modeldir=changed, test_accuracy=pl.lit("1e999")))
    answer = import_small_cnn_zoo(own, tmp_path / "zoo")
    assert (answer["imported"], answer["diverged"]) == (16, 1)
    statuses = {run.identity.split("@")[0]: run.status for run in Zoo(tmp_path / "zoo")}
    assert statuses["small_cnn_zoo:/x/003"] == "diverged"
    assert statuses["small_cnn_zoo:../../../escaped"] == "complete"
    assert all("test_accuracy" not in row for run in Zoo(tmp_path / "zoo") for row in run.measurements)
    assert {path.name for path in tmp_path.iterdir()} == {"own", "zoo"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@settings(max_examples=20)
@given(
    shapes=st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3)), min_size=1, max_size=3),
    epochs=st.lists(st.integers(0, 10**6), min_size=1, max_size=3, unique=True),
    settings_=st.dictionaries(st.text(st.characters(codec=None), max_size=8), JSON, max_size=4),
    measured=st.dictionaries(st.sampled_from(["test_acc", "train_loss", "other"]), JSON, max_size=3),
    seed=st.integers(0, 99),
)
def test_any_model_zoo_keeps_its_values_under_the_right_names(
    tmp_path_factory, shapes, epochs, settings_, measured, seed
):
    folder = tmp_path_factory.mktemp("any")
    place = folder / "src" / "run"
    torch.manual_seed(seed)
    states = {}
    for epoch in epochs:
        inner = place / f"checkpoint_{epoch:06d}"
        inner.mkdir(parents=True)
        states[epoch] = {}
        for i, (o, c, h) in enumerate(shapes):
            states[epoch] |= {
                f"module_list.{i}.weight": torch.randn(o, c, h, h),
                f"module_list.{i}.bias": torch.randn(o),
            }
        torch.save(states[epoch], inner / "checkpoints")
    (place / "params.json").write_text(json.dumps(settings_))
    lines = [json.dumps({**measured, "training_iteration": epoch}) for epoch in epochs]
    (place / "result.json").write_text("\n".join(lines))
    answer = import_model_zoos(folder / "src", folder / "zoo")
    assert (answer["imported"], answer["left_out"]) == (1, [])
    assert Zoo(folder / "zoo").verify() == []
    (run,) = Zoo(folder / "zoo")
    assert [row["epoch"] for row in run.measurements] == sorted(epochs)
    for snapshot, epoch in enumerate(sorted(epochs), start=1):
        found = tensors(run, snapshot)
        for i in range(len(shapes)):
            assert (found[f"module_list.{i}/kernel"] == states[epoch][f"module_list.{i}.weight"].numpy()).all()
            assert (found[f"module_list.{i}/bias"] == states[epoch][f"module_list.{i}.bias"].numpy()).all()
    accuracy = measured.get("test_acc")
    usable = isinstance(accuracy, (int, float)) and not isinstance(accuracy, bool) and abs(accuracy) < 1e300
    if usable and accuracy != -999:
        assert run.measurements[0]["test_accuracy"] == accuracy


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"training_iteration": 1%s}' % ("0" * 400), "without training_iteration"),
        ('{"training_iteration": "../1"}', "without training_iteration"),
        ("[1]", "holds no JSON object"),
        ('{"training_iteration": 1, "test_acc": 1%s}' % ("0" * 400), ""),
    ],
)
def test_results_with_huge_or_wrong_numbers(tuned, tmp_path, line, problem):
    run = Path(shutil.copytree(tuned / "NN_tune_trainable_00000", tmp_path / "src" / "run"))
    (run / "result.json").write_text(line)
    if problem:
        with pytest.raises(ZooError, match=problem):
            import_model_zoos(tmp_path / "src", tmp_path / "zoo")
    else:
        import_model_zoos(tmp_path / "src", tmp_path / "zoo")
        assert "test_accuracy" not in Zoo(tmp_path / "zoo")[0].measurements[1]


def test_a_run_of_a_model_zoo_cannot_link_to_files_elsewhere(tuned, tmp_path):
    run = Path(shutil.copytree(tuned / "NN_tune_trainable_00000", tmp_path / "src" / "run"))
    (run / "checkpoint_000002").rename(tmp_path / "elsewhere")
    (run / "checkpoint_000002").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ZooError, match="a link that leads out of"):
        import_model_zoos(tmp_path / "src", tmp_path / "zoo")


REAL = Path(__file__).parents[3] / "shared" / "checkpoints"


@pytest.mark.slow
@pytest.mark.skipif(not REAL.exists(), reason="needs the published checkpoints")
def test_real_checkpoints_are_a_folder_like_any_other(tmp_path):
    answer = import_folder(REAL, tmp_path / "zoo", table=REAL / "table.csv")
    assert answer["imported"] + len(answer["left_out"]) == 74
    assert answer["imported"] >= 65
    assert all(one["problem"] for one in answer["left_out"])
    zoo = Zoo(tmp_path / "zoo")
    assert zoo.verify() == []
    assert set(zoo.index["optimizer"].drop_nulls()) >= {"adam", "sgd"}


@pytest.mark.slow
def test_bench_and_study_work_on_two_architectures_with_one_snapshot_and_missing_values(tmp_path, capsys, few_results):
    (tmp_path / "src").mkdir()
    lines = ["id,optimizer,architecture,rate,note"]
    for number in range(40):
        optimizer, network = ("adam", "sgd")[number % 2], (foreign_zoos.Small, foreign_zoos.Pooled)[number // 2 % 2]
        states, _ = foreign_zoos.trained(network(nn.ReLU), optimizer=optimizer, seed=number, epochs=1)
        torch.save(states[-1], tmp_path / "src" / f"n{number}.pt")
        lines.append(f"n{number},{optimizer},{network.__name__},{number / 7},{'' if number % 5 else 'odd'}")
    (tmp_path / "runs.csv").write_text("\n".join(lines) + "\n")
    import_folder(tmp_path / "src", tmp_path / "zoo", table=tmp_path / "runs.csv")
    options = ["--properties", "optimizer,rate", "--workers", 1]
    code, bench = run_json(capsys, "bench", tmp_path / "zoo", tmp_path / "bench", "--models", "layer_trees", *options)
    assert code == 0, bench
    assert {result["property"] for result in bench["results"]} == {"optimizer", "rate"}
    code, study = run_json(capsys, "study", tmp_path / "zoo", tmp_path / "report", "--budget", "quick", "--workers", 1)
    assert code == 0, study
    assert Path(study["report"]).exists()


@pytest.mark.long
@pytest.mark.skipif(not REAL.exists(), reason="needs the published checkpoints")
def test_study_works_on_real_checkpoints(tmp_path, capsys):
    import_folder(REAL, tmp_path / "zoo", table=REAL / "table.csv")
    code, study = run_json(capsys, "study", tmp_path / "zoo", tmp_path / "report", "--budget", "quick")
    assert code == 0, study
