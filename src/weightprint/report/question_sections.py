"""Of each question its figure and the sentence that the figure allows; its other sentences are in `questions.html`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from weightprint.evaluation.claims import above
from weightprint.report.curves import curve_figures
from weightprint.report.figures import estimates_figures
from weightprint.report.findings import (
    best_of_each,
    by_property,
    interval_in_percent,
    n_text,
    points_text,
    rows_of,
)
from weightprint.report.pages import Figure, figure
from weightprint.report.scores import enumeration, in_order, words
from weightprint.report.tables import whole_percent
from weightprint.study import fine_tuning, generalization, half_life, identity, one_factor
from weightprint.study.few_runs import MANY
from weightprint.study.robustness import AS_IS, FITTED_ON

Row = Mapping[str, Any]

LEAST_COMPARED = 20
"""Runs on which a difference stands before a sentence claims it: the bootstrap's intervals of fewer are too narrow."""


def robustness(rows: Sequence[Row]) -> Figure:
    """Differences by edit, a panel per property; filled marks for the fit on unedited runs, hollow for the other."""
    shown = [r for r in rows if r["difference"] is not None and r["difference_low"] is not None]
    models = in_order(r["model"] for r in shown)
    ends = {"value": "difference", "low": "difference_low", "high": "difference_high", "series": "model"}
    drawn = [{**r, **{k: r[v] for k, v in ends.items()}, "hollow": r["series"] == FITTED_ON[1]} for r in shown]
    return figure(
        estimates_figures("robustness", drawn, x="points against unedited", series=models, widest=1.0),
        rows,
        finding=_survivors(rows),
        n=n_text(rows),
    )


def _survivors(rows: Sequence[Row]) -> str:
    """Which edits surely cost accuracy of which properties, by the model that names each best unedited."""
    plain = [r for r in rows_of(rows, series=FITTED_ON[0]) if r["value"] is not None]
    sentences = []
    for target, best in best_of_each(rows_of(plain, x=AS_IS)).items():
        if not above(best):
            sentences.append(f"{words(target)} is not named above chance and majority unedited")
            continue
        edited = rows_of(plain, property=target, model=best["model"])
        lost = _surely_lost(r for r in edited if (r["n_compared"] or 0) >= LEAST_COMPARED)
        cost = enumeration([f"{r['x']} ({points_text(r['difference'])})" for r in lost])
        told = f"surely less after {cost}" if cost else "no edit surely lowers it"
        sentences.append(f"{words(target)}, {whole_percent(best['value'])} by {best['model']} unedited: {told}")
    return "; ".join(sentences) + "." if sentences else ""


def _surely_lost(rows: Iterable[Row]) -> list[Row]:
    """Those whose whole interval of the difference lies below 0, the largest loss first."""
    return sorted((r for r in rows if (r["difference_high"] or 0) < 0), key=lambda r: r["difference"])


def few_runs(rows: Sequence[Row]) -> Figure:
    """Learning curves with their extrapolation, a panel per property."""
    curve, beyond = (rows_of(rows, experiment=experiment) for experiment in ("curve", "extrapolated"))
    points = [*curve, *({**r, "hollow": True} for r in beyond)]
    best = best_of_each(r for r in beyond if r["value"] is not None)
    told = [
        f"{words(target)} {whole_percent(r['value'])} {interval_in_percent(r)} by {r['model']}"
        for target, r in best.items()
    ]
    without = [f"{words(r['property'])} by {r['model']}" for r in beyond if r["value"] is None]
    finding = f"At {MANY:,} training runs the curves come to {enumeration(told)}." if told else ""
    if without:
        finding += f" Without an extrapolation: {enumeration(without)}."
    return figure(
        curve_figures("few-runs", points, by_property(curve), x="training runs", by="model", logarithmic=True),
        rows,
        finding=finding.strip(),
        n=n_text(curve),
    )


def everyday(rows: Sequence[Row]) -> Figure:
    """Accuracy at each level of a factor by what was trained on, a panel per property."""
    shown = [r for r in rows if r["value"] is not None]
    across = [r for r in shown if r["series"] == one_factor.ACROSS and r["difference_high"] is not None]
    lost = _surely_lost(across)
    cases = f"In {len(lost)} of {len(across)} cases accuracy is surely lost"
    named = [f"{words(r['property'])} at {_level(r)} ({points_text(r['difference'])})" for r in lost]
    arms = (one_factor.WITHIN, one_factor.ACROSS, one_factor.ALL)
    drawn = [{**r, "x": _level(r)} for r in shown]
    return figure(
        estimates_figures("everyday", drawn, x="test runs named right", series=arms),
        rows,
        finding=f"{cases}: {enumeration(named)}." if across else "",
        n=n_text(shown),
    )


def _level(row: Row) -> str:
    return words(f"{row['experiment']} {row['x']}")


