"""Arrays of numpy: the direction of kernels is told from biases, from the chain of sizes, or not at all."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightprint.errors import CheckpointError
from weightprint.formats import open_checkpoint
from weightprint.formats.roles import told_roles


def test_kernels_of_both_directions_come_out_the_same(tmp_path):
    rng = np.random.default_rng(0)
    sizes = (12, 8, 8, 3)
    kernels = [rng.normal(size=(o, i)) for i, o in pairwise(sizes)]
    biases = [rng.normal(size=o) for o in sizes[1:]]
    rows = {f"W{n}": k.T for n, k in enumerate(kernels)} | {f"b{n}": b[None] for n, b in enumerate(biases)}
    columns = {f"W{n}": k for n, k in enumerate(kernels)} | {f"b{n}": b[:, None] for n, b in enumerate(biases)}
    np.savez(tmp_path / "rows.npz", **rows, sizes=np.array(sizes), accuracy=0.5)
    np.savez_compressed(tmp_path / "columns.npz", **columns)
    first, second = open_checkpoint(tmp_path / "rows.npz"), open_checkpoint(tmp_path / "columns.npz")
    assert first.declared == {"sizes": list(sizes), "accuracy": 0.5}
    assert [t.axes for t in first.tensors] == ["io"] * 3 + ["1o"] * 3
    assert [t.axes for t in second.tensors] == ["oi"] * 3 + ["o1"] * 3
    for a, b, expected in zip(first.canonical(), second.canonical(), kernels + biases, strict=True):
        assert a.axes == b.axes
        np.testing.assert_array_equal(a.values, expected.astype(np.float32))
        np.testing.assert_array_equal(b.values, a.values)


@pytest.mark.parametrize(
    ("shapes", "axes"),
    [
        ({"w": (784, 64), "v": (64, 10)}, ["io", "io"]),
        ({"w": (64, 784), "v": (10, 64)}, ["oi", "oi"]),
        ({"arr_0": (784, 64), "arr_1": (64,), "arr_2": (64, 64), "arr_3": (64,)}, ["io", "o", "io", "o"]),
        ({"conv_w": (8, 3, 5, 5), "conv_b": (8,)}, ["oihw", "o"]),
        ({"conv_w": (5, 5, 3, 8), "conv_b": (8,)}, ["hwio", "o"]),
        ({"conv.weight": (8, 5, 5, 3), "conv.bias": (8,)}, ["ohwi", "o"]),
        ({"layer1_weights": (10, 1), "layer1_biases": (1,)}, ["io", "o"]),
        ({"W1": (20, 20), "b1": (20,), "W2": (10, 20), "b2": (10,), "gamma": (20,)}, ["oi", "o", "oi", "o", "o"]),
    ],
)
def test_directions_are_told(shapes, axes):
    roles, notes = told_roles(shapes)
    assert [axis for _, axis in roles.values()] == axes
    assert not notes


def test_what_cannot_be_told_is_said():
    _, notes = told_roles({"W": (20, 10)})
    assert "could not be told" in notes[0]


@given(sizes=st.lists(st.integers(2, 40), min_size=3, max_size=6, unique=True), output_first=st.booleans())
def test_any_chain_of_unequal_sizes_is_told(sizes, output_first):
    pairs = list(pairwise(sizes))
    shapes = {f"layer{n}": (o, i) if output_first else (i, o) for n, (i, o) in enumerate(pairs)}
    roles, _ = told_roles(shapes)
    assert {axes for _, axes in roles.values()} == {"oi" if output_first else "io"}


def test_python_objects_are_not_unpickled(tmp_path):
    np.savez(
        tmp_path / "a.npz", W=np.ones((3, 2)), history=np.array([{"loss": 1}], dtype=object), names=np.array(["a"])
    )
    checkpoint = open_checkpoint(tmp_path / "a.npz")
    assert [s.name for s in checkpoint.skipped] == ["history", "names"]
    assert [t.name for t in checkpoint.tensors] == ["W"]


def test_an_archive_without_weights_is_an_error(tmp_path):
    np.savez(tmp_path / "a.npz", images=np.zeros((100, 28, 28), np.uint8))
    with pytest.raises(CheckpointError, match=r"it holds no weights; left out: images \(quantised \(uint8\)\)"):
        open_checkpoint(tmp_path / "a.npz")


def test_arrays_stored_by_column(tmp_path):
    values = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    np.savez(tmp_path / "a.npz", W=values, b=np.zeros(3))
    np.testing.assert_array_equal(open_checkpoint(tmp_path / "a.npz")["W"].read(), values)
