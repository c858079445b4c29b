"""The wheel installs, holds everything it needs, and trains: nothing is taken from the source tree."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from genprior import __version__

SOURCE = Path(__file__).parents[1]
OLDEST_SETUPTOOLS = 77  # the build-system table of pyproject.toml
TRAIN = "train gan --data digits[:64] --model dcgan:generator_width=4,discriminator_width=4,norm=none"
BUDGET = "--batch-size 16 --images-seen 64 --threads 1 --out runs/first"


def run(*command: object, cwd: Path) -> str:
    """Runs a command as a newcomer would: nothing of the source tree or of the tests in the environment."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "GENPRIOR_DATA")}
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, env=kept, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}{done.stderr}"
    return done.stdout


def has_setuptools() -> bool:
    """Whether this environment can build by itself; where it cannot, pip fetches setuptools."""
    try:
        return int(version("setuptools").split(".")[0]) >= OLDEST_SETUPTOOLS
    except PackageNotFoundError:
        return False


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the sources, so that no old build folder gets into it."""
    folder = tmp_path_factory.mktemp("wheel")
    sources = folder / "sources"
    shutil.copytree(SOURCE / "src", sources / "src", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(SOURCE / name, sources)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--no-deps", "-w", folder / "out"]
    run(*pip, *(["--no-build-isolation"] if has_setuptools() else []), sources, cwd=folder)
    (built,) = (folder / "out").glob("genprior-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts folder of a fresh environment with the wheel in it, which sees this environment's other packages."""
    place = tmp_path_factory.mktemp("fresh") / "env"
    run(sys.executable, "-m", "venv", "--without-pip", place, cwd=place.parent)
    scripts = place / ("Scripts" if os.name == "nt" else "bin")
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    own = Path(run(scripts / "python", "-c", ask, cwd=place).strip())
    own.joinpath("others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", scripts / "python"]
    run(*pip, "install", "--no-deps", "--no-index", wheel, cwd=place)
    return scripts


def test_the_wheel_holds_all_modules_and_their_data(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        names = set(file.namelist())
    package = SOURCE / "src"
    sources = {
        path.relative_to(package).as_posix()
        for path in package.joinpath("genprior").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert sources <= names, sources - names
    assert "genprior/py.typed" in names
    assert {Path(name).suffix for name in sources} >= {".py", ".css", ".j2"}
    assert any(name.endswith("LICENSE") for name in names)


def test_the_installed_package_is_that_of_the_wheel(installed: Path, tmp_path: Path) -> None:
    ask = "import genprior; from importlib.metadata import version; print(genprior.__file__, version('genprior'))"
    file, told = run(installed / "python", "-c", ask, cwd=tmp_path).split()
    assert Path(file).is_relative_to(installed.parent)
    assert told == __version__


def test_the_citation_names_this_version() -> None:
    text = SOURCE.joinpath("CITATION.cff").read_text(encoding="utf-8")
    assert re.search(r"^version: (.*)$", text, re.MULTILINE)[1] == __version__  # type: ignore[index]
    assert f"## {__version__}" in SOURCE.joinpath("CHANGELOG.md").read_text(encoding="utf-8")


def test_an_installed_command_trains_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    run(installed / "genprior", *TRAIN.split(), *BUDGET.split(), cwd=tmp_path)
    assert (tmp_path / "runs" / "first" / "checkpoint").is_dir()
    run(installed / "genprior", "report", "runs/first", cwd=tmp_path)
    assert (tmp_path / "runs" / "first" / "report.html").stat().st_size > 10_000
