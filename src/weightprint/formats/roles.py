"""Kind and axes of tensors, where the format does not say them: from names, sizes and order."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise

from weightprint.zoo.layout import NORM_KINDS

_EMBEDDING = re.compile(r"(^|[._])(\w*embed\w*|wte|wpe|pos_emb\w*|cls_token|tokens?)($|[._])", re.IGNORECASE)
_ACTIVATION = re.compile(r"(^|[._])p?re?lu\d*$|(^|[._])act\w*$", re.IGNORECASE)
_WEIGHT = re.compile(r"(^|_)weight($|_(ih|hh|orig|v)\w*$|_l\d)", re.IGNORECASE)
_BIAS = re.compile(r"(^|_)bias($|_(ih|hh|orig|k|v)\w*$|_l\d)", re.IGNORECASE)
_NAMED = {**{kind: kind for kind in NORM_KINDS}, "running_mean": "moving_mean", "running_var": "moving_variance"}

_KERNEL_WORD = re.compile(r"(?<![a-z])(weights?|kernels?|coefs?|w|theta)(?![a-z])", re.IGNORECASE)
_BIAS_WORD = re.compile(r"(?<![a-z])(bias(es)?|b|intercepts?)(?![a-z])", re.IGNORECASE)
_NORM_WORDS = (
    (re.compile(r"(?<![a-z])gamma(?![a-z])", re.IGNORECASE), "gamma"),
    (re.compile(r"(?<![a-z])beta(?![a-z])", re.IGNORECASE), "beta"),
    (re.compile(r"(running|moving)_?mean", re.IGNORECASE), "moving_mean"),
    (re.compile(r"(running|moving)_?var", re.IGNORECASE), "moving_variance"),
)

WINDOWS = {2: "", 3: "w", 4: "hw", 5: "dhw"}
"""Rank of a kernel → its axes beside output and input."""

TORCH_AXES = {rank: f"oi{window}" for rank, window in WINDOWS.items()}
KERAS_AXES = {rank: f"{window}io" for rank, window in WINDOWS.items()}
Shapes = Mapping[str, tuple[int, ...]]


def roles_of_names(shapes: Shapes) -> dict[str, tuple[str, str]]:
    """Name → (kind, axes) of the tensors of PyTorch modules, by their names and shapes; "" for unknown axes.

    A 1-D `weight` scales (gamma) and the bias beside it shifts (beta); a `kernel` is Keras's or Flax's, whose output
    comes last. An embedding is `other`. A transposed convolution, whose first axis is the input, is told from a plain
    one where its bias is as long as the second axis and not as the first.
    """
    modules: dict[str, dict[str, tuple[int, ...]]] = {}
    for name, shape in shapes.items():
        module, _, leaf = name.rpartition(".")
        modules.setdefault(module, {})[leaf] = shape
    scales = {module: _is_norm(tensors) for module, tensors in modules.items()}
    roles = {}
    for name, shape in shapes.items():
        module, _, leaf = name.rpartition(".")
        roles[name] = _role(module, leaf, shape, scales[module])
        bias = modules[module].get("bias", ())
        if leaf == "weight" and roles[name][1].startswith("oi") and len(shape) > 2 and bias == shape[1:2] != shape[:1]:
            roles[name] = "kernel", f"io{WINDOWS[len(shape)]}"
    return roles


def _is_norm(tensors: Shapes) -> bool:
    """Whether a module with these tensors scales and shifts, so that its bias is a beta."""
    if any(name in tensors for name in ("running_mean", "moving_mean", "gamma")):
        return True
    return any(len(shape) == 1 for name, shape in tensors.items() if _WEIGHT.search(name))


def _role(module: str, leaf: str, shape: tuple[int, ...], scales: bool) -> tuple[str, str]:
    rank = len(shape)
    if rank == 1 and leaf in _NAMED:
        return _NAMED[leaf], "o"
    is_patch_convolution = leaf == "weight" and rank in (3, 4, 5)
    if _EMBEDDING.search(f"{module}.{leaf}") and not _BIAS.search(leaf) and not is_patch_convolution:
        return "other", ""
    if leaf == "kernel" and rank in KERAS_AXES:
        return "kernel", KERAS_AXES[rank]
    if _WEIGHT.search(leaf):
        if rank in TORCH_AXES:
            return "kernel", TORCH_AXES[rank]
        if rank == 1 and not _ACTIVATION.search(module) and shape != (1,):
            return "gamma", "o"
        return "other", ""
    if _BIAS.search(leaf) and rank == 1:
        return ("beta" if scales else "bias"), "o"
    if leaf == "scale" and rank == 1:
        return "gamma", "o"
    return "other", ""


def told_roles(shapes: Shapes) -> tuple[dict[str, tuple[str, str]], list[str]]:
    """(name → (kind, axes), notes) of arrays in forward order.

    A kernel belongs to the bias whose name differs from its own in the word alone (W1, b1; fc.weight, fc.bias), or
    to the bias that comes right after it. The output is the axis as long as the bias; kernels for which both axes are
    follow the others. Without a bias the chain of sizes tells: what one layer puts out, the next one takes in. Where
    that says nothing either, (input, output) is taken, as networks written with numpy mostly have it, and a note says
    so.
    """
    roles: dict[str, tuple[str, str]] = {}
    for name, shape in shapes.items():
        norm = next((kind for pattern, kind in _NORM_WORDS if pattern.search(name)), None)
        if norm and vector_length(shape) is not None:
            roles[name] = (norm, vector_axes(shape))
        elif _BIAS_WORD.search(name) and vector_length(shape) is not None and not _KERNEL_WORD.search(name):
            roles[name] = ("bias", vector_axes(shape))
        elif len(shape) == 1 or len(shape) > 5 or not shape:
            roles[name] = ("other", "")
    kernels = [name for name in shapes if name not in roles]
    biases = _biases(kernels, shapes, roles)
    for name in biases.values():
        roles[name] = ("bias", vector_axes(shapes[name]))
    first = {
        name: _output_first(shapes[name], vector_length(shapes[biases[name]])) if name in biases else None
        for name in kernels
    }
    votes = [vote for vote in first.values() if vote is not None]
    notes: list[str] = []
    if votes:
        default = sum(votes) * 2 > len(votes)
    else:
        told = _chain([shapes[name] for name in kernels if len(shapes[name]) == 2])
        default = bool(told)
        if told is None and any(len(set(shapes[name])) > 1 for name in kernels):
            notes.append("which axis of its kernels is the output could not be told: (input, output) was taken")
    for name in kernels:
        vote = first[name]
        roles[name] = ("kernel", _kernel_axes(shapes[name], default if vote is None else vote))
    return {name: roles[name] for name in shapes}, notes


def vector_length(shape: tuple[int, ...]) -> int | None:
    """Length of a vector that may be stored with axes of one element; None for what is no vector."""
    long = [side for side in shape if side != 1]
    return None if len(long) > 1 or not shape else long[0] if long else 1


def vector_axes(shape: tuple[int, ...]) -> str:
    """Axes of a vector that may be stored with axes of one element: "o", "1o", "o1"."""
    output = next((axis for axis, side in enumerate(shape) if side != 1), len(shape) - 1)
    return "".join("o" if axis == output else "1" for axis in range(len(shape)))


def _biases(kernels: list[str], shapes: Shapes, roles: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    """Kernel → its bias, for those that have one."""
    named = {_BIAS_WORD.sub("*", name): name for name, (kind, _) in roles.items() if kind == "bias"}
    found = {name: named[_KERNEL_WORD.sub("*", name)] for name in kernels if _KERNEL_WORD.sub("*", name) in named}
    order, taken, open_ = list(shapes), set(found.values()), set(kernels) - set(found)
    for name, after in pairwise(order):
        free = after in roles and roles[after][0] in ("bias", "other") and after not in taken
        if name in open_ and free and vector_length(shapes[after]) in shapes[name]:
            found[name] = after
    return found


def _output_first(shape: tuple[int, ...], length: int | None) -> bool | None:
    """Whether the output is the first axis (or the last), by the bias's length; None where that does not tell."""
    if length is None or (shape[0] == length) == (shape[-1] == length):
        return None
    return shape[0] == length


def _chain(shapes: list[tuple[int, ...]]) -> bool | None:
    """Whether (output, input) or (input, output) makes one layer fit the next; None where both or neither do."""
    pairs = list(pairwise(shapes))
    output_first = all(a[0] == b[1] for a, b in pairs)
    output_last = all(a[1] == b[0] for a, b in pairs)
    return None if output_first == output_last else output_first


def _kernel_axes(shape: tuple[int, ...], output_first: bool) -> str:
    window = WINDOWS[len(shape)]
    if not output_first:
        return f"{window}io"
    if len(shape) == 4 and shape[1] == shape[2] != shape[3]:
        return f"o{window}i"
    return f"oi{window}"
