"""The benchmark: meta-classifiers × properties on one zoo, over several splits. What is computed stays computed.

Every fit is a cell: a small file in `OUT/cells` with its evaluation and what was answered for each test run, written
whole the moment it is done. All that is reported is made from cells.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from weightprint.errors import CorruptFile, MetaError, did_you_mean
from weightprint.files import write_atomic
from weightprint.meta import MODELS, build
from weightprint.meta.base import WHOLE, MetaClassifier
from weightprint.meta.own import Own
from weightprint.meta.pooling import Split, answers, difference, pooled
from weightprint.meta.targets import MOST_CLASSES, check_name
from weightprint.report.benchmark import figure, markdown
from weightprint.study.cells import Cell, Cells
from weightprint.study.table import fingerprint
from weightprint.zoo import Zoo

VERSION = 1
"""Raised when a cell of the same settings would mean something else: older ones are then computed anew."""

BASELINES = ("majority", "shapes", "fields")
"""Models that read no weights; always among the rows."""

REMEMBERED = ("svm", "trees", "slice_trees", "layer_trees", "own")
"""Models that keep the same of a run whatever is predicted: it is taken once for all properties and splits."""

COLUMNS = {
    "property": "what is predicted",
    "model": "the meta-classifier",
    "slice_length": "weights read at a time, or all for whole vectors",
    "kind": "classification or regression",
    "measure": "accuracy (per run), accuracy_per_slice, accuracy_per_snapshot, r2, mae, kendall_tau or tau_ceiling",
    "value": "the measure; null where it is not defined or the row has a reason",
    "low": "lower end of its 95 % interval over runs",
    "high": "upper end",
    "chance": "1 / number of classes; null for a regression",
    "majority": "share of the most frequent class among the test runs; null for a regression",
    "reference": "the model, with its slice length, that the difference is taken to; null without one",
    "difference": "this model's measure minus the reference's, on the runs that both were judged by",
    "difference_low": "lower end of its paired 95 % interval over runs",
    "difference_high": "upper end",
    "n_runs": "test runs, each counted once",
    "n_splits": "splits that they are test runs in",
    "n_train_runs": "runs fitted on; of several splits the fewest",
    "fit_seconds": "time of a fit, as if alone; of several splits the mean",
    "max_seconds": "the time that a fit was allowed; null for no limit",
    "capped": "whether that limit ended a fit",
    "reason": "why there is no value; null where there is one",
}
"""The columns of `results.parquet`: a row per property, model, slice length and measure."""

Model = str | tuple[str, Any]
Progress = Callable[[int, int, str, float | None], None]


@dataclass
class Row:
    """One model on one property, with all its splits.

    settings: of the model, besides the target
    splits:   what was found in each split
    reason:   why nothing was
    """

    model: str
    target: str
    settings: dict[str, Any]
    splits: list[Split] = field(default_factory=list)
    reason: str = ""

    @property
    def slice_length(self) -> int | str:
        return self.settings["slice_length"]

    @property
    def label(self) -> str:
        return f"{self.model} ({'whole vectors' if self.slice_length == WHOLE else f'slices of {self.slice_length}'})"

    def build(self) -> MetaClassifier:
        if "estimator" in self.settings:
            meta = Own(self.target, **self.settings)
            meta.check()
            return meta
        return build(self.model, target=self.target, **self.settings)


def bench(
    zoo: Zoo | str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    models: Sequence[Model] | None = None,
    properties: Sequence[str] | None = None,
    slice_lengths: Sequence[int | str] = (5000, WHOLE),
    snapshots: tuple[int, int] | None = (11, 20),
    converged: bool = True,
    splits: int = 1,
    max_seconds: float | None = None,
    slices: int = 10,
    reference: str = "dmc",
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Fit every model for every property in every split, and write what came of it into the folder `out`.

    models:        names of `weightprint.meta.MODELS`, and (name, estimator) for an estimator of yours with fit and
                   predict, see `weightprint.meta.own.Own`; all models by default. The baselines are always among them
    properties:    by default the choices that vary among the runs, and test_accuracy
    slice_lengths: what is read at a time; "all" for whole vectors
    snapshots:     first and last that are read, from 1; None for all
    converged:     leave out runs whose test accuracy is not above chance
    splits:        fits on the training runs of the splits 0 … splits − 1; protocol: headlines over at least five
    max_seconds:   ends a fit early; said in its row
    slices:        per snapshot, averaged when a run is judged
    reference:     the model that paired differences are taken to
    settings:      of a model what differs from its defaults, such as {"dmc": {"epochs": 10}}
    progress:      called before each fit with fits done, fits to do, what comes, and the seconds left, None at first

    Writes `results.parquet` (COLUMNS), `results.md`, `results.svg` and `cells/`; the same call computes what is
    missing and may be interrupted at any moment. What a model cannot do is a row with the reason.

    Returns a JSON-ready document: "results" (evaluation documents with "seconds" and "difference"), "left_out" (the
    reasons), "files", "computed" (fits made by this call) and the settings. Raises MetaError for unknown models,
    properties or settings, and when nothing at all can be computed.
    """
    began = time.monotonic()
    zoo = zoo if isinstance(zoo, Zoo) else Zoo(zoo)
    folder = Path(out)
    if splits < 1:
        raise MetaError(f"splits must be from 1 up, not {splits}")
    chosen = _models(models)
    if reference not in chosen and reference != "dmc":
        raise MetaError(f"the reference {reference!r} is not among the models", hint=did_you_mean(reference, chosen))
    targets = _properties(zoo, properties)
    common = {"snapshots": snapshots, "converged": converged, "max_seconds": max_seconds, "device": device}
    rows = _plan(chosen, targets, slice_lengths, common, settings or {})
    cells = Cells(_folder(folder) / "cells", fingerprint(zoo))
    computed = _compute(zoo, rows, cells, range(splits), slices, progress)
    if not any(row.splits for row in rows):
        raise MetaError(f"nothing could be computed: {rows[0].reason}", hint="see the settings, such as --snapshots")
    documents = _documents(rows, reference)
    left_out = [
        {"property": r.target, "model": r.model, "slice_length": r.slice_length, "reason": r.reason}
        for r in rows
        if not r.splits
    ]
    files = {name: str(folder / f"results.{ending}") for name, ending in ENDINGS.items()}
    result = {
        "results": documents,
        "left_out": left_out,
        "files": files,
        "zoo": str(zoo.path),
        "runs": len(zoo),
        "n_splits": splits,
        "max_seconds": max_seconds,
        "reference": reference if reference in chosen else None,
        "made_with": _made_with(),
        "computed": computed,
        "seconds": time.monotonic() - began,
    }
    write_atomic(files["table"], _parquet(table(result)))
    write_atomic(files["text"], markdown(result).encode())
    write_atomic(files["figure"], figure(documents).encode())
    return result


