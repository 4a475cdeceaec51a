import numpy as np
import pytest

from weightprint.errors import MetaError
from weightprint.features.texture import SHORTEST, _longest, texture
from weightprint.meta import build


def column(x, name):
    features, names = texture(x)
    return features[:, names.index(name)]


@pytest.mark.parametrize("length", [SHORTEST, 51, 64, 333, 5000])
@pytest.mark.parametrize("scale", [0, 1e-30, 1, 1e37])
def test_every_feature_is_a_number_at_any_length_and_scale(length, scale):
    x = (scale * np.random.default_rng(0).normal(size=(3, length))).astype(np.float32)
    features, names = texture(x)
    assert features.shape == (3, len(names)) == (3, len(set(names)))
    assert np.isfinite(features).all()


def test_rows_do_not_depend_on_their_company():
    x = np.random.default_rng(0).normal(size=(70, 1000)).astype(np.float32)
    np.testing.assert_array_equal(texture(x)[0][66], texture(x[66:67])[0][0])


def test_the_shape_does_not_depend_on_the_scale():
    x = np.random.default_rng(0).normal(size=(1, 2000)).astype(np.float32)
    for name in ("shape.q0.01", "kurtosis", "values.lag25", "chunk8.mean.q0.95", "log.shape.q0.05"):
        assert column(x, name)[0] == pytest.approx(column(1024 * x, name)[0], abs=1e-3)


def test_weights_that_repeat_are_found_at_their_distance():
    row = np.tile(np.random.default_rng(0).normal(size=25), 40)[None].astype(np.float32)
    assert column(row, "values.lag25")[0] == pytest.approx(1, abs=0.01)
    assert abs(column(row, "values.lag12")[0]) < 0.7
    assert column(row, "values.lags17-64.place")[0] in (25, 50)


def test_the_longest_stretch_and_where_it_starts():
    mask = np.array([[0, 1, 1, 0, 1, 1, 1, 0], [0] * 8, [1] * 8, [1, 0, 1, 1, 0, 1, 1, 0]], bool)
    start, length = _longest(mask)
    assert length.tolist() == [3, 0, 8, 2]
    assert start[[0, 2, 3]].tolist() == [4, 0, 2]


def test_a_slice_shorter_than_its_texture_is_refused():
    with pytest.raises(MetaError, match="slices of 50 weights or more, not 49"):
        build("slice_trees", target="optimizer", slice_length=49)
