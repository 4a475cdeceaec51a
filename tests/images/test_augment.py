"""Augmentation against independent formulas: scipy for the affine map, colorsys and numpy for the colours."""

from __future__ import annotations

import colorsys
import math
import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import affine_transform

from weightprint.errors import DataError
from weightprint.images import augment as wa


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def random_images(count=3, low=0.0, high=1.0, side=32, seed=0):
    return low + (high - low) * torch.rand(count, 3, side, side, generator=generator(seed))


def one_warp(shift_x=0.0, shift_y=0.0, angle=0.0, zoom=1.0, shear_x=0.0, shear_y=0.0):
    return wa.Warps(*(torch.tensor([value]) for value in (shift_x, shift_y, angle, zoom, shear_x, shear_y)))


# --- affine maps -----------------------------------------------------------------------------------------------------


def warp_by_scipy(image, *, shift_x, shift_y, angle, zoom, shear_x, shear_y):
    """One image [C, H, W]: zoomed, sheared, rotated, shifted about its centre, with matrices that act on (y, x)."""
    rotate = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    tilt = np.array([[1, math.tan(shear_y)], [math.tan(shear_x), 1]])
    forward = rotate @ tilt @ (zoom * np.eye(2))
    backward = np.linalg.inv(forward)
    center = (np.array(image.shape[1:]) - 1) / 2
    offset = center - backward @ (center + np.array([shift_y, shift_x]))
    moved = [affine_transform(c, backward, offset, order=1, mode="grid-constant", cval=0) for c in image]
    return np.stack(moved)


@settings(max_examples=40)
@given(
    shift_x=st.floats(-3, 3),
    shift_y=st.floats(-3, 3),
    angle=st.floats(-0.27, 0.27),
    zoom=st.floats(0.9, 1.1),
    shear_x=st.floats(-0.06, 0.06),
    shear_y=st.floats(-0.06, 0.06),
)
def test_warps_agree_with_scipys_affine_transform(**parameters):
    image = random_images(1).double()
    moved = wa.warp(image, one_warp(**parameters))[0].numpy()
    expected = warp_by_scipy(image[0].numpy(), **{k: float(torch.tensor(v)) for k, v in parameters.items()})
    np.testing.assert_allclose(moved, expected, atol=2e-5)


def test_warps_agree_with_scipy_on_images_that_are_not_square():
    image = random_images(1)[:, :, :20]
    parameters = {"shift_x": 2.5, "shift_y": -1.25, "angle": 0.4, "zoom": 1.2, "shear_x": -0.2, "shear_y": 0.3}
    moved = wa.warp(image, one_warp(**parameters))[0].numpy()
    np.testing.assert_allclose(moved, warp_by_scipy(image[0].numpy(), **parameters), atol=2e-5)


def test_no_warp_leaves_an_image_alone():
    image = random_images(1)
    torch.testing.assert_close(wa.warp(image, one_warp()), image, rtol=0, atol=2e-6)


def test_a_shift_moves_to_the_right_and_downwards_and_leaves_zeros():
    image = random_images(1)
    moved = wa.warp(image, one_warp(shift_x=3, shift_y=2))
    torch.testing.assert_close(moved[..., 2:, 3:], image[..., :-2, :-3], rtol=0, atol=5e-6)
    assert moved[..., :2, :].abs().max() < 5e-6
    assert moved[..., :, :3].abs().max() < 5e-6


def test_a_quarter_turn_is_clockwise():
    image = random_images(1)
    moved = wa.warp(image, one_warp(angle=math.pi / 2))
    torch.testing.assert_close(moved, torch.rot90(image, -1, (2, 3)), rtol=0, atol=1e-5)


def test_zoom_above_one_enlarges():
    image = torch.zeros(1, 3, 32, 32)
    image[..., 12:20, 12:20] = 1
    assert wa.warp(image, one_warp(zoom=2.0)).sum() == pytest.approx(4 * float(image.sum()), rel=0.01)


