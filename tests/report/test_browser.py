"""The study's report as a browser shows it: what markup alone does not tell."""

import base64
import csv
import io

import pytest

from tests.browser import Browser, find_browser

pytestmark = pytest.mark.slow

WIDTHS = {"desktop": 1280, "phone": 390}

FIGURES = """
[...document.querySelectorAll('svg')].map(svg => {
  const box = svg.getBoundingClientRect();
  const drawn = svg.getBBox();
  const ink = [...svg.querySelectorAll('use, text')].filter(e => e.getBoundingClientRect().width > 0).length;
  return {name: svg.getAttribute('aria-label') || '', role: svg.getAttribute('role'), left: box.left, right: box.right,
          width: box.width, height: box.height, drawn: drawn.width * drawn.height, ink: ink};
})
"""
WIDER_THAN_THE_PAGE = """
[...document.querySelectorAll('main *')]
  .filter(e => !e.closest('.scroll, pre') && e.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
  .map(e => e.tagName + '.' + e.className)
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    executable = find_browser()
    if executable is None:
        pytest.skip("no Chromium or Chrome on this machine (Debian: apt-get install chromium)")
    with Browser(executable, tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture(scope="module", params=WIDTHS)
def page(request, browser, studied):
    return browser.open(studied[0] / "report.html", width=WIDTHS[request.param])


def test_nothing_is_asked_for_but_the_page_and_nothing_is_complained_about(page, studied):
    assert page.requested == [(studied[0] / "report.html").resolve().as_uri()]
    assert page.complaints == []


def test_every_figure_can_be_seen_and_has_a_name(page):
    figures = page.ask(FIGURES)
    assert len(figures) > 10
    for figure in figures:
        assert figure["width"] > 100, figure
        assert figure["height"] > 60, figure
        assert figure["drawn"] > 0, figure
        assert figure["ink"] > 3, figure  # letters and ticks
        assert figure["role"] == "img"
        assert len(figure["name"]) > 30
    assert len({figure["name"] for figure in figures}) == len(figures)


def test_a_screen_reader_hears_of_every_figure(page):
    tree = page.call("Accessibility.getFullAXTree")["nodes"]
    heard = [n["name"]["value"] for n in tree if n.get("role", {}).get("value") in ("image", "img") and n.get("name")]
    assert heard == [figure["name"] for figure in page.ask(FIGURES)]


def test_nothing_sticks_out_sideways(page):
    assert page.ask(WIDER_THAN_THE_PAGE) == []
    assert page.ask("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_the_contents_lead_somewhere(page):
    hashes = page.ask("[...document.querySelectorAll('nav a')].map(a => a.hash.slice(1))")
    assert len(hashes) > 4
    assert page.ask("[...document.querySelectorAll('nav a')].every(a => document.querySelector(a.hash))")


def test_data_behind_figures_can_be_opened(page):
    links = page.ask("[...document.querySelectorAll('a[download]')].map(a => [a.download, a.href])")
    assert len(links) > 5
    for name, address in links:
        kind, _, data = address.partition(",")
        assert kind == "data:text/csv;base64"
        rows = list(csv.DictReader(io.StringIO(base64.b64decode(data).decode())))
        assert name.endswith(".csv")
        assert rows
        assert all(None not in row.values() for row in rows)


def test_a_dark_page_has_light_ink(browser, studied):
    dark = browser.open(studied[0] / "report.html", width=1280, dark=True)
    ground = dark.ask("getComputedStyle(document.body).backgroundColor")
    ink = dark.ask("getComputedStyle(document.querySelector('svg use')).fill")
    assert _lightness(ground) < 0.2
    assert _lightness(ink) > 0.6


def test_no_figure_is_taller_than_a_sheet_of_paper(browser, studied):
    printed = browser.open(studied[0] / "report.html", width=700)
    printed.call("Emulation.setEmulatedMedia", media="print")
    assert max(figure["height"] for figure in printed.ask(FIGURES)) < 1000  # of A4's 1,123 pixels, less the margins
    assert printed.ask("getComputedStyle(document.querySelector('nav')).display") == "none"


def _lightness(colour):
    numbers = [float(part) for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    return sum(numbers) / (3 * 255)
