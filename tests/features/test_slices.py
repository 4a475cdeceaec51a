import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightprint.errors import MetaError, ZooError
from weightprint.features.slices import cut, draw_starts, spread_starts, start_count
from weightprint.setups import Setup
from weightprint.zoo.layout import Layout, Tensor


@st.composite
def layouts(draw):
    stretches = draw(st.lists(st.tuples(st.sampled_from(["conv", "fc", "other"]), st.integers(0, 9)), max_size=8))
    tensors, offset = [], 0
    for i, (part, size) in enumerate(stretches):
        tensors.append(Tensor(f"t{i}", "other", part, (size,), offset, "", "o"))
        offset += size
    return Layout(tensors)


def places_by_hand(layout: Layout, part: str, length: int) -> list[int]:
    """Starts whose every weight lies in the part."""
    parts = [t.part for t in layout for _ in range(t.size)]
    inside = [part in ("all", p) for p in parts]
    return [s for s in range(layout.size - length + 1) if all(inside[s : s + length])]


PARTS = st.sampled_from(["all", "conv", "fc", "other"])


@given(layouts(), PARTS, st.integers(1, 7))
def test_every_start_inside_one_part_is_counted(layout, part, length):
    assert start_count(layout, part, length) == len(places_by_hand(layout, part, length))


@given(layouts(), PARTS, st.integers(1, 7), st.integers(0, 2**32))
def test_a_drawn_slice_never_leaves_its_part_and_every_valid_start_is_drawn(layout, part, length, seed):
    valid = places_by_hand(layout, part, length)
    drawn = draw_starts(layout, part, length, 60 * max(1, len(valid)), generator=np.random.default_rng(seed))
    assert set(drawn) == set(valid)
    assert drawn.dtype == np.int64


@given(layouts(), PARTS, st.integers(1, 7))
def test_spread_starts_cover_a_part_from_first_to_last(layout, part, length):
    valid = places_by_hand(layout, part, length)
    assert spread_starts(layout, part, length, len(valid)).tolist() == valid
    if valid:
        assert spread_starts(layout, part, length, 2).tolist() == [valid[0], valid[-1]]
        assert spread_starts(layout, part, length, 1)[0] in valid


def test_draws_are_uniform_over_all_valid_starts():
    layout = Layout(
        [
            Tensor("a", "other", "conv", (6,), 0, "", "o"),
            Tensor("b", "other", "fc", (3,), 6, "", "o"),
            Tensor("c", "other", "conv", (12,), 9, "", "o"),
        ]
    )
    drawn = draw_starts(layout, "conv", 3, 28_000, generator=np.random.default_rng(0))
    counts = np.unique(drawn, return_counts=True)[1]
    assert len(counts) == 4 + 10
    chi_square = ((counts - 2000) ** 2 / 2000).sum()
    assert chi_square < 34.5  # the 0.1 % point of 13 degrees of freedom


def test_a_part_shorter_than_the_slice_has_no_start():
    layout = Layout.of(Setup(filter_size=3, width_conv=4))  # the smallest conv part of the paper's main space
    assert layout.length("conv") == 1688
    assert start_count(layout, "conv", 5000) == 0
    assert draw_starts(layout, "conv", 5000, 4, generator=np.random.default_rng(0)).shape == (0,)
    assert spread_starts(layout, "conv", 5000, 4).shape == (0,)


def test_cut_takes_consecutive_weights():
    weights = np.arange(20, dtype=np.float32).reshape(2, 10)
    assert cut(weights, np.array([[0], [8]]), 2).tolist() == [[[0, 1]], [[18, 19]]]
    assert cut(weights, np.array([[0, 7], [1, 2]]), 3).tolist() == [
        [[0, 1, 2], [7, 8, 9]],
        [[11, 12, 13], [12, 13, 14]],
    ]


def test_a_cut_is_a_copy():
    weights = np.zeros((1, 5), np.float32)
    cut(weights, np.array([[1]]), 2)[:] = 1
    assert not weights.any()


@pytest.mark.parametrize("starts", [[-1], [8]])
def test_a_cut_beyond_the_vector_is_refused(starts):
    with pytest.raises(MetaError, match="leave a vector of 10"):
        cut(np.zeros((1, 10)), np.array([starts]), 3)


def test_impossible_lengths_and_parts_are_refused():
    layout = Layout.of(Setup())
    with pytest.raises(MetaError, match="at least 1 weight, not 0"):
        start_count(layout, "all", 0)
    with pytest.raises(ZooError, match="did you mean 'conv'"):
        start_count(layout, "convs", 5)
