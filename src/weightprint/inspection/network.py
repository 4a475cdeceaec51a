"""A checkpoint file as a network: what meta-classifiers and facts read of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from weightprint.errors import CheckpointError
from weightprint.features.anatomy import anatomy_of
from weightprint.features.table import Table
from weightprint.files import StrPath
from weightprint.formats.checkpoints import open_checkpoint
from weightprint.formats.layout import layout_of, tensor_reader, weight_vector
from weightprint.formats.named_tensors import Checkpoint, NamedTensor, Stored
from weightprint.zoo import runfile
from weightprint.zoo.layout import Layout, Tensor
from weightprint.zoo.runfile import METADATA_KEY

RUN_TENSORS = {"weights", "curve"}
"""What a run file of a zoo holds."""


@dataclass(frozen=True, eq=False)
class Network:
    """One checkpoint, opened; tensors are read when asked for.

    It is what meta-classifiers read (`weightprint.zoo.readable.Readable`): a single snapshot of a run of which nothing
    is known.
    """

    checkpoint: Checkpoint
    layout: Layout

    @classmethod
    def open(cls, path: StrPath) -> Network:
        """A checkpoint file; of a run file of a zoo the last snapshot, with the layout that stands in it.

        Raises CheckpointError for what is no checkpoint (see `weightprint.formats`), CorruptFile for a damaged run
        file.
        """
        checkpoint = open_checkpoint(path)
        if METADATA_KEY in checkpoint.declared and {tensor.name for tensor in checkpoint.tensors} <= RUN_TENSORS:
            return cls(*_last_snapshot(Path(path)))
        layout = layout_of(checkpoint.tensors, graph=checkpoint.graph, flatten_order=checkpoint.flatten_order)
        return cls(checkpoint, layout)

    @property
    def name(self) -> str:
        return self.checkpoint.path.name

    @property
    def identity(self) -> str:
        return f"file {self.checkpoint.path.resolve()}"

    @property
    def kin(self) -> frozenset[str]:
        return frozenset({self.identity})

    status = "complete"
    converged = checksum = cache = None
    properties: ClassVar[Mapping[str, Any]] = {}
    measurements: ClassVar[Sequence[Mapping[str, Any]]] = ({},)

    @property
    def weights(self) -> npt.NDArray[np.float32]:
        """All weights at once, float32 [1, P]."""
        return weight_vector(self.checkpoint.tensors, self.layout)

    @cached_property
    def read(self) -> Callable[[Tensor], npt.NDArray[np.float32]]:
        """A tensor of the layout → its values, float32 [1, *shape]."""
        return tensor_reader(self.checkpoint.tensors)

    @cached_property
    def anatomy(self) -> Table:
        """One row: float32 [1, F]. Raises CheckpointError when a weight is NaN or infinite."""

        def read(tensor: Tensor) -> npt.NDArray[np.float32]:
            values = self.read(tensor)
            if not np.isfinite(values).all():
                raise CheckpointError(
                    f"{self.checkpoint.path}: {tensor.source} holds NaN or infinite weights",
                    hint="the training diverged or the file is damaged: nothing can be told from it",
                )
            return values

        rows, names = anatomy_of(read, 1, self.layout)
        return Table(rows.astype(np.float32), names)


def _last_snapshot(path: Path) -> tuple[Checkpoint, Layout]:
    """The last snapshot of a run file as a checkpoint, and its layout. What is declared is all that is known of it."""
    record = runfile.read(path)
    if not len(record.weights):
        raise CheckpointError(f"{path}: run {record.number} holds no weights: {record.reason or record.status}")
    last = record.weights[-1]
    layout = Layout([replace(tensor, source=tensor.name) for tensor in record.layout])

    def named(tensor: Tensor) -> NamedTensor:
        stored = Stored(tensor.shape, "float32", lambda: last[tensor.offset : tensor.stop].reshape(tensor.shape))
        return NamedTensor(tensor.name, tensor.name, tensor.shape, "float32", tensor.kind, tensor.axes, stored)

    declared = {**record.properties, "measurements": record.measurements[-1]}
    notes = (f"run {record.number} of a zoo: the last of {len(record.weights)} snapshots is read",)
    return Checkpoint(path, "weightprint_run", tuple(map(named, layout)), declared, notes=notes), layout
