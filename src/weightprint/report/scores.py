"""Evaluation documents, read and judged: what may be claimed of each, and the sentence that sums them up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

REGRESSION = "regression"
MEASURES = ("r2", "mae", "kendall_tau", "tau_ceiling")
_SETTINGS = ("part", "slice_length", "snapshots", "without", "converged", "n_train_runs", "seed")
"""What tells two evaluations of one model on one property apart, in the order in which a reader would ask."""


@dataclass(frozen=True)
class Score:
    """One evaluation document of a classification.

    target:   what was predicted
    label:    the model, with the settings that tell it from another evaluation of the same model
    accuracy: share of test runs named right; None when not stated, like the other numbers
    low, high: its 95 % interval
    document: all that was stated
    """

    target: str
    label: str
    accuracy: float | None
    low: float | None
    high: float | None
    chance: float | None
    majority: float | None
    n_runs: int | None
    document: Mapping[str, Any]

    @property
    def baseline(self) -> float | None:
        """The larger of chance and majority: what can be had without reading weights."""
        known = [share for share in (self.chance, self.majority) if share is not None]
        return max(known) if known else None

    @property
    def above(self) -> bool:
        """Whether the whole interval lies above the baseline: the only case in which anything is claimed."""
        return self.low is not None and self.baseline is not None and self.low > self.baseline


@dataclass(frozen=True)
class Fit:
    """One evaluation document of a regression: measure → (value, low, high), None where not stated."""

    target: str
    label: str
    n_runs: int | None
    measures: Mapping[str, tuple[float | None, float | None, float | None]]
    document: Mapping[str, Any]

    @property
    def above(self) -> bool:
        """Whether the whole interval of R² lies above 0, which always answering the mean would reach at best."""
        low = self.measures["r2"][1]
        return low is not None and low > 0


def classifications(results: Iterable[Mapping[str, Any]]) -> list[Score]:
    """The classifications among evaluation documents, in their order."""
    results = list(results)
    labels = _labels(results)
    return [
        _score(document, label)
        for document, label in zip(results, labels, strict=True)
        if document.get("kind") != REGRESSION
    ]


def regressions(results: Iterable[Mapping[str, Any]]) -> list[Fit]:
    """The regressions among evaluation documents, in their order."""
    results = list(results)
    labels = _labels(results)
    return [
        Fit(
            target=str(document.get("property", "")),
            label=label,
            n_runs=_runs(document),
            measures={name: _measure(document, name) for name in MEASURES},
            document=document,
        )
        for document, label in zip(results, labels, strict=True)
        if document.get("kind") == REGRESSION
    ]


def _score(document: Mapping[str, Any], label: str) -> Score:
    per_run = document.get("per_run") or {}
    low, high = ends(per_run.get("interval"))
    return Score(
        target=str(document.get("property", "")),
        label=label,
        accuracy=per_run.get("accuracy"),
        low=low,
        high=high,
        chance=document.get("chance"),
        majority=document.get("majority"),
        n_runs=_runs(document),
        document=document,
    )


def _runs(document: Mapping[str, Any]) -> int | None:
    return document.get("n_runs", (document.get("per_run") or {}).get("n"))


def _measure(document: Mapping[str, Any], name: str) -> tuple[float | None, float | None, float | None]:
    found = (document.get("per_run") or {}).get(name)
    if not isinstance(found, Mapping):
        return found, None, None
    return (found.get("value"), *ends(found.get("interval")))


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
        told = [setting_text(s, document.get(s)) for s in varying.get(name, ())]
        label = f"{name} ({', '.join(told)})" if told else name
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


def best_of_each_property(scores: Iterable[Score]) -> list[Score]:
    """Per property the score of highest accuracy; the first of equals."""
    best: dict[str, Score] = {}
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
    results = list(results)
    scores, fits = classifications(results), regressions(results)
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
    quantities = in_order(fit.target for fit in fits)
    if quantities:
        told = in_order(fit.target for fit in fits if fit.above)
        if told:
            listed = enumeration([words(p) for p in told])
            sentences.append(
                f"{len(told)} of {_count(quantities, 'quantity', 'quantities')} can be estimated better than by "
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
