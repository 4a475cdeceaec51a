import hashlib
import json
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load as load_safetensors

from weightprint import Layout, Setup
from weightprint.errors import CorruptFile, ZooError
from weightprint.zoo import runfile
from weightprint.zoo.layout import Tensor
from weightprint.zoo.runfile import RunRecord

GOLDEN = Path(__file__).parent / "data" / "run.safetensors"


def record(**changes) -> RunRecord:
    layout = Layout(
        [
            Tensor("a/kernel", "kernel", "fc", (2, 3), 0, "a.weight", "oi"),
            Tensor("a/bias", "bias", "fc", (2,), 6, "a.bias", "o"),
        ]
    )
    base = RunRecord(
        number=17,
        identity="0123:17",
        status="complete",
        reason="last epoch",
        properties={"optimizer": "adam", "learning_rate": 0.001, "augmentation": False, "note": "naïve ünïcode"},
        layout=layout,
        weights=np.arange(16, dtype=np.float32).reshape(2, 8) / 4,
        measurements=[{"snapshot": 1, "test_accuracy": 0.125}, {"snapshot": 2, "test_accuracy": 0.5}],
        curve=np.array([[0.0, 0.125], [10.0, 0.5]]),
        curve_columns=("step", "test_accuracy"),
        test_images=40,
    )
    return replace(base, **changes)


def same(a: RunRecord, b: RunRecord) -> bool:
    arrays = np.array_equal(a.weights, b.weights) and np.array_equal(a.curve, b.curve)
    fields = ("number", "identity", "status", "reason", "properties", "layout", "measurements", "test_images")
    return arrays and all(getattr(a, f) == getattr(b, f) for f in fields)


def test_the_bytes_of_a_run_file_are_pinned():
    """If this fails, the format changed: raise its version and write what reads the old one."""
    assert runfile.encode(record()) == GOLDEN.read_bytes()


def test_a_file_of_format_1_can_be_read_for_ever():
    assert same(runfile.read(GOLDEN), record())


def test_the_checksum_is_what_the_specification_says():
    """Recomputed with nothing but safetensors, json and hashlib."""
    data = GOLDEN.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    metadata = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["weightprint"])
    arrays = load_safetensors(data)
    claimed = metadata.pop("sha256")
    text = json.dumps(metadata, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    digest = hashlib.sha256(arrays["curve"].tobytes() + arrays["weights"].tobytes() + text.encode())
    assert digest.hexdigest() == claimed


json_values = st.one_of(
    st.booleans(), st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False), st.text()
)


@settings(max_examples=50)
@given(
    properties=st.dictionaries(st.text(min_size=1), json_values, max_size=5),
    weights=st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=8, max_size=8),
)
def test_any_finite_run_round_trips(tmp_path_factory, properties, weights):
    path = tmp_path_factory.mktemp("run") / "0000017.safetensors"
    written = record(properties=properties, weights=np.array([weights, weights], dtype=np.float32))
    path.write_bytes(runfile.encode(written))
    assert same(runfile.read(path), written)
    assert runfile.encode(runfile.read(path)) == path.read_bytes()


def test_a_failed_run_is_kept_without_weights(tmp_path):
    path = tmp_path / "0000017.safetensors"
    failed = record(status="failed", reason="killed", weights=np.zeros((0, 8), np.float32), measurements=[])
    path.write_bytes(runfile.encode(failed))
    assert same(runfile.read(path), failed)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"weights": np.zeros((2, 9), np.float32)}, "do not fit a layout of 8"),
        ({"weights": np.full((2, 8), np.nan, np.float32)}, "not finite"),
        ({"measurements": []}, "0 rows of measurements for 2 snapshots"),
        ({"status": "done"}, "status 'done'"),
        ({"status": "failed"}, "a failed run has no weights"),
        ({"curve": np.zeros((3, 1))}, "for 2 columns"),
    ],
)
def test_a_record_whose_parts_do_not_fit_is_not_written(changes, says):
    with pytest.raises(ZooError, match=says):
        runfile.encode(record(**changes))


@settings(max_examples=300)
@given(st.integers(0, len(GOLDEN.read_bytes()) * 8 - 1))
def test_any_flipped_bit_is_found(tmp_path_factory, bit):
    data = bytearray(GOLDEN.read_bytes())
    data[bit // 8] ^= 1 << (bit % 8)
    path = tmp_path_factory.mktemp("flip") / "0000017.safetensors"
    path.write_bytes(data)
    with pytest.raises(ZooError):
        runfile.read(path)


@pytest.mark.parametrize("length", [0, 4, 8, 100, 900, len(GOLDEN.read_bytes()) - 1])
def test_a_truncated_file_is_found_without_reading_its_weights(tmp_path, length):
    path = tmp_path / "0000017.safetensors"
    path.write_bytes(GOLDEN.read_bytes()[:length])
    with pytest.raises(CorruptFile, match=r"0000017\.safetensors is damaged"):
        runfile.read_metadata(path)


def test_a_newer_format_is_refused_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr(runfile, "RUN_FORMAT", 2)
    data = runfile.encode(record())
    monkeypatch.undo()
    path = tmp_path / "0000017.safetensors"
    path.write_bytes(data)
    with pytest.raises(ZooError, match="has format 2, this version reads 1"):
        runfile.read(path)


def test_the_file_of_a_real_network_lists_its_tensors(tmp_path):
    layout = Layout.of(Setup())
    weights = np.zeros((1, layout.size), np.float32)
    path = tmp_path / "0000017.safetensors"
    path.write_bytes(runfile.encode(record(layout=layout, weights=weights, measurements=[{"snapshot": 1}])))
    assert runfile.read(path).layout == layout
