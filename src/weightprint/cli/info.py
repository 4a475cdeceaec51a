"""The command `info`."""

from __future__ import annotations

from typing import Any

from weightprint.cli.sample import RETRY_HINT
from weightprint.cli.terminal import Json, ZooFolder, print_document


def info(zoo: ZooFolder, /, *, json: Json = False) -> None:
    """What a zoo holds: counts, recipe, size.

    Example: weightprint info zoo

    """
    from weightprint.formats.recordings import unfinished
    from weightprint.zoo import Zoo

    document = {**Zoo(zoo, thorough=True).info(), "recordings": unfinished(zoo)}
    print_document(document, _info_text(document), as_json=json)


def _info_text(document: dict[str, Any]) -> str:
    def counts(values: dict[str, int]) -> str:
        return ", ".join(f"{count} {name}" for name, count in values.items()) or "none"

    unknown = document["convergence_unknown"]
    lengths, failed = document["weights"], document["status"].get("failed", 0)
    recipe = {name: value for name, value in document["recipe"].items() if name not in ("space", "datasets")}
    return "\n".join(
        [
            f"{document['zoo']}: {document['runs']} runs ({counts(document['status'])})",
            f"  snapshots  {document['snapshots']}",
            f"  converged  {document['converged']}{f'; not known of {unknown}' if unknown else ''}",
            f"  data sets  {counts(document['datasets'])}",
            f"  weights    {_span(lengths)} per snapshot",
            f"  size       {document['bytes'] / 1e9:.3f} GB",
            f"  space      {document['space'] or '-'}",
            f"  recipe     {', '.join(f'{name} {value}' for name, value in recipe.items())}",
            *([f"  failed     {failed}; {RETRY_HINT}"] if failed else []),
            *(f"  recording  {_recording_text(one, document['zoo'])}" for one in document["recordings"]),
        ]
    )


def _recording_text(one: dict[str, Any], zoo: str) -> str:
    state = "goes on" if one["goes_on"] else f"was cut off; weightprint recover {zoo}"
    return f"run {one['run']}, {one['records']} records, {state}"


def _span(lengths: list[int]) -> str:
    if not lengths:
        return "no"
    return f"{lengths[0]:,}" if len(lengths) == 1 else f"{lengths[0]:,} to {lengths[-1]:,}"
