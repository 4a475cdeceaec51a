import json
import subprocess
import sys

import pytest

from weightprint import load_meta
from weightprint.cli import main as cli
from weightprint.zoo import Zoo


def commands(app, *names):
    """Every command below an app, by its names: "sample", "data list", …"""
    for name in app:
        if not name.startswith("-"):
            below = list(commands(app[name], *names, name))
            yield from below or [" ".join((*names, name))]


COMMANDS = list(commands(cli.app))


def test_the_commands_of_the_documentation_are_there():
    zoos = {"demo", "sample", "merge", "info", "verify", "push", "pull", "export folder", "export nws", "import nws"}
    weights = {"fit", "evaluate", "bench", "study", "compare", "inspect"}
    assert zoos | weights | {"data list", "data fetch", "data add"} <= set(COMMANDS)


def run(capsys, *arguments):
    code = cli.main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def run_json(capsys, *arguments):
    code, out, _ = run(capsys, *arguments, "--json")
    return code, json.loads(out)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_an_example(capsys, command):
    code, out, _ = run(capsys, *command.split(), "--help")
    assert code == 0
    assert f"Example: weightprint {command}" in " ".join(out.split())
    assert "--json" in out


def test_every_option_of_every_command_is_explained(capsys):
    for command in COMMANDS:
        _, out, _ = run(capsys, *command.split(), "--help")
        for line in out.splitlines():
            words = line.strip("│ *").split()
            if line.startswith("│") and words and words[0].startswith("--") and not words[0].startswith("--help"):
                assert len(words) > 2, f"{command}: {line}"


def test_help_answers_at_once():
    """In processor time, so that other tests beside it do not count: 0.18 s on an idle core."""
    import resource

    def seconds():
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "weightprint.cli", "--help"], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(seconds() for _ in range(5)) < 0.45


def test_a_reader_that_stops_early_is_no_error():
    """As in `weightprint data list | head -1`."""
    command = [sys.executable, "-m", "weightprint.cli", "data", "list"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_the_package_setups_zoo_and_command_line_load_without_torch():
    loaded = "import sys, weightprint, weightprint.setups, weightprint.zoo, weightprint.cli"
    code = f"{loaded}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_sample_info_and_verify_print_one_json_document_each(capsys, tmp_path):
    space = tmp_path / "tiny.toml"
    space.write_text(
        'dataset = "digits"\nbatch_size = 32\nfilter_size = 3\ndepth_conv = 3\nwidth_conv = 2\nwidth_fc = 16\n'
    )
    options = [
        "--space",
        space,
        "--runs",
        3,
        "--train-size",
        100,
        "--test-size",
        50,
        "--max-epochs",
        2,
        "--snapshots",
        3,
        "--workers",
        1,
    ]
    code, sampled = run_json(capsys, "sample", tmp_path / "zoo", *options)
    assert code == 0
    assert sampled["runs"] == sampled["completed"] == 3
    assert sampled["diverged"] == sampled["failed"] == 0
    assert sampled["training_samples"] == 3 * 2 * 2 * 32
    assert set(sampled) >= {"zoo", "seconds"}

    code, info = run_json(capsys, "info", tmp_path / "zoo")
    assert info["runs"] == 3
    assert info["snapshots"] == 9
    assert info["status"] == {"complete": 3}
    assert info["datasets"] == {"digits": 3}
    assert info["bytes"] == sum(p.stat().st_size for p in tmp_path.rglob("*.safetensors"))
    assert run_json(capsys, "verify", tmp_path / "zoo") == (0, {"ok": True, "runs": 3, "problems": []})

    path = next(tmp_path.rglob("0000001.safetensors"))
    path.write_bytes(path.read_bytes()[:-1])
    code, verified = run_json(capsys, "verify", tmp_path / "zoo")
    assert code == 1
    assert [p["run"] for p in verified["problems"]] == [1]

    code, document = run_json(capsys, "sample", tmp_path / "zoo", *options, "--seed", 1)
    assert code == 1
    assert document["error"]["kind"] == "recipe"
    assert "seed is 0 there and 1 here" in document["error"]["message"]
    assert document["error"]["hint"]


@pytest.mark.slow
def test_a_dry_run_says_hours_and_gigabytes(capsys, tmp_path):
    options = ["--space", "demo", "--runs", 10, "--train-size", 100, "--test-size", 50, "--max-epochs", 19]
    code, document = run_json(capsys, "sample", tmp_path / "zoo", *options, "--dry-run")
    assert code == 0
    assert document["hours"] > 0
    assert document["gigabytes"] == pytest.approx(10 * 20 * 21260 * 4e-9, rel=0.1)
    assert not (tmp_path / "zoo").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["sampel", "zoo"], 'Did you mean "sample"'),
        (["sample", "zoo", "--space", "fixed"], "--runs"),
        (["sample", "zoo", "--space", "fixed", "--runs", "many"], "many"),
        (["sample", "zoo", "--space", "fixed", "--runs", "3", "--engine", "slurm"], "slurm"),
        (["fit", "zoo", "meta", "--property", "optimizer", "--model", "trees", "--converged", "maybe"], "on"),
    ],
)
def test_bad_usage_is_exit_code_2_and_one_line(capsys, arguments, says):
    code, out, err = run(capsys, *arguments)
    assert code == 2
    assert out == ""
    assert says in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["info", "no-such-zoo"],
        ["verify", "no-such-zoo"],
        ["evaluate", "no-such-meta", "no-such-zoo"],
        ["fit", "no-such-zoo", "meta", "--property", "optimizer", "--model", "trees", "--slice-length", "all"],
        ["fit", "no-such-zoo", "meta", "--property", "optimizer", "--model", "tres"],
        ["merge", "no-such-zoo"],
        ["compare", "no-such-report", "no-such-report", "both.html"],
        ["merge", "no-such-zoo", "no-such-part"],
        ["sample", "zoo", "--space", "fixt", "--runs", "3"],
        ["sample", "zoo", "--space", "main", "--runs", "3"],
        ["sample", "zoo", "--space", "demo", "--runs", "3", "--ray-address", "127.0.0.1:6379"],
        ["data", "list", "--data", "no-such-folder"],
    ],
)
def test_what_cannot_be_done_is_exit_code_1_one_line_and_a_hint(capsys, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *arguments)
    assert code == 1
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("error: ")
    code, document = run_json(capsys, *arguments)
    assert code == 1
    assert set(document["error"]) == {"kind", "message", "hint"}
    assert document["error"]["hint"]
    assert list(tmp_path.iterdir()) == []


