"""The command `evaluate`."""

from __future__ import annotations

from pathlib import Path

from weightprint.cli.terminal import Json, ZooFolder, print_document


def evaluate(meta: Path, zoo: ZooFolder, /, *, slices: int = 10, json: Json = False) -> None:
    """Score a meta-classifier on runs that neither it nor their kin was fitted on.

    Example: weightprint evaluate optimizer.meta zoo

    Parameters
    ----------
    meta
        Folder of the meta-classifier.
    slices
        Slices per snapshot whose answers are averaged (local meta-classifiers).
    """
    from weightprint.meta import load_meta
    from weightprint.report import evaluation_text
    from weightprint.zoo import Zoo

    documents = load_meta(meta).evaluate_all(Zoo(zoo), slices=slices)
    text = "\n\n".join(map(evaluation_text, documents))
    together = {"together": documents[1:]} if documents[1:] else {}
    print_document({**documents[0], **together}, text, as_json=json)
