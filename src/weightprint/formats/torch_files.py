"""PyTorch's files: the zip archives of 1.6 and later, the legacy streams before, TorchScript, and plain pickles.

Neither needs torch, and neither is unpickled: see `pickles`. Sources: torch/serialization.py describes both forms; a
legacy stream is a pickled magic number, a protocol version, a description of the machine, the value, the list of
storage keys, and per key a 64-bit count followed by the numbers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from weightprint.errors import CheckpointError
from weightprint.formats.archives import Archive
from weightprint.formats.dtypes import FORMATS
from weightprint.formats.file_maps import FileMap
from weightprint.formats.limits import MAX_DEPTH, damaged
from weightprint.formats.named_tensors import Checkpoint, Collector, Graph, Layer, Stored
from weightprint.formats.parametrizations import joined
from weightprint.formats.pickled_tensors import TENSOR_BUILDERS, Storage, item_size, storage_dtype
from weightprint.formats.pickles import PickleReader, Unbuilt
from weightprint.formats.plain import plain
from weightprint.formats.roles import roles_of_names, told_roles
from weightprint.formats.state_dicts import find_state_dicts, without_wrappers

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
_PARTS = "parametrizations"
"""The module in which one that is parametrized holds the parts of its weights."""


_ATTRIBUTES = (
    *("stride", "padding", "dilation", "groups", "kernel_size", "transposed", "padding_mode", "eps", "momentum", "p"),
    *("negative_slope", "alpha", "in_channels", "out_channels", "in_features", "out_features"),
)


def read_zip(path: Path, archive: Archive) -> Checkpoint:
    """A PyTorch or TorchScript archive; raises CheckpointError for one that cannot or must not be read."""
    top, unbuilt = unpickled_zip(archive)
    root = _root(archive)
    if f"{root}constants.pkl" in archive.entries or any(name.startswith(f"{root}code/") for name in archive.entries):
        return scripted_modules(path, top)
    return _checkpoint(path, top, unbuilt, "pytorch")


def unpickled_zip(archive: Archive) -> tuple[Any, dict[str, int]]:
    """(the value in a PyTorch archive, the classes that were not built)"""
    root = _root(archive)
    told = bytes(archive.read(f"{root}byteorder")) if f"{root}byteorder" in archive.entries else b""
    order = ">" if told.strip() == b"big" else "<"
    storages: dict[str, Storage] = {}

    def storage(identity: Any) -> Storage:
        kind, key, count = _storage_id(identity)
        dtype = storage_dtype(kind)
        if key not in storages:
            places = (f"{root}data/{key}", f"{root}constants/{key}")
            entry = next((place for place in places if place in archive.entries), None)
            if entry is None:
                raise damaged(f"the archive lacks the numbers of storage {key!r}")
            held = archive.entries[entry].file_size
            if dtype in FORMATS and count * item_size(dtype) > held:
                raise damaged(f"storage {key!r} should hold {count:,} numbers, the archive has {held:,} bytes")
            storages[key] = Storage(key, dtype, count, lambda: archive.read(entry), order)
        return storages[key]

    reader = PickleReader(archive.read(f"{root}data.pkl"), builders=TENSOR_BUILDERS, persistent=storage)
    return reader.read(), reader.unbuilt


def read_stream(path: Path, file: FileMap) -> Checkpoint:
    """A legacy PyTorch stream, or a plain pickle of arrays."""
    data = file.view()
    first = PickleReader(data, builders=TENSOR_BUILDERS)
    value = first.read()
    if value != MAGIC_NUMBER or isinstance(value, bool):
        return _checkpoint(path, value, first.unbuilt, "pickle")
    position = first.stop
    machine: Any = None
    for _ in range(2):  # protocol version, description of the machine
        reader = PickleReader(data, position)
        machine, position = reader.read(), reader.stop
    order = ">" if isinstance(machine, dict) and machine.get("little_endian") is False else "<"
    places: dict[str, tuple[int, int]] = {}
    storages: dict[str, Storage] = {}

    def storage(identity: Any) -> Any:
        if isinstance(identity, tuple) and len(identity) == 4 and identity[0] == "module":
            return identity[1]  # a module's class, saved with its source
        kind, key, count = _storage_id(identity)
        if key not in storages:
            storages[key] = Storage(key, storage_dtype(kind), count, lambda: file.view(*places[key]), order)
        return _viewed(storages[key], identity)

    reader = PickleReader(data, position, builders=TENSOR_BUILDERS, persistent=storage)
    top, unbuilt = reader.read(), reader.unbuilt
    reader = PickleReader(data, reader.stop)
    keys, position = reader.read(), reader.stop
    for key in keys if isinstance(keys, list) else ():
        if str(key) not in storages:
            raise damaged(f"a storage {str(key)[:40]!r} that no tensor uses")
        kept = storages[str(key)]
        count = int.from_bytes(file.view(position, 8), "little" if order == "<" else "big", signed=True)
        if count != kept.count:
            raise damaged(f"storage {key!r} holds {count:,} numbers, not {kept.count:,}")
        length = count * item_size(kept.dtype)
        file.view(position + 8, length)
        places[str(key)] = (position + 8, length)
        position += 8 + length
    if set(places) != set(storages):
        raise damaged("some tensors have no numbers")
    return _checkpoint(path, top, unbuilt, "pytorch")


def _viewed(storage: Storage, identity: tuple[Any, ...]) -> Storage:
    """A storage that is a stretch of another (old files): ("storage", …, count, (key, offset, size))"""
    view = identity[5] if len(identity) > 5 else None
    if view is None:
        return storage
    key, offset, count = view
    if not isinstance(offset, int) or not isinstance(count, int) or not 0 <= offset <= offset + count <= storage.count:
        raise damaged("a storage that reaches beyond the one it is a part of")
    size = item_size(storage.dtype)
    stretch = slice(offset * size, (offset + count) * size)
    return replace(storage, key=f"{storage.key}/{key}", count=count, load=lambda: storage.load()[stretch])


def _storage_id(identity: Any) -> tuple[Any, str, int]:
    """(class, key, number of elements) of a persistent id ("storage", class, key, device, count, …)."""
    if not isinstance(identity, tuple) or len(identity) < 5 or identity[0] != "storage":
        raise damaged("a damaged pickle (an unknown kind of persistent id)")
    _, kind, key, _, count = identity[:5]
    if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count < 1 << 62:
        raise damaged("a storage of no possible size")
    return kind, str(key), count


def _root(archive: Archive) -> str:
    return next(name for name in archive.entries if name.split("/")[-1] == "data.pkl").removesuffix("data.pkl")


def _checkpoint(path: Path, top: Any, unbuilt: dict[str, int], form: str) -> Checkpoint:
    found = find_state_dicts(top)
    collector = Collector()
    for prefix, state_dict in found.state_dicts:
        add_torch_tensors(collector, state_dict, prefix)
    for where, count in found.optimizer.items():
        collector.skip(where, f"optimizer state ({count} tensors)")
    for where in found.others:
        collector.skip(where, "a second set of weights")
    if unbuilt:
        collector.notes.append(f"not built, only looked at: {', '.join(sorted(unbuilt)[:10])}")
    return collector.checkpoint(path, form, declared=found.declared, flatten_order="chw")


def add_torch_tensors(collector: Collector, state_dict: dict[str, Stored], prefix: str = "") -> None:
    """Puts a state dict's tensors into the collector: names without wrappers, kinds and axes told from them."""
    short = without_wrappers(list(state_dict))
    sources = {short[name]: name for name in state_dict}
    _add_named(collector, {short[name]: stored for name, stored in state_dict.items()}, sources, prefix)


