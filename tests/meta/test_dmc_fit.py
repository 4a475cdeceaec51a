"""How the deep meta-classifier is trained: what ends a training, what it says of itself, and how it is interrupted.

The network is the paper's with fewer channels and units: what is tested does not depend on them.
"""

import dataclasses
import json
import math
import time

import numpy as np
import pytest
import torch
from safetensors import safe_open

from weightprint.errors import CorruptFile, MetaError
from weightprint.files import canonical_json, sha256_hex
from weightprint.meta import build, load_meta
from weightprint.meta.learners import dmc, dmc_checkpoint, dmc_draws, dmc_network
from weightprint.meta.learners.base import Vectors
from weightprint.meta.learners.dmc import DMCLearner, anchor, chance_loss, settle
from weightprint.meta.learners.dmc_network import DeepMetaClassifier
from weightprint.meta.learners.dmc_unseen import Unseen, hold_out
from weightprint.meta.persistence import META_FILE


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    monkeypatch.setattr(dmc_network, "BLOCKS", ((4,), (4,), (4, 8), (8, 8)))
    monkeypatch.setattr(dmc_network, "DEEP_CHANNELS", 8)
    monkeypatch.setattr(dmc_network, "UNITS", (32, 32, 16))


@pytest.fixture
def every_step(monkeypatch):
    """An unfinished fit is written after every step."""
    monkeypatch.setattr(dmc_checkpoint, "SECONDS", 0)
    monkeypatch.setattr(dmc_checkpoint, "EPOCH_SECONDS", 0)


def quick(**params):
    """Four steps an epoch on `few`."""
    settings = {"target": "optimizer", "slice_length": 64, "snapshots": (1, 4), "epochs": 3, "batch_size": 16}
    return build("dmc", **{**settings, **params})


def before_step(monkeypatch, number, action):
    """Call `action` before the step of this number, from 1."""
    steps = 0
    forward = DeepMetaClassifier.forward

    def counted(self, x):
        nonlocal steps
        steps += self.training
        if self.training and steps == number:
            action()
        return forward(self, x)

    monkeypatch.setattr(DeepMetaClassifier, "forward", counted)


def interrupt():
    raise KeyboardInterrupt


def weights_of(meta):
    return meta.heads_["optimizer"].fitted.files()[dmc.NETWORK_FILE]


def test_every_result_says_how_far_the_training_went_and_its_loss_beside_chance(zoo):
    train, test = zoo.split()
    meta = quick(epochs=2, batch_size=64).fit(train)
    document = meta.evaluate(test, slices=1)
    assert (document["epochs"], document["steps"], document["slices_seen"], document["capped"]) == (2, 6, 360, False)
    assert document["chance_loss"] == pytest.approx(math.log(3))
    assert document["train_loss"] == meta.facts_["losses"][-1]
    assert len(meta.facts_["losses"]) == 2
    json.dumps(document, allow_nan=False)


def test_chance_of_a_regression_is_the_loss_of_the_best_constant(few):
    goals = np.array([0.0, 0.0, 1.0, 5.0])
    assert chance_loss(goals, 0) == 1.5 == min(np.abs(goals - c).mean() for c in np.linspace(-1, 6, 71))
    document = quick(target="learning_rate", epochs=1).fit(few.split()[0]).evaluate(few.split()[1], slices=1)
    assert 0.5 < document["chance_loss"] < 1  # of values with deviation 1
    assert {"epochs", "steps", "slices_seen", "train_loss"} <= document.keys()


def test_steps_end_a_training(few):
    meta = quick(max_steps=6).fit(few)
    facts = meta.facts_
    assert (facts["epochs"], facts["steps"], facts["slices_seen"], facts["capped"]) == (
        1.5,
        6,
        95,
        True,
    )  # three classes have 21 slices each
    assert len(facts["losses"]) == 2
    at_an_epochs_end = quick(max_steps=4).fit(few).facts_
    assert (at_an_epochs_end["epochs"], at_an_epochs_end["capped"], len(at_an_epochs_end["losses"])) == (1, True, 1)
    enough = quick(max_steps=12).fit(few).facts_
    assert (enough["epochs"], enough["capped"]) == (3, False)


