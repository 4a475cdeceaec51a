"""Small image classifiers trained by loops that are not weightprint's, as a folder that inspection is judged on.

    KERAS_BACKEND=torch python benchmarks/foreign_loops.py IMAGES OUT [--runs 132] [--seed 0]

A third each by Keras 3 (`fit`; .keras, .h5 and weights as .h5), by Lightning's Trainer (.ckpt) and by a plain PyTorch
script (.pth, .safetensors, ONNX), with networks, rules and settings as tutorials have them; nothing of the package is
used. Every run is drawn from (seed, number), so that an interrupted command goes on where it stopped. OUT gets `files`
and `table.csv` as `weightprint.inspection.strangers` reads them. Files hold weights without the training configuration.
A run that did not learn (test accuracy below LEARNT) is tried once more with other rates, as people do; when it fails
again it is not in the table.

IMAGES: folder with mnist.npz, fashion_mnist.npz, cifar10.npz, svhn.npz, tiny_imagenet10.npz
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import shutil
import time
import warnings
from collections import OrderedDict
from functools import lru_cache
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset

LOOPS = ("keras", "lightning", "script")
DATASETS = {"mnist": 27, "fashion_mnist": 27, "cifar10": 25, "svhn": 10, "tiny_imagenet10": 11}
ACTIVATIONS = {"relu": 34, **dict.fromkeys(("leaky_relu", "elu", "gelu", "silu", "tanh"), 11), "sigmoid": 7}
OPTIMIZERS = {
    **{"sgd": 16, "sgd_momentum": 18, "sgd_nesterov": 9, "adam": 20, "adamw": 10, "rmsprop": 10},
    **{"nadam": 6, "adagrad": 6, "adadelta": 5},
}
DRAWN = {"glorot_uniform": 11, "glorot_normal": 8, "he_uniform": 10, "he_normal": 11, "orthogonal": 10}
INITIALIZATIONS = {
    "keras": {**DRAWN, "glorot_uniform": 60},  # its default
    "torch": {**DRAWN, "torch_default": 50},
}
LEARNING_RATES = {
    "sgd": (0.02, 0.05, 0.1, 0.2),
    "sgd_momentum": (0.002, 0.01, 0.01, 0.02, 0.05),
    "sgd_nesterov": (0.002, 0.01, 0.01, 0.02, 0.05),
    "adagrad": (0.005, 0.01, 0.02, 0.05),
    "adadelta": (0.1, 0.5, 1.0),
}
ADAPTIVE_RATES = (1e-4, 3e-4, 5e-4, 1e-3, 1e-3, 1e-3, 2e-3, 3e-3, 5e-3, 1e-2)
BATCHES = (4, 8, 10, 16, 16, 16, 20, 32, 32, 32, 50, 64, 64, 64, 100, 128)
ARCHITECTURES = ("lenet5", "two_conv", "keras_cnn", "three_conv", "tiny_vgg", "vgg_bn", "mlp", "wide_mlp", "resnet")
FORMATS = {
    "keras": ("keras", "h5", "weights.h5"),
    "lightning": ("ckpt",),
    "script": ("pth", "pth", "pth", "nested.pth", "safetensors", "onnx"),
}
TORCH_DRAWS = {
    "glorot_uniform": nn.init.xavier_uniform_,
    "glorot_normal": nn.init.xavier_normal_,
    "he_uniform": lambda w: nn.init.kaiming_uniform_(w, nonlinearity="relu"),
    "he_normal": lambda w: nn.init.kaiming_normal_(w, nonlinearity="relu"),
    "orthogonal": nn.init.orthogonal_,
}
MOST_STEPS = {"keras": 450, "lightning": 1000, "script": 1500}
MULTIPLY_ADDS = 25e9
"""Of all layers over a run, forward and backward: cuts the number of steps."""

LEARNT = 0.2
ATTEMPTS = 2
COLUMNS = (
    *("id", "repo", "path", "commit", "format", "bytes", "sha256", "architecture", "dataset", "optimizer"),
    *("learning_rate", "momentum", "weight_decay", "batch_size", "epochs", "activation", "initialization"),
    *("batch_norm", "dropout", "augmentation", "evidence", "notes", "doubt", "embedded"),
    *("loop", "steps", "test_accuracy"),
)


def dealt(values: dict[str, int], number: int, count: int, *key: int) -> str:
    """One of `values`, which are as frequent among `count` runs as their weights say."""
    shares = np.cumsum(list(values.values())) / sum(values.values())
    places = np.random.default_rng(key).permutation(count)
    return list(values)[int(np.searchsorted(shares, (places[number] + 0.5) / count))]


def draw(seed: int, number: int, count: int, attempt: int) -> dict[str, Any]:
    """The set-up of one run. Further attempts have the same dealt fields, other rates, batches and twice the steps."""
    rng = np.random.default_rng([seed, number, attempt])
    loop, each, place = LOOPS[number % 3], -(-count // 3), number // 3

    def pick(values: Any) -> Any:
        return values[int(rng.integers(len(values)))]

    optimizer = dealt(OPTIMIZERS, number, count, seed, 1)
    activation = dealt(ACTIVATIONS, place, each, seed, 3, number % 3)
    rates = LEARNING_RATES.get(optimizer, ADAPTIVE_RATES)  # sigmoids learn in short runs at the larger ones alone
    decays = {"adamw": (0.01, 0.01, 0.004, 1e-4)}.get(optimizer, (0, 0, 0, 0, 1e-5, 1e-4, 5e-4, 1e-3))
    momentum = pick((0.9, 0.9, 0.9, 0.5, 0.8)) if optimizer in ("sgd_momentum", "sgd_nesterov") else 0
    schemes = INITIALIZATIONS["keras" if loop == "keras" else "torch"]
    return {
        "id": f"{number:03d}_{loop}",
        "loop": loop,
        "format": FORMATS[loop][place % len(FORMATS[loop])],
        "architecture": ARCHITECTURES[place % len(ARCHITECTURES)],
        "dataset": dealt(DATASETS, place, each, seed, 2, number % 3),
        "activation": activation,
        "initialization": dealt(schemes, place, each, seed, 4, number % 3),
        "optimizer": optimizer,
        "learning_rate": pick(rates[len(rates) // 2 :] if activation == "sigmoid" else rates),
        "momentum": momentum,
        "weight_decay": pick(decays),
        "batch_size": pick(BATCHES),
        "schedule": pick(("constant",) * 4 + ("step", "cosine")),
        "scaling": pick(("unit", "unit", "symmetric", "standardized")),
        "dropout": pick((0, 0, 0.25, 0.5)),
        "average_pooling": bool(rng.random() < 0.3),
        "zero_biases": bool(rng.random() < 0.5),
        "flip": bool(loop != "keras" and rng.random() < 0.2),
        "named": bool(rng.random() < 0.5),
        "steps": int(np.exp(rng.uniform(np.log(300), np.log(3000))) * 2**attempt),
        "seed": 1000 * seed + number + 500 * attempt,
        "attempt": attempt,
    }


@lru_cache(maxsize=5)
def images(folder: str, dataset: str) -> dict[str, np.ndarray]:
    """The four arrays, images as uint8 [n, H, W, C]."""
    with np.load(Path(folder) / f"{dataset}.npz") as stored:
        arrays = {name: stored[name] for name in stored.files}
    return {k: v[..., None] if k.startswith("x") and v.ndim == 3 else v for k, v in arrays.items()}


def scaled(pixels: np.ndarray, scaling: str) -> np.ndarray:
    x = pixels.astype(np.float32) / 255
    return {"unit": x, "symmetric": 2 * x - 1, "standardized": (x - 0.1307) / 0.3081}[scaling].astype(np.float32)


def stages(architecture: str) -> tuple[list[Any], list[int]]:
    """Convolutions as (channels, window, padded, pooled afterwards), and hidden linear layers."""
    return {
        "lenet5": ([(6, 5, True, True), (16, 5, False, True)], [120, 84]),
        "two_conv": ([(10, 5, False, True), (20, 5, False, True)], [50]),
        "keras_cnn": ([(16, 3, False, True), (32, 3, False, True)], []),
        "three_conv": ([(16, 3, False, True), (32, 3, False, True), (32, 3, False, False)], [64]),
        "tiny_vgg": ([(10, 3, True, False), (10, 3, True, True), (10, 3, True, False), (10, 3, True, True)], []),
        "vgg_bn": ([(8, 3, True, False), (8, 3, True, True), (16, 3, True, False), (32, 3, True, True)], [64]),
        "mlp": ([], [256, 128]),
        "wide_mlp": ([], [512]),
    }[architecture]


# Keras


def keras_model(setup: dict[str, Any], shape: tuple[int, ...]) -> Any:
    import keras
    from keras import layers

    l2 = setup["weight_decay"] if setup["optimizer"] != "adamw" else 0

    def options() -> dict[str, Any]:
        name = setup["initialization"]
        return {
            "kernel_initializer": "orthogonal" if name == "orthogonal" else name,
            "kernel_regularizer": keras.regularizers.l2(l2 / 2) if l2 else None,
        }

    act = setup["activation"]
    inputs = x = keras.Input(shape)
    if setup["architecture"] == "resnet":
        x = layers.Conv2D(16, 3, strides=2, padding="same", activation=act, **options())(x)
        for channels in (16, 32):
            short = layers.Conv2D(channels, 1, strides=2, padding="same", **options())(x)
            y = layers.Conv2D(channels, 3, strides=2, padding="same", **options())(x)
            y = layers.Activation(act)(layers.BatchNormalization()(y))
            y = layers.BatchNormalization()(layers.Conv2D(channels, 3, padding="same", **options())(y))
            x = layers.Activation(act)(layers.add([short, y]))
        x = layers.GlobalAveragePooling2D()(x)
    else:
        convs, hidden = stages(setup["architecture"])
        pool = layers.AveragePooling2D if setup["average_pooling"] else layers.MaxPooling2D
        for channels, window, padded, pooled in convs:
            x = layers.Conv2D(channels, window, padding="same" if padded else "valid", **options())(x)
            x = layers.BatchNormalization()(x) if setup["architecture"] == "vgg_bn" else x
            x = layers.Activation(act)(x)
            x = pool(2)(x) if pooled else x
        x = layers.Flatten()(x)
        for units in hidden:
            x = layers.Dense(units, activation=act, **options())(x)
            x = layers.Dropout(setup["dropout"])(x) if setup["dropout"] else x
    return keras.Model(inputs, layers.Dense(10, **options())(x))


def keras_cost(model: Any) -> float:
    """Multiply-adds of one image's forward pass."""
    layers = [layer for layer in model.layers if hasattr(layer, "kernel")]
    return float(sum(np.prod(layer.kernel.shape) * np.prod(layer.output.shape[1:-1]) for layer in layers))


