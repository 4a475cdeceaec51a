"""What a layer's vectors look like (bias, scale, shift, moving statistics), and how they go with its kernels."""

from __future__ import annotations

import numpy as np

from weightprint.features.kernels import FEW_CHANNELS, UNIT_LEVELS
from weightprint.features.layers import Kernel
from weightprint.features.numbers import TINY, Features, Floats, correlation, log10, quantiles, rms, signed_log

_GRID = np.linspace(0, 1, 33)[1:-1]


def vectors(others: dict[str, Floats], fan_in: int | None) -> Features:
    """Each of a layer's vectors by itself: bias, scale, shift or moving statistic, one value per unit [T, o].

    fan_in: inputs of the layer's kernel; PyTorch draws a bias between ±1/√fan_in, as it does the kernel
    """
    features: Features = {}
    for length in dict.fromkeys(values.shape[1] for values in others.values()):
        kinds = [kind for kind, values in others.items() if values.shape[1] == length]
        columns = _statistics(np.concatenate([others[kind] for kind in kinds]))
        for i, kind in enumerate(kinds):
            rows = slice(i * len(others[kind]), (i + 1) * len(others[kind]))
            features |= {f"{kind}.{name}": value[rows] for name, value in columns.items()}
    if "bias" in others and fan_in is not None:
        features |= {f"bias.{name}": value for name, value in _against_default(others["bias"], fan_in).items()}
    return features


def _statistics(x: Floats) -> Features:
    """Scale and shape of rows [R, o]; what is said of all vectors of a layer at once costs as much as of one."""
    ordered = np.sort(x, axis=1)
    sizes = np.sort(log10(x), axis=1)
    at_levels, of_size = quantiles(ordered, (0, 0.5, 1)), quantiles(sizes, (0.1, 0.5, 0.9))
    mean = x.mean(axis=1)
    centred = x - mean[:, None]
    square = np.square(centred)
    variance = square.mean(axis=1)
    deviation = np.sqrt(variance) + TINY
    size = np.sqrt(variance + mean**2)
    return {
        **{f"absolute.q{level}": at_levels[:, i] for i, level in enumerate((0, 0.5, 1))},
        **{f"absolute.log.q{level}": of_size[:, i] for i, level in enumerate((0.1, 0.5, 0.9))},
        **{f"q{level}": at_levels[:, i] / (size + TINY) for i, level in enumerate((0, 0.5, 1))},
        "absolute.mean": mean,
        "absolute.log_rms": log10(size),
        "absolute.log_deviation": log10(deviation),
        "mean_by_deviation": mean / deviation,
        "negative": (x < 0).mean(axis=1),
        "zeros": (x == 0).mean(axis=1),
        "skewness": (square * centred).mean(axis=1) / deviation**3,
        "kurtosis": log10(np.square(square).mean(axis=1) / deviation**4),
        "spread": of_size[:, 2] - of_size[:, 0],
    }


