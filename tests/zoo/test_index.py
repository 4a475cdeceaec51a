import json
import math
import os
import shutil
import time

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.zoo.test_runfile import record
from weightprint.errors import CorruptFile, ZooError
from weightprint.zoo import Zoo, in_test_part, index, runfile
from weightprint.zoo.index import INDEX_FILE, build_index, run_path, split_value, split_values

PROPERTIES = [
    {"optimizer": "adam", "learning_rate": 0.1},
    {"optimizer": "rmsprop"},
    {"note": None, "depth": 3},
    {"note": "naïve", "depth": 2.5, "optimizer": "adam"},
]


def put(zoo, number, variant=0, *, in_place=False):
    path = run_path(zoo, number)
    path.parent.mkdir(parents=True, exist_ok=True)
    data = runfile.encode(record(number=number, identity=f"zoo:{number}", properties=PROPERTIES[variant]))
    if in_place:
        path.write_bytes(data)
    else:
        (path.parent / ".tmp-new").write_bytes(data)
        (path.parent / ".tmp-new").rename(path)


def cut(zoo, number):
    path = run_path(zoo, number)
    if path.exists():
        path.write_bytes(path.read_bytes()[:-9])


def from_scratch(zoo):
    """The index as it is without a stored one, which stays."""
    stored, aside = zoo / INDEX_FILE, zoo / "aside"
    if stored.exists():
        stored.rename(aside)
    fresh = build_index(zoo)
    stored.unlink(missing_ok=True)
    if aside.exists():
        aside.rename(stored)
    return fresh


@pytest.fixture
def as_if_large(monkeypatch):
    """A zoo of any size is opened like one of a million runs, and settles at once."""
    monkeypatch.setattr(index, "ALWAYS_THOROUGH", -1)
    monkeypatch.setattr(index, "SETTLED_NS", 0)


@pytest.fixture
def zoo(tmp_path):
    for number in (0, 1, 2, 1000, 2007):
        put(tmp_path, number)
    time.sleep(0.02)  # the file system's clock runs in steps
    return tmp_path


@pytest.fixture
def listed(monkeypatch):
    """The numbers of the folders that are listed."""
    blocks = []
    list_folder = index._list_folder

    def listing(path, block):
        blocks.append(block)
        return list_folder(path, block)

    monkeypatch.setattr(index, "_list_folder", listing)
    return blocks


NUMBERS = st.sampled_from([0, 1, 2, 3, 999, 1000, 1001, 2000])
RENAMING = st.one_of(
    st.tuples(st.just("put"), NUMBERS, st.integers(0, 3)),
    st.tuples(st.sampled_from(["remove", "remove folder"]), NUMBERS),
    st.tuples(st.sampled_from(["open", "wait", "lose index"])),
)
IN_PLACE = st.one_of(
    st.tuples(st.just("overwrite"), NUMBERS, st.integers(0, 3)),
    st.tuples(st.just("cut"), NUMBERS),
)


@pytest.mark.slow
@pytest.mark.parametrize("thorough", [False, True], ids=["by folder", "thorough"])
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_history_gives_the_index_of_a_rebuild(tmp_path_factory, monkeypatch, thorough, data):
    """Added, replaced and removed files are noticed without looking at every file; in-place changes by looking."""
    monkeypatch.setattr(index, "ALWAYS_THOROUGH", -1)
    monkeypatch.setattr(index, "SETTLED_NS", 30_000_000)
    zoo = tmp_path_factory.mktemp("zoo")
    for step in data.draw(st.lists(st.one_of(RENAMING, IN_PLACE) if thorough else RENAMING, max_size=12)):
        match step:
            case "put", number, variant:
                put(zoo, number, variant)
            case "overwrite", number, variant:
                put(zoo, number, variant, in_place=True)
            case "cut", number:
                cut(zoo, number)
            case "remove", number:
                run_path(zoo, number).unlink(missing_ok=True)
            case "remove folder", number:
                shutil.rmtree(run_path(zoo, number).parent, ignore_errors=True)
            case ("lose index",):
                (zoo / INDEX_FILE).unlink(missing_ok=True)
            case ("wait",):
                time.sleep(0.04)
            case ("open",):
                build_index(zoo, thorough=thorough)
    found, fresh = build_index(zoo, thorough=thorough), from_scratch(zoo)
    assert found.columns == fresh.columns
    assert found.to_dicts() == fresh.to_dicts()


