"""Several runs trained as one: which ones, and that each is what it would be alone."""

import shutil
from collections import Counter
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import TINY, TINY_SPACE, sample_tiny
from tests.faults import DIE_AFTER_WRITING_RUN_2, hook_training, run_files
from weightprint import Layout, Setup
from weightprint.errors import DataError, RecipeMismatch, SetupError
from weightprint.images import load, prepare
from weightprint.images.augment import augment
from weightprint.sampling.engine import Attempts
from weightprint.sampling.jobs import time_run
from weightprint.sampling.local import Workers
from weightprint.sampling.sample import estimate, merge, plan
from weightprint.setups import SPACES
from weightprint.setups.recipe import SHAPE_FIELDS, Recipe, cohorts_of, recipe_sha256
from weightprint.training import cohorts
from weightprint.training import loop as training
from weightprint.training.cohorts import CohortNetwork, CohortOptimizer, augment_members, train_cohort
from weightprint.training.loop import CURVE_COLUMNS, Streams, train
from weightprint.training.networks import Network, initialize
from weightprint.training.optimizers import RULES, FlatParameters
from weightprint.training.plain import ResidentImages, to_float
from weightprint.training.vectors import to_vector

SMALL = Setup(dataset="shapes", filter_size=3, width_conv=4, width_fc=32, batch_size=32, learning_rate=0.003)
DIFFERENT = [
    SMALL,
    replace(SMALL, optimizer="rmsprop", activation="sigmoid", augmentation=True, initialization="glorot_normal"),
    replace(SMALL, optimizer="momentum", activation="tanh", learning_rate=0.01, dropout=0.0, weight_decay=0.01),
    replace(SMALL, optimizer="adamw", activation="elu", weight_decay=0.01, dropout=0.25),
    replace(SMALL, optimizer="sgd", learning_rate=0.1, initialization="torch_default", augmentation=True),
    replace(SMALL, optimizer="nesterov", activation="tanh", dataset="digits"),
    replace(SMALL, optimizer="rmsprop_torch", activation="sigmoid", weight_decay=0.001),
    replace(SMALL, optimizer="adamw", initialization="he_normal"),
]
"""Every update rule, activation and kind of weight decay; two rules twice, so that rows are gathered."""


@pytest.fixture(scope="module")
def images():
    return {name: prepare(load(name), train_size=400, test_size=100, seed=0) for name in ("shapes", "digits")}


def column(run, name):
    return run.curve[:, CURVE_COLUMNS.index(name)]


def double_network(setup, streams):
    network = Network(setup)
    initialize(network, generator=streams.initialization)
    return network.double()


def step_alone(setup, images, labels, run):
    """The weights [P] after one step in float64, and for which of them the rule blows rounding up: a tenth of their
    gradient, weight decay included (the root of RMSProp's first mean square), lies below epsilon, 1e-8."""
    streams = Streams(0, run, "cpu")
    network = double_network(setup, streams).train()
    flat = FlatParameters(network.parameters())
    if setup.augmentation:
        images = augment(images, generator=streams.augmentation)
    flat.backward(F.cross_entropy(network(images, generator=streams.dropout), labels))
    sizes = {name: parameter.numel() for name, parameter in network.named_parameters()}
    decay = 0.0 if setup.optimizer == "adamw" else setup.weight_decay
    gradients = (flat.gradients + decay * flat.values.detach()).abs()
    gradients = dict(zip(sizes, gradients.split(list(sizes.values())), strict=True))
    gradients = torch.cat([gradients.get(e.source, torch.ones(e.size)) for e in Layout.of(setup)])
    RULES[setup.optimizer](flat.values, flat.gradients, weight_decay=setup.weight_decay).step(setup.learning_rate)
    return to_vector(network), gradients < 1e-7


