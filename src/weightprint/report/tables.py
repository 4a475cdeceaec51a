"""Tables of results: as text for the terminal, and as rows for the page."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from weightprint.evaluation.answers import REGRESSION
from weightprint.evaluation.scores import MEASURES
from weightprint.report.scores import (
    Result,
    classifications,
    ends,
    in_order,
    regressions,
    setting_text,
    span_text,
    words,
)

ABOVE = "▲"
"""Marks a cell whose whole interval lies above chance and majority."""
UNKNOWN = "–"
MEASURE_NAMES = {"r2": "R²", "mae": "mean absolute error", "kendall_tau": "Kendall τ", "tau_ceiling": "ceiling of τ"}


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


def percent(share: float | None) -> str:
    """A share of 1 in percent, without the sign."""
    return UNKNOWN if share is None else f"{100 * share:.1f}"


def interval_text(low: float | None, high: float | None) -> str:
    """An interval of shares in percent, or nothing."""
    return "" if low is None or high is None else f"[{percent(low)}, {percent(high)}]"


def number(value: float | None, *, digits: bool = False) -> str:
    """A quantity to two decimals, or to three digits where its size is not known beforehand."""
    return UNKNOWN if value is None else (f"{value:.3g}" if digits else f"{value:.2f}").replace("-", "−")


def duration(seconds: float | None) -> str:
    """Seconds as a reader would say them."""
    if seconds is None:
        return UNKNOWN
    if seconds < 0.1:
        return "under 0.1 s"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def runs_text(counts: Iterable[int | None]) -> str:
    """How many runs several scores stand on: "24", or "22–24" where they differ."""
    known = sorted({count for count in counts if count is not None})
    if not known:
        return UNKNOWN
    return str(known[0]) if len(known) == 1 else f"{known[0]}–{known[-1]}"


# For the terminal.


def accuracy_text(results: Iterable[Mapping[str, Any]]) -> str:
    """Property × model as plain text: accuracy over test runs with its 95 % interval, runs, chance and majority.

    Regressions follow in a table of their own. The last line says how to read it.
    """
    results = list(results)
    scores, fits = classifications(results), regressions(results)
    blocks, legend = [], []
    if scores:
        labels = in_order(score.label for score in scores)
        rows = [["property", "runs", "chance", "majority", *labels]]
        for name in in_order(score.target for score in scores):
            of_property = {score.label: score for score in scores if score.target == name}
            rows.append(
                [
                    name,
                    runs_text(score.n_runs for score in of_property.values()),
                    _span(score.document.get("chance") for score in of_property.values()),
                    _span(score.document.get("majority") for score in of_property.values()),
                    *(_cell_text(of_property.get(label)) for label in labels),
                ]
            )
        blocks.append(_aligned(rows))
        legend.append(f"accuracy in % of test runs [95 % interval]; {ABOVE} all of it above chance and majority")
    if fits:
        rows = [["property", "runs", "model", *(MEASURE_NAMES[name] for name in MEASURES)]]
        rows += [
            [
                fit.target,
                runs_text([fit.n_runs]),
                fit.label,
                *(_measure_text(fit, name) + (f" {ABOVE}" if name == "r2" and fit.above else "") for name in MEASURES),
            ]
            for fit in fits
        ]
        blocks.append(_aligned(rows))
        legend.append(f"R² [95 % interval], {ABOVE} all of it above 0; ties keep τ below its ceiling")
    if not blocks:
        return "no meta-classifier was evaluated"
    legend.append("no test run was trained on")
    legend += [f"{label}: slices of {length:,}, {cap}" for label, length, cap in _capped([*scores, *fits])]
    return "\n\n".join(blocks) + "\n" + "; ".join(legend)


def _capped(found: Iterable[Result]) -> list[tuple[str, int, str]]:
    """Of each meta-classifier of slices whose fits were ended by a time limit: its label, slice length and limit."""
    limits = {
        (one.label, one.document["slice_length"], f"fits capped at {one.document['max_seconds']:g} s each")
        for one in found
        if one.document.get("capped")
        and one.document.get("max_seconds")
        and isinstance(one.document.get("slice_length"), int)
    }
    return sorted(limits)


def _cell_text(score: Result | None) -> str:
    if score is None or score.accuracy is None:
        return UNKNOWN
    text = f"{percent(score.accuracy)} {interval_text(*score.interval)}".rstrip()
    return f"{text} {ABOVE}" if score.above else text


def _span(shares: Iterable[float | None]) -> str:
    """A share that several scores have in common, or its range over them."""
    known = sorted({percent(share) for share in shares if share is not None}, key=float)
    return UNKNOWN if not known else known[0] if len(known) == 1 else f"{known[0]}–{known[-1]}"


def _measure_text(fit: Result, name: str) -> str:
    value, low, high = fit.measure(name)
    in_words, *ends = (number(end, digits=name == "mae") for end in (value, low, high))
    return in_words if low is None or high is None else f"{in_words} [{', '.join(ends)}]"


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "─" * max(len(line) for line in lines), *lines[1:]])


def evaluation_text(document: Mapping[str, Any]) -> str:
    """One evaluation document in a few lines."""
    head = f"{words(document.get('property', ''))}, read by {document.get('model', 'a model')}"
    lines = _regression_lines(document) if document.get("kind") == REGRESSION else _classification_lines(document)
    lines.append(f"read      {', '.join(settings_of(document))}")
    if document.get("n_train_runs") is not None:
        lines.append(f"trained   on {document['n_train_runs']} other runs")
    if any((document.get("excluded") or {}).values()):
        lines.append(f"left out  {excluded_text(document['excluded'])}")
    if document.get("note"):
        lines.append(f"note      {document['note']}")
    return "\n".join([head, *(f"  {line}" for line in lines)])


def _classification_lines(document: Mapping[str, Any]) -> list[str]:
    (score,) = classifications([document])
    verdict = "above both" if score.above else "the interval does not lie above both"
    if None in (*score.interval, score.baseline):
        verdict = ""
    lines = [
        f"accuracy  {percent(score.accuracy)} % {interval_text(*score.interval)} of {_many(score.n_runs)}",
        f"compare   chance {percent(document.get('chance'))} %, majority {percent(document.get('majority'))} %"
        + (f": {verdict}" if verdict else ""),
    ]
    for unit in ("slice", "snapshot"):
        per_unit = document.get(f"per_{unit}")
        if per_unit:
            low, high = ends(per_unit.get("interval"))
            share = f"{percent(per_unit.get('accuracy'))} % {interval_text(low, high)}"
            lines.append(f"{unit}s".ljust(10) + f"{share} when each is judged alone")
    return lines


def _regression_lines(document: Mapping[str, Any]) -> list[str]:
    (fit,) = regressions([document])
    short = {**MEASURE_NAMES, "mae": "MAE", "tau_ceiling": "ceiling"}
    lines = [f"{short[name]:10}{_measure_text(fit, name)}" for name in MEASURES]
    lines[0] += f" over {_many(fit.n_runs)}"
    return lines


def _many(runs: int | None) -> str:
    return "an unknown number of test runs" if runs is None else f"{runs} test run{'' if runs == 1 else 's'}"


def excluded_text(excluded: Mapping[str, int]) -> str:
    """Counts of runs left out, by reason."""
    return ", ".join(f"{count} {words(reason)}" for reason, count in excluded.items() if count) or "none"


def settings_of(document: Mapping[str, Any]) -> list[str]:
    """What a meta-classifier read, in words; only what the document states."""
    in_words = [
        setting_text(s, document[s]) for s in ("slice_length", "part", "snapshots", "converged") if s in document
    ]
    if document.get("slices"):
        in_words.insert(1, f"{document['slices']} per snapshot")
    return in_words or ["not stated"]


# For the page.


def score_rows(scores: Sequence[Result]) -> list[dict[str, Any]]:
    """Rows of the page's accuracy table."""
    rows: list[dict[str, Any]] = []
    for score in scores:
        document = score.document
        unit = next((u for u in ("slice", "snapshot") if document.get(f"per_{u}")), "")
        per_unit = document.get(f"per_{unit}") or {}
        rows.append(
            {
                "property": score.target,
                "first": not rows or rows[-1]["property"] != score.target,
                "model": score.label,
                "accuracy": percent(score.accuracy),
                "interval": interval_text(*score.interval),
                "above": score.above,
                "chance": percent(document.get("chance")),
                "majority": percent(document.get("majority")),
                "per_unit": f"{percent(per_unit.get('accuracy'))} {interval_text(*ends(per_unit.get('interval')))}"
                if unit
                else UNKNOWN,
                "unit": unit,
                **_shared_columns(score.n_runs, document),
            }
        )
    return rows


