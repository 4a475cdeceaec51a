import numpy as np
import pytest
import torch

from weightprint.setups import OPTIMIZERS
from weightprint.setups.everyday import OPTIMIZER_FAMILIES
from weightprint.training.optimizers import RULES, FlatParameters

STEPS, RATE = 7, 0.01


def problem(seed=0):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(50, dtype=torch.float64, generator=generator)
    gradients = torch.randn(STEPS, 50, dtype=torch.float64, generator=generator)
    return values, gradients


def ours(name, weight_decay=0.0):
    values, gradients = problem()
    buffer = torch.zeros_like(values)
    rule = RULES[name](values, buffer, weight_decay=weight_decay)
    for gradient in gradients:
        buffer.copy_(gradient)
        rule.step(RATE)
    return values.numpy()


def tf1(name):
    """The update rules of TensorFlow 1's training ops, in numpy, from their documented formulas."""
    values, gradients = (t.numpy() for t in problem())
    m, v, s, a = np.zeros(50), np.zeros(50), np.ones(50), np.zeros(50)
    for t, g in enumerate(gradients, start=1):
        if name == "adam":
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
            values = values - RATE * np.sqrt(1 - 0.999**t) / (1 - 0.9**t) * m / (np.sqrt(v) + 1e-8)
        elif name == "rmsprop":
            s = 0.9 * s + 0.1 * g**2
            values = values - RATE * g / np.sqrt(s + 1e-10)
        else:
            a = 0.95 * a + g
            values = values - RATE * a
    return values


@pytest.mark.parametrize("name", ["adam", "rmsprop", "momentum"])
def test_the_papers_rules_are_those_of_tensorflow_1(name):
    np.testing.assert_allclose(ours(name), tf1(name), rtol=1e-12, atol=1e-14)


TORCH_RULES = {
    "sgd": lambda p, wd: torch.optim.SGD(p, lr=RATE, weight_decay=wd),
    "momentum": lambda p, wd: torch.optim.SGD(p, lr=RATE, momentum=0.95, weight_decay=wd),
    "nesterov": lambda p, wd: torch.optim.SGD(p, lr=RATE, momentum=0.95, nesterov=True, weight_decay=wd),
    "adamw": lambda p, wd: torch.optim.AdamW(p, lr=RATE, weight_decay=wd),
    "rmsprop_torch": lambda p, wd: torch.optim.RMSprop(p, lr=RATE, weight_decay=wd),
    "nadam": lambda p, wd: torch.optim.NAdam(p, lr=RATE, weight_decay=wd),
    "adagrad": lambda p, wd: torch.optim.Adagrad(p, lr=RATE, weight_decay=wd),
    "adadelta": lambda p, wd: torch.optim.Adadelta(p, lr=RATE, weight_decay=wd),
}


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("name", TORCH_RULES)
def test_todays_rules_are_those_of_torch(name, weight_decay):
    values, gradients = problem()
    parameter = torch.nn.Parameter(values)
    rule = TORCH_RULES[name]([parameter], weight_decay)
    for gradient in gradients:
        parameter.grad = gradient.clone()
        rule.step()
    exact = 1e-9 if name == "nadam" else 1e-14  # torch keeps the product of its momenta in float32
    np.testing.assert_allclose(ours(name, weight_decay), parameter.detach().numpy(), rtol=1e-12, atol=exact)


@pytest.mark.parametrize(("name", "nesterov"), [("momentum", False), ("nesterov", True)])
def test_the_momentum_can_be_another_one(name, nesterov):
    values, gradients = problem()
    buffer, parameter = torch.zeros_like(values), torch.nn.Parameter(values.clone())
    rule = RULES[name](values, buffer, momentum=0.6)
    torchs = torch.optim.SGD([parameter], lr=RATE, momentum=0.6, nesterov=nesterov)
    for gradient in gradients:
        buffer.copy_(gradient)
        parameter.grad = gradient.clone()
        rule.step(RATE)
        torchs.step()
    np.testing.assert_allclose(values.numpy(), parameter.detach().numpy(), rtol=1e-12, atol=1e-14)


def test_rmsprop_keras_is_the_rule_of_keras_3():
    """In numpy, from the formulas in its documentation: the mean square starts at 0, epsilon is under the root."""
    values, gradients = (t.numpy() for t in problem())
    square = np.zeros(50)
    for gradient in gradients:
        square = 0.9 * square + 0.1 * gradient**2
        values = values - RATE * gradient / np.sqrt(square + 1e-7)
    np.testing.assert_allclose(ours("rmsprop_keras"), values, rtol=1e-12, atol=1e-14)


def test_every_optimizer_of_a_setup_has_a_rule():
    assert set(RULES) == {*OPTIMIZERS, *OPTIMIZER_FAMILIES, "rmsprop_keras"}


def test_rounding_noise_does_not_carry_biases_away_under_tf1s_rmsprop():
    """Biases before batch norm see pure rounding: from a mean square of 1 they stay, from 0 they wander."""
    noise = torch.randn(300, 50, generator=torch.Generator().manual_seed(0)) * 1e-7
    moved = {}
    for name in ("rmsprop", "rmsprop_torch"):
        values, buffer = torch.zeros(50), torch.zeros(50)
        rule = RULES[name](values, buffer)
        for gradient in noise:
            buffer.copy_(gradient)
            rule.step(0.001)
        moved[name] = values.abs().mean().item()
    assert moved["rmsprop"] < 1e-4
    assert moved["rmsprop_torch"] > 10 * moved["rmsprop"]


def test_flat_parameters_are_the_parameters_of_the_module():
    layer = torch.nn.Linear(3, 2)
    before = layer.weight.detach().clone()
    flat = FlatParameters(layer.parameters())
    assert torch.equal(layer.weight, before)
    flat.backward(layer(torch.ones(1, 3)).sum())
    assert flat.gradients.tolist() == [1.0] * 8
    flat.values.zero_()
    assert layer.weight.abs().sum() == 0
