import dataclasses
import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightprint import Setup, Space
from weightprint.errors import SetupError
from weightprint.setups import FIELDS, SPACES


def test_a_setup_is_frozen_and_round_trips_through_a_dict():
    setup = Setup(dataset="svhn", optimizer="rmsprop", learning_rate=1)
    assert Setup.from_dict(setup.to_dict()) == setup
    assert setup.learning_rate == 1.0
    assert isinstance(setup.learning_rate, float)
    with pytest.raises(dataclasses.FrozenInstanceError):
        setup.optimizer = "adam"


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("optimizer", "adm", "did you mean 'adam'?"),
        ("activation", "reluu", "did you mean 'relu'?"),
        ("initialization", "glorot", "did you mean 'glorot_"),
        ("learning_rate", 0.0, "learning_rate must be a number above 0 to 10, not 0.0"),
        ("learning_rate", math.nan, "learning_rate must be a number above 0"),
        ("learning_rate", "fast", "learning_rate must be a number"),
        ("batch_size", 1, "batch_size must be a whole number from 2 to 65536, not 1"),
        ("batch_size", 2.5, "whole number"),
        ("filter_size", 4, "an odd whole number from 1 to 31, not 4"),
        ("depth_conv", 2, "from 3 to 48"),
        ("depth_fc", True, "whole number"),
        ("dropout", 1.0, "from 0 to below 1"),
        ("outputs", 9, "from 10 to 1000"),
        ("batch_norm", "on", "true or false"),
        ("dataset", "../etc", "letters, digits"),
    ],
)
def test_an_impossible_value_is_refused_with_what_is_allowed(field, value, says):
    with pytest.raises(SetupError) as error:
        Setup(**{field: value})
    assert says in str(error.value)
    assert field in str(error.value)


def test_an_unknown_field_is_refused_with_the_nearest_known_one():
    with pytest.raises(SetupError, match="did you mean 'optimizer'"):
        Setup.from_dict({"optimiser": "adam"})
    with pytest.raises(SetupError, match="did you mean 'learning_rate'"):
        Space("mine", {"learning_rates": 0.1})


def test_halving_widths_must_leave_a_unit_in_the_last_hidden_layer():
    with pytest.raises(SetupError, match="leaves no unit in hidden layer 4"):
        Setup(width_fc=4, depth_fc=4)
    with pytest.raises(SetupError, match="leaves no unit in hidden layer 4"):
        Space("mine", {"width_fc": [4, 64], "depth_fc": [2, 4]})


def test_a_run_draws_the_same_setup_for_ever():
    """Pinned: a change here would silently re-label every zoo that exists."""
    setup = SPACES["main"].draw(seed=0, run=0)
    assert (setup.dataset, setup.optimizer, setup.activation) == ("svhn", "momentum", "sigmoid")
    assert (setup.filter_size, setup.depth_conv, setup.depth_fc, setup.width_conv, setup.width_fc) == (3, 5, 4, 8, 192)
    assert setup.learning_rate == pytest.approx(0.0014193432811356577, rel=1e-12)


@given(st.integers(0, 2**32), st.integers(0, 10**7))
def test_a_field_has_a_stream_of_its_own(seed, run):
    drawn = SPACES["main"].draw(seed, run)
    other = SPACES["main"].replace(optimizer=["adam", "sgd"], depth_conv=3).draw(seed, run)
    for field in FIELDS:
        if field not in ("optimizer", "depth_conv"):
            assert getattr(drawn, field) == getattr(other, field)


def test_choices_are_drawn_equally_often():
    drawn = [SPACES["main"].draw(0, run) for run in range(4000)]
    for field, distribution in SPACES["main"].fields.items():
        values = getattr(distribution, "values", None)
        if values is None or len(values) == 1:
            continue
        counts = Counter(getattr(setup, field) for setup in drawn)
        expected = len(drawn) / len(values)
        chi2 = sum((counts[v] - expected) ** 2 / expected for v in values)
        assert chi2 < 25, (field, counts)


def test_log_uniform_draws_fill_the_range_evenly_in_the_logarithm():
    rates = sorted(SPACES["wild"].draw(0, run).learning_rate for run in range(3000))
    assert 1e-4 <= rates[0] < 1.1e-4
    assert 2.9e-2 < rates[-1] <= 3e-2
    assert rates[1500] == pytest.approx(math.sqrt(1e-4 * 3e-2), rel=0.1)


def test_the_papers_spaces_hold_what_the_paper_says():
    main, fixed, wild = SPACES["main"], SPACES["fixed"], SPACES["wild"]
    assert main.choices("dataset") == ("mnist", "cifar10", "svhn", "stl10", "fashion_mnist")
    assert main.choices("outputs") == (20,)
    assert main.choices("dropout") == (0.5,)
    assert main.to_json()["learning_rate"] == {"uniform": [0.0002, 0.005]}
    architecture = {f: fixed.choices(f) for f in ("filter_size", "depth_conv", "depth_fc", "width_conv", "width_fc")}
    assert list(architecture.values()) == [(5,), (3,), (2,), (8,), (128,)]
    assert set(wild.choices("optimizer")) >= {"sgd", "nesterov", "adamw", "adam", "rmsprop", "momentum"}
    assert wild.choices("batch_norm") == (True, False)
    assert wild.choices("weight_decay") == (0.0, 1e-4, 1e-2)


def test_a_toml_space_states_some_fields_and_takes_the_rest_from_main(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        'dataset = ["mnist", "cifar10"]\noptimizer = "adam"\nlearning_rate = { log_uniform = [0.001, 0.01] }\n'
    )
    space = Space.named(path)
    assert space.name == "mine"
    assert space.choices("dataset") == ("mnist", "cifar10")
    assert space.choices("optimizer") == ("adam",)
    assert space.choices("activation") == SPACES["main"].choices("activation")
    assert Space("copy", space.to_json()) == space
    assert all(0.001 <= space.draw(0, run).learning_rate <= 0.01 for run in range(50))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("optimiser = 'adam'", "did you mean 'optimizer'"),
        ("optimizer = ['adam', 'adamm']", "did you mean 'adam'"),
        ("optimizer = []", "empty list"),
        ("optimizer = ['adam', 'adam']", "twice"),
        ("learning_rate = { uniform = [1, 0.1] }", "low < high"),
        ("learning_rate = { log_uniform = [0.1] }", "two bounds"),
        ("learning_rate = { normal = [0, 1] }", "unknown distribution"),
        ("batch_size = { uniform = [32, 64] }", "cannot be drawn from a range"),
        ("dropout = { log_uniform = [0.0, 0.5] }", "0 < low"),
        ("learning_rate = ", "not valid TOML"),
    ],
)
def test_a_wrong_toml_space_is_refused_with_its_reason(tmp_path, text, says):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(SetupError) as error:
        Space.named(path)
    assert says in str(error.value)


def test_an_unknown_space_is_refused_with_the_nearest_known_one(tmp_path):
    with pytest.raises(SetupError, match="did you mean 'fixed'"):
        Space.named("fixd")
    with pytest.raises(SetupError, match="cannot read the space file"):
        Space.named(tmp_path / "absent.toml")
