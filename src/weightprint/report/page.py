"""The report's page: what results say of a zoo, what was sampled, and how to do it again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from weightprint.report import figures, scores, tables
from weightprint.report.curves import curve_figures
from weightprint.report.pages import Block, Code, Note, Points, Section, Tabled, figure, render_page
from weightprint.report.scores import Result, enumeration, in_order, many, words
from weightprint.report.tables import ABOVE, Table
from weightprint.study import population
from weightprint.study.maps import weight_map

if TYPE_CHECKING:
    from weightprint.zoo import Zoo

PAPER_STEPS_PER_EPOCH = 195
"""Of the paper's runs at batch size 256 (section 3: 50,000 training images)."""
PAPER_LEAST_EPOCHS = 19
"""A run of the paper has at least 20 evaluations, the first of them before training."""
FEW_RUNS = 50
"""With fewer test runs a 95 % interval is more than about 25 points wide."""

TRIVIAL = (
    "Some marks are trivial. Biases in front of batch normalisation nearly name the optimizer by their size alone; "
    "moving statistics of the first layers describe the input images; those of early snapshots tell the number of "
    "steps and with it the batch size. A high accuracy need not mean that the learned features differ."
)
ACCURACY_CAPTION = (
    "Share of test runs named right, with 95 % intervals. Upright lines: the larger of chance (guessing a class) and "
    "majority (always the most frequent class of the test runs). Filled points: the whole interval lies above that "
    "line; of hollow ones nothing is claimed."
)
CONFUSIONS_CAPTION = (
    "Test runs by true class (rows) and the class named (columns), for the meta-classifier of highest accuracy per "
    "property. Numbers count runs; the shade is the share of the row."
)
CLOSING = (
    "High accuracies need not mean that the learned features differ: some of these marks are trivial (see Caveats)."
)
SCORES_NOTE = (
    f"Accuracy in % of test runs. Bold with {ABOVE}: the whole interval lies above chance and majority, compared "
    "before rounding. Of one slice or snapshot alone the interval is still over runs."
)
ESTIMATES_NOTE = (
    "Quantities estimated from the weights, over test runs, with 95 % intervals. R² is 1 for perfect estimates and 0 "
    f"for always answering the mean; bold with {ABOVE}: its whole interval lies above 0. Kendall τ compares the order; "
    "ties in the truth keep it below the ceiling given."
)


def render(
    zoo: Zoo,
    results: Sequence[Mapping[str, Any]],
    *,
    title: str,
    seconds: Mapping[str, float],
    commands: Sequence[str],
) -> str:
    """The HTML of the report; arguments as in `write_report`. The same arguments give the same text."""
    named, estimated = scores.classifications(results), scores.regressions(results)
    drawn = figures.confusion_figures(scores.best_of_each_property(named))
    confusions: Sequence[Block] = figure("confusions", drawn, CONFUSIONS_CAPTION)
    return render_page(
        "page.html",
        title=title or scores.headline(results),
        answer=" ".join([*scores.opening(results, len(zoo)), *([CLOSING] if results else [])]),
        facts=_facts(zoo, results),
        lead=figure("accuracy", [figures.accuracy_figure(named)], ACCURACY_CAPTION),
        sections=[
            Section("results", "What can be read from the weights", _results(named, estimated)),
            Section("sampled", "What was sampled", _sampled(zoo)),
            Section("map", "Map of the weights", _map(zoo)),
            Section("confusion", "What is confused with what", confusions or ["No result states a confusion matrix."]),
            Section("again", "Time, and doing it again", _again(zoo, seconds, commands)),
            Section("caveats", "Caveats", [Points(_caveats(zoo, [*named, *estimated]))]),
        ],
    )


def _facts(zoo: Zoo, results: Sequence[Any]) -> list[str]:
    """What stands under the title: how much of everything."""
    facts = [many(len(zoo), "run")]
    if "dataset" in zoo.index.columns:
        facts.append(many(zoo.index["dataset"].drop_nulls().n_unique(), "data set"))
    facts.append(many(int(zoo.index["snapshots"].fill_null(0).sum()), "snapshot"))
    sizes = zoo.index["weights"].drop_nulls().to_list()
    return [*facts, *([f"{tables.span(sizes, ',')} weights each"] if sizes else []), many(len(results), "evaluation")]


