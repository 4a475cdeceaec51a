"""Checkpoints that other people published: at least 69 of the 74 are read, the pickled modules refused."""

import csv
from pathlib import Path

import numpy as np
import pytest

from weightprint.errors import CheckpointError
from weightprint.formats import open_checkpoint

FOLDER = Path(__file__).parents[3] / "shared" / "checkpoints"
pytestmark = pytest.mark.skipif(not FOLDER.exists(), reason="the folder of public checkpoints is not here")


@pytest.mark.slow
def test_public_checkpoints_are_read_or_refused_with_the_reason():
    rows = {row["id"]: row for row in csv.DictReader((FOLDER / "table.csv").read_text().splitlines())}
    read, refused = 0, {}
    for path in sorted((FOLDER / "files").iterdir()):
        try:
            checkpoint = open_checkpoint(path)
        except CheckpointError as error:
            refused[path.stem] = error
            continue
        read += 1
        tensors = list(checkpoint.canonical())
        assert all(np.isfinite(tensor.values).all() for tensor in tensors)
        kernels = [tensor for tensor in tensors if tensor.kind == "kernel"]
        assert kernels[-1].values.shape[0] in (10, 11)
        assert kernels[0].values.shape[1] in (1, 3, 256, 784, 3072)
        if rows[path.stem]["embedded"] == "true" and checkpoint.format.startswith("keras"):
            rule = {"sgd_momentum": "sgd"}.get(rows[path.stem]["optimizer"], rows[path.stem]["optimizer"])
            assert checkpoint.declared["optimizer"]["rule"] == rule
    assert read >= 69
    for error in refused.values():
        assert "a pickled module of the class" in error.message
        assert [line.split("(")[0].strip() for line in error.hint.splitlines()[1:]] == ["m = torch.load", "torch.save"]


def test_the_same_network_exported_and_as_saved_has_the_same_layers():
    files = FOLDER / "files"
    saved = open_checkpoint(next(files.glob("051_*")))
    exported = open_checkpoint(next(files.glob("052_*")))
    assert [(t.canonical_axes, t.canonical_shape) for t in saved.tensors] == [
        (t.canonical_axes, t.canonical_shape) for t in exported.tensors
    ]


def test_a_model_and_its_weights_alone_hold_the_same_numbers():
    files = FOLDER / "files"
    whole, weights = (open_checkpoint(next(files.glob(pattern))) for pattern in ("170_*", "171_*"))
    for a, b in zip(whole.canonical(), weights.canonical(), strict=True):
        assert (a.name, a.kind, a.axes) == (b.name, b.kind, b.axes)
        np.testing.assert_array_equal(a.values, b.values)
