"""Every number format is widened or narrowed as the library that defines it does."""

import numpy as np
import pytest
import torch

from weightprint.formats.dtypes import not_weights, to_float32


@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"])
def test_all_256_values_of_eight_bit_floats_are_those_of_torch(dtype):
    codes = np.arange(256, dtype=np.uint8).reshape(16, 16)
    expected = torch.from_numpy(codes).view(getattr(torch, dtype)).float().numpy()
    np.testing.assert_array_equal(to_float32(codes, dtype), expected)


@pytest.mark.parametrize(("dtype", "code"), [("bfloat16", torch.bfloat16), ("float16", torch.float16)])
def test_all_values_of_sixteen_bit_floats_are_those_of_torch(dtype, code):
    codes = np.arange(1 << 16, dtype=np.uint16)
    raw = codes if dtype == "bfloat16" else codes.view(np.float16)
    expected = torch.from_numpy(codes.view(np.int16)).view(code).float().numpy()
    np.testing.assert_array_equal(to_float32(raw, dtype), expected)


def test_float64_is_rounded_to_nearest_and_too_large_becomes_infinite():
    values = np.array([0.1, 1e300, -1e300, np.nan])
    np.testing.assert_array_equal(to_float32(values, "float64"), np.array([0.1, np.inf, -np.inf, np.nan], np.float32))


def test_float32_is_not_copied():
    values = np.zeros((3, 4), np.float32)
    assert np.shares_memory(to_float32(values, "float32"), values)


@pytest.mark.parametrize(
    ("dtype", "shape", "reason"),
    [
        ("int64", (), "integer (int64)"),
        ("uint8", (8, 4), "quantised (uint8)"),
        ("bool", (3,), "mask (bool)"),
        ("complex64", (3,), "complex numbers (complex64)"),
        ("bfloat16", (3,), None),
    ],
)
def test_what_is_no_weight_says_why(dtype, shape, reason):
    assert not_weights(dtype, shape) == reason
