"""Anatomy: a network of any architecture as one row of numbers per layer.

Every layer has the same features, whatever its size: scales are taken apart from shapes, sums over inputs are
divided by what independent weights would give, and what belongs to units is summed up over them. No feature depends
on the order of hidden units (in layers of up to LARGEST_GRAM), so that networks that differ by a renumbering alone
look the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
import numpy.typing as npt

from weightprint.zoo.layout import Layout, Tensor

TINY = 1e-12
"""Added before logarithms and divisions: far below the weights of any layer that computes something."""

UNIT_LEVELS = (0, 0.1, 0.5, 0.9, 1)
"""Quantiles over the units of a layer."""

SHAPE_LEVELS = (0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1)
"""Quantiles over all weights of a kernel."""

VECTORS = ("bias", "beta", "gamma", "moving_mean", "moving_variance")
"""Kinds of tensors with one value per unit."""

LARGEST_GRAM = 512
"""Of layers with more units and inputs than this, evenly chosen ones stand for all where pairs are compared."""

FEW_CHANNELS = 4
"""A kernel with so few inputs reads an image's channels."""

Features = dict[str, npt.NDArray[np.float64]]


@dataclass(frozen=True)
class Layer:
    """The tensors of one layer, by kind.

    name:   "conv1" for "conv1/kernel"
    kernel: at least two axes, outputs first, inputs second; None for a norm that stands alone
    others: bias, beta, gamma and moving statistics, those that there are
    """

    name: str
    kernel: Tensor | None
    others: dict[str, Tensor]

    @property
    def is_conv(self) -> bool:
        return self.kernel is not None and len(self.kernel.shape) > 2


def layers_of(layout: Layout) -> list[Layer]:
    """The layers in forward order: tensors whose names agree up to the last stroke."""
    groups: dict[str, dict[str, Tensor]] = {}
    for tensor in layout:
        if tensor.size:
            groups.setdefault(tensor.name.rpartition("/")[0] or tensor.name, {}).setdefault(tensor.kind, tensor)
    layers = []
    for name, tensors in groups.items():
        kernel = tensors.get("kernel", tensors.get("other"))
        if kernel is not None and (len(kernel.shape) < 2 or kernel.size < 2):
            kernel = None
        others = {kind: tensors[kind] for kind in VECTORS if kind in tensors}
        if kernel is not None or others:
            layers.append(Layer(name, kernel, others))
    return layers


def anatomy(weights: npt.NDArray, layout: Layout) -> list[tuple[Layer, Features]]:
    """The layers in forward order, each with its features by name: weights [T, P] finite → features [T], all finite.

    A layer lacks features of what it does not have: a bias, windows, a next layer.
    """
    layers = layers_of(layout)
    found = []
    for layer, following in zip_longest(layers, layers[1:]):
        features = _layer(weights, layer, following)
        found.append((layer, {name: np.clip(value, -1e9, 1e9) for name, value in features.items()}))
    return found


def _values(weights: npt.NDArray, tensor: Tensor) -> npt.NDArray[np.float64]:
    return weights[:, tensor.offset : tensor.stop].astype(np.float64).reshape(len(weights), *tensor.shape)


def _layer(weights: npt.NDArray, layer: Layer, following: Layer | None) -> Features:
    others = {kind: _values(weights, t).reshape(len(weights), -1) for kind, t in layer.others.items()}
    features: Features = {}
    for kind, values in others.items():
        features |= _vector(kind, values)
    if layer.kernel is None:
        return features
    kernel = _values(weights, layer.kernel)
    kernel = kernel.reshape(*kernel.shape[:3], -1)  # [T, o, i, area]; area 1 for fully connected layers
    flat = kernel.reshape(*kernel.shape[:2], -1)  # [T, o, i · area]
    size = _rms(flat, (1, 2))
    norms = _rms(flat, 2)  # [T, o]
    features |= _distribution(weights[:, layer.kernel.offset : layer.kernel.stop].astype(np.float32))
    features |= {f"kernel.{name}": v for name, v in _units(flat, size, norms).items()}
    features |= {f"kernel.{name}": v for name, v in _window(kernel).items()}
    features["kernel.fan_scale"] = _log(size * np.sqrt(flat.shape[2]))
    same_units = {kind: v for kind, v in others.items() if v.shape[1] == kernel.shape[1]}
    features |= _relations(same_units, kernel, norms, size)
    if following is not None and following.kernel is not None:
        features |= _outgoing(_values(weights, following.kernel), norms, same_units.get("gamma"))
    return features


