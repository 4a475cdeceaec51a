"""The main job, small: sample a weight space, fit meta-classifiers, write a report."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from weightprint.meta import build
from weightprint.report import write_report
from weightprint.sampling.sample import Progress, plan, run_sampling

RUNS = 200
PROPERTIES = ("dataset", "optimizer", "activation", "initialization")
MODELS: dict[str, dict[str, Any]] = {
    "svm": {"slice_length": "all"},
    "layer_trees": {},
    "slice_trees": {"slice_length": 500},
}
"""Of each model what differs from its defaults. The paper's deep meta-classifier is left out: it takes hours to learn
anything from so many runs (docs/meta-models.md)."""


def run_demo(
    out: str | os.PathLike[str] = "weightprint-demo",
    *,
    runs: int = RUNS,
    workers: int | None = None,
    say: Callable[[str], None] = lambda text: None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Sample the `demo` space into <out>/zoo, fit every model for every property into <out>/metas, and write
    <out>/report.html. Goes on where an interrupted call stopped sampling.

    runs:     to sample; the accuracies stand on the quarter of them that no model is fitted on
    say:      called with a line of text before each part of the work
    progress: called after each sampled run

    Returns {"seconds", "report", "results": evaluation documents}.
    """
    started = time.perf_counter()
    out = Path(out)
    say(f"sampling {runs} runs into {out / 'zoo'}")
    sampled = run_sampling(
        plan(out / "zoo", "demo", runs, train_size=400, test_size=100, max_epochs=19),
        workers=workers,
        progress=progress,
    )
    seconds = {"sampling": sampled.seconds}

    train, test = sampled.zoo.split()
    (out / "metas").mkdir(exist_ok=True)
    results = []
    for model, options in MODELS.items():
        for target in PROPERTIES:
            say(f"fitting {model} for {target}")
            fit_started = time.perf_counter()
            meta = build(model, target=target, **options).fit(train)
            meta.save(out / "metas" / f"{target}-{model}")
            results.append(meta.evaluate(test))
            work = f"fitting and evaluating {model}"
            seconds[work] = seconds.get(work, 0.0) + time.perf_counter() - fit_started

    seconds["all"] = time.perf_counter() - started
    say("writing the report")
    report = write_report(
        out / "report.html",
        sampled.zoo,
        results,
        seconds=seconds,
        commands=[f"weightprint demo {out}"],
    )
    return {"seconds": round(time.perf_counter() - started, 1), "report": str(report), "results": results}
