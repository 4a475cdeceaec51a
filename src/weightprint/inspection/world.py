"""The known world: how far outside the networks that the shipped meta-classifier learnt from another one lies.

Two tests. By structure: what sort of network it is, which needs no statistics. By weights: the share of its features
that lie beyond the outermost hundredth of the known networks' on either side, compared with the same share of known
networks that were held out; for all features, and for each role that a layer plays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from weightprint.features.anatomy import shapes
from weightprint.features.table import Table
from weightprint.zoo.layout import Layout

Floats = npt.NDArray[np.float64]

BEYOND = 0.01
"""Share of the known networks on either side beyond which a feature counts as outside."""

LEVEL = 0.01
"""A network is outside when a share of known networks below this has as many features outside."""

FEWEST = 20
"""Known networks that must have a feature for it to count."""

SIZE_MARGIN = 2.0
"""A network is too large when it has so many times the weights, or layers, of the largest known one."""


@dataclass(frozen=True)
class Outlyingness:
    """How far outside a network lies.

    share:   of its features that are outside
    p_value: share of held-out known networks with at least as many features outside
    roles:   the shares of each role that its layers play, and their p-values: role → (share, p_value)
    reasons: sentences on why it is outside; empty for one that is not
    """

    share: float
    p_value: float
    roles: Mapping[str, tuple[float, float]]
    reasons: tuple[str, ...]

    @property
    def outside(self) -> bool:
        return bool(self.reasons)

    def to_json(self) -> dict[str, Any]:
        return {
            "outside": self.outside,
            "share": round(self.share, 4),
            "p_value": round(self.p_value, 4),
            "layers": {role: {"share": round(s, 4), "p_value": round(p, 4)} for role, (s, p) in self.roles.items()},
            "reasons": list(self.reasons),
        }


@dataclass(frozen=True)
class World:
    """The known world.

    names:     of the columns that are compared [F]
    low, middle, high: the known networks' outermost hundredths and median [F]
    shares:    of held-out known networks, by role and "all": sorted
    weights, layers: of the largest known network
    outputs:   fewest and most outputs of known networks
    """

    names: tuple[str, ...]
    low: Floats
    middle: Floats
    high: Floats
    shares: Mapping[str, Floats]
    weights: int
    layers: int
    outputs: tuple[int, int]

    @classmethod
    def of(cls, tables: Sequence[Table], layouts: Sequence[Layout], folds: Sequence[int]) -> World:
        """From one row of each known network; `folds` deals them into groups, each compared with the others."""
        names = tuple(dict.fromkeys(n for table in tables for n in table.names if not n.startswith("shape/")))
        rows = np.concatenate([table.aligned(names) for table in tables]).astype(np.float64)
        enough = (~np.isnan(rows)).sum(axis=0) >= FEWEST
        rows, names = rows[:, enough], tuple(n for n, kept in zip(names, enough.tolist(), strict=True) if kept)
        fold = np.array(folds)
        shares: dict[str, list[float]] = {}
        for k in np.unique(fold):
            low, high = _edges(rows[fold != k])
            for row in rows[fold == k]:
                for role, share in _shares(row, names, low, high).items():
                    shares.setdefault(role, []).append(share)
        low, high = _edges(rows)
        middle = np.nanmedian(rows, axis=0)
        ordered = {role: np.sort(found) for role, found in shares.items()}
        facts = [shapes(layout) for layout in layouts]
        outputs = [int(f["output.units"]) for f in facts if "output.units" in f]
        weights, layers = max(layout.size for layout in layouts), int(max(f["layers"] for f in facts))
        return cls(names, low, middle, high, ordered, weights, layers, (min(outputs), max(outputs)))

    def look(self, table: Table, layout: Layout) -> Outlyingness:
        """How far outside a network lies whose anatomy is a row of `table`."""
        found = _shares(table.aligned(self.names)[0].astype(np.float64), self.names, self.low, self.high)
        roles = {role: (share, self._p_value(role, share)) for role, share in found.items()}
        share, p_value = roles.pop("all", (1.0, 0.0))
        reasons = list(self._structure(layout))
        if p_value < LEVEL:
            reasons.append(
                f"its weights look like none that are known: {share:.0%} of their features lie beyond the outermost "
                f"hundredth of known networks (of known ones held out, {p_value:.1%} have as many)"
            )
        return Outlyingness(share, p_value, roles, tuple(reasons))

    def _structure(self, layout: Layout) -> Sequence[str]:
        """Sentences on what sort of network it is, where that is none of the known sort: image classifiers made of
        convolutions and fully connected layers."""
        facts, reasons = shapes(layout), []
        special = sorted({tensor.role for tensor in layout if tensor.role is not None})
        if special:
            known = "convolutions and fully connected layers"
            reasons.append(f"it has {', '.join(special)} tensors; known are {known} alone")
        if "output.units" not in facts:
            reasons.append("it does not end in a fully connected layer")
        elif not self.outputs[0] / 2 <= facts["output.units"] <= 20 * self.outputs[1]:
            known = " to ".join(map(str, sorted(set(self.outputs))))
            reasons.append(f"it has {facts['output.units']:.0f} outputs; known networks have {known}")
        if layout.size > SIZE_MARGIN * self.weights:
            reasons.append(f"it has {layout.size:,} weights; the largest known network has {self.weights:,}")
        if facts["layers"] > SIZE_MARGIN * self.layers:
            reasons.append(f"it has {facts['layers']:.0f} layers with weights; the deepest known one has {self.layers}")
        return reasons

    def _p_value(self, role: str, share: float) -> float:
        known = self.shares.get(role)
        if known is None or not len(known):
            return 0.0
        return float((1 + (known >= share - 1e-12).sum()) / (1 + len(known)))

    def to_json(self) -> dict[str, Any]:
        """What `from_json` takes."""
        return {
            **vars(self),
            "names": list(self.names),
            **{name: [float(f"{v:.6g}") for v in getattr(self, name)] for name in ("low", "middle", "high")},
            "shares": {role: [round(float(v), 5) for v in found] for role, found in self.shares.items()},
            "outputs": list(self.outputs),
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> World:
        low, middle, high = (np.array(fields[name], np.float64) for name in ("low", "middle", "high"))
        shares = {role: np.array(found, np.float64) for role, found in fields["shares"].items()}
        fewest, most = fields["outputs"]
        names = tuple(fields["names"])
        return cls(names, low, middle, high, shares, fields["weights"], fields["layers"], (fewest, most))


def _edges(rows: Floats) -> tuple[Floats, Floats]:
    """A feature's outermost hundredths among the networks that have it [F]; no bound where none has it."""
    ordered = np.sort(rows, axis=0)  # NaN last
    counts = (~np.isnan(rows)).sum(axis=0)
    columns = np.arange(rows.shape[1])
    low = ordered[np.floor(BEYOND * np.maximum(counts - 1, 0)).astype(int), columns]
    high = ordered[np.ceil((1 - BEYOND) * np.maximum(counts - 1, 0)).astype(int), columns]
    return np.where(counts > 0, low, -np.inf), np.where(counts > 0, high, np.inf)


def _shares(row: Floats, names: Sequence[str], low: Floats, high: Floats) -> dict[str, float]:
    """The share of features outside, of all ("all") and of each role."""
    has = ~np.isnan(row)
    outside = has & ((row < low) | (row > high))
    found = {"all": float(outside.sum() / has.sum()) if has.any() else 1.0}
    roles = np.array([name.partition(": ")[0] for name in names])
    for role in np.unique(roles):
        own = has & (roles == role)
        if own.sum() >= 5:
            found[str(role)] = float(outside[own].sum() / own.sum())
    return found
