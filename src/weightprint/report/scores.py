"""Evaluation documents, read and judged: what may be claimed of each, and the sentence that sums them up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from weightprint.evaluation.answers import REGRESSION
from weightprint.evaluation.claims import above, baseline, interval_of

_SETTINGS = ("part", "slice_length", "snapshots", "without", "converged", "n_train_runs", "seed")
"""What tells two evaluations of one model on one property apart, in the order in which a reader would ask."""


@dataclass(frozen=True)
class Result:
    """One evaluation document, some of whose keys may be missing.

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
        """Share of test runs named right; None when not stated, like the other numbers."""
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

    def measure(self, name: str) -> tuple[float | None, float | None, float | None]:
        """A regression's measure with the ends of its interval."""
        stated = (self.document.get("per_run") or {}).get(name)
        if not isinstance(stated, Mapping):
            return stated, None, None
        return (stated.get("value"), *ends(stated.get("interval")))


def classifications(documents: Iterable[Mapping[str, Any]]) -> list[Result]:
    """The classifications among evaluation documents, in their order."""
    return [result for result in _results(documents) if result.document.get("kind") != REGRESSION]


def regressions(documents: Iterable[Mapping[str, Any]]) -> list[Result]:
    """The regressions among evaluation documents, in their order."""
    return [result for result in _results(documents) if result.document.get("kind") == REGRESSION]


def _results(documents: Iterable[Mapping[str, Any]]) -> list[Result]:
    documents = list(documents)
    return [Result(label, document) for label, document in zip(_labels(documents), documents, strict=True)]


def ends(interval: Any) -> tuple[float | None, float | None]:
    """The two ends of an interval; twice None when it is not known."""
    return (interval[0], interval[1]) if interval else (None, None)


def _labels(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """A name for each document, the same for one model throughout, different wherever a property has two of it."""
    names = [str(document.get("model", "model")) for document in results]
    pairs = Counter((d.get("property"), name) for d, name in zip(results, names, strict=True))
    repeated = {name for (_, name), count in pairs.items() if count > 1}
    varying = {
        name: [s for s in _SETTINGS if len({repr(d.get(s)) for d in results if str(d.get("model")) == name}) > 1]
        for name in repeated
    }
    labels: list[str] = []
    seen: Counter[tuple[Any, str]] = Counter()
    for document, name in zip(results, names, strict=True):
        in_words = [setting_text(s, document.get(s)) for s in varying.get(name, ())]
        label = f"{name} ({', '.join(in_words)})" if in_words else name
        seen[document.get("property"), label] += 1
        count = seen[document.get("property"), label]
        labels.append(f"{label} #{count}" if count > 1 else label)
    return labels


def setting_text(name: str, value: Any) -> str:
    """One setting of a meta-classifier in words."""
    if name == "part":
        return "all parts" if value in (None, "all") else f"{value} part"
    if name == "slice_length":
        return "whole vectors" if value in (None, "all") else f"slices of {value:,}"
    if name == "snapshots":
        return f"snapshots {span_text(value)}"
    if name == "without":
        return f"without {enumeration([words(kind) for kind in value])}" if value else "all tensors"
    if name == "converged":
        return "converged runs" if value else "all runs"
    if name == "n_train_runs":
        return f"{value} training runs"
    return f"{name} {value}"


def span_text(value: Any) -> str:
    """First and last snapshot, as "11–20", or "later half"."""
    if not value or isinstance(value, str):
        return str(value or "all").replace("-", " ")
    first, last = value[0], value[-1]
    return str(first) if first == last else f"{first}–{last}"


def in_order(names: Iterable[str]) -> list[str]:
    """Each name once, in the order of first appearance."""
    return list(dict.fromkeys(names))


def best_of_each_property(scores: Iterable[Result]) -> list[Result]:
    """Of each property the result of highest accuracy; the first of equals."""
    best: dict[str, Result] = {}
    for score in scores:
        if score.accuracy is not None:
            known = best.get(score.target)
            if known is None or score.accuracy > (known.accuracy or 0):
                best[score.target] = score
    return list(best.values())


def words(name: object) -> str:
    """A property's name in running text."""
    return str(name).replace("_", " ")


def enumeration(parts: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def headline(results: Iterable[Mapping[str, Any]]) -> str:
    """What a reader learns, in one line: the properties whose whole interval lies above the baseline."""
    named = in_order(score.target for score in classifications(list(results)) if score.above)
    if not named:
        return "What these weights give away is not settled"
    return f"Trained weights give away the {enumeration([words(name) for name in named])}"


def answer(results: Iterable[Mapping[str, Any]]) -> str:
    """What the numbers allow to be said in one or two sentences; nothing is claimed of an interval that includes
    the baseline."""
    documents = list(results)
    scores, estimates = classifications(documents), regressions(documents)
    sentences = []
    properties = in_order(score.target for score in scores)
    if properties:
        named = best_of_each_property(score for score in scores if score.above)
        rest = [words(p) for p in properties if p not in {score.target for score in named}]
        if named:
            named.sort(key=lambda score: -(score.accuracy or 0))
            listed = enumeration([f"{words(s.target)} ({100 * (s.accuracy or 0):.0f} %)" for s in named])
            sentences.append(
                f"From the weights alone, {len(named)} of {_count(properties, 'property', 'properties')} can be named "
                f"better than chance and majority: {listed}."
            )
            if rest:
                sentences.append(f"For {enumeration(rest)} the test runs at hand do not settle it.")
        else:
            sentences.append(
                f"The test runs at hand do not settle whether {enumeration(rest)} can be read from the weights: "
                "every 95 % interval reaches down to chance or majority."
            )
    quantities = in_order(one.target for one in estimates)
    if quantities:
        in_words = in_order(one.target for one in estimates if one.above)
        if in_words:
            listed = enumeration([words(p) for p in in_words])
            sentences.append(
                f"{len(in_words)} of {_count(quantities, 'quantity', 'quantities')} can be estimated better than by "
                f"answering the mean: {listed}."
            )
        else:
            sentences.append(
                f"Whether {enumeration([words(p) for p in quantities])} can be estimated better than by answering the "
                "mean is not settled."
            )
    return " ".join(sentences) or "No meta-classifier was evaluated, so that nothing can be said yet."


def _count(things: Sequence[object], one: str, many: str) -> str:
    return f"{len(things)} {one if len(things) == 1 else many}"
