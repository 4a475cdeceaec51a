"""A zoo on disk with planted signals: the optimizer grows into the second half of training, nothing tells the rest."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import FEW_RESULTS, made_once
from tests.meta.conftest import OPTIMIZERS, SMALL, draw_properties
from weightprint import study
from weightprint.report.study_page import run_study
from weightprint.seeds import seed_from_hash
from weightprint.study.table import read_table
from weightprint.zoo import Zoo, write_run
from weightprint.zoo.layout import Layout
from weightprint.zoo.runfile import RunRecord

SNAPSHOTS = 4


def planted_run(number: int, layout: Layout) -> RunRecord:
    properties = {**draw_properties(number), "dataset": ("mnist", "svhn", "cifar10")[number % 3]}
    generator = np.random.default_rng(seed_from_hash("planted", number))
    weights = generator.normal(size=(SNAPSHOTS, layout.size)).astype(np.float32)
    kernel = layout["conv2/kernel"]
    for t in range(SNAPSHOTS):
        if 2 * t >= SNAPSHOTS:
            weights[t, kernel.offset : kernel.stop] *= 3.0 ** OPTIMIZERS.index(properties["optimizer"])
    accuracy = 0.3 + 5 * properties["learning_rate"]
    return RunRecord(
        number=number,
        identity=f"planted:{number}",
        status="complete",
        reason="last epoch",
        properties=properties,
        layout=layout,
        weights=weights,
        measurements=[{"snapshot": t + 1, "step": 10 * t, "test_accuracy": accuracy} for t in range(SNAPSHOTS)],
    )


def changed(run, **attributes):
    """A studied run with other attributes."""
    own = vars(run)
    shown = copy.copy(run)
    shown.__class__ = type("Changed", (type(run),), {n: v for n, v in attributes.items() if n not in own})
    vars(shown).update({n: v for n, v in attributes.items() if n in own})
    return shown


@pytest.fixture(scope="session")
def planted_path(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("study") / "planted"
    Zoo.create(path, {"note": "planted"})
    layout = Layout.of(SMALL)
    for number in range(72):
        write_run(path, planted_run(number, layout))
    return path


@pytest.fixture
def planted(planted_path) -> Zoo:
    return Zoo(planted_path)


@pytest.fixture(scope="session")
def table(planted_path):
    return read_table(Zoo(planted_path))


@pytest.fixture(scope="session")
def studied(planted_path, tmp_path_factory) -> tuple[Path, dict, dict]:
    """The folder of a small study's report, what the call that made it answered, and how many results the same study
    computes once more; made once for all processes."""

    def study_twice(folder: Path) -> None:
        folder.mkdir()
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(study.BUDGETS, "quick", FEW_RESULTS)
            first = run_study(planted_path, folder, budget="quick", workers=1)
            again = study.compute_study(Zoo(planted_path), folder, size="quick", workers=1)
        (folder / "answers.json").write_text(json.dumps([first, {"made": again.made}]))

    folder = made_once(tmp_path_factory, "studied", study_twice)
    return folder, *json.loads((folder / "answers.json").read_text())