def step_together(setups, images, labels):
    """The weights [K, P] of a cohort after the same step."""
    streams = [Streams(0, run, "cpu") for run in range(len(setups))]
    network = CohortNetwork([double_network(*pair) for pair in zip(setups, streams, strict=True)])
    images = augment_members(images, setups, [s.augmentation for s in streams])
    gradients = network.gradients(network.scores(images, [s.dropout for s in streams]), labels)
    rates = gradients.new_tensor([[setup.learning_rate] for setup in setups])
    CohortOptimizer(setups, network.values).step(gradients, rates)
    return network.vectors()


@pytest.mark.parametrize(
    ("setups", "changes"),
    [
        (DIFFERENT, {}),
        (DIFFERENT, {"batch_norm": False, "depth_conv": 4, "outputs": 10}),
        (DIFFERENT, {"depth_conv": 5, "depth_fc": 3, "filter_size": 5}),
        (DIFFERENT[:1], {}),
    ],
    ids=["all rules", "without batch norm", "deeper", "a single member"],
)
def test_a_step_of_a_cohort_is_that_of_each_member_alone(setups, changes):
    """To 1e-10, moving statistics too. A gradient that is nothing but rounding, as that of a bias before batch norm, is
    blown up a million times by rules like Adam's."""
    setups = [replace(setup, **changes) for setup in setups]
    draw = torch.Generator().manual_seed(1)
    images = torch.rand(len(setups), 12, 3, 32, 32, generator=draw, dtype=torch.float64)
    labels = torch.randint(0, 10, (len(setups), 12), generator=draw)
    together = step_together(setups, images, labels)
    for run, setup in enumerate(setups):
        alone, of_rounding = step_alone(setup, images[run], labels[run], run)
        assert of_rounding.float().mean() < 0.8  # gradients of dead units are zero
        torch.testing.assert_close(together[run][~of_rounding], alone[~of_rounding], rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(together[run][of_rounding], alone[of_rounding], rtol=0, atol=1e-6)


@pytest.fixture
def in_float64(monkeypatch):
    """Have whole trainings calculate in float64."""
    for module in (training, cohorts):
        monkeypatch.setattr(module, "Network", lambda setup: Network(setup).double())
    monkeypatch.setattr(cohorts, "to_float", lambda x: to_float(x, torch.float64))
    monkeypatch.setattr(cohorts, "ResidentImages", partial(ResidentImages, dtype=torch.float64))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("setups", "batch_norm"), [(DIFFERENT[:4], True), (DIFFERENT[4:], False)], ids=["with", "without"]
)
def test_a_whole_training_in_float64_is_the_same_together_and_alone(in_float64, setups, batch_norm):
    """So orders, draws, states of optimizers, learning rates and evaluations agree. Snapshots are stored as float32.

    Left out are biases before batch norm, which rounding alone moves, and the moving means, which follow them."""
    setups = [replace(setup, batch_norm=batch_norm) for setup in setups]
    numbers = (5, 6, 7, 9)
    images = {name: prepare(load(name), train_size=200, test_size=50, seed=0) for name in ("shapes", "digits")}
    compared = np.ones(Layout.of(setups[0]).size, dtype=bool)
    for entry in Layout.of(setups[0]):
        if batch_norm and entry.part == "conv" and entry.kind in ("bias", "moving_mean"):
            compared[entry.offset : entry.stop] = False
    together = train_cohort(setups, images, seed=3, runs=numbers, max_epochs=2, snapshots=3)
    for member, setup, run in zip(together, setups, numbers, strict=True):
        alone = train(setup, images[setup.dataset], seed=3, run=run, max_epochs=2, snapshots=3)
        np.testing.assert_allclose(member.weights[:, compared], alone.weights[:, compared], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(member.curve, alone.curve, rtol=1e-6)
        for same in ("setup", "status", "reason", "evaluations", "training_samples"):
            assert getattr(member, same) == getattr(alone, same)


def test_the_first_snapshot_has_the_bits_of_the_single_run(images):
    together = train_cohort(DIFFERENT, images, runs=range(8), max_epochs=0, snapshots=1)
    for run, (member, setup) in enumerate(zip(together, DIFFERENT, strict=True)):
        alone = train(setup, images[setup.dataset], run=run, max_epochs=0, snapshots=1)
        assert np.array_equal(member.weights, alone.weights)
        np.testing.assert_allclose(member.curve, alone.curve, rtol=1e-4)


@pytest.mark.long
def test_where_rounding_grows_a_cohort_is_neither_better_nor_worse_than_its_runs_alone(images):
    """Sixteen pairs that share all random choices and differ by grown rounding: the mean paired difference of the final
    test accuracy is within three of its standard errors, plus one of the 100 test images, of zero."""
    setups = [replace(setup, learning_rate=rate, batch_norm=True) for setup in DIFFERENT for rate in (0.002, 0.005)]
    together = train_cohort(setups, images, runs=range(16), max_epochs=8, snapshots=2)
    alone = [train(s, images[s.dataset], run=run, max_epochs=8, snapshots=2) for run, s in enumerate(setups)]
    pairs = np.array([[column(run, "test_accuracy")[-1] for run in runs] for runs in (together, alone)])
    differences = pairs[0] - pairs[1]
    error = differences.std(ddof=1) / np.sqrt(len(differences))
    assert abs(differences.mean()) <= 3 * error + 0.01
    assert np.corrcoef(pairs)[0, 1] > 0.8
    assert pairs.max(1).min() > 0.5


@pytest.mark.slow
def test_a_member_that_diverges_leaves_the_others_as_they_are(images):
    plain = replace(SMALL, batch_norm=False, optimizer="momentum", activation="tanh")
    bad = replace(plain, optimizer="sgd", learning_rate=10.0, initialization="random_normal", activation="relu")
    setups = [plain, bad, replace(plain, activation="relu")]
    good, diverged, other = train_cohort(setups, images, runs=[0, 1, 2], max_epochs=3, snapshots=4)
    assert diverged.status == "diverged"
    assert "not finite after" in diverged.reason
    assert diverged.training_samples < good.training_samples
    for run, member in ((0, good), (2, other)):
        alone = train(setups[run], images["shapes"], run=run, max_epochs=3, snapshots=4)
        assert member.status == "complete"
        np.testing.assert_allclose(member.weights, alone.weights, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_a_member_that_stops_early_leaves_and_the_others_go_on(images, monkeypatch):
    """With the state of their optimizers: the one that stays to the end is what it is alone."""
    limits = iter([3, 9, 2, 4])

    class Impatient(training.EarlyStopping):
        def __init__(self, earliest):
            super().__init__(earliest)
            self.limit = next(limits, 99)

        def add(self, accuracy):
            super().add(accuracy)
            return self.evaluations == self.limit

    monkeypatch.setattr(training, "EarlyStopping", Impatient)
    plain = replace(SMALL, batch_norm=False, optimizer="momentum", batch_size=64)
    setups = [plain, replace(plain, learning_rate=0.002), replace(plain, optimizer="adam"), plain]
    found = train_cohort(setups, images, runs=range(4), max_epochs=5, snapshots=6)
    assert [len(run.curve) for run in found] == [3, 6, 2, 4]
    assert [run.reason for run in found] == ["early stopping", "last epoch", "early stopping", "early stopping"]
    alone = train(setups[1], images["shapes"], run=1, max_epochs=5, snapshots=6)
    np.testing.assert_allclose(found[1].weights, alone.weights, rtol=1e-3, atol=1e-4)


def test_what_cannot_be_trained_side_by_side_is_refused(images):
    with pytest.raises(SetupError, match="must share batch_size, found 32, 64"):
        train_cohort([SMALL, replace(SMALL, batch_size=64)], images, runs=[0, 1])
    with pytest.raises(SetupError, match="as many runs as set-ups"):
        train_cohort([SMALL, SMALL], images, runs=[0])
    with pytest.raises(DataError, match="360 training images, fewer than one batch of 512"):
        train_cohort([replace(SMALL, batch_size=512)], images, runs=[0])
    part = images["shapes"]
    keep = (part.y_train != 9) | (np.cumsum(part.y_train == 9) <= 2)
    cut = {"shapes": replace(part, x_train=part.x_train[keep], y_train=part.y_train[keep])}
    with pytest.raises(DataError, match="class 9 of shapes has 2 training images, .* 20 in an epoch, .* batch of 32"):
        train_cohort([SMALL, SMALL], cut, runs=[0, 1])
    fewer = {**images, "digits": prepare(load("digits"), train_size=200, test_size=100, seed=0)}
    with pytest.raises(DataError, match=r"data sets of the same size .* shapes \(360, 360, 40, 100\); digits \(180"):
        train_cohort([SMALL, replace(SMALL, dataset="digits")], fewer, runs=[0, 1])


# --- which runs form a cohort ----------------------------------------------------------------------------------------


def recipe(seed=0, **cohorts):
    sizes = {"train_size": 2500, "test_size": 500, "max_epochs": 19, "snapshots": 20}
    return Recipe(space=SPACES["fixed"], seed=seed, **sizes, datasets={"mnist": "00"}, **cohorts)


@settings(max_examples=40)
@given(st.integers(0, 5), st.integers(2, 5), st.integers(5, 20), st.integers(1, 50), st.randoms(use_true_random=False))
def test_every_run_is_in_one_cohort_whatever_else_is_asked_for(seed, width, window, runs, random):
    drawn_from = recipe(seed, cohort=width, window=window)
    cohorts = cohorts_of(drawn_from, range(runs))
    members = [run for cohort in cohorts for run in cohort]
    assert len(set(members)) == len(members)
    assert set(range(runs)) <= set(members)
    of_more = cohorts_of(drawn_from, range(runs + 30))
    assert set(cohorts) <= set(of_more)
    some = random.sample(range(runs), k=random.randint(1, runs))
    assert cohorts_of(drawn_from, some) == [cohort for cohort in cohorts if set(some) & set(cohort)]


@settings(max_examples=40)
@given(st.integers(0, 5), st.integers(2, 5), st.integers(5, 20))
def test_members_share_their_shape_and_cohorts_are_as_full_as_their_window_allows(seed, width, window):
    drawn_from = recipe(seed, cohort=width, window=window)
    cohorts = cohorts_of(drawn_from, range(window))
    shapes = []
    for cohort in cohorts:
        assert len(cohort) <= width
        assert max(cohort) < window
        (shape,) = {tuple(getattr(drawn_from.draw(run), field) for field in SHAPE_FIELDS) for run in cohort}
        shapes.append((shape, len(cohort) == width))
    assert max(Counter(shape for shape, full in shapes if not full).values(), default=0) <= 1


def test_a_recipe_without_cohorts_is_what_it_was_before_there_were_any():
    plain = recipe(procedure=1)
    assert recipe_sha256(plain.to_json()) == "90e45d9e4be82ea290599ff020faa769b979ef5649b020740b9f55fd289b57f8"
    assert cohorts_of(plain, [4, 2, 2]) == [(2,), (4,)]
    of_two = recipe(cohort=2, window=32)
    assert recipe_sha256(of_two.to_json()) != recipe_sha256(plain.to_json())
    for whole in (plain, of_two):
        assert Recipe.from_json(whole.to_json()) == whole


@pytest.mark.parametrize("cohorts", [{"cohort": 0}, {"cohort": 4, "window": 3}])
def test_impossible_cohorts_are_refused(cohorts):
    with pytest.raises(SetupError, match="a cohort must have from 1 run"):
        recipe(**cohorts)


# --- zoos ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def zoo_of_pairs(tmp_path_factory):
    """A zoo of six runs, trained as three cohorts. Not to be changed."""
    path = tmp_path_factory.mktemp("zoos") / "pairs"
    sample_tiny(path, workers=1, cohort=2)
    return path


@pytest.mark.slow
def test_resuming_trains_whole_cohorts_and_writes_what_is_missing(zoo_of_pairs, tmp_path):
    zoo = shutil.copytree(zoo_of_pairs, tmp_path / "zoo")
    for number in (1, 2, 3, 5):
        (zoo / "runs" / "0000" / f"{number:07d}.safetensors").unlink()
    kept = {path: path.stat().st_mtime_ns for path in (zoo / "runs").rglob("*.safetensors")}
    assert sample_tiny(zoo, workers=1, cohort=2).sampled == 4
    assert run_files(zoo) == run_files(zoo_of_pairs)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    with pytest.raises(RecipeMismatch, match="cohort is 2 there and null here"):
        sample_tiny(zoo)


@pytest.mark.slow
def test_parts_that_cut_through_a_cohort_merge_into_the_same_zoo(zoo_of_pairs, tmp_path):
    sample_tiny(tmp_path / "a", cohort=2, range="0-2")
    sample_tiny(tmp_path / "b", cohort=2, range="3-5")
    assert merge(tmp_path / "whole", [tmp_path / "a", tmp_path / "b"])["copied"] == 6
    assert run_files(tmp_path / "whole") == run_files(zoo_of_pairs)


@pytest.mark.slow
def test_a_member_whose_worker_died_after_writing_it_is_kept(zoo_of_pairs, tmp_path, monkeypatch):
    hook_training(tmp_path, monkeypatch, DIE_AFTER_WRITING_RUN_2)
    assert sample_tiny(tmp_path / "zoo", cohort=2).counts == {"complete": 6}
    assert run_files(tmp_path / "zoo") == run_files(zoo_of_pairs)
    assert Counter((tmp_path / "zoo" / "trained").read_text().split()) == Counter("012345")


def test_the_estimate_counts_whole_cohorts(tmp_path, monkeypatch):
    """Three runs belong to two cohorts of two: four runs of an hour each, with one worker or with two."""

    def answer(self, jobs, **_):
        return ({"run": job["run"], "seconds": 3600.0} for job in jobs)

    monkeypatch.setattr(Workers, "map", answer)
    asked = plan(tmp_path / "zoo", TINY_SPACE, 3, **TINY, cohort=2)
    assert [estimate(asked, workers=workers)["hours"] for workers in (1, 2, 3)] == [4, 2, 2]
    assert estimate(asked, workers=1)["missing"] == 3


@pytest.mark.slow
def test_a_run_is_timed_as_a_share_of_its_cohort(tmp_path):
    asked = plan(tmp_path / "zoo", TINY_SPACE, 3, **TINY, cohort=2)
    assert 0 < time_run(asked.recipe, 1, asked.images, device="cpu") < 60


def test_of_a_job_about_several_runs_each_is_answered_and_only_what_is_left_is_repeated():
    written = {4}

    def recover(run):
        return {"run": run, "status": "complete"} if run in written else None

    jobs = [{"job": "train", "run": 1, "runs": [1, 4, 6]}, {"job": "train", "run": 2}]
    tried = Attempts(jobs, give_up=lambda run, reason: {"run": run, "given_up": reason}, recover=recover, note=print)
    assert tried.settle(tried.take(), {"failure": "killed", "died": True}) == [recover(4)]
    again = tried.take()
    assert again == {"job": "train", "run": 1, "runs": [1, 6]}
    assert tried.settle(again, {"failure": "no memory"}) == []
    given_up = [{"run": run, "given_up": "killed"} for run in (1, 6)]
    assert tried.settle(tried.take(), {"failure": "killed", "died": True}) == given_up
    done = {"run": 2, "answers": [{"run": 2}, {"run": 3}]}
    assert tried.settle(tried.take(), done) == [{"run": 2}, {"run": 3}]
    assert not tried.open
