"""A tiny run, once for all tests here, and images of its size."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from genprior.images import to_uint8, write_image
from genprior.jobs.judge import FOLDER
from tiny_judge import make_tiny_judge
from tiny_run import SHAPE, make_tiny_run


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
