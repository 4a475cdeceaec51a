"""Kind and axes of tensors from the names that PyTorch (and Keras-like) modules give them."""

from __future__ import annotations

import re
from collections.abc import Mapping

_EMBEDDING = re.compile(r"(^|[._])(\w*embed\w*|wte|wpe|pos_emb\w*|cls_token|tokens?)($|[._])", re.IGNORECASE)
_ACTIVATION = re.compile(r"(^|[._])p?re?lu\d*$|(^|[._])act\w*$", re.IGNORECASE)
_WEIGHT = re.compile(r"(^|_)weight($|_(ih|hh|orig|v)\w*$|_l\d)", re.IGNORECASE)
_BIAS = re.compile(r"(^|_)bias($|_(ih|hh|orig|k|v)\w*$|_l\d)", re.IGNORECASE)
_NAMED = {
    "gamma": "gamma",
    "beta": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
    "moving_mean": "moving_mean",
    "moving_variance": "moving_variance",
}
TORCH_AXES = {2: "oi", 3: "oiw", 4: "oihw", 5: "oidhw"}
KERAS_AXES = {2: "io", 3: "wio", 4: "hwio", 5: "dhwio"}


def roles_of_names(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[str, str]]:
    """Name → (kind, axes) of the tensors of PyTorch modules, by their names and shapes; "" for unknown axes.

    A 1-D `weight` scales (gamma) and the bias beside it shifts (beta); a `kernel` is Keras's or Flax's, whose output
    comes last. An embedding is `other`. A transposed convolution cannot be told from a plain one: its name only says
    `weight`, and its first axis is the input.
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
    return roles


def _is_norm(tensors: Mapping[str, tuple[int, ...]]) -> bool:
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
