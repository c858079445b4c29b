"""Shared by all tests: data, threads, seeds, and small runs."""

import os
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

from genprior.cli import main
from genprior.data import load_data
from genprior.errors import GenpriorError
from genprior.images import to_uint8, write_image
from genprior.judges.classifier_judge import FOLDER
from genprior.runs.execute import execute
from genprior.runs.prepare import new_run
from genprior.runs.run_folder import Run
from small import points_config
from tiny_judge import make_tiny_judge
from tiny_run import SHAPE, make_tiny_run

LOCAL_DATA = Path(__file__).parents[2] / "shared" / "data"
if LOCAL_DATA.is_dir():  # elsewhere torchvision downloads MNIST once
    os.environ.setdefault("GENPRIOR_DATA", str(LOCAL_DATA))


@cache
def mnist_is_here() -> bool:
    """Whether MNIST lies under the data root; where it does not, one download is tried."""
    try:
        return len(load_data("mnist:test[:1]")) == 1
    except GenpriorError:
        return False


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("internet") and not mnist_is_here():
        pytest.skip("needs MNIST, from the internet or under $GENPRIOR_DATA")


@pytest.fixture(autouse=True)
def _reproducible() -> Iterator[None]:
    """Each test starts from the same seed, with a fixed number of threads."""
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Run]:
    """Trains a small run to the end of its budget."""

    def make(name: str = "run", **changes: object) -> Run:
        prepared = new_run(tmp_path / name, points_config(**changes))
        for _ in execute(prepared.run, prepared.learner, prepared.data):
            pass
        return prepared.run

    return make


@pytest.fixture
def genprior(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., str]:
    """Runs a command in this process and in an empty folder; returns what it printed, errors included."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object, code: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["genprior", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        output = capsys.readouterr()
        assert (stopped.value.code or 0) == code, output.out + output.err
        return output.out + output.err

    return run


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a trained run; tests do not change it."""
    return make_tiny_run(tmp_path_factory.mktemp("runs") / "tiny")


@pytest.fixture
def some_images() -> Callable[..., Tensor]:
    """Makes images float32 in [0, 1], always the same ones."""

    def make(count: int, shape: tuple[int, ...] = SHAPE) -> Tensor:
        return torch.rand(count, *shape, generator=torch.Generator().manual_seed(5))

    return make


@pytest.fixture
def image_folder(tmp_path: Path, some_images: Callable[..., Tensor]) -> Callable[..., Path]:
    """Makes a folder of pictures, a.png, b.png ..."""

    def make(count: int, name: str = "photos", shape: tuple[int, ...] = SHAPE) -> Path:
        for i, image in enumerate(to_uint8(some_images(count, shape))):
            write_image(image, tmp_path / name / f"{chr(ord('a') + i)}.png")
        return tmp_path / name

    return make


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with the judge of 8 x 8 digits in its cache."""
    folder = tmp_path_factory.mktemp("root")
    make_tiny_judge(folder / FOLDER)
    return folder