def train_keras(setup: dict[str, Any], data: dict[str, np.ndarray], path: Path) -> float:
    import keras

    keras.utils.set_random_seed(setup["seed"])
    x, test = scaled(data["x_train"], setup["scaling"]), scaled(data["x_test"][:1000], setup["scaling"])
    model = keras_model(setup, x.shape[1:])
    setup["steps"] = cut(setup, keras_cost(model))
    rate: Any = setup["learning_rate"]
    if setup["schedule"] == "step":
        half = setup["steps"] // 2
        rate = keras.optimizers.schedules.PiecewiseConstantDecay(
            [half, half + half // 2], [rate, rate / 10, rate / 100]
        )
    elif setup["schedule"] == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, setup["steps"])
    name = setup["optimizer"]
    if name.startswith("sgd"):
        optimizer = keras.optimizers.SGD(rate, momentum=float(setup["momentum"]), nesterov=name == "sgd_nesterov")
    else:
        rules = {"adam": "Adam", "adamw": "AdamW", "rmsprop": "RMSprop", "nadam": "Nadam"}
        rules |= {"adagrad": "Adagrad", "adadelta": "Adadelta"}
        extra = {"weight_decay": setup["weight_decay"]} if name == "adamw" else {}
        optimizer = getattr(keras.optimizers, rules[name])(rate, **extra)
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))

    class Stop(keras.callbacks.Callback):
        seen = 0

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            Stop.seen += 1
            self.model.stop_training = Stop.seen >= setup["steps"]

    model.fit(x, data["y_train"], batch_size=setup["batch_size"], epochs=1000, callbacks=[Stop()], verbose=0)
    accuracy = float((model.predict(test, verbose=0).argmax(1) == data["y_test"][:1000]).mean())
    plain = keras.models.clone_model(model)  # not compiled: no training configuration is stored
    plain.set_weights(model.get_weights())
    if setup["format"] == "weights.h5":
        plain.save_weights(path.with_suffix(".weights.h5"))
        path.with_suffix(".weights.h5").rename(path)
    else:
        plain.save(path)
    return accuracy