def test_a_large_zoo_that_did_not_change_is_opened_without_listing_its_folders(zoo, as_if_large, listed):
    first = build_index(zoo)
    assert listed == [0, 1, 2]
    assert build_index(zoo).equals(first)
    assert listed == [0, 1, 2]


def test_only_the_folder_that_changed_is_listed(zoo, as_if_large, listed):
    build_index(zoo)
    listed.clear()
    put(zoo, 1001)
    assert build_index(zoo)["number"].to_list() == [0, 1, 2, 1000, 1001, 2007]
    run_path(zoo, 2007).unlink()
    assert build_index(zoo)["number"].to_list() == [0, 1, 2, 1000, 1001]
    assert set(listed) == {1, 2}


def test_a_folder_that_changed_just_now_is_listed_again(zoo, monkeypatch, listed):
    monkeypatch.setattr(index, "ALWAYS_THOROUGH", -1)
    build_index(zoo)
    listed.clear()
    build_index(zoo)
    assert listed == [0, 1, 2]


def test_a_folder_from_the_future_is_not_trusted(zoo, as_if_large, listed):
    later = time.time() + 3600
    os.utime(zoo / "runs" / "0001", (later, later))
    build_index(zoo)
    listed.clear()
    build_index(zoo)
    assert listed == [1]


def test_a_copied_zoo_is_listed_anew_but_its_runs_are_not_read_again(zoo, tmp_path_factory, as_if_large, monkeypatch):
    first = build_index(zoo)
    copy = shutil.copytree(zoo, tmp_path_factory.mktemp("copy") / "zoo")
    run_path(copy, 1).unlink()
    monkeypatch.setattr(runfile, "read_metadata", None)
    assert build_index(copy).equals(first.filter(pl.col("number") != 1))


@pytest.mark.parametrize("damage", [cut, lambda zoo, number: put(zoo, number, 1, in_place=True)], ids=["cut", "other"])
def test_damage_in_place_is_found_by_a_thorough_look(zoo, as_if_large, damage):
    first = build_index(zoo)
    damage(zoo, 1)
    assert build_index(zoo).equals(first)
    found = build_index(zoo, thorough=True)
    assert found.to_dicts() == from_scratch(zoo).to_dicts() != first.to_dicts()


def test_a_file_that_changed_just_now_is_read_again(zoo):
    """Another one of the same size, within one step of the file system's clock."""
    put(zoo, 1, 0)
    build_index(zoo)
    path = run_path(zoo, 1)
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    path.write_bytes(
        runfile.encode(record(number=1, identity="zoo:1", properties=PROPERTIES[0] | {"learning_rate": 0.2}))
    )
    os.utime(path, ns=times)
    assert build_index(zoo)["learning_rate"][1] == 0.2


def test_a_folder_may_be_a_link_to_another_disk(zoo, tmp_path_factory, as_if_large):
    elsewhere = tmp_path_factory.mktemp("disk") / "0001"
    (zoo / "runs" / "0001").rename(elsewhere)
    (zoo / "runs" / "0001").symlink_to(elsewhere)
    assert build_index(zoo)["number"].to_list() == [0, 1, 2, 1000, 2007]
    put(zoo, 1001)
    assert build_index(zoo)["number"].to_list() == [0, 1, 2, 1000, 1001, 2007]


def test_a_small_zoo_is_always_looked_at_thoroughly(zoo):
    build_index(zoo)
    cut(zoo, 1)
    assert build_index(zoo)["status"].to_list() == ["complete", "unreadable", "complete", "complete", "complete"]


def test_damage_in_place_is_found_by_reading_and_verifying(zoo_copy, as_if_large):
    time.sleep(0.02)
    Zoo(zoo_copy)
    path = run_path(zoo_copy, 2)
    path.write_bytes(path.read_bytes()[:5000])
    zoo = Zoo(zoo_copy)
    assert zoo.info()["status"] == {"complete": 6}
    with pytest.raises(CorruptFile, match="0000002"):
        zoo[2].weights  # noqa: B018
    assert [p["run"] for p in zoo.verify()] == [2]
    assert Zoo(zoo_copy, thorough=True).info()["status"] == {"complete": 5, "unreadable": 1}
    assert zoo.refresh().info()["status"] == {"complete": 5, "unreadable": 1}


