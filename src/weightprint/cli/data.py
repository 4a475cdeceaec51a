"""The commands `data list`, `data fetch`, `data add` and `data vary`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from weightprint.cli.terminal import Bar, Json, print_document

data_app = App(name="data", help="Image data sets: list, fetch, add or vary them.", help_format="plaintext")


@data_app.command(name="list")
def data_list(*, data: Path | None = None, json: Json = False) -> None:
    """The data sets that can be named, with their sizes.

    Example: weightprint data list --data images

    Parameters
    ----------
    data
        Folder of .npz files; without it fetched, added and bundled data sets.
    """
    from weightprint.images import available

    found = available(data)
    described = [(d, d.get("problem", d["description"])) for d in found]
    rows = [
        f"{d['name']:18} {d.get('train', '-'):>8} {d.get('test', '-'):>8}  {d['source']}: {what}"
        for d, what in described
    ]
    text = "\n".join([f"{'name':18} {'train':>8} {'test':>8}  source", *rows])
    print_document({"datasets": found}, text, as_json=json)


@data_app.command(name="fetch")
def data_fetch(*names: str, data: Path | None = None, json: Json = False) -> None:
    """Fetch data sets from their homes: mnist, fashion_mnist, cifar10, svhn, stl10.

    The same command goes on where an interrupted one stopped. Their terms are their authors'; see docs/data.md.

    Example: weightprint data fetch mnist cifar10

    Parameters
    ----------
    names
        Of the data sets.
    data
        Folder of .npz files to put them in; without it the one where sample looks by itself.
    """
    from weightprint.errors import DataError
    from weightprint.images.adding import fetch
    from weightprint.images.homes import HOMES

    if not names:
        raise DataError("no data set is named", hint=f"one or more of {', '.join(HOMES)}")
    with Bar("fetching") as bar:
        paths = [fetch(name, data, progress=lambda what, done, total: bar.update(done, total, what)) for name in names]
    lines = [f"{path}: {HOMES[name].about}" for name, path in zip(names, paths, strict=True)]
    print_document({"files": [str(path) for path in paths]}, "\n".join(lines), as_json=json)


@data_app.command(name="add")
def data_add(
    name: str,
    path: Path,
    /,
    *,
    data: Path | None = None,
    replace: Annotated[bool, Parameter(negative=())] = False,
    json: Json = False,
) -> None:
    """Add images of yours as a data set of ten classes.

    Example: weightprint data add fruit photos

    Parameters
    ----------
    name
        What to call it: letters, digits, _ and -.
    path
        An .npz file with x_train, y_train, x_test, y_test, or a folder with one folder of images per class (in train/
        and test/, or split here).
    data
        Folder of .npz files to put it in; without it the one where sample looks by itself.
    replace
        A data set of that name that is there.
    """
    from weightprint.images.adding import add

    written, notes = add(name, path, data, replace=replace)
    document = {"name": name, "file": str(written), "notes": notes}
    print_document(document, "\n".join([str(written), *(f"  {note}" for note in notes)]), as_json=json)


@data_app.command(name="vary")
def data_vary(variant: str, folder: Path, /, *names: str, data: Path | None = None, json: Json = False) -> None:
    """Write variants of data sets under their names into a folder of their own, for zoos that differ by them alone.

    Example: weightprint data vary matched images-matched mnist cifar10 --data images

    Parameters
    ----------
    variant
        half-a, half-b (disjoint halves), matched (mean and variance of every channel the same in all data sets), or
        grey.
    folder
        Where to; what `sample --data` then takes.
    names
        Of the data sets.
    data
        Folder of .npz files in which they lie; without it fetched, added and bundled data sets.
    """
    from weightprint.errors import DataError
    from weightprint.images.variants import write_variant

    if not names:
        raise DataError("no data set is named", hint="such as mnist; see `weightprint data list`")
    paths = [str(write_variant(variant, name, folder, data)) for name in names]
    print_document({"files": paths}, "\n".join(paths), as_json=json)