def test_shear_tilts_each_axis_by_an_angle_of_its_own():
    row = torch.zeros(1, 3, 32, 32)
    row[..., 16, :] = 1
    rows = torch.arange(32.0)

    def fall(picture):
        """How many pixels the bright line falls over sixteen columns."""
        left, right = (picture[0, 0, :, c] for c in (8, 24))
        return float((right * rows).sum() / right.sum() - (left * rows).sum() / left.sum())

    assert fall(wa.warp(row, one_warp(shear_y=0.2))) == pytest.approx(16 * math.tan(0.2), abs=0.05)
    assert fall(wa.warp(row, one_warp(shear_x=0.2))) == pytest.approx(0, abs=0.05)
    column = row.transpose(2, 3)
    assert fall(wa.warp(column, one_warp(shear_x=0.2)).transpose(2, 3)) == pytest.approx(16 * math.tan(0.2), abs=0.05)


def test_each_image_has_its_own_warp():
    images = random_images(4)
    warps = wa.draw_warps(4, generator=generator(3))
    together = wa.warp(images, warps)
    for i in range(4):
        single = wa.Warps(*(getattr(warps, f)[i : i + 1] for f in wa.Warps.__dataclass_fields__))
        torch.testing.assert_close(together[i : i + 1], wa.warp(images[i : i + 1], single))


# --- colours ---------------------------------------------------------------------------------------------------------


@settings(max_examples=25)
@given(brightness=st.floats(-0.2, 0.2), contrast=st.floats(0.5, 1.5))
def test_contrast_is_about_the_mean_of_each_image_and_channel_after_brightness(brightness, contrast):
    images = random_images(2, side=8)
    brighter = images.double().numpy() + brightness
    mean = brighter.mean(axis=(2, 3), keepdims=True)
    changed = wa.adjust_brightness_and_contrast(images, brightness, contrast).numpy()
    np.testing.assert_allclose(changed, (brighter - mean) * contrast + mean, atol=2e-6)


def by_pixel(images, change):
    flat = images.double().permute(0, 2, 3, 1).reshape(-1, 3).numpy()
    changed = np.array([change(*pixel) for pixel in flat])
    n, _, h, w = images.shape
    return changed.reshape(n, h, w, 3).transpose(0, 3, 1, 2)


def turn_hue(hue):
    def change(r, g, b):
        h, s, v = colorsys.rgb_to_hsv(r, g, b)
        return colorsys.hsv_to_rgb((h + hue) % 1.0, s, v)

    return change


def scale_saturation(factor):
    def change(r, g, b):
        h, s, v = colorsys.rgb_to_hsv(r, g, b)
        return colorsys.hsv_to_rgb(h, min(1.0, max(0.0, s * factor)), v)

    return change


@settings(max_examples=25)
@given(hue=st.floats(-2, 2), seed=st.integers(0, 99))
def test_hue_turns_as_in_colorsys(hue, seed):
    images = random_images(1, side=8, seed=seed)
    np.testing.assert_allclose(
        wa.adjust_hue_and_saturation(images, hue, 1).numpy(), by_pixel(images, turn_hue(hue)), atol=1e-5
    )


@settings(max_examples=25)
@given(factor=st.floats(0, 4), seed=st.integers(0, 99))
def test_saturation_scales_and_clips_as_in_colorsys(factor, seed):
    images = random_images(1, side=8, seed=seed)
    np.testing.assert_allclose(
        wa.adjust_hue_and_saturation(images, 0, factor).numpy(), by_pixel(images, scale_saturation(factor)), atol=1e-5
    )


@settings(max_examples=40)
@given(hue=st.floats(-0.08, 0.08), factor=st.floats(0.3, 1.5), seed=st.integers(0, 99))
def test_hue_comes_before_saturation_also_for_values_outside_0_to_1(hue, factor, seed):
    images = random_images(1, low=-0.45, high=1.45, side=8, seed=seed)
    changed = wa.adjust_hue_and_saturation(images, hue, factor).numpy()
    expected = by_pixel(by_pixel_tensor(images, turn_hue(hue)), scale_saturation(factor))
    np.testing.assert_allclose(changed, expected, atol=1e-5)


