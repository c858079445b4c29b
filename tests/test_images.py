"""The value range, and reading and writing of image files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from genprior.errors import GenpriorError
from genprior.images import (
    image_grid,
    read_header,
    read_image,
    to_float,
    to_uint8,
    write_image,
)


def test_to_uint8_inverts_to_float_for_all_values() -> None:
    every = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_uint8(to_float(every)), every)


def test_to_uint8_clips() -> None:
    assert to_uint8(torch.tensor([-5.0, 1.01, 300.0])).tolist() == [0, 255, 255]


def test_points_pass_through_to_float() -> None:
    points = torch.tensor([[-4.0, 2.0]])
    assert to_float(points) is points


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff"])
def test_reading_inverts_writing(channels: int, suffix: str, tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    shape = (channels, 5, 7)
    image = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    write_image(image, tmp_path / "new" / f"a{suffix}")
    assert torch.equal(read_image(tmp_path / "new" / f"a{suffix}"), image)


def test_reading_converts_channels(tmp_path: Path) -> None:
    write_image(torch.tensor([255, 0, 0], dtype=torch.uint8).view(3, 1, 1), tmp_path / "a.png")
    assert read_image(tmp_path / "a.png", channels=1).tolist() == [[[76]]]
    assert read_image(tmp_path / "a.png", channels=3).flatten().tolist() == [255, 0, 0]


def test_a_header_tells_size_and_kind(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((3, 5, 3), np.uint8)).save(tmp_path / "a.png")
    header = read_header(tmp_path / "a.png")
    assert (header.width, header.height, header.is_grey) == (5, 3, False)


@pytest.mark.parametrize("content", [None, b"", b"text"])
def test_unreadable_images_are_told_in_one_line(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(GenpriorError, match=r"cannot read the image .*a\.png: .+"):
        read_image(tmp_path / "a.png")


def test_other_channels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(GenpriorError, match=r"^channels: expected 1 \(grey\), 3 \(RGB\) .* got 2"):
        read_image(tmp_path / "a.png", channels=2)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_grid_holds_every_image_in_its_place(channels: int) -> None:
    x = torch.stack([torch.full((channels, 4, 4), i / 255) for i in range(5)])
    grid = image_grid(x, columns=3, padding=1)
    assert grid.shape == (channels, 11, 16)
    corners = [grid[0, 1 + 5 * row, 1 + 5 * column].item() for row in (0, 1) for column in (0, 1, 2)]
    assert corners[:5] == [0, 1, 2, 3, 4]
    assert (grid[:, 0] == 128).all()
