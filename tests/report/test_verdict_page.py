"""The page of `weightprint inspect --html`: what it says, and how a browser shows it."""

import html as html_
import json
import re
import sys
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from tests.browser import find_browser
from tests.inspection.conftest import small_cnn
from tests.inspection.conftest import small_shipped as small_shipped
from tests.inspection.conftest import trained_cnn as trained_cnn
from tests.report.test_browser import FIGURES, WIDER_THAN_THE_PAGE, browser
from weightprint.cli import main as cli
from weightprint.inspection.inspect import inspect
from weightprint.report.inspect_page import render

__all__ = ["browser"]


@pytest.fixture
def command(small_shipped, monkeypatch, capsys):
    monkeypatch.setattr(sys.modules[inspect.__module__], "shipped", lambda: small_shipped)

    def run(*arguments):
        code = cli.main(["inspect", *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def page(command, trained_cnn, tmp_path):
    assert command(trained_cnn, "--html", tmp_path / "page.html") == (
        0,
        f"{tmp_path}/page.html: the page of 1 file\n",
        "",
    )
    return (tmp_path / "page.html").read_text()


def text_of(html):
    return " ".join(
        html_.unescape(re.sub(r"<[^>]+>", " ", re.sub(r"<(style|svg).*?</\1>", " ", html, flags=re.DOTALL))).split()
    )


def test_a_page_has_verdicts_facts_layers_filters_histograms_and_spectra(page, command, trained_cnn, tmp_path):
    _, out, _ = command(trained_cnn, "--html", tmp_path / "again.html", "--json")
    document = json.loads(out)
    text = text_of(page)
    for name, found in document["properties"].items():
        assert name.replace("_", " ") in text
        assert found["verdict"] in text
        assert all(value in text for value in found["probabilities"])
    assert "Trained: no layer is as it was drawn" in text
    assert page.count('alt="filter ') == document["details"]["filters"]["count"] == 6
    assert page.count("Weights of layer") == 2 * 4  # label and title
    assert page.count("Spectrum of layer") == 2 * 4
    assert "PyTorch" in text
    assert (tmp_path / "again.html").read_text() == page


@pytest.mark.slow
def test_an_answer_stands_with_its_evidence_in_words_and_drawn(command, trained_cnn):
    found = inspect(trained_cnn, details=True)
    verdict = replace(found.properties["activation"], verdict="tanh", reason="", set=("tanh",))
    page = render([replace(found, properties={**found.properties, "activation": verdict})])
    text = text_of(page)
    assert "By its weights: activation tanh." in text
    assert verdict.evidence
    assert all(one.about in text and one.layer in text for one in verdict.evidence)
    assert page.count('class="sway"') >= len(verdict.evidence)


@pytest.mark.slow
def test_a_page_asks_for_nothing_from_outside(page):
    assert not re.search(r"(src|href)=[\"'](?!#|data:)", page)
    assert "<script" not in page
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in page


def test_names_in_a_file_cannot_write_into_the_page(command, tmp_path):
    state = {"<script>alert(1)</script>\x1b.weight": torch.randn(5, 30), "out.weight": torch.randn(30, 5)}
    save_file(state, tmp_path / "evil.safetensors")
    assert command(tmp_path / "evil.safetensors", "--html", tmp_path / "page.html")[0] == 0
    html = (tmp_path / "page.html").read_text()
    assert "<script" not in html
    assert "\x1b" not in html


@pytest.mark.slow
def test_an_untrained_network_says_so_and_shows_the_scheme_that_fits(command, tmp_path):
    torch.manual_seed(0)
    torch.save(small_cnn(16).state_dict(), tmp_path / "new.pt")
    command(tmp_path / "new.pt", "--html", tmp_path / "page.html")
    text = text_of((tmp_path / "page.html").read_text())
    assert text.count("Nothing can be said: its weights are as they were drawn") == 1
    assert "as drawn by torch_default" in text
    assert "which fits" in (tmp_path / "page.html").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    "tensors",
    [
        {"bn.weight": torch.ones(8), "bn.bias": torch.zeros(8)},
        {"a.weight": torch.full((30, 40), float("nan")), "b.weight": torch.randn(10, 30)},
        {"a.weight": torch.zeros(30, 40), "a.bias": torch.zeros(30)},
        {"a.weight": torch.full((30, 40), 1e38), "b.weight": torch.full((10, 30), -1e-38)},
        {"a.weight": torch.randn(3, 4), "b.weight": torch.zeros(0, 3)},
    ],
    ids=["only a norm", "NaN", "zeros", "extremes", "no outputs"],
)
def test_networks_at_the_edge_have_a_page(command, tmp_path, tensors):
    save_file(tensors, tmp_path / "edge.safetensors")
    code, out, _ = command(tmp_path / "edge.safetensors", "--html", tmp_path / "page.html", "--json")
    assert code == 0
    json.loads(out)
    assert "cannot say" in (tmp_path / "page.html").read_text()


@pytest.mark.slow
def test_several_files_are_one_page_with_a_table_first(command, trained_cnn, tmp_path):
    (tmp_path / "notes.safetensors").write_text("not a network")
    code, *_ = command(trained_cnn, tmp_path / "notes.safetensors", trained_cnn, "--html", tmp_path / "page.html")
    html = (tmp_path / "page.html").read_text()
    assert code == 1
    assert html.index("All files") < html.index("<article")
    assert html.count("<article") == 2
    assert "not read" in html
    assert "its content is no checkpoint that is known" in html
    ids = re.findall(r' id="([^"]+)"', html)
    assert len(ids) == len(set(ids))


@pytest.mark.slow
def test_without_a_folder_for_the_page_the_error_says_so(command, trained_cnn, tmp_path):
    code, _, err = command(trained_cnn, "--html", tmp_path / "nowhere" / "page.html")
    assert code == 1
    assert "there is no folder" in err


@pytest.mark.slow
@pytest.mark.skipif(find_browser() is None, reason="no Chromium or Chrome on this machine")
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, False), (1280, True), (390, True)])
def test_a_browser_shows_every_figure_and_nothing_sticks_out(browser, command, trained_cnn, tmp_path, width, dark):
    command(trained_cnn, trained_cnn, "--html", tmp_path / "page.html")
    shown = browser.open(tmp_path / "page.html", width=width, dark=dark)
    shown.ask("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert shown.complaints == []
    figures = shown.ask(FIGURES)
    assert len(figures) == 16
    assert all(f["width"] > 100 and f["height"] > 60 and f["drawn"] and f["ink"] > 3 for f in figures)
    assert shown.ask("[...document.images].every(image => image.naturalWidth > 0)")
    assert shown.ask(WIDER_THAN_THE_PAGE) == []
    assert shown.ask("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
