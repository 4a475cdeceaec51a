"""The rooms and who may import whom."""

import ast
import re
import sys
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import weightprint

SOURCE = Path(weightprint.__file__).parent

FLOW = [
    ["errors"],
    ["files"],
    ["seeds"],
    ["setups"],
    ["images"],
    ["training"],
    ["zoo"],
    ["sampling"],
    ["formats"],
    ["features"],
    ["evaluation"],
    ["meta"],
    ["study"],
    ["inspection"],
    ["report"],
    ["demo"],
    ["cli"],
]
"""From left to right. A room imports rooms left of it; files inside one room may import each other, without cycles."""

RANK = {room: rank for rank, rooms in enumerate(FLOW) for room in rooms}


@cache
def modules():
    return sorted(p for p in SOURCE.rglob("*.py") if p != SOURCE / "__init__.py")


def module_name(path):
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def nodes(path):
    """All nodes of a file's syntax tree."""
    return list(ast.walk(ast.parse(path.read_text())))


@cache
def known_modules():
    return frozenset(map(module_name, modules()))


@cache
def imports(path):
    """The modules of the package that a file imports, anywhere in it but under TYPE_CHECKING."""
    skipped = {
        id(inner)
        for node in nodes(path)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    imported = set()
    for node in nodes(path):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("weightprint"):
            base = (node.module or "").removeprefix("weightprint").lstrip(".")
            for alias in node.names:
                inner = f"{base}.{alias.name}".lstrip(".")
                if inner in known_modules():
                    imported.add(inner)
                elif base:
                    imported.add(base)
        elif isinstance(node, ast.Import):
            imported |= {a.name.removeprefix("weightprint.") for a in node.names if a.name.startswith("weightprint.")}
    return imported


def room(module):
    return module.split(".")[0]


@pytest.mark.parametrize("path", modules(), ids=module_name)
def test_a_room_imports_only_rooms_left_of_it(path):
    here = room(module_name(path))
    for other in imports(path):
        assert room(other) == here or RANK[room(other)] < RANK[here], f"{module_name(path)} imports {other}"


def test_no_imports_go_round_in_circles():
    graph = {module_name(p): imports(p) for p in modules()}
    done, path = set(), []

    def visit(module):
        assert module not in path, f"circle: {' → '.join([*path[path.index(module) :], module])}"
        if module in done:
            return
        path.append(module)
        for other in graph.get(module, ()):
            visit(other)
        path.pop()
        done.add(module)

    for module in graph:
        visit(module)


def private(name):
    return name.startswith("_") and not name.startswith("__")


FOREIGN = {"_BatchNorm"}
"""Private names of libraries for which they have no public one."""


@pytest.mark.parametrize("path", modules(), ids=module_name)
def test_no_module_reaches_the_private_names_of_another(path):
    own = {n.name for n in nodes(path) if isinstance(n, (ast.FunctionDef, ast.ClassDef))}
    own |= {n.id for n in nodes(path) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    own |= {n.attr for n in nodes(path) if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store)}
    for node in nodes(path):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("weightprint"):
            assert not [alias.name for alias in node.names if private(alias.name)]
        if isinstance(node, ast.Attribute) and private(node.attr) and node.attr not in FOREIGN:
            assert node.attr in own, f"{path.name}:{node.lineno} reaches {ast.unparse(node)}"


@pytest.mark.parametrize("path", modules(), ids=module_name)
def test_no_module_grows_past_500_lines(path):
    assert len(path.read_text().splitlines()) <= 500


def test_every_public_name_of_the_package_can_be_had():
    for name in weightprint.__all__:
        assert getattr(weightprint, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'DNC'"):
        weightprint.DNC  # noqa: B018


@pytest.mark.slow
def test_every_package_that_is_imported_is_declared():
    tomllib = pytest.importorskip("tomllib")
    project = tomllib.loads((SOURCE.parent.parent / "pyproject.toml").read_text())["project"]
    extras = [line for lines in project["optional-dependencies"].values() for line in lines]
    declared = {re.match(r"[\w.-]+", line)[0].lower() for line in [*project["dependencies"], *extras]}
    distributions = packages_distributions()
    for path in modules():
        for node in nodes(path):
            found = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            found += [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
            for name in {module.split(".")[0] for module in found} - {"weightprint", *sys.stdlib_module_names}:
                named = {distribution.lower() for distribution in distributions.get(name, [name])}
                assert named & declared, f"{module_name(path)} imports {name}"
