import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightprint.errors import SetupError
from weightprint.training.stopping import EarlyStopping, evenly_spaced


def stops_at(accuracies, earliest=1):
    stopping = EarlyStopping(earliest)
    for number, accuracy in enumerate(accuracies, start=1):
        if stopping.add(accuracy):
            return number
    return None


def test_five_falls_in_a_row_end_a_run():
    assert stops_at([0.9, 0.8, 0.7, 0.6, 0.5, 0.4]) == 6
    assert stops_at([0.9, 0.8, 0.7, 0.6, 0.5, 0.6, 0.5, 0.4]) is None


def test_an_unchanged_value_neither_counts_nor_resets_the_falls():
    assert stops_at([0.9, 0.8, 0.7, 0.7, 0.6, 0.5, 0.5, 0.4]) == 8


def test_thirty_evaluations_below_the_running_mean_end_a_run():
    """A saw-tooth is below its running mean at every second evaluation, and never falls twice in a row."""
    saw_tooth = [0.5 if i % 2 == 0 else 0.4 for i in range(100)]
    assert stops_at(saw_tooth) == 60


def test_thirty_unchanged_in_a_row_end_a_run():
    assert stops_at([0.1] * 100) == 31
    assert stops_at([0.1] * 30 + [0.2] * 30 + [0.3] * 30) is None


def test_nothing_ends_a_run_before_there_are_enough_evaluations():
    assert stops_at([1 - i / 100 for i in range(50)], earliest=20) == 20


def test_the_smoothed_accuracy_is_half_old_and_half_new():
    stopping = EarlyStopping()
    for accuracy in (0.2, 0.4, 0.8):
        stopping.add(accuracy)
    assert stopping.smoothed == pytest.approx(0.5 * (0.5 * 0.2 + 0.5 * 0.4) + 0.5 * 0.8)


@given(st.integers(1, 2000), st.integers(1, 50))
def test_snapshots_are_evenly_spaced_from_first_to_last(evaluations, snapshots):
    kept = evenly_spaced(evaluations, snapshots)
    assert len(kept) == min(evaluations, snapshots)
    assert kept[-1] == evaluations - 1
    if len(kept) > 1:
        assert kept[0] == 0
        gaps = {b - a for a, b in itertools.pairwise(kept)}
        assert min(gaps) >= 1
        assert max(gaps) - min(gaps) <= 1


def test_no_snapshot_at_all_is_refused():
    with pytest.raises(SetupError, match="at least one snapshot"):
        evenly_spaced(10, 0)