def _against_default(bias: Floats, fan_in: int) -> Features:
    """A bias [T, o] in units of the bound between which PyTorch draws it."""
    ordered = np.sort(bias, axis=1) * np.sqrt(fan_in)
    levels = quantiles(ordered, _GRID)
    return {
        "scaled.mean": ordered.mean(axis=1),
        "scaled.rms": log10(rms(ordered, 1)),
        "scaled.largest": log10(np.maximum(-ordered[:, 0], ordered[:, -1])),
        "scaled.middle": log10(levels[:, len(_GRID) // 2]),
        "beyond.torch_default": np.log10((np.abs(ordered) > 1.0005).mean(axis=1) + 1e-3),
        "from.torch_default": np.abs(((levels + 1) / 2).clip(0, 1) - _GRID).max(axis=1),
    }


def relations(others: dict[str, Floats], kernel: Kernel) -> Features:
    """How a layer's vectors [T, o] and its kernel go together, unit by unit."""
    features: Features = {}
    sums, power = kernel.unit_sums, kernel.unit_powers
    norms = np.sqrt(power)
    others = {kind: values[:, kernel.units] for kind, values in others.items()}
    if (bias := others.get("bias")) is not None:
        features["bias.by_kernel"] = log10((rms(bias, 1) + TINY) / kernel.scale)
        features["bias~norms"] = correlation(bias, norms)
        features["bias.size~norms"] = correlation(np.abs(bias), norms)
        features["bias~sums"] = correlation(bias, sums)
    gamma, beta = others.get("gamma"), others.get("beta")
    if gamma is not None:
        features["gamma.from_one"] = log10(rms(gamma - 1, 1))
        features["gamma.below_one"] = (gamma < 1).mean(axis=1)
        features["gamma~norms"] = correlation(gamma, norms)
        if beta is not None:
            features["gamma~beta"] = correlation(gamma, beta)
            features["beta.by_gamma"] = log10((rms(beta, 1) + TINY) / (rms(gamma, 1) + TINY))
    if (variance := others.get("moving_variance")) is not None:
        features |= _moving(others, variance.clip(0) / kernel.scale[:, None] ** 2, sums, power, kernel)
    return features


def _moving(others: dict[str, Floats], variance: Floats, sums: Floats, power: Floats, kernel: Kernel) -> Features:
    """What moving statistics tell of a layer's inputs; variance [T, o] in units of the kernel's mean square."""
    ratio = log10((variance + TINY) / (power + TINY))
    # Inputs that go up and down together pass on the sum of the weights; independent ones their power.
    features: Features = {
        "variance.by_power": ratio.mean(axis=1),
        "variance.by_power.deviation": ratio.std(axis=1),
        "variance~power": correlation(log10(variance), log10(power)),
        "variance~sums": correlation(variance, sums**2),
        **_input_moments(variance, sums**2, power),
    }
    if "moving_mean" not in others:
        return features
    mean = (others["moving_mean"] - others.get("bias", 0.0)) / kernel.scale[:, None]
    per_sum = (mean * sums).sum(axis=1) / ((sums**2).sum(axis=1) + TINY)
    rest = mean - per_sum[:, None] * sums
    features |= {
        "mean.by_variance": log10(rms(mean, 1) ** 2 / (variance.mean(axis=1) + TINY)),
        "mean~sums": correlation(mean, sums),
        "mean.per_sum": per_sum,
        "mean.rest": log10(rms(rest, 1) / (rms(mean, 1) + TINY)),
    }
    if "bias" in others:
        features["mean~bias"] = correlation(others["moving_mean"], others["bias"])
    if 1 < kernel.all_channels <= FEW_CHANNELS and kernel.groups == 1:
        features |= _channel_means(mean, kernel.values.sum(axis=(3, 4)).astype(np.float64))
    return features


def _input_moments(variance: Floats, sums: Floats, power: Floats) -> Features:
    """Variance of a unit's sum ≈ a · (sum of weights)² + b · power, by least squares over units [T, o]: a and b."""
    weight = 1 / (power + TINY)  # in proportion: large units do not rule
    design = np.stack([sums, power], axis=2) * weight[..., None]  # [T, o, 2]
    left = design.transpose(0, 2, 1) @ design
    right = design.transpose(0, 2, 1) @ (variance * weight)[..., None]
    left = left + 1e-6 * (np.trace(left, axis1=1, axis2=2) + TINY)[:, None, None] * np.eye(2)
    solution = np.linalg.solve(left, right)[..., 0]
    return {"variance.common": signed_log(solution[:, 0]), "variance.own": signed_log(solution[:, 1])}


def _channel_means(mean: Floats, sums: Floats) -> Features:
    """Mean of a unit's sum ≈ Σ channels (mean of the channel) · (sum of its weights), by ridge: [T, o], [T, o, i]."""
    left = sums.transpose(0, 2, 1) @ sums
    scale = np.trace(left, axis1=1, axis2=2)[:, None, None] / left.shape[1]
    left = left + (1e-3 * scale + TINY) * np.eye(left.shape[1])
    means = np.linalg.solve(left, sums.transpose(0, 2, 1) @ mean[..., None])[..., 0]  # [T, i]
    return {"channels.mean": means.mean(axis=1), "channels.deviation": means.std(axis=1)}


def outgoing(reading: Floats, summed: Floats, norms: Floats, others: dict[str, Floats]) -> Features:
    """How strongly the next layer reads each unit, and what that has to do with the unit's own weights.

    reading: size of the next layer's weights for each unit [T, o], any scale
    summed:  their sums, in the same units
    norms:   sizes of the units' own weights [T, o]
    others:  bias and gamma of the same units
    """
    size = rms(reading, 1)[:, None] + TINY
    logs = log10(reading / size)
    ordered = np.sort(logs, axis=1)
    at_levels = quantiles(ordered, UNIT_LEVELS)
    log_norms = log10(norms)
    features: Features = {f"outgoing.q{level}": at_levels[:, i] for i, level in enumerate(UNIT_LEVELS)}
    features |= {
        "outgoing.deviation": ordered.std(axis=1),
        "outgoing.dead": ((ordered < -1).mean(axis=1)),
        "outgoing~norms": correlation(reading, norms),
        "outgoing.log~norms": correlation(logs, log_norms),
        # Of layers that a gradient flow trained from little, both sides of a unit weigh the same.
        "outgoing.by_norms.deviation": (logs - log_norms).std(axis=1),
        "outgoing.sums~norms": correlation(summed, norms),
    }
    if "gamma" in others:
        features["outgoing~gamma"] = correlation(reading, others["gamma"])
    if "bias" in others:
        features["outgoing~bias"] = correlation(reading, others["bias"])
        features["outgoing.sums~bias"] = correlation(summed, others["bias"])
    return features
