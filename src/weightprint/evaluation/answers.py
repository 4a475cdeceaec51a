"""The table of answers: a row per fit and test run. Every score, interval and comparison is computed from it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from weightprint.errors import MetaError

CLASSIFICATION, REGRESSION = "classification", "regression"

SLICE, SNAPSHOT = "slice", "snapshot"

SCHEMA = pl.Schema(
    {
        "zoo": pl.String(),
        "split": pl.Int64(),
        "property": pl.String(),
        "kind": pl.String(),
        "model": pl.String(),
        "view": pl.String(),
        "reads": pl.String(),
        "classes": pl.List(pl.String),
        "run": pl.String(),
        "truth": pl.Float64(),
        "answer": pl.Float64(),
        "probabilities": pl.List(pl.Float64),
        "hits": pl.Int64(),
        "readings": pl.Int64(),
    }
)
"""The columns.

zoo:           where the test run lies, in words; may be empty
split:         seed of the split, or number of the fold, that the model was fitted in
property:      what is predicted
kind:          "classification" or "regression"
model, view:   what was fitted and which weights it sees, in words
reads:         what one reading is: "slice" or "snapshot"
classes:       those that the model knows, ascending, each as JSON; empty for a regression
run:           identity of the test run
truth, answer: numbers of classes from 0, or values
probabilities: of each class, the mean over the run; null where only the answer is known, and for a regression
hits:          readings of the run that named its class; null as above
readings:      all of them; null as above
"""


def table(
    runs: Sequence[str],
    truth: npt.ArrayLike,
    answer: npt.ArrayLike,
    *,
    classes: Sequence[Any] = (),
    probabilities: npt.ArrayLike | None = None,
    hits: npt.ArrayLike | None = None,
    readings: npt.ArrayLike | None = None,
    zoo: str = "",
    split: int = 0,
    property: str = "",
    model: str = "",
    view: str = "",
    reads: str = SNAPSHOT,
) -> pl.DataFrame:
    """The answers of one fit: columns of SCHEMA, given for N test runs or for all of them.

    truth, answer: [N], numbers of `classes`, or values where there are no classes
    classes:       ascending, in their own type
    probabilities: [N, C]
    hits, readings: [N]
    """
    same = {"zoo": zoo, "split": split, "property": property, "model": model, "view": view, "reads": reads}
    same |= {"kind": CLASSIFICATION if len(classes) else REGRESSION, "classes": [json.dumps(name) for name in classes]}
    columns: dict[str, npt.ArrayLike | None]
    columns = {"truth": np.asarray(truth, np.float64), "answer": np.asarray(answer, np.float64)}
    columns |= {"probabilities": probabilities, "hits": hits, "readings": readings}
    known = {name: np.asarray(values).tolist() for name, values in columns.items() if values is not None}
    return from_json({"same": same, "columns": {"run": list(runs), **known}})


def to_json(answers: pl.DataFrame) -> dict[str, Any]:
    """A table as small JSON: columns of one value once ("same"), the others as lists ("columns")."""
    alike = [name for name in answers.columns if name != "run" and answers[name].n_unique() == 1]
    return {"same": answers.select(alike).row(0, named=True), "columns": answers.drop(alike).to_dict(as_series=False)}


def from_json(kept: Mapping[str, Any]) -> pl.DataFrame:
    """The table that `to_json` made small; columns that it does not have are null."""
    n = len(kept["columns"]["run"])
    columns = {**{name: [value] * n for name, value in kept["same"].items()}, **kept["columns"]}
    return pl.DataFrame({name: columns.get(name, [None] * n) for name in SCHEMA}, schema=SCHEMA)


def one_kind(answers: pl.DataFrame) -> str:
    """Whether they are classes or values. Raises MetaError without an answer, or for answers of several properties."""
    if not len(answers):
        raise MetaError("there are no answers", hint="judge by runs that were not trained on")
    kinds = answers.select("property", "kind").unique(maintain_order=True)
    if len(kinds) > 1 and kinds["property"].n_unique() == 1:
        raise MetaError(
            f"{kinds['property'][0]} is told in classes by some fits and regressed by others: their training runs have "
            "few different values, or many",
            hint="fit on runs with the same values",
        )
    if len(kinds) > 1:
        names = sorted({*kinds["property"], *kinds["kind"]})
        raise MetaError(
            f"models of different targets cannot be compared: {', '.join(names)}", hint="fit them to one property"
        )
    return kinds["kind"][0]


def common_classes(answers: pl.DataFrame) -> tuple[list[Any], pl.DataFrame]:
    """The classes that any of the fits knows, ascending, and the answers with truth, answer and probabilities in their
    numbers: a class that is rare may be none in one split."""
    lists = answers["classes"].unique(maintain_order=True).to_list()
    texts = list(dict.fromkeys(text for names in lists for text in names))
    classes = sorted(map(json.loads, texts), key=lambda label: (type(label).__name__, label))
    if len(lists) < 2:
        return classes, answers
    ordered = [json.dumps(label) for label in classes]
    rows = answers.to_dicts()
    for row in rows:
        place = [ordered.index(text) for text in row["classes"]]
        row |= {"truth": place[int(row["truth"])], "answer": place[int(row["answer"])], "classes": ordered}
        if row["probabilities"] is not None:
            known = dict(zip(place, row["probabilities"], strict=True))
            row["probabilities"] = [known.get(number, 0.0) for number in range(len(ordered))]
    return classes, pl.DataFrame(rows, schema=answers.schema)


def per_run(answers: pl.DataFrame) -> pl.DataFrame:
    """The one convention of pooling over splits: each run weighs the same, whatever the number of splits that test it.

    Scores are averaged, never predictions: those of several fits together would be an ensemble's. A row per run, in
    the order in which they first appear: "run", and the means over its tests of

    truth:        the number of its class among `common_classes`, or its value
    score:        1 where it was named right and 0 where not, or the absolute error
    square_error: 0 for a classification
    hits, readings: as in SCHEMA; null where they are not known

    and "tests", their number. Raises MetaError as `one_kind` does.
    """
    error = pl.col("answer") - pl.col("truth")
    if one_kind(answers) == CLASSIFICATION:
        answers = common_classes(answers)[1]
        score, square = (error == 0).cast(pl.Float64), pl.lit(0.0)
    else:
        score, square = error.abs(), error**2
    return answers.group_by("run", maintain_order=True).agg(
        tests=pl.len(),
        truth=pl.col("truth").mean(),
        score=score.mean(),
        square_error=square.mean(),
        hits=pl.col("hits").mean(),
        readings=pl.col("readings").mean(),
    )
