import numpy as np
import polars as pl
import pytest
import torch

from weightprint.errors import ZooError
from weightprint.evaluation.answers import table, to_json
from weightprint.setups import Setup
from weightprint.study import fine_tuning
from weightprint.study.budgets import BUDGETS
from weightprint.study.cells import Cells
from weightprint.study.fine_tuning import fine_tune
from weightprint.study.plans import Facts
from weightprint.study.table import read_table
from weightprint.training.networks import Network, initialize
from weightprint.training.vectors import to_vector
from weightprint.zoo import Zoo, write_run
from weightprint.zoo.layout import Layout
from weightprint.zoo.runfile import RunRecord

OPTIMIZERS = ("adam", "momentum", "rmsprop")


@pytest.fixture(scope="module")
def parents(tmp_path_factory):
    """Three parents, of one optimizer each."""
    path = tmp_path_factory.mktemp("fine") / "parents"
    zoo = Zoo.create(path, {"note": "parents", "seed": 5})
    for number, optimizer in enumerate(OPTIMIZERS):
        setup = Setup(dataset="shapes", optimizer=optimizer, filter_size=3, width_conv=4, width_fc=16, batch_size=32)
        network = Network(setup)
        initialize(network, generator=torch.Generator().manual_seed(number))
        weights = np.stack([np.zeros(Layout.of(setup).size, np.float32), to_vector(network).numpy()])
        record = RunRecord(
            number=number,
            identity=zoo.run_identity(number),
            status="complete",
            reason="last epoch",
            properties=setup.to_dict(),
            layout=Layout.of(setup),
            weights=weights,
            measurements=[{"snapshot": 1}, {"snapshot": 2}],
        )
        write_run(path, record)
    return Zoo(path)


@pytest.fixture(scope="module")
def children(parents):
    settings = {"changes": {"optimizer": "momentum"}, "steps": (0, 1, 12), "train_size": 200, "test_size": 100}
    made = fine_tune(parents, parents.path.parent / "children", **settings)
    stamps = [run.path.stat().st_mtime_ns for run in made]
    again = fine_tune(parents, made.path, **settings)
    assert [run.path.stat().st_mtime_ns for run in again] == stamps
    return again


@pytest.mark.slow
def test_children_start_from_their_parents_last_weights_and_are_their_kin(parents, children):
    assert children.numbers == [0, 2]  # the momentum parent already is what children become
    for child in children:
        parent = parents[child.number]
        assert child.streams == parent.streams
        assert child.kin & parent.kin
        assert child.identity != parent.identity
        weights = child.weights
        np.testing.assert_array_equal(weights[0], parent.weights[-1])
        assert (weights[1] != weights[0]).any()
        assert child.properties["optimizer"] == "momentum"
        assert child.properties["parent_optimizer"] == parent.properties["optimizer"]
        assert [(m["step"], m["epoch"]) for m in child.measurements] == [(0, 0), (1, 1), (12, 3)]


def test_a_child_of_another_architecture_is_refused(parents, tmp_path):
    with pytest.raises(ZooError, match="its parent's architecture"):
        fine_tune(parents, tmp_path / "zoo", changes={"depth_fc": 3}, train_size=200, test_size=100)


def test_answers_are_counted_for_the_child_and_for_the_parent(children, tmp_path):
    runs = {"": (), "key": read_table(children, "fields").runs}
    facts = Facts(("optimizer", "dataset"), (), 2, {}, {}, 1, False, 3, {"key": "children"})
    planned = fine_tuning.plan(facts, BUDGETS["quick"], runs)
    assert [one.target for one in planned] == ["optimizer"]  # the data set is the parents'
    cells, identities = Cells(tmp_path, "zoo"), [run.identity for run in children]

    def named(*answers):
        truth = [OPTIMIZERS.index("momentum")] * 2
        told = [OPTIMIZERS.index(answer) for answer in answers]
        return to_json(table(identities, truth, told, classes=OPTIMIZERS, property="optimizer"))

    answers = [named("adam", "rmsprop"), named("adam", "momentum"), named("momentum", "momentum")]
    cells.put(planned[0].cell, {"scores": [{}] * 3, "answers": answers})
    found = pl.DataFrame(fine_tuning.rows(planned, cells, runs))
    shares = {
        series: found.filter(pl.col("series") == series).sort("x_number")["value"].to_list()
        for series in (fine_tuning.CHILDS, fine_tuning.PARENTS)
    }
    assert shares == {fine_tuning.CHILDS: [0, 0.5, 1], fine_tuning.PARENTS: [1, 0.5, 0]}
    assert found["x_number"].unique().sort().to_list() == [0, 1, 12]
