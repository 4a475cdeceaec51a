"""PyTorch's files are read as PyTorch reads them, without PyTorch."""

import argparse
import io
import pickle
import subprocess
import sys
import warnings
import zipfile
from collections import OrderedDict
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from weightprint.errors import CheckpointError
from weightprint.formats import open_checkpoint


class Settings:
    """A class of the author's own."""

    def __init__(self):
        self.learning_rate = 0.05


def lenet():
    torch.manual_seed(0)
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(1, 6, 5),
            bn=nn.BatchNorm2d(6),
            flat=nn.Flatten(),
            fc=nn.Linear(3456, 10),
            norm=nn.LayerNorm(10),
        )
    )


def assert_same(path, expected):
    checkpoint = open_checkpoint(path)
    floats = {name: t for name, t in expected.items() if t.is_floating_point()}
    assert [t.source for t in checkpoint.tensors] == list(floats)
    for tensor in checkpoint.tensors:
        wanted = floats[tensor.source].detach().float().numpy()
        assert tensor.shape == wanted.shape
        np.testing.assert_array_equal(tensor.read(), wanted)
    return checkpoint


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_state_dicts_of_every_protocol_and_both_forms(tmp_path, zipped, protocol):
    path = tmp_path / "lenet.pth"
    state_dict = lenet().state_dict()
    torch.save(state_dict, path, _use_new_zipfile_serialization=zipped, pickle_protocol=protocol)
    checkpoint = assert_same(path, state_dict)
    assert checkpoint.format == "pytorch"
    assert checkpoint.flatten_order == "chw"
    roles = {t.name: (t.kind, t.axes) for t in checkpoint.tensors}
    assert roles["conv1.weight"] == ("kernel", "oihw")
    assert roles["fc.weight"] == ("kernel", "oi")
    assert roles["fc.bias"] == ("bias", "o")
    assert roles["bn.weight"] == roles["norm.weight"] == ("gamma", "o")
    assert roles["bn.bias"] == roles["norm.bias"] == ("beta", "o")
    assert roles["bn.running_var"] == ("moving_variance", "o")
    assert [(s.name, s.reason) for s in checkpoint.skipped] == [("bn.num_batches_tracked", "integer (int64)")]


@pytest.mark.parametrize("zipped", [True, False])
def test_number_formats_views_and_expanded_tensors(tmp_path, zipped):
    base = torch.randn(6, 8)
    tensors = {
        "half.weight": base.half(),
        "brain.weight": base.bfloat16(),
        "double.weight": base.double(),
        "turned.weight": base.t(),
        "part.weight": base[2:5, ::2],
        "expanded.weight": torch.ones(1, 4).expand(3, 4),
        "empty.weight": torch.zeros(0, 3),
        "parameter.weight": nn.Parameter(base),
    }
    path = tmp_path / "a.pt"
    torch.save(tensors, path, _use_new_zipfile_serialization=zipped)
    checkpoint = assert_same(path, torch.load(path, weights_only=True))
    assert {t.name: t.dtype for t in checkpoint.tensors}["brain.weight"] == "bfloat16"


@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "float8_e5m2"])
def test_eight_bit_floats(tmp_path, dtype):
    tensors = {"a.weight": torch.randn(4, 4).to(getattr(torch, dtype))}
    torch.save(tensors, tmp_path / "a.pt")
    assert assert_same(tmp_path / "a.pt", tensors).tensors[0].dtype == dtype


def test_tied_weights_are_named_and_counted_once(tmp_path):
    weight = torch.randn(5, 3)
    torch.save({"first.weight": weight, "second.weight": weight}, tmp_path / "a.pt")
    checkpoint = open_checkpoint(tmp_path / "a.pt")
    assert [t.tied_to for t in checkpoint.tensors] == [None, "first.weight"]
    assert checkpoint.parameters == 15


@pytest.mark.parametrize(
    "wrap",
    [
        lambda sd: {"state_dict": sd, "epoch": 3, "hyper_parameters": {"lr": 0.1}},
        lambda sd: {"epoch": 3, "hyper_parameters": {"lr": 0.1}, "model_state_dict": sd},
        lambda sd: {"model": {"state_dict": sd}, "epoch": 3, "hyper_parameters": {"lr": 0.1}},
        lambda sd: {"my_net": sd, "epoch": 3, "hyper_parameters": {"lr": 0.1}},
        lambda sd: {"model": sd, "ema": sd, "epoch": 3, "hyper_parameters": argparse.Namespace(lr=0.1)},
        lambda sd: {"net": [sd], "epoch": np.int64(3), "hyper_parameters": SimpleNamespace(lr=0.1)},
    ],
)
def test_state_dicts_under_the_usual_keys_and_what_lies_beside_them(tmp_path, wrap):
    state_dict = lenet().state_dict()
    torch.save(wrap(state_dict), tmp_path / "a.ckpt")
    checkpoint = open_checkpoint(tmp_path / "a.ckpt")
    assert {t.name for t in checkpoint.tensors} == {n for n, t in state_dict.items() if t.is_floating_point()}
    assert checkpoint.declared["epoch"] == 3
    assert checkpoint.declared["hyper_parameters"] == {"lr": 0.1}


