"""Checkpoints of strangers whose training is documented: a folder with a table, for calibration and for judging.

The table is a CSV file `table.csv` beside the folder `files`, with a row per file: id, repo, dataset, optimizer,
activation, initialization and `embedded` (whether the file itself holds its training configuration). An empty field is
not documented. Names are brought to those that answers use.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from weightprint.errors import CheckpointError, MetaError
from weightprint.files import StrPath
from weightprint.inspection.network import Network
from weightprint.seeds import uniform_from_hash

OPTIMIZERS = {
    **{name: name for name in ("sgd", "momentum", "nesterov")},
    **{name: name for name in ("adam", "adamw", "rmsprop", "nadam", "adagrad", "adadelta")},
    **{"sgd_momentum": "momentum", "sgd_nesterov": "nesterov"},
}
_SETUP = ("dataset", "optimizer", "learning_rate", "momentum", "batch_size", "activation")
SGD_LIKE = ("sgd", "momentum", "nesterov")
IMAGE_KINDS = {
    **dict.fromkeys(("mnist", "svhn"), "digits"),
    "fashion_mnist": "clothing",
    **dict.fromkeys(("cifar10", "tiny_imagenet10"), "natural"),
}
SPELLINGS = {"leakyrelu": "leaky_relu", "swish": "silu", "xavier_uniform": "glorot_uniform"}


@dataclass(frozen=True)
class Stranger:
    """One file of strangers.

    id, repo: as in the table
    path:     of the file
    labels:   property → value, those that are documented
    embedded: whether the file itself holds its training configuration
    doubt:    what is not certain, in the table's words
    setup:    equal for files that are told to have been trained alike
    problem:  why it cannot be read; empty for one that can
    network:  the opened file, where it can be read
    """

    id: str
    repo: str
    path: Path
    labels: Mapping[str, Any]
    embedded: bool
    doubt: str
    setup: tuple[str, ...]
    problem: str = ""
    network: Network | None = field(default=None, repr=False)

    @property
    def development(self) -> bool:
        """Whether its repository belongs to the half that choices may be made on.

        The half is that of the repositories whose hash under the key "strangers" falls below a half. The other half is
        scored once, at the end.
        """
        return uniform_from_hash("strangers", self.repo) < 0.5


def read_strangers(folder: StrPath) -> list[Stranger]:
    """The files of a folder in the order of its table. Raises MetaError for a folder without one."""
    folder = Path(folder)
    table = folder / "table.csv"
    try:
        with open(table, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        hint = "a folder of checkpoints with a table.csv"
        raise MetaError(f"cannot read {table}: {error.strerror}", hint=hint) from error
    files = {path.stem: path for path in (folder / "files").iterdir()}
    return [_stranger(row, files.get(row["id"], folder / "files" / row["id"])) for row in rows]


def _stranger(row: Mapping[str, str], path: Path) -> Stranger:
    labels: dict[str, Any] = {}
    optimizer = OPTIMIZERS.get(row["optimizer"])
    if optimizer:
        labels["optimizer"] = optimizer
        labels["optimizer_family"] = "sgd_like" if optimizer in SGD_LIKE else "adaptive"
    for name in ("activation", "initialization"):
        if row[name]:
            labels[name] = SPELLINGS.get(row[name], row[name])
    if row["dataset"] in IMAGE_KINDS:
        labels["image_kind"] = IMAGE_KINDS[row["dataset"]]
    for name in ("learning_rate", "weight_decay", "batch_size"):
        try:
            labels[name] = float(row[name])
        except ValueError:
            continue  # not documented
    setup = tuple(row[name] for name in _SETUP)
    stranger = Stranger(row["id"], row["repo"], path, labels, row["embedded"] == "true", row["doubt"], setup)
    try:
        network = Network.open(path)
        network.anatomy  # noqa: B018 - read now, so that a damaged file shows here
    except CheckpointError as error:
        return replace(stranger, problem=error.message)
    return replace(stranger, network=network)