def test_creating_an_existing_zoo_looks_at_every_file(zoo_copy, as_if_large):
    recipe = Zoo(zoo_copy).recipe
    cut(zoo_copy, 2)
    assert Zoo.create(zoo_copy, recipe).info()["status"] == {"complete": 5, "unreadable": 1}


def test_an_unreadable_run_is_tried_again_at_every_opening(zoo, as_if_large, monkeypatch):
    def refuse(path):
        raise ZooError(f"cannot read {path}: Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(runfile, "read_metadata", refuse)
        assert set(build_index(zoo)["status"]) == {"unreadable"}
    assert set(build_index(zoo)["status"]) == {"complete"}


def test_a_large_index_is_written_again_only_when_that_saves_time():
    def look(changed, listed):
        files = np.zeros((changed, 4), dtype=np.int64)
        kept = np.ones(1_000_000, dtype=bool)
        return index._Look(kept, kept.astype(np.int64), [files], listed)

    assert not look(0, 0).worth_writing
    assert not look(20, 1000).worth_writing
    assert look(1200, 2000).worth_writing
    assert look(0, 100_000).worth_writing


def test_damage_that_was_found_stays_found(zoo, as_if_large, monkeypatch):
    """However dear writing is: the next look, by folder, could not see it."""
    monkeypatch.setattr(index, "WRITING", 10**9)
    build_index(zoo)
    cut(zoo, 1)
    assert "unreadable" in set(build_index(zoo, thorough=True)["status"])
    assert "unreadable" in set(build_index(zoo)["status"])


@pytest.mark.parametrize("length", [0, 3, 100, 0.5, 0.99])
def test_a_truncated_index_is_made_again(zoo, length):
    first = build_index(zoo)
    data = (zoo / INDEX_FILE).read_bytes()
    (zoo / INDEX_FILE).write_bytes(data[: int(length * len(data)) if length < 1 else length])
    assert build_index(zoo).equals(first)


@pytest.mark.parametrize(
    "change",
    [
        lambda stored: stored.drop("split_value"),
        lambda stored: stored.reverse(),
        lambda stored: stored.with_columns(number=pl.lit(7)),
        lambda stored: stored.with_columns(folder_stamp=pl.lit(None, dtype=pl.Int64)),
    ],
    ids=["another version", "out of order", "numbers twice", "nulls"],
)
def test_an_index_of_another_form_is_made_again(zoo, as_if_large, change):
    first = build_index(zoo)
    index._store_index(zoo, change(pl.read_parquet(zoo / INDEX_FILE)))
    assert build_index(zoo).equals(first)


def test_an_index_with_other_values_than_were_written_is_made_again(zoo, as_if_large):
    """Whoever wrote them: a valid file without the checksum of its bytes."""
    first = build_index(zoo)
    pl.read_parquet(zoo / INDEX_FILE).with_columns(converged=False).write_parquet(zoo / INDEX_FILE)
    assert build_index(zoo).equals(first)
    data = bytearray((zoo / INDEX_FILE).read_bytes())
    at = data.index(b"complete")
    data[at : at + 8] = b"diverged"
    (zoo / INDEX_FILE).write_bytes(data)
    assert build_index(zoo).equals(first)


def test_the_index_is_a_parquet_file_for_others(zoo):
    first = build_index(zoo)
    stored = pl.read_parquet(zoo / INDEX_FILE)
    assert stored.drop("read_ns", "folder_stamp").equals(first)


def test_properties_of_any_kind_can_be_indexed(tmp_path):
    values = [1, 2.5, "text", True, None, [1, 2], {"a": [1]}, 2**80, [], {"b": 2}]
    for number, value in enumerate(values):
        path = run_path(tmp_path, number * 500)
        path.parent.mkdir(parents=True, exist_ok=True)
        properties = {"any": value, "number": "theirs", "nested": [value], "read_ns": 0}
        path.write_bytes(runfile.encode(record(number=number * 500, properties=properties)))
        found = build_index(tmp_path)
    assert found["number"].to_list() == [500 * i for i in range(len(values))]
    assert found["nested"][5] == "[[1,2]]"
    assert "read_ns" not in found.columns


def test_a_run_in_the_folder_of_another_block_is_a_stray(zoo_copy):
    (zoo_copy / "runs" / "0001").mkdir()
    (zoo_copy / "runs" / "old").mkdir()
    run_path(zoo_copy, 3).rename(zoo_copy / "runs" / "0001" / "0000003.safetensors")
    zoo = Zoo(zoo_copy)
    assert zoo.numbers == [0, 1, 2, 4, 5]
    assert [p["problem"].split("runs")[1][1:] for p in zoo.verify()] == [
        "0001/0000003.safetensors is no run file",
        "old is no run file",
    ]


def test_folders_are_in_the_order_of_their_numbers(tmp_path):
    for number in (9_999_000, 10_000_000, 11_000_000):
        put(tmp_path, number)
    assert build_index(tmp_path)["number"].to_list() == [9_999_000, 10_000_000, 11_000_000]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=5), st.integers(-(2**70), 2**70))
