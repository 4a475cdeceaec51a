import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.formats.architectures import LeNet
from weightprint.errors import MetaError
from weightprint.features.anatomy import anatomy, layer_anatomy
from weightprint.features.layers import layers_of
from weightprint.features.permutation import permute_units
from weightprint.setups import Setup
from weightprint.training.networks import from_vector
from weightprint.zoo.layout import KERNEL_AXES, Flatten, Layout, Tensor

SETUPS = [
    Setup(filter_size=3, depth_conv=4, depth_fc=2, width_conv=4, width_fc=16),
    Setup(filter_size=5, depth_conv=3, depth_fc=3, width_conv=4, width_fc=24, batch_norm=False),
]


def draw(setup, snapshots=2, seed=0):
    layout = Layout.of(setup)
    weights = np.random.default_rng(seed).normal(size=(snapshots, layout.size)).astype(np.float32) * 0.1
    for tensor in layout:
        if tensor.kind in ("gamma", "moving_variance"):
            weights[:, tensor.offset : tensor.stop] = 1 + np.abs(weights[:, tensor.offset : tensor.stop])
    return weights, layout


def reader(weights):
    """Gives the values of one tensor of a layout."""
    return lambda t: weights[:, t.offset : t.stop].reshape(len(weights), *t.shape)


@pytest.mark.parametrize("setup", SETUPS)
def test_renumbered_units_change_the_vector_and_not_the_function(setup):
    weights, layout = draw(setup)
    permuted = permute_units(weights, layout, generator=np.random.default_rng(1))
    assert (permuted != weights).mean() > 0.8
    np.testing.assert_array_equal(np.sort(permuted), np.sort(weights))
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        for before, after in zip(weights, permuted, strict=True):
            expected = from_vector(setup, before).double()(images.double())
            found = from_vector(setup, after).double()(images.double())
            torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("setup", SETUPS)
def test_the_anatomy_does_not_depend_on_the_order_of_units(setup):
    weights, layout = draw(setup)
    permuted = permute_units(weights, layout, generator=np.random.default_rng(1))
    before, names = anatomy(weights, layout)
    after, _ = anatomy(permuted, layout)
    assert len(set(names)) == len(names) > 400
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-5)


def stack(*entries):
    """A layout of (name, kind, part, shape, fields) one after the other."""
    tensors, offset = [], 0
    for name, kind, part, shape, fields in entries:
        axes = KERNEL_AXES[len(shape) - 2] if len(shape) > 1 else "o"
        tensors.append(Tensor(name, kind, part, shape, offset, name, axes, **fields))
        offset = tensors[-1].stop
    return Layout(tensors)


def test_layers_that_do_not_follow_one_another_are_not_renumbered():
    layout = stack(("a/kernel", "kernel", "fc", (4, 3), {}), ("b/kernel", "kernel", "fc", (2, 6), {}))
    with pytest.raises(MetaError, match="b/kernel has 6 inputs, which 4 units before it cannot feed"):
        permute_units(np.zeros((1, 24)), layout, generator=np.random.default_rng(0))


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        (("b/kernel", "kernel", "conv", (4, 2, 3, 3), {"groups": 2}), "2 groups"),
        (("token", "other", "other", (1, 4), {"role": "token"}), "token is token"),
        (("norm/gamma", "gamma", "other", (4,), {}), "norm has no kernel"),
    ],
)
def test_networks_whose_units_are_not_renumbered_are_refused(entry, says):
    layout = stack(("a/kernel", "kernel", "conv", (4, 3, 3, 3), {}), entry)
    with pytest.raises(MetaError, match=says):
        permute_units(np.zeros((1, layout.size)), layout, generator=np.random.default_rng(0))


def residual(x, w):
    """A residual network with a depthwise convolution and a map flattened channels first, in float64."""
    stem = F.relu(F.conv2d(x, w["stem/kernel"], w["stem/bias"], padding=1))
    inner = F.relu(F.conv2d(stem, w["inner/kernel"], padding=1))
    total = stem + F.conv2d(inner, w["outer/kernel"], padding=1)
    deep = F.relu(F.conv2d(total, w["deep/kernel"], groups=6))
    hidden = F.relu(F.linear(deep.flatten(1), w["hidden/kernel"], w["hidden/bias"]))
    return F.linear(hidden, w["output/kernel"])


