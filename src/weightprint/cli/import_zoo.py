"""The command `import`: zoos of other formats."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from weightprint.cli.terminal import Bar, Json, ZooFolder, print_document

Runs = Annotated[int | None, Parameter(help="Only the first so many.")]

import_app = App(name="import", help="Make a zoo of another format one of ours.", help_format="plaintext")


@import_app.command
def nws(src: Path, zoo: ZooFolder, /, *, runs: Runs = None, json: Json = False) -> None:
    """The NWS release: folders of runs with lists of them.

    The same command goes on where an interrupted one stopped.

    Example: weightprint import nws nws_fixed zoo

    Parameters
    ----------
    src
        Folder with the runs and their CSV lists.
    """
    from weightprint.formats.nws import import_nws

    _import(import_nws, src, zoo, json, runs=runs)


@import_app.command(name="small-cnn-zoo")
def small_cnn_zoo(src: Path, zoo: ZooFolder, /, *, runs: Runs = None, json: Json = False) -> None:
    """The Small CNN Zoo: weights.npy, metrics.csv.gz and layout.csv of one data set.

    The same command goes on where an interrupted one stopped.

    Example: weightprint import small-cnn-zoo mnist zoo

    Parameters
    ----------
    src
        Folder with the three files.
    """
    from weightprint.formats.small_cnn_zoo import import_small_cnn_zoo

    _import(import_small_cnn_zoo, src, zoo, json, runs=runs)


@import_app.command(name="model-zoos")
def model_zoos(src: Path, zoo: ZooFolder, /, *, runs: Runs = None, json: Json = False) -> None:
    """ModelZooDataset: folders with params.json, result.json and checkpoints.

    The same command goes on where an interrupted one stopped.

    Example: weightprint import model-zoos tune_zoo_mnist_hyperparameter_10_random_seeds zoo

    Parameters
    ----------
    src
        Folder with the runs, as it was unpacked.
    """
    from weightprint.formats.model_zoos import import_model_zoos

    _import(import_model_zoos, src, zoo, json, runs=runs)


@import_app.command
def folder(src: Path, zoo: ZooFolder, /, *, table: Path, runs: Runs = None, json: Json = False) -> None:
    """Any folder of checkpoints, with a table that says what each of them is.

    The same command goes on where an interrupted one stopped.

    Example: weightprint import folder models zoo --table models/runs.csv

    Parameters
    ----------
    src
        Folder with the files, of any format that inspect reads.
    table
        CSV: a column file, path, id or name for the file, a column for each property. Rows with the same value in a
        column run are snapshots of one run.
    """
    from weightprint.formats.checkpoint_folder import import_folder

    _import(import_folder, src, zoo, json, table=table, runs=runs)


def _import(read: Callable[..., dict[str, Any]], src: Path, zoo: Path, json: bool, **options: Any) -> None:
    with Bar("importing", unit="runs") as bar:
        document = read(src, zoo, progress=bar.update, **options)
    text = (
        f"{document['zoo']}: {document['runs']} runs, {document['imported']} imported now, "
        f"{document['diverged']} of them with weights that are not finite"
    )
    lines = [text, *(f"left out {one['run']}: {one['problem']}" for one in document["left_out"])]
    print_document(document, "\n".join(lines), as_json=json)
