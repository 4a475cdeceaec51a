"""The site builds from docs/ and the code, without a warning."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import weightprint
from weightprint.cli.main import app

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.skipif(importlib.util.find_spec("mkdocs") is None, reason="needs the extra [docs]")


def build(config, out):
    """Build a site: the exit code, and the warnings and errors."""
    command = [sys.executable, "-m", "mkdocs", "build", "-f", str(config), "-d", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"})
    lines = (done.stdout + done.stderr).splitlines()
    return done.returncode, [line for line in lines if not line.startswith("INFO ")]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    out = tmp_path_factory.mktemp("site")
    code, said = build(ROOT / "mkdocs.yml", out)
    assert (code, said) == (0, [])
    return out


def ids(page):
    return set(re.findall(r'id="([^"]+)"', page.read_text()))


@pytest.mark.slow
def test_the_reference_has_every_public_name_and_every_command(site):
    sections = {name.rsplit(".", 1)[-1] for name in ids(site / "reference" / "python.html")}
    for name in weightprint.__all__[1:]:
        assert {getattr(weightprint, name).__name__, name.lower()} & sections, name
    commands = ids(site / "reference" / "commands.html")
    for name in app:
        assert name.startswith("-") or f"weightprint-{name}" in commands


@pytest.mark.slow
def test_pages_load_nothing_from_elsewhere(site):
    for page in site.rglob("*.html"):
        loaded = re.findall(r'<(?:script|img|iframe)[^>]* src="([^"]+)"', page.read_text())
        loaded += re.findall(r'<link[^>]* rel="(?:stylesheet|preconnect)"[^>]* href="([^"]+)"', page.read_text())
        loaded += re.findall(r'<link[^>]* href="([^"]+)"[^>]* rel="(?:stylesheet|preconnect)"', page.read_text())
        assert [url for url in loaded if "//" in url] == []


@pytest.mark.slow
def test_a_broken_link_fails_the_build(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("# A page\n\n[gone](gone.md)\n")
    lines = (ROOT / "mkdocs.yml").read_text()
    strict = lines[lines.index("validation:") :]
    assert "strict: true" in lines
    (tmp_path / "mkdocs.yml").write_text(f"site_name: one page\nstrict: true\n{strict}")
    code, said = build(tmp_path / "mkdocs.yml", tmp_path / "out")
    assert code != 0
    assert "gone.md" in "".join(said)


def test_a_public_name_without_a_docstring_is_refused():
    pytest.importorskip("mkdocs")
    spec = importlib.util.spec_from_file_location("pages", ROOT / "docs" / "generate" / "pages.py")
    pages = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pages)

    class Bare:
        """A class."""

        def method(self):
            return 0

    Bare.__qualname__ = "Bare"
    assert pages.undocumented(Bare) == ["Bare.method"]
    assert pages.undocumented(weightprint.Zoo) == []
