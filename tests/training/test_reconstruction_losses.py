"""What a made image costs: one value for each, closed forms, an independent pyramid, and gradients."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from genprior.training.reconstruction_losses import (
    RECONSTRUCTION_LOSSES,
    expansion,
    laplacian_error,
    laplacian_pyramid,
    reduction,
    squared_error,
)

SIDES = [(8, 8), (28, 28), (9, 13), (5, 8), (4, 20), (2, 3), (1, 1), (33, 17)]
every_loss = pytest.mark.parametrize("loss", RECONSTRUCTION_LOSSES)
every_side = pytest.mark.parametrize("sides", SIDES, ids=str)
both_maps = pytest.mark.parametrize("kind", [reduction, expansion], ids=["reduction", "expansion"])


def _pair(sides: tuple[int, int] = (9, 12), count: int = 3, channels: int = 2) -> tuple[Tensor, Tensor]:
    made, real = torch.rand(2, count, channels, *sides, dtype=torch.float64)
    return made, real


def _blurred(x: Tensor) -> Tensor:
    """Burt & Adelson's filter by convolution, not normalised, with zeros beyond the edges."""
    taps = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], dtype=x.dtype)
    return F.conv2d(x.flatten(0, 1)[:, None], torch.outer(taps, taps)[None, None], padding=2).view_as(x)


def _enlarged(small: Tensor, like: Tensor) -> Tensor:
    spread, there = torch.zeros_like(like), torch.zeros_like(like)
    spread[..., ::2, ::2], there[..., ::2, ::2] = small, 1.0
    return _blurred(spread) / _blurred(there)


def _pyramid_by_convolution(x: Tensor) -> list[Tensor]:
    levels = []
    while min(x.shape[2:]) > 4:
        small = (_blurred(x) / _blurred(torch.ones_like(x)))[..., ::2, ::2]
        levels.append(x - _enlarged(small, x))
        x = small
    return [*levels, x]


@every_loss
@every_side
def test_a_loss_has_one_value_for_each_pair_whatever_stands_beside_it(loss: str, sides: tuple[int, int]) -> None:
    made, real = _pair(sides)
    together = RECONSTRUCTION_LOSSES[loss]()(made, real)
    alone = [RECONSTRUCTION_LOSSES[loss]()(made[i : i + 1], real[i : i + 1]) for i in range(3)]
    assert together.shape == (3,)
    torch.testing.assert_close(together, torch.cat(alone))


@every_loss
@every_side
def test_a_loss_is_zero_for_equal_images_and_positive_for_others(loss: str, sides: tuple[int, int]) -> None:
    made, real = _pair(sides)
    call = RECONSTRUCTION_LOSSES[loss]()
    assert torch.equal(call(real, real), torch.zeros(3, dtype=torch.float64))
    assert (call(made, real) > 0).all()
    torch.testing.assert_close(call(made, real), call(real, made))


@every_loss
@pytest.mark.parametrize("equal", [True, False])
def test_gradients_are_finite_and_reach_every_value(loss: str, equal: bool) -> None:
    made, real = _pair()
    made = (real.clone() if equal else made).requires_grad_()
    RECONSTRUCTION_LOSSES[loss]()(made, real).sum().backward()
    assert made.grad is not None
    assert torch.isfinite(made.grad).all()
    assert (made.grad == 0).all() if equal else (made.grad != 0).all()


@every_loss
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_loss_has_the_number_format_of_its_images(loss: str, dtype: torch.dtype) -> None:
    made, real = _pair()
    got = RECONSTRUCTION_LOSSES[loss]()(made.to(dtype), real.to(dtype))
    assert got.dtype == dtype
    torch.testing.assert_close(got.double(), RECONSTRUCTION_LOSSES[loss]()(made, real), rtol=1e-5, atol=1e-7)


def test_the_squared_error_is_that_of_torch() -> None:
    made, real = _pair()
    torch.testing.assert_close(squared_error(made, real)[1], F.mse_loss(made[1], real[1]))


@pytest.mark.parametrize("sides", [(8, 8), (32, 32), (64, 32)], ids=str)
def test_a_shift_of_brightness_costs_its_size_at_the_coarsest_level(sides: tuple[int, int]) -> None:
    _, real = _pair(sides)
    shift = torch.tensor([0.25, -0.5, 0.0], dtype=torch.float64)
    got = laplacian_error(real + shift[:, None, None, None], real)
    torch.testing.assert_close(got, shift.abs())


@every_side
def test_the_pyramid_error_equals_a_pyramid_by_convolution(sides: tuple[int, int]) -> None:
    made, real = _pair(sides)
    expected = torch.zeros(3, dtype=torch.float64)
    pairs = zip(_pyramid_by_convolution(made), _pyramid_by_convolution(real), strict=True)
    for level, (a, b) in enumerate(pairs):
        expected += 2 ** (2 * level) * (a - b).abs().sum((1, 2, 3))
    torch.testing.assert_close(laplacian_error(made, real), expected / made[0].numel())


@every_side
def test_the_levels_give_the_image_back(sides: tuple[int, int]) -> None:
    x, _ = _pair(sides)
    *fine, found = laplacian_pyramid(x)
    assert min(found.shape[2:]) <= 4
    for level in reversed(fine):
        found = level + _enlarged(found, level)
    torch.testing.assert_close(found, x)


@pytest.mark.parametrize(
    ("side", "expected"), [(28, [28, 14, 7, 4]), (64, [64, 32, 16, 8, 4]), (9, [9, 5, 3]), (4, [4])]
)
def test_sides_are_halved_and_rounded_up(side: int, expected: list[int]) -> None:
    assert [level.shape[2] for level in laplacian_pyramid(torch.rand(1, 1, side, 2 * side))] == expected


def test_a_constant_image_has_no_level_but_the_last() -> None:
    *fine, last = laplacian_pyramid(torch.full((1, 1, 13, 28), 0.3, dtype=torch.float64))
    assert max(level.abs().max() for level in fine) < 1e-15
    torch.testing.assert_close(last, torch.full_like(last, 0.3))


@both_maps
@pytest.mark.parametrize("size", [1, 2, 5, 6, 28])
def test_rows_of_a_map_sum_to_one(kind: type, size: int) -> None:
    rows = kind(size)
    assert sorted(rows.shape) == sorted((size, (size + 1) // 2))
    torch.testing.assert_close(rows.sum(1), torch.ones(len(rows), dtype=torch.float64))


def test_inner_rows_are_the_binomial_filter() -> None:
    expected = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], dtype=torch.float64) / 16
    torch.testing.assert_close(reduction(9)[2, 2:7], expected)
    # Between two values lie their halves; at a value, its own weight is six and each neighbour's is one.
    torch.testing.assert_close(expansion(9)[3], torch.tensor([0, 0.5, 0.5, 0, 0], dtype=torch.float64))
    torch.testing.assert_close(expansion(9)[4], torch.tensor([0, 1, 6, 1, 0], dtype=torch.float64) / 8)
