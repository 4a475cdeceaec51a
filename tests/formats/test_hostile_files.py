"""Hostile and damaged files: nothing is run, and each ends in one clear error or a reading within bounds."""

import contextlib
import io
import json
import pickle
import random
import struct
import sys
import time
import tracemalloc
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from weightprint.errors import CheckpointError
from weightprint.formats import open_checkpoint
from weightprint.formats.pickles import PickleReader, Unbuilt


class Payload:
    """Pickled as a call."""

    def __init__(self, function, *args):
        self.call = (function, args)

    def __reduce__(self):
        return self.call


def touch(path):
    """A function of the author's own, which a pickle can name as well as any other."""
    open(path, "w").close()


class Woken:
    def __init__(self, path):
        self.path = path

    def __getstate__(self):
        return {"path": self.path}

    def __setstate__(self, state):
        touch(state["path"])


def line(text):
    return text.encode() + b"\n"


def payloads(canary):
    command = f"touch {canary}"
    system = __import__("os").system
    text = b"X" + struct.pack("<I", len(command)) + command.encode()
    return {
        **{f"reduce {n}": pickle.dumps(Payload(system, command), n) for n in range(6)},
        "inst": b"(S'" + command.encode() + b"'\nios\nsystem\n.",
        "obj": b"(cos\nsystem\n" + text + b"o.",
        "newobj": b"cos\nsystem\n" + text + b"\x85\x81.",
        "newobj_ex": b"\x80\x04cos\nsystem\n" + text + b"\x85}\x92.",
        "stack_global": b"\x80\x04\x8c\x02os\x8c\x06system\x93" + text + b"\x85R.",
        "eval": pickle.dumps(Payload(eval, f"__import__('os').system({command!r})")),
        "python 2": b"c__builtin__\neval\n" + text + b"\x85R.",
        "beside the weights": pickle.dumps({"a.weight": 1, "b": Payload(system, command)}),
        "as a key": b"}" + b"cos\nsystem\n" + text + b"\x85R" + b"K\x01s.",
    }


def as_zip(path, data, **entries):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", data)
        for name, content in entries.items():
            archive.writestr(name, content)


