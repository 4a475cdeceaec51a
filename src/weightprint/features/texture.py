"""Texture: what a slice of weights looks like, as a few hundred numbers that do not say where it lies.

Plain statistics of a slice lose its order and are ruled by the largest values. Here are, besides them: the shape of
the distribution apart from its scale, magnitudes on a logarithmic scale, which weights are alike at which distance
(a filter, a unit and a channel are stretches of fixed lengths), and how scale and mean change along the slice.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.fft

from weightprint.features.numbers import TINY

LEVELS = (0.002, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975, 0.99, 0.998)
"""Quantiles of the weights and of their magnitudes."""

CHUNK_LEVELS = (0, 0.05, 0.25, 0.5, 0.75, 0.95, 1)
"""Quantiles over the chunks of a slice."""

LAGS = (*range(1, 17), 18, 20, 24, 25, 27, 32, 48, 49, 50, 64, 75, 96, 100, 128, 147, 192, 200, 256, 400, 512)
"""Distances at which weights are compared: small ones; sides and areas of kernels (9, 25, 49) and their multiples by
three colours; common numbers of channels and units."""

BANDS = ((1, 4), (5, 16), (17, 64), (65, 256), (257, 1024))
"""Ranges of distances summed up, so that a network of other widths looks similar."""

OCTAVES = 8
"""Bands of the spectrum, each half as wide as the one above."""

CHUNKS = (8, 25, 64, 256)
"""Lengths of the chunks in which local scale and mean are measured."""

SHORTEST = 50
"""Shorter slices have no texture to speak of."""

_WEIGHTS_AT_ONCE = 1 << 15
"""So that intermediate arrays stay in the processor's cache."""

_NORMAL_IQR = 1.3489795
"""Distance between the quartiles of a standard normal distribution."""


