"""Evaluation documents, read and judged: what may be claimed of each, and the sentences that sum them up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from weightprint.evaluation.answers import REGRESSION, SLICE, SNAPSHOT
from weightprint.evaluation.claims import above, baseline, interval_of

SETTINGS = ("part", "slice_length", "snapshots", "without", "converged", "n_train_runs", "seed")
"""What tells two evaluations of one model on one property apart, in the order in which a reader would ask."""

Estimate = tuple[float | None, float | None, float | None]
"""A number with the ends of its 95 % interval; None for what is not known."""


@dataclass(frozen=True)
class Result:
    """One evaluation document, some of whose keys may be missing; so may be the numbers, which are None then.

    label: the model, with the settings that tell it from another evaluation of the same model
    """

    label: str
    document: Mapping[str, Any]

    @property
    def target(self) -> str:
        """What was predicted."""
        return str(self.document.get("property", ""))

    @property
    def accuracy(self) -> float | None:
        """Share of test runs named right."""
        return (self.document.get("per_run") or {}).get("accuracy")

    @property
    def interval(self) -> tuple[float | None, float | None]:
        return interval_of(self.document)

    @property
    def baseline(self) -> float | None:
        return baseline(self.document)

    @property
    def above(self) -> bool:
        """Whether the whole interval lies above the baseline."""
        return above(self.document)

    @property
    def n_runs(self) -> int | None:
        return self.document.get("n_runs", (self.document.get("per_run") or {}).get("n"))

    @property
    def unit(self) -> str:
        """What one reading is: "slice" or "snapshot"; "" where no score of single readings is stated."""
        return next((unit for unit in (SLICE, SNAPSHOT) if self.document.get(f"per_{unit}")), "")

    @property
    def single(self) -> Estimate | None:
        """The accuracy of single readings."""
        stated = self.document.get(f"per_{self.unit}")
        return _estimate(stated) if stated else None

    def measure(self, name: str) -> Estimate:
        """A regression's measure."""
        return _estimate((self.document.get("per_run") or {}).get(name))


def _estimate(stated: Any) -> Estimate:
    """What a document says of a score: a number, or a mapping that has its interval too."""
    if not isinstance(stated, Mapping):
        return stated, None, None
    low, high = stated.get("interval") or (None, None)
    return stated.get("value", stated.get("accuracy")), low, high


def classifications(documents: Iterable[Mapping[str, Any]]) -> list[Result]:
    """The classifications among evaluation documents, property by property."""
    return [result for result in _results(documents) if result.document.get("kind") != REGRESSION]


def regressions(documents: Iterable[Mapping[str, Any]]) -> list[Result]:
    """The regressions among evaluation documents, property by property."""
    return [result for result in _results(documents) if result.document.get("kind") == REGRESSION]


def _results(documents: Iterable[Mapping[str, Any]]) -> list[Result]:
    """With a label each: the same for one model throughout, and different wherever a property has two of it."""
    documents = list(documents)
    pairs = Counter((d.get("property"), _model(d)) for d in documents)
    varying = {
        model: [s for s in SETTINGS if len({repr(d.get(s)) for d in documents if _model(d) == model}) > 1]
        for (_, model), count in pairs.items()
        if count > 1
    }
    results: list[Result] = []
    seen: Counter[tuple[Any, str]] = Counter()
    for document in documents:
        label = _model(document)
        if varying.get(label):
            label = f"{label} ({', '.join(setting_text(s, document.get(s)) for s in varying[label])})"
        seen[document.get("property"), label] += 1
        count = seen[document.get("property"), label]
        results.append(Result(f"{label} #{count}" if count > 1 else label, document))
    order = in_order(result.target for result in results)
    return sorted(results, key=lambda result: order.index(result.target))


def _model(document: Mapping[str, Any]) -> str:
    return str(document.get("model", "model"))


def setting_text(name: str, value: Any) -> str:
    """One setting of a meta-classifier in words."""
    if name == "part":
        return "all parts" if value in (None, "all") else f"{value} part"
    if name == "slice_length":
        return "whole vectors" if value in (None, "all") else f"slices of {value:,}"
    if name == "snapshots":
        return f"snapshots {_span_text(value)}"
    if name == "without":
        return f"without {enumeration([words(kind) for kind in value])}" if value else "all tensors"
    if name == "converged":
        return "converged runs" if value else "all runs"
    return f"{value} training runs" if name == "n_train_runs" else f"{name} {value}"


def _span_text(value: Any) -> str:
    """First and last snapshot, as "11–20", or "later half"."""
    if not value or isinstance(value, str):
        return str(value or "all").replace("-", " ")
    return str(value[0]) if value[0] == value[-1] else f"{value[0]}–{value[-1]}"


def in_order(names: Iterable[str]) -> list[str]:
    """Each name once, in the order of first appearance."""
    return list(dict.fromkeys(names))


