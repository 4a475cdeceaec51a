import dataclasses
import json
from collections import Counter

import numpy as np
import pytest
from scipy.stats import chi2_contingency

from weightprint import EverydaySetup, EverydaySpace, Space
from weightprint.errors import SetupError, ZooError
from weightprint.setups import Recipe
from weightprint.setups.everyday.layers import layers, multiply_adds, step_work, weight_count
from weightprint.setups.everyday.space import LEAST_STEPS, MOST_IMAGES, WORK

TOLD = ("optimizer_family", "activation", "initialization", "image_kind")
OTHERS = ("architecture", "flatten", "norm", "biases", "pooling", "filter_size", "batch_size", "schedule")


@pytest.fixture(scope="module")
def drawn():
    return [EverydaySpace().draw(4, run) for run in range(3000)]


def test_each_class_of_what_is_told_has_ten_runs_of_every_hundred(drawn):
    for start in range(0, len(drawn), 100):
        for name in TOLD:
            counts = Counter(getattr(setup, name) for setup in drawn[start : start + 100])
            assert min(counts.values()) >= 10, (name, counts)
    assert set(Counter(setup.optimizer_family for setup in drawn)) == {"sgd_like", "adaptive"}
    assert min(Counter(setup.optimizer for setup in drawn).values()) >= 0.06 * len(drawn)


@pytest.mark.parametrize("told", TOLD)
def test_what_is_told_is_independent_of_the_architecture_and_of_each_other(drawn, told):
    for other in {*OTHERS, *TOLD} - {told}:
        values = [(getattr(setup, told), getattr(setup, other)) for setup in drawn]
        rows, columns = (sorted(set(column)) for column in zip(*values, strict=True))
        counts = np.zeros((len(rows), len(columns)))
        for row, column in values:
            counts[rows.index(row), columns.index(column)] += 1
        assert chi2_contingency(counts).pvalue > 1e-4, other


def test_grey_images_are_mostly_but_not_only_those_that_were_grey(drawn):
    grey = Counter(setup.dataset for setup in drawn if setup.image_form == "28x28x1")
    every = Counter(setup.dataset for setup in drawn)
    shares = {name: grey[name] / every[name] for name in every}
    assert all(0.2 < share < 0.8 for share in shares.values())
    assert shares["fashion_mnist"] > 0.6 > 0.4 > shares["cifar10"]


def test_learning_rates_lie_around_the_usual_ones_of_their_rule(drawn):
    rates = {rule: [s.learning_rate for s in drawn if s.optimizer == rule] for rule in ("sgd", "adam", "adadelta")}
    assert 1e-3 <= min(rates["sgd"]) < 2e-3
    assert 0.2 < max(rates["sgd"]) <= 0.3
    assert 1e-4 <= min(rates["adam"]) < max(rates["adam"]) <= 1e-2
    assert np.median(rates["adam"]) == pytest.approx(1e-3, rel=0.3)
    assert min(rates["adadelta"]) >= 0.1
    assert {s.momentum for s in drawn if s.optimizer == "adam"} == {0.0}
    momenta = [s.momentum for s in drawn if s.optimizer_family == "sgd_like" and s.optimizer != "sgd"]
    assert all(0.5 <= momentum <= 0.95 for momentum in momenta)


def test_networks_are_small_and_runs_are_cut_at_their_multiply_adds(drawn):
    for setup in drawn:
        assert multiply_adds(setup) <= 3_000_000
        assert weight_count(setup) <= 400_000
        assert LEAST_STEPS <= setup.steps <= 30_000
        if setup.steps > LEAST_STEPS:
            assert setup.steps * step_work(setup) <= WORK
            assert setup.steps * setup.batch_size <= MOST_IMAGES
    assert len({setup.steps for setup in drawn}) > 500


def test_every_family_has_its_form(drawn):
    some = {name: next(s for s in drawn if s.architecture == name) for name in {s.architecture for s in drawn}}
    assert set(some) == {"lenet", "plain_cnn", "mlp", "vgg", "residual"}
    published = dataclasses.replace(
        some["lenet"], stages=((6,), (16,)), units=(120, 84), padding="first", filter_size=5, image_form="28x28x1"
    )
    assert [layer.shape for layer in layers(published)] == [
        (6, 1, 5, 5), (16, 6, 5, 5), (120, 400), (84, 120), (10, 84)
    ]  # fmt: skip
    assert layers(published)[2].flattened == (16, 5, 5)
    assert not any(layer.part == "conv" for layer in layers(some["mlp"]))
    residual = layers(some["residual"])
    assert any(len(layer.reads) > 1 for layer in residual)
    assert residual[-1].flattened is None


def test_a_run_is_drawn_from_the_seed_and_its_number_alone(drawn):
    assert EverydaySpace().draw(4, 2345) == drawn[2345]
    assert EverydaySpace().draw(5, 2345) != drawn[2345]


def test_a_setup_comes_back_from_its_properties(drawn):
    for setup in drawn[:50]:
        properties = json.loads(json.dumps(setup.to_dict()))
        assert EverydaySetup.from_dict(properties) == setup
        assert properties["optimizer_family"] == setup.optimizer_family


def recipe(**fields):
    usual = {"space": EverydaySpace(), "seed": 4, "train_size": None, "test_size": 500, "max_epochs": None}
    return Recipe(**{**usual, "snapshots": 8, "datasets": {}, **fields})


def test_a_recipe_spells_the_space_out_and_comes_back():
    value = json.loads(json.dumps(recipe().to_json()))
    assert value["space"]["family"] == "everyday"
    assert value["space"]["optimizer"]["adam"] == 16
    assert Recipe.from_json(value) == recipe()


def test_a_zoo_whose_space_was_drawn_otherwise_is_not_taken_for_this_one():
    value = recipe().to_json()
    value["space"]["activation"] = {"relu": 100}
    with pytest.raises(SetupError, match="another one: activation"):
        Recipe.from_json(value)
    with pytest.raises(ZooError, match="unknown form"):
        Recipe.from_json({**recipe().to_json(), "space": {"family": "everyday"}})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"max_epochs": 10}, "max-epochs is not for the space everyday"),
        ({"cohort": 2, "window": 32}, "one by one"),
        ({"snapshots": 52}, "snapshots must be from 1 to 51"),
    ],
)
def test_what_does_not_apply_to_the_space_is_refused(fields, message):
    with pytest.raises(SetupError, match=message):
        recipe(**fields)


def test_other_data_sets_can_take_the_place_of_the_usual_ones():
    space = Space.named("everyday").replace(dataset=["mnist", "mine", "yours"])
    drawn = [space.draw(0, run) for run in range(100)]
    assert Counter(setup.dataset for setup in drawn) == {"mnist": 34, "mine": 33, "yours": 33}
    assert {setup.image_kind for setup in drawn} == {"digits", "other"}
    with pytest.raises(SetupError, match="listed once"):
        space.replace(dataset=["mnist", "mnist"])


def test_an_impossible_setup_names_what_is_wrong(drawn):
    with pytest.raises(SetupError, match="unknown activation 'rellu' \\(did you mean 'relu'"):
        dataclasses.replace(drawn[0], activation="rellu")
    lenet = next(s for s in drawn if s.architecture == "lenet")
    with pytest.raises(SetupError, match="an mlp has none"):
        dataclasses.replace(lenet, architecture="mlp")
    with pytest.raises(SetupError, match="conv3 has a window that does not fit"):
        layers(
            dataclasses.replace(
                lenet, stages=((6,), (16,), (120,)), padding="valid", image_form="28x28x1", filter_size=7
            )
        )
