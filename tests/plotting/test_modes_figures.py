"""Pictures of many models are written whatever their samples are."""

from pathlib import Path

import pytest
import torch

from genprior.data.toy import ring_centres
from genprior.images import read_image
from genprior.plotting.modes_figures import Samples, write_digits, write_points


@pytest.mark.parametrize("count", [1, 5])
def test_points_are_drawn_over_centres(count: int, tmp_path: Path) -> None:
    x = ring_centres()[:, :, None, None] * torch.linspace(0.5, 40, 8)[:, None, None, None]
    panels = [Samples(f"row {i}", x, torch.arange(8) % 2 == 0) for i in range(count)]
    write_points(panels, ring_centres(), tmp_path / "figures" / "ring.png")
    _, height, width = read_image(tmp_path / "figures" / "ring.png").shape
    assert height > 100
    assert width > 100


@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_drawn_as_grids_and_none_as_nothing(channels: int, tmp_path: Path) -> None:
    panels = [Samples("some", torch.rand(10, channels, 8, 8)), Samples("failed", torch.empty(0, channels, 8, 8))]
    write_digits(panels, tmp_path / "digits.png")
    picture = read_image(tmp_path / "digits.png").float()
    left, right = picture.chunk(2, dim=2)
    assert left.std() > 2 * right.std()
