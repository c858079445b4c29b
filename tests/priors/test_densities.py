"""Densities of latents against torch's distributions: energies, draws, whitening, and fitting."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from genprior.errors import GenpriorError
from genprior.priors import densities
from genprior.priors.densities import DENSITIES, Density, Mixture, StandardNormal, fit_mixture, whitening
from genprior.specs import Spec

every_density = pytest.mark.parametrize("name", [*DENSITIES, "mixture:components=1"])


def _built(spec: str) -> Callable[[Tensor], Density]:
    return Spec.parse(spec).build(DENSITIES, "density")


def _factors(count: int, size: int) -> Tensor:
    square = torch.randn(count, size, size, dtype=torch.float64)
    return torch.linalg.cholesky(square @ square.mT + 0.1 * torch.eye(size))


def _mixture(count: int = 3, size: int = 4) -> Mixture:
    weights = torch.rand(count, dtype=torch.float64) + 0.1
    return Mixture(weights / weights.sum(), torch.randn(count, size, dtype=torch.float64), _factors(count, size))


def _clusters(count: int = 300) -> Tensor:
    """Two narrow clusters of two dimensions at -3 and 3, the first twice as large as the second."""
    z = 0.2 * torch.randn(count, 2, generator=torch.Generator().manual_seed(0))
    z[: 2 * count // 3, 0] -= 3
    z[2 * count // 3 :, 0] += 3
    return z


def _draws(density: Density, count: int = 20_000) -> Tensor:
    return density.draw(count, torch.Generator().manual_seed(0))


# Energies.


def test_the_energy_of_a_mixture_is_that_of_torch_up_to_the_normal_constant() -> None:
    own, z = _mixture(), 2 * torch.randn(50, 4, dtype=torch.float64)
    parts = MultivariateNormal(own.means, scale_tril=own.factors)
    expected = -MixtureSameFamily(Categorical(own.weights), parts).log_prob(z) - 2 * math.log(2 * math.pi)
    torch.testing.assert_close(own.energy(z), expected)


def test_the_standard_normal_is_a_mixture_of_one() -> None:
    z = torch.randn(20, 5, dtype=torch.float64)
    one = Mixture(torch.ones(1).double(), torch.zeros(1, 5).double(), torch.eye(5).double()[None])
    torch.testing.assert_close(StandardNormal(5).energy(z), one.energy(z))
    torch.testing.assert_close(StandardNormal(5).energy(z), 0.5 * (z**2).sum(1))


def test_the_gradient_of_a_mixture_is_that_of_torch() -> None:
    own, z = _mixture(), torch.randn(6, 4, dtype=torch.float64, requires_grad=True)
    mixture = MixtureSameFamily(Categorical(own.weights), MultivariateNormal(own.means, scale_tril=own.factors))
    (got,) = torch.autograd.grad(own.energy(z).sum(), z)
    (expected,) = torch.autograd.grad(-mixture.log_prob(z).sum(), z)
    torch.testing.assert_close(got, expected)


def test_energies_far_away_stay_finite() -> None:
    z = torch.full((1, 4), 1e4, requires_grad=True)
    energy = fit_mixture(torch.randn(100, 4), 3).energy(z)
    energy.sum().backward()
    assert torch.isfinite(energy).all()
    assert z.grad is not None
    assert torch.isfinite(z.grad).all()


@every_density
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_an_energy_has_the_number_format_of_its_latents_and_one_value_for_each(name: str, dtype: torch.dtype) -> None:
    density, z = _built(name)(torch.randn(60, 3)), torch.randn(4, 3, dtype=dtype)
    together = density.energy(z)
    assert (together.shape, together.dtype) == ((4,), dtype)
    torch.testing.assert_close(together, torch.cat([density.energy(row[None]) for row in z]))


@every_density
def test_draws_lie_where_the_energy_says(name: str) -> None:
    """Between two bins of a line, the logarithm of the ratio of counts is the difference of energies."""
    density = _built(name)(_clusters()[:, :1] / 3)
    z = _draws(density, 200_000)[:, 0]
    centres = torch.linspace(-1.2, 1.2, 13)
    counts = torch.stack([((z - centre).abs() < 0.02).double().sum() for centre in centres])
    often = counts > 400
    shown, told = -counts[often].log(), density.energy(centres[often, None]).double()
    assert int(often.sum()) > 3
    torch.testing.assert_close(shown - shown.mean(), told - told.mean(), rtol=0, atol=0.25)


# Draws.


def test_draws_of_a_mixture_have_its_moments() -> None:
    own = _mixture()
    own = Mixture(own.weights.float(), own.means.float(), own.factors.float())
    z, mean = _draws(own, 50_000), own.weights @ own.means
    inner = torch.einsum("c,ckl,cml->km", own.weights, own.factors, own.factors)
    off = own.means - mean
    covariance = inner + torch.einsum("c,ck,cl->kl", own.weights, off, off)
    scale = covariance.diagonal().sqrt()
    assert ((z.mean(0) - mean) / scale).abs().max() < 0.02
    assert ((z.T.cov() - covariance) / torch.outer(scale, scale)).abs().max() < 0.04


def test_draws_of_a_mixture_come_from_its_parts_by_their_weights() -> None:
    means, factors = torch.tensor([[-9.0], [0.0], [9.0]]), torch.full((3, 1, 1), 0.1)
    z = _draws(Mixture(torch.tensor([0.5, 0.2, 0.3]), means, factors))
    shares = torch.stack([(z - mean).abs().lt(1).float().mean() for mean in means])
    torch.testing.assert_close(shares, torch.tensor([0.5, 0.2, 0.3]), rtol=0, atol=0.02)


def test_draws_of_a_mixture_take_no_factor_for_each_row() -> None:
    own = Mixture(torch.ones(2) / 2, torch.zeros(2, 64), torch.eye(64).repeat(2, 1, 1))
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as seen:
        own.draw(2000, torch.Generator().manual_seed(0))
    assert max(event.cpu_memory_usage for event in seen.events()) < 4 * 2000 * 64 * 64 / 8


def test_draws_of_the_standard_normal_have_its_moments() -> None:
    z = _draws(StandardNormal(3))
    assert z.mean(0).abs().max() < 0.03
    assert (z.T.cov() - torch.eye(3)).abs().max() < 0.04


@every_density
@pytest.mark.parametrize("count", [1, 5])
def test_draws_depend_on_the_generator_alone(name: str, count: int) -> None:
    density, before = _built(name)(torch.randn(60, 3)), torch.get_rng_state()
    z = _draws(density, count)
    assert (z.shape, z.dtype) == ((count, 3), torch.float32)
    assert torch.equal(z, _draws(density, count))
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(z, density.draw(count, torch.Generator().manual_seed(1)))


# Whitening.


def test_whitening_gives_mean_zero_and_covariance_one() -> None:
    codes = 0.01 * torch.randn(200, 5) @ torch.randn(5, 5) + 3
    mean, factor = whitening(codes)
    w = torch.linalg.solve_triangular(factor.double(), (codes - mean).double().T, upper=False).T
    assert w.mean(0).abs().max() < 1e-3
    torch.testing.assert_close(w.T.cov(), torch.eye(5, dtype=torch.float64), rtol=0, atol=1e-3)
    torch.testing.assert_close(factor, factor.tril())
    torch.testing.assert_close(mean, codes.mean(0))
    torch.testing.assert_close(factor @ factor.T, codes.T.cov(), rtol=1e-3, atol=1e-8)


@pytest.mark.parametrize(
    "codes", [torch.zeros(6, 3), torch.ones(2, 3), torch.randn(2, 5), torch.randn(9, 1) * torch.tensor([1.0, 0, 2])]
)
def test_directions_without_codes_get_a_small_variance(codes: Tensor) -> None:
    mean, factor = whitening(codes)
    assert torch.isfinite(mean).all()
    assert torch.isfinite(factor).all()
    assert (factor.diagonal() > 0).all()
    torch.testing.assert_close(factor @ factor.T, codes.T.cov(), rtol=1e-3, atol=1e-4)


def test_one_code_is_a_mean_without_spread() -> None:
    mean, factor = whitening(torch.tensor([[1.0, 2.0]]))
    assert mean.tolist() == [1.0, 2.0]
    assert 0 < factor.diagonal().min() <= factor.abs().max() < 1e-6


# Fitting.


def test_two_clusters_are_found() -> None:
    z = _clusters(300)
    found = fit_mixture(z, 2)
    for weight, part in ((2 / 3, z[:200]), (1 / 3, z[200:])):
        place = (found.means - part.mean(0)).norm(dim=1).argmin()
        assert float(found.weights[place]) == pytest.approx(weight, abs=1e-5)
        torch.testing.assert_close(found.means[place], part.mean(0), rtol=0, atol=1e-4)
        # A hundredth is added so that a part of few codes stays wider than they are.
        expected = part.T.cov(correction=0) + 0.01 * torch.eye(2)
        torch.testing.assert_close(found.factors[place] @ found.factors[place].T, expected, rtol=0, atol=1e-4)


def test_fitting_gives_the_same_every_time_and_leaves_random_numbers_alone() -> None:
    z = torch.randn(200, 3)
    before = torch.get_rng_state()
    first, again, other = fit_mixture(z, 4), fit_mixture(z, 4), fit_mixture(z, 4, seed=1)
    for part in ("weights", "means", "factors"):
        assert torch.equal(getattr(first, part), getattr(again, part))
    assert not torch.equal(first.means, other.means)
    assert torch.equal(torch.get_rng_state(), before)


def test_one_component_has_the_mean_and_the_covariance() -> None:
    z = torch.randn(100, 3) @ torch.randn(3, 3) + 1
    found = fit_mixture(z, 1)
    torch.testing.assert_close(found.means[0], z.mean(0))
    expected = z.T.cov(correction=0) + 0.01 * torch.eye(3)
    torch.testing.assert_close((found.factors @ found.factors.mT)[0], expected)


def test_of_many_codes_some_are_drawn_from_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(densities, "MOST", 60)
    found = fit_mixture(_clusters(602), 2)  # in order: the first 60 are all of one cluster
    assert found.means[:, 0].sort().values == pytest.approx([-3, 3], abs=0.2)
    shares = 60 * found.weights  # 201 of 602 are none of 60
    torch.testing.assert_close(shares, shares.round(), rtol=0, atol=1e-3)


def test_fitting_that_ends_early_is_no_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(densities, "ROUNDS", 1)
    assert len(fit_mixture(torch.randn(200, 3), 4).weights) == 4


@pytest.mark.parametrize(("count", "components"), [(2, 10), (5, 5), (20, 3)])
@pytest.mark.parametrize("equal", [True, False])
def test_few_or_equal_codes_are_fitted_all_the_same(count: int, components: int, equal: bool) -> None:
    z = torch.ones(count, 3) if equal else torch.randn(count, 3)
    found = fit_mixture(z, components)
    assert len(found.weights) == min(count, components)
    assert torch.isfinite(found.energy(z)).all()


def test_names_reach_the_densities() -> None:
    z = torch.randn(60, 3)
    assert isinstance(_built("gaussian")(z), StandardNormal)
    for name, count in (("mixture", 10), ("mixture:components=4", 4)):
        density = _built(name)(z)
        assert isinstance(density, Mixture)
        assert len(density.weights) == count


@pytest.mark.parametrize("value", ["0", "-1", "2.5", "8001"])
def test_bad_counts_of_components_are_refused(value: str) -> None:
    expected = rf"^density: option 'components' must be an integer from 1 to 8000, got {value}$"
    with pytest.raises(GenpriorError, match=expected):
        _built(f"mixture:components={value}")
