"""Whether probabilities mean what they say: temperature, calibration error against its null, reliability.

Per run: the mean probabilities of a run, or those of one of its snapshots, never several of one run.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from weightprint.evaluation.intervals import Floats, wilson
from weightprint.seeds import seed_from_hash

BINS = 10
"""Of confidence, equally wide."""

DRAWS = 5000
"""Of labels for the null of the calibration error."""

TEMPERATURES = (0.05, 20.0)
"""Between which the temperature is looked for; a few validation runs that are all right would ask for 0."""

_TINY = 1e-12


def temperature(probabilities: Floats, truth: npt.NDArray[np.intp]) -> float:
    """The temperature at which probabilities [N, C] make the truth [N] most likely, within TEMPERATURES.

    Source: Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks", ICML 2017, section 4.2; the
    logarithms of the probabilities stand for the logits, which differ from them by a constant per row.
    """
    from scipy.optimize import minimize_scalar

    def loss(log_temperature: float) -> float:
        return log_loss(tempered(probabilities, float(np.exp(log_temperature))), truth)

    bounds = tuple(np.log(TEMPERATURES))
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))


def tempered(probabilities: Floats, temperature: float) -> Floats:
    """Probabilities [N, C] at another temperature: proportional to p^(1/temperature)."""
    from scipy.special import softmax

    return softmax(np.log(np.maximum(probabilities, _TINY)) / temperature, axis=1)


def log_loss(probabilities: Floats, truth: npt.NDArray[np.intp]) -> float:
    """Mean of −log p of the true class, natural logarithm."""
    return float(-np.log(np.maximum(probabilities[np.arange(len(truth)), truth], _TINY)).mean())


def calibration_scores(
    probabilities: Floats, truth: npt.NDArray[np.intp], *, bins: int = BINS, draws: int = DRAWS, seed: int = 0
) -> dict[str, Any]:
    """Calibration of probabilities [N, C] for the class numbers [N]: a JSON-ready document.

    "ece" has its "value", the "null" it is to be compared with (what a perfectly calibrated model with these
    confidences gets on as many runs: mean, 95 % interval) and a "p_value" (how often the null is as large).
    "bins" are the points of a reliability diagram: only bins that have a run, with a Wilson interval.
    """
    n = len(truth)
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == truth
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    value = float(_ece(right[None], confidence, bin_of, bins)[0])
    # A label drawn from the probabilities is the likeliest class with a probability that is the confidence.
    drawn = np.random.default_rng(seed_from_hash("ece null", seed)).random((draws, n)) < confidence
    null = _ece(drawn, confidence, bin_of, bins)
    low, high = np.quantile(null, [0.025, 0.975])
    points = [
        {
            "from": k / bins,
            "to": (k + 1) / bins,
            "n": int(inside.sum()),
            "confidence": float(confidence[inside].mean()),
            "accuracy": float(right[inside].mean()),
            "interval": list(wilson(int(right[inside].sum()), int(inside.sum()))),
        }
        for k in range(bins)
        if (inside := bin_of == k).any()
    ]
    is_class = np.arange(probabilities.shape[1]) == truth[:, None]
    return {
        "n": n,
        "accuracy": float(right.mean()),
        "mean_confidence": float(confidence.mean()),
        "log_loss": log_loss(probabilities, truth),
        "brier": float(((probabilities - is_class) ** 2).sum(axis=1).mean()),
        "ece": {
            "value": value,
            "null": {"mean": float(null.mean()), "interval": [float(low), float(high)], "draws": draws},
            "p_value": float((1 + (null >= value - 1e-12).sum()) / (1 + draws)),
        },
        "bins": points,
    }


def _ece(right: npt.NDArray[np.bool_], confidence: Floats, bin_of: npt.NDArray[np.intp], bins: int) -> Floats:
    """Expected calibration error of each row of `right` [D, N]: Σ over bins of |right − confidence summed| / N."""
    member = np.arange(bins) == bin_of[:, None]  # [N, bins]
    return np.abs((right - confidence) @ member).sum(axis=1) / len(confidence)
