"""Noise that is taken off step by step: the levels, and draws of Gaussians whose denoiser is known."""

import math

import pytest
import torch
from torch import Tensor

from genprior.priors.noise_steps import less_noisy, lost_noise, own_noise, spaced, uncovered
from genprior.seeding import derived_generator

MEAN, DEVIATION = 0.4, 0.2


def _denoised(x: Tensor, level: float) -> Tensor:
    """E[x | x_noisy] of x ~ N(MEAN, DEVIATION^2)."""
    return MEAN + DEVIATION**2 / (DEVIATION**2 + level**2) * (x - MEAN)


def _generators(count: int) -> list[torch.Generator]:
    return [derived_generator(0, "row", i) for i in range(count)]


def test_levels_fall_from_the_first_to_the_last_ever_more_slowly() -> None:
    levels = torch.tensor(spaced(10.0, 0.01, 20), dtype=torch.float64)
    assert levels[[0, -1]].tolist() == pytest.approx([10.0, 0.01])
    assert bool((levels.diff() < 0).all())
    assert bool((levels.diff().diff() > 0).all())


def test_the_noise_that_is_left_and_the_one_put_back_make_the_smaller_level() -> None:
    """Of an image that is known: (r / s)^2 of noise s, and what is put back."""
    now, then = 0.7, 0.3
    x, mean = torch.full((1, 1, 1, 1), now), torch.zeros(1, 1, 1, 1)
    left = float(less_noisy(x, mean, (now, then), None))
    assert math.hypot(left, lost_noise(now, then)) == pytest.approx(then)


@pytest.mark.parametrize("count", [40, 80])
def test_draws_of_a_gaussian_have_its_mean_and_deviation(count: int) -> None:
    generators, levels = _generators(4000), spaced(8.0, 0.002, count)
    start = MEAN + levels[0] * own_noise(generators, torch.empty(4000, 1, 1, 1))
    x = uncovered(_denoised, start, levels, generators)
    assert float(x.mean()) == pytest.approx(MEAN, abs=4 * DEVIATION / 4000**0.5)
    assert float(x.std()) == pytest.approx(DEVIATION, rel=0.05)


@pytest.mark.parametrize("count", [11, 16, 24])
@pytest.mark.parametrize("deviation", [0.03, 0.1, 0.25])
def test_few_steps_keep_the_variance_of_draws_that_are_covered_and_uncovered(deviation: float, count: int) -> None:
    generators, levels = _generators(8000), spaced(0.6, 0.002, count)
    own = deviation * own_noise(generators, torch.empty(8000, 1, 1, 1))

    def denoised(x: Tensor, level: float) -> Tensor:
        return deviation**2 / (deviation**2 + level**2) * x

    x = uncovered(denoised, own + levels[0] * own_noise(generators, own), levels, generators)
    assert float(x.var() / deviation**2) == pytest.approx(1, abs=0.07)


def test_a_row_depends_on_its_generator_alone() -> None:
    levels = spaced(8.0, 0.01, 10)
    both, second = _generators(2), _generators(2)[1:]
    x = uncovered(_denoised, 8 * own_noise(both, torch.empty(2, 1, 3, 3)), levels, both)
    alone = uncovered(_denoised, 8 * own_noise(second, torch.empty(1, 1, 3, 3)), levels, second)
    assert torch.equal(x[1:], alone)
