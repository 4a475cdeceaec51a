"""The command line: a file per command, each of which parses, calls its twin in the Python API, and prints."""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Sequence

from cyclopts import App, CycloptsError

from weightprint import __version__
from weightprint.cli.bench import bench
from weightprint.cli.compare import compare
from weightprint.cli.data import data_app
from weightprint.cli.demo import demo
from weightprint.cli.evaluate import evaluate
from weightprint.cli.export import export_app
from weightprint.cli.fit import fit
from weightprint.cli.import_zoo import import_app
from weightprint.cli.info import info
from weightprint.cli.inspect import inspect
from weightprint.cli.merge import merge
from weightprint.cli.recover import recover
from weightprint.cli.sample import sample
from weightprint.cli.share import pull, push
from weightprint.cli.study import study
from weightprint.cli.verify import verify
from weightprint.errors import WeightprintError

app = App(
    name="weightprint",
    help="Read a network's training set-up out of its weights. Start with: weightprint demo",
    version=__version__,
    help_format="plaintext",
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
for command in (demo, sample, merge, info, verify, fit, evaluate, bench, study, compare, inspect, recover, push, pull):
    app.command(command)
for several in (import_app, export_app, data_app):
    app.command(several)


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
        print(json.dumps({"error": {"kind": kind, "message": message, "hint": hint}}))
    print(f"error: {message}" + (f" ({hint})" if hint else ""), file=sys.stderr)
    return code


def _warn(message: Warning | str, *_: object, **__: object) -> None:
    print(f"warning: {message}", file=sys.stderr)