def _distribution(x: npt.NDArray[np.float32]) -> Features:
    """Scale and shape of all values of a kernel: [T, n]."""
    exact_mean = x.mean(axis=1, dtype=np.float64)
    deviation = x.std(axis=1, dtype=np.float64)
    ordered = np.sort(x, axis=1)
    magnitudes = np.sort(np.abs(x), axis=1)
    z = ((x - exact_mean[:, None].astype(np.float32)) / (deviation + TINY)[:, None].astype(np.float32)).clip(-1e4, 1e4)
    square = z * z

    def place(level: float, of: npt.NDArray) -> npt.NDArray[np.float64]:
        return of[:, round(level * (x.shape[1] - 1))].astype(np.float64)

    def shape(level: float) -> npt.NDArray[np.float64]:
        return (place(level, ordered) - exact_mean) / (deviation + TINY)

    return {
        "kernel.mean": exact_mean,
        "kernel.log_deviation": _log(deviation),
        "kernel.mean_by_deviation": exact_mean / (deviation + TINY),
        "kernel.skewness": (square * z).mean(axis=1, dtype=np.float64),
        "kernel.kurtosis": _log((square * square).mean(axis=1, dtype=np.float64)),
        **{f"kernel.shape.q{level}": shape(level) for level in SHAPE_LEVELS},
        **{f"kernel.log.q{level}": _log(place(level, magnitudes)) for level in (0, 0.01, 0.1, 0.5)},
        "kernel.zeros": (x == 0).mean(axis=1),
    }


