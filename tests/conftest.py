"""Shared by all tests: data, threads, seeds, and small runs."""

import os
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from finished_folders import make_folders
from genprior.cli import main
from genprior.images import to_uint8, write_image
from genprior.runs.execute import execute
from genprior.runs.prepare import new_run
from genprior.runs.run_folder import Run
from small import points_config
from tiny_judge import make_tiny_judge
from tiny_run import SHAPE, make_tiny_run

REAL_DATA = os.environ.get("GENPRIOR_DATA", "")
MNIST_FILES = [f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]


def mnist_is_here() -> bool:
    """Whether the data root of whoever started the tests holds MNIST; nothing is downloaded."""
    return bool(REAL_DATA) and all((Path(REAL_DATA) / "MNIST" / "raw" / name).is_file() for name in MNIST_FILES)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--long-faults",
        nargs="?",
        type=int,
        const=10**9,
        help="try faults everywhere, not at a small sample; =N: at up to N places of each command",
    )


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("mnist") and not mnist_is_here():
        pytest.skip("needs real MNIST: set GENPRIOR_DATA to a folder that holds MNIST/raw")


@pytest.fixture(scope="session", autouse=True)
def _empty_data_root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The data root of all tests is an empty folder: none reads, or adds to, the data sets of this machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENPRIOR_DATA", str(tmp_path_factory.mktemp("data")))
        yield


@pytest.fixture(autouse=True)
def _real_data_for_marked_tests(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.node.get_closest_marker("mnist"):
        monkeypatch.setenv("GENPRIOR_DATA", REAL_DATA)


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """What a module or the session sets up has the number of threads that tests have: rounding depends on it."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _reproducible() -> None:
    """Each test starts from the same seed, with a fixed number of threads."""
    torch.manual_seed(0)
    torch.set_num_threads(1)


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


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one of each kind that genprior writes; tests do not change it."""
    return make_folders(tmp_path_factory.mktemp("folders"))


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
    make_tiny_judge(folder)
    return folder


@pytest.fixture
def made_mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data root for this test: made images in the layout of MNIST, 60 to train on and 20 to test on."""
    folder, draw = tmp_path / "made" / "MNIST" / "raw", torch.Generator().manual_seed(6)
    folder.mkdir(parents=True)
    for part, count in (("train", 60), ("t10k", 20)):
        images = torch.randint(256, (count, 28, 28), generator=draw, dtype=torch.uint8)
        head = struct.pack(">iiii", 0x803, count, 28, 28)
        (folder / f"{part}-images-idx3-ubyte").write_bytes(head + images.numpy().tobytes())
        labels = bytes(i % 10 for i in range(count))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">ii", 0x801, count) + labels)
    monkeypatch.setenv("GENPRIOR_DATA", str(tmp_path / "made"))
    return tmp_path / "made"
