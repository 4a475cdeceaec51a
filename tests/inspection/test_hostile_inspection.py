"""Damaged files through the whole command: one clear error or an answer, never anything else."""

import json
import random
import sys
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.inspection.conftest import small_cnn
from weightprint.cli import main as cli
from weightprint.inspection.inspect import inspect


def as_onnx(tensors, path):
    onnx = pytest.importorskip("onnx")
    value = onnx.helper.make_tensor_value_info
    arrays = [onnx.numpy_helper.from_array(tensors[name].numpy(), name) for name in ("7.weight", "9.weight")]
    nodes = [
        onnx.helper.make_node("Gemm", ["x", "7.weight"], ["h"], transB=1),
        onnx.helper.make_node("Relu", ["h"], ["a"]),
        onnx.helper.make_node("Gemm", ["a", "9.weight"], ["y"], transB=1),
    ]
    inputs = [value("x", 1, [1, tensors["7.weight"].shape[1]])]
    graph = onnx.helper.make_graph(nodes, "g", inputs, [value("y", 1, [1, 10])], arrays)
    onnx.save(onnx.helper.make_model(graph), path)


def as_h5(tensors, path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"dense"]
        group = file.create_group("dense")
        group.attrs["weight_names"] = [b"dense/kernel:0", b"dense/bias:0"]
        group["dense/kernel:0"] = tensors["7.weight"].numpy().T
        group["dense/bias:0"] = tensors["7.bias"].numpy()


def write(kind, path, tensors):
    if kind == "safetensors":
        save_file(tensors, path)
    elif kind == "pth":
        torch.save(tensors, path)
    elif kind == "legacy.pth":
        torch.save(tensors, path, _use_new_zipfile_serialization=False)
    elif kind == "npz":
        np.savez_compressed(path, **{name: tensor.numpy() for name, tensor in tensors.items()})
    else:
        {"h5": as_h5, "onnx": as_onnx}[kind](tensors, path)


def damaged(data, rng):
    """Cut short, bits flipped, a stretch set to one byte, or a stretch copied elsewhere."""
    data = bytearray(data)
    how = rng.randrange(4)
    if how == 0:
        return data[: rng.randrange(len(data))]
    for _ in range(rng.choice((1, 3, 20))):
        place = rng.randrange(min(len(data), rng.choice((64, 2000, len(data)))))
        if how == 1:
            data[place] ^= 1 << rng.randrange(8)
        elif how == 2:
            data[place : place + 8] = bytes([rng.choice((0, 127, 255))]) * 8
        else:
            source = rng.randrange(len(data))
            data[place : place + 16] = data[source : source + 16]
    return data


KINDS = ("safetensors", "pth", "legacy.pth", "npz", "h5", "onnx")


def fuzz(kind, count, folder, capsys):
    rng = random.Random(kind)
    torch.manual_seed(0)
    write(kind, folder / f"whole.{kind}", small_cnn(4).state_dict())
    whole = (folder / f"whole.{kind}").read_bytes()
    path = folder / f"damaged.{kind}"
    for number in range(count):
        path.write_bytes(damaged(whole, rng))
        code = cli.main(["inspect", str(path), "--json"])
        out, err = capsys.readouterr()
        document = json.loads(out)
        assert code == (1 if "error" in document else 0), number
        if code:
            assert document["error"]["kind"] in ("checkpoint", "corrupt"), document
            assert err.startswith("error: ")
            assert err.count("\n") == 1


@pytest.fixture
def small(small_shipped, monkeypatch):
    monkeypatch.setattr(sys.modules[inspect.__module__], "shipped", lambda: small_shipped)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_one_error_or_an_answer(small, tmp_path, capsys, kind):
    fuzz(kind, 8, tmp_path, capsys)


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_many_damaged_files_are_one_error_or_an_answer(small, tmp_path, capsys, kind):
    fuzz(kind, 600, tmp_path, capsys)


@pytest.mark.slow
def test_a_pickle_with_a_payload_is_refused_and_not_run(small, tmp_path, capsys):
    canary = tmp_path / "canary"
    path = tmp_path / "model.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02cos\nsystem\nX" + _text(f"touch {canary}") + b"\x85R.")
    assert cli.main(["inspect", str(path)]) == 1
    assert "nothing of it was run" in capsys.readouterr().err
    assert not canary.exists()


def _text(text):
    return len(text).to_bytes(4, "little") + text.encode()


@pytest.mark.slow
def test_names_that_no_encoding_has_are_printed_all_the_same(small, tmp_path, capsys):
    torch.save({"a\ud800.weight": torch.randn(5, 4), "b.weight": torch.randn(3, 5)}, tmp_path / "names.pth")
    assert cli.main(["inspect", str(tmp_path / "names.pth"), "--json"]) == 0
    out = capsys.readouterr().out
    out.encode("utf-8")
    json.loads(out)
