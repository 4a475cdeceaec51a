"""Writes the tables of docs/results.md from the files that its commands make.

    python docs/generate/results.py STUDY/results.parquet EVALUATED

EVALUATED is a folder with the documents of `weightprint evaluate … --json`, each named after what was evaluated; its
folder by-runs has those of meta-classifiers fitted on fewer and more runs. A table stands between `<!-- its name -->`
and `<!-- end -->`; what lies between is written anew, the rest of the page is left. Accuracies are in %, R² as they
are, with their 95 % intervals; ▲ where the whole interval lies above chance and majority (of numbers above 0).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from weightprint.evaluation.answers import CLASSIFICATION
from weightprint.evaluation.claims import above, baseline, interval_of
from weightprint.study.plans import THIS_ZOO

PAGE = Path(__file__).parents[1] / "results.md"
ZOO = "fixed"  # that the page's study is of
CLASSES = ("dataset", "optimizer", "activation", "initialization", "augmentation", "batch_size")
NUMBERS = ("learning_rate", "test_accuracy")
MODELS = ("layer_trees", "trees", "slice_trees", "svm", "dmc", "fields", "shapes", "majority")
MOMENTS = ("1", "2", "3", "4", "6", "8", "10", "15", "20")
PAIRS = ("2 → 20", "5 → 20", "10 → 20", "20 → 10", "20 → 5", "20 → 2")

Row = Mapping[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("evaluated", type=Path)
    args = parser.parse_args()
    text = PAGE.read_text(encoding="utf-8")
    made = {
        **of_study(pl.read_parquet(args.results)),
        "fresh": of_evaluations(args.evaluated, {"x": ""}),
        "runs on fresh": of_evaluations(args.evaluated / "by-runs", {"model": "", "n_train_runs": "fitted on"}),
    }
    for name, table in made.items():
        if table.count("\n") < 2:
            continue  # nothing of this kind was computed
        before, found, rest = text.partition(f"<!-- {name} -->\n")
        if found:
            text = before + found + table + "\n" + rest[rest.index("<!-- end -->") :]
        print(f"{name}: {'written' if found else 'stands nowhere on the page'}")
    PAGE.write_text(text, encoding="utf-8")


def of_study(results: pl.DataFrame) -> dict[str, str]:
    """Name of a table → the table."""
    rows = [{**r, "several": f"{r['series']} → {r['x']}".replace(THIS_ZOO, ZOO)} for r in results.iter_rows(named=True)]

    def some(experiment: str, **wanted: Any) -> list[Row]:
        kept = {column: value if isinstance(value, tuple) else (value,) for column, value in wanted.items()}
        of_it = [r for r in rows if r["experiment"] == experiment and r["measure"] in (None, "accuracy", "r2")]
        return [r for r in of_it if all(r[column] in values for column, values in kept.items())]

    moments = some("moments", x=MOMENTS)
    return {
        "splits": table(some("headline"), {"model": ""}),
        "slices": table(some("slices", x=("1", "10")), {"model": "", "series": "weights", "x": "slices"}, CLASSES),
        "training runs": table(some("training_runs"), {"n_train_runs": "training runs", "model": ""}),
        "controls": table(some("controls"), {"model": "", "x": ""}, CLASSES),
        "where": table([r for e in ("part", "kind", "layer", "all") for r in some(e, question="where")], {"x": ""}),
        "slices of parts": table(some("slices_of_part"), {"x": "slices of"}, CLASSES),
        "when": table([r for r in moments if r["series"] == r["x"]], {"x": "snapshot"}),
        "moments": table(some("moments", several=PAIRS), {"several": "trained → tested"}, order=PAIRS),
        "slices by snapshot": table(some("slices_by_snapshot"), {"x": "snapshot"}, CLASSES),
        "neighbours": table(some("neighbours", x=("1", "2", "5", "10", "20")), {"x": "snapshot"}, CLASSES),
        "zoos": table(with_all_n(some("zoo")), {"several": "trained → tested", "n": "n"}, CLASSES),
        **{
            f"without one {left_out}": table(
                some(left_out, question="transfer"),
                {"x": "left out", "n_runs": "n"},
                [name for name in CLASSES if name != left_out],
            )
            for left_out in CLASSES
        },
    }


def with_all_n(rows: Sequence[Row]) -> list[Row]:
    """With "n", the fewest and the most test runs of the rows of equal "several": properties differ in them."""
    counts: dict[str, set[int]] = {}
    for row in rows:
        counts.setdefault(row["several"], set()).add(row["n_runs"])
    spans = {several: sorted({min(of_it), max(of_it)}) for several, of_it in counts.items()}
    return [{**row, "n": "–".join(map(str, spans[row["several"]]))} for row in rows]


def of_evaluations(folder: Path, keys: Mapping[str, str]) -> str:
    """Each document of the folder as a row, and what can be had without weights.

    keys: as of `table`; "x" is the document's name
    """
    rows: list[Row] = []
    without: dict[str, Row] = {}
    for path in sorted(folder.glob("*.json")):
        first = json.loads(path.read_text(encoding="utf-8"))
        for document in (first, *first.get("together", ())):
            measure = "accuracy" if document["kind"] == CLASSIFICATION else "r2"
            value = document["per_run"][measure]
            low, high = interval_of(document)
            known = {name: document.get(name) for name in ("property", "model", "n_train_runs", "chance", "majority")}
            scored = {"value": value["value"] if measure == "r2" else value, "low": low, "high": high}
            rows.append({**known, **scored, "x": path.stem, "measure": measure})
            least = {"value": baseline(document), "low": None, "high": None, "measure": measure}
            without[document["property"]] = {
                **known,
                **least,
                **dict.fromkeys(keys),
                next(iter(keys)): "*chance or majority*",
            }
    return table([*sorted(rows, key=lambda row: row["n_train_runs"]), *without.values()], keys)


def table(
    rows: Sequence[Row],
    keys: Mapping[str, str],
    properties: Sequence[str] = (*CLASSES, *NUMBERS),
    order: Sequence[str] = MODELS,
) -> str:
    """A Markdown table: a row for each combination of what the rows have in the columns `keys`, a column per property.

    keys:  column → its head
    order: of the first column's values; others follow as they come
    """
    lines: dict[tuple[str, ...], dict[str, Row]] = {}
    for row in rows:
        lines.setdefault(tuple(words(row[key]) for key in keys), {})[row["property"]] = row
    ranks = {words(name): rank for rank, name in enumerate(order)}
    ordered = sorted(lines.items(), key=lambda line: ranks.get(line[0][0], len(ranks)))
    shown = [name for name in properties if any(name in of_line for of_line in lines.values())]
    heads = [*keys.values(), *(words(name) for name in shown)]
    body = [[*key, *(score(of_line.get(name)) for name in shown)] for key, of_line in ordered]
    return "\n".join("| " + " | ".join(line) + " |" for line in (heads, ["---"] * len(heads), *body))


def words(value: object) -> str:
    text = "" if value is None else str(value)
    if text.isdigit():
        return f"{int(text):,}"
    return text if text.startswith(MODELS) else text.replace("_", " ")


def score(row: Row | None) -> str:
    """A value with its interval."""
    if row is None or row["value"] is None:
        return "–"
    numbers = [row[name] for name in ("value", "low", "high")]
    value, *ends = (percent(n) if row["measure"] == "accuracy" else r2(n) for n in numbers if n is not None)
    interval = f" [{', '.join(ends)}]" if ends else ""
    return f"{value}{interval}{' ▲' if ends and above(row) else ''}"


def percent(share: float) -> str:
    return f"{100 * share:.0f}"


def r2(value: float) -> str:
    text = f"{abs(value):.2f}".removeprefix("0") if abs(value) < 1 else f"{abs(value):.2f}"
    return f"{'−' if value < -0.005 else ''}{text}"


if __name__ == "__main__":
    main()
