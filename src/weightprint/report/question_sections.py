"""What the page says of each question: its text, its figure and the sentence that the figure allows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from weightprint.evaluation.claims import above
from weightprint.report.drawing import Picture
from weightprint.report.question_figures import Estimate, estimates_figure, growth_figure, one_of_each
from weightprint.report.scores import enumeration, words
from weightprint.report.sections import n_text
from weightprint.study import fine_tuning, half_life, identity, one_factor
from weightprint.study.edits import EDITS
from weightprint.study.few_runs import MANY
from weightprint.study.robustness import AS_IS, FITTED_ON

Row = Mapping[str, Any]

LEAST_COMPARED = 20
"""Runs on which a difference stands before a sentence claims it: the bootstrap's intervals of fewer are too narrow."""


@dataclass(frozen=True)
class Answer:
    """What is shown of one question.

    title:   the question
    text:    what was done
    finding: what the intervals allow to be said, or ""
    """

    title: str
    text: str
    finding: str
    pictures: Sequence[Picture | None]
    caption: str


def robustness(rows: Sequence[Row]) -> Answer:
    """Differences by edit, a panel per property; filled marks for the fit on unedited runs, hollow for the other."""
    shown = [r for r in rows if r["difference"] is not None and r["difference_low"] is not None]
    models = list(dict.fromkeys(r["model"] for r in shown))

    def make(name: str, target: str, of_target: Sequence[Row]) -> Picture | None:
        estimates = [
            Estimate(
                r["x"],
                r["model"],
                r["difference"],
                r["difference_low"],
                r["difference_high"],
                hollow=r["series"] == FITTED_ON[1],
            )
            for r in of_target
        ]
        return estimates_figure(name, target, estimates, x="points against unedited", series=models, widest=1.0)

    return Answer(
        "Which footprints survive edits of the weights?",
        "Meta-classifiers fitted on training runs as they are name the set-up of test runs from their last snapshot, "
        f"unedited and edited. {enumeration([name for name, edit in EDITS.items() if edit.keeps])} keep the network's "
        "function, the others nearly. A second fit saw training runs each put through one of the edits, or none.",
        _survivors(rows),
        one_of_each("robustness", shown, make),
        "Change of accuracy against the same meta-classifier fitted on unedited runs and the same test runs unedited, "
        f"in points, paired, with 95 % intervals over runs; {n_text(rows)}. Filled: fitted on unedited runs; hollow: "
        "fitted on edited ones.",
    )


def _survivors(rows: Sequence[Row]) -> str:
    """Which edits surely cost accuracy of which properties, by the model that names each best unedited."""
    sentences = []
    for target in dict.fromkeys(r["property"] for r in rows):
        plain = [r for r in rows if r["property"] == target and r["series"] == FITTED_ON[0] and r["value"] is not None]
        unedited = [r for r in plain if r["x"] == AS_IS]
        if not unedited:
            continue
        best = max(unedited, key=lambda r: r["value"])
        if not above(best):
            sentences.append(f"{words(target)} is not named above chance and majority unedited")
            continue
        edited = [r for r in plain if r["model"] == best["model"] and r["difference_high"] is not None]
        judged = [r for r in edited if r["n_compared"] >= LEAST_COMPARED]
        lost = sorted((r for r in judged if r["difference_high"] < 0), key=lambda r: r["difference"])
        cost = enumeration([f"{r['x']} ({_points(r['difference'])})" for r in lost])
        told = f"surely less after {cost}" if cost else "no edit surely lowers it"
        sentences.append(f"{words(target)}, {100 * best['value']:.0f} % by {best['model']} unedited: {told}")
    return "; ".join(sentences) + "." if sentences else ""


