"""Imports go one way: who may import whom, no cycles, nothing heavy at import, and names known late."""

import ast
import importlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

import genprior

ROOT = Path(genprior.__file__).parent
# Each floor imports from those below it, and a room on it from no other room of the floor.
FLOORS: tuple[set[str], ...] = (
    {"cpu_cores", "errors", "picture_numbers", "value_range", "writing"},
    {"seeding", "images", "hardware", "memory", "progress", "specs", "stored_files"},
    {"settings", "inline_pictures"},
    {"engines", "command_lines"},
    {"data", "models"},
    {"priors"},
    {"restoration", "training"},
    {"evaluation"},
    {"diagnosis"},
    {"families"},
    {"runs"},
    {"judges", "plotting"},
    {"restoring"},
    {"scoring", "probes", "modes", "calibration", "exporting", "sampling"},
    {"report", "run_check"},
    {"study"},
    {"folder_check"},
    {"studio"},
    {"cli"},
    {"__main__"},
)
MAY_IMPORT: dict[str, set[str]] = {
    room: set().union(*FLOORS[:level]) for level, floor in enumerate(FLOORS) for room in floor
}
# Tables of names are read by these alone; everything below them gets objects.
KNOW_NAMES = {
    "families",
    "runs",
    "restoring",
    "judges",
    "scoring",
    "probes",
    "modes",
    "calibration",
    "report",
    "study",
    "studio",
    "cli",
}
TABLES = {
    *("DENSITIES", "DEQUANTISATIONS", "FAMILIES", "LIKELIHOODS", "LOSSES", "MODELS", "NOISES", "OPERATORS", "PRESETS"),
    *("PENALTIES", "RECONSTRUCTION_LOSSES", "SCHEDULES", "SCORES", "STARTS", "VAES"),
    *("BASES", "PUBLISHED"),
}
HEAVY = {
    *("datasets", "deepinv", "gradio", "huggingface_hub", "jinja2", "matplotlib", "normflows", "pandas"),
    *("fastapi", "starlette", "uvicorn"),
    *("dask", "distributed", "joblib", "onnx", "onnxruntime", "onnxscript", "ray"),
    *("lightning_fabric", "scipy", "sklearn", "tensorboard", "torchmetrics", "torchvision"),
}


@dataclass(frozen=True)
class Import:
    """One imported name: "genprior.data" and "Dataset", or "torch" and None."""

    module: str
    name: str | None
    at_import: bool


