"""A local filter is the best linear denoiser of patches, and the field of a network that asks for it begins there."""

from itertools import product

import pytest
import torch
from torch import Tensor, nn

from genprior.errors import GenpriorError
from genprior.models.few_steps import FewStepGenerator, blank_field
from genprior.models.local_wiener import LocalWiener
from genprior.models.velocity_field import VelocityField, moved, spread_at
from genprior.models.velocity_networks import VelocityUNet
from genprior.seeding import initialised

CHANNELS, SIDE = 2, 3
TIMES = torch.tensor([0.0, 0.2, 0.5, 0.8, 0.999, 1.0], dtype=torch.float64)


def _smooth(count: int, height: int = 24, width: int = 20, channels: int = CHANNELS) -> Tensor:
    """Images of mean 0 and variance 1 whose neighbouring pixels are alike, float64."""
    white = torch.randn(
        count, channels, height + 4, width + 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    smooth = nn.functional.avg_pool2d(white, 5, stride=1)
    return (smooth - smooth.mean()) / smooth.std()


def _noisy(u: Tensor, t: float) -> tuple[Tensor, Tensor, Tensor]:
    e = torch.randn(u.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    times = torch.full((len(u),), t, dtype=torch.float64)
    return moved(e, u, times), times, e


def _learned(side: int = SIDE, channels: int = CHANNELS) -> LocalWiener:
    found = LocalWiener(channels, side).double()
    found.learn(_smooth(200, channels=channels))
    return found


def _field(side: int = SIDE, shape: tuple[int, int, int] = (CHANNELS, 24, 20)) -> VelocityField:
    def made() -> VelocityField:
        field = VelocityField(VelocityUNet(shape, width=8, blocks=1, wiener=side))
        for weight in field.network.parameters():
            nn.init.normal_(weight, std=0.1)
        return field

    field = initialised(made, 0).double()
    assert field.wiener is not None
    field.wiener.learn(_smooth(200, channels=shape[0]))
    return field


def test_the_second_moments_are_those_of_patches() -> None:
    found, u = _learned(), _smooth(200)
    patches = torch.stack(
        [u[:, :, i : i + SIDE, j : j + SIDE].flatten(1) for i, j in product(range(22), range(18))]
    ).flatten(0, 1)
    covariance = found.directions @ found.variances.diag() @ found.directions.T
    torch.testing.assert_close(covariance, patches.T @ patches / len(patches))


@pytest.mark.parametrize("channel", range(CHANNELS))
def test_estimates_are_conditional_means_of_a_gaussian_patch(channel: int) -> None:
    found, x = _learned(), torch.randn(len(TIMES), CHANNELS, SIDE, SIDE, dtype=torch.float64)
    covariance, one = found.directions @ found.variances.diag() @ found.directions.T, torch.eye(CHANNELS * SIDE**2)
    velocity, noise = found.estimates(x, TIMES)
    for i, t in enumerate(TIMES):
        seen = t**2 * covariance + (1 - t) ** 2 * one
        weights = torch.linalg.solve(seen, x[i].flatten())
        middle = channel * SIDE**2 + SIDE**2 // 2
        e = (1 - t) * weights[middle]
        u = t * (covariance @ weights)[middle]
        torch.testing.assert_close(noise[i, channel, 1, 1], e)
        torch.testing.assert_close(velocity[i, channel, 1, 1], u - e)


def test_of_white_images_the_filter_is_the_flow_of_the_standard_normal() -> None:
    x, t = torch.randn(len(TIMES), CHANNELS, 8, 9, dtype=torch.float64), TIMES
    velocity, noise = LocalWiener(CHANNELS, SIDE).double().estimates(x, t)
    square = spread_at(t).square()
    torch.testing.assert_close(velocity, (2 * t - 1)[:, None, None, None] / square * x)
    torch.testing.assert_close(noise, (1 - t)[:, None, None, None] / square * x)


@pytest.mark.parametrize("t", [0.3, 0.5, 0.8])
def test_a_field_begins_as_its_filter_and_more_neighbours_tell_more(t: float) -> None:
    u = _smooth(8)
    x, times, _ = _noisy(u, t)
    errors = []
    for side in (0, 3, 5):
        field = _field(side) if side else VelocityField(VelocityUNet((CHANNELS, 24, 20), width=8, blocks=1)).double()
        for weight in field.network.parameters():
            nn.init.zeros_(weight)
        if field.wiener is not None:
            torch.testing.assert_close(field(x, times), field.wiener.estimates(x, times)[0])
        errors.append(float((field.image_at(x, times) - u).detach().square().mean()))
    assert errors[0] > 1.5 * errors[1] > 1.5 * errors[2]


def test_the_network_sees_the_noise_that_the_filter_estimates() -> None:
    field, (x, times, _) = _field(), _noisy(_smooth(3), 0.9)
    seen: list[Tensor] = []
    field.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    residual = field.residual(x, times)
    assert field.wiener is not None
    velocity, noise = field.wiener.estimates(x, times)
    spread = spread_at(times)
    torch.testing.assert_close(seen[0], torch.cat([x / spread, noise], 1))
    known = spread * velocity - (2 * times - 1)[:, None, None, None] / spread * x
    torch.testing.assert_close(residual, known + field.network(seen[0], times))


def test_no_image_influences_another_and_a_crop_is_answered_as_in_the_whole() -> None:
    field, (x, _, _) = _field(), _noisy(_smooth(2, 120, 96), 0.8)
    times = torch.tensor([0.4, 0.9], dtype=torch.float64)
    whole = field(x, times)
    torch.testing.assert_close(whole, torch.cat([field(x[i : i + 1], times[i : i + 1]) for i in range(2)]))
    network = field.network
    assert isinstance(network, VelocityUNet)
    far, step = network.reach + network.stride, network.stride
    crop = field(x[:, :, 4 * step : 28 * step, 2 * step : 22 * step], times)
    inside = whole[:, :, 4 * step : 28 * step, 2 * step : 22 * step]
    torch.testing.assert_close(crop[:, :, far:-far, far:-far], inside[:, :, far:-far, far:-far])
    assert not torch.allclose(crop, inside)


def test_the_filter_is_exact_where_the_network_is_rough() -> None:
    """It divides by small numbers: in the arithmetic of the network weak noise would be rounded away."""
    field, (x, times, _) = _field(), _noisy(_smooth(4), 0.99)
    for weight in field.network.parameters():
        nn.init.zeros_(weight)
    exact = field(x, times)
    field.dtype = torch.bfloat16
    torch.testing.assert_close(field.float()(x.float(), times.float()).double(), exact, rtol=0, atol=1e-3)


def test_the_filter_is_kept_with_the_weights() -> None:
    field, other = _field(), _field()
    assert other.wiener is not None
    other.wiener.variances.zero_()
    other.load_state_dict(field.state_dict())
    x, times, _ = _noisy(_smooth(2), 0.6)
    assert torch.equal(other(x, times), field(x, times))


def test_a_few_step_generator_takes_it_in_any_numbers() -> None:
    def made() -> FewStepGenerator:
        return FewStepGenerator(blank_field(VelocityUNet((1, 16, 16), 8, 1, 1, wiener=3)), (1, 16, 16), 2)

    generator = initialised(made, 0)
    z = torch.randn(2, generator.latent_size, generator=torch.Generator().manual_seed(0))
    seen: list[torch.dtype] = []
    generator.field.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].dtype))
    rough = generator(z.bfloat16())
    assert {rough.dtype, *seen} == {torch.bfloat16}
    torch.testing.assert_close(rough.float(), generator(z), rtol=0, atol=0.05)