def test_the_learning_rate_falls_with_epochs_or_with_steps(few, monkeypatch):
    rates = []
    step = torch.optim.Adam.step

    def recorded(self, *args, **kwargs):
        rates.append(self.param_groups[0]["lr"])
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.Adam, "step", recorded)
    quick().fit(few)
    np.testing.assert_allclose(rates, [1e-3 * 0.95 ** math.floor(50 * i / 12) for i in range(12)])
    rates.clear()
    quick(epochs=100, max_steps=5).fit(few)
    np.testing.assert_allclose(rates, [1e-3 * 0.95 ** (10 * i) for i in range(5)])


def test_runs_kept_from_a_training_are_measured_after_each_epoch(few):
    meta = quick(unseen=4).fit(few)
    facts = meta.facts_
    assert facts["slices_seen"] == 3 * 4 * (len(meta.train_runs_) - math.ceil(len(meta.train_runs_) / 4))
    assert len(facts["unseen"]) == 3
    for measured in facts["unseen"]:
        assert set(measured) == {"loss", "accuracy", "batch_loss", "batch_accuracy"}
        assert 0 <= measured["accuracy"] <= 1
        assert measured["loss"] != measured["batch_loss"]
    assert len({measured["loss"] for measured in facts["unseen"]}) == 3
    assert quick(epochs=1).fit(few).facts_["unseen"] == []


def test_measuring_does_not_change_what_is_learnt(few, monkeypatch):
    kept = quick(unseen=4).fit(few)
    monkeypatch.setattr(Unseen, "measure", lambda *_: {})
    assert weights_of(quick(unseen=4).fit(few)) == weights_of(kept)


def test_too_few_runs_to_keep_some_from_a_training(few):
    with pytest.raises(MetaError, match="1 runs are too few to keep one in 2 from the training"):
        hold_out(Vectors([None], [None], [np.zeros(4)], 0, "all", 64), 2, 0)


def test_squashed_slices_do_not_tell_their_scale(few):
    generator = torch.Generator().manual_seed(0)
    network = DeepMetaClassifier(64, 3, dropout=0.5, generator=generator, squashed=True).eval()
    slices = torch.randn(4, 64, generator=generator)
    slices[3] = 0.5
    with torch.inference_mode():
        scores = network(slices)
        assert torch.allclose(scores, network(3 + 1000 * slices), atol=1e-4)
    assert scores.isfinite().all()
    assert not torch.allclose(scores[0], scores[1])


def test_a_squashed_fit_that_was_saved_reads_the_same(few, tmp_path):
    meta = quick(squashed=True).fit(few)
    meta.save(tmp_path / "squashed.meta")
    assert np.array_equal(load_meta(tmp_path / "squashed.meta").predict_proba(few), meta.predict_proba(few))


def test_seconds_end_a_training_and_what_follows_it(zoo):
    began = time.process_time()
    meta = quick(epochs=100_000, max_seconds=1).fit(zoo)
    assert (time.process_time() - began) / torch.get_num_threads() < 1.5
    assert meta.facts_["capped"]
    assert 0 < meta.facts_["epochs"] < 100_000
    assert not meta.heads_["optimizer"].fitted.network.training


@pytest.mark.slow
def test_a_stalled_step_ends_no_training(few, monkeypatch):
    before_step(monkeypatch, 2, lambda: time.sleep(4))
    meta = quick(max_seconds=4).fit(few)
    assert meta.seconds_ > 4
    assert (meta.facts_["epochs"], meta.facts_["capped"]) == (3, False)


def test_one_step_is_made_however_little_time_there_is(few):
    facts = quick(max_seconds=1e-9).fit(few).facts_
    assert (facts["steps"], facts["capped"]) == (1, True)


@pytest.mark.parametrize(
    ("losses", "kept"),
    [((3.0, math.nan, 1.0, 2.0, 2.5), slice(64, 96)), ((3.0, 3.0, 2.0, 2.0, 1.0), slice(0, 128))],
    ids=["of one batch", "means"],
)
def test_statistics_are_those_under_which_the_loss_is_least(losses, kept):
    net = DeepMetaClassifier(64, 2, dropout=0.5, generator=torch.Generator().manual_seed(0))
    scales = np.repeat([1, 1000, 10, 0.1], 32)[:, None]
    x = (np.random.default_rng(0).normal(size=(128, 64)) * scales).astype(np.float32)
    told = iter(losses)
    assert anchor(net, x, 32, lambda scores: next(told))
    chosen = {name: value.clone() for name, value in net.state_dict().items()}
    settle(net, x[kept], 32)
    assert all(torch.equal(value, chosen[name]) for name, value in net.state_dict().items())
    assert not net.training


