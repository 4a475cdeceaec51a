"""Named tensors of any checkpoint as a layout: which are layers, in what order, what each reads.

    checkpoint = open_checkpoint("vgg.pth")
    layout = layout_of(checkpoint.tensors, graph=checkpoint.graph, flatten_order=checkpoint.flatten_order)
    table, names = anatomy_of(tensor_reader(checkpoint.tensors), 1, layout)

Names, shapes and, where the file tells it, the wiring decide; no value is read. Forward order is the file's, unless
sizes say that layers follow one another better when sorted by name.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from weightprint.formats.named_tensors import Graph, NamedTensor
from weightprint.zoo.layout import KINDS, NORM_KINDS, Layout, Tensor, map_of

_WORDS = re.compile(
    r"(?<![a-z])(weights?|kernels?|bias(es)?|gamma|beta|scale|running_mean|running_var|moving_mean|moving_variance|w|b)"
    r"(?![a-z])",
    re.IGNORECASE,
)
_ATTENTION = re.compile(r"(^|[./_])(in_proj|out_proj|[qkv]_proj|qkv|query|key|value|c_attn|\w*attn|\w*attention)", re.I)
_RECURRENT = re.compile(r"(^|[./_])(bi)?(lstm|gru|rnn)|weight_(ih|hh)_l\d|recurrent_kernel", re.I)
_POSITION = re.compile(r"(^|[./_])(pos(ition|itional)?_?(emb\w*|enc\w*)|position\w*|wpe)", re.I)
_TOKEN = re.compile(r"token(?!_emb)(?!.*embeddings?\.weight)", re.I)
_EMBEDDING = re.compile(r"(^|[./_])(\w*emb(ed\w*)?|wte)($|[./_])", re.I)
_HEAD = re.compile(
    r"(^|[./])(classifier|clf|head|heads|logits|output|out|lm_head|fc\d*|final\w*|predict\w*)([./]|$)", re.I
)
_STEM = re.compile(r"(^|[./])(stem|conv1|conv_1|\w*emb\w*|features?)([./]|$)", re.I)
_SHORTCUT = re.compile(r"(^|[./])(downsample|shortcut|skip\w*|identity\w*|residual\w*)([./]|$)", re.I)

_MOST_SOURCES = 64
"""A layer that reads from more others has no wiring worth keeping."""


@dataclass
class _Module:
    """Tensors that belong together: a kernel and its vectors, or a norm.

    name:  the layer's in the layout
    reads: names of layers; None where not known
    """

    name: str
    kernel: NamedTensor | None = None
    vectors: dict[str, NamedTensor] = field(default_factory=dict)
    reads: tuple[str, ...] | None = None
    groups: int = 1

    @property
    def units(self) -> int:
        if self.kernel is not None:
            return self.kernel.canonical_shape[0]
        return max((tensor.canonical_shape[0] for tensor in self.vectors.values()), default=0)

    @property
    def is_norm(self) -> bool:
        return self.kernel is None and any(kind in self.vectors for kind in NORM_KINDS)


def layout_of(
    tensors: Iterable[NamedTensor], *, graph: Graph | None = None, flatten_order: str | None = None
) -> Layout:
    """The layout of a checkpoint's tensors in canonical order; `source` of each is the named tensor's name.

    graph:         the layers and their wiring, where the file tells them
    flatten_order: "chw" or "hwc"; None is taken as "chw", PyTorch's

    Of a layer come kernel, bias, beta, gamma, moving mean, moving variance. A norm belongs to the layer it follows
    (by wiring, by a number in both names, or as the next of that width), else it stands alone. What is neither kernel
    nor vector is `other`.
    """
    tensors = tuple(tensors)
    modules, others = _modules(tensors)
    wired = graph is not None and graph.wired
    if not wired:
        modules = _in_order(modules)
    sources = _sources(graph, modules) if graph is not None and wired else {}
    modules = _with_norms(modules, sources, wired)
    if wired:
        for module in modules:
            module.reads = sources.get(module.name, module.reads)
    else:
        _guess_reads(modules, bool([t for t in others if _role_of(t) == "embedding"]))
    _find_groups(modules, graph)
    return _layout(modules, others, flatten_order or "chw")


def tensor_reader(tensors: Iterable[NamedTensor]) -> Callable[[Tensor], npt.NDArray[np.float32]]:
    """Reads a tensor of the layout as the only snapshot there is: float32 [1, *shape], not before it is asked for."""
    by_name = {tensor.name: tensor for tensor in tensors}
    return lambda tensor: by_name[tensor.source].canonical().reshape(1, *tensor.shape)


def weight_vector(tensors: Iterable[NamedTensor], layout: Layout) -> npt.NDArray[np.float32]:
    """All weights as one snapshot: float32 [1, P]."""
    read = tensor_reader(tensors)
    return np.concatenate([read(tensor).reshape(1, -1) for tensor in layout], axis=1)


def _modules(tensors: Sequence[NamedTensor]) -> tuple[list[_Module], list[NamedTensor]]:
    """Kernels with their own vectors, and vectors that stand by themselves, in the file's order; the other tensors."""
    kernels: dict[str, list[NamedTensor]] = {}
    for tensor in tensors:
        if _is_kernel(tensor):
            kernels.setdefault(_parent(tensor.name), []).append(tensor)
    modules: dict[str, _Module] = {}
    of_kernel: dict[str, _Module] = {}
    others: list[NamedTensor] = []
    waiting: list[NamedTensor] = []
    for tensor in tensors:
        if _is_kernel(tensor):
            parent = _parent(tensor.name)
            name = parent if parent and len(kernels[parent]) == 1 else _whole(parent, _rest(tensor.name))
            name = _free(name or tensor.name, modules)
            modules[name] = of_kernel[tensor.name] = _Module(name, tensor)
        elif tensor.kind in KINDS[1:6] and len(tensor.canonical_shape) == 1:
            waiting.append(tensor)
            modules.setdefault(f"\0{_parent(tensor.name)}", _Module(""))  # keeps its place in the order
        else:
            others.append(tensor)
    last: _Module | None = None
    before: dict[str, _Module | None] = {}
    for tensor in tensors:
        last = of_kernel.get(tensor.name, last)
        before[tensor.name] = last
    for tensor in waiting:
        length, parent = tensor.canonical_shape[0], _parent(tensor.name)
        beside = [of_kernel[kernel.name] for kernel in kernels.get(parent, ())]
        if not parent:
            beside = [module for module in beside if _rest(module.name) == _rest(tensor.name)]
        fitting = [m for m in beside if m.units == length and tensor.kind not in m.vectors]
        same_word = [m for m in fitting if m.kernel and _rest(m.kernel.name) == _rest(tensor.name)]
        owner = next(iter(same_word or fitting[-1:]), None)
        follows = before[tensor.name]
        if owner is None and tensor.kind == "bias" and follows and follows.units == length:
            owner = follows if "bias" not in follows.vectors else None
        if owner is None and tensor.kind == "bias":
            others.append(tensor)
        elif owner is None:
            alone = modules[f"\0{parent}"]
            alone.name = alone.name or parent or tensor.name
            alone.vectors.setdefault(tensor.kind, tensor)
        else:
            owner.vectors[tensor.kind] = tensor
    return [m for m in modules.values() if m.kernel is not None or m.vectors], others


