"""House rules that a reader relies on: names stand for one thing, functions stay short, nothing needs POSIX."""

import ast
import re
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
WRITER = "writing.py"
WRITES = {  # calls that make or change the contents of files
    *("write_text", "write_bytes", "save_file", "savez", "savez_compressed", "savetxt", "tofile", "to_csv", "mkstemp"),
    *("NamedTemporaryFile", "copyfile", "copy2", "copytree", "truncate", "touch", "savefig", "memmap"),
}
WRITERS_OF_OURS = {"write_text", "write_bytes"}  # functions of the writer itself, called by their names alone
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


def _writes(tree: ast.Module) -> list[str]:
    """Calls that write files, and texts that are read or written in the encoding of the day."""
    buffers = {
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and re.search(r"(Bytes|String)IO\(\)", ast.unparse(node))
        for each in node.targets
        for target in ast.walk(each)
        if isinstance(target, ast.Name)
    }
    return [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Call) and _is_write(node, buffers)]


def _is_write(call: ast.Call, buffers: set[str]) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    first = getattr(call.args[0], "id", "") if call.args else ""
    if name in ("open", "open_memmap"):
        modes = [
            each.value for each in [*call.args, *(k.value for k in call.keywords)] if isinstance(each, ast.Constant)
        ]
        return any(isinstance(mode, str) and len(mode) < 4 and set(mode) & set("wax+") for mode in modes)
    if name == "save":  # of Pillow, numpy and torch; a buffer in memory is no file
        return isinstance(call.func, ast.Attribute) and first not in buffers and ast.unparse(call.func) != "found.save"
    if name == "read_text":
        return not any(each.arg == "encoding" for each in call.keywords)
    is_own = isinstance(call.func, ast.Name) and name in WRITERS_OF_OURS
    return name in WRITES and first not in buffers and not is_own


@pytest.mark.parametrize("where", [where for where in _trees() if where != WRITER])
def test_the_one_writer_writes_all_files(where: str) -> None:
    assert _writes(_trees()[where]) == []


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


@pytest.mark.parametrize(
    "line",
    [
        *('open(path, "w")', 'path.open("ab")', 'path.write_text("x")', "save_file(tensors, path)", "np.save(path, x)"),
        *("image.save(path)", "figure.savefig(path)", 'open_memmap(path, mode="w+")', "path.read_text()"),
    ],
)
def test_what_writes_by_itself_is_found(line: str) -> None:
    assert len(_writes(ast.parse(line))) == 1


def test_buffers_are_no_files() -> None:
    lines = (
        "a = BytesIO()\nimage.save(a)\nb, c = 1, StringIO()\nfigure.savefig(c)\nopen(path, 'rb')\nwrite_text(path, 'x')"
    )
    assert _writes(ast.parse(lines)) == []
