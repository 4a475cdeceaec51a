"""How a deep meta-classifier learns: its losses against the slices that it has seen, and what it names in another zoo.

    python benchmarks/dmc_learning.py ZOO FRESH OUT.json --property optimizer [--epochs 50] [--steps N] [--seconds S]
        [--runs N] [--learning-rate 0.001] [--dropout 0.5] [--squashed] [--whole] [--snapshots later-half]
        [--device cpu]
    python benchmarks/dmc_learning.py --figure OUT.svg A.json B.json ...
    python benchmarks/dmc_learning.py --statistics FRESH A.meta B.meta ...

The first form fits on the training runs of ZOO and scores on FRESH, a zoo of another seed; slice_trees are fitted and
scored beside it, of whole vectors (--whole) layer_trees. One run in ten is kept from the DMC's training and measured
after each epoch. Interrupted, it goes on where it was. The second draws the curves of such files: one panel per
property, loss and chance loss. The third scores what the first has fitted once more, with batch norm's statistics as
fitted and with those of each batch of test slices.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from dataclasses import replace
from pathlib import Path
from typing import Any


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="+", type=Path)
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--statistics", type=Path, metavar="FRESH")
    parser.add_argument("--property", default="optimizer")
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--runs", type=int, help="the first so many training runs only")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--dropout", type=float, default=0.5)
    parser.add_argument("--squashed", action="store_true")
    parser.add_argument("--whole", action="store_true", help="read whole vectors, not slices of 5,000 weights")
    parser.add_argument("--seconds", type=float, help="of processor time, the schedule with them")
    parser.add_argument("--snapshots", default="later-half")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    if args.figure is not None:
        draw(args.figure, [json.loads(path.read_text()) for path in args.paths])
        return
    if args.statistics is not None:
        compare_statistics(args.statistics, args.paths)
        return
    if len(args.paths) != 3:
        parser.error("expected ZOO FRESH OUT.json")
    learn(args)


def learn(args: argparse.Namespace) -> None:
    """Fit, score and write OUT.json."""
    from weightprint.files import write_atomic
    from weightprint.meta import build
    from weightprint.meta.view import WHOLE
    from weightprint.zoo import Zoo

    zoo, fresh, out = args.paths
    train, _ = Zoo(zoo).split()
    runs, tests = list(train)[: args.runs], list(Zoo(fresh))
    settings = {
        "epochs": args.epochs,
        "max_steps": args.steps,
        "max_seconds": args.seconds,
        "learning_rate": args.learning_rate,
        "dropout": args.dropout,
        "squashed": args.squashed,
        "unseen": 10,
        "device": args.device,
    }
    common: dict[str, Any] = {"target": args.property, "snapshots": args.snapshots}
    length = {"slice_length": WHOLE} if args.whole else {}
    beside = "layer_trees" if args.whole else "slice_trees"
    models = {
        "dmc": build("dmc", **common, **settings, **length, checkpoint=f"{out}.partial"),
        beside: build(beside, **common),
    }
    document: dict[str, Any] = {
        "property": args.property,
        "settings": settings | {"snapshots": args.snapshots},
        "processor": platform.processor() or platform.machine(),
    }
    for name, meta in models.items():
        began = time.process_time()
        meta.fit(runs)
        seconds = time.process_time() - began
        document[name] = {"processor_seconds": round(seconds, 1), **meta.evaluate(tests)}
        if name == "dmc":
            facts = meta.facts_
            document[name] |= {key: facts[key] for key in ("losses", "unseen", "chance_loss", "slices_seen", "steps")}
            meta.save(out.with_suffix(".meta"))
    write_atomic(out, json.dumps(document, indent=1).encode())
    print(json.dumps({name: document[name].get("per_run") for name in models}, indent=1))


def compare_statistics(fresh: Path, fitted: list[Path]) -> None:
    """Print the scores with either kind of batch norm's statistics: one slice of each snapshot, averaged over a run.

    Batches hold 64 slices of many runs, as in training: a single checkpoint could not be read in this way.
    """
    import numpy as np
    import torch

    from weightprint.evaluation.scores import scores
    from weightprint.features.slices import cut
    from weightprint.meta import load_meta
    from weightprint.meta.answers import answers_of
    from weightprint.meta.learners.dmc_network import batch_norms
    from weightprint.zoo import Zoo

    for path in fitted:
        meta = load_meta(path)
        readings, _ = meta.read_unseen(Zoo(fresh), slices=1)
        network = meta.heads_[meta.target].fitted.network
        for norm in batch_norms(network):
            norm.train().track_running_stats = False
        windows = [cut(r.run.weights[np.array(r.snapshots) - 1], r.starts, meta.view.length)[:, 0] for r in readings]
        slices = torch.from_numpy(np.concatenate(windows).astype(np.float32))
        order = torch.from_numpy(np.random.default_rng(0).permutation(len(slices)))
        outputs = torch.empty(len(slices), len(meta.classes_), dtype=torch.float64)
        with torch.inference_mode():
            for batch in order.split(64):
                outputs[batch] = network(slices[batch]).double().softmax(1)
        ends = np.cumsum([len(window) for window in windows])[:-1]
        of_batches = [
            replace(reading, outputs=of_run[:, None])
            for reading, of_run in zip(readings, np.split(outputs.numpy(), ends), strict=True)
        ]
        for name, read in (("as fitted", readings), ("each batch's", of_batches)):
            found = scores(answers_of(meta, read))
            print(json.dumps({"property": meta.target, "statistics": name, **found}))


def draw(path: Path, documents: list[dict[str, Any]]) -> None:
    """Write the figure of the curves."""
    import matplotlib.pyplot as plt

    properties = list(dict.fromkeys(document["property"] for document in documents))
    rows, columns = -(-len(properties) // 2), min(2, len(properties))
    figure, panels = plt.subplots(
        rows,
        columns,
        figsize=(4.2 * columns, 1.0 + 2.8 * rows),
        squeeze=False,
        layout="constrained",
        sharex=True,
    )
    for panel in panels.flat[len(properties) :]:
        panel.set_axis_off()
    entries: dict[str, Any] = {}
    colours: dict[str, str] = {}
    for panel, name in zip(panels.flat, properties, strict=False):
        for document in (d for d in documents if d["property"] == name):
            dmc, settings = document["dmc"], document["settings"]
            each = dmc["slices_seen"] / dmc["epochs"]
            changed = [text for text, applies in _arms(settings).items() if applies]
            whole = ["whole vectors"] if dmc["slice_length"] == "all" else []
            label = ", ".join([f"{dmc['n_train_runs']} runs", *whole, *changed])
            style = {"color": colours.setdefault(label, f"C{len(colours)}")}
            seen = [each * (i + 1) / 1000 for i in range(len(dmc["losses"]))]
            lines = {"in training, with dropout": (dmc["losses"], "-")}
            for loss, line, whose in (("loss", "--", "moving"), ("batch_loss", ":", "each batch's")):
                lines[f"runs kept from it, {whose} statistics"] = ([m[loss] for m in dmc["unseen"]], line)
            for what, (losses, line) in lines.items():
                width = 0.5 if line == "--" else 1.3  # moving statistics jump from epoch to epoch
                (drawn,) = panel.plot(seen[: len(losses)], losses, linestyle=line, linewidth=width, **style)
                entries.setdefault(f"{label}: {what}", drawn)
        level = panel.axhline(dmc["chance_loss"], color="grey", linewidth=0.8)
        entries.setdefault("a constant answer", level)
        top = 2 * dmc["chance_loss"]  # what lies above is cut off
        panel.set(title=name, ylabel="cross-entropy", xscale="log", ylim=(None, top))
        panel.xaxis.set_major_formatter("{x:g}")
        panel.xaxis.set_minor_formatter("")
    for panel in panels[-1]:
        panel.set_xlabel("slices seen, in thousands")
    figure.legend(entries.values(), entries.keys(), frameon=False, fontsize=7, loc="outside lower center", ncols=2)
    figure.savefig(path)


def _arms(settings: dict[str, Any]) -> dict[str, bool]:
    """In what a training may differ from the paper's, and whether it does."""
    return {
        "squashed": settings["squashed"],
        "no dropout": settings["dropout"] == 0,
        f"learning rate {settings['learning_rate']:g}": settings["learning_rate"] != 1e-3,
    }


if __name__ == "__main__":
    main()
