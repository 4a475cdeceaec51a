"""Tables: rows of texts under names, as text for the terminal, as Markdown and as HTML (`parts.html`); what goes into
them; and numbers as a reader would say them."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from weightprint.evaluation.answers import REGRESSION
from weightprint.evaluation.scores import MEASURES
from weightprint.report.scores import Result, classifications, in_order, regressions, setting_text, words

ABOVE, DIFFERS = MARKS = ("▲", "◆")
"""Mark a text whose whole interval lies above chance and majority, or on one side of 0."""
UNKNOWN = "–"
MEASURE_NAMES = {"r2": "R²", "mae": "mean absolute error", "kendall_tau": "Kendall τ", "tau_ceiling": "ceiling of τ"}

SETTINGS = ("training runs", "reads", "part of the network", "snapshots", "runs", "time to fit")
"""Columns of tables of results that tell settings: those that are alike in all rows can be said in a sentence."""

TEXTS = (
    *("question", "experiment", "property", "model", "slice_length", "series", "x"),
    *("kind", "measure", "reference", "reason", "left_out"),
)
"""Columns of tables of results that hold text."""


def parquet(rows: Iterable[Mapping[str, Any]], columns: Iterable[str]) -> bytes:
    """A table of results as a Parquet file: TEXTS, counts ("n_…") as whole numbers, "capped" as a truth value, and
    numbers."""
    import polars as pl

    special: dict[str, Any] = {**dict.fromkeys(TEXTS, pl.String), "capped": pl.Boolean}
    schema = {name: special.get(name, pl.Int64 if name.startswith("n_") else pl.Float64) for name in columns}
    buffer = io.BytesIO()
    pl.DataFrame([dict(row) for row in rows], schema=schema).write_parquet(buffer)
    return buffer.getvalue()


@dataclass(frozen=True)
class Table:
    """Rows of texts. A text that ends in a mark is shown in bold; the first column names the row.

    columns: their names
    rows:    a text for each column
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, str]]) -> Table:
        """The table of rows that all have the same columns."""
        return cls(list(rows[0]) if rows else [], [list(row.values()) for row in rows])

    @property
    def numeric(self) -> list[bool]:
        """Of each column whether it holds nothing but numbers, which stand at the right."""
        return [all(re.fullmatch(r"[−\-\d.,–]+( %)?( [▲◆])?", cell) for cell in column) for column in self._by_column()]

    @property
    def grouped(self) -> bool:
        """Whether several rows in a row have one name."""
        return len({row[0] for row in self.rows}) < len(self.rows)

    def _by_column(self) -> Iterable[tuple[str, ...]]:
        return zip(*self.rows, strict=True)

    def alike(self, names: Iterable[str]) -> dict[str, str]:
        """Of the columns of these names those with one and the same text in all rows, and the text."""
        columns = dict(zip(self.columns, self._by_column(), strict=False))
        return {name: columns[name][0] for name in names if len(set(columns.get(name, ()))) == 1}

    def without(self, names: Iterable[str]) -> Table:
        """The table without some columns."""
        kept = [i for i, name in enumerate(self.columns) if name not in names]
        return Table([self.columns[i] for i in kept], [[row[i] for i in kept] for row in self.rows])

    def text(self) -> str:
        """For the terminal."""
        rows = [self.columns, *self.rows]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        return "\n".join([lines[0], "─" * max(map(len, lines)), *lines[1:]])

    def markdown(self) -> str:
        """As Markdown."""
        rows = [self.columns, ["---"] * len(self.columns), *self.rows]
        escaped = ([cell.replace("|", "\\|") for cell in row] for row in rows)
        return "\n".join(f"| {' | '.join(row)} |" for row in escaped)


def percent(share: float | None) -> str:
    """A share of 1 in percent, without the sign."""
    return UNKNOWN if share is None else f"{100 * share:.1f}"


def whole_percent(share: float) -> str:
    """A share of 1 in whole percent, with the sign."""
    return f"{100 * share:.0f} %"


def interval_text(low: float | None, high: float | None) -> str:
    """An interval of shares in percent, or nothing."""
    return "" if low is None or high is None else f"[{percent(low)}, {percent(high)}]"


def share_text(value: float | None, low: float | None, high: float | None) -> str:
    """A share in percent with its interval."""
    return f"{percent(value)} {interval_text(low, high)}".rstrip().replace("-", "−")


