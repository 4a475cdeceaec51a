"""What a kernel looks like: its distribution, its units and inputs, its spectrum, its windows and places.

Scale is taken apart from shape. A scale stands relative to what an initialisation would give a kernel of these fans
(names with `scaled`: 1/√fan_in, PyTorch's default bound; `glorot`: √(6/(fan_in + fan_out))), or as it is (names with
`absolute`). Every other feature is free of scale, and is divided by what independent weights in a kernel of this size
would give wherever a formula for that is known.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from weightprint.features.layers import MOST_UNITS, Kernel, chosen
from weightprint.features.numbers import TINY, Features, dots, log10, quantiles, rms, share_below

UNIT_LEVELS = (0, 0.1, 0.5, 0.9, 1)
"""Quantiles over the units of a layer."""

SHAPE_LEVELS = (0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1)
"""Quantiles over all weights of a kernel."""

FEW_CHANNELS = 4
"""A kernel with so few channels reads an image."""

NEAR = (1e-6, 1e-4, 1e-3, 1e-2, 1e-1)
"""Distances from 0, in units of the root mean square, within which weights are counted."""

BOUNDED = ("torch_default", "glorot_uniform")
"""Initialisations whose bounds are looked at: how many weights have left them."""

MOST_PLACES = 64
"""Of maps with more places, neighbours are multiplied one by one."""

_GRID = np.linspace(0, 1, 65)[1:-1]
"""Levels at which a distribution is compared with a uniform and a normal one."""


def distribution(kernel: Kernel) -> Features:
    """Scale and shape of all weights."""
    steps = len(kernel.values)
    x, squares = kernel.values.reshape(steps, -1), kernel.squares.reshape(steps, -1)
    mean = kernel.unit_sums.sum(axis=1) / x.shape[1]
    ordered = np.sort(x, axis=1)
    variance = (1 - mean**2).clip(0)
    varies = variance > 1e-4
    deviation = np.where(varies, np.sqrt(variance), 1)
    third, fourth = dots(x, squares) / x.shape[1], dots(squares, squares) / x.shape[1]
    skewness = (third - 3 * mean + 2 * mean**3) / deviation**3
    kurtosis = (fourth - 4 * mean * third + 6 * mean**2 - 3 * mean**4) / deviation**4
    shape = (quantiles(ordered, SHAPE_LEVELS) - mean[:, None]) / deviation[:, None]
    scaled = log10(kernel.scale * np.sqrt(kernel.fan_in))
    glorot = log10(kernel.scale * np.sqrt((kernel.fan_in + kernel.fan_out) / 2))
    largest = log10(np.maximum(-ordered[:, 0], ordered[:, -1]))
    return {
        "mean_by_deviation": mean / deviation,
        "skewness": np.where(varies, skewness, 0),
        "kurtosis": np.where(varies, log10(kurtosis), 0),
        **{f"shape.q{level}": shape[:, i] for i, level in enumerate(SHAPE_LEVELS)},
        "absolute.mean": mean * kernel.scale,
        "absolute.log_rms": log10(kernel.scale),
        "scaled.rms": scaled,
        "scaled.largest": largest + scaled,
        "glorot.rms": glorot,
        "glorot.largest": largest + glorot,
        **_shares(ordered, kernel),
        **_distances(ordered, kernel),
    }


def _shares(ordered: npt.NDArray[np.float32], kernel: Kernel) -> Features:
    """Shares of the weights [T, n], in ascending order: near 0, 0 itself, beyond the bounds of initialisations."""
    steps = len(ordered)
    widths = _widths(kernel)
    bounds = [np.full(steps, bound) for bound in NEAR]
    bounds += [1.0005 * widths[name] for name in BOUNDED]
    above = np.stack([*bounds, np.full(steps, np.finfo(np.float32).smallest_subnormal)], axis=1)
    shares = share_below(ordered, np.concatenate([above, -above[:, :-1], np.zeros((steps, 1))], axis=1))
    inside = shares[:, : above.shape[1]] - shares[:, above.shape[1] :]
    features: Features = {}
    for i, near in enumerate(NEAR):  # 0 where the density there is that of a normal distribution
        features[f"near.{near:g}"] = np.log10(inside[:, i] / (np.sqrt(2 / np.pi) * near) + 1e-3)
    for i, name in enumerate(BOUNDED, start=len(NEAR)):
        features[f"beyond.{name}"] = np.log10(1 - inside[:, i] + 1e-4)
    return features | {"zeros": inside[:, -1]}


def _widths(kernel: Kernel) -> dict[str, npt.NDArray[np.float64]]:
    """Half-widths of uniform distributions [T], in units of the kernel's root mean square."""
    fan_in, mean_fan = kernel.fan_in, (kernel.fan_in + kernel.fan_out) / 2
    return {
        "uniform": np.full(len(kernel.scale), np.sqrt(3)),
        "torch_default": 1 / (np.sqrt(fan_in) * kernel.scale),
        "glorot_uniform": np.sqrt(3 / mean_fan) / kernel.scale,
        "he_uniform": np.sqrt(6 / fan_in) / kernel.scale,
    }


