"""The command `export`: a zoo in other formats."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from weightprint.cli.terminal import Bar, Json, ZooFolder, print_document
from weightprint.errors import SetupError

Destination = Annotated[
    Path, Parameter(help="Folder to write; new, empty, or of the same export that was interrupted.")
]
Range = Annotated[str | None, Parameter(help="A-B: only the runs A to B, both included.")]

export_app = App(name="export", help="Write a zoo in another format.", help_format="plaintext")


@export_app.command
def nws(
    zoo: ZooFolder, dest: Destination, /, *, range: Range = None, map: list[str] | None = None, json: Json = False
) -> None:
    """As the NWS release, which its published scripts read; for zoos of the paper's spaces.

    The same command goes on where an interrupted one stopped.

    Example: weightprint export nws zoo released --map tiny_imagenet10=stl10

    Parameters
    ----------
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
        document = export_nws(zoo, dest, numbers=_numbers(range), map_=mapping, progress=bar.update)
    lines = [
        f"{document['dest']}: {document['runs']} runs, {document['train']} in the training list, "
        f"{document['test']} in the test list; {document['skipped']} that are not complete left out"
    ]
    lines += [f"written as another: {old} as {new}" for old, new in document["mapped"].items()]
    print_document(document, "\n".join([*lines, *document["notes"]]), as_json=json)


@export_app.command
def folder(zoo: ZooFolder, dest: Destination, /, *, range: Range = None, json: Json = False) -> None:
    """As plain folders of state dicts (safetensors) that load_state_dict takes.

    Example: weightprint export folder zoo shared --range 0-99
    """
    from weightprint.formats.exports import export_folder

    _export(export_folder, zoo, dest, range, json)


@export_app.command
def graph(zoo: ZooFolder, dest: Destination, /, *, range: Range = None, json: Json = False) -> None:
    """As graphs: nodes, edges and features as arrays, by PyTorch Geometric's names.

    Example: weightprint export graph zoo shared --range 0-99
    """
    from weightprint.formats.exports import export_graph

    _export(export_graph, zoo, dest, range, json)


@export_app.command
def hub(
    zoo: ZooFolder, dest: Destination, /, *, range: Range = None, license: str | None = None, json: Json = False
) -> None:
    """As a Hugging Face dataset folder, with a card; see push.

    Example: weightprint export hub zoo shared --range 0-99 --license cc-by-4.0

    Parameters
    ----------
    license
        Under which it is shared, by the Hub's names; the card says none where it is not given.
    """
    from weightprint.formats.exports import export_hub

    _export(partial(export_hub, license=license), zoo, dest, range, json)


def _export(write: Callable[..., dict[str, int]], zoo: Path, dest: Path, range: str | None, json: bool) -> None:
    with Bar("exporting", unit="runs") as bar:
        done = write(zoo, dest, numbers=_numbers(range), progress=bar.update)
    document: dict[str, Any] = {"zoo": str(zoo), "dest": str(dest), **done}
    print_document(document, f"{dest}: {done['runs']} runs in {done['files']} files", as_json=json)


def _numbers(text: str | None) -> Sequence[int] | None:
    from weightprint.zoo import run_range

    return None if text is None else run_range(text)
