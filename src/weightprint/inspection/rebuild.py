"""Make the shipped meta-classifier again, and judge it on files of strangers.

    python -m weightprint.inspection.rebuild ZOO OUT [--strangers FOLDER]

ZOO is a population of the space `everyday`, FOLDER holds real files with a table
(`weightprint.inspection.strangers`). The trees see no real file. Thresholds are set on runs held out and on one half of
the strangers' repositories; the other half is scored and printed.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from weightprint.evaluation.intervals import wilson
from weightprint.inspection.learning import make
from weightprint.inspection.shipped import Shipped
from weightprint.inspection.strangers import Stranger, read_strangers
from weightprint.inspection.verdicts import CANNOT_SAY, verdicts_of
from weightprint.zoo import Zoo


def judge(shipped: Shipped, strangers: Sequence[Stranger]) -> dict[str, dict[str, Any]]:
    """Property → how good its answers are on the strangers' files that can be read and do not declare their training.

    n: files; balanced: mean over classes of the share whose likeliest value is right; spoke, wrong: verdicts other than
    "cannot say", and the wrong ones among them; set: share of 90 % sets that hold the truth, with its interval;
    majority: share of the most frequent value
    """
    found: dict[str, dict[str, Any]] = {}
    said = [(s, verdicts_of(s.network, shipped)) for s in strangers if s.network is not None and not s.embedded]
    for name in shipped.properties:
        own = [(s.labels[name], v[name]) for s, v in said if s.labels.get(name) in shipped.classes(name)]
        if not own:
            continue
        truth = [label for label, _ in own]
        best = [max(v.probabilities, key=lambda value: v.probabilities[value]) for _, v in own]
        per_class = {c: [b == c for t, b in zip(truth, best, strict=True) if t == c] for c in sorted(set(truth))}
        spoken = [(t, v.verdict) for t, v in own if v.verdict != CANNOT_SAY]
        held = sum(t in v.set for t, v in own)
        found[name] = {
            "n": len(own),
            "per_class": {c: [sum(right), len(right)] for c, right in per_class.items()},
            "balanced": float(np.mean([np.mean(right) for right in per_class.values()])),
            "spoke": len(spoken),
            "wrong": sum(t != v for t, v in spoken),
            "set": [held, *wilson(held, len(own))],
            "majority": max(map(truth.count, truth)) / len(own),
        }
    return found


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Make the shipped meta-classifier again.")
    parser.add_argument("zoo")
    parser.add_argument("out")
    parser.add_argument("--strangers", default=None, help="folder of real files with a table.csv")
    options = parser.parse_args()
    zoo = Zoo(options.zoo)
    runs = [run for run in zoo if run.status == "complete" and run.converged]
    strangers = read_strangers(options.strangers) if options.strangers else []
    development = [s for s in strangers if s.development]
    facts = {"recipe": zoo.identity, "space": zoo.space_name, "seed": zoo.recipe.get("seed"), "sampled": len(zoo)}
    shipped = make(runs, development, facts=facts)
    shipped.save(options.out)
    others = [s for s in strangers if not s.development]
    print(json.dumps({"development": judge(shipped, development), "held_out": judge(shipped, others)}, indent=2))


if __name__ == "__main__":
    main()
