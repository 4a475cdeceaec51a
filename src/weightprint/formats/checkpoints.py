"""Any checkpoint file as named tensors; nothing in it is ever run.

    from weightprint.formats import open_checkpoint

    checkpoint = open_checkpoint("lenet.h5")
    checkpoint.format                       # "keras_h5"
    checkpoint.declared.get("optimizer")    # {"rule": "adam", "learning_rate": 0.001, …}, what the file itself says
    checkpoint.graph and checkpoint.graph.wiring
    for tensor in checkpoint.canonical():   # float32, (output, input, window...), one at a time
        tensor.source, tensor.kind, tensor.axes, tensor.values.shape

The format is told from the content, not from the file's suffix:

| format | what is read |
|---|---|
| safetensors | single files; shards by their `*.safetensors.index.json` |
| PyTorch | .pt, .pth, .bin, .ckpt: archives, legacy streams, TorchScript, pickles of numpy arrays; shards; .pt2 |
| numpy | .npz, without unpickling |
| Keras | .h5 (models and weights), .weights.h5, .keras; needs h5py |
| ONNX | .onnx; needs onnx |
| Hugging Face | a folder with config.json and its weights |

Memory: the file is mapped; reading a tensor takes at most twice its size in float32 (once for what is compressed or
stored in another format, once for the result). ONNX files are parsed as a whole, and take their own size besides.
Limits are those of `limits`.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path

from weightprint.errors import CheckpointError
from weightprint.files import StrPath
from weightprint.formats.archives import Archive
from weightprint.formats.exported_programs import descriptions, read_exported
from weightprint.formats.file_maps import FileMap
from weightprint.formats.folders import read_folder, read_index
from weightprint.formats.hdf5 import MAGIC as HDF5
from weightprint.formats.keras_files import CONFIG_ENTRY, WEIGHTS_ENTRY, read_keras_h5, read_keras_v3
from weightprint.formats.limits import damaged
from weightprint.formats.named_tensors import Checkpoint
from weightprint.formats.npz import read_npz
from weightprint.formats.onnx_files import read_onnx
from weightprint.formats.plain import parsed_json
from weightprint.formats.safetensors_files import looks_like_safetensors, read_safetensors
from weightprint.formats.torch_files import read_stream, read_zip

READ = ".safetensors, .pt, .pth, .bin, .ckpt, .pt2, .npz, .h5, .keras, .onnx, or a Hugging Face folder"
_FOREIGN = (  # how files begin that are known and not read
    (b"GGUF", "a GGUF file (quantised for llama.cpp)"),
    (b"\x93NUMPY", "a single numpy array; save the arrays together with numpy.savez"),
    (b"\x1f\x8b", "a gzip file; unpack it first"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself; fetch it with git lfs pull"),
    (b"<!DOCTYPE", "a web page; fetch the file itself"),
    (b"<html", "a web page; fetch the file itself"),
)
_DAMAGE = (  # what a parser raises over a file that is not what it seems; anything else is a bug of ours
    *(OSError, ValueError, LookupError, ArithmeticError, EOFError, RuntimeError, TypeError, AttributeError),
    *(MemoryError, struct.error, zlib.error, zipfile.BadZipFile),
)


def open_checkpoint(path: StrPath) -> Checkpoint:
    """Opens a checkpoint file, a shard index or a Hugging Face folder; reads its description, not yet its numbers.

    Raises CheckpointError, whose message begins with the path, for a file of no known format, for a damaged one, for
    one that asks for more than `limits` allows, for a pickled module (its hint has the lines that convert it), for
    one without weights, and where h5py or onnx is needed and not installed.
    """
    place = Path(path)
    try:
        return _opened(place)
    except CheckpointError as error:
        hint = error.hint.replace("{path!r}", repr(str(path)))
        raise CheckpointError(f"{path}: {error.message}", hint=hint) from error.__cause__
    except _DAMAGE as error:
        reason = f"{type(error).__name__}: {str(error)[:120]}"
        raise damaged(f"{path}: not what it should be ({reason})") from error


def _opened(path: Path) -> Checkpoint:
    if path.is_dir():
        return read_folder(path, _opened)
    file = FileMap(path)
    head = bytes(file.view(0, min(file.size, 64)))
    if looks_like_safetensors(file):  # before what is told by two bytes, which may be the length of its header
        return read_safetensors(path, file)
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _archive(path, file)
    if head.startswith(HDF5):
        return read_keras_h5(path, file)
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return read_stream(path, file)
    for beginning, what in _FOREIGN:
        if head.startswith(beginning):
            raise CheckpointError(what, hint=f"what is read: {READ}")
    if path.name.endswith(".json") and head.lstrip()[:1] == b"{":
        document = parsed_json(file.view(), "the index")
        if isinstance(document, dict) and "weight_map" in document:
            return read_index(path, document)
        raise CheckpointError("a JSON file without a weight_map", hint=f"what is read: {READ}")
    if head[:1] == b"\x08" or path.suffix == ".onnx":  # field 1 of ModelProto, the version
        return read_onnx(path, file)
    named = f"named {path.suffix}, but " if path.suffix else ""
    content = f"its content is no checkpoint that is known (it begins with {_shown(head)})"
    raise CheckpointError(named + content, hint=f"what is read: {READ}")


def _archive(path: Path, file: FileMap) -> Checkpoint:
    archive = Archive(file, str(path))
    names = list(archive.entries)
    if WEIGHTS_ENTRY in archive.entries or CONFIG_ENTRY in archive.entries:
        return read_keras_v3(path, archive)
    if descriptions(archive):
        return read_exported(path, archive)
    if any(name.split("/")[-1] == "data.pkl" for name in names):
        return read_zip(path, archive)
    if names and all(name.endswith(".npy") for name in names):
        return read_npz(path, archive)
    held = ", ".join(names[:3]) or "empty"
    raise CheckpointError(f"a zip archive without a checkpoint in it ({held})", hint=f"what is read: {READ}")


def _shown(head: bytes) -> str:
    text = head[:16].decode("ascii", "replace")
    return repr(text) if text.isprintable() else head[:8].hex(" ")
