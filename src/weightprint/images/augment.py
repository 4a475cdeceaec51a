"""Random changes of a batch of training images: one affine map per image, one change of colours per batch.

The ranges are the paper's (section 3.1; protocol section 1). Every function but `augment`, `draw_warps` and
`draw_colors` is deterministic; those three depend on their generator alone and never touch global random state.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from weightprint.errors import DataError

TRANSLATION = 3.0
"""Largest shift along either axis, in pixels."""
ROTATION = math.radians(15)
ZOOM = 0.1
"""Largest distance of the magnification from 1."""
SHEAR = math.radians(3)
"""Largest tilt of either axis; the two angles are independent."""
BRIGHTNESS = 0.2
"""Largest shift of all values, on the scale where white is 1."""
CONTRAST = (0.5, 1.5)
HUE = 0.08
"""Largest shift of the hue, in turns."""
SATURATION = (0.3, 1.5)
NOISE = (0.0, 0.03)
"""Standard deviation of the pixel noise, on the scale where white is 1."""

WARP_NUMBERS, COLOR_NUMBERS = 6, 5
"""How many random numbers the map of an image and the change of a batch's colours take."""

SMALLEST_SPREAD = 1e-30  # keeps 0 / 0 out of the hue of grey pixels


@dataclass(frozen=True)
class Warps:
    """One affine map per image, applied about the image's centre; every field is a float tensor [B].

    shift_x, shift_y: translation in pixels, to the right and downwards
    angle:            rotation in radians, clockwise as seen on the screen
    zoom:             magnification; above 1 the content grows
    shear_x, shear_y: angles in radians by which vertical lines are tilted to the right going down, and horizontal
                      lines downwards going right
    """

    shift_x: Tensor
    shift_y: Tensor
    angle: Tensor
    zoom: Tensor
    shear_x: Tensor
    shear_y: Tensor


@dataclass(frozen=True)
class Colors:
    """One change of colours for a whole batch.

    brightness: added to every value
    contrast:   factor on the distance from the mean of each image and channel
    hue:        shift in turns
    saturation: factor on the HSV saturation
    noise:      standard deviation of the Gaussian noise
    """

    brightness: float
    contrast: float
    hue: float
    saturation: float
    noise: float


def augment(images: Tensor, *, generator: torch.Generator) -> Tensor:
    """Change a batch at random: affine maps, brightness, contrast, hue, saturation and noise, in this order.

    images:    [B, 3, H, W] floating point in [0, 1], of any memory format, on any device; left as it is
    generator: the only source of chance; on the CPU or on the device of the images

    Returns a new tensor of the same shape, type and device with values in [0, 1], contiguous.
    Raises DataError for images of another form.
    """
    _check(images)
    warps = draw_warps(len(images), generator=generator)
    colors = draw_colors(generator=generator)
    changed = warp(images, warps)
    changed = adjust_brightness_and_contrast(changed, colors.brightness, colors.contrast)
    changed = adjust_hue_and_saturation(changed, colors.hue, colors.saturation)
    return add_noise(changed, colors.noise, generator=generator).clamp_(0, 1)


def draw_warps(count: int, *, generator: torch.Generator) -> Warps:
    """Draw the affine maps of `count` images, each parameter uniformly within the paper's range."""
    return warps_of(torch.rand(count, WARP_NUMBERS, generator=generator, device=generator.device))


def warps_of(units: Tensor) -> Warps:
    """The affine maps that random numbers [B, WARP_NUMBERS], uniform in [0, 1), stand for."""
    largest = units.new_tensor([TRANSLATION, TRANSLATION, ROTATION, ZOOM, SHEAR, SHEAR])
    signed = units.mul(2).sub_(1)
    shift_x, shift_y, angle, zoom, shear_x, shear_y = (signed * largest).unbind(1)
    return Warps(shift_x, shift_y, angle, 1 + zoom, shear_x, shear_y)


def draw_colors(*, generator: torch.Generator) -> Colors:
    """Draw one change of colours, each parameter uniformly within the paper's range."""
    return colors_of(torch.rand(COLOR_NUMBERS, generator=generator, device=generator.device).tolist())


def colors_of(units: Sequence[float]) -> Colors:
    """The change of colours that COLOR_NUMBERS random numbers, uniform in [0, 1), stand for."""
    ranges = ((-BRIGHTNESS, BRIGHTNESS), CONTRAST, (-HUE, HUE), SATURATION, NOISE)
    return Colors(*(low + (high - low) * share for (low, high), share in zip(ranges, units, strict=True)))


def warp(images: Tensor, warps: Warps) -> Tensor:
    """Move the content of each image [B, C, H, W] by its affine map; bilinear, zeros outside the image.

    In pixels relative to the centre, x to the right and y downwards, a point p moves to

        rotate(angle) · shear(shear_x, shear_y) · zoom · p + (shift_x, shift_y)

    with rotate(a) = [[cos a, -sin a], [sin a, cos a]] and shear(s, t) = [[1, tan s], [tan t, 1]]: first zoomed,
    then sheared, then rotated, then shifted.
    """
    sources = _source_positions(warps, images.shape[-2], images.shape[-1], like=images)
    return F.grid_sample(images, sources, mode="bilinear", padding_mode="zeros", align_corners=False)