def number(value: float | None, *, digits: bool = False) -> str:
    """A quantity to two decimals, or to three digits where its size is not known beforehand."""
    return UNKNOWN if value is None else (f"{value:.3g}" if digits else f"{value:.2f}").replace("-", "−")


def number_text(value: float | None, low: float | None, high: float | None, *, digits: bool = False) -> str:
    """A quantity with its interval."""
    middle, *ends = (number(one, digits=digits) for one in (value, low, high))
    return middle if low is None or high is None else f"{middle} [{', '.join(ends)}]"


def duration(seconds: float | None) -> str:
    """Seconds as a reader would say them."""
    if seconds is None:
        return UNKNOWN
    if seconds < 59.95:
        return "under 0.1 s" if seconds < 0.1 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min {rest:02d} s"


def runs_text(counts: Iterable[int | None]) -> str:
    """How many runs several scores stand on: "24", or "22–24" where they differ."""
    return span([count for count in counts if count is not None])


def span(values: Sequence[float], form: str = "") -> str:
    """The smallest and the largest of several numbers, "–" between them; one where they read alike."""
    ends = [f"{end:{form}}" for end in (min(values), max(values))] if values else [UNKNOWN]
    return "–".join(dict.fromkeys(ends))


def excluded_text(excluded: Mapping[str, int]) -> str:
    """Counts of runs left out, by reason."""
    return ", ".join(f"{count} {words(reason)}" for reason, count in excluded.items() if count) or "none"


# Tables of results.


def accuracy_cell(result: Result | None) -> str:
    """An accuracy with its interval, and the mark where that lies above the baseline."""
    if result is None or result.accuracy is None:
        return UNKNOWN
    return share_text(result.accuracy, *result.interval) + f" {ABOVE}" * result.above


def measure_cell(result: Result, name: str) -> str:
    """A regression's measure with its interval, and the mark where an R² lies above 0."""
    text = number_text(*result.measure(name), digits=name == "mae")
    return text + f" {ABOVE}" * (name == "r2" and result.above)


def result_rows(results: Iterable[Result]) -> list[dict[str, str]]:
    """A row per result, all of them classifications or all regressions: the columns of pages and of Markdown."""
    rows = []
    for result in results:
        document = result.document
        count = {"test runs": UNKNOWN if result.n_runs is None else str(result.n_runs)}
        if document.get("kind") == REGRESSION:
            scores = {MEASURE_NAMES[name]: measure_cell(result, name) for name in MEASURES} | count
        else:
            scores = {
                "accuracy": percent(result.accuracy) + f" {ABOVE}" * result.above,
                "95 % interval": interval_text(*result.interval),
                "chance": percent(document.get("chance")),
                "majority": percent(document.get("majority")),
                **count,
                "one slice or snapshot alone": share_text(*result.single) if result.single else UNKNOWN,
            }
        names = {"property": words(result.target), "meta-classifier": result.label}
        rows.append({**names, **scores, **_difference(result), **_settings(document)})
    return rows


def _difference(result: Result) -> dict[str, str]:
    """The paired difference to a reference, where the document has one or states that there is none."""
    if "difference" not in result.document:
        return {}
    pair = result.document["difference"]
    if not pair:
        return {"minus the reference": UNKNOWN}
    values = (pair["difference"], *(pair["interval"] or (None, None)))
    text = number_text(*values, digits=True) if pair["measure"] == "mae" else share_text(*values)
    return {"minus the reference": text}


def _settings(document: Mapping[str, Any]) -> dict[str, str]:
    took = [] if document.get("fit_seconds") is None else [duration(document["fit_seconds"])]
    if document.get("max_seconds") is not None:
        took.append(f"{'capped at' if document.get('capped') else 'limit'} {document['max_seconds']:g} s")
    names = ("n_train_runs", "slice_length", "part", "snapshots", "converged")
    texts = [setting_text(name, document[name]) if name in document else UNKNOWN for name in names]
    return dict(zip(SETTINGS, [*texts, ", ".join(took) or UNKNOWN], strict=True))