ENDINGS = {"table": "parquet", "text": "md", "figure": "svg"}


def _models(models: Sequence[Model] | None) -> dict[str, Any]:
    """Name → the user's estimator, or None for a model of ours; baselines first."""
    chosen: dict[str, Any] = {name: None for name in BASELINES if name in MODELS}
    for model in MODELS if models is None else models:
        name, estimator = (model, None) if isinstance(model, str) else model
        if estimator is None and name not in MODELS:
            raise MetaError(f"unknown model {name!r}", hint=did_you_mean(name, MODELS))
        if estimator is not None and (name in MODELS or name in chosen):
            raise MetaError(f"there is a model {name!r} already", hint="give the estimator another name")
        chosen[name] = estimator
    return chosen


def _properties(zoo: Zoo, names: Sequence[str] | None) -> list[str]:
    """The properties to predict; by default those with at least two values among the complete runs."""
    runs = list(zoo)
    if names is not None:
        for name in names:
            check_name(name, runs)
        return list(dict.fromkeys(names))
    values: dict[str, list[Any]] = {}
    measured: set[str] = set()
    complete = 0
    for run in runs:
        try:
            if run.status != "complete":
                continue
            complete += 1
            for name, value in run.properties.items():
                values.setdefault(name, []).append(value)
            measured.update(*run.measurements[:1])
        except CorruptFile:
            continue  # reported where the runs are chosen
    found = [name for name, own in values.items() if len(own) == complete and _varies(own)]
    return found + ["test_accuracy"] * ("test_accuracy" in measured and "test_accuracy" not in found)


def _varies(values: Sequence[Any]) -> bool:
    """Whether there is something to tell apart, and not a text for nearly each run, such as its name."""
    distinct = set(map(repr, values))
    if not all(isinstance(value, (bool, int, float, str)) for value in values):
        return False
    return len(distinct) > 1 and (len(distinct) <= MOST_CLASSES or not isinstance(values[0], str))