def test_one_batch_gives_the_statistics_when_time_is_up():
    net = DeepMetaClassifier(64, 2, dropout=0.5, generator=torch.Generator().manual_seed(0))
    x = np.random.default_rng(0).normal(size=(640, 64)).astype(np.float32)
    asked = []
    assert not anchor(net, x, 64, lambda scores: asked.append(len(scores)) or 0.0, time_is_up=lambda: True)
    assert asked == [640]


def test_a_loss_that_is_no_number_any_more_is_one_clear_error(few, monkeypatch):
    monkeypatch.setattr(dmc_network.F, "cross_entropy", lambda found, wanted: found.sum() * math.nan)
    with pytest.raises(MetaError, match="no number any more after 0 steps .*learning_rate"):
        quick().fit(few)


def test_the_global_random_state_is_not_touched(few):
    torch.manual_seed(5)
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    quick(epochs=1).fit(few)
    assert torch.equal(before, torch.get_rng_state())
    assert np.array_equal(numpy_before, np.random.get_state()[1])  # noqa: NPY002


def test_other_seeds_give_other_fits(few):
    one, other = (quick(epochs=1, seed=seed).fit(few).predict_proba(few, slices=1) for seed in (0, 1))
    assert not np.array_equal(one, other)


def test_weights_beyond_the_memory_limit_are_read_again(few, monkeypatch):
    train, test = few.split()
    kept = quick().fit(train).predict_proba(test)
    monkeypatch.setattr(dmc_draws, "KEPT_BYTES", 0)
    np.testing.assert_array_equal(quick().fit(train).predict_proba(test), kept)


def test_evaluation_leaves_the_network_as_it_is(few):
    meta = quick(epochs=1).fit(few)
    state = meta.heads_["optimizer"].fitted.network.state_dict()
    before = {name: tensor.clone() for name, tensor in state.items()}
    meta.predict_proba(few)
    assert all(torch.equal(before[name], tensor) for name, tensor in state.items())


@pytest.mark.parametrize("slice_length", [64, "all"])
def test_a_fit_that_was_saved_reads_the_same(few, tmp_path, slice_length):
    train, test = few.split()
    meta = quick(slice_length=slice_length).fit(train)
    meta.save(tmp_path / "x.meta")
    loaded = load_meta(tmp_path / "x.meta")
    np.testing.assert_array_equal(loaded.predict_proba(test), meta.predict_proba(test))
    assert loaded.facts_ == meta.facts_


def test_whole_vectors_of_several_lengths_are_one_clear_error(mixed_zoo, few):
    with pytest.raises(MetaError, match="whole vectors of one length.*--slice-length 5000"):
        quick(slice_length="all").fit(mixed_zoo)
    with pytest.raises(MetaError, match="whole vectors of one length"):
        quick(slice_length="all", epochs=1).fit(few).predict(mixed_zoo)


def test_a_number_is_regressed_with_the_absolute_error(zoo):
    """A planted mean tells the learning rate."""
    train, test = zoo.split()
    meta = quick(target="learning_rate", epochs=6, batch_size=32, dropout=0.0).fit(train)
    assert meta.evaluate(test)["per_run"]["kendall_tau"]["value"] > 0.3


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_network_from_a_gpu_is_read_where_there_is_none(few):
    fitted = quick(epochs=1).fit(few).heads_["optimizer"].fitted
    restored = DMCLearner(device="cuda").restore(fitted.files(), fitted.facts)
    rows = few[0].weights[:, :64]
    np.testing.assert_array_equal(restored.outputs(rows, ()), fitted.outputs(rows, ()))


@pytest.mark.slow
def test_bfloat16_is_asked_for_and_learns_too(zoo):
    """A training of its own: how far apart rounding takes the two is a matter of the processor."""
    names = ("float32", "bfloat16")
    single, rounded = (quick(precision=name, dropout=0.0, epochs=5).fit(zoo) for name in names)
    assert DMCLearner().precision == "float32"
    assert all(p.dtype == torch.float32 for p in rounded.heads_["optimizer"].fitted.network.parameters())
    losses = [meta.facts_["losses"] for meta in (single, rounded)]
    assert losses[0] != losses[1]
    assert losses[0][0] == pytest.approx(losses[1][0], rel=0.1)
    assert all(loss[-1] < loss[0] for loss in losses)
    with pytest.raises(MetaError, match="did you mean 'bfloat16'"):
        quick(precision="bfloat")


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"max_steps": 0}, "max_steps must be a whole number from 1"),
        ({"max_seconds": -1}, "max_seconds must be a number above 0"),
        ({"learning_rate": 0}, "learning_rate must be above 0"),
        ({"checkpoint": 3}, "checkpoint must be the path of a file"),
        ({"checkpoints": "x"}, "did you mean 'checkpoint'"),
    ],
)
def test_impossible_settings_are_refused(params, message):
    with pytest.raises(MetaError, match=message):
        quick(**params)