def by_pixel_tensor(images, change):
    return torch.from_numpy(by_pixel(images, change))


def test_hue_keeps_the_largest_and_smallest_value_of_every_pixel():
    images = random_images(2)
    changed = wa.adjust_hue_and_saturation(images, 0.3, 1)
    torch.testing.assert_close(changed.amax(1), images.amax(1))
    torch.testing.assert_close(changed.amin(1), images.amin(1))


PURE = torch.tensor([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 1, 1], [0, 0, 1], [1, 0, 1]], dtype=torch.float32)


@pytest.mark.parametrize("sixths", [0, 1, 2, 3, -1, 6])
def test_pure_colours_turn_into_each_other(sixths):
    changed = wa.adjust_hue_and_saturation(PURE.view(6, 3, 1, 1), sixths / 6, 1).view(6, 3)
    torch.testing.assert_close(changed, PURE.roll(-sixths, 0), rtol=0, atol=2e-6)


@pytest.mark.parametrize("value", [-0.5, 0.0, 1e-38, 1e-20, 0.3, 1.0, 1.5])
def test_grey_stays_as_it_is(value):
    grey = torch.full((1, 3, 4, 4), value)
    assert torch.equal(wa.adjust_hue_and_saturation(grey, 0.07, 1.4), grey)


def test_pixels_without_a_positive_value_lose_their_colour():
    dark = torch.tensor([-0.3, -0.1, -0.2]).view(1, 3, 1, 1)
    assert wa.adjust_hue_and_saturation(dark, 0.05, 1.2).flatten().tolist() == pytest.approx([-0.1] * 3)


def test_nearly_grey_pixels_stay_finite_and_nearly_grey():
    images = 0.5 + 1e-7 * random_images(1)
    changed = wa.adjust_hue_and_saturation(images, 0.08, 1.5)
    torch.testing.assert_close(changed, images, rtol=0, atol=1e-6)


def test_noise_has_the_asked_deviation_and_no_bias():
    noise = wa.add_noise(torch.zeros(64, 3, 32, 32), 0.03, generator=generator())
    assert float(noise.std()) == pytest.approx(0.03, rel=0.02)
    assert abs(float(noise.mean())) < 4 * 0.03 / math.sqrt(noise.numel())
    assert float((noise.abs() > 2 * 0.03).float().mean()) == pytest.approx(0.0455, abs=0.003)
    a, b = noise[0].flatten(), noise[1].flatten()
    assert abs(float((a * b).mean())) < 5 * 0.03**2 / math.sqrt(len(a))


# --- draws -----------------------------------------------------------------------------------------------------------


def test_warps_are_uniform_over_the_papers_ranges():
    warps = wa.draw_warps(20000, generator=generator())
    ranges = {
        "shift_x": (-3, 3),
        "shift_y": (-3, 3),
        "angle": (-math.radians(15), math.radians(15)),
        "zoom": (0.9, 1.1),
        "shear_x": (-math.radians(3), math.radians(3)),
        "shear_y": (-math.radians(3), math.radians(3)),
    }
    drawn = []
    for name, (low, high) in ranges.items():
        shares = (getattr(warps, name) - low) / (high - low)
        drawn.append(shares)
        assert -1e-6 <= shares.min() < 0.001
        assert 0.999 < shares.max() <= 1 + 1e-6
        assert float(shares.mean()) == pytest.approx(0.5, abs=0.01)
        assert float(shares.std()) == pytest.approx(1 / math.sqrt(12), abs=0.01)
    correlation = torch.corrcoef(torch.stack(drawn)) - torch.eye(len(drawn))
    assert correlation.abs().max() < 0.03


def test_colours_are_uniform_over_the_papers_ranges():
    source = generator()
    drawn = [wa.draw_colors(generator=source) for _ in range(2000)]
    ranges = {
        "brightness": (-0.2, 0.2),
        "contrast": (0.5, 1.5),
        "hue": (-0.08, 0.08),
        "saturation": (0.3, 1.5),
        "noise": (0.0, 0.03),
    }
    for name, (low, high) in ranges.items():
        shares = (np.array([getattr(colors, name) for colors in drawn]) - low) / (high - low)
        assert 0 <= shares.min() < 0.01
        assert 0.99 < shares.max() <= 1
        assert shares.mean() == pytest.approx(0.5, abs=0.03)


