"""Every command on every kind of zoo that others made, of really trained networks."""

import json
import shutil
from pathlib import Path

import polars as pl
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import weightprint as wp
from tests.formats import foreign_zoos
from tests.formats.test_nws import SMALL, record
from weightprint.cli import main as cli
from weightprint.formats.nws_export import export_nws
from weightprint.sampling.sample import plan, run_sampling
from weightprint.zoo import write_run

pytestmark = pytest.mark.long

RUNS = 40
DOCS = Path(__file__).parents[2] / "docs"


def run_json(capsys, *arguments):
    code = cli.main([*map(str, arguments), "--json"])
    document = json.loads(capsys.readouterr().out)
    assert code == 0, document
    return document


def nws(folder, zoo, capsys):
    """A zoo of ours, exported and imported again; the bundled digits stand for mnist."""
    space = wp.Space(
        "small",
        {
            **{"dataset": "digits", "learning_rate": 0.003, "optimizer": ["adam", "momentum"]},
            **{"activation": ["relu", "tanh"], "initialization": "glorot_uniform", "batch_size": 32},
            **{"filter_size": 3, "depth_conv": 3, "depth_fc": 2, "width_conv": 4, "width_fc": 64},
        },
    )
    small = {"train_size": 100, "test_size": 100, "max_epochs": 19, "snapshots": 20}
    run_sampling(plan(folder / "sampled", space, RUNS, **small), workers=1)
    run_json(capsys, "export", "nws", folder / "sampled", folder / "out", "--map", "digits=mnist")
    return run_json(capsys, "import", "nws", folder / "out", zoo)


def small_cnn_zoo(folder, zoo, capsys):
    foreign_zoos.small_cnn_zoo(folder / "mnist", runs=RUNS)
    return run_json(capsys, "import", "small-cnn-zoo", folder / "mnist", zoo)


def model_zoos(folder, zoo, capsys):
    foreign_zoos.model_zoos(folder / "tuned", runs=RUNS)
    return run_json(capsys, "import", "model-zoos", folder / "tuned", zoo)


