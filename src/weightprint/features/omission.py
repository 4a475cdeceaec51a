"""Tensors that a meta-classifier can be kept from reading, since they name a choice all too easily."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from weightprint.errors import MetaError, did_you_mean
from weightprint.zoo.layout import NORM_KINDS, Layout, Tensor

WITHOUT = ("moving_statistics", "biases_before_norm")
"""What can be left out (protocol: section 6).

moving_statistics:  moving mean and moving variance of every batch norm
biases_before_norm: biases of convolutions that are directly followed by batch norm. The norm takes any constant off
                    again, so that their gradient is rounding, and their size alone tells the optimizer's rule. Biases
                    of fully connected layers stay: an activation lies between them and their norm.
"""


def check_without(names: Any) -> None:
    """Raise MetaError unless `names` is a sequence of names of WITHOUT, each once."""
    if not isinstance(names, (tuple, list)):
        raise MetaError(f"without must be a sequence of names, not {names!r}", hint=f"such as ({WITHOUT[0]!r},)")
    for name in names:
        if name not in WITHOUT:
            raise MetaError(f"without has an unknown name {name!r}", hint=did_you_mean(name, WITHOUT))
    if len(set(names)) < len(names):
        raise MetaError(f"without names something twice: {', '.join(names)}")


@lru_cache(maxsize=1024)
def reduced(layout: Layout, without: tuple[str, ...]) -> Layout:
    """The layout of what is left of a weight vector without the named tensors, moved together.

    A tensor tied to one that is left out is tied to none.
    """
    if not without:
        return layout
    tensors: list[Tensor] = []
    kept = _kept(layout, without)
    names = {tensor.name for tensor in kept}
    for tensor in kept:
        tied_to = tensor.tied_to if tensor.tied_to in names else None
        tensors.append(replace(tensor, offset=tensors[-1].stop if tensors else 0, tied_to=tied_to))
    return Layout(tensors)


@lru_cache(maxsize=1024)
def places(layout: Layout, without: tuple[str, ...]) -> npt.NDArray[np.int64]:
    """Where in the whole vector each weight of the reduced one is: int64 [P]."""
    stretches = [np.arange(tensor.offset, tensor.stop) for tensor in _kept(layout, without)]
    return np.concatenate(stretches) if stretches else np.zeros(0, np.int64)


def _kept(layout: Layout, without: tuple[str, ...]) -> list[Tensor]:
    left_out: set[str] = set()
    if "moving_statistics" in without:
        left_out.update(tensor.name for tensor in layout if tensor.kind in ("moving_mean", "moving_variance"))
    if "biases_before_norm" in without:
        left_out.update(
            tensor.name
            for tensor, following in pairwise(layout)
            if tensor.kind == "bias" and tensor.part == "conv" and following.kind in NORM_KINDS
        )
    return [tensor for tensor in layout if tensor.name not in left_out]