# --- the whole -------------------------------------------------------------------------------------------------------


def test_augment_is_its_steps_in_the_papers_order():
    images = random_images(5)
    source = generator(11)
    warps = wa.draw_warps(5, generator=source)
    colors = wa.draw_colors(generator=source)
    expected = wa.warp(images, warps).double().numpy() + colors.brightness
    mean = expected.mean(axis=(2, 3), keepdims=True)
    expected = (expected - mean) * colors.contrast + mean
    expected = by_pixel(torch.from_numpy(expected), turn_hue(colors.hue))
    expected = by_pixel(torch.from_numpy(expected), scale_saturation(colors.saturation))
    drawn = torch.empty(32, 3, 32, len(images)).normal_(generator=source)  # row, channel, column, image
    expected = expected + colors.noise * drawn.permute(3, 1, 0, 2).numpy()
    augmented = wa.augment(images, generator=generator(11)).numpy()
    np.testing.assert_allclose(augmented, expected.clip(0, 1), atol=2e-5)


@settings(max_examples=25)
@given(count=st.integers(1, 9), seed=st.integers(0, 2**40))
def test_augmented_images_keep_their_form_and_stay_in_0_to_1(count, seed):
    images = random_images(count)
    before = images.clone()
    augmented = wa.augment(images, generator=generator(seed))
    assert augmented.shape == images.shape
    assert augmented.dtype == images.dtype
    assert augmented.is_contiguous()
    assert 0 <= augmented.min() <= augmented.max() <= 1
    assert torch.equal(images, before)


def test_the_generator_is_the_only_source_of_chance():
    images = random_images(4)
    states = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    first = wa.augment(images, generator=generator(5))
    torch.rand(3)
    torch.set_rng_state(states[0])
    assert torch.equal(first, wa.augment(images, generator=generator(5)))
    assert not torch.equal(first, wa.augment(images, generator=generator(6)))
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.random.get_state()[1].tolist() == states[1]  # noqa: NPY002
    assert random.getstate() == states[2]


def test_one_generator_gives_another_result_each_time():
    images, source = random_images(4), generator()
    assert not torch.equal(wa.augment(images, generator=source), wa.augment(images, generator=source))


def test_the_memory_format_does_not_matter():
    images = random_images(6)
    channels_last = images.contiguous(memory_format=torch.channels_last)
    cut = torch.cat([images, images], 3)[..., :32]
    expected = wa.augment(images, generator=generator(1))
    for other in (channels_last, cut):
        assert torch.equal(wa.augment(other, generator=generator(1)), expected)


def test_double_precision_is_kept():
    augmented = wa.augment(random_images(2).double(), generator=generator())
    assert augmented.dtype == torch.float64


@pytest.mark.parametrize(
    "images",
    [
        torch.zeros(2, 3, 32, 32, dtype=torch.uint8),
        torch.zeros(2, 32, 32, 3),
        torch.zeros(3, 32, 32),
        torch.zeros(2, 1, 32, 32),
    ],
    ids=["bytes", "channels last", "single", "grey"],
)
def test_images_of_another_form_are_refused(images):
    with pytest.raises(DataError, match=r"expected floating point images \[B, 3, H, W\], found"):
        wa.augment(images, generator=generator())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("generator_device", ["cpu", "cuda"])
def test_images_may_lie_on_a_gpu(generator_device):
    source = torch.Generator(generator_device).manual_seed(0)
    augmented = wa.augment(random_images(4).cuda(), generator=source)
    assert augmented.device.type == "cuda"
    if generator_device == "cpu":
        expected = wa.augment(random_images(4), generator=generator(0))
        torch.testing.assert_close(augmented.cpu(), expected, rtol=0, atol=1e-4)
