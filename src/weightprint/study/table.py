"""The statistics of every tensor of every snapshot of a zoo, read once: what most experiments stand on."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from weightprint.errors import CorruptFile, MetaError
from weightprint.files import canonical_json, sha256_hex, write_atomic
from weightprint.statistics import FEATURES, align, tensor_statistics, union_names
from weightprint.zoo import Zoo


@dataclass(frozen=True)
class FeatureTable:
    """Statistics of N runs of one zoo.

    features:     float64 [N, T, F]; NaN where a network has no such tensor, and for snapshots that a run does not have
    names:        of the F columns: tensor and statistic, "conv1/kernel.q25"
    tensors:      tensor → its kind and part, in the order of their first appearance
    runs:         per run its number, identity, properties, measurements per snapshot, and whether it converged
    """

    features: npt.NDArray[np.float64]
    names: tuple[str, ...]
    tensors: dict[str, dict[str, str]]
    runs: list[dict[str, Any]]

    @property
    def snapshots(self) -> int:
        return self.features.shape[1]

    def columns(self, tensors: tuple[str, ...]) -> npt.NDArray[np.bool_]:
        """Which columns belong to these tensors: bool [F]."""
        return np.isin([tensor_of(name) for name in self.names], tensors)


def tensor_of(name: str) -> str:
    """The tensor of a column: "conv1/kernel" of "conv1/kernel.d.q25"."""
    feature = max((f for f in FEATURES if name.endswith("." + f)), key=len)
    return name[: -len(feature) - 1]


def fingerprint(zoo: Zoo) -> str:
    """SHA-256 over the identities and statuses of the runs: other runs, another fingerprint."""
    rows = zoo.index.select("number", "identity", "status").rows()
    return sha256_hex(canonical_json([list(row) for row in rows]).encode())


def read_table(zoo: Zoo, folder: Path, *, progress: Callable[[int, int], None] | None = None) -> Path:
    """The file in `folder` with the table of a zoo's complete runs, made now unless it is there.

    Runs that cannot be read are left out with a warning. Raises MetaError when no run is left.
    """
    from safetensors.numpy import save

    path = folder / f"features-{fingerprint(zoo)[:16]}.safetensors"
    if path.exists():
        return path
    complete = zoo.select(status="complete")
    taken, runs = [], []
    tensors: dict[str, dict[str, str]] = {}
    for done, run in enumerate(complete, start=1):
        try:
            taken.append(tensor_statistics(run.weights, run.layout))
        except CorruptFile as error:
            warnings.warn(f"run {run.number} is left out: {error}", stacklevel=2)
            continue
        tensors.update({t.name: {"kind": t.kind, "part": t.part} for t in run.layout if t.size})
        runs.append(
            {
                "number": run.number,
                "identity": run.identity,
                "properties": run.properties,
                "measurements": run.measurements,
                "converged": run.converged,
                "length": run.layout.size,
            }
        )
        if progress is not None:
            progress(done, len(complete))
    if not runs:
        raise MetaError("the zoo has no complete run to study")
    names = union_names(own for _, own in taken)
    most = max(len(features) for features, _ in taken)
    features = np.full((len(runs), most, len(names)), np.nan)
    for row, (own, own_names) in zip(features, taken, strict=True):
        row[: len(own)] = align(own, own_names, names)
    facts = {"names": list(names), "tensors": tensors, "runs": runs}
    # JSON travels as bytes: safetensors keeps text only in metadata, whose size it limits.
    encoded = np.frombuffer(canonical_json(facts).encode(), np.uint8)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(path, save({"features": features, "facts": encoded.copy()}))
    return path


@lru_cache(maxsize=4)
def load_table(path: str) -> FeatureTable:
    """The table that `read_table` wrote; kept, so that a process reads it once."""
    from safetensors.numpy import load

    arrays = load(Path(path).read_bytes())
    facts = json.loads(arrays["facts"].tobytes())
    return FeatureTable(arrays["features"], tuple(facts["names"]), facts["tensors"], facts["runs"])