def _add_named(
    collector: Collector,
    tensors: dict[str, Stored],
    sources: Mapping[str, str],
    prefix: str = "",
    transposed: Collection[str] = (),
) -> None:
    """Puts together what is held in parts, and tells kinds and axes from the names.

    sources:    name → that in the file
    transposed: layers whose kernels have their inputs first, whatever the sizes look like
    """
    whole = joined(tensors)
    shapes = {name: stored.shape for name, stored in whole.tensors.items()}
    roles = roles_of_names(shapes)
    if not any(kind == "kernel" for kind, _ in roles.values()):  # names of the author's own: W1, b1
        roles, notes = told_roles(shapes)
        collector.notes += notes
    for name, stored in whole.tensors.items():
        kind, axes = roles[name]
        if name.rpartition(".")[0] in transposed and axes.startswith("oi"):
            axes = "io" + axes[2:]
        source = sources[whole.sources.get(name, name)]
        collector.add(prefix + name, stored, source=prefix + source, kind=kind, axes=axes)
    used = [weight for weight, main in whole.sources.items() if whole.tensors[weight] is not tensors[main]]
    for part, weight in whole.parts.items():
        if weight not in used:
            reason = f"of the parametrization of {prefix}{weight}"
            collector.skip(prefix + sources[part], reason, tensors[part].shape)
    if used:
        first = ", ".join(prefix + weight for weight in used[:3]) + (", …" if used[3:] else "")
        collector.notes.append(f"held as length and direction, or with a mask, and put together: {first}")


