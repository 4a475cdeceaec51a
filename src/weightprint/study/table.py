"""What meta-classifiers read in every snapshot of a zoo, read once: what most experiments stand on."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from weightprint.errors import CorruptFile, MetaError
from weightprint.features.anatomy import anatomy
from weightprint.features.statistics import FEATURES, align, tensor_statistics, union_names
from weightprint.files import canonical_json, sha256_hex, write_atomic
from weightprint.meta.rows import places, reduced
from weightprint.meta.trees import Statistics
from weightprint.zoo import Run, Zoo

READERS: Mapping[str, Callable[..., Statistics]] = {"trees": tensor_statistics, "layer_trees": anatomy}
"""What a meta-classifier reads of a run's weights [T, P] and their layout."""


@dataclass(frozen=True)
class FeatureTable:
    """What one meta-classifier reads in N runs of one zoo.

    features:     float64 [N, T, F]; NaN where a network has no such tensor, and for snapshots that a run does not have
    names:        of the F columns: tensor and statistic, "conv1/kernel.q25"
    tensors:      tensor → its kind and part, in the order of their first appearance
    runs:         per run its number, identity, properties, measurements per snapshot, and whether it converged
    seed:         of the recipe; None where there is none, as in imported zoos
    """

    features: npt.NDArray[np.float64]
    names: tuple[str, ...]
    tensors: dict[str, dict[str, str]]
    runs: list[dict[str, Any]]
    seed: int | None = None

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


def read_table(
    zoo: Zoo,
    folder: Path,
    model: str = "trees",
    *,
    without: tuple[str, ...] = (),
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """The file in `folder` with what `model` reads in a zoo's complete runs, made now unless it is there.

    without: kinds of tensors that are left out, names of `weightprint.meta.rows.WITHOUT`
    workers: processes

    Runs that cannot be read are left out with a warning. Raises MetaError when no run is left.
    """
    from safetensors.numpy import save

    path = folder / f"{'-'.join((model, *without))}-{fingerprint(zoo)[:16]}.safetensors"
    if path.exists():
        return path
    complete = zoo.select(status="complete")
    taken, runs = [], []
    tensors: dict[str, dict[str, str]] = {}
    read = partial(_read_run, model=model, without=without)
    for done, (run, found) in enumerate(zip(complete, _each(read, list(complete), workers), strict=True), start=1):
        if isinstance(found, str):
            warnings.warn(f"run {run.number} is left out: {found}", stacklevel=2)
            continue
        taken.append(found)
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
    facts = {"names": list(names), "tensors": tensors, "runs": runs, "seed": zoo.recipe.get("seed")}
    # JSON travels as bytes: safetensors keeps text only in metadata, whose size it limits.
    encoded = np.frombuffer(canonical_json(facts).encode(), np.uint8)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(path, save({"features": features, "facts": encoded.copy()}))
    return path


def _read_run(run: Run, *, model: str, without: tuple[str, ...]) -> Statistics | str:
    """What the model reads in all snapshots of a run; the reason when it cannot be read."""
    try:
        weights = run.weights
    except CorruptFile as error:
        return error.message
    if without:
        weights = np.take(weights, places(run.layout, without), axis=1)
    return READERS[model](weights, reduced(run.layout, without))


def _each(work: Callable[[Run], Any], runs: Sequence[Run], workers: int) -> Iterator[Any]:
    """What `work` makes of each run, in order."""
    if workers <= 1:
        return map(work, runs)
    from joblib import Parallel, delayed

    return iter(Parallel(n_jobs=workers, return_as="generator")(delayed(work)(run) for run in runs))


@lru_cache(maxsize=8)
def load_table(path: str) -> FeatureTable:
    """The table that `read_table` wrote; kept, so that a process reads it once."""
    from safetensors.numpy import load

    arrays = load(Path(path).read_bytes())
    facts = json.loads(arrays["facts"].tobytes())
    return FeatureTable(arrays["features"], tuple(facts["names"]), facts["tensors"], facts["runs"], facts["seed"])
