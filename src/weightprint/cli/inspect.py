"""The command `inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from weightprint.cli.terminal import Json, print_document
from weightprint.errors import SetupError


def inspect(
    file: Path,
    /,
    *files: Path,
    meta: Path | None = None,
    full: Annotated[bool, Parameter(negative=())] = False,
    html: Path | None = None,
    compare: Annotated[bool, Parameter(negative=())] = False,
    json: Json = False,
) -> int:
    """How a network was trained, read out of its weights: facts, then verdicts with their evidence.

    Any checkpoint file: .safetensors, .pt, .pth, .bin, .ckpt, .pt2, .npz, .h5, .keras, .onnx, a run file of a zoo, or a
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
    html
        Write a page to this file instead of the terminal: answers, histograms, spectra, filters, in one file for any
        browser. With --json the document holds what is drawn.
    compare
        Compare two files layer by layer instead: the same architecture, one run, one fine-tuned from the other?
    """
    from rich.console import Console

    from weightprint.errors import WeightprintError
    from weightprint.inspection.inspect import inspect as inspect_
    from weightprint.inspection.page import overview, page
    from weightprint.inspection.verdicts import Inspection
    from weightprint.meta import load_meta

    if compare:
        return _compare((file, *files), html, json, full=full)
    own = None if meta is None else load_meta(meta)
    entries: list[Inspection | dict[str, Any]] = []
    for path in (file, *files):
        try:
            entries.append(inspect_(path, meta=own, full=full, details=html is not None))
        except WeightprintError as error:
            if not files:
                raise
            problem = {"kind": error.kind, "message": error.message, "hint": error.hint}
            entries.append({"file": str(path), "error": problem})
    if html is not None:
        from weightprint.report.inspect_page import write_verdicts

        write_verdicts(html, entries)
    if json:
        documents = [entry.to_json() if isinstance(entry, Inspection) else entry for entry in entries]
        print_document({"files": documents} if files else documents[0], "", as_json=True)
    elif html is not None:
        print(f"{html}: the page of {len(entries)} file{'s' if files else ''}")
    elif isinstance(entries[0], Inspection) and not files:
        Console(highlight=False).print(page(entries[0]))
    else:
        Console(highlight=False).print(overview(entries))
    return int(any(not isinstance(entry, Inspection) for entry in entries))


def _compare(files: tuple[Path, ...], html: Path | None, json: bool, *, full: bool) -> int:
    from rich.console import Console

    from weightprint.inspection.comparison import compare_checkpoints
    from weightprint.inspection.page import comparison_page
    from weightprint.report.inspect_page import write_comparison

    if len(files) != 2:
        raise SetupError(f"--compare takes two files, not {len(files)}", hint="weightprint inspect A B --compare")
    found = compare_checkpoints(*files, full=full)
    if html is not None:
        write_comparison(html, found)
    if json:
        print_document(found.to_json(), "", as_json=True)
    else:
        Console(highlight=False).print(comparison_page(found))
    return 0
