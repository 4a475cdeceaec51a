"""What goes wrong on purpose in the processes that train."""

import os
import subprocess
import sys
from pathlib import Path

TINY_TOML = (
    'dataset = ["digits", "shapes"]\nbatch_size = 32\nfilter_size = 3\ndepth_conv = 3\n'
    "depth_fc = 2\nwidth_conv = 2\nwidth_fc = 20\n"
)
"""`TINY_SPACE` of conftest as a file."""


def hook_training(folder: Path, monkeypatch, code: str) -> None:
    """Have every worker process and every process of Ray's tasks run `code` when it starts.

    `code` sees `jobs`, `files`, `os`, and `once()`, which is True for the first caller of all processes.
    """
    flag = folder / "happened"
    (folder / "sitecustomize.py").write_text(
        "import sys\n"
        "if 'weightprint.sampling.local' in sys.orig_argv or any('default_worker.py' in a for a in sys.orig_argv):\n"
        "    import os\n"
        "    from weightprint import files\n"
        "    from weightprint.sampling import engine, jobs\n"
        "    def once():\n"
        "        try:\n"
        f"            return os.open({str(flag)!r}, os.O_CREAT | os.O_EXCL) > 0\n"
        "        except FileExistsError:\n"
        "            return False\n" + "".join(f"    {line}\n" for line in code.splitlines())
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]))


DIE_IN_RUN_2 = """
train_run = jobs.train_run
def deadly(recipe, number, *args, **kwargs):
    if number == 2 {condition}:
        os.kill(os.getpid(), 9)
    return train_run(recipe, number, *args, **kwargs)
jobs.train_run = deadly
"""

DIE_AFTER_WRITING_RUN_2 = """
write_run = engine.write_run
def deadly(zoo, record):
    path = write_run(zoo, record)
    with open(zoo / "trained", "a") as trained:
        trained.write(f"{record.number}\\n")
    if record.number == 2:
        os.kill(os.getpid(), 9)
    return path
engine.write_run = deadly
"""


def sample_command(zoo: Path, space: Path, *options: object, runs: int = 6, workers: int = 2) -> list[str]:
    """The command that makes what `sample_tiny` of conftest makes, from a file of TINY_TOML."""
    space.write_text(TINY_TOML)
    sizes = ["--train-size", "100", "--test-size", "50", "--max-epochs", "3", "--snapshots", "4"]
    return [
        *(sys.executable, "-m", "weightprint.cli", "sample", str(zoo), "--space", str(space), "--runs", str(runs)),
        *(*sizes, "--workers", str(workers), *map(str, options)),
    ]


def start(command: list[str]) -> subprocess.Popen:
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def run_files(zoo: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((zoo / "runs").rglob("*.safetensors"))}
