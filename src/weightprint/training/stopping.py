"""When a run ends, and which of its evaluations become snapshots."""

from __future__ import annotations

from weightprint.errors import SetupError
from weightprint.setups.recipe import EARLIEST_STOP


class EarlyStopping:
    """The protocol's three rules on the validation accuracy, evaluation by evaluation.

    Five falls in a row (an unchanged value neither counts nor resets), or thirty evaluations in all below the
    running mean, or thirty unchanged in a row.

    earliest: evaluations that must exist before `stops` can be true
    smoothed: running mean of the accuracies, half old and half new
    """

    falls_in_a_row, below_mean_in_all, unchanged_in_a_row = 5, 30, 30

    def __init__(self, earliest: int = EARLIEST_STOP) -> None:
        self.earliest = earliest
        self.evaluations = 0
        self.smoothed = 0.0
        self._last = 0.0
        self._falls = self._below = self._unchanged = 0

    def add(self, accuracy: float) -> bool:
        """Take the next validation accuracy; true when the run should stop."""
        if self.evaluations == 0:
            self.smoothed = accuracy
        else:
            self._unchanged = self._unchanged + 1 if accuracy == self._last else 0
            if accuracy < self._last:
                self._falls += 1
            elif accuracy > self._last:
                self._falls = 0
            self._below += accuracy < self.smoothed
            self.smoothed = 0.5 * self.smoothed + 0.5 * accuracy
        self._last = accuracy
        self.evaluations += 1
        return self.evaluations >= self.earliest and (
            self._falls >= self.falls_in_a_row
            or self._below >= self.below_mean_in_all
            or self._unchanged >= self.unchanged_in_a_row
        )


def evenly_spaced(evaluations: int, snapshots: int) -> list[int]:
    """Which evaluations (from 0) become snapshots: evenly spaced from the first to the last, all when too few.

    Raises SetupError when fewer than one snapshot is asked for.
    """
    if snapshots < 1:
        raise SetupError(f"at least one snapshot is needed, not {snapshots}")
    if evaluations <= snapshots:
        return list(range(evaluations))
    if snapshots == 1:
        return [evaluations - 1]
    steps = snapshots - 1
    return [(2 * t * (evaluations - 1) + steps) // (2 * steps) for t in range(snapshots)]
