"""Velocity, denoiser and score are one thing: for Gaussian data all three have a closed form."""

import pytest
import torch
from torch import Tensor

from genprior.models.velocity_field import VelocityField, level_shares, moved
from velocities import GaussianNetwork, gaussian_field, made_gaussian, random_field

SHAPE = (2, 3, 2)
TIMES = (0.0, 0.05, 0.4, 0.5, 0.9, 0.999)


def _at(t: float, count: int = 4) -> tuple[Tensor, Tensor]:
    x = torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return x, torch.full((count,), t, dtype=torch.float64)


@pytest.mark.parametrize("t", [*TIMES, 1.0])
def test_the_field_is_what_its_network_means(t: float) -> None:
    field, (x, times) = gaussian_field(SHAPE), _at(t)
    assert isinstance(field.network, GaussianNetwork)
    torch.testing.assert_close(field(x, times), field.network.velocity(x, times))


@pytest.mark.parametrize("t", [*TIMES, 1.0])
def test_without_a_network_it_is_the_flow_of_the_standard_normal(t: float) -> None:
    x, times = _at(t)
    nothing = GaussianNetwork(torch.zeros(SHAPE), torch.ones(SHAPE)).double()
    torch.testing.assert_close(VelocityField(nothing).residual(x, times), torch.zeros_like(x), atol=1e-12, rtol=0)


@pytest.mark.parametrize("t", TIMES)
def test_the_score_is_the_slope_of_the_log_density(t: float) -> None:
    field, (x, times) = gaussian_field(SHAPE), _at(t)
    mean, variance = made_gaussian(SHAPE)
    expected = -(x - t * mean) / (t**2 * variance + (1 - t) ** 2)
    torch.testing.assert_close(field.score(x, times), expected)


@pytest.mark.parametrize("t", TIMES[1:])
def test_score_velocity_and_image_are_one_thing(t: float) -> None:
    """x_t + (1 - t)^2 score = t E[u | x_t] by Tweedie's formula, for any field."""
    field, (x, times) = random_field(SHAPE), _at(t)
    torch.testing.assert_close(x + (1 - t) ** 2 * field.score(x, times), t * field.image_at(x, times))


@pytest.mark.parametrize("sigma", [0.01, 0.25, 2.0])
def test_denoised_is_the_posterior_mean(sigma: float) -> None:
    field, (y, _) = gaussian_field(SHAPE, mean=0.3, spread=0.25), _at(0.5)
    m, s = made_gaussian(SHAPE)
    mean, variance = 0.3 + 0.25 * m, 0.25**2 * s
    expected = mean + variance / (variance + sigma**2) * (y - mean)
    torch.testing.assert_close(field.denoised(y, torch.full((4,), sigma, dtype=torch.float64)), expected)


def test_a_path_begins_at_noise_and_ends_at_the_image() -> None:
    (noise, start), (u, end) = _at(0.0), (_at(1.0)[0] + 1, _at(1.0)[1])
    assert torch.equal(moved(noise, u, start), noise)
    assert torch.equal(moved(noise, u, end), u)
    torch.testing.assert_close(moved(noise, u, 0.25 + start), 0.75 * noise + 0.25 * u)


def test_images_become_ones_of_the_path_and_come_back() -> None:
    field, (x, _) = random_field(SHAPE), _at(0.5)
    torch.testing.assert_close(field.as_image(field.in_path(x)), x)
    assert VelocityField(torch.nn.Identity(), 0.5, spread=0.0).spread > 0


def test_levels_have_the_shares_that_images_give_them() -> None:
    shares = level_shares(torch.tensor([0.0, 0.0, 1.0, 0.5, 2.0]))
    assert float(shares.sum()) == pytest.approx(1)
    assert (261 * shares[[0, 1, 128, 255]]).tolist() == pytest.approx([3, 1, 2, 3])


def test_a_state_without_shares_is_one_of_an_older_version() -> None:
    field, other = (VelocityField(torch.nn.Identity(), 0.5, shares=torch.rand(256)) for _ in range(2))
    state = field.state_dict()
    other.load_state_dict(state)
    assert torch.equal(other.shares, field.shares)
    older = VelocityField(torch.nn.Identity())
    older.load_state_dict({name: value for name, value in state.items() if name != "shares"})
    assert older.mean == 0.5
    assert float(older.shares.sum()) == pytest.approx(1)