def best_of_each_property(results: Iterable[Result]) -> list[Result]:
    """Of each property the result of highest accuracy; the first of equals."""
    known = [result for result in results if result.accuracy is not None]
    of_property = {target: [r for r in known if r.target == target] for target in in_order(r.target for r in known)}
    return [max(members, key=lambda result: result.accuracy or 0.0) for members in of_property.values()]


def words(name: object) -> str:
    """A property's name in running text."""
    return str(name).replace("_", " ")


def enumeration(parts: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def many(count: int, noun: str, several: str = "") -> str:
    """ "1 run", "2,000 runs"."""
    return f"{count:,} {noun if count == 1 else several or noun + 's'}"


def headline(documents: Iterable[Mapping[str, Any]]) -> str:
    """What a reader learns, in one line: the properties whose whole interval lies above the baseline."""
    named = enumeration(in_order(words(result.target) for result in classifications(documents) if result.above))
    return f"Trained weights give away the {named}" if named else "What these weights give away is not settled"


def opening(documents: Iterable[Mapping[str, Any]], runs: int) -> list[str]:
    """What a reader learns first, a few sentences: what was done with how many runs, what can be read, against what,
    and from how little. Nothing is claimed of an interval that includes the baseline."""
    documents = list(documents)
    results = classifications(documents)
    counts = [[d[key] for d in documents if d.get(key)] for key in ("n_train_runs", "n_runs")]
    sentences = [f"{many(runs, 'network')} were trained under choices drawn at random."]
    if all(counts):
        train, test = map(max, counts)
        over = "over several splits, " if train + test > runs else ""
        sentences = [
            f"{sentences[0][:-1]}; {over}meta-classifiers learned from {train} of them and read the weights of {test} "
            "that they had not seen."
        ]
    sentences.append(answer(documents))
    shares = [100 * d["majority"] for d in documents if d.get("majority")]
    if shares:
        low, high = f"{min(shares):.0f}", f"{max(shares):.0f}"
        between = f"{low} %" if low == high else f"{low} to {high} % of them, depending on the property"
        sentences.append(f"Always naming the most frequent value would be right for {between}.")
    return [*sentences, *_of_slices(results)]


def _of_slices(results: Sequence[Result]) -> list[str]:
    """What slices of the shortest length are enough for, where whole networks were read as well."""
    lengths = [r.document.get("slice_length") for r in results]
    shortest = min((length for length in lengths if isinstance(length, int)), default=None)
    if shortest is None or "all" not in lengths:
        return []
    of_slices = [r for r in results if r.document.get("slice_length") == shortest]
    best = [r for r in best_of_each_property(of_slices) if r.above]
    rest = [words(t) for t in in_order(r.target for r in of_slices) if t not in {r.target for r in best}]
    start = f"Slices of {shortest:,} consecutive weights"
    if not best:
        return [f"{start} settle nothing."]
    settled = f", and settle nothing for the {enumeration(rest)}" if rest else ""
    return [f"{start} are enough for the {enumeration([_with_accuracy(r) for r in best])}{settled}."]


def answer(documents: Iterable[Mapping[str, Any]]) -> str:
    """What the numbers allow to be said in one or two sentences; nothing is claimed of an interval that includes
    the baseline."""
    documents = list(documents)
    results, estimates = classifications(documents), regressions(documents)
    sentences = []
    best = sorted(best_of_each_property(r for r in results if r.above), key=lambda r: -(r.accuracy or 0))
    targets = in_order(r.target for r in results)
    rest = enumeration([words(target) for target in targets if target not in {r.target for r in best}])
    if best:
        of = many(len(targets), "property", "properties")
        share = f"all {of}" if len(best) == len(targets) > 1 else f"{len(best)} of {of}"
        sentences.append(
            f"From the weights alone, {share} can be named better than chance and majority: "
            f"{enumeration([_with_accuracy(r) for r in best])}."
        )
    if best and rest:
        sentences.append(f"For {rest} the test runs at hand do not settle it.")
    elif rest:
        sentences.append(
            f"The test runs at hand do not settle whether {rest} can be read from the weights: every 95 % interval "
            "reaches down to chance or majority."
        )
    quantities = in_order(words(r.target) for r in estimates)
    known = in_order(words(r.target) for r in estimates if r.above)
    better = "can be estimated better than by answering the mean"
    if known:
        of = many(len(quantities), "quantity", "quantities")
        sentences.append(f"{len(known)} of {of} {better}: {enumeration(known)}.")
    elif quantities:
        sentences.append(f"Whether {enumeration(quantities)} {better} is not settled.")
    return " ".join(sentences) or "No meta-classifier was evaluated, so that nothing can be said yet."


def _with_accuracy(result: Result) -> str:
    return f"{words(result.target)} ({100 * (result.accuracy or 0):.0f} %)"
