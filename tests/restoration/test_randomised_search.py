"""Searches from draws of the prior: exact draws where the prior is linear, easier forms that end in the prior's own."""

import math

import pytest
import torch
from torch import Tensor

from genprior.models.glow_flow import Glow
from genprior.models.image_flow import ImageFlow, VariationalNoise
from genprior.priors.contracts import LatentPrior
from genprior.priors.flow_prior import EASIER, FlowPrior, SoftFlowPrior
from genprior.restoration import randomised_search
from genprior.restoration.fidelity import L2
from genprior.restoration.problem import make_problem
from genprior.restoration.randomised_search import randomised_latents
from genprior.seeding import derived_generator, initialised

SHAPE, LATENTS, SIGMA = (1, 4, 5), 6, 0.1


class Straight(LatentPrior):
    """z -> 0.5 + W z, W drawn once."""

    def __init__(self) -> None:
        self.image_shape, self.latent_size = SHAPE, LATENTS
        self.weight = 0.2 * torch.randn(LATENTS, math.prod(SHAPE), generator=derived_generator(3, "straight"))

    def start(self, count: int, generator: torch.Generator) -> Tensor:
        return torch.randn(count, LATENTS, generator=generator)

    def decode(self, z: Tensor) -> Tensor:
        return (0.5 + z @ self.weight).view(-1, *SHAPE)

    def energy(self, z: Tensor) -> Tensor:
        return 0.5 * z.square().sum(1)


def _flow() -> FlowPrior:
    return FlowPrior(initialised(lambda: ImageFlow(Glow((1, 8, 8), 1, 2, 8), VariationalNoise((1, 8, 8))), 0))


def test_of_a_linear_prior_they_are_draws_of_the_posterior(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(randomised_search, "ITERATIONS", 60)
    prior, generator = Straight(), derived_generator(0, "truth")
    y = prior.decode(prior.start(2, generator)) + SIGMA * torch.randn(2, *SHAPE, generator=generator)
    found = randomised_latents(make_problem(prior, y, None, L2()), 1, SIGMA, 2000, generator)
    assert (found.r_hat, found.effective) == (None, 2000)
    z = found.z
    W = prior.weight.double()
    covariance = torch.linalg.inv(torch.eye(LATENTS) + W @ W.T / SIGMA**2)
    mean = covariance @ W @ (y[1].flatten().double() - 0.5) / SIGMA**2
    deviation = covariance.diagonal().sqrt()
    assert float(((z.mean(0) - mean) / deviation).abs().max()) < 0.1
    torch.testing.assert_close(torch.cov(z.T).double() / deviation**2, covariance / deviation**2, atol=0.15, rtol=0)


def test_easier_forms_of_a_flow_lead_to_its_own_and_keep_black_and_white() -> None:
    prior = _flow()
    z = prior.encode(torch.rand(3, 1, 8, 8, generator=derived_generator(0, "images")))
    torch.testing.assert_close(SoftFlowPrior(prior.model, 1.0).decode(z), prior.decode(z), atol=1e-4, rtol=0)
    x = torch.tensor([0.0, 1.0]).repeat(32).view(1, 1, 8, 8)
    for softness, _ in EASIER:
        torch.testing.assert_close(SoftFlowPrior(prior.model, softness).decode(prior.encode(x)), x, atol=1e-4, rtol=0)


def test_black_pixels_have_a_slope_in_easier_forms() -> None:
    prior = _flow()
    black = prior.encode(torch.zeros(1, 1, 8, 8))

    def slope(form: LatentPrior) -> float:
        z = black.clone().requires_grad_()
        return float(torch.autograd.grad((form.decode(z) - 1).square().sum(), z)[0].norm())

    assert slope(prior.easier[0][0]) > 20 * slope(prior)


def test_draws_of_a_flow_do_not_depend_on_the_images_beside_them() -> None:
    prior = _flow()
    y = prior.sample(2, 0)
    alone = randomised_latents(make_problem(prior, y[1:], None, L2()), 0, SIGMA, 4, derived_generator(5, "draws")).z
    beside = randomised_latents(make_problem(prior, y, None, L2()), 1, SIGMA, 4, derived_generator(5, "draws")).z
    torch.testing.assert_close(alone, beside)