def folder(folder, zoo, capsys):
    """Two architectures in two formats, one snapshot or two, a column with empty cells and one that is never filled."""
    lines = ["id,run,epoch,optimizer,architecture,rate,width,frozen,note,empty,test_accuracy"]
    for number in range(RUNS):
        optimizer, network = ("adam", "sgd")[number % 2], (foreign_zoos.Small, foreign_zoos.Pooled)[number // 2 % 2]
        states, accuracies = foreign_zoos.trained(network(nn.ReLU), optimizer=optimizer, seed=number, epochs=1)
        for epoch in (0, 1) if number % 3 else (1,):
            name = f"n{number}-{epoch}"
            if number % 5:
                torch.save(states[epoch], folder / f"{name}.pt")
            else:
                save_file(states[epoch], folder / f"{name}.safetensors")
            cells = [name, number, epoch, optimizer, network.__name__, number / 7, number % 4, number % 2 == 0]
            cells += ["odd" if number % 5 else "", "", accuracies[epoch] if number % 7 else ""]
            lines.append(",".join(map(str, cells)))
    (folder / "runs.csv").write_text("\n".join(lines) + "\n")
    return run_json(capsys, "import", "folder", folder, zoo, "--table", folder / "runs.csv")


def lightning(folder, zoo, capsys):
    lightning = pytest.importorskip("lightning.pytorch")
    images, labels = foreign_zoos.digits()

    class Module(lightning.LightningModule):
        def __init__(self, optimizer):
            super().__init__()
            self.net = foreign_zoos.Small(nn.ReLU)
            self.rule = optimizer

        def training_step(self, batch, _):
            return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

        def validation_step(self, batch, _):
            self.log("test_acc", (self.net(batch[0]).argmax(1) == batch[1]).float().mean())

        def configure_optimizers(self):
            rule = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[self.rule]
            return rule(self.parameters(), lr={"adam": 0.01, "sgd": 0.1}[self.rule])

    def loader(part, shuffle):
        data = torch.utils.data.TensorDataset(images[part], labels[part])
        return torch.utils.data.DataLoader(data, batch_size=50, shuffle=shuffle)

    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    quiet |= {"enable_model_summary": False, "accelerator": "cpu", "num_sanity_val_steps": 0}
    for number in range(RUNS):
        torch.manual_seed(number)
        optimizer = ("adam", "sgd")[number % 2]
        setup = {"optimizer": optimizer, "rate": number / 7, "classes": 4, "betas": [0.9, 0.999]}
        recorder = wp.Recorder(zoo, setup, snapshots=3, test_images=len(images) - 500)
        trainer = lightning.Trainer(max_epochs=2, callbacks=[recorder.lightning()], **quiet)
        trainer.fit(Module(optimizer), loader(slice(0, 500), True), loader(slice(500, None), False))
    return {"runs": RUNS, "left_out": []}


def shown(page, section):
    """The commands of a section of a page."""
    (text,) = [part for part in (DOCS / page).read_text().split("\n## ") if part.startswith(section)]
    lines = [line.split("#")[0].strip() for line in text.splitlines() if line.startswith("    weightprint ")]
    return [line.split()[1:] for line in lines]


def published_nws():
    zoo = wp.Zoo.create("made", {"made": "by hand"}, space_name="fixed")
    for number in range(16):
        write_run(zoo.path, record(number, wp.Setup(optimizer=("adam", "rmsprop")[number % 2], **SMALL)))
    export_nws(zoo.refresh(), "nws_fixed")


def table_of_models():
    Path("models/a").mkdir(parents=True)
    states, _ = foreign_zoos.trained(foreign_zoos.Small(nn.ReLU), optimizer="adam", seed=0, epochs=1)
    torch.save(states[0], "models/a/start.pt")
    torch.save(states[1], "models/a/end.pt")
    save_file(states[1], "models/b.safetensors")
    text = (DOCS / "exchange.md").read_text()
    lines = text[text.index("    file,run,epoch") :].split("\n\n")[0].splitlines()
    Path("models/runs.csv").write_text("\n".join(line.strip() for line in lines) + "\n")


SHOWN = {
    ("exchange.md", "NWS"): published_nws,
    ("exchange.md", "Small CNN Zoo"): lambda: foreign_zoos.small_cnn_zoo(Path("mnist"), runs=RUNS),
    ("exchange.md", "ModelZooDataset"): lambda: foreign_zoos.model_zoos(
        Path("tune_zoo_mnist_hyperparameter_10_random_seeds"), runs=2
    ),
    ("exchange.md", "Any folder"): table_of_models,
}


@pytest.mark.parametrize(("page", "section"), SHOWN)
def test_the_recipe_of_each_public_zoo_runs_as_it_is_shown(page, section, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    SHOWN[page, section]()
    commands = shown(page, section)
    assert commands
    for command in commands:
        run_json(capsys, *command)


def test_the_ways_out_run_as_they_are_shown(sampled_zoo, tmp_path, monkeypatch, capsys):
    shutil.copytree(sampled_zoo, tmp_path / "zoo")
    monkeypatch.chdir(tmp_path)
    text = (DOCS / "exchange-out.md").read_text()
    commands = [line.split()[1:] for line in text.splitlines() if line.startswith("    weightprint ")]
    ran = [run_json(capsys, *command) for command in commands if command[0] not in ("push", "pull")]
    assert len(ran) == 4
    assert wp.Zoo("zoo-again").numbers == wp.Zoo("out-dataset").numbers == wp.Zoo("zoo").numbers


NOISY = pytest.param(lightning, marks=pytest.mark.filterwarnings("ignore"))


@pytest.mark.parametrize("make", [nws, small_cnn_zoo, model_zoos, folder, NOISY], ids=lambda make: make.__name__)
def test_every_command_works_on_an_imported_zoo(make, tmp_path, capsys):
    zoo, meta = tmp_path / "zoo", tmp_path / "meta"
    (tmp_path / "src").mkdir()
    answer = make(tmp_path / "src", zoo, capsys)
    assert (answer["runs"], answer["left_out"]) == (RUNS, [])
    info = run_json(capsys, "info", zoo)
    assert info["status"] == {"complete": RUNS}
    assert run_json(capsys, "verify", zoo) == {"ok": True, "runs": RUNS, "problems": []}
    fitted = run_json(capsys, "fit", zoo, meta, "--property", "optimizer", "--model", "layer_trees")
    evaluated = run_json(capsys, "evaluate", meta, zoo)
    assert evaluated["kind"] == "classification"
    assert evaluated["chance"] == 0.5
    assert evaluated["n_runs"] + fitted["n_train_runs"] <= RUNS
    bench = run_json(capsys, "bench", zoo, tmp_path / "bench", "--models", "layer_trees")
    kinds = {result["property"]: result["kind"] for result in bench["results"] if result["model"] == "layer_trees"}
    assert kinds["optimizer"] == "classification"
    assert kinds["test_accuracy"] == "regression"
    study = run_json(capsys, "study", zoo, tmp_path / "study", "--budget", "quick", "--workers", "2")
    results = pl.read_parquet(study["results"]).filter(pl.col("value").is_not_null())
    assert {"optimizer", "test_accuracy"} <= set(results["property"])
    assert Path(study["report"]).exists()
