"""Directions of most change against dense Jacobians, and maps whose pictures change as much as asked for."""

import math

import pytest
import torch
from torch import Tensor

from genprior.errors import GenpriorError
from genprior.models.glow_flow import Glow
from genprior.models.image_flow import DEQUANTISATIONS, ImageFlow
from genprior.models.players import MODELS, PlayerSizes
from genprior.priors import latent_plane
from genprior.priors.contracts import LatentPrior
from genprior.priors.flow_matching_prior import FlowMatchingPrior
from genprior.priors.flow_prior import FlowPrior
from genprior.priors.generator_prior import GeneratorPrior
from genprior.priors.latent_plane import LONGEST_STEP, changes_between, map_around, steepest_directions
from genprior.priors.mixture_prior import MixturePrior
from mixtures import image_mixture
from velocities import random_field

SHAPE = (3, 8, 12)


class _Linear(LatentPrior):
    """Images A z of a known matrix."""

    image_shape = SHAPE

    def __init__(self, matrix: Tensor) -> None:
        self.matrix, self.latent_size = matrix, matrix.shape[1]

    def start(self, count: int, generator: torch.Generator) -> Tensor:
        return torch.randn(count, self.latent_size, generator=generator).double()

    def decode(self, z: Tensor) -> Tensor:
        return 0.5 + (z @ self.matrix.T).view(-1, *SHAPE)

    def energy(self, z: Tensor) -> Tensor:
        return 0.5 * z.square().sum(1)


def linear(*gains: float) -> _Linear:
    """A prior whose matrix has these singular values."""
    size = math.prod(SHAPE)
    left, _ = torch.linalg.qr(torch.randn(size, len(gains), dtype=torch.float64))
    right, _ = torch.linalg.qr(torch.randn(len(gains), len(gains), dtype=torch.float64))
    return _Linear(left * torch.tensor(gains, dtype=torch.float64) @ right.T)


def made_gan() -> GeneratorPrior:
    players = MODELS["dcgan"](PlayerSizes((1, 12, 12), 6), generator_width=4, discriminator_width=4)
    return GeneratorPrior(players.generator, 6, (1, 12, 12))


PRIORS = {
    "generator": made_gan,
    "flow": lambda: FlowPrior(ImageFlow(Glow(SHAPE, 1, 1, 4), DEQUANTISATIONS["uniform"](image_shape=SHAPE))),
    "flow matching": lambda: FlowMatchingPrior(random_field((3, 2, 4)), (3, 2, 4)),
    "mixture": lambda: MixturePrior(image_mixture(SHAPE, 3, 4), SHAPE),
    "one latent": lambda: linear(3.0),
}


@pytest.mark.parametrize("name", PRIORS)
def test_directions_are_the_leading_singular_vectors_of_the_dense_jacobian(name: str) -> None:
    prior = PRIORS[name]()
    z = prior.start(3, torch.Generator().manual_seed(1))[2]
    dense = torch.autograd.functional.jacobian(lambda each: prior.decode(each[None]).flatten(), z)
    factors = prior.local_factors(z)
    matrix = dense if factors is None else dense @ factors
    expected = torch.linalg.svdvals(matrix)[:2]
    found = steepest_directions(prior, z, tolerance=1e-6, steps=200)
    torch.testing.assert_close(found.gains, expected, rtol=1e-3, atol=0)
    torch.testing.assert_close((dense @ found.vectors.T).norm(dim=0), expected, rtol=1e-2, atol=0)
    if factors is None:
        torch.testing.assert_close(found.vectors @ found.vectors.T, torch.eye(len(expected)).to(z), rtol=0, atol=1e-4)


def test_few_products_find_directions_that_stand_out(monkeypatch: pytest.MonkeyPatch) -> None:
    prior, products, real = linear(*[5.0, 3.0, *(0.5 * 0.9**i for i in range(60))]), [], latent_plane._Slopes.along
    monkeypatch.setattr(latent_plane._Slopes, "along", lambda own, v: products.append(1) or real(own, v))
    found = steepest_directions(prior, torch.zeros(62, dtype=torch.float64))
    torch.testing.assert_close(found.gains, torch.tensor([5.0, 3.0], dtype=torch.float64), rtol=1e-3, atol=0)
    assert len(products) < 12


def test_pictures_of_a_linear_map_change_by_the_step() -> None:
    prior = linear(30.0, 20.0, 1.0)
    z = torch.randn(3, dtype=torch.float64)
    found = map_around(prior, z, 0.05, 5)
    x = prior.decode(found.z)
    torch.testing.assert_close(changes_between(x, 5), torch.full((40,), 0.05, dtype=torch.float64))
    torch.testing.assert_close(found.z[12], z)
    assert not found.is_cut
    assert found.steps[0] < found.steps[1] < LONGEST_STEP


def test_a_step_goes_no_further_than_latents_vary() -> None:
    prior = linear(100.0, 1e-3)
    found = map_around(prior, torch.zeros(2, dtype=torch.float64), 0.1, 3)
    assert found.is_cut
    torch.testing.assert_close(found.z[7].norm(), torch.tensor(LONGEST_STEP, dtype=torch.float64))


def test_a_prior_of_one_latent_has_a_map_of_equal_rows() -> None:
    found = map_around(linear(10.0), torch.zeros(1, dtype=torch.float64), 0.1, 3)
    assert torch.equal(found.z.view(3, 3)[0], found.z.view(3, 3)[2])


def test_a_component_of_a_mixture_is_walked_along_its_own_factors() -> None:
    prior = MixturePrior(image_mixture(SHAPE, 3, 4), SHAPE)
    z = prior.encode(prior.model.means[1:2].view(1, *SHAPE))[0]
    moved = (prior.decode(map_around(prior, z, 0.01, 3).z) - prior.decode(z[None])).flatten(1)
    basis, _ = torch.linalg.qr(prior.model.factors[1])
    torch.testing.assert_close(moved @ basis @ basis.T, moved, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("gains", "side", "message"), [((0.0, 0.0), 3, "in no direction"), ((1.0,), 4, "odd number")])
def test_what_has_no_map_is_refused(gains: tuple[float, ...], side: int, message: str) -> None:
    with pytest.raises(GenpriorError, match=message):
        map_around(linear(*gains), torch.zeros(len(gains), dtype=torch.float64), 0.1, side)


def test_what_is_not_finite_is_refused() -> None:
    with pytest.raises(GenpriorError, match="not finite"):
        map_around(linear(1.0, 1.0), torch.full((2,), torch.nan, dtype=torch.float64), 0.1, 3)
