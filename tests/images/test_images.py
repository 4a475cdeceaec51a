"""Data sets: what is accepted, what is refused and how, and the splits every run relies on."""

from __future__ import annotations

import dataclasses
import io
import pickle
import re
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from weightprint.errors import DataError
from weightprint.images import sets as wi
from weightprint.images.bundled import SETS, TEST_BAND, TRAIN_BAND
from weightprint.images.pixels import resize


def labels_of(per_class):
    """Labels in a mixed order, `per_class` of each class (an int or ten)."""
    counts = [per_class] * 10 if isinstance(per_class, int) else per_class
    labels = np.repeat(np.arange(10), counts)
    return np.random.default_rng(0).permutation(labels).astype(np.int64)


def numbered_images(count, first=0):
    """Images [count, 32, 32, 3] that carry their number in the first pixel."""
    images = np.zeros((count, 32, 32, 3), dtype=np.uint8)
    numbers = np.arange(first, first + count)
    images[:, 0, 0, 0], images[:, 0, 0, 1] = numbers // 256, numbers % 256
    return images


def numbers_of(images):
    return (images[:, 0, 0, 0].astype(int) * 256 + images[:, 0, 0, 1]).tolist()


def image_set(train=30, test=5, name="made"):
    y_train, y_test = labels_of(train), labels_of(test)
    x_test = numbered_images(len(y_test), first=30000)
    return wi.ImageSet(name, numbered_images(len(y_train)), y_train, x_test, y_test)


def good_arrays():
    rng = np.random.default_rng(1)
    return {
        "x_train": rng.integers(0, 256, (30, 9, 7), dtype=np.uint8),
        "y_train": np.arange(30, dtype=np.uint8) % 10,
        "x_test": rng.integers(0, 256, (10, 9, 7), dtype=np.uint8),
        "y_test": np.arange(10, dtype=np.uint8),
    }


def write_npz(path, **changes):
    arrays = {**good_arrays(), **changes}
    np.savez(path, **{key: array for key, array in arrays.items() if array is not None})
    return path


def refusal(path):
    with pytest.raises(DataError) as caught:
        wi.load_npz(path)
    assert str(path) in caught.value.message
    assert "\n" not in str(caught.value)
    assert caught.value.hint
    return str(caught.value)


# --- reading ---------------------------------------------------------------------------------------------------------


def test_an_npz_file_becomes_32_by_32_colour_bytes(tmp_path):
    loaded = wi.load_npz(write_npz(tmp_path / "small.npz"))
    assert loaded.name == "small"
    assert loaded.x_train.shape == (30, 32, 32, 3)
    assert loaded.x_train.dtype == np.uint8
    assert loaded.y_train.dtype == np.int64
    assert loaded.y_test.tolist() == list(range(10))
    assert (loaded.x_train[..., :1] == loaded.x_train).all()


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 7])
def test_channels_are_repeated_or_dropped_to_three(channels):
    x = np.random.default_rng(0).integers(0, 256, (10, 32, 32, channels), dtype=np.uint8)
    loaded = wi.ImageSet.from_arrays("c", x, np.arange(10), x, np.arange(10))
    expected = x[..., :3] if channels >= 3 else np.repeat(x[..., :1], 3, axis=3)
    np.testing.assert_array_equal(loaded.x_train, expected)