def _module_name(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _absolute(node: ast.ImportFrom, module: str, is_package: bool) -> str:
    """The module that an import statement names, dots at its start resolved."""
    if not node.level:
        return node.module or ""
    up = node.level - is_package
    parts = module.split(".")
    base = parts[: len(parts) - up]
    return ".".join([*base, node.module] if node.module else base)


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def _imports(source: str, module: str, is_package: bool = False) -> list[Import]:
    """Every import in a module, those inside functions and for type checkers included."""
    found: list[Import] = []

    def visit(node: ast.AST, at_import: bool) -> None:
        if isinstance(node, ast.Import):
            found.extend(Import(alias.name, None, at_import) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, module, is_package)
            found.extend(Import(base, alias.name, at_import) for alias in node.names)
        inner = at_import and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            visit(child, inner and not _is_type_checking(node))

    visit(ast.parse(source), True)
    return found


@cache
def _package() -> dict[str, list[Import]]:
    return {
        _module_name(path): _imports(path.read_text(), _module_name(path), path.name == "__init__.py")
        for path in sorted(ROOT.rglob("*.py"))
    }


def _target(each: Import, modules: Iterable[str]) -> str:
    """The module that is imported: "from genprior.models import dcgan" imports genprior.models.dcgan."""
    whole = f"{each.module}.{each.name}"
    return whole if whole in modules else each.module


def _unit(module: str) -> str:
    """Module or folder directly inside the package; empty for the package itself."""
    return module.partition(".")[2].partition(".")[0]


def _own(imports: Iterable[Import], modules: Iterable[str]) -> Iterator[str]:
    for each in imports:
        target = _target(each, modules)
        if target == "genprior" or target.startswith("genprior."):
            yield target


def _cycle(graph: Mapping[str, Iterable[str]]) -> list[str]:
    """A path that comes back to where it began, or nothing."""
    done: set[str] = set()

    def walk(node: str, path: list[str]) -> list[str]:
        if node in path:
            return [*path[path.index(node) :], node]
        if node in done:
            return []
        for target in graph.get(node, ()):
            if found := walk(target, [*path, node]):
                return found
        done.add(node)
        return []

    return next((found for node in graph if (found := walk(node, []))), [])


def test_every_module_has_its_place() -> None:
    assert {_unit(module) for module in _package()} - {""} == MAY_IMPORT.keys()


def test_the_places_themselves_go_one_way() -> None:
    assert _cycle(MAY_IMPORT) == []
    assert set().union(*MAY_IMPORT.values()) <= MAY_IMPORT.keys()


@pytest.mark.parametrize("module", _package())
def test_imports_go_one_way(module: str) -> None:
    package = _package()
    if module == "genprior":
        return
    allowed = MAY_IMPORT[_unit(module)] | {_unit(module)}
    if module == "genprior.cli":
        allowed = allowed | {""}  # the version
    wrong = [target for target in _own(package[module], package) if _unit(target) not in allowed]
    assert not wrong


def test_there_is_no_cycle_of_modules() -> None:
    package = _package()
    graph = {module: [t for t in _own(each, package) if t != module] for module, each in package.items()}
    assert _cycle(graph) == []


@pytest.mark.parametrize("module", _package())
def test_nothing_heavy_is_imported_at_import(module: str) -> None:
    imported = {each.module.partition(".")[0] for each in _package()[module] if each.at_import}
    assert not imported & HEAVY


def test_the_package_itself_imports_nothing_of_its_own() -> None:
    assert not [each for each in _package()["genprior"] if each.at_import and each.module.startswith("genprior")]


@pytest.mark.parametrize("module", _package())
def test_tables_of_names_are_read_late(module: str) -> None:
    read = [each.name for each in _package()[module] if each.name in TABLES]
    assert not read or _unit(module) in KNOW_NAMES


@pytest.mark.parametrize(("library", "users"), [("typer", {"cli"}), ("rich", {"progress", "runs"})])
def test_a_library_of_the_surface_stays_there(library: str, users: set[str]) -> None:
    package = _package()
    using = {_unit(m) for m, found in package.items() for each in found if each.module.partition(".")[0] == library}
    assert using == users


@pytest.mark.parametrize("name", genprior.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(genprior, name) is getattr(importlib.import_module(genprior._HOME[name]), name)
    assert name in dir(genprior)


def test_other_public_names_are_refused() -> None:
    with pytest.raises(AttributeError, match="module 'genprior' has no attribute 'nonsense'"):
        genprior.nonsense  # noqa: B018


# The checks can fail.

SOURCE = """
import torch
from genprior.data import Dataset
from . import layers
from ..training.losses import LOSSES
if TYPE_CHECKING:
    import sklearn
class A:
    import scipy
    def f(self):
        from matplotlib.figure import Figure
try:
    import datasets
except ImportError:
    pass
"""


def test_imports_are_found_wherever_they_stand() -> None:
    found = {f"{each.module}:{each.name}": each.at_import for each in _imports(SOURCE, "genprior.models.mlp")}
    assert found == {
        "torch:None": True,
        "genprior.data:Dataset": True,
        "genprior.models:layers": True,
        "genprior.training.losses:LOSSES": True,
        "sklearn:None": False,
        "scipy:None": True,
        "matplotlib.figure:Figure": False,
        "datasets:None": True,
    }


def test_a_package_resolves_its_dots_from_itself() -> None:
    (found,) = _imports("from .layers import Conv2d", "genprior.models", is_package=True)
    assert (found.module, found.name) == ("genprior.models.layers", "Conv2d")


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        ({"a": ["b"], "b": ["c"], "c": []}, []),
        ({"a": ["b", "c"], "b": ["c"]}, []),
        ({"a": ["b"], "b": ["c"], "c": ["b"]}, ["b", "c", "b"]),
        ({"a": ["a"]}, ["a", "a"]),
    ],
)
def test_cycles_are_found(graph: dict[str, list[str]], expected: list[str]) -> None:
    assert _cycle(graph) == expected
