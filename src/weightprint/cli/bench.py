"""The command `bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from weightprint.cli.terminal import Bar, Json, ZooFolder, names_of, print_document, slice_length_of, snapshots_of


def bench(
    zoo: ZooFolder,
    out: Path,
    /,
    *,
    models: str | None = None,
    properties: str | None = None,
    slice_length: str = "5000,all",
    snapshots: str = "later-half",
    converged: Literal["on", "off"] = "on",
    splits: int = 1,
    max_seconds: float | None = None,
    slices: int = 10,
    reference: str = "dmc",
    device: str = "cpu",
    workers: int | None = None,
    json: Json = False,
) -> None:
    """Compare meta-classifiers on one zoo: every model for every property. Baselines are always among them.

    The same command goes on where an interrupted one stopped; more models, properties or splits add to what is there.

    Example: weightprint bench zoo results --models trees,dmc --properties optimizer --max-seconds 60 --splits 5

    Parameters
    ----------
    out
        Folder for results.md, results.svg, results.parquet and what was computed for them.
    models
        Names with commas between them: svm, trees, dmc, …; default: all.
    properties
        Names with commas between them; default: the choices that vary in the zoo, and test_accuracy.
    slice_length
        Consecutive weights per slice, all for whole vectors, or several with commas between them.
    snapshots
        The snapshots to read: later-half of each run's, A-B or all.
    converged
        on: only runs whose test accuracy lies above chance.
    splits
        How many splits into training and test runs; headline numbers want at least five.
    max_seconds
        Cap on the processor time of each fit.
    slices
        Slices per snapshot whose answers are averaged.
    reference
        The model that paired differences are taken to.
    device
        Where to train: cpu, cuda, …
    workers
        Processes; one per core by default.
    """
    from weightprint.report import accuracy_text
    from weightprint.report.bench import run_bench

    with Bar("benchmark") as bar:
        document = run_bench(
            zoo,
            out,
            models=names_of(models) if models is not None else None,
            properties=names_of(properties) if properties is not None else None,
            slice_lengths=[slice_length_of(text) for text in names_of(slice_length)],
            snapshots=snapshots_of(snapshots),
            converged=converged == "on",
            splits=splits,
            max_seconds=max_seconds,
            slices=slices,
            reference=reference,
            device=device,
            workers=workers,
            progress=bar.update,
        )
    text = f"{accuracy_text(document['results'])}\n\nresults: {', '.join(document['files'].values())}"
    print_document(document, text, as_json=json)