@pytest.mark.parametrize("dtype", ["int8", ">i2", "uint16", "int32", "uint64"])
def test_any_integers_within_a_byte_are_accepted(dtype):
    arrays = good_arrays()
    expected = wi.ImageSet.from_arrays("i", **{**arrays, "x_train": arrays["x_train"] // 2})
    other = {key: array.astype(dtype) for key, array in {**arrays, "x_train": arrays["x_train"] // 2}.items()}
    if dtype == "int8":
        other["x_test"] = arrays["x_test"]
    assert wi.ImageSet.from_arrays("i", **other).sha256 == expected.sha256


def test_labels_may_be_a_column(tmp_path):
    column = (np.arange(30) % 10)[:, None].astype(np.int32)
    assert wi.load_npz(write_npz(tmp_path / "a.npz", y_train=column)).y_train.shape == (30,)


def test_the_checksum_depends_on_the_content_alone():
    first = image_set(name="a")
    assert first.sha256 == image_set(name="b").sha256
    swapped = first.y_train.copy()
    swapped[[0, -1]] = swapped[[-1, 0]]
    moved = first.x_test.copy()
    moved[0, 5, 5, 1] += 1
    changed = [dataclasses.replace(first, y_train=swapped), dataclasses.replace(first, x_test=moved)]
    assert swapped.tolist() != first.y_train.tolist()
    assert len({first.sha256, *(other.sha256 for other in changed)}) == 3


def test_the_checksum_does_not_depend_on_memory_layout():
    first = image_set()
    assert dataclasses.replace(first, x_train=np.asfortranarray(first.x_train)).sha256 == first.sha256


REFUSED = {
    "float images": ({"x_train": np.zeros((30, 9, 7))}, r"float64 .*whole numbers.*astype\('uint8'\)"),
    "NaN images": ({"x_test": np.full((10, 9, 7), np.nan, np.float32)}, "float32"),
    "bool images": ({"x_train": np.zeros((30, 9, 7), bool)}, "bool"),
    "durations": ({"x_train": np.zeros((30, 9, 7), "m8[s]")}, "timedelta"),
    "values above 255": ({"x_train": np.full((30, 9, 7), 256)}, "256 to 256, expected 0 to 255"),
    "negative values": ({"x_train": np.full((30, 9, 7), -1, np.int8)}, "-1 to -1"),
    "flat images": ({"x_train": np.zeros((30, 63), np.uint8)}, r"\[30, 63\], expected \[N, H, W\]"),
    "five axes": ({"x_train": np.zeros((30, 1, 9, 7, 3), np.uint8)}, r"expected \[N, H, W\]"),
    "channels first": ({"x_train": np.zeros((30, 3, 9, 7), np.uint8)}, r"channels first.*transpose by \(0, 2, 3, 1\)"),
    "bands first": ({"x_train": np.zeros((30, 13, 32, 32), np.uint8)}, "channels first"),
    "no images": ({"x_train": np.zeros((0, 9, 7), np.uint8), "y_train": np.zeros(0, int)}, "at least one image"),
    "no pixels": ({"x_train": np.zeros((30, 0, 7), np.uint8)}, "at least one image"),
    "no channels": ({"x_train": np.zeros((30, 9, 7, 0), np.uint8)}, "at least one image"),
    "label 10": ({"y_train": np.arange(30) % 10 + 1}, "labels from 1 to 10, expected 0 to 9"),
    "label -1": ({"y_test": np.arange(10) - 1}, "y_test has labels from -1 to 8"),
    "huge labels": ({"y_test": np.full(10, 2**64 - 1, np.uint64)}, "18446744073709551615"),
    "float labels": ({"y_train": np.arange(30) % 10.0}, "y_train is float64"),
    "one-hot labels": ({"y_test": np.eye(10, dtype=int)}, r"one label per image.*argmax"),
    "scalar label": ({"y_test": np.array(3)}, "one label per image"),
    "too few labels": ({"y_train": np.arange(29) % 10}, "29 labels for 30 images"),
    "class missing in train": ({"y_train": np.arange(30) % 9}, "y_train has no image of class 9"),
    "classes missing in test": ({"y_test": np.arange(10) % 8}, "y_test has no image of class 8, 9"),
    "key missing": ({"y_test": None}, "lacks y_test; found x_train, y_train, x_test"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_unusable_arrays_are_refused_with_file_finding_and_hint(tmp_path, case):
    changes, pattern = REFUSED[case]
    path = write_npz(tmp_path / "bad.npz", **changes)
    message = refusal(path)
    assert re.search(pattern, message), message
    (entry,) = (entry for entry in wi.available(tmp_path) if entry["name"] == "bad")
    if "values" not in case:  # the listing does not read pixels
        assert entry["problem"]


class Bomb:
    def __reduce__(self):
        return exec, ("raise SystemExit('unpickled')",)


def member_bytes(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def write_members(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def hostile_files():
    good = {f"{key}.npy": member_bytes(array) for key, array in good_arrays().items()}
    whole = io.BytesIO()
    np.savez(whole, **good_arrays())
    shape, too_large = b"(30, 9, 7), }".ljust(25), b"(1000000000000000, 9), }".ljust(25)
    assert shape in good["x_train.npy"]
    giant = good["x_train.npy"].replace(shape, too_large, 1)
    return {
        "empty": b"",
        "text": b"x_train,y_train\n",
        "single array": member_bytes(np.zeros(3)),
        "cut short": whole.getvalue()[:-200],
        "cut in half": whole.getvalue()[:500],
        "pickle": pickle.dumps({"x_train": 1}),
        "no members": {},
        "object array": {**good, "y_train.npy": member_bytes_object()},
        "no array": {**good, "y_train.npy": b"0 1 2 3"},
        "giant header": {**good, "x_train.npy": giant},
        "shape beyond the data": {
            **good,
            "x_train.npy": good["x_train.npy"].replace(b"(30, 9, 7)", b"(99999, 7)", 1),
        },
        "broken header": {**good, "x_test.npy": good["x_test.npy"].replace(b"descr", b"de(cr", 1)},
    }


def member_bytes_object():
    buffer = io.BytesIO()
    array = np.empty(30, dtype=object)
    array[:] = [Bomb() for _ in range(30)]
    np.lib.format.write_array(buffer, array, allow_pickle=True)
    return buffer.getvalue()


@pytest.mark.parametrize("case", hostile_files())
def test_hostile_files_are_refused_and_nothing_is_unpickled(tmp_path, case):
    content = hostile_files()[case]
    path = tmp_path / "bad.npz"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        write_members(path, content)
    refusal(path)
    assert "problem" in wi.available(tmp_path)[0]


@settings(max_examples=150)
@given(st.data())
def test_any_changed_bytes_are_read_or_refused_but_never_crash(tmp_path_factory, data):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **good_arrays())
    content = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "fuzzed.npz"
    path.write_bytes(content)
    message = str(path)
    try:
        wi.load_npz(path)
    except DataError as error:
        message = str(error)
    assert str(path) in message
    assert "\n" not in message


def test_member_names_of_a_strange_archive_stay_on_one_line(tmp_path):
    members = {f"x\n{i}.npy": b"" for i in range(50)}
    message = refusal(write_members(tmp_path / "bad.npz", members))
    assert "found 'x\\n0', " in message
    assert "and 42 more" in message


def test_missing_files_and_folders_are_named(tmp_path):
    assert "No such file" in refusal(tmp_path / "absent.npz")
    assert "cannot read" in refusal(tmp_path)


def test_an_image_set_checks_itself():
    good = image_set()
    with pytest.raises(DataError, match=r"made: expected x_train as uint8 \[N, 32, 32, 3\], found float64"):
        dataclasses.replace(good, x_train=good.x_train / 255)
    with pytest.raises(DataError, match="made: expected y_test as int64"):
        dataclasses.replace(good, y_test=good.y_test.astype(np.uint8))
    with pytest.raises(DataError, match="299 labels for 300 images"):
        dataclasses.replace(good, y_train=good.y_train[1:])
    with pytest.raises(DataError, match="labels from"):
        dataclasses.replace(good, y_train=good.y_train - 1)


# --- resizing --------------------------------------------------------------------------------------------------------


def legacy_bilinear(image, side):
    """TensorFlow 1's resize_bilinear for one channel, pixel by pixel, in float64."""
    height, width = image.shape
    result = np.empty((side, side))
    for i in range(side):
        for j in range(side):
            y, x = i * height / side, j * width / side
            top, left = int(y), int(x)
            bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
            upper = image[top, left] + (image[top, right] - image[top, left]) * (x - left)
            lower = image[bottom, left] + (image[bottom, right] - image[bottom, left]) * (x - left)
            result[i, j] = upper + (lower - upper) * (y - top)
    return result


@settings(max_examples=40)
@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 70), st.integers(1, 70))))
def test_resizing_is_tensorflow_1s_legacy_bilinear(image):
    resized = resize(image[None, :, :, None])[0, :, :, 0]
    assert abs(resized - legacy_bilinear(image.astype(float), 32)).max() <= 0.5 + 1e-3


def test_resizing_keeps_the_first_pixel_and_repeats_the_border():
    row = np.array([0, 100, 200, 100], dtype=np.uint8)
    resized = resize(np.tile(row, (4, 1))[None, :, :, None], side=8)[0, :, :, 0]
    assert resized.tolist() == [[0, 50, 100, 150, 200, 150, 100, 100]] * 8


@settings(max_examples=20)
@given(value=st.integers(0, 255), height=st.integers(1, 50), width=st.integers(1, 50))
def test_resizing_leaves_constant_images_constant(value, height, width):
    assert (resize(np.full((1, height, width, 3), value, dtype=np.uint8)) == value).all()


def test_images_of_the_right_size_are_left_alone():
    x = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    np.testing.assert_array_equal(resize(x), x)


def test_resizing_many_images_equals_resizing_each():
    x = np.random.default_rng(0).integers(0, 256, (1030, 5, 6, 1), dtype=np.uint8)
    at_once = resize(x)
    for i in (0, 511, 512, 1029):
        np.testing.assert_array_equal(at_once[i], resize(x[i : i + 1])[0])


# --- splitting -------------------------------------------------------------------------------------------------------


def test_2500_images_are_split_into_2250_and_250():
    part = wi.prepare(image_set(train=260), train_size=2500, test_size=40, seed=0)
    assert np.bincount(part.y_train).tolist() == [225] * 10
    assert np.bincount(part.y_validation).tolist() == [25] * 10
    assert np.bincount(part.y_test).tolist() == [4] * 10


per_class_counts = st.lists(st.integers(2, 40), min_size=10, max_size=10)


@settings(max_examples=40)
@given(train=per_class_counts, seed=st.integers(0, 2**40), data=st.data())
def test_balanced_splits_are_balanced_disjoint_and_keep_labels(train, seed, data):
    images = image_set(train, test=3)
    per_class = data.draw(st.integers(2, min(train)))
    part = wi.prepare(images, train_size=10 * per_class, test_size=20, seed=seed)
    held_out = max(1, round(per_class / 10))
    assert np.bincount(part.y_validation, minlength=10).tolist() == [held_out] * 10
    assert np.bincount(part.y_train, minlength=10).tolist() == [per_class - held_out] * 10
    assert np.bincount(part.y_test, minlength=10).tolist() == [2] * 10
    numbers = numbers_of(part.x_train) + numbers_of(part.x_validation)
    assert len(set(numbers)) == 10 * per_class
    assert images.y_train[numbers].tolist() == part.y_train.tolist() + part.y_validation.tolist()
    assert all(number >= 30000 for number in numbers_of(part.x_test))


@settings(max_examples=30)
@given(train=per_class_counts, seed=st.integers(0, 2**40))
def test_all_images_are_used_when_no_size_is_given(train, seed):
    part = wi.prepare(image_set(train, test=3), train_size=None, test_size=None, seed=seed)
    assert sorted(numbers_of(part.x_train) + numbers_of(part.x_validation)) == list(range(sum(train)))
    assert np.bincount(part.y_validation).tolist() == [max(1, round(n / 10)) for n in train]
    assert len(part.y_test) == 30


@settings(max_examples=30)
@given(small=st.integers(2, 30), large=st.integers(2, 30), seed=st.integers(0, 2**40))
def test_a_smaller_size_is_the_beginning_of_a_larger_one(small, large, seed):
    small, large = sorted((small, large))
    images = image_set(train=30, test=30)
    few = wi.prepare(images, train_size=10 * small, test_size=10 * small, seed=seed)
    many = wi.prepare(images, train_size=10 * large, test_size=10 * large, seed=seed)
    for key, array in few.arrays().items():
        np.testing.assert_array_equal(many.arrays()[key][: len(array)], array)


def test_the_choice_depends_on_seed_and_name_but_not_on_the_test_size():
    def chosen(seed, name, test_size):
        part = wi.prepare(image_set(name=name), train_size=100, test_size=test_size, seed=seed)
        return numbers_of(part.x_train) + numbers_of(part.x_validation)

    assert chosen(0, "a", 10) == chosen(0, "a", 10) == chosen(0, "a", 50) == chosen(0, "a", None)
    assert chosen(0, "a", 10) != chosen(1, "a", 10)
    assert chosen(0, "a", 10) != chosen(0, "b", 10)


def test_train_and_test_choices_are_drawn_apart():
    images = image_set(train=30, test=30)
    assert images.y_train.tolist() == images.y_test.tolist()
    part = wi.prepare(images, train_size=20, test_size=10, seed=0)
    assert numbers_of(part.x_validation) != [number - 30000 for number in numbers_of(part.x_test)]


def test_the_choice_is_the_same_for_ever():
    y_train, y_test = np.arange(300) % 10, np.arange(50) % 10
    images = wi.ImageSet("made", numbered_images(300), y_train, numbered_images(50), y_test)
    part = wi.prepare(images, train_size=30, test_size=10, seed=7)
    assert numbers_of(part.x_train)[:10] == [140, 31, 232, 193, 274, 125, 246, 257, 8, 39]
    assert numbers_of(part.x_test) == [10, 11, 32, 33, 44, 35, 6, 7, 48, 29]


def test_images_are_dealt_one_of_each_class_in_turn():
    part = wi.prepare(image_set(), train_size=100, test_size=30, seed=0)
    assert part.y_train.tolist() == list(range(10)) * 9
    assert part.y_validation.tolist() == list(range(10))
    assert part.y_test.tolist() == list(range(10)) * 3


@pytest.mark.parametrize(
    ("sizes", "pattern"),
    [
        ({"train_size": 310}, r"made has no 310 class-balanced train images .*largest train size that fits is 300"),
        ({"test_size": 60}, r"largest test size that fits is 50"),
        ({"train_size": 255}, r"multiple of 10.* not 255 \(nearest: 250 or 260\)"),
        ({"train_size": 10}, r"at least 20, not 10"),
        ({"train_size": -20}, r"at least 20, not -20"),
        ({"test_size": 0}, r"at least 10, not 0"),
        ({"test_size": 45}, r"nearest: 40 or 50"),
        ({"train_size": 2.5}, r"whole number, not 2.5"),
        ({"train_size": "100"}, r"whole number, not '100'"),
    ],
)
def test_impossible_sizes_are_refused_with_the_nearest_possible(sizes, pattern):
    with pytest.raises(DataError, match=pattern):
        wi.prepare(image_set(), **{"train_size": None, "test_size": None, "seed": 0, **sizes})


def test_a_class_with_one_image_cannot_be_split():
    lonely = image_set(train=[1] + [5] * 9)
    with pytest.raises(DataError, match="single training image"):
        wi.prepare(lonely, train_size=None, test_size=None, seed=0)


def test_largest_sizes_follow_the_smallest_class():
    images = image_set(train=[7, *range(10, 19)], test=[4] * 9 + [2])
    assert wi.largest_train_size(images) == 70
    assert wi.largest_test_size(images) == 20
    facts = images.describe()
    assert (facts["train"], facts["largest_train_size"], facts["train_per_class"][0]) == (133, 70, 7)


def test_prepared_arrays_can_rebuild_what_they_came_from():
    part = wi.prepare(image_set(), train_size=50, test_size=20, seed=0)
    assert list(part.arrays()) == ["x_train", "y_train", "x_validation", "y_validation", "x_test", "y_test"]
    again = wi.TrainingImages(name=part.name, **part.arrays())
    assert again.train[0] is part.x_train
    assert again.validation[1] is part.y_validation
    assert again.test[0] is part.x_test


@settings(max_examples=60)
@given(labels=hnp.arrays(np.int64, st.integers(1, 80), elements=st.integers(0, 9)), seed=st.integers(0, 2**32))
def test_an_epoch_has_equally_many_different_images_of_each_class(labels, seed):
    indices = wi.epoch_indices(labels, generator=np.random.default_rng(seed))
    present, counts = np.unique(labels, return_counts=True)
    assert len(set(indices.tolist())) == len(indices) == len(present) * counts.min()
    assert set(np.bincount(labels[indices])[present]) == {counts.min()}
    again = wi.epoch_indices(labels, generator=np.random.default_rng(seed))
    np.testing.assert_array_equal(indices, again)


def test_every_epoch_is_drawn_anew_and_in_time_uses_every_image():
    labels = labels_of([3] + [12] * 9)
    generator = np.random.default_rng(0)
    epochs = [wi.epoch_indices(labels, generator=generator) for _ in range(40)]
    assert epochs[0].tolist() != epochs[1].tolist()
    assert set(np.concatenate(epochs).tolist()) == set(range(len(labels)))
    assert len({tuple(labels[e]) for e in epochs}) == len(epochs)


def test_an_epoch_of_no_images_is_empty():
    assert len(wi.epoch_indices(np.empty(0, dtype=np.int64), generator=np.random.default_rng(0))) == 0


# --- bundled data sets -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bundled():
    return {name: wi.load(name) for name in SETS}


def test_the_listing_tells_the_sizes_of_bundled_sets(bundled):
    listed = {entry["name"]: entry for entry in wi.available()}
    assert set(listed) == set(bundled) == {"digits", "photo_patches", "shapes"}
    for name, images in bundled.items():
        facts = images.describe()
        assert {**listed[name], **facts} == {**facts, **listed[name]}
        assert listed[name]["source"] == "bundled"
        assert "\n" not in SETS[name].description


def test_bundled_sets_are_large_enough_to_be_used_together(bundled):
    assert min(map(wi.largest_train_size, bundled.values())) == 1400
    assert min(map(wi.largest_test_size, bundled.values())) == 340


def test_bundled_sets_are_the_same_for_ever(bundled):
    assert bundled["digits"].sha256 == "5a2137eb56713a475b4ab7e2368e7ca05510fdea3303ecfa3a7c0854e294a658"
    assert bundled["shapes"].sha256 == "195127c9358e1f8f361b916dc6ef804ae367259867ddd6692e27a4da3d45c512"


def test_no_image_is_both_in_train_and_test_of_a_drawn_set(bundled):
    for name in ("digits", "shapes"):
        train, test = ({x.tobytes() for x in part} for part in (bundled[name].x_train, bundled[name].x_test))
        assert not train & test, name


def test_train_and_test_patches_share_no_pixel(monkeypatch):
    rows, columns = np.mgrid[:427, :640]
    position = np.stack([rows // 256, rows % 256, columns // 4], axis=2).astype(np.uint8)
    monkeypatch.setattr("sklearn.datasets.load_sample_image", lambda photo: position)
    x_train, y_train, x_test, _ = SETS["photo_patches"].make()
    x_train, x_test = x_train.astype(int), x_test.astype(int)
    seen = [np.unique((x * [2**16, 2**8, 1]).sum(-1)) for x in (x_train, x_test)]
    assert not np.intersect1d(*seen).size
    strips = x_train[..., 2] * 4 // 128
    assert (strips == (y_train % 5)[:, None, None]).all()
    assert TRAIN_BAND >= 32 <= TEST_BAND


@pytest.mark.parametrize(("name", "chance_times"), [("digits", 9), ("photo_patches", 4)])
def test_the_nearest_training_image_often_has_the_same_class(bundled, name, chance_times):
    images = bundled[name]
    train, test = (x[:, ::4, ::4].reshape(len(x), -1) / 255.0 for x in (images.x_train, images.x_test))
    nearest = ((train**2).sum(1) - 2 * test @ train.T).argmin(1)
    assert (images.y_train[nearest] == images.y_test).mean() > chance_times / 10


def test_bundled_sets_differ_in_what_their_pixels_look_like(bundled):
    grey = {name: bool((x.x_train == x.x_train[..., :1]).all()) for name, x in bundled.items()}
    assert grey == {"digits": True, "photo_patches": False, "shapes": False}
    roughness = [np.abs(np.diff(x.x_train.astype(int), axis=2)).mean() for x in bundled.values()]
    low, middle, high = sorted(roughness)
    assert 1.1 * low < middle < high / 1.1


# --- finding ---------------------------------------------------------------------------------------------------------


def test_a_file_in_the_data_folder_comes_before_a_bundled_set(tmp_path):
    write_npz(tmp_path / "digits.npz")
    assert len(wi.load("digits", tmp_path).y_train) == 30
    assert len(wi.load("shapes", tmp_path).y_train) == 2500
    listed = {entry["name"]: entry for entry in wi.available(tmp_path)}
    assert listed["digits"]["source"] == str(tmp_path / "digits.npz")
    assert listed["digits"]["description"] == "images of 9 x 7"
    assert listed["digits"]["train_per_class"] == [3] * 10
    assert listed["shapes"]["source"] == "bundled"


def test_the_listing_reads_no_pixels(tmp_path):
    path = write_npz(tmp_path / "big.npz")
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["x_train.npy"] = members["x_train.npy"][:-100]
    write_members(path, members)
    assert wi.available(tmp_path)[0]["train"] == 30
    refusal(path)


def test_an_unknown_name_is_refused_with_the_nearest_and_the_way_to_add_it(tmp_path):
    with pytest.raises(
        DataError,
        match=r"no data set digit fetched, added or bundled .*did you mean 'digits'.*--data DIR with digit.npz",
    ):
        wi.load("digit")
    write_npz(tmp_path / "mine.npz")
    with pytest.raises(DataError, match=r"no data set mnist in .*allowed: digits, mine, photo_patches, shapes"):
        wi.load("mnist", tmp_path)
    with pytest.raises(DataError, match="no data set"):
        wi.load("../mine", tmp_path / "..")


def test_a_data_folder_that_is_none_is_refused(tmp_path):
    file = write_npz(tmp_path / "mine.npz")
    for folder in (tmp_path / "absent", file):
        for find in (wi.available, lambda folder: wi.load("digits", folder)):
            with pytest.raises(DataError, match="cannot list the data folder"):
                find(folder)


def test_images_load_neither_torch_nor_scikit_learn():
    code = "import sys, weightprint.images; print({'torch', 'sklearn', 'scipy'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
