"""Pictures: every writer makes a readable PNG of sensible size, also from little and from holes."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from genprior.plotting.run_figures import (
    BLUE,
    ORANGE,
    write_curves,
    write_losses,
    write_probabilities,
    write_real_and_generated,
    write_samples,
)
from genprior.training.losses import LOSSES

Row = dict[str, Any]
Value = Callable[[int], float | None]
KEYS = [
    *("discriminator_loss", "generator_loss", "d_real", "d_fake", "accuracy_real", "accuracy_fake"),
    *("discriminator_gradient_norm", "generator_gradient_norm"),
]
GRADIENTS = {f"{player}_gradient_norm": player for player in ("discriminator", "generator")}
CURVES: dict[str, Callable[[Sequence[Row], Path], None]] = {
    "losses": lambda rows, path: write_losses(rows, LOSSES["hinge"](), "hinge", path),
    "probabilities": write_probabilities,
    "gradients": lambda rows, path: write_curves(rows, GRADIENTS, "gradients", "norm", path, is_log=True),
    "plain": lambda rows, path: write_curves(rows, GRADIENTS, "gradients", "norm", path),
}
every_curve = pytest.mark.parametrize("curve", CURVES)


def _rows(count: int, value: Value = lambda i: 0.5 + 0.01 * i) -> list[Row]:
    return [{"step": i + 1, "images_seen": 384 * (i + 1), **dict.fromkeys(KEYS, value(i))} for i in range(count)]


def _read(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB"))


def _pixels(path: Path, colour: str) -> int:
    """Number of pixels of about that colour."""
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return int((np.abs(_read(path).astype(int) - wanted).max(axis=2) < 40).sum())


def _random(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


ROWS: dict[str, list[Row]] = {
    "one": _rows(1),
    "none finite": _rows(4, lambda _: None),
    "a hole": _rows(9, lambda i: None if i == 4 else 0.3),
    "zeros": _rows(3, lambda _: 0.0),
    "a hundred": _rows(100),
}


@every_curve
@pytest.mark.parametrize("rows", ROWS)
def test_curves_are_readable_pictures_of_sensible_size(rows: str, curve: str, tmp_path: Path) -> None:
    path = tmp_path / "new" / "curve.png"
    CURVES[curve](ROWS[rows], path)
    height, width, _ = _read(path).shape
    assert 700 <= width <= 1400
    assert 400 <= height <= 1000


def test_a_single_step_can_be_seen(tmp_path: Path) -> None:
    row = {"step": 1, "images_seen": 384, "d_real": 0.7, "d_fake": 0.3, "accuracy_real": 0.8, "accuracy_fake": 0.6}
    write_probabilities([row], tmp_path / "one.png")
    write_probabilities(_rows(1, lambda _: None), tmp_path / "none.png")
    for colour in (BLUE, ORANGE):
        assert _pixels(tmp_path / "one.png", colour) > _pixels(tmp_path / "none.png", colour)


def test_a_hole_costs_no_more_than_its_neighbourhood(tmp_path: Path) -> None:
    write_probabilities(_rows(40, lambda i: None if i == 20 else 0.3), tmp_path / "hole.png")
    write_probabilities(_rows(40, lambda _: 0.3), tmp_path / "whole.png")
    hole, whole = (_pixels(tmp_path / name, ORANGE) for name in ("hole.png", "whole.png"))
    assert 0.85 * whole < hole < whole


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


def test_no_figure_is_held_after_it_is_written(tmp_path: Path) -> None:
    """Through pyplot every figure would stay in memory, and a display might be asked for."""
    from matplotlib import _pylab_helpers

    CURVES["gradients"](_rows(2), tmp_path / "curve.png")
    assert not _pylab_helpers.Gcf.get_all_fig_managers()
