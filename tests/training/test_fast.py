"""The compiled kernels: equal to plain torch, whatever the network, batch, processor and state of the cache."""

import os
import subprocess
import sys
from dataclasses import replace

import llvmlite.binding as llvm
import numpy as np
import pytest
import torch

from weightprint import Setup, Space
from weightprint.images import TrainingImages
from weightprint.images.augment import augment
from weightprint.setups import OPTIMIZERS
from weightprint.training.architecture import tensor_entries
from weightprint.training.fast.choice import Choice, choose, features_in_force
from weightprint.training.fast.mersenne import Mersenne, box_muller
from weightprint.training.fast.training import FastTraining, why_not
from weightprint.training.loop import begin, train
from weightprint.training.networks import ACTIVATIONS, Network, initialize
from weightprint.training.plain import PlainTraining, to_float
from weightprint.training.streams import Streams
from weightprint.training.vectors import to_vector

SMALL = Setup(filter_size=3, width_conv=4, width_fc=24, batch_size=20, optimizer="sgd")
CLOSE = {"rtol": 1e-10, "atol": 1e-10}

serves = pytest.mark.skipif(why_not(SMALL) is not None, reason=f"{why_not(SMALL)}")


def some_images(train=64, others=20):
    generator = np.random.default_rng(0)
    parts = []
    for count in (train, others, others):
        pixels = generator.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        pixels[:, :8] = 0  # black borders make values equal, and pooling choose among them
        parts += [pixels, np.arange(count) % 10]
    return TrainingImages("some", *parts)


IMAGES = some_images()


