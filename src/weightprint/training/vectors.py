"""Between torch modules and weight vectors, for every network that knows the entries of its layout."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from weightprint.errors import ZooError


class LaidOut(Protocol):
    """A torch module with the entries of its layout, in forward order; each names its tensor under "source"."""

    @property
    def entries(self) -> list[dict[str, Any]]: ...

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]: ...

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]: ...


def tensors(network: LaidOut) -> list[Tensor]:
    """The network's tensors in the order of its layout."""
    named: dict[str, Tensor] = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    return [named[entry["source"]] for entry in network.entries]


def to_vector(network: LaidOut) -> Tensor:
    """The network's weights as one vector [P] in the order of its layout."""
    with torch.no_grad():
        return torch.cat([tensor.reshape(-1) for tensor in tensors(network)])


def load_vector(network: LaidOut, vector: Tensor | np.ndarray) -> None:
    """Copy a weight vector [P] into a network. Raises ZooError when the length does not fit."""
    values = torch.as_tensor(np.array(vector) if isinstance(vector, np.ndarray) else vector)
    parts = tensors(network)
    size = sum(tensor.numel() for tensor in parts)
    if values.shape != (size,):
        raise ZooError(f"a weight vector of this network has {size} entries, not shape {list(values.shape)}")
    with torch.no_grad():
        for tensor, stretch in zip(parts, values.split([tensor.numel() for tensor in parts]), strict=True):
            tensor.copy_(stretch.view(tensor.shape))


Filled = TypeVar("Filled", bound=nn.Module)


def filled(network: Filled, vector: Tensor | np.ndarray) -> Filled:
    """A network that was just made, with the weights of a vector [P], in eval mode."""
    for norm in network.modules():
        if isinstance(norm, nn.modules.batchnorm._BatchNorm):
            norm.reset_running_stats()
    load_vector(network, vector)  # type: ignore[arg-type]  # every network of ours is laid out
    return network.eval()
