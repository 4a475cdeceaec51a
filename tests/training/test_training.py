import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from weightprint import Layout, Setup
from weightprint.errors import DataError
from weightprint.images import load, prepare
from weightprint.training import loop as training
from weightprint.training.loop import CURVE_COLUMNS, train
from weightprint.training.networks import from_vector

SMALL = Setup(dataset="shapes", filter_size=3, width_conv=4, width_fc=32, batch_size=32, learning_rate=0.003)


@pytest.fixture(scope="module")
def images():
    return prepare(load("shapes"), train_size=400, test_size=100, seed=0)


def column(run, name):
    return run.curve[:, CURVE_COLUMNS.index(name)]


def test_a_classifier_learns():
    digits = prepare(load("digits"), train_size=1000, test_size=200, seed=0)
    run = train(SMALL, digits, max_epochs=15, snapshots=4)
    assert run.status == "complete"
    assert run.reason == "last epoch"
    assert column(run, "test_accuracy")[0] < 0.3
    assert column(run, "test_accuracy")[-1] > 0.8
    assert run.weights.shape == (4, Layout.of(SMALL).size)
    assert run.evaluations == (0, 5, 10, 15)


def test_an_epoch_is_as_many_whole_batches_as_fit(images):
    run = train(replace(SMALL, batch_size=128), images, max_epochs=2, snapshots=3)
    assert column(run, "step").tolist() == [0, 2, 4]  # 360 training images
    assert run.training_samples == 4 * 128


def test_the_same_arguments_give_the_same_bits_and_other_seeds_or_runs_others(images):
    for setup in (SMALL, replace(SMALL, augmentation=True, optimizer="rmsprop", activation="sigmoid")):
        first, again, other_seed, other_run = (
            train(setup, images, max_epochs=2, snapshots=3, seed=seed, run=run)
            for seed, run in ((0, 0), (0, 0), (1, 0), (0, 1))
        )
        assert np.array_equal(first.weights, again.weights)
        assert np.array_equal(first.curve, again.curve)
        assert not np.array_equal(first.weights[0], other_seed.weights[0])
        assert not np.array_equal(first.weights[0], other_run.weights[0])


def test_global_random_state_is_left_alone(images):
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    train(replace(SMALL, augmentation=True), images, max_epochs=1, snapshots=2)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002


def test_the_learning_rate_falls_by_four_percent_once_per_epoch(images, monkeypatch):
    rates, begin = [], training.begin

    def recorded(*arguments):
        begun = begin(*arguments)
        step = begun.step
        begun.step = lambda indices, rate: (rates.append(rate), step(indices, rate))
        return begun

    monkeypatch.setattr(training, "begin", recorded)
    train(replace(SMALL, optimizer="momentum", batch_size=180), images, max_epochs=3, snapshots=1)
    assert rates == pytest.approx([0.003 * 0.96**epoch for epoch in (0, 0, 1, 1, 2, 2)])


def test_measuring_is_done_in_eval_mode_and_without_augmentation(images):
    """The snapshots, run in eval mode on plain images, give the curve again."""
    setup = replace(SMALL, augmentation=True)
    run = train(setup, images, max_epochs=3, snapshots=4)
    for weights, row in zip(run.weights, run.curve, strict=True):
        network = from_vector(setup, weights)
        for part, name in ((images.validation, "validation"), (images.test, "test")):
            scores = network(torch.from_numpy(part[0]).permute(0, 3, 1, 2) / 255).detach()
            loss = torch.nn.functional.cross_entropy(scores, torch.from_numpy(part[1]))
            assert row[CURVE_COLUMNS.index(f"{name}_loss")] == pytest.approx(loss.item(), rel=1e-4)


def test_the_first_snapshot_has_untouched_moving_statistics(images):
    run = train(SMALL, images, max_epochs=1, snapshots=2)
    for entry in Layout.of(SMALL):
        if entry.kind in ("moving_mean", "moving_variance"):
            stretch = run.weights[0, entry.offset : entry.stop]
            assert (stretch == (0 if entry.kind == "moving_mean" else 1)).all()
            assert (run.weights[1, entry.offset : entry.stop] != stretch).any()


def test_a_run_that_leaves_the_finite_numbers_ends_as_diverged(images):
    run = train(replace(SMALL, optimizer="sgd", learning_rate=10.0, batch_norm=False, initialization="random_normal"),
                images, max_epochs=5, snapshots=6)  # fmt: skip
    assert run.status == "diverged"
    assert "not finite after" in run.reason
    assert 1 <= len(run.weights) < 6
    assert np.isfinite(run.weights).all()
    assert len(run.measurements) == len(run.weights)


def test_early_stopping_ends_a_run(images, monkeypatch):
    class Impatient(training.EarlyStopping):
        def add(self, accuracy):
            super().add(accuracy)
            return self.evaluations == 5

    monkeypatch.setattr(training, "EarlyStopping", Impatient)
    run = train(SMALL, images, max_epochs=50, snapshots=3)
    assert run.reason == "early stopping"
    assert len(run.curve) == 5
    assert run.evaluations == (0, 2, 4)


def test_fewer_images_than_a_batch_are_refused(images):
    with pytest.raises(DataError, match="360 training images, fewer than one batch of 512"):
        train(replace(SMALL, batch_size=512), images)


def test_fewer_images_than_a_batch_after_class_balancing_are_refused_and_the_class_is_named(images):
    """Else such a run would end as complete after zero steps."""
    keep = np.ones(len(images.y_train), dtype=bool)
    keep[np.flatnonzero(images.y_train == 9)[2:]] = False
    cut = replace(images, x_train=images.x_train[keep], y_train=images.y_train[keep])
    with pytest.raises(DataError, match="class 9 of shapes has 2 training images, .* 20 in an epoch, .* batch of 32"):
        train(SMALL, cut)
    assert train(replace(SMALL, batch_size=20), cut, max_epochs=1, snapshots=1).training_samples == 20


def test_classes_are_balanced_by_sub_sampling_each_epoch(images):
    """Half of one class is taken away: every epoch then shows equally many of each class."""
    keep = np.ones(len(images.y_train), dtype=bool)
    keep[np.flatnonzero(images.y_train == 3)[:18]] = False
    cut = replace(images, x_train=images.x_train[keep], y_train=images.y_train[keep])
    run = train(replace(SMALL, batch_size=180), cut, max_epochs=2, snapshots=1)
    assert run.training_samples == 2 * 180


def test_plain_image_sets_can_be_trained_on_without_a_zoo():
    run = train(SMALL, load("digits"), max_epochs=1, snapshots=2)
    assert math.isfinite(run.measurements[-1]["test_loss"])


def test_cross_entropy_counts_all_outputs_though_labels_use_ten(images):
    run = train(replace(SMALL, initialization="constant", outputs=20), images, max_epochs=1, snapshots=2)
    assert column(run, "test_loss")[0] == pytest.approx(math.log(20), rel=1e-3)
