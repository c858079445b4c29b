"""A mixture of factor analysers against torch's distributions, sums over the plane, and its own draws."""

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, LowRankMultivariateNormal, MixtureSameFamily

from genprior.models.factor_analysers import FactorAnalysers, LowRankCovariance
from genprior.seeding import derived_generator
from mixtures import made_mixture


def _of_torch(model: FactorAnalysers) -> MixtureSameFamily:
    parts = LowRankMultivariateNormal(model.means, model.factors, model.noise)
    return MixtureSameFamily(Categorical(model.weights), parts)


@pytest.mark.parametrize("size", [2, 64, 300])
@pytest.mark.parametrize("rank", [1, 5])
def test_the_density_is_that_of_torch(size: int, rank: int) -> None:
    model = made_mixture(size, components=4, rank=rank)
    x = torch.randn(20, size, dtype=torch.float64)
    torch.testing.assert_close(model.log_prob(x), _of_torch(model).log_prob(x))


def test_the_density_of_the_plane_adds_up_to_one() -> None:
    model = made_mixture(2, components=3, rank=1)
    line = torch.linspace(-12, 12, 1201, dtype=torch.float64)
    plane = torch.cartesian_prod(line, line)
    total = model.log_prob(plane).exp().sum() * (line[1] - line[0]) ** 2
    assert float(total) == pytest.approx(1, abs=1e-6)


def test_a_covariance_is_solved_as_a_matrix_is() -> None:
    factors, noise = torch.randn(30, 4, dtype=torch.float64), torch.rand(30, dtype=torch.float64) + 0.1
    own, matrix = LowRankCovariance(factors, noise), factors @ factors.T + torch.diag(noise)
    v = torch.randn(7, 30, dtype=torch.float64)
    torch.testing.assert_close(own.solve(v), torch.linalg.solve(matrix, v.T).T)
    torch.testing.assert_close(own.log_det, torch.logdet(matrix))
    torch.testing.assert_close(own.latents(v), torch.linalg.solve(matrix, v.T).T @ factors)


def test_components_that_are_not_considered_have_no_share() -> None:
    model, x = made_mixture(6, components=3, rank=2), torch.randn(4, 6, dtype=torch.float64)
    considered = torch.tensor([[True, False, True]]).expand(4, -1)
    joint = model.log_joint(x, considered)
    assert bool((joint[:, 1] == -torch.inf).all())
    torch.testing.assert_close(joint[:, ::2], model.log_joint(x)[:, ::2])


def test_draws_have_mean_and_covariance_of_the_mixture() -> None:
    model = made_mixture(4, components=2, rank=2)
    generator = derived_generator(0, "draws")
    x = torch.stack([model.draw(generator) for _ in range(20_000)])
    mean = model.weights @ model.means
    off = model.means - mean
    own = model.factors @ model.factors.mT + torch.diag_embed(model.noise) + off[:, :, None] * off[:, None]
    expected = torch.einsum("k,kde->de", model.weights, own)
    torch.testing.assert_close(x.mean(0), mean, rtol=0, atol=0.1)
    torch.testing.assert_close(torch.cov(x.T), expected, rtol=0.05, atol=0.15)


def test_what_is_cut_off_becomes_noise() -> None:
    model = made_mixture(5, components=2, rank=4)
    cut = model.cut(1)

    def variances(each: FactorAnalysers) -> Tensor:
        return each.factors.square().sum(2) + each.noise

    assert cut.rank == 1
    torch.testing.assert_close(variances(cut), variances(model))
