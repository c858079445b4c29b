"""House rules that a reader relies on: names stand for one thing, functions stay short, nothing needs POSIX."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import genprior

ROOT = Path(genprior.__file__).parent
MOST_LINES_OF_A_FUNCTION, MOST_PARAMETERS = 45, 8
POSIX_MODULES = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}
POSIX_NAMES = {  # attributes that Windows lacks, by the module that has them
    "signal": {"SIGHUP", "SIGKILL", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGCHLD", "SIGPIPE", "SIGSTOP", "SIGCONT"},
    "os": {"fork", "getuid", "geteuid", "killpg", "mkfifo", "setsid", "uname", "wait"},
}
Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def _trees() -> dict[str, ast.Module]:
    return {str(path.relative_to(ROOT)): ast.parse(path.read_text()) for path in sorted(ROOT.rglob("*.py"))}


def _twice(names: Iterator[tuple[str, str]]) -> dict[str, list[str]]:
    """Names that stand in several places, and where."""
    found = defaultdict(list)
    for name, where in names:
        found[name].append(where)
    return {name: places for name, places in found.items() if len(places) > 1}


def _parameters(function: Function) -> int:
    """How many arguments a caller may give, without the object itself."""
    arguments = [each.arg for each in [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]]
    return len(arguments) - (arguments[:1] in (["self"], ["cls"]))


def _too_long(tree: ast.Module) -> list[str]:
    functions = [node for node in ast.walk(tree) if isinstance(node, Function)]
    return [
        f"{each.name}: {each.end_lineno - each.lineno + 1} lines, {_parameters(each)} parameters"
        for each in functions
        if each.end_lineno is not None
        and (each.end_lineno - each.lineno + 1 > MOST_LINES_OF_A_FUNCTION or _parameters(each) > MOST_PARAMETERS)
    ]


def _posix_only(tree: ast.Module) -> list[str]:
    """Imports at module level, and names anywhere, that Windows lacks."""
    imported = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    modules = {getattr(node, "module", None) or node.names[0].name for node in imported}
    names = [
        f"{node.value.id}.{node.attr}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.attr in POSIX_NAMES.get(node.value.id, ())
    ]
    return [*sorted(modules & POSIX_MODULES), *names]


def test_no_file_name_stands_twice() -> None:
    paths = (Path(where) for where in _trees())
    assert _twice((path.name, str(path)) for path in paths if not path.name.startswith("__")) == {}


def test_no_class_name_stands_twice() -> None:
    classes = (
        (node.name, where)
        for where, tree in _trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    )
    assert _twice(classes) == {}


@pytest.mark.parametrize("where", _trees())
def test_functions_are_short(where: str) -> None:
    assert _too_long(_trees()[where]) == []


@pytest.mark.parametrize("where", _trees())
def test_nothing_needs_posix(where: str) -> None:
    assert _posix_only(_trees()[where]) == []


# The checks can fail.


def test_what_breaks_the_rules_is_found() -> None:
    tree = ast.parse("import fcntl\ndef f(a, b, c, d, e, f, g, h, i):\n    signal.signal(signal.SIGKILL, 0)\n")
    assert _posix_only(tree) == ["fcntl", "signal.SIGKILL"]
    assert _too_long(tree) == ["f: 2 lines, 9 parameters"]
    long = ast.parse("def f():\n" + "    x = 1\n" * 45)
    assert _too_long(long) == ["f: 46 lines, 0 parameters"]
    assert _twice(iter([("a", "x"), ("a", "y"), ("b", "x")])) == {"a": ["x", "y"]}