def _results(named: Sequence[Result], estimated: Sequence[Result]) -> list[Block]:
    every = [*named, *estimated]
    if not every:
        return ["No meta-classifier was evaluated."]
    blocks: list[Block] = [
        "A meta-classifier reads the weights of trained networks and names one property of how each was trained. It "
        f"learned from some runs and is tested on others, {tables.runs_text(r.n_runs for r in every)} of them: no run "
        "is on both sides, with any of its snapshots."
    ]
    for what, results, note in (("Accuracy", named, SCORES_NOTE), ("Estimates", estimated, ESTIMATES_NOTE)):
        if results:
            table = Table.of(tables.result_rows(results))
            alike = table.alike(tables.SETTINGS)
            said = ", ".join(text for text in alike.values() if text != tables.UNKNOWN)
            caption = note + (f" The same for all: {said}." if said else "")
            blocks.append(Tabled(table.without(alike), f"{what} of each meta-classifier", caption))
    return [*blocks, *(Note(f"Test runs left out of {of}: {text}.") for text, of in _left_out(every))]


def _left_out(results: Sequence[Result]) -> list[tuple[str, str]]:
    """(what was left out, of which evaluations), equal counts together."""
    groups: dict[str, list[str]] = {}
    for one in results:
        excluded = one.document.get("excluded") or {}
        if any(excluded.values()):
            groups.setdefault(tables.excluded_text(excluded), []).append(f"{words(one.target)} by {one.label}")
    return [(text, "all evaluations" if len(of) == len(results) else "; ".join(of)) for text, of in groups.items()]


def _sampled(zoo: Zoo) -> list[Block]:
    if not len(zoo):
        return ["The zoo has no runs."]
    lengths = population.training_lengths(zoo)
    trained = " and ".join(f"{tables.span(values, ',.0f')} {name}s" for name, values in lengths.items() if values)
    statuses = [
        {words(name) if name != "unknown" else "not known": str(value) for name, value in row.items()}
        for row in population.status_rows(zoo)
    ]
    values = [
        {
            "choice": words(row["property"]),
            "value": row["value"],
            "runs": str(row["runs"]),
            "converged": str(row["converged"]),
            "median final test accuracy (%)": tables.percent(row["median"]),
        }
        for row in population.value_rows(zoo)
    ]
    constant = ", ".join(f"{words(name)} {value}" for name, value in population.constant_values(zoo))
    caption = "Complete runs per choice." + (f" The same in all: {constant}." if constant else "")
    final = figures.final_accuracy_figure(population.final_accuracies(zoo))
    curves = population.training_curves(zoo)
    points = [
        {"property": dataset, "series": f"run {curve.number}", "x_number": x, "value": y}
        for dataset, members in curves.per_dataset.items()
        for curve in members
        for x, y in zip(curve.x, curve.y, strict=True)
    ]
    measure = words(curves.y_name)
    return [
        "A run is one training of one small image classifier under choices drawn at random. "
        + (f"Each run trained for {trained}. " if trained else "")
        + "A run has converged when its final test accuracy is above chance (one-sided binomial test, p < .001).",
        Tabled(Table.of(statuses), "Runs per status"),
        *map(Note, filter(None, [_short_training(lengths)])),
        *([Tabled(Table.of(values), "Complete runs per choice", caption)] if values else []),
        *figure("final", [final], "Final test accuracy of every complete run, by the data set it was trained on."),
        *([] if final else ["No complete run states a final test accuracy, so that there is nothing to draw here."]),
        *figure(
            "curves",
            curve_figures("curves", points, curves.per_dataset, x=curves.x_name, by="series", measure=measure),
            "Training curves of a few runs per data set, spread evenly from the lowest to the highest final accuracy. "
            "The first point is before the first gradient step.",
        ),
        *(
            [Note(f"{curves.unreadable} of the runs chosen for these curves could not be read.")]
            if curves.unreadable
            else []
        ),
    ]


def _short_training(lengths: Mapping[str, Sequence[float]]) -> str:
    """A note when training is short beside the paper's; empty when it is not, or not known."""
    steps = lengths["step"]
    if not steps or min(steps) >= PAPER_STEPS_PER_EPOCH * PAPER_LEAST_EPOCHS:
        return ""
    rates = [step / epoch for step, epoch in zip(steps, lengths["epoch"], strict=True) if epoch > 0]
    rate = f", as few as {min(rates):.0f} an epoch" if rates else ""
    return (
        f"Training here is short: {tables.span(steps, ',.0f')} gradient steps a run{rate}. The runs of the paper that "
        f"this follows (Eilertsen et al., 2020) take about {PAPER_STEPS_PER_EPOCH} steps an epoch at the largest batch "
        f"size, for at least {PAPER_LEAST_EPOCHS} epochs. Traces of the initial weights are therefore fresher here, "
        "and traces of the data fainter: how clear they are may change with longer training."
    )


