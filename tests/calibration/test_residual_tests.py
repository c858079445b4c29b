"""Residuals of known images: which fault shows in which test, and how often none is seen where there is none."""

import pytest
import torch
from torch import Tensor

from genprior.calibration.residual_tests import Residuals, residuals
from genprior.restoration.noise import gaussian, measure
from genprior.restoration.operators import Operator, blur, inpaint
from mixtures import image_mixture

SHAPE, SIGMA = (1, 12, 12), 0.1


def images(count: int = 60, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.stack([image_mixture(SHAPE).draw(generator).view(SHAPE) for _ in range(count)])
    return 0.5 + 4 * (drawn - 0.5)


def found(true: Operator, assumed: Operator, factor: float = 1.0, seed: int = 0) -> Residuals:
    x = images(seed=seed)
    y = measure(x, true, gaussian(factor * SIGMA), seed=seed)
    masks = assumed.physics.mask if assumed.has_masks else None
    return residuals(y, assumed.physics.A(x), x, SIGMA, seed, masks)


def box(left: int) -> Operator:
    return inpaint(SHAPE, box=6, top=3, left=left)


@pytest.mark.parametrize("operator", [box(3), blur(SHAPE, sigma=1.0)])
def test_right_measurements_pass(operator: Operator) -> None:
    each = [found(operator, operator, seed=seed) for seed in range(40)]
    for p in ("size_p", "image_p", "neighbours_p"):
        assert sum(getattr(one, p) <= 0.01 for one in each) <= 2, p
        assert sum(getattr(one, p) <= 0.5 for one in each) >= 8, f"{p} is even in (0, 1)"
    assert all(one.filled == 0 for one in each)
    assert each[0].size == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("factor", [1.5, 1 / 1.5])
def test_a_wrong_noise_level_changes_the_size_alone(factor: float) -> None:
    one = found(blur(SHAPE, sigma=1.0), blur(SHAPE, sigma=1.0), factor)
    assert one.size == pytest.approx(factor, rel=0.05)
    assert one.size_p < 1e-6
    assert one.image_p > 0.01
    assert one.neighbours_p > 0.01


def test_a_shifted_hole_and_another_blur_leave_the_image() -> None:
    shifted = found(box(4), box(3))
    assert shifted.image_p < 0.001
    assert shifted.filled > 0.1
    assert found(blur(SHAPE, sigma=1.4), blur(SHAPE, sigma=1.0)).image_p < 0.001


def test_noise_that_is_not_white_shows_in_neighbours() -> None:
    x = images()
    smooth = torch.nn.functional.avg_pool2d(torch.randn(60, 1, 14, 14), 3, 1) * 3 * SIGMA
    one = residuals(x + smooth, x, x, SIGMA, seed=0)
    assert one.neighbours == pytest.approx(2 / 3, abs=0.06)
    assert one.neighbours_p < 1e-6
    assert one.image_p > 0.01


def test_measurements_that_are_no_pictures_have_no_neighbours() -> None:
    x = images()
    one = residuals(x.flatten(1) + SIGMA * torch.randn(60, 144), x.flatten(1), x, SIGMA, seed=0)
    assert one.neighbours is None
    assert one.neighbours_p == 1


def test_a_trace_of_the_image_shows_even_where_it_is_not_along_it() -> None:
    """Pairs of pixels, turned by a right angle: no residual has a part along its image, and their mean is 0."""
    x = images(200)
    off = (x - x.mean(0)).view(200, -1, 2)
    turned = torch.stack([off[..., 1], -off[..., 0]], 2).view(x.shape)
    y = x + 0.3 * turned + SIGMA * torch.randn(x.shape)
    assert residuals(y, x, x, SIGMA, seed=0).image_p < 0.001