def as_stream(path, data):
    head = [pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
    path.write_bytes(b"".join(head) + data + pickle.dumps([], 2))


@pytest.mark.parametrize("kind", list(payloads("")))
@pytest.mark.parametrize("form", ["zip", "stream", "plain"])
def test_payloads_are_never_run(tmp_path, kind, form):
    canary, path = tmp_path / "canary", tmp_path / "model.pth"
    data = payloads(canary)[kind]
    if form == "zip":
        as_zip(path, data)
    elif form == "stream":
        as_stream(path, data)
    else:
        path.write_bytes(data if data[:1] == b"\x80" else b"\x80\x02" + data)
    with pytest.raises(CheckpointError, match="it calls .* as soon as it is unpickled; nothing of it was run"):
        open_checkpoint(path)
    assert not canary.exists()


@pytest.mark.parametrize("make", [lambda path: Payload(touch, str(path)), lambda path: Woken(str(path))])
def test_functions_and_setstate_of_unknown_modules_are_not_run_beside_weights(tmp_path, make):
    canary = tmp_path / "canary"
    torch.save({"state_dict": {"a.weight": torch.ones(2, 3)}, "extra": make(canary)}, tmp_path / "a.pt")
    checkpoint = open_checkpoint(tmp_path / "a.pt")
    assert checkpoint["a.weight"].read().sum() == 6
    assert __name__ in checkpoint.notes[0]
    assert not canary.exists()


def test_a_call_of_a_calls_result_and_a_class_in_disguise_stay_unbuilt():
    data = b"cbuiltins\ngetattr\ncos\nsystem\nX\x08\x00\x00\x00__call__\x86RX\x02\x00\x00\x00ls\x85R."
    value = PickleReader(memoryview(data)).read()
    assert isinstance(value, Unbuilt)


# Pickles that never end, or grow


def deep(levels):
    return b"\x80\x02" + b"]" * levels + b"a" * (levels - 1) + b"."


@pytest.mark.parametrize(
    "data",
    [
        deep(20_000),
        b"\x80\x02]q\x00h\x00a.",  # a list in itself
        b"\x80\x02}q\x00X\x01\x00\x00\x00ah\x00s.",  # a dictionary in itself
        b"\x80\x02K\x00" + b"2\x86" * 20_000 + b".",  # 2 ** 20,000 leaves by sharing
        b"\x80\x02}K\x00" + b"2\x86" * 60 + b"K\x01s.",  # the same as a dictionary's key
        b"\x80\x02K\x00r\xff\xff\xff\xff.",  # a memo that claims four billion places
        b"\x80\x02\x8b\xff\xff\xff\x7f" + b"\x01" * 100 + b".",  # a number of two gigabytes
        b"\x80\x02X\xff\xff\xff\xff.",
        b"\x80\x04\x8d" + b"\xff" * 8 + b".",
        b"\x80\x05\x96" + b"\xff" * 8 + b".",
        b"\x80\x02" + b"(" * 20_000 + b".",
        b"\x80\x02" + b"cbuiltins\nlist\nq\x00]q\x01(" + b"K\x00" * 9000 + b"e0" + b"h\x00h\x01\x85R0" * 9000 + b".",
    ],
    ids=["deep", "list", "dict", "shared", "key", "memo", "long", "text", "text8", "bytes8", "marks", "copies"],
)
def test_pickle_bombs_end_soon_and_small(tmp_path, data):
    for form in (lambda path: as_zip(path, data), lambda path: path.write_bytes(data)):
        form(tmp_path / "a.pt")
        tracemalloc.start()
        start = time.perf_counter()
        with pytest.raises(CheckpointError):
            open_checkpoint(tmp_path / "a.pt")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert time.perf_counter() - start < 5
        assert peak < 100 << 20


def test_nested_settings_are_cut_off_not_followed_for_ever(tmp_path):
    settings_ = {}
    settings_["again"] = [settings_, {"lr": 0.1}]
    torch.save({"state_dict": {"a.weight": torch.ones(2)}, "settings": settings_}, tmp_path / "a.pt")
    assert open_checkpoint(tmp_path / "a.pt").declared["settings"]["again"][1] == {"lr": 0.1}


# Claims


def tensor_pickle(numel, offset, size, stride):
    class Stream(pickle._Pickler):  # the pure Python pickler, for its save methods
        def persistent_id(self, value):
            return value.identity if isinstance(value, Claimed) else None

    class Claimed:
        identity = ("storage", torch.FloatStorage, "0", "cpu", numel)

    out = io.BytesIO()
    pickler = Stream(out, 2)
    rebuilt = Payload(torch._utils._rebuild_tensor_v2, Claimed(), offset, size, stride, False, {})
    pickler.dump({"a.weight": rebuilt})
    return out.getvalue()


@pytest.mark.parametrize(
    ("numel", "offset", "size", "stride", "message"),
    [
        (1 << 40, 0, (2,), (1,), "should hold"),
        (-1, 0, (2,), (1,), "no possible size"),
        (4, 0, (1 << 40,), (1,), "reaches beyond"),
        (4, 3, (2,), (1,), "reaches beyond"),
        (4, 0, (2, 2), (4, 1), "reaches beyond"),
        (4, -1, (2,), (1,), "do not fit"),
        (4, 0, (2,), (-1,), "no shape"),
        (4, 0, (-2,), (1,), "no shape"),
        (4, 0, (1 << 40,), (0,), "repeats"),
        (4, 0, (2, 2), (1,), "do not fit"),
        (4, 0, (2.5,), (1,), "no shape"),
    ],
)
def test_tensors_larger_than_what_is_stored_are_refused(tmp_path, numel, offset, size, stride, message):
    data = tensor_pickle(numel, offset, size, stride)
    as_zip(tmp_path / "a.pt", data, **{"archive/data/0": b"\0" * 16})
    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(tmp_path / "a.pt")


def safetensors_bytes(header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    "content",
    [
        safetensors_bytes({"a": ENTRY}, b"\0" * 8, length=1 << 39),
        safetensors_bytes({"a": {**ENTRY, "shape": [1 << 50]}}, b"\0" * 8),
        safetensors_bytes({"a": {**ENTRY, "shape": [1 << 70]}}, b"\0" * 8),
        safetensors_bytes({"a": {**ENTRY, "shape": [-2]}}, b"\0" * 8),
        safetensors_bytes({"a": {**ENTRY, "data_offsets": [0, 1 << 50]}}, b"\0" * 8),
        safetensors_bytes({"a": {**ENTRY, "data_offsets": [8, 0]}}, b"\0" * 8),
        safetensors_bytes({"a": {**ENTRY, "data_offsets": [0]}}, b"\0" * 8),
        safetensors_bytes({"a": {**ENTRY, "data_offsets": None}}, b"\0" * 8),
        safetensors_bytes({"a": 7}),
        safetensors_bytes({"a": ENTRY}, b"\0" * 4),
        safetensors_bytes({}),
        safetensors_bytes(b'{"a":' * 100_000),
        safetensors_bytes(b'{"a": ' + b"9" * 100_000 + b"}"),
        safetensors_bytes(b"{\xff\xfe}"),
    ],
)
def test_safetensors_headers_that_claim_too_much_are_one_clear_error(tmp_path, content):
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"a.safetensors: "):
        open_checkpoint(tmp_path / "a.safetensors")