# PyTorch


class Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int, act: type[nn.Module]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, 2)
        self.act = act()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(self.bn2(self.conv2(self.act(self.bn1(self.conv1(x))))) + self.shortcut(x))


def torch_model(setup: dict[str, Any], side: int, channels: int) -> nn.Module:
    act = {"relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "elu": nn.ELU, "gelu": nn.GELU, "silu": nn.SiLU}
    act |= {"tanh": nn.Tanh, "sigmoid": nn.Sigmoid}
    activation = act[setup["activation"]]
    found: list[tuple[str, nn.Module]] = []
    if setup["architecture"] == "resnet":
        found = [("conv1", nn.Conv2d(channels, 16, 3, 2, 1)), ("act", activation())]
        found += [("layer1", Residual(16, 16, activation)), ("layer2", Residual(16, 32, activation))]
        found += [("pool", nn.AdaptiveAvgPool2d(1)), ("flatten", nn.Flatten()), ("fc", nn.Linear(32, 10))]
    else:
        convs, hidden = stages(setup["architecture"])
        pool = nn.AvgPool2d if setup["average_pooling"] else nn.MaxPool2d
        for i, (width, window, padded, pooled) in enumerate(convs, 1):
            found.append((f"conv{i}", nn.Conv2d(channels, width, window, padding=window // 2 if padded else 0)))
            if setup["architecture"] == "vgg_bn":
                found.append((f"bn{i}", nn.BatchNorm2d(width)))
            found.append((f"act{i}", activation()))
            channels, side = width, side if padded else side - window + 1
            if pooled:
                found.append((f"pool{i}", pool(2)))
                side //= 2
        found.append(("flatten", nn.Flatten()))
        inputs = channels * side * side
        for i, units in enumerate(hidden, 1):
            found += [(f"fc{i}", nn.Linear(inputs, units)), (f"fc_act{i}", activation())]
            found += [(f"drop{i}", nn.Dropout(setup["dropout"]))] if setup["dropout"] else []
            inputs = units
        found.append((f"fc{len(hidden) + 1}", nn.Linear(inputs, 10)))
    model = nn.Sequential(OrderedDict(found)) if setup["named"] else nn.Sequential(*[layer for _, layer in found])
    for layer in model.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)) and setup["initialization"] != "torch_default":
            TORCH_DRAWS[setup["initialization"]](layer.weight)
            if setup["zero_biases"] and layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return model


def torch_cost(model: nn.Module, x: torch.Tensor) -> float:
    """Multiply-adds of one image's forward pass."""
    found: list[float] = []

    def count(layer: Any, inputs: Any, output: torch.Tensor) -> None:
        places = output[0, 0].numel() if output.ndim == 4 else 1
        found.append(layer.weight.numel() * places)

    hooks = [m.register_forward_hook(count) for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    with torch.no_grad():
        model.eval()(x)
    for hook in hooks:
        hook.remove()
    return sum(found)


def torch_optimizer(setup: dict[str, Any], parameters: Any) -> Any:
    name, rate, decay = setup["optimizer"], setup["learning_rate"], setup["weight_decay"]
    if name.startswith("sgd"):
        nesterov = name == "sgd_nesterov"
        return torch.optim.SGD(parameters, rate, momentum=setup["momentum"], weight_decay=decay, nesterov=nesterov)
    rules = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "rmsprop": torch.optim.RMSprop}
    rules |= {"nadam": torch.optim.NAdam, "adagrad": torch.optim.Adagrad, "adadelta": torch.optim.Adadelta}
    return rules[name](parameters, lr=rate, weight_decay=decay)


def torch_schedule(setup: dict[str, Any], optimizer: Any) -> Any:
    if setup["schedule"] == "cosine":
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, setup["steps"])
    return torch.optim.lr_scheduler.StepLR(optimizer, setup["steps"] // 2 if setup["schedule"] == "step" else 10**9)


def torch_parts(setup: dict[str, Any], data: dict[str, np.ndarray]) -> tuple[nn.Module, DataLoader, torch.Tensor]:
    """The network, batches [B, C, H, W] with their labels, and test images; the number of steps is cut."""
    torch.manual_seed(setup["seed"])
    train, test = (
        torch.tensor(scaled(pixels, setup["scaling"]).transpose(0, 3, 1, 2))
        for pixels in (data["x_train"], data["x_test"][:1000])
    )
    model = torch_model(setup, train.shape[-1], train.shape[1])
    setup["steps"] = cut(setup, torch_cost(model, test[:1]))
    known = TensorDataset(train, torch.tensor(data["y_train"].astype(np.int64)))
    batches = BatchSampler(RandomSampler(known), setup["batch_size"], drop_last=True)
    return model, DataLoader(known, sampler=batches, batch_size=None), test


def accuracy_of(model: nn.Module, test: torch.Tensor, data: dict[str, np.ndarray]) -> float:
    with torch.no_grad():
        return float((model.eval()(test).argmax(1).numpy() == data["y_test"][:1000]).mean())


def train_lightning(setup: dict[str, Any], data: dict[str, np.ndarray], path: Path) -> float:
    import lightning

    network, loader, test = torch_parts(setup, data)

    class Classifier(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = network

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.model(x)

        def training_step(self, batch: Any, number: int) -> torch.Tensor:
            x, y = batch
            x = x.flip(-1) if setup["flip"] and number % 2 else x
            return functional.cross_entropy(self(x), y)

        def configure_optimizers(self) -> Any:
            optimizer = torch_optimizer(setup, self.parameters())
            schedule = {"scheduler": torch_schedule(setup, optimizer), "interval": "step"}
            return {"optimizer": optimizer, "lr_scheduler": schedule}

    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = lightning.Trainer(
        max_steps=setup["steps"], max_epochs=-1, accelerator="cpu", enable_model_summary=False, **quiet
    )
    module = Classifier().train()
    trainer.fit(module, loader)
    trainer.save_checkpoint(path, weights_only=True)
    return accuracy_of(network, test, data)


def train_script(setup: dict[str, Any], data: dict[str, np.ndarray], path: Path) -> float:
    model, loader, test = torch_parts(setup, data)
    optimizer = torch_optimizer(setup, model.parameters())
    schedule = torch_schedule(setup, optimizer)
    step = 0
    model.train()
    while step < setup["steps"]:
        for x, y in loader:
            x = x.flip(-1) if setup["flip"] and step % 2 else x
            optimizer.zero_grad()
            functional.cross_entropy(model(x), y).backward()
            optimizer.step()
            schedule.step()
            step += 1
            if step >= setup["steps"]:
                break
    accuracy = accuracy_of(model, test, data)
    weights = model.state_dict()
    if setup["format"] == "onnx":
        torch.onnx.export(model, (test[:1],), str(path), dynamo=False)
    elif setup["format"] == "safetensors":
        from safetensors.torch import save_file

        save_file(weights, path)
    else:
        torch.save({"epoch": 1, "model_state_dict": weights} if setup["format"] == "nested.pth" else weights, path)
    return accuracy


def cut(setup: dict[str, Any], multiply_adds: float) -> int:
    """Steps that a run takes: as drawn, but no more than is afforded."""
    afforded = MULTIPLY_ADDS / (3 * multiply_adds * setup["batch_size"])
    most = min(MOST_STEPS[setup["loop"]], afforded) * 2 ** setup["attempt"]
    return int(max(200, min(setup["steps"], most)))


TRAINERS = {"keras": train_keras, "lightning": train_lightning, "script": train_script}


def row_of(setup: dict[str, Any], path: Path, accuracy: float) -> dict[str, Any]:
    content = path.read_bytes()
    return {
        **dict.fromkeys(COLUMNS, ""),
        **{name: value for name, value in setup.items() if name in COLUMNS},
        "repo": f"loops/{setup['loop']}",
        "path": path.name,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "momentum": setup["momentum"] or "",
        "batch_norm": "y" if setup["architecture"] in ("vgg_bn", "resnet") else "n",
        "augmentation": "flips" if setup["flip"] else "n",
        "evidence": "benchmarks/foreign_loops.py",
        "notes": f"schedule {setup['schedule']}, inputs {setup['scaling']}",
        "embedded": "false",
        "test_accuracy": f"{accuracy:.4f}",
    }


def trained(options: Any, setup: dict[str, Any]) -> dict[str, Any]:
    """Train one run, unless it was, and keep its file; returns its row."""
    record = options.out / "runs" / f"{setup['id']}-{setup['attempt']}.json"
    if not record.exists():
        began = time.process_time()
        path = options.out / f"{setup['id']}.{setup['format'].rpartition('.')[2]}"
        data = images(options.images, setup["dataset"])
        accuracy = TRAINERS[setup["loop"]](setup, data, path)
        seconds = time.process_time() - began
        row = row_of(setup, path, accuracy)
        shutil.move(path, options.out / "files" / path.name)
        record.write_text(json.dumps({**row, "seconds": round(seconds, 2)}))
        told = f"{setup['architecture']}, {setup['optimizer']}, {setup['steps']} steps: {accuracy:.3f}"
        print(f"{setup['id']} {told}, {seconds:.1f} s", flush=True)
    return json.loads(record.read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n")[0])
    parser.add_argument("images")
    parser.add_argument("out", type=Path)
    parser.add_argument("--runs", type=int, default=132)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    for name in ("files", "runs"):
        (options.out / name).mkdir(parents=True, exist_ok=True)
    rows: dict[int, dict[str, Any]] = {}
    for attempt in range(ATTEMPTS):
        for number in range(options.runs):
            if number not in rows or float(rows[number]["test_accuracy"]) < LEARNT:
                rows[number] = trained(options, draw(options.seed, number, options.runs, attempt))
                write_table(options.out, [row for row in rows.values() if float(row["test_accuracy"]) >= LEARNT])
    learnt = sum(float(row["test_accuracy"]) >= LEARNT for row in rows.values())
    seconds = sum(json.loads(record.read_text())["seconds"] for record in (options.out / "runs").iterdir())
    print(f"{learnt} of {len(rows)} runs learnt; {seconds:.0f} core-seconds")


def write_table(out: Path, rows: list[dict[str, Any]]) -> None:
    with open(out / "table.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