def few_runs(rows: Sequence[Row]) -> Answer:
    """Learning curves with their extrapolation, a panel per property."""
    models = list(dict.fromkeys(r["model"] for r in rows))
    beyond = [r for r in rows if r["experiment"] == "extrapolated"]

    def make(name: str, target: str, of_target: Sequence[Row]) -> Picture | None:
        return growth_figure(name, target, of_target, [r for r in beyond if r["property"] == target], series=models)

    curve = [r for r in rows if r["experiment"] == "curve"]
    known = [r for r in beyond if r["value"] is not None]
    told = []
    for target in dict.fromkeys(r["property"] for r in known):
        best = max((r for r in known if r["property"] == target), key=lambda r: r["value"])
        interval = f"[{100 * best['low']:.0f}, {100 * best['high']:.0f}]"
        told.append(f"{words(target)} {100 * best['value']:.0f} % {interval} by {best['model']}")
    without = [f"{words(r['property'])} by {r['model']}" for r in beyond if r["value"] is None]
    finding = f"At {MANY:,} training runs the curves come to {enumeration(told)}." if told else ""
    if without:
        finding += f" Without an extrapolation: {enumeration(without)}."
    return Answer(
        "How few runs are enough, and what would many more give?",
        "Meta-classifiers fitted on growing shares of the training runs. A power law with a floor, a + b n^(−c), is "
        "fitted to the errors, again for every bootstrap resample of the test runs.",
        finding.strip(),
        one_of_each("few-runs", curve, make),
        f"Accuracy (R² of numbers) against training runs, {n_text(curve)}; bands are 95 % intervals over runs. Hollow: "
        f"what the power law says of {MANY:,} training runs, with the interval that the measured errors leave it.",
    )


def everyday(rows: Sequence[Row]) -> Answer:
    """Accuracy at each level of a factor by what was trained on, a panel per property."""
    arms = (one_factor.WITHIN, one_factor.ACROSS, one_factor.ALL)
    shown = [r for r in rows if r["value"] is not None]

    def make(name: str, target: str, of_target: Sequence[Row]) -> Picture | None:
        estimates = [
            Estimate(f"{words(r['experiment'])} {r['x']}", r["series"], r["value"], r["low"], r["high"])
            for r in of_target
        ]
        return estimates_figure(name, target, estimates, x="test runs named right", series=arms)

    across = [r for r in shown if r["series"] == one_factor.ACROSS and r["difference_high"] is not None]
    lost = sorted((r for r in across if r["difference_high"] < 0), key=lambda r: r["difference"])
    named = [f"{words(r['property'])} at {words(r['experiment'])} {r['x']} ({_points(r['difference'])})" for r in lost]
    finding = f"In {len(lost)} of {len(across)} cases accuracy is surely lost: {enumeration(named)}." if across else ""
    return Answer(
        "Which part is lost to one factor alone?",
        "layer_trees fitted on runs with one level of a factor, on as many without it, and on all training runs; each "
        "tested on runs with that level.",
        finding,
        one_of_each("everyday", shown, make),
        f"Accuracy on runs with the level that the row names, with 95 % intervals over runs; {n_text(shown)}.",
    )


def of_identity(rows: Sequence[Row]) -> Answer:
    """Accuracy of naming the data set across zoos and within, a panel for what was read."""
    arms = (identity.WITHIN, identity.ACROSS)
    shown = [r for r in rows if r["value"] is not None]
    pictures = []
    for i, kept in enumerate(identity.LEFT_OUT):
        of_kept = [r for r in shown if r["experiment"] == kept]
        estimates = [Estimate(r["x"], r["series"], r["value"], r["low"], r["high"]) for r in of_kept]
        pictures.append(estimates_figure(f"identity-{i}", kept, estimates, x="test runs named right", series=arms))
    told = [
        f"{r['x']}, {r['experiment']}: {100 * r['value']:.0f} % ({_points(r['difference'])} "
        f"[{100 * r['difference_low']:+.0f}, {100 * r['difference_high']:+.0f}])"
        for r in shown
        if r["difference_low"] is not None
    ]
    return Answer(
        "Does “data set” mean the data set, its moments, or its images?",
        "layer_trees fitted on one zoo names the data sets of another that was sampled from variants of them; beside "
        "it one fitted on as many runs of the tested zoo itself.",
        f"Fitted on → tested on, against fitted on the tested zoo itself: {'; '.join(told)}." if told else "",
        pictures,
        f"Share of test runs whose data set is named right, with 95 % intervals over runs; {n_text(shown)}.",
    )


