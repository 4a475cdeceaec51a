"""A zoo that an earlier training procedure made, byte for byte: it is read for ever, and never extended by another."""

import json
import shutil
from pathlib import Path

import pytest

from tests.conftest import TINY, TINY_SPACE
from tests.faults import run_files
from weightprint import Space
from weightprint.cli.main import main
from weightprint.errors import RecipeMismatch, SetupError, ZooError
from weightprint.sampling.sample import Sampling, estimate, merge, plan, run_sampling
from weightprint.setups.recipe import PROCEDURE, Recipe, recipe_sha256
from weightprint.zoo import Zoo

OLD = Path(__file__).parent / "procedure-1"
SIZES = {"train_size": 100, "test_size": 50, "max_epochs": 3, "snapshots": 2}


@pytest.fixture
def old(tmp_path):
    return Path(shutil.copytree(OLD, tmp_path / "old"))


def asked_again(path, runs=12):
    return plan(path, Space("tiny", Zoo(path).recipe["space"]), runs, **SIZES)


def test_it_keeps_its_identity_and_its_setups(old):
    zoo = Zoo(old)
    recipe = Recipe.from_json(zoo.recipe)
    assert recipe.procedure == 1 < PROCEDURE
    assert recipe.to_json() == zoo.recipe
    assert recipe_sha256(recipe.to_json()) == zoo.identity
    assert recipe_sha256(recipe.to_json()) != recipe_sha256(asked_again(old).recipe.to_json())
    assert zoo.verify() == []
    assert {run.identity for run in zoo} == {f"{zoo.identity}:{number}" for number in range(12)}


@pytest.mark.slow
def test_every_command_that_reads_works_on_it(old, tmp_path, capsys):
    meta, out = str(tmp_path / "meta"), str(tmp_path / "out")
    whole = ["--slice-length", "all", "--snapshots", "all", "--converged", "off"]
    commands = [
        ["info", str(old)],
        ["verify", str(old)],
        ["fit", str(old), meta, "--property", "dataset", "--model", "majority", *whole],
        ["evaluate", meta, str(old)],
        ["bench", str(old), out, "--models", "majority", "--properties", "dataset", *whole],
    ]
    for command in commands:
        assert main([*command, "--json"]) == 0, (command, capsys.readouterr())
        assert "error" not in json.loads(capsys.readouterr().out)


def test_sampling_into_it_is_refused_and_names_both_procedures(old):
    asked = asked_again(old, runs=13)
    for attempt in (run_sampling, estimate):
        with pytest.raises(RecipeMismatch, match=f"old was made by training procedure 1, not {PROCEDURE}") as caught:
            attempt(asked)
        assert "new folder" in caught.value.hint
        assert "made_with" in caught.value.hint
    assert run_files(old) == run_files(OLD)


def test_its_own_recipe_is_no_way_round(old):
    asked = asked_again(old, runs=13)
    with pytest.raises(SetupError, match=f"training procedure 1 cannot be sampled, only {PROCEDURE}"):
        Sampling(old, Recipe.from_json(Zoo(old).recipe), asked.images, asked.numbers)


def test_parts_of_one_procedure_merge_and_of_two_do_not(old, tmp_path):
    part = Path(shutil.copytree(OLD, tmp_path / "part"))
    next(old.rglob("0000003.safetensors")).unlink()
    assert merge(old, [part])["copied"] == 1
    new = plan(tmp_path / "new", TINY_SPACE, 1, **TINY)
    Zoo.create(new.path, new.recipe.to_json())
    with pytest.raises(RecipeMismatch, match=f"old was made by training procedure 1, not {PROCEDURE}"):
        merge(old, [new.path])


@pytest.mark.parametrize("procedure", ["2", 0, None, True])
def test_what_is_no_procedure_is_refused(procedure):
    with pytest.raises(ZooError, match="recipe of an unknown form: procedure"):
        Recipe.from_json({**json.loads((OLD / "zoo.json").read_text())["recipe"], "procedure": procedure})
