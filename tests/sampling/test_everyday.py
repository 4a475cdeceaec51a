"""The space everyday through the whole of sampling."""

import numpy as np
import pytest
import torch

from tests.sampling.test_sampling import files
from weightprint import EverydaySetup, EverydaySpace, Zoo
from weightprint.cli import main as cli
from weightprint.images import load, prepare
from weightprint.sampling.sample import estimate, plan, run_sampling

pytestmark = pytest.mark.slow

SPACE = EverydaySpace(datasets=("digits", "shapes"), steps=(8, 16))
HOW = {"seed": 10, "test_size": 100}  # of this seed the first runs have all families, norms and augmentations
RUNS = 10


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    path = tmp_path_factory.mktemp("everyday") / "zoo"
    run_sampling(plan(path, SPACE, RUNS, **HOW), workers=2)
    return path


def test_runs_of_every_family_are_complete_and_as_the_recipe_draws_them(zoo):
    opened = Zoo(zoo)
    assert set(opened.index["architecture"]) == {"lenet", "plain_cnn", "mlp", "vgg", "residual"}
    assert set(opened.index["status"]) <= {"complete", "diverged"}
    assert opened.verify() == []
    assert opened.info()["space"] == "everyday"
    assert {len(run.weights) for run in opened if run.status == "complete"} == {8}


def test_a_module_of_a_run_answers_as_the_run_did_when_it_was_measured(zoo):
    parts = {
        form: {name: prepare(load(name, form=form), train_size=None, **HOW) for name in SPACE.datasets}
        for form in ("28x28x1", "32x32x3")
    }
    for run in Zoo(zoo).select(status="complete"):
        setup, last = run.setup, run.measurements[-1]
        assert isinstance(setup, EverydaySetup)
        part = parts[setup.image_form][setup.dataset]
        module = run.module(8)
        with torch.inference_mode():
            scores = module(module.inputs(torch.from_numpy(part.x_test)))
        right = (scores.argmax(1).numpy() == part.y_test).mean()
        assert right == pytest.approx(last["test_accuracy"], abs=0.01), setup
        assert last["step"] == setup.steps


def test_what_is_made_again_has_the_same_bytes(zoo, tmp_path):
    run_sampling(plan(tmp_path / "zoo", SPACE, RUNS, range="3-5", **HOW), workers=1)
    made_again = files(tmp_path / "zoo")
    assert len(made_again) == 3
    assert made_again == {name: content for name, content in files(zoo).items() if name in made_again}


@pytest.mark.long
def test_a_dry_run_says_hours_and_gigabytes(tmp_path):
    document = estimate(plan(tmp_path / "zoo", SPACE, 400, **HOW), workers=1)
    assert document["hours"] > 0
    assert document["gigabytes"] == pytest.approx(400 * 8 * 4e-9 * 115_000, rel=0.2)
    assert not document["upper_bound"]
    assert document["missing"] == 400
    assert not (tmp_path / "zoo").exists()


def test_the_command_line_says_what_does_not_apply(tmp_path, capsys):
    command = ["sample", str(tmp_path / "zoo"), "--space", "everyday", "--runs", "1", "--datasets", "digits"]
    assert cli.main([*command, "--max-epochs", "3"]) == 1
    assert "leave --max-epochs out" in capsys.readouterr().err
    assert cli.main([*command, "--train-size", "100"]) == 1
    assert "fewer than one batch of 256" in capsys.readouterr().err
    assert cli.main([*command, "--snapshots", "2", "--cohort", "4"]) == 1
    assert "one by one" in capsys.readouterr().err
    assert not np.any([path.name == "zoo" for path in tmp_path.iterdir()])
