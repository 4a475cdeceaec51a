"""The command `inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from weightprint.cli.terminal import Json, print_document


def inspect(
    file: Path,
    /,
    *files: Path,
    meta: Path | None = None,
    full: Annotated[bool, Parameter(negative=())] = False,
    json: Json = False,
) -> int:
    """How a network was trained, read out of its weights: facts, then verdicts with their evidence.

    Any checkpoint file: .safetensors, .pt, .pth, .bin, .ckpt, .npz, .h5, .keras, .onnx, a run file of a zoo, or a
    Hugging Face folder. Nothing in it is run. Several files make one table. Exit code 1 when one could not be read.

    Example: weightprint inspect lenet.pth

    Parameters
    ----------
    file
        The file to inspect.
    files
        More files.
    meta
        A meta-classifier of your own (weightprint fit), whose properties are added or take the place of the shipped
        one's.
    full
        Look at every weight of large tensors, not at a sample.
    """
    from rich.console import Console

    from weightprint.errors import WeightprintError
    from weightprint.inspection.inspect import inspect as inspect_
    from weightprint.inspection.page import overview, page
    from weightprint.inspection.verdicts import Inspection
    from weightprint.meta import load_meta

    own = None if meta is None else load_meta(meta)
    if not files:
        found = inspect_(file, meta=own, full=full)
        if json:
            print_document(found.to_json(), "", as_json=True)
        else:
            Console(highlight=False).print(page(found))
        return 0
    entries: list[Inspection | dict[str, Any]] = []
    for path in (file, *files):
        try:
            entries.append(inspect_(path, meta=own, full=full))
        except WeightprintError as error:
            problem = {"kind": error.kind, "message": error.message, "hint": error.hint}
            entries.append({"file": str(path), "error": problem})
    if json:
        documents = [entry.to_json() if isinstance(entry, Inspection) else entry for entry in entries]
        print_document({"files": documents}, "", as_json=True)
    else:
        Console(highlight=False).print(overview(entries))
    return int(any(not isinstance(entry, Inspection) for entry in entries))
