"""The command line: each command parses, calls its twin in the Python API, and prints."""

from __future__ import annotations

import json as json_
import os
import sys
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter

from weightprint import __version__
from weightprint.cli import export_folder, export_graph, export_hub  # noqa: F401 - they register themselves
from weightprint.cli.bench import bench
from weightprint.cli.compare import compare
from weightprint.cli.data import data_app
from weightprint.cli.export import export_app
from weightprint.cli.fit import evaluate, fit
from weightprint.cli.import_zoo import import_app
from weightprint.cli.inspect import inspect
from weightprint.cli.recover import recover
from weightprint.cli.share import pull, push
from weightprint.cli.study import study
from weightprint.cli.terminal import Bar, Json, print_document
from weightprint.errors import WeightprintError

app = App(
    name="weightprint",
    help="Read a network's training set-up out of its weights. Start with: weightprint demo",
    version=__version__,
    help_format="plaintext",
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
app.command(data_app)
app.command(import_app)
app.command(fit)
app.command(evaluate)
app.command(bench)
app.command(study)
app.command(compare)
app.command(inspect)
app.command(recover)
app.command(export_app)
app.command(push)
app.command(pull)

RETRY_HINT = "to try failed runs again: the same sample command with --retry-failed; log.jsonl says what went wrong"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Exit code 0, 1 (could not do it) or 2 (bad usage)."""
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in tokens
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _warn
            code = app(tokens, exit_on_error=False, print_error=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except CycloptsError as error:
        message = " ".join(str(error).split())
        return _report(as_json, "usage", message, "weightprint --help, or --help after the command", code=2)
    except WeightprintError as error:
        return _report(as_json, error.kind, error.message, error.hint)
    except ImportError as error:
        return _report(as_json, "library", f"a Python package cannot be used: {error}", "pip install weightprint")
    except MemoryError:
        return _report(as_json, "memory", "out of memory", "fewer --workers, or a machine with more memory")
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        return _report(as_json, "file", f"{error.filename or 'a file'}: {error.strerror or error}", "")
    except KeyboardInterrupt:
        return _report(as_json, "interrupted", "interrupted", "the same command goes on where it stopped")


def _report(as_json: bool, kind: str, message: str, hint: str, *, code: int = 1) -> int:
    if as_json:
        print(json_.dumps({"error": {"kind": kind, "message": message, "hint": hint}}))
    print(f"error: {message}" + (f" ({hint})" if hint else ""), file=sys.stderr)
    return code


def _warn(message: Warning | str, *_: object, **__: object) -> None:
    print(f"warning: {message}", file=sys.stderr)


@app.command
def demo(out: Path = Path("weightprint-demo"), /, *, workers: int | None = None, json: Json = False) -> None:
    """The main job, small: sample a weight space, fit meta-classifiers, write a report. No download.

    Example: weightprint demo my-first-report

    Parameters
    ----------
    out
        Folder for zoo/, metas/ and report.html.
    workers
        Worker processes; one per core by default.
    """
    from weightprint.demo import run_demo
    from weightprint.report import accuracy_text

    with Bar("sampling", unit="runs") as bar:
        document = run_demo(out, workers=workers, say=_say, progress=bar.update)
    print_document(document, accuracy_text(document["results"]) + f"\n\nreport: {document['report']}", as_json=json)


@app.command
def sample(
    zoo: Path,
    /,
    *,
    space: str,
    runs: int,
    datasets: str | None = None,
    data: Path | None = None,
    train_size: int | None = None,
    test_size: int | None = None,
    max_epochs: int | None = None,
    snapshots: int | None = None,
    seed: int = 0,
    cohort: int = 1,
    range: str | None = None,
    workers: int | None = None,
    engine: Literal["local", "ray"] = "local",
    ray_address: str | None = None,
    device: str = "cpu",
    retry_failed: Annotated[bool, Parameter(negative=())] = False,
    dry_run: Annotated[bool, Parameter(negative=())] = False,
    json: Json = False,
) -> None:
    """Sample a weight space: train many small networks under randomly drawn set-ups.

    The same command goes on where an interrupted one stopped; a larger --runs extends the zoo.

    Example: weightprint sample zoo --space fixed --runs 300 --data images --max-epochs 19

    Parameters
    ----------
    zoo
        Folder of the zoo.
    space
        main, fixed, wild, everyday, demo, or the path of a TOML file.
    runs
        How many runs the zoo has in the end.
    datasets
        Names with commas between them, instead of the space's own.
    data
        Folder of .npz files; without it the bundled data sets.
    train_size
        Images per run before the 90/10 split; default: the most that all data sets have, in everyday all of each.
    test_size
        Test images per run; default: the most that all data sets have, in everyday at most 500.
    max_epochs
        At which a run ends if early stopping did not end it before; default: 1000. Not for everyday, whose set-ups are
        drawn with a number of steps.
    snapshots
        Weight vectors kept of each run; default: 20, in everyday 8.
    seed
        Of every random choice.
    cohort
        Runs of one architecture and batch size that are trained as one, at most; to fill a GPU.
    range
        A-B: only the runs A to B, both included; see merge.
    workers
        Runs under way at once, each on one thread; default: one per core.
    engine
        local: processes of this machine. ray: tasks of a Ray cluster whose nodes share the zoo's folder; same runs.
    ray_address
        Of a running Ray cluster, or RAY_ADDRESS; without either a Ray is started on this machine for this command.
    device
        Where to train: cpu, cuda, cuda:1, …
    retry_failed
        Train runs that failed again.
    dry_run
        Only say how long it would take and how large it would be.
    """
    from weightprint.sampling.sample import estimate, plan, run_sampling

    sampling = plan(
        zoo,
        space,
        runs,
        datasets=[name.strip() for name in datasets.split(",")] if datasets is not None else None,
        data=data,
        train_size=train_size,
        test_size=test_size,
        max_epochs=max_epochs,
        snapshots=snapshots,
        seed=seed,
        cohort=cohort,
        range_=range,
    )
    spread: dict[str, Any] = {
        "workers": workers,
        "engine": engine,
        "ray_address": ray_address,
        "device": device,
        "retry_failed": retry_failed,
    }
    if dry_run:
        with redirect_stdout(sys.stderr):  # Ray reports deaths on standard output
            document = estimate(sampling, **spread)
        bound = "at most " if document["upper_bound"] else "about "
        text = (
            f"{document['missing']} of {document['runs']} runs to sample: {bound}{document['hours']:.2f} hours "
            f"on {document['workers']} workers, {document['gigabytes']:.2f} GB"
        )
    else:
        with redirect_stdout(sys.stderr), Bar("sampling", unit="runs") as bar:
            document = run_sampling(sampling, **spread, progress=bar.update).to_json()
        text = (
            f"{document['zoo']}: {document['runs']} runs; of those asked for {document['completed']} complete, "
            f"{document['diverged']} diverged, {document['failed']} failed; "
            f"{document['sampled']} sampled now in {document['seconds']:.0f} s"
        )
        if document["failed"]:
            text += f"\n{RETRY_HINT}"
    print_document(document, text, as_json=json)


@app.command
def merge(zoo: Path, /, *parts: Path, json: Json = False) -> None:
    """Put zoos of one recipe, sampled apart with --range, into one.

    Example: weightprint merge zoo part-0 part-1

    Parameters
    ----------
    zoo
        Folder of the zoo that receives the runs; made when it is not there.
    parts
        Folders of the zoos to copy from.
    """
    from weightprint.sampling.sample import merge as merge_

    document = merge_(zoo, parts)
    text = f"{document['zoo']}: {document['runs']} runs, {document['copied']} copied"
    if document["different"]:
        text += f"; kept the runs that were there although the parts have other bytes: {document['different']}"
    for damage in document["damaged"]:
        text += f"\nleft out run {damage['run']} of {damage['zoo']}: {damage['problem']}"
    print_document(document, text, as_json=json)


@app.command
def info(zoo: Path, /, *, json: Json = False) -> None:
    """What a zoo holds: counts, recipe, size.

    Example: weightprint info zoo

    Parameters
    ----------
    zoo
        Folder of the zoo.
    """
    from weightprint.zoo import Zoo

    document = Zoo(zoo, thorough=True).info()
    print_document(document, _info_text(document), as_json=json)


def _info_text(document: dict[str, Any]) -> str:
    def counts(values: dict[str, int]) -> str:
        return ", ".join(f"{count} {name}" for name, count in values.items()) or "none"

    lengths, failed = document["weights"], document["status"].get("failed", 0)
    recipe = {name: value for name, value in document["recipe"].items() if name not in ("space", "datasets")}
    return "\n".join(
        [
            f"{document['zoo']}: {document['runs']} runs ({counts(document['status'])})",
            f"  snapshots  {document['snapshots']}",
            f"  converged  {document['converged']}",
            f"  data sets  {counts(document['datasets'])}",
            f"  weights    {_span(lengths)} per snapshot",
            f"  size       {document['bytes'] / 1e9:.3f} GB",
            f"  space      {document['space'] or '-'}",
            f"  recipe     {', '.join(f'{name} {value}' for name, value in recipe.items())}",
            *([f"  failed     {failed}; {RETRY_HINT}"] if failed else []),
        ]
    )


def _span(lengths: list[int]) -> str:
    if not lengths:
        return "no"
    return f"{lengths[0]:,}" if len(lengths) == 1 else f"{lengths[0]:,} to {lengths[-1]:,}"


@app.command
def verify(zoo: Path, /, *, json: Json = False) -> int:
    """Read every run of a zoo and check it against its checksum and the recipe. Exit code 1 when something is wrong.

    Example: weightprint verify zoo

    Parameters
    ----------
    zoo
        Folder of the zoo.
    """
    from weightprint.zoo import Zoo

    opened = Zoo(zoo, thorough=True)
    problems = opened.verify()
    document = {"ok": not problems, "runs": len(opened), "problems": problems}
    found = [f"{'zoo' if p['run'] is None else 'run ' + str(p['run'])}: {p['problem']}" for p in problems]
    text = "\n".join([f"{zoo}: {len(opened)} runs, {f'{len(found)} problems' if found else 'all as written'}", *found])
    print_document(document, text, as_json=json)
    return 1 if problems else 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
