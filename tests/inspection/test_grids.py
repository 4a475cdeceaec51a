import numpy as np
import pytest
import torch

from weightprint.inspection.facts import grid_of


def normal(*shape):
    return np.random.default_rng(0).normal(scale=0.1, size=shape).astype(np.float32)


def test_ordinary_weights_lie_on_no_grid():
    assert grid_of(normal(64, 100)) is None
    assert grid_of(np.ones((64, 100), dtype=np.float32)) is None
    assert grid_of(np.zeros((64, 100), dtype=np.float32)) is None
    assert grid_of(normal(4, 5).astype(np.float16).astype(np.float32)) is None  # too few to say


@pytest.mark.parametrize(
    ("dtype", "name"),
    [(torch.float16, "float16"), (torch.bfloat16, "bfloat16"), (torch.float8_e4m3fn, "float8")],
)
def test_weights_that_were_rounded_to_a_shorter_float_are_noticed(dtype, name):
    values = torch.from_numpy(normal(64, 400)) * 30
    values[:, 0] = 0
    assert grid_of(values.to(dtype).to(torch.float32).numpy()) in (name, "few values" if name == "float8" else name)


def test_one_weight_off_the_grid_is_enough_for_no_grid():
    values = normal(64, 400).astype(np.float16).astype(np.float32)
    values[-1, -1] = 0.123456
    assert grid_of(values) is None


@pytest.mark.parametrize("zero_point", [0, 7])
@pytest.mark.parametrize(("bits", "name"), [(8, "int8"), (4, "int4")])
def test_integer_grids_of_one_step_or_one_a_row(bits, name, zero_point):
    values = torch.from_numpy(normal(32, 600))
    largest = 2 ** (bits - 1) - 1
    whole = torch.fake_quantize_per_tensor_affine(values, 0.3 / largest, 0, -largest - 1, largest)
    assert grid_of(whole.numpy()) == name
    steps = values.abs().amax(dim=1) / largest
    rows = torch.fake_quantize_per_channel_affine(
        values, steps, torch.full((32,), zero_point if bits == 8 else 0, dtype=torch.int32), 0, -largest - 1, largest
    )
    assert grid_of(rows.numpy()) == name


def test_a_code_book_is_no_integer_grid():
    book = normal(16)
    assert grid_of(book[np.random.default_rng(1).integers(0, 16, size=(64, 100))]) == "few values"
