"""The page for the terminal and the command that prints it."""

import io
import json
import sys

import pytest
import torch
from rich.console import Console
from safetensors.torch import save_file
from torch import nn

from tests.inspection.conftest import small_cnn
from weightprint.cli import main as cli
from weightprint.inspection.inspect import inspect
from weightprint.inspection.page import page


@pytest.fixture
def command(small_shipped, monkeypatch, capsys):
    """`weightprint inspect …` → exit code, standard output, standard error."""
    monkeypatch.setattr(sys.modules[inspect.__module__], "shipped", lambda: small_shipped)
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments):
        code = cli.main(["inspect", *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def shown(found, width=80):
    buffer = io.StringIO()
    Console(file=buffer, width=width).print(page(found))
    return buffer.getvalue()


def test_the_page_is_plain_text_of_80_columns_with_every_property(command, trained_cnn):
    code, out, err = command(trained_cnn)
    assert (code, err) == (0, "")
    assert "\x1b" not in out
    assert max(map(len, out.splitlines())) <= 80
    for heading in ("Architecture", "Facts", "How it was trained, by its weights"):
        assert heading in out.splitlines()
    for name in ("optimizer family: ", "activation: ", "initialization: ", "image kind: "):
        assert f"  {name}" in out
    assert "2,618 parameters in 4 layers" in out


def test_an_untrained_network_says_so_once_with_its_scheme(inspects, tmp_path):
    module = small_cnn(16)
    for layer in module:
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(layer.weight)
    save_file(module.state_dict(), tmp_path / "new.safetensors")
    text = shown(inspects(tmp_path / "new.safetensors"), 200)
    assert "At initialisation, scheme he_normal: its weights are as they were drawn" in text
    assert text.count("it was not trained, or hardly.") == 1 + text.count("Nothing can be said")
    assert "still as drawn by" in text


def test_names_in_a_file_cannot_steer_the_terminal(command, tmp_path):
    save_file({"\x1b[2J[red]x.weight": torch.randn(5, 4)}, tmp_path / "evil.safetensors")
    _, out, _ = command(tmp_path / "evil.safetensors")
    assert "\x1b" not in out
    assert "\\x1b[2J[red]x" in "".join(out.split())


def test_a_deep_network_shows_its_first_and_last_layers(inspects, tmp_path):
    save_file({f"{i}.weight": torch.randn(6, 6) for i in range(40)}, tmp_path / "deep.safetensors")
    text = shown(inspects(tmp_path / "deep.safetensors"))
    assert "… 16 more" in text


def test_a_disagreement_stands_on_the_page(inspects, tmp_path, trained_cnn):
    found = inspects(trained_cnn)
    answer = next((v for v in found.properties.values() if v.verdict != "cannot say"), None)
    text = "activation: the file itself says relu, its weights look like tanh"
    object.__setattr__(found, "disagreements", (text,))
    found.facts["declared_properties"] = {"activation": "relu"}
    assert f"They disagree. {text}" in shown(found, 120)
    assert answer is None or answer.evidence


def test_several_files_are_one_table_and_one_that_fails_does_not_hide_the_others(command, tmp_path, trained_cnn):
    notes = tmp_path / "notes.safetensors"
    notes.write_text("not a network")
    code, out, err = command(trained_cnn, notes)
    assert (code, err) == (1, "")
    assert max(map(len, out.splitlines())) <= 80
    assert "cnn.pth" in out
    assert "not read" in out
    code, out, _ = command(trained_cnn, notes, "--json")
    first, second = json.loads(out)["files"]
    assert code == 1
    assert set(first["properties"]) == {"optimizer_family", "activation", "initialization", "image_kind"}
    assert second["file"] == str(notes)
    assert set(second["error"]) == {"kind", "message", "hint"}
    assert command(trained_cnn, trained_cnn)[0] == 0


def test_one_file_that_is_none_is_one_line_with_a_hint(command, tmp_path):
    notes = tmp_path / "notes.safetensors"
    notes.write_text("not a network")
    code, out, err = command(notes)
    assert (code, out) == (1, "")
    assert err.startswith(f"error: {notes}: named .safetensors, but its content is no checkpoint that is known")
    assert err.count("\n") == 1
    code, out, _ = command(notes, "--json")
    assert (code, json.loads(out)["error"]["kind"]) == (1, "checkpoint")
    assert command()[0] == 2
