"""The command `export hub`."""

from __future__ import annotations

from pathlib import Path

from weightprint.cli.export import export_app
from weightprint.cli.terminal import Bar, Json, print_document, run_numbers


@export_app.command(name="hub")
def export_hub(zoo: Path, dest: Path, /, *, range: str | None = None, json: Json = False) -> None:
    """Write a zoo as a Hugging Face dataset folder, with a card; see push.

    Example: weightprint export hub zoo shared --range 0-99

    Parameters
    ----------
    zoo
        Folder of the zoo.
    dest
        Folder to write; new, empty, or of the same export that was interrupted.
    range
        A-B: only the runs A to B, both included.
    """
    from weightprint.formats.exports import export_hub as export
    from weightprint.zoo import Zoo

    opened = Zoo(zoo)
    with Bar("exporting", unit="runs") as bar:
        done = export(opened, dest, numbers=run_numbers(range, opened.numbers), progress=bar.update)
    text = f"{dest}: {done['runs']} runs in {done['files']} files"
    print_document({"zoo": str(zoo), "dest": str(dest), **done}, text, as_json=json)