def declared_arguments(path: Path) -> Any:
    """The plain values in a pickled settings object (`training_args.bin`); None where it cannot be read."""
    try:
        top, _ = unpickled_zip(Archive(FileMap(path), str(path)))
    except (CheckpointError, StopIteration):
        return None
    return plain(top)


def scripted_modules(path: Path, top: Any) -> Checkpoint:
    """The modules of a TorchScript archive as `pickles` leaves them; raises CheckpointError where there are none."""
    if not isinstance(top, Unbuilt):
        raise CheckpointError("a TorchScript archive without a module")
    collector = Collector()
    found: dict[str, Stored] = {}
    layers: list[Layer] = []
    for name, module in _modules(top):
        attributes = module.attributes
        own = {key: value for key, value in attributes.items() if isinstance(value, Stored)}
        prefix = f"{name}." if name else ""
        found.update({f"{prefix}{key}": value for key, value in own.items()})
        packed = [key for key, value in attributes.items() if _is_packed(value)]
        for key in packed:
            collector.skip(f"{prefix}{key}", "quantised (packed parameters)")
        inner = [key for key, value in attributes.items() if isinstance(value, Unbuilt) and key != _PARTS]
        if (own or packed or not inner) and _PARTS not in name.split("."):
            told = {key: plain(attributes[key]) for key in _ATTRIBUTES if key in attributes}
            layers.append(Layer(name, module.name.name.removeprefix("Parametrized"), attributes=told))
    transposed = {layer.name for layer in layers if layer.type.startswith("ConvTranspose")}
    _add_named(collector, found, {name: name for name in found}, transposed=transposed)
    held: dict[str, list[str]] = {layer.name: [] for layer in layers}
    for tensor in collector.tensors:
        held.setdefault(tensor.name.rpartition(".")[0], []).append(tensor.name)
    layers = [replace(layer, tensors=tuple(held[layer.name])) for layer in layers]
    collector.notes.append("TorchScript: the tensors alone, its code was not looked at")
    return collector.checkpoint(path, "torchscript", graph=Graph(tuple(layers), wired=False), flatten_order="chw")


def _is_packed(value: Any) -> bool:
    return isinstance(value, Unbuilt) and value.name.module.startswith("__torch__.torch.classes")


def _modules(top: Unbuilt) -> Iterator[tuple[str, Unbuilt]]:
    """(dotted name, module) of all modules, each once, in the order of their definition."""
    seen: set[int] = set()
    waiting: list[tuple[str, Unbuilt, int]] = [("", top, 0)]
    while waiting:
        name, module, depth = waiting.pop()
        if id(module) in seen:
            continue
        if depth > MAX_DEPTH:
            raise CheckpointError(f"modules more than {MAX_DEPTH} deep")
        seen.add(id(module))
        yield name, module
        inner = [
            (f"{name}.{key}" if name else key, value, depth + 1)
            for key, value in module.attributes.items()
            if isinstance(value, Unbuilt) and not _is_packed(value)
        ]
        waiting.extend(reversed(inner))
