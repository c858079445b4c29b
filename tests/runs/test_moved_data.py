"""A run whose images were moved: found where the user says they are now, and known by their contents."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from torch import Tensor

from genprior.images import to_uint8, write_image
from genprior.runs.run_folder import open_run
from tiny_run import make_tiny_run


@pytest.fixture
def moved(tmp_path: Path, image_folder: Callable[..., Path]) -> Path:
    """A trained run, whose folder of images is now called `there`."""
    photos = image_folder(8)
    run = make_tiny_run(tmp_path / "run", data=str(photos), size=None, batch_size=4, images_seen=16)
    shutil.move(photos, tmp_path / "there")
    return run


def test_moved_images_are_used_where_they_are_now(moved: Path, genprior: Callable[..., str], tmp_path: Path) -> None:
    there = tmp_path / "there"
    assert "no such file or folder" in genprior("resume", moved, "--images-seen", 32, code=2)
    genprior("train", "encoder", moved, "--images-seen", 64, "--data", there)
    genprior("diagnose", moved, "--data", there)
    genprior("resume", moved, "--images-seen", 32, "--data", "there")
    assert open_run(moved).config.data == str(there)


@pytest.mark.parametrize("command", ["resume --images-seen 32", "train encoder", "diagnose"])
def test_other_images_are_refused(
    moved: Path, genprior: Callable[..., str], tmp_path: Path, some_images: Callable[..., Tensor], command: str
) -> None:
    write_image(255 - to_uint8(some_images(1)[0]), tmp_path / "there" / "a.png")
    words = command.split()
    told = genprior(*words, moved, "--data", tmp_path / "there", code=2)
    assert "is no longer what" in told
    assert open_run(moved).config.data == str(tmp_path / "photos")