def first_vector(setup, dtype, *, plain_norm=False):
    """Weights to begin with; some channels are turned over by a negative gamma."""
    network = Network(setup)
    initialize(network, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    if setup.batch_norm and not plain_norm:
        for norm in (*network.conv_norm, *network.fc_norm):
            torch.nn.init.normal_(norm.weight, generator=generator)
            torch.nn.init.normal_(norm.bias, std=0.3, generator=generator)
    return to_vector(network).numpy().astype(dtype)


def trained(kind, setup, dtype=np.float64, *, images=IMAGES, steps=2, rate=0.05, choice=None, **start):
    """The weights after some steps, and an evaluation of them."""
    vector, streams = first_vector(setup, dtype, **start), Streams(2, 0, "cpu")
    if kind is FastTraining:
        training = FastTraining(setup, vector, images, streams, choice=choice)
    else:
        training = PlainTraining(setup, vector, images, streams)
    generator = np.random.default_rng(3)
    for _ in range(steps):
        training.step(generator.integers(0, len(images.y_train), setup.batch_size), rate)
    return training.vector(), np.array(training.evaluate())


def assert_equal_to_plain(setup, **options):
    (ours, our_numbers), (theirs, their_numbers) = (
        trained(
            kind, setup, **(options if kind is FastTraining else {k: v for k, v in options.items() if k != "choice"})
        )
        for kind in (FastTraining, PlainTraining)
    )
    for entry in tensor_entries(setup):
        stretch = slice(entry["offset"], entry["offset"] + int(np.prod(entry["shape"])))
        np.testing.assert_allclose(ours[stretch], theirs[stretch], **CLOSE, err_msg=entry["name"])
    np.testing.assert_allclose(our_numbers, their_numbers, **CLOSE)


@serves
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("batch_norm", [True, False])
def test_steps_and_evaluations_are_those_of_plain_torch(activation, batch_norm):
    """Convolutions, statistics, pooling, dense layers, dropout, loss: two steps in float64, every tensor."""
    assert_equal_to_plain(replace(SMALL, activation=activation, batch_norm=batch_norm, dropout=0.25))


@serves
@pytest.mark.parametrize(
    "changes",
    [
        {"filter_size": 1},
        {"filter_size": 5},
        {"filter_size": 7},
        {"depth_conv": 5, "depth_fc": 3},
        {"width_conv": 1, "width_fc": 5, "depth_fc": 1},
        {"width_conv": 3, "width_fc": 50, "outputs": 13},
        {"width_conv": 6, "activation": "elu", "batch_norm": False},
        {"dropout": 0.0},
    ],
    ids=str,
)
def test_any_architecture_is_that_of_plain_torch(changes):
    assert_equal_to_plain(replace(SMALL, **changes))


@serves
@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize("size", [2, 7, 8, 33])
def test_batches_that_fill_no_whole_register_are_those_of_plain_torch(size, batch_norm):
    assert_equal_to_plain(replace(SMALL, batch_size=size, batch_norm=batch_norm))


@serves
@pytest.mark.parametrize("size", [8, 11])
def test_augmented_images_are_those_of_plain_torch(size):
    """Warped and recoloured from the same random numbers; as torch warps in float32, close and not equal."""
    setup = replace(SMALL, batch_size=size, augmentation=True)
    streams, generator = Streams(0, 0, "cpu"), Streams(0, 0, "cpu").augmentation
    training = FastTraining(setup, first_vector(setup, np.float32), IMAGES, streams)
    lanes = choose(features_in_force()).lanes
    for start in (0, size):
        indices = np.arange(start, start + size)
        ours = training.load_changed(indices)
        theirs = augment(to_float(torch.from_numpy(IMAGES.x_train[indices])), generator=generator).numpy()
        ours = ours.reshape(-1, 32, 3, 32, lanes).transpose(0, 4, 2, 1, 3).reshape(-1, 3, 32, 32)
        np.testing.assert_allclose(ours[:size], theirs, atol=2e-5)


@serves
@pytest.mark.parametrize("seed", [0, 2**62 + 5])
def test_random_numbers_are_those_of_a_torch_generator(seed):
    """Uniform ones to the last bit, normal ones to rounding, across what one state of the generator yields."""
    ours, theirs = Mersenne(seed), torch.Generator().manual_seed(seed)
    for count in (5, 624, 1700, 1):
        drawn = ours.units(np.empty(count, np.float32))
        np.testing.assert_array_equal(drawn, torch.rand(count, generator=theirs).numpy())
    for count in (16, 100_000):
        drawn = ours.normals(np.empty(count, np.float32))
        np.testing.assert_allclose(drawn, torch.randn(count, generator=theirs).numpy(), rtol=2e-6, atol=2e-6)


@serves
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_update_rule_is_that_of_plain_torch(optimizer, weight_decay):
    """Without batch norm: the gradients of biases before it are rounding, which adaptive rules would blow up."""
    setup = replace(SMALL, optimizer=optimizer, weight_decay=weight_decay, batch_norm=False, dropout=0.0)
    assert_equal_to_plain(setup, steps=4, rate=0.001)


@serves
@pytest.mark.parametrize(
    "runs", [pytest.param(range(5), marks=pytest.mark.slow), pytest.param(range(5, 14), marks=pytest.mark.long)]
)
def test_random_set_ups_of_the_space_main_are_those_of_plain_torch(monkeypatch, runs):
    """All to 1e-10; but the normal numbers of the noise, which torch computes in float32, are given to both alike."""

    def noise(shape, *, generator):
        count, channels, height, width = shape
        values = torch.rand(height * channels * width * count, generator=generator)
        box_muller(values.numpy())
        return values.view(height, channels, width, count).permute(3, 1, 0, 2)

    monkeypatch.setattr("weightprint.images.augment.draw_noise", noise)
    space = Space.named("main")
    for run in runs:
        setup = replace(space.draw(seed=5, run=run), optimizer="sgd")
        assert_equal_to_plain(setup, images=some_images(256), steps=1)


@serves
@pytest.mark.parametrize("size", [pytest.param(3, marks=pytest.mark.slow), pytest.param(5, marks=pytest.mark.long)])
def test_the_tiles_for_other_processors_compute_the_same(size):
    """Those of AVX-512, NEON and AVX2, which LLVM puts together from what this processor has."""
    for features in ({"avx512f": True}, {"neon": True}, {"avx2": True, "fma": True}):
        assert_equal_to_plain(replace(SMALL, filter_size=size), choice=choose(features, itemsize=8))


@pytest.mark.slow
@serves
def test_float32_is_as_close_to_float64_as_torch_is():
    setup = Setup(optimizer="sgd", activation="tanh", dropout=0.0)
    exact, exact_numbers = trained(PlainTraining, setup, images=some_images(128), steps=1)
    errors = {}
    for kind in (FastTraining, PlainTraining):
        weights, numbers = trained(kind, setup, np.float32, images=some_images(128), steps=1)
        errors[kind] = np.array([np.abs(weights - exact).max(), np.abs(weights - exact).mean()])
        np.testing.assert_allclose(numbers, exact_numbers, rtol=1e-4)
    assert (errors[FastTraining] <= 2 * errors[PlainTraining]).all()


@serves
def test_gradients_of_biases_before_batch_norm_are_rounding_as_they_are_in_torch():
    """They are zero in exact arithmetic; their size in float32 is a footprint of the optimizer that must not change."""
    setup = Setup(dropout=0.0, optimizer="sgd")
    sizes = []
    for kind in (FastTraining, PlainTraining):
        moved = trained(kind, setup, np.float32, steps=1, rate=1.0, plain_norm=True)[0]
        moved -= first_vector(setup, np.float32, plain_norm=True)
        entries = [e for e in tensor_entries(setup) if e["part"] == "conv" and e["kind"] == "bias"]
        biases = [moved[e["offset"] : e["offset"] + e["shape"][0]] for e in entries]
        sizes.append(np.median(np.abs(np.concatenate(biases))))
    ours, theirs = sizes
    assert 0 < ours < 1e-6
    assert 0.02 < ours / theirs < 50


def test_the_choice_follows_the_features():
    lanes = {
        name: choice and choice.lanes
        for name, choice in {
            "avx512": choose({"avx512f": True, "avx2": True, "fma": True}),
            "avx2": choose({"avx512f": False, "avx2": True, "fma": True}),
            "neon": choose({"neon": True}),
            "sse": choose({"sse4.2": True}),
            "avx2, float64": choose({"avx2": True, "fma": True}, itemsize=8),
        }.items()
    }
    assert lanes == {"avx512": 16, "avx2": 8, "neon": 4, "sse": None, "avx2, float64": 4}


@pytest.mark.parametrize(
    ("setup", "device", "features", "says"),
    [
        (SMALL, "cuda", {"avx2": True, "fma": True}, "on the CPU, not on cuda"),
        (SMALL, "cpu", {"sse4.2": True}, "AVX-512, AVX2 or NEON"),
        (replace(SMALL, filter_size=9), "cpu", {"avx2": True, "fma": True}, "not 9"),
    ],
)
def test_what_the_kernels_cannot_train_has_a_reason(setup, device, features, says):
    assert says in why_not(setup, device, features)


def test_what_the_kernels_cannot_train_is_trained_in_plain_torch():
    setup = replace(SMALL, filter_size=9, width_conv=2)
    assert isinstance(begin(setup, IMAGES, Streams(0, 0, "cpu")), PlainTraining)
    assert np.isfinite(train(setup, IMAGES, max_epochs=1, snapshots=2).weights).all()


PROGRAM = """
import hashlib, sys
from dataclasses import replace
from weightprint.training.fast.training import why_not
from weightprint.training.loop import train
from tests.training.test_fast import IMAGES, SMALL
print(why_not(SMALL))
run = train(replace(SMALL, filter_size=1, activation="elu"), IMAGES, max_epochs=2, snapshots=3)
print(hashlib.sha256(run.weights.tobytes()).hexdigest())
"""


def in_another_process(**environment):
    """Why the kernels do not serve, and a hash of trained weights."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    reason, found = done.stdout.split("\n")[:2]
    return (None if reason == "None" else reason), found


@serves
@pytest.mark.long
def test_cold_and_cached_code_give_the_same_bits_wherever_the_cache_lies(tmp_path):
    nowhere = tmp_path / "file"
    nowhere.touch()
    blocked = {"HOME": str(nowhere), "XDG_CACHE_HOME": str(nowhere), "NUMBA_CACHE_DIR": str(nowhere)}
    (tmp_path / "temporary").mkdir()
    cold = in_another_process(**blocked, TMPDIR=str(tmp_path / "temporary"))
    (folder,) = (tmp_path / "temporary").glob("weightprint-kernels-*")
    kept = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    assert any(path.suffix == ".nbc" for path in kept)
    assert in_another_process(**blocked, TMPDIR=str(tmp_path / "temporary")) == cold
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()} == kept
    assert in_another_process() == cold


@serves
@pytest.mark.long
@pytest.mark.skipif("avx2" not in llvm.get_host_cpu_features(), reason="no processor with AVX2")
def test_switched_off_features_change_the_choice_but_not_what_is_learnt():
    without = {name: on and not name.startswith("avx512") for name, on in llvm.get_host_cpu_features().items()}
    reason, _ = in_another_process(
        NUMBA_CPU_NAME="generic",
        NUMBA_CPU_FEATURES=",".join(f"{'+' if on else '-'}{name}" for name, on in without.items()),
    )
    assert reason is None
    reason, _ = in_another_process(NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="+sse4.2")
    assert "AVX2" in reason


@serves
@pytest.mark.long
def test_whole_trainings_are_neither_better_nor_worse_than_in_plain_torch(monkeypatch):
    """32 pairs that share all random choices and differ by grown rounding: the mean paired difference of the final test
    accuracy has a 95 % interval within ± 1.5 points."""
    from weightprint.images import load, prepare

    images = prepare(load("shapes"), train_size=1000, test_size=500, seed=0)
    setups = [
        Setup(activation=activation, optimizer=optimizer, learning_rate=0.001, filter_size=3)
        for activation in ACTIVATIONS
        for optimizer in ("adam", "rmsprop", "momentum", "sgd")
    ] * 2

    def accuracies():
        runs = (train(setup, images, run=run, max_epochs=12, snapshots=2) for run, setup in enumerate(setups))
        return np.array([run.measurements[-1]["test_accuracy"] for run in runs])

    ours = accuracies()
    monkeypatch.setattr("weightprint.training.loop.why_not", lambda *_: "to compare")
    differences = ours - accuracies()
    half = 1.96 * differences.std(ddof=1) / np.sqrt(len(differences))
    assert ours.mean() > 0.25  # of ten classes: they learnt
    assert abs(differences.mean()) + half < 0.015, (differences.mean(), half)


def test_a_choice_has_tiles_for_every_filter_size():
    choice = choose({"avx2": True, "fma": True})
    assert isinstance(choice, Choice)
    for size in choice.convolution:
        assert min(choice.convolution[size][1], choice.weights[size][1]) >= size // 2
