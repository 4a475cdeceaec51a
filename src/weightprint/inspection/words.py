"""Words for what an inspection holds, which the page for the terminal and the one for a browser share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from weightprint.inspection.relation import LayerPair
from weightprint.inspection.verdicts import Inspection, Verdict
from weightprint.inspection.world import Outlyingness

FORMATS = {
    "pytorch": "PyTorch",
    "torchscript": "TorchScript",
    "torch_export": "PyTorch export",
    "safetensors": "safetensors",
    "npz": "numpy",
    "pickle": "pickle",
    "keras_h5": "Keras .h5",
    "keras_weights_h5": "Keras weights .h5",
    "keras_v3": "Keras .keras",
    "onnx": "ONNX",
    "huggingface": "Hugging Face folder",
    "weightprint_run": "run of a weightprint zoo",
}


PAIR_NOTE = (
    "correlation, distance: of the weights in their places; in order: correlation once hidden units are in the order "
    "that makes them most alike, beside what inputs in random order give; moved: units that change places for it"
)


def pair_name(names: tuple[str, str]) -> str:
    """What a pair of layers is called: one name where both have the same."""
    return names[0] if names[0] == names[1] else f"{names[0]} | {names[1]}"


def pair_cells(layer: LayerPair) -> tuple[str, str, str, str, str]:
    """A pair of layers in numbers: correlation, distance, correlation in order, by chance, share of units moved."""
    one = layer.pairing
    if one is None:
        return ("not finite", "–", "–", "–", "–")
    if layer.equal:
        return ("equal", "0", "–", "–", "–")
    in_order, chance = ("–" if r is None else f"{r:.3f}" for r in (one.matched_correlation, one.chance))
    moved = "–" if one.moved is None else f"{100 * one.moved:.0f} %"
    return (f"{one.correlation:.3f}", f"{one.distance:.3g}", in_order, chance, moved)


def stored_as(inspection: Inspection) -> str:
    """How the file is stored: its format, size and number formats."""
    facts = inspection.facts
    size = "" if facts["bytes"] is None else f", {in_bytes(facts['bytes'])}"
    dtypes = ", ".join(facts["dtypes"]) or "no weights"
    return f"{FORMATS.get(facts['format'], facts['format'])}{size}, {dtypes}"


def size_of(inspection: Inspection) -> str:
    """How large the network is."""
    known = inspection.facts["initialization"]["layers"]
    layers = [layer for layer in inspection.architecture["layers"] if layer["name"] in known]
    return f"{inspection.architecture['parameters']:,} parameters in {counted(len(layers), 'layer')}"


def kind_of(layer: Mapping[str, Any]) -> str:
    """What sort of layer an entry of the architecture is, its norm and missing bias included."""
    kind = layer["kind"]
    if "gamma" in layer["tensors"] or "moving_mean" in layer["tensors"]:
        if "norm" not in kind:
            kind += " + batch norm" if "moving_mean" in layer["tensors"] else " + norm"
    elif "kernel" in layer["tensors"] and "bias" not in layer["tensors"]:
        kind += ", no bias"
    return str(kind)


def common_reason(properties: Mapping[str, Verdict]) -> str:
    """Why nothing can be said of any property, where that is the same for all, whatever else is added for one."""
    reasons = [verdict.reason for verdict in properties.values()]
    shortest = min(reasons, key=len, default="")
    return shortest if len(reasons) > 1 and all(reason.startswith(shortest) for reason in reasons) else ""


def flat(verdict: Verdict) -> bool:
    """Whether all values are equally probable: nothing was read."""
    values = list(verdict.probabilities.values())
    return max(values) - min(values) < 1e-9


def standing(lies: Outlyingness) -> tuple[str, list[str]]:
    """Whether a network lies inside the known world, and sentences on how far outside."""
    if lies.outside:
        return "Outside the world that the meta-classifier knows:", list(lies.reasons)
    return "Inside the world that the meta-classifier knows:", [
        f"{lies.share:.0%} of its features lie beyond the outermost hundredth of known networks; of known networks "
        f"{lies.p_value:.0%} have as many or more"
    ]


def short_names(files: Sequence[str]) -> list[str]:
    """The files' own names; whole paths where two have the same."""
    short = [Path(file).name for file in files]
    return [file if short.count(name) > 1 else name for file, name in zip(files, short, strict=True)]


def printable(text: str, *, keep: str = "") -> str:
    """Text of a file as it may be shown: control characters, which could steer a terminal, are written out, but for
    those to keep."""
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode("ascii") for c in text)


def in_words(name: str) -> str:
    """A name with spaces: "optimizer family"."""
    return name.replace("_", " ")


def counted(number: int, noun: str) -> str:
    """Such as "1 layer", "2,000 layers"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def in_bytes(size: int) -> str:
    """A size in the largest unit that leaves a number of 1 or more: "8.2 MB"."""
    amount = float(size)
    for unit in ("bytes", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "bytes" or amount >= 10 else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"
