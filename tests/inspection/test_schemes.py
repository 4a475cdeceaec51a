"""Schemes told from kernels that PyTorch's and Keras's own initialisers drew."""

import os

import numpy as np
import pytest
import torch
from torch import nn

from weightprint.inspection.schemes import fitting
from weightprint.zoo.layout import KERNEL_AXES, Tensor

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras's own
SHAPES = [(120, 500), (64, 24, 5, 5), (64, 900)]
"""In none of them do two schemes have nearly the same scale."""


def told(values, **fields):
    values = np.ascontiguousarray(values, dtype=np.float32)
    tensor = Tensor("a/kernel", "kernel", "fc", values.shape, 0, "a", KERNEL_AXES[values.ndim - 2], **fields)
    return fitting(tensor, values)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("scheme", "draw"),
    [
        ("glorot_uniform", nn.init.xavier_uniform_),
        ("glorot_normal", nn.init.xavier_normal_),
        ("he_normal", lambda w: nn.init.kaiming_normal_(w, nonlinearity="relu")),
        ("he_normal", lambda w: nn.init.kaiming_normal_(w, mode="fan_out", nonlinearity="relu")),
        ("he_uniform", lambda w: nn.init.kaiming_uniform_(w, nonlinearity="relu")),
        ("orthogonal", nn.init.orthogonal_),
        ("random_normal", lambda w: nn.init.normal_(w, std=0.02)),
        ("constant", lambda w: nn.init.constant_(w, 0.1)),
    ],
)
def test_what_pytorch_draws_is_named(scheme, draw, shape):
    schemes = told(draw(torch.empty(shape)).numpy())
    assert next(iter(schemes)) == scheme
    assert "torch_default" not in schemes


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("scheme", "name"),
    [
        ("glorot_uniform", "GlorotUniform"),
        ("glorot_normal", "GlorotNormal"),
        ("he_normal", "HeNormal"),
        ("he_uniform", "HeUniform"),
        ("lecun_normal", "LecunNormal"),
        ("orthogonal", "Orthogonal"),
        ("random_normal", "RandomNormal"),
        ("random_uniform", "RandomUniform"),
    ],
)
def test_what_keras_draws_is_named(scheme, name, shape):
    os.environ.setdefault("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras")
    turned = (*shape[2:], shape[1], shape[0])
    drawn = keras.ops.convert_to_numpy(getattr(keras.initializers, name)(seed=1)(turned))
    schemes = told(np.moveaxis(drawn, (-1, -2), (0, 1)))
    assert next(iter(schemes)) == scheme


@pytest.mark.parametrize(
    ("module", "name", "fields"),
    [
        (lambda: nn.Linear(784, 128), "weight", {}),
        (lambda: nn.Conv2d(16, 32, 5), "weight", {}),
        (lambda: nn.Conv2d(64, 64, 5, groups=64), "weight", {"groups": 64}),
        (lambda: nn.Conv1d(8, 32, 9), "weight", {}),
        (lambda: nn.LSTM(40, 64), "weight_ih_l0", {"role": "recurrent"}),
        (lambda: nn.GRU(40, 64), "weight_hh_l0", {"role": "recurrent"}),
    ],
)
def test_pytorchs_default_is_named_in_every_kind_of_layer(module, name, fields):
    assert "torch_default" in told(dict(module().named_parameters())[name].detach().numpy(), **fields)


@pytest.mark.parametrize("steps", [1, 200])
def test_a_trained_kernel_fits_nothing(steps):
    layer = nn.Linear(400, 120)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.05)
    images, labels = torch.rand(64, 400), torch.randint(0, 120, (64,))
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(layer(images), labels).backward()
        optimizer.step()
    assert told(layer.weight.detach().numpy()) == {}


def test_true_schemes_are_ruled_out_no_more_often_than_their_p_says():
    ruled_out = 0
    for seed in range(300):
        values = np.random.default_rng(seed).uniform(-0.05, 0.05, size=(20, 400))
        ruled_out += "torch_default" not in told(values)
    assert ruled_out <= 1


@pytest.mark.parametrize("damage", ["rows", "columns", "means", "smooth", "low rank"])
def test_values_of_the_right_scale_that_are_not_independent_fit_nothing(damage):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(32, 8, 5, 5))
    if damage == "rows":
        values *= np.linspace(0.7, 1.3, 32)[:, None, None, None]
    elif damage == "columns":
        values *= np.linspace(0.7, 1.3, 25).reshape(5, 5)
    elif damage == "means":
        values += 0.25 * rng.normal(size=(32, 1, 1, 1))
    elif damage == "smooth":
        values += 0.5 * np.roll(values, 1, axis=3)
    else:
        values += 0.5 * rng.normal(size=(32, 1, 1, 1)) * rng.normal(size=(1, 8, 5, 5))
    values *= np.sqrt(2 / 200 / np.square(values).mean())
    assert told(values) == {}


def test_scales_that_no_scheme_has_fit_nothing():
    rng = np.random.default_rng(0)
    assert told(rng.uniform(-0.06, 0.06, size=(100, 400))) == {}
    assert told(rng.standard_t(4, size=(100, 400)) * 0.05) == {}
    assert told(np.full((3, 3), np.nan)) == {}
    assert told(np.full((3, 3), np.inf)) == {}
