"""A velocity as a prior: density, denoiser and latents of Gaussian data in closed form, and what a search needs."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from genprior.errors import GenpriorError
from genprior.models.factor_analysers import FactorAnalysers
from genprior.models.velocity_field import VelocityField, level_shares
from genprior.models.velocity_networks import VelocityUNet
from genprior.priors import flow_matching_prior
from genprior.priors.flow_matching_prior import MOST_EXACT, FlowMatchingPrior
from genprior.seeding import initialised
from velocities import GaussianNetwork, gaussian_field, made_gaussian, random_field

SHAPE = (1, 6, 6)
SMALL = (1, 3, 2)
MEAN, SPREAD = 0.3, 0.25


def _gaussian(shape: tuple[int, int, int] = SHAPE) -> FlowMatchingPrior:
    return FlowMatchingPrior(gaussian_field(shape, MEAN, SPREAD), shape)


def _network(shape: tuple[int, int, int] = (1, 8, 8)) -> FlowMatchingPrior:
    def made() -> VelocityField:
        network = VelocityUNet(shape, width=8, blocks=1)
        torch.nn.init.normal_(network.last.weight, std=0.05)
        return VelocityField(network, 0.3, 0.3)

    return FlowMatchingPrior(initialised(made, 0), shape)


def _images(count: int, shape: tuple[int, int, int] = SHAPE) -> Tensor:
    mean, variance = made_gaussian(shape)
    noise = torch.randn(count, *shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    return MEAN + SPREAD * (mean + variance.sqrt() * noise)


def _normal(shape: tuple[int, int, int]) -> torch.distributions.Distribution:
    mean, variance = made_gaussian(shape)
    return torch.distributions.Normal(MEAN + SPREAD * mean, SPREAD * variance.sqrt())


def test_the_density_of_a_small_image_is_exact() -> None:
    x, prior = _images(4, SMALL), _gaussian(SMALL)
    assert prior.latent_size <= MOST_EXACT
    found = prior.measured_log_prob(x, steps=400)
    torch.testing.assert_close(found.nats, _normal(SMALL).log_prob(x).flatten(1).sum(1), atol=1e-3, rtol=0)
    assert not found.deviation.any()
    torch.testing.assert_close(prior.log_prob(x), found.nats, atol=0.05, rtol=0)


def test_the_density_of_a_larger_image_comes_with_its_error() -> None:
    """Signs find the trace of a diagonal Jacobian without error, and that of a network's with one."""
    x = _images(4)
    found = _gaussian().measured_log_prob(x, steps=400)
    torch.testing.assert_close(found.nats, _normal(SHAPE).log_prob(x).flatten(1).sum(1), atol=5e-3, rtol=0)
    prior = FlowMatchingPrior(random_field(SHAPE), SHAPE)
    few, many = (prior.measured_log_prob(x, probes=probes, steps=10) for probes in (4, 200))
    assert bool((few.deviation > 0).all())
    assert float(many.deviation.mean()) < 0.3 * float(few.deviation.mean())
    assert float(((few.nats - many.nats).abs() / (few.deviation + many.deviation)).mean()) < 3


