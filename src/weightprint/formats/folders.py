"""Models in several files: shards with their index, and the folders of the Hugging Face hub."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from weightprint.errors import CheckpointError
from weightprint.formats.archives import Archive
from weightprint.formats.file_maps import FileMap, inside
from weightprint.formats.limits import MAX_TENSORS
from weightprint.formats.named_tensors import Checkpoint, Collector, Stored
from weightprint.formats.plain import parsed_json, plain
from weightprint.formats.safetensors_files import flatten_order, looks_like_safetensors, stored_tensors
from weightprint.formats.state_dicts import find_state_dicts
from weightprint.formats.torch_files import add_torch_tensors, declared_arguments, unpickled_zip

INDEXES = (
    "model.safetensors.index.json",
    "diffusion_pytorch_model.safetensors.index.json",
    "pytorch_model.bin.index.json",
)
SINGLES = ("model.safetensors", "diffusion_pytorch_model.safetensors", "pytorch_model.bin")
_MAX_SHARDS = 10_000


def read_index(path: Path, document: Any, form: str | None = None) -> Checkpoint:
    """Shards by their index ({"weight_map": {tensor: file}}); raises CheckpointError where one leads astray."""
    weight_map = document.get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(file, str) for file in weight_map.values()):
        raise CheckpointError("its weight_map does not name the file of each tensor", hint="fetch the index again")
    files = list(dict.fromkeys(weight_map.values()))
    if len(weight_map) > MAX_TENSORS or len(files) > _MAX_SHARDS:
        raise CheckpointError(f"{len(weight_map):,} tensors in {len(files):,} shards: too many to be read")
    held: dict[str, dict[str, Stored]] = {name: shard(inside(path.parent, name)) for name in files}
    tensors: dict[str, Stored] = {}
    for name, file in weight_map.items():
        if name not in held[file]:
            raise CheckpointError(f"the shard {file!r} lacks the tensor {name!r}", hint="fetch all files of the model")
        tensors[name] = held[file][name]
    collector = Collector()
    add_torch_tensors(collector, tensors)
    declared = plain(document.get("metadata")) or {}
    safe = all(name.endswith(".safetensors") for name in files)
    return collector.checkpoint(
        path,
        form or ("safetensors" if safe else "pytorch"),
        declared=declared if isinstance(declared, dict) else {},
        flatten_order=flatten_order({}, tensors),
    )


def shard(path: Path) -> dict[str, Stored]:
    """The tensors of one shard, safetensors or a PyTorch archive."""
    file = FileMap(path)
    if looks_like_safetensors(file):
        return stored_tensors(file)[0]
    if bytes(file.view(0, min(4, file.size))) != b"PK\x03\x04":
        raise CheckpointError(f"the shard {path.name!r} is neither safetensors nor a PyTorch archive")
    try:
        top, _ = unpickled_zip(Archive(file, str(path)))
    except StopIteration:
        raise CheckpointError(f"the shard {path.name!r} is no PyTorch archive") from None
    return {prefix + name: s for prefix, inner in find_state_dicts(top).state_dicts for name, s in inner.items()}


def read_folder(path: Path, open_file: Any) -> Checkpoint:
    """A Hugging Face folder: its index or its one file, with what config.json and training_args.bin declare.

    open_file: how a single file is read (path → Checkpoint)
    Raises CheckpointError where the folder holds no model that is known.
    """
    name = next((known for known in (*INDEXES, *SINGLES) if (path / known).exists()), None)
    if name is None:
        saved = (path / "saved_model.pb").exists()
        more = ": a TensorFlow SavedModel is not read, save it as .keras" if saved else ""
        without = f"a folder without any of {', '.join((*SINGLES, *INDEXES))}"
        raise CheckpointError(without, hint=f"give the checkpoint file itself{more}")
    file = inside(path, name)
    if name in INDEXES:
        found = read_index(file, parsed_json(FileMap(file).view(), name), "huggingface")
    else:
        found = open_file(file)
    declared = dict(found.declared)
    for document in ("config.json", "trainer_state.json"):
        if (path / document).exists():
            value = plain(parsed_json(FileMap(inside(path, document)).view(), document))
            declared[document.removesuffix(".json")] = value
    if (path / "training_args.bin").exists():
        arguments = declared_arguments(inside(path, "training_args.bin"))
        if arguments is not None:
            declared["training_args"] = arguments
    return replace(found, path=path, format="huggingface", declared=declared)
