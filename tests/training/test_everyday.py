import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from weightprint import EverydaySpace, ImageSet, Layout, load_images, train, train_everyday
from weightprint.errors import DataError, SetupError, ZooError
from weightprint.images import prepare
from weightprint.setups.everyday.layers import layers, multiply_adds, weight_count
from weightprint.training.everyday.loop import learning_rate, snapshot_steps
from weightprint.training.everyday.networks import EverydayNetwork, from_vector, initialize
from weightprint.training.loop import Streams
from weightprint.training.vectors import load_vector, to_vector

SPACE = EverydaySpace(datasets=("digits", "photo_patches"), steps=(20, 30))


@pytest.fixture(scope="module")
def drawn():
    return [SPACE.draw(1, run) for run in range(300)]


def with_(drawn, **fields):
    return next(s for s in drawn if all(getattr(s, name) == value for name, value in fields.items()))


def one_of_each(drawn):
    """Every family with every kind of normalisation that it came with."""
    return list({(s.architecture, s.norm, s.biases): s for s in drawn}.values())


def network(setup, seed=0):
    made = from_vector(setup, np.zeros(weight_count(setup), dtype=np.float32))
    initialize(made, generator=torch.Generator().manual_seed(seed))
    return made


def pixels(setup, count=4):
    side, channels = {"28x28x1": (28, 1), "32x32x3": (32, 3)}[setup.image_form]
    return torch.rand(count, channels, side, side, generator=torch.Generator().manual_seed(1))


def test_multiply_adds_are_those_that_torch_counts(drawn):
    for setup in one_of_each(drawn):
        with FlopCounterMode(display=False) as counter:
            network(setup)(pixels(setup, 1))
        assert counter.get_total_flops() == 2 * multiply_adds(setup), setup


def test_the_layout_is_the_modules_state(drawn):
    for setup in one_of_each(drawn):
        state = {k: v for k, v in network(setup).state_dict().items() if "num_batches" not in k}
        layout = Layout.of(setup)
        assert {t.source: t.shape for t in layout} == {name: tuple(value.shape) for name, value in state.items()}
        assert layout.size == weight_count(setup)
        assert [t.name for t in layout][-1].startswith("output/")
        for layer in layers(setup):
            kernel = layout[f"{layer.name}/kernel"]
            assert kernel.reads == layer.reads
            assert (kernel.flatten is None) == (layer.flattened is None)


def test_a_vector_fills_a_module_and_comes_back(drawn):
    setup = with_(drawn, norm="batch")
    vector = np.random.default_rng(0).random(weight_count(setup), dtype=np.float32)
    made = from_vector(setup, vector)
    assert np.array_equal(to_vector(made).numpy(), vector)
    kernel = Layout.of(setup)["output/kernel"]
    assert np.array_equal(made.output.weight.detach().numpy().ravel(), vector[kernel.offset : kernel.stop])
    with pytest.raises(ZooError, match="entries, not shape"):
        load_vector(made, vector[:-1])


def test_hwc_and_chw_are_one_network_with_its_inputs_in_another_order(drawn):
    setup = with_(drawn, architecture="lenet", norm="none", image_form="32x32x3")
    chw, hwc = (network(dataclasses.replace(setup, flatten=order)) for order in ("chw", "hwc"))
    first = (*hwc.fc, hwc.output)[0]
    channels, side, _ = next(layer.flattened for layer in layers(setup) if layer.flattened)
    kernel = first.weight.data.view(-1, channels, side, side)
    first.weight.data = kernel.permute(0, 2, 3, 1).reshape(first.weight.shape)
    torch.testing.assert_close(chw(pixels(setup)), hwc(pixels(setup)))


