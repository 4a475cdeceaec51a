import json

import numpy as np
import pytest
import torch

from tests.formats import architectures
from weightprint.formats import open_checkpoint
from weightprint.formats.layout import layout_of, tensor_reader
from weightprint.inspection.facts import facts
from weightprint.zoo.layout import Layout


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def of_state(folder, state):
    torch.save(state, folder / "model.pt")
    checkpoint = open_checkpoint(folder / "model.pt")
    layout = layout_of(checkpoint.tensors)
    dtypes = {tensor.name: tensor.dtype for tensor in checkpoint.tensors}
    found = facts(layout, tensor_reader(checkpoint.tensors), dtypes=dtypes)
    json.dumps(found, allow_nan=False)
    return found


def test_a_fresh_lenet_is_at_initialisation_by_pytorchs_default(tmp_path):
    found = of_state(tmp_path, architectures.LeNet().state_dict())
    assert found["initialization"]["state"] == "at initialisation"
    assert found["initialization"]["scheme"] == "torch_default"
    assert found["initialization"]["untrained"] == ["conv1", "conv2", "fc1", "fc2", "fc3"]
    assert {layer["bias"] for layer in found["initialization"]["layers"].values()} == {"torch_default"}
    assert found["weights"] == 61_706
    assert found["dtypes"] == {"float32": 61_706}
    for key in ("not_finite", "all_zero", "constant", "duplicates", "tied", "dead_units", "norms", "grids", "sparse"):
        assert not found[key], key


def test_a_fresh_residual_network_names_the_scheme_of_its_convolutions(tmp_path):
    module = architectures.ResNet18(width=16)
    for part in module.modules():
        if isinstance(part, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
    found = of_state(tmp_path, module.state_dict())["initialization"]
    assert (found["state"], found["scheme"]) == ("at initialisation", "he_normal")
    assert found["layers"]["fc"]["scheme"] == "torch_default"
    assert found["layers"]["layer4.1.conv2"]["p"] > 1e-4


def test_layers_that_were_left_as_they_were_drawn_are_found_in_a_trained_network(tmp_path):
    module = architectures.LeNet()
    state = module.state_dict()
    for name in ("conv1", "conv2", "fc2", "fc3"):
        state[f"{name}.weight"] *= 1.3
    found = of_state(tmp_path, state)["initialization"]
    assert (found["state"], found["scheme"], found["untrained"]) == ("partly", "torch_default", ["fc1"])
    state["fc1.weight"] += 0.01 * torch.randn(120, 400)
    assert of_state(tmp_path, state)["initialization"]["state"] == "trained"


def test_a_network_whose_norms_have_seen_data_is_not_at_initialisation(tmp_path):
    module = architectures.ResNet18()
    state = module.state_dict()
    state["bn1.running_mean"] += 0.1
    found = of_state(tmp_path, state)
    assert found["initialization"]["state"] == "partly"
    assert not found["norms"]["conv1"]["untouched"]
    assert found["norms"]["conv1"]["moving_mean"] == pytest.approx([0.1] * 3)
    assert found["norms"]["layer1.0.conv1"]["untouched"]


def test_odd_tensors_are_named(tmp_path):
    state = architectures.VGG().state_dict()
    state["features.0.weight"][0, 0, 0, 0] = float("nan")
    state["features.0.weight"][1, 0, 0, :2] = float("inf")
    state["features.3.weight"].zero_()
    state["features.7.weight"].fill_(0.5)
    state["classifier.0.weight"][:, :48] = 0
    state["classifier.0.weight"][5] = 0
    state["classifier.3.weight"][:, 9] = 0
    state["features.15.weight"][3] = 0
    state["features.15.running_var"][2] = 0
    found = of_state(tmp_path, state)
    assert found["not_finite"] == {"features.0/kernel": {"nan": 1, "infinite": 2}}
    assert found["all_zero"] == ["features.3/kernel"]
    assert found["constant"] == ["features.7/kernel"]
    assert found["sparse"]["classifier.0/kernel"] == pytest.approx((64 * 48 + 48) / (64 * 96))
    assert found["dead_units"]["classifier.0"] == {"incoming": 1, "outgoing": 1}
    assert found["dead_units"]["features.18"]["outgoing"] == 12  # the other half of the flattened map
    assert found["norms"]["features.14"]["switched_off"] == 1
    assert found["norms"]["features.14"]["no_variance"] == 1


def test_equal_and_tied_tensors_are_told_apart(tmp_path):
    state = architectures.TiedLanguageModel().state_dict()
    found = of_state(tmp_path, state)
    assert found["tied"] == [["wte.weight", "lm_head/kernel"]]
    assert found["weights"] == sum(value.numel() for name, value in state.items() if name != "lm_head.weight")
    state = architectures.ResNet18().state_dict()
    state["layer1.1.conv2.weight"] = state["layer1.0.conv1.weight"].clone()
    found = of_state(tmp_path, state)
    assert found["duplicates"] == [["layer1.0.conv1/kernel", "layer1.1.conv2/kernel"]]
    assert not found["tied"]


def test_a_network_that_was_half_precision_once_says_so_and_one_that_is_does_not(tmp_path):
    state = architectures.LeNet().state_dict()
    halved = {name: value.half() for name, value in state.items()}
    found = of_state(tmp_path, {name: value.float() for name, value in halved.items()})
    assert found["grids"]["fc1/kernel"] == "float16"
    found = of_state(tmp_path, halved)
    assert found["dtypes"] == {"float16": 61_706}
    assert not found["grids"]
    assert found["initialization"]["scheme"] == "torch_default"


def test_a_network_of_nothing_has_facts():
    found = facts(Layout([]), lambda tensor: np.zeros((1, *tensor.shape), np.float32))
    assert found["weights"] == 0
    assert found["initialization"]["state"] == "unknown"