def test_npy_headers_that_claim_terabytes_are_refused(tmp_path):
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<f4", "fortran_order": False, "shape": (1 << 20, 1 << 20)})
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("w.npy", head.getvalue() + b"\0" * 8)
    with pytest.raises(CheckpointError, match="does not fit its"):
        open_checkpoint(tmp_path / "a.npz")


@pytest.mark.parametrize("form", ["npz", "pt", "keras"])
def test_zip_bombs_are_not_unfolded(tmp_path, form):
    name = {"npz": "w.npy", "pt": "archive/data.pkl", "keras": "model.weights.h5"}[form]
    with zipfile.ZipFile(tmp_path / "a", "w", zipfile.ZIP_DEFLATED) as archive, archive.open(name, "w") as entry:
        for _ in range(100):
            entry.write(b"\0" * (1 << 20))
    tracemalloc.start()
    with pytest.raises(CheckpointError, match="would unfold to"):
        open_checkpoint(tmp_path / "a")
    assert tracemalloc.get_traced_memory()[1] < 10 << 20
    tracemalloc.stop()


def test_an_entry_that_unfolds_to_more_than_it_says_is_refused(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", W=np.zeros((1000, 1000)), b=np.zeros(1000))
    data = bytearray((tmp_path / "a.npz").read_bytes())
    central = data.rindex(b"PK\x01\x02", 0, data.rindex(b"PK\x01\x02"))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.namelist()[0] == "W.npy"
    data[central + 24 : central + 28] = struct.pack("<I", 128 + 80)
    (tmp_path / "a.npz").write_bytes(data)
    with pytest.raises(CheckpointError):
        [tensor.read() for tensor in open_checkpoint(tmp_path / "a.npz").tensors]


def test_overlapping_entries_are_refused(tmp_path):
    as_zip(tmp_path / "a.pt", b"\0" * 4096)
    data = bytearray((tmp_path / "a.pt").read_bytes())
    central = data.rindex(b"PK\x01\x02")
    entry, end = data[central : data.rindex(b"PK\x05\x06")], data[data.rindex(b"PK\x05\x06") :]
    count = 50
    end[8:12] = struct.pack("<HH", count, count)
    end[12:16] = struct.pack("<I", len(entry) * count)
    (tmp_path / "a.pt").write_bytes(bytes(data[:central]) + bytes(entry) * count + bytes(end))
    with pytest.raises(CheckpointError, match="overlap"):
        open_checkpoint(tmp_path / "a.pt")


# Sizes


def test_a_million_tiny_tensors_are_refused_soon(tmp_path):
    entries = ",".join(f'"{n}":{{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}' for n in range(1_000_000))
    (tmp_path / "a.safetensors").write_bytes(safetensors_bytes(f"{{{entries}}}".encode(), b"\0" * 4))
    start = time.perf_counter()
    with pytest.raises(CheckpointError, match="more than 200,000 tensors"):
        open_checkpoint(tmp_path / "a.safetensors")
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize("name", ["w{}", "layer.weight{}"])
def test_ten_thousand_tiny_tensors_are_read(tmp_path, name):
    save_file({name.format(n): np.ones((1, 1), np.float32) for n in range(10_000)}, tmp_path / "a.safetensors")
    start = time.perf_counter()
    assert len(open_checkpoint(tmp_path / "a.safetensors").tensors) == 10_000
    assert time.perf_counter() - start < 10


@pytest.mark.parametrize("form", ["pt", "npz", "safetensors"])
def test_reading_takes_at_most_twice_the_largest_tensor(tmp_path, form):
    arrays = {f"layer{n}.weight": np.ones((512, 512), np.float16) for n in range(6)}
    path = tmp_path / f"a.{form}"
    if form == "npz":
        np.savez_compressed(path, **{name: RNG.normal(size=a.shape).astype(np.float16) for name, a in arrays.items()})
    elif form == "pt":
        torch.save({name: torch.from_numpy(a) for name, a in arrays.items()}, path)
    else:
        save_file(arrays, path)
    tracemalloc.start()
    for tensor in open_checkpoint(path).canonical():
        assert tensor.values.dtype == np.float32
        del tensor
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * 4 * 512 * 512 + (1 << 19)


RNG = np.random.default_rng(0)


def test_nan_filled_weights_are_read_and_empty_models_are_an_error(tmp_path):
    torch.save({"a.weight": torch.full((3, 3), float("nan"))}, tmp_path / "nan.pt")
    assert np.isnan(open_checkpoint(tmp_path / "nan.pt")["a.weight"].read()).all()
    for name, value in {"empty": {}, "none": {"a.weight": torch.zeros(0, 3)}, "words": {"epoch": 3}}.items():
        torch.save(value, tmp_path / f"{name}.pt")
        with pytest.raises(CheckpointError, match="holds no weights"):
            open_checkpoint(tmp_path / f"{name}.pt")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.safetensors", b"Dear reader,\nthis is a text.\n", "named .safetensors, but its content is no checkpoint"),
        ("a.pth", b"Dear reader", "named .pth, but its content is no checkpoint"),
        ("a.h5", b"\x89PNG\r\n\x1a\n", "named .h5, but its content is no checkpoint"),
        ("a.onnx", b"Dear reader", "no ONNX model"),
        ("a.pt", b"", "the file is empty"),
        ("a.pt", b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        ("a.pt", b"<!DOCTYPE html>", "a web page"),
        ("a.npz", b"PK\x03\x04", "a damaged zip archive"),
        ("a.keras", b"PK\x05\x06" + b"\0" * 18, "a zip archive without a checkpoint"),
        ("a.safetensors", b"{}", "named .safetensors, but its content"),
    ],
)
def test_what_is_no_checkpoint_says_what_it_is(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(tmp_path / name)


def test_a_missing_file_is_an_error_of_ours(tmp_path):
    with pytest.raises(CheckpointError, match="no such file"):
        open_checkpoint(tmp_path / "none.pt")


# Damage


@settings(max_examples=200)
@given(data=st.binary(max_size=200))
def test_any_bytes_as_a_pickle_end_in_a_value_or_an_error(data):
    with contextlib.suppress(CheckpointError):
        PickleReader(memoryview(b"\x80\x02" + data)).read()


def originals(folder):
    state_dict = {"conv.weight": torch.randn(2, 1, 3, 3), "conv.bias": torch.randn(2), "fc.weight": torch.randn(3, 8)}
    arrays = {name: tensor.numpy() for name, tensor in state_dict.items()}
    torch.save({"state_dict": state_dict, "epoch": 3}, folder / "zip.pt")
    torch.save(state_dict, folder / "stream.pth", _use_new_zipfile_serialization=False)
    save_file(arrays, folder / "a.safetensors")
    np.savez(folder / "plain.npz", **arrays)
    np.savez_compressed(folder / "packed.npz", **arrays)
    (folder / "arrays.pkl").write_bytes(pickle.dumps(arrays))
    names = ["zip.pt", "stream.pth", "a.safetensors", "plain.npz", "packed.npz", "arrays.pkl"]
    onnx = pytest.importorskip("onnx")
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Gemm", ["x", "w", "b"], ["y"], transB=1)],
        "g",
        [onnx.helper.make_tensor_value_info("x", 1, [1, 8])],
        [onnx.helper.make_tensor_value_info("y", 1, [1, 3])],
        [onnx.numpy_helper.from_array(arrays["fc.weight"], "w"), onnx.numpy_helper.from_array(np.ones(3, "f4"), "b")],
    )
    (folder / "a.onnx").write_bytes(onnx.helper.make_model(graph).SerializeToString())
    described = {name: exported(number, array) for number, (name, array) in enumerate(arrays.items())}
    with zipfile.ZipFile(folder / "a.pt2", "w") as archive:
        archive.writestr("a/data/weights/model_weights_config.json", json.dumps({"config": described}))
        for number, array in enumerate(arrays.values()):
            archive.writestr(f"a/data/weights/weight_{number}", array.tobytes())
    return [*names, "a.onnx", "a.pt2"]


