"""The commands `data …`."""

from __future__ import annotations

from pathlib import Path

from cyclopts import App

from weightprint.cli.terminal import Json, print_document

data_app = App(name="data", help="Image data sets: list those that can be named.", help_format="plaintext")


@data_app.command(name="list")
def data_list(*, data: Path | None = None, json: Json = False) -> None:
    """The data sets that can be named, with their sizes.

    Example: weightprint data list --data images

    Parameters
    ----------
    data
        Folder of .npz files; without it only the bundled data sets.
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