def test_the_bound_of_8_bit_images_sums_to_nearly_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over all images of one value: a bound of log P(x) for each, so exp of it is P(x) at most, and near it."""
    monkeypatch.setattr(flow_matching_prior, "AT_ONCE", 20_000)
    shape = (1, 1, 1)
    field = gaussian_field(shape, MEAN, SPREAD)
    mean, deviation = MEAN + SPREAD * made_gaussian(shape)[0].item(), SPREAD * made_gaussian(shape)[1].sqrt().item()
    levels = torch.arange(256, dtype=torch.float64) / 255
    shares = (-0.5 * ((levels - mean) / deviation).square()).exp()
    field.shares = shares / shares.sum()
    draws = 40
    x = levels.repeat(draws).view(-1, *shape)
    found = FlowMatchingPrior(field, shape).quantised_log_prob(x, torch.Generator().manual_seed(0), levels=4000)
    bound = found.nats.view(draws, 256).mean(0)
    expected = torch.distributions.Normal(mean, deviation).log_prob(levels) - math.log(255)
    # At the ends, levels stand for all that lies beyond them, too.
    within = ((levels - mean).abs() < 2 * deviation) & (levels > 0.03) & (levels < 0.97)
    assert 0.9 < float(bound.exp().sum()) < 1.01
    off = (bound - expected)[within].view(-1, 11).mean(1)  # noise and its levels are drawn: neighbours together
    torch.testing.assert_close(off, torch.zeros_like(off), atol=0.05, rtol=0)


def test_the_bound_of_8_bit_images_is_tight_for_gaussian_images_and_comes_with_its_error() -> None:
    shape = (1, 32, 32)
    field, (mean, variance) = gaussian_field(shape, 0.5, 0.1), made_gaussian(shape)
    normal = torch.distributions.Normal(0.5 + 0.1 * mean, 0.1 * variance.sqrt())
    with torch.random.fork_rng():
        torch.manual_seed(1)
        x = (normal.sample((30,)) * 255).round().clamp(0, 255) / 255
    expected = (normal.cdf(x + 0.5 / 255) - normal.cdf(x - 0.5 / 255)).log().flatten(1).sum(1)
    field.shares = level_shares(x)
    prior = FlowMatchingPrior(field, shape)
    few, many = (prior.quantised_log_prob(x, torch.Generator().manual_seed(0), levels) for levels in (8, 64))
    off = (many.nats - expected).mean() / prior.latent_size
    noise = many.deviation.square().mean().sqrt() / len(x) ** 0.5 / prior.latent_size
    assert float(noise) < 0.006
    assert -0.02 < float(off) < 3 * float(noise)
    for found in (few, many):
        spread = (found.nats - expected).std()
        assert 0.5 < float(found.deviation.square().mean().sqrt() / spread) < 2


def test_the_density_of_noisy_images_is_that_of_a_wider_gaussian() -> None:
    x, sigma = _images(4, SMALL), 0.1
    mean, variance = made_gaussian(SMALL)
    expected = torch.distributions.Normal(MEAN + SPREAD * mean, (SPREAD**2 * variance + sigma**2).sqrt())
    found = _gaussian(SMALL).measured_log_prob(x, steps=400, sigma=sigma)
    torch.testing.assert_close(found.nats, expected.log_prob(x).flatten(1).sum(1), atol=1e-3, rtol=0)


def test_denoise_is_the_posterior_mean_of_gaussian_images() -> None:
    prior, y = _gaussian(), _images(3) + 0.2
    mean, variance = made_gaussian(SHAPE)
    mean, variance = MEAN + SPREAD * mean, SPREAD**2 * variance
    for sigma in (0.05, 0.4):
        expected = mean + variance / (variance + sigma**2) * (y - mean)
        torch.testing.assert_close(prior.denoise(y, sigma), expected)
    sigmas = torch.tensor([0.05, 0.1, 0.4], dtype=torch.float64)
    each = torch.cat([prior.denoise(y[i : i + 1], float(sigmas[i])) for i in range(3)])
    torch.testing.assert_close(prior.denoise(y, sigmas), each)


def test_latents_lead_to_images_and_back() -> None:
    prior = _network()
    x = prior.sample(3, seed=1)
    assert x.shape == (3, 1, 8, 8)
    assert not torch.equal(x, x.clamp(0, 1))  # clipped ones would not look like draws of their posterior
    z = torch.randn(3, prior.latent_size, generator=torch.Generator().manual_seed(0))
    u = prior.decode(z, steps=50)
    torch.testing.assert_close(prior.decode(prior.encode(u), steps=50), u, atol=0.01, rtol=0)


def _base(shape: tuple[int, int, int]) -> FactorAnalysers:
    """The images of `gaussian_field`, exactly, in two components that are alike."""
    mean, variance = (value.flatten().float().expand(2, -1) for value in made_gaussian(shape))
    factors = torch.zeros(2, mean.shape[1], 0)
    return FactorAnalysers(torch.tensor([0.3, 0.7]), MEAN + SPREAD * mean, factors, SPREAD**2 * variance)


@pytest.mark.parametrize("has_base", [False, True])
def test_samples_do_not_depend_on_those_beside_them(has_base: bool) -> None:
    prior = _network().with_base(_base((1, 8, 8)) if has_base else None)
    assert (prior.base is not None) is has_base
    torch.testing.assert_close(prior.sample(3, seed=1)[:2], prior.sample(2, seed=1))
    assert not torch.allclose(prior.sample(1, seed=1), prior.sample(1, seed=2))
    assert prior.sample(0).shape == (0, 1, 8, 8)
    torch.testing.assert_close(prior.sample(4, seed=1)[2:], prior.sample(2, seed=1, first=2))
    z = torch.randn(3, prior.latent_size, generator=torch.Generator().manual_seed(0))
    alone = torch.cat([prior.decode(z[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(prior.decode(z), alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("has_base", "levels"), [(False, None), (True, None), (True, 20)])
def test_samples_of_gaussian_images_have_their_mean_and_deviation(has_base: bool, levels: int | None) -> None:
    shape, count = (6, 1, 1), 3000
    prior = FlowMatchingPrior(gaussian_field(shape, MEAN, SPREAD).float(), shape)
    x = prior.with_base(_base(shape) if has_base else None).sample(count, seed=2, levels=levels)
    mean, variance = made_gaussian(shape)
    deviation = (SPREAD * variance.sqrt()).float()
    off = (x.mean(0) - (MEAN + SPREAD * mean).float()) / deviation
    assert float(off.abs().max()) < 4 / count**0.5
    assert float((x.std(0) / deviation).log().abs().max()) < 0.06  # four standard errors


def test_samples_need_two_levels_of_noise_and_from_a_base_one() -> None:
    with pytest.raises(GenpriorError, match="need 2 or more levels"):
        _network().sample(1, levels=1)
    prior = _network().with_base(_base((1, 8, 8)))
    assert prior.sample(2, levels=1).shape == (2, 1, 8, 8)
    with pytest.raises(GenpriorError, match="need 1 or more levels"):
        prior.sample(1, levels=0)


def test_evaluations_from_a_base_are_as_many_as_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    prior, seen = _network().with_base(_base((1, 8, 8))), []
    own = VelocityField.denoised
    monkeypatch.setattr(
        VelocityField, "denoised", lambda self, x, sigma: (seen.append(float(sigma[0])), own(self, x, sigma))[1]
    )
    prior.sample(3)
    assert len(seen) == flow_matching_prior.BASE_LEVELS
    assert seen[0] == pytest.approx(flow_matching_prior.BASE_LEVEL * 0.3)
    assert all(now > then for now, then in pairwise(seen))
    assert seen[-1] == pytest.approx(seen[0] / flow_matching_prior.WIDEST ** (len(seen) - 1))


def test_a_sample_is_of_the_kind_that_its_base_drew() -> None:
    """Noise of the first level does not hide which of two kinds it was: black images and white ones."""
    shape = (1, 6, 6)
    base = FactorAnalysers(
        torch.tensor([0.8, 0.2]),
        torch.stack([torch.zeros(36), torch.ones(36)]),
        torch.zeros(2, 36, 0),
        torch.full((2, 36), 1e-4),
    )
    mean, variance = torch.zeros(shape), torch.full(shape, 4.0)  # a network that knows no kinds
    prior = FlowMatchingPrior(VelocityField(GaussianNetwork(mean, variance), 0.5, 0.5).float(), shape).with_base(base)
    share = float((prior.sample(1000, seed=1).flatten(1).mean(1) > 0.5).float().mean())
    assert share == pytest.approx(0.2, abs=0.05)


@pytest.mark.parametrize("levels", [1, 2, 6, 20])
def test_images_that_are_nearly_alike_have_samples(levels: int) -> None:
    shape = 1, 6, 6
    field = VelocityField(GaussianNetwork(torch.zeros(shape), torch.ones(shape)), 0.4, 1e-3).float()
    base = FactorAnalysers(torch.ones(1), torch.full((1, 36), 0.4), torch.zeros(1, 36, 0), torch.full((1, 36), 1e-6))
    x = FlowMatchingPrior(field, shape).with_base(base).sample(4, levels=levels)
    assert float((x - 0.4).abs().max()) < 0.01


def test_fine_samples_keep_the_grain_that_few_evaluations_lose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow_matching_prior, "LEAST_COMPONENTS", 1)
    shape = (6, 1, 1)
    field = FlowMatchingPrior(gaussian_field(shape, MEAN, 0.02).float(), shape)
    mean, variance = (value.flatten().float()[None] for value in made_gaussian(shape))
    own = FactorAnalysers(torch.ones(1), MEAN + 0.02 * mean, torch.zeros(1, 6, 0), 0.02**2 * variance)
    prior, deviation = field.with_base(own), 0.02 * variance.sqrt().view(shape)
    fine, rough = (x.std(0) / deviation for x in (prior.fine_sample(2000), prior.sample(2000, levels=3)))
    assert float(fine.log().abs().max()) < 0.08
    assert float(rough.max()) < 0.92


def test_a_base_under_noise_has_the_deviation_of_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow_matching_prior, "LEAST_COMPONENTS", 1)
    coarse = _network().with_base(_base((1, 8, 8))).under_noise(0.3)
    assert coarse is not None
    variance = SPREAD**2 * made_gaussian((1, 8, 8))[1].float() + 0.3**2
    assert float((coarse.sample(1000).var(0) / variance).log().mean().abs()) < 0.03


def test_samples_begin_at_a_base_of_their_shape_and_latents_do_not() -> None:
    shape = 1, 16, 16
    plain = FlowMatchingPrior(_network(shape).field, shape, flow_matching_prior.SIDES)
    prior = plain.with_base(_base((1, 16, 16)))
    assert prior.of_size(16, 24).base is None
    assert prior.of_size(16, 16).base is prior.base
    assert prior.with_base(None).base is None
    assert prior.under_noise(0.3) is None  # two components know too little for posterior draws
    z = torch.randn(2, prior.latent_size, generator=torch.Generator().manual_seed(0))
    assert torch.equal(prior.decode(z), plain.decode(z))
    assert not torch.allclose(prior.sample(2), plain.sample(2))


@pytest.mark.parametrize("kept", [0, 2**14])
def test_slopes_are_right_whether_evaluations_are_kept_or_not(kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against differences."""
    monkeypatch.setattr(flow_matching_prior, "KEPT", kept)
    prior = FlowMatchingPrior(random_field(SMALL), SMALL)
    z = torch.randn(2, prior.latent_size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.autograd.gradcheck(prior.decode, z.requires_grad_())


def test_a_search_may_use_a_rougher_network() -> None:
    prior = _network()
    assert prior.rough is None
    rough = prior.faster_in(torch.bfloat16).rough
    assert rough is not None
    z = torch.randn(2, prior.latent_size, generator=torch.Generator().manual_seed(0))
    assert rough.decode(z).dtype == torch.float32
    torch.testing.assert_close(rough.decode(z), prior.decode(z), atol=0.05, rtol=0)
    assert not torch.equal(rough.decode(z), prior.decode(z))
    assert prior.field.dtype is None


def test_images_and_noise_that_a_denoiser_cannot_take_are_refused() -> None:
    prior, x = _gaussian(), _images(2)
    for sigma in (-0.1, 0, math.inf, math.nan):
        with pytest.raises(GenpriorError, match=r"^sigma: the noise must be above 0 and finite"):
            prior.denoise(x, sigma)
    for levels in (0, 3):
        with pytest.raises(GenpriorError, match=r"^levels: must be an even number of at least 2, got"):
            prior.quantised_log_prob(x, torch.Generator(), levels)
    for wrong in (x.expand(-1, 3, -1, -1), x[0]):
        with pytest.raises(GenpriorError, match=r"^x_noisy: expected images \(B, 1, H, W\), got"):
            prior.denoise(wrong, 0.1)