def test_a_residual_network_is_the_usual_one_with_strided_shortcuts(drawn):
    setup = with_(drawn, architecture="residual", norm="batch", activation="relu")
    made = network(setup)
    x, expected = pixels(setup), None
    convs = iter(zip(made.conv, made.conv_norm, layers(setup), strict=False))

    def apply(value):
        conv, norm, layer = next(convs)
        strided = torch.nn.functional.conv2d(value, conv.weight, conv.bias, layer.stride, layer.padding)
        assert strided.shape[-1] == layer.side
        return norm(strided)

    expected = apply(x).relu()
    for stage, widths in enumerate(setup.stages):
        for block, width in enumerate(widths):
            changed = apply(apply(expected).relu())
            shortcut = apply(expected) if (stage and not block) or expected.shape[1] != width else expected
            expected = (changed + shortcut).relu()
    torch.testing.assert_close(made(x), made.output(expected.mean((2, 3))))


@pytest.mark.parametrize(
    ("scheme", "variance"),
    [
        ("torch_default", lambda i, o: 1 / (3 * i)),
        ("glorot_uniform", lambda i, o: 2 / (i + o)),
        ("glorot_normal", lambda i, o: 2 / (i + o)),
        ("he_uniform", lambda i, o: 2 / i),
        ("he_normal", lambda i, o: 2 / i),
    ],
)
@pytest.mark.parametrize("truncated", [False, True])
def test_kernels_have_the_variance_of_their_scheme(drawn, scheme, variance, truncated):
    setup = dataclasses.replace(
        with_(drawn, architecture="mlp", image_form="28x28x1"),
        units=(256, 256),
        initialization=scheme,
        truncated=truncated,
    )
    kernel = network(setup).fc[1].weight
    assert float(kernel.detach().var()) == pytest.approx(variance(256, 256), rel=0.03)
    if "normal" in scheme:
        sigmas = float(kernel.detach().abs().max() / kernel.detach().std())
        assert (sigmas < 2.4) == truncated


def test_biases_start_as_the_setup_says_and_orthogonal_kernels_are(drawn):
    setup = dataclasses.replace(with_(drawn, architecture="mlp", biases="all"), initialization="orthogonal")
    zeros = network(dataclasses.replace(setup, bias_initialization="zeros"))
    drawn_biases = network(dataclasses.replace(setup, bias_initialization="torch_default"))
    assert not zeros.output.bias.any()
    assert 0 < float(drawn_biases.output.bias.detach().abs().max()) <= 1 / math.sqrt(zeros.output.weight.shape[1])
    kernel = zeros.output.weight.detach()
    torch.testing.assert_close(kernel @ kernel.T, torch.eye(10), atol=1e-5, rtol=0)


@given(st.integers(50, 30_000), st.integers(1, 51))
def test_snapshots_begin_at_the_start_and_end_at_the_end(steps, snapshots):
    kept = snapshot_steps(steps, snapshots)
    assert len(kept) == snapshots
    assert kept[-1] == steps
    assert all(a < b for a, b in itertools.pairwise(kept))
    assert snapshots == 1 or kept[0] == 0


def test_snapshots_lie_at_halves_of_halves():
    assert snapshot_steps(3200, 8) == [0, 50, 100, 200, 400, 800, 1600, 3200]


def test_learning_rates_follow_their_schedule(drawn):
    rates = {}
    for schedule in ("constant", "step", "cosine"):
        setup = dataclasses.replace(drawn[0], learning_rate=1.0, schedule=schedule, steps=100)
        rates[schedule] = [learning_rate(setup, step) for step in (0, 49, 50, 75, 99)]
    assert rates["constant"] == [1.0] * 5
    assert rates["step"] == [1.0, 1.0, 0.1, 0.01, 0.01]
    assert rates["cosine"] == pytest.approx([1.0, 0.5157, 0.5, 0.1464, 0.0002], abs=1e-4)


@pytest.fixture(scope="module")
def images():
    return {
        (name, form): prepare(load_images(name, form=form), train_size=None, test_size=100, seed=0)
        for name in ("digits", "photo_patches")
        for form in ("28x28x1", "32x32x3")
    }


