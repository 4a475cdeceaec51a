"""Run numbers as they are typed: "A-B"."""

import pytest

from weightprint.errors import SetupError
from weightprint.zoo import Zoo, run_range


def test_both_ends_are_included():
    assert run_range("3-5") == range(3, 6)
    assert run_range("4-4", runs=5) == range(4, 5)


@pytest.mark.parametrize("text", ["", "3", "-", "3-", "-3", "5-3", "a-b", "1-2-3", "0-99999999999999999999"])
def test_anything_else_is_refused(text):
    with pytest.raises(SetupError, match="range must be two run numbers A-B"):
        run_range(text)


def test_a_range_beyond_the_runs_is_refused():
    with pytest.raises(SetupError, match="A ≤ B < 5"):
        run_range("3-5", runs=5)


def test_a_selection_takes_a_range_of_any_length(sampled_zoo):
    zoo = Zoo(sampled_zoo)
    assert zoo.select(numbers=run_range("1-1000000000000")).numbers == zoo.numbers[1:]