def test_data_list_names_bundled_sets_and_files(capsys, tmp_path):
    (tmp_path / "broken.npz").write_bytes(b"PK nonsense")
    code, document = run_json(capsys, "data", "list", "--data", tmp_path)
    assert code == 0
    found = {d["name"]: d for d in document["datasets"]}
    assert set(found) == {"digits", "photo_patches", "shapes", "broken"}
    assert found["digits"]["source"] == "bundled"
    assert "problem" in found["broken"]
    code, out, _ = run(capsys, "data", "list")
    assert code == 0
    assert "digits" in out


@pytest.mark.filterwarnings("default")
def test_a_damaged_run_is_left_out_of_a_fit_with_a_warning_that_names_it(capsys, tmp_path, zoo_copy):
    number = Zoo(zoo_copy).split()[0].numbers[0]
    path = zoo_copy / "runs" / "0000" / f"{number:07d}.safetensors"
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    options = ["--property", "learning_rate", "--model", "trees", "--slice-length", "all", "--snapshots", "2-4"]
    code, out, err = run(capsys, "fit", zoo_copy, tmp_path / "meta", *options, "--converged", "off")
    assert code == 0
    assert "fitted on" in out
    assert err.startswith(f"warning: run {number} ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("model", ["trees", "layer_trees"])
def test_without_a_slice_length_a_model_of_whole_vectors_reads_them(capsys, tmp_path, sampled_zoo, model):
    options = ["--property", "learning_rate", "--model", model, "--snapshots", "2-4", "--converged", "off"]
    code, document = run_json(capsys, "fit", sampled_zoo, tmp_path / "meta", *options)
    assert code == 0, document
    assert load_meta(tmp_path / "meta").evaluate(Zoo(sampled_zoo))["slice_length"] == "all"


def test_several_properties_are_fitted_and_evaluated_together(capsys, tmp_path, sampled_zoo):
    options = ["--property", "test_accuracy", "--model", "layer_trees", "--snapshots", "2-4"]
    meta = tmp_path / "both.meta"
    code, _ = run_json(capsys, "fit", sampled_zoo, meta, *options, "--converged", "off", "--together", "learning_rate")
    assert code == 0
    code, document = run_json(capsys, "evaluate", meta, sampled_zoo)
    assert code == 0
    assert document["property"] == "test_accuracy"
    assert [(d["property"], d["kind"]) for d in document["together"]] == [("learning_rate", "regression")]
