"""The command `fit`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from weightprint.cli.terminal import Json, ZooFolder, names_of, print_document, slice_length_of, snapshots_of

Property = Annotated[str, Parameter(name="--property", help="What to predict: optimizer, dataset, test_accuracy, …")]


def fit(
    zoo: ZooFolder,
    meta: Path,
    /,
    *,
    property_: Property,
    model: str,
    part: str = "all",
    slice_length: str | None = None,
    snapshots: str = "later-half",
    without: str = "",
    converged: Literal["on", "off"] = "on",
    split_seed: int = 0,
    max_seconds: float | None = None,
    device: str = "cpu",
    together: str = "",
    json: Json = False,
) -> None:
    """Fit a meta-classifier on the training runs of a zoo; its test runs are never seen.

    Example: weightprint fit zoo optimizer.meta --property optimizer --model layer_trees

    Parameters
    ----------
    meta
        Folder to write the meta-classifier to.
    model
        By its name: layer_trees, trees, svm, slice_trees, dmc, or a baseline that reads no weights: majority, shapes,
        fields.
    part
        Which weights to read: all, conv or fc.
    slice_length
        Consecutive weights per slice, or all for whole vectors. Without it: all for models that read whole vectors
        (trees, layer_trees, baselines), 5000 for the others.
    snapshots
        Which snapshots to learn from: later-half of each run's, A-B or all.
    without
        Left out of what is read: moving_statistics, biases_before_norm, or both with a comma between them.
    converged
        on: only runs whose test accuracy lies above chance.
    split_seed
        Which of the splits into training and test runs.
    max_seconds
        Cap on the training of each property, in seconds of processor time for every thread.
    device
        Where to train: cpu, cuda, …
    together
        Further properties with commas between them: all are learnt from one reading.
    """
    from weightprint.meta import build
    from weightprint.zoo import Zoo

    started = time.perf_counter()
    settings: dict[str, Any] = {} if slice_length is None else {"slice_length": slice_length_of(slice_length)}
    if model == "dmc":  # an interrupted fit goes on
        settings["checkpoint"] = str(meta) + ".partial"
    fitted = build(
        model,
        target=property_,
        part=part,
        snapshots=snapshots_of(snapshots),
        without=tuple(names_of(without)),
        converged=converged == "on",
        max_seconds=max_seconds,
        device=device,
        together=tuple(names_of(together)),
        **settings,
    )
    train, _ = Zoo(zoo).split(split_seed=split_seed)
    fitted.fit(train)
    fitted.save(meta)
    seconds = round(time.perf_counter() - started, 3)
    document = {
        "meta": str(meta),
        "property": property_,
        "model": model,
        "n_train_runs": len(fitted.train_runs_),
        "excluded": fitted.excluded_,
        "split_seed": split_seed,
        "seconds": seconds,
    }
    text = f"{meta}: {model} for {property_}, fitted on {document['n_train_runs']} runs in {seconds:.1f} s"
    print_document(document, text, as_json=json)