def of_identity(rows: Sequence[Row]) -> Figure:
    """Accuracy of naming the data set across zoos and within, a panel for what was read."""
    shown = [r for r in rows if r["value"] is not None]
    drawn = [{**r, "property": kept} for kept in identity.LEFT_OUT for r in rows_of(shown, experiment=kept)]
    told = [
        f"{r['x']}, {r['experiment']}: {whole_percent(r['value'])} ({points_text(r['difference'])} "
        f"[{100 * r['difference_low']:+.0f}, {100 * r['difference_high']:+.0f}])"
        for r in shown
        if r["difference_low"] is not None
    ]
    return figure(
        estimates_figures("identity", drawn, x="test runs named right", series=(identity.WITHIN, identity.ACROSS)),
        rows,
        finding=f"Fitted on → tested on, against fitted on the tested zoo itself: {'; '.join(told)}." if told else "",
        n=n_text(shown),
    )


def of_half_life(rows: Sequence[Row]) -> Figure:
    """What a doubling of each clock costs with the other held, for each zoo; accuracy by steps, for each property."""
    moments = [r for r in rows_of(rows, experiment="moments") if r["x_number"]]
    steps = curve_figures(
        "half-life-steps", moments, by_property(moments), x="steps of training, median", by="series", logarithmic=True
    )
    slopes = [r for r in rows if r["experiment"] == half_life.SLOPE and r["low"] is not None]
    drawn = [{**r, "property": r["series"], "x": words(r["property"]), "series": r["x"]} for r in slopes]
    axis = "points per doubling, the other clock held"
    widest = max((abs(end) for r in slopes for end in (r["low"], r["high"])), default=0.0)
    told = [
        f"{words(r['property'])} {100 * r['value']:+.1f} [{100 * r['low']:+.1f}, {100 * r['high']:+.1f}] per doubling "
        f"of {r['x']}s ({r['series']})"
        for r in slopes
        if r["low"] > 0 or r["high"] < 0
    ]
    last = [r for r in rows if r["experiment"] == half_life.LAST_READABLE and r["property"] == "initialization"]
    faded = [f"{r['value']:g} {r['x']}s ({r['series']})" for r in last]
    finding = f"Points of accuracy, where surely not 0: {'; '.join(told)}." if told else ""
    if faded:
        finding += f" The initialization is last surely read at {enumeration(faded)}, or the zoo ends there."
    return figure(
        [*estimates_figures("half-life", drawn, x=axis, series=half_life.CLOCKS, widest=widest), *steps],
        rows,
        finding=finding.strip().replace("-", "−"),
        n=n_text(slopes),
    )


def of_fine_tuning(rows: Sequence[Row]) -> Figure:
    """How often the child's and the parent's choice is named after each number of steps, a panel per property."""
    told = []
    for target, of_target in by_property(rows).items():
        for experiment in in_order(r["experiment"] for r in of_target):
            of_zoo = rows_of(of_target, experiment=experiment)
            last = max(r["x_number"] for r in of_zoo)
            shares = [f"{r['series']} {whole_percent(r['value'])}" for r in of_zoo if r["x_number"] == last]
            told.append(f"{words(target)} of {experiment} after {last:g} steps: {enumeration(shares)}")
    drawn = [{**r, "x": f"{r['experiment']}: {r['x']} steps"} for r in rows]
    series = (fine_tuning.CHILDS, fine_tuning.PARENTS)
    return figure(
        estimates_figures("fine-tuning", drawn, x="children so named", series=series),
        rows,
        finding="; ".join(told) + "." if told else "",
        n=n_text(rows),
    )


def of_generalization(rows: Sequence[Row]) -> Figure:
    """How far the order of test runs is told, within each data set, a panel for each quantity."""
    taus = [r for r in rows if r["measure"] == "kendall_tau" and r["low"] is not None]
    told = []
    for r in rows_of(rows, x=generalization.TOGETHER):
        if r["difference_low"] is not None:
            ends = "difference", "difference_low", "difference_high"
            less, low, high = (f"{100 * r[end]:+.1f}".replace("-", "−") for end in ends)
            told.append(
                f"{words(r['property']).capitalize()}: R² {r['value']:.2f}, mean error {less} points [{low}, {high}] "
                "against the set-up without weights."
            )
    unseen = rows_of(rows, experiment=generalization.NEVER_SEEN)
    for target, of_target in by_property(unseen).items():
        compared = [r for r in of_target if r["difference_high"] is not None]
        nearer = sum(r["difference_high"] < 0 for r in compared)
        ordered = [r["model"] for r in rows_of(of_target, measure="kendall_tau") if (r["low"] or 0) > 0]
        by_set_up = ordered.count(generalization.BLIND)
        told.append(
            f"{words(target).capitalize()} on data sets never seen: less error than by the set-up surely in {nearer} "
            f"of {len(compared)}; surely put in order in {len(ordered) - by_set_up}, by the set-up in {by_set_up}."
        )
    return figure(
        estimates_figures(
            "generalization",
            [{**r, "x": words(r["x"])} for r in taus],
            x="Kendall's τ-b",
            series=in_order(r["series"] for r in taus),
            correlations=True,
        ),
        rows,
        finding=" ".join(told),
        n=n_text(taus),
    )


SECTIONS: Mapping[str, Callable[[Sequence[Row]], Figure]] = {
    "robustness": robustness,
    "few-runs": few_runs,
    "everyday": everyday,
    "identity": of_identity,
    "half-life": of_half_life,
    "fine-tuning": of_fine_tuning,
    "generalization": of_generalization,
}
"""By the names of `weightprint.study.QUESTIONS`."""