def _map(zoo: Zoo) -> list[Block]:
    drawn = weight_map(zoo)
    if drawn is None:
        return [
            "There is no map: it takes complete runs of one architecture with at least three snapshots that differ."
        ]
    shown = len(drawn.paths)
    first, second = (f"{100 * share:.1f} %" for share in drawn.shares)
    alike = (
        f"Only runs of the most frequent architecture can share a map: {drawn.same} of {drawn.complete} complete runs."
        if drawn.same < drawn.complete
        else f"All {drawn.complete} complete runs have the same architecture."
    )
    some = f" {shown} of them are drawn, spread evenly over the run numbers." if shown < drawn.same else ""
    caption = (
        f"Weights of {shown} runs in their first two principal components, which hold {first} and {second} of the "
        "variance. Each line is one run from its first to its last snapshot, which carries the mark."
    )
    note = (
        f"{alike}{some} Each snapshot has {drawn.size:,} weights, of which {drawn.used:,} are used, at most 300 of "
        "each tensor. Weights span many orders of magnitude: each is therefore replaced by its rank among all weights "
        "of its tensor in the snapshots shown, and every tensor is scaled to the same total variance, so that neither "
        "large weights nor large tensors decide alone."
    )
    return [*figure("map", figures.map_figures(drawn), caption), Note(note)]


def _again(zoo: Zoo, seconds: Mapping[str, float], commands: Sequence[str]) -> list[Block]:
    plain = {name: value for name, value in zoo.recipe.items() if isinstance(value, (str, int, float))}
    datasets = zoo.recipe.get("datasets")
    checksums = sorted(datasets.items()) if isinstance(datasets, Mapping) else []
    rows = {
        **({"space": zoo.space_name} if zoo.space_name else {}),
        **{words(name): f"{value:,}" if type(value) is int else str(value) for name, value in plain.items()},
        **zoo.made_with,
        "SHA-256 of the recipe": zoo.identity,
        **{f"SHA-256 of {name}": str(value) for name, value in checksums},
    }
    times = [{"step": words(name), "time": tables.duration(took)} for name, took in seconds.items()]
    return [
        *([Tabled(Table.of(times), "Time of each step")] if times else []),
        *([Code("\n".join(commands))] if commands else []),
        "The same recipe on the same machine and versions gives the same weights, bit for bit.",
        Tabled(Table((), list(rows.items())), "Recipe and versions"),
        Code(json.dumps(zoo.recipe, indent=2, sort_keys=True, ensure_ascii=False), "The whole recipe"),
    ]


def _caveats(zoo: Zoo, results: Sequence[Result]) -> list[str]:
    documents = [one.document for one in results]
    caveats = []
    counts = [one.n_runs for one in results if one.n_runs is not None]
    if counts:
        few = " With so few of them, a difference of a few points between two models means nothing."
        caveats.append(
            f"Results stand on {tables.runs_text(counts)} test runs. The unit is the run: its snapshots and slices say "
            f"nearly the same thing and do not make the intervals narrower.{few if min(counts) < FEW_RUNS else ''}"
        )
    if len(results) > 1:
        caveats.append(
            f"{len(results)} intervals are compared with a baseline; of results that are all luck, about one in forty "
            "would still be marked. The best of several models is chosen on the test runs that it is reported on, "
            "which flatters it a little."
        )
    filtered = population.convergence_text(zoo)
    if filtered and any("converged" in d for d in documents):
        on = all(d.get("converged") for d in documents)
        filtered += f" It was {'on' if on else 'not on'} for every result here{'' if on else '; see the table'}."
    caveats += [f"{filtered} The filter changes the mix of values that are left to name."] if filtered else []
    if any(d.get("lengths_differ") for d in documents):
        notes = in_order(f"{d['note']}." for d in documents if d.get("note")) or ["part of a result may be that."]
        caveats.append(f"Weight vectors differ in length, and length tells the architecture: {' '.join(notes)}")
    elif any("lengths_differ" in d for d in documents):
        caveats.append(
            "All weight vectors have the same length: results say nothing yet about networks of another architecture."
        )
    capped = in_order(one.label for one in results if one.document.get("capped"))
    if capped:
        caveats.append(
            f"Fitting of {enumeration(capped)} was ended by its time limit; with more time it may do better."
        )
    return [*caveats, TRIVIAL]