def exported(number, array, **changes):
    """What an exported program says of a tensor."""
    sizes, strides = ([{"as_int": int(n)} for n in of] for of in (array.shape, np.array(array.strides) // 4))
    meta = {"dtype": 7, "sizes": sizes, "strides": strides, "storage_offset": {"as_int": 0}, "layout": 7, **changes}
    return {"path_name": f"weight_{number}", "use_pickle": False, "tensor_meta": meta}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sizes": [{"as_int": 1 << 40}], "strides": [{"as_int": 1}]}, "reaches beyond"),
        (
            {"sizes": [{"as_int": 3}], "strides": [{"as_int": 0}], "storage_offset": {"as_int": -1}},
            "strides do not fit",
        ),
        ({"sizes": 3}, "not described as a tensor is"),
        ({"sizes": [{"as_int": 2.5}]}, "no shape"),
    ],
)
def test_an_exported_program_that_describes_more_than_it_holds_is_one_clear_error(tmp_path, changes, message):
    described = {"fc.weight": exported(0, np.ones((3, 4), np.float32), **changes)}
    with zipfile.ZipFile(tmp_path / "a.pt2", "w") as archive:
        archive.writestr("a/data/weights/model_weights_config.json", json.dumps({"config": described}))
        archive.writestr("a/data/weights/weight_0", np.ones(12, np.float32).tobytes())
    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(tmp_path / "a.pt2")


