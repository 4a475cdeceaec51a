import numpy as np
import pytest

from weightprint.errors import DataError
from weightprint.images import load
from weightprint.images.variants import DEVIATION, MEAN, VARIANTS, write_variant


@pytest.fixture(scope="module")
def shapes():
    return load("shapes")


def test_halves_are_disjoint_balanced_and_together_all_images(shapes):
    a, b = (VARIANTS[name](shapes) for name in ("half-a", "half-b"))
    counts = [np.bincount(images.y_train, minlength=10) for images in (a, b)]
    assert abs(counts[0] - counts[1]).max() <= 1
    rows = [{image.tobytes() for image in images.x_train} for images in (shapes, a, b)]
    assert rows[1] | rows[2] == rows[0]
    assert len(rows[1] & rows[2]) <= len(shapes.x_train) - len(rows[0])  # images that the set itself repeats


def test_matched_channels_have_one_mean_and_deviation(shapes):
    changed = VARIANTS["matched"](shapes)
    values = changed.x_train.astype(float)
    assert values.mean(axis=(0, 1, 2)) == pytest.approx(np.full(3, MEAN), abs=1.0)
    assert values.std(axis=(0, 1, 2)) == pytest.approx(np.full(3, DEVIATION), abs=1.0)
    assert (changed.y_train == shapes.y_train).all()


def test_grey_images_have_three_equal_channels_of_the_luma(shapes):
    changed = VARIANTS["grey"](shapes).x_train
    assert (changed == changed[..., :1]).all()
    red, green, blue = shapes.x_train[0, 5, 7].astype(float)
    assert changed[0, 5, 7, 0] == pytest.approx(0.299 * red + 0.587 * green + 0.114 * blue, abs=0.51)


@pytest.mark.slow
def test_a_variant_keeps_its_name_in_a_folder_of_its_own(tmp_path, shapes):
    path = write_variant("grey", "shapes", tmp_path / "grey")
    found = load("shapes", tmp_path / "grey")
    assert found.sha256 == VARIANTS["grey"](shapes).sha256 != shapes.sha256
    with pytest.raises(DataError, match="exists"):
        write_variant("grey", "shapes", path.parent)
    with pytest.raises(DataError, match="no variant"):
        write_variant("gray", "shapes", tmp_path)