def _distances(ordered: npt.NDArray[np.float32], kernel: Kernel) -> Features:
    """How far the weights [T, n], in ascending order, are from distributions that initialisations draw from.

    Kolmogorov's distance on a grid of levels, against a uniform and a normal distribution of the same root mean
    square, and against those of the schemes, scale included.
    """
    levels = quantiles(ordered, _GRID)
    widths = _widths(kernel)
    deviations = {
        "normal": np.ones(len(ordered)),
        "he_normal": np.sqrt(2 / kernel.fan_in) / kernel.scale,
        "glorot_normal": np.sqrt(2 / (kernel.fan_in + kernel.fan_out)) / kernel.scale,
    }
    uniform = (levels / np.stack(list(widths.values()))[..., None] + 1) / 2  # [k, T, levels]
    normal = ndtr(levels / np.stack(list(deviations.values()))[..., None])
    distance = np.abs(np.concatenate([uniform.clip(0, 1), normal]) - _GRID).max(axis=2)
    distances = np.log10(distance + 1e-3)
    return {f"from.{name}": distances[i] for i, name in enumerate((*widths, *deviations))}


def units(kernel: Kernel) -> Features:
    """How units and inputs differ in size, what sums over them are, and how alike units are."""
    matrix = kernel.matrix
    count, fan = matrix.shape[1:]
    norms = kernel.norms
    scaled = log10(kernel.scale * np.sqrt(kernel.fan_in * 3))  # 0 at PyTorch's default initialisation
    features: Features = {}
    inputs = kernel.input_powers.reshape(len(matrix), -1) / count
    for name, powers in (("norms", norms**2), ("columns", inputs)):
        sizes = np.sort(0.5 * log10(powers), axis=1)
        at_levels = quantiles(sizes, UNIT_LEVELS)
        features |= {f"{name}.q{level}": at_levels[:, i] for i, level in enumerate(UNIT_LEVELS)}
        features[f"{name}.deviation"] = sizes.std(axis=1)
        features |= {f"{name}.scaled.{word}": at_levels[:, i] + scaled for word, i in (("least", 0), ("middle", 2))}
        features[f"{name}.dead"] = (sizes < -1).mean(axis=1)  # units that compute next to nothing
    sums = kernel.unit_sums / (np.sqrt(fan) * (norms + TINY))  # 1 or so for independent weights
    column_sums = log10(rms(kernel.input_sums, (1, 2, 3)) / np.sqrt(count))
    features |= {
        "sums.rms": log10(rms(sums, 1)),
        "sums.mean": sums.mean(axis=1),
        "sums.positive": (sums > 0).mean(axis=1),
        "column_sums.rms": column_sums,
        "column_sums.scaled": column_sums + scaled,
    }
    some = chosen(count, MOST_UNITS)
    rows = matrix if len(some) == count else matrix[:, some]
    gram = rows @ rows.transpose(0, 2, 1)
    features |= _cosines(gram, fan)
    if count <= fan:
        return features | _spectrum(gram, len(some) / fan)
    some = chosen(fan, MOST_UNITS)
    rows = matrix if len(some) == fan else matrix[:, :, some]
    return features | _spectrum(rows.transpose(0, 2, 1) @ rows, len(some) / count)


