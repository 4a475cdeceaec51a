"""Inspect a checkpoint file: facts first, then a verdict per property with its evidence."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from weightprint.errors import MetaError
from weightprint.features.layers import layers_of
from weightprint.files import StrPath
from weightprint.inspection.architecture import architecture
from weightprint.inspection.declared import declared_properties, disagreements
from weightprint.inspection.details import details_of
from weightprint.inspection.facts import FEW_WEIGHTS, facts
from weightprint.inspection.network import Network
from weightprint.inspection.shipped import Shipped, shipped
from weightprint.inspection.verdicts import CANNOT_SAY, Inspection, check_meta, unread, verdicts_by, verdicts_of
from weightprint.meta.estimator import MetaClassifier
from weightprint.meta.models import load_meta

NEARLY_ALL = 0.9
"""Share of a network's layers that must be as they were drawn for the whole to count as untrained."""

MOST_LAYERS = 2_000
"""Of a network with more layers the facts are told alone; the largest that people publish have about half as many."""

MOST_SKIPPED = 50
"""Tensors left out are listed up to this number."""


def inspect(
    path: StrPath, *, meta: MetaClassifier | StrPath | None = None, full: bool = False, details: bool = False
) -> Inspection:
    """What can be told of one checkpoint file: its architecture, facts, and a verdict on how it was trained.

        found = weightprint.inspect("lenet.pth")
        found.properties["optimizer_family"].verdict     # "adaptive", "sgd_like" or "cannot say"
        found.facts["initialization"]["state"]           # "at initialisation", "partly", "trained" or "unknown"
        found.to_json()                                  # what `weightprint inspect --json` prints

    path: a file of any format of `weightprint.formats`, a run file of a zoo (its last snapshot), or a folder of the
          Hugging Face hub
    meta: a meta-classifier of your own, or the folder where one was saved: its properties are added, or take the place
          of those of the same name
    full: facts look at every weight of large tensors, not at a sample
    details: histograms and spectra by layer and the filters of the first one, too (`weightprint.inspection.details`)

    Nothing in the file is ever run. Raises CheckpointError for what is no checkpoint, CorruptFile for a damaged run
    file, MetaError where the meta-classifier reads no weights or cannot be loaded.
    """
    own, by = (load_meta(meta), str(meta)) if isinstance(meta, (str, os.PathLike)) else (meta, "")
    if own is not None:
        check_meta(own)
    known = _shipped()
    # The matrices are small: more threads than one cost more than they save.
    with threadpool_limits(1, "blas"):
        network = Network.open(path)
        told = _facts(path, network, full)
        reason = _unreadable(network, told)
        if reason:
            properties = unread(known, reason)
        else:
            properties = verdicts_of(network, known, why=_untrained(network, told, known.properties))
        if own is not None:
            properties |= verdicts_by(network, own, by or own.model, reason=reason)
        drawn = None
        if details:
            start = told["initialization"]
            drawn = details_of(network.layout, network.read, start, format=network.checkpoint.format, full=full)
    answers = {name: verdict.verdict for name, verdict in properties.items()}
    return Inspection(
        str(path),
        architecture(network.layout),
        told,
        properties,
        tuple(disagreements(told["declared_properties"], answers, CANNOT_SAY)),
        drawn,
    )


def _shipped() -> Shipped:
    try:
        return shipped()
    except MetaError as error:
        raise MetaError(
            f"this installation holds no meta-classifier to inspect with: {error.message}",
            hint="install weightprint again, with its data files",
        ) from error


def _facts(path: StrPath, network: Network, full: bool) -> dict[str, Any]:
    checkpoint = network.checkpoint
    place = Path(path)
    dtypes = {tensor.name: tensor.dtype for tensor in checkpoint.tensors}
    return {
        "format": checkpoint.format,
        "bytes": place.stat().st_size if place.is_file() else None,
        **facts(network.layout, network.read, dtypes=dtypes, full=full),
        "skipped": [
            {"name": one.name, "reason": one.reason, "shape": list(one.shape)}
            for one in checkpoint.skipped[:MOST_SKIPPED]
        ],
        "notes": list(checkpoint.notes),
        "declared": dict(checkpoint.declared),
        "declared_properties": declared_properties(checkpoint.declared, checkpoint.graph),
    }


def _unreadable(network: Network, told: Mapping[str, Any]) -> str:
    """Why no meta-classifier can read a network; empty where one can."""
    if told["not_finite"]:
        names = list(told["not_finite"])
        more = f" and {len(names) - 1} more tensors" if len(names) > 1 else ""
        return f"weights of {names[0]}{more} are NaN or infinite: the training diverged, or the file is damaged"
    layers = sum(tensor.kind == "kernel" for tensor in network.layout)
    if layers > MOST_LAYERS:
        return f"it has {layers:,} layers with weights: of more than {MOST_LAYERS:,} the facts are told alone"
    return ""


def _untrained(network: Network, told: Mapping[str, Any], properties: tuple[str, ...]) -> dict[str, str]:
    """Property → why nothing can be said, where all or nearly all layers are as they were drawn."""
    large = sum(layer.kernel is not None and layer.kernel.size >= FEW_WEIGHTS for layer in layers_of(network.layout))
    start = told["initialization"]
    if start["state"] != "at initialisation" and not (large and len(start["untrained"]) >= NEARLY_ALL * large):
        return {}
    reason = "its weights are as they were drawn: it was not trained, or hardly"
    why = dict.fromkeys(properties, reason)
    if "initialization" in why and start["scheme"]:
        why["initialization"] = f"{reason}; by the facts they were drawn by {start['scheme']}"
    return why
