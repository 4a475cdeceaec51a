"""A run is known again in whatever form it comes back, and never tested by what was trained on its other self."""

import numpy as np
import polars as pl
import pytest
import torch

from tests.formats.test_nws import SMALL, record
from weightprint.errors import MetaError
from weightprint.formats.checkpoint_folder import import_folder
from weightprint.formats.exports import export_folder, export_hub
from weightprint.formats.nws import import_nws
from weightprint.formats.nws_export import export_nws
from weightprint.meta import build
from weightprint.setups import Setup
from weightprint.zoo import Zoo, write_run
from weightprint.zoo.readable import families


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """Eight runs of a zoo with a seed."""
    zoo = Zoo.create(tmp_path_factory.mktemp("original") / "zoo", {"made": "by hand", "seed": 5}, space_name="main")
    for number in range(8):
        write_run(zoo.path, record(number, Setup(optimizer=("adam", "rmsprop")[number % 2], **SMALL)))
    return zoo.refresh()


def through_nws(zoo, folder):
    export_nws(zoo, folder / "out")
    import_nws(folder / "out", folder / "back")


def through_nws_published_alone(zoo, folder):
    """Without the file that only our exports have."""
    export_nws(zoo, folder / "out")
    for path in (folder / "out").rglob("kin.txt"):
        path.unlink()
    import_nws(folder / "out", folder / "back")


def through_state_dicts(zoo, folder):
    export_folder(zoo, folder / "out")
    answer = import_folder(folder / "out", folder / "back", table=folder / "out" / "snapshots.csv")
    assert (answer["imported"], answer["left_out"]) == (8, [])


def through_last_state_dicts_alone(zoo, folder):
    """With a table of one's own: tensors in another order, one snapshot."""
    export_folder(zoo, folder / "out")
    names = [f"{run.number:07d}/20.safetensors" for run in zoo]
    table = pl.DataFrame({"file": names, "optimizer": zoo.index["optimizer"]})
    table.write_csv(folder / "mine.csv")
    import_folder(folder / "out", folder / "back", table=folder / "mine.csv")


def through_the_hub(zoo, folder):
    export_hub(zoo, folder / "back")


ROUTES = {
    through_nws: True,
    through_nws_published_alone: False,
    through_state_dicts: True,
    through_last_state_dicts_alone: False,
    through_the_hub: True,
}


@pytest.mark.parametrize(
    "route",
    [through_nws, *(pytest.param(route, marks=pytest.mark.slow) for route in list(ROUTES)[1:])],
    ids=lambda route: route.__name__,
)
def test_a_copy_of_a_zoo_is_not_tested_by_what_was_trained_on_the_zoo(original, tmp_path, route):
    route(original, tmp_path)
    copy = Zoo(tmp_path / "back")
    settings = {"slice_length": "all", "snapshots": "last"}
    for trained_on, tested in ((original, copy), (copy, original)):
        meta = build("majority", target="optimizer", **settings).fit(trained_on.select(numbers=range(6)))
        document = meta.evaluate(tested)
        assert document["n_runs"] == 2
        assert document["excluded"] == ({} if route is through_the_hub else {"kin": 6})  # the very same runs there
        with pytest.raises(MetaError, match="no run is left to evaluate on"):
            meta.evaluate(tested.select(numbers=range(6)))
    for run, twin in zip(original, copy, strict=True):
        assert (run.streams == twin.streams) is ROUTES[route]
        assert sorted(run.snapshot(20)) == sorted(twin.weights[-1])
    assert len(set(families([*original, *copy]))) == len(original)


@pytest.mark.slow
def test_state_dicts_come_back_with_their_properties_and_measurements(original, tmp_path):
    through_state_dicts(original, tmp_path)
    for run, twin in zip(original, Zoo(tmp_path / "back"), strict=True):
        assert run.properties.items() <= twin.properties.items()
        assert run.converged is twin.converged is True
        columns = ("epoch", "step", "train_accuracy", "test_accuracy")
        assert [[row[c] for c in columns] for row in run.measurements] == [
            [row[c] for c in columns] for row in twin.measurements
        ]


def test_equal_networks_under_two_names_are_kin_and_so_are_runs_of_one_name_under_kin(tmp_path):
    for name, seed in {"a": 0, "b": 1, "again": 0, "c": 2, "d": 3}.items():
        torch.manual_seed(seed)
        torch.save(torch.nn.Linear(5, 3).state_dict(), tmp_path / f"{name}.pt")
    (tmp_path / "runs.csv").write_text("id,kin\na,1\nb,2\nagain,3\nc,2\nd,3\n")
    import_folder(tmp_path, tmp_path / "zoo", table=tmp_path / "runs.csv")
    a, b, again, c, d = families(Zoo(tmp_path / "zoo"))
    assert a == again == d  # by weights, then by name
    assert b == c != a


def test_other_weights_have_other_names(original):
    run = original[0]
    names = {next(name for name in one.kin if name.startswith("weights")) for one in original}
    assert len(names) == 8
    changed = run.load()
    for place in (0, changed.weights.shape[1] - 1):
        weights = changed.weights.copy()
        weights[-1, place] = np.nextafter(weights[-1, place], np.float32(9))
        other = Zoo.create(original.path.parent / f"changed{place}", {"seed": 6})
        write_run(other.path, type(changed)(**{**vars(changed), "weights": weights}))
        assert run.kin.isdisjoint(other.refresh()[0].kin)
