"""Samples: every writer makes a readable PNG of sensible size, whatever the samples are."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from genprior.data.toy import ring_centres
from genprior.images import read_image
from genprior.plotting.sample_figures import (
    Pictured,
    Samples,
    counts_svg,
    points_svg,
    write_comparison,
    write_digits,
    write_points,
    write_real_and_generated,
    write_samples,
)


def _read(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB"))


def _random(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


POINTS = {
    "many": 4 * _random(50, 2, 1, 1) - 2,
    "all at 0": torch.zeros(5, 2, 1, 1),
    "some not finite": torch.tensor([[0.5, 0.5], [torch.nan, 1.0], [torch.inf, 2.0]])[:, :, None, None],
    "none finite": torch.full((3, 2, 1, 1), torch.nan),
}
SAMPLES = {
    "grey": _random(10, 1, 28, 28),
    "colour": _random(10, 3, 8, 8),
    "one": _random(1, 1, 8, 8),
    "large": _random(9, 3, 128, 128),
    "float64": _random(4, 1, 8, 8).double(),
    **{f"points: {name}": x for name, x in POINTS.items()},
}


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_are_readable_pictures_of_sensible_size(name: str, tmp_path: Path) -> None:
    write_samples(SAMPLES[name], tmp_path / "new" / "samples.png")
    height, width, _ = _read(tmp_path / "new" / "samples.png").shape
    assert min(height, width) >= 380
    assert max(height, width) <= 1200


@pytest.mark.parametrize("name", ["grey", "colour", "points: many"])
def test_real_and_generated_stand_side_by_side(name: str, tmp_path: Path) -> None:
    write_real_and_generated(SAMPLES[name], SAMPLES[name].flip(0), tmp_path / "new" / "both.png")
    height, width, _ = _read(tmp_path / "new" / "both.png").shape
    assert 380 <= height <= 1200
    assert 1.5 < width / height < 2.5


def test_samples_keep_their_pixels_sharp_and_in_their_places(tmp_path: Path) -> None:
    x = torch.zeros(4, 1, 8, 8)
    x[1] = 1.0
    write_samples(x, tmp_path / "samples.png", columns=2)
    picture = _read(tmp_path / "samples.png")[:, :, 0]
    assert set(np.unique(picture)) == {0, 128, 255}
    side = picture.shape[0] // 2
    white = picture == 255
    assert white[:side, side:].sum() == white.sum() > 0.5 * side**2


def test_points_that_are_finite_are_drawn(tmp_path: Path) -> None:
    inked = []
    for name in ("many", "some not finite", "none finite"):
        write_samples(POINTS[name], tmp_path / "points.png")
        red, _, blue = _read(tmp_path / "points.png").astype(int).transpose(2, 0, 1)
        inked.append(int((red - blue > 20).sum()))
    assert inked[0] > inked[1] > inked[2] == 0


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


@pytest.mark.parametrize("runs", [1, 2])
def test_a_comparison_has_a_row_for_each_run(runs: int, tmp_path: Path) -> None:
    x = _random(10, 1, 8, 8)
    pictured = [Pictured(f"run {i}", x, x, x, {"denoising": {"seen": x, "restored": x}}) for i in range(runs)]
    write_comparison(pictured, tmp_path / "new" / "comparison.png")
    height, width, _ = _read(tmp_path / "new" / "comparison.png").shape
    assert height / width == pytest.approx(3.5 * runs / (3.1 * 3), abs=0.01)


def test_classes_are_drawn_with_their_names() -> None:
    svg = counts_svg(["a<b", "$x$"], [3, 4], [3.5, 3.5], 5.0, "f1")
    assert "a&lt;b" in svg
    assert "$x$" in svg


@pytest.mark.parametrize("name", POINTS)
def test_points_stand_in_a_page_whatever_they_are(name: str) -> None:
    svg = points_svg({"0 images": POINTS[name], "48 images": POINTS[name], "96 images": POINTS["many"]}, "f1")
    assert svg.count("images</text>") == 3


def test_no_figure_is_held_after_it_is_written(tmp_path: Path) -> None:
    """Through pyplot every figure would stay in memory, and a display might be asked for."""
    from matplotlib import _pylab_helpers

    write_samples(POINTS["many"], tmp_path / "points.png")
    assert not _pylab_helpers.Gcf.get_all_fig_managers()
