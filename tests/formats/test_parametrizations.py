"""Weights held in parts, as PyTorch's normalizations and pruning leave them, are read as one."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from weightprint.formats import open_checkpoint

OLD, NEW = "of torch.nn.utils", "of parametrize"


def trained(module):
    """A module whose parts no longer are as its normalization made them."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return module.eval()


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("form", [OLD, NEW])
@pytest.mark.parametrize("dim", [0, 1, None])
def test_weight_normalization_is_read_as_the_network_uses_it(tmp_path, form, dim):
    torch.manual_seed(0)
    normalized = nn.utils.weight_norm if form is OLD else parametrizations.weight_norm
    network = nn.Sequential(trained(normalized(nn.Conv2d(3, 8, 3), dim=dim)), nn.Flatten(), nn.Linear(8, 5))
    torch.save(network.state_dict(), tmp_path / "a.pth")
    network(torch.zeros(1, 3, 3, 3))  # the old form computes its weight when called
    checkpoint = open_checkpoint(tmp_path / "a.pth")
    assert {(t.name, t.kind) for t in checkpoint.tensors if t.name[0] == "0"} == {
        ("0.weight", "kernel"),
        ("0.bias", "bias"),
    }
    np.testing.assert_allclose(checkpoint["0.weight"].read(), network[0].weight.detach().numpy(), rtol=1e-5)
    assert checkpoint["0.weight"].source in network.state_dict()
    assert not checkpoint.skipped
    assert checkpoint.notes == ("held as length and direction, or with a mask, and put together: 0.weight",)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("form", [OLD, NEW])
def test_of_spectral_normalization_the_kernel_is_read_that_was_drawn_and_trained(tmp_path, form):
    normalized = nn.utils.spectral_norm if form is OLD else parametrizations.spectral_norm
    network = nn.Sequential(normalized(nn.Linear(40, 30)), nn.ReLU(), nn.Linear(30, 5))
    torch.save(network.state_dict(), tmp_path / "a.pth")
    checkpoint = open_checkpoint(tmp_path / "a.pth")
    stored = network[0].weight_orig if form is OLD else network[0].parametrizations.weight.original
    np.testing.assert_array_equal(checkpoint["0.weight"].read(), stored.detach().numpy())
    assert [(t.name, t.kind) for t in checkpoint.tensors if t.kind not in ("kernel", "bias")] == []
    assert {s.reason for s in checkpoint.skipped} == {"of the parametrization of 0.weight"}


def test_pruned_weights_are_zero_where_the_mask_is(tmp_path):
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(16, 5))
    for module in (network[0], network[2]):
        prune.l1_unstructured(module, "weight", amount=0.5)
    torch.save(network.state_dict(), tmp_path / "a.pth")
    checkpoint = open_checkpoint(tmp_path / "a.pth")
    for name in ("0", "2"):
        module = network.get_submodule(name)
        np.testing.assert_array_equal(checkpoint[f"{name}.weight"].read(), module.weight.detach().numpy())
        assert (checkpoint[f"{name}.weight"].read() == 0).mean() == 0.5


def test_an_unknown_parametrization_leaves_the_stored_kernel(tmp_path):
    network = nn.Sequential(parametrizations.orthogonal(nn.Linear(12, 12)), nn.Linear(12, 5))
    torch.save(network.state_dict(), tmp_path / "a.pth")
    checkpoint = open_checkpoint(tmp_path / "a.pth")
    stored = network[0].parametrizations.weight.original
    np.testing.assert_array_equal(checkpoint["0.weight"].read(), stored.detach().numpy())
    assert {t.name for t in checkpoint.tensors} == {"0.weight", "0.bias", "1.weight", "1.bias"}


def test_names_that_only_look_like_parts_stay(tmp_path):
    tensors = {
        "attention.bias_k": torch.ones(1, 1, 4),
        "attention.bias_v": torch.ones(1, 1, 4),
        "fc.weight": torch.ones(3, 4),
        "fc.weight_mask": torch.ones(3, 4),
        "gate_g": torch.ones(2, 2),
        "gate_v": torch.ones(3, 4),
    }
    torch.save(tensors, tmp_path / "a.pth")
    checkpoint = open_checkpoint(tmp_path / "a.pth")
    assert {t.name for t in checkpoint.tensors} == set(tensors)
    assert not checkpoint.skipped


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize(
    "normalized",
    [
        parametrizations.weight_norm,
        parametrizations.spectral_norm,
        nn.utils.weight_norm,
        nn.utils.spectral_norm,
    ],
)
def test_a_torchscript_archive_is_put_together_as_its_state_dict_is(tmp_path, normalized):
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3), nn.ReLU(), nn.ConvTranspose2d(8, 8, 2), nn.Flatten(), nn.Linear(8 * 9, 5, bias=False)]
    network = nn.Sequential(*(normalized(m) if hasattr(m, "weight") else m for m in layers)).eval()
    torch.save(network.state_dict(), tmp_path / "a.pth")
    torch.jit.save(torch.jit.trace(network, torch.zeros(1, 3, 4, 4)), tmp_path / "a.pt")
    plain, scripted = open_checkpoint(tmp_path / "a.pth"), open_checkpoint(tmp_path / "a.pt")
    assert sorted((t.name, t.kind) for t in scripted.tensors) == sorted((t.name, t.kind) for t in plain.tensors)
    assert {s.name for s in scripted.skipped} == {s.name for s in plain.skipped}
    for tensor in plain.tensors:
        np.testing.assert_array_equal(scripted[tensor.name].read(), tensor.read())
    told = {layer.name: (layer.type, set(layer.tensors)) for layer in scripted.graph.layers}
    assert told["0"] == ("Conv2d", {"0.weight", "0.bias"})
    assert told["2"] == ("ConvTranspose2d", {"2.weight", "2.bias"})
    assert told["4"] == ("Linear", {"4.weight"})
    assert len(told) == len(layers)
