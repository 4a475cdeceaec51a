"""The recorder as a callback, with the real libraries."""

import os
import warnings

os.environ.setdefault("KERAS_BACKEND", "torch")

import numpy as np
import pytest
import torch
from torch import nn

import weightprint as wp
from weightprint.cli.main import main
from weightprint.formats import open_checkpoint
from weightprint.formats.layout import layout_of, weight_vector

pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore")]

X = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long()


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 2))


def test_lightning(tmp_path, capsys):
    lightning = pytest.importorskip("lightning.pytorch")

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = network()

        def training_step(self, batch, _):
            loss = nn.functional.cross_entropy(self.net(batch[0]), batch[1])
            self.log("train_loss", loss, on_epoch=True, on_step=False)
            return loss

        def validation_step(self, batch, _):
            self.log("val_acc", (self.net(batch[0]).argmax(1) == batch[1]).float().mean())

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), lr=0.01)

    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(X, Y), batch_size=16)
    zoo = tmp_path / "zoo"
    module = Module()
    recorder = wp.Recorder(zoo, setup={"optimizer": "adam"}, snapshots=4)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = lightning.Trainer(
        max_epochs=6, callbacks=[recorder.lightning()], accelerator="cpu", enable_model_summary=False, **quiet
    )
    trainer.fit(module, data, data)
    run = wp.Zoo(zoo)[0]
    assert [row["epoch"] for row in run.measurements] == [0, 2, 4, 6]
    assert run.measurements[-1]["step"] == 24
    assert run.measurements[-1]["validation_accuracy"] > 0.5
    assert run.measurements[-1]["train_loss"] < run.measurements[1]["train_loss"]
    last = module.net[3].weight.detach().numpy()
    kernel = next(t for t in run.layout if t.source == "net.3.weight")
    assert np.array_equal(run.snapshot(4)[kernel.offset : kernel.stop], last.ravel())
    assert main(["info", str(zoo)]) == 0
    assert "1 runs (1 complete)" in capsys.readouterr().out
    assert main(["verify", str(zoo)]) == 0


def test_transformers(tmp_path):
    transformers = pytest.importorskip("transformers")

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = network()

        def forward(self, x, labels=None):
            logits = self.net(x)
            return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}

    rows = [{"x": x, "labels": y} for x, y in zip(X, Y, strict=True)]
    zoo = tmp_path / "zoo"
    recorder = wp.Recorder(zoo, setup={"optimizer": "adamw"})
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path / "out"),
        num_train_epochs=3,
        per_device_train_batch_size=16,
        eval_strategy="epoch",
        logging_strategy="epoch",
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        remove_unused_columns=False,
    )
    model = Model()
    trainer = transformers.Trainer(
        model=model,
        args=arguments,
        train_dataset=rows,
        eval_dataset=rows,
        callbacks=[recorder.transformers()],
        compute_metrics=lambda p: {"accuracy": float((p.predictions.argmax(1) == p.label_ids).mean())},
    )
    trainer.train()
    run = wp.Zoo(zoo)[0]
    assert [(row["epoch"], row["step"]) for row in run.measurements] == [(0, 0), (1, 4), (2, 8), (3, 12)]
    assert all(0 <= row["validation_accuracy"] <= 1 and row["train_loss"] > 0 for row in run.measurements[1:])
    losses = [log["eval_loss"] for log in trainer.state.log_history if "eval_loss" in log]
    assert [row["validation_loss"] for row in run.measurements[1:]] == losses
    bias = next(t for t in run.layout if t.source == "net.3.bias")
    assert np.array_equal(run.snapshot(4)[bias.offset : bias.stop], model.net[3].bias.detach().cpu().numpy())


def test_keras(tmp_path):
    keras = pytest.importorskip("keras")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = keras.Sequential(
            [
                keras.Input((8, 8, 3)),
                keras.layers.Conv2D(4, 3, activation="relu"),
                keras.layers.BatchNormalization(),
                keras.layers.Flatten(),
                keras.layers.Dense(2, activation="softmax"),
            ]
        )
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        x = np.random.default_rng(0).normal(size=(64, 8, 8, 3)).astype("float32")
        y = (x[:, 0, 0, 0] > 0).astype("int64")
        zoo = tmp_path / "zoo"
        recorder = wp.Recorder(zoo, setup={"optimizer": "adam"})
        model.fit(x, y, epochs=3, validation_data=(x, y), callbacks=[recorder.keras()], verbose=0)
        model.save(tmp_path / "model.keras")
    run = wp.Zoo(zoo)[0]
    assert [row["epoch"] for row in run.measurements] == [0, 1, 2, 3]
    assert {"train_loss", "train_accuracy", "validation_loss", "validation_accuracy"} <= set(run.measurements[3])
    checkpoint = open_checkpoint(tmp_path / "model.keras")
    layout = layout_of(checkpoint.tensors, graph=checkpoint.graph, flatten_order=checkpoint.flatten_order)
    assert [(t.kind, t.part, t.shape, t.flatten) for t in run.layout] == [
        (t.kind, t.part, t.shape, t.flatten) for t in layout
    ]
    assert np.array_equal(run.snapshot(4), weight_vector(checkpoint.tensors, layout)[0])


def test_a_training_that_fails_leaves_its_recording(tmp_path):
    lightning = pytest.importorskip("lightning.pytorch")

    class Failing(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = nn.Linear(8, 2)

        def training_step(self, batch, _):
            if self.current_epoch == 2:
                raise RuntimeError("out of luck")
            return self.net(batch[0]).sum()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.01)

    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(X, Y), batch_size=32)
    recorder = wp.Recorder(tmp_path / "zoo")
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = lightning.Trainer(max_epochs=5, callbacks=[recorder.lightning()], accelerator="cpu", **quiet)
    with pytest.raises(RuntimeError, match="out of luck"):
        trainer.fit(Failing(), data)
    assert len(wp.Zoo(tmp_path / "zoo")) == 0
