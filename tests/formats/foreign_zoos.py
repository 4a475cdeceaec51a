"""Small zoos of other formats, of really trained networks; made in seconds."""

import json

import numpy as np
import polars as pl
import torch
from torch import nn

DIGITS = 4


def digits():
    """Images [N, 1, 8, 8] and labels of four classes of the digits that scikit-learn has."""
    from sklearn.datasets import load_digits

    found = load_digits()
    keep = found.target < DIGITS
    return torch.tensor(found.images[keep], dtype=torch.float32)[:, None] / 16, torch.tensor(found.target[keep])


class Small(nn.Module):
    """Two convolutions and an output layer, under the names that ModelZooDataset has."""

    def __init__(self, activation):
        super().__init__()
        self.module_list = nn.ModuleList(
            [nn.Conv2d(1, 4, 3), activation(), nn.Conv2d(4, 4, 3), activation(), nn.Flatten(), nn.Linear(64, DIGITS)]
        )

    def forward(self, x):
        for module in self.module_list:
            x = module(x)
        return x


class Pooled(Small):
    """The same with an average over places, as the Small CNN Zoo has it."""

    def __init__(self, activation):
        super().__init__(activation)
        self.module_list[4] = nn.AdaptiveAvgPool2d(1)
        self.module_list[5] = nn.Sequential(nn.Flatten(), nn.Linear(4, DIGITS))


def trained(network, *, optimizer, seed, epochs):
    """States and test accuracies of a network at its start and after each epoch."""
    images, labels = digits()
    train, test = slice(0, 500), slice(500, None)
    torch.manual_seed(seed)
    for module in network.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    rule = torch.optim.Adam if optimizer == "adam" else torch.optim.SGD
    steps = rule(network.parameters(), lr=0.01 if optimizer == "adam" else 0.1)
    states, accuracies = [], []
    for epoch in range(epochs + 1):
        if epoch:
            for batch in torch.randperm(500).split(50):
                steps.zero_grad()
                nn.functional.cross_entropy(network(images[train][batch]), labels[train][batch]).backward()
                steps.step()
        with torch.no_grad():
            accuracies.append((network(images[test]).argmax(1) == labels[test]).float().mean().item())
        states.append({name: tensor.clone() for name, tensor in network.state_dict().items()})
    return states, accuracies


def model_zoos(folder, *, runs=16, epochs=2):
    """As ModelZooDataset: the first checkpoint in the older way of naming it."""
    for number in range(runs):
        optimizer, name = ("adam", "sgd")[number % 2], ("tanh", "relu")[number // 2 % 2]
        network = Small({"tanh": nn.Tanh, "relu": nn.ReLU}[name])
        states, accuracies = trained(network, optimizer=optimizer, seed=number, epochs=epochs)
        place = folder / f"NN_tune_trainable_{number:05d}"
        for epoch, state in enumerate(states):
            inner = place / (f"checkpoint_{epoch:06d}" if epoch else "checkpoint_0")
            inner.mkdir(parents=True)
            torch.save(state, inner / "checkpoints")
            torch.save({"state": {}}, inner / "optimizer")
        settings = {
            "model::nlin": name,
            "optim::optimizer": optimizer,
            "optim::lr": 0.01 if optimizer == "adam" else 0.1,
            "seed": number,
            "dataset::dump": "/home/someone/dataset.pt",
            "training::checkpoint_dir": None,
        }
        (place / "params.json").write_text(json.dumps(settings))
        lines = [
            {"training_iteration": i, "test_acc": a, "train_acc": a if i else -999} for i, a in enumerate(accuracies)
        ]
        (place / "result.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


LAYOUT = [("conv2d", "module_list.0"), ("conv2d_1", "module_list.2"), ("dense", "module_list.5.1")]


def small_cnn_zoo(folder, *, runs=16, epochs=2):
    """As the Small CNN Zoo; returns the torch states too, run by run."""
    folder.mkdir(exist_ok=True)
    vectors, metrics, layout, all_states = [], [], [], []
    for number in range(runs):
        optimizer = ("adam", "sgd")[number % 2]
        states, accuracies = trained(Pooled(nn.ReLU), optimizer=optimizer, seed=number, epochs=epochs)
        all_states.append(states)
        for epoch in reversed(range(epochs + 1)):  # the order of the rows says nothing
            pieces = []
            for _, source in LAYOUT:
                kernel = states[epoch][f"{source}.weight"].numpy()
                pieces.append(states[epoch][f"{source}.bias"].numpy())
                pieces.append(kernel.transpose((2, 3, 1, 0) if kernel.ndim == 4 else (1, 0)).reshape(-1))
            vectors.append(np.concatenate(pieces))
            metrics.append(
                {
                    "": f"/x/{number}/permanent_ckpt-{epoch}",
                    "config.optimizer": optimizer,
                    "config.dataset": "mnist",
                    "config.w_init": "he_normal",
                    "config.l2reg": 1e-4 * (number + 1) if number else None,
                    "modeldir": f"/x/{number:03d}",
                    "step": epoch,
                    "test_accuracy": accuracies[epoch],
                    "train_loss": float("nan") if epoch == 0 else 0.5,
                }
            )
    start = 0
    for layer, source in LAYOUT:
        for word in ("bias", "kernel"):
            tensor = states[0][f"{source}.{'weight' if word == 'kernel' else 'bias'}"].numpy()
            shape = tensor.transpose((2, 3, 1, 0)).shape if tensor.ndim == 4 else tensor.T.shape
            row = {"varname": f"sequential/{layer}/{word}:0", "start_idx": start, "end_idx": start + tensor.size}
            layout.append({**row, "size": tensor.size, "shape": str(shape)})
            start += tensor.size
    np.save(folder / "weights.npy", np.array(vectors, dtype=np.float32))
    import gzip

    (folder / "metrics.csv.gz").write_bytes(gzip.compress(pl.DataFrame(metrics).write_csv().encode()))
    pl.DataFrame(layout).write_csv(folder / "layout.csv")
    return all_states
