"""A generator as a prior: samples that never influence each other, and a closed-form energy."""

import pytest
import torch
from torch import Tensor

from genprior.models.dcgan import DCGANGenerator
from genprior.priors.contracts import SAMPLES_AT_ONCE
from genprior.priors.generator_prior import GeneratorPrior, RoughPrior
from genprior.restoration.restore import invert
from genprior.restoration.search_settings import SearchSettings

SHAPE = (1, 8, 8)


def _prior() -> GeneratorPrior:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        generator = DCGANGenerator(SHAPE, latent_size=6, width=4).train()
        for _ in range(5):  # running statistics that differ from those of any batch
            generator(torch.randn(16, 6))
    return GeneratorPrior(generator, 6, SHAPE)


def _latents(count: int) -> Tensor:
    return torch.randn(count, 6, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("count", [1, 5, SAMPLES_AT_ONCE, SAMPLES_AT_ONCE + 3])
def test_a_sample_depends_on_its_index_and_not_on_the_count(count: int) -> None:
    prior = _prior()
    x = prior.sample(count, seed=3)
    assert x.shape == (count, *SHAPE)
    torch.testing.assert_close(x, prior.sample(SAMPLES_AT_ONCE + 7, seed=3)[:count])


def test_no_samples_are_an_empty_tensor() -> None:
    assert _prior().sample(0).shape == (0, *SHAPE)


def test_seeds_and_indices_give_samples_of_their_own() -> None:
    prior = _prior()
    x = torch.cat([prior.sample(8, seed=0), prior.sample(8, seed=1)]).flatten(1)
    distances = torch.cdist(x, x) + torch.eye(16)
    assert distances.min() > 1e-3


def test_samples_are_images_without_a_graph() -> None:
    x = _prior().sample(4)
    assert not x.requires_grad
    assert x.min() >= 0
    assert x.max() <= 1


def test_sampling_uses_no_global_random_numbers() -> None:
    before = torch.get_rng_state()
    _prior().sample(2)
    assert torch.equal(torch.get_rng_state(), before)


def test_decoding_one_by_one_equals_decoding_together() -> None:
    prior, z = _prior(), _latents(7)
    torch.testing.assert_close(torch.cat([prior.decode(row[None]) for row in z]), prior.decode(z))


def test_decoding_changes_nothing() -> None:
    prior = _prior()
    before = {name: value.clone() for name, value in prior.generator.state_dict().items()}
    prior.decode(_latents(7))
    torch.testing.assert_close(dict(prior.generator.state_dict()), before, rtol=0, atol=0)


def test_decode_is_differentiable_in_the_latent() -> None:
    prior = _prior()
    prior.generator.double()
    z = _latents(2).double().requires_grad_()
    assert torch.autograd.gradcheck(prior.decode, z)


def test_the_generator_is_frozen_and_evaluated() -> None:
    generator = _prior().generator
    assert not any(p.requires_grad for p in generator.parameters())
    assert not any(module.training for module in generator.modules())


def test_the_energy_is_half_the_squared_norm() -> None:
    prior, z = _prior(), _latents(5)
    torch.testing.assert_close(prior.energy(z), 0.5 * torch.linalg.vector_norm(z, dim=1) ** 2)
    torch.testing.assert_close(prior.energy(torch.zeros(2, 6)), torch.zeros(2))


def test_the_energy_is_the_negative_log_density_up_to_a_constant() -> None:
    prior, z = _prior(), _latents(5)
    log_density = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(1)
    constant = prior.energy(z) + log_density
    torch.testing.assert_close(constant, constant[:1].expand(5))


def test_a_start_is_drawn_from_its_generator_alone() -> None:
    prior = _prior()
    first, again, other = (prior.start(4, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert first.shape == (4, 6)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_rough_form_of_a_prior_is_the_prior_up_to_rounding() -> None:
    prior = _prior().faster_in(torch.bfloat16)
    rough, z = prior.rough, _latents(9)
    assert isinstance(rough, RoughPrior)
    assert rough.decode(z).dtype == z.dtype
    assert not torch.equal(rough.decode(z), prior.decode(z))
    torch.testing.assert_close(rough.decode(z), prior.decode(z), rtol=0, atol=0.03)
    assert torch.equal(rough.energy(z), prior.energy(z))
    assert rough.preconditioner is prior.preconditioner


def test_a_prior_without_a_rougher_format_says_so() -> None:
    assert _prior().rough is None


def test_a_rough_search_gives_images_of_the_exact_prior() -> None:
    prior = _prior().faster_in(torch.bfloat16)
    x = prior.decode(_latents(4))
    found = invert(prior, x, SearchSettings(rough=True, starts=4))
    assert torch.equal(found.images, prior.decode(found.latents))
    exact = invert(prior, x, SearchSettings(starts=4))
    assert not torch.equal(found.latents, exact.latents)