def _is_kernel(tensor: NamedTensor) -> bool:
    return tensor.kind == "kernel" and tensor.canonical_axes.startswith("oi")


def _parent(name: str) -> str:
    """The module of a tensor: its name up to the last dot or stroke."""
    return name[: max(name.rfind("."), name.rfind("/"), 0)]


def _rest(name: str) -> str:
    """What a tensor's name says beside the word for kernel or bias: "weight_ih_l0" → "ih_l0", "W1" → "1"."""
    leaf = name[max(name.rfind("."), name.rfind("/")) + 1 :]
    return re.sub(r"_+", "_", _WORDS.sub("", leaf)).strip("_")


def _whole(parent: str, rest: str) -> str:
    return f"{parent}.{rest}" if parent and rest else parent or rest


def _free(name: str, taken: Mapping[str, object]) -> str:
    number = 2
    found = name
    while found in taken:
        found, number = f"{name}_{number}", number + 1
    return found


def _in_order(modules: list[_Module]) -> list[_Module]:
    """The file's order, or that of the names with stems first and heads last where its layers fit better."""

    def key(module: _Module) -> tuple:
        place = 0 if _STEM.search(module.name) else 2 if _HEAD.search(module.name) else 1
        return place, [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", module.name)]

    by_name = sorted(modules, key=key)
    return by_name if _fit(by_name) > _fit(modules) else modules


def _fit(modules: list[_Module]) -> int:
    """How many layers could read the layer before them, and whether the first reads the input."""
    layers = [m.kernel.canonical_shape for m in modules if m.kernel is not None]
    found = sum(
        after[1] == before[0] or after[1] == 1 or (len(before) > 2 and len(after) == 2 and after[1] % before[0] == 0)
        for before, after in itertools.pairwise(layers)
    )
    # A convolution after a fully connected layer is rare in forward order.
    return found - sum(len(b) == 2 and len(a) > 2 for b, a in itertools.pairwise(layers))


def _sources(graph: Graph, modules: list[_Module]) -> dict[str, tuple[str, ...]]:
    """Of each module in a graph, the layers with kernels that it reads from, whatever lies between."""
    by_tensor = {t.name: m for m in modules for t in (m.kernel, *m.vectors.values()) if t is not None}
    known = {layer.name for layer in graph.layers}
    layers = {module.name for module in modules if module.kernel is not None}
    puts_out: dict[str, tuple[str, ...]] = {}
    found: dict[str, tuple[str, ...]] = {}
    for layer in graph.layers:
        reads = tuple(dict.fromkeys(name for source in layer.inputs for name in puts_out.get(source, ())))
        if len(reads) > _MOST_SOURCES or any(source not in known for source in layer.inputs):
            reads = ()
        own = list(dict.fromkeys(by_tensor[name].name for name in layer.tensors if name in by_tensor))
        for name in own:
            found.setdefault(name, reads)
        with_kernel = [name for name in own if name in layers]
        puts_out[layer.name] = (with_kernel[-1],) if with_kernel else reads
    return found


def _with_norms(modules: list[_Module], sources: Mapping[str, tuple[str, ...]], wired: bool) -> list[_Module]:
    """The same, norms joined to the layer they follow."""
    by_name = {module.name: module for module in modules}
    attends = any(m.kernel is not None and _ATTENTION.search(m.kernel.name) for m in modules)
    kept: list[_Module] = []
    before: _Module | None = None
    siblings: dict[tuple[str, str], list[_Module]] = {}
    for module in modules:
        if module.kernel is not None:
            siblings.setdefault((_parent(module.name), _digits(module.name)), []).append(module)
    for module in modules:
        if not module.is_norm:
            kept.append(module)
            before = module if module.kernel is not None else before
            continue
        owner: _Module | None = None
        if wired:
            reads = sources.get(module.name, ())
            owner = by_name.get(reads[0]) if len(reads) == 1 else None
        elif not attends or "moving_mean" in module.vectors:
            named = siblings.get((_parent(module.name), _digits(module.name)), []) if _digits(module.name) else []
            named = [m for m in named if _takes(m, module)]
            owner = named[0] if len(named) == 1 else before
        if owner is not None and _takes(owner, module):
            owner.vectors |= module.vectors
        else:
            kept.append(module)
    return kept


def _digits(name: str) -> str:
    return "".join(re.findall(r"\d+$", name))


def _takes(layer: _Module, norm: _Module) -> bool:
    return layer.kernel is not None and layer.units == norm.units and not set(layer.vectors) & set(norm.vectors)


def _guess_reads(modules: list[_Module], embedded: bool) -> None:
    """Without wiring: the first layer reads the input, a shortcut what its block reads, the next layer both."""
    layers = [module for module in modules if module.kernel is not None]
    if layers:
        layers[0].reads = ("embedding",) if embedded else ()
    begins: dict[str, int] = {}  # of each block, its first layer
    for i, layer in enumerate(layers):
        if mark := _SHORTCUT.search(layer.name):
            first = begins.get(layer.name[: mark.start()])
            if first is None:
                continue
            before = layers[first]
            layer.reads = before.reads if before.reads is not None else (layers[first - 1].name,)
            if i + 1 < len(layers) and not _SHORTCUT.search(layers[i + 1].name):
                layers[i + 1].reads = (layers[i - 1].name, layer.name)
        for dot in re.finditer(r"[./]", layer.name):
            begins.setdefault(layer.name[: dot.start()], i)


def _find_groups(modules: list[_Module], graph: Graph | None) -> None:
    """Groups of convolutions: as the graph says, or by the units of the layer before."""
    told: dict[str, int] = {}
    for node in graph.layers if graph is not None else ():
        groups = node.attributes.get("group", node.attributes.get("groups"))
        if isinstance(groups, int) and not isinstance(groups, bool) and groups > 1:
            told |= dict.fromkeys(node.tensors, groups)
    units = {module.name: module.units for module in modules if module.kernel is not None}
    before = 0
    for module in modules:
        if module.kernel is None:
            continue
        shape = module.kernel.canonical_shape
        sources = [units[name] for name in module.reads or () if name in units]
        channels = sources[0] if sources else before if module.reads is None else 0
        groups = told.get(module.kernel.name, 1)
        if "g" in module.kernel.axes:
            groups = shape[0]
        elif groups == 1 and len(shape) > 2 and channels > shape[1] > 0 and channels % shape[1] == 0:
            groups = channels // shape[1]
        module.groups = groups if shape[0] and shape[0] % groups == 0 else 1
        before = module.units


def _layout(modules: list[_Module], others: list[NamedTensor], order: str) -> Layout:
    tensors: list[Tensor] = []
    named: dict[str, str] = {}
    taken: dict[str, None] = {}
    units: dict[str, int] = {}
    previous: _Module | None = None

    def add(tensor: NamedTensor, name: str, kind: str, part: str) -> Tensor:
        name = _free(name, taken)
        taken[name] = None
        offset = tensors[-1].stop if tensors else 0
        axes = tensor.canonical_axes or "x" * len(tensor.canonical_shape)
        tensors.append(Tensor(name, kind, part, tensor.canonical_shape, offset, tensor.name, axes, tensor.tied_to))
        named[tensor.name] = name
        return tensors[-1]

    convs = {m.name for m in modules if m.kernel is not None and len(m.kernel.canonical_shape) > 2}
    for module in modules:
        role = _role_of(module.kernel) if module.kernel is not None else None
        part = "conv" if module.name in convs else "other" if role == "recurrent" or module.is_norm else "fc"
        if module.kernel is not None:
            entry = add(module.kernel, f"{module.name}/kernel", "kernel", part)
            entry = replace(entry, groups=module.groups, reads=module.reads, role=role)
            sources = [previous.name] if module.reads is None and previous else module.reads or ()
            source = next((name for name in reversed(sources) if name in units), None)
            if len(entry.shape) == 2 and role is None and (source in convs or not sources):
                entry = replace(entry, flatten=map_of(entry.shape[1], units[source] if source else None, order))
            tensors[-1] = entry
            units[module.name], previous = module.units, module
        for kind in ("bias", *NORM_KINDS):
            if kind in module.vectors:
                add(module.vectors[kind], f"{module.name}/{kind}", kind, part)
    for tensor in others:
        entry = add(tensor, tensor.name, "other", "other")
        tensors[-1] = replace(entry, role=_role_of(tensor))
    return Layout([replace(t, tied_to=named[t.tied_to]) if t.tied_to else t for t in tensors])


def _role_of(tensor: NamedTensor) -> str | None:
    """The role of a tensor by its name: of kernels attention or recurrent, of others position, token or embedding."""
    if _is_kernel(tensor):
        return (
            "recurrent" if _RECURRENT.search(tensor.name) else "attention" if _ATTENTION.search(tensor.name) else None
        )
    for role, pattern in (("position", _POSITION), ("token", _TOKEN), ("embedding", _EMBEDDING)):
        if pattern.search(tensor.name):
            return role
    return None
