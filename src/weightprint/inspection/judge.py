"""Judge what `learning` fits: on runs, architectures, loops and real files that it has not seen.

    python -m weightprint.inspection.judge ZOO [--strangers FOLDER] [--loops FOLDER] [--held-out] [--offered]
                                           [--json FILE] [--markdown FILE]

ZOO is a population of the space `everyday`. FOLDER holds files with a table (`weightprint.inspection.strangers`):
real ones, and those of other training loops (`benchmarks/foreign_loops.py`). Judged are

- everyday runs: each by a fit on the other folds;
- each family of architectures by a fit on the other families;
- files of other loops;
- real files of the development half of the repositories; with `--held-out` those of the other half instead.

Column A: trees see no real file; thresholds and calibration come from runs held out and from development files of
other repositories. Column B: the development files are in the training too, folds by repository. Beside every figure
stand the same trees on shapes and file format alone, and the most frequent value.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from weightprint.evaluation.intervals import clopper_pearson
from weightprint.inspection import learning
from weightprint.inspection.cases import (
    FURTHER,
    Case,
    cases_of_runs,
    cases_of_strangers,
    stacked,
    training_files,
    with_further,
)
from weightprint.inspection.learning import Answers, merged
from weightprint.inspection.shipped import Shipped
from weightprint.inspection.strangers import Stranger, read_strangers
from weightprint.inspection.world import World
from weightprint.meta.estimator import MetaClassifier
from weightprint.meta.learners.base import Examples, Fitted
from weightprint.meta.learners.boosting import Boosting
from weightprint.zoo import Zoo
from weightprint.zoo.readable import Readable

COPIES = 8
"""How often a real file stands in the training of column B, where a run stands once."""

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


T = TypeVar("T")
Metas = Sequence[MetaClassifier]
Replies = dict[str, list[Reply]]


class Judge:
    """Fits what is needed, once, and scores it.

    runs:      complete, converged runs of a zoo
    strangers: the real files that choices may be made on
    names:     the properties
    seeds:     of the fits that read files; folds of runs have one fit each
    """

    def __init__(
        self,
        runs: Sequence[Readable],
        strangers: Sequence[Stranger],
        names: Sequence[str],
        seeds: Sequence[int] = learning.SEEDS,
    ) -> None:
        self.runs = with_further(sorted(runs, key=lambda run: run.identity))
        self.names, self.seeds = names, seeds
        self.tables = learning.last_rows(self.runs)
        self.cases = cases_of_runs(self.runs, self.tables)
        self.strangers = [s for s in strangers if s.network is not None and not s.embedded]
        self.files = cases_of_strangers(self.strangers)
        repos = sorted({s.repo for s in self.strangers})
        fold_of = dict(zip(repos, learning.deal(repos), strict=True))
        self.file_folds = [fold_of[s.repo] for s in self.strangers]

    def runs_held_out(self, folds: Sequence[Any]) -> tuple[Replies, dict[str, Answers]]:
        """What is said of every run by a fit that saw none of its fold, calibrated on the other folds and the files;
        and the same uncalibrated."""
        fits = {k: self._fit(_of_others(self.runs, folds, k), self.seeds[:1]) for k in sorted(set(folds))}
        answers = {k: self._answers(metas, _of_fold(self.cases, folds, k)) for k, metas in fits.items()}
        found: Replies = {name: [] for name in self.names}
        for k, metas in fits.items():
            lab = merged(of for other, of in answers.items() if other != k)
            seen = _of_others(range(len(self.runs)), folds, k)
            shipped = _shipped(metas, self._world(seen), lab, self._answers(metas, self.files))
            shapes = Shapes.fit([self.cases[i] for i in seen], self.names)
            _extend(found, replies(shipped, shapes, _of_fold(self.cases, folds, k)))
        return found, merged(answers.values())

    @cached_property
    def everyday(self) -> tuple[Replies, dict[str, Answers]]:
        """Of runs held out by folds of runs."""
        return self.runs_held_out(learning.deal(self.runs))

    def column_a(self) -> tuple[Replies, Callable[[Sequence[Case]], Replies]]:
        """By trees that saw no real file: the development files, calibrated on files of other repositories, and how
        other files are answered."""
        metas = self._fit(self.runs, self.seeds)
        shapes = Shapes.fit(self.cases, self.names)
        found: Replies = {name: [] for name in self.names}
        for k in sorted(set(self.file_folds)):
            others = self._answers(metas, _of_others(self.files, self.file_folds, k))
            own = _of_fold(self.files, self.file_folds, k)
            _extend(found, replies(_shipped(metas, self.world, self.everyday[1], others), shapes, own))
        last = _shipped(metas, self.world, self.everyday[1], self._answers(metas, self.files))
        return found, lambda cases: replies(last, shapes, cases)

    def column_b(self) -> tuple[Replies, Callable[[Sequence[Case]], Replies]]:
        """The development files by trees that saw files of other repositories, and how other files are answered by
        trees that saw all development files."""
        folds = self.file_folds
        fits = {k: self._fit(self.runs, self.seeds, _of_others(self.strangers, folds, k)) for k in sorted(set(folds))}
        answers = {k: self._answers(metas, _of_fold(self.files, folds, k)) for k, metas in fits.items()}
        found: Replies = {name: [] for name in self.names}
        for k, metas in fits.items():
            others = merged(of for other, of in answers.items() if other != k)
            shapes = Shapes.fit([*self.cases, *_of_others(self.files, folds, k) * COPIES], self.names)
            shipped = _shipped(metas, self.world, self.everyday[1], others)
            _extend(found, replies(shipped, shapes, _of_fold(self.files, folds, k)))
        metas = self._fit(self.runs, self.seeds, self.strangers)
        last = _shipped(metas, self.world, self.everyday[1], merged(answers.values()))
        all_shapes = Shapes.fit([*self.cases, *self.files * COPIES], self.names)
        return found, lambda cases: replies(last, all_shapes, cases)

    def _fit(self, runs: Sequence[Readable], seeds: Sequence[int], files: Sequence[Stranger] = ()) -> Metas:
        snapshots = max(len(run.measurements) for run in runs)
        known = {name: {run.properties.get(name) for run in runs} for name in self.names}
        beside = training_files(files, known, snapshots, COPIES, runs[0].cache)
        return learning.fit_metas([*runs, *beside], self.names, seeds)

    @cached_property
    def world(self) -> World:
        """Of all runs."""
        return self._world(range(len(self.runs)))

    def _world(self, which: Sequence[int]) -> World:
        tables, layouts = [self.tables[i] for i in which], [self.cases[i].layout for i in which]
        return World.of(tables, layouts, learning.deal(which))

    def _answers(self, metas: Metas, cases: Sequence[Case]) -> dict[str, Answers]:
        """Uncalibrated."""
        return learning.answers_of(metas, cases, self.names)


def _shipped(metas: Metas, world: World, lab: Mapping[str, Answers], files: Mapping[str, Answers]) -> Shipped:
    """Fits calibrated on answers of runs held out and of files."""
    return Shipped(metas, world, learning.calibrations_of(lab, files), {})


def _of_fold(items: Iterable[T], folds: Sequence[Any], k: Any) -> list[T]:
    return [item for item, fold in zip(items, folds, strict=True) if fold == k]


def _of_others(items: Iterable[T], folds: Sequence[Any], k: Any) -> list[T]:
    return [item for item, fold in zip(items, folds, strict=True) if fold != k]


def _extend(found: Replies, more: Replies) -> None:
    for name, rows in more.items():
        found[name].extend(rows)


def judge(
    judged: Judge, loops: Sequence[Stranger] = (), held_out: Sequence[Stranger] = ()
) -> Iterator[tuple[str, dict[str, dict[str, Any]]]]:
    """Populations, one after the other as they are judged: title, property → scores (`scores`)."""
    yield "everyday runs held out", _scored(judged.everyday[0])
    families = [case.labels["architecture"] for case in judged.cases]
    by_family, _ = judged.runs_held_out(families)
    yield "architectures held out", _scored(by_family)
    for family in sorted(set(families)):
        of_family = {
            name: [r for r in rows if r.case.labels["architecture"] == family] for name, rows in by_family.items()
        }
        yield f"architectures held out: {family}", _scored(of_family)
    others, real = cases_of_strangers(loops), cases_of_strangers(held_out)
    for column in ("A", "B") if judged.files else ("A",):
        development, answer = judged.column_a() if column == "A" else judged.column_b()
        if others:
            yield f"loops not ours, {column}", _scored(answer(others))
        title, rows = ("real files held out", answer(real)) if real else ("real files", development)
        rows = {name: of for name, of in rows.items() if name not in FURTHER}  # too few document these
        yield f"{title}, {column}", _scored(rows)
        once = {name: _one_per_setup(of) for name, of in rows.items()}
        yield f"{title}, {column}, one per set-up", _scored(once)


def _scored(found: Replies) -> dict[str, dict[str, Any]]:
    return {name: scores(rows) for name, rows in found.items() if rows}


def _one_per_setup(rows: Sequence[Reply]) -> list[Reply]:
    return list({row.case.setup: row for row in reversed(rows)}.values())[::-1]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Judge the meta-classifier on what it has not seen.")
    parser.add_argument("zoo")
    parser.add_argument("--strangers", help="folder of real files with a table.csv")
    parser.add_argument("--loops", help="folder of files of other training loops with a table.csv")
    parser.add_argument("--held-out", action="store_true", help="score the held-out half of the repositories")
    parser.add_argument("--offered", action="store_true", help="leave out the properties that are judged only")
    seeds = len(learning.SEEDS)
    parser.add_argument("--seeds", type=int, default=seeds, help="fits whose answers on files are averaged")
    parser.add_argument("--runs", type=int, help="of the zoo, the first so many")
    parser.add_argument("--json", help="file to write all scores to")
    parser.add_argument("--markdown", help="file to write the tables to")
    options = parser.parse_args()
    names = (*learning.PROPERTIES, *(() if options.offered else (n for n in FURTHER if n not in learning.PROPERTIES)))
    runs = [r for r in list(Zoo(options.zoo))[: options.runs] if r.status == "complete" and r.converged]
    strangers = read_strangers(options.strangers) if options.strangers else []
    loops = read_strangers(options.loops) if options.loops else []
    held_out = [s for s in strangers if not s.development] if options.held_out else []
    judged = Judge(runs, [s for s in strangers if s.development], names, range(options.seeds))
    found: dict[str, dict[str, dict[str, Any]]] = {}
    tables = ""
    for title, of in judge(judged, loops, held_out):
        print(title, file=sys.stderr, flush=True)
        found[title] = of
        tables = markdown(found, names, learning.PROPERTIES)
        if options.json:
            Path(options.json).write_text(json.dumps(found, indent=2), encoding="utf-8")
        if options.markdown:
            Path(options.markdown).write_text(tables, encoding="utf-8")
    print(tables)


if __name__ == "__main__":
    main()
