"""The command `export`: a zoo in other formats."""

from __future__ import annotations

from pathlib import Path

from cyclopts import App

from weightprint.cli.terminal import Bar, Json, print_document
from weightprint.errors import SetupError

export_app = App(name="export", help="Write a zoo in another format.", help_format="plaintext")


@export_app.command
def nws(
    zoo: Path, dest: Path, /, *, range: str | None = None, map: list[str] | None = None, json: Json = False
) -> None:
    """As the NWS release, which its published scripts read; for zoos of the paper's spaces.

    The same command goes on where an interrupted one stopped.

    Example: weightprint export nws zoo released --map tiny_imagenet10=stl10

    Parameters
    ----------
    zoo
        Folder of the zoo.
    dest
        Folder to write to: new, or that of the same export.
    range
        A-B: only the runs A to B, both included.
    map
        OLD=NEW: a value that the format does not have and the one to write for it; may be given several times.
    """
    from weightprint.formats.nws_export import export_nws

    mapping = {}
    for pair in map or []:
        old, equals, new = pair.partition("=")
        if not (old and equals and new):
            raise SetupError(f"map must be OLD=NEW, not {pair!r}", hint="for example --map tiny_imagenet10=stl10")
        mapping[old] = new
    with Bar("exporting", unit="runs") as bar:
        document = export_nws(zoo, dest, range_=range, map_=mapping, progress=bar.update)
    lines = [
        f"{document['dest']}: {document['runs']} runs, {document['train']} in the training list, "
        f"{document['test']} in the test list; {document['skipped']} that are not complete left out"
    ]
    lines += [f"written as another: {old} as {new}" for old, new in document["mapped"].items()]
    print_document(document, "\n".join([*lines, *document["notes"]]), as_json=json)