def fit_rows(fits: Sequence[Result]) -> list[dict[str, Any]]:
    """Rows of the page's table of regressions."""
    return [
        {
            "property": fit.target,
            "first": i == 0 or fits[i - 1].target != fit.target,
            "model": fit.label,
            "above": fit.above,
            "measures": [_measure_text(fit, name) for name in MEASURES],
            **_shared_columns(fit.n_runs, fit.document),
        }
        for i, fit in enumerate(fits)
    ]


def _shared_columns(n_runs: int | None, document: Mapping[str, Any]) -> dict[str, Any]:
    length = document.get("slice_length")
    part = document.get("part")
    converged = document.get("converged")
    settings = {
        "training runs": str(document.get("n_train_runs", UNKNOWN)),
        "weights read at a time": UNKNOWN if length is None else "whole vector" if length == "all" else f"{length:,}",
        "part of the network": UNKNOWN if part is None else str(part),
        "snapshots": span_text(document["snapshots"]) if "snapshots" in document else UNKNOWN,
        "convergence filter": UNKNOWN if converged is None else "on" if converged else "off",
        "time to fit": _fit_time(document),
    }
    return {"n_runs": UNKNOWN if n_runs is None else str(n_runs), "settings": settings}


def common_settings(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The settings that all rows have alike, for a sentence instead of columns. Not stated anywhere: left out."""
    first = rows[0]["settings"] if rows else {}
    return {name: value for name, value in first.items() if all(row["settings"][name] == value for row in rows)}


def _fit_time(document: Mapping[str, Any]) -> str:
    took, limit = document.get("fit_seconds"), document.get("max_seconds")
    parts = [duration(took)] if took is not None else []
    if document.get("capped"):
        parts.append(f"capped at {limit:g} s" if limit is not None else "capped")
    elif limit is not None:
        parts.append(f"limit {limit:g} s")
    return ", ".join(parts) or UNKNOWN
