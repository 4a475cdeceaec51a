"""Edits keep the function of real networks, or change just what they say."""

import dataclasses

import numpy as np
import pytest
import torch

from weightprint.errors import MetaError
from weightprint.setups import Setup
from weightprint.setups.everyday import EverydaySpace
from weightprint.study.edits import EDITS, add_noise, average_with_last, fold_batch_norm, prune, quantize, to_float16
from weightprint.training.networks import Network, filled, initialize
from weightprint.training.vectors import to_vector
from weightprint.zoo.layout import Layout

SMALL = {"filter_size": 3, "width_conv": 4, "width_fc": 16, "outputs": 10}


def trained(setup: Setup, snapshots: int = 2) -> np.ndarray:
    """Weights [T, P] whose norms are far from their start, as training leaves them."""
    vectors = []
    for t in range(snapshots):
        torch.manual_seed(t)
        network = Network(setup)
        initialize(network, generator=torch.Generator().manual_seed(t))
        with torch.no_grad():
            for name, tensor in (*network.named_parameters(), *network.named_buffers()):
                if name.endswith("running_var"):
                    tensor.uniform_(0, 2)  # some near 0, as those of dead units
                elif "weight" not in name and tensor.is_floating_point():
                    tensor.normal_(0, 0.3)
                elif "norm" in name and tensor.is_floating_point():
                    tensor.uniform_(-1, 2)
        vectors.append(to_vector(network).numpy())
    return np.stack(vectors)


def scores(setup: Setup, vector: np.ndarray) -> torch.Tensor:
    images = torch.rand(16, 3, 32, 32, generator=torch.Generator().manual_seed(7))
    with torch.inference_mode():
        return filled(Network(setup), vector)(images)


KEEPING = [
    (name, activation)
    for name, edit in EDITS.items()
    for activation in ("relu", "elu", "sigmoid", "tanh")
    if edit.keeps and edit.suits({"activation": activation})
]


@pytest.mark.parametrize(("name", "activation"), KEEPING)
@pytest.mark.parametrize("shape", [{}, {"depth_conv": 5, "depth_fc": 3}], ids=["shallow", "deep"])
def test_edits_that_keep_the_function_keep_the_scores_of_the_plain_network(name, activation, shape):
    setup = Setup(activation=activation, **SMALL, **shape)
    weights = trained(setup)
    edited, layout = EDITS[name].change(weights, Layout.of(setup), np.random.default_rng(0))
    folded = dataclasses.replace(setup, batch_norm=layout == Layout.of(setup))
    assert layout == Layout.of(folded)
    assert edited.dtype == np.float32
    for before, after in zip(weights, edited, strict=True):
        expected = scores(setup, before)
        torch.testing.assert_close(scores(folded, after), expected, rtol=2e-4, atol=2e-4 * float(expected.abs().max()))
    if layout == Layout.of(setup):
        assert not np.allclose(edited, weights)


def test_relu_is_rescaled_without_batch_norm_too_and_elu_would_not_keep_its_function():
    plain = Setup(batch_norm=False, **SMALL)
    weights = trained(plain, 1)
    edit = EDITS["ReLU rescaled"]
    edited, _ = edit.change(weights, Layout.of(plain), np.random.default_rng(0))
    torch.testing.assert_close(scores(plain, edited[0]), scores(plain, weights[0]), rtol=1e-4, atol=1e-4)
    elu = dataclasses.replace(plain, activation="elu")
    assert not edit.suits(elu.to_dict())
    assert not torch.allclose(scores(elu, edited[0]), scores(elu, weights[0]), rtol=1e-2, atol=1e-2)


def test_other_networks_are_refused_where_the_place_of_their_norms_is_not_known():
    layout = Layout.of(EverydaySpace().draw(0, 0))
    with pytest.raises(MetaError, match="another's"):
        fold_batch_norm(np.zeros((1, layout.size), np.float32), layout)


@pytest.fixture
def one():
    setup = Setup(**SMALL)
    return trained(setup, 3), Layout.of(setup)


@pytest.mark.parametrize(("bits", "levels"), [(8, 127), (4, 7)])
def test_quantized_kernels_have_few_values_a_unit_and_vectors_are_as_they_were(one, bits, levels):
    weights, layout = one
    edited, _ = quantize(weights, layout, bits=bits)
    for tensor in layout:
        before, after = (w[:, tensor.offset : tensor.stop].reshape(3, tensor.shape[0], -1) for w in (weights, edited))
        if tensor.kind != "kernel":
            assert (before == after).all()
            continue
        step = np.abs(before).max(axis=2, keepdims=True) / levels
        assert (np.abs(after - before) <= step / 2 * 1.001).all()
        assert all(len(np.unique(unit)) <= 2 * levels + 1 for snapshot in after for unit in snapshot)


def test_a_kernel_of_zeros_stays_one(one):
    weights, layout = one
    for edited in (quantize(0 * weights, layout, bits=4)[0], prune(0 * weights, layout, share=0.9)[0]):
        assert (edited == 0).all()


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_pruning_takes_the_smallest_weights_of_every_kernel(one, share):
    weights, layout = one
    edited, _ = prune(weights, layout, share=share)
    for tensor in layout:
        before, after = (w[:, tensor.offset : tensor.stop] for w in (weights, edited))
        if tensor.kind != "kernel":
            assert (before == after).all()
            continue
        gone = after == 0
        assert (gone.sum(axis=1) == round(share * tensor.size)).all()
        assert (after == np.where(gone, 0, before)).all()
        for row, removed in zip(np.abs(before), gone, strict=True):
            assert row[removed].max() <= row[~removed].min()


def test_noise_is_a_hundredth_of_the_kernels_spread_and_spares_moving_statistics(one):
    weights, layout = one
    edited, _ = add_noise(weights, layout, generator=np.random.default_rng(0))
    for tensor in layout:
        change = (edited - weights)[:, tensor.offset : tensor.stop]
        if tensor.kind.startswith("moving"):
            assert (change == 0).all()
        elif tensor.size > 500:
            spread = weights[:, tensor.offset : tensor.stop].std(axis=1)
            assert change.std(axis=1) == pytest.approx(0.01 * spread, rel=0.15)
        else:
            assert (change != 0).any()


def test_averages_are_of_a_snapshot_and_the_one_before(one):
    weights, layout = one
    edited, _ = average_with_last(weights, layout)
    assert (edited[0] == weights[0]).all()
    np.testing.assert_allclose(edited[2], (weights[1] + weights[2]) / 2, rtol=1e-5, atol=1e-7)


def test_half_precision_stays_finite(one):
    weights, layout = one
    edited, _ = to_float16(weights * np.float32(1e7), layout)
    assert np.isfinite(edited).all()
    assert np.abs(edited).max() == 65504
