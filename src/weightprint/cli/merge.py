"""The command `merge`."""

from __future__ import annotations

from pathlib import Path

from weightprint.cli.terminal import Json, print_document


def merge(zoo: Path, /, *parts: Path, json: Json = False) -> None:
    """Put zoos of one recipe, sampled apart with --range, into one.

    Example: weightprint merge zoo part-0 part-1

    Parameters
    ----------
    zoo
        Folder of the zoo that receives the runs; made when it is not there.
    parts
        Folders of the zoos to copy from.
    """
    from weightprint.sampling.sample import merge as merge_

    document = merge_(zoo, parts)
    text = f"{document['zoo']}: {document['runs']} runs, {document['copied']} copied"
    if document["different"]:
        text += f"; kept the runs that were there although the parts have other bytes: {document['different']}"
    for damage in document["damaged"]:
        text += f"\nleft out run {damage['run']} of {damage['zoo']}: {damage['problem']}"
    print_document(document, text, as_json=json)
