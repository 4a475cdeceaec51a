"""What a study wants to know of a zoo, as a list of results to have; and those results as rows of one tidy table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from weightprint.features.table import features_named
from weightprint.meta.models import learner_class, model_named
from weightprint.meta.targets import property_order
from weightprint.study.cells import Cell, Cells
from weightprint.study.table import FeatureTable, Read
from weightprint.study.trial import Trial

MOST_CLASSES = 10
"""A property with more values is a number to be estimated, if it is one."""
ACCURACY = "test_accuracy"
"""What is measured in networks and estimated like a property."""

TRIAL = "trial"
"""The kind of a trial's cell."""

CURVE_ITERATIONS = 60
"""Of the trees in curves, where no time goes into choosing the number."""

COLUMNS = {
    "question": "which of the study's questions: how_much, where, when, transfer or controls",
    "experiment": "which experiment of it",
    "property": "what is predicted",
    "model": "the meta-classifier",
    "series": "what tells curves of one experiment apart",
    "x": "where on the curve, as text",
    "x_number": "the same as a number; null where it is none",
    "measure": "accuracy, or r2 for a number; where an experiment measures something else, its name",
    "value": "of the measure, over test runs",
    "low": "lower end of its 95 % interval",
    "high": "upper end",
    "chance": "accuracy of guessing",
    "majority": "accuracy of always answering the test runs' most frequent class",
    "n_runs": "test runs, each counted once",
    "n_train_runs": "training runs of the smallest fit",
    "seconds": "of all fits and tests of the result",
    "reason": "why there is no value; null where there is one",
    "left_out": "runs that could not take part, by reason: 3 kin, 2 no_such_snapshot; null where there is none",
}
"""The columns of results.parquet and what they hold."""


@dataclass(frozen=True)
class Other:
    """Another zoo. key: its fingerprint; name: of its folder"""

    key: str
    name: str


@dataclass(frozen=True)
class Facts:
    """What the plans need to know of a zoo.

    targets:   properties that are classified, then numbers that are regressed
    snapshots: T, the most that a run has
    tensors:   tensor → kind and part, in forward order
    values:    property → its values, sorted
    length:    P of the shortest network
    lengths_differ: whether others are longer
    runs:      how many
    others:    zoos that are compared with this one
    """

    targets: tuple[str, ...]
    numbers: tuple[str, ...]
    snapshots: int
    tensors: Mapping[str, Mapping[str, str]]
    values: Mapping[str, tuple[Any, ...]]
    length: int
    lengths_differ: bool
    runs: int
    others: tuple[Other, ...] = ()

    @classmethod
    def of(cls, table: FeatureTable, most: int, others: tuple[Other, ...] = ()) -> Facts:
        """The facts of a table, with at most `most` properties."""
        values: dict[str, tuple[Any, ...]] = {}
        for name in {name for run in table.runs for name in run.properties}:
            of_runs = [run.properties.get(name) for run in table.runs]
            if len({type(v) for v in of_runs}) == 1 and isinstance(of_runs[0], (str, int, float)):
                values[name] = tuple(sorted(set(of_runs)))
        ordered = property_order([values])
        targets = [name for name in ordered if 2 <= len(values[name]) <= MOST_CLASSES]
        numbers = [n for n in ordered if len(values[n]) > MOST_CLASSES and isinstance(values[n][0], (int, float))]
        measured = {name for run in table.runs[:1] for row in run.measurements[:1] for name in row}
        numbers += [ACCURACY] if ACCURACY in measured and ACCURACY not in values else []
        return cls(
            targets=tuple(targets[:most]),
            numbers=tuple(numbers[:most]),
            snapshots=table.snapshots,
            tensors=table.tensors,
            values=values,
            length=min(run.length for run in table.runs),
            lengths_differ=len({run.length for run in table.runs}) > 1,
            runs=len(table.runs),
            others=others,
        )

    @property
    def layers(self) -> tuple[str, ...]:
        """Layers in forward order: the part of a tensor's name before the last slash."""
        return tuple(dict.fromkeys(name.rpartition("/")[0] or name for name in self.tensors))

    def tensors_of(
        self, *, layer: str | None = None, kind: str | None = None, part: str | None = None
    ) -> tuple[str, ...]:
        """The tensors of a layer, a kind or a part."""
        return tuple(
            name
            for name, tensor in self.tensors.items()
            if (layer is None or (name.rpartition("/")[0] or name) == layer)
            and (kind is None or tensor["kind"] == kind)
            and (part is None or tensor["part"] == part)
        )


def versions_of(*models: str) -> dict[str, int]:
    """Of the code that a result of these models stands on: their features and learners."""
    table_rows: dict[str, int] = {}
    for model in map(model_named, models):
        table_rows |= {
            f"features {model.features}": model.reads.version,
            f"learner {model.learner}": learner_class(model.learner).version,
        }
    return table_rows


def versions_of_reads(*reads: Read) -> dict[str, int]:
    """The same of results that read tables without learning from them."""
    return {f"features {features}": features_named(features).version for features, _ in reads}


@dataclass(frozen=True)
class Planned:
    """One result that a study wants, and where it stands in the table of results.

    xs: one for each score of the result; those of the result itself ("xs") where it brings them
    """

    question: str
    experiment: str
    target: str
    model: str
    series: str
    xs: tuple[Any, ...]
    cell: Cell


def planned_trial(
    question: str, experiment: str, trial: Trial, *, series: str = "", xs: Sequence[Any] = ("",)
) -> Planned:
    """A result that one trial gives."""
    cell = Cell(TRIAL, asdict(trial), trial.cost, versions_of(trial.model))
    return Planned(question, experiment, trial.target, trial.model, series, tuple(xs), cell)


def rows(planned: Sequence[Planned], cells: Cells) -> list[dict[str, Any]]:
    """The results that are there, one row per score; columns are COLUMNS."""
    table_rows: list[dict[str, Any]] = []
    for one in planned:
        result = cells.get(one.cell)
        if result is None:
            continue
        scores = result.get("scores") or [{}] * len(result.get("xs", one.xs))
        for x, score in zip(result.get("xs", one.xs), scores, strict=True):
            number = x if isinstance(x, (int, float)) and not isinstance(x, bool) else None
            table_rows.append(
                {
                    "question": one.question,
                    "experiment": one.experiment,
                    "property": one.target,
                    "model": one.model,
                    "series": one.series,
                    "x": str(x),
                    "x_number": None if number is None else float(number),
                    **{name: score.get(name) for name in ("measure", "value", "low", "high", "chance", "majority")},
                    "n_runs": score.get("n_runs"),
                    "n_train_runs": score.get("n_train_runs"),
                    "seconds": result.get("seconds"),
                    "reason": score.get("reason") or result.get("reason"),
                    "left_out": describe(score.get("left_out") or {}),
                }
            )
    return table_rows


def describe(left_out: Mapping[str, int]) -> str | None:
    """Counts by reason as one phrase; None for none."""
    return ", ".join(f"{count} {reason}" for reason, count in sorted(left_out.items()) if count) or None
