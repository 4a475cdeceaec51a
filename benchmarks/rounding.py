"""What is left of the verdicts of `weightprint inspect` when a checkpoint is stored in half precision.

    python benchmarks/rounding.py FILE...

Each file's tensors are written as safetensors, in float32 and rounded to each format, and inspected. Prints, for each
property and format, how many verdicts other than "cannot say" there are in float32, how many of them stay, are
withdrawn ("cannot say") or changed, and how many are new. Files that cannot be read are named and left out.
"""

import sys
import tempfile
from collections import Counter
from pathlib import Path

import torch
from safetensors.torch import save_file

import weightprint
from weightprint.errors import WeightprintError
from weightprint.formats.checkpoints import open_checkpoint
from weightprint.inspection.verdicts import CANNOT_SAY

FORMATS = {"float16": torch.float16, "bfloat16": torch.bfloat16}


def verdicts(tensors: dict[str, torch.Tensor], path: Path) -> dict[str, str]:
    """By property."""
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    return {name: verdict.verdict for name, verdict in weightprint.inspect(path).properties.items()}


def outcome(before: str, after: str) -> str:
    """What has become of one verdict."""
    if before == after:
        return "none" if before == CANNOT_SAY else "stay"
    if after == CANNOT_SAY:
        return "withdrawn"
    return "new" if before == CANNOT_SAY else "changed"


def main() -> None:
    counts: Counter[tuple[str, str, str]] = Counter()
    files = 0
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder) / "rounded.safetensors"
        for file in map(Path, sys.argv[1:]):
            try:
                tensors = {t.source: torch.from_numpy(t.read().copy()) for t in open_checkpoint(file).tensors}
                exact = verdicts(tensors, scratch)
            except WeightprintError as error:
                print(f"left out: {error}")
                continue
            files += 1
            for name, dtype in FORMATS.items():
                rounded = verdicts({key: tensor.to(dtype) for key, tensor in tensors.items()}, scratch)
                counts.update((key, name, outcome(verdict, rounded[key])) for key, verdict in exact.items())
    print(f"{files} files")
    for key, name in dict.fromkeys((key, name) for key, name, _ in counts):
        of = {kind: counts[key, name, kind] for kind in ("stay", "withdrawn", "changed", "new")}
        verdicts_before = sum(of.values()) - of["new"]
        print(f"{key}, {name}: {verdicts_before} verdicts; " + ", ".join(f"{of[kind]} {kind}" for kind in of))


if __name__ == "__main__":
    main()