def of_half_life(rows: Sequence[Row]) -> Answer:
    """What a doubling of each clock costs with the other held, a panel for each zoo."""
    slopes = [r for r in rows if r["experiment"] == half_life.SLOPE and r["low"] is not None]
    pictures, widest = [], max((abs(end) for r in slopes for end in (r["low"], r["high"])), default=0.0)
    for i, zoo in enumerate(dict.fromkeys(r["series"] for r in slopes)):
        of_zoo = [r for r in slopes if r["series"] == zoo]
        estimates = [Estimate(words(r["property"]), r["x"], r["value"], r["low"], r["high"]) for r in of_zoo]
        axis, name = "points per doubling, the other clock held", f"half-life-{i}"
        pictures.append(estimates_figure(name, zoo, estimates, x=axis, series=half_life.CLOCKS, widest=widest))
    told = []
    for r in slopes:
        if r["low"] > 0 or r["high"] < 0:
            interval = f"[{100 * r['low']:+.1f}, {100 * r['high']:+.1f}]"
            told.append(
                f"{words(r['property'])} {100 * r['value']:+.1f} {interval} per doubling of {r['x']}s ({r['series']})"
            )
    last = [r for r in rows if r["experiment"] == half_life.LAST_READABLE and r["property"] == "initialization"]
    faded = [f"{r['value']:g} {r['x']}s ({r['series']})" for r in last]
    finding = f"Points of accuracy, where surely not 0: {'; '.join(told)}." if told else ""
    if faded:
        finding += f" The initialization is last surely read at {enumeration(faded)}, or the zoo ends there."
    return Answer(
        "Is “when” about epochs or about steps?",
        "layer_trees fitted and tested at each moment of training. Whether a run is named right is regressed on the "
        "logarithms of its epochs and of its steps, which differ by batch size.",
        finding.strip().replace("-", "−"),
        pictures,
        "Change of accuracy with each doubling of one clock while the other is held, in points, with 95 % bootstrap "
        f"intervals over runs; {n_text(slopes)}."
        if slopes
        else "",
    )


def of_fine_tuning(rows: Sequence[Row]) -> Answer:
    """How often the child's and the parent's choice is named after each number of steps, a panel per property."""

    def make(name: str, target: str, of_target: Sequence[Row]) -> Picture | None:
        estimates = [
            Estimate(f"{r['experiment']}: {r['x']} steps", r["series"], r["value"], r["low"], r["high"])
            for r in of_target
        ]
        series = (fine_tuning.CHILDS, fine_tuning.PARENTS)
        return estimates_figure(name, target, estimates, x="children so named", series=series)

    told = []
    for target in dict.fromkeys(r["property"] for r in rows):
        for experiment in dict.fromkeys(r["experiment"] for r in rows if r["property"] == target):
            of_zoo = [r for r in rows if r["property"] == target and r["experiment"] == experiment]
            last = max(r["x_number"] for r in of_zoo)
            shares = [f"{r['series']} {100 * r['value']:.0f} %" for r in of_zoo if r["x_number"] == last]
            told.append(f"{words(target)} of {experiment} after {last:g} steps: {enumeration(shares)}")
    return Answer(
        "Whose set-up is read after fine-tuning?",
        "layer_trees of the parents' zoo names the set-up of children that started from parents' weights.",
        "; ".join(told) + "." if told else "",
        one_of_each("fine-tuning", rows, make),
        "Share of children named by their own choice and by their parent's, where the two differ, with 95 % intervals "
        f"over runs; {n_text(rows)}."
        if rows
        else "",
    )


def _points(difference: float) -> str:
    return f"{100 * difference:+.0f} points".replace("-", "−")


SECTIONS: Mapping[str, Callable[[Sequence[Row]], Answer]] = {
    "robustness": robustness,
    "few-runs": few_runs,
    "everyday": everyday,
    "identity": of_identity,
    "half-life": of_half_life,
    "fine-tuning": of_fine_tuning,
}
"""By the names of `weightprint.study.questions.QUESTIONS`."""