def accuracy_text(documents: Iterable[Mapping[str, Any]]) -> str:
    """Property × model as plain text: accuracy over test runs with its 95 % interval, runs, chance and majority.

    Regressions follow in a table of their own. The last line says how to read it.
    """
    documents = list(documents)
    results, estimates = classifications(documents), regressions(documents)
    blocks, legend = [], []
    if results:
        labels = in_order(result.label for result in results)
        rows = []
        for name in in_order(result.target for result in results):
            of_property = {result.label: result for result in results if result.target == name}
            counts = runs_text(result.n_runs for result in of_property.values())
            shares = {key: _percents(of_property.values(), key) for key in ("chance", "majority")}
            scores = {label: accuracy_cell(of_property.get(label)) for label in labels}
            rows.append({"property": name, "runs": counts, **shares, **scores})
        blocks.append(Table.of(rows).text())
        legend.append(f"accuracy in % of test runs [95 % interval]; {ABOVE} all of it above chance and majority")
    if estimates:
        rows = []
        for result in estimates:
            scores = {MEASURE_NAMES[name]: measure_cell(result, name) for name in MEASURES}
            names = {"property": result.target, "runs": runs_text([result.n_runs]), "model": result.label}
            rows.append(names | scores)
        blocks.append(Table.of(rows).text())
        legend.append(f"R² [95 % interval], {ABOVE} all of it above 0; ties keep τ below its ceiling")
    if not blocks:
        return "no meta-classifier was evaluated"
    legend += ["no test run was trained on", *_capped(results + estimates)]
    return "\n\n".join(blocks) + "\n" + "; ".join(legend)


def _percents(results: Iterable[Result], key: str) -> str:
    """The smallest and the largest of a share that documents state."""
    known = [100 * r.document[key] for r in results if r.document.get(key) is not None]
    return span(known, ".1f")


def _capped(results: Iterable[Result]) -> list[str]:
    """Of each meta-classifier of slices whose fits were ended by a time limit: its label, slice length and limit."""
    limits = {
        (result.label, d["slice_length"], d["max_seconds"])
        for result in results
        if (d := result.document).get("capped") and d.get("max_seconds") and isinstance(d.get("slice_length"), int)
    }
    return [f"{label}: slices of {size:,}, fits capped at {limit:g} s each" for label, size, limit in sorted(limits)]


def evaluation_text(document: Mapping[str, Any]) -> str:
    """One evaluation document in a few lines."""
    lines = _regression_lines(document) if document.get("kind") == REGRESSION else _classification_lines(document)
    read = [setting_text(s, document[s]) for s in ("slice_length", "part", "snapshots", "converged") if s in document]
    if document.get("slices"):
        read.insert(1, f"{document['slices']} per snapshot")
    lines["read"] = ", ".join(read) or "not stated"
    if document.get("n_train_runs") is not None:
        lines["trained"] = f"on {document['n_train_runs']} other runs"
    if any((document.get("excluded") or {}).values()):
        lines["left out"] = excluded_text(document["excluded"])
    if document.get("note"):
        lines["note"] = document["note"]
    head = f"{words(document.get('property', ''))}, read by {document.get('model', 'a model')}"
    return "\n".join([head, *(f"  {name:9} {text}" for name, text in lines.items())])


def _classification_lines(document: Mapping[str, Any]) -> dict[str, str]:
    (result,) = classifications([document])
    verdict = ": above both" if result.above else ": the interval does not lie above both"
    shares = f"chance {percent(document.get('chance'))} %, majority {percent(document.get('majority'))} %"
    accuracy = f"{percent(result.accuracy)} % {interval_text(*result.interval)} of {_many(result.n_runs)}"
    known = None not in (*result.interval, result.baseline)
    lines = {"accuracy": accuracy, "compare": shares + verdict * known}
    if result.single:
        share, low, high = result.single
        lines[f"{result.unit}s"] = f"{percent(share)} % {interval_text(low, high)} when each is judged alone"
    return lines


def _regression_lines(document: Mapping[str, Any]) -> dict[str, str]:
    (result,) = regressions([document])
    names = {**MEASURE_NAMES, "mae": "MAE", "tau_ceiling": "ceiling"}
    lines = {names[name]: number_text(*result.measure(name), digits=name == "mae") for name in MEASURES}
    lines["R²"] += f" over {_many(result.n_runs)}"
    return lines


def _many(runs: int | None) -> str:
    return "an unknown number of test runs" if runs is None else f"{runs} test run{'' if runs == 1 else 's'}"
