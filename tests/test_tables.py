"""Each table of things that a user names has a test over all its entries: new ones are tested without being listed."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import genprior

SOURCES, TESTS = Path(genprior.__file__).parent, Path(__file__).parent
PLAIN = {"str", "Any", "tuple"}  # values that do nothing: words, settings, numbers


def _tables(path: Path) -> Iterator[str]:
    """Names of the public dicts of a module that lead from names to things that do something."""
    for node in ast.parse(path.read_text()).body:
        match node:
            case ast.AnnAssign(
                target=ast.Name(id=name),
                annotation=ast.Subscript(value=ast.Name(id="dict"), slice=ast.Tuple(elts=[ast.Name(id="str"), value])),
            ) if not name.startswith("_") and ast.unparse(value).partition("[")[0] not in PLAIN:
                yield name


def _parametrised(path: Path) -> Iterator[tuple[str, str]]:
    """(module, name) of all that a test file hands to `parametrize`, directly or by a name of its own."""
    tree = ast.parse(path.read_text())
    imported = {
        each.asname or each.name: (str(node.module), each.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for each in node.names
    }
    own = {
        node.targets[0].id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        if isinstance(call.func, ast.Attribute) and call.func.attr == "parametrize":
            names = set(_names(call))
            behind = {each for used, _ in names if used in own for each in _names(own[used])}
            for name, attribute in names | behind:
                if name in imported:
                    module, what = imported[name]
                    yield (f"{module}.{what}", attribute) if attribute else (module, what)


def _names(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Names, and the attribute that is taken of each, empty where it is the name itself that is used."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield node.value.id, node.attr
        elif isinstance(node, ast.Name):
            yield node.id, ""


@cache
def _all_parametrised() -> set[tuple[str, str]]:
    return {each for path in TESTS.rglob("test_*.py") for each in _parametrised(path)}


def _module(path: Path) -> str:
    return ".".join(["genprior", *path.relative_to(SOURCES).with_suffix("").parts]).removesuffix(".__init__")


TABLES = [(_module(path), name) for path in sorted(SOURCES.rglob("*.py")) for name in _tables(path)]


def test_the_tables_are_found() -> None:
    names = {name for _, name in TABLES}
    assert {"LOSSES", "PENALTIES", "FAMILIES", "OPERATORS", "NOISES", "SEARCHES", "SCORES", "SIGNS"} <= names


@pytest.mark.parametrize(("module", "name"), TABLES)
def test_every_table_has_a_law_that_finds_its_entries(module: str, name: str) -> None:
    assert (module, name) in _all_parametrised()
