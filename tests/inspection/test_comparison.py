"""Two files: unrelated, the same in another format or order, two moments of one training, fine-tuned, one start."""

import copy
import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from tests.inspection.conftest import digits, small_cnn
from weightprint import compare_checkpoints
from weightprint.cli.main import main
from weightprint.inspection import comparison
from weightprint.inspection.matching import in_place

OPTIMIZERS = {
    "sgd": lambda weights: torch.optim.SGD(weights, lr=0.05, momentum=0.9),
    "adam": lambda weights: torch.optim.Adam(weights, lr=0.003),
}


def patterns():
    """Other data: ten smooth random patterns in noise."""
    draw = torch.Generator().manual_seed(11)
    smooth = nn.functional.interpolate(torch.randn(10, 1, 4, 4, generator=draw), size=16, mode="bilinear")
    labels = torch.randint(10, (1500,), generator=draw)
    return (smooth[labels] + 0.8 * torch.randn(1500, 1, 16, 16, generator=draw)) / 2, labels


def train(module, optimizer, steps, data, seed):
    images, labels = data
    draw = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        some = torch.randint(len(images), (32,), generator=draw)
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(images[some]), labels[some]).backward()
        optimizer.step()


@pytest.fixture(scope="module", params=["adam", pytest.param("sgd", marks=pytest.mark.slow)])
def family(request, tmp_path_factory):
    """Networks of one kin as files: what became of one start."""
    folder, made = tmp_path_factory.mktemp(request.param), OPTIMIZERS[request.param]
    torch.manual_seed(21)
    start = small_cnn(8)
    found = {}

    def keep(name, module):
        found[name] = folder / f"{name}.pth"
        torch.save(module.state_dict(), found[name])

    module = copy.deepcopy(start)
    optimizer = made(module.parameters())
    train(module, optimizer, 150, digits(), 1)
    keep("early", module)
    train(module, optimizer, 250, digits(), 2)
    keep("late", module)
    child = copy.deepcopy(module)
    torch.manual_seed(5)
    child[-1] = nn.Linear(32, 10)
    train(child, torch.optim.SGD(child.parameters(), lr=0.01), 150, patterns(), 3)
    keep("child", child)
    frozen = copy.deepcopy(module)
    train(frozen, made([*frozen[7].parameters(), *frozen[9].parameters()]), 60, patterns(), 3)
    keep("frozen", frozen)
    five = copy.deepcopy(module)
    five[-1] = nn.Linear(32, 5)
    keep("five", five)
    sibling = copy.deepcopy(start)
    train(sibling, made(sibling.parameters()), 400, patterns(), 4)
    keep("sibling", sibling)
    torch.manual_seed(99)
    stranger = small_cnn(8)
    train(stranger, made(stranger.parameters()), 400, digits(), 1)
    keep("stranger", stranger)
    found["module"] = module
    return found


def permuted(module, seed=0):
    """The same network with all hidden units in another order."""
    rng = np.random.default_rng(seed)
    state = {name: value.clone() for name, value in module.state_dict().items()}
    for here, after in (("0", "3"), ("3", "7"), ("7", "9")):
        units = len(state[f"{here}.weight"])
        order = torch.tensor(rng.permutation(units))
        state[f"{here}.weight"], state[f"{here}.bias"] = state[f"{here}.weight"][order], state[f"{here}.bias"][order]
        reads = state[f"{after}.weight"]
        places = reads.reshape(len(reads), units, -1)[:, order]
        state[f"{after}.weight"] = places.reshape(reads.shape)
    return state


def compared(a, b):
    found = compare_checkpoints(a, b)
    document = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert set(document) >= {"files", "relation", "same_architecture", "same_run", "fine_tuned", "evidence", "layers"}
    assert document["evidence"]
    return found


