"""What README, docs and examples show must work."""

import re
import shlex
import shutil
import subprocess
import sys
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import pytest

from tests.conftest import made_once
from weightprint import Space, sample
from weightprint.cli import main as cli

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def shown_commands():
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    text = "\n".join(page.read_text() for page in pages).replace("\\\n", " ")
    return [line.split("#")[0].strip() for line in text.splitlines() if line.startswith("    weightprint ")]


@pytest.mark.parametrize("command", shown_commands())
def test_every_command_that_is_shown_has_options_that_exist(command):
    name, *arguments = shlex.split(command)[1:]
    function, *_ = cli.app.parse_args([name, *arguments], exit_on_error=False, print_error=False)
    assert function.__module__.startswith("weightprint.")


def test_the_space_that_is_shown_can_be_drawn_from(tmp_path):
    (tmp_path / "mine.toml").write_text(blocks("toml")[0])
    assert Space.named(tmp_path / "mine.toml").draw(0, 0).optimizer == "adam"


@pytest.fixture
def demo_zoo(tmp_path_factory):
    """24 runs of the zoo that README, the guides and the examples sample, which then finds them done, for time."""

    def make(path):
        sample(path, space="demo", runs=24, train_size=300, test_size=200, max_epochs=19)

    return made_once(tmp_path_factory, "demo", make)


@pytest.mark.slow
def test_the_python_that_is_shown_runs(tmp_path, demo_zoo):
    (code,) = blocks("python")
    code = code.replace("runs=60", "runs=24")
    shutil.copytree(demo_zoo, tmp_path / "zoo")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "accuracy" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.stem)
def test_every_example_runs(tmp_path, example, demo_zoo):
    shutil.copytree(demo_zoo, tmp_path / "out" / "zoo")
    done = subprocess.run(
        [sys.executable, str(example), "out", "24"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "test runs" in done.stdout


GUIDES = [
    pytest.param(ROOT / "docs" / "tutorial.md", marks=pytest.mark.long, id="tutorial"),
    *(
        pytest.param(page, marks=pytest.mark.slow, id=page.stem)
        for page in sorted((ROOT / "docs" / "howto").glob("*.md"))
    ),
]


@pytest.mark.parametrize("page", GUIDES)
def test_a_guide_works_from_top_to_bottom(tmp_path, page, demo_zoo):
    """Its commands and its Python run in the order in which they are shown, in one folder."""
    blocks = re.findall(r"```(sh|python|toml)\n(.*?)```", page.read_text(), flags=re.DOTALL)
    if page.stem == "estimator":  # the tutorial samples the same zoo itself
        shutil.copytree(demo_zoo, tmp_path / "zoo")
    for language, neighbours in groupby(blocks, key=itemgetter(0)):  # Python goes on from block to block
        text = "".join(text for _, text in neighbours)
        if language == "toml":
            (tmp_path / "mine.toml").write_text(text)
            continue
        text = text.replace("runs=60", "runs=24").replace("--runs 60", "--runs 24")
        shell = text.replace("weightprint ", f"{sys.executable} -m weightprint.cli ")
        command = [sys.executable, "-c", text] if language == "python" else ["sh", "-ec", shell]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, f"{text}\n{done.stderr}"


@pytest.mark.long
@pytest.mark.parametrize("notebook", sorted((ROOT / "examples").glob("*.ipynb")), ids=lambda path: path.stem)
@pytest.mark.filterwarnings("default")
def test_every_notebook_runs(tmp_path, notebook):
    nbclient = pytest.importorskip("nbclient")
    cells = pytest.importorskip("nbformat").read(notebook, as_version=4)
    for cell in cells.cells:
        cell.source = cell.source.replace("RUNS = 60", "RUNS = 24")  # for time
    nbclient.NotebookClient(cells, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert not [output for cell in cells.cells for output in cell.get("outputs", ()) if output.get("name") == "stderr"]


def contributing_rows():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    return re.findall(r"^\| an? .*", text, flags=re.MULTILINE)


@pytest.mark.parametrize("row", contributing_rows(), ids=lambda row: row.split("|")[1].strip())
def test_where_a_change_goes_is_where_the_code_is(row):
    """Every path is there, and every name in brackets is in the file before it."""
    paths = re.findall(r"`((?:\w+/)+(?:\w+\.py)?)`", row)
    assert paths
    places = {path: ROOT / ("" if path.startswith("tests/") else "src/weightprint") / path for path in paths}
    assert [path for path, place in places.items() if not place.exists()] == []
    for path, name in re.findall(r"`([\w/]+\.py)` \(`(\w+)`\)", row):
        assert re.search(rf"\b{name}\b", places[path].read_text()), f"{name} in {path}"


def test_the_changelog_and_the_citation_name_this_version():
    from weightprint import __version__

    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text()
    assert f"version: {__version__}" in (ROOT / "CITATION.cff").read_text()
    assert f'version = "{__version__}"' in (ROOT / "pyproject.toml").read_text()


@pytest.mark.slow
def test_the_recorder_that_is_shown_records(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "recorder.md").read_text(), flags=re.DOTALL)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "{'complete': 4}\n"