def with_hdf5(folder):
    h5py = pytest.importorskip("h5py")
    with h5py.File(folder / "a.h5", "w") as file:
        file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": {"layers": []}})
        file.attrs["layer_names"] = ["dense"]
        group = file.create_group("dense")
        group.attrs["weight_names"] = [b"dense/kernel:0", b"dense/bias:0"]
        group["dense/kernel:0"] = np.ones((30, 20), np.float32)
        group.create_dataset("dense/bias:0", data=np.ones(20, np.float32), compression="gzip")
    with zipfile.ZipFile(folder / "a.keras", "w") as archive:
        archive.writestr("config.json", "{}")
        archive.write(folder / "a.h5", "model.weights.h5")
    return ["a.h5", "a.keras"]


def damaged(data, rng):
    """One way in which a file can be damaged: cut short, bits flipped, bytes overwritten."""
    data = bytearray(data)
    kind = rng.choice(("cut", "flip", "flip", "overwrite"))
    if kind == "cut":
        return bytes(data[: rng.randrange(len(data))])
    for _ in range(rng.choice((1, 1, 4, 30))):
        place = rng.randrange(len(data))
        data[place] = data[place] ^ 1 << rng.randrange(8) if kind == "flip" else rng.choice((0, 1, 127, 128, 255))
    return bytes(data)


def fuzz(folder, names, rounds, seed=0):
    """Each damaged file is read whole or ends in a CheckpointError; returns how many ended so."""
    rng = random.Random(seed)
    errors = 0
    for name in names:
        original = (folder / name).read_bytes()
        for _ in range(rounds):
            (folder / f"damaged_{name}").write_bytes(damaged(original, rng))
            try:
                for tensor in open_checkpoint(folder / f"damaged_{name}").canonical():
                    assert tensor.values.dtype == np.float32
            except CheckpointError:
                errors += 1
    return errors


def test_damaged_files_end_in_an_error_or_a_reading(tmp_path):
    names = originals(tmp_path)
    assert fuzz(tmp_path, names, 100) > 100


@pytest.mark.slow
def test_damaged_hdf5_files_end_in_an_error_or_a_reading(tmp_path):
    assert fuzz(tmp_path, with_hdf5(tmp_path), 4) >= 2


@pytest.mark.long
def test_many_damaged_files_end_in_an_error_or_a_reading(tmp_path):
    assert fuzz(tmp_path, originals(tmp_path), 5_000, seed=1) > 5_000
    assert fuzz(tmp_path, with_hdf5(tmp_path), 300, seed=1) >= 150


@pytest.mark.skipif(sys.platform == "win32", reason="the limits of a process are POSIX's")
def test_an_hdf5_reader_that_is_killed_or_never_ends_is_an_error(tmp_path, monkeypatch):
    from weightprint.formats import hdf5_reading

    with_hdf5(tmp_path)
    for body, message in {
        "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)": "libhdf5 gave up on it",
        "import time; time.sleep(60)": "does not come to an end",
    }.items():
        (tmp_path / "reader.py").write_text(body)
        monkeypatch.setattr(hdf5_reading, "__file__", str(tmp_path / "reader.py"))
        monkeypatch.setattr(hdf5_reading, "SECONDS", 0.25)
        with pytest.raises(CheckpointError, match=message):
            open_checkpoint(tmp_path / "a.h5")