def _cosines(gram: npt.NDArray[np.float32], fan: int) -> Features:
    """Cosines between the weights of units, by their inner products [T, m, m]."""
    steps, count = gram.shape[:2]
    if count < 2:
        zero = np.zeros(steps)
        return {"cosines.mean": zero, "cosines.rms": log10(zero), "cosines.least": zero, "cosines.largest": zero}
    place = np.arange(count)
    length = 1 / np.sqrt(gram[:, place, place] + np.float32(TINY))
    cosines = gram * length[:, :, None]
    cosines *= length[:, None]
    cosines[:, place, place] = 0
    pairs, root = count * (count - 1), np.sqrt(fan)
    flat = cosines.reshape(steps, -1)
    mean, power = flat.sum(axis=1, dtype=np.float64) / pairs * root, dots(flat, flat) / pairs
    features = {"cosines.mean": mean, "cosines.rms": log10(np.sqrt(power) * root)}
    cosines[:, place, place] = cosines[:, place, place - 1]
    least, largest = flat.min(axis=1).astype(np.float64), flat.max(axis=1).astype(np.float64)
    return features | {"cosines.least": least, "cosines.largest": largest}


def _spectrum(gram: npt.NDArray[np.float32], ratio: float) -> Features:
    """The singular values of a layer's matrix by their moments, relative to those of independent weights.

    gram:  inner products [T, m, m] of the matrix's rows or columns, whichever are fewer
    ratio: m by the length of those

    Moments of the squared singular values are traces of powers of the Gram matrix; those of independent weights are
    Marchenko and Pastur's (Math. USSR Sbornik 1, 1967): m₂ = 1 + r, m₃ = 1 + 3r + r², m₄ = 1 + 6r + 6r² + r³, and
    the largest squared singular value is (1 + √r)².
    """
    steps, count = gram.shape[:2]
    trace = (np.trace(gram, axis1=1, axis2=2) / count).astype(np.float32)
    gram = gram / np.where(trace > 0, trace, 1).astype(np.float32)[:, None, None]  # eigenvalues have mean 1
    second = gram @ gram
    fourth = second @ second
    one, two, four = (a.reshape(steps, -1) for a in (gram, second, fourth))
    m2, m3, m4, m8 = (dots(a, b) / count for a, b in ((one, one), (one, two), (two, two), (four, four)))
    largest = np.sqrt(np.sqrt(m8 / (m4 + TINY)))
    regular = gram.astype(np.float64)
    regular[:, np.arange(count), np.arange(count)] += 0.01  # far above the rounding of the products
    triangle = np.linalg.cholesky(regular)
    return {
        "spectrum.m2": log10(m2 / (1 + ratio)),
        "spectrum.m3": log10(m3 / (1 + 3 * ratio + ratio**2)),
        "spectrum.m4": log10(m4 / (1 + 6 * ratio + 6 * ratio**2 + ratio**3)),
        "spectrum.first": log10(largest / (1 + np.sqrt(ratio)) ** 2),
        # How many singular values share the lead: by the excess of the eighth moment over one value's.
        "spectrum.leaders": log10(m8 * count / (largest**8 + TINY)),
        "spectrum.small": 2 * np.log(triangle[:, np.arange(count), np.arange(count)]).mean(axis=1)
        - _expected_log(ratio),
    }


def _expected_log(ratio: float) -> float:
    """Mean logarithm of independent weights' squared singular values, for ratio ≤ 1 (Verdú and Tulino, 2004)."""
    return -1 - (1 - ratio) / ratio * np.log1p(-ratio) if ratio < 1 else -1.0


def inputs(kernel: Kernel) -> Features:
    """What the channels that a layer reads have in common; of an image's, their colours. 1 for independent weights."""
    x = kernel.values
    steps, count, channels = x.shape[:3]
    area = x.shape[3] * x.shape[4]
    together = np.ones(channels, dtype=np.float32) @ x.reshape(steps, count, channels, area)  # [T, o, area]
    flat = together.reshape(steps, -1)
    common = dots(flat, flat) / (flat.shape[1] * channels)
    features: Features = {"inputs.common": log10(common)}
    if kernel.all_channels > FEW_CHANNELS or kernel.groups > 1:
        return features
    features["inputs.all_common"] = log10(np.square(kernel.unit_sums).mean(axis=1) / (channels * area))
    features["inputs.difference"] = log10((1 - common / channels).clip(0))
    of_channel = log10(kernel.input_powers.mean(axis=(2, 3)) / count)
    features["inputs.spread"] = of_channel.max(axis=1) - of_channel.min(axis=1)
    by_channel = x.sum(axis=(3, 4))  # [T, o, c]
    colour = rms(by_channel - by_channel.mean(axis=2, keepdims=True), (1, 2)) ** 2 / area
    features["inputs.colour_flat"] = log10(colour / (1 - common / channels + 1e-6))
    return features