def _units(flat: npt.NDArray, size: npt.NDArray, norms: npt.NDArray) -> Features:
    """How the rows [T, o, n] of a layer's matrix differ and resemble one another."""
    count, fan = flat.shape[1:]
    root = np.sqrt(fan)
    relative = _log(norms / (size + TINY)[:, None])
    sums = flat.mean(axis=2) * root / (norms + TINY)  # 1 or so for independent weights
    columns = _log(_rms(flat, 1) / (size + TINY)[:, None])
    features = {f"norms.q{i}": q for i, q in enumerate(np.quantile(relative, UNIT_LEVELS, axis=1))}
    features |= {f"columns.q{i}": q for i, q in enumerate(np.quantile(columns, UNIT_LEVELS, axis=1))}
    features |= {
        "norms.deviation": relative.std(axis=1),
        "columns.deviation": columns.std(axis=1),
        "sums.rms": _log(_rms(sums, 1)),
        "sums.mean": sums.mean(axis=1),
    }
    column_sums = flat.mean(axis=1) * np.sqrt(count) / (size + TINY)[:, None]
    features["column_sums.rms"] = _log(_rms(column_sums, 1))
    some = flat if count <= fan else flat.transpose(0, 2, 1)
    some = some[:, np.linspace(0, some.shape[1] - 1, min(some.shape[1], LARGEST_GRAM)).astype(int)]
    some = some / (size + TINY)[:, None, None]
    gram = some @ some.transpose(0, 2, 1) / some.shape[2]
    values = np.linalg.eigvalsh(gram).clip(0)[:, ::-1]  # [T, m], the largest first
    share = values / (values.sum(axis=1, keepdims=True) + TINY)
    features["singular.entropy"] = -(share * np.log(share + TINY)).sum(axis=1) / np.log(max(2, share.shape[1]))
    # Marchenko and Pastur: the largest eigenvalue of independent weights is at (1 + √ratio)².
    edge = (1 + np.sqrt(some.shape[1] / some.shape[2])) ** 2
    features["singular.first"] = _log(values[:, 0] / edge)
    features["singular.second"] = _log(values[:, min(1, values.shape[1] - 1)] / edge)
    features["singular.beyond"] = (values > 1.1 * edge).mean(axis=1)
    features["singular.middle"] = _log(values[:, values.shape[1] // 2])
    features["singular.last"] = _log(values[:, -1]).clip(-12, None)
    some = flat[:, np.linspace(0, count - 1, min(count, LARGEST_GRAM)).astype(int)]
    unit = some / (_rms(some, 2)[..., None] + TINY)
    cosines = unit @ unit.transpose(0, 2, 1) / fan
    one, other = np.triu_indices(cosines.shape[1], 1)
    above = cosines[:, one, other] if count > 1 else np.zeros((len(flat), 1))
    features["cosines.mean"] = above.mean(axis=1) * root
    features["cosines.rms"] = _log(_rms(above, 1) * root)
    features["cosines.least"], features["cosines.largest"] = above.min(axis=1), above.max(axis=1)
    return features


def _window(kernel: npt.NDArray) -> Features:
    """What a convolution's k×k windows [T, o, i, k²] look like, and what its input channels share."""
    steps, _, inputs, area = kernel.shape
    side = round(area**0.5)
    energy = (kernel**2).mean(axis=(1, 2)) + TINY  # [T, area]
    total = energy.mean(axis=1)
    # Of independent weights each of these shares is 1.
    features: Features = {
        "inputs.common": _log((kernel.mean(axis=2) ** 2).mean(axis=(1, 2)) * inputs / total),
    }
    if inputs <= FEW_CHANNELS:
        features["inputs.all_common"] = _log((kernel.mean(axis=(2, 3)) ** 2).mean(axis=1) * inputs * area / total)
        difference = kernel - kernel.mean(axis=2, keepdims=True)
        features["inputs.difference"] = _log((difference**2).mean(axis=(1, 2, 3)))
        features["inputs.shared"] = _log((kernel.mean(axis=2) ** 2).mean(axis=(1, 2)))
        of_channel = _log((kernel**2).mean(axis=(1, 3)))
        features["inputs.spread"] = of_channel.max(axis=1) - of_channel.min(axis=1)
        colour = (difference.mean(axis=3) ** 2).mean(axis=(1, 2)) * area
        features["inputs.colour_flat"] = _log(colour / ((difference**2).mean(axis=(1, 2, 3)) + TINY))
    if area == 1 or side * side != area:
        return features
    square = kernel.reshape(steps, -1, side, side)
    features["window.flat"] = _log((square.mean(axis=(2, 3)) ** 2).mean(axis=1) * area / total)
    along, down = square[..., 1:] * square[..., :-1], square[..., 1:, :] * square[..., :-1, :]
    features["window.along"] = along.mean(axis=(1, 2, 3)) / total
    features["window.down"] = down.mean(axis=(1, 2, 3)) / total
    features["window.diagonal"] = (square[..., 1:, 1:] * square[..., :-1, :-1]).mean(axis=(1, 2, 3)) / total
    if side > 2:
        features["window.along2"] = (square[..., 2:] * square[..., :-2]).mean(axis=(1, 2, 3)) / total
        features["window.down2"] = (square[..., 2:, :] * square[..., :-2, :]).mean(axis=(1, 2, 3)) / total
    features["window.mirror"] = (square * square[..., ::-1]).mean(axis=(1, 2, 3)) / total
    features["window.upside_down"] = (square * square[..., ::-1, :]).mean(axis=(1, 2, 3)) / total
    of_place = energy.reshape(steps, side, side)
    middle = of_place[:, side // 2, side // 2]
    corners = of_place[:, [0, 0, -1, -1], [0, -1, 0, -1]].mean(axis=1)
    features["window.middle"] = _log(middle / total)
    features["window.corners"] = _log(corners / total)
    features["window.deviation"] = _log(of_place.reshape(steps, -1)).std(axis=1)
    return features


def _vector(kind: str, x: npt.NDArray[np.float64]) -> Features:
    """A bias, or a scale, shift or moving statistic: one value per unit [T, o]."""
    logs = np.log10(np.abs(x) + TINY)
    features = {f"{kind}.q{i}": q for i, q in enumerate(np.quantile(x, UNIT_LEVELS, axis=1))}
    features |= {f"{kind}.log.q{i}": q for i, q in enumerate(np.quantile(logs, UNIT_LEVELS, axis=1))}
    mean, deviation = x.mean(axis=1), x.std(axis=1)
    features |= {
        f"{kind}.mean": mean,
        f"{kind}.log_deviation": _log(deviation),
        f"{kind}.log_rms": _log(_rms(x, 1)),
        f"{kind}.mean_by_deviation": mean / (deviation + TINY),
        f"{kind}.negative": (x < 0).mean(axis=1),
        f"{kind}.skewness": _skewness(x),
    }
    return features


def _relations(others: dict[str, npt.NDArray], kernel: npt.NDArray, norms: npt.NDArray, size: npt.NDArray) -> Features:
    """How a layer's vectors and its kernel [T, o, i, area] go together, unit by unit."""
    features: Features = {}
    flat_sum = kernel.sum(axis=(2, 3))
    if "bias" in others:
        features["bias.by_kernel"] = _log((_rms(others["bias"], 1) + TINY) / (size + TINY))
        features["bias~norms"] = _correlation(np.abs(others["bias"]), norms)
        features["bias~sums"] = _correlation(others["bias"], flat_sum)
    if "gamma" in others:
        features["gamma.from_one"] = _log(_rms(others["gamma"] - 1, 1))
        features["gamma~norms"] = _correlation(others["gamma"], norms)
        if "beta" in others:
            features["gamma~beta"] = _correlation(others["gamma"], others["beta"])
            features["beta.by_gamma"] = _log((_rms(others["beta"], 1) + TINY) / (_rms(others["gamma"], 1) + TINY))
    if "moving_variance" in others:
        variance = others["moving_variance"].clip(0)
        power = (kernel**2).sum(axis=(2, 3))
        ratio = _log((variance + TINY) / (power + TINY))
        features["variance.by_power"] = ratio.mean(axis=1)
        features["variance.by_power.deviation"] = ratio.std(axis=1)
        features["variance~power"] = _correlation(_log(variance + TINY), _log(power + TINY))
        # Inputs that go up and down together pass on the sum of the weights; independent ones their power.
        features["variance~sums"] = _correlation(variance, flat_sum**2)
        features |= {f"variance.{name}": v for name, v in _input_moments(variance, flat_sum**2, power).items()}
        if "moving_mean" in others:
            mean = others["moving_mean"] - others.get("bias", 0.0)
            features["mean.by_variance"] = _log(_rms(mean, 1) ** 2 / (variance.mean(axis=1) + TINY) + TINY)
            features["mean~sums"] = _correlation(mean, flat_sum)
            features["mean.per_sum"] = (mean * flat_sum).sum(axis=1) / ((flat_sum**2).sum(axis=1) + TINY)
            rest = mean - features["mean.per_sum"][:, None] * flat_sum
            features["mean.rest"] = _log(_rms(rest, 1) / (_rms(mean, 1) + TINY))
            if "bias" in others:
                features["mean~bias"] = _correlation(others["moving_mean"], others["bias"])
            if 1 < kernel.shape[2] <= FEW_CHANNELS:
                features |= _channel_means(mean, kernel.sum(axis=3))
    return features


def _input_moments(variance: npt.NDArray, sums: npt.NDArray, power: npt.NDArray) -> Features:
    """Variance of a unit's sum ≈ a · (sum of weights)² + b · power, by least squares over units [T, o]: a and b."""
    design = np.stack([sums, power], axis=2)  # [T, o, 2]
    weight = 1 / (power + TINY)[..., None]  # in proportion: large units do not rule
    left = (design * weight).transpose(0, 2, 1) @ (design * weight)
    right = ((design * weight).transpose(0, 2, 1) @ (variance[..., None] * weight))[..., 0]
    left = left + 1e-6 * (np.trace(left, axis1=1, axis2=2) + TINY)[:, None, None] * np.eye(2)
    found = np.linalg.solve(left, right[..., None])[..., 0]
    return {"common": _signed_log(found[:, 0]), "own": _signed_log(found[:, 1])}


def _channel_means(mean: npt.NDArray, sums: npt.NDArray) -> Features:
    """Mean of a unit's sum ≈ Σ channels (mean of the channel) · (sum of its weights), by ridge: [T, o], [T, o, i]."""
    left = sums.transpose(0, 2, 1) @ sums
    scale = np.trace(left, axis1=1, axis2=2)[:, None, None] / left.shape[1]
    left = left + (1e-3 * scale + TINY) * np.eye(left.shape[1])
    found = np.linalg.solve(left, sums.transpose(0, 2, 1) @ mean[..., None])[..., 0]  # [T, i]
    return {
        "channels.mean": found.mean(axis=1),
        "channels.first": found[:, 0],
        "channels.last": found[:, -1],
        "channels.deviation": found.std(axis=1),
    }


def _outgoing(following: npt.NDArray, norms: npt.NDArray, gamma: npt.NDArray | None) -> Features:
    """The weights of the next layer [T, o, i, …] by the unit of this layer that they read.

    A flattened map has several inputs of each unit, units changing fastest (height, width, channel).
    """
    steps, outputs, inputs = following.shape[:3]
    units = norms.shape[1]
    if inputs % units:
        return {}
    if following.ndim > 3:
        blocks = following.reshape(steps, outputs, 1, units, -1)
    else:
        blocks = following.reshape(steps, outputs, inputs // units, units, 1)
    out = np.sqrt((blocks**2).mean(axis=(1, 2, 4)))  # [T, units]
    relative = _log(out / (_rms(out, 1) + TINY)[:, None])
    features = {f"outgoing.q{i}": q for i, q in enumerate(np.quantile(relative, UNIT_LEVELS, axis=1))}
    features["outgoing.deviation"] = relative.std(axis=1)
    features["outgoing~norms"] = _correlation(out, norms)
    if gamma is not None:
        features["outgoing~gamma"] = _correlation(out, gamma)
    places = blocks.shape[2]
    side = round(places**0.5)
    if places > 1 and side * side == places:
        grid = blocks.reshape(steps, outputs, side, side, units)
        total = (grid**2).mean(axis=(1, 2, 3, 4)) + TINY
        features["places.along"] = (grid[:, :, :, 1:] * grid[:, :, :, :-1]).mean(axis=(1, 2, 3, 4)) / total
        features["places.down"] = (grid[:, :, 1:] * grid[:, :, :-1]).mean(axis=(1, 2, 3, 4)) / total
        features["places.common"] = _log((grid.mean(axis=(2, 3)) ** 2).mean(axis=(1, 2)) * places / total)
        energy = (grid**2).mean(axis=(1, 4))  # [T, side, side]
        inner = energy[:, 1:-1, 1:-1].mean(axis=(1, 2)) if side > 2 else energy.mean(axis=(1, 2))
        features["places.inner"] = _log(inner / total)
        features["places.upper"] = _log(energy[:, 0].mean(axis=1) / (energy[:, -1].mean(axis=1) + TINY))
        features["places.left"] = _log(energy[:, :, 0].mean(axis=1) / (energy[:, :, -1].mean(axis=1) + TINY))
        features["places.corners"] = _log(energy[:, [0, 0, -1, -1], [0, -1, 0, -1]].mean(axis=1) / total)
        features["places.deviation"] = _log(energy.reshape(steps, -1)).std(axis=1)
    return features


def _rms(x: npt.NDArray, axis: int | tuple[int, ...]) -> npt.NDArray[np.float64]:
    return np.sqrt((x**2).mean(axis=axis))


def _skewness(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    z = (x - x.mean(axis=1, keepdims=True)) / (x.std(axis=1, keepdims=True) + TINY)
    return (z * z * z).mean(axis=1)


def _log(x: npt.NDArray) -> npt.NDArray[np.float64]:
    return np.log10(np.abs(x) + TINY)


def _signed_log(x: npt.NDArray) -> npt.NDArray[np.float64]:
    """Logarithmic far from 0 and linear near it, keeping the sign."""
    return np.arcsinh(1e3 * x)


def _correlation(x: npt.NDArray, y: npt.NDArray) -> npt.NDArray[np.float64]:
    """Pearson's correlation of rows [T, n]; 0 where one of them is constant."""
    x, y = x - x.mean(axis=1, keepdims=True), y - y.mean(axis=1, keepdims=True)
    scale = np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
    return np.where(scale > TINY**2, (x * y).sum(axis=1) / np.where(scale > TINY**2, scale, 1), 0.0)
