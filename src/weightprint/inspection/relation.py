"""What two networks have to do with each other, decided from how alike their layers are.

The bounds were set on small networks that were trained for it: two moments of one training, a network and what was
fine-tuned from it, two trainings from one start, strangers. docs/inspect.md says how often they were right on others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import chi2

from weightprint.inspection.matching import Pairing

RELATED = 1e-6
"""p of units in their places below which two networks are related."""

CLOSE, SLOPE, OTHER_TRAINING = 0.8, 0.85, 0.65
"""Median correlation, and slope (how much of one network's weights is in the other's), from which on networks
are close; bound of both up to which they share their start alone. Between those they are related."""

MATCHED = 0.35
"""Units were put in another order where the order found makes weights more alike than chance by this correlation:
strangers that learnt the same images reach 0.2."""

EXACT = 1e-3
"""Distance of layers that are equal but for rounding, once units are in order."""

NEW_HEAD = 0.4
"""Correlation of output layers up to which they have nothing to do with each other."""

ANSWERS = {
    **dict.fromkeys(("equal", "rounded", "reordered"), ("yes", "no")),
    "fine_tuned": ("no", "yes"),
    **dict.fromkeys(("close", "related"), ("possible", "possible")),
    **dict.fromkeys(("same_start", "unrelated"), ("no", "no")),
    "cannot say": ("cannot say", "cannot say"),
}
"""Relation → same run?, one fine-tuned from the other?"""

SENTENCES = {
    "equal": "The same network: every weight is equal.",
    "rounded": "The same network: weights differ by rounding alone, as after a change of number format.",
    "reordered": "The same network, its hidden units in another order.",
    "fine_tuned": "One was fine-tuned from the other, or both from a third.",
    "close": "Closely related: two moments of one training, one fine-tuned from the other, or two trainings from one "
    "start on the same images. Weights alone do not tell these apart.",
    "same_start": "They share their initial weights, or an early moment of training; from there they went apart.",
    "related": "Related: whether one continues the other, or both only began alike, cannot be said.",
    "unrelated": "Unrelated: nothing is alike beyond chance.",
    "cannot say": "Cannot say: there are no layers of equal shape, with enough units, to compare.",
}


@dataclass(frozen=True)
class LayerPair:
    """One layer of both networks.

    names:   in the first and in the second file
    shape:   of the kernel
    equal:   whether all its tensors are, bit for bit as float32
    rounded: whether its weights differ by no more than bfloat16 rounds, each
    output:  whether it is the last one, whose units keep their places
    pairing: None where weights are NaN or infinite
    sampled: whether chosen units were looked at
    """

    names: tuple[str, str]
    shape: tuple[int, ...]
    equal: bool
    rounded: bool
    output: bool
    pairing: Pairing | None
    sampled: bool

    def to_json(self) -> dict[str, Any]:
        found = {"names": list(self.names), "shape": list(self.shape), "equal": self.equal}
        measured = {} if self.pairing is None else vars(self.pairing)
        rounded = {key: _rounded(value) for key, value in measured.items()}
        return {**found, "output": self.output, "sampled": self.sampled, **rounded}


@dataclass(frozen=True)
class Comparison:
    """Two files, compared.

    files:             their paths
    same_architecture: whether the layers with kernels have equal shapes in equal order
    relation:          a key of SENTENCES
    evidence:          sentences
    layers:            pairs of layers of equal shape, in forward order
    left_out:          of each file, the layers that have no like in the other
    """

    files: tuple[str, str]
    same_architecture: bool
    relation: str
    evidence: tuple[str, ...]
    layers: tuple[LayerPair, ...]
    left_out: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())

    @property
    def sentence(self) -> str:
        return SENTENCES[self.relation]

    @property
    def answers(self) -> Mapping[str, str]:
        """Each question → "yes", "no", "possible" or "cannot say"."""
        same_run, fine_tuned = ANSWERS[self.relation]
        same_architecture = "yes" if self.same_architecture else "no"
        return {"same_architecture": same_architecture, "same_run": same_run, "fine_tuned": fine_tuned}

    def to_json(self) -> dict[str, Any]:
        return {
            "files": list(self.files),
            "relation": self.relation,
            "sentence": self.sentence,
            **self.answers,
            "evidence": list(self.evidence),
            "layers": [layer.to_json() for layer in self.layers],
            "left_out": [list(names) for names in self.left_out],
        }


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}")
    return [_rounded(v) for v in value] if isinstance(value, tuple) else value


def decided(layers: Sequence[LayerPair], *, whole: bool, equal: bool) -> tuple[str, tuple[str, ...]]:
    """The relation and its evidence.

    whole: whether the layers are all that both networks have
    equal: whether every tensor is equal, those without a kernel included
    """
    if whole and layers and equal:
        return "equal", (f"all tensors of {len(layers)} layers are equal",)
    pairings = [layer.pairing for layer in layers if layer.pairing is not None]
    hidden = [layer.pairing for layer in layers if layer.pairing is not None and not layer.output]
    if whole and layers and len(pairings) == len(layers) and all(layer.rounded for layer in layers):
        return "rounded", ("no weight differs by more than the 256th part of it",)
    if not hidden:
        return "cannot say", ()
    p = _combined([one.p for one in hidden])
    if p >= RELATED:
        return _reordered(pairings, hidden, p, whole)
    correlation = float(np.median([one.correlation for one in hidden]))
    slope = float(np.median([max(one.slopes) for one in hidden]))
    evidence = [
        f"units in their places are more alike than pairs at random: p {_p(p)}",
        f"correlation of the hidden layers' weights {correlation:.2f} in the median, slope {slope:.2f}",
    ]
    frozen = [layer.names[0] for layer in layers if layer.equal]
    output = next((layer.pairing for layer in layers if layer.output and layer.pairing is not None), None)
    new_head = output is None or output.correlation < NEW_HEAD
    if correlation >= CLOSE and (frozen or new_head):
        if frozen:
            evidence.append(f"{len(frozen)} of {len(layers)} layers are equal, the others not: they were frozen")
        if new_head:
            evidence.append("the output layers have nothing to do with each other: the head was replaced")
        return "fine_tuned", tuple(evidence)
    if correlation >= CLOSE and slope >= SLOPE:
        return "close", tuple(evidence)
    if max(correlation, slope) <= OTHER_TRAINING:
        evidence.append("most of what each has learnt is not in the other")
        return "same_start", tuple(evidence)
    return "related", tuple(evidence)


def _reordered(
    pairings: Sequence[Pairing], hidden: Sequence[Pairing], p: float, whole: bool
) -> tuple[str, tuple[str, ...]]:
    """Units in their places are strangers: whether they are not in another order."""
    in_place = f"units in their places are no more alike than pairs at random: p {_p(p)}"
    if whole and all(one.matched_distance is not None and one.matched_distance < EXACT for one in pairings):
        return "reordered", (in_place, "with its units in the order found, every layer is equal")
    above = [
        one.matched_correlation - one.chance
        for one in hidden
        if one.matched_correlation is not None and one.chance is not None
    ]
    if above and float(np.median(above)) > MATCHED:
        text = f"with units in the order found, correlations are {np.median(above):.2f} above those of a random order"
        return "related", (in_place, text)
    if not above:
        return "unrelated", (in_place,)
    text = f"no order of the units makes them more alike than kin are: {np.median(above) + 0.0:+.2f} beside chance"
    return "unrelated", (in_place, text)


def _combined(ps: Sequence[float]) -> float:
    """One p of several independent ones (R. A. Fisher, Statistical Methods for Research Workers, 1932)."""
    return float(chi2.sf(-2 * sum(math.log(max(p, 1e-300)) for p in ps), 2 * len(ps)))


def _p(p: float) -> str:
    return f"{p:.2g}" if p >= 1e-12 else "below 1e-12"
