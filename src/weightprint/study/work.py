"""How results are computed: which tables each kind of them reads, and the function that makes it of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from weightprint.meta.models import model_named
from weightprint.study import attribution, neighbours, robustness
from weightprint.study.cells import Cell, Cells, Result, compute
from weightprint.study.plans import TRIAL, Planned
from weightprint.study.table import Place, Read, fill, place_of, runs_at, table_at
from weightprint.study.trial import Trial, run_trial
from weightprint.zoo import Run, Zoo

Progress = Callable[[str, float, float], None]
"""Called with what is being done, how much of it is done, and how much there is."""


KINDS: dict[str, tuple[Callable[[Any, Any], Result], Read | None]] = {
    "neighbours": (neighbours.run_neighbours, neighbours.STATISTICS),
    "embedding": (neighbours.run_embedding, neighbours.STATISTICS),
    attribution.KIND: (attribution.run_attribution, (model_named(attribution.MODEL).features, ())),
    robustness.KIND: (robustness.run_robustness, None),
}
"""Besides trials: what makes a result of a table and settings, and what is read for the table; or of the runs
themselves, where there is no table."""


def compute_planned(
    zoos: Mapping[str, Zoo],
    cells: Cells,
    planned: Sequence[Planned],
    *,
    workers: int,
    progress: Progress | None,
    what: str,
) -> int:
    """Compute the results that are missing, and before them what they read in runs.

    zoos: by fingerprint; the one that is studied is ""
    what: is being done, as `progress` is told it

    Returns how many were computed.
    """
    missing = cells.missing([one.cell for one in planned])
    needed: dict[str, dict[Read, None]] = {}
    for key, reads in (one for cell in missing for one in _reads(cell)):
        needed.setdefault(key, {})[reads] = None
    for key, several in needed.items():
        labelled = progress and partial(progress, f"reading {zoos[key].path.name}")
        fill(zoos[key], several, workers=workers, progress=labelled)
    places = {key: place_of(zoo) for key, zoo in zoos.items()}
    labelled = progress and partial(progress, what)
    return compute(cells, missing, partial(_work, places), workers=workers, progress=labelled)


def _reads(cell: Cell) -> tuple[tuple[str, Read], ...]:
    """The tables that a cell reads, each a zoo's fingerprint and what is read in it: a trial's what it trains on and
    what it is tested on."""
    if cell.kind != TRIAL:
        _, reads = KINDS[cell.kind]
        return () if reads is None else (("", reads),)
    trial: Trial = cell.given
    needed = model_named(trial.model).features, trial.without
    return ((trial.train_zoo, needed), (trial.test_zoo, needed)) if trial.reads_tables else ()


def _work(places: Mapping[str, Place], cell: Cell) -> Result:
    """Compute one cell; runs in a worker process. places: by fingerprint"""
    tables = [table_at(places[key], *reads) for key, reads in _reads(cell)]

    def runs(key: str) -> Sequence[Run]:
        return [run for run in runs_at(places[key]) if run.status == "complete"]

    if cell.kind != TRIAL:
        run, _ = KINDS[cell.kind]
        return run(tables[0] if tables else runs(""), cell.given)
    trial: Trial = cell.given
    if trial.model == "dmc":
        import torch

        torch.set_num_threads(1)  # one process per core
    both: list[Sequence[Run]] = [table.readable(trial.tensors) for table in tables]
    train, test = both or (runs(trial.train_zoo), runs(trial.test_zoo))
    return run_trial(train, trial, None if trial.test_zoo == trial.train_zoo else test)