@pytest.mark.slow
@pytest.mark.parametrize("interrupted_at", [2, 5, 12])
@pytest.mark.parametrize("slice_length", [64, "all"])
@pytest.mark.usefixtures("every_step")
def test_an_interrupted_fit_goes_on_to_the_same_weights_bit_for_bit(few, tmp_path, interrupted_at, slice_length):
    """In the first epoch, at the start of the second, and before the last step of all."""
    path = tmp_path / "new" / "x.partial"
    whole = quick(slice_length=slice_length).fit(few)
    with pytest.MonkeyPatch.context() as patch:
        before_step(patch, interrupted_at, interrupt)
        with pytest.raises(KeyboardInterrupt):
            quick(slice_length=slice_length, checkpoint=str(path)).fit(few)
    assert path.exists()
    continued = quick(slice_length=slice_length, checkpoint=str(path)).fit(few)
    assert weights_of(continued) == weights_of(whole)
    assert continued.facts_ == whole.facts_
    assert list(path.parent.iterdir()) == []


@pytest.mark.usefixtures("every_step")
def test_a_fit_goes_on_after_its_last_step_too(few, tmp_path, monkeypatch):
    """Interrupted while batch norm's statistics are measured."""
    path = tmp_path / "x.partial"
    whole = quick(max_steps=6).fit(few)
    with monkeypatch.context() as patch:
        patch.setattr(dmc, "settle", lambda *_, **__: interrupt())
        with pytest.raises(KeyboardInterrupt):
            quick(max_steps=6, checkpoint=str(path)).fit(few)
    before_step(monkeypatch, 1, interrupt)  # no step is left
    continued = quick(max_steps=6, checkpoint=str(path)).fit(few)
    assert weights_of(continued) == weights_of(whole)
    assert continued.facts_ == whole.facts_


def test_a_fit_is_kept_every_so_often_and_at_the_end_of_an_epoch(few, tmp_path, monkeypatch):
    path, written = tmp_path / "x.partial", []
    monkeypatch.setattr(dmc_checkpoint, "EPOCH_SECONDS", 0)
    write = dmc_checkpoint.Checkpoint.write
    monkeypatch.setattr(
        dmc_checkpoint.Checkpoint,
        "write",
        lambda self, training: (written.append(training.progress.steps), write(self, training)),
    )
    quick(checkpoint=str(path)).fit(few)
    assert written == [4, 8, 12]
    written.clear()
    monkeypatch.setattr(dmc_checkpoint, "SECONDS", 0)
    quick(epochs=1, checkpoint=str(path)).fit(few)
    assert written == [1, 2, 3, 4]


@pytest.mark.usefixtures("every_step")
def test_seconds_are_counted_over_all_interruptions(few, tmp_path, monkeypatch):
    path = str(tmp_path / "x.partial")
    settings = {"epochs": 100_000, "max_seconds": 5.0, "checkpoint": path}
    with monkeypatch.context() as patch:
        before_step(patch, 5, interrupt)
        with pytest.raises(KeyboardInterrupt):
            quick(**settings).fit(few)
    progress = read(path)["progress"]
    assert progress["steps"] == 4
    edit(path, {**progress, "seconds": 10.0})
    facts = quick(**settings).fit(few).facts_
    assert (facts["steps"], facts["capped"]) == (4, True)


@pytest.fixture
def unfinished(few, tmp_path, every_step):
    """The path of an unfinished fit of `few`, interrupted before its third step."""
    path = str(tmp_path / "x.partial")
    with pytest.MonkeyPatch.context() as patch:
        before_step(patch, 3, interrupt)
        with pytest.raises(KeyboardInterrupt):
            quick(checkpoint=path).fit(few)
    return path


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"epochs": 4}, "other settings: epochs 3, not 4"),
        ({"seed": 1, "dropout": 0.1}, "dropout 0.5, not 0.1, seed 0, not 1"),
        ({"max_steps": 20}, "max_steps None, not 20"),
        ({"target": "augmentation"}, "on other runs or another property"),
        ({"part": "fc"}, "on other runs or another property"),
        ({"snapshots": (2, 4)}, "on other runs or another property"),
    ],
)
def test_another_fit_is_refused_and_leaves_the_unfinished_one(few, unfinished, params, message):
    with pytest.raises(MetaError, match=f"x.partial is an unfinished fit .*{message}.*delete"):
        quick(checkpoint=unfinished, **params).fit(few)
    assert quick(checkpoint=unfinished).fit(few).facts_["steps"] == 12


