"""Draws of latents against posteriors that are known exactly, and what says that draws are none."""

import math

import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor

from genprior.priors.contracts import LatentPrior
from genprior.restoration import latent_sampler
from genprior.restoration.fidelity import L1, L2
from genprior.restoration.latent_sampler import MIXED, LatentDraws, between_and_within, draw_latents
from genprior.restoration.problem import Problem, make_problem
from genprior.seeding import derived_generator

SHAPE, LATENTS, SIGMA = (1, 4, 5), 6, 0.1


class Bent(LatentPrior):
    """z -> 0.5 + W z + bend (V z)^2, with W and V drawn once."""

    def __init__(self, bend: float = 0.0) -> None:
        generator = derived_generator(3, "bent")
        self.image_shape, self.latent_size, self.bend = SHAPE, LATENTS, bend
        self.straight, self.curved = 0.2 * torch.randn(2, LATENTS, math.prod(SHAPE), generator=generator)

    def start(self, count: int, generator: torch.Generator) -> Tensor:
        return torch.randn(count, LATENTS, generator=generator)

    def decode(self, z: Tensor) -> Tensor:
        return (0.5 + z @ self.straight + self.bend * (z @ self.curved).square()).view(-1, *SHAPE)

    def energy(self, z: Tensor) -> Tensor:
        return 0.5 * z.square().sum(1)


class Folded(Bent):
    """z -> an image of |z_0| alone: two modes, equally likely."""

    def decode(self, z: Tensor) -> Tensor:
        side = torch.sigmoid(20 * z[:, :1])  # which the measurement does not see
        return torch.cat([z[:, :1].abs().expand(-1, 10), side.expand(-1, 10)], 1).view(-1, *SHAPE)


def _measured(prior: LatentPrior, count: int, sigma: float = SIGMA) -> tuple[Tensor, Tensor, Problem]:
    """Latents, measurements and problem of draws of the prior."""
    generator = derived_generator(0, "truth")
    z = prior.start(count, generator)
    x = prior.decode(z)
    y = x + sigma * torch.randn(x.shape, generator=generator)
    return z, y, make_problem(prior, y, None, L2())


def _drawn(problem: Problem, image: int = 0, scale: float | None = SIGMA**2, count: int = 64) -> LatentDraws:
    return draw_latents(problem, image, scale, count, derived_generator(1, "test", image))


def test_draws_of_a_linear_prior_have_the_mean_and_covariance_of_the_closed_form() -> None:
    prior = Bent()
    _, y, problem = _measured(prior, 1)
    found = _drawn(problem, count=2000)
    W = prior.straight.double()
    covariance = torch.linalg.inv(torch.eye(LATENTS) + W @ W.T / SIGMA**2)
    mean = covariance @ W @ (y.flatten().double() - 0.5) / SIGMA**2
    deviation = covariance.diagonal().sqrt()
    assert found.r_hat is not None
    assert found.r_hat < 1.05
    assert float(((found.z.mean(0) - mean) / deviation).abs().max()) < 0.2
    torch.testing.assert_close(
        torch.cov(found.z.T).double() / deviation**2, covariance / deviation**2, atol=0.2, rtol=0
    )


def test_truths_rank_evenly_among_their_draws() -> None:
    # Simulation-based calibration (Talts et al. 2018): 150 truths, two numbers of each, eight bins.
    truth, _, problem = _measured(Bent(bend=2.0), 150)
    ranks = []
    for image, own in enumerate(truth):
        z = _drawn(problem, image, count=63).z
        ranks += [int((z[:, 0] < own[0]).sum()), int((z.sum(1) < own.sum()).sum())]
    counts = torch.bincount(torch.tensor(ranks) // 8, minlength=8)
    assert chisquare(counts.numpy()).pvalue > 1e-3, counts


def test_both_modes_are_found_with_their_weights() -> None:
    prior = Folded()
    y = torch.cat([torch.full((1, 10), 1.2), torch.zeros(1, 10)], 1).view(1, *SHAPE)
    problem = make_problem(prior, y, None, L2())
    seen = torch.tensor([[1.0] * 10 + [0.0] * 10])
    blind = Problem(prior, problem.measure, problem.y * seen, seen, L2())
    found = _drawn(blind, count=400)
    share = float((found.z[:, 0] > 0).float().mean())
    assert 0.35 < share < 0.65
    assert float((found.z[:, 0].abs() - 1.2).abs().mean()) < 0.1


@pytest.mark.parametrize("fidelity", [L2(), L1(smooth=1e-3)], ids=["l2", "l1"])
def test_unknown_noise_is_drawn_with_the_rest(fidelity: L2 | L1) -> None:
    prior, generator = Bent(), derived_generator(5, "noise")
    z = prior.start(20, generator)
    noise = torch.randn(20, *SHAPE, generator=generator) * 0.3
    if isinstance(fidelity, L1):  # Laplace noise of scale 0.3
        noise = noise * torch.empty_like(noise).exponential_(generator=generator).mul(2).sqrt()
    problem = make_problem(prior, prior.decode(z) + noise, None, fidelity)
    scales = torch.stack([_drawn(problem, image, None).scale.log().mean() for image in range(20)])
    expected = 0.09 if isinstance(fidelity, L2) else 0.3
    assert float(scales.mean().exp()) == pytest.approx(expected, rel=0.25)
    assert float(_drawn(problem, 0, None).scale.std()) > 0


def test_what_the_prior_cannot_represent_acts_as_noise() -> None:
    prior = Bent()
    y = prior.decode(torch.zeros(1, LATENTS)) + 0.4 * torch.randn(1, *SHAPE, generator=derived_generator(2, "far"))
    found = _drawn(make_problem(prior, y, None, L2()), scale=1e-4)
    assert 0.05 < float(found.scale.mean()) < 0.3  # 0.16 is the variance of what was added
    assert float(found.scale.min()) >= 1e-4


def test_known_noise_keeps_its_scale_for_images_of_the_prior() -> None:
    _, _, problem = _measured(Bent(), 30)
    scales = torch.stack([_drawn(problem, image).scale for image in range(30)])
    torch.testing.assert_close(scales, torch.full_like(scales, SIGMA**2))


def test_populations_that_hardly_move_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, problem = _measured(Bent(bend=2.0), 10, sigma=0.01)
    good = [_drawn(problem, image, 1e-4).r_hat or 0.0 for image in range(10)]
    monkeypatch.setattr(latent_sampler, "MOST_STEP", 1e-3)
    monkeypatch.setattr(latent_sampler, "FIRST_STEP", 1e-3)
    bad = [_drawn(problem, image, 1e-4).r_hat or 0.0 for image in range(10)]
    assert sum(each <= MIXED for each in good) >= 8
    assert all(each > MIXED for each in bad)


def test_draws_are_worth_as_many_as_there_are_where_populations_agree() -> None:
    _, _, problem = _measured(Bent(), 1)
    assert 20 < _drawn(problem).effective <= 64


def test_between_and_within_are_those_of_groups() -> None:
    values = torch.tensor([[0.0], [2.0], [10.0], [12.0]])
    assert between_and_within(values, 2) == pytest.approx((50.0, 2.0))