@pytest.mark.parametrize(
    ("pair", "relation", "answers"),
    [
        (("early", "late"), "close", ("yes", "possible", "possible")),
        (("late", "child"), "fine_tuned", ("yes", "no", "yes")),
        (("late", "frozen"), "fine_tuned", ("yes", "no", "yes")),
        (("late", "five"), "fine_tuned", ("no", "no", "yes")),
        (("late", "sibling"), "same_start", ("yes", "no", "no")),
        (("late", "stranger"), "unrelated", ("yes", "no", "no")),
        (("sibling", "stranger"), "unrelated", ("yes", "no", "no")),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else value,
)
def test_what_two_networks_have_to_do_with_each_other(family, pair, relation, answers):
    for a, b in (pair, pair[::-1]):
        found = compared(family[a], family[b])
        assert found.relation == relation, found.to_json()
        assert tuple(found.answers.values()) == answers


def test_the_same_network_in_another_format_is_equal_whatever_its_layers_are_called(family, tmp_path):
    state = {f"net.part{name}": value.contiguous() for name, value in family["module"].state_dict().items()}
    save_file(state, tmp_path / "same.safetensors")
    np.savez(tmp_path / "same.npz", **{name: value.numpy() for name, value in family["module"].state_dict().items()})
    for other in ("same.safetensors", "same.npz"):
        assert compared(family["late"], tmp_path / other).relation == "equal"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_network_in_another_precision_is_the_same_but_for_rounding(family, tmp_path, dtype):
    state = {name: value.to(dtype) for name, value in family["module"].state_dict().items()}
    save_file(state, tmp_path / "half.safetensors")
    assert compared(family["late"], tmp_path / "half.safetensors").relation == "rounded"


def test_a_copy_with_its_units_in_another_order_is_found(family, tmp_path):
    torch.save(permuted(family["module"]), tmp_path / "permuted.pth")
    found = compared(family["late"], tmp_path / "permuted.pth")
    assert found.relation == "reordered"
    assert all(layer.pairing.matched_distance < 1e-6 for layer in found.layers)
    assert found.layers[1].pairing.moved > 0.5
    assert found.layers[1].pairing.correlation < 0.5


def test_an_earlier_moment_with_its_units_in_another_order_is_related(family, tmp_path):
    torch.save(permuted(family["module"]), tmp_path / "permuted.pth")
    assert compared(family["early"], tmp_path / "permuted.pth").relation == "related"


def test_of_layers_of_other_shapes_nothing_can_be_said(family, tmp_path):
    torch.save(nn.Linear(7, 3).state_dict(), tmp_path / "other.pth")
    found = compare_checkpoints(family["late"], tmp_path / "other.pth")
    assert (found.relation, found.same_architecture) == ("cannot say", False)
    assert found.left_out[1]


def test_weights_that_are_nan_are_left_out(family, tmp_path):
    state = family["module"].state_dict()
    state = {name: value.clone() for name, value in state.items()}
    state["3.weight"][0, 0, 0, 0] = float("nan")
    torch.save(state, tmp_path / "bad.pth")
    found = compared(family["late"], tmp_path / "bad.pth")
    assert found.layers[1].pairing is None
    assert found.relation == "fine_tuned"  # as far as can be seen


def test_large_kernels_are_compared_by_chosen_units_unless_all_are_asked_for(family, monkeypatch, capsys):
    monkeypatch.setattr(comparison, "LARGEST", 100)
    found = compared(family["early"], family["late"])
    assert found.layers[2].sampled
    assert found.layers[2].pairing.matched_correlation is None
    assert found.relation == "close"
    arguments = ["inspect", str(family["early"]), str(family["late"]), "--compare", "--full", "--json"]
    assert main(arguments) == 0
    whole = json.loads(capsys.readouterr().out)["layers"][2]
    assert not whole["sampled"]
    assert whole["matched_correlation"] is not None


def test_units_of_strangers_are_in_their_places_by_chance():
    rng = np.random.default_rng(0)
    ps = [in_place(rng.standard_normal((12, 12)) + 0.5) for _ in range(1000)]
    assert abs(np.mean(np.array(ps) < 0.05) - 0.05) < 0.025
    assert in_place(np.eye(12)) < 1e-6