def test_other_runs_are_refused(few, unfinished):
    others = type(few)([dataclasses.replace(run) for run in few.runs])
    others.runs[3].identity = "zoo:903"  # other weights
    others.runs.sort(key=lambda run: run.number)
    with pytest.raises(MetaError, match="on other runs"):
        quick(checkpoint=unfinished).fit(others)


def read(path):
    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()[dmc_checkpoint.FORMAT])


def edit(path, progress):
    """Write another progress, as the fit would have."""
    from safetensors.torch import save_file

    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    text = json.dumps({**read(path), "progress": progress})
    save_file(tensors, path, {dmc_checkpoint.FORMAT: text, "sha256": dmc_checkpoint.digest(text, tensors)})


def test_a_damaged_file_is_one_clear_error(few, unfinished):
    with open(unfinished, "rb") as file:
        data = file.read()
    for damaged in (
        b"",
        data[:9],
        data[:-1],
        data[:-1] + bytes([data[-1] ^ 1]),
        data.replace(b'\\"steps\\":2', b'\\"steps\\":3'),
    ):
        assert damaged != data
        with open(unfinished, "wb") as file:
            file.write(damaged)
        with pytest.raises(CorruptFile, match=r"x\.partial .*delete .* to begin anew"):
            quick(checkpoint=unfinished).fit(few)
    with open(unfinished, "wb") as file:
        file.write(data)
    edit(unfinished, {"epoch": 0, "nonsense": 1})
    with pytest.raises(CorruptFile, match="does not hold what a fit needs"):
        quick(checkpoint=unfinished).fit(few)


@pytest.mark.slow
def test_no_damage_of_a_byte_is_taken_for_a_state(few, unfinished):
    """Refused, or of no consequence, as in a space of the header."""
    with open(unfinished, "rb") as file:
        data = file.read()
    wanted = weights_of(quick(checkpoint=unfinished).fit(few))
    generator = np.random.default_rng(0)
    header = 8 + int.from_bytes(data[:8], "little")
    refused = 0
    for place in (*generator.integers(0, header, 30), *generator.integers(header, len(data), 10)):
        damaged = bytearray(data)
        damaged[place] ^= 1 << generator.integers(0, 8)
        with open(unfinished, "wb") as file:
            file.write(damaged)
        try:
            assert weights_of(quick(checkpoint=unfinished).fit(few)) == wanted
        except (MetaError, CorruptFile):
            refused += 1
    assert refused >= 35


def test_files_of_others_are_neither_read_nor_replaced(few, tmp_path):
    from safetensors.torch import save_file

    theirs = tmp_path / "theirs.safetensors"
    save_file({"x": torch.zeros(3)}, theirs)
    kept = theirs.read_bytes()
    with pytest.raises(MetaError, match="is no unfinished fit of the dmc"):
        quick(checkpoint=str(theirs)).fit(few)
    assert theirs.read_bytes() == kept
    with pytest.raises(MetaError, match="cannot read the unfinished fit"):
        quick(checkpoint=str(tmp_path)).fit(few)


def test_a_fit_goes_on_where_it_cannot_be_kept(few, tmp_path, every_step):
    (tmp_path / "file").write_text("in the way")
    with pytest.warns(UserWarning, match="cannot be kept in .*; it goes on"):
        meta = quick(checkpoint=str(tmp_path / "file" / "x.partial")).fit(few)
    assert weights_of(meta) == weights_of(quick().fit(few))


def test_a_network_of_the_older_shape_is_refused(few, tmp_path):
    quick(epochs=1).fit(few).save(tmp_path / "x.meta")
    document = json.loads((tmp_path / "x.meta" / META_FILE).read_text())
    assert document["learner"]["version"] == 3
    document["learner"]["version"] = 1
    del document["sha256"]
    document["sha256"] = sha256_hex(canonical_json(document).encode())
    (tmp_path / "x.meta" / META_FILE).write_text(json.dumps(document))
    with pytest.raises(MetaError, match="was fitted with version 1 of the learner dmc, this weightprint has version 3"):
        load_meta(tmp_path / "x.meta")