def test_several_networks_keep_their_names_apart(tmp_path):
    torch.save({"encoder": {"fc.weight": torch.ones(2, 3)}, "decoder": {"fc.weight": torch.ones(3, 2)}}, tmp_path / "a")
    assert [t.name for t in open_checkpoint(tmp_path / "a").tensors] == ["encoder.fc.weight", "decoder.fc.weight"]


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_prefixes_of_wrappers_are_taken_off_and_kept_as_the_source(tmp_path, prefix):
    torch.save({f"{prefix}fc.weight": torch.ones(2, 3), "n_averaged": torch.tensor(3)}, tmp_path / "a.pt")
    (tensor,) = open_checkpoint(tmp_path / "a.pt").tensors
    assert (tensor.name, tensor.source) == ("fc.weight", f"{prefix}fc.weight")


def test_a_module_that_is_called_module_keeps_its_name(tmp_path):
    torch.save({"module.weight": torch.ones(2, 3), "head.weight": torch.ones(2, 3)}, tmp_path / "a.pt")
    assert [t.name for t in open_checkpoint(tmp_path / "a.pt").tensors] == ["module.weight", "head.weight"]


@pytest.mark.parametrize(
    ("rule", "make"),
    [
        ("sgd", lambda p: torch.optim.SGD(p, lr=0.25, momentum=0.9)),
        ("adam", lambda p: torch.optim.Adam(p, lr=0.25)),
        ("adamw", lambda p: torch.optim.AdamW(p, lr=0.25)),
        ("rmsprop", lambda p: torch.optim.RMSprop(p, lr=0.25)),
        ("nadam", lambda p: torch.optim.NAdam(p, lr=0.25)),
        ("adagrad", lambda p: torch.optim.Adagrad(p, lr=0.25)),
        ("adadelta", lambda p: torch.optim.Adadelta(p, lr=0.25)),
    ],
)
@pytest.mark.parametrize("listed", [True, False])
def test_an_optimizers_state_is_declared_and_no_weight(tmp_path, rule, make, listed):
    model = nn.Linear(3, 2)
    optimizer = make(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    state = optimizer.state_dict()
    torch.save({"state_dict": model.state_dict(), "optimizer": [state] if listed else state}, tmp_path / "a.ckpt")
    checkpoint = open_checkpoint(tmp_path / "a.ckpt")
    assert [t.name for t in checkpoint.tensors] == ["weight", "bias"]
    assert checkpoint.declared["optimizer"]["rule"] == rule
    assert checkpoint.declared["optimizer"]["lr"] == 0.25
    assert checkpoint.skipped[0].name == "optimizer"
    assert "optimizer state" in checkpoint.skipped[0].reason


def test_an_unknown_object_beside_the_weights_is_not_built_but_looked_at(tmp_path):
    torch.save({"state_dict": {"fc.weight": torch.ones(2, 3)}, "settings": Settings()}, tmp_path / "a.pt")
    checkpoint = open_checkpoint(tmp_path / "a.pt")
    assert checkpoint.declared["settings"] == {"learning_rate": 0.05}
    assert checkpoint.notes == (f"not built, only looked at: {Settings.__module__}.Settings",)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("wrapped", [True, False])
def test_a_pickled_module_is_refused_with_lines_that_convert_it(tmp_path, zipped, wrapped, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = lenet()
    torch.save({"model": module, "epoch": 3} if wrapped else module, "m.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(
        CheckpointError, match=r"m.pt: a pickled module of the class torch.nn.modules.container"
    ) as error:
        open_checkpoint("m.pt")
    lines = [line.strip() for line in error.value.hint.splitlines()[1:]]
    assert len(lines) == 2
    if not wrapped:
        exec("\n".join(lines), {"torch": torch})
        assert len(open_checkpoint("m.pt.state_dict.pt").tensors) == 10


def test_a_pickle_of_numpy_arrays(tmp_path):
    arrays = {"W1": np.arange(6.0).reshape(2, 3).T, "b1": np.zeros(2, np.float32), "W2": np.ones((2, 4))}
    for protocol in range(2, 6):
        (tmp_path / "a.pkl").write_bytes(pickle.dumps(arrays, protocol))
        checkpoint = open_checkpoint(tmp_path / "a.pkl")
        assert checkpoint.format == "pickle"
        for name, values in arrays.items():
            np.testing.assert_array_equal(checkpoint[name].read(), values.astype(np.float32))
        assert [t.axes for t in checkpoint.tensors] == ["io", "o", "io"]


def test_torchscript_tensors_are_those_of_the_state_dict(tmp_path):
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.ConvTranspose2d(4, 2, 3), nn.Flatten(), nn.Linear(128, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of torch.jit as a whole
        torch.jit.save(torch.jit.script(model), tmp_path / "a.pt")
    checkpoint = open_checkpoint(tmp_path / "a.pt")
    assert checkpoint.format == "torchscript"
    for name, tensor in model.state_dict().items():
        np.testing.assert_array_equal(checkpoint[name].read(), tensor.numpy())
    assert checkpoint["2.weight"].axes == "iohw"
    assert checkpoint.graph.wiring is None
    assert [layer.type for layer in checkpoint.graph.layers] == [
        "Conv2d",
        "ReLU",
        "ConvTranspose2d",
        "Flatten",
        "Linear",
    ]


def test_quantised_tensors_are_named_and_skipped(tmp_path):
    quantised = {
        "fc.weight": torch.ones(2, 3),
        "packed.weight": torch.zeros(4, 4, dtype=torch.int8),
    }
    torch.save(quantised, tmp_path / "a.pt")
    (skipped,) = open_checkpoint(tmp_path / "a.pt").skipped
    assert (skipped.name, skipped.reason, skipped.shape) == ("packed.weight", "quantised (int8)", (4, 4))


def test_a_transposed_convolution_is_told_by_its_bias(tmp_path):
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ConvTranspose2d(8, 5, 3), nn.ConvTranspose2d(5, 5, 3))
    torch.save(network.state_dict(), tmp_path / "a.pth")
    checkpoint = open_checkpoint(tmp_path / "a.pth")
    assert [checkpoint[f"{i}.weight"].axes for i in range(3)] == ["oihw", "iohw", "oihw"]
    kernel = network[1].weight.detach().numpy()
    np.testing.assert_array_equal(checkpoint["1.weight"].canonical(), kernel.transpose(1, 0, 2, 3))


@pytest.mark.filterwarnings("ignore:Sparse CSR:UserWarning")
def test_sparse_tensors_are_named_and_skipped(tmp_path):
    sparse = torch.sparse_coo_tensor([[0, 1], [2, 0]], [3.0, 4.0], (2, 3), check_invariants=True)
    torch.save(
        {"a.weight": sparse, "b.weight": torch.eye(4).to_sparse_csr(), "c.weight": torch.ones(4, 3)}, tmp_path / "a.pth"
    )
    checkpoint = open_checkpoint(tmp_path / "a.pth")
    assert [t.name for t in checkpoint.tensors] == ["c.weight"]
    assert {(s.name, s.reason, s.shape) for s in checkpoint.skipped} == {
        ("a.weight", "sparse", (2, 3)),
        ("b.weight", "sparse", (4, 4)),
    }


@pytest.mark.slow
def test_the_weights_of_an_exported_program_are_those_of_the_state_dict(tmp_path):
    network = lenet().eval()
    torch.export.save(torch.export.export(network, (torch.zeros(1, 1, 28, 28),)), tmp_path / "a.pt2")
    torch.save(network.state_dict(), tmp_path / "a.pth")
    found, expected = (open_checkpoint(tmp_path / name) for name in ("a.pt2", "a.pth"))
    assert found.format == "torch_export"
    assert {(t.name, t.kind, t.axes) for t in found.tensors} == {(t.name, t.kind, t.axes) for t in expected.tensors}
    for tensor in expected.tensors:
        np.testing.assert_array_equal(found[tensor.name].read(), tensor.read())


def test_checksums_left_out_are_no_damage_but_wrong_ones_are(tmp_path):
    path = tmp_path / "a.pt"
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"fc.weight": torch.ones(2, 3)}, path)
    finally:
        torch.serialization.set_crc32_options(True)
    assert open_checkpoint(path)["fc.weight"].read().sum() == 6
    torch.save({"fc.weight": torch.ones(2, 3)}, path)
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        start = data.index(np.ones(6, np.float32).tobytes(), archive.getinfo("a/data/0").header_offset)
    data[start] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="checksum"):
        open_checkpoint(path)["fc.weight"].read()


def test_no_torch_is_imported(tmp_path):
    torch.save({"fc.weight": torch.ones(2, 3)}, tmp_path / "a.pt")
    code = (
        "import sys; from weightprint.formats import open_checkpoint;"
        f"print(open_checkpoint({str(tmp_path / 'a.pt')!r})['fc.weight'].read().sum(), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["6.0", "False"]
