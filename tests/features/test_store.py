"""Tables of features on disk: found again, never stale, shared by processes."""

import multiprocessing
from dataclasses import replace

import numpy as np
import pytest

from weightprint.features import store
from weightprint.features.store import read
from weightprint.features.table import features_named
from weightprint.zoo import Zoo

ANATOMY, STATISTICS = features_named("anatomy"), features_named("statistics")


@pytest.fixture
def run(zoo_copy):
    return Zoo(zoo_copy)[0]


def files(run):
    return sorted(path for path in run.cache.rglob("*") if path.is_file())


def unreadable(monkeypatch, run):
    monkeypatch.setattr(type(run), "weights", property(lambda run: pytest.fail("weights were read again")))


@pytest.mark.parametrize("features", [ANATOMY, STATISTICS])
def test_what_was_read_once_is_not_read_again(run, monkeypatch, features):
    first = read(run, features, (1, 3))
    assert len(first.rows) == 2
    assert len(files(run)) == 1
    unreadable(monkeypatch, run)
    again = read(run, features, (1, 3))
    assert again.names == first.names
    np.testing.assert_array_equal(again.rows, first.rows)


def test_a_snapshot_that_is_missing_is_read_and_kept_with_the_others(run, monkeypatch):
    read(run, STATISTICS, (2,))
    two = read(run, STATISTICS, (1, 2))
    assert len(files(run)) == 1
    unreadable(monkeypatch, run)
    np.testing.assert_array_equal(read(run, STATISTICS, (2, 1)).rows, two.rows[::-1])


def test_slices_are_kept_by_their_places(run, monkeypatch):
    starts = np.array([[0, 5], [7, 9]])
    rows = read(run, STATISTICS, (1, 2), starts=starts, length=50).rows
    assert rows.shape == (4, 16)
    elsewhere = read(run, STATISTICS, (1, 2), starts=starts + 1, length=50).rows
    assert not np.array_equal(rows, elsewhere)
    unreadable(monkeypatch, run)
    np.testing.assert_array_equal(read(run, STATISTICS, (1, 2), starts=starts, length=50).rows, rows)


def test_other_code_and_other_weights_are_never_served_from_the_store(run):
    old = read(run, STATISTICS, (1,))
    newer = replace(STATISTICS, version=99, table=lambda source: replace(old, rows=old.rows + 1))
    assert not np.array_equal(read(run, newer, (1,)).rows, old.rows)
    run.checksum = "0" * 64
    read(run, STATISTICS, (1,))
    assert len(files(run)) == 3


def test_what_is_left_out_is_another_table(run):
    whole = read(run, STATISTICS, (1,))
    left = read(run, STATISTICS, (1,), without=("moving_statistics",))
    assert len(left.names) < len(whole.names)


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-7], lambda data: data[:-1] + bytes([data[-1] ^ 1]), lambda _: b""]
)
def test_a_damaged_table_is_made_again(run, damage):
    rows = read(run, STATISTICS, (1,)).rows
    (path,) = files(run)
    path.write_bytes(damage(path.read_bytes()))
    np.testing.assert_array_equal(read(run, STATISTICS, (1,)).rows, rows)


def test_where_nothing_can_be_written_tables_stay_in_memory(run, monkeypatch, tmp_path):
    run.cache = tmp_path / "file" / "features"
    (tmp_path / "file").write_text("in the way")
    rows = read(run, STATISTICS, (1,)).rows
    unreadable(monkeypatch, run)
    np.testing.assert_array_equal(read(run, STATISTICS, (1,)).rows, rows)
    assert (tmp_path / "file").read_text() == "in the way"


def test_weights_that_are_no_numbers_are_named_and_not_kept(run, monkeypatch):
    monkeypatch.setattr(type(run), "weights", property(lambda run: np.full((4, run.layout.size), np.nan, np.float32)))
    with pytest.raises(store.NotFinite, match="run 0 has weights that are no numbers"):
        read(run, STATISTICS, (1,))
    assert not files(run)


def _read_all(path, answers):
    zoo = Zoo(path)
    answers.put([read(run, STATISTICS, (1, 2, 3, 4)).rows.tobytes() for run in zoo])


@pytest.mark.slow
def test_two_processes_that_fill_it_agree(zoo_copy):
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    processes = [context.Process(target=_read_all, args=(zoo_copy, answers)) for _ in range(2)]
    for process in processes:
        process.start()
    found = [answers.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()
    assert found[0] == found[1]
    zoo = Zoo(zoo_copy)
    assert [read(run, STATISTICS, (1, 2, 3, 4)).rows.tobytes() for run in zoo] == found[0]
    assert len(files(zoo[0])) == len(zoo)
    assert not [path for path in files(zoo[0]) if path.name.startswith(".")]