def source_maps(warps: Warps) -> Tensor:
    """Where pixels come from: [B, 3, 2], pairs (x, y) of how the source moves per pixel to the right and per pixel
    downwards, and the source of the centre; all in pixels from the centre.

    The inverse of the map in `warp`: 1 / (zoom · (1 - tan s · tan t)) · [[1, -tan s], [-tan t, 1]] · rotate(-angle)
    · (p - shift).
    """
    cos, sin, tan_x, tan_y = warps.angle.cos(), warps.angle.sin(), warps.shear_x.tan(), warps.shear_y.tan()
    scale = (warps.zoom * (1 - tan_x * tan_y)).unsqueeze(1)
    per_x = torch.stack([cos + tan_x * sin, -sin - tan_y * cos], 1) / scale
    per_y = torch.stack([sin - tan_x * cos, cos - tan_y * sin], 1) / scale
    offset = -(per_x * warps.shift_x.unsqueeze(1) + per_y * warps.shift_y.unsqueeze(1))
    return torch.stack([per_x, per_y, offset], 1)


def _source_positions(warps: Warps, height: int, width: int, *, like: Tensor) -> Tensor:
    """Where each pixel of the result comes from: [B, H, W, 2], as `grid_sample` wants it (-1 and 1 are the borders)."""
    to_borders = like.new_tensor([2 / width, 2 / height])
    maps = source_maps(warps).to(like).mul_(to_borders)
    per_x, per_y, offset = (part.view(-1, 2, 1, 1) for part in maps.unbind(1))
    along_rows = per_x * _centered(width, like).view(1, width)
    along_columns = per_y * _centered(height, like).view(height, 1) + offset
    return (along_rows + along_columns).permute(0, 2, 3, 1)


def _centered(size: int, like: Tensor) -> Tensor:
    return torch.arange(size, dtype=like.dtype, device=like.device) - (size - 1) / 2


def adjust_brightness_and_contrast(images: Tensor, brightness: float, contrast: float) -> Tensor:
    """Add `brightness`, then scale the distance from the mean of each image and channel by `contrast`.

    images [B, C, H, W]. The formulas of tf.image.adjust_brightness and tf.image.adjust_contrast; as the shift moves
    the mean with it, both are contrast · images + (1 - contrast) · mean + brightness. Values may leave [0, 1].
    """
    offset = images.mean(dim=(2, 3), keepdim=True).mul_(1 - contrast).add_(brightness)
    return torch.add(offset, images, alpha=contrast)


def adjust_hue_and_saturation(images: Tensor, hue: float, saturation: float) -> Tensor:
    """Turn the hue by `hue` turns, then scale the HSV saturation by `saturation`, clipped to [0, 1].

    images [B, 3, H, W] of any values. As tf.image.adjust_hue followed by tf.image.adjust_saturation: the hue keeps
    each pixel's largest and smallest value; a pixel whose largest value is not positive has saturation 0.

    With v the largest value, r = v - smallest, and h the hue in sixths of a turn (A. R. Smith, "Color gamut transform
    pairs", 1978), a channel is v - r · w(h) for a piecewise linear w. Saturation r / v scaled and clipped
    turns r into min(saturation · r, max(v, 0)), so that no pixel is converted to HSV and back.
    """
    red, green, blue = images.unbind(1)
    value = torch.maximum(torch.maximum(red, green), blue)
    spread = value - torch.minimum(torch.minimum(red, green), blue)
    sixths = _hue_in_sixths(red, green, blue, value, spread).add_(6 * hue)
    sixths.sub_(sixths.div(6).floor_(), alpha=6)
    spread.mul_(saturation)
    torch.minimum(spread, value.clamp_min(0), out=spread)
    changed = torch.empty(images.shape, dtype=images.dtype, device=images.device)
    red, green, blue = changed.unbind(1)
    torch.sub(sixths, 3, out=red).abs_().neg_().add_(2)
    torch.sub(sixths, 2, out=green).abs_().sub_(1)
    torch.sub(sixths, 4, out=blue).abs_().sub_(1)
    changed.clamp_(0, 1).mul_(spread.unsqueeze(1))
    return torch.sub(value.unsqueeze(1), changed, out=changed)


def _hue_in_sixths(red: Tensor, green: Tensor, blue: Tensor, value: Tensor, spread: Tensor) -> Tensor:
    """Hue in [-3, 3] sixths of a turn, with value and spread the largest channel and its distance to the smallest.

    Smith's three cases as one formula without a choice per pixel: the hue's distance from red is
    2 + (green + blue - red - value) / spread, towards green when green > blue. Grey pixels have a hue without meaning.
    """
    distance = (green - red).add_(blue - value).div_(spread.clamp_min(SMALLEST_SPREAD)).add_(2)
    return distance.copysign_(green - blue)


def add_noise(images: Tensor, deviation: float, *, generator: torch.Generator) -> Tensor:
    """Add Gaussian noise of standard deviation `deviation`, independent for every value."""
    noise = draw_noise(images.shape, generator=generator)
    return torch.add(images, noise.to(images.device, images.dtype), alpha=deviation)


def draw_noise(shape: Sequence[int], *, generator: torch.Generator) -> Tensor:
    """Normal random numbers [B, C, H, W]; drawn and in memory [H, C, W, B], as the compiled kernels have images."""
    count, channels, height, width = shape
    noise = torch.empty(height, channels, width, count, device=generator.device)
    return noise.normal_(generator=generator).permute(3, 1, 0, 2)


def _check(images: Tensor) -> None:
    if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
        raise DataError(
            f"expected floating point images [B, 3, H, W], found {images.dtype} {list(images.shape)}",
            hint="bytes become such images by division by 255, channels last by permute(0, 3, 1, 2)",
        )
