"""What was said of networks whose training is known, scored: balanced accuracy, verdicts, sets, baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from weightprint.evaluation.intervals import clopper_pearson
from weightprint.inspection.cases import Case, stacked
from weightprint.inspection.shipped import Shipped
from weightprint.meta.learners.base import Examples, Fitted
from weightprint.meta.learners.boosting import Boosting

BASELINE = Boosting(iterations=60, leaves=7, column_share=0.5, early_stopping=False)


@dataclass(frozen=True)
class Reply:
    """What was said of one property of one network.

    case:    the network
    truth:   the true value
    best:    the likeliest value
    verdict: the value that was told, or None for "cannot say"
    held:    whether the 90 % set holds the truth
    size:    values in that set
    shapes:  what shapes and format alone make of it
    """

    case: Case
    truth: Any
    best: Any
    verdict: Any
    held: bool
    size: int
    shapes: Any


class Shapes:
    """The baseline: boosted trees on shapes and file format alone.

    names:  of the columns
    fitted: property → (values, the trees)
    """

    def __init__(self, names: tuple[str, ...], fitted: Mapping[str, tuple[list[Any], Fitted]]) -> None:
        self.names, self.fitted = names, fitted

    @classmethod
    def fit(cls, cases: Sequence[Case], properties: Sequence[str]) -> Shapes:
        facts = [case.shapes for case in cases]
        names = tuple(sorted({name for of in facts for name in of}))
        table = np.array([_row(of, names) for of in facts], np.float32)
        fitted = {}
        for name in properties:
            known = [i for i, case in enumerate(cases) if name in case.labels]
            values = sorted({cases[i].labels[name] for i in known})
            goals = np.array([values.index(cases[i].labels[name]) for i in known], np.intp)
            examples = Examples(table[known], names, goals, np.arange(len(known), dtype=np.intp), len(values))
            fitted[name] = (values, BASELINE.fit(examples, seed=0))
        return cls(names, fitted)

    def answers(self, name: str, cases: Sequence[Case]) -> list[Any]:
        """The likeliest value of each case."""
        values, trees = self.fitted[name]
        rows = np.array([_row(case.shapes, self.names) for case in cases], np.float32)
        return [values[i] for i in trees.outputs(rows, self.names).argmax(axis=1)]


def _row(facts: Mapping[str, float], names: Sequence[str]) -> list[float]:
    return [facts.get(name, 0.0 if "=" in name else np.nan) for name in names]


def replies(shipped: Shipped, shapes: Shapes, cases: Sequence[Case]) -> dict[str, list[Reply]]:
    """Property → what is said of each case whose true value is known to the meta-classifier."""
    outside = [shipped.world.look(case.table, case.layout).outside for case in cases]
    found: dict[str, list[Reply]] = {}
    for name in shipped.properties:
        classes, calibration = shipped.classes(name), shipped.calibrations[name]
        known = [i for i, case in enumerate(cases) if case.labels.get(name) in classes]
        own = [cases[i] for i in known]
        if not own:
            found[name] = []
            continue
        of = shipped.probabilities(name, stacked([case.table for case in own]))
        found[name] = []
        for case, i, p, baseline in zip(own, known, of, shapes.answers(name, own), strict=True):  # as `verdicts_of`
            truth, best = case.labels[name], classes[int(p.argmax())]
            inside = classes if outside[i] else [classes[number] for number in calibration.inside(p)]
            verdict = best if calibration.answers(p) and not outside[i] else None
            found[name].append(Reply(case, truth, best, verdict, truth in inside, len(inside), baseline))
    return found


def scores(rows: Sequence[Reply]) -> dict[str, Any]:
    """How good the replies about one property are, JSON-ready. Every interval is the exact 95 % one.

    n; per_class: value → [right, n]; balanced: mean over classes of the share whose likeliest value is right;
    right: networks whose likeliest value is right, and the interval of their share; verdicts: those given, wrong: the
    wrong ones, and the interval of their share; sets: 90 % sets that hold the truth, the interval of their share, and
    the mean number of values in them; shapes: balanced accuracy of shapes and format alone; majority: share of the
    most frequent value
    """
    truths = [row.truth for row in rows]
    values = sorted(set(truths))

    def balanced(answers: Sequence[Any]) -> float:
        of_class = [[a == t for a, t in zip(answers, truths, strict=True) if t == value] for value in values]
        return float(np.mean([np.mean(right) for right in of_class]))

    right = sum(row.best == row.truth for row in rows)
    given = [row for row in rows if row.verdict is not None]
    wrong = sum(row.verdict != row.truth for row in given)
    held = sum(row.held for row in rows)
    return {
        "n": len(rows),
        "per_class": {v: [sum(r.best == v for r in rows if r.truth == v), truths.count(v)] for v in values},
        "balanced": balanced([row.best for row in rows]),
        "right": [right, *clopper_pearson(right, len(rows))],
        "verdicts": len(given),
        "wrong": [wrong, *clopper_pearson(wrong, len(given))],
        "sets": [held, *clopper_pearson(held, len(rows))],
        "set_size": float(np.mean([row.size for row in rows])),
        "shapes": balanced([row.shapes for row in rows]),
        "majority": max(map(truths.count, values)) / len(rows),
    }


def markdown(found: Mapping[str, Mapping[str, Mapping[str, Any]]], names: Sequence[str], offered: Sequence[str]) -> str:
    """A table per property, a row per population; those whose titles have a colon, the families of architectures, stand
    in a table of their own with balanced accuracies alone."""
    head = (
        "| judged on | n | per value: right / n | balanced | shapes and format | right | most frequent "
        "| verdicts | wrong | 90 % sets that hold it |\n|---|---|---|---|---|---|---|---|---|---|"
    )
    parts = []
    for name in names:
        lines = [_line(title, of[name]) for title, of in found.items() if name in of and ": " not in title]
        note = "" if name in offered else " (judged only, not offered)"
        parts.append("\n".join([f"**{name.replace('_', ' ')}**{note}\n", head, *lines]))
    families = {title: of for title, of in found.items() if ": " in title}
    if families:
        heads = ["| balanced (n) |", *(f" {name.replace('_', ' ')} |" for name in names)]
        lines = ["".join(heads), "|---" * (len(names) + 1) + "|"]
        for title, of in families.items():
            cells = [f"{_share(of[name]['balanced'])} ({of[name]['n']})" if name in of else "–" for name in names]
            lines.append(f"| {title} | " + " | ".join(cells) + " |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _line(title: str, score: Mapping[str, Any]) -> str:
    n, given = score["n"], score["verdicts"]
    values = ", ".join(f"{value} {right}/{of}" for value, (right, of) in score["per_class"].items())
    right, wrong, sets = score["right"], score["wrong"], score["sets"]
    cells = (
        *(title, n, values, _share(score["balanced"]), _share(score["shapes"])),
        f"{_share(right[0] / n)} {_interval(right)}",
        *(_share(score["majority"]), f"{given} ({given / n:.0%})"),
        f"{wrong[0]} {_interval(wrong)}" if given else "–",
        f"{_share(sets[0] / n)} {_interval(sets)}, of {score['set_size']:.1f} values",
    )
    return f"| {' | '.join(map(str, cells))} |"


def _interval(counted: Sequence[float]) -> str:
    return f"[{_share(counted[1])}, {_share(counted[2])}]"


def _share(value: float) -> str:
    return f"{value:.2f}".removeprefix("0") if value < 0.995 else f"{value:.2f}"
