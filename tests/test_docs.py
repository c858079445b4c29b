"""The pages keep their promises: links lead somewhere, names of the code exist."""

import importlib
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from genprior.exporting.export_results import ExportSettings
from genprior.exporting.onnx_export import export_stages
from genprior.progress import result_of
from served_studio import make_mixture
from tiny_run import make_tiny_run

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/**/*.md"))]
NAMES = [path.relative_to(ROOT).as_posix() for path in PAGES]


def anchors(page: Path) -> set[str]:
    """Returns the anchors of a page's headings, as GitHub makes them, and those that it sets itself."""
    text = page.read_text(encoding="utf-8")
    own = set(re.findall(r'<a id="([^"]+)"></a>', text))
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return own | {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str) -> None:
    page, broken = ROOT / name, []
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        file, _, anchor = link.partition("#")
        target = (page.parent / file) if file else page
        if "://" in link:
            continue
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


def exists(dotted: str) -> bool:
    """Whether a dotted name is a module, or something in one."""
    words = dotted.split(".")
    for count in range(len(words), 0, -1):
        try:
            found: object = importlib.import_module(".".join(words[:count]))
        except ModuleNotFoundError:
            continue
        try:
            for word in words[count:]:
                found = getattr(found, word)
        except AttributeError:
            return False
        return True
    return False


@pytest.mark.parametrize("name", [name for name in NAMES if name != "CHANGELOG.md"])  # which names what is gone
def test_names_of_the_code_exist(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    dotted = set(re.findall(r"`(genprior(?:\.\w+)+)`", text))
    assert [word for word in sorted(dotted) if not exists(word)] == []
    folders = "src|tests|docs|benchmarks|examples|genprior"
    paths = set(re.findall(rf"`((?:{folders})/[\w/]+\.\w+)`", text))
    missing = [path for path in sorted(paths) if not any((ROOT / base / path).exists() for base in ("", "src"))]
    assert missing == []


@pytest.mark.parametrize("name", NAMES)
def test_prose_holds_no_paths_of_tests(name: str) -> None:
    prose = [line for line in (ROOT / name).read_text(encoding="utf-8").splitlines() if not line.startswith("|")]
    assert not [line for line in prose if "::test_" in line or ("tests/" in line and name.startswith("docs/"))]


def commands(name: str) -> Iterator[list[str]]:
    """Yields the words of each command of genprior in a page, in blocks and within lines."""
    text = (ROOT / name).read_text(encoding="utf-8")
    blocks = "".join(re.findall(r"^```\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    lines = [line.split("  #")[0] for line in blocks.splitlines()]
    inline = [" ".join(code.split()) for code in re.findall(r"(?<!`)`([^`]+)`(?!`)", text)]
    for line in [*lines, *inline]:
        if re.match(r"genprior [a-z]", line) and "|" not in line:
            yield line.split()[1:]


def test_flags_in_the_pages_are_those_of_the_commands(genprior: Callable[..., str]) -> None:
    flags: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for name in [name for name in NAMES if name != "CHANGELOG.md"]:
        for words in commands(name):
            command = words[: 2 if words[0] in ("train", "probe", "benchmark") else 1]
            flags[tuple(command)] |= {word.split("=")[0] for word in words if word.startswith("--")}
    assert len(flags) > 15
    helps = {command: genprior(*command, "--help") for command in flags}
    missing = {
        command: {flag for flag in used if not re.search(rf"{flag}(?![\w-])", helps[command])}
        for command, used in flags.items()
    }
    assert not {command: found for command, found in missing.items() if found}


DESCRIBED = {  # each name of a table stands in its page
    "genprior.training.losses.LOSSES": "docs/training.md",
    "genprior.training.penalties.PENALTIES": "docs/training.md",
    "genprior.training.augmentation.AUGMENTATIONS": "docs/training.md",
    "genprior.models.players.MODELS": "docs/training.md",
    "genprior.data.load.SOURCES": "docs/training.md",
    "genprior.families.FAMILIES": "docs/training.md",
    "genprior.restoration.operators.OPERATORS": "docs/restoration.md",
    "genprior.restoration.noise.NOISES": "docs/restoration.md",
    "genprior.restoration.fidelity.FIDELITIES": "docs/restoration.md",
    "genprior.restoration.search_settings.SEARCHES": "docs/restoration.md",
    "genprior.training.optimisation.SCHEDULES": "docs/training.md",
    "genprior.training.reconstruction_losses.RECONSTRUCTION_LOSSES": "docs/families.md",
    "genprior.training.latent_optimisation.STARTS": "docs/families.md",
    "genprior.priors.densities.DENSITIES": "docs/families.md",
    "genprior.data.geometry.FITS": "docs/data.md",
    "genprior.engines.ENGINES": "docs/engines.md",
    "genprior.diagnosis.health_verdict.VERDICTS": "docs/diagnosis.md",
    "genprior.study.statements.STATEMENTS": "docs/study.md",
    "genprior.study.study_settings.SIZES": "docs/study.md",
}


@pytest.mark.parametrize("table", DESCRIBED)
def test_each_entry_of_a_table_is_described(table: str) -> None:
    module, _, name = table.rpartition(".")
    text = (ROOT / DESCRIBED[table]).read_text(encoding="utf-8")
    missing = [
        entry for entry in getattr(importlib.import_module(module), name) if not re.search(rf"\b{entry}\b", text)
    ]
    assert missing == []


def test_each_room_stands_on_the_map() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rooms = [path.name for path in sorted((ROOT / "src" / "genprior").iterdir()) if (path / "__init__.py").is_file()]
    assert [room for room in rooms if f"`{room}/`" not in text] == []


BLOCKS = [
    pytest.param(code, id=f"{name}-{i}")
    for name in NAMES
    for i, code in enumerate(
        re.findall(r"^```python\n(.*?)^```", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    )
    if "dask_jobqueue" not in code  # for a cluster, which no test has
]
SMALLER = {r"jobs=\d": "jobs=1", r"images=[\d_]+": "images=256", r"arange\(100\)": "arange(6)"}


@pytest.mark.parametrize("code", BLOCKS)
@pytest.mark.usefixtures("made_mnist")
def test_python_in_the_pages_runs(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if "runs/ns" in code:
        run = make_tiny_run(tmp_path / "runs" / "ns", size=28, **({"latent_size": 100} if "-onnx" in code else {}))
        if "-onnx" in code:
            result_of(export_stages(ExportSettings(run=run), None))
    if "runs/flow" in code:
        make_mixture(tmp_path / "runs" / "flow")  # which denoises as well, and is fitted at once
    for large, small in SMALLER.items():
        code = re.sub(large, small, code)
    exec(code, {})