def _plan(
    models: Mapping[str, Any],
    targets: Sequence[str],
    slice_lengths: Sequence[int | str],
    common: Mapping[str, Any],
    settings: Mapping[str, Mapping[str, Any]],
) -> list[Row]:
    """All rows, those of one model and slice length together. Checks settings; what a model cannot read is a reason."""
    for name in settings:
        if name not in models and name not in MODELS:
            raise MetaError(f"settings for an unknown model {name!r}", hint=did_you_mean(name, [*models, *MODELS]))
    rows = []
    for name, estimator in models.items():
        own = {"estimator": estimator} if estimator is not None else {}
        cls: type[MetaClassifier] = Own if own else MODELS[name]
        for length in dict.fromkeys(slice_lengths) if cls.reads_weights else [WHOLE]:
            for target in targets:
                chosen = {**common, "slice_length": length, **settings.get(name, {}), **own}
                row = Row(name, target, chosen)
                if (length == WHOLE and not cls.reads_whole) or (length != WHOLE and not cls.reads_slices):
                    row.reason = f"{name} reads {'slices' if length == WHOLE else 'whole vectors'} alone"
                else:
                    row.build()
                rows.append(row)
    return rows


def _folder(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise MetaError(f"{path} is a file, not a folder for results", hint="choose another path") from None
    return path


def _compute(
    zoo: Zoo, rows: Sequence[Row], cells: Cells, seeds: Iterable[int], slices: int, progress: Progress | None
) -> int:
    """Give every row its splits, from cells that are there or computed now and kept. Returns how many were computed."""
    parts = {seed: zoo.split(split_seed=seed) for seed in seeds}
    keyed = [(row, seed, _cell(row, seed, slices)) for row in rows if not row.reason for seed in parts]
    wanted = [(row, seed, cell, cells.get(cell)) for row, seed, cell in keyed]
    pace = _Pace([row for row, _, _, known in wanted if known is None])
    for row, _, _, known in wanted:
        if known is not None:
            pace.learn(row, known["seconds"])
    memory: dict[str, Any] = {}
    remembered = ""
    done = 0
    for row, seed, cell, result in wanted:
        if result is None:
            if progress is not None:
                progress(done, pace.total, f"{row.label}: {row.target}", pace.left)
            if row.label != remembered:
                memory, remembered = {}, row.label
            result = _result(row, parts[seed], slices, memory)
            if result["document"] is not None or "estimator" not in row.settings:  # a user's mistake can be mended
                cells.put(cell, {"settings": cell.settings, **result})
            pace.finish(row, result["seconds"])
            done += 1
        if result["document"] is not None:
            row.splits.append(Split(seed, result["document"], result["answers"]))
        else:
            row.reason = result["reason"]
    if progress is not None:
        progress(done, pace.total, "done", 0.0)
    return done


class _Pace:
    """How long what is left will take, from what fits of the same model took."""

    def __init__(self, missing: Sequence[Row]) -> None:
        self.total = len(missing)
        self._missing = [row.label for row in missing]
        self._limits = {row.label: row.settings["max_seconds"] for row in missing}
        self._took: dict[str, list[float]] = {}

    def learn(self, row: Row, seconds: float) -> None:
        self._took.setdefault(row.label, []).append(seconds)

    def finish(self, row: Row, seconds: float) -> None:
        self._missing.remove(row.label)
        self.learn(row, seconds)

    @property
    def left(self) -> float | None:
        """Seconds; None as long as nothing is known."""
        means = {label: sum(took) / len(took) for label, took in self._took.items()}
        if not means:
            return None
        typical = max(means.values())
        return sum(means.get(label, self._limits[label] or typical) for label in self._missing)


def _cell(row: Row, seed: int, slices: int) -> Cell:
    """Where a fit's result lies: all that it depends on besides the runs."""
    params = row.build().get_params(deep=False)
    params = {name: list(v) if isinstance(v, tuple) else v for name, v in params.items()}
    if "estimator" in params:
        params["estimator"] = _described(params["estimator"])
    return Cell(
        "bench", {"version": VERSION, "model": row.model, "params": params, "split_seed": seed, "slices": slices}
    )


def _described(estimator: Any) -> dict[str, Any]:
    """What tells an estimator from another: its class and parameters, or without these its text."""
    kind = type(estimator)
    params = estimator.get_params(deep=True) if hasattr(estimator, "get_params") else {"": estimator}
    return {"class": f"{kind.__module__}.{kind.__qualname__}", **{name: repr(value) for name, value in params.items()}}


def _result(row: Row, parts: tuple[Any, Any], slices: int, memory: dict[str, Any]) -> dict[str, Any]:
    """Fit and judge one model: {"document", "answers", "reason", "seconds"}."""
    began = time.monotonic()
    train, test = parts
    meta = row.build()
    recalled = _remember(meta, memory) if meta.name in REMEMBERED else []
    document, found, reason = None, [], ""
    try:
        meta.fit(train)
        unseen = meta.read_unseen(test, slices=slices)
        meta.read_unseen = lambda *_, **__: unseen  # type: ignore[method-assign]  # so that test runs are read once
        document = {**meta.evaluate(test, slices=slices), "model": row.model}
        found = answers(meta, unseen[0])
    except MetaError as error:
        reason = error.message
    seconds = time.monotonic() - began
    if document is not None:
        document["fit_seconds"] += sum(recalled)
        document["seconds"] = seconds + sum(recalled)
    return {"document": document, "answers": found, "reason": reason, "seconds": seconds, "made_with": _made_with()}


def _remember(meta: MetaClassifier, memory: dict[str, Any]) -> list[float]:
    """Have `meta` take from a run what an equal model has taken of it before.

    Returns the seconds that each such run had taken: a list that grows during the fit.
    """
    take = meta._take
    recalled: list[float] = []

    def recall(member: Any, weights: Any, generator: Any) -> Any:
        if member.run.identity in memory:
            kept, seconds = memory[member.run.identity]
            recalled.append(seconds)
        else:
            began = time.monotonic()
            kept = take(member, weights, generator)
            memory[member.run.identity] = kept, time.monotonic() - began
        return kept

    meta._take = recall  # type: ignore[method-assign]
    return recalled


def _documents(rows: Sequence[Row], reference: str) -> list[dict[str, Any]]:
    """The evaluation document of every row that has one, property by property, with the difference to the reference:
    the one with the same slice length, or the first."""
    documents = []
    for target in dict.fromkeys(row.target for row in rows):
        own = [row for row in rows if row.target == target and row.splits]
        rivals = [row for row in own if row.model == reference]
        for row in own:
            rival = next((r for r in rivals if r.slice_length == row.slice_length), rivals[0] if rivals else None)
            pair = difference(row.splits, rival.splits) if rival is not None and rival is not row else None
            if pair is not None and rival is not None:
                pair = {"reference": rival.label, **pair}
            documents.append({**pooled(row.splits), "difference": pair, "reason": row.reason or None})
    return documents


def table(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of `results.parquet` from what `bench` returns."""
    rows = []
    for document in result["results"]:
        pair = document["difference"] or {}
        shared = {name: document.get(name) for name in COLUMNS}
        shared |= {"reference": pair.get("reference"), "difference": None}
        for measure, found, gap in _measures(document, pair):
            low, high = found["interval"] or (None, None)
            gap_low, gap_high = gap.get("interval") or (None, None)
            rows.append(
                {
                    **shared,
                    "measure": measure,
                    "value": found["value"],
                    "low": low,
                    "high": high,
                    "difference": gap.get("difference"),
                    "difference_low": gap_low,
                    "difference_high": gap_high,
                }
            )
    rows += [{**dict.fromkeys(COLUMNS), **left_out} for left_out in result["left_out"]]
    return [{**row, "slice_length": str(row["slice_length"])} for row in rows]


def _measures(document: Mapping[str, Any], pair: Mapping[str, Any]) -> Iterable[tuple[str, Any, Mapping[str, Any]]]:
    """Each measure of a document: name, value with interval, and its difference to the reference."""
    per_run = document["per_run"]
    if document["kind"] == "regression":
        yield "r2", per_run["r2"], pair.get("r2", {})
        yield "mae", per_run["mae"], pair
        yield "kendall_tau", per_run["kendall_tau"], {}
        yield "tau_ceiling", per_run["tau_ceiling"], {}
        return
    yield "accuracy", {"value": per_run["accuracy"], **per_run}, pair
    for unit in ("per_slice", "per_snapshot"):
        if unit in document:
            found = document[unit]
            yield f"accuracy_{unit}", {"value": found["accuracy"], **found}, {}


def _parquet(rows: Sequence[Mapping[str, Any]]) -> bytes:
    import polars as pl

    texts = ("property", "model", "slice_length", "kind", "measure", "reference", "reason")
    types: dict[str, Any] = dict.fromkeys(texts, pl.String)
    schema = {
        name: types.get(name, pl.Boolean if name == "capped" else pl.Int64 if name.startswith("n_") else pl.Float64)
        for name in COLUMNS
    }
    buffer = io.BytesIO()
    pl.DataFrame([dict(row) for row in rows], schema=schema).write_parquet(buffer)
    return buffer.getvalue()


def _made_with() -> dict[str, str]:
    """The versions and the machine that a result was made with: {"weightprint", "python", "numpy", …, "machine"}."""
    import platform
    from importlib.metadata import version

    from weightprint import __version__

    libraries = {name: version(name) for name in ("numpy", "scikit-learn", "torch")}
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    return {"weightprint": __version__, "python": platform.python_version(), **libraries, "machine": machine}
