"""The page and the command of two files compared."""

import json
import re

import pytest
import torch

from tests.browser import find_browser
from tests.inspection.conftest import small_cnn
from tests.report.test_browser import FIGURES, WIDER_THAN_THE_PAGE, browser
from weightprint.cli import main as cli

__all__ = ["browser"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair")
    torch.manual_seed(0)
    module = small_cnn(8)
    torch.save(module.state_dict(), folder / "a.pth")
    torch.save({f"<b>{k}": v + 0.02 * torch.randn_like(v) for k, v in module.state_dict().items()}, folder / "b.pth")
    return folder / "a.pth", folder / "b.pth"


def run(capsys, *arguments):
    code = cli.main(["inspect", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_the_command_says_the_relation_and_writes_a_page_of_its_own(capsys, monkeypatch, tmp_path, files):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, err = run(capsys, *files, "--compare", "--html", tmp_path / "page.html")
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 80
    code, document, _ = run(capsys, *files, "--compare", "--json")
    document = json.loads(document)
    assert document["sentence"].split(":")[0] in " ".join(out.split())
    html = (tmp_path / "page.html").read_text()
    assert document["sentence"] in html
    assert html.count("<tr><th") == 1 + len(document["layers"])
    assert "<b>0" not in html
    assert not re.search(r"(src|href)=[\"'](?!#|data:)", html)


def test_it_takes_two_files(capsys, files):
    code, _, err = run(capsys, files[0], "--compare")
    assert code == 1
    assert "--compare takes two files, not 1" in err


def test_two_files_that_share_no_layer_have_a_page(capsys, tmp_path, files):
    torch.save({"fc.weight": torch.randn(3, 7)}, tmp_path / "other.pth")
    code, *_ = run(capsys, files[0], tmp_path / "other.pth", "--compare", "--html", tmp_path / "page.html")
    assert code == 0
    assert "No two layers have the same shape." in (tmp_path / "page.html").read_text()


@pytest.mark.slow
@pytest.mark.skipif(find_browser() is None, reason="no Chromium or Chrome on this machine")
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_a_browser_shows_it_and_nothing_sticks_out(browser, capsys, tmp_path, files, width, dark):
    run(capsys, *files, "--compare", "--html", tmp_path / "page.html")
    shown = browser.open(tmp_path / "page.html", width=width, dark=dark)
    assert shown.complaints == []
    (figure,) = shown.ask(FIGURES)
    assert figure["ink"] > 3
    assert shown.ask(WIDER_THAN_THE_PAGE) == []