def texture(x: npt.NDArray) -> tuple[npt.NDArray[np.float64], tuple[str, ...]]:
    """The texture of each row: [B, L] finite, B ≥ 1, L ≥ SHORTEST → (float64 [B, F], names [F]).

    All rows of one length have the same features; shorter ones lack distances and chunks beyond a half of them.
    """
    rows = max(1, _WEIGHTS_AT_ONCE // x.shape[1])
    parts: list[npt.NDArray] = []
    names: tuple[str, ...] = ()
    for first in range(0, len(x), rows):
        blocks = _blocks(x[first : first + rows])
        names = tuple(blocks)
        parts.append(np.column_stack(list(blocks.values())))
    return np.concatenate(parts), names


def _blocks(x: npt.NDArray) -> dict[str, npt.NDArray]:
    """Features by name, each [B]."""
    x = x.astype(np.float32, copy=False)  # twice as fast as float64
    exact = x.astype(np.float64)
    ordered = np.sort(x, axis=1).astype(np.float64)
    logs = np.log10(np.abs(x) + np.float32(TINY))
    low, median, high = (_quantile(ordered, level)[:, None] for level in (0.25, 0.5, 0.75))
    mean, deviation = exact.mean(axis=1), exact.std(axis=1)
    spread = (high - low) / _NORMAL_IQR
    spread = np.where(spread > 0, spread, np.where(deviation[:, None] > 0, deviation[:, None], 1.0))
    z = ((exact - median) / spread).astype(np.float32).clip(-1e6, 1e6)
    clipped = z.clip(-4, 4)

    features: dict[str, npt.NDArray] = {"mean": mean, "log_deviation": np.log10(deviation + TINY)}
    features["log_spread"] = np.log10(spread[:, 0])
    features["mean_by_spread"] = (mean / spread[:, 0]).clip(-1e6, 1e6)
    features["tails"] = np.log10(deviation / spread[:, 0] + TINY)
    square = clipped * clipped
    features["skewness"] = np.einsum("bl,bl->b", square, clipped) / x.shape[1]
    features["kurtosis"] = np.einsum("bl,bl->b", square, square) / x.shape[1]
    features["beyond_2"], features["beyond_4"] = (np.abs(z) > 2).mean(axis=1), (np.abs(z) > 4).mean(axis=1)
    features["zeros"] = (x == 0).mean(axis=1)
    for level in LEVELS:
        value = _quantile(ordered, level)
        features[f"q{level}"] = value
        features[f"shape.q{level}"] = ((value - median[:, 0]) / spread[:, 0]).clip(-1e6, 1e6)
    features["least"], features["largest"] = ordered[:, 0], ordered[:, -1]
    features |= _magnitudes(logs)
    features |= _differences(x, spread)
    features |= _likeness("values", clipped)
    centred = logs - features["log.q0.5"].astype(np.float32)[:, None]
    features |= _likeness("magnitudes", centred.clip(-1.5, 1))
    for length in CHUNKS:
        if 2 * length <= x.shape[1]:
            features |= _chunks(length, clipped, logs, z)
    features |= _stretches(x)
    return features


def _magnitudes(logs: npt.NDArray) -> dict[str, npt.NDArray]:
    ordered = np.sort(logs, axis=1)
    median = _quantile(ordered, 0.5)
    features = {"log.least": ordered[:, 0], "log.largest": ordered[:, -1], "log.deviation": logs.std(axis=1)}
    for level in LEVELS:
        value = _quantile(ordered, level)
        features[f"log.q{level}"] = value
        features[f"log.shape.q{level}"] = value - median
    return features


def _differences(x: npt.NDArray, spread: npt.NDArray) -> dict[str, npt.NDArray]:
    ordered = np.sort(np.abs(x[:, 1:] / 2 - x[:, :-1] / 2), axis=1).astype(np.float64)
    features = {}
    for level in (0.01, 0.1, 0.5, 0.9, 0.99):
        value = _quantile(ordered, level)
        features[f"step.q{level}"] = value
        features[f"step.shape.q{level}"] = (value / spread[:, 0]).clip(0, 1e6)
    return features


def _likeness(name: str, x: npt.NDArray) -> dict[str, npt.NDArray]:
    """Autocorrelation at LAGS and over BANDS, and the spectrum in octaves, of rows [B, L]."""
    length = x.shape[1]
    centred = x - x.mean(axis=1, keepdims=True)
    power = np.abs(scipy.fft.rfft(centred, scipy.fft.next_fast_len(2 * length, real=True), axis=1)) ** 2
    products = scipy.fft.irfft(power, axis=1)[:, : length // 2 + 1]
    total = np.where(products[:, :1] > 1e-20 * length, products[:, :1], 1.0)
    # Each distance has fewer pairs than the one before.
    r = products / total * (length / (length - np.arange(products.shape[1])))
    features = {f"{name}.lag{lag}": r[:, lag] for lag in LAGS if lag <= length // 2}
    for first, last in BANDS:
        band = r[:, first : last + 1]
        if last <= length // 2:
            features[f"{name}.lags{first}-{last}.mean"] = band.mean(axis=1)
            features[f"{name}.lags{first}-{last}.largest"] = band.max(axis=1)
            features[f"{name}.lags{first}-{last}.least"] = band.min(axis=1)
            features[f"{name}.lags{first}-{last}.rms"] = np.sqrt((band**2).mean(axis=1))
            features[f"{name}.lags{first}-{last}.place"] = first + band.argmax(axis=1).astype(np.float64)
    share = power / np.where(products[:, :1] > 1e-20 * length, power.sum(axis=1, keepdims=True), 1.0)
    stop = share.shape[1]
    for octave in range(OCTAVES):
        start = 0 if octave == OCTAVES - 1 else stop // 2
        features[f"{name}.octave{octave}"] = np.log10(share[:, start:stop].sum(axis=1) + TINY)
        stop = start
    return features


def _chunks(length: int, clipped: npt.NDArray, logs: npt.NDArray, z: npt.NDArray) -> dict[str, npt.NDArray]:
    """How local mean, scale and magnitude differ between chunks of `length` weights."""

    def cut(x: npt.NDArray) -> npt.NDArray:
        return x[:, : x.shape[1] // length * length].reshape(len(x), -1, length)

    parts, magnitudes = cut(clipped), cut(logs)
    local = {
        "mean": np.sqrt(length) * parts.mean(axis=2),
        "scale": np.log10(cut(z).std(axis=2) + TINY).clip(-6, 6),
        "magnitude": magnitudes.mean(axis=2),
    }
    features = {}
    for name, values in local.items():
        ordered = np.sort(values, axis=1)
        features[f"chunk{length}.{name}.deviation"] = values.std(axis=1)
        features[f"chunk{length}.{name}.change"] = np.abs(np.diff(values, axis=1)).mean(axis=1)
        for level in CHUNK_LEVELS:
            features[f"chunk{length}.{name}.q{level}"] = _quantile(ordered, level)
    return features


def _stretches(x: npt.NDArray) -> dict[str, npt.NDArray]:
    """The longest stretches of one sign, of zeros and of values near one, and what lies in the positive one.

    Variances, and mostly scales of normalisation, are the stretches where every value is above zero.
    """
    features = {}
    start, count = _longest(x > 0)
    features["positive.longest"] = count
    inside = [row[s : s + n] for row, s, n in zip(x.astype(np.float64), start, count, strict=True)]
    features["positive.mean"] = np.array([np.log10(v.mean() + TINY) if len(v) else -12.0 for v in inside])
    features["positive.deviation"] = np.array([np.log10(v.std() + TINY) if len(v) else -12.0 for v in inside])
    masks = {"negative": x < 0, "zero": x == 0, "one": np.abs(x - 1) < 0.2, "small": np.abs(x) < 1e-3}
    features |= {f"{name}.longest": _longest(mask)[1] for name, mask in masks.items()}
    return {name: np.asarray(value, np.float64) for name, value in features.items()}


def _longest(mask: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Start and length of the longest stretch of True in each row, the first of equals: [B, L] → ([B], [B])."""
    place = np.arange(1, mask.shape[1] + 1)
    last_false = np.maximum.accumulate(np.where(mask, 0, place), axis=1)
    count = place - last_false
    end = count.argmax(axis=1)
    length = count[np.arange(len(mask)), end]
    return end + 1 - length, length


def _quantile(ordered: npt.NDArray[np.float64], level: float) -> npt.NDArray[np.float64]:
    """A quantile of rows in ascending order, linearly interpolated: [B, L] → [B]."""
    place = level * (ordered.shape[1] - 1)
    below = int(place)
    above = min(below + 1, ordered.shape[1] - 1)
    return ordered[:, below] + (ordered[:, above] - ordered[:, below]) * (place - below)