def test_units_are_renumbered_around_sums_depthwise_windows_and_either_flatten_order():
    layout = stack(
        ("stem/kernel", "kernel", "conv", (6, 2, 3, 3), {"reads": ()}),
        ("stem/bias", "bias", "conv", (6,), {}),
        ("inner/kernel", "kernel", "conv", (5, 6, 3, 3), {"reads": ("stem",)}),
        ("outer/kernel", "kernel", "conv", (6, 5, 3, 3), {"reads": ("inner",)}),
        ("deep/kernel", "kernel", "conv", (6, 1, 3, 3), {"reads": ("stem", "outer"), "groups": 6}),
        ("hidden/kernel", "kernel", "fc", (7, 24), {"reads": ("deep",), "flatten": Flatten("chw", (6, 2, 2))}),
        ("hidden/bias", "bias", "fc", (7,), {}),
        ("output/kernel", "kernel", "fc", (3, 7), {"reads": ("hidden",)}),
    )
    weights = np.random.default_rng(0).normal(size=(1, layout.size))
    permuted = permute_units(weights, layout, generator=np.random.default_rng(1))
    assert (permuted != weights).mean() > 0.8
    images = torch.rand(2, 2, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected, found = (
        residual(images, {t.name: torch.tensor(w[0, t.offset : t.stop].reshape(t.shape)) for t in layout})
        for w in (weights, permuted)
    )
    torch.testing.assert_close(found, expected)
    before, names = anatomy(weights.astype(np.float32), layout)
    np.testing.assert_allclose(
        anatomy(permuted.astype(np.float32), layout)[0], before, rtol=1e-4, atol=1e-4, err_msg=str(names)
    )


def test_layers_are_those_of_the_layout_in_forward_order():
    names = [layer.name for layer in layers_of(Layout.of(SETUPS[0]))]
    assert names == ["conv1", "conv2", "conv3", "conv4", "fc1", "fc2", "output"]


@pytest.mark.parametrize("scale", [0, 1e-30, 1e37])
def test_every_feature_is_a_number_at_any_scale(scale):
    weights, layout = draw(SETUPS[0])
    features, _ = anatomy((weights * scale).astype(np.float32), layout)
    assert np.isfinite(features).all()


def test_tensors_of_other_networks_are_read_as_far_as_they_can_be():
    layout = stack(
        ("stem/kernel", "kernel", "conv", (6, 3, 4, 2), {}),
        ("norm/gamma", "gamma", "other", (6,), {}),
        ("token", "other", "other", (1, 5), {}),
        ("mix/kernel", "kernel", "other", (1, 7), {}),
        ("mix/again", "kernel", "other", (2, 7), {}),
        ("single", "other", "other", (1,), {}),
        ("none/kernel", "kernel", "other", (0, 4), {}),
    )
    weights = np.random.default_rng(0).normal(size=(2, layout.size)).astype(np.float32)
    found = layer_anatomy(reader(weights), layout)
    assert [layer.name for layer, _ in found] == ["stem", "norm", "mix", "mix/again"]
    assert all(np.isfinite(value).all() for _, features in found for value in features.values())
    assert any(name.startswith("norm: gamma.") for name in anatomy(weights, layout)[1])


@pytest.mark.parametrize(
    ("entries", "missing", "there"),
    [
        ([("a/kernel", "kernel", "fc", (10, 784), {})], ("hidden", "conv", "mean"), "output: kernel.places.border"),
        ([("a/kernel", "kernel", "conv", (8, 3, 3, 3), {})], ("hidden", "output"), "conv first: kernel.window.middle"),
        (
            [("a/kernel", "kernel", "fc", (20, 784), {}), ("b/kernel", "kernel", "fc", (10, 20), {})],
            ("conv",),
            "hidden last: outgoing~norms",
        ),
    ],
)
def test_networks_without_hidden_layers_or_convolutions_have_the_columns_of_what_they_have(entries, missing, there):
    layout = stack(*entries)
    table, names = anatomy(np.random.default_rng(0).normal(size=(2, layout.size)).astype(np.float32), layout)
    assert np.isfinite(table).all()
    assert there in names
    assert not [name for name in names if name.startswith(missing)]


def test_a_network_without_layers_has_columns_of_its_shapes_alone():
    layout = Layout([Tensor("single", "other", "other", (1,), 0, "single", "o")])
    table, names = anatomy(np.ones((3, 1)), layout)
    assert table.shape == (3, len(names))
    assert all(name.startswith("shape/") for name in names)


def test_one_by_nine_windows_are_no_three_by_three():
    weights = np.random.default_rng(0).normal(size=(1, 4 * 3 * 9)).astype(np.float32)
    flat = anatomy(weights, stack(("a/kernel", "kernel", "conv", (4, 3, 1, 9), {})))[1]
    square = anatomy(weights, stack(("a/kernel", "kernel", "conv", (4, 3, 3, 3), {})))[1]
    assert {name.rpartition(".")[2] for name in set(square) - set(flat)} >= {"down", "diagonal", "corners", "middle"}
    assert set(flat) < set(square)


@pytest.mark.parametrize("size", [(1, 28, 28), (6, 5, 5)])
def test_either_flatten_order_gives_equal_features(size):
    kernel = np.random.default_rng(0).normal(size=(2, 12, *size)).astype(np.float32)  # [T, o, c, h, w]
    shape = (12, int(np.prod(size)))
    first, last = (
        anatomy(values.reshape(2, -1), stack(("a/kernel", "kernel", "fc", shape, {"flatten": Flatten(order, size)})))
        for order, values in (("chw", kernel), ("hwc", kernel.transpose(0, 1, 3, 4, 2)))
    )
    assert first[1] == last[1]
    np.testing.assert_array_equal(first[0], last[0])


def initialised(seed=0):
    """LeNet-5 as PyTorch initialises it, float32 [1, P], and its layout."""
    torch.manual_seed(seed)
    state = LeNet().state_dict()
    entries = []
    for name, value in state.items():
        layer, _, word = name.partition(".")
        kind, part = "kernel" if word == "weight" else "bias", "conv" if "conv" in layer else "fc"
        fields = {"flatten": Flatten("chw", (16, 5, 5))} if name == "fc1.weight" else {}
        entries.append((f"{layer}/{kind}", kind, part, tuple(value.shape), fields))
    return np.concatenate([value.numpy().reshape(-1) for value in state.values()])[None], stack(*entries)


def column(weights, layout, name):
    table, names = anatomy(weights, layout)
    return table[:, names.index(name)]


def test_scales_stand_relative_to_the_initialisation_that_pytorch_draws_from():
    weights, layout = initialised()
    assert column(weights, layout, "hidden first: kernel.norms.scaled.middle") == pytest.approx(0, abs=0.01)
    assert column(weights, layout, "hidden first: kernel.from.torch_default") < -1.8
    assert column(weights, layout, "hidden first: kernel.from.he_normal") > -1
    assert column(weights, layout, "hidden first: kernel.beyond.torch_default") == pytest.approx(-4)
    assert column(weights, layout, "hidden first: kernel.column_sums.scaled") == pytest.approx(0, abs=0.05)
    assert column(weights, layout, "hidden first: bias.from.torch_default") < 0.15
    moved = weights + np.float32(0.02) * np.sign(np.random.default_rng(0).normal(size=weights.shape)).astype("float32")
    assert column(moved, layout, "hidden first: kernel.beyond.torch_default") > -1


def test_independent_weights_have_the_spectrum_of_marchenko_and_pastur_and_equal_rows_do_not():
    weights, layout = initialised()
    for name in ("m2", "m3", "m4", "first", "small"):
        assert column(weights, layout, f"hidden first: kernel.spectrum.{name}") == pytest.approx(0, abs=0.12), name
    kernel = layout["fc1/kernel"]
    weights[:, kernel.offset : kernel.stop] = np.tile(weights[:, kernel.offset : kernel.offset + 400], 120)
    assert column(weights, layout, "hidden first: kernel.spectrum.first") > 1
    assert column(weights, layout, "hidden first: kernel.cosines.least") == pytest.approx(1, abs=1e-5)


def test_border_inputs_that_never_moved_show_in_a_network_without_convolutions():
    layout = stack(("a/kernel", "kernel", "fc", (64, 784), {}), ("b/kernel", "kernel", "fc", (10, 64), {}))
    rng = np.random.default_rng(0)
    weights = rng.uniform(-1 / 28, 1 / 28, size=(1, layout.size)).astype(np.float32)
    maps = weights[:, : 64 * 784].reshape(1, 64, 28, 28)
    maps[..., 4:-4, 4:-4] += rng.normal(size=(64, 20, 20)).astype(np.float32) * 0.1
    assert column(weights, layout, "hidden first: kernel.places.border.scaled") == pytest.approx(0, abs=0.02)
    assert column(weights, layout, "hidden first: kernel.places.border.kurtosis") == pytest.approx(
        np.log10(1.8), abs=0.03
    )
    assert column(weights, layout, "hidden first: kernel.places.border") < -0.5


def test_large_kernels_are_read_in_part_always_the_same_and_about_as_whole():
    layout = stack(("a/kernel", "kernel", "fc", (1500, 3000), {}), ("b/kernel", "kernel", "fc", (10, 1500), {}))
    weights = np.random.default_rng(0).normal(size=(1, layout.size)).astype(np.float32)
    one, other = anatomy(weights, layout), anatomy(weights.copy(), layout)
    np.testing.assert_array_equal(one[0], other[0])
    assert column(weights, layout, "hidden first: kernel.absolute.log_rms") == pytest.approx(0, abs=0.002)
    assert column(weights, layout, "hidden first: kernel.scaled.rms") == pytest.approx(np.log10(3000) / 2, abs=0.002)
    assert abs(column(weights, layout, "hidden first: outgoing~norms")) < 0.2


FREE_OF_SIZE = (
    *("kurtosis", "scaled.rms", "shape.q0.05", "near.0.01", "norms.q0.5", "norms.scaled.middle", "sums.rms"),
    *("column_sums.rms", "column_sums.scaled", "cosines.rms", "inputs.common", "beyond.torch_default"),
    *("spectrum.m2", "spectrum.m3", "spectrum.m4", "spectrum.small"),
)


def test_of_thousands_of_tiny_layers_some_are_read():
    layout = stack(*((f"{i}/kernel", "kernel", "fc", (2, 2), {}) for i in range(3000)))
    weights = np.random.default_rng(0).normal(size=(1, layout.size)).astype(np.float32)
    found = layer_anatomy(reader(weights), layout)
    names = [layer.name for layer, _ in found]
    assert len(names) <= 262
    assert (names[0], names[-1]) == ("0", "2999")
    assert names == sorted(names, key=int)


def test_relative_features_of_a_fresh_network_do_not_tell_its_width():
    """Relative to their initialisation, narrow and wide layers look alike."""
    tables = []
    for width in (64, 256):
        layout = stack(("a/kernel", "kernel", "fc", (width, 784), {}), ("b/kernel", "kernel", "fc", (width, width), {}),
                       ("c/kernel", "kernel", "fc", (10, width), {}))  # fmt: skip
        rows = []
        for seed in range(12):
            rng = np.random.default_rng([width, seed])
            rows.append(np.concatenate([rng.uniform(-1, 1, t.size) / np.sqrt(t.shape[1]) for t in layout]))
        tables.append(anatomy(np.array(rows, dtype=np.float32), layout))
    assert tables[0][1] == tables[1][1]
    for i, name in enumerate(tables[0][1]):
        if name.startswith("hidden last: kernel.") and any(
            w in name for w in ("scaled.rms", "spectrum.m", "sums.", ".rms")
        ):
            if "absolute" in name or "glorot" in name:
                continue
            narrow, wide = tables[0][0][:, i], tables[1][0][:, i]
            assert abs(narrow.mean() - wide.mean()) < 0.1, name


def test_grey_first_kernels_show_in_what_the_channels_share():
    weights, layout = draw(SETUPS[0])
    kernel = layout["conv1/kernel"]
    values = weights[:, kernel.offset : kernel.stop].reshape(2, *kernel.shape)
    values[:] = values.mean(axis=2, keepdims=True)  # the same for red, green and blue
    features, names = anatomy(weights, layout)
    place = names.index("conv first: kernel.inputs.difference")
    assert (features[:, place] < anatomy(draw(SETUPS[0])[0], layout)[0][:, place] - 4).all()
