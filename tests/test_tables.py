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


def _parametrised(path: Path) -> Iterator[str]:
    """All names that a test file hands to `parametrize`, directly or by a name of its own."""
    tree = ast.parse(path.read_text())
    own = {
        node.targets[0].id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        if isinstance(call.func, ast.Attribute) and call.func.attr == "parametrize":
            names = set(_names(call))
            yield from names | {each for name in names & own.keys() for each in _names(own[name])}


def _names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute):
            yield node.id if isinstance(node, ast.Name) else node.attr


@cache
def _all_parametrised() -> set[str]:
    return {name for path in TESTS.rglob("test_*.py") for name in _parametrised(path)}


TABLES = {name: path.name for path in sorted(SOURCES.rglob("*.py")) for name in _tables(path)}


def test_the_tables_are_found() -> None:
    assert {"LOSSES", "PENALTIES", "FAMILIES", "OPERATORS", "NOISES", "SEARCHES", "SCORES", "SIGNS"} <= set(TABLES)


@pytest.mark.parametrize("table", TABLES)
def test_every_table_has_a_law_that_finds_its_entries(table: str) -> None:
    assert table in _all_parametrised(), TABLES[table]
