"""The report: what a reader must be able to rely on. Zoos are written, not trained."""

import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from weightprint import Layout, Setup
from weightprint.errors import ZooError
from weightprint.report import accuracy_text, evaluation_text, write_report
from weightprint.report.scores import answer, headline, words
from weightprint.study.maps import weight_map
from weightprint.zoo import Zoo, write_run
from weightprint.zoo.layout import Tensor
from weightprint.zoo.runfile import RunRecord

COLUMNS = ("step", "epoch", "test_accuracy")


def layout(units=4):
    return Layout(
        [
            Tensor("fc1/kernel", "kernel", "fc", (units, 3), 0, "fc.0.weight", "oi"),
            Tensor("fc1/bias", "bias", "fc", (units,), 3 * units, "fc.0.bias", "o"),
        ]
    )


def record(number, *, status="complete", units=4, snapshots=5, **properties):
    generator = np.random.default_rng(number)
    snapshots = 0 if status == "failed" else snapshots
    accuracy = np.linspace(0.1, 0.15 + 0.08 * (number % 10), snapshots)
    rows = [(12.0 * t, float(t), float(accuracy[t])) for t in range(snapshots)]
    setup = Setup(
        dataset=("digits", "shapes")[number % 2],
        optimizer=("adam", "rmsprop", "momentum")[number % 3],
        initialization=("constant", "glorot_normal")[number // 2 % 2],
    )
    return RunRecord(
        number=number,
        identity=f"test:{number}",
        status=status,
        reason="last epoch",
        properties=setup.to_dict() | properties,
        layout=layout(units),
        weights=np.cumsum(generator.normal(size=(snapshots, layout(units).size)), axis=0).astype(np.float32),
        measurements=[{"snapshot": t + 1, **dict(zip(COLUMNS, row, strict=True))} for t, row in enumerate(rows)],
        curve=np.array(rows).reshape(snapshots, len(COLUMNS)),
        curve_columns=COLUMNS,
        test_images=100,
    )


def zoo_of(path, records):
    zoo = Zoo.create(path, {"seed": 7, "train_size": 300, "datasets": {"digits": "ab" * 32}}, space_name="demo")
    for one in records:
        write_run(zoo.path, one)
    return zoo.refresh()


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    return zoo_of(tmp_path_factory.mktemp("report") / "zoo", [record(i) for i in range(12)])


def classification(**changes):
    return {
        "property": "optimizer",
        "model": "svm",
        "kind": "classification",
        "classes": ["adam", "momentum", "rmsprop"],
        "n_runs": 24,
        "n_train_runs": 61,
        "chance": 1 / 3,
        "majority": 0.375,
        "per_run": {"accuracy": 0.875, "interval": [0.69, 0.957]},
        "per_slice": {"accuracy": 0.642, "interval": [0.55, 0.731]},
        "slices": 10,
        "snapshots": [11, 20],
        "part": "all",
        "slice_length": 5000,
        "converged": True,
        "excluded": {"not_converged": 3},
        "confusion": [[8, 1, 0], [0, 7, 0], [1, 1, 6]],
        "lengths_differ": False,
        "seconds": 1.25,
    } | changes


def unsettled(**changes):
    return classification(
        **{"property": "augmentation", "per_run": {"accuracy": 0.6, "interval": [0.37, 0.8]}, "chance": 0.5} | changes
    )


def regression(**changes):
    measure = {"value": 0.42, "interval": [0.21, 0.58]}
    return {
        "property": "learning_rate",
        "model": "svm",
        "kind": "regression",
        "n_runs": 24,
        "per_run": {
            "r2": measure,
            "mae": {"value": 0.000812, "interval": [0.0005, 0.0011]},
            "kendall_tau": {"value": 0.31, "interval": None},
            "tau_ceiling": {"value": 0.98, "interval": [0.97, 1.0]},
        },
    } | changes


STANDARD = {"title": "A report", "seconds": {"sampling": 61.0}, "commands": ["weightprint demo --seed 7"]}


@pytest.fixture(scope="module")
def standard(zoo, tmp_path_factory):
    """The text of a page that several tests look at."""
    results = [classification(), unsettled(), regression()]
    path = write_report(tmp_path_factory.mktemp("page") / "report.html", zoo, results, **STANDARD)
    return path.read_text(encoding="utf-8")


class Page(HTMLParser):
    """Elements with their attributes, the text of table cells by row, and all text."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.rows, self.text, self.ids = [], [], "", []
        self._open = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.elements.append((tag, attrs))
        self.ids += [attrs["id"]] if "id" in attrs else []
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self._open.append(tag)

    def handle_endtag(self, tag):
        if self._open and tag == self._open[-1]:
            self._open.pop()

    def handle_data(self, data):
        self.text += data
        if self._open:
            self.rows[-1][-1] += data

    def row(self, *start):
        """Cells of the table rows in which the given texts appear."""
        return next(
            [cell.replace("\xa0", " ") for cell in row]
            for row in self.rows
            if all(any(s in c for c in row) for s in start)
        )


def page_of(tmp_path, zoo, results, **options):
    path = write_report(tmp_path / "report.html", zoo, results, **STANDARD | options)
    return path.read_text(encoding="utf-8")


def test_the_page_needs_nothing_but_itself(standard):
    page = Page(standard)
    assert not {"script", "link", "img", "iframe", "object", "image"} & {tag for tag, _ in page.elements}
    for _, attributes in page.elements:
        for name in ("src", "href", "xlink:href", "srcset", "data"):
            assert attributes.get(name, "#").startswith("#"), attributes
    assert not re.search(r"https?://|@import|url\((?!#)", standard)


def test_every_figure_says_in_words_what_it_shows(standard):
    page = Page(standard)
    pictures = [attributes for tag, attributes in page.elements if tag == "svg"]
    # accuracy, final accuracy, 2 data sets' curves, maps by initialization, data set and optimizer, 2 confusions
    assert len(pictures) == 9
    assert all(p["role"] == "img" and len(p["aria-label"]) > 40 for p in pictures)
    assert "optimizer by svm 88 % against 38 %" in pictures[0]["aria-label"]
    assert sum(tag == "title" for tag, _ in page.elements) == len(pictures) + 1


@pytest.mark.slow
def test_a_run_that_splits_name_differently_is_divided_and_not_lost(tmp_path, zoo):
    document = classification(confusion=[[8.5, 0.5, 0], [0, 7, 0], [1, 1, 6]])
    pictures = [a["aria-label"] for tag, a in Page(page_of(tmp_path, zoo, [document])).elements if tag == "svg"]
    assert any("adam: 8.5 of 9 right" in label for label in pictures)


def test_references_inside_figures_hit_one_element_each(standard):
    page = Page(standard)
    assert len(set(page.ids)) == len(page.ids)
    references = set(re.findall(r'(?:url\(|href=")#([^")]+)', standard))
    assert references <= set(page.ids)


def test_the_table_holds_the_numbers_of_the_documents(tmp_path, zoo):
    results = [
        classification(fit_seconds=20.0, max_seconds=20, capped=True),
        unsettled(n_runs=19, slice_length="all", snapshots=[1, 20]),
    ]
    page = Page(page_of(tmp_path, zoo, results))
    row = page.row("optimizer", "svm")
    assert row[:7] == ["optimizer", "svm", "87.5 ▲", "[69.0, 95.7]", "33.3", "37.5", "24"]
    assert row[7:] == ["64.2 [55.0, 73.1]", "slices of 5,000", "snapshots 11–20", "20.0 s, capped at 20 s"]
    row = page.row("augmentation", "svm")
    assert row[2:7] == ["60.0", "[37.0, 80.0]", "50.0", "37.5", "19"]
    assert row[8:10] == ["whole vectors", "snapshots 1–20"]
    assert "61 training runs" in page.text
    assert "3 not converged" in page.text


def test_regressions_have_a_table_of_their_own(standard):
    row = Page(standard).row("learning rate", "svm")
    assert row[2:6] == ["0.42 [0.21, 0.58] ▲", "0.000812 [0.0005, 0.0011]", "0.31", "0.98 [0.97, 1.00]"]


def test_only_what_excludes_chance_and_majority_is_claimed():
    said = answer([classification(), classification(model="dmc", per_run={"accuracy": 0.5}), unsettled()])
    assert said.startswith("From the weights alone, 1 of 2 properties can be named better than chance and majority")
    assert "optimizer (88 %)" in said
    assert "augmentation (" not in said


def test_the_headline_names_what_is_claimed_and_nothing_else():
    said = headline([classification(), classification(model="dmc", per_run={"accuracy": 0.5}), unsettled()])
    assert said == f"Trained weights give away the {words(classification()['property'])}"


@pytest.mark.parametrize(
    "document",
    [
        unsettled(),
        unsettled(per_run={"accuracy": 0.2, "interval": [0.1, 0.3]}),
        unsettled(chance=0.1, majority=0.37),  # the interval's end on the line is not above it
        unsettled(per_run={"accuracy": 0.9, "interval": None}),
        unsettled(per_run={"accuracy": 0.9}),
        classification(majority=0.7),
    ],
)
def test_nothing_is_claimed_of_an_interval_that_reaches_the_baseline(document):
    assert "can be named better" not in answer([document])
    assert headline([document]) == "What these weights give away is not settled"
    assert "do not settle" in answer([document])
    assert "▲" not in accuracy_text([document]).splitlines()[2]


def test_names_are_escaped(tmp_path):
    wicked = '<script>alert("$x_1$")</script>'
    zoo = zoo_of(
        tmp_path / "zoo",
        [replace(r, properties=r.properties | {"dataset": f"{wicked}{r.number % 2}"}) for r in map(record, range(6))],
    )
    document = classification(
        property=wicked, model="<b>", classes=[wicked, "_b", "$c$"], note="<i>", lengths_differ=True
    )
    text = page_of(tmp_path, zoo, [document], title=wicked, seconds={wicked: 1.0}, commands=[wicked])
    page = Page(text)
    assert "<script" not in text
    assert "i" not in {tag for tag, _ in page.elements}
    assert wicked in page.text


def test_a_document_of_little_but_its_names_is_enough(tmp_path, zoo):
    document = {"property": "optimizer", "model": "m", "kind": "classification"}
    assert Page(page_of(tmp_path, zoo, [document])).row("optimizer", "m")[2:5] == ["–", "", "–"]
    assert evaluation_text(document).startswith("optimizer, read by m")


def test_no_result_is_said_to_be_none(tmp_path, zoo):
    assert "No meta-classifier was evaluated" in page_of(tmp_path, zoo, [])
    assert accuracy_text([]) == "no meta-classifier was evaluated"


@pytest.mark.parametrize(
    "records", [[], [record(0, status="failed"), record(1, status="diverged", snapshots=2)], [record(0, snapshots=1)]]
)
def test_a_zoo_with_nothing_to_draw_still_gives_a_report(tmp_path, records):
    page = Page(page_of(tmp_path, zoo_of(tmp_path / "zoo", records), []))
    assert "There is no map" in page.text
    for one in records:
        assert page.row(one.status)[1] == "1"


def test_a_damaged_run_is_left_out_and_counted(tmp_path):
    zoo = zoo_of(tmp_path / "zoo", [record(i) for i in range(6)])
    path = zoo[3].path
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    page = Page(page_of(tmp_path, zoo.refresh(), []))
    assert "1 of the runs chosen for these curves could not be read" in page.text
    assert "Weights of 5 runs" in page.text


@pytest.mark.slow
def test_the_map_takes_the_most_frequent_architecture(tmp_path):
    zoo = zoo_of(tmp_path / "zoo", [record(i, units=4 if i % 3 else 6) for i in range(9)])
    found = weight_map(zoo)
    assert (found.same, found.complete, found.size) == (6, 9, 16)
    assert [path.shape for path in found.paths] == [(5, 2)] * 6
    page = Page(page_of(tmp_path, zoo, []))
    assert re.search(r"6\s+of\s+9\s+complete\s+runs", page.text)


def test_a_run_of_huge_weights_does_not_swallow_the_map(tmp_path):
    records = [record(i) for i in range(10)]
    records[4] = replace(records[4], weights=records[4].weights * np.float32(1e6))
    points = np.concatenate(weight_map(zoo_of(tmp_path / "zoo", records)).paths)
    assert np.abs(points).max() < 10 * np.median(np.abs(points))


@pytest.mark.slow
def test_equal_input_gives_equal_bytes(tmp_path, zoo, standard):
    assert page_of(tmp_path, zoo, [classification(), unsettled(), regression()]) == standard


def test_what_it_takes_to_repeat_is_there(zoo, standard):
    page = Page(standard)
    for needed in ("weightprint demo --seed 7", zoo.identity, "ab" * 32, zoo.made_with["torch"], "1 min 01 s"):
        assert needed in page.text


def test_the_filter_says_what_it_removed(zoo, standard):
    page = Page(standard)
    learned = zoo.index["converged"].to_list()
    digits = [c for c, d in zip(learned, zoo.index["dataset"], strict=True) if d == "digits"]
    assert 0 < digits.count(False) < len(digits)
    assert f"filter removes {learned.count(False)} of 12 complete runs, most often with dataset digits: " in page.text
    assert f"{digits.count(False)} of {len(digits)}" in page.text
    assert "Training here is short: 48 gradient steps" in page.text


def test_a_missing_folder_is_named(tmp_path, zoo):
    with pytest.raises(ZooError, match="no folder"):
        write_report(tmp_path / "none" / "r.html", zoo, [], title="", seconds={}, commands=[])
    assert list(tmp_path.iterdir()) == []


def test_importing_the_report_loads_nothing_heavy():
    code = (
        "import sys, weightprint.report as r; r.accuracy_text([]);"
        "print({'torch', 'matplotlib', 'sklearn', 'jinja2', 'scipy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_accuracies_for_the_terminal():
    text = accuracy_text([classification(), classification(model="dmc", n_runs=22, chance=0.25), unsettled()])
    assert text.splitlines()[:-1] == [
        "property      runs   chance     majority  svm                  dmc",
        "─" * 82,
        "optimizer     22–24  25.0–33.3  37.5      87.5 [69.0, 95.7] ▲  87.5 [69.0, 95.7] ▲",
        "augmentation  24     50.0       37.5      60.0 [37.0, 80.0]    –",
    ]
    assert text.splitlines()[-1].startswith("accuracy in % of test runs [95 % interval]; ▲")


def test_two_evaluations_of_one_model_are_told_apart():
    text = accuracy_text([classification(), classification(slice_length="all", per_run={"accuracy": 0.5})])
    assert "svm (slices of 5,000)" in text
    assert "svm (whole vectors)" in text
    assert "svm #2" in accuracy_text([classification(), classification()])


def test_one_evaluation_in_a_few_lines():
    assert evaluation_text(classification(note="short vectors")).splitlines() == [
        "optimizer, read by svm",
        "  accuracy  87.5 % [69.0, 95.7] of 24 test runs",
        "  compare   chance 33.3 %, majority 37.5 %: above both",
        "  slices    64.2 % [55.0, 73.1] when each is judged alone",
        "  read      slices of 5,000, 10 per snapshot, all parts, snapshots 11–20, converged runs",
        "  trained   on 61 other runs",
        "  left out  3 not converged",
        "  note      short vectors",
    ]


def test_one_regression_in_a_few_lines():
    lines = evaluation_text(regression()).splitlines()
    assert lines[1] == "  R²        0.42 [0.21, 0.58] over 24 test runs"
    assert lines[3:5] == ["  Kendall τ 0.31", "  ceiling   0.98 [0.97, 1.00]"]
