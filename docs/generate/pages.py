"""Writes the two reference pages from the code when the site is built: every command, every public name."""

from __future__ import annotations

import importlib
import inspect
from types import ModuleType
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

from weightprint.cli.main import app

MODULES = {
    "weightprint": "The names of the package: `import weightprint as wp`.",
    "weightprint.meta": "More about meta-classifiers: `from weightprint import meta`.",
    "weightprint.sampling.options": "The options of `weightprint sample` and of `wp.sample`.",
    "weightprint.meta.view": "",
    "weightprint.errors": "",
}
ONLY = {
    "weightprint.sampling.options": ["PlanOptions", "EngineOptions"],
    "weightprint.meta.view": ["View"],
    "weightprint.errors": ["SetupError", "DataError", "ZooError", "MetaError", "CorruptFile", "RecipeMismatch"],
}
"""Of modules whose public names are not listed in `__all__`."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Called by mkdocs: adds the generated pages."""
    for path, text in (("reference/commands.md", commands()), ("reference/python.md", public_names())):
        files.append(File.generated(config, path, content=text))
    return files


def commands() -> str:
    """Every command with its options, as `--help` says them."""
    text = app.generate_docs(output_format="markdown")
    _, _, listed = text.partition("**Commands**")
    return (
        "# Commands\n\n`weightprint --help` says the same, and `weightprint COMMAND --help`.\n\n"
        + listed[listed.index("\n## ") :]
    )


def public_names() -> str:
    """A section for each public name. Raises PluginError for one without a docstring."""
    lines, shown = ["# Python"], set()
    for name, introduction in MODULES.items():
        module = importlib.import_module(name)
        lines += ["", f"## {name}", "", introduction]
        for public in ONLY.get(name) or sorted(getattr(module, "__all__", ())):
            value = getattr(module, public)
            if public not in shown and not public.startswith("__"):
                shown.add(public)
                lines += ["", section(module, public, value)]
    return "\n".join(lines) + "\n"


def section(module: ModuleType, name: str, value: Any) -> str:
    """What the page says of one public name; constants are found in the module that defines them."""
    if not (inspect.isclass(value) or inspect.isfunction(value)):
        home = importlib.import_module(f"{module.__name__}.models")
        return f"::: {home.__name__}.{name}"
    missing = undocumented(value)
    if missing:
        raise PluginError(f"without a docstring: {', '.join(f'{module.__name__}.{m}' for m in missing)}")
    home = importlib.import_module(value.__module__)
    if vars(home).get(value.__qualname__) is value:
        return f"::: {value.__module__}.{value.__qualname__}"
    text = inspect.getdoc(value)  # made when it is asked for, such as `weightprint.DMC`
    signature = str(inspect.signature(value)).replace("'", "")
    return f"### {name}\n\n```python\n{name}{signature}\n```\n\n{text}"


def undocumented(value: Any) -> list[str]:
    """The names of a function or class, and of its public methods and properties, that have no docstring."""
    missing = [] if inspect.getdoc(value) else [value.__qualname__]
    if inspect.isclass(value):
        for name, member in vars(value).items():
            function = getattr(member, "__func__", member)
            described = callable(function) or isinstance(member, property)
            if described and not name.startswith("_") and not function.__doc__:
                missing.append(f"{value.__qualname__}.{name}")
    return missing