def test_many_runs_are_split_as_each_by_itself(identities, split_seed):
    assert split_values(identities, split_seed).tolist() == [split_value(i, split_seed) for i in identities]


@pytest.mark.parametrize("split_seed", [0, 1, 12345])
@pytest.mark.parametrize("fraction", [0.25, 0.5])
def test_a_zoo_is_split_as_each_run_by_itself(zoo_copy, split_seed, fraction):
    _, test = Zoo(zoo_copy).split(fraction, split_seed=split_seed)
    expected = [r.number for r in Zoo(zoo_copy) if in_test_part(r.identity, fraction, split_seed=split_seed)]
    assert test.numbers == expected


def test_runs_are_found_by_number_in_any_selection(sampled_zoo):
    odd = Zoo(sampled_zoo).select(numbers=[5, 1, 3])
    assert [odd[n].number for n in (1, 3, 5)] == [1, 3, 5]
    assert [n in odd for n in (-1, 0, 1, 2, 5, 6, "1", None)] == [False, False, True, False, True, False, False, False]
    with pytest.raises(ZooError, match="no run 2 .* 3 runs numbered from 1 to 5"):
        odd[2]
    with pytest.raises(ZooError, match="it has no runs"):
        odd.select(numbers=[])[1]


def test_verifying_tells_how_far_it_is(sampled_zoo):
    calls = []
    Zoo(sampled_zoo).verify(progress=lambda done, runs: calls.append((done, runs)))
    assert calls == [(i, 6) for i in range(1, 7)]


def with_metadata(zoo, run, **changes):
    """Rewrite a run's header with some of its fields changed, or left out where None; its length fits."""
    path = run_path(zoo, run)
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    metadata = {**json.loads(header["__metadata__"]["weightprint"]), **changes}
    header["__metadata__"]["weightprint"] = json.dumps({k: v for k, v in metadata.items() if v is not MISSING})
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])


MISSING = "missing"
WRONG = [
    {"test_images": MISSING},
    {"measurements": ["a", 1]},
    {"measurements": []},
    {"status": ["complete"]},
    {"identity": {"a": 1}},
    {"reason": "\ud800"},
    {"properties": [["optimizer", "adam"]]},
    {"number": 2**70},
    {"test_images": math.nan},
    {"layout": [{"shape": ["x"]}]},
    {"layout": []},
]


@pytest.mark.parametrize("changes", WRONG, ids=lambda changes: "-".join(f"{k}={v!r}"[:40] for k, v in changes.items()))
def test_a_header_of_another_form_is_an_unreadable_run_with_the_reason(zoo, changes):
    with_metadata(zoo, 1, **changes)
    found = build_index(zoo)
    assert found["status"].to_list() == ["complete", "unreadable", "complete", "complete", "complete"]
    assert found["reason"][1].startswith(("0000001.safetensors", "layout"))


def test_a_property_of_several_kinds_in_one_folder_can_be_indexed(zoo):
    with_metadata(zoo, 1, properties={"learning_rate": "fast", "optimizer": 3})
    found = build_index(zoo)
    assert found["learning_rate"].to_list()[:2] == ["0.1", "fast"]
    assert found["status"].to_list() == ["complete"] * 5