def test_a_run_depends_on_its_seed_and_number_alone(drawn, images):
    setup = dataclasses.replace(with_(drawn, augmentation="crops", architecture="lenet"), dropout=0.5)
    part = images[setup.dataset, setup.image_form]
    torch.manual_seed(1)
    one = train_everyday(setup, part, seed=3, run=5, snapshots=4)
    torch.manual_seed(2)
    two = train_everyday(setup, part, seed=3, run=5, snapshots=4)
    other = train_everyday(setup, part, seed=3, run=6, snapshots=4)
    assert np.array_equal(one.weights, two.weights)
    assert not np.array_equal(one.weights, other.weights)
    assert one.weights.shape == (4, weight_count(setup))
    assert one.training_samples == setup.steps * setup.batch_size


def test_a_plain_loop_of_torch_trains_the_same_network(drawn, images):
    """The loop in twelve lines of torch, with its optimizer and its modules."""
    setup = dataclasses.replace(
        with_(drawn, architecture="plain_cnn", norm="none", augmentation="none", image_form="28x28x1"),
        scaling="symmetric", optimizer="adamw", learning_rate=1e-3, weight_decay=0.01, schedule="constant",
        dropout=0.0, dropout_conv=0.0, label_smoothing=0.0, batch_size=32, steps=20,
    )  # fmt: skip
    part = images[setup.dataset, setup.image_form]
    run = train_everyday(setup, part, snapshots=2)
    made = from_vector(setup, run.weights[0]).train()
    optimizer = torch.optim.AdamW(made.parameters(), lr=1e-3, weight_decay=0.01)
    order = Streams(0, 0, "cpu").order.permutation(len(part.y_train))
    for start in range(0, 20 * 32, 32):
        chosen = order[start : start + 32]
        x = torch.from_numpy(part.x_train[chosen]).permute(0, 3, 1, 2) / 127.5 - 1
        loss = torch.nn.functional.cross_entropy(made(x), torch.from_numpy(part.y_train[chosen]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    np.testing.assert_allclose(run.weights[-1], to_vector(made).numpy(), atol=2e-4)


def test_a_run_whose_loss_is_no_number_has_diverged(drawn, images):
    setup = dataclasses.replace(
        with_(drawn, architecture="mlp", norm="none"), optimizer="sgd", learning_rate=1e20, activation="relu"
    )
    run = train_everyday(setup, images[setup.dataset, setup.image_form], snapshots=8)
    assert run.status == "diverged"
    assert "not finite after" in run.reason
    assert 1 <= len(run.weights) < 8
    assert np.isfinite(run.weights).all()


def test_images_of_another_form_and_setups_of_another_space_are_refused(drawn):
    setup = with_(drawn, image_form="28x28x1", dataset="digits")
    with pytest.raises(DataError, match=r"expected \[28, 28, 1\] \(load them with form='28x28x1'"):
        train_everyday(setup, load_images("digits"))
    with pytest.raises(SetupError, match="train_everyday trains it"):
        train(setup, load_images("digits"))


def test_inputs_are_scaled_as_the_setup_says(drawn):
    white = torch.full((1, 32, 32, 3), 255, dtype=torch.uint8)
    setup = dataclasses.replace(drawn[0], image_form="32x32x3", dataset="cifar10")
    scaled = {
        scaling: EverydayNetwork(dataclasses.replace(setup, scaling=scaling)).inputs(white)[0, :, 0, 0].tolist()
        for scaling in ("unit", "symmetric", "standardized")
    }
    assert scaled["unit"] == [1, 1, 1]
    assert scaled["symmetric"] == [1, 1, 1]
    assert scaled["standardized"] == pytest.approx(
        [(1 - 0.4914) / 0.2470, (1 - 0.4822) / 0.2435, (1 - 0.4465) / 0.2616]
    )


def test_grey_images_of_28_pixels_are_the_files_own_and_the_luma_of_colours():
    labels = np.repeat(np.arange(10), 2)
    grey = np.random.default_rng(0).integers(0, 256, (20, 28, 28), dtype=np.uint8)
    kept = ImageSet.from_arrays("mine", grey, labels, grey, labels, form="28x28x1")
    assert np.array_equal(kept.x_train[..., 0], grey)
    red = np.zeros((20, 28, 28, 3), dtype=np.uint8)
    red[..., 0] = 255
    assert set(np.unique(ImageSet.from_arrays("red", red, labels, red, labels, form="28x28x1").x_test)) == {76}