def grid(kernel: Kernel, name: str) -> Features:
    """What windows, or the places of a map or image, look like: neighbours, the mean, the middle and the border.

    name: "window" of a convolution, "places" of a fully connected kernel: columns of their own
    """
    steps, count, _, height, width = kernel.values.shape
    if height * width < 2:
        return {}
    features: Features = {}
    maps = kernel.values.reshape(steps, -1, height, width)
    means = maps.reshape(steps, -1, height * width) @ np.ones(height * width, dtype=np.float32)
    features["flat"] = log10(dots(means, means) / (means.shape[1] * height * width))
    features |= _neighbours(maps)
    of_place = kernel.input_powers.mean(axis=1) / count + TINY  # [T, h, w]
    features["deviation"] = log10(of_place.reshape(steps, -1)).std(axis=1)
    if height > 1 and width > 1:
        total = of_place.mean(axis=(1, 2))
        corners = of_place[:, [0, 0, -1, -1], [0, -1, 0, -1]].mean(axis=1)
        features["middle"] = log10(of_place[:, height // 2, width // 2] / total)
        features["corners"] = log10(corners / total)
        features["upper"] = log10(of_place[:, 0].mean(axis=1) / of_place[:, -1].mean(axis=1))
        features["left"] = log10(of_place[:, :, 0].mean(axis=1) / of_place[:, :, -1].mean(axis=1))
        ring = max(1, round(min(height, width) / 14))
        if min(height, width) > 2 * ring:
            features |= _border(kernel, of_place, ring)
    return {f"{name}.{label}": value for label, value in features.items()}


def _neighbours(maps: npt.NDArray[np.float32]) -> Features:
    """Mean product of each place's weight and that of the place beside it, of windows or maps [T, n, h, w]."""
    steps, count, height, width = maps.shape
    area = height * width
    flat = maps.reshape(steps, count, area)
    if area <= MOST_PLACES:  # all pairs of places at once are one product of matrices
        pairs = (flat.transpose(0, 2, 1) @ flat).astype(np.float64) / count
    features: Features = {}
    number = np.arange(area).reshape(height, width)
    shifts = {"along": (0, 1), "down": (1, 0), "diagonal": (1, 1), "along2": (0, 2), "down2": (2, 0)}
    partners = {
        name: (number[: height - down, : width - along], number[down:, along:])
        for name, (down, along) in shifts.items()
        if height > down and width > along
    }
    if width > 1:
        partners["mirror"] = (number, number[:, ::-1])
    if height > 1:
        partners["upside_down"] = (number, number[::-1])
    for name, (one, other) in partners.items():
        if area <= MOST_PLACES:
            features[name] = pairs[:, one.reshape(-1), other.reshape(-1)].mean(axis=1)
        else:
            product = flat[:, :, one.reshape(-1)] * flat[:, :, other.reshape(-1)]
            features[name] = product.mean(axis=(1, 2), dtype=np.float64)
    return features


def _border(kernel: Kernel, of_place: npt.NDArray[np.float64], ring: int) -> Features:
    """Border against inside: border inputs of many images are constant, and their weights stay as they were drawn."""
    steps, _, _, height, width = kernel.values.shape
    within = slice(ring, height - ring), slice(ring, width - ring)
    third = slice(height // 3, height - height // 3), slice(width // 3, width - width // 3)
    places, inner = height * width, (height - 2 * ring) * (width - 2 * ring)
    inside = of_place[(slice(None), *within)].mean(axis=(1, 2))
    border = (of_place.sum(axis=(1, 2)) - inside * inner) / (places - inner)
    scaled = log10(kernel.scale * np.sqrt(kernel.fan_in * 3))
    is_border = np.ones((height, width), dtype=np.float32)
    is_border[within] = 0
    maps = kernel.values[0].size // places
    sums = kernel.values.reshape(steps, maps, places) @ is_border.reshape(-1)
    fourth = (np.square(kernel.squares).reshape(steps, maps, places) @ is_border.reshape(-1)).mean(axis=1)
    fourth = fourth.astype(np.float64) / (places - inner)
    return {
        "border": log10(border / inside),
        "centre": log10(of_place[(slice(None), *third)].mean(axis=(1, 2)) / inside),
        "border.scaled": 0.5 * log10(border) + scaled,
        "inside.scaled": 0.5 * log10(inside) + scaled,
        "border.kurtosis": log10(fourth / np.square(border)),
        "border.common": log10(dots(sums, sums) / (maps * (places - inner)) / border),
    }