@pytest.mark.parametrize("kind", ["grey as colour", "all black but one pixel"])
def test_the_grain_that_is_added_to_images_is_not_taken_for_them(kind: str) -> None:
    """Patches that no image has in some direction: what is found there is noise, and must not be made larger."""
    grain, plain = 1e-4, _smooth(30, channels=1)
    if kind == "grey as colour":
        u = plain.expand(-1, 3, -1, -1)
    else:
        u = torch.zeros(30, 3, 24, 20, dtype=torch.float64)
        u[:, :, 9, 9] = 24**0.5
    found = LocalWiener(3, SIDE).double()
    found.learn(u, grain)
    grainy = u + grain**0.5 * torch.randn(u.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    for t in (0.9, 0.99, 0.999):
        x, times, e = _noisy(grainy, t)
        assert float((found.estimates(x, times)[1] - e).square().mean()) < 1.05


def test_few_patches_of_a_large_image_are_enough() -> None:
    small, large = LocalWiener(1, SIDE).double(), LocalWiener(1, SIDE).double()
    u = _smooth(1, 512, 512, channels=1)
    large.learn(u)  # every eighth patch in both directions
    small.learn(torch.cat([u[:, :, i : i + 64, j : j + 64] for i, j in product(range(0, 512, 64), repeat=2)]))
    torch.testing.assert_close(large.variances, small.variances, rtol=0.1, atol=0.01)


@pytest.mark.parametrize("side", [1, 2, 11, -3, 3.5, 5.0])
def test_sides_that_cannot_be_are_refused(side: float) -> None:
    with pytest.raises(GenpriorError, match="option 'wiener' must be 0, 3, 5, 7 or 9"):
        VelocityUNet((1, 16, 16), wiener=side)  # type: ignore[arg-type]


def test_images_smaller_than_the_patches_are_refused() -> None:
    with pytest.raises(GenpriorError, match="option 'wiener' is 9, and images have 8x30 pixels"):
        VelocityUNet((1, 8, 30), wiener=9)
