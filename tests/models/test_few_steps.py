"""A velocity field as a generator of a few evaluations: fields whose answers are known."""

import itertools

import pytest
import torch
from torch import Tensor, nn

from genprior.data import load_data
from genprior.errors import GenpriorError
from genprior.families import GLOConfig
from genprior.models.few_steps import FIRST_TIME, FewStepGenerator, step_times
from genprior.models.velocity_field import VelocityField
from genprior.models.velocity_networks import VelocityUNet
from velocities import GaussianNetwork, gaussian_field

SHAPE = (3, 4, 6)


def latents(generator: FewStepGenerator, count: int = 3) -> Tensor:
    return torch.randn(count, generator.latent_size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("evaluations", [1, 2, 5])
def test_a_field_that_knows_one_image_makes_it_from_any_noise(evaluations: int) -> None:
    image = torch.linspace(0.1, 0.9, 72, dtype=torch.float64).view(SHAPE)
    field = VelocityField(GaussianNetwork((image - 0.3) / 0.25, torch.full(SHAPE, 1e-12)), 0.3, 0.25).double()
    x = FewStepGenerator(field, SHAPE, evaluations)(latents(FewStepGenerator(field, SHAPE, evaluations)))
    torch.testing.assert_close(x, image.expand_as(x), rtol=0, atol=1e-6)


def test_one_evaluation_is_what_the_field_expects_of_the_noise() -> None:
    field = gaussian_field(SHAPE)
    generator = FewStepGenerator(field, SHAPE, 1)
    z = latents(generator)
    noisy = (1 - FIRST_TIME) * z.view(-1, *SHAPE)
    expected = field.as_image(field.image_at(noisy, noisy.new_full((len(z),), FIRST_TIME))).clamp(0, 1)
    torch.testing.assert_close(generator(z), expected)


def test_each_evaluation_has_noise_of_its_own() -> None:
    generator = FewStepGenerator(gaussian_field(SHAPE), SHAPE, 3)
    z = latents(generator, 1)
    parts, x = z.view(3, -1), generator(z)
    for place in range(3):
        other = parts.clone()
        other[place] = other[place].flip(0)
        assert not torch.allclose(generator(other.view(1, -1)), x)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 16, 24), (3, 17, 30)])
def test_images_have_any_shape_and_lie_in_the_range(shape: tuple[int, int, int]) -> None:
    field = VelocityField(VelocityUNet(shape, width=4, levels=2, blocks=1), 0.5, 0.5)
    generator = FewStepGenerator(field, shape, 2)
    x = generator(10 * torch.randn(2, generator.latent_size))
    assert x.shape == (2, *shape)
    assert 0 <= x.min() <= x.max() <= 1


def test_it_computes_in_the_arithmetic_of_its_latents() -> None:
    field = VelocityField(VelocityUNet((1, 16, 16), width=4, levels=1, blocks=1), 0.5, 0.5)
    nn.init.normal_(field.network.last.weight, std=0.1)
    generator = FewStepGenerator(field, (1, 16, 16), 2)
    z = torch.randn(2, generator.latent_size)
    rough = generator(z.bfloat16())
    assert rough.dtype == torch.bfloat16
    torch.testing.assert_close(rough.float(), generator(z), rtol=0, atol=0.05)


@pytest.mark.parametrize("evaluations", [0, -1, 17, 1.5])
def test_numbers_of_evaluations_that_cannot_be_are_refused(evaluations: int) -> None:
    with pytest.raises(GenpriorError, match="integer from 1 to 16"):
        FewStepGenerator(gaussian_field(SHAPE), SHAPE, evaluations)


def test_codes_are_not_optimised_for_a_generator_with_latents_of_its_own() -> None:
    config = GLOConfig(data="digits", model="few-steps")
    with pytest.raises(GenpriorError, match="few-steps takes codes of 3136 numbers, got 100; take another model"):
        config.build(load_data("digits[:256]"))


def test_times_are_even_and_end_before_the_image() -> None:
    times = step_times(4)
    assert times[0] == FIRST_TIME
    assert all(after - before == pytest.approx((1 - FIRST_TIME) / 4) for before, after in itertools.pairwise(times))
    assert times[-1] + (1 - FIRST_TIME) / 4 == pytest.approx(1)
